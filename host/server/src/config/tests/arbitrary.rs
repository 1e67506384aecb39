//! No text makes the reader panic or go silent.

use proptest::prelude::*;

use super::{BASE, env};
use crate::config::{parse_str, schema::KEYS};

/// Reads a text, and prints all there is to print.
fn read(text: &str) {
    match parse_str("f.toml", text, &env) {
        Ok(loaded) => {
            let _ = format!("{loaded:?}{}{}", loaded.warnings, loaded.warnings.to_json());
        }
        Err(errors) => {
            assert!(!errors.report().is_empty());
            assert!(errors.to_string().contains("f.toml:"), "{errors}");
            let _ = errors.to_json();
        }
    }
}

/// Texts that are nearly settings.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"\"".to_owned()),
        Just("\"${WHO}é${\"".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("[[], {}, 1]".to_owned()),
        Just("\"amqp://u:p@é:99999/%zz?@#\"".to_owned()),
        Just("\"q.{0..99999}\"".to_owned()),
        Just("\"\"\"a\n${NONE}\"\"\"".to_owned()),
        "[0-9]{1,22}[a-zA-Z]{0,3}".prop_map(|text| format!("\"{text}\"")),
        "[-+]?[0-9]{1,25}(\\.[0-9]{1,5})?",
        "\\PC{0,12}",
        Just("nan".to_owned()),
        Just("-inf".to_owned()),
        Just("1979-05-27T07:32:00Z".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_text(text in "(?s).{0,200}") {
        read(&text);
    }

    /// Bad input: Configuration | any bytes | refused or taken, no crash
    #[test]
    fn any_bytes_that_look_like_toml(text in "[a-z\\[\\]{}=.,:/@$\"'\\\\#\n\t é0-9-]{0,200}") {
        read(&text);
    }

    #[test]
    fn any_value_for_any_key(at in 0..KEYS.len(), value in value(), base in any::<bool>()) {
        let path = KEYS[at].path.replace('*', "a");
        let base = if base { BASE } else { "" };
        read(&format!("{path} = {value}\n{base}"));
    }

    #[test]
    fn a_good_file_with_a_piece_cut_out(from in 0..BASE.len(), length in 0..40_usize) {
        let to = (from + length).min(BASE.len());
        read(&format!("{}{}", &BASE[..from], &BASE[to..]));
    }
}

/// Bad input: Configuration | tables and arrays nested 100 000 deep | refused, no crash
#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    for open in ["[", "{a=", "a."] {
        read(&format!("x = {}", open.repeat(100_000)));
        read(&open.repeat(100_000));
    }
}
