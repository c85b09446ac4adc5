//! Text is UTF-8 (RFC 6455 §8.1), even if the caller exchanges the input buffers of connections: no combination of
//! safe calls gives a `str` that is not UTF-8.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::*;
use bowline::{Config, Connection, MessageRef, Progress, RecvBuf, Role, SendBuf};

/// Whether lent text is UTF-8, in each way to get it.
#[track_caller]
fn assert_sound(input: &RecvBuf) {
    for lent in [input.event(), input.part().map(|part| part.payload)].into_iter().flatten() {
        if let MessageRef::Text(text) = lent {
            assert!(std::str::from_utf8(text.as_bytes()).is_ok(), "{:x?}", text.as_bytes());
        }
    }
}

#[track_caller]
fn assert_taken_sound(input: &mut RecvBuf) {
    if let Some(bowline::Message::Text(text)) = input.take_event() {
        assert!(std::str::from_utf8(text.as_bytes()).is_ok(), "{:x?}", text.as_bytes());
    }
}

fn fill(input: &mut RecvBuf, bytes: &[u8]) {
    input.space()[..bytes.len()].copy_from_slice(bytes);
    input.filled(bytes.len());
}

#[test]
fn a_binary_fragment_of_one_connection_is_not_the_text_of_another() {
    for role in ROLES {
        let binary = &mut Side::new(role, Config::default());
        let text = &mut Side::new(role, Config::default());
        binary.receive(&fragment_to(role, false, BINARY, b"\xff\xfe\xfd"));
        text.receive(&fragment_to(role, false, TEXT, b"a"));
        std::mem::swap(&mut binary.input, &mut text.input);
        for piece in [&b"b"[..], b""] {
            fill(&mut text.input, &to(role, CONTINUATION, piece));
            let _ = text.advance();
            assert_sound(&text.input);
            assert_taken_sound(&mut text.input);
            std::mem::swap(&mut binary.input, &mut text.input);
        }
    }
}

#[test]
fn the_rest_of_a_character_is_no_text_in_a_buffer_without_its_start() {
    for role in ROLES {
        for parts in [false, true] {
            let mut side = Side::new(role, Config::default());
            side.receive(&fragment_to(role, false, TEXT, b"a\xc3"));
            // The start of the character is lost with the buffer.
            drop(std::mem::take(&mut side.input));
            fill(&mut side.input, &to(role, CONTINUATION, b"\xa9"));
            let progress = if parts {
                side.connection.advance_parts(&mut side.input, &mut side.out)
            } else {
                side.advance()
            };
            assert!(progress.is_err(), "a lone continuation byte");
            assert_sound(&side.input);
        }
    }
}

/// Frames that leave a connection in every state in which it may be cut.
fn pieces(role: Role) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for (opcode, payloads) in [
        (TEXT, [&b"plain"[..], "é€𐍈".as_bytes(), b"\xf0\x9f", b""]),
        (BINARY, [&b"\xff\x80"[..], b"\xf0", b"\x9f\x92\x96", b""]),
        (CONTINUATION, [&b"x"[..], b"\x92\x96", b"\x80", b""]),
    ] {
        for payload in payloads {
            for fin in [false, true] {
                let frame = fragment_to(role, fin, opcode, payload);
                pieces.push(frame[..frame.len() - 1].to_vec());
                pieces.push(frame);
            }
        }
    }
    pieces.push(to(role, PING, b"\xff"));
    pieces
}

/// Exchanges buffers, bytes and calls between connections, at random.
fn mix(role: Role, new: impl Fn() -> Connection, pieces: &[Vec<u8>], config: Config) {
    let mut seeded = Seeded(0x5EED);
    for round in 0..400 {
        let mut connections: Vec<_> = (0..3).map(|_| new()).collect();
        let mut inputs: Vec<_> = (0..3).map(|_| RecvBuf::new()).collect();
        let mut out = SendBuf::new();
        for _ in 0..60 {
            let (c, i) = (seeded.below(3), seeded.below(3));
            let input = &mut inputs[i];
            match seeded.below(12) {
                0..4 => {
                    let piece = &pieces[seeded.below(pieces.len())];
                    let n = input.space().len().min(piece.len());
                    input.space()[..n].copy_from_slice(&piece[..n]);
                    input.filled(n);
                }
                4..8 => {
                    let connection = &mut connections[c];
                    let parts = seeded.below(2) == 0;
                    // Nothing here may panic. If it did, lent text would still have to be sound.
                    let progress = catch_unwind(AssertUnwindSafe(|| {
                        if parts {
                            connection.advance_parts(input, &mut out)
                        } else {
                            connection.advance(input, &mut out)
                        }
                    }));
                    assert_sound(input);
                    match progress.expect("no panic") {
                        Ok(Progress::Event | Progress::NeedInput) => {}
                        _ => connections[c] = new(),
                    }
                }
                8 => assert_taken_sound(input),
                9 => input.release(),
                10 => input.filled(seeded.below(20)),
                _ => {
                    let taken = std::mem::take(input);
                    let j = seeded.below(3);
                    inputs[i] = std::mem::replace(&mut inputs[j], taken);
                }
            }
            inputs.iter().for_each(assert_sound);
        }
        let _ = (round, role, &config);
        out.sent(out.len());
    }
}

#[test]
fn buffers_that_are_exchanged_at_random_lend_only_text_as_text() {
    for role in ROLES {
        for report in [false, true] {
            let config = Config::default().report_control_frames(report);
            let new = || Side::new(role, config.clone()).connection;
            mix(role, new, &pieces(role), config.clone());
        }
    }
}

#[cfg(feature = "deflate")]
#[test]
fn buffers_that_are_exchanged_while_messages_are_inflated_lend_only_text_as_text() {
    use bowline::Deflate;
    let header = "permessage-deflate";
    for role in ROLES {
        let config = Config::default().deflate(Deflate::default().threshold(0));
        let new = || Side::extended(role, config.clone(), header).connection;
        let mut all = pieces(role);
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        for text in ["é€𐍈é€𐍈", "some text"] {
            let mut sender = Side::extended(other, config.clone(), header);
            sender.connection.send(text, &mut sender.out).unwrap();
            sender.connection.send_part(&b"\xff\xf0\x9f"[..], false, &mut sender.out).unwrap();
            sender.connection.send_part(&b"\x92"[..], true, &mut sender.out).unwrap();
            let wire = sender.take_out();
            for at in 1..wire.len() {
                all.push(wire[..at].to_vec());
                all.push(wire[at..].to_vec());
            }
            all.push(wire);
        }
        mix(role, new, &all, config.clone());
    }
}
