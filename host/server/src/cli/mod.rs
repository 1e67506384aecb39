//! The command line.

pub mod args;

#[cfg(test)]
mod tests;
