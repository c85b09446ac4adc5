//! How an opening handshake ends that opens nothing, over each asynchronous adapter. Streams in memory.

use std::io::ErrorKind;
use std::pin::pin;

use bowline::handshake::{ClientRequest, ConnectError, RequestError, Response};
use bowline::{Config, Error};

use super::adapter::*;
use crate::support::no_timeouts;
use crate::support::stream::{finish, poll};

const UPGRADE: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The ways in which a socket tells that the peer is gone.
const GONE: [ErrorKind; 5] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::BrokenPipe,
    ErrorKind::UnexpectedEof,
    ErrorKind::NotConnected,
];

fn request() -> ClientRequest {
    ClientRequest::new("ws://a/chat").unwrap()
}

#[test]
fn a_server_that_resets_the_connection_is_gone_as_one_that_ends_it() {
    for kind in GONE {
        for sent in [&b""[..], b"HTTP/1.1 1", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: web"] {
            let (stream, far) = io();
            far.push(sent);
            let request = request();
            let mut opening = pin!(client(stream, &request, no_timeouts()));
            assert!(poll(opening.as_mut()).is_pending());
            far.change(|s| s.read_error = Some(kind));
            let error = finish(opening).unwrap_err();
            assert!(matches!(error, Error::Connect(ConnectError::Gone)), "{kind:?}: {error:?}");
        }
        let (stream, far) = io();
        far.change(|s| s.write_error = Some(kind));
        let error = finish(client(stream, &request(), no_timeouts())).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::Gone)), "{kind:?}: {error:?}");
    }
}

/// It refused before it had read the whole request, and closed its socket.
#[test]
fn a_refusal_that_came_before_the_request_could_be_sent_is_told() {
    for kind in GONE {
        let (stream, far) = io();
        far.push(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        far.change(|s| s.write_error = Some(kind));
        match finish(client(stream, &request(), no_timeouts())).unwrap_err() {
            Error::Connect(ConnectError::Refused(response)) => assert_eq!(response.status(), 503),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

/// A stream that buffers, as TLS does, took the whole request and has not sent it yet.
#[test]
fn a_request_that_the_stream_still_holds_back_is_flushed_until_it_has_left() {
    let (stream, far) = io();
    far.change(|s| s.flush_pending = true);
    let request = request();
    let mut opening = pin!(client(stream, &request, no_timeouts()));
    assert!(poll(opening.as_mut()).is_pending());
    assert!(far.written().ends_with(b"\r\n\r\n"));
    far.change(|s| s.flush_pending = false);
    assert!(poll(opening.as_mut()).is_pending());
    far.change(|s| assert_eq!(s.flushes, 1));
}

/// The same for the answer of a server.
#[test]
fn an_answer_that_the_stream_still_holds_back_is_flushed_until_it_has_left() {
    let (stream, far) = io();
    far.push(UPGRADE);
    far.change(|s| s.flush_pending = true);
    let mut opening = pin!(accept(stream, no_timeouts()));
    assert!(poll(opening.as_mut()).is_pending());
    assert!(far.written().starts_with(b"HTTP/1.1 101 "));
    far.change(|s| s.flush_pending = false);
    finish(opening).unwrap();
    far.change(|s| assert_eq!(s.flushes, 1));
}

#[test]
fn a_refusal_that_a_reset_cuts_short_is_told() {
    for kind in GONE {
        let (stream, far) = io();
        far.push(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 50\r\n\r\npart");
        let request = request();
        let result = super::adapter::within_two_seconds(async {
            let mut opening = pin!(client(stream, &request, no_timeouts()));
            assert!(poll(opening.as_mut()).is_pending());
            far.change(|s| s.read_error = Some(kind));
            opening.await
        });
        match result.unwrap_err() {
            Error::Connect(ConnectError::Refused(response)) => {
                assert_eq!((response.status(), response.body_bytes()), (403, &b"part"[..]));
            }
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn a_client_that_resets_the_connection_is_gone_as_one_that_ends_it() {
    for kind in GONE {
        for sent in [0, 1, 40, UPGRADE.len() - 1] {
            let (stream, far) = io();
            far.push(&UPGRADE[..sent]);
            let mut accepting = pin!(accept(stream, no_timeouts()));
            assert!(poll(accepting.as_mut()).is_pending());
            far.change(|s| s.read_error = Some(kind));
            let error = finish(accepting).unwrap_err();
            assert!(matches!(error, Error::Request(RequestError::Gone)), "{kind:?}: {error:?}");
            assert!(far.written().is_empty(), "there is nobody to answer");
        }
        let (stream, far) = io();
        far.push(UPGRADE);
        far.change(|s| s.write_error = Some(kind));
        let error = finish(accept(stream, no_timeouts())).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::Gone)), "{kind:?}: {error:?}");
    }
}

#[test]
fn another_error_of_the_stream_is_told_as_it_is() {
    let error = Some(ErrorKind::Other);
    for (read, write) in [(error, None), (None, error)] {
        let (stream, far) = io();
        far.change(|s| (s.read_error, s.write_error) = (read, write));
        assert!(matches!(finish(client(stream, &request(), no_timeouts())), Err(Error::Io(_))));
        let (stream, far) = io();
        if write.is_some() {
            far.push(UPGRADE);
        }
        far.change(|s| (s.read_error, s.write_error) = (read, write));
        assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Io(_))));
    }
}

#[test]
fn a_refusal_whose_body_does_not_end_waits_for_no_timeout_of_the_handshakes() {
    // The grace is tested with the core. Here: that the adapter asks for it, also where there is no other deadline.
    for config in [no_timeouts(), Config::default()] {
        let (stream, far) = io();
        far.push(b"HTTP/1.1 200 OK\r\n\r\n<html>");
        match super::adapter::within_two_seconds(client(stream, &request(), config)).unwrap_err() {
            Error::Connect(ConnectError::Refused(response)) => {
                assert_eq!((response.status(), response.body_bytes()), (200, &b"<html>"[..]));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn head_is_answered_without_content() {
    // RFC 9110 §9.3.2.
    let head = b"HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let (stream, far) = io();
    far.push(head);
    far.eof();
    let incoming = finish(Incoming::read(stream, no_timeouts())).unwrap();
    finish(incoming.respond(&Response::new(200).body("hello"))).unwrap();
    assert!(far.written().ends_with(b"\r\nContent-Length: 5\r\n\r\n"));

    for refused in [&head[..], b"HEAD /page HTTP/1.1\r\n\r\n", b"HEAD /page HTTP/1.0\r\n\r\n"] {
        let (stream, far) = io();
        far.push(refused);
        far.eof();
        assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Request(_))));
        let answer = String::from_utf8(far.written()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}
