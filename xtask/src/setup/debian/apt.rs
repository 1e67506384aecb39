//! apt in folders of its own, reading the mirror that the machine uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::run;

/// Where a source of the compiler's own release is found, newest C library first.
const SUITES: &str = "trixie-backports trixie sid";

/// Either name, as the keyring's package changed it.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// apt with lists, cache and sources of its own.
pub(super) struct Apt {
    root: PathBuf,
}

impl Apt {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let mirror = mirror()?;
        let keyring = KEYRINGS
            .iter()
            .find(|path| Path::new(path).is_file())
            .context("Debian's packages cannot be checked: install debian-archive-keyring")?;
        for folder in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(root.join(folder))
                .with_context(|| format!("failed to create apt's {folder}"))?;
        }
        fs::write(
            root.join("sources/debian.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {SUITES}\nComponents: main\n\
                 Signed-By: {keyring}\n"
            ),
        )
        .context("failed to write apt's sources")?;
        Ok(Apt { root: root.into() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |folder: &str| self.root.join(folder).display().to_string();
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", at("sources")),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.root);
        command
    }

    pub(super) fn update(&self) -> Result<()> {
        run::output(self.command("apt-get").args(["-q", "update"]))
            .context("failed to read Debian's package lists")?;
        Ok(())
    }

    /// The newest version that will do.
    pub(super) fn version(&self, package: &str, will_do: impl Fn(&str) -> bool) -> Result<String> {
        let table = run::output(self.command("apt-cache").args(["madison", package]))?;
        first_version(&table, will_do).with_context(|| {
            format!(
                "Debian ({SUITES}) has no {package} for this compiler, only:\n{}",
                table.trim_end()
            )
        })
    }

    pub(super) fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        let wanted = format!("{package}={version}");
        run::output(self.command("apt-get").args(["-q", "download", &wanted]))
            .with_context(|| format!("failed to fetch {wanted}"))?;
        let start = format!("{package}_");
        let entries = fs::read_dir(&self.root).context("failed to look for the package")?;
        for entry in entries {
            let path = entry.context("failed to look for the package")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&start) && name.ends_with(".deb") {
                return Ok(path);
            }
        }
        bail!("failed to find the package of {wanted} after fetching it")
    }
}

/// apt's table has the newest version first: `package | version | where`.
pub(super) fn first_version(table: &str, will_do: impl Fn(&str) -> bool) -> Option<String> {
    table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| will_do(version))
        .map(str::to_owned)
}

/// The Debian mirror that this machine already uses.
fn mirror() -> Result<String> {
    let sources = run::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
    ]))?;
    debian_mirror(&sources).context(
        "Debian's packages cannot be used: none of apt's sources is a Debian mirror \
         (an address that ends in /debian)",
    )
}

fn debian_mirror(addresses: &str) -> Option<String> {
    addresses
        .lines()
        .map(|address| address.trim().trim_end_matches('/'))
        .find(|address| address.ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "
  rust-src | 1.97.1+dfsg1-1 | http://mirror.example/debian sid/main amd64 Packages
  rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main
  rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror.example/debian trixie-backports/main
";

    #[test]
    fn the_newest_source_of_the_compilers_own_release_is_taken() {
        let found = first_version(MADISON, |version| version.starts_with("1.95.0+"));
        assert_eq!(found.as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(first_version(MADISON, |v| v.starts_with("1.96.0+")), None);
    }

    #[test]
    fn the_mirror_is_the_machines_own_and_not_its_security_archive() {
        let sources = "http://m.example/debian-security/\nhttp://m.example/debian/\n";
        assert_eq!(
            debian_mirror(sources).as_deref(),
            Some("http://m.example/debian")
        );
        assert_eq!(debian_mirror("http://m.example/ubuntu/\n"), None);
    }
}
