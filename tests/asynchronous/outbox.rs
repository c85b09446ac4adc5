//! `send_from`: what waits is not lost, not doubled and not reordered, when the socket dies or the future is dropped.

use std::io::ErrorKind;

use bowline::{Config, Error, Message, Outbox, Refusal, Role};

use super::adapter::open;
use crate::support::stream::{cancelled, finish};
use crate::support::*;

fn texts(range: std::ops::Range<usize>) -> Vec<Message> {
    range.map(|i| format!("message {i}").into()).collect()
}

fn outbox(messages: impl IntoIterator<Item = Message>) -> Outbox {
    let mut outbox = Outbox::new();
    for message in messages {
        outbox.push(message).unwrap();
    }
    outbox
}

fn sent(frames: &[Frame]) -> Vec<Message> {
    shorthand(frames).into_iter().map(|(_, text)| text.into()).collect()
}

#[test]
fn all_that_waits_leaves_in_order() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        let mut outbox = outbox(texts(0..100));
        finish(ws.send_from(&mut outbox)).unwrap();
        assert!(outbox.is_empty());
        assert_eq!((outbox.handed_over(), ws.queued()), (100, 0));
        // The first flush had nothing to write.
        assert_eq!(far.writes(), 1);
        assert_eq!(sent(&far.frames(role)), texts(0..100));
    }
}

/// At each poll, with a stream that takes few bytes, and new messages in between.
#[test]
fn a_dropped_future_loses_and_doubles_nothing() {
    for role in ROLES {
        for polls in 1..40 {
            let (mut ws, far) = open(role, &no_timeouts().max_send_queue(64));
            far.stutter(5);
            let mut outbox = outbox(texts(0..10));
            let mut pushed = 10;
            for tries in 0.. {
                assert!(tries < 10_000, "no end");
                let before = (outbox.len(), outbox.handed_over());
                let done = cancelled(ws.send_from(&mut outbox), polls);
                // Each message is either here or there.
                assert_eq!(before.0 as u64 + before.1, outbox.len() as u64 + outbox.handed_over());
                if pushed < 20 {
                    outbox.push(format!("message {pushed}")).unwrap();
                    pushed += 1;
                } else if let Some(result) = done {
                    result.unwrap();
                    break;
                }
            }
            assert!(outbox.is_empty());
            assert_eq!(sent(&far.frames(role)), texts(0..20), "dropped at poll {polls}");
        }
    }
}

#[test]
fn what_waits_when_the_session_dies_is_for_the_next_one() {
    for role in ROLES {
        let kib = |i: usize| Message::from(vec![i as u8; 1024]);
        let mut outbox = outbox((0..200).map(kib));
        let (mut ws, far) = open(role, &no_timeouts());
        // It dies in the middle of a message.
        far.change(|s| s.room = 100_500);
        assert!(cancelled(ws.send_from(&mut outbox), 1).is_none());
        far.change(|s| s.write_error = Some(ErrorKind::ConnectionReset));
        assert!(matches!(finish(ws.send_from(&mut outbox)), Err(Error::Io(_))));
        let handed_over = outbox.handed_over();
        // The socket took 97 whole ones, and 64 KiB and one message may have been queued.
        assert!((98..=97 + 66).contains(&handed_over), "{handed_over}");
        assert_eq!(handed_over as usize + outbox.len(), 200);
        // A socket that is dead takes nothing more.
        finish(ws.send_from(&mut outbox)).unwrap_err();
        assert_eq!(outbox.handed_over(), handed_over);

        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.send_from(&mut outbox)).unwrap();
        assert_eq!(outbox.handed_over(), 200);
        let frames = far.frames(role);
        assert_eq!(frames.len(), 200 - handed_over as usize);
        for (i, frame) in (handed_over as usize..).zip(&frames) {
            assert_eq!(kib(i).as_bytes(), frame.payload);
        }
    }
}

#[test]
fn what_is_refused_stays() {
    let (mut ws, far) = open(Role::Client, &Config::default());
    let mut waiting = outbox(["one".into(), Message::Ping(vec![0; 126].into()), "two".into()]);
    let Err(Error::Send(refused)) = finish(ws.send_from(&mut waiting)) else {
        panic!("a ping that is too long");
    };
    assert_eq!(refused.refusal(), Refusal::ControlTooLong);
    assert_eq!((waiting.len(), waiting.handed_over()), (2, 1));
    waiting.pop();
    finish(ws.send_from(&mut waiting)).unwrap();
    assert_eq!(sent(&far.frames(Role::Client)), ["one".into(), "two".into()]);

    finish(ws.start_close(1000, "")).unwrap();
    let mut waiting = outbox(texts(0..2));
    let Err(Error::Send(refused)) = finish(ws.send_from(&mut waiting)) else {
        panic!("after a Close");
    };
    assert_eq!(refused.refusal(), Refusal::Closed);
    assert_eq!((waiting.len(), waiting.handed_over()), (2, 0));
}

#[test]
fn a_half_sends_what_waits_as_a_websocket_does() {
    for role in ROLES {
        for polls in [1, 2, 3, 7, 1000] {
            let (ws, far) = open(role, &no_timeouts().max_send_queue(64));
            let (mut sender, _receiver) = ws.split();
            let mut other = sender.clone();
            far.stutter(5);
            let mut outbox = outbox(texts(0..20));
            finish(other.feed("of another clone")).unwrap();
            let mut tries = 0;
            while cancelled(sender.send_from(&mut outbox), polls).map(Result::unwrap).is_none() {
                assert_eq!(outbox.len() as u64 + outbox.handed_over(), 20);
                tries += 1;
                assert!(tries < 10_000, "no end");
            }
            assert_eq!((outbox.len(), outbox.handed_over()), (0, 20));
            let first = ["of another clone".into()];
            assert_eq!(sent(&far.frames(role)), [&first[..], &texts(0..20)].concat());
        }
        // What is refused stays, and so does all for a connection that is dead.
        let (ws, far) = open(role, &no_timeouts());
        let (mut sender, _receiver) = ws.split();
        let mut other = sender.clone();
        let mut waiting = outbox(texts(0..2));
        finish(other.send_part("begun", false)).unwrap();
        let Err(Error::Send(refused)) = finish(sender.send_from(&mut waiting)) else {
            panic!("in the middle of a message");
        };
        assert_eq!((refused.refusal(), waiting.len()), (Refusal::MessageOpen, 2));
        finish(other.send_part("", true)).unwrap();
        far.change(|s| s.write_error = Some(ErrorKind::ConnectionReset));
        finish(other.send("lost")).unwrap_err();
        finish(sender.send_from(&mut waiting)).unwrap_err();
        assert_eq!((waiting.len(), waiting.handed_over()), (2, 0));
    }
}

#[test]
fn of_a_half_no_more_than_64_kib_and_one_message_are_queued() {
    let (ws, far) = open(Role::Server, &no_timeouts());
    let (mut sender, _receiver) = ws.split();
    let mut waiting = outbox((0..200).map(|_| Message::from(vec![7; 1024])));
    far.room(0);
    assert!(cancelled(sender.send_from(&mut waiting), 5).is_none());
    assert!((64..=66).contains(&waiting.handed_over()), "{}", waiting.handed_over());
    far.room(usize::MAX);
    finish(sender.send_from(&mut waiting)).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 200);
}
