//! Finding the servers' programs, and saying what to do when they are missing.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Debian's `/usr/sbin/rabbitmq-server` changes user and folder; the programs
/// it wraps are here and run as whoever calls them.
const UNWRAPPED: &str = "/usr/lib/rabbitmq/bin";

/// The path of a program of the servers.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![PathBuf::from(UNWRAPPED)];
    folders.extend(std::env::split_paths(&path));
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    find_in(program, &folders)
}

fn find_in(program: &str, folders: &[PathBuf]) -> Result<PathBuf> {
    let mut candidates = folders.iter().map(|folder| folder.join(program));
    match candidates.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "failed to find {program}: install the servers that the tests run against with \
             `cargo xtask setup`, or by hand with `apt-get install redis-server rabbitmq-server`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_names_the_command_that_installs_it() {
        let error = find_in("redis-server", &[PathBuf::from("/nowhere")]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("failed to find redis-server"), "{message}");
        assert!(message.contains("cargo xtask setup"), "{message}");
        assert!(
            message.contains("apt-get install redis-server rabbitmq-server"),
            "{message}"
        );
    }

    #[test]
    fn the_first_folder_that_has_it_wins() {
        let folders = ["/nowhere", "/bin"].map(PathBuf::from);
        assert_eq!(find_in("sh", &folders).unwrap(), PathBuf::from("/bin/sh"));
    }
}
