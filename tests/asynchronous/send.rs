//! What leaves when, through an asynchronous adapter (docs/design.md decision 8), also as `Stream` and `Sink`. A stream in
//! memory records each write; futures are polled by hand, so "it waits" is seen and not timed.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bowline::{End, Error, Message, RecvBuf, Refusal, Role};
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use super::adapter::{WebSocket, io, open, wrap};
use crate::support::stream::*;
use crate::support::*;

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("message {i}")).collect()
}

#[test]
fn many_pipelined_messages_that_are_answered_by_feed_leave_in_one_write() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        for text in texts(100) {
            far.push(&to(role, TEXT, text.as_bytes()));
        }
        for _ in 0..100 {
            let message = finish(ws.recv()).unwrap().unwrap();
            finish(ws.feed(message)).unwrap();
        }
        assert_eq!(far.writes(), 0, "feed only queues");
        assert!(poll(pin!(ws.recv())).is_pending());
        assert_eq!(far.writes(), 1);
        let expected: Vec<_> = texts(100).into_iter().map(|text| (TEXT, text)).collect();
        assert_eq!(shorthand(&far.frames(role)), expected);
    }
}

#[test]
fn many_pipelined_messages_that_are_echoed_borrowed_leave_in_one_write() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    for text in texts(100) {
        far.push(&to(Role::Server, TEXT, text.as_bytes()));
    }
    for _ in 0..100 {
        let (message, mut out) = finish(ws.recv_borrowed()).unwrap().unwrap();
        out.feed(message).unwrap();
    }
    assert_eq!(far.writes(), 0);
    assert!(poll(pin!(ws.recv_borrowed())).is_pending());
    assert_eq!((far.writes(), far.frames(Role::Server).len()), (1, 100));
}

#[test]
fn one_lonely_message_that_is_answered_by_feed_costs_one_write_and_does_not_wait() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    for round in 1..=5 {
        far.push(&to(Role::Server, TEXT, b"ping me"));
        let message = finish(ws.recv()).unwrap().unwrap();
        finish(ws.feed(message)).unwrap();
        assert!(poll(pin!(ws.recv())).is_pending());
        assert_eq!(far.writes(), round);
    }
}

#[test]
fn send_has_written_and_flushed_the_stream_when_it_is_done() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.send("now")).unwrap();
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "now".into())]);
        assert_eq!(far.lock().flushes, 1, "a TLS stream holds bytes back until it is flushed");
        finish(ws.ping(b"p")).unwrap();
        finish(ws.send_part(&b"a"[..], false)).unwrap();
        finish(ws.send_part(&b"b"[..], true)).unwrap();
        assert_eq!(far.frames(role).len(), 4, "the last part of a message is sent like a message");
        finish(ws.start_close(1000, "")).unwrap();
        assert_eq!(close_code(&far.frames(role)[4]), 1000);
    }
}

#[test]
fn sixty_four_kib_that_were_fed_leave_by_themselves() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        let mut fed = 0;
        while far.writes() == 0 {
            assert!(fed < 65 << 10, "64 KiB are queued and did not leave");
            finish(ws.feed(vec![0; 1000])).unwrap();
            fed += 1000;
        }
        assert!(fed > 63 << 10, "only {fed} bytes were fed: too early");
        assert_eq!((far.writes(), far.frames(role).len() * 1000), (1, fed));
    }
}

#[test]
fn a_borrowed_echo_of_many_messages_flushes_at_sixty_four_kib_and_not_only_when_it_waits() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    for _ in 0..200 {
        far.push(&to(Role::Server, BINARY, &[7; 1000]));
    }
    let mut most = 0;
    for done in 1..=200 {
        let (message, mut out) = finish(ws.recv_borrowed()).unwrap().unwrap();
        out.feed(message).unwrap();
        most = most.max(done * 1004 - far.written().len());
    }
    assert!(most < 66 << 10, "{most} bytes waited");
}

#[test]
fn flush_close_into_inner_and_drop_deliver_what_was_fed() {
    let fed = |role| {
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.feed("fed")).unwrap();
        assert_eq!(far.writes(), 0);
        (ws, far)
    };
    for role in ROLES {
        let (mut ws, far) = fed(role);
        finish(ws.flush()).unwrap();
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "fed".into())], "flush");

        let (mut ws, far) = fed(role);
        far.push(&close_to(role, 1000));
        far.eof();
        assert!(finish(ws.close(1000, "")).unwrap().end.is_clean());
        assert_eq!(far.frames(role)[0].payload, b"fed", "close");

        let (ws, far) = fed(role);
        let (_stream, unread) = finish(ws.into_inner()).unwrap();
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
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    finish(ws.feed("fed")).unwrap();
    let (_sender, _receiver) = ws.split();
    assert_eq!(shorthand(&far.frames(Role::Server)), [(TEXT, "fed".into())]);
}

