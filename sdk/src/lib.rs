//! Write message handlers for Holdfast.
//!
//! A handler is a function with an attribute. It compiles to a WebAssembly
//! component (`cargo build --release --target wasm32-wasip2`, crate type
//! `cdylib`), which a Holdfast host calls once for each message, in a sandbox
//! of its own; and it compiles natively, where [`TestContext`] stands in for
//! the host.
//!
//! ```
//! use holdfast_sdk::{Context, Failure, Json, Outgoing, handler};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     id: String,
//!     cents: i64,
//! }
//!
//! #[handler]
//! fn handle(order: Json<Order>, ctx: &Context) -> Result<(), Failure> {
//!     if order.cents <= 0 {
//!         return Err(Failure::reject("an order costs something"));
//!     }
//!     let total = ctx.state().increment("total", order.cents)?;
//!     ctx.log().info(format_args!("order {}, {total} in all", order.id));
//!     ctx.publish("confirmations", Outgoing::json(&total)?)?;
//!     Ok(())
//! }
//!
//! // In its tests, natively:
//! use holdfast_sdk::{Message, TestContext};
//!
//! let test = TestContext::new().state("total", "100");
//! test.call(handle, Message::new(r#"{"id": "A-1", "cents": 250}"#)).unwrap();
//! assert_eq!(test.published()[0].message.body, b"350");
//! ```
//!
//! What a handler may rely on:
//!
//! - It is called again for the same message until it succeeds, is rejected, or
//!   has used up its attempts; [`Delivery::attempt`] counts.
//! - What it stages through the [`Context`] happens once per message, however
//!   often it is called, and not at all when it fails. What it does by other
//!   means, an [HTTP request](http::Http) above all, can repeat;
//!   [`Delivery::fence`] lets a sink refuse a late repeat.
//! - A panic ends the sandbox of this call and counts as a retry.

mod context;
mod failure;
mod handler;
pub mod http;
mod log;
mod message;
mod outgoing;
mod state;

#[cfg(target_arch = "wasm32")]
mod bindings;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod guest_http;
#[cfg(target_arch = "wasm32")]
use guest as host;

#[cfg(not(target_arch = "wasm32"))]
mod testing;
#[cfg(not(target_arch = "wasm32"))]
use testing as host;
#[cfg(not(target_arch = "wasm32"))]
pub use testing::{LogLine, Published, TestContext};

pub use context::{BatchContext, Context};
pub use failure::{Failure, OrReject};
pub use handler::{BatchHandler, FromMessage, Handler, Json};
pub use holdfast_sdk_macros::{batch_handler, handler};
pub use log::{Level, Log};
pub use message::{Delivery, Header, Message};
pub use outgoing::{Outgoing, PublishError, Target};
pub use state::{State, StateError};

pub use serde_json;

/// What the macros expand to. Nothing here is for use by hand.
#[doc(hidden)]
pub mod __private {
    use crate::{BatchHandler, Handler};

    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings::{
        batch_consumer,
        batch_consumer::{
            export_batch_consumer,
            exports::holdfast::consumer::batch_handler::Guest as BatchHandlerExport,
        },
        consumer,
        consumer::{export_consumer, exports::holdfast::consumer::handler::Guest as HandlerExport},
    };
    #[cfg(target_arch = "wasm32")]
    pub use crate::guest::{WireFailure, WireMessage, handle, handle_batch};

    pub fn assert_handler<A>(_: &impl Handler<A>) {}

    pub fn assert_batch_handler<A>(_: &impl BatchHandler<A>) {}
}
