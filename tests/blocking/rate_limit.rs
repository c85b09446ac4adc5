//! `rate_limit` over the blocking adapter: a thread sleeps while its peer has to wait.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bowline::{Config, Connection, End, Error, RateLimit, RecvBuf, Role, blocking};

use crate::support::blocking::open;
use crate::support::*;

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_peer_that_is_too_fast_has_to_wait() {
    for role in ROLES {
        let limit = RateLimit::new().messages(50).burst(100 * MILLI);
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
        far.push(&to(role, TEXT, b"Hello").repeat(15));
        let start = Instant::now();
        for _ in 0..15 {
            ws.recv().unwrap().unwrap();
        }
        assert!(start.elapsed() >= 190 * MILLI, "{:?}", start.elapsed());
    }
}

#[test]
fn a_call_waits_no_longer_than_it_may() {
    for role in ROLES {
        let limit = RateLimit::new().messages(1).burst(Duration::ZERO);
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit.bytes(1)));
        far.push(&to(role, TEXT, b"Hello").repeat(2));
        ws.recv().unwrap().unwrap();
        let result = ws.recv_timeout(50 * MILLI);
        assert!(matches!(result, Err(Error::TimedOut)), "{result:?}");
        far.user_read_timeout(Some(50 * MILLI));
        match ws.recv() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            other => panic!("{other:?}"),
        }
        assert!(ws.end().is_none());
    }
}

#[test]
fn a_peer_that_may_not_wait_is_closed() {
    for role in ROLES {
        let limit = RateLimit::new().messages(5).close();
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
        far.push(&to(role, TEXT, b"Hello").repeat(20));
        far.eof();
        for _ in 0..5 {
            ws.recv().unwrap().unwrap();
        }
        let result = ws.recv();
        assert!(matches!(result, Err(Error::Ended(End::RateLimited))), "{result:?}");
        assert_eq!(far.frames(role).last().map(close_code), Some(1008));
    }
}

#[test]
fn a_stream_that_does_not_block_gives_would_block_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let limit = RateLimit::new().messages(1).burst(Duration::ZERO).bytes(1);
    let connection = Connection::server(Config::default().rate_limit(limit));
    let mut ws = blocking::WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
    let would_block = |result: Result<Option<bowline::Message>, Error>| match result {
        Err(Error::Io(error)) => error.kind() == ErrorKind::WouldBlock,
        _ => false,
    };
    assert!(would_block(ws.recv()));
    far.write_all(&to(Role::Server, TEXT, b"Hello").repeat(2)).unwrap();
    loop {
        match ws.recv() {
            Ok(Some(_)) => break,
            other => assert!(would_block(other)),
        }
    }
    // The second would have to wait for eleven seconds.
    let start = Instant::now();
    assert!(would_block(ws.recv()));
    assert!(start.elapsed() < 5 * Duration::from_secs(1));
}
