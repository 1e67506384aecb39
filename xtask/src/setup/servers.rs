//! The servers that the tests run against, by the system's package manager
//! where we may, else as the command to type.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{run, say};

/// Debian keeps the program itself here; the one on the path is a wrapper that
/// changes user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Whether the tests' servers are there.
pub(crate) enum Servers {
    Ready,
    Missing {
        /// The command that installs them.
        advice: String,
    },
}

pub(super) fn ensure() -> Servers {
    let wanted = missing();
    if wanted.is_empty() {
        return Servers::Ready;
    }
    if let Some(privilege) = Privilege::find() {
        say(format_args!(
            "installing {} with apt-get",
            wanted.join(" and ")
        ));
        if let Err(error) = privilege.install(&wanted) {
            say(format_args!("{error:#}"));
        }
    }
    let left = missing();
    if left.is_empty() {
        return Servers::Ready;
    }
    Servers::Missing {
        advice: advice(&left),
    }
}

fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if run::find("redis-server").is_none() {
        missing.push("redis-server");
    }
    if !Path::new(RABBITMQ).is_file() && run::find("rabbitmq-server").is_none() {
        missing.push("rabbitmq-server");
    }
    missing
}

fn advice(missing: &[&str]) -> String {
    let missing = missing.join(" ");
    format!(
        "  The tests need servers that are not installed. To install them, type:\n    \
         sudo apt-get install {missing}\n    \
         or use your system's package manager for: {missing}"
    )
}

/// How we may install packages: as root, or with a sudo that asks nothing.
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn find() -> Option<Self> {
        run::find("apt-get")?;
        let user = run::output(Command::new("id").arg("-u")).ok()?;
        if user.trim() == "0" {
            return Some(Privilege::Root);
        }
        run::output(Command::new("sudo").args(["-n", "true"])).ok()?;
        Some(Privilege::Sudo)
    }

    fn install(&self, packages: &[&str]) -> Result<()> {
        self.apt_get(&["update"])
            .context("failed to read the package lists")?;
        let install = ["install", "--yes", "--no-install-recommends"];
        self.apt_get(&[&install, packages].concat())
            .context("failed to install the servers")
    }

    fn apt_get(&self, arguments: &[&str]) -> Result<()> {
        let mut command = match self {
            Privilege::Root => Command::new("env"),
            Privilege::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "env"]);
                sudo
            }
        };
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"])
            .args(arguments);
        run::output(&mut command)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_a_command_to_type() {
        let advice = advice(&["redis-server", "rabbitmq-server"]);
        assert!(
            advice.contains("sudo apt-get install redis-server rabbitmq-server"),
            "{advice}"
        );
    }
}
