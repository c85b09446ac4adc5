//! When messages leave through the blocking adapter (docs/design.md decision 8): reading flushes, `send` writes before it
//! returns, and no fed message is forgotten. A stream in memory records each write.

#![cfg(feature = "std")]

use std::io::{Cursor, ErrorKind, Read, Write};
use std::time::Duration;

use crate::support::blocking::{Far, Io, open};
use crate::support::*;
use bowline::blocking::{Plain, WebSocket};
use bowline::{Config, Connection, End, Error, Message, MessageRef, RecvBuf, Refusal, Role};

/// Receives until the stream has no more, as an application with a read timeout of its own does.
fn wait_once(ws: &mut WebSocket<Io>, far: &Far) {
    far.user_read_timeout(Some(Duration::from_millis(1)));
    match ws.recv() {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?} instead of the user's timeout"),
    }
}

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("message {i}")).collect()
}

#[test]
fn many_pipelined_messages_that_are_answered_by_feed_leave_in_one_write() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        for text in texts(100) {
            far.push(&to(role, TEXT, text.as_bytes()));
        }
        for _ in 0..100 {
            let message = ws.recv().unwrap().unwrap();
            ws.feed(message).unwrap();
        }
        assert_eq!(far.writes(), 0, "feed only queues");
        wait_once(&mut ws, &far);
        assert_eq!(far.writes(), 1);
        let expected: Vec<_> = texts(100).into_iter().map(|text| (TEXT, text)).collect();
        assert_eq!(shorthand(&far.frames(role)), expected);
    }
}

#[test]
fn many_pipelined_messages_that_are_echoed_borrowed_leave_in_one_write() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    for text in texts(100) {
        far.push(&to(Role::Server, TEXT, text.as_bytes()));
    }
    far.user_read_timeout(Some(Duration::from_millis(1)));
    for _ in 0..100 {
        let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
        out.feed(message).unwrap();
    }
    assert_eq!(far.writes(), 0);
    assert!(ws.recv_borrowed().is_err(), "the user's timeout");
    assert_eq!((far.writes(), far.frames(Role::Server).len()), (1, 100));
}

#[test]
fn one_lonely_message_that_is_answered_by_feed_costs_one_write_and_does_not_wait() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    for round in 1..=5 {
        far.push(&to(Role::Server, TEXT, b"ping me"));
        let message = ws.recv().unwrap().unwrap();
        ws.feed(message).unwrap();
        wait_once(&mut ws, &far);
        assert_eq!(far.writes(), round);
    }
}

#[test]
fn send_has_written_when_it_returns() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        ws.send("now").unwrap();
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "now".into())]);
        ws.ping(b"p").unwrap();
        ws.send_part(&b"a"[..], false).unwrap();
        ws.send_part(&b"b"[..], true).unwrap();
        assert_eq!(far.frames(role).len(), 4, "the last part of a message is sent like a message");
        ws.start_close(1000, "").unwrap();
        assert_eq!(close_code(&far.frames(role)[4]), 1000);
    }
}

#[test]
fn sixty_four_kib_that_were_fed_leave_by_themselves() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        let mut fed = 0;
        while far.writes() == 0 {
            assert!(fed < 65 << 10, "64 KiB are queued and did not leave");
            ws.feed(vec![0; 1000]).unwrap();
            fed += 1000;
        }
        assert!(fed > 63 << 10, "only {fed} bytes were fed: too early");
        assert_eq!(far.writes(), 1);
        assert_eq!(far.frames(role).len() * 1000, fed);
    }
}

#[test]
fn a_borrowed_echo_of_many_messages_flushes_at_sixty_four_kib_and_not_only_when_it_waits() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    for _ in 0..200 {
        far.push(&to(Role::Server, BINARY, &[7; 1000]));
    }
    let mut most = 0;
    for done in 1..=200 {
        let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
        out.feed(message).unwrap();
        most = most.max(done * 1004 - far.written().len());
    }
    assert!(most < 66 << 10, "{most} bytes waited");
}

