//! RFC 6455 §5.4: fragmentation.

use crate::support::*;
use bowline::{Config, Message, Rule};

fn message(opcode: u8, payload: &[u8]) -> Message {
    match opcode {
        TEXT => text(std::str::from_utf8(payload).unwrap()),
        _ => binary(payload),
    }
}

#[test]
fn the_fragments_of_a_message_are_delivered_as_one() {
    // Where the payload "Hello" is cut; empty fragments are legal wherever they stand.
    let cuts: [&[usize]; 9] =
        [&[], &[2], &[0], &[5], &[0, 0, 0], &[1, 2, 3, 4], &[2, 2, 2], &[0, 5], &[5, 5]];
    for role in ROLES {
        for opcode in [TEXT, BINARY] {
            for places in cuts {
                let pieces = cut(b"Hello", places);
                let mut bytes = Vec::new();
                for (i, piece) in pieces.iter().enumerate() {
                    let opcode = if i == 0 { opcode } else { CONTINUATION };
                    bytes.extend(fragment_to(role, i + 1 == pieces.len(), opcode, piece));
                }
                let expected = message(opcode, b"Hello");
                run(role, &bytes, &Config::default()).assert_delivers(&[expected]);
            }
        }
    }
}

#[test]
fn a_message_of_empty_fragments_is_an_empty_message() {
    for role in ROLES {
        for opcode in [TEXT, BINARY] {
            for between in 0..3 {
                let mut bytes = fragment_to(role, false, opcode, b"");
                for _ in 0..between {
                    bytes.extend(fragment_to(role, false, CONTINUATION, b""));
                }
                bytes.extend(to(role, CONTINUATION, b""));
                let expected = message(opcode, b"");
                run(role, &bytes, &Config::default()).assert_delivers(&[expected]);
            }
        }
    }
}

#[test]
fn large_fragments_are_joined_in_order() {
    for role in ROLES {
        let payload = Seeded(5).bytes(150_000);
        let pieces = cut(&payload, &[1, 40_000, 40_000, 40_100, 110_000, 149_999]);
        let mut bytes = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let opcode = if i == 0 { BINARY } else { CONTINUATION };
            bytes.extend(fragment_to(role, i + 1 == pieces.len(), opcode, piece));
            bytes.extend(to(role, PONG, b"between"));
        }
        bytes.extend(to(role, TEXT, b"next"));
        run(role, &bytes, &Config::default()).assert_delivers(&[binary(&payload), text("next")]);
    }
}

#[test]
fn control_frames_may_be_injected_in_the_middle_of_a_fragmented_message() {
    for role in ROLES {
        let fragments = [
            fragment_to(role, false, TEXT, b"ab\xe2\x82"),
            fragment_to(role, false, CONTINUATION, b""),
            fragment_to(role, false, CONTINUATION, b"\xaccd"),
            to(role, CONTINUATION, b"ef"),
        ];
        for place in 0..=4 {
            for payload in [&b""[..], b"ping", &[0xff; 125]] {
                let mut frames = fragments.to_vec();
                frames.insert(place, to(role, PING, payload));
                frames.insert(place, to(role, PONG, b"any"));
                frames.insert(place, to(role, PING, b"first"));
                let outcome = run(role, &frames.concat(), &Config::default());
                assert_eq!(outcome.events, [text("ab€cdef")]);
                let pongs = [(PONG, b"first".to_vec()), (PONG, payload.to_vec())];
                assert_eq!(outcome.sent, pongs);
            }
        }
    }
}

#[test]
fn a_close_in_the_middle_of_a_fragmented_message_ends_it_undelivered() {
    for role in ROLES {
        let bytes = [
            fragment_to(role, false, TEXT, b"never"),
            to(role, CLOSE, &close_payload(1001, b"")),
            to(role, CONTINUATION, b" delivered"),
        ];
        let outcome = run(role, &bytes.concat(), &Config::default());
        assert!(outcome.events.is_empty());
        assert_eq!(outcome.sent, [(CLOSE, close_payload(1001, b""))]);
        assert_eq!(outcome.over, Over::Closed(Some(1001), String::new()));
    }
}

#[test]
fn a_continuation_needs_a_message_to_continue() {
    for role in ROLES {
        for fin in [true, false] {
            for payload in [&b""[..], b"Hello"] {
                let stray = fragment_to(role, fin, CONTINUATION, payload);
                let config = Config::default();
                run(role, &stray, &config).assert_failed(Rule::UnexpectedContinuation, 0);
                // Neither does a message that has ended have room for more.
                for before in [
                    to(role, TEXT, b"whole"),
                    [fragment_to(role, false, BINARY, b"a"), to(role, CONTINUATION, b"b")].concat(),
                    to(role, PING, b"not a message"),
                ] {
                    let outcome = run(role, &[&before[..], &stray].concat(), &config);
                    outcome.assert_failed(Rule::UnexpectedContinuation, before.len());
                }
            }
        }
    }
    assert_eq!(Rule::UnexpectedContinuation.close_code(), 1002);
}

#[test]
fn the_fragments_of_one_message_must_not_be_interleaved_with_another() {
    for role in ROLES {
        for first in [TEXT, BINARY] {
            for second in [TEXT, BINARY] {
                for fin in [true, false] {
                    for between in
                        [vec![], fragment_to(role, false, CONTINUATION, b"x"), to(role, PONG, b"")]
                    {
                        let open = [fragment_to(role, false, first, b"abc"), between].concat();
                        let bytes = [&open[..], &fragment_to(role, fin, second, b"def")].concat();
                        let outcome = run(role, &bytes, &Config::default());
                        outcome.assert_failed(Rule::ExpectedContinuation, open.len());
                        assert!(outcome.events.is_empty());
                    }
                }
            }
        }
    }
    assert_eq!(Rule::ExpectedContinuation.close_code(), 1002);
}

#[test]
fn messages_follow_one_another_each_with_its_own_type() {
    for role in ROLES {
        let bytes = [
            fragment_to(role, false, TEXT, b"a"),
            to(role, CONTINUATION, b"b"),
            fragment_to(role, false, BINARY, b"\xff"),
            to(role, CONTINUATION, b"\xfe"),
            to(role, TEXT, b"c"),
            to(role, BINARY, b""),
            to(role, TEXT, b""),
        ];
        let expected = [text("ab"), binary(b"\xff\xfe"), text("c"), binary(b""), text("")];
        run(role, &bytes.concat(), &Config::default()).assert_delivers(&expected);
    }
}
