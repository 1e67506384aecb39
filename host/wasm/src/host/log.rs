//! `holdfast:consumer/log`.

use crate::bindings::consumer::holdfast::consumer::log::{Host, Level as GuestLevel};
use crate::guest::Guest;
use crate::log::Level;

impl Host for Guest {
    fn write(&mut self, level: GuestLevel, text: String) -> wasmtime::Result<()> {
        self.count()?;
        let level = match level {
            GuestLevel::Trace => Level::Trace,
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
        };
        self.log().write(level, &text);
        Ok(())
    }
}