#[test]
fn flush_close_into_inner_and_drop_deliver_what_was_fed() {
    let fed = |role| {
        let (mut ws, far) = open(role, &Config::default());
        ws.feed("fed").unwrap();
        assert_eq!(far.writes(), 0);
        (ws, far)
    };
    for role in ROLES {
        let (mut ws, far) = fed(role);
        ws.flush().unwrap();
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "fed".into())], "flush");

        let (mut ws, far) = fed(role);
        far.push(&close_to(role, 1000));
        far.eof();
        assert!(ws.close(1000, "").unwrap().end.is_clean());
        assert_eq!(far.frames(role)[0].payload, b"fed", "close");

        let (ws, far) = fed(role);
        let (_stream, unread) = ws.into_inner().unwrap();
        assert_eq!(far.frames(role)[0].payload, b"fed", "into_inner");
        assert!(unread.is_empty());

        let (ws, far) = fed(role);
        drop(ws);
        assert_eq!(far.frames(role)[0].payload, b"fed", "drop");
        assert_eq!(far.lock().handles, 0, "drop closes the socket");
    }
}

#[test]
fn split_delivers_what_was_fed_before() {
    // docs/design.md decision 8: a sending half that is idle from then on must not keep it.
    let (mut ws, far) = open(Role::Server, &Config::default());
    ws.feed("fed").unwrap();
    let (_sender, _receiver) = ws.split().unwrap();
    assert_eq!(shorthand(&far.frames(Role::Server)), [(TEXT, "fed".into())]);
}

#[test]
fn dropping_the_halves_makes_one_attempt_for_what_was_fed() {
    let (ws, far) = open(Role::Server, &Config::default());
    let (mut sender, receiver) = ws.split().unwrap();
    sender.feed("fed").unwrap();
    drop(sender);
    drop(receiver);
    assert_eq!(shorthand(&far.frames(Role::Server)), [(TEXT, "fed".into())]);
    assert_eq!(far.lock().handles, 0, "both handles are closed");
}

#[test]
fn drop_makes_one_attempt_and_never_blocks() {
    in_time("drop with a stream that takes 10 bytes", || {
        let (mut ws, far) = open(Role::Server, &Config::default());
        ws.feed(vec![1; 100]).unwrap();
        far.room(10);
        drop(ws);
        assert_eq!(far.written().len(), 10);
    });
}

#[test]
fn a_ping_before_a_message_is_answered_before_the_message_is() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a"), to(role, TEXT, b"b")].concat());
        for _ in 0..2 {
            let message = ws.recv().unwrap().unwrap();
            ws.feed(message).unwrap();
        }
        wait_once(&mut ws, &far);
        let expected = [(PONG, "1".into()), (TEXT, "a".into()), (TEXT, "b".into())];
        assert_eq!(shorthand(&far.frames(role)), expected);
        assert_eq!(far.writes(), 1, "the pong costs no write of its own");
    }
}

#[test]
fn a_ping_before_a_message_is_answered_before_what_is_sent_at_once() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a")].concat());
    let message = ws.recv().unwrap().unwrap();
    ws.send(message).unwrap();
    assert_eq!(shorthand(&far.frames(role)), [(PONG, "1".into()), (TEXT, "a".into())]);
    assert_eq!(far.writes(), 1);
}

#[test]
fn every_one_of_many_corked_pings_is_answered_when_recv_waits() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    for i in 0..20 {
        far.push(&to(role, PING, format!("{i}").as_bytes()));
        far.push(&to(role, TEXT, b"x"));
    }
    for _ in 0..20 {
        let message = ws.recv().unwrap().unwrap();
        ws.feed(message).unwrap();
    }
    wait_once(&mut ws, &far);
    let expected: Vec<_> = (0..20).map(|i| format!("{i}").into_bytes()).collect();
    assert_eq!(payloads(&far.frames(role), PONG), expected);
}

#[test]
fn a_full_send_queue_makes_room_by_writing_whatever_is_sent() {
    // `Config::max_send_queue`: in the adapters a message waits for room; it is not refused.
    let config = Config::default().max_send_queue(100);
    let (mut ws, far) = open(Role::Server, &config);
    for _ in 0..50 {
        ws.feed("0123456789").unwrap();
    }
    ws.flush().unwrap();
    assert_eq!(far.frames(Role::Server).len(), 50, "feed");

    let (ws, far) = open(Role::Server, &config);
    let (mut sender, _receiver) = ws.split().unwrap();
    for _ in 0..50 {
        sender.feed("0123456789").unwrap();
    }
    sender.flush().unwrap();
    assert_eq!(far.frames(Role::Server).len(), 50, "feed of a half");
}

