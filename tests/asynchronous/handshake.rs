//! The opening handshake. Streams in memory, and a timeout of zero, which has run out
//! whenever it is looked at.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use bowline::handshake::{Accept, ClientRequest, ConnectError, RequestError, Response, accept_key};
use bowline::{Config, Error, Role};
use super::adapter::*;
use crate::support::stream::{Far, cancelled, finish, poll};
use crate::support::*;

const PAGE: &str = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn text(far: &Far) -> String {
    String::from_utf8(far.written()).unwrap()
}

/// Takes the client's request and gives the answer that opens the connection.
fn answer(far: &Far) -> Vec<u8> {
    let head = text(far);
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let key = head.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    format!("{head}Sec-WebSocket-Accept: {}\r\n\r\n", accept_key(key)).into_bytes()
}

fn request() -> ClientRequest {
    ClientRequest::new("ws://a/chat").unwrap()
}

#[test]
fn what_is_no_websocket_gets_an_http_answer() {
    let (stream, far) = io();
    far.stutter(1);
    far.push(PAGE.as_bytes());
    far.eof();
    let incoming = finish(Incoming::read(stream, no_timeouts())).unwrap();
    assert!(!incoming.request().is_upgrade());
    finish(incoming.respond(&Response::new(200).body("hello"))).unwrap();
    let answer = text(&far);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    assert!(far.lock().shut && far.lock().flushes > 0);

    for (head, status) in [(PAGE, "426"), ("nonsense\r\n\r\n", "400")] {
        let (stream, far) = io();
        far.push(head.as_bytes());
        far.eof();
        assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Request(_))));
        assert!(text(&far).starts_with(&format!("HTTP/1.1 {status} ")), "{}", text(&far));
        assert!(far.lock().shut);
    }
}

#[test]
fn a_refused_client_is_read_until_it_ends_so_that_the_answer_arrives() {
    let (stream, far) = io();
    far.push(PAGE.as_bytes());
    let mut accepting = pin!(accept(stream, Config::default()));
    assert!(poll(accepting.as_mut()).is_pending(), "the client has not ended its side");
    assert!(far.lock().shut, "the answer is whole");
    far.push(&[0; 100_000]);
    assert!(poll(accepting.as_mut()).is_pending());
    far.eof();
    assert!(matches!(finish(accepting), Err(Error::Request(_))));
    assert_eq!(far.lock().read_bytes, PAGE.len() + 100_000);
}

#[test]
fn a_refused_client_that_never_stops_is_read_up_to_a_limit() {
    let (stream, far) = io();
    far.push(PAGE.as_bytes());
    far.lock().endless = vec![b'x'; 10_000];
    assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Request(_))));
    let read = far.lock().read_bytes;
    assert!((1 << 20..2 << 20).contains(&read), "{read} bytes of an endless client were read");
}

#[test]
fn a_refused_client_that_does_nothing_is_left_at_the_close_timeout() {
    for room in [usize::MAX, 0] {
        let (stream, far) = io();
        far.room(room);
        far.push(PAGE.as_bytes());
        let config = Config::default().close_timeout(Duration::ZERO);
        let error = cancelled(accept(stream, config), 2).expect("it waits").unwrap_err();
        assert!(matches!(error, Error::Request(e) if e != RequestError::TimedOut));
    }
}

#[test]
fn a_client_that_cannot_be_told_did_what_it_did() {
    for head in [PAGE, "nonsense\r\n\r\n"] {
        let (stream, far) = io();
        far.push(head.as_bytes());
        far.lock().write_error = Some(ErrorKind::BrokenPipe);
        assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Request(_))));
    }
    let (stream, far) = io();
    far.push(PAGE.as_bytes());
    let incoming = finish(Incoming::read(stream, no_timeouts())).unwrap();
    far.lock().write_error = Some(ErrorKind::BrokenPipe);
    let result = finish(incoming.respond(&Response::new(200)));
    assert!(matches!(result, Err(Error::Io(_))), "who answers is told: {result:?}");
}

#[test]
fn a_client_that_leaves_inside_its_request_is_gone_and_gets_no_answer() {
    let (stream, far) = io();
    far.push(&UPGRADE.as_bytes()[..40]);
    far.eof();
    let error = finish(accept(stream, no_timeouts())).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::Gone)), "{error:?}");
    assert_eq!(text(&far), "");
}

