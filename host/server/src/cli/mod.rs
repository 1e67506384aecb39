//! The command line.

pub mod args;
mod parse;

#[cfg(test)]
mod tests;
