//! What a file is, seen from its first bytes and its outline.

use crate::error::LoadError;

const MAGIC: &[u8; 4] = b"\0asm";
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;

/// What the outline of a component says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The version it states, or nothing.
    pub(crate) version: String,
}

/// Refuses what is no whole component, and reads what it says of itself.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline, LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Precompiled);
    }
    let whole = bytes.len().min(4);
    if bytes[..whole] != MAGIC[..whole] {
        return Err(LoadError::NotWasm);
    }
    let Some(header) = bytes.get(..8) else {
        return Err(LoadError::Truncated("in the header".to_owned()));
    };
    // Two bytes of version, two of layer: 1 is a component, 0 a core module.
    if header[6..8] == [0, 0] {
        return Err(LoadError::CoreModule);
    }
    let mut outline = Outline::default();
    sections(bytes, |id, content| match id {
        CUSTOM => note(&mut outline, content),
        // A version noted when the handler was compiled is inside its module.
        CORE_MODULE if outline.version.is_empty() => {
            let _ = sections(content, |id, content| {
                if id == CUSTOM {
                    note(&mut outline, content);
                }
            });
        }
        _ => {}
    })?;
    Ok(outline)
}

fn note(outline: &mut Outline, content: &[u8]) {
    let Some((name, rest)) = named(content) else {
        return;
    };
    if name == b"version"
        && outline.version.is_empty()
        && let Ok(version) = std::str::from_utf8(rest)
        && version.len() <= 64
        && !version.chars().any(char::is_control)
    {
        outline.version = version.to_owned();
    }
}

/// Calls `each` with every section of a module or component.
fn sections<'a>(bytes: &'a [u8], mut each: impl FnMut(u8, &'a [u8])) -> Result<(), LoadError> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((&id, after)) = rest.split_first() {
        let at = bytes.len() - rest.len();
        let ends = || LoadError::Truncated(format!("in the section at byte {at}"));
        let (length, after) = number(after).ok_or_else(ends)?;
        let length = length as usize;
        if after.len() < length {
            return Err(ends());
        }
        let (content, next) = after.split_at(length);
        each(id, content);
        rest = next;
    }
    Ok(())
}

fn named(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(content)?;
    rest.split_at_checked(length as usize)
}

/// An unsigned number of 32 bits in LEB128.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("the text is right")
    }

    #[test]
    fn a_stated_version_is_read_from_the_component_or_its_module() {
        let outer = component(r#"(component (@custom "version" "1.2.3"))"#);
        assert_eq!(outline(&outer).expect("whole").version, "1.2.3");
        let inner = component(r#"(component (core module (@custom "version" "4.5")))"#);
        assert_eq!(outline(&inner).expect("whole").version, "4.5");
        let odd = component("(component (@custom \"version\" \"1\\1b[2J\"))");
        assert_eq!(outline(&odd).expect("whole").version, "");
    }

    #[test]
    fn a_cut_at_any_place_but_between_sections_is_seen() {
        let whole = component("(component (core module (func)) (core module (memory 1)))");
        let seen = (1..whole.len())
            .filter(|end| outline(&whole[..*end]).is_err())
            .count();
        assert!(seen >= whole.len() - 4, "{seen} of {}", whole.len());
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(matches!(outline(b""), Err(LoadError::Empty)));
        assert!(matches!(outline(b"#!/bin/sh"), Err(LoadError::NotWasm)));
        assert!(matches!(outline(b"\0as"), Err(LoadError::Truncated(_))));
        let module = component("(module)");
        assert!(matches!(outline(&module), Err(LoadError::CoreModule)));
    }
}
