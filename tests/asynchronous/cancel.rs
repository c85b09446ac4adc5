//! Every future of an asynchronous adapter may be dropped at any poll (docs/design.md decision 10, attack battery T13): no
//! torn frame, no message lost or received twice, and a dropped `send` sent its message whole or not at all.
//!
//! One harness: a stream that moves few bytes at a time and is never ready at first; an operation that is dropped at
//! its first poll, in a fresh world at its second, and so on until it is done; then the connection goes on.

use bowline::handshake::{Accept, ClientRequest, accept_key};
use bowline::{Config, End, Error, Initiator, Message, MessageRef, Refusal, Role};

use super::adapter::{Incoming, Io, RecvHalf, SendHalf, WebSocket, accept, client, io, open};
use crate::support::stream::{Far, cancelled, finish, poll};
use crate::support::*;

/// Runs `world` with the number of polls after which it has to drop its operation: 1, 2, 3 and so on, until it says that
/// the operation was done before.
fn at_every_poll(mut world: impl FnMut(usize) -> bool) {
    for polls in 1..100_000 {
        if world(polls) {
            assert!(polls > 2, "the operation was never pending, so nothing was tested");
            return;
        }
    }
    panic!("an operation that is never done");
}

fn config() -> Config {
    no_timeouts().max_send_queue(64)
}

/// What the peer sends in the tests of receiving: every kind of frame, also split up.
fn incoming(role: Role) -> (Vec<u8>, Vec<Message>) {
    let wire = [
        to(role, TEXT, b"one"),
        to(role, PING, b"p1"),
        fragment_to(role, false, TEXT, "zw\u{00f6}".as_bytes()),
        to(role, PING, b"p2"),
        fragment_to(role, true, CONTINUATION, b"lf"),
        to(role, BINARY, &[]),
        to(role, BINARY, &pattern(200)),
    ];
    let messages =
        ["one".into(), "zw\u{00f6}lf".into(), Message::from(vec![]), pattern(200).into()];
    (wire.concat(), messages.into())
}

/// Whatever reads messages: each of the ways, polled by hand.
trait Reads {
    fn read(&mut self, polls: usize) -> Option<Result<Option<Message>, Error>>;
}

struct Recv<T>(T);
struct RecvBorrowed<T>(T);

impl Reads for Recv<WebSocket<Io>> {
    fn read(&mut self, polls: usize) -> Option<Result<Option<Message>, Error>> {
        cancelled(self.0.recv(), polls)
    }
}

impl Reads for Recv<RecvHalf<Io>> {
    fn read(&mut self, polls: usize) -> Option<Result<Option<Message>, Error>> {
        cancelled(self.0.recv(), polls)
    }
}

impl Reads for RecvBorrowed<WebSocket<Io>> {
    fn read(&mut self, polls: usize) -> Option<Result<Option<Message>, Error>> {
        let lent = cancelled(self.0.recv_borrowed(), polls)?;
        Some(lent.map(|lent| lent.map(|(message, _)| message.to_message())))
    }
}

impl Reads for RecvBorrowed<RecvHalf<Io>> {
    fn read(&mut self, polls: usize) -> Option<Result<Option<Message>, Error>> {
        let lent = cancelled(self.0.recv_borrowed(), polls)?;
        Some(lent.map(|lent| lent.map(|message| message.to_message())))
    }
}

/// Drops each read at its `polls`-th poll, and reads again.
fn every_message_comes_once<R: Reads>(name: &str, mut make: impl FnMut(WebSocket<Io>) -> R) {
    for role in ROLES {
        for chunk in [1, 2, 5] {
            for polls in 1..40 {
                let (ws, far) = open(role, &config());
                far.stutter(chunk);
                let (wire, expected) = incoming(role);
                far.push(&[wire, close_to(role, 1000)].concat());
                far.eof();
                let mut reads = make(ws);
                let mut got = Vec::new();
                let mut tries = 0;
                loop {
                    tries += 1;
                    assert!(tries < 100_000, "{name}: no end");
                    match reads.read(polls) {
                        None => {}
                        Some(Ok(Some(message))) => got.push(message),
                        Some(Ok(None)) => break,
                        Some(Err(error)) => panic!("{name}: {error}"),
                    }
                }
                assert_eq!(got, expected, "{name}, {role:?}, dropped at poll {polls}");
                let sent = far.frames(role);
                let pongs = payloads(&sent, PONG);
                assert_eq!(pongs, [b"p1", b"p2"], "{name}");
                assert_eq!(sent.last().map(close_code), Some(1000), "{name}");
            }
        }
    }
}

