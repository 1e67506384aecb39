//! What this crate reads from outside, one function for each: any bytes go in,
//! and what must hold for all of them is asserted. `tests/inputs` calls them
//! with committed and with found inputs.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::parsing::parse_field_table;

use crate::convert::{incoming, waiting_copy};

/// A table of headers as it comes over the wire (AMQP 0-9-1), and a body behind
/// it.
///
/// # Panics
/// When the body is changed, or a header of the host's own is shown.
pub fn message(data: &[u8]) {
    let Ok((body, table)) = parse_field_table(data) else {
        return;
    };
    let mut delivery = Delivery::mock(1, "".into(), "orders".into(), false, body.to_vec());
    delivery.properties = BasicProperties::default().with_headers(table);
    let message = incoming(delivery, "orders");
    assert_eq!(&message.body[..], body);
    for header in &message.headers {
        let own = header.name.starts_with("x-holdfast-");
        let passed = ["sequence", "lane"]
            .iter()
            .any(|of| header.name.ends_with(of));
        assert!(
            !own || passed,
            "a header of the host's own: {}",
            header.name
        );
    }
    let left = Duration::from_secs(8).as_millis();
    let copy = waiting_copy(&message, "orders.delay.8000".to_owned(), left);
    assert_eq!(copy.body, message.body);
}
