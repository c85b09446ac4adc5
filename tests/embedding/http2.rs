//! WebSockets over HTTP/2 (RFC 8441): a server on hyper and axum, a client on `h2`, each against raw peers.

#![cfg(feature = "http2")]

#[path = "programs/http2.rs"]
mod program;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::guide::*;
use crate::support::frames;
use bowline::bytes::Bytes;
use bowline::handshake::{self, ClientRequest, ConnectError, RequestError};
use bowline::http2::Client;
use bowline::hyper::{Upgrading, upgrade_with};
use bowline::{CloseCode, Config, End, Error, Message, Role, Timeout, Truncation};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

// The server under test.

type Ends = mpsc::UnboundedReceiver<Result<(), Error>>;

/// hyper with these settings, on a connection in memory. It echoes; how each WebSocket ended comes out of
/// the channel.
fn serve_with(http: http2::Builder<TokioExecutor>, config: Config) -> (DuplexStream, Ends) {
    let (ours, theirs) = duplex(1 << 20);
    let (give, ends) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (config, give) = (config.clone(), give.clone());
        async move {
            let known = ["chat.v2", "drop", "chat"];
            Ok::<Response<Full<Bytes>>, Infallible>(
                match upgrade_with(&mut request, config, &known) {
                    Ok((response, upgrading)) => {
                        let drops = response.headers().get("sec-websocket-protocol");
                        let drops = drops.is_some_and(|name| name == "drop");
                        tokio::spawn(async move {
                            let _ = give.send(if drops {
                                upgrading.await.map(drop)
                            } else {
                                echo(upgrading).await
                            });
                        });
                        response
                    }
                    Err(refusal) => refusal.response().into(),
                },
            )
        }
    });
    tokio::spawn(http.serve_connection(TokioIo::new(theirs), service));
    (ours, ends)
}

fn http() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.enable_connect_protocol();
    http
}

fn serve() -> (DuplexStream, Ends) {
    serve_with(http(), Config::default())
}

async fn echo(upgrading: Upgrading) -> Result<(), Error> {
    let mut ws = upgrading.await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

async fn next(ends: &mut Ends) -> Result<(), Error> {
    in_time(ends.recv()).await.expect("a WebSocket ends")
}

#[track_caller]
fn assert_gone(result: Result<(), Error>, at: Truncation) {
    match result {
        Err(Error::Ended(end)) => {
            assert_eq!(end, End::PeerGone(at));
            assert_eq!(end.code(), CloseCode::ABNORMAL);
        }
        other => panic!("{other:?}"),
    }
}

// A raw client: `h2`, whose streams carry bytes.

struct RawClient(h2::client::SendRequest<Bytes>);

struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
}

impl RawClient {
    async fn new(io: DuplexStream) -> Self {
        Self::with(io, &h2::client::Builder::new()).await
    }

    async fn with(io: DuplexStream, builder: &h2::client::Builder) -> Self {
        let (sender, connection) = builder.handshake(io).await.expect("a connection");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn ask(&self, request: Request<()>) -> Result<(Parts, Stream), h2::Error> {
        let mut sender = in_time(self.0.clone().ready()).await?;
        let (response, send) = sender.send_request(request, false)?;
        let (head, recv) = in_time(response).await?.into_parts();
        Ok((head, Stream { send, recv }))
    }

    async fn open(&self) -> Stream {
        let (head, stream) = self.ask(chat(&[])).await.expect("an answer");
        assert_eq!(head.status, 200);
        stream
    }
}

impl Stream {
    /// One DATA frame.
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.send.send_data(Bytes::copy_from_slice(bytes.as_ref()), false).expect("it is open");
    }

    fn end(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("it is open");
    }

    /// The next DATA frame, whose window is not given back; `None` at END_STREAM.
    async fn data(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            match in_time(self.recv.data()).await.transpose()? {
                Some(data) if data.is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    fn release(&mut self, n: usize) {
        self.recv.flow_control().release_capacity(n).expect("so much came");
    }

    /// So much, or more of the same DATA frame.
    async fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            let data = self.data().await.expect("it is open").expect("more comes");
            self.release(data.len());
            bytes.extend_from_slice(&data);
        }
        bytes
    }

    async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(data) = self.data().await.expect("END_STREAM, and no reset") {
            self.release(data.len());
            bytes.extend_from_slice(&data);
        }
        bytes
    }

    async fn echoes(&mut self) {
        self.send(HELLO_MASKED);
        assert_eq!(self.read(HELLO.len()).await, HELLO);
    }
}

/// The request of RFC 8441 §5.1, with these headers more.
fn chat(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::connect("https://example.com/chat")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// A whole frame of a client.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frames::to(Role::Server, opcode, payload)
}

fn close_1000() -> Vec<u8> {
    frames::close_to(Role::Server, 1000)
}

// Raw frames of HTTP/2 (RFC 9113 §4), for what `h2` does not send.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