#[test]
fn recv_and_recv_borrowed_lose_nothing() {
    every_message_comes_once("recv", Recv);
    every_message_comes_once("recv_borrowed", RecvBorrowed);
}

#[test]
fn a_receiving_half_loses_nothing() {
    // The sending half lives on or not; the stream must be the same.
    every_message_comes_once("recv of a half", |ws| Recv(ws.split().1));
    let mut senders = Vec::new();
    every_message_comes_once("recv_borrowed of a half", |ws| {
        let (sender, receiver) = ws.split();
        senders.push(sender);
        RecvBorrowed(receiver)
    });
}

#[test]
fn recv_part_loses_nothing() {
    for role in ROLES {
        for split in [false, true] {
            for polls in 1..12 {
                let (ws, far) = open(role, &config());
                far.stutter(3);
                let (wire, expected) = incoming(role);
                far.push(&[wire, close_to(role, 1000)].concat());
                far.eof();
                let (mut whole, mut half) =
                    if split { (None, Some(ws.split())) } else { (Some(ws), None) };
                let mut got: Vec<Message> = Vec::new();
                let (mut message, mut fresh) = (Vec::new(), true);
                for tries in 0.. {
                    assert!(
                        tries < 10_000,
                        "no end: {role:?} split {split} polls {polls}, got {got:?} sent {:?}",
                        far.lock()
                    );
                    let part = match (&mut whole, &mut half) {
                        (Some(ws), _) => cancelled(ws.recv_part(), polls),
                        (_, Some((_, receiver))) => cancelled(receiver.recv_part(), polls),
                        _ => unreachable!(),
                    };
                    let Some(part) = part else { continue };
                    let Some(part) = part.unwrap() else { break };
                    assert_eq!(part.first, fresh);
                    fresh = part.last;
                    message.extend(part.payload.as_bytes());
                    if part.last {
                        let bytes = std::mem::take(&mut message);
                        got.push(match part.payload {
                            MessageRef::Text(_) => String::from_utf8(bytes).unwrap().into(),
                            _ => bytes.into(),
                        });
                    }
                }
                assert_eq!(got, expected);
                assert_eq!(payloads(&far.frames(role), PONG), [b"p1", b"p2"]);
            }
        }
    }
}

/// Something that sends, through the whole connection or a half.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Sends {
    Whole(WebSocket<Io>),
    Half(SendHalf<Io>),
}

/// One operation with the same name on both.
macro_rules! op {
    ($sends:expr, $polls:expr, $method:ident ( $($argument:expr),* )) => {
        match &mut *$sends {
            Sends::Whole(ws) => cancelled(ws.$method($($argument),*), $polls).map(|r| r.map(drop)),
            Sends::Half(half) => cancelled(half.$method($($argument),*), $polls).map(|r| r.map(drop)),
        }
    };
}

