//! What reads bytes from outside, by name. Each of these takes any bytes: it must
//! neither panic nor hang, and asserts what holds for all of them.
//!
//! The committed inputs are in `corpus/NAME`; the tests run all of them, and
//! `cargo xtask fuzz` looks for more.

mod component;

/// Takes any bytes.
pub type Entry = fn(&[u8]);

/// Every one of them, with what it reads.
pub const TARGETS: [(&str, &str, Entry); 9] = [
    (
        "configuration",
        "a configuration file",
        holdfast::inputs::configuration,
    ),
    (
        "routing",
        "key, lane and body of a message",
        holdfast_runtime::inputs::routing,
    ),
    (
        "headers",
        "the headers of a message from RabbitMQ",
        holdfast_rabbitmq::inputs::message,
    ),
    (
        "reply",
        "the answer of a script in Redis",
        holdfast_redis::inputs::reply,
    ),
    ("component", "a plugin", component::load),
    (
        "change",
        "a change over the admin interface",
        holdfast::inputs::change,
    ),
    (
        "claim",
        "a claim in an embedded file",
        holdfast_embedded::inputs::claim,
    ),
    (
        "letter",
        "the headers of a dead letter",
        holdfast_runtime::inputs::letter,
    ),
    (
        "halt",
        "the mark of a halted lane",
        holdfast_runtime::inputs::halt_mark,
    ),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Entry> {
    let mut found = TARGETS.iter().filter(|(of, _, _)| *of == name);
    found.next().map(|(_, _, entry)| *entry)
}
