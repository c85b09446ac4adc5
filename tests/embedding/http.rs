//! The types of the `http` crate: a request that another parser read, a response that another server sends, and the
//! request of a client.

#![cfg(all(feature = "http", feature = "tokio"))]

#[path = "programs/http.rs"]
mod program;
#[path = "programs/sans_io.rs"]
mod sans_io;

use crate::guide::{
    echoes, keeps_to_the_limit, keeps_what_is_read_ahead, listener, refuses, stands_in_the_guide,
};
use bowline::Config;
use bowline::bytes::Bytes;
use bowline::handshake::{Accept, ClientRequest, InvalidRequest, Request, RequestError, Response};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A hand-written server on the types of the crate: one request for each connection.
async fn server() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) {
    // All bytes that came at once are read: closing with unread bytes would be a reset.
    let mut bytes = Vec::with_capacity(64 << 10);
    loop {
        stream.read_buf(&mut bytes).await.expect("it is read");
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut fields);
        if let Ok(httparse::Status::Complete(end)) = parsed.parse(&bytes) {
            let mut request = http::Request::builder()
                .method(parsed.method.unwrap())
                .uri(parsed.path.unwrap())
                .version(match parsed.version {
                    Some(1) => http::Version::HTTP_11,
                    _ => http::Version::HTTP_10,
                });
            for field in parsed.headers {
                request = request.header(field.name, field.value);
            }
            let request = request.body(()).expect("a request");
            program::serve(request, stream, &bytes[end..]).await.unwrap_or(());
            return;
        }
    }
}

#[tokio::test]
async fn the_program_of_the_guide_echoes() {
    stands_in_the_guide(include_str!("programs/http.rs"));
    echoes(&format!("ws://{}/", server().await)).await;
}

#[tokio::test]
async fn bytes_read_ahead_are_the_first_frames() {
    keeps_what_is_read_ahead(server().await, "/").await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    refuses(server().await, "/").await;
}

#[tokio::test]
async fn the_default_limit_holds() {
    keeps_to_the_limit(server().await, "/", 1 << 20).await;
}

#[tokio::test]
async fn the_sans_io_program_of_the_guide_echoes() {
    let guide = include_str!("../../docs/embedding.md");
    assert!(guide.contains(&format!("```rust\n{}```\n", include_str!("programs/sans_io.rs"))));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| sans_io::echo(stream.unwrap()).unwrap_or(()));
        }
    });
    echoes(&format!("ws://{address}/")).await;
    keeps_what_is_read_ahead(address, "/").await;
}

fn upgrade() -> http::request::Builder {
    http::Request::get("/chat?room=1")
        .header("Host", "example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

#[test]
fn a_request_keeps_all_it_said() {
    let http = upgrade()
        .header("Cookie", "session=abc")
        .header("Sec-WebSocket-Protocol", "chat.v2")
        .header("Sec-WebSocket-Protocol", "chat")
        .body("any")
        .unwrap();
    let from_parts = Request::try_from(&http.clone().into_parts().0).unwrap();
    for request in [Request::try_from(&http).unwrap(), from_parts] {
        assert_eq!((request.method(), request.target()), ("GET", "/chat?room=1"));
        assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
        assert_eq!((request.host(), request.cookie("session")), ("example.com", Some("abc")));
        assert!(request.subprotocols().eq(["chat.v2", "chat"]));
    }
    // As to a proxy: the host of the target counts (RFC 9112 §3.2.2).
    let http = upgrade().uri("http://other.example/x").body(()).unwrap();
    let request = Request::try_from(&http).unwrap();
    assert_eq!((request.host(), request.path()), ("other.example", "/x"));
}

#[test]
fn an_ordinary_request_is_told_from_a_broken_one() {
    // These errors come first, whatever else is wrong with the request.
    let ordinary = http::Request::get("/").version(http::Version::HTTP_2);
    let posted = http::Request::post("/").header("Content-Length", "9");
    for (request, expected) in [
        (ordinary.body(()), RequestError::NotUpgrade),
        (posted.body(()), RequestError::Method),
        (upgrade().version(http::Version::HTTP_10).body(()), RequestError::HttpVersion),
        (upgrade().version(http::Version::HTTP_2).body(()), RequestError::HttpVersion),
        (upgrade().header("Content-Length", "9").body(()), RequestError::Body),
        (upgrade().header("Host", "b").body(()), RequestError::Host),
    ] {
        let request = request.unwrap();
        assert_eq!(Request::try_from(&request).unwrap_err(), expected, "{request:?}");
    }
}

#[test]
fn a_response_becomes_any_body_made_of_bytes() {
    let request = Request::try_from(&upgrade().body(()).unwrap()).unwrap();
    let config = Config::default();
    let accept = Accept::new().header("Set-Cookie", "a=1").unwrap();
    let accept = accept.header("Set-Cookie", "b=2").unwrap();
    let (_, response) = request.upgrade(&config).unwrap().accept(accept).unwrap();
    let response = http::Response::<Vec<u8>>::from(response);
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["connection"], "Upgrade");
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(response.headers().get_all("set-cookie").iter().eq(["a=1", "b=2"]));
    assert!(response.body().is_empty());

    let refusal = RequestError::Version.response();
    let response = http::Response::<Bytes>::from(refusal.clone());
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["connection"], "upgrade");
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    assert_eq!(response.body(), refusal.body_bytes());
    let response: http::Response<()> = http::Response::<Vec<u8>>::from(refusal).map(drop);
    assert_eq!(response.headers()["upgrade"], "websocket");
}

