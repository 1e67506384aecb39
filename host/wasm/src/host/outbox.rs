//! `holdfast:consumer/outbox`: staged, sent after the commit.

use holdfast_ports::message::{Header, Staged, Target};

use crate::bindings::consumer::holdfast::consumer::outbox::{
    Host, Outgoing, Target as GuestTarget,
};
use crate::guest::{Guest, Stop};
use crate::stage::queue_target;

impl Host for Guest {
    fn publish(
        &mut self,
        to: GuestTarget,
        message: Outgoing,
    ) -> wasmtime::Result<Result<(), String>> {
        self.count()?;
        let call = self.work.single().ok_or(Stop::NoMessage("outbox"))?;
        let (broker, to) = match to {
            GuestTarget::Queue(queue) => queue_target(&call.brokers, &queue),
            GuestTarget::Exchange((exchange, key)) => (None, Target::Exchange(exchange, key)),
        };
        let headers = message.headers.into_iter().map(|header| Header {
            name: header.name,
            value: header.value,
        });
        let staged = Staged {
            broker,
            to,
            body: message.body,
            content_type: message.content_type,
            headers: headers.collect(),
            lane: message.lane,
        };
        let limits = *self.limits();
        Ok(self.stage.publish(&limits, staged))
    }
}
