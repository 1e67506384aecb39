//! Cleaning up after a server whatever happens to the process that started it.
//!
//! A parent that is killed runs no destructor, a `static` is never dropped,
//! and the kernel's parent-death signal fires when the starting *thread* ends,
//! which in a test is long before the process does. So every server has a
//! shell beside it that waits on a pipe: the pipe closes when the value that
//! holds it is dropped, or when this process ends in any way at all, and then
//! the shell kills the server's process groups and removes its folder.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Each line replaces the list of process groups; the end of the input is the
/// signal to clean up. Killed processes may still write for a moment, so the
/// folder is removed when the groups are gone, or after two seconds (a group
/// whose zombies nobody collects never goes).
const SCRIPT: &str = r#"
groups=
while read -r line; do groups=$line; done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for group in $groups; do
    rounds=0
    while [ "$rounds" -lt 40 ] && kill -s 0 -- "-$group" 2>/dev/null; do
        rounds=$((rounds + 1))
        sleep 0.05
    done
done
rm -rf -- "$0"
"#;

/// The shell that outlives this process if it must.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Watches over `folder`, which is removed at the end.
    pub(crate) fn over(folder: &Path) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// These process groups, and no others, are to be killed at the end.
    pub(crate) fn watch(&mut self, groups: &[u32]) -> io::Result<()> {
        let mut line = String::new();
        for group in groups {
            line.push_str(&format!("{group} "));
        }
        line.push('\n');
        match &mut self.shell.stdin {
            Some(pipe) => pipe.write_all(line.as_bytes()),
            None => Err(io::Error::other("the watchdog has ended")),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It ends within seconds by construction; its result changes nothing.
        let _ = self.shell.wait();
    }
}
