//! What this crate reads from outside, one function for each: any bytes go in,
//! and what must hold for all of them is asserted. `tests/inputs` calls them
//! with committed and with found inputs.

use crate::config::parse_str;

/// A configuration.
///
/// # Panics
/// When an error says nothing, or the same text is read in two ways.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let env = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
    let read = || parse_str("holdfast.toml", text, &env);
    match read() {
        Ok(loaded) => {
            let again = read().expect("the same again");
            let shown = |valid: &crate::config::Valid| format!("{valid:?}");
            assert_eq!(shown(&loaded.valid), shown(&again.valid));
        }
        Err(errors) => {
            let said = errors.to_string();
            assert!(!said.trim().is_empty());
            assert_eq!(said, read().expect_err("the same again").to_string());
        }
    }
}

/// The body of a change of a cut-over rule.
pub fn change(data: &[u8]) {
    crate::admin::cutover::try_change(data);
}
