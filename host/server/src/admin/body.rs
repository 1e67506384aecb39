//! Reads request bodies within limits of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// The largest body of a change, in bytes.
pub(crate) const CHANGE_LIMIT: usize = 1 << 20;
/// The largest message that can be published, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;

/// The longest silence while a body is sent.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest time for a whole body.
const WHOLE: Duration = Duration::from_secs(20);

/// A body of at most `LIMIT` bytes that came in time.
pub(crate) struct Limited<const LIMIT: usize>(pub(crate) Bytes);

impl<S: Send + Sync, const LIMIT: usize> FromRequest<S> for Limited<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let said = request.headers().get(header::CONTENT_LENGTH);
        let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
        if said.is_some_and(|length: u64| length > LIMIT as u64) {
            return Err(too_large(LIMIT));
        }
        read(request.into_body(), LIMIT).await.map(Self)
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    let end = Instant::now() + WHOLE;
    loop {
        let next = timeout_at(end.min(Instant::now() + SILENCE), stream.next()).await;
        match next {
            Err(_) => {
                let detail = "the body did not arrive in time";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
            }
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) => {
                return Err(Problem::bad(format!("failed to read the body: {error}")));
            }
            Ok(Some(Ok(part))) if whole.len() + part.len() > limit => return Err(too_large(limit)),
            Ok(Some(Ok(part))) => whole.extend_from_slice(&part),
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body has over {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Reads JSON; an empty body counts as an empty object.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad(format!("the body is wrong: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(parts: Vec<(u64, &'static str)>) -> Body {
        Body::from_stream(futures_util::stream::unfold(
            parts.into_iter(),
            |mut parts| async {
                let (after, part) = parts.next()?;
                tokio::time::sleep(Duration::from_secs(after)).await;
                Some((Ok::<_, std::io::Error>(part), parts))
            },
        ))
    }

    async fn status(body: Body) -> StatusCode {
        use axum::response::IntoResponse as _;
        match read(body, 10).await {
            Ok(_) => StatusCode::OK,
            Err(problem) => problem.into_response().status(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_in_time_is_put_together() {
        let body = read(sent(vec![(0, "ab"), (4, "cd"), (4, "")]), 10).await;
        assert_eq!(body.expect("in time"), "abcd");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_or_trickles_is_given_up() {
        assert_eq!(status(sent(vec![(0, "a"), (6, "b")])).await, 408);
        let trickle = vec![(4, "a"), (4, "a"), (4, "a"), (4, "a"), (4, "a"), (4, "a")];
        assert_eq!(status(sent(trickle)).await, 408);
    }

    #[tokio::test]
    async fn a_body_without_length_is_cut_off_at_the_limit() {
        assert_eq!(status(sent(vec![(0, "0123456789")])).await, 200);
        assert_eq!(status(sent(vec![(0, "0123456789"), (0, "a")])).await, 413);
    }
}
