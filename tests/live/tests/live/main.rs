//! Whole hosts on real servers. One test binary, so that tests that mostly wait
//! run side by side.

mod cutover;
mod faults;
mod hand_over;
mod lanes;
mod lifecycle;
mod main_job;
mod operating;
mod order;
mod outbound;
mod partitions;
mod same_store;
mod topologies;
