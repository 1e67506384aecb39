//! What can be the name of a queue, and what a message may carry.

use holdfast_ports::broker::PublishError;
use holdfast_ports::message::Outgoing;

/// The longest name of a queue, id or header in bytes, as in AMQP.
const MAX_NAME: usize = 255;

/// What is wrong with a name, if anything.
pub(super) fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.len() > MAX_NAME {
        return Err(format!("it has {} bytes of at most {MAX_NAME}", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    Ok(())
}

/// What makes a message impossible to keep, the same as with a real broker.
pub(super) fn check_message(message: &Outgoing) -> Result<(), PublishError> {
    let too_long = |text: &str| text.len() > MAX_NAME;
    let invalid = |what: String| Err(PublishError::Invalid(what));
    if message.id.as_deref().is_some_and(too_long) {
        return invalid(format!("its id has more than {MAX_NAME} bytes"));
    }
    if message.content_type.as_deref().is_some_and(too_long) {
        return invalid(format!("its content type has more than {MAX_NAME} bytes"));
    }
    match message.headers.iter().find(|h| too_long(&h.name)) {
        Some(_) => invalid(format!("a header's name has more than {MAX_NAME} bytes")),
        None => Ok(()),
    }
}
