//! What one half owes the other: deadlines, ends, room, and no lock that makes it wait.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bowline::{Config, End, Error, Refusal, Role, Timeout};
use futures_util::{Sink, SinkExt};

use super::adapter::*;
use crate::support::stream::{Far, Wakes, cancelled, finish, poll};
use crate::support::*;

const ZERO: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(20);

#[track_caller]
fn assert_gave_up<T>(result: Result<T, Error>) {
    match result {
        Err(Error::Ended(End::TimedOut(Timeout::Send))) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the peer was not given up"),
    }
}

/// Both halves, the receiving one of which has been waiting.
fn waiting(role: Role, config: &Config) -> (SendHalf<Io>, RecvHalf<Io>, Far) {
    let (ws, far) = open(role, config);
    let (sender, mut receiver) = ws.split();
    assert!(poll(pin!(receiver.recv())).is_pending());
    (sender, receiver, far)
}

#[test]
fn a_receiving_half_that_waits_learns_what_was_fed_and_gives_up_a_peer_that_takes_nothing() {
    for role in ROLES {
        for how in ["feed", "part", "sink"] {
            let (ws, far) = open(role, &Config::default().send_timeout(ZERO));
            let (mut sender, mut receiver) = ws.split();
            let (wakes, waker) = Wakes::new();
            let cx = &mut Context::from_waker(&waker);
            assert!(pin!(receiver.recv()).poll(cx).is_pending());
            far.room(0);
            match how {
                "feed" => finish(sender.feed("fed")).unwrap(),
                "part" => finish(sender.send_part("fed", false)).unwrap(),
                _ => Pin::new(&mut sender).start_send("fed".into()).unwrap(),
            }
            assert_eq!(wakes.count(), 1, "{how}: it is told");
            assert_gave_up(finish(receiver.recv()));
        }
    }
}

#[test]
fn telling_the_receiving_half_costs_one_wake_and_writes_nothing() {
    let (ws, far) = open(Role::Server, &Config::default());
    let (mut sender, mut receiver) = ws.split();
    let (wakes, waker) = Wakes::new();
    let cx = &mut Context::from_waker(&waker);
    assert!(pin!(receiver.recv()).poll(cx).is_pending());
    finish(sender.feed("first")).unwrap();
    assert!(pin!(receiver.recv()).poll(cx).is_pending());
    for _ in 0..100 {
        finish(sender.feed("more")).unwrap();
    }
    assert_eq!((wakes.count(), far.writes()), (1, 0));
    finish(sender.flush()).unwrap();
    assert_eq!((far.writes(), far.frames(Role::Server).len()), (1, 101));
}

#[test]
fn a_send_that_was_dropped_is_minded_by_the_receiving_half() {
    for role in ROLES {
        for while_waiting in [true, false] {
            let config = Config::default().send_timeout(SHORT);
            let (ws, far) = open(role, &config);
            let (mut sender, mut receiver) = ws.split();
            far.room(0);
            let result = block_on(async {
                let mut recv = Box::pin(receiver.recv());
                if while_waiting {
                    assert!(poll(recv.as_mut()).is_pending());
                }
                assert!(cancelled(sender.send(vec![7; 1000]), 1).is_none());
                recv.await
            });
            assert_gave_up(result);
        }
        // And if the peer reads after all, it gets the message.
        let (mut sender, mut receiver, far) = waiting(role, &no_timeouts());
        far.room(0);
        assert!(cancelled(sender.send("dropped"), 1).is_none());
        assert!(poll(pin!(receiver.recv())).is_pending());
        far.room(usize::MAX);
        assert!(poll(pin!(receiver.recv())).is_pending());
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "dropped".into())]);
    }
}