#[test]
fn a_status_that_is_none_becomes_500() {
    for status in [0, 42, 99, 100, 101, 199, 600, 999, 1000, u16::MAX] {
        let response = http::Response::<Vec<u8>>::from(Response::new(status));
        assert_eq!(response.status(), 500, "{status}");
    }
}

#[test]
fn a_response_keeps_to_what_its_status_means() {
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5: no content; §15.5.6, §15.5.22: headers that must be there.
    for status in [204, 205, 304] {
        let response = http::Response::<Vec<u8>>::from(Response::new(status).body("content"));
        assert!(response.body().is_empty(), "{status}");
    }
    let response = http::Response::<Vec<u8>>::from(Response::new(405).body("content"));
    assert_eq!(
        (&response.headers()["allow"], &response.body()[..]),
        (&"GET".parse().unwrap(), &b"content"[..])
    );
    let response = http::Response::<Vec<u8>>::from(Response::new(426));
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "upgrade");
}

/// What the client sends.
fn sent(request: &ClientRequest) -> String {
    let mut out = bowline::SendBuf::new();
    bowline::handshake::ClientHandshake::new(request, Config::default(), [3; 32], &mut out);
    String::from_utf8(out.pending_slices().flatten().copied().collect()).unwrap()
}

#[test]
fn a_client_request_is_made_of_url_and_headers() {
    let http = http::Request::get("wss://user:pw@example.com:8443/chat?room=1")
        .header("Cookie", "session=abc")
        .header("Origin", "https://app.example")
        .header("Sec-WebSocket-Protocol", "chat.v3, chat.v2,")
        .header("Sec-WebSocket-Protocol", "chat")
        .body("ignored")
        .unwrap();
    let request = ClientRequest::try_from(&http).unwrap();
    assert!(request.is_secure());
    assert_eq!((request.host(), request.port()), ("example.com", 8443));
    let sent = sent(&request);
    assert!(sent.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: example.com:8443\r\n"), "{sent}");
    for line in [
        "cookie: session=abc",
        "Origin: https://app.example",
        "Sec-WebSocket-Protocol: chat.v3, chat.v2, chat",
        "Authorization: Basic dXNlcjpwdw==",
    ] {
        assert_eq!(sent.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {sent}");
    }
}

#[test]
fn a_client_request_that_cannot_be_sent_is_refused() {
    let get = || http::Request::get("ws://example.com/");
    let reserved = |name: &str| InvalidRequest::ReservedHeader(name.into());
    let cases = [
        (http::Request::post("ws://example.com/"), InvalidRequest::Method),
        (http::Request::get("/chat"), InvalidRequest::Url("no scheme")),
        (get().header("Host", "other.example"), reserved("host")),
        (
            get().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            reserved("sec-websocket-key"),
        ),
        (get().header("Connection", "Upgrade"), reserved("connection")),
        (get().header("X", &b"\xff"[..]), InvalidRequest::Header("x".into())),
        (get().header("Sec-WebSocket-Protocol", "a, a"), InvalidRequest::Subprotocol("a".into())),
    ];
    for (request, expected) in cases {
        let request = request.body(()).unwrap();
        assert_eq!(ClientRequest::try_from(&request).unwrap_err(), expected, "{request:?}");
    }
}
