//! TLS under the blocking adapter, in memory: no thread waits for a lock that a blocked write holds, no loop spins, and no
//! deadline is missed (docs/design.md decision 2).

#![cfg(feature = "ring")]

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::support::blocking::{Far, Io, io};
use crate::support::tls::Authority;
use crate::support::*;
use bowline::blocking::{self, BlockingStream, TlsStream, WebSocket};
use bowline::handshake::{ClientRequest, ConnectError};
use bowline::rustls::pki_types::ServerName;
use bowline::rustls::{ClientConnection, Connection, ServerConnection};
use bowline::{Config, End, Error, RecvBuf, Role, Timeout};

const SHORT: Duration = Duration::from_millis(100);

/// The other end of a pipe, which speaks TLS.
struct Peer {
    far: Far,
    tls: Connection,
    seen: usize,
    plain: Vec<u8>,
}

impl Peer {
    /// Takes what our side wrote, and gives what TLS has to say.
    fn pump(&mut self) {
        let wire = self.far.written();
        let mut new = &wire[self.seen..];
        self.seen = wire.len();
        while !new.is_empty() {
            self.tls.read_tls(&mut new).unwrap();
            self.tls.process_new_packets().unwrap();
            let mut plain = [0; 1 << 16];
            while let Ok(n @ 1..) = self.tls.reader().read(&mut plain) {
                self.plain.extend(&plain[..n]);
            }
        }
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        self.far.push(&records);
    }

    fn pump_until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        self.pump();
        while !enough(self) {
            let seen = self.seen;
            self.far.wait_for(what, |s| s.writes.iter().map(Vec::len).sum::<usize>() > seen);
            self.pump();
        }
    }

    /// Pumps until the bytes that came are enough, and takes them.
    fn read_until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) -> Vec<u8> {
        self.pump_until(what, enough);
        std::mem::take(&mut self.plain)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
        self.pump();
    }

    fn shake_hands(&mut self) {
        self.pump_until("the handshake of TLS", |peer| !peer.tls.is_handshaking());
    }
}

/// A stream of TLS of this role, and its peer.
fn pair(role: Role) -> (TlsStream<Io>, Peer) {
    let authority = Authority::new();
    let name = ServerName::try_from("localhost").unwrap();
    let client: Connection =
        ClientConnection::new(Arc::new(authority.client()), name).unwrap().into();
    let server = ServerConnection::new(Arc::new(authority.server(&["localhost"]))).unwrap().into();
    let (ours, theirs) = if role == Role::Client { (client, server) } else { (server, client) };
    let (pipe, far) = io();
    (TlsStream::new(ours, pipe), Peer { far, tls: theirs, seen: 0, plain: Vec::new() })
}

/// An open WebSocket, right after its opening handshake.
fn open(role: Role, config: &Config) -> (WebSocket<TlsStream<Io>>, Peer) {
    let (stream, mut peer) = pair(role);
    let config = config.clone();
    let opening = spawn(move || match role {
        Role::Server => blocking::accept(stream, config).unwrap(),
        Role::Client => {
            let request = ClientRequest::new("wss://localhost/").unwrap();
            blocking::client(stream, &request, config).unwrap().0
        }
    });
    peer.shake_hands();
    if role == Role::Server {
        peer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        peer.read_until("the response", |peer| peer.plain.ends_with(b"\r\n\r\n"));
    } else {
        let request = peer.read_until("the request", |peer| peer.plain.ends_with(b"\r\n\r\n"));
        answer(&mut peer, &request);
    }
    (opening.wait("the opening handshake"), peer)
}

