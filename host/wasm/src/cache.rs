//! Compiled components on disk, so that a host starts at once.
//!
//! What is read here is machine code, so the folder must be one that only this
//! user can write to. Each file names what it was made from (the digest of the
//! component, and the compiler with its settings) and carries a digest of what
//! is in it; a file that does not match is compiled again.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const HEADER: &[u8] = b"holdfast compiled component 1\n";
const SUFFIX: &str = ".compiled";

/// Files kept at most; the oldest go first.
const KEPT: usize = 128;

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    compiler: u64,
}

impl Cache {
    /// Uses a folder, and makes it when it is not there.
    ///
    /// # Errors
    /// When others can write to it, or it cannot be used at all.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let metadata = fs::symlink_metadata(folder)?;
        if !metadata.is_dir() {
            return Err(io::Error::other("it is not a folder"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(io::Error::other("others can write to it"));
        }
        let mut compiler = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compiler);
        let cache = Self {
            folder: folder.to_owned(),
            compiler: compiler.finish(),
        };
        // A file made here belongs to us; the folder must too.
        let (probe, _) = cache.aside()?;
        let owner = fs::symlink_metadata(&probe)?.uid();
        fs::remove_file(&probe)?;
        if owner != metadata.uid() {
            return Err(io::Error::other("it belongs to another user"));
        }
        Ok(cache)
    }

    /// The compiled form of the component with this digest, if it is there and
    /// whole.
    pub(crate) fn get(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let mut bytes = Vec::new();
        let mut file = File::open(self.path(sha256)).ok()?;
        file.read_to_end(&mut bytes).ok()?;
        let code = whole(&bytes, sha256)?;
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(sha256, %error, "a compiled component cannot be used again");
                None
            }
        }
    }

    /// Keeps the compiled form of a component.
    ///
    /// # Errors
    /// When it cannot be written; the cache is as it was.
    pub(crate) fn put(&self, sha256: &str, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let (path, mut file) = self.aside()?;
        let written = (|| {
            file.write_all(HEADER)?;
            file.write_all(&digest(sha256, &code))?;
            file.write_all(&code)?;
            file.sync_all()?;
            fs::rename(&path, self.path(sha256))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        self.prune();
        written
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder
            .join(format!("{sha256}-{:016x}{SUFFIX}", self.compiler))
    }

    /// A new file beside the others.
    fn aside(&self) -> io::Result<(PathBuf, File)> {
        for number in 0..1000 {
            let name = format!(".new-{}-{number}", std::process::id());
            let path = self.folder.join(name);
            let made = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|file| (path, file)),
            }
        }
        Err(io::Error::other("too many unfinished files"))
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(SUFFIX))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let old = files.len().saturating_sub(KEPT);
        for (_, path) in files.drain(..old) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The code in a file, if the file is what was written.
fn whole<'a>(bytes: &'a [u8], sha256: &str) -> Option<&'a [u8]> {
    let rest = bytes.strip_prefix(HEADER)?;
    let (stated, code) = rest.split_at_checked(32)?;
    (stated == digest(sha256, code)).then_some(code)
}

fn digest(sha256: &str, code: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(sha256.as_bytes());
    digest.update(code);
    digest.finalize().into()
}

#[expect(
    unsafe_code,
    reason = "machine code that this program wrote, in a folder only it can write to"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `whole` has compared the code with the digest written with it,
    // and `Cache::open` has made sure that only this user writes to the folder.
    unsafe { Component::deserialize(engine, code) }
}
