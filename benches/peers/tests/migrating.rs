//! docs/migrating-from-tungstenite.md: its programs before and after, each server with each client, and what it says
//! that tungstenite does otherwise.

#[path = "../../../tests/support/protocol/frames.rs"]
mod frames;
#[path = "migrating/client.rs"]
mod their_client;
#[path = "migrating/server.rs"]
mod their_server;

#[path = "../../../tests/migrating/client.rs"]
mod our_client;
#[path = "../../../tests/migrating/server.rs"]
mod our_server;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bowline::handshake::{ClientRequest, ConnectError};
use tungstenite::ClientRequestBuilder;
use tungstenite::error::{CapacityError, ProtocolError, SubProtocolError};

/// A peer that hangs fails the test.
const LIMIT: Duration = Duration::from_secs(30);

type Answers = (Vec<String>, Option<u16>);

/// Runs a server for as long as the test process lives.
fn run<F>(serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>>,
{
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener).await.unwrap();
        });
    });
    told.recv_timeout(LIMIT).unwrap()
}

fn ours() -> SocketAddr {
    run(our_server::serve)
}

fn theirs() -> SocketAddr {
    run(their_server::serve)
}

/// In time, and with the error as text.
fn in_time<E: std::fmt::Debug>(
    ask: impl FnOnce() -> Result<Answers, E> + Send + 'static,
) -> Result<Answers, String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(ask().map_err(|error| format!("{error:?}"))));
    told.recv_timeout(LIMIT).expect("it ends in time")
}

#[test]
fn every_client_with_every_server() {
    for address in [ours(), theirs()] {
        let url = format!("ws://{address}/shout");
        for (questions, expected) in [
            (&["one", "grüße"][..], (vec!["ONE", "GRÜSSE"], None)),
            (&["one", "bye", "two"], (vec!["ONE"], Some(4000))),
        ] {
            let expected = Ok((expected.0.into_iter().map(String::from).collect(), expected.1));
            let target = url.clone();
            assert_eq!(in_time(move || our_client::ask(&target, questions)), expected);
            let target = url.clone();
            assert_eq!(in_time(move || their_client::ask(&target, questions)), expected);
        }
        let other = format!("ws://{address}/");
        match our_client::ask(&other, &[]) {
            Err(bowline::Error::Connect(ConnectError::Refused(response))) => {
                assert_eq!(response.status(), 404);
            }
            result => panic!("{result:?}"),
        }
        match their_client::ask(&other, &[]) {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 404),
            result => panic!("{result:?}"),
        }
    }
}

fn request(more: &str) -> String {
    format!(
        "GET /shout HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

/// All that comes until the server ends, in an orderly way or not.
fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    answer
}

/// Sends bytes and reads all that comes until the server ends.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(stream)
}

/// What comes behind the head of a 101; `None` where there was none.
fn behind_the_head(answer: &[u8]) -> Option<Vec<u8>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    answer.starts_with(b"HTTP/1.1 101 ").then(|| answer[end..].to_vec())
}

/// Opens a WebSocket, then sends bytes and reads what comes behind the head until the server ends.
fn open_and_send(address: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request(VERSION).as_bytes()).unwrap();
    read_head(&mut stream);
    stream.write_all(frames).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(stream)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(char::from(byte[0]));
    }
    head
}

#[test]
fn who_breaks_a_rule_is_told_by_ours_alone() {
    let unmasked = b"\x81\x05Hello";
    assert_eq!(open_and_send(ours(), unmasked), b"\x88\x02\x03\xea"); // 1002
    assert_eq!(open_and_send(theirs(), unmasked), b"");
}

#[test]
fn a_bad_request_is_answered_by_ours_alone() {
    let bad = request("Sec-WebSocket-Version: 8\r\n");
    assert!(exchange(ours(), bad.as_bytes()).starts_with(b"HTTP/1.1 426 "));
    assert_eq!(exchange(theirs(), bad.as_bytes()), b"");
}

#[test]
fn frames_right_behind_the_request_are_read_by_ours_alone() {
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let bytes = [request(VERSION).as_bytes(), hello].concat();
    let answer = behind_the_head(&exchange(ours(), &bytes)).expect("a 101");
    assert!(answer.starts_with(b"\x81\x05HELLO"), "{answer:?}");
    assert_eq!(behind_the_head(&exchange(theirs(), &bytes)), None);
}

#[test]
fn another_origin_is_refused_by_ours_alone() {
    let foreign = request(&format!("{VERSION}Origin: https://elsewhere.example\r\n"));
    assert!(exchange(ours(), foreign.as_bytes()).starts_with(b"HTTP/1.1 403 "));
    assert!(exchange(theirs(), foreign.as_bytes()).starts_with(b"HTTP/1.1 101 "));
}

