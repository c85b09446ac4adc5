//! The opening handshake, both sides, without sockets: bytes in, bytes out.

mod common;

use std::hint::black_box;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bowline::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake, accept_key};
use bowline::{Config, RecvBuf, SendBuf};
use sha1::{Digest, Sha1};

use common::BROWSER;

/// The server's proof for the key above (RFC 6455 §1.3).
const PROOF: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn fill(input: &mut RecvBuf, bytes: &[u8]) {
    input.space()[..bytes.len()].copy_from_slice(bytes);
    input.filled(bytes.len());
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Parses a head and computes the proof, which any server or client has to do.
fn floor(request: &[u8]) -> String {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    assert!(parsed.parse(request).unwrap().is_complete());
    let key = parsed.headers.iter().find(|header| header.name == "Sec-WebSocket-Key").unwrap();
    let mut sha1 = Sha1::new();
    sha1.update(key.value);
    sha1.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(sha1.finalize())
}

fn serve(request: &[u8], config: &Config, out: &mut SendBuf) {
    let mut input = RecvBuf::new();
    fill(&mut input, request);
    let mut handshake = ServerHandshake::new(config.clone());
    let request = handshake.read(&mut input).unwrap().unwrap();
    let upgrade = request.upgrade(config).unwrap();
    let accept = Accept::new().subprotocol(request.select_subprotocol(&["chat.v1"]));
    upgrade.accept(accept).unwrap().1.encode(out);
}

/// A client and the server's answer to its key.
fn answered(request: &ClientRequest, config: &Config) -> (ClientHandshake, Vec<u8>) {
    let mut out = SendBuf::new();
    let handshake = ClientHandshake::new(request, config.clone(), [7; 32], &mut out);
    let head = str::from_utf8(out.pending()).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n",
        accept_key(key)
    );
    (handshake, response.into_bytes())
}

fn main() {
    let mut criterion = common::criterion();
    let config = Config::default();

    let mut group = criterion.benchmark_group("handshake as server");
    assert_eq!(floor(BROWSER.as_bytes()).as_bytes(), PROOF);
    group.bench_function("floor", |bencher| {
        bencher.iter(|| floor(black_box(BROWSER.as_bytes())));
    });
    group.bench_function("bowline", |bencher| {
        let mut out = SendBuf::new();
        serve(BROWSER.as_bytes(), &config, &mut out);
        assert!(contains(out.pending(), PROOF) && contains(out.pending(), b"chat.v1"));
        let size = out.len();
        bencher.iter(|| {
            out.sent(usize::MAX);
            serve(black_box(BROWSER.as_bytes()), &config, &mut out);
        });
        assert_eq!(out.len(), size);
    });
    group.finish();

    let mut group = criterion.benchmark_group("handshake as client");
    let request = ClientRequest::new("ws://server.example.com/chat?room=1")
        .and_then(|request| request.subprotocol("chat.v2")?.subprotocol("chat.v1"))
        .unwrap();
    group.bench_function("bowline", |bencher| {
        let (_, response) = answered(&request, &config);
        let mut out = SendBuf::new();
        bencher.iter(|| {
            // The seed, and so the key and the proof, is always the same.
            let mut handshake = ClientHandshake::new(&request, config.clone(), [7; 32], &mut out);
            out.sent(usize::MAX);
            let mut input = RecvBuf::new();
            fill(&mut input, black_box(&response));
            handshake.read(&mut input).unwrap().expect("the response is complete")
        });
    });
    group.finish();
    criterion.final_summary();
}
