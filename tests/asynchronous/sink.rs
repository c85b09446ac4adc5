//! What leaves when, and the combinators of the futures ecosystem.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use bowline::{Config, Message, Refusal, Role};
use futures_util::stream::FusedStream;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use super::adapter::open;
use crate::support::stream::{Wakes, finish, poll};
use crate::support::*;

const ROLE: Role = Role::Server;

#[test]
fn a_large_message_leaves_with_its_header_in_one_write() {
    let (mut ws, far) = open(ROLE, &no_timeouts());
    finish(ws.send(pattern(100_000))).unwrap();
    assert_eq!(far.writes(), 1);
    assert_eq!(far.frames(ROLE)[0].payload, pattern(100_000));
}

#[test]
fn what_a_half_fed_waits_until_sixty_four_kib_are_queued() {
    let (ws, far) = open(ROLE, &no_timeouts());
    let (mut sender, _receiver) = ws.split();
    finish(sender.feed(pattern(60_000))).unwrap();
    assert_eq!((far.writes(), sender.queued()), (0, 60_004));
    finish(sender.feed(pattern(10_000))).unwrap();
    assert_eq!((far.frames(ROLE).len(), sender.queued()), (2, 0));
}

#[test]
fn a_feed_waits_only_where_there_is_no_room() {
    // The peer takes nothing, and there is room in the queue.
    let (mut ws, far) = open(ROLE, &no_timeouts());
    far.room(0);
    assert!(poll(pin!(ws.feed(pattern(100_000)))).is_ready());
    let (ws, far) = open(ROLE, &no_timeouts());
    let (mut sender, _receiver) = ws.split();
    far.room(0);
    assert!(poll(pin!(sender.feed(pattern(100_000)))).is_ready());
}

#[test]
fn parts_leave_from_sixteen_kib_on_and_with_the_last() {
    macro_rules! check {
        ($sends:expr, $far:expr) => {
            let (mut sends, far) = ($sends, $far);
            let part = pattern(10_000);
            finish(sends.send_part(&part[..], false)).unwrap();
            assert_eq!(far.writes(), 0);
            finish(sends.send_part(&part[..], false)).unwrap();
            assert_eq!((far.frames(ROLE).len(), sends.queued()), (2, 0));
            finish(sends.send_part(&part[..], false)).unwrap();
            assert_eq!(far.frames(ROLE).len(), 2);
            finish(sends.send_part(&b""[..], true)).unwrap();
            assert_eq!(far.frames(ROLE).len(), 4);
        };
    }
    let (ws, far) = open(ROLE, &no_timeouts());
    check!(ws, far);
    let (ws, far) = open(ROLE, &no_timeouts());
    let (sender, _receiver) = ws.split();
    check!(sender, far);
}

#[test]
fn a_stream_is_terminated_by_a_clean_end_too() {
    let (mut ws, far) = open(ROLE, &no_timeouts());
    far.push(&close_to(ROLE, 1000));
    assert!(!ws.is_terminated());
    assert!(finish(ws.next()).is_none());
    assert!(ws.is_terminated());
}

#[test]
fn closing_the_sink_of_a_half_sends_close() {
    let (ws, far) = open(ROLE, &no_timeouts());
    let (mut sender, _receiver) = ws.split();
    far.stutter(1);
    for _ in 0..2 {
        finish(SinkExt::<Message>::close(&mut sender)).unwrap();
        assert_eq!(far.frames(ROLE).len(), 1);
        assert_eq!(close_code(&far.frames(ROLE)[0]), 1000);
    }
}