#[test]
fn a_full_send_queue_makes_room_for_a_part() {
    let config = Config::default().max_send_queue(100);
    let (mut ws, far) = open(Role::Server, &config);
    for i in 0..50 {
        ws.send_part("0123456789", i == 49).unwrap();
    }
    assert_eq!(far.frames(Role::Server).len(), 50);
}

#[test]
fn a_full_send_queue_makes_room_for_a_part_of_a_half() {
    let config = Config::default().max_send_queue(100);
    let (ws, far) = open(Role::Server, &config);
    let (mut sender, _receiver) = ws.split().unwrap();
    for i in 0..50 {
        sender.send_part("0123456789", i == 49).unwrap();
    }
    assert_eq!(far.frames(Role::Server).len(), 50);
}

#[test]
fn a_borrowed_echo_of_small_messages_never_finds_a_small_send_queue_full() {
    // Each message is smaller than the queue, and recv writes before it gives the next.
    let config = Config::default().max_send_queue(100);
    let (mut ws, far) = open(Role::Server, &config);
    for _ in 0..50 {
        far.push(&to(Role::Server, TEXT, b"0123456789"));
    }
    for _ in 0..50 {
        let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
        out.feed(message).unwrap();
    }
    ws.flush().unwrap();
    assert_eq!(far.frames(Role::Server).len(), 50);
}

#[test]
fn a_refused_message_is_given_back_and_what_was_fed_before_it_still_leaves() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    ws.feed("first").unwrap();
    match ws.send(Message::Ping(vec![0; 126].into())) {
        Err(Error::Send(error)) => {
            assert_eq!(error.refusal(), Refusal::ControlTooLong);
            assert_eq!(error.into_message().unwrap().as_bytes().len(), 126);
        }
        other => panic!("{other:?}"),
    }
    ws.flush().unwrap();
    assert_eq!(shorthand(&far.frames(Role::Server)), [(TEXT, "first".into())]);
    ws.start_close(1000, "").unwrap();
    match ws.send("late") {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_large_payload_and_its_header_leave_in_one_write() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    ws.send(pattern(100_000)).unwrap();
    assert_eq!(far.writes(), 1, "a vectored write");
    assert_eq!(far.frames(Role::Server)[0].payload, pattern(100_000));
}

#[test]
fn into_inner_gives_the_bytes_that_were_read_and_not_used() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    let second = to(role, TEXT, b"second");
    far.push(&[to(role, TEXT, b"first"), second.clone()].concat());
    assert_eq!(ws.recv().unwrap(), Some("first".into()));
    let (_stream, unread) = ws.into_inner().unwrap();
    assert_eq!(unread, second);
}

#[test]
fn a_connection_begins_with_the_bytes_that_were_read_behind_its_handshake() {
    for role in ROLES {
        let (stream, far) = crate::support::blocking::io();
        let early = [to(role, TEXT, b"early"), to(role, TEXT, b"half")].concat();
        let (now, later) = early.split_at(early.len() - 2);
        let input = RecvBuf::with_unread(now);
        let mut ws =
            WebSocket::from_connection(stream, connection(role, &Config::default()), input)
                .unwrap();
        assert_eq!(ws.recv().unwrap(), Some("early".into()));
        assert_eq!(far.lock().reads, 0, "nothing had to be read");
        far.push(later);
        assert_eq!(ws.recv().unwrap(), Some("half".into()));
    }
}

/// If queued bytes were thrown away, each flush from then on fails.
#[track_caller]
fn assert_lost(result: Result<(), Error>) {
    match result {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
        other => panic!("{other:?}"),
    }
}

#[test]
fn flush_is_no_success_for_what_was_thrown_away() {
    for role in ROLES {
        // A write fails while recv waits; the peer has ended.
        let (mut ws, far) = open(role, &Config::default());
        ws.feed("lost").unwrap();
        far.fail_next_write(ErrorKind::BrokenPipe);
        far.eof();
        assert!(matches!(ws.recv(), Err(Error::Ended(End::PeerGone(_)))));
        assert_lost(ws.flush());
        assert_lost(ws.flush());

        // The peer takes nothing until it is given up.
        let (mut ws, far) = open(role, &Config::default().send_timeout(Duration::from_millis(50)));
        far.room(3);
        ws.feed("lost").unwrap();
        let mut ws = in_time("recv", move || {
            assert!(ws.recv().is_err());
            ws
        });
        assert_lost(ws.flush());
        assert_lost(ws.flush());
        assert!(matches!(ws.send("more"), Err(Error::Send(_))));
        assert_lost(ws.into_inner().map(drop));

        // All left in time.
        let (mut ws, far) = open(role, &Config::default());
        ws.feed("in time").unwrap();
        far.push(&close_to(role, 1000));
        far.eof();
        assert_eq!(ws.recv().unwrap(), None);
        ws.flush().unwrap();
    }
}

