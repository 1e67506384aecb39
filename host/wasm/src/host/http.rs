//! `wasi:http` 0.2, outgoing only. Who may be asked is in [`crate::http`].

use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView, WasiHttpView};

use crate::guest::Guest;
use crate::http::Http;

/// Adds the imports to a linker. A component that does not import them pays
/// nothing for them.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    outgoing_handler::add_to_linker::<Guest, WasiHttp>(linker, Guest::http)?;
    let options = LinkOptions::default();
    types::add_to_linker::<Guest, WasiHttp>(linker, &(&options).into(), Guest::http)
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let deadline = self.deadline();
        self.wasi();
        let wasi = self.wasi.as_mut().expect("it was just made");
        let http = self
            .http
            .get_or_insert_with(|| Box::new(Http::new(&self.shared, &self.work, deadline)));
        WasiHttpCtxView {
            hooks: &mut http.outbound,
            table: &mut wasi.table,
            ctx: &mut http.context,
        }
    }
}
