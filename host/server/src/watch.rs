//! Notices that files changed, however they are changed.
//!
//! Editors write aside and rename, Kubernetes swaps a symlink two folders up,
//! network file systems send no events at all. So the folder is watched rather
//! than the file, it is looked at every second besides, and a file counts as
//! changed when what a path leads to is another file, has another size or
//! another time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// What a path leads to, as far as its folder entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file a path leads to; none when there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// Looks without events this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file that was the same for this long is written whole.
const SETTLED: Duration = Duration::from_millis(25);

/// Tells when anything in some folders may have changed.
pub struct Watch {
    events: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches these folders; those that cannot be watched are only looked at.
    #[must_use]
    pub fn new(folders: &[PathBuf]) -> Self {
        let (send, events) = mpsc::channel(1);
        let noticed = move |_: notify::Result<notify::Event>| {
            // A full channel already says it.
            let _ = send.try_send(());
        };
        let watcher = notify::recommended_watcher(noticed).ok().map(|mut watcher| {
            for folder in folders {
                if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                    tracing::warn!(folder = %folder.display(), %error, "no events; looking every second");
                }
            }
            watcher
        });
        Self {
            events,
            _watcher: watcher,
        }
    }

    /// Returns when something may have changed, after a second at the latest.
    pub async fn next(&mut self) {
        tokio::select! {
            noticed = self.events.recv() => if noticed.is_none() { sleep(LOOK_EVERY).await },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// Remembers stamps and says which paths changed and have come to rest.
#[derive(Debug, Default)]
pub struct Seen {
    known: BTreeMap<PathBuf, Stamp>,
}

impl Seen {
    /// Takes a path as it is now for known.
    pub fn note(&mut self, path: &Path) {
        match Stamp::of(path) {
            Some(stamp) => {
                self.known.insert(path.to_owned(), stamp);
            }
            None => {
                self.known.remove(path);
            }
        }
    }

    /// Forgets a path, so that it counts as changed.
    pub fn forget(&mut self, path: &Path) {
        self.known.remove(path);
    }

    /// The paths among these that lead to something new, once they have stopped
    /// changing. They count as known from then on. A path that leads nowhere
    /// is not among them.
    pub async fn settled(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for path in paths {
            let Some(mut stamp) = Stamp::of(path) else {
                continue;
            };
            if self.known.get(path) == Some(&stamp) {
                continue;
            }
            let mut since = Instant::now();
            while since.elapsed() < SETTLED {
                sleep(SETTLED / 5).await;
                match Stamp::of(path) {
                    Some(now) if now == stamp => {}
                    Some(now) => {
                        stamp = now;
                        since = Instant::now();
                    }
                    None => break,
                }
            }
            if Stamp::of(path) == Some(stamp) {
                self.known.insert(path.clone(), stamp);
                changed.push(path.clone());
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hazard: notify | events fire once, twice or never, and files are read half written | events only say look; a file has to come to rest, then it is hashed
    #[tokio::test]
    async fn a_file_is_told_once_for_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        let mut seen = Seen::default();
        let paths = [path.clone()];
        assert!(seen.settled(&paths).await.is_empty(), "there is no file");
        fs::write(&path, "1").unwrap();
        assert_eq!(seen.settled(&paths).await, paths);
        assert!(seen.settled(&paths).await.is_empty());
        fs::write(dir.path().join("aside"), "2").unwrap();
        fs::rename(dir.path().join("aside"), &path).unwrap();
        assert_eq!(seen.settled(&paths).await, paths, "renamed over");
    }

    /// Hazard: notify | a symbolic link that is swapped looks like a write, or like nothing | paths are looked at as they resolve
    #[tokio::test]
    async fn a_swapped_symlink_further_up_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("..1"), dir.path().join("..2"));
        for (folder, text) in [(&one, "1"), (&two, "2")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a.wasm"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.wasm", dir.path().join("a.wasm")).unwrap();
        let paths = [dir.path().join("a.wasm")];
        let mut seen = Seen::default();
        assert_eq!(seen.settled(&paths).await, paths);
        std::os::unix::fs::symlink("..2", dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        assert_eq!(seen.settled(&paths).await, paths);
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "2");
    }

    /// Bad input: Plugins | a hundred changes of a file in a second | one reload
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hundred_changes_in_a_row_are_told_when_they_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "0").unwrap();
        let paths = [path.clone()];
        let writer = tokio::task::spawn_blocking(move || {
            for change in 1..=100 {
                fs::write(&path, format!("{change:03}")).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let mut seen = Seen::default();
        let mut told = 0;
        while told == 0 || !writer.is_finished() {
            told += seen.settled(&paths).await.len();
        }
        told += seen.settled(&paths).await.len();
        // Once, or a few times where the machine stops the writer for longer than
        // a file has to rest.
        assert!((1..=10).contains(&told), "{told}");
        assert!(seen.settled(&paths).await.is_empty());
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "100");
    }
}
