//! A user's socket in non-blocking mode, streams that move nothing, and faults at every operation. The library never spins,
//! never changes the mode, and loses nothing.

#![cfg(feature = "std")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::blocking::{Far, Io, io, open};
use crate::support::*;
use bowline::blocking::{BlockingStream, Incoming, WebSocket, accept, client};
use bowline::handshake::{Accept, ClientRequest, ConnectError, RequestError};
use bowline::{Config, End, Error, Message, RecvBuf, Refusal, Role, Timeout};

const SHORT: Duration = Duration::from_millis(50);

fn assert_would_block<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?}"),
    }
}

/// A WebSocket whose stream is in non-blocking mode.
fn nonblocking(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    let (ws, far) = open(role, config);
    ws.get_ref().set_nonblocking(true).unwrap();
    (ws, far)
}

#[test]
fn recv_gives_would_block_at_once_inside_a_frame_and_goes_on_later() {
    // With all timeouts on, and no deadline reached: it must not try again and again until one is.
    for role in ROLES {
        let config = Config::default().ping_interval(LONG);
        let (mut ws, far) = nonblocking(role, &config);
        let wire = [
            fragment_to(role, false, TEXT, b"tw"),
            to(role, PING, b"p"),
            fragment_to(role, true, CONTINUATION, b"o"),
        ];
        for byte in wire.concat() {
            let reads = far.lock().reads;
            assert_would_block(ws.recv());
            assert!(far.lock().reads <= reads + 3, "{} reads", far.lock().reads - reads);
            far.push(&[byte]);
        }
        assert_eq!(ws.recv().unwrap(), Some("two".into()));
        assert_would_block(ws.recv());
        assert_eq!(shorthand(&far.frames(role)), [(PONG, "p".into())]);
        assert!(far.lock().nonblocking, "the mode is the user's");
    }
}

#[test]
fn send_queues_what_does_not_fit_and_flush_goes_on() {
    for role in ROLES {
        let (mut ws, far) = nonblocking(role, &Config::default().max_send_queue(1000));
        far.room(10);
        assert_would_block(ws.send(pattern(500)));
        assert_would_block(ws.flush());
        ws.feed(pattern(600)).unwrap();
        // No room: it is given back.
        for result in [ws.send("given back"), ws.feed("given back")] {
            match result {
                Err(Error::Send(error)) => {
                    assert_eq!(error.refusal(), Refusal::QueueFull);
                    assert_eq!(error.into_message(), Some(Message::from("given back")));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(ws.send_part("x", true), Err(Error::Send(_))));
        far.room(300);
        assert_would_block(ws.flush());
        far.room(usize::MAX);
        ws.flush().unwrap();
        let sent = payloads(&far.frames(role), BINARY);
        assert_eq!(sent, [pattern(500), pattern(600)]);
        assert!(far.lock().nonblocking);
        assert!(ws.end().is_none());
    }
}

#[test]
fn recv_receives_although_nothing_can_be_sent() {
    let role = Role::Server;
    let (mut ws, far) = nonblocking(role, &Config::default());
    far.room(0);
    ws.feed("waits").unwrap();
    far.push(&[to(role, PING, b"p"), to(role, TEXT, b"in")].concat());
    assert_eq!(ws.recv().unwrap(), Some("in".into()));
    assert_would_block(ws.recv());
    far.room(usize::MAX);
    assert_would_block(ws.recv());
    assert_eq!(shorthand(&far.frames(role)), [(TEXT, "waits".into()), (PONG, "p".into())]);
}

#[test]
fn timeouts_hold_in_non_blocking_mode() {
    let role = Role::Server;
    // The peer takes nothing.
    let (mut ws, far) = nonblocking(role, &Config::default().send_timeout(SHORT));
    far.room(0);
    assert_would_block(ws.send("never taken"));
    far.let_pass(2 * SHORT);
    let result = ws.flush();
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{result:?}");
    // It sends half a frame.
    let (mut ws, far) = nonblocking(role, &Config::default().progress_timeout(SHORT));
    far.push(&header_to(role, 0x82, 1000));
    assert_would_block(ws.recv());
    far.let_pass(2 * SHORT);
    // The rest may be in the socket, so one more read is allowed.
    let result = ws.recv();
    let result = if result.is_ok() { ws.recv() } else { result };
    match result {
        Err(Error::Ended(End::TimedOut(Timeout::Progress))) => {}
        // The Close is sent, and the end of the peer awaited, by later calls.
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
            far.eof();
            let result = ws.recv();
            assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Progress)))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(close_code(&far.frames(role)[0]), 1008);
}

