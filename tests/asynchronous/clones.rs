//! Clones of a sending half: none hangs, none mixes its message with another's, and all learn what happened.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline::{Config, End, Error, Message, Refusal, Role, Timeout};
use futures_util::{Sink, SinkExt};

use super::adapter::*;
use crate::support::stream::{Far, Wakes, cancelled, finish, poll};
use crate::support::*;

const ROLE: Role = Role::Server;

fn halves(role: Role, config: &Config) -> (SendHalf<Io>, RecvHalf<Io>, Far) {
    let (ws, far) = open(role, config);
    let (sender, receiver) = ws.split();
    (sender, receiver, far)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Send(error)) => error.refusal(),
        other => panic!("{other:?}"),
    }
}

fn assert_gave_up(result: Result<(), Error>) {
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{result:?}");
}

/// Polls as a task of its own, whose waker counts.
fn poll_as<F: Future + ?Sized>(waker: &Waker, future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn each_clone_that_waits_for_room_or_for_a_flush_is_woken_and_goes_on() {
    for role in ROLES {
        for for_room in [false, true] {
            let (mut first, _receiver, far) = halves(role, &no_timeouts().max_send_queue(100));
            let mut others = [first.clone(), first.clone()];
            far.room(0);
            if for_room {
                finish(first.feed(vec![0; 100])).unwrap();
            }
            let [second, third] = &mut others;
            let sends = [first.send("1"), second.send("2"), third.send("3")];
            let mut sends = sends.map(Box::pin);
            let wakes: Vec<_> = (0..3).map(|_| Wakes::new()).collect();
            for (send, (_, waker)) in sends.iter_mut().zip(&wakes) {
                assert!(poll_as(waker, send.as_mut()).is_pending());
            }
            far.room(usize::MAX);
            for (count, _) in &wakes {
                assert_eq!(count.count(), 1, "for room: {for_room}");
            }
            for (send, (_, waker)) in sends.iter_mut().zip(&wakes) {
                assert!(matches!(poll_as(waker, send.as_mut()), Poll::Ready(Ok(()))));
            }
            let texts = payloads(&far.frames(role), TEXT);
            assert_eq!(texts, [b"1", b"2", b"3"]);
        }
    }
}

#[test]
fn a_clone_that_is_dropped_while_it_waits_strands_no_other() {
    for (dropped, keeps_half) in [(0, false), (1, false), (0, true), (1, true)] {
        let (first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(10));
        let mut clones = [first.clone(), first];
        far.room(0);
        finish(clones[0].feed("0123456789")).unwrap();
        let (wakes, waker) = Wakes::new();
        let (dead, dead_waker) = Wakes::new();
        let [a, b] = &mut clones;
        let (gone, stays) = if dropped == 0 { (a, b) } else { (b, a) };
        let mut send = Box::pin(stays.send("waits"));
        {
            // The last that waits is the one whose waker is the newest.
            let mut lost = pin!(gone.send("never"));
            assert!(poll_as(&waker, send.as_mut()).is_pending());
            assert!(poll_as(&dead_waker, lost.as_mut()).is_pending());
        }
        if !keeps_half {
            // A half that is gone is not woken, and keeps no task.
            let other = gone.clone();
            drop(std::mem::replace(gone, other));
            assert_eq!(Arc::strong_count(&dead), 2);
        }
        far.room(usize::MAX);
        assert_eq!((wakes.count(), dead.count()), (1, usize::from(keeps_half)));
        assert!(matches!(poll_as(&waker, send.as_mut()), Poll::Ready(Ok(()))));
        assert_eq!(payloads(&far.frames(ROLE), TEXT), [&b"0123456789"[..], b"waits"]);
    }
}

#[test]
fn a_future_that_another_task_goes_on_with_wakes_that_task() {
    let (first, _receiver, far) = halves(ROLE, &no_timeouts());
    let mut clone = first.clone();
    far.room(0);
    let mut send = pin!(clone.send("x"));
    let ((old, old_waker), (new, new_waker)) = (Wakes::new(), Wakes::new());
    assert!(poll_as(&old_waker, send.as_mut()).is_pending());
    assert!(poll_as(&new_waker, send.as_mut()).is_pending());
    far.room(usize::MAX);
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn each_clone_learns_that_the_peer_takes_nothing() {
    for role in ROLES {
        // Nobody receives, so only the timer of the sending side can tell.
        let config = Config::default().send_timeout(Duration::from_millis(20));
        let (mut first, _receiver, far) = halves(role, &config.max_send_queue(100));
        let (mut second, mut third, mut fourth) = (first.clone(), first.clone(), first.clone());
        far.room(0);
        let ended = block_on(async {
            let first = start_task(async move { first.send(vec![0; 100]).await });
            let second = start_task(async move { second.send("no room").await });
            let third = start_task(async move { third.flush().await });
            // This one waits last, and goes before the time is over.
            let dropped = start_task(async move { cancelled(fourth.send("dropped"), 1).is_none() });
            assert!(dropped.await);
            [first.await, second.await, third.await]
        });
        let [first, second, third] = ended;
        assert_gave_up(first);
        assert_gave_up(third);
        // Nothing of this one was sent.
        match second {
            Err(Error::Send(error)) if error.refusal() == Refusal::Closed => {
                assert_eq!(error.into_message(), Some("no room".into()));
            }
            other => assert_gave_up(other),
        }
    }
}

/// Polls the sink to the end as one task.
fn ready(sender: &mut SendHalf<Io>) -> Poll<Result<(), Error>> {
    let cx = &mut Context::from_waker(Waker::noop());
    Sink::<Message>::poll_ready(Pin::new(sender), cx)
}

fn flush(sender: &mut SendHalf<Io>) -> Poll<Result<(), Error>> {
    let cx = &mut Context::from_waker(Waker::noop());
    Sink::<Message>::poll_flush(Pin::new(sender), cx)
}

#[test]
fn each_sink_that_said_it_is_ready_takes_its_message() {
    for role in ROLES {
        let (mut first, _receiver, far) = halves(role, &no_timeouts().max_send_queue(100));
        let (mut second, mut third) = (first.clone(), first.clone());
        far.room(0);
        for sender in [&mut first, &mut second, &mut third] {
            assert!(ready(sender).is_ready());
        }
        Pin::new(&mut first).start_send(vec![b'1'; 100].into()).unwrap();
        // Neither has room, and both have the promise.
        Pin::new(&mut second).start_send("2".into()).unwrap();
        Pin::new(&mut third).start_send("3".into()).unwrap();
        for sender in [&mut first, &mut second, &mut third] {
            assert!(ready(sender).is_pending(), "there is no new promise while a message is held");
            assert!(flush(sender).is_pending());
        }
        // A promise holds once, and the clone of a sink has none.
        let late = Pin::new(&mut second).start_send("not promised".into());
        assert_eq!(refusal(late), Refusal::QueueFull);
        // When the queue is written, those that are held follow in their order.
        far.room(usize::MAX);
        assert!(matches!(flush(&mut third), Poll::Ready(Ok(()))));
        assert_eq!(payloads(&far.frames(role), TEXT), [b"2", b"3"]);
        assert!(matches!(flush(&mut second), Poll::Ready(Ok(()))));
    }
}

#[test]
fn a_clone_of_a_sink_that_is_ready_has_no_promise() {
    let (mut first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(10));
    far.room(0);
    assert!(ready(&mut first).is_ready());
    let mut clone = first.clone();
    finish(clone.feed("0123456789")).unwrap();
    assert_eq!(refusal(Pin::new(&mut clone).start_send("x".into())), Refusal::QueueFull);
    Pin::new(&mut first).start_send("promised".into()).unwrap();
}

/// Whether the stream took a text of a server, whole.
fn wrote(far: &Far, text: &str) -> bool {
    far.written().windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

#[test]
fn a_sink_whose_message_is_held_is_not_flushed_before_it_has_left() {
    let (mut first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(100));
    let mut other = first.clone();
    far.room(0);
    assert!(ready(&mut first).is_ready());
    finish(other.feed(vec![0; 100])).unwrap();
    Pin::new(&mut first).start_send("held".into()).unwrap();
    // The other clone adds as much as leaves, so the queue is never empty.
    for _ in 0..20 {
        far.room(60);
        assert!(flush(&mut other).is_pending() || flush(&mut first).is_pending());
        let is_flushed = flush(&mut first).is_ready();
        if is_flushed {
            assert!(wrote(&far, "held"));
            return;
        }
        if ready(&mut other).is_ready() {
            Pin::new(&mut other).start_send(vec![0; 60].into()).unwrap();
        }
    }
    panic!("its message left long ago");
}

#[test]
fn a_promised_message_that_cannot_be_sent_comes_back() {
    // Another clone begins a message in parts, and takes the room for it.
    let (mut first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(100));
    let mut other = first.clone();
    far.room(0);
    assert!(ready(&mut first).is_ready());
    finish(other.send_part(&[1; 100][..], false)).unwrap();
    match Pin::new(&mut first).start_send("between".into()) {
        Err(Error::Send(error)) => assert_eq!(error.into_message(), Some("between".into())),
        result => panic!("{result:?}"),
    }
    far.room(usize::MAX);
    finish(other.send_part(&[2][..], true)).unwrap();
    assert_eq!(far.frames(ROLE).len(), 2);
}

#[test]
fn what_a_sink_took_goes_before_the_close_of_another_clone() {
    for by_sink in [false, true] {
        let (mut first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(100));
        let mut other = first.clone();
        far.room(0);
        assert!(ready(&mut first).is_ready());
        finish(other.feed(vec![0; 100])).unwrap();
        Pin::new(&mut first).start_send("taken".into()).unwrap();
        let mut close: Pin<Box<dyn Future<Output = Result<(), Error>>>> = if by_sink {
            Box::pin(SinkExt::<Message>::close(&mut other))
        } else {
            Box::pin(async { other.close(1000, "").await.map(drop) })
        };
        assert!(poll(close.as_mut()).is_pending());
        far.room(usize::MAX);
        finish(close).unwrap();
        let frames = far.frames(ROLE);
        assert_eq!(frames[1].payload, b"taken");
        assert_eq!(close_code(&frames[2]), 1000);
    }
}

#[test]
fn a_message_in_parts_has_nothing_of_another_clone_in_it() {
    for role in ROLES {
        let (mut first, mut receiver, far) = halves(role, &no_timeouts());
        let mut other = first.clone();
        finish(first.send_part("a", false)).unwrap();
        assert_eq!(refusal(finish(other.send("x"))), Refusal::MessageOpen);
        assert_eq!(refusal(finish(other.feed("x"))), Refusal::MessageOpen);
        assert_eq!(refusal(finish(other.send_part("x", false))), Refusal::MessageOpen);
        assert_eq!(refusal(finish(other.send_part("x", true))), Refusal::MessageOpen);
        // A clone of the half that is in the middle of it is another half too.
        assert_eq!(refusal(finish(first.clone().send_part("x", true))), Refusal::MessageOpen);
        finish(other.ping(b"p")).unwrap();
        finish(first.send_part("b", true)).unwrap();
        finish(other.send_part("c", false)).unwrap();
        assert_eq!(refusal(finish(first.send_part("x", true))), Refusal::MessageOpen);
        finish(other.send_part("d", true)).unwrap();
        finish(first.send("e")).unwrap();
        // One that is dropped in the middle leaves a message that nobody can end.
        finish(other.send_part("f", false)).unwrap();
        drop(other);
        assert_eq!(refusal(finish(first.clone().send_part("x", true))), Refusal::MessageOpen);
        assert_eq!(finish(first.close(1001, "")).unwrap(), None);
        let sent: Vec<_> = far.frames(role).iter().map(|f| (f.opcode, f.fin)).collect();
        let parts = [(TEXT, false), (PING, true), (CONTINUATION, true), (TEXT, false)];
        let rest = [(CONTINUATION, true), (TEXT, true), (TEXT, false), (CLOSE, true)];
        assert_eq!(sent, [parts, rest].concat());
        far.push(&close_to(role, 1001));
        far.eof();
        assert_eq!(finish(receiver.recv()).unwrap(), None);
    }
}

#[test]
fn a_send_is_done_once_its_bytes_have_left_although_others_go_on() {
    // Another clone fills the queue whenever there is room, so the queue is never empty.
    for how in ["send", "flush", "sink"] {
        let (mut first, _receiver, far) = halves(ROLE, &no_timeouts().max_send_queue(300));
        let mut other = first.clone();
        far.room(0);
        finish(other.feed(vec![0; 200])).unwrap();
        if how == "flush" {
            finish(first.feed("waited for")).unwrap();
        } else if how == "sink" {
            assert!(ready(&mut first).is_ready());
            Pin::new(&mut first).start_send("waited for".into()).unwrap();
        }
        let mut waits: Pin<Box<dyn Future<Output = Result<(), Error>>>> = match how {
            "send" => Box::pin(first.send("waited for")),
            "flush" => Box::pin(first.flush()),
            _ => Box::pin(SinkExt::<Message>::flush(&mut first)),
        };
        let mut turns = 0;
        while poll(waits.as_mut()).is_pending() {
            let feed = pin!(other.feed(vec![1; 100]));
            assert!(feed.poll(&mut Context::from_waker(Waker::noop())).is_ready());
            far.room(104);
            turns += 1;
            assert!(turns < 20, "{how}: it waits for what came after it");
        }
        drop(waits);
        assert!(first.queued() > 0);
        assert!(wrote(&far, "waited for"), "{how}");
    }
}

#[test]
fn a_send_is_not_done_before_the_stream_has_flushed_its_bytes() {
    let (mut first, _receiver, far) = halves(ROLE, &no_timeouts());
    let mut other = first.clone();
    far.lock().flush_pending = true;
    let mut send = pin!(first.send("held back"));
    for _ in 0..5 {
        assert!(poll(send.as_mut()).is_pending());
        assert!(cancelled(other.flush(), 1).is_none());
    }
    far.change(|s| s.flush_pending = false);
    finish(send).unwrap();
}

#[test]
fn close_is_ok_for_each_clone() {
    for role in ROLES {
        let (mut first, mut receiver, far) = halves(role, &no_timeouts());
        let mut other = first.clone();
        assert_eq!(finish(first.close(1000, "")).unwrap(), None);
        assert_eq!(finish(other.close(1001, "again")).unwrap(), None);
        assert_eq!(finish(first.clone().close(1001, "")).unwrap(), None);
        finish(SinkExt::<Message>::close(&mut other)).unwrap();
        assert_eq!(far.frames(role).len(), 1);
        assert_eq!(refusal(finish(other.send("late"))), Refusal::Closed);
        far.push(&close_to(role, 1000));
        far.eof();
        assert_eq!(finish(receiver.recv()).unwrap(), None);
        drop(receiver);
        for sender in [&mut first, &mut other] {
            assert_eq!(finish(sender.close(1000, "")).unwrap(), Some(End::Unconfirmed));
        }
    }
}

#[test]
fn dropping_a_clone_closes_nothing_and_the_last_half_closes_the_socket() {
    for role in ROLES {
        let (first, receiver, far) = halves(role, &no_timeouts());
        let mut other = first.clone();
        drop(first);
        finish(other.send("still open")).unwrap();
        drop(receiver);
        let last = other.clone();
        drop(other);
        assert_eq!(far.lock().handles, 1);
        assert!(!far.lock().shut);
        drop(last);
        assert_eq!(far.lock().handles, 0);
    }
}

#[test]
fn messages_of_eight_tasks_arrive_whole_and_in_their_order() {
    const TASKS: u8 = 8;
    const MESSAGES: u8 = 200;
    for role in ROLES {
        let (ours, theirs) = tokio::io::duplex(1000);
        let config = Config::default().max_send_queue(2000);
        let near = over(ours, role, &config);
        let other_role = if role == Role::Server { Role::Client } else { Role::Server };
        let mut far = over(theirs, other_role, &config);
        let (sender, mut receiver) = near.split();
        let next = block_on(async {
            let receiving = start_task(async move { receiver.recv().await.map(drop) });
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let mut sender = sender.clone();
                    start_task(async move {
                        for i in 0..MESSAGES {
                            let message = [[task, i]; 60].concat();
                            match i % 4 {
                                0 => sender.feed(message).await.unwrap(),
                                1 => SinkExt::send(&mut sender, message.into()).await.unwrap(),
                                _ => sender.send(message).await.unwrap(),
                            }
                        }
                        sender.flush().await.unwrap();
                    })
                })
                .collect();
            let mut next = [0; TASKS as usize];
            for _ in 0..u32::from(TASKS) * u32::from(MESSAGES) {
                let message = far.recv().await.unwrap().unwrap();
                let &[task, i] = message.as_bytes().first_chunk().unwrap();
                assert_eq!(message.as_bytes(), [[task, i]; 60].concat(), "torn");
                assert_eq!(i, std::mem::replace(&mut next[usize::from(task)], i + 1));
            }
            for task in tasks {
                task.await;
            }
            drop(far);
            let _ = receiving.await;
            next
        });
        assert_eq!(next, [MESSAGES; TASKS as usize]);
    }
}

/// Over a stream of tokio's.
fn over<S>(stream: S, role: Role, config: &Config) -> WebSocket<Wrapped<S>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    WebSocket::from_connection(wrap(stream), connection(role, config), bowline::RecvBuf::new())
}
