//! Which broker is it? The client library does not tell, so the first frame
//! that a broker sends to a new connection is read here.

use std::time::Duration;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use lapin::tcp::AMQPUriTcpExt as _;
use tokio::time::timeout;

use crate::options::Options;

/// Major and minor.
pub(crate) type Version = (u32, u32);

const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";
const LIMIT: Duration = Duration::from_secs(5);

/// The first frame is smaller than this before anything is negotiated.
const LONGEST: usize = 128 * 1024;

/// The broker's version, if it can be found out.
pub(crate) async fn ask(options: &Options) -> Option<Version> {
    timeout(LIMIT, first_frame(options))
        .await
        .ok()
        .flatten()
        .and_then(|frame| read(&frame))
}

async fn first_frame(options: &Options) -> Option<Vec<u8>> {
    let runtime = lapin::runtime::default_runtime().ok()?;
    let (uri, tls) = (options.uri().ok()?, options.tls());
    let connect = uri.connect_with_config_async(tls.as_ref(), &runtime);
    let mut stream = connect.await.ok()?;
    stream.write_all(GREETING).await.ok()?;
    stream.flush().await.ok()?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let size = usize::try_from(size).ok().filter(|size| *size <= LONGEST)?;
    let mut frame = vec![0; size];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

/// Finds `version` among the server properties: a length, the name, `S`, a
/// length and the text.
fn read(frame: &[u8]) -> Option<Version> {
    const NAME: &[u8] = b"\x07versionS";
    let at = frame.windows(NAME.len()).position(|part| part == NAME)?;
    let rest = &frame[at + NAME.len()..];
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    parse(std::str::from_utf8(rest.get(..length)?).ok()?)
}

fn parse(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_among_other_properties() {
        let frame = b"\x00\x0a\x00\x0a\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8\x00";
        assert_eq!(read(frame), Some((3, 10)));
        assert_eq!(parse("4.1.0-rc.1"), Some((4, 1)));
        for broken in [&frame[..20], b"", b"\x07versionS\x00\x00\x00\xff4.0"] {
            assert_eq!(read(broken), None);
        }
    }
}
