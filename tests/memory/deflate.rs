//! What compression costs, by a counting allocator: between messages the windows that were agreed on and nothing else
//! (RFC 7692 §7.1; battery R19), while one comes what came of it, and never more than the limits allow (§9; R18).
#![cfg(feature = "deflate")]

use crate::counting::*;
use crate::support::deflate::{Blocks, literals, marked, run_of};
use crate::support::*;
use bowline::{Config, Deflate, Message, Prepared, Progress, Role};

/// An inflater, and the most that a compressor of these tests has.
const INFLATER: isize = 48 << 10;
const COMPRESSOR: isize = 400 << 10;

/// What holds a window, beside its bytes.
const HOLDER: isize = 256;

#[derive(Clone)]
struct Agreed {
    config: Config,
    header: String,
}

impl Agreed {
    fn new(server_bits: u8, client_bits: u8, alone: bool) -> Self {
        let settings = Deflate::high_compression().threshold(0).level(1);
        let mut header = format!(
            "permessage-deflate; server_max_window_bits={server_bits}; client_max_window_bits={client_bits}"
        );
        if alone {
            header += "; server_no_context_takeover; client_no_context_takeover";
        }
        Self { config: Config::default().max_message_size(u64::MAX).deflate(settings), header }
    }

    fn side(&self, role: Role) -> Side {
        Side::extended(role, self.config.clone(), &self.header)
    }
}

/// A message of so many equal bytes, to `role`.
fn bomb(role: Role, len: usize) -> Vec<u8> {
    marked(role, true, BINARY, &Blocks::new().fixed(false, &run_of(b'0', len)).message())
}

/// Receives without keeping the message, and gives the memory back as an adapter does before it waits.
fn take(side: &mut Side, wire: &[u8]) {
    side.fill(wire);
    assert_eq!(side.advance(), Ok(Progress::Event));
    assert_eq!(side.advance(), Ok(Progress::NeedInput));
    side.input.release();
}

fn put(side: &mut Side, payload: &[u8]) {
    side.connection.send(payload, &mut side.out).unwrap();
    side.out.sent(side.out.len());
}

/// What is held for each of so many connections that `work` was done on, beyond one that does not compress; the first, whose
/// buffers and codecs stay with the thread, is not counted.
fn held(count: usize, agreed: &Agreed, role: Role, mut work: impl FnMut(&mut Side)) -> isize {
    let plain = {
        let before = live();
        let side = Side::new(role, agreed.config.clone());
        let held = live() - before;
        drop(side);
        held
    };
    let mut sides = Vec::with_capacity(count + 10);
    let mut make = |sides: &mut Vec<Side>| {
        let mut side = agreed.side(role);
        work(&mut side);
        sides.push(side);
    };
    // As many as the thread keeps codecs for.
    (0..10).for_each(|_| make(&mut sides));
    let before = live();
    (0..count).for_each(|_| make(&mut sides));
    let held = live() - before;
    held / count as isize - plain
}

#[test]
fn before_the_first_compressed_message_there_is_nothing() {
    for role in ROLES {
        for alone in [false, true] {
            let agreed = Agreed::new(15, 15, alone);
            assert_eq!(held(1_000, &agreed, role, |_| ()), 0);
            // Nor after others.
            let plain = to(role, TEXT, b"plain");
            let work = |side: &mut Side| {
                take(side, &plain);
                side.receive(&to(role, PING, b"?"));
                side.input.release();
                side.out.sent(side.out.len());
                side.connection.set_compression(false);
                put(side, b"plain");
            };
            assert_eq!(held(1_000, &agreed, role, work), 0);
        }
    }
}