#[test]
fn an_acceptance_that_cannot_be_sent_is_the_servers_fault() {
    let (stream, far) = io();
    far.push(UPGRADE.as_bytes());
    far.eof();
    let incoming = finish(Incoming::read(stream, no_timeouts())).unwrap();
    let accept = Accept::new().subprotocol(Some("never offered"));
    let result = finish(incoming.accept(accept));
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    assert!(text(&far).starts_with("HTTP/1.1 500 "), "{}", text(&far));
}

#[test]
fn bytes_behind_the_handshake_belong_to_the_connection() {
    let (stream, far) = io();
    far.push(&[UPGRADE.as_bytes(), &to(Role::Server, TEXT, b"early")].concat());
    let mut ws = finish(accept(stream, no_timeouts())).unwrap();
    assert!(text(&far).starts_with("HTTP/1.1 101 "));
    assert!(far.lock().flushes > 0, "a TLS stream holds bytes back until it is flushed");
    assert_eq!(finish(ws.recv()).unwrap(), Some("early".into()));

    let (stream, far) = io();
    let request = request();
    let mut opening = pin!(client(stream, &request, no_timeouts()));
    assert!(poll(opening.as_mut()).is_pending());
    assert!(far.lock().flushes > 0);
    far.push(&[answer(&far), to(Role::Client, TEXT, b"early")].concat());
    let (mut ws, response) = finish(opening).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(finish(ws.recv()).unwrap(), Some("early".into()));
}

#[test]
fn a_client_gets_the_refusal_or_learns_that_the_server_is_gone() {
    let request = request();
    for (wire, gone) in
        [("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", false), ("HTTP/1.1", true)]
    {
        let (stream, far) = io();
        far.push(wire.as_bytes());
        far.eof();
        match finish(client(stream, &request, no_timeouts())).unwrap_err() {
            Error::Connect(ConnectError::Gone) => assert!(gone),
            Error::Connect(ConnectError::Refused(response)) => {
                assert_eq!((response.status(), gone), (403, false));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_of_the_stream_are_told() {
    let request = request();
    let failing = |read, write| {
        let (stream, far) = io();
        far.change(|s| (s.read_error, s.write_error) = (read, write));
        (stream, far)
    };
    let error = Some(ErrorKind::Other);
    for (read, write) in [(error, None), (None, error)] {
        let (stream, _far) = failing(read, write);
        assert!(matches!(finish(client(stream, &request, no_timeouts())), Err(Error::Io(_))));
    }
    let (stream, _far) = failing(error, None);
    assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Io(_))));
    let (stream, far) = failing(None, error);
    far.push(UPGRADE.as_bytes());
    assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Io(_))));
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_loop() {
    let request = request();
    let (stream, far) = io();
    far.lock().takes_nothing = true;
    match finish(client(stream, &request, no_timeouts())) {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WriteZero),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_opening_handshake_that_does_not_come_is_given_up() {
    let config = Config::default().handshake_timeout(Duration::ZERO).close_timeout(Duration::ZERO);
    let request = request();
    for room in [usize::MAX, 0] {
        let (stream, far) = io();
        far.room(room);
        far.push(&UPGRADE.as_bytes()[..40]);
        let error = cancelled(accept(stream, config.clone()), 2).expect("it waits").unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");
        assert_eq!(text(&far).starts_with("HTTP/1.1 408 "), room > 0);

        let (stream, far) = io();
        far.room(room);
        let opening = client(stream, &request, config.clone());
        let error = cancelled(opening, 2).expect("it waits").unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error:?}");
    }
}

#[test]
fn a_handshake_that_drips_is_given_up_at_the_same_deadline() {
    // Battery R02: a stream that always has one more byte never waits, so no timer runs out by itself.
    let config = Config::default().handshake_timeout(Duration::ZERO).close_timeout(Duration::ZERO);
    let (stream, far) = io();
    far.change(|s| s.chunk = 1);
    far.push(UPGRADE.as_bytes());
    let error = finish(accept(stream, config.clone())).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");

    let (stream, far) = io();
    far.change(|s| s.chunk = 1);
    far.push(b"HTTP/1.1 101 Switching Protocols\r\n");
    let error = finish(client(stream, &request(), config)).unwrap_err();
    assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error:?}");
}

#[test]
fn an_answer_that_the_client_does_not_take_is_given_up() {
    // The request is there and is read long before, and if it is not, that is a timeout too.
    let (stream, far) = io();
    far.room(10);
    far.push(UPGRADE.as_bytes());
    let soon = Duration::from_millis(20);
    let config = Config::default().handshake_timeout(soon).close_timeout(Duration::ZERO);
    let error = block_on(accept(stream, config)).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");
}