#[test]
fn close_goes_on_where_it_would_block() {
    for role in ROLES {
        let (mut ws, far) = nonblocking(role, &Config::default());
        far.room(1);
        assert_would_block(ws.close(1000, "bye"));
        far.room(usize::MAX);
        assert_would_block(ws.close(1000, "bye"));
        assert_eq!(close_code(&far.frames(role)[0]), 1000);
        far.push(&close_to(role, 1000));
        if role == Role::Client {
            // RFC 6455 §7.1.1: the server ends the connection first.
            assert_would_block(ws.close(1000, "bye"));
            far.eof();
        }
        assert!(ws.close(1000, "bye").unwrap().end.is_clean());
        assert_eq!(far.frames(role).len(), 1);
        assert!(far.lock().shut);
    }
}

#[test]
fn the_answer_to_close_is_sent_by_later_calls() {
    let role = Role::Server;
    let (mut ws, far) = nonblocking(role, &Config::default());
    far.room(1);
    far.push(&close_to(role, 1001));
    assert_would_block(ws.recv());
    assert_would_block(ws.recv());
    far.room(usize::MAX);
    assert_eq!(ws.recv().unwrap(), None);
    assert_eq!(close_code(&far.frames(role)[0]), 1001);
}

#[test]
fn halves_give_would_block_too() {
    for role in ROLES {
        let (mut ws, far) = nonblocking(role, &Config::default());
        far.room(3);
        ws.feed("fed").unwrap();
        let (mut sender, mut receiver) = ws.split().unwrap();
        in_time("non-blocking halves", move || {
            assert_would_block(receiver.recv());
            assert_would_block(sender.send("sent"));
            assert_would_block(sender.flush());
            sender.feed("fed too").unwrap();
            far.push(&[to(role, PING, b"p"), to(role, TEXT, b"in")].concat());
            assert_eq!(receiver.recv().unwrap(), Some("in".into()));
            assert_would_block(receiver.recv());
            far.room(usize::MAX);
            sender.flush().unwrap();
            assert!(sender.close(1000, "").unwrap().is_none());
            far.push(&close_to(role, 1000));
            far.eof();
            assert_eq!(receiver.recv().unwrap(), None);
            let sent: Vec<_> = shorthand(&far.frames(role)).into_iter().map(|f| f.1).collect();
            assert_eq!(&sent[..4], ["fed", "sent", "fed too", "p"]);
            assert!(far.lock().nonblocking);
        });
    }
}

#[test]
fn an_opening_handshake_needs_a_blocking_stream_and_says_so() {
    let in_nonblocking = || {
        let (stream, far) = io();
        stream.set_nonblocking(true).unwrap();
        (stream, far)
    };
    let request = ClientRequest::new("ws://localhost/").unwrap();
    for timeout in [Some(LONG), None] {
        let config = Config::default().handshake_timeout(timeout);
        let (stream, far) = in_nonblocking();
        let refused = accept(stream, config.clone()).map(drop).unwrap_err();
        assert!(refused.to_string().contains("blocking mode"), "{refused}");
        assert!(far.lock().reads <= 3);
        assert_would_block::<()>(Err(refused));

        let (stream, far) = in_nonblocking();
        let refused = client(stream, &request, config.clone()).map(drop).unwrap_err();
        assert!(refused.to_string().contains("blocking mode"), "{refused}");
        assert!(far.lock().reads <= 3);

        let (stream, far) = in_nonblocking();
        far.room(0);
        let refused = client(stream, &request, config).map(drop).unwrap_err();
        assert!(refused.to_string().contains("blocking mode"), "{refused}");
    }
}

#[test]
fn a_sockets_own_mode_stays_when_its_connection_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    ours.set_nonblocking(true).unwrap();
    // It has the same mode, as it is the same socket.
    let mut same = ours.try_clone().unwrap();
    let connection = connection(Role::Server, &Config::default());
    let mut ws = WebSocket::from_connection(ours, connection, RecvBuf::new()).unwrap();
    assert_would_block(ws.recv());
    ws.feed("fed").unwrap();
    let (sender, mut receiver) = ws.split().unwrap();
    assert_would_block(receiver.recv());
    drop((sender, receiver));
    assert_eq!(same.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(peer);
}

