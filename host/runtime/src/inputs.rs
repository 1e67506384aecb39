//! What this crate reads from outside, one function for each: any bytes go in,
//! and what must hold for all of them is asserted. `tests/inputs` calls them
//! with committed and with found inputs.

use std::sync::Arc;

use holdfast_core::claim::Fingerprint;
use holdfast_ports::look::{Seen, Spot};
use holdfast_ports::message::{Header, Incoming};

use crate::dead::Letter;
use crate::halts;
use crate::route::route;
use crate::spec::{Mode, Source};
use crate::testing::spec;

/// A JSON pointer, a line feed and a body: where the message belongs.
///
/// # Panics
/// When a key is not as keys are, or is another one the second time.
pub fn routing(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let Some(pointer) = parts.next().and_then(|text| std::str::from_utf8(text).ok()) else {
        return;
    };
    let mut spec = spec();
    spec.key = Source::Json(pointer.to_owned());
    spec.order.mode = Mode::Lanes;
    spec.order.lane = Some(spec.key.clone());
    let message = Incoming {
        body: parts.next().unwrap_or_default().to_vec().into(),
        ..Incoming::default()
    };
    let read = route(&spec, &message);
    assert_eq!(
        read,
        route(&spec, &message),
        "the same message, the same place"
    );
    match read {
        Ok(place) => {
            let key = place.key.as_str();
            assert!(!key.is_empty() && key.len() <= 200, "{key}");
            assert!(!key.chars().any(char::is_control), "{key:?}");
            assert_eq!(place.fingerprint, Some(Fingerprint::of(&message.body)));
        }
        Err(refusal) => assert!(!refusal.error.is_empty()),
    }
}

/// Lines of a name, a colon and a value: the headers of a dead letter.
///
/// # Panics
/// When it has a name that is none.
pub fn letter(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let own = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some(Header {
            name: String::from_utf8_lossy(&line[..at]).into_owned(),
            value: line[at + 1..].to_vec(),
        })
    });
    let letter = Letter::read(Seen {
        spot: Spot(0),
        message: Arc::new(Incoming::default()),
        own: own.collect(),
    });
    assert!(!letter.reason().as_str().is_empty());
    assert!(letter.name().is_none_or(|name| name.len() <= 200));
}

/// The mark of a halted lane, as it is in the store.
///
/// # Panics
/// When it is another one once it was written.
pub fn halt_mark(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some((lane, mark)) = halts::read(text) {
        let again = halts::read(&halts::written(&lane, &mark));
        assert_eq!(again, Some((lane, mark)), "written as it was read");
    }
}
