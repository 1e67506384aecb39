//! What operators do to a host: a whole one, with broker and store in memory and
//! handlers that a test tells what to do. Time is simulated.

mod audit;
mod bed;
mod dead;
mod identity;
mod pausing;
mod shaken;