/// Whether a call that gave this error may be made again.
fn waits(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A stream that gives an error at one operation, or from it on.
struct Faulty {
    pipe: Io,
    kind: ErrorKind,
    for_ever: bool,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// How many operations there were.
    operations: AtomicUsize,
    /// The number of the one that fails.
    at: AtomicUsize,
}

impl Faulty {
    fn fault(&self) -> io::Result<()> {
        let n = self.counts.operations.fetch_add(1, Ordering::Relaxed);
        let at = self.counts.at.load(Ordering::Relaxed);
        if n == at || self.for_ever && n > at { Err(self.kind.into()) } else { Ok(()) }
    }

    /// For calls that never wait.
    fn set(&self) -> io::Result<()> {
        if waits(self.kind) { Ok(()) } else { self.fault() }
    }
}

impl Read for Faulty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fault()?;
        self.pipe.read(buffer)
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fault()?;
        self.pipe.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fault()?;
        self.pipe.flush()
    }
}

impl BlockingStream for Faulty {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.set()?;
        self.pipe.read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set()?;
        self.pipe.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set()?;
        self.pipe.set_write_timeout(timeout)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.pipe.set_nonblocking(nonblocking)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.set()?;
        self.pipe.shutdown_write()
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.set()?;
        let (kind, for_ever) = (self.kind, self.for_ever);
        Ok(Self { pipe: self.pipe.try_clone()?, kind, for_ever, counts: Arc::clone(&self.counts) })
    }
}

fn faulty(kind: ErrorKind, at: usize, for_ever: bool) -> (Faulty, Far, Arc<Counts>) {
    let (pipe, far) = io();
    let counts = Arc::new(Counts { at: at.into(), ..Counts::default() });
    (Faulty { pipe, kind, for_ever, counts: Arc::clone(&counts) }, far, counts)
}

/// All timeouts are short. A connection that misses one hangs, and the test fails.
fn impatient() -> Config {
    Config::default()
        .handshake_timeout(SHORT)
        .send_timeout(SHORT)
        .close_timeout(SHORT)
        .progress_timeout(SHORT)
}

#[test]
fn a_stream_that_is_only_ever_interrupted_is_left_at_the_deadline_after_few_calls() {
    type Call = fn(WebSocket<Faulty>) -> Option<Error>;
    let send: Call = |mut ws| ws.send("x").err();
    let recv: Call = |mut ws| ws.recv().err();
    let recv_timeout: Call = |mut ws| ws.recv_timeout(SHORT).err();
    let close: Call = |mut ws| Some(Error::Ended(ws.close(1000, "").unwrap().end));
    let half: Call = |ws| ws.split().unwrap().0.send("x").err();
    let begun = header_to(Role::Server, 0x82, 1000);
    for (what, at, call) in [
        ("send", 0, send),
        ("recv", 1, recv),
        ("recv_timeout", 0, recv_timeout),
        ("close", 1, close),
        ("half", 0, half),
    ] {
        let (stream, far, counts) = faulty(ErrorKind::Interrupted, at, true);
        far.push(&begun);
        let connection = connection(Role::Server, &impatient());
        let ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
        let error = in_time(what, move || call(ws)).expect(what);
        assert!(
            matches!(error, Error::Ended(End::TimedOut(_)) | Error::TimedOut),
            "{what}: {error}"
        );
        // Each pauses for a millisecond, so there is room for a slow machine.
        let operations = counts.operations.load(Ordering::Relaxed);
        assert!(operations < 1000, "{what}: {operations} calls");
    }
    let (stream, _far, counts) = faulty(ErrorKind::Interrupted, 0, true);
    let result = in_time("accept", || accept(stream, impatient()).map(drop));
    assert!(result.is_err());
    assert!(counts.operations.load(Ordering::Relaxed) < 1000, "accept");
    let (stream, _far, counts) = faulty(ErrorKind::Interrupted, 0, true);
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let result = in_time("client", move || client(stream, &request, impatient()).map(drop));
    assert!(matches!(result, Err(Error::Connect(ConnectError::TimedOut))), "{result:?}");
    assert!(counts.operations.load(Ordering::Relaxed) < 1000, "client");
}

/// All that a connection does, from its request to its end. Whether all went well.
fn live(stream: Faulty, split: bool) -> Result<(), Error> {
    let incoming = Incoming::read(stream, impatient())?;
    let mut ws = incoming.accept(Accept::new())?;
    let first = ws.recv();
    let sent = ws.send("out");
    let fed = ws.feed(vec![7; 100_000]);
    if split {
        let (mut sender, mut receiver) = ws.split()?;
        let second = receiver.recv();
        let sent = sender.send("more").and(sent).and(fed);
        let flushed = sender.flush();
        let closed = sender.close(1000, "").map(drop);
        let end = receiver.recv();
        // An end stays.
        assert!(receiver.end().is_none() || receiver.recv().is_ok() == end.is_ok());
        return first.and(second).and(end).map(drop).and(sent).and(flushed).and(closed);
    }
    let second = ws.recv();
    let flushed = ws.flush();
    let closed = ws.close(1000, "");
    if let Some(end) = ws.end().cloned() {
        match ws.close(1000, "") {
            Ok(again) => {
                assert_eq!((again.end, again.discarded), (end.clone(), 0));
                assert_eq!(ws.recv().is_ok(), end.is_clean());
            }
            // Its end is not left yet, and a later call goes on.
            Err(error) => assert!(matches!(error, Error::Io(error) if waits(error.kind()))),
        }
    }
    first.and(second).map(drop).and(sent).and(fed).and(flushed).and(closed.map(drop))
}