#[test]
fn what_was_fed_before_split_leaves_with_either_half() {
    let fed = || {
        let (mut ws, far) = open(Role::Server, &no_timeouts());
        finish(ws.feed("fed")).unwrap();
        let (sender, receiver) = ws.split();
        (sender, receiver, far)
    };
    let (mut sender, _receiver, far) = fed();
    finish(sender.flush()).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 1);
    let (_sender, mut receiver, far) = fed();
    assert!(poll(pin!(receiver.recv())).is_pending());
    assert_eq!(far.frames(Role::Server).len(), 1);
    let (sender, receiver, far) = fed();
    drop((sender, receiver));
    assert_eq!(far.frames(Role::Server).len(), 1);
    assert_eq!(far.lock().handles, 0, "dropping both halves closes the socket");
}

#[test]
fn drop_makes_one_attempt_and_no_more() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    finish(ws.feed(vec![1; 100])).unwrap();
    far.room(10);
    drop(ws);
    assert_eq!(far.written().len(), 10);
    assert_eq!(far.lock().handles, 0);
}

#[test]
fn a_ping_before_a_message_is_answered_before_the_message_is() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a"), to(role, TEXT, b"b")].concat());
        for _ in 0..2 {
            let message = finish(ws.recv()).unwrap().unwrap();
            finish(ws.feed(message)).unwrap();
        }
        assert!(poll(pin!(ws.recv())).is_pending());
        let expected = [(PONG, "1".into()), (TEXT, "a".into()), (TEXT, "b".into())];
        assert_eq!(shorthand(&far.frames(role)), expected);
        assert_eq!(far.writes(), 1, "the pong costs no write of its own");
    }
}

#[test]
fn a_ping_before_a_message_is_answered_before_what_a_half_sends_at_once() {
    let role = Role::Server;
    let (ws, far) = open(role, &no_timeouts());
    let (mut sender, mut receiver) = ws.split();
    far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a")].concat());
    let message = finish(receiver.recv()).unwrap().unwrap();
    finish(sender.send(message)).unwrap();
    assert_eq!(shorthand(&far.frames(role)), [(PONG, "1".into()), (TEXT, "a".into())]);
    assert_eq!(far.writes(), 1);
}

#[test]
fn every_one_of_many_corked_pings_is_answered_when_recv_waits() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    for i in 0..20 {
        far.push(&to(role, PING, format!("{i}").as_bytes()));
        far.push(&to(role, TEXT, b"x"));
    }
    for _ in 0..20 {
        let message = finish(ws.recv()).unwrap().unwrap();
        finish(ws.feed(message)).unwrap();
    }
    assert!(poll(pin!(ws.recv())).is_pending());
    let expected: Vec<_> = (0..20).map(|i| format!("{i}").into_bytes()).collect();
    assert_eq!(payloads(&far.frames(role), PONG), expected);
}

#[test]
fn a_full_send_queue_makes_room_by_writing_whatever_is_sent() {
    let config = no_timeouts().max_send_queue(100);
    let (mut ws, far) = open(Role::Server, &config);
    for i in 0..50 {
        finish(ws.feed("0123456789")).unwrap();
        finish(ws.send_part("0123456789", i % 2 == 1)).unwrap_or_else(|e| panic!("part {i}: {e}"));
        if i % 2 == 0 {
            finish(ws.send_part("", true)).unwrap();
        }
    }
    finish(ws.flush()).unwrap();
    assert_eq!(payloads(&far.frames(Role::Server), TEXT).len(), 100);

    let (ws, far) = open(Role::Server, &config);
    let (mut sender, _receiver) = ws.split();
    for i in 0..50 {
        finish(sender.send_part("0123456789", i == 49)).unwrap();
    }
    assert_eq!(far.frames(Role::Server).len(), 50);
}

#[test]
fn a_borrowed_echo_of_small_messages_never_finds_a_small_send_queue_full() {
    // Each message is smaller than the queue, and recv writes before it gives the next.
    let config = no_timeouts().max_send_queue(100);
    let (mut ws, far) = open(Role::Server, &config);
    for _ in 0..50 {
        far.push(&to(Role::Server, TEXT, b"0123456789"));
    }
    for _ in 0..50 {
        let (message, mut out) = finish(ws.recv_borrowed()).unwrap().unwrap();
        out.feed(message).unwrap();
    }
    finish(ws.flush()).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 50);
}

