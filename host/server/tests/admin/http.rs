//! Requests byte by byte, so that a test can send what no client would.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer of the interface may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    to: SocketAddr,
    line: String,
    host: String,
    headers: String,
    body: Vec<u8>,
    length: Option<usize>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// A request such as `GET /livez`.
    pub(crate) fn new(to: SocketAddr, line: &str) -> Self {
        Self {
            to,
            line: line.to_owned(),
            host: to.to_string(),
            headers: String::new(),
            body: Vec::new(),
            length: None,
        }
    }

    /// The same under another `Host`.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The same with a body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same, promising this many bytes of body whatever is sent.
    pub(crate) fn promising(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let exchange = async {
            let mut stream = self.open().await;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.expect("an answer");
            Answer::read(&String::from_utf8(bytes).expect("UTF-8"))
        };
        timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
    }

    /// Sends it and reads the answer until it contains all these texts.
    pub(crate) async fn send_until(self, texts: &[&str]) -> String {
        let exchange = async {
            let mut stream = self.open().await;
            let mut seen = String::new();
            let mut part = vec![0; 4096];
            while !texts.iter().all(|text| seen.contains(text)) {
                let got = stream.read(&mut part).await.expect("an answer");
                assert!(got > 0, "it ended early: {seen}");
                seen.push_str(&String::from_utf8_lossy(&part[..got]));
            }
            seen
        };
        timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
    }

    async fn open(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.to).await.expect("connected");
        let length = self.length.unwrap_or(self.body.len());
        let head = format!(
            "{} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\n{}\r\n",
            self.line, self.host, self.headers
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        // An answer may come before the body was read.
        let _ = stream.write_all(&self.body).await;
        stream
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).expect("a status");
        Self {
            status: status.parse().expect("a number"),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Is it a problem with this status, told as such?
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        assert_eq!(self.json()["status"], status);
        assert!(!self.json()["detail"].as_str().expect("a text").is_empty());
    }
}