#[test]
fn a_peer_that_was_given_up_is_not_received_from_any_more() {
    for role in ROLES {
        for message in [to(role, TEXT, b"more"), to(role, PING, b""), to(role, BINARY, &[1; 9000])] {
            for by_broadcast in [false, true] {
                let (ws, far) = open(role, &Config::default().send_timeout(ZERO));
                far.change(|s| (s.endless, s.room) = (message.repeat(20), 0));
                let (mut sender, mut receiver) = ws.split();
                if by_broadcast {
                    let group = Broadcast::with_high_water_mark(SlowPeer::Drop, 0);
                    let _member = group.join(&sender);
                    finish(group.send("news"));
                    assert_eq!(finish(group.send("news")).dropped, 1);
                } else {
                    assert_gave_up(finish(sender.send("x")));
                }
                let result = (0..100_000).find_map(|_| match finish(receiver.recv()) {
                    Ok(Some(_)) => None,
                    other => Some(other),
                });
                assert_gave_up(result.expect("it goes on being received"));
                assert!(far.lock().read_bytes < 1 << 20);
            }
        }
    }
}

#[test]
fn close_is_ok_a_second_time_and_after_the_peers_close() {
    for role in ROLES {
        let (mut sender, mut receiver, far) = waiting(role, &no_timeouts());
        for _ in 0..3 {
            assert_eq!(finish(sender.close(1000, "")).unwrap(), None);
        }
        assert_eq!(far.frames(role).len(), 1);
        far.push(&close_to(role, 1000));
        far.eof();
        assert_eq!(finish(receiver.recv()).unwrap(), None);
        assert_eq!(finish(sender.close(1000, "")).unwrap(), None);
        finish(SinkExt::<bowline::Message>::close(&mut sender)).unwrap();

        let (mut sender, mut receiver, far) = waiting(role, &no_timeouts());
        far.push(&close_to(role, 1001));
        far.eof();
        assert_eq!(finish(receiver.recv()).unwrap(), None);
        assert_eq!(finish(sender.close(1000, "")).unwrap(), None);
        drop(receiver);
        assert_eq!(finish(sender.close(1000, "")).unwrap(), Some(End::Unconfirmed));
        // What cannot be sent is still refused.
        let (mut sender, _receiver, _far) = waiting(role, &no_timeouts());
        match finish(sender.close(1006, "")) {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::CloseCode),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_close_after_the_receiving_half_is_gone_waits_no_longer_than_the_close_timeout() {
    for role in ROLES {
        let (sender, receiver, far) = waiting(role, &Config::default().close_timeout(ZERO));
        let mut sender = sender;
        drop(receiver);
        far.change(|s| s.shut_pending = true);
        assert_eq!(cancelled(sender.close(1000, ""), 10).unwrap().unwrap(), Some(End::Unconfirmed));
        assert_eq!(close_code(&far.frames(role)[0]), 1000);
    }
    // A stream that takes nothing has the send timeout.
    let config = Config::default().close_timeout(None).send_timeout(ZERO);
    let (mut sender, receiver, far) = waiting(Role::Server, &config);
    drop(receiver);
    far.room(0);
    assert_gave_up(cancelled(sender.close(1000, ""), 10).unwrap());
}

#[test]
fn flush_fails_once_and_from_then_on_for_what_was_thrown_away() {
    for role in ROLES {
        for split in [false, true] {
            let (mut ws, far) = open(role, &no_timeouts());
            far.room(0);
            let flushes: [Result<(), Error>; 3] = if split {
                let (mut sender, mut receiver) = ws.split();
                finish(sender.feed("lost")).unwrap();
                far.eof();
                assert!(matches!(finish(receiver.recv()), Err(Error::Ended(End::PeerGone(_)))));
                [0; 3].map(|_| finish(sender.flush()))
            } else {
                finish(ws.feed("lost")).unwrap();
                far.eof();
                assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))));
                [0; 3].map(|_| finish(ws.flush()))
            };
            for flushed in flushes {
                assert!(matches!(flushed, Err(Error::Io(_))), "{role:?} {split}: {flushed:?}");
            }
        }
        // With nothing lost there is nothing to tell.
        let (mut sender, mut receiver, far) = waiting(role, &no_timeouts());
        finish(sender.send("kept")).unwrap();
        far.eof();
        assert!(finish(receiver.recv()).is_err());
        finish(sender.flush()).unwrap();
    }
}

