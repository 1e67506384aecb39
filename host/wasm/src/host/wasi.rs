//! WASI 0.2 with nothing granted: clocks and random numbers only. Standard
//! output and standard error go to the log.
//!
//! Most handlers never call it, so what it needs is made when it is first used.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_ports::plugins::Interrupt;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io::poll;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use super::streams;
use crate::guest::{Guest, Stop};
use crate::log::{CallLog, Source};
use crate::lookout::Lookout;

/// The state behind WASI's imports.
pub(crate) struct Wasi {
    context: WasiCtx,
    pub(crate) table: ResourceTable,
}

/// Adds WASI to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Epochs do not stop a guest that waits for the host: waits end in time by
    // themselves.
    linker.allow_shadowing(true);
    poll::add_to_linker::<Guest, Waits>(linker, |guest| guest)?;
    streams::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Guest {
    pub(crate) fn wasi(&mut self) -> &mut Wasi {
        if self.wasi.is_none() {
            let log = self.log().clone();
            let limits = self.limits();
            let mut table = ResourceTable::new();
            table.set_max_capacity(limits.resources);
            let context = WasiCtx::builder()
                .stdout(Printed(log.clone(), Source::Stdout))
                .stderr(Printed(log, Source::Stderr))
                .allow_tcp(false)
                .allow_udp(false)
                .max_random_size(limits.random)
                .build();
            self.wasi = Some(Box::new(Wasi { context, table }));
        }
        self.wasi.as_mut().expect("it was just made")
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi();
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

struct Waits;

impl HasData for Waits {
    type Data<'a> = &'a mut Guest;
}

impl poll::Host for &mut Guest {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let stop = Watch::over(self);
        let table = &mut self.wasi().table;
        tokio::select! {
            biased;
            ready = poll::Host::poll(table, pollables) => ready,
            stop = stop.wait() => Err(stop.into()),
        }
    }
}

impl poll::HostPollable for &mut Guest {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let stop = Watch::over(self);
        let table = &mut self.wasi().table;
        tokio::select! {
            biased;
            ready = poll::HostPollable::block(table, pollable) => ready,
            stop = stop.wait() => Err(stop.into()),
        }
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(&mut self.wasi().table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(&mut self.wasi().table, pollable)
    }
}

/// Watches over a guest that waits for the host.
pub(crate) struct Watch {
    deadline: Instant,
    limit: Duration,
    lookout: Lookout,
    interrupt: Option<Interrupt>,
}

impl Watch {
    pub(crate) fn over(guest: &Guest) -> Self {
        let call = guest.work.first();
        Self {
            deadline: guest.deadline(),
            limit: guest.shared.settings.deadline,
            lookout: guest.shared.lookout.clone(),
            interrupt: call.map(|call| call.interrupt.clone()),
        }
    }

    /// Returns when the guest must stop.
    pub(crate) async fn wait(self) -> Stop {
        let Self {
            deadline,
            limit,
            lookout,
            interrupt,
        } = self;
        let past_deadline = tokio::time::sleep_until(deadline.into());
        let Some(interrupt) = interrupt else {
            past_deadline.await;
            return Stop::Deadline(limit);
        };
        tokio::select! {
            biased;
            () = lookout.interrupted(interrupt) => Stop::Interrupted,
            () = past_deadline => Stop::Deadline(limit),
        }
    }
}

/// A standard stream that goes to the log. It takes everything and keeps what
/// the log's limit allows.
#[derive(Clone)]
struct Printed(CallLog, Source);

/// What a guest may write at once.
const CHUNK: usize = 64 << 10;

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.print(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.print(self.1, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
