//! What one connection received is not shown to another: buffers of the pool come back cleared
//! (RFC 6455 §10.4).

use crate::support::*;
#[cfg(feature = "deflate")]
use bowline::Role;
use bowline::{Config, Message, Progress, RecvBuf};

const SECRET: &[u8] = b"correct horse battery staple";

/// No room of a buffer shows anything that was received before, on this thread.
#[track_caller]
fn assert_nothing_is_shown(what: &str) {
    let mut inputs: Vec<_> = (0..3).map(|_| RecvBuf::new()).collect();
    for input in &mut inputs {
        assert!(input.space().iter().all(|&byte| byte == 0), "{what}");
        // All that there is room for came, so the next buffer is a wide one.
        input.filled(usize::MAX);
        assert!(input.unread().iter().all(|&byte| byte == 0), "{what}");
        assert!(input.space().iter().all(|&byte| byte == 0), "{what}");
    }
}

fn secret(len: usize) -> Vec<u8> {
    SECRET.iter().copied().cycle().take(len).collect()
}

#[test]
fn a_buffer_that_goes_back_to_the_pool_is_cleared_as_far_as_it_was_used() {
    for role in ROLES {
        for len in
            [0, 1, 28, 511, 512, 513, 5_000, 29_000, 30_700, 31_000, 70_000, 129_000, 200_000]
        {
            for fin in [true, false] {
                for give_back in ["released", "dropped", "discarded", "taken", "parts"] {
                    let mut side = Side::new(role, Config::default());
                    let bytes = fragment_to(role, fin, BINARY, &secret(len));
                    let mut at = 0;
                    let mut taken = Vec::new();
                    while at < bytes.len() {
                        let space = side.input.space();
                        let n = space.len().min(bytes.len() - at);
                        space[..n].copy_from_slice(&bytes[at..at + n]);
                        side.input.filled(n);
                        at += n;
                        if give_back == "parts" {
                            let (input, out) = (&mut side.input, &mut side.out);
                            while side.connection.advance_parts(input, out) == Ok(Progress::Event) {
                            }
                        } else if give_back != "discarded" {
                            while side.advance() == Ok(Progress::Event) {
                                if give_back == "taken" {
                                    taken.extend(side.input.take_event());
                                }
                            }
                        }
                    }
                    if give_back == "released" {
                        side.input.release();
                    }
                    drop((side, taken));
                    assert_nothing_is_shown(&format!("{len} {fin} {give_back}"));
                }
            }
        }
    }
}

#[test]
fn a_buffer_that_began_with_bytes_of_another_parser_is_cleared() {
    for len in [1, 30 << 10, 126 << 10, 200_000] {
        drop(RecvBuf::with_unread(&secret(len)));
        assert_nothing_is_shown(&format!("{len} bytes"));
    }
}

#[test]
fn the_rest_after_a_message_that_took_its_buffer_is_cleared() {
    for role in ROLES {
        for (size, rest) in [(20_000, 100), (29_000, 1_000), (110_000, 20_000)] {
            let mut side = Side::new(role, Config::default());
            let mut bytes = to(role, TEXT, &secret(size));
            bytes.extend(&fragment_to(role, false, TEXT, &secret(rest)));
            side.fill(&bytes);
            assert_eq!(side.advance(), Ok(Progress::Event));
            let message = side.input.take_event().unwrap();
            assert!(matches!(&message, Message::Text(text) if text.len() == size));
            drop(side);
            drop(message);
            assert_nothing_is_shown(&format!("{size} {rest}"));
        }
    }
}

#[cfg(feature = "deflate")]
#[test]
fn what_was_inflated_is_cleared() {
    use bowline::Deflate;
    for role in ROLES {
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let config = Config::default().deflate(Deflate::default());
        for (len, packet) in
            [(200, 1), (1_000, 7), (9_000, 9_000), (28_000, 13), (100_000, 50), (500_000, 900)]
        {
            let mut sender = Side::extended(other, config.clone(), "permessage-deflate");
            sender.connection.send(&secret(len)[..], &mut sender.out).unwrap();
            let wire = sender.take_out();
            let mut side = Side::extended(role, config.clone(), "permessage-deflate");
            for piece in wire.chunks(packet) {
                side.receive(piece);
            }
            assert_eq!(side.events.pop(), Some(binary(&secret(len))));
            drop(side);
            assert_nothing_is_shown(&format!("{len} in {packet}"));
        }
    }
}