#[test]
fn between_messages_there_are_the_windows_that_were_agreed_on() {
    for role in ROLES {
        for bits in [9, 12, 15] {
            let window = 1_isize << bits;
            let len = 3 * (window as usize) / 2;
            let (wire, payload) = (bomb(role, len), vec![7; len]);
            let agreed = Agreed::new(bits, bits, false);
            let receives = held(1_000, &agreed, role, |side| take(side, &wire));
            assert!(receives <= window + HOLDER, "{receives} bytes");
            // Enough that the window is there at all.
            assert!(receives >= window, "{receives} bytes");
            let sends = held(1_000, &agreed, role, |side| put(side, &payload));
            assert!(window <= sends && sends <= window + HOLDER, "{sends} bytes");
            let both = held(1_000, &agreed, role, |side| {
                take(side, &wire);
                put(side, &payload);
                take(side, &wire);
            });
            assert!(both <= 2 * (window + HOLDER), "{both} bytes");
        }
        // Each direction has its own.
        let agreed = Agreed::new(9, 12, false);
        let (ours, theirs) = if role == Role::Server { (512, 4_096) } else { (4_096, 512) };
        let wire = bomb(role, 10_000);
        let receives = held(100, &agreed, role, |side| take(side, &wire));
        assert!(theirs <= receives && receives <= theirs + HOLDER, "{receives} bytes");
        let sends = held(100, &agreed, role, |side| put(side, &[7; 10_000]));
        assert!(ours <= sends && sends <= ours + HOLDER, "{sends} bytes");
        if role == Role::Server {
            let prepared = Prepared::new(vec![7; 10_000]);
            let sends = held(100, &agreed, role, |side| {
                side.connection.send_prepared(&prepared, &mut side.out).unwrap();
                side.out.sent(side.out.len());
            });
            assert!(ours <= sends && sends <= ours + HOLDER, "{sends} bytes");
        }
    }
}

#[test]
fn a_window_is_no_larger_than_what_was_sent() {
    for role in ROLES {
        let agreed = Agreed::new(15, 15, false);
        let wire = bomb(role, 100);
        let both = held(100, &agreed, role, |side| {
            for _ in 0..3 {
                take(side, &wire);
                put(side, &[7; 100]);
            }
        });
        assert!(both <= 2 * (600 + HOLDER), "{both} bytes");
    }
}

#[test]
fn without_context_takeover_there_is_nothing_between_messages() {
    for role in ROLES {
        let agreed = Agreed::new(15, 15, true);
        let wire = bomb(role, 40_000);
        let both = held(1_000, &agreed, role, |side| {
            take(side, &wire);
            put(side, b"a message");
            side.connection.send_part("one of ", false, &mut side.out).unwrap();
            side.connection.send_part("two parts", true, &mut side.out).unwrap();
            side.out.sent(side.out.len());
            take(side, &wire);
        });
        assert_eq!(both, 0);
    }
}

#[test]
fn a_large_message_leaves_nothing_behind() {
    const LEN: usize = 8 * MIB;
    for role in ROLES {
        for alone in [false, true] {
            let agreed = Agreed::new(12, 12, alone);
            let (wire, payload) = (bomb(role, LEN), vec![7; LEN]);
            let mut side = agreed.side(role);
            take(&mut side, &bomb(role, 10_000));
            put(&mut side, &[7; 10_000]);
            let before = live();
            let most = peak(|| take(&mut side, &wire));
            assert!(live() <= before);
            // Memory at most doubles; no limit of the message stops it here.
            let most_there = 2 * (LEN + wire.len()) as isize + INFLATER + 2 * POOLED;
            assert!(most <= most_there, "{most} bytes");
            let most = peak(|| put(&mut side, &payload));
            assert!(live() <= before);
            // What it shrinks to, not the message.
            assert!(most <= 300 << 10, "{most} bytes");
            side.connection.send_owned(Message::from(payload), &mut side.out).unwrap();
            side.out.sent(side.out.len());
            assert!(live() <= before - LEN as isize);
        }
    }
}

#[test]
fn what_is_too_big_never_has_memory() {
    // R18: one frame, and fragments with pings between them.
    for role in ROLES {
        for limit in [1_000, 20_000, 100_000, MIB] {
            let payload = Blocks::new().fixed(false, &run_of(b'0', 64 * MIB)).message();
            let mut fragments = marked(role, false, BINARY, b"");
            for piece in payload.chunks(5_000) {
                fragments.extend(fragment_to(role, false, CONTINUATION, piece));
                fragments.extend(to(role, PING, b"p"));
            }
            for wire in [marked(role, true, BINARY, &payload), fragments] {
                for at_once in [100, usize::MAX] {
                    let agreed = Agreed::new(15, 15, false);
                    let config = agreed.config.clone().max_message_size(limit as u64);
                    let mut side = Agreed { config, ..agreed }.side(role);
                    let (mut at, mut failed) = (0, false);
                    let most = peak(|| {
                        while !failed {
                            at += read(&mut side.input, &wire[at..], at_once);
                            failed = side.advance().is_err();
                            assert!(side.out.len() < 4_096);
                        }
                    });
                    // The message as far as it may go, the window, what was read, and a chunk.
                    let most_there =
                        limit as isize + (32 << 10) + INFLATER + 3 * POOLED + (16 << 10);
                    assert!(most <= most_there, "{most} bytes for {limit}, by {at_once}");
                }
            }
        }
    }
}

