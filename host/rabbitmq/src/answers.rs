//! What the broker's answers say about one publish among many.

use holdfast_ports::broker::PublishError;
use holdfast_ports::error::PortError;
use lapin::message::BasicReturnMessage;

use crate::convert::Parcel;
use crate::error::{self, ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED};

/// Returned messages whose publish was not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Returns(Vec<BasicReturnMessage>);

impl Returns {
    pub(crate) fn note(&mut self, message: Option<BasicReturnMessage>) {
        self.0.extend(message);
    }

    /// Was this one returned, and why? Two that look the same are as good as
    /// each other: one of them was returned.
    pub(crate) fn take(&mut self, parcel: &Parcel) -> Option<String> {
        let index = self.0.iter().position(|message| is(message, parcel))?;
        let message = self.0.swap_remove(index);
        Some(format!(
            "exchange {:?}, routing key {:?}: {} {}",
            message.exchange.as_str(),
            message.routing_key.as_str(),
            message.reply_code,
            message.reply_text
        ))
    }
}

fn is(message: &BasicReturnMessage, parcel: &Parcel) -> bool {
    message.exchange == parcel.exchange
        && message.routing_key == parcel.routing_key
        && message.properties.message_id() == parcel.properties.message_id()
        && message.data == parcel.body
}

/// What the end of the channel says about a publish that was in flight: one of
/// them may be the reason, the others are only not known to have arrived.
pub(crate) fn refusal(parcel: &Parcel, error: &lapin::Error) -> PublishError {
    let text = error::text(error);
    let exchange = match parcel.exchange.as_str() {
        "" => "amq.default",
        name => name,
    };
    let its_exchange = text.contains(&format!("'{exchange}'"));
    let its_size = text.contains("message size") && text.contains(&parcel.body.len().to_string());
    match error::code(error) {
        Some(NOT_FOUND) if its_exchange => PublishError::Returned(text),
        Some(PRECONDITION_FAILED) if its_size => PublishError::Invalid(text),
        Some(ACCESS_REFUSED) if its_exchange => {
            PublishError::Away(PortError::permanent("publish").because(text))
        }
        _ => PublishError::Away(PortError::transient("publish").because(text)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_ports::message::{Outgoing, Target};
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};

    use super::*;

    fn parcel(exchange: &str, body: &str) -> Parcel {
        Parcel::new(Outgoing {
            to: Target::Exchange(exchange.to_owned(), "key".to_owned()),
            body: Bytes::copy_from_slice(body.as_bytes()),
            id: None,
            content_type: None,
            headers: Vec::new(),
            timestamp_ms: None,
        })
        .expect("a parcel")
    }

    fn closed_with(error: AMQPSoftError, text: &str) -> lapin::Error {
        let error = AMQPError::new(AMQPErrorKind::Soft(error), text.into());
        lapin::ErrorKind::ProtocolError(error).into()
    }

    #[test]
    fn only_the_publish_that_ended_the_channel_is_to_blame() {
        let text = "NOT_FOUND - no exchange 'shop' in vhost '/'";
        let error = closed_with(AMQPSoftError::NOTFOUND, text);
        assert!(refusal(&parcel("shop", "x"), &error).is_undeliverable());
        let innocent = refusal(&parcel("other", "x"), &error);
        assert!(matches!(&innocent, PublishError::Away(error) if error.is_transient()));

        let text = "PRECONDITION_FAILED - message size 5 is larger than max size 4";
        let error = closed_with(AMQPSoftError::PRECONDITIONFAILED, text);
        assert!(refusal(&parcel("", "12345"), &error).is_undeliverable());
        assert!(!refusal(&parcel("", "123"), &error).is_undeliverable());
    }
}