struct RawFrame {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
}

async fn write_frame(io: &mut DuplexStream, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).expect("a short frame");
    io.write_all(&[0, 0, length, kind, flags, 0, 0, 0, stream]).await.expect("it is written");
    io.write_all(payload).await.expect("it is written");
}

async fn read_frame(io: &mut DuplexStream) -> RawFrame {
    let mut header = [0; 9];
    in_time(io.read_exact(&mut header)).await.expect("a frame");
    let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
    in_time(io.read_exact(&mut payload)).await.expect("the whole frame");
    RawFrame { kind: header[3], flags: header[4], stream: header[8], payload }
}

/// Fields as literals that are not indexed (RFC 7541 §6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const GOOD: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/chat"),
    (":authority", "example.com"),
    ("sec-websocket-version", "13"),
];

/// What the server makes of the fields: the code of RST_STREAM, or the first byte of the answer's block.
async fn raw_answer(request: &[(&str, &str)]) -> Result<u8, u8> {
    let (mut io, _ends) = serve();
    io.write_all(PREFACE).await.unwrap();
    write_frame(&mut io, SETTINGS, 0, 0, &[]).await;
    write_frame(&mut io, HEADERS, END_HEADERS, 1, &fields(request)).await;
    loop {
        let frame = read_frame(&mut io).await;
        match frame.kind {
            HEADERS => return Ok(frame.payload[0]),
            RST_STREAM => return Err(frame.payload[3]),
            GOAWAY => panic!("the connection ended: {:?} to {request:?}", frame.payload),
            _ => {}
        }
    }
}

// RFC 8441 §3 to §5: the request.

#[tokio::test]
async fn the_program_of_the_guide_echoes_over_both_versions() {
    stands_in_the_guide(include_str!("programs/http2.rs"));
    let (listener, address) = listener().await;
    tokio::spawn(program::serve(listener));
    let url = format!("ws://{address}/");
    echoes(&url).await;
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = client(socket).await;
    let request = ClientRequest::new(&url).unwrap();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(in_time(client.connect(&request, Config::default())).await.unwrap().0);
    }
    for mut ws in streams {
        echoes_and_closes(&mut ws).await;
    }
}

#[tokio::test]
async fn it_is_accepted_with_200_and_without_key() {
    let (io, _ends) = serve();
    let client = RawClient::new(io).await;
    // X09: a key is ignored, a good one and two bad ones.
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let bad = ("sec-websocket-key", "bad");
    for more in [&[][..], &[key], &[bad, bad]] {
        let (head, mut stream) = client.ask(chat(more)).await.unwrap();
        assert_eq!(head.status, 200);
        for name in ["sec-websocket-accept", "upgrade", "connection", "sec-websocket-protocol"] {
            assert!(!head.headers.contains_key(name), "{head:?}");
        }
        stream.echoes().await;
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let (io, _ends) = serve();
    let client = RawClient::new(io).await;
    let with = |name: &'static str, value: &'static str| chat(&[(name, value)]);
    let without_version = |version: Option<&'static str>| {
        let mut request = chat(&[]);
        request.headers_mut().remove("sec-websocket-version");
        if let Some(version) = version {
            request.headers_mut().insert("sec-websocket-version", version.parse().unwrap());
        }
        request
    };
    let protocol = |protocol| {
        let mut request = chat(&[]);
        request.extensions_mut().insert(Protocol::from_static(protocol));
        request
    };
    let plain = |method| {
        let mut request = chat(&[]);
        *request.method_mut() = method;
        *request.extensions_mut() = http::Extensions::new();
        if request.method() == Method::CONNECT {
            *request.uri_mut() = "example.com:443".parse().unwrap();
        }
        request
    };
    let cases = [
        // X07
        (protocol("foo"), 501, "protocol"),
        (protocol("websockets"), 501, "protocol"),
        (without_version(None), 400, "exactly one Sec-WebSocket-Version"),
        (without_version(Some("8")), 426, "version 13"),
        (with("sec-websocket-version", "13"), 400, "exactly one Sec-WebSocket-Version"),
        (with("origin", "https://evil.example"), 403, "Config::allow_origin"),
        (with("origin", "https://example.com:8443"), 403, "Config::allow_origin"),
        (with("origin", "null"), 403, "Config::allow_origin"),
        (chat(&[("origin", "https://example.com"), ("origin", "https://a")]), 400, "Origin"),
        (with("sec-websocket-protocol", "a b"), 400, "Sec-WebSocket-Protocol"),
        (with("sec-websocket-protocol", "chat, chat"), 400, "Sec-WebSocket-Protocol"),
        (with("sec-websocket-extensions", ";"), 400, "Sec-WebSocket-Extensions"),
        (with("host", "other.example"), 400, "Host"),
        (plain(Method::GET), 426, "WebSocket server"),
        (plain(Method::CONNECT), 405, "only GET"),
    ];
    for (request, status, says) in cases {
        let shown = format!("{request:?}");
        let (head, mut stream) = client.ask(request).await.unwrap();
        assert_eq!(head.status, status, "{shown}");
        let body = String::from_utf8(stream.read_to_end().await).unwrap();
        assert!(body.contains(says), "{says:?} is not in {body:?} to {shown}");
        if says.contains("ersion") {
            assert_eq!(head.headers["sec-websocket-version"], "13", "{shown}");
        }
    }
    // Host says what :authority says.
    for (name, value) in [
        ("origin", "http://example.com"),
        ("origin", "https://EXAMPLE.com"),
        ("host", "example.com"),
        ("host", "example.com:443"),
    ] {
        let (head, _) = client.ask(with(name, value)).await.unwrap();
        assert_eq!(head.status, 200, "{name}: {value}");
    }
}