#[test]
fn the_work_for_a_message_does_not_grow_with_the_number_of_reads() {
    // Moving what is there to a new buffer shows as bytes allocated.
    for role in ROLES {
        let stored = vec![7; MIB];
        let stored = stored.chunks(60_000).fold(Blocks::new(), |b, part| b.stored(false, part));
        for payload in [Blocks::new().fixed(false, &run_of(b'0', MIB)), stored] {
            let payload = payload.message();
            // As one frame, and with the end of it in the smallest fragments.
            let (large, end) = payload.split_at(payload.len() - 3_000);
            let mut fragments = marked(role, false, BINARY, large);
            end.iter().for_each(|byte| {
                fragments.extend(fragment_to(role, false, CONTINUATION, &[*byte]))
            });
            fragments.extend(to(role, CONTINUATION, b""));
            // A limit that is the size of the message leaves no room to double.
            for limit in [MIB, 2 * MIB] {
                for (wire, slow) in
                    [(marked(role, true, BINARY, &payload), 100), (fragments.clone(), 3)]
                {
                    let agreed = Agreed::new(15, 15, true);
                    let config =
                        agreed.config.clone().max_message_size(limit as u64).max_fragments(4_000);
                    let mut side = Agreed { config, ..agreed }.side(role);
                    let before = counts().allocated;
                    let mut at = 0;
                    while at < wire.len() {
                        let at_once = if at < large.len() { 100 } else { slow };
                        at += read(&mut side.input, &wire[at..], at_once);
                        assert_eq!(side.advance() == Ok(Progress::Event), at == wire.len());
                    }
                    let allocated = counts().allocated - before;
                    assert!(allocated <= 10 * MIB, "{allocated} bytes for a limit of {limit}");
                }
            }
        }
    }
}

#[test]
fn a_length_that_is_announced_costs_nothing_compressed_either() {
    for role in ROLES {
        let agreed = Agreed::new(15, 15, false);
        let wire = [
            header(0xC2, role == Role::Server, Form::SixtyFour, u64::MAX >> 2),
            masked_with(if role == Role::Server { KEY } else { [0; 4] }, b"\0"),
        ];
        let wire = wire.concat();
        let most = peak(|| {
            let mut side = agreed.side(role);
            side.receive(&wire);
        });
        assert!(most <= INFLATER + POOLED + WIDE + 4_096, "{most} bytes");
    }
}

#[test]
fn a_message_costs_what_came_of_it_however_it_comes() {
    // A peer that sends a little of a message and no more holds what that came to, and an inflater.
    for role in ROLES {
        let text = "x".repeat(1_000);
        let begun =
            Blocks::new().fixed(false, &literals(text.as_bytes())).stored(false, b"").bytes();
        let wire = marked(role, false, TEXT, &begun);
        let agreed = Agreed::new(15, 15, false);
        let each = held(50, &agreed, role, |side| {
            side.receive(&wire);
            side.input.release();
        });
        assert!(each <= INFLATER + 2 * 1_000 + HOLDER, "{each} bytes");
    }
}