/// A server that answers with these lines behind the status.
fn canned(answer: impl FnOnce(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        stream.write_all(answer(key).as_bytes()).unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

fn switching(key: &str) -> String {
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

#[test]
fn a_server_that_selects_no_subprotocol_is_no_error_for_ours_alone() {
    let url = format!("ws://{}/", canned(switching));
    let request = ClientRequest::new(&url).unwrap().subprotocol("shout.v1").unwrap();
    let connected = bowline::blocking::connect_with(&request, bowline::Config::default());
    assert_eq!(connected.unwrap().1.subprotocol(), None);

    let url = format!("ws://{}/", canned(switching));
    let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol("shout.v1");
    match tungstenite::connect(request) {
        Err(tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error))) => {
            assert_eq!(error, SubProtocolError::NoSubProtocol);
        }
        result => panic!("{result:?}"),
    }
}

#[test]
fn redirects_are_followed_by_theirs_and_by_ours_if_the_request_allows_it() {
    let redirect = |to: SocketAddr| {
        canned(move |_| {
            format!("HTTP/1.1 302 Found\r\nLocation: ws://{to}/\r\nContent-Length: 0\r\n\r\n")
        })
    };
    let url = format!("ws://{}/", redirect(canned(switching)));
    tungstenite::connect(&url).expect("it follows");

    let url = format!("ws://{}/", redirect(canned(switching)));
    match bowline::blocking::connect(&url) {
        Err(bowline::Error::Connect(ConnectError::Redirected(redirected))) => {
            assert_eq!(redirected.status(), 302);
            assert!(redirected.location().starts_with("ws://127.0.0.1:"));
        }
        result => panic!("{result:?}"),
    }

    let url = format!("ws://{}/", redirect(canned(switching)));
    let request = ClientRequest::new(&url).unwrap().redirects(3);
    bowline::blocking::connect_with(&request, bowline::Config::default()).expect("it follows");
}

/// What a client gets for an answer of so many bytes in one frame, and what the frame's sender is told.
fn large(bytes: usize) -> (TcpListener, SocketAddr, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let frame = frames::to(bowline::Role::Client, frames::BINARY, &vec![7; bytes]);
    (listener, address, frame)
}

fn serve_frame(listener: TcpListener, frame: Vec<u8>) {
    thread::spawn(move || {
        let mut ws = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let _ = ws.get_mut().write_all(&frame);
        let _ = ws.read();
    });
}

#[test]
fn the_limits_differ() {
    let mib = 1 << 20;
    // Ours: 1 MiB a message.
    for (bytes, taken) in [(mib, true), (mib + 1, false)] {
        let (listener, address, frame) = large(bytes);
        serve_frame(listener, frame);
        let mut ws = bowline::blocking::connect(&format!("ws://{address}/")).unwrap();
        match ws.recv() {
            Ok(Some(message)) => assert!(taken && message.as_bytes().len() == bytes),
            Err(bowline::Error::Ended(bowline::End::Failed(error))) => {
                assert!(!taken && error.rule() == bowline::Rule::MessageTooBig);
            }
            other => panic!("{other:?}"),
        }
    }
    // Theirs: 16 MiB a frame.
    for (bytes, taken) in [(16 * mib, true), (16 * mib + 1, false)] {
        let (listener, address, frame) = large(bytes);
        serve_frame(listener, frame);
        let (mut ws, _) = tungstenite::connect(format!("ws://{address}/")).unwrap();
        match ws.read() {
            Ok(message) => assert!(taken && message.len() == bytes),
            Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                assert!(!taken);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Every name of theirs that the guide has a line for, but methods.
#[allow(unused_imports)]
mod names {
    use tokio_tungstenite::{
        Connector, MaybeTlsStream, WebSocketStream, accept_async, accept_async_with_config,
        accept_hdr_async, client_async, client_async_with_config, connect_async,
        connect_async_with_config,
    };
    use tungstenite::client::{IntoClientRequest, connect_with_config};
    use tungstenite::error::{
        CapacityError::{MessageTooLong, TooManyHeaders},
        Error::{
            AlreadyClosed, AttackAttempt, Capacity, ConnectionClosed, Http, HttpFormat, Io,
            Protocol, Tls, Url, Utf8, WriteBufferFull,
        },
        ProtocolError::{
            ControlFrameTooBig, ExpectedFragment, FragmentedControlFrame, HandshakeIncomplete,
            InvalidCloseSequence, InvalidHeader, InvalidOpcode, JunkAfterRequest,
            MaskedFrameFromServer, NonZeroReservedBits, ReceivedAfterClosing,
            ResetWithoutClosingHandshake, SendAfterClosing, UnexpectedContinueFrame,
            UnknownControlFrameType, UnknownDataFrameType, UnmaskedFrameFromClient,
        },
        UrlError::{TlsFeatureNotEnabled, UnableToConnect},
    };
    use tungstenite::handshake::server::{
        Callback, ErrorResponse, NoCallback, Request, Response, create_response,
    };
    use tungstenite::handshake::{HandshakeError, MidHandshake, derive_accept_key};
    use tungstenite::protocol::WebSocketContext;
    use tungstenite::protocol::frame::FrameSocket;
    use tungstenite::util::NonBlockingResult;
    use tungstenite::{
        ClientHandshake, ClientRequestBuilder, ServerHandshake, Utf8Bytes, WebSocket, accept,
        accept_hdr, accept_hdr_with_config, accept_with_config, client, connect,
    };
}
