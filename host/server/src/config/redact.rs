//! Masks what looks like a secret in the text of a configuration file.
//!
//! Errors show the line they are about, and that line may hold a password. The
//! masking works on the text and not on the parsed tree, because the lines
//! that most need it are those that do not parse. It would rather hide too
//! much: user and password of anything with `://`, the values of keys named
//! like a token, and every plugin variable. References to environment variables
//! stay readable. Byte offsets stay as they are.

/// The text with secrets replaced by stars and control characters by `?`.
pub(super) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_vars = false;
    // The closing quotes of a string that began on an earlier line.
    let mut open_string: Option<(&'static str, bool)> = None;
    for line in text.split_inclusive('\n') {
        let mut hidden = vec![false; line.len()];
        let trimmed = line.trim_start();
        if open_string.is_none() && trimmed.starts_with('[') && !trimmed.starts_with("[[") {
            let name = trimmed
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default();
            let last = name.rsplit('.').next().unwrap_or_default();
            in_vars = last.trim().trim_matches(['"', '\'']) == "vars";
        }
        if let Some((quotes, secret)) = open_string {
            let end = line.find(quotes).unwrap_or(line.len());
            if secret {
                hidden[..end].fill(true);
            }
            if end < line.len() {
                open_string = None;
            }
        } else {
            hide_values(line, in_vars, &mut hidden);
            open_string = opens_long_string(line, &hidden);
        }
        hide_user(line, &mut hidden);
        write_masked(line, &hidden, &mut out);
    }
    out
}

/// Hides the values of keys that look secret, of a `vars` table, and of every
/// key while `all` is set.
fn hide_values(line: &str, all: bool, hidden: &mut [bool]) {
    let mut from = 0;
    while let Some(found) = line[from..].find('=') {
        let equals = from + found;
        from = equals + 1;
        let key = key_before(&line[..equals]);
        let is_vars = key == "vars"
            || key.ends_with(".vars")
            || key.contains(".vars.")
            || key.starts_with("vars.");
        if all || is_vars {
            let to = line
                .find(" #")
                .filter(|at| *at > equals && !all)
                .unwrap_or(line.len());
            hidden[from..to].fill(true);
            return;
        }
        if is_secret(key.rsplit('.').next().unwrap_or_default()) {
            let to = value_end(line, from);
            hidden[from..to].fill(true);
            from = to;
        }
    }
}

/// The dotted key that ends the text before an `=`, without quotes.
fn key_before(text: &str) -> String {
    let text = text.trim_end();
    let from = text.rfind([',', '{', '=']).map_or(0, |at| at + 1);
    text[from..]
        .replace(['"', '\'', ' ', '\t'], "")
        .to_ascii_lowercase()
}

fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 7] = [
        "token",
        "secret",
        "passw",
        "pwd",
        "credential",
        "apikey",
        "auth",
    ];
    PARTS.iter().any(|part| key.contains(part))
        || key.ends_with("-key")
        || key.ends_with("_key")
        || (key.len() >= 4 && strsim::osa_distance(key, "token") <= 2)
}

/// Where a value that begins at `from` ends: after its closing quote, or at
/// the end of the line when it has none.
fn value_end(line: &str, from: usize) -> usize {
    let value = line[from..].trim_start();
    let start = line.len() - value.len();
    let quote = match value.chars().next() {
        Some(quote @ ('"' | '\'')) if !value.starts_with("\"\"\"") && !value.starts_with("'''") => {
            quote
        }
        _ => return line.len(),
    };
    let mut escaped = false;
    for (at, c) in value.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return start + at + 1,
            _ => {}
        }
    }
    line.len()
}

/// Hides what stands between `://` and the last `@` of the line, or, without
/// an `@`, anything before a host that cannot be a port.
fn hide_user(line: &str, hidden: &mut [bool]) {
    let Some(scheme) = line.find("://") else {
        return;
    };
    let from = scheme + 3;
    if let Some(at) = line.rfind('@').filter(|at| *at > from) {
        hidden[from..at].fill(true);
        return;
    }
    let rest = &line[from..];
    let end = rest.find(['"', '\'', '/', '\n', ' ']).unwrap_or(rest.len());
    if let Some((name, port)) = rest[..end].split_once(':') {
        let plain = port.chars().all(|c| c.is_ascii_digit()) || name.starts_with('[');
        if !plain && !port.starts_with('$') {
            hidden[from..from + end].fill(true);
        }
    }
}

/// The closing quotes of a multi-line string that this line leaves open, and
/// whether what it holds is to be hidden.
fn opens_long_string(line: &str, hidden: &[bool]) -> Option<(&'static str, bool)> {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(at) = line.find(quotes)
            && line.matches(quotes).count() % 2 == 1
        {
            let is_url = line.contains("url") || line.contains("://");
            return Some((quotes, is_url || hidden.get(at).copied().unwrap_or(false)));
        }
    }
    None
}

fn write_masked(line: &str, hidden: &[bool], out: &mut String) {
    let readable = |at: usize| references(line).any(|(from, to)| (from..to).contains(&at));
    for (at, c) in line.char_indices() {
        let plain = matches!(c, '\n' | '\r' | '\t' | ' ' | '"' | '\'');
        if hidden[at] && !plain && !readable(at) {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else if c.is_control() && !plain {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
}

/// Where the line names environment variables: `${NAME}`, and of
/// `${NAME:-default}` all but the default.
fn references(line: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    line.match_indices("${").filter_map(|(at, _)| {
        let name = line[at + 2..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        let end = at + 2 + name;
        let rest = &line[end..];
        if rest.starts_with('}') {
            Some((at, end + 1))
        } else {
            rest.starts_with(":-").then_some((at, end + 2))
        }
    })
}
