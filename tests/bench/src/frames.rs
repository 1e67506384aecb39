//! As much of AMQP 0-9-1 as is needed to see deliveries and acknowledgements
//! pass by.

/// Something seen on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Delivered {
        channel: u16,
        tag: u64,
        redelivered: bool,
        queue: String,
    },
    Acknowledged {
        channel: u16,
        tag: u64,
        multiple: bool,
    },
}

/// Cuts one direction of a connection into frames.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    pending: Vec<u8>,
}

const HEADER: usize = 7;
const METHOD_FRAME: u8 = 1;
const BASIC: u16 = 60;
const DELIVER: u16 = 60;
const ACK: u16 = 80;

impl Scanner {
    /// Takes the next bytes and returns what became visible with them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.pending.extend_from_slice(bytes);
        let mut seen = Vec::new();
        let mut rest = &self.pending[..];
        // A client speaks first, with eight bytes that are no frame.
        if let Some(after) = rest.strip_prefix(b"AMQP\x00\x00\x09\x01") {
            rest = after;
        }
        while let Some((head, _)) = rest.split_at_checked(HEADER) {
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let Some((frame, after)) = rest.split_at_checked(HEADER + size + 1) else {
                break;
            };
            if frame[0] == METHOD_FRAME {
                let channel = u16::from_be_bytes([frame[1], frame[2]]);
                seen.extend(method(channel, &frame[HEADER..HEADER + size]));
            }
            rest = after;
        }
        let taken = self.pending.len() - rest.len();
        self.pending.drain(..taken);
        seen
    }
}

fn method(channel: u16, payload: &[u8]) -> Option<Seen> {
    let mut fields = Fields(payload);
    match (fields.u16()?, fields.u16()?) {
        (BASIC, DELIVER) => {
            fields.text()?; // consumer tag
            let tag = fields.u64()?;
            let redelivered = fields.u8()? & 1 == 1;
            fields.text()?; // exchange
            Some(Seen::Delivered {
                channel,
                tag,
                redelivered,
                // Sent through the default exchange, the key is the queue.
                queue: fields.text()?,
            })
        }
        (BASIC, ACK) => Some(Seen::Acknowledged {
            channel,
            tag: fields.u64()?,
            multiple: fields.u8()? & 1 == 1,
        }),
        _ => None,
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(channel.to_be_bytes());
        bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes.push(0xCE);
        bytes
    }

    fn deliver(tag: u64) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 60, 2, b'c', b't'];
        payload.extend(tag.to_be_bytes());
        payload.extend([0, 0, 1, b'q']);
        frame(1, 3, &payload)
    }

    fn ack(tag: u64, multiple: u8) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 80];
        payload.extend(tag.to_be_bytes());
        payload.push(multiple);
        frame(1, 3, &payload)
    }

    #[test]
    fn deliveries_and_acknowledgements_are_seen_however_the_bytes_are_cut() {
        let mut stream = b"AMQP\x00\x00\x09\x01".to_vec();
        stream.extend(frame(1, 0, &[0, 10, 0, 11]));
        stream.extend(deliver(1));
        stream.extend(frame(2, 3, &[0; 20]));
        stream.extend(frame(3, 3, b"\x00\x3C\x00\x50 looks like an ack"));
        stream.extend(ack(1, 1));
        let expected = vec![
            Seen::Delivered {
                channel: 3,
                tag: 1,
                redelivered: false,
                queue: "q".to_owned(),
            },
            Seen::Acknowledged {
                channel: 3,
                tag: 1,
                multiple: true,
            },
        ];
        for size in [1, 2, 9, stream.len()] {
            let mut scanner = Scanner::default();
            let seen: Vec<Seen> = stream
                .chunks(size)
                .flat_map(|bytes| scanner.feed(bytes))
                .collect();
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }
}