#[test]
fn a_message_in_parts_costs_one_buffer_whatever_it_inflates_to() {
    for (role, len) in [(Role::Server, 64 * MIB), (Role::Client, 8 * MIB)] {
        for agreed in [Agreed::new(15, 15, false), Agreed::new(15, 15, true)] {
            let text = Blocks::new().fixed(false, &run_of(b'0', len)).message();
            let wire = marked(role, true, TEXT, &text);
            let mut side = agreed.side(role);
            let (mut at, mut received) = (0, 0);
            let most = peak(|| {
                while received < len || !side.input.part().unwrap().last {
                    match side.connection.advance_parts(&mut side.input, &mut side.out) {
                        Ok(Progress::Event) => {
                            let part = side.input.part().unwrap();
                            assert_eq!(part.first, received == 0);
                            let bytes = part.payload.as_bytes();
                            assert!(bytes.len() <= 32 << 10, "{} bytes are lent", bytes.len());
                            received += bytes.len();
                        }
                        Ok(Progress::NeedInput) => {
                            at += read(&mut side.input, &wire[at..], usize::MAX);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
            assert_eq!(received, len);
            assert!(most <= POOLED + WIDE + (32 << 10) + INFLATER, "{most} bytes");
            if len > 10 * MIB {
                // Once is enough of that size.
                break;
            }
        }
    }
}

#[test]
fn the_rest_of_a_compressed_message_that_is_skipped_costs_one_buffer() {
    for role in ROLES {
        let agreed = Agreed::new(15, 15, false);
        let mut side = agreed.side(role);
        side.fill(&marked(role, false, BINARY, &Blocks::new().stored(false, b"begin").bytes()));
        let begun = side.connection.advance_parts(&mut side.input, &mut side.out);
        assert_eq!(begun, Ok(Progress::Event));
        let rest = Blocks::new().fixed(false, &run_of(b'0', 8 * MIB)).message();
        let wire = to(role, CONTINUATION, &rest);
        let most = peak(|| {
            let mut at = 0;
            while at < wire.len() {
                at += read(&mut side.input, &wire[at..], usize::MAX);
                assert_eq!(side.advance(), Ok(Progress::NeedInput));
            }
        });
        assert!(most <= POOLED + WIDE + (32 << 10) + INFLATER, "{most} bytes");
    }
}

#[test]
fn what_a_thread_keeps_does_not_grow_with_its_connections() {
    for role in ROLES {
        let before = live();
        for alone in [false, true] {
            // Of every kind that there is.
            let agreed: Vec<_> = (8..=15).map(|bits| Agreed::new(bits, bits, alone)).collect();
            let mut sides: Vec<_> = (0..100).map(|i| agreed[i % agreed.len()].side(role)).collect();
            let wire = marked(role, false, TEXT, &Blocks::new().stored(false, b"begin").bytes());
            for side in &mut sides {
                // All of them in the middle of a message, both ways.
                side.receive(&wire);
                side.connection.send_part("begin", false, &mut side.out).unwrap();
            }
            for side in &mut sides {
                side.receive(&to(role, CONTINUATION, b"\0"));
                side.connection.send_part("end", true, &mut side.out).unwrap();
            }
        }
        let kept = live() - before;
        let buffers = 2 * (512 << 10) + 4_096;
        assert!(kept <= 8 * COMPRESSOR + 4 * INFLATER + buffers, "{kept} bytes stay");
    }
}

#[test]
fn one_compressor_serves_all_that_go_without_context_takeover() {
    for role in ROLES {
        let agreed = Agreed::new(12, 12, true);
        let mut sides: Vec<_> = (0..20).map(|_| agreed.side(role)).collect();
        put(&mut sides[0], b"first");
        let before = live();
        for side in &mut sides {
            put(side, b"another");
            side.connection.send_part("one of ", false, &mut side.out).unwrap();
            side.connection.send_part("two", true, &mut side.out).unwrap();
            side.out.sent(side.out.len());
        }
        assert!(live() - before <= 1_024, "{} bytes", live() - before);
        // Nor is one lost with a connection that ends in the middle.
        for mut side in sides {
            side.connection.send_part("begun", false, &mut side.out).unwrap();
        }
        assert!(live() - before <= 1_024, "{} bytes", live() - before);
    }
}

#[test]
fn connections_that_end_in_the_middle_leave_nothing_behind() {
    let endings: [fn(&mut Side); 6] = [
        |_| (),
        |side| assert!(side.try_receive(&marked(side.role, true, TEXT, b"\x06")).is_err()),
        |side| side.receive(&marked(side.role, false, TEXT, &[0, 1, 0])),
        |side| {
            side.receive(&marked(
                side.role,
                false,
                TEXT,
                &Blocks::new().stored(true, b"ab").bytes(),
            ))
        },
        |side| side.connection.send_part("begun", false, &mut side.out).unwrap(),
        |side| side.connection.start_close(1000, "", &mut side.out).unwrap(),
    ];
    for role in ROLES {
        for alone in [false, true] {
            let agreed = Agreed::new(12, 12, alone);
            let wire = bomb(role, 100);
            let churn = || {
                for ending in endings {
                    let mut side = agreed.side(role);
                    side.receive(&wire);
                    put(&mut side, b"Hello");
                    ending(&mut side);
                }
            };
            // Until the thread keeps as many codecs as it will.
            (0..3).for_each(|_| churn());
            let before = live();
            (0..20).for_each(|_| churn());
            assert_eq!(live(), before);
        }
    }
}

#[test]
fn a_small_message_costs_no_allocation_where_the_window_is_there() {
    for role in ROLES {
        let agreed = Agreed::new(12, 12, false);
        let mut side = agreed.side(role);
        let wire = bomb(role, 500);
        let payload = vec![7; 500];
        let mut echo = || {
            take(&mut side, &wire);
            put(&mut side, &payload);
        };
        (0..20).for_each(|_| echo());
        let before = counts().allocations;
        (0..100).for_each(|_| echo());
        assert_eq!(counts().allocations, before);
    }
}
