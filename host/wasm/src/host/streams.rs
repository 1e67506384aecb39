//! `wasi:io/streams`, where what waits ends when its call must: epochs do not
//! stop a guest that waits for the host.

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi_io::bindings::wasi::io::streams::{self, HostInputStream, HostOutputStream};
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError, StreamResult};

use super::wasi::Watch;
use crate::guest::Guest;

/// Adds the import to a linker that has one already.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    streams::add_to_linker::<Guest, Streams>(linker, |guest| guest)
}

struct Streams;

impl HasData for Streams {
    type Data<'a> = &'a mut Guest;
}

/// Waits for the table to do something, or for the call to have to end.
macro_rules! unless_stopped {
    ($guest:expr, $does:path, $($argument:expr),+) => {{
        let stop = Watch::over($guest);
        let table = &mut $guest.wasi().table;
        tokio::select! {
            biased;
            done = $does(table, $($argument),+) => done,
            stop = stop.wait() => Err(StreamError::Trap(stop.into())),
        }
    }};
}

impl streams::Host for &mut Guest {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(&mut self.wasi().table, error)
    }
}

impl HostInputStream for &mut Guest {
    fn read(&mut self, of: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        HostInputStream::read(&mut self.wasi().table, of, length)
    }

    async fn blocking_read(
        &mut self,
        of: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<Vec<u8>> {
        unless_stopped!(self, HostInputStream::blocking_read, of, length)
    }

    fn skip(&mut self, of: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        HostInputStream::skip(&mut self.wasi().table, of, length)
    }

    async fn blocking_skip(
        &mut self,
        of: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        unless_stopped!(self, HostInputStream::blocking_skip, of, length)
    }

    fn subscribe(
        &mut self,
        to: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostInputStream::subscribe(&mut self.wasi().table, to)
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        HostInputStream::drop(&mut self.wasi().table, stream).await
    }
}

impl HostOutputStream for &mut Guest {
    fn check_write(&mut self, to: Resource<DynOutputStream>) -> StreamResult<u64> {
        HostOutputStream::check_write(&mut self.wasi().table, to)
    }

    fn write(&mut self, to: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        HostOutputStream::write(&mut self.wasi().table, to, bytes)
    }

    async fn blocking_write_and_flush(
        &mut self,
        to: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        unless_stopped!(self, HostOutputStream::blocking_write_and_flush, to, bytes)
    }

    fn write_zeroes(&mut self, to: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        HostOutputStream::write_zeroes(&mut self.wasi().table, to, length)
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        to: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        unless_stopped!(
            self,
            HostOutputStream::blocking_write_zeroes_and_flush,
            to,
            length
        )
    }

    fn flush(&mut self, of: Resource<DynOutputStream>) -> StreamResult<()> {
        HostOutputStream::flush(&mut self.wasi().table, of)
    }

    async fn blocking_flush(&mut self, of: Resource<DynOutputStream>) -> StreamResult<()> {
        unless_stopped!(self, HostOutputStream::blocking_flush, of)
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        HostOutputStream::splice(&mut self.wasi().table, to, from, length)
    }

    async fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        unless_stopped!(self, HostOutputStream::blocking_splice, to, from, length)
    }

    fn subscribe(
        &mut self,
        to: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostOutputStream::subscribe(&mut self.wasi().table, to)
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        HostOutputStream::drop(&mut self.wasi().table, stream).await
    }
}
