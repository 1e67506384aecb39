//! The three parts of an address that a request is made of.

use super::HttpError;

/// `http://authority/path?query`, taken apart. What the parts may contain is
/// for the host to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) tls: bool,
    pub(crate) authority: &'a str,
    /// Path and query, with the slash in front; without the fragment.
    pub(crate) path: String,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, HttpError> {
        let wrong = |why: &str| HttpError::InvalidRequest(format!("{text:?} {why}"));
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong(
                "has a space or a control character; write %20 for a space",
            ));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("does not begin with http:// or https://"))?;
        let tls = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(wrong("does not begin with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(wrong("names no host"));
        }
        if authority.contains('@') {
            // Not shown: what stands there is a password.
            return Err(HttpError::InvalidRequest(
                "the address has a user in it; send an `authorization` header".to_owned(),
            ));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Url {
            tls,
            authority,
            path: format!("{slash}{path}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        for (text, tls, authority, path) in [
            ("http://a", false, "a", "/"),
            ("HTTPS://a:8443/b/c?d=e", true, "a:8443", "/b/c?d=e"),
            ("https://a?b=/c", true, "a", "/?b=/c"),
            ("http://[::1]:80/x#part?no", false, "[::1]:80", "/x"),
            ("http://a/http://b", false, "a", "/http://b"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.tls, url.authority), (tls, authority), "{text}");
            assert_eq!(url.path, path, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "http://",
            "http:///path",
            "http://a b",
            "http://a/b\r\nX-Evil: 1",
            "http://user:secret@example.com/",
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(matches!(error, HttpError::InvalidRequest(_)), "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!error.may_have_arrived());
        }
    }
}
