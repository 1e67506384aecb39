//! What `publish` sends: one body, or a file of which each line is one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use super::args::Publish;
use super::failure::Failure;

/// One message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// The line it stands in, from 1; none for a body of its own.
    pub(super) line: Option<u64>,
    /// The content.
    pub(super) bytes: Vec<u8>,
    /// How much of the input is read, in bytes.
    pub(super) read: u64,
}

/// The bodies in their order.
pub(super) enum Bodies {
    /// One.
    One(Option<Vec<u8>>),
    /// One for each line that is not empty.
    Lines {
        /// What is left to be read.
        input: Box<dyn BufRead + Send>,
        /// The line that was read last.
        line: u64,
        /// How much was read, in bytes.
        read: u64,
    },
}

impl Bodies {
    /// Opens what the command line names, and how many bytes it has.
    pub(super) fn open(publish: &Publish) -> Result<(Self, Option<u64>), Failure> {
        let one = match (&publish.body, &publish.lines) {
            (Some(file), _) => read(file)?,
            (None, None) => read(Path::new("-"))?,
            (None, Some(file)) => return lines(file),
        };
        Ok((Self::One(Some(one)), None))
    }

    /// Is it one message only?
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// The next body.
    pub(super) fn next(&mut self) -> io::Result<Option<Body>> {
        match self {
            Self::One(body) => Ok(body.take().map(|bytes| Body {
                line: None,
                read: bytes.len() as u64,
                bytes,
            })),
            Self::Lines { input, line, read } => loop {
                let mut bytes = Vec::new();
                let got = input.read_until(b'\n', &mut bytes)?;
                if got == 0 {
                    return Ok(None);
                }
                *read += got as u64;
                *line += 1;
                if bytes.ends_with(b"\n") {
                    bytes.pop();
                }
                if bytes.ends_with(b"\r") {
                    bytes.pop();
                }
                if !bytes.is_empty() {
                    let (line, read) = (Some(*line), *read);
                    return Ok(Some(Body { line, bytes, read }));
                }
            },
        }
    }
}

fn lines(file: &Path) -> Result<(Bodies, Option<u64>), Failure> {
    let (input, size): (Box<dyn BufRead + Send>, _) = if file == Path::new("-") {
        (Box::new(BufReader::new(io::stdin())), None)
    } else {
        let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
        let size = opened.metadata().ok().map(|about| about.len());
        (Box::new(BufReader::new(opened)), size)
    };
    let bodies = Bodies::Lines {
        input,
        line: 0,
        read: 0,
    };
    Ok((bodies, size))
}

/// A whole file; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes);
        return read
            .map(|_| bytes)
            .map_err(|error| unreadable(file, &error));
    }
    std::fs::read(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    let name = match file == Path::new("-") {
        true => "standard input".into(),
        false => file.display().to_string(),
    };
    Failure::Failed(format!("failed to read {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_not_empty_is_a_message_and_knows_its_number() {
        let mut bodies = Bodies::Lines {
            input: Box::new(io::Cursor::new(b"one\r\n\ntwo\xff\n\nthree".to_vec())),
            line: 0,
            read: 0,
        };
        let mut all = Vec::new();
        while let Some(body) = bodies.next().expect("it can be read") {
            all.push((body.line, body.bytes, body.read));
        }
        assert_eq!(
            all,
            [
                (Some(1), b"one".to_vec(), 5),
                (Some(3), b"two\xff".to_vec(), 11),
                (Some(5), b"three".to_vec(), 17),
            ]
        );
    }
}