const OPENING: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_fault_at_any_operation_ends_in_an_error_or_is_no_fault_and_nothing_hangs() {
    let kinds = [
        ErrorKind::Interrupted,
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
        ErrorKind::UnexpectedEof,
        ErrorKind::Other,
    ];
    let role = Role::Server;
    for kind in kinds {
        for (split, for_ever) in [(false, false), (true, false), (false, true), (true, true)] {
            if for_ever && kind == ErrorKind::Interrupted {
                continue;
            }
            for at in 0.. {
                assert!(at < 200, "it never ends");
                let (stream, far, counts) = faulty(kind, at, for_ever);
                far.push(OPENING);
                far.push(
                    &[to(role, TEXT, b"first"), to(role, PING, b"p"), to(role, BINARY, b"second")]
                        .concat(),
                );
                far.push(&close_to(role, 1000));
                far.eof();
                let result = in_time("a connection with a fault", move || live(stream, split));
                let hit = counts.operations.load(Ordering::Relaxed) > at;
                if !hit || kind == ErrorKind::Interrupted {
                    assert!(result.is_ok(), "{kind:?} at {at}, split {split}: {result:?}");
                }
                // What had to wait leaves as well.
                let wire = far.written();
                if waits(kind)
                    && !for_ever
                    && let Some(end) = wire.windows(4).position(|bytes| bytes == b"\r\n\r\n")
                {
                    let _ = decode(role, &wire[end + 4..]);
                }
                assert_eq!(far.lock().handles, 0);
                if !hit {
                    break;
                }
            }
        }
    }
}

/// A stream that takes nothing more, and says so with a zero.
struct Zero(Io);

impl Read for Zero {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Zero {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_write_that_takes_no_byte_is_an_error_and_what_the_peer_said_last_is_read() {
    let role = Role::Server;
    let (pipe, far) = io();
    let stream = bowline::blocking::Plain(Zero(pipe));
    let connection = connection(role, &Config::default());
    let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
    far.push(&[to(role, TEXT, b"last"), close_to(role, 1000)].concat());
    in_time("a write of zero bytes", move || {
        match ws.send("out") {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WriteZero),
            other => panic!("{other:?}"),
        }
        assert_eq!(ws.recv().unwrap(), Some("last".into()));
        assert_eq!(ws.recv().unwrap(), None);
        match ws.flush() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
    });
    let (pipe, _far) = crate::support::blocking::io();
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let result = client(bowline::blocking::Plain(Zero(pipe)), &request, Config::default());
    match result.map(drop) {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WriteZero),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reset_in_the_opening_handshake_is_a_peer_that_has_gone() {
    // As an end is.
    for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted] {
        let request = ClientRequest::new("ws://localhost/").unwrap();
        for at in 0..2 {
            let (stream, far, _) = faulty(kind, at, true);
            far.push(b"GET / HTTP/1.1\r\n");
            let result = accept(Unset(stream), Config::default()).map(drop);
            assert!(matches!(result, Err(Error::Request(RequestError::Gone))), "{at}: {result:?}");
            let (stream, far, _) = faulty(kind, at, true);
            far.push(b"HTTP/1.1 101 Switching Protocols\r\n");
            let result = client(Unset(stream), &request, Config::default()).map(drop);
            assert!(matches!(result, Err(Error::Connect(ConnectError::Gone))), "{at}: {result:?}");
        }
    }
    // A refusal that came before is reported.
    let (stream, far, _) = faulty(ErrorKind::BrokenPipe, 0, false);
    far.push(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let result = client(Unset(stream), &request, Config::default()).map(drop);
    assert!(matches!(result, Err(Error::Connect(ConnectError::Refused(_)))), "{result:?}");
}

/// Its reads and writes fail, and its options do not.
struct Unset(Faulty);

impl Read for Unset {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Unset {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlockingStream for Unset {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.pipe.read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.pipe.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.pipe.set_write_timeout(timeout)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.pipe.set_nonblocking(nonblocking)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.pipe.shutdown_write()
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}