#[tokio::test]
async fn subprotocol_and_compression_are_agreed_on() {
    #[cfg(feature = "deflate")]
    let config = Config::default().deflate(bowline::Deflate::default());
    #[cfg(not(feature = "deflate"))]
    let config = Config::default();
    let (io, _ends) = serve_with(http(), config);
    let client = RawClient::new(io).await;
    let offer = [
        ("sec-websocket-protocol", "chat.v3, chat.v2, chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let (head, _) = client.ask(chat(&offer)).await.unwrap();
    assert_eq!(head.headers["sec-websocket-protocol"], "chat.v2");
    let extensions = head.headers.get("sec-websocket-extensions");
    assert_eq!(extensions.is_some(), cfg!(feature = "deflate"));
}

#[tokio::test]
async fn x01_where_it_is_not_enabled_it_is_a_stream_error() {
    let (io, _ends) = serve_with(http2::Builder::new(TokioExecutor::new()), Config::default());
    let client = RawClient::new(io).await;
    for _ in 0..2 {
        let error = client.ask(chat(&[])).await.map(drop).unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    }
}

#[tokio::test]
async fn x05_x08_a_malformed_request_is_a_stream_error() {
    // The static table of RFC 7541 has :status 200 at 8 and 400 at 12.
    const INDEXED: u8 = 0x80;
    let protocol_error = u8::try_from(u32::from(Reason::PROTOCOL_ERROR)).unwrap();
    assert_eq!(raw_answer(&GOOD).await, Ok(INDEXED | 8));
    let without = |name| GOOD.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    assert_eq!(raw_answer(&without(":scheme")).await, Err(protocol_error));
    assert_eq!(raw_answer(&without(":path")).await, Err(protocol_error));
    assert_eq!(raw_answer(&without(":authority")).await, Ok(INDEXED | 12));
    for field in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
    ] {
        let request = [&GOOD[..], &[field]].concat();
        assert_eq!(raw_answer(&request).await, Err(protocol_error), "{field:?}");
    }
}

// RFC 8441 §5: the stream is the connection.

#[tokio::test]
async fn x11_an_unmasked_frame_is_1002() {
    let (io, mut ends) = serve();
    let client = RawClient::new(io).await;
    let (mut good, mut bad) = (client.open().await, client.open().await);
    bad.send(HELLO);
    let answer = bad.read(4).await;
    assert_eq!((answer[0], &answer[2..4]), (0x88, &1002_u16.to_be_bytes()[..]));
    bad.end();
    bad.read_to_end().await;
    match next(&mut ends).await {
        Err(Error::Ended(End::Failed(error))) => assert_eq!(error.close_code(), 1002),
        other => panic!("{other:?}"),
    }
    good.echoes().await;
}

#[tokio::test]
async fn a_clean_close_ends_the_stream() {
    let (io, mut ends) = serve();
    let client = RawClient::new(io).await;
    let mut stream = client.open().await;
    stream.send(close_1000());
    // The server ends first (RFC 6455 §7.1.1).
    assert_eq!(stream.read_to_end().await, [0x88, 2, 0x03, 0xE8]);
    assert!(next(&mut ends).await.is_ok());
}

#[tokio::test]
async fn x12_a_stream_that_ends_without_close_is_1006_and_is_freed() {
    let mut http = http();
    // One goes on, and one place is used again and again.
    http.max_concurrent_streams(2);
    let (io, mut ends) = serve_with(http, Config::default());
    let client = RawClient::new(io).await;
    let mut good = client.open().await;
    let resets = [
        None,
        Some(Reason::CANCEL),
        Some(Reason::NO_ERROR),
        Some(Reason::INTERNAL_ERROR),
        Some(Reason::STREAM_CLOSED),
        Some(Reason::PROTOCOL_ERROR),
    ];
    for (sent, at) in [
        (&[][..], Truncation::BetweenMessages),
        (&HELLO_MASKED[..1], Truncation::InHeader),
        (&HELLO_MASKED[..8], Truncation::InPayload),
    ] {
        for reset in resets {
            let mut stream = client.open().await;
            stream.echoes().await;
            stream.send(sent);
            match reset {
                None => {
                    stream.end();
                    assert_eq!(stream.read_to_end().await, b"");
                    assert_gone(next(&mut ends).await, at);
                }
                Some(reason) => {
                    stream.send.send_reset(reason);
                    // What is not read yet is dropped with the stream.
                    match next(&mut ends).await {
                        Err(Error::Ended(End::PeerGone(_))) => {}
                        other => panic!("{reason:?}: {other:?}"),
                    }
                }
            }
            good.echoes().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_1006_on_every_stream() {
    let (io, mut ends) = serve();
    let (mut sender, connection) = h2::client::handshake::<_>(io).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut open = Vec::new();
    for _ in 0..3 {
        sender = in_time(sender.ready()).await.unwrap();
        let (response, send) = sender.send_request(chat(&[]), false).unwrap();
        open.push((in_time(response).await.unwrap(), send));
    }
    driver.abort();
    for _ in 0..3 {
        assert_gone(next(&mut ends).await, Truncation::BetweenMessages);
    }
    let _: Vec<(Response<RecvStream>, SendStream<Bytes>)> = open;
}

#[tokio::test]
async fn a_dropped_websocket_ends_its_stream() {
    let (io, mut ends) = serve();
    let client = RawClient::new(io).await;
    let mut good = client.open().await;
    let (_, mut stream) = client.ask(chat(&[("sec-websocket-protocol", "drop")])).await.unwrap();
    assert!(next(&mut ends).await.is_ok());
    match stream.data().await {
        Ok(None) => {}
        Err(error) => assert_eq!(error.reason(), Some(Reason::NO_ERROR)),
        Ok(Some(data)) => panic!("{data:?}"),
    }
    let reason = in_time(poll_fn(|cx| stream.send.poll_reset(cx))).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    good.echoes().await;
}

#[tokio::test]
async fn x14_frames_cut_at_every_byte_are_the_same() {
    let (io, _ends) = serve();
    let client = RawClient::new(io).await;
    let input = [
        &frames::fragment_to(Role::Server, false, frames::TEXT, "Stra".as_bytes())[..],
        &frame(frames::PING, b"ping"),
        &frame(frames::CONTINUATION, "\u{df}e".as_bytes()),
        HELLO_MASKED,
        &close_1000(),
    ]
    .concat();
    let expected: &[u8] = b"\x8A\x04ping\x81\x07Stra\xC3\x9Fe\x81\x05Hello\x88\x02\x03\xE8";
    for cut in 0..=input.len() {
        let mut stream = client.open().await;
        stream.send(&input[..cut]);
        stream.send(&input[cut..]);
        assert_eq!(sorted(&stream.read_to_end().await), sorted(expected), "{cut}");
    }
    let mut stream = client.open().await;
    for byte in &input {
        stream.send([*byte]);
    }
    assert_eq!(sorted(&stream.read_to_end().await), sorted(expected));
}

/// The frames of a server. A pong may go before a message that was fed, or behind it.
fn sorted(bytes: &[u8]) -> Vec<frames::Frame> {
    let mut frames = frames::decode(Role::Server, bytes);
    frames.sort_by_key(|frame| frame.opcode == frames::PONG);
    frames
}

#[tokio::test]
async fn x14_a_window_of_0_keeps_the_queue_bounded_and_others_go_on() {
    const WINDOW: u32 = 2000;
    const PINGS: u16 = 5000;
    let (io, _ends) = serve();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW);
    let client = RawClient::with(io, &builder).await;
    let (mut stuck, mut good) = (client.open().await, client.open().await);
    let payload = |i: u16| [&i.to_be_bytes()[..], &[0; 123]].concat();
    for i in 0..PINGS {
        stuck.send(frame(frames::PING, &payload(i)));
        if i % 100 == 0 {
            good.echoes().await;
        }
    }
    // All pings are with the server when it has answered these.
    for _ in 0..100 {
        good.echoes().await;
    }
    // An answer to the last ping cannot come yet, and all that stands before it is what was not replaced.
    let last = frames::to(Role::Client, frames::PONG, &payload(PINGS - 1));
    let mut bytes = stuck.read(last.len()).await;
    while !bytes.ends_with(&last) {
        let more = stuck.read(1).await;
        bytes.extend_from_slice(&more);
    }
    // What filled the window, at most `Config::max_pending_pongs`, and four writes of such in hyper.
    assert!(bytes.len() <= WINDOW as usize + 5 * 4096, "{} bytes waited", bytes.len());
    good.echoes().await;
}

#[tokio::test]
async fn a_message_larger_than_the_windows_comes_through() {
    let config = Config::default().max_message_size(8 << 20);
    let (io, mut ends) = serve_with(http(), config.clone());
    let client = client(io).await;
    let request = ClientRequest::new("wss://example.com/chat").unwrap();
    let (mut ws, _) = in_time(client.connect(&request, config)).await.unwrap();
    for fill in 0..3 {
        let message = Message::from(vec![fill; 4 << 20]);
        in_time(ws.send(message.clone())).await.unwrap();
        assert_eq!(in_time(ws.recv()).await.unwrap(), Some(message));
    }
    assert!(in_time(ws.close(1000, "")).await.unwrap().end.is_clean());
    assert!(next(&mut ends).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up() {
    let (io, mut ends) = serve();
    let mut builder = h2::client::Builder::new();
    // Room for other streams while the window of one is full.
    builder.initial_connection_window_size(1 << 20);
    let client = RawClient::with(io, &builder).await;
    let (mut stuck, mut good) = (client.open().await, client.open().await);
    // 300 KB each, and the default window is 64 KiB less one.
    let message = frame(frames::BINARY, &[0; 300_000]);
    for _ in 0..20 {
        stuck.send(&message);
    }
    match tokio::time::timeout(3 * LONG, ends.recv()).await.unwrap().unwrap() {
        Err(Error::Ended(end)) => assert_eq!(end, End::TimedOut(Timeout::Send)),
        other => panic!("{other:?}"),
    }
    good.echoes().await;
    // hyper holds the stream until its window opens.
    let reset = poll_fn(|cx| Poll::Ready(stuck.send.poll_reset(cx))).await;
    assert!(reset.is_pending(), "{reset:?}");
    stuck.read_to_end().await;
    let reason = in_time(poll_fn(|cx| stuck.send.poll_reset(cx))).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_does_not_read_stays_in_the_send_queue() {
    const MESSAGE: usize = 1 << 20;
    const WINDOW: usize = 65_535;
    let (ours, theirs) = duplex(1 << 16);
    let (give, mut take) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let give = give.clone();
        let (response, upgrading) =
            bowline::hyper::upgrade(&mut request, Config::default()).expect("a good request");
        tokio::spawn(async move {
            let mut ws = upgrading.await.expect("a WebSocket");
            // Time goes on when all tasks are idle.
            let sending = ws.send(vec![0; MESSAGE]);
            tokio::time::timeout(Duration::from_secs(1), sending).await.expect_err("it waits");
            give.send(ws.queued()).expect("the test is there");
        });
        async { Ok::<Response<Full<Bytes>>, Infallible>(response) }
    });
    tokio::spawn(http().serve_connection(TokioIo::new(theirs), service));
    let _stream = RawClient::new(ours).await.open().await;
    let queued = in_time(take.recv()).await.expect("it is told");
    // hyper and `h2` hold four writes of 16 KiB.
    assert!(queued >= MESSAGE - WINDOW - (64 << 10), "{queued}");
}

#[test]
fn an_extended_connect_is_of_http_2_or_later() {
    let mut request = chat(&[]);
    for (version, expected) in [
        (Version::HTTP_2, None),
        (Version::HTTP_3, None),
        (Version::HTTP_11, Some(RequestError::HttpVersion)),
    ] {
        *request.version_mut() = version;
        let read = handshake::Request::try_from(&request);
        assert_eq!(read.err(), expected, "{version:?}");
    }
    // As hyper gives it, and with both an Upgrade and no CONNECT.
    *request.version_mut() = Version::HTTP_2;
    *request.extensions_mut() = http::Extensions::new();
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    assert!(handshake::Request::try_from(&request).is_ok());
    let upgrade = Request::get("https://example.com/")
        .version(Version::HTTP_2)
        .header("host", "example.com")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(())
        .unwrap();
    let read = handshake::Request::try_from(&upgrade);
    assert_eq!(read.err(), Some(RequestError::HttpVersion));
}

// The client.

async fn client<T>(io: T) -> Client
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = h2::client::handshake(io).await.expect("a connection");
    let client = Client::new(sender, &mut connection);
    tokio::spawn(connection);
    client
}

async fn echoes_and_closes<S>(ws: &mut bowline::tokio::WebSocket<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    in_time(ws.send("Hello")).await.unwrap();
    assert_eq!(in_time(ws.recv()).await.unwrap(), Some("Hello".into()));
    assert!(in_time(ws.close(1000, "")).await.unwrap().end.is_clean());
}

fn wss() -> ClientRequest {
    ClientRequest::new("wss://example.com/chat?room=1").unwrap()
}

type Asked = (http::Request<RecvStream>, h2::server::SendResponse<Bytes>);

/// A server of `h2` in memory, which drives its connection, and gives the requests.
fn raw_server(enabled: bool) -> (DuplexStream, mpsc::UnboundedReceiver<Asked>) {
    let (ours, theirs) = duplex(1 << 20);
    let (give, take) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        if enabled {
            builder.enable_connect_protocol();
        }
        let mut connection = builder.handshake(theirs).await.expect("a client");
        while let Some(Ok(asked)) = connection.accept().await {
            let _ = give.send(asked);
        }
    });
    (ours, take)
}

async fn asked(requests: &mut mpsc::UnboundedReceiver<Asked>) -> Asked {
    in_time(requests.recv()).await.expect("a request")
}

/// Connects, and lets the server do this with the request; gives the client's result and what the server
/// made.
async fn answered<F: Future>(
    request: &ClientRequest,
    config: Config,
    answer: impl FnOnce(Asked) -> F,
) -> (Result<(bowline::http2::WebSocket, bowline::handshake::Response), Error>, F::Output) {
    let (io, mut requests) = raw_server(true);
    let client = client(io).await;
    let server = async { answer(asked(&mut requests).await).await };
    in_time(async { tokio::join!(client.connect(request, config), server) }).await
}

fn respond(status: u16, headers: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

#[tokio::test]
async fn the_clients_request_is_that_of_the_rfc() {
    for (url, uri) in [
        ("wss://example.com/chat?room=1", "https://example.com/chat?room=1"),
        ("ws://example.com:8080", "http://example.com:8080/"),
        ("wss://[::1]:444/", "https://[::1]:444/"),
    ] {
        let request = ClientRequest::new(url).unwrap();
        let request = request.origin("https://example.com").unwrap();
        let request = request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
        let request = request.header("Cookie", "a=b").unwrap();
        let (result, asked) = answered(&request, Config::default(), async |mut asked: Asked| {
            let accept = respond(200, &[("sec-websocket-protocol", "superchat")]);
            (asked.0, asked.1.send_response(accept, false).unwrap())
        })
        .await;
        assert_eq!(result.unwrap().1.subprotocol(), Some("superchat"));
        let asked = asked.0;
        assert_eq!(asked.method(), Method::CONNECT);
        assert_eq!(asked.uri(), uri);
        assert_eq!(asked.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        let mut expected = HeaderMap::new();
        for (name, value) in [
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("origin", "https://example.com"),
            ("user-agent", concat!("bowline/", env!("CARGO_PKG_VERSION"))),
            ("cookie", "a=b"),
        ] {
            expected.insert(name, value.parse().unwrap());
        }
        assert_eq!(asked.headers(), &expected);
    }
}

#[tokio::test]
async fn x02_a_server_that_does_not_enable_it_is_not_asked() {
    let (io, mut requests) = raw_server(false);
    let client = client(io).await;
    for _ in 0..2 {
        let result = in_time(client.connect(&wss(), Config::default())).await;
        match result.map(drop) {
            Err(Error::Connect(error)) => assert_eq!(error, ConnectError::NotEnabled),
            other => panic!("{other:?}"),
        }
    }
    drop(client);
    assert!(in_time(requests.recv()).await.is_none(), "it was asked");
}

#[tokio::test]
async fn x02_the_client_waits_for_the_servers_settings() {
    let (ours, mut io) = duplex(1 << 16);
    let client = client(ours).await;
    let (first, second) = (client.clone(), client);
    // The first to wait gives up; the second goes on with its ping.
    let mut given_up = Box::pin(async move { first.connect(&wss(), Config::default()).await });
    assert!(poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await.is_pending());
    drop(given_up);
    let connecting = tokio::spawn(async move { second.connect(&wss(), Config::default()).await });
    let mut preface = [0; 24];
    io.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    let ping = loop {
        let frame = read_frame(&mut io).await;
        assert_ne!(frame.kind, HEADERS, "before the settings");
        if frame.kind == PING {
            break frame.payload;
        }
    };
    const ENABLE_CONNECT_PROTOCOL: &[u8] = &[0, 8, 0, 0, 0, 1];
    write_frame(&mut io, SETTINGS, 0, 0, ENABLE_CONNECT_PROTOCOL).await;
    write_frame(&mut io, PING, ACK, 0, &ping).await;
    loop {
        let frame = read_frame(&mut io).await;
        if frame.kind == HEADERS {
            assert_eq!((frame.stream, frame.flags & END_HEADERS), (1, END_HEADERS));
            break;
        }
    }
    // :status 200, and END_STREAM with an empty DATA frame.
    write_frame(&mut io, HEADERS, END_HEADERS, 1, &[0x88]).await;
    write_frame(&mut io, 0, 1, 1, &[]).await;
    let (mut ws, response) = in_time(connecting).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_gone(in_time(ws.recv()).await.map(drop), Truncation::BetweenMessages);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    // Not even its settings come.
    let (ours, _theirs) = duplex(1 << 16);
    let silent = client(ours).await;
    let result = silent.connect(&wss(), Config::default()).await.map(drop);
    assert!(matches!(result, Err(Error::Connect(ConnectError::TimedOut))), "{result:?}");
    // No response comes: the stream is reset.
    let (result, mut asked) = answered(&wss(), Config::default(), async |asked: Asked| asked).await;
    let result = result.map(drop);
    assert!(matches!(result, Err(Error::Connect(ConnectError::TimedOut))), "{result:?}");
    let reason = poll_fn(|cx| asked.1.poll_reset(cx)).await.unwrap();
    assert_eq!(reason, Reason::CANCEL);
}

#[tokio::test]
async fn x10_a_status_of_101_fails() {
    let (result, _asked) = answered(&wss(), Config::default(), async |mut asked: Asked| {
        asked.1.send_informational(respond(101, &[])).unwrap();
        asked
    })
    .await;
    let error = result.map(drop).unwrap_err();
    assert!(matches!(error, Error::Connect(ConnectError::Malformed)), "{error:?}");
}

#[tokio::test]
async fn interim_responses_are_read_over_up_to_eight() {
    for (interim, opens) in [(8, true), (9, false)] {
        let (result, _sent) = answered(&wss(), Config::default(), async |mut asked: Asked| {
            for _ in 0..interim {
                asked.1.send_informational(respond(103, &[])).unwrap();
            }
            (asked.1.send_response(respond(200, &[]), false).unwrap(), asked)
        })
        .await;
        match result.map(drop) {
            Ok(()) => assert!(opens),
            Err(Error::Connect(ConnectError::TooManyInterim)) => assert!(!opens),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn any_status_of_2xx_opens_and_others_are_refusals() {
    for status in [200, 201, 204, 299] {
        let (result, _sent) = answered(&wss(), Config::default(), async |mut asked: Asked| {
            (asked.1.send_response(respond(status, &[]), false).unwrap(), asked)
        })
        .await;
        assert_eq!(result.unwrap().1.status(), status);
    }
    for status in [300, 302, 400, 403, 501, 503] {
        let (result, _sent) = answered(&wss(), Config::default(), async |mut asked: Asked| {
            let refusal = respond(status, &[("x-why", "because")]);
            let mut body = asked.1.send_response(refusal, false).unwrap();
            body.send_data("not for you".into(), true).unwrap();
            asked
        })
        .await;
        match result.map(drop) {
            Err(Error::Connect(ConnectError::Refused(response))) => {
                assert_eq!(response.status(), status);
                assert_eq!(response.headers().get_str("X-Why"), Some("because"));
                assert_eq!(response.body_bytes(), b"not for you");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn of_a_large_refusal_64_kib_are_kept() {
    let (result, sending) = answered(&wss(), Config::default(), async |mut asked: Asked| {
        let mut body = asked.1.send_response(respond(403, &[]), false).unwrap();
        body.send_data(vec![b'x'; 100_000].into(), true).unwrap();
        asked
    })
    .await;
    drop(sending);
    match result.map(drop) {
        Err(Error::Connect(ConnectError::Refused(response))) => {
            assert_eq!(response.body_bytes().len(), 64 << 10);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_to_what_was_not_offered_fails() {
    for (header, expected) in [
        (("sec-websocket-protocol", "other"), ConnectError::Subprotocol),
        (("sec-websocket-extensions", "permessage-deflate"), ConnectError::Extension),
    ] {
        let (result, mut asked) = answered(&wss(), Config::default(), async |mut asked: Asked| {
            (asked.1.send_response(respond(200, &[header]), false).unwrap(), asked)
        })
        .await;
        match result.map(drop) {
            Err(Error::Connect(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
        let reason = in_time(poll_fn(|cx| asked.0.poll_reset(cx))).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
    }
}

#[tokio::test]
async fn a_stream_that_the_server_resets_is_an_error_that_names_the_reason() {
    let (result, _) = answered(&wss(), Config::default(), async |mut asked: Asked| {
        asked.1.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    match result.map(drop) {
        Err(Error::Io(error)) => {
            let cause = error.get_ref().unwrap().downcast_ref::<h2::Error>().unwrap();
            assert_eq!(cause.reason(), Some(Reason::REFUSED_STREAM));
        }
        other => panic!("{other:?}"),
    }
}

/// A client with an open WebSocket, and the server's side of the stream.
async fn opened() -> (bowline::http2::WebSocket, SendStream<Bytes>, RecvStream) {
    let (result, (send, recv)) = answered(&wss(), Config::default(), async |mut asked: Asked| {
        let send = asked.1.send_response(respond(200, &[]), false).unwrap();
        (send, asked.0.into_body())
    })
    .await;
    (result.unwrap().0, send, recv)
}

#[tokio::test]
async fn x12_the_client_too_sees_1006() {
    for reset in [None, Some(Reason::CANCEL), Some(Reason::NO_ERROR), Some(Reason::INTERNAL_ERROR)]
    {
        let (mut ws, mut send, _recv) = opened().await;
        send.send_data(HELLO.into(), false).unwrap();
        assert_eq!(in_time(ws.recv()).await.unwrap(), Some("Hello".into()));
        match reset {
            None => send.send_data(HELLO[..1].into(), true).unwrap(),
            Some(reason) => send.send_reset(reason),
        }
        let at = if reset.is_none() { Truncation::InHeader } else { Truncation::BetweenMessages };
        assert_gone(in_time(ws.recv()).await.map(drop), at);
    }
}

#[tokio::test]
async fn a_client_ends_its_stream_behind_a_clean_close() {
    let (mut ws, mut send, mut recv) = opened().await;
    send.send_data(vec![0x88, 2, 0x03, 0xE8].into(), true).unwrap();
    assert_eq!(in_time(ws.recv()).await.unwrap(), None);
    let mut length = 0;
    while let Some(data) = in_time(recv.data()).await {
        length += data.expect("END_STREAM, and no reset").len();
    }
    assert_eq!(length, close_1000().len());
}

#[tokio::test]
async fn a_client_that_drops_its_websocket_resets_the_stream() {
    let (ws, mut send, mut recv) = opened().await;
    drop(ws);
    let error = in_time(recv.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert_eq!(in_time(poll_fn(|cx| send.poll_reset(cx))).await.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_a_server_that_does_not_read_and_its_stream_is_freed() {
    let (mut ws, mut send, recv) = opened().await;
    let error = ws.send(vec![0; 1 << 20]).await.unwrap_err();
    assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))), "{error:?}");
    drop(ws);
    assert_eq!(in_time(poll_fn(|cx| send.poll_reset(cx))).await.unwrap(), Reason::CANCEL);
    drop(recv);
}

#[tokio::test]
async fn the_client_reads_frames_cut_at_every_byte() {
    for cut in 0..=HELLO.len() {
        let (mut ws, mut send, _recv) = opened().await;
        send.send_data(HELLO[..cut].into(), false).unwrap();
        send.send_data(HELLO[cut..].into(), false).unwrap();
        assert_eq!(in_time(ws.recv()).await.unwrap(), Some("Hello".into()), "{cut}");
    }
}

#[tokio::test]
async fn many_websockets_share_a_connection() {
    const MANY: usize = 100;
    let (io, mut ends) = serve();
    let client = client(io).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..MANY {
        let client = client.clone();
        tasks.spawn(async move {
            let (mut ws, _) = client.connect(&wss(), Config::default()).await.unwrap();
            for j in 0..10 {
                let message = Message::from(format!("{i}, {j}"));
                ws.send(message.clone()).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(message));
            }
            assert!(ws.close(1000, "").await.unwrap().end.is_clean());
        });
    }
    while let Some(result) = in_time(tasks.join_next()).await {
        result.unwrap();
    }
    for _ in 0..MANY {
        assert!(next(&mut ends).await.is_ok());
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression_is_agreed_on_by_both_sides() {
    let config = Config::default().deflate(bowline::Deflate::default());
    let (io, _ends) = serve_with(http(), config.clone());
    let (mut ws, response) = client(io).await.connect(&wss(), config).await.unwrap();
    assert!(response.headers().get("Sec-WebSocket-Extensions").is_some());
    let text = Message::from("again and again ".repeat(1000));
    ws.send(text.clone()).await.unwrap();
    assert_eq!(in_time(ws.recv()).await.unwrap(), Some(text));
}

// axum.

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_extractor_takes_both_versions() {
    use axum::response::{IntoResponse, Response};
    use bowline::axum::WebSocketUpgrade;

    // A page for ordinary requests, and never for an extended CONNECT: 200 would open a tunnel.
    let handler = async |ws: Option<WebSocketUpgrade>| -> Response {
        match ws {
            Some(ws) => ws.protocols(["chat"]).on_upgrade(async |mut ws| {
                while let Ok(Some(message)) = ws.recv().await {
                    ws.feed(message).await.unwrap();
                }
            }),
            None => "a page".into_response(),
        }
    };
    let app = axum::Router::new().route("/chat", axum::routing::any(handler));
    let (listener, address) = listener().await;
    tokio::spawn(async { axum::serve(listener, app).await });
    echoes(&format!("ws://{address}/chat")).await;

    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = client(socket).await;
    let request = ClientRequest::new(&format!("ws://{address}/chat")).unwrap();
    let request = request.subprotocol("chat").unwrap();
    let (mut ws, response) = client.connect(&request, Config::default()).await.unwrap();
    assert_eq!((response.status(), response.subprotocol()), (200, Some("chat")));
    echoes_and_closes(&mut ws).await;
    let foreign = request.origin("https://evil.example").unwrap();
    match client.connect(&foreign, Config::default()).await.map(drop) {
        Err(Error::Connect(ConnectError::Refused(response))) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }

    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake::<_>(socket).await.unwrap();
    tokio::spawn(connection);
    let mut unknown = chat(&[]);
    unknown.extensions_mut().insert(Protocol::from_static("foo"));
    let page = Request::get("http://example.com/chat").body(()).unwrap();
    for (request, status) in [(unknown, 501), (page, 200)] {
        sender = in_time(sender.ready()).await.unwrap();
        let (response, _send): (_, SendStream<Bytes>) = sender.send_request(request, true).unwrap();
        assert_eq!(in_time(response).await.unwrap().status(), status);
    }
}
