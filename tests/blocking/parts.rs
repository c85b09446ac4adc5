//! Messages in parts through the blocking adapter (docs/design.md decision 11).

use crate::support::blocking::open;
use crate::support::*;
use bowline::{Config, Error, MessageRef, Refusal, Role};

fn unlimited() -> Config {
    Config::default().max_message_size(u64::MAX)
}

#[test]
fn ping_and_close_go_between_the_parts_of_a_message() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &unlimited());
    ws.send_part("one", false).unwrap();
    ws.ping(b"p").unwrap();
    ws.send_part("two", false).unwrap();
    match ws.send("another message") {
        Err(Error::Send(error)) => {
            assert_eq!(error.refusal(), Refusal::MessageOpen);
            assert_eq!(error.into_message(), Some("another message".into()));
        }
        other => panic!("{other:?}"),
    }
    ws.start_close(1001, "").unwrap();
    assert!(
        matches!(ws.send_part("three", true), Err(Error::Send(e)) if e.refusal() == Refusal::Closed)
    );
    let sent = far.frames(role);
    let seen: Vec<_> = sent.iter().map(|f| (f.opcode, f.fin)).collect();
    assert_eq!(seen, [(TEXT, false), (PING, true), (CONTINUATION, false), (CLOSE, true)]);
}

#[test]
fn parts_of_text_are_whole_characters_and_pings_between_them_are_answered() {
    let text = "\u{1F980}\u{20AC}z\u{F6}".repeat(30);
    for role in ROLES {
        for chunk in [1, 2, 3, 7] {
            let (mut ws, far) = open(role, &unlimited());
            far.chunk(chunk);
            far.push(&[text_in_fragments(role, &text), to(role, TEXT, b"next")].concat());
            let mut collected = String::new();
            loop {
                let part = ws.recv_part().unwrap().unwrap();
                let MessageRef::Text(piece) = part.payload else { panic!("{part:?}") };
                collected.push_str(piece);
                if part.last {
                    break;
                }
            }
            assert_eq!(collected, text);
            assert_eq!(ws.recv().unwrap(), Some("next".into()));
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
            let (mut ws, far) = open(role, &unlimited());
            far.chunk(chunk);
            far.push(&wire);
            let part = ws.recv_part().unwrap().unwrap();
            assert!(part.first);
            if !part.last {
                assert_eq!(ws.recv().unwrap(), Some("next".into()), "chunk {chunk}");
            }
        }
    }
}
