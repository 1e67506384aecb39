//! The admin interface of a whole host, in this process and in memory.

mod access;
mod commands;
mod host;
mod http;
mod operating;
mod reading;
