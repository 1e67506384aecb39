//! Whole hosts on real servers. One test binary, so that tests that mostly wait
//! run side by side.

mod faults;
mod hand_over;
mod lanes;
mod lifecycle;
mod main_job;
mod order;
mod partitions;
