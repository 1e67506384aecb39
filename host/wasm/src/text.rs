//! Texts from guests, made safe to show.

use std::fmt::Write as _;

use holdfast_core::claim::bounded;

/// Writes control characters, line breaks and what turns the direction of
/// writing as escapes: a guest cannot forge a log line or steer a terminal.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            odd if is_odd(odd) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(odd));
            }
            plain => out.push(plain),
        }
    }
    out
}

fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
}

/// An error text of a guest: cut first, so that a huge one costs nothing.
pub(crate) fn error_text(text: &str) -> String {
    bounded(&escape(&bounded(text)))
}

/// The longest beginning of `text` that is at most `bytes` long.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A size for people: whole units where it is one.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_acted_upon() {
        let forged = "ok\n2026-01-01 ERROR forged\u{1b}[2J\u{202e}x\u{7f}é";
        assert_eq!(
            escape(forged),
            "ok\\n2026-01-01 ERROR forged\\u{1b}[2J\\u{202e}x\\u{7f}é"
        );
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(head("aé", 2), "a");
        assert_eq!(head("aé", 3), "aé");
    }

    #[test]
    fn a_huge_error_text_is_cut() {
        let text = error_text(&"\u{1}".repeat(10 << 20));
        assert!(text.len() <= 1024, "{}", text.len());
        assert!(text.ends_with("(cut)"));
    }

    #[test]
    fn sizes_are_shown_in_whole_units() {
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size(1000), "1000 bytes");
    }
}
