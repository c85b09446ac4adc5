//! Compression through both adapters, from the opening handshake to the Close, whole and split. Futures are also dropped at
//! any poll. A peer that inflates by hand checks the bytes on the wire.
#![cfg(all(feature = "tokio", feature = "deflate"))]

use std::net::{TcpListener, TcpStream};

use crate::support::deflate::{Blocks, inflate, literals, marked, run_of};
use crate::support::stream::{cancelled, finish, io};
use crate::support::{Frame, Seeded, decode_extended, handshake};
use crate::support::{LONG, ROLES, blocking, close_to, spawn, to};
use bowline::handshake::ClientRequest;
use bowline::{Config, Connection, Deflate, End, Error, Message, MessageRef, RecvBuf, Role};
use tokio::runtime::{Builder, Runtime};

fn config() -> Config {
    crate::support::no_timeouts().deflate(Deflate::default().threshold(64))
}

fn connection(role: Role) -> Connection {
    handshake(role, config(), "permessage-deflate").0
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Messages of many sizes that compress well, little, and not at all.
fn messages() -> Vec<Message> {
    let mut seeded = Seeded(1);
    let sizes = [0, 1, 63, 64, 65, 500, 4_096, 20_000, 70_000, 300];
    let each = sizes.map(|len| {
        let noise = seeded.bytes(len);
        let some: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 4).collect();
        [
            Message::from(String::from_utf8(some).unwrap()),
            Message::from(noise),
            Message::from("x".repeat(len)),
        ]
    });
    each.into_iter().flatten().collect()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

fn asynchronous(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

fn request() -> ClientRequest {
    ClientRequest::new("ws://localhost/").unwrap()
}

/// Sends back each message in another way, until the Close.
fn serve_blocking(stream: TcpStream) {
    let mut ws = bowline::blocking::accept(stream, config()).unwrap();
    for i in 0.. {
        match i % 3 {
            0 => {
                let Some((message, mut out)) = ws.recv_borrowed().unwrap() else { break };
                out.feed(message).unwrap();
                ws.flush().unwrap();
            }
            1 => {
                let Some(message) = ws.recv().unwrap() else { break };
                ws.send(message).unwrap();
            }
            _ => {
                let mut parts = Vec::new();
                while let Some(part) = ws.recv_part().unwrap() {
                    parts.push((part.payload.to_message(), part.last));
                    if part.last {
                        break;
                    }
                }
                parts.iter().for_each(|(part, last)| ws.send_part(part, *last).unwrap());
            }
        }
    }
    assert!(matches!(ws.end(), Some(End::Closed { .. })));
}

/// As [`serve_blocking`].
fn serve_tokio(stream: TcpStream) {
    runtime().block_on(async {
        let mut ws = bowline::tokio::accept(asynchronous(stream), config()).await.unwrap();
        for i in 0.. {
            match i % 3 {
                0 => {
                    let Some((message, mut out)) = ws.recv_borrowed().await.unwrap() else { break };
                    out.feed(message).unwrap();
                    ws.flush().await.unwrap();
                }
                1 => {
                    let Some(message) = ws.recv().await.unwrap() else { break };
                    ws.send(message).await.unwrap();
                }
                _ => {
                    let mut parts = Vec::new();
                    while let Some(part) = ws.recv_part().await.unwrap() {
                        parts.push((part.payload.to_message(), part.last));
                        if part.last {
                            break;
                        }
                    }
                    for (part, last) in &parts {
                        ws.send_part(part, *last).await.unwrap();
                    }
                }
            }
        }
        assert!(matches!(ws.end(), Some(End::Closed { .. })));
    });
}

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

fn call_blocking(stream: TcpStream) {
    let (mut ws, response) = bowline::blocking::client(stream, &request(), config()).unwrap();
    assert!(response.headers().get(EXTENSIONS).unwrap().starts_with(b"permessage-deflate"));
    for message in messages() {
        ws.send(message.clone()).unwrap();
        assert!(ws.recv().unwrap() == Some(message));
    }
    // Split, both ways at once.
    let (mut sender, mut receiver) = ws.split().unwrap();
    let sends = spawn(move || {
        messages().into_iter().for_each(|message| sender.send(message).unwrap());
        sender.close(1000, "").unwrap();
    });
    for message in messages() {
        assert!(receiver.recv().unwrap() == Some(message));
    }
    assert_eq!(receiver.recv().unwrap(), None);
    sends.wait("the sender");
}

fn call_tokio(stream: TcpStream) {
    runtime().block_on(async {
        let stream = asynchronous(stream);
        let (mut ws, response) =
            bowline::tokio::client(stream, &request(), config()).await.unwrap();
        assert!(response.headers().get(EXTENSIONS).unwrap().starts_with(b"permessage-deflate"));
        for message in messages() {
            ws.send(message.clone()).await.unwrap();
            assert!(ws.recv().await.unwrap() == Some(message));
        }
        let (mut sender, mut receiver) = ws.split();
        let sends = tokio::spawn(async move {
            for message in messages() {
                sender.send(message).await.unwrap();
            }
            sender.close(1000, "").await.unwrap();
        });
        for message in messages() {
            assert!(receiver.recv().await.unwrap() == Some(message));
        }
        assert_eq!(receiver.recv().await.unwrap(), None);
        sends.await.unwrap();
    });
}

#[test]
fn each_adapter_agrees_with_each_and_messages_come_back() {
    for serve in [serve_blocking, serve_tokio] {
        for call in [call_blocking, call_tokio] {
            let (ours, theirs) = tcp();
            let server = spawn(move || serve(ours));
            spawn(move || call(theirs)).wait_at_most(3 * LONG, "the client");
            server.wait("the server");
        }
    }
}

/// What the marked and plain messages that `role` sent say.
fn said(role: Role, wire: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let (mut history, mut messages) = (Vec::new(), Vec::new());
    let mut frames = decode_extended(role, wire).into_iter().filter(|frame| frame.opcode < 8);
    while let Some(first) = frames.next() {
        let (marked, mut fin, mut payload) = (first.marked, first.fin, first.payload);
        while !fin {
            let Frame { fin: is_last, payload: more, .. } = frames.next().unwrap();
            (fin, payload) = (is_last, [payload, more].concat());
        }
        if marked {
            payload = inflate(&payload, &history, true).expect("right to the last bit").bytes;
            history.extend(&payload);
        }
        messages.push((marked, payload));
    }
    messages
}

#[test]
fn compression_can_be_turned_off_in_each_place_where_messages_are_sent() {
    // O16
    let secret = "secret ".repeat(20);
    let expected = |on: &[bool]| -> Vec<_> {
        on.iter().map(|&on| (on, secret.clone().into_bytes())).collect()
    };
    for role in ROLES {
        let (stream, far) = blocking::io();
        let mut ws =
            bowline::blocking::WebSocket::from_connection(stream, connection(role), RecvBuf::new())
                .unwrap();
        ws.send(&*secret).unwrap();
        ws.set_compression(false);
        ws.send(&*secret).unwrap();
        far.push(&to(role, crate::support::TEXT, secret.as_bytes()).repeat(2));
        for on in [true, false] {
            let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
            out.set_compression(on);
            out.feed(message).unwrap();
        }
        ws.flush().unwrap();
        let (mut sender, _receiver) = ws.split().unwrap();
        sender.send(&*secret).unwrap();
        sender.set_compression(true);
        sender.send(&*secret).unwrap();
        assert_eq!(said(role, &far.written()), expected(&[true, false, true, false, false, true]));

        let (io, far) = io();
        let mut ws =
            bowline::tokio::WebSocket::from_connection(io, connection(role), RecvBuf::new());
        finish(ws.send(&*secret)).unwrap();
        ws.set_compression(false);
        finish(ws.send(&*secret)).unwrap();
        far.push(&to(role, crate::support::TEXT, secret.as_bytes()).repeat(2));
        for on in [true, false] {
            let (message, mut out) = finish(ws.recv_borrowed()).unwrap().unwrap();
            out.set_compression(on);
            out.feed(message).unwrap();
        }
        finish(ws.flush()).unwrap();
        let (mut sender, _receiver) = ws.split();
        finish(sender.send(&*secret)).unwrap();
        sender.set_compression(true);
        finish(sender.send(&*secret)).unwrap();
        assert_eq!(said(role, &far.written()), expected(&[true, false, true, false, false, true]));
    }
}

/// A long message that is short on the wire, between small ones that refer to each other.
fn incoming(role: Role) -> (Vec<u8>, Vec<Message>) {
    let fixed = |tokens: &[_]| Blocks::new().fixed(false, tokens).message();
    let hello = marked(role, true, crate::support::TEXT, &fixed(&literals(b"Hello")));
    let long = fixed(&run_of(b'x', 50_000));
    let (a, b) = long.split_at(long.len() / 2);
    let wire = [
        hello.clone(),
        marked(role, false, crate::support::BINARY, a),
        to(role, crate::support::PING, b"p"),
        crate::support::fragment_to(role, true, crate::support::CONTINUATION, b),
        to(role, crate::support::TEXT, b"plain"),
        hello,
        close_to(role, 1000),
    ];
    let messages = ["Hello".into(), vec![b'x'; 50_000].into(), "plain".into(), "Hello".into()];
    (wire.concat(), messages.into())
}

#[test]
fn a_receive_that_is_dropped_at_any_poll_loses_nothing() {
    for role in ROLES {
        for chunk in [1, 7, 100] {
            for polls in [1, 2, 3, 10] {
                for split in [false, true] {
                    let (wire, expected) = incoming(role);
                    let (io, far) = io();
                    let mut ws = bowline::tokio::WebSocket::from_connection(
                        io,
                        connection(role),
                        RecvBuf::new(),
                    );
                    far.stutter(chunk);
                    far.push(&wire);
                    far.eof();
                    let mut got = Vec::new();
                    if split {
                        let (_sender, mut receiver) = ws.split();
                        while let Some(message) = again(|| cancelled(receiver.recv(), polls)) {
                            got.push(message);
                        }
                    } else {
                        while let Some(message) = again(|| cancelled(ws.recv(), polls)) {
                            got.push(message);
                        }
                    }
                    assert!(got == expected, "{role:?} {chunk} {polls} {split}");
                }
            }
        }
    }
}

/// Calls until there is a result.
fn again<T>(mut call: impl FnMut() -> Option<Result<T, Error>>) -> T {
    (0..1_000_000).find_map(|_| call()).expect("an end").unwrap()
}

#[test]
fn a_part_that_is_dropped_at_any_poll_loses_nothing() {
    for role in ROLES {
        for (chunk, polls) in [(1, 1), (7, 2), (100, 3), (10_000, 1)] {
            let (wire, expected) = incoming(role);
            let (io, far) = io();
            let mut ws =
                bowline::tokio::WebSocket::from_connection(io, connection(role), RecvBuf::new());
            far.stutter(chunk);
            far.push(&wire);
            far.eof();
            let (mut got, mut bytes) = (Vec::new(), Vec::new());
            'over: loop {
                let part = loop {
                    match cancelled(ws.recv_part(), polls) {
                        None => {}
                        Some(Ok(None)) => break 'over,
                        Some(part) => {
                            let part = part.unwrap().unwrap();
                            break (part.payload.to_message(), part.last);
                        }
                    }
                };
                bytes.extend_from_slice(part.0.as_bytes());
                if part.1 {
                    let bytes = std::mem::take(&mut bytes);
                    got.push(match part.0 {
                        Message::Text(_) => Message::from(String::from_utf8(bytes).unwrap()),
                        _ => Message::from(bytes),
                    });
                }
            }
            assert!(got == expected, "{role:?} {chunk}");
        }
    }
}

/// Sends a message, and drops the future after this many polls.
type Send = dyn FnMut(String, usize) -> Option<Result<(), Error>>;

#[test]
fn a_send_that_is_dropped_at_any_poll_sent_its_message_whole_or_not_at_all() {
    // The window of the sender has what was queued, and nothing else.
    let text = "a message that refers to the one before it, ".repeat(5);
    for role in ROLES {
        for split in [false, true] {
            let (io, far) = io();
            let config = config().max_send_queue(40);
            let connection = handshake(role, config, "permessage-deflate").0;
            let mut ws = bowline::tokio::WebSocket::from_connection(io, connection, RecvBuf::new());
            far.stutter(5);
            let mut send: Box<Send> = if split {
                let (mut sender, receiver) = ws.split();
                Box::new(move |message, polls| {
                    let _alive = &receiver;
                    cancelled(sender.send(message), polls)
                })
            } else {
                Box::new(move |message, polls| cancelled(ws.send(message), polls))
            };
            let mut seeded = Seeded(2);
            let (mut all, mut done) = (Vec::new(), Vec::new());
            for i in 0..=60 {
                let noise: String =
                    seeded.bytes(60).iter().map(|byte| char::from(b'@' + byte % 64)).collect();
                let message = format!("{i}: {noise} {text}");
                all.push(message.clone());
                let polls = if i < 60 { 1 + i % 20 } else { usize::MAX };
                if let Some(result) = send(message.clone(), polls) {
                    result.unwrap();
                    done.push(message);
                }
            }
            let sent = said(role, &far.written());
            assert!(sent.iter().all(|(marked, _)| *marked));
            let sent: Vec<_> =
                sent.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
            assert!(sent.len() < 60, "some were dropped while they waited for room");
            let mut rest = all.iter();
            assert!(
                sent.iter().all(|message| rest.any(|other| other == message)),
                "in order, and once"
            );
            assert!(done.iter().all(|message| sent.contains(message)), "what was done was sent");
        }
    }
}

#[test]
fn the_rest_of_a_message_is_skipped_and_the_next_refers_to_it() {
    let tokens = [&run_of(b'x', 60_000)[..], &literals(b"end")].concat();
    let long = Blocks::new().fixed(false, &tokens).message();
    let refers =
        Blocks::new().fixed(false, &[crate::support::deflate::Token::Match(3, 3)]).message();
    for role in ROLES {
        for chunk in [1, 50, usize::MAX] {
            let wire = [
                marked(role, true, crate::support::TEXT, &long),
                marked(role, true, crate::support::TEXT, &refers),
            ]
            .concat();
            let (stream, far) = blocking::io();
            far.chunk(chunk);
            far.push(&wire);
            let mut ws = bowline::blocking::WebSocket::from_connection(
                stream,
                connection(role),
                RecvBuf::new(),
            )
            .unwrap();
            let part = ws.recv_part().unwrap().unwrap();
            assert!(part.first && !part.last && matches!(part.payload, MessageRef::Text(_)));
            assert_eq!(ws.recv().unwrap(), Some("end".into()));

            let (io, far) = io();
            far.change(|state| state.chunk = chunk);
            far.push(&wire);
            let mut ws =
                bowline::tokio::WebSocket::from_connection(io, connection(role), RecvBuf::new());
            let part = finish(ws.recv_part()).unwrap().unwrap();
            assert!(part.first && !part.last && matches!(part.payload, MessageRef::Text(_)));
            assert_eq!(finish(ws.recv()).unwrap(), Some("end".into()));
        }
    }
}

#[test]
fn a_message_that_inflates_to_64_mib_passes_in_parts_through_both_adapters() {
    // `tests/memory/deflate.rs` tests what that costs. This tests that it comes whole, and in small parts.
    const LEN: usize = 64 << 20;
    let role = Role::Client;
    let settings = config().max_message_size(u64::MAX);
    let payload = Blocks::new().fixed(false, &run_of(b'0', LEN)).message();
    let wire = marked(role, true, crate::support::TEXT, &payload);
    let connection = || handshake(role, settings.clone(), "permessage-deflate").0;
    let check = |received: &mut usize, part: &bowline::Part<'_>| {
        assert!(part.payload.as_bytes().len() <= 32 << 10);
        *received += part.payload.as_bytes().len();
        part.last
    };
    let (stream, far) = blocking::io();
    far.push(&wire);
    let mut ws =
        bowline::blocking::WebSocket::from_connection(stream, connection(), RecvBuf::new())
            .unwrap();
    let mut received = 0;
    while !check(&mut received, &ws.recv_part().unwrap().unwrap()) {}
    assert_eq!(received, LEN);

    let (io, far) = io();
    far.push(&wire);
    let mut ws = bowline::tokio::WebSocket::from_connection(io, connection(), RecvBuf::new());
    let mut received = 0;
    runtime().block_on(async {
        while !check(&mut received, &ws.recv_part().await.unwrap().unwrap()) {}
    });
    assert_eq!(received, LEN);
}
