//! As much of Redis's wire protocol as sending one command needs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Sends one command on a connection of its own and returns its answer as
/// text: a string as it is, an integer in decimals, nil as the empty string,
/// the elements of an array one a line.
pub(crate) fn command(server: SocketAddr, words: &[&str], limit: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, limit)
        .with_context(|| format!("failed to connect to Redis at {server}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    stream
        .write_all(&request)
        .context("failed to send a command to Redis")?;
    answer(&mut BufReader::new(stream)).with_context(|| format!("failed to run {words:?}"))
}

fn answer(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line).context("no answer from Redis")?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else {
        bail!("Redis closed the connection");
    };
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => bail!("Redis answered: {rest}"),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else {
                return Ok(String::new());
            };
            let mut text = vec![0; length + 2];
            from.read_exact(&mut text)?;
            text.truncate(length);
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        "*" => {
            let count = rest.parse::<usize>().unwrap_or(0);
            let lines: Result<Vec<String>> = (0..count).map(|_| answer(from)).collect();
            Ok(lines?.join("\n"))
        }
        _ => bail!("Redis sent something that is not its protocol: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn every_kind_of_answer_becomes_text() {
        let cases = [
            ("+PONG\r\n", "PONG"),
            (":42\r\n", "42"),
            ("$5\r\na\r\nbc\r\n", "a\r\nbc"),
            ("$-1\r\n", ""),
            ("*2\r\n$1\r\na\r\n:7\r\n", "a\n7"),
            ("*0\r\n", ""),
        ];
        for (wire, text) in cases {
            assert_eq!(answer(&mut wire.as_bytes()).unwrap(), text, "{wire:?}");
        }
    }

    #[test]
    fn an_error_answer_is_an_error() {
        let error = answer(&mut "-WRONGTYPE no\r\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        assert!(answer(&mut "".as_bytes()).is_err());
    }
}