#[test]
fn whichever_way_the_sink_waits_the_stream_does_not_take_its_wakeup() {
    for what in ["ready", "close"] {
        let (mut ws, far) = open(ROLE, &no_timeouts().max_send_queue(10));
        far.room(0);
        Pin::new(&mut ws).start_send("0123456789".into()).unwrap();
        let (writes, writer) = Wakes::new();
        let (reads, reader) = Wakes::new();
        let mut cx = Context::from_waker(&writer);
        assert!(
            match what {
                "ready" => Sink::<Message>::poll_ready(Pin::new(&mut ws), &mut cx),
                _ => Sink::<Message>::poll_close(Pin::new(&mut ws), &mut cx),
            }
            .is_pending()
        );
        let before = writes.count();
        assert!(Pin::new(&mut ws).poll_next(&mut Context::from_waker(&reader)).is_pending());
        far.room(usize::MAX);
        assert!(writes.count() > before, "{what}: the sink waits and was not woken");
        assert!(reads.count() > 0, "{what}");
    }
}

#[test]
fn a_task_that_another_took_over_from_is_not_woken_instead_of_it() {
    let (ws, far) = open(ROLE, &no_timeouts());
    let (mut sender, _receiver) = ws.split();
    far.room(0);
    let mut send = pin!(sender.send("x"));
    let (wakes, waker) = Wakes::new();
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    far.room(usize::MAX);
    assert_eq!(wakes.count(), 1);
}

#[test]
fn try_feed_waits_for_nothing_and_gives_back_what_has_no_room() {
    macro_rules! check {
        ($sends:expr, $far:expr) => {
            let (mut sends, far) = ($sends, $far);
            let mut queued = 0;
            let refused = loop {
                match sends.try_feed(pattern(queued)) {
                    Ok(()) => queued += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!((far.writes(), refused.refusal()), (0, Refusal::QueueFull));
            assert_eq!(refused.into_message(), Some(pattern(queued).into()));
            finish(sends.ready()).unwrap();
            sends.try_feed(pattern(queued)).unwrap();
            finish(sends.flush()).unwrap();
            let sent = payloads(&far.frames(ROLE), BINARY);
            assert_eq!(sent, (0..=queued).map(pattern).collect::<Vec<_>>());
            let too_long = Message::Ping(vec![0; 126].into());
            let refused = sends.try_feed(too_long.clone()).unwrap_err();
            assert_eq!(refused.refusal(), Refusal::ControlTooLong);
            assert_eq!(refused.into_message(), Some(too_long));
        };
    }
    let config = no_timeouts().max_send_queue(100_000);
    let (ws, far) = open(ROLE, &config);
    check!(ws, far);
    let (ws, far) = open(ROLE, &config);
    let (sender, _receiver) = ws.split();
    check!(sender, far);
}

#[test]
fn try_feed_tells_the_receiving_half_and_goes_after_what_a_sink_took() {
    let (ws, far) = open(ROLE, &Config::default().send_timeout(Duration::ZERO));
    let (mut sender, mut receiver) = ws.split();
    let (wakes, waker) = Wakes::new();
    let mut recv = pin!(receiver.recv());
    assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    far.room(0);
    sender.try_feed("fed").unwrap();
    assert_eq!(wakes.count(), 1);
    // It watches the deadline of what was fed.
    assert!(finish(recv).is_err());

    let (ws, far) = open(ROLE, &no_timeouts().max_send_queue(10));
    let (mut sender, _receiver) = ws.split();
    let mut other = sender.clone();
    far.room(0);
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Sink::<Message>::poll_ready(Pin::new(&mut sender), cx).is_ready());
    other.try_feed("0123456789").unwrap();
    Pin::new(&mut sender).start_send("held".into()).unwrap();
    assert_eq!(other.try_feed("after").unwrap_err().refusal(), Refusal::QueueFull);
    far.room(6);
    assert!(poll(pin!(other.flush())).is_pending());
    // There is room, and what the sink took goes first.
    assert_eq!(other.try_feed("after").unwrap_err().refusal(), Refusal::QueueFull);
    far.room(8);
    assert!(poll(pin!(other.flush())).is_pending());
    other.try_feed("after").unwrap();
    far.room(usize::MAX);
    finish(sender.flush()).unwrap();
    let sent = payloads(&far.frames(ROLE), TEXT);
    assert_eq!(sent, [&b"0123456789"[..], b"held", b"after"]);
}
