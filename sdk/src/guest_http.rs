//! The wasm32 side of [`crate::http`]: requests through `wasi:http`. A handler
//! that makes none has nothing of this in it.

use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;

use crate::Header;
use crate::http::{HttpError, Request, Response, Url};

/// Read at once.
const CHUNK: u64 = 64 << 10;

pub(crate) fn send(request: &Request, url: &Url<'_>) -> Result<Response, HttpError> {
    let timer = subscribe_duration(nanos(request.timeout));
    let (outgoing, has_body) = outgoing(request, url)?;
    let body = if has_body { outgoing.body().ok() } else { None };
    let options = RequestOptions::new();
    if let Some(limit) = request.connect_timeout {
        // Limits that the host cannot keep are its own affair.
        let _ = options.set_connect_timeout(Some(nanos(limit)));
    }
    let coming = handle(outgoing, Some(options)).map_err(|code| error(&code))?;
    if let Some(body) = body {
        write(body, &request.body, &timer)?;
    }
    let incoming = wait(&coming, &timer)?;
    let status = incoming.status();
    let headers = incoming.headers().entries().into_iter();
    let headers = headers.map(|(name, value)| Header { name, value });
    Ok(Response {
        status,
        headers: headers.collect(),
        body: read(&incoming, request.max_answer, &timer)?,
    })
}

/// The request without its body, and whether it has one.
fn outgoing(request: &Request, url: &Url<'_>) -> Result<(OutgoingRequest, bool), HttpError> {
    let fields = Fields::new();
    for Header { name, value } in &request.headers {
        fields.append(name, value).map_err(|error| {
            let why = match error {
                HeaderError::Forbidden => "only the host may set it",
                HeaderError::Immutable | HeaderError::InvalidSyntax => {
                    "its name or its value is none, or the headers are too large"
                }
            };
            HttpError::InvalidRequest(format!("the header {name:?}: {why}"))
        })?;
    }
    let has_body =
        !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
    if has_body && !fields.has("content-length") {
        let length = request.body.len().to_string();
        // Digits are a value.
        let _ = fields.append("content-length", length.as_bytes());
    }
    let outgoing = OutgoingRequest::new(fields);
    let wrong = |what: &str, value: &str| {
        HttpError::InvalidRequest(format!("{value:?} is not allowed as {what}"))
    };
    let scheme = if url.tls { Scheme::Https } else { Scheme::Http };
    outgoing
        .set_method(&method(&request.method))
        .map_err(|()| wrong("a method", &request.method))?;
    outgoing
        .set_scheme(Some(&scheme))
        .map_err(|()| wrong("a scheme", &request.url))?;
    outgoing
        .set_authority(Some(url.authority))
        .map_err(|()| wrong("a host", url.authority))?;
    outgoing
        .set_path_with_query(Some(&url.path))
        .map_err(|()| wrong("a path", &url.path))?;
    Ok((outgoing, has_body))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Sends the body. A server that answers before it has read all of it is no
/// error here: its answer says more.
fn write(body: OutgoingBody, mut rest: &[u8], timer: &Pollable) -> Result<(), HttpError> {
    if let Ok(stream) = body.write() {
        let ready = stream.subscribe();
        while !rest.is_empty() {
            let Ok(room) = stream.check_write() else {
                break;
            };
            if room == 0 {
                until(&ready, timer)?;
                continue;
            }
            let now = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            if stream.write(&rest[..now]).is_err() {
                break;
            }
            rest = &rest[now..];
        }
    }
    // Unfinished, it would be taken for broken off.
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

fn wait(coming: &FutureIncomingResponse, timer: &Pollable) -> Result<IncomingResponse, HttpError> {
    let ready = coming.subscribe();
    loop {
        if let Some(answer) = coming.get() {
            let once = || HttpError::Interrupted("the answer was taken already".to_owned());
            return answer.map_err(|()| once())?.map_err(|code| error(&code));
        }
        until(&ready, timer)?;
    }
}

fn read(incoming: &IncomingResponse, max: usize, timer: &Pollable) -> Result<Vec<u8>, HttpError> {
    let mut all = Vec::new();
    let Ok(body) = incoming.consume() else {
        return Ok(all);
    };
    let Ok(stream) = body.stream() else {
        return Ok(all);
    };
    let ready = stream.subscribe();
    loop {
        match stream.read(CHUNK) {
            Ok(bytes) if bytes.is_empty() => until(&ready, timer)?,
            Ok(bytes) if all.len() + bytes.len() > max => return Err(HttpError::TooLarge(max)),
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(StreamError::LastOperationFailed(failed)) => {
                let code = wasip2::http::types::http_error_code(&failed);
                return Err(match code {
                    Some(code) => error(&code),
                    None => HttpError::Interrupted("its body ended too early".to_owned()),
                });
            }
        }
    }
}

/// Waits for one thing, but not past the time.
fn until(ready: &Pollable, timer: &Pollable) -> Result<(), HttpError> {
    if poll(&[ready, timer]).contains(&0) {
        Ok(())
    } else {
        Err(HttpError::Timeout)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn error(code: &ErrorCode) -> HttpError {
    let connection = |why: &str| HttpError::Connection(why.to_owned());
    let wrong = |why: &str| HttpError::InvalidRequest(why.to_owned());
    let interrupted = |why: &str| HttpError::Interrupted(why.to_owned());
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => HttpError::Denied,
        ErrorCode::DnsTimeout => connection("the look-up of the name took too long"),
        ErrorCode::DnsError(payload) => {
            connection(payload.rcode.as_deref().unwrap_or("the name was not found"))
        }
        ErrorCode::DestinationNotFound => connection("the name has no address"),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            connection("there is no way to its address")
        }
        ErrorCode::ConnectionRefused => connection("the connection was refused"),
        ErrorCode::ConnectionTimeout => connection("it took too long"),
        ErrorCode::ConnectionLimitReached => connection("too many requests are open"),
        ErrorCode::ConfigurationError => {
            connection("the host cannot check certificates; its log says why")
        }
        ErrorCode::TlsCertificateError => connection("its certificate is not trusted"),
        ErrorCode::TlsProtocolError => connection("it does not speak TLS"),
        ErrorCode::TlsAlertReceived(_) => connection("it ended the TLS handshake"),
        ErrorCode::HttpResponseTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout => HttpError::Timeout,
        ErrorCode::HttpRequestUriInvalid => wrong("its address is none"),
        ErrorCode::HttpRequestUriTooLong => wrong("its address is too long"),
        ErrorCode::HttpRequestMethodInvalid => wrong("its method is not allowed"),
        ErrorCode::HttpRequestBodySize(_) => wrong("its body has another length than it says"),
        ErrorCode::ConnectionTerminated => interrupted("the connection was closed"),
        ErrorCode::HttpResponseIncomplete => interrupted("the connection was closed in the middle"),
        ErrorCode::HttpResponseHeaderSectionSize(_) => interrupted("its headers are too large"),
        ErrorCode::HttpProtocolError => interrupted("it is no HTTP"),
        _ => interrupted("something else went wrong"),
    }
}
