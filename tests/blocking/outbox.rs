//! `send_from`: what waits is not lost, not doubled and not reordered, when the socket dies or would block.

#![cfg(feature = "std")]

use std::io::ErrorKind;

use bowline::blocking::BlockingStream;
use bowline::{Config, Error, Message, Outbox, Refusal, Role};

use crate::support::blocking::open;
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
        ws.send_from(&mut outbox).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.handed_over(), 100);
        // The first flush had nothing to write.
        assert_eq!(far.writes(), 1);
        assert_eq!(sent(&far.frames(role)), texts(0..100));
    }
}

/// A socket that takes few bytes at a time and then would block, and new messages in between.
#[test]
fn a_socket_that_would_block_loses_and_doubles_nothing() {
    for role in ROLES {
        for room in 1..40 {
            let (mut ws, far) = open(role, &no_timeouts().max_send_queue(64));
            ws.get_ref().set_nonblocking(true).unwrap();
            let mut outbox = outbox(texts(0..10));
            let mut pushed = 10;
            for tries in 0.. {
                assert!(tries < 10_000, "no end");
                far.change(|s| s.room = room);
                let before = (outbox.len(), outbox.handed_over());
                let result = ws.send_from(&mut outbox);
                // Each message is either here or there.
                assert_eq!(before.0 as u64 + before.1, outbox.len() as u64 + outbox.handed_over());
                match result {
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(()) if pushed == 20 => break,
                    Ok(()) => {}
                    Err(error) => panic!("{error}"),
                }
                if pushed < 20 {
                    outbox.push(format!("message {pushed}")).unwrap();
                    pushed += 1;
                }
            }
            assert!(outbox.is_empty());
            assert_eq!(sent(&far.frames(role)), texts(0..20), "{room} bytes at a time");
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
        ws.get_ref().set_nonblocking(true).unwrap();
        let waits = ws.send_from(&mut outbox);
        assert!(matches!(waits, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock));
        far.change(|s| s.write_error = Some(ErrorKind::ConnectionReset));
        assert!(
            matches!(ws.send_from(&mut outbox), Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset)
        );
        let handed_over = outbox.handed_over();
        // The socket took 97 whole ones, and 64 KiB and one message may have been queued.
        assert!((98..=97 + 66).contains(&handed_over), "{handed_over}");
        assert_eq!(handed_over as usize + outbox.len(), 200);
        // A socket that is dead takes nothing more.
        ws.send_from(&mut outbox).unwrap_err();
        assert_eq!(outbox.handed_over(), handed_over);

        let (mut ws, far) = open(role, &no_timeouts());
        ws.send_from(&mut outbox).unwrap();
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
    let Err(Error::Send(refused)) = ws.send_from(&mut waiting) else {
        panic!("a ping that is too long");
    };
    assert_eq!(refused.refusal(), Refusal::ControlTooLong);
    assert_eq!((waiting.len(), waiting.handed_over()), (2, 1));
    waiting.pop();
    ws.send_from(&mut waiting).unwrap();
    assert_eq!(sent(&far.frames(Role::Client)), ["one".into(), "two".into()]);

    ws.start_close(1000, "").unwrap();
    let mut waiting = outbox(texts(0..2));
    let Err(Error::Send(refused)) = ws.send_from(&mut waiting) else {
        panic!("after a Close");
    };
    assert_eq!(refused.refusal(), Refusal::Closed);
    assert_eq!((waiting.len(), waiting.handed_over()), (2, 0));
}

#[test]
fn a_half_sends_what_waits_as_a_websocket_does() {
    for role in ROLES {
        let (ws, far) = open(role, &no_timeouts().max_send_queue(64));
        let (mut sender, _receiver) = ws.split().unwrap();
        let mut other = sender.clone();
        let mut waiting = outbox(texts(0..20));
        other.send_part("begun", false).unwrap();
        let Err(Error::Send(refused)) = sender.send_from(&mut waiting) else {
            panic!("in the middle of a message");
        };
        assert_eq!((refused.refusal(), waiting.len()), (Refusal::MessageOpen, 20));
        other.send_part("", true).unwrap();
        sender.send_from(&mut waiting).unwrap();
        assert_eq!((waiting.len(), waiting.handed_over()), (0, 20));
        assert_eq!(sent(&far.frames(role)[2..]), texts(0..20));
        // A connection that is dead takes nothing.
        far.change(|s| s.write_error = Some(ErrorKind::ConnectionReset));
        other.send("lost").unwrap_err();
        let mut waiting = outbox(texts(0..2));
        sender.send_from(&mut waiting).unwrap_err();
        assert_eq!((waiting.len(), waiting.handed_over()), (2, 0));
    }
}
