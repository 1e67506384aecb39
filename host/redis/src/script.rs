//! The scripts: one Lua file per decision, with the shared parts put in where
//! an `--!include` line names them. What the most frequent answers do not need
//! is included behind them, since Lua builds its functions on every run.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        /// A decision.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Which { $($name),* }

        const FILES: &[&str] = &[$(include_str!(concat!("lua/", $file, ".lua"))),*];
    };
}

scripts! {
    Begin "begin"
    LookAt "look_at"
    BeginMany "begin_many"
    Commit "commit"
    CommitMany "commit_many"
    Fail "fail"
    Park "park"
    Abandon "abandon"
    Published "published"
    Buried "buried"
    Undeliverable "undeliverable"
    Touch "touch"
    Release "release"
    Replay "replay"
    Show "show"
    List "list"
    Agree "agree"
    Acquire "acquire"
    Renew "renew"
    GiveBack "give_back"
    Leader "leader"
    Attend "attend"
    SetRule "set_rule"
    Read "read"
    SetFlag "set_flag"
    AddTotals "add_totals"
    Open "open"
    Pulse "pulse"
}

const SHARED: &[(&str, &str)] = &[
    ("same.lua", include_str!("lua/same.lua")),
    ("store.lua", include_str!("lua/store.lua")),
    ("epoch.lua", include_str!("lua/epoch.lua")),
    ("clock.lua", include_str!("lua/clock.lua")),
    ("record.lua", include_str!("lua/record.lua")),
    ("attempt.lua", include_str!("lua/attempt.lua")),
    ("claim.lua", include_str!("lua/claim.lua")),
    ("describe.lua", include_str!("lua/describe.lua")),
    ("lease.lua", include_str!("lua/lease.lua")),
];

/// A script as the server knows it.
#[derive(Debug)]
pub(crate) struct Text {
    /// What is loaded.
    pub(crate) code: String,
    /// What is called.
    pub(crate) hash: String,
}

static SCRIPTS: LazyLock<Vec<Text>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|file| {
            let mut code = String::new();
            assemble(file, &mut code);
            let hash = Script::new(&code).get_hash().to_owned();
            Text { code, hash }
        })
        .collect()
});

fn assemble(file: &str, out: &mut String) {
    for line in file.lines() {
        let shared = line
            .strip_prefix("--!include ")
            .and_then(|name| SHARED.iter().find(|(shared, _)| *shared == name));
        match shared {
            Some((_, text)) => assemble(text, out),
            // Comments are for people; the server need not keep them.
            None if line.trim_start().starts_with("--") => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}

impl Which {
    pub(crate) fn text(self) -> &'static Text {
        &SCRIPTS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_include_names_a_shared_part() {
        let texts = FILES.iter().chain(SHARED.iter().map(|(_, text)| text));
        for line in texts.flat_map(|text| text.lines()) {
            if let Some(name) = line.strip_prefix("--!include ") {
                assert!(SHARED.iter().any(|(shared, _)| *shared == name), "{name}");
            }
        }
    }
}