/// Drops `operation` at each poll, with earlier bytes in the queue, then sends more. The peer has to see what was sent
/// before, then the frames of the operation or none of them, then what was sent behind it.
fn all_or_nothing(
    name: &str,
    before: usize,
    frames_of_operation: &[(u8, &str)],
    operation: impl Fn(&mut Sends, usize) -> Option<Result<(), Error>>,
) {
    for role in ROLES {
        for split in [false, true] {
            let mut outcomes = [0, 0];
            at_every_poll(|polls| {
                let (mut ws, far) = open(role, &config());
                // More than the queue's limit, so that the operation has to wait for room first.
                finish(ws.feed("b".repeat(before))).unwrap();
                // A few dozen steps for everything, however long it is.
                let longest = frames_of_operation.iter().map(|(_, text)| text.len()).max();
                far.stutter(7.max(longest.unwrap_or(0) / 30));
                let mut sends = if split { Sends::Half(ws.split().0) } else { Sends::Whole(ws) };
                let done = operation(&mut sends, polls);
                if let Some(result) = &done {
                    result.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                op!(&mut sends, usize::MAX, send("after")).unwrap().unwrap();
                let sent = shorthand(&far.frames(role));
                let (first, rest) = sent.split_first().unwrap();
                assert_eq!(first.1.len(), before, "{name}: what was fed before");
                let (last, middle) = rest.split_last().unwrap();
                assert_eq!(last.1, "after", "{name}");
                let expected: Vec<_> =
                    frames_of_operation.iter().map(|&(op, text)| (op, text.into())).collect();
                let whole = middle == expected;
                assert!(
                    whole || middle.is_empty(),
                    "{name}, dropped at poll {polls}: the peer saw {middle:?}"
                );
                assert!(whole || done.is_none(), "{name} was done, and the peer saw {middle:?}");
                outcomes[usize::from(whole)] += 1;
                done.is_some()
            });
            let nothing = frames_of_operation.is_empty();
            assert!(nothing || outcomes[1] > 0, "{name}: once it is queued it has to arrive");
            assert!(
                nothing || before < 64 || outcomes[0] > 0,
                "{name}: dropped while it waits for room it is not sent"
            );
        }
    }
}

#[test]
fn a_dropped_send_sent_its_message_whole_or_not_at_all() {
    for before in [10, 200] {
        all_or_nothing("send", before, &[(TEXT, "message")], |s, polls| {
            op!(s, polls, send("message"))
        });
        all_or_nothing("ping", before, &[(PING, "ping")], |s, polls| op!(s, polls, ping(b"ping")));
    }
}

#[test]
fn a_dropped_feed_is_queued_whole_or_not_at_all() {
    let long = "f".repeat(65 << 10);
    // More than the stream takes at once.
    for before in [10, 5000] {
        all_or_nothing("feed", before, &[(TEXT, &long)], |s, polls| {
            op!(s, polls, feed(long.clone()))
        });
    }
    all_or_nothing("small feed", 200, &[(TEXT, "fed")], |s, polls| op!(s, polls, feed("fed")));
}

#[test]
fn a_dropped_part_is_sent_whole_or_not_at_all() {
    for before in [10, 200] {
        all_or_nothing("send_part", before, &[(TEXT, "part")], |s, polls| {
            op!(s, polls, send_part("part", true))
        });
    }
}

#[test]
fn a_dropped_flush_is_finished_by_the_next() {
    all_or_nothing("flush", 200, &[], |s, polls| op!(s, polls, flush()).filter(|_| polls > 10));
}

#[test]
fn parts_that_are_dropped_and_sent_again_make_one_message() {
    // Whether a dropped part was queued shows in what the peer has; the message must stay one.
    for role in ROLES {
        at_every_poll(|polls| {
            let (mut ws, far) = open(role, &config());
            far.stutter(5);
            finish(ws.send_part("first,", false)).unwrap();
            finish(ws.feed(MessageRef::Ping(&[b'x'; 100]))).unwrap();
            let done = cancelled(ws.send_part("second,", false), polls).is_some();
            let done = cancelled(ws.flush(), polls.saturating_sub(20)).is_some() && done;
            finish(ws.send_part("last", true)).unwrap();
            finish(ws.send("next")).unwrap();
            let sent = far.frames(role);
            let data: Vec<_> = sent.iter().filter(|f| f.opcode <= BINARY).collect();
            let fins: Vec<_> = data.iter().map(|f| (f.opcode, f.fin)).collect();
            let texts: Vec<_> =
                data.iter().map(|f| String::from_utf8(f.payload.clone()).unwrap()).collect();
            match texts.len() {
                3 => assert_eq!(fins, [(TEXT, false), (CONTINUATION, true), (TEXT, true)]),
                4 => assert_eq!(
                    fins,
                    [(TEXT, false), (CONTINUATION, false), (CONTINUATION, true), (TEXT, true)]
                ),
                n => panic!("{n} frames: {texts:?}"),
            }
            assert_eq!((&*texts[0], &*texts[texts.len() - 2]), ("first,", "last"));
            done
        });
    }
}

#[test]
fn a_dropped_start_close_is_finished_by_recv() {
    for role in ROLES {
        at_every_poll(|polls| {
            let (mut ws, far) = open(role, &config());
            far.stutter(1);
            finish(ws.feed("before")).unwrap();
            let done = cancelled(ws.start_close(1001, "bye"), polls).is_some();
            far.push(&[to(role, TEXT, b"yet"), close_to(role, 1001)].concat());
            far.eof();
            assert_eq!(finish(ws.recv()).unwrap(), Some("yet".into()));
            assert_eq!(finish(ws.recv()).unwrap(), None);
            assert!(matches!(ws.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
            let sent = far.frames(role);
            assert_eq!(sent.len(), 2);
            assert_eq!((close_code(&sent[1]), &sent[1].payload[2..]), (1001, &b"bye"[..]));
            done
        });
    }
}

#[test]
fn a_dropped_close_goes_on_when_it_is_called_again() {
    for role in ROLES {
        at_every_poll(|polls| {
            let (mut ws, far) = open(role, &config());
            far.stutter(1);
            finish(ws.feed("before")).unwrap();
            far.push(&[to(role, TEXT, b"x"), to(role, PING, b"p"), close_to(role, 1000)].concat());
            far.eof();
            let done = cancelled(ws.close(1000, "bye"), polls);
            let closed = finish(ws.close(1000, "again")).unwrap();
            assert!(closed.end.is_clean(), "{closed:?}");
            assert!(closed.discarded <= 1);
            if let Some(first) = &done {
                assert_eq!(first.as_ref().unwrap().discarded, 1);
            }
            let sent = far.frames(role);
            let closes: Vec<_> = sent.iter().filter(|f| f.opcode == CLOSE).collect();
            assert_eq!(closes.len(), 1, "one Close, whatever was dropped");
            assert_eq!(&closes[0].payload[2..], b"bye");
            assert_eq!(sent[0].payload, b"before");
            assert!(far.lock().shut, "the write side is shut in the end");
            done.is_some()
        });
    }
}

#[test]
fn a_dropped_close_of_a_half_is_finished_by_the_receiving_half() {
    for role in ROLES {
        at_every_poll(|polls| {
            let (ws, far) = open(role, &config());
            let (mut sender, mut receiver) = ws.split();
            far.stutter(1);
            let done = cancelled(sender.close(1000, "bye"), polls).is_some();
            match finish(sender.send("late")) {
                Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
                other => panic!("{other:?}"),
            }
            far.push(&close_to(role, 1000));
            far.eof();
            assert_eq!(finish(receiver.recv()).unwrap(), None);
            assert!(matches!(
                receiver.end(),
                Some(End::Closed { initiator: Initiator::Local, .. })
            ));
            let sent = far.frames(role);
            assert_eq!(sent.len(), 1);
            assert_eq!(&sent[0].payload[2..], b"bye");
            done
        });
    }
}

#[test]
fn a_receiver_that_is_dropped_again_and_again_while_it_leaves_still_tells_the_peer() {
    // docs/design.md decision 6: Close 1002, shut, discard. Each step survives the drop of the future.
    for role in ROLES {
        for polls in 1..30 {
            for split in [false, true] {
                let (ws, far) = open(role, &config());
                far.stutter(2);
                far.push(&[to(role, 0xB, b"bad"), vec![0; 50]].concat());
                far.eof();
                let mut reads: Box<dyn Reads> = if split {
                    let (sender, receiver) = ws.split();
                    drop(sender);
                    Box::new(Recv(receiver))
                } else {
                    Box::new(Recv(ws))
                };
                let error = (0..100_000).find_map(|_| reads.read(polls)).expect("no end");
                assert!(matches!(error, Err(Error::Ended(End::Failed(_)))));
                assert_eq!(close_code(&far.frames(role)[0]), 1002);
                assert!(far.lock().shut);
            }
        }
    }
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The head of what was written, once it is whole.
fn head(far: &Far) -> Option<String> {
    let written = String::from_utf8_lossy(&far.written()).into_owned();
    written.contains("\r\n\r\n").then_some(written)
}

#[test]
fn a_dropped_opening_handshake_drops_its_stream_and_writes_no_more() {
    // It takes the stream, so there is nothing to go on with: what counts is that nothing is left behind.
    at_every_poll(|polls| {
        let (stream, far) = io();
        far.stutter(9);
        far.push(REQUEST.as_bytes());
        far.push(&to(Role::Server, TEXT, b"early"));
        let result = cancelled(accept(stream, no_timeouts()), polls);
        let done = result.is_some();
        if let Some(ws) = result {
            let mut ws = ws.unwrap();
            assert!(head(&far).unwrap().starts_with("HTTP/1.1 101 "));
            assert_eq!(finish(ws.recv()).unwrap(), Some("early".into()));
        }
        assert_eq!(far.lock().handles, 0);
        let wire = far.written();
        assert!(b"HTTP/1.1 101 Switching".starts_with(&wire[..wire.len().min(22)]));
        done
    });
    at_every_poll(|polls| {
        let (stream, far) = io();
        far.stutter(9);
        far.push(REQUEST.as_bytes());
        let result = cancelled(Incoming::read(stream, no_timeouts()), polls);
        let done = result.is_some();
        if let Some(incoming) = result {
            let incoming = incoming.unwrap();
            assert_eq!(incoming.request().path(), "/chat");
            let mut ws = finish(incoming.accept(Accept::new())).unwrap();
            assert!(cancelled(ws.recv(), 5).is_none());
        }
        assert_eq!(far.lock().handles, 0);
        done
    });
}

#[test]
fn a_dropped_client_handshake_drops_its_stream() {
    let request = ClientRequest::new("ws://a/chat").unwrap();
    at_every_poll(|polls| {
        let (stream, far) = io();
        far.stutter(9);
        let mut answered = false;
        let mut future = Box::pin(client(stream, &request, no_timeouts()));
        let mut result = None;
        for _ in 0..polls {
            if let std::task::Poll::Ready(ready) = poll(future.as_mut()) {
                result = Some(ready);
                break;
            }
            if let (false, Some(head)) = (answered, head(&far)) {
                answered = true;
                let key =
                    head.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
                far.push(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
                far.push(format!("Sec-WebSocket-Accept: {}\r\n\r\n", accept_key(key)).as_bytes());
                far.push(&to(Role::Client, TEXT, b"early"));
            }
        }
        drop(future);
        let done = result.is_some();
        if let Some(result) = result {
            let (mut ws, response) = result.unwrap();
            assert_eq!(response.status(), 101);
            assert_eq!(finish(ws.recv()).unwrap(), Some("early".into()));
        }
        assert_eq!(far.lock().handles, 0);
        done
    });
}

#[test]
fn sender_and_receiver_of_one_stream_may_both_be_dropped_at_every_poll() {
    // Both halves at work in turn, each future dropped after few polls: the peer sees every message once and in order,
    // and every ping answered.
    for role in ROLES {
        for (send_polls, recv_polls) in [(1, 1), (1, 3), (2, 1), (3, 5), (7, 2)] {
            let (ws, far) = open(role, &config());
            far.stutter(2);
            let (mut sender, mut receiver) = ws.split();
            let (mut queued, mut got) = (0, 0);
            for i in 0..30 {
                far.push(&to(role, PING, &[i]));
                far.push(&to(role, BINARY, &[i]));
            }
            for _ in 0..100_000 {
                if queued < 30 {
                    // Dropped while it waits for room it is not queued, else it is; the queue tells which.
                    match cancelled(sender.flush(), send_polls) {
                        None => {}
                        Some(result) => {
                            result.unwrap();
                            // There is room now, so it is queued even if it is dropped at its first poll.
                            let _ = cancelled(sender.send(vec![queued; 20]), send_polls);
                            queued += 1;
                        }
                    }
                }
                if let Some(message) = cancelled(receiver.recv(), recv_polls) {
                    assert_eq!(message.unwrap().unwrap().as_bytes(), [got]);
                    got += 1;
                    if got == 30 {
                        break;
                    }
                }
            }
            while queued < 30 {
                finish(sender.send(vec![queued; 20])).unwrap();
                queued += 1;
            }
            // A waiting recv hands over whatever pongs were held back.
            assert!(cancelled(receiver.recv(), 10_000).is_none());
            let sent = far.frames(role);
            let expected: Vec<_> = (0..30).map(|i| vec![i; 20]).collect();
            assert_eq!(payloads(&sent, BINARY), expected);
            assert_eq!(payloads(&sent, PONG), (0..30).map(|i| vec![i]).collect::<Vec<_>>());
        }
    }
}