/// Accepts a request as a server of another make does.
fn answer(peer: &mut Peer, request: &[u8]) {
    let request = String::from_utf8_lossy(request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = bowline::handshake::accept_key(key);
    peer.write(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
}

/// Battery R12 right after the opening handshake. The peer blocks a write until its own bytes are read. If a read waited
/// for the lock of that write, it would never end.
#[test]
fn a_half_receives_while_the_other_is_blocked_in_its_first_write() {
    for role in ROLES {
        let (ws, mut peer) = open(role, &Config::default());
        let (mut sender, mut receiver) = ws.split().unwrap();
        peer.far.room(0);
        let sending = spawn(move || {
            sender.send(vec![7; 100_000]).unwrap();
            sender
        });
        peer.far.wait_until_writing();
        // As long as it is blocked, the receiving half reads all of this.
        for i in 0..20_u32 {
            peer.write(&to(role, TEXT, format!("message {i}").as_bytes()));
        }
        let mut receiver = in_time("recv beside a blocked send", move || {
            for i in 0..20_u32 {
                assert_eq!(receiver.recv().unwrap(), Some(format!("message {i}").as_str().into()));
            }
            receiver
        });
        assert!(peer.far.lock().blocked_writers > 0);
        peer.far.room(usize::MAX);
        let mut sender = sending.wait("send");
        let wire = peer.read_until("the message", |peer| peer.plain.len() > 100_000);
        assert_eq!(decode(role, &wire)[0].payload, vec![7; 100_000]);
        peer.write(&close_to(role, 1000));
        peer.far.eof();
        assert_eq!(in_time("Close", move || receiver.recv().unwrap()), None);
        assert!(sender.send("late").is_err());
    }
}

#[test]
fn a_request_of_any_size_is_sent_over_tls() {
    // More than TLS takes before its handshake is done, and than one write takes after it.
    for size in [10, 30 << 10, 33 << 10, 500 << 10] {
        let (stream, mut peer) = pair(Role::Client);
        let mut request = ClientRequest::new("wss://localhost/").unwrap();
        for _ in 0..size / 5000 {
            request = request.header("X-Large", &"x".repeat(5000)).unwrap();
        }
        let opening =
            spawn(move || blocking::client(stream, &request, Config::default()).unwrap().0);
        let request = peer.read_until("the request", |peer| peer.plain.ends_with(b"\r\n\r\n"));
        assert!(request.len() > size / 5000 * 5000);
        answer(&mut peer, &request);
        let mut ws = opening.wait("a large request");
        peer.write(&to(Role::Client, TEXT, b"hello"));
        assert_eq!(in_time("recv", move || ws.recv().unwrap()), Some("hello".into()));
    }
}

#[test]
fn a_client_with_a_large_request_ends_at_the_handshake_timeout_and_does_not_spin() {
    let (stream, peer) = pair(Role::Client);
    let mut request = ClientRequest::new("wss://localhost/").unwrap();
    for _ in 0..10 {
        request = request.header("X-Large", &"x".repeat(5000)).unwrap();
    }
    let config = Config::default().handshake_timeout(SHORT);
    let error = in_time("client", move || blocking::client(stream, &request, config).map(drop));
    assert!(matches!(error, Err(Error::Connect(ConnectError::TimedOut))), "{error:?}");
    assert!(peer.far.lock().reads < 10, "{} reads", peer.far.lock().reads);
}

#[test]
fn a_server_that_never_ends_its_handshake_is_left_at_the_handshake_timeout() {
    // The header of a record that never gets complete, and a byte now and then.
    let (stream, peer) = pair(Role::Client);
    peer.far.push(b"\x16\x03\x03\x3f\xff");
    peer.far.push(&[2; 10_000]);
    peer.far.drip(Duration::from_millis(2));
    let config = Config::default().handshake_timeout(SHORT);
    let request = ClientRequest::new("wss://localhost/").unwrap();
    let error = in_time("client", move || blocking::client(stream, &request, config).map(drop));
    assert!(matches!(error, Err(Error::Connect(ConnectError::TimedOut))), "{error:?}");
}

#[test]
fn the_sending_half_leaves_a_full_socket_although_nobody_receives() {
    for (send, close) in [(Some(SHORT), None), (None, Some(SHORT)), (Some(SHORT), Some(SHORT))] {
        let config = Config::default().send_timeout(send).close_timeout(close);
        let (ws, peer) = open(Role::Server, &config);
        let (mut sender, receiver) = ws.split().unwrap();
        drop(receiver);
        peer.far.room(0);
        let (closed, sender) = in_time("close", move || (sender.close(1000, ""), sender));
        let timeout = if send.is_some() { Timeout::Send } else { Timeout::Close };
        assert!(
            matches!(closed, Err(Error::Ended(End::TimedOut(by))) if by == timeout),
            "{closed:?}"
        );
        in_time("drop", move || drop(sender));
    }
}

#[test]
fn a_stream_of_tls_is_shut_although_the_socket_takes_nothing() {
    let (mut stream, mut peer) = pair(Role::Client);
    let shaking = spawn(move || {
        stream.write_all(b"hello").unwrap();
        stream
    });
    peer.read_until("hello", |peer| peer.plain == b"hello");
    let mut stream = shaking.wait("the handshake");
    peer.far.room(0);
    in_time("shutdown", move || stream.shutdown_write().map(drop).unwrap_err());
    assert!(peer.far.lock().shut);
    assert_eq!(peer.far.lock().write_timeout, None, "what was set before");
}

#[test]
fn what_a_slow_peer_takes_of_tls_is_progress() {
    // A record holds 16 KiB; the peer needs longer than the send timeout for one, and is not given up.
    let (mut ws, mut peer) = open(Role::Server, &Config::default().send_timeout(2 * SHORT));
    peer.far.room(0);
    let sending = spawn(move || ws.send(vec![7; 32_000]));
    for _ in 0..8 {
        peer.far.wait_until_writing();
        peer.far.let_pass(SHORT / 2);
        peer.far.room(3000);
        let seen = peer.seen;
        peer.far.wait_for("progress", |s| s.writes.iter().map(Vec::len).sum::<usize>() > seen);
        peer.pump();
    }
    peer.far.room(usize::MAX);
    sending.wait("send").unwrap();
}

#[test]
fn bytes_that_do_not_go_on_where_a_write_stopped_are_refused() {
    let (mut stream, mut peer) = pair(Role::Client);
    let shaking = spawn(move || {
        stream.write_all(b"hello").unwrap();
        stream
    });
    peer.read_until("hello", |peer| peer.plain == b"hello");
    let mut stream = shaking.wait("the handshake");
    peer.far.room(1000);
    let bytes = pattern(10_000);
    let n = stream.write(&bytes).unwrap();
    assert!((1..10_000).contains(&n));
    peer.far.room(usize::MAX);
    assert_eq!(stream.write(b"others").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(stream.write(&pattern(9_000)).unwrap_err().kind(), ErrorKind::InvalidInput);
    stream.write_all(&bytes[n..]).unwrap();
    assert_eq!(peer.read_until("the rest", |peer| peer.plain.len() == 10_000), bytes);
}

#[test]
fn a_stream_of_tls_in_non_blocking_mode_loses_nothing() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, &Config::default());
        ws.get_ref().set_nonblocking(true).unwrap();
        peer.far.room(1000);
        in_time("non-blocking calls", move || {
            assert_would_block(ws.recv());
            assert_would_block(ws.send(pattern(50_000)));
            assert_would_block(ws.flush());
            for byte in to(role, TEXT, b"in") {
                assert_would_block(ws.recv());
                peer.write(&[byte]);
            }
            assert_eq!(ws.recv().unwrap(), Some("in".into()));
            peer.far.room(usize::MAX);
            ws.flush().unwrap();
            let wire = peer.read_until("the message", |peer| peer.plain.len() > 50_000);
            assert_eq!(decode(role, &wire)[0].payload, pattern(50_000));
        });
    }
}

fn assert_would_block<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_over_tls_begins_where_a_handshake_of_another_kind_ended() {
    // The first write and the first read both find a handshake of TLS to be done, in two threads.
    for role in ROLES {
        let (stream, mut peer) = pair(role);
        let connection = connection(role, &Config::default());
        let ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
        let (mut sender, mut receiver) = ws.split().unwrap();
        let receiving = spawn(move || receiver.recv().unwrap());
        let sending = spawn(move || {
            sender.send(vec![7; 100_000]).unwrap();
            sender
        });
        let wire = peer.read_until("the message", |peer| peer.plain.len() > 100_000);
        assert_eq!(decode(role, &wire)[0].payload, vec![7; 100_000]);
        peer.write(&to(role, TEXT, b"in"));
        assert_eq!(receiving.wait("recv"), Some("in".into()));
        drop(sending.wait("send"));
    }
}
