//! The command line as clap reads it: definitions only.
//!
//! A wrong use ends the process with exit code 2, which is clap's own.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use holdfast_runtime::dead::Reason;

use super::parse::{duration, header, name};

mod cutover;

pub use cutover::{Cutover, CutoverSet};

/// Where a configuration is looked for when none is named, in this order.
pub const CONFIG_FILES: [&str; 2] = ["holdfast.toml", "config/holdfast.toml"];

/// Consumes queues with WebAssembly handlers; every message is claimed once
/// and acknowledged only after its handler succeeded.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The configuration [default: holdfast.toml, else config/holdfast.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The running host to talk to [default: admin.listen of the configuration]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The group of a claim key, where the key alone is not clear
    #[arg(long, global = true, value_name = "GROUP")]
    pub group: Option<String>,
}

impl Global {
    /// The configuration file: the one named, else the first default that is
    /// there, else the first default.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        let there = CONFIG_FILES
            .iter()
            .find(|file| std::path::Path::new(file).exists());
        let default = || PathBuf::from(there.unwrap_or(&CONFIG_FILES[0]));
        self.config.clone().unwrap_or_else(default)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the host: consume until told to stop
    Run,
    /// Run with embedded broker and store, rebuilding a handler when its source changes
    Dev(Dev),
    /// Check the configuration, the plugins and the connections, without consuming
    Check(Check),
    /// Start a handler project that builds and passes its own test
    New(New),
    /// Build a handler crate and put its component into the plugin folder
    Build(Build),
    /// Run one message through a plugin, without a broker
    Invoke(Invoke),
    /// Publish messages to a queue, each confirmed by the broker
    Publish(Publish),
    /// Look at claims, or release one
    #[command(subcommand)]
    Claims(Claims),
    /// Tell why a message was run or not
    Explain(Key),
    /// Look at leases, or give one up
    #[command(subcommand)]
    Lease(Lease),
    /// Look at the cut-over rule of a group, or change it
    #[command(subcommand)]
    Cutover(Cutover),
    /// Look at dead letters, replay or drop them
    #[command(subcommand)]
    Dead(Dead),
    /// Stop a consumer's intake; messages in flight finish
    Pause(Consumer),
    /// Start a paused consumer's intake again, and let halted lanes go on
    Resume(Resume),
    /// Look at the plugins that run, reload one or go back
    #[command(subcommand)]
    Plugins(Plugins),
    /// Check that the books close; exit 1 when they do not
    Audit(Audit),
    /// Show a live table of the consumers
    Top(Top),
    /// The claim store
    #[command(subcommand)]
    Store(Store),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the completions for a shell
    Completions(Completions),
}

/// `dev`.
#[derive(Args, Debug)]
pub struct Dev {
    /// The handler crate to watch
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

/// `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// Stop before connecting to the servers
    #[arg(long)]
    pub offline: bool,
}

/// `new`.
#[derive(Args, Debug)]
pub struct New {
    /// The project, its folder and its plugin
    #[arg(value_parser = name)]
    pub name: String,
    /// The language of the handler
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub lang: Lang,
    /// The SDK's folder [default: the one of the checkout this program was built in, else its version]
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

/// A language that handlers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Rust
    Rust,
    /// JavaScript
    Js,
    /// Python
    Python,
}

/// `build`.
#[derive(Args, Debug)]
pub struct Build {
    /// The handler crate
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

/// `invoke`.
#[derive(Args, Debug)]
pub struct Invoke {
    /// The plugin, as the configuration names it
    #[arg(value_parser = name)]
    pub plugin: String,
    /// The file with the message's body; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
    /// A header of the message; may be repeated
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The attempt the handler is told
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: u32,
}

/// `publish`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("input").required(true).args(["body", "lines", "stdin"]))]
pub struct Publish {
    /// The queue
    pub queue: String,
    /// A file that is the body of one message
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// A file of which every line is the body of a message
    #[arg(long, value_name = "FILE")]
    pub lines: Option<PathBuf>,
    /// Read the body of one message from stdin
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,
    /// The message id; with --lines, the line number is appended
    #[arg(long)]
    pub id: Option<String>,
    /// A header of every message; may be repeated
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The broker, where the configuration has several
    #[arg(long, value_name = "B")]
    pub broker: Option<String>,
}

/// `claims`.
#[derive(Debug, Subcommand)]
pub enum Claims {
    /// Show the claim of a key and its transitions
    Show(Key),
    /// List claims
    List {
        /// Only those in this state
        #[arg(long, value_name = "S")]
        state: Option<ClaimState>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=9_999))]
        limit: u32,
    },
    /// Forget the side and the attempts of a claim
    Release {
        /// The claim key
        key: String,
        /// The side that owns the key from now on
        #[arg(long, value_name = "SIDE", value_parser = name)]
        to: Option<String>,
        /// Release it although an attempt is running
        #[arg(long)]
        force: bool,
    },
}