#[test]
fn a_send_waits_when_a_broadcast_takes_its_room() {
    for feeds in [false, true] {
        let role = Role::Server;
        let (mut sender, mut receiver, far) = waiting(role, &no_timeouts().max_send_queue(100));
        let group = Broadcast::with_high_water_mark(SlowPeer::Skip, 1000);
        let _member = group.join(&sender);
        far.room(0);
        finish(sender.feed(vec![1; 200])).unwrap();
        let mut waits: Pin<Box<dyn Future<Output = Result<(), Error>>>> =
            if feeds { Box::pin(sender.feed("after")) } else { Box::pin(sender.send("after")) };
        assert!(poll(waits.as_mut()).is_pending());
        // The receiving half makes room, and the broadcast is the first to take it.
        far.room(204);
        assert!(poll(pin!(receiver.recv())).is_pending());
        assert_eq!(finish(group.send("b".repeat(150))).sent, 1);
        assert!(poll(waits.as_mut()).is_pending());
        far.room(usize::MAX);
        finish(waits).unwrap();
        finish(sender.flush()).unwrap();
        let frames = far.frames(role);
        assert_eq!((frames[1].payload.len(), &frames[2].payload[..]), (150, &b"after"[..]));
    }
}

#[test]
fn a_sink_that_said_it_is_ready_takes_the_message_although_a_broadcast_took_the_room() {
    let role = Role::Server;
    let (mut sender, _receiver, far) = waiting(role, &no_timeouts().max_send_queue(100));
    let group = Broadcast::with_high_water_mark(SlowPeer::Skip, 1000);
    let _member = group.join(&sender);
    far.room(0);
    let ready = |sender: &mut SendHalf<Io>| {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        Sink::<bowline::Message>::poll_ready(Pin::new(sender), cx)
    };
    assert!(matches!(ready(&mut sender), Poll::Ready(Ok(()))));
    assert_eq!(finish(group.send("b".repeat(150))).sent, 1);
    Pin::new(&mut sender).start_send("promised".into()).unwrap();
    assert!(ready(&mut sender).is_pending());
    // Only what was promised has a place; the next is refused.
    assert!(Pin::new(&mut sender).start_send("not promised".into()).is_err());
    far.room(usize::MAX);
    finish(SinkExt::<bowline::Message>::close(&mut sender)).unwrap();
    let frames = far.frames(role);
    assert_eq!((frames[0].payload.len(), &frames[1].payload[..]), (150, &b"promised"[..]));
    assert_eq!(close_code(&frames[2]), 1000);
}

#[test]
fn no_lock_of_a_sender_is_held_while_the_receiving_half_reads() {
    for role in ROLES {
        let (ws, far) = open(role, &no_timeouts());
        let (sender, mut receiver) = ws.split();
        let sender = Arc::new(Mutex::new(sender));
        let asked = Arc::clone(&sender);
        // Runs in the middle of each read of the stream.
        far.lock().on_read = Some(Box::new(move || {
            let sender = Arc::clone(&asked);
            let queued = in_time("queued", move || sender.lock().unwrap().queued());
            assert_eq!(queued, 0);
        }));
        far.push(&to(role, BINARY, &pattern(300_000)));
        assert_eq!(finish(receiver.recv()).unwrap().unwrap().as_bytes().len(), 300_000);
        assert!(far.lock().reads > 1);
    }
}

#[test]
fn a_broadcast_reaches_the_members_of_each_adapter() {
    let group = Broadcast::new(SlowPeer::Skip);
    let mut members = Vec::new();
    for role in ROLES {
        let (sender, receiver, far) = waiting(role, &no_timeouts());
        members.push((group.join(&sender), sender, receiver, far, role));
    }
    assert_eq!((group.len(), finish(group.send("news")).sent), (2, 2));
    for (_, _, _, far, role) in &members {
        assert_eq!(shorthand(&far.frames(*role)), [(TEXT, "news".into())]);
    }
}