#[test]
fn flush_of_a_half_is_no_success_for_what_was_thrown_away() {
    for role in ROLES {
        let (ws, far) = open(role, &Config::default());
        let (mut sender, mut receiver) = ws.split().unwrap();
        let mut clone = sender.clone();
        far.room(0);
        sender.feed("lost").unwrap();
        far.eof();
        in_time("recv", move || assert!(receiver.recv().is_err()));
        for _ in 0..2 {
            assert_lost(sender.flush());
            assert_lost(clone.flush());
        }

        // While the sender is blocked in a write, the receiver cannot tell it. It finds out by itself.
        let config = Config::default().close_timeout(Duration::from_millis(50));
        let (ws, far) = open(role, &config);
        let (mut sender, mut receiver) = ws.split().unwrap();
        far.room(10);
        let sending = spawn(move || (sender.send(vec![7; 1000]), sender));
        far.wait_until_writing();
        far.push(&close_to(role, 1000));
        in_time("recv", move || receiver.recv().unwrap());
        let (sent, mut sender) = sending.wait("send");
        assert!(sent.is_err());
        assert_lost(sender.flush());
    }
}

/// A stream that takes everything and passes nothing on.
struct Buffering(Vec<u8>);

impl Read for Buffering {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Ok(0)
    }
}

impl Write for Buffering {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn bytes_that_the_stream_took_and_could_not_pass_on_are_lost_too() {
    let connection = Connection::server(Config::default());
    let stream = Plain(Buffering(Vec::new()));
    let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
    assert!(ws.send("taken").is_err());
    assert_lost(ws.flush());
    assert_lost(ws.flush());
}

/// The simplest possible stream.
struct Least {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Least {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Least {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Not vectored, and never much.
        let n = bytes.len().min(3);
        self.output.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn any_read_and_write_will_do_as_a_plain_stream() {
    let role = Role::Server;
    let input = [
        to(role, TEXT, b"a"),
        to(role, PING, b"p"),
        to(role, BINARY, &pattern(1000)),
        close_to(role, 1001),
    ];
    let stream = Plain(Least { input: Cursor::new(input.concat()), output: Vec::new() });
    let connection = Connection::server(Config::default());
    let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
    let mut kinds = Vec::new();
    while let Some((message, mut out)) = ws.recv_borrowed().unwrap() {
        kinds.push(matches!(message, MessageRef::Text(_)));
        out.feed(message).unwrap();
    }
    assert_eq!(kinds, [true, false]);
    assert!(matches!(ws.end(), Some(End::Closed { .. })));
    let (stream, _) = ws.into_inner().unwrap();
    let sent = decode(role, &stream.0.output);
    assert_eq!(sent.iter().map(|f| f.opcode).collect::<Vec<_>>(), [TEXT, PONG, BINARY, CLOSE]);
    assert_eq!(close_code(&sent[3]), 1001);
}

#[test]
fn a_plain_stream_says_that_it_cannot_be_split() {
    let stream = Plain(Least { input: Cursor::default(), output: Vec::new() });
    let connection = Connection::server(Config::default());
    let ws = WebSocket::from_connection(stream, connection, RecvBuf::new()).unwrap();
    match ws.split() {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        other => panic!("{:?}", other.map(drop)),
    }
}

#[test]
fn try_feed_writes_nothing_and_gives_back_what_has_no_room() {
    let (mut ws, far) = open(Role::Server, &Config::default().max_send_queue(100_000));
    let mut queued = 0;
    let refused = loop {
        match ws.try_feed(pattern(queued)) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((far.writes(), refused.refusal()), (0, Refusal::QueueFull));
    assert_eq!(refused.into_message(), Some(pattern(queued).into()));
    ws.flush().unwrap();
    ws.try_feed(pattern(queued)).unwrap();
    ws.flush().unwrap();
    let sent = payloads(&far.frames(Role::Server), BINARY);
    assert_eq!(sent, (0..=queued).map(pattern).collect::<Vec<_>>());
}