#[test]
fn a_refused_message_is_given_back_and_what_was_fed_before_it_still_leaves() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    finish(ws.feed("first")).unwrap();
    match finish(ws.send(Message::Ping(vec![0; 126].into()))) {
        Err(Error::Send(error)) => {
            assert_eq!(error.refusal(), Refusal::ControlTooLong);
            assert_eq!(error.into_message().unwrap().as_bytes().len(), 126);
        }
        other => panic!("{other:?}"),
    }
    finish(ws.flush()).unwrap();
    assert_eq!(shorthand(&far.frames(Role::Server)), [(TEXT, "first".into())]);
    finish(ws.start_close(1000, "")).unwrap();
    match finish(ws.send("late")) {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn into_inner_gives_the_bytes_that_were_read_and_not_used() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    let second = to(role, TEXT, b"second");
    far.push(&[to(role, TEXT, b"first"), second.clone()].concat());
    assert_eq!(finish(ws.recv()).unwrap(), Some("first".into()));
    let (_stream, unread) = finish(ws.into_inner()).unwrap();
    assert_eq!(unread, second);
}

#[test]
fn a_connection_begins_with_the_bytes_that_were_read_behind_its_handshake() {
    for role in ROLES {
        let (stream, far) = io();
        let early = [to(role, TEXT, b"early"), to(role, TEXT, b"half")].concat();
        let (now, later) = early.split_at(early.len() - 2);
        let input = RecvBuf::with_unread(now);
        let mut ws = WebSocket::from_connection(stream, connection(role, &no_timeouts()), input);
        assert_eq!(finish(ws.recv()).unwrap(), Some("early".into()));
        assert_eq!(far.lock().reads, 0, "nothing had to be read");
        far.push(later);
        assert_eq!(finish(ws.recv()).unwrap(), Some("half".into()));
    }
}

// Stream and Sink.

fn poll_of<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn the_sink_queues_on_start_send_and_always_writes_on_poll_flush() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    for _ in 0..3 {
        assert!(poll_of(|cx| Pin::new(&mut ws).poll_ready(cx)).is_ready());
        Pin::new(&mut ws).start_send("x".into()).unwrap();
    }
    assert_eq!(far.writes(), 0);
    assert!(matches!(
        poll_of(|cx| Sink::<Message>::poll_flush(Pin::new(&mut ws), cx)),
        Poll::Ready(Ok(()))
    ));
    assert_eq!((far.writes(), far.frames(Role::Server).len()), (1, 3));
    finish(SinkExt::send(&mut ws, "sent".into())).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 4, "SinkExt::send writes");
    let (sender, _receiver) = ws.split();
    let mut sender = Box::pin(sender);
    sender.as_mut().start_send("half".into()).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 4);
    finish(SinkExt::flush(&mut sender)).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 5);
}

#[test]
fn a_full_sink_is_not_ready_until_it_has_written() {
    let (mut ws, far) = open(Role::Server, &no_timeouts().max_send_queue(100));
    far.room(0);
    Pin::new(&mut ws).start_send(vec![0; 200].into()).unwrap();
    assert!(poll_of(|cx| Sink::<Message>::poll_ready(Pin::new(&mut ws), cx)).is_pending());
    match Pin::new(&mut ws).start_send("y".into()) {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::QueueFull),
        other => panic!("{other:?}"),
    }
    far.room(usize::MAX);
    assert!(poll_of(|cx| Sink::<Message>::poll_ready(Pin::new(&mut ws), cx)).is_ready());
    assert_eq!(far.frames(Role::Server).len(), 1);
}

#[test]
fn closing_the_sink_sends_close_once_and_the_stream_ends_with_the_peers() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.stutter(1);
    finish(SinkExt::close(&mut ws)).unwrap();
    finish(SinkExt::close(&mut ws)).unwrap();
    assert_eq!(far.frames(role).len(), 1, "one Close, however often close is polled");
    assert_eq!(close_code(&far.frames(role)[0]), 1000);
    far.push(&[to(role, TEXT, b"still here"), close_to(role, 1000)].concat());
    assert_eq!(finish(ws.next()).unwrap().unwrap(), "still here".into());
    assert!(finish(ws.next()).is_none(), "Close is the end of the stream");
    assert!(finish(ws.next()).is_none());
    assert!(ws.end().unwrap().is_clean());
}

