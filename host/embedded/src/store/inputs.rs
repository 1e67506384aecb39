//! What this crate reads from outside: any bytes go in, and what must hold for
//! all of them is asserted. `tests/inputs` calls it with committed and with
//! found inputs.

use super::records::{StoredClaim, load, store};

/// The row of a claim, as it is in the file.
///
/// # Panics
/// When a record that was read is another one once it was written.
pub fn claim(data: &[u8]) {
    let Ok(stored) = postcard::from_bytes::<StoredClaim>(data) else {
        return;
    };
    let Ok((record, outbox)) = load(stored) else {
        return;
    };
    let (written, history) = store(record.clone(), outbox);
    let bytes = postcard::to_stdvec(&written).expect("a record can be written");
    let again = postcard::from_bytes(&bytes).expect("and read");
    let (again, _) = load(again).expect("what was known is known");
    assert_eq!(again.side, record.side);
    assert_eq!(again.state, record.state);
    assert_eq!(again.token, record.token);
    assert_eq!(again.fence, record.fence);
    assert_eq!(history.is_some(), record.state.name().is_finished());
}
