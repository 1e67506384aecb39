//! Environment variables in texts: `${NAME}` and `${NAME:-default}`.

use super::Env;

/// Why a text could not be expanded. Offsets count in the text as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    /// A variable without a value and without a default.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// What stands between the braces is no name.
    #[error("`${{` is not followed by the name of an environment variable")]
    BadName,
    /// No closing brace.
    #[error("a `${{` is not closed by `}}`")]
    Open,
    /// A reference inside a default.
    #[error("the default of `{0}` refers to another variable, which is not supported")]
    Nested(String),
}

impl ExpandError {
    pub(super) fn help(&self) -> String {
        match self {
            Self::Unset(name) => {
                format!("set it, or give a default: ${{{name}:-value}}")
            }
            Self::BadName | Self::Open => {
                "write ${NAME} or ${NAME:-default}; a plain `${` is written `$${`".to_owned()
            }
            Self::Nested(_) => "give a plain text as the default".to_owned(),
        }
    }
}

/// Replaces references by values. A default also stands in for an empty value,
/// as in a shell; `$${` stands for `${` itself. Values are taken as they are:
/// a reference in one is not followed.
///
/// # Errors
/// Every reference that cannot be replaced, each with the byte offset of its
/// `$` in `text`.
pub(super) fn expand(text: &str, env: Env<'_>) -> Result<String, Vec<(usize, ExpandError)>> {
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut done = 0;
    while let Some(found) = text[done..].find("${") {
        let at = done + found;
        if text[done..at].ends_with('$') {
            out.push_str(&text[done..at - 1]);
            out.push_str("${");
            done = at + 2;
            continue;
        }
        out.push_str(&text[done..at]);
        match reference(&text[at + 2..], env) {
            Ok((value, length)) => {
                out.push_str(&value);
                done = at + 2 + length;
            }
            Err(error) => {
                errors.push((at, error));
                let closed = text[at..].find('}');
                done = closed.map_or(text.len(), |end| at + end + 1);
            }
        }
    }
    out.push_str(&text[done..]);
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(errors)
    }
}

/// The value of the reference that begins here, and its length with the brace.
fn reference(text: &str, env: Env<'_>) -> Result<(String, usize), ExpandError> {
    let end = text.find('}').ok_or(ExpandError::Open)?;
    let (name, default) = match text[..end].split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (&text[..end], None),
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(letter)
    {
        return Err(ExpandError::BadName);
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(ExpandError::Nested(name.to_owned()));
    }
    match (env(name), default) {
        (Some(value), None) => Ok((value, end + 1)),
        (Some(value), Some(_)) if !value.is_empty() => Ok((value, end + 1)),
        (_, Some(default)) => Ok((default.to_owned(), end + 1)),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "USER" => Some("ann".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("${USER}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_and_everything_else_stays() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${USER}", "ann"),
            ("a-${USER}-b-${USER}", "a-ann-b-ann"),
            ("${NONE:-other}", "other"),
            ("${NONE:-}", ""),
            ("${EMPTY:-other}", "other"),
            ("${EMPTY}", ""),
            ("${SLY}", "${USER}"),
            ("$${USER}", "${USER}"),
            ("pa$$word$", "pa$$word$"),
            ("é${USER}é", "éanné"),
        ] {
            assert_eq!(expand(text, &env), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_reference_that_fails_is_named_with_its_place() {
        let unset = |name: &str| ExpandError::Unset(name.to_owned());
        assert_eq!(
            expand("${A} ${USER} ${B}", &env),
            Err(vec![(0, unset("A")), (13, unset("B"))])
        );
        assert_eq!(expand("x${", &env), Err(vec![(1, ExpandError::Open)]));
        assert_eq!(expand("${}", &env), Err(vec![(0, ExpandError::BadName)]));
        assert_eq!(expand("${1A}", &env), Err(vec![(0, ExpandError::BadName)]));
        assert_eq!(
            expand("${A:-${B}}", &env),
            Err(vec![(0, ExpandError::Nested("A".to_owned()))])
        );
    }
}
