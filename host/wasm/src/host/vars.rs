//! `holdfast:consumer/vars`.

use crate::bindings::consumer::holdfast::consumer::vars::Host;
use crate::guest::Guest;

impl Host for Guest {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.count()?;
        Ok(self.shared.settings.vars.get(&name).cloned())
    }
}