/// The states a claim can be listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClaimState {
    /// Given to a side that has not begun it
    Assigned,
    /// An attempt runs
    Running,
    /// The last attempt failed
    Failed,
    /// Effects are stored, messages may still have to be published
    Committed,
    /// Finished
    Done,
    /// Given up, on its way to the dead letters
    Parking,
    /// Given up, in the dead letters
    Parked,
}

/// A claim key.
#[derive(Args, Debug)]
pub struct Key {
    /// The claim key
    pub key: String,
}

/// A consumer.
#[derive(Args, Debug)]
pub struct Consumer {
    /// The consumer
    #[arg(value_parser = name)]
    pub consumer: String,
}

/// `resume`.
#[derive(Args, Debug)]
pub struct Resume {
    /// The consumer
    #[arg(value_parser = name)]
    pub consumer: String,
    /// Only this halted lane; the intake stays as it is
    #[arg(long, value_name = "L")]
    pub lane: Option<String>,
    /// Dead-letter the message that halted the lane, without another attempt
    #[arg(long, conflicts_with = "halt_again")]
    pub skip: bool,
    /// Halt the lane again if the message is given up again
    #[arg(long)]
    pub halt_again: bool,
}

/// `lease`.
#[derive(Debug, Subcommand)]
pub enum Lease {
    /// Show who leads, until when and in which epoch
    Show,
    /// Give the lease of a consumer up, so that another host takes over
    StepDown(Consumer),
}

/// `dead`.
#[derive(Debug, Subcommand)]
pub enum Dead {
    /// Count dead letters by reason
    List(Letters),
    /// Show dead letters with their headers, their body and their claim
    Show(Letters),
    /// Run dead letters again
    Replay(LettersReplay),
    /// Throw dead letters away; their claims stay as they are
    Drop(LettersChange),
}

/// Which dead letters.
#[derive(Args, Debug)]
pub struct Letters {
    /// The consumer they belong to
    #[arg(value_parser = name)]
    pub consumer: String,
    /// Only those with this reason
    #[arg(long, value_name = "R", value_parser = PossibleValuesParser::new(Reason::all()))]
    pub reason: Option<String>,
    /// Only the one with this claim key, or with this message id if it has no key
    #[arg(long, value_name = "K")]
    pub key: Option<String>,
    /// At most so many [default: as many as the host takes at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// Which dead letters to change.
#[derive(Args, Debug)]
pub struct LettersChange {
    /// Which ones.
    #[command(flatten)]
    pub letters: Letters,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask, although this is a terminal
    #[arg(long, short)]
    pub yes: bool,
}

/// Which dead letters to replay, and how.
#[derive(Args, Debug)]
pub struct LettersReplay {
    /// Which ones.
    #[command(flatten)]
    pub change: LettersChange,
    /// Give the first of them this claim key; for a message that has no claim of its own
    #[arg(long, value_name = "K")]
    pub new_key: Option<String>,
}

/// `plugins`.
#[derive(Debug, Subcommand)]
pub enum Plugins {
    /// List what runs where: file, digest, version, since when
    List,
    /// Load a plugin's file again
    Reload(Plugin),
    /// Go back to the version before
    Rollback(Plugin),
}

/// A plugin.
#[derive(Args, Debug)]
pub struct Plugin {
    /// The plugin
    #[arg(value_parser = name)]
    pub plugin: String,
}

/// `audit`.
#[derive(Args, Debug)]
pub struct Audit {
    /// How long to wait for messages that are on their way
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub wait: Duration,
}

/// `top`.
#[derive(Args, Debug)]
pub struct Top {
    /// How often the table is drawn
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub every: Duration,
    /// Print one table and end
    #[arg(long)]
    pub once: bool,
}

/// `store`.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Accept a store that is not the one the hosts started with
    Accept,
}

/// `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}
