//! Messages in parts (docs/design.md decision 11; attack battery O15).

use std::pin::pin;

use bowline::{Config, End, Error, Message, MessageRef, RecvBuf, Refusal, Role};

use super::adapter::*;
use crate::support::stream::{cancelled, finish, poll};
use crate::support::*;

const PART: usize = 10_000;

#[test]
fn ping_and_close_go_between_the_parts_of_a_message() {
    let role = Role::Client;
    for split in [false, true] {
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.send_part("one", false)).unwrap();
        finish(ws.ping(b"p")).unwrap();
        finish(ws.send_part("two", false)).unwrap();
        if split {
            let (mut sender, _receiver) = ws.split();
            assert!(
                matches!(finish(sender.send("x")), Err(Error::Send(e)) if e.refusal() == Refusal::MessageOpen)
            );
            finish(sender.close(1001, "")).unwrap();
            let late = finish(sender.send_part("three", true));
            assert!(matches!(late, Err(Error::Send(e)) if e.refusal() == Refusal::Closed));
        } else {
            assert!(
                matches!(finish(ws.send("x")), Err(Error::Send(e)) if e.refusal() == Refusal::MessageOpen)
            );
            finish(ws.start_close(1001, "")).unwrap();
        }
        let seen: Vec<_> = far.frames(role).iter().map(|f| (f.opcode, f.fin)).collect();
        assert_eq!(seen, [(TEXT, false), (PING, true), (CONTINUATION, false), (CLOSE, true)]);
    }
}

#[test]
fn close_leaves_within_one_part_of_a_long_message_to_a_peer_that_reads_slowly() {
    // Battery O15. The queue holds no more than 16 KiB and a part, so that is all that Close has to wait for.
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.room(40_000);
    while cancelled(ws.send_part(&[0_u8; PART][..], false), 3).is_some() {}
    let taken = far.written().len();
    assert_eq!(taken, 40_000);
    far.room(usize::MAX);
    finish(ws.start_close(1001, "")).unwrap();
    let sent = far.frames(role);
    assert_eq!(sent.last().map(close_code), Some(1001));
    let behind = far.written().len() - taken;
    assert!(behind <= (16 << 10) + 2 * PART, "{behind} bytes went before Close");
}

#[test]
fn parts_of_text_are_whole_characters_and_pings_between_them_are_answered() {
    let text = "\u{1F980}\u{20AC}z\u{F6}".repeat(30);
    for role in ROLES {
        for chunk in [1, 2, 3, 7] {
            let (mut ws, far) = open(role, &no_timeouts());
            far.stutter(chunk);
            far.push(&[text_in_fragments(role, &text), to(role, TEXT, b"next")].concat());
            let mut collected = String::new();
            loop {
                let part = finish(ws.recv_part()).unwrap().unwrap();
                let MessageRef::Text(piece) = part.payload else { panic!("{part:?}") };
                collected.push_str(piece);
                if part.last {
                    break;
                }
            }
            assert_eq!(collected, text);
            assert_eq!(finish(ws.recv()).unwrap(), Some("next".into()));
            assert!(poll(pin!(ws.flush())).is_pending() || !far.written().is_empty());
            finish(ws.flush()).unwrap();
            assert_eq!(payloads(&far.frames(role), PONG), [b"1", b"2"]);
        }
    }
}

#[test]
fn recv_after_some_parts_skips_the_rest_of_that_message() {
    for role in ROLES {
        for chunk in [1, 5, usize::MAX] {
            let wire = [
                fragment_to(role, false, BINARY, &pattern(300)),
                to(role, PING, b"p"),
                fragment_to(role, true, CONTINUATION, &pattern(300)),
                to(role, TEXT, b"next"),
            ]
            .concat();
            let (ws, far) = open(role, &no_timeouts());
            let (_sender, mut receiver) = ws.split();
            far.change(|s| s.chunk = chunk);
            far.push(&wire);
            let part = finish(receiver.recv_part()).unwrap().unwrap();
            assert!(part.first);
            if !part.last {
                assert_eq!(finish(receiver.recv()).unwrap(), Some("next".into()), "chunk {chunk}");
            }
        }
    }
}

#[test]
fn what_is_sent_in_parts_is_received_as_one_message_and_so_is_its_echo() {
    let (ours, peer) = super::sockets::tcp();
    let blocking = spawn(move || {
        let connection = connection(Role::Client, &Config::default());
        let mut ws =
            bowline::blocking::WebSocket::from_connection(peer, connection, RecvBuf::new())
                .unwrap();
        for i in 0..10 {
            ws.send_part(&*format!("part {i}, "), i == 9).unwrap();
        }
        let mut back = Vec::new();
        while let Some(part) = ws.recv_part().unwrap() {
            back.extend_from_slice(part.payload.as_bytes());
            if part.last {
                break;
            }
        }
        (back, ws.close(1000, "").unwrap().end)
    });
    block_on(async {
        let connection = connection(Role::Server, &Config::default());
        let mut ws = WebSocket::from_connection(socket(ours), connection, RecvBuf::new());
        while let Some(message) = ws.recv().await.unwrap() {
            let text = message.as_text().unwrap().to_owned();
            for piece in text.as_bytes().chunks(7) {
                ws.send_part(std::str::from_utf8(piece).unwrap(), false).await.unwrap();
            }
            ws.send_part("", true).await.unwrap();
        }
    });
    let (back, end) = blocking.wait("the client");
    let expected: String = (0..10).map(|i| format!("part {i}, ")).collect();
    assert_eq!(Message::from(back), Message::from(expected.into_bytes()));
    assert!(matches!(end, End::Closed { .. }));
}
