//! Readers for single arguments.

use std::time::Duration;

use holdfast_core::cutover::{Percent, PercentError};

pub(super) fn name(text: &str) -> Result<String, holdfast_core::name::NameError> {
    holdfast_core::name::check(text).map(|()| text.to_owned())
}

pub(super) fn header(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name of the header is empty"),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("a header is written NAME=VALUE"),
    }
}

pub(super) fn percent(text: &str) -> Result<Percent, PercentError> {
    Percent::parse(text)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text)
}
