//! The words of `holdfast cutover`.

use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args, Subcommand};
use holdfast_core::cutover::Percent;

use super::super::parse::{duration, name, percent};

/// `cutover`.
#[derive(Debug, Subcommand)]
pub enum Cutover {
    /// Show the rule of a group
    Show {
        /// The group
        #[arg(value_parser = name)]
        name: String,
    },
    /// Change the rule of a group
    Set(CutoverSet),
}

/// `cutover set`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["enable", "disable", "percent", "allow", "disallow", "from", "to", "assign_timeout"]))]
pub struct CutoverSet {
    /// The group
    #[arg(value_parser = name)]
    pub name: String,
    /// Begin to move keys
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
    /// Leave all new keys where they were
    #[arg(long)]
    pub disable: bool,
    /// The share of new keys to move, with at most two decimals
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = percent)]
    pub percent: Option<Percent>,
    /// A key that always moves; may be repeated
    #[arg(long, value_name = "K", action = ArgAction::Append)]
    pub allow: Vec<String>,
    /// A key that no longer always moves; may be repeated
    #[arg(long, value_name = "K", action = ArgAction::Append)]
    pub disallow: Vec<String>,
    /// The side that new keys stay with
    #[arg(long, value_name = "SIDE", value_parser = name)]
    pub from: Option<String>,
    /// The side that new keys move to
    #[arg(long, value_name = "SIDE", value_parser = name)]
    pub to: Option<String>,
    /// How long a key may stay with a side that does not begin it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub assign_timeout: Option<Duration>,
    /// Change nothing unless this is the current revision
    #[arg(long, value_name = "REV")]
    pub expect: Option<u64>,
}
