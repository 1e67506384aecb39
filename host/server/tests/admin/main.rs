//! The admin interface of a whole host, in this process and in memory.

mod access;
mod commands;
mod host;
mod http;
mod letters;
mod operating;
mod reading;
