//! `holdfast:consumer/state`: staged, visible to its own attempt.

use std::sync::Arc;

use holdfast_ports::message::Snapshot;

use crate::bindings::consumer::holdfast::consumer::state::Host;
use crate::guest::{Guest, Stop, Work};

impl Host for Guest {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.count()?;
        let work = self.work.clone();
        Ok(self.stage.get(before(&work)?, &name).map(<[u8]>::to_vec))
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> wasmtime::Result<()> {
        self.count()?;
        before(&self.work)?;
        let limits = *self.limits();
        self.stage
            .put(&limits, name, Some(value))
            .map_err(|text| Stop::State(text).into())
    }

    fn delete(&mut self, name: String) -> wasmtime::Result<()> {
        self.count()?;
        before(&self.work)?;
        let limits = *self.limits();
        self.stage
            .put(&limits, name, None)
            .map_err(|text| Stop::State(text).into())
    }

    fn increment(&mut self, name: String, by: i64) -> wasmtime::Result<Result<i64, String>> {
        self.count()?;
        let (work, limits) = (self.work.clone(), *self.limits());
        self.stage
            .increment(before(&work)?, &limits, name, by)
            .map_err(|text| Stop::State(text).into())
    }
}

/// The state as it was when the attempt began.
fn before(work: &Arc<Work>) -> Result<&Snapshot, Stop> {
    let call = work.single().ok_or(Stop::NoMessage("state"))?;
    Ok(&call.state)
}