#[test]
fn the_stream_gives_an_error_once_and_then_ends() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.push(&[to(role, TEXT, b"good"), to(role, 0x3, b"bad")].concat());
    far.eof();
    assert_eq!(finish(ws.next()).unwrap().unwrap(), "good".into());
    assert!(matches!(finish(ws.next()), Some(Err(Error::Ended(End::Failed(_))))));
    for _ in 0..3 {
        assert!(finish(ws.next()).is_none());
    }
    assert!(futures_util::stream::FusedStream::is_terminated(&ws));

    let (ws, far) = open(role, &no_timeouts());
    let (_sender, mut receiver) = ws.split();
    far.eof();
    assert!(matches!(finish(receiver.next()), Some(Err(Error::Ended(End::PeerGone(_))))));
    assert!(finish(receiver.next()).is_none());
}

#[test]
fn a_stream_that_was_polled_in_vain_still_flushes_what_was_fed() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    Pin::new(&mut ws).start_send("fed".into()).unwrap();
    assert!(poll_of(|cx| Pin::new(&mut ws).poll_next(cx)).is_pending());
    assert_eq!(far.frames(Role::Server).len(), 1);
}

/// Two ends in one runtime, each split by the combinators into a task that reads and one that writes, over a stream that
/// takes a few bytes at a time: every task waits for the same socket, and none may be forgotten.
async fn both_ways(a: impl Both, b: impl Both, messages: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for ws in [Box::new(a) as Box<dyn Both>, Box::new(b)] {
        let (mut sink, mut stream) = StreamExt::split(Box::into_pin(ws));
        tasks.spawn(async move {
            for i in 0..messages {
                let message = Message::from(vec![i as u8; i % 300]);
                if i % 3 == 0 {
                    sink.send(message).await.unwrap()
                } else {
                    sink.feed(message).await.unwrap()
                }
            }
            sink.flush().await.unwrap();
            (Some(sink), None)
        });
        tasks.spawn(async move {
            for i in 0..messages {
                let message = stream.next().await.expect("too few messages").unwrap();
                assert_eq!(message.as_bytes(), vec![i as u8; i % 300]);
            }
            (None, Some(stream))
        });
    }
    let mut alive = Vec::new();
    while let Some(result) = tasks.join_next().await {
        alive.push(result.unwrap());
    }
}

trait Both:
    Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + 'static
{
}
impl<T: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + 'static> Both
    for T
{
}

#[tokio::test]
async fn futures_split_into_two_tasks_loses_no_wakeup_over_a_narrow_stream() {
    for width in [1, 3, 7, 64] {
        let (a, b) = tokio::io::duplex(width);
        let config = no_timeouts();
        let a =
            WebSocket::from_connection(wrap(a), connection(Role::Client, &config), RecvBuf::new());
        let b =
            WebSocket::from_connection(wrap(b), connection(Role::Server, &config), RecvBuf::new());
        tokio::time::timeout(LONG, both_ways(a, b, 60)).await.expect("a wakeup was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_split_into_two_tasks_loses_no_wakeup_on_two_threads() {
    for width in [1, 5, 50] {
        let (a, b) = tokio::io::duplex(width);
        let config = no_timeouts();
        let a =
            WebSocket::from_connection(wrap(a), connection(Role::Client, &config), RecvBuf::new());
        let b =
            WebSocket::from_connection(wrap(b), connection(Role::Server, &config), RecvBuf::new());
        tokio::time::timeout(LONG, both_ways(a, b, 100)).await.expect("a wakeup was lost");
    }
}

#[test]
fn a_pending_writer_does_not_take_the_readers_wakeup() {
    // The reader came first, when nothing showed yet that there are two tasks.
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.room(0);
    far.push(&to(role, PING, b"p"));
    let (_, writer) = Wakes::new();
    let (reads, reader) = Wakes::new();
    assert!(Pin::new(&mut ws).poll_next(&mut Context::from_waker(&reader)).is_pending());
    let mut cx = Context::from_waker(&writer);
    assert!(Sink::<Message>::poll_flush(Pin::new(&mut ws), &mut cx).is_pending());
    far.room(usize::MAX);
    assert_eq!(reads.count(), 1, "the reader waits and was not woken");
}

#[test]
fn a_pending_reader_does_not_take_the_writers_wakeup() {
    // A stream wakes the waker that it was given last. Reader and writer both wait for room.
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.room(0);
    let (writes, writer) = Wakes::new();
    let (_, reader) = Wakes::new();
    Pin::new(&mut ws).start_send("x".into()).unwrap();
    assert!(
        Sink::<Message>::poll_flush(Pin::new(&mut ws), &mut Context::from_waker(&writer))
            .is_pending()
    );
    assert!(Pin::new(&mut ws).poll_next(&mut Context::from_waker(&reader)).is_pending());
    far.room(usize::MAX);
    assert_eq!(writes.count(), 1, "the writer waits and was not woken");
    assert!(ws.next().now_or_never().is_none());
}
