//! A model of Holdfast.

mod action;
mod broker;
mod check;
mod checked;
mod drain;
mod faults;
mod judge;
mod leading;
pub mod met;
mod process;
pub mod rules;
pub mod run;
pub mod setup;
pub mod setups;
mod store;
mod trace;
mod units;
pub mod world;
