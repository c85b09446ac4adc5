//! What the tests of the embeddings share: the guide, a client of raw bytes, and requests that any server refuses.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::future::Future;
use std::net::SocketAddr;

pub(crate) use crate::support::LONG;
use crate::support::{BINARY, header_to, to};
use bowline::{Config, Message, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const HELLO_MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
pub(crate) const HELLO: &[u8] = b"\x81\x05Hello";

pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it ends in time")
}

/// A listener, and where it listens.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Asserts that the guide has the program that runs here, and that `echo` is as short as the guide says.
#[track_caller]
pub(crate) fn stands_in_the_guide(program: &str) {
    let guide = include_str!("../../docs/embedding.md");
    assert!(guide.contains(&format!("```rust\n{program}```\n")), "not in the guide:\n{program}");
    let echo = program.split("\n\n").find(|item| item.contains("async fn echo")).expect("an echo");
    let lines = echo.lines().count();
    assert!(lines <= 10, "{lines} lines:\n{echo}");
}

/// bowline's own client: messages come back, and the connection closes cleanly.
pub(crate) async fn echoes(url: &str) {
    let mut ws = in_time(bowline::tokio::connect(url)).await.expect("a connection");
    let large = vec![0xAB; 300_000];
    for message in [Message::from("Hello"), Message::from(""), Message::from(large)] {
        in_time(ws.send(message.clone())).await.expect("it is sent");
        assert_eq!(in_time(ws.recv()).await.expect("it is received"), Some(message));
    }
    let closed = in_time(ws.close(4000, "enough")).await.expect("it closes");
    assert!(closed.end.is_clean(), "{closed:?}");
}

/// A request that opens a WebSocket, with these lines more.
pub(crate) fn request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// Sends bytes as they are, in one write, and reads what comes.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("a connection"))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("it is written");
    }

    /// Sends a request and reads the answer's head, in lower case. A body is read over.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request).await;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(self.read(1).await[0]));
        }
        head.make_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let body = self.read(length.map_or(0, |length| length.parse().expect("a number"))).await;
        head + &String::from_utf8(body).expect("text")
    }

    pub(crate) async fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        in_time(self.0.read_exact(&mut bytes)).await.expect("so much comes");
        bytes
    }

    /// All that comes until the end.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        in_time(self.0.read_to_end(&mut bytes)).await.expect("it ends");
        bytes
    }
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).expect("a status line")
}

/// Sends the request and its first frame in one write.
pub(crate) async fn keeps_what_is_read_ahead(address: SocketAddr, path: &str) {
    let mut raw = Raw::connect(address).await;
    let bytes = [request(path, "").as_bytes(), HELLO_MASKED, HELLO_MASKED].concat();
    let answer = raw.ask(bytes).await;
    assert_eq!(status(&answer), 101, "{answer}");
    assert!(
        answer.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{answer}"
    );
    assert_eq!(raw.read(2 * HELLO.len()).await, [HELLO, HELLO].concat());
}

/// Requests that every embedding refuses, with the status and the text of the answer.
pub(crate) async fn refuses(address: SocketAddr, path: &str) {
    let good = request(path, "");
    let origin = |origin: &str| request(path, &format!("Origin: {origin}\r\n"));
    let version = |line: &str| good.replace("Sec-WebSocket-Version: 13\r\n", line);
    let key = |line: &str| good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", line);
    let body = "Content-Length: 2\r\n";
    let cases = [
        (version("Sec-WebSocket-Version: 8\r\n"), 426, "\r\nsec-websocket-version: 13\r\n"),
        (version(""), 400, "\r\nsec-websocket-version: 13\r\n"),
        (key(""), 400, "exactly one Sec-WebSocket-Key"),
        (key("Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400, "exactly one Sec-WebSocket-Key"),
        (origin("https://evil.example"), 403, "Config::allow_origin"),
        (origin("https://example.com:8443"), 403, "Config::allow_origin"),
        (origin("null"), 403, "Config::allow_origin"),
        (
            request(path, "Origin: http://example.com\r\nOrigin: http://example.com\r\n"),
            400,
            "Origin",
        ),
        (good.replace("GET", "POST"), 405, "\r\nallow: get"),
        (request(path, body).replace("GET", "POST") + "{}", 405, "\r\nallow: get"),
        (request(path, body) + "{}", 400, "has no body"),
        (request(path, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400, "has no body"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 505, "only HTTP/1.1"),
        (good.replace("Upgrade: websocket\r\n", ""), 426, "\r\nconnection: upgrade\r\n"),
        (good.replace("Connection: Upgrade\r\n", ""), 426, "\r\nupgrade: websocket\r\n"),
        (
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            426,
            "\r\nsec-websocket-version: 13\r\n",
        ),
        (good.replace("Host: example.com\r\n", ""), 400, "Host header"),
        (request(path, "Host: other.example\r\n"), 400, "Host header"),
        (request(path, "Sec-WebSocket-Protocol: a b\r\n"), 400, "Sec-WebSocket-Protocol"),
        (request(path, "Sec-WebSocket-Extensions: ;\r\n"), 400, "Sec-WebSocket-Extensions"),
    ];
    for (request, expected, says) in cases {
        let mut raw = Raw::connect(address).await;
        let answer = raw.ask(&request).await;
        assert_eq!(status(&answer), expected, "{request}{answer}");
        assert!(answer.contains(says), "{says:?} is not in\n{answer}\nto\n{request}");
        assert!(!answer.contains("sec-websocket-accept"), "{answer}");
    }
    for origin in ["http://example.com", "https://EXAMPLE.com"] {
        let mut raw = Raw::connect(address).await;
        let line = format!("Origin: {origin}\r\n");
        assert_eq!(status(&raw.ask(request(path, &line)).await), 101, "{origin}");
    }
}

/// A message beyond the limit ends with Close 1009, at its header.
pub(crate) async fn keeps_to_the_limit(address: SocketAddr, path: &str, limit: u64) {
    let mut raw = Raw::connect(address).await;
    assert_eq!(status(&raw.ask(request(path, "")).await), 101);
    let payload = vec![7; limit as usize];
    raw.send(to(Role::Server, BINARY, &payload)).await;
    let echo = to(Role::Client, BINARY, &payload);
    assert!(raw.read(echo.len()).await == echo);
    raw.send(header_to(Role::Server, 0x82, limit + 1)).await;
    assert_eq!(raw.read(4).await[2..], 1009_u16.to_be_bytes());
}

/// A client of bowline whose `Origin` is this one.
pub(crate) async fn connect_from(url: &str, origin: &str) -> Result<(), bowline::Error> {
    let request = bowline::handshake::ClientRequest::new(url)?.origin(origin)?;
    in_time(bowline::tokio::connect_with(&request, Config::default())).await.map(|_| ())
}
