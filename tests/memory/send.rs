//! What a send queue holds, by a counting allocator (RFC 6455 §10.4): memory follows the bytes that wait, in
//! whatever order large and small messages were queued, and a budget is charged with what is held.

use crate::counting::*;
use crate::support::*;
use bowline::{Budget, Config, Message, Prepared, Role};
use bytes::Bytes;

const KIB: usize = 1 << 10;

/// One way to queue a message. `Prepared` and `Bytes` are shared, as with other connections.
type Queue = fn(&mut Side, &Prepared, &Bytes);

const SMALL: [Queue; 6] = [
    |side, _, _| side.connection.send("x", &mut side.out).unwrap(),
    |side, _, _| side.connection.send_owned(Message::from("x"), &mut side.out).unwrap(),
    |side, _, _| drop(side.connection.send_borrowed("x", &mut side.out).unwrap()),
    |side, _, _| side.connection.send_part("x", true, &mut side.out).unwrap(),
    |side, _, _| side.connection.send_prepared(&Prepared::new("x"), &mut side.out).unwrap(),
    |side, _, _| side.connection.ping(b"x", &mut side.out).unwrap(),
];

const LARGE: [Queue; 4] = [
    |side, prepared, _| side.connection.send_prepared(prepared, &mut side.out).unwrap(),
    |side, _, shared| {
        side.connection.send_owned(Message::from(shared.clone()), &mut side.out).unwrap();
    },
    |side, _, shared| drop(side.connection.send_borrowed(&shared[..], &mut side.out).unwrap()),
    |side, _, shared| side.connection.send_part(&shared[..], true, &mut side.out).unwrap(),
];

/// Runs in a thread of its own, whose pool is empty.
fn alone(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work).join().unwrap();
}

/// Asserts that a queue holds little more than what waits in it, above `before`.
#[track_caller]
fn assert_small(side: &mut Side, before: isize, what: &str) {
    // A buffer that the queue gave back to the pool is still live, and one may be in use.
    let (pooled, waiting) = (WIDE as usize, side.out.len());
    let held = (live() - before) as usize;
    assert!(held <= 4 * waiting + 2 * pooled + 4 * KIB, "{held} for {waiting} ({what})");
    side.out.release();
    let held = (live() - before) as usize;
    assert!(held <= 4 * waiting + pooled + 4 * KIB, "{held} for {waiting}, released ({what})");
}

#[test]
fn a_queue_holds_little_more_than_what_waits_in_whatever_order_it_came() {
    for role in ROLES {
        for compressed in [false, true] {
            for (small, small_way) in SMALL.into_iter().enumerate() {
                for (large, large_way) in LARGE.into_iter().enumerate() {
                    alone(move || {
                        let what = format!("{role:?} {compressed} {small} {large}");
                        hold_little(role, compressed, small_way, large_way, &what);
                    });
                }
            }
        }
    }
}

fn hold_little(role: Role, compressed: bool, small: Queue, large: Queue, what: &str) {
    let shared = Bytes::from(Seeded(3).bytes(17 * KIB));
    let prepared = Prepared::new(Seeded(3).bytes(KIB + 1));
    let mut side = opened(role, compressed);
    // What compression keeps for the next message, its window, is not the queue's.
    for _ in 0..60 {
        large(&mut side, &prepared, &shared);
        small(&mut side, &prepared, &shared);
        let _ = side.take_out();
    }
    let before = live();
    let mut rounds = 0;
    while side.out.len() < 900 * KIB && rounds < 500 {
        large(&mut side, &prepared, &shared);
        small(&mut side, &prepared, &shared);
        rounds += 1;
        assert_small(&mut side, before, what);
    }
    // As it leaves, and as more comes after it.
    while side.out.len() > 100 {
        side.out.sent(side.out.len() / 3 + 1);
        assert_small(&mut side, before, what);
        small(&mut side, &prepared, &shared);
        assert_small(&mut side, before, what);
    }
}

#[cfg(feature = "deflate")]
fn opened(role: Role, compressed: bool) -> Side {
    let config = Config::default();
    if compressed {
        let config = config.deflate(bowline::Deflate::default().threshold(0));
        Side::extended(role, config, "permessage-deflate")
    } else {
        Side::new(role, config)
    }
}

#[cfg(not(feature = "deflate"))]
fn opened(role: Role, _compressed: bool) -> Side {
    Side::new(role, Config::default())
}

#[test]
fn a_small_message_after_one_that_is_shared_takes_no_buffer_of_the_usual_size() {
    alone(|| {
        let mut side = Side::new(Role::Server, Config::default());
        let prepared = Prepared::new(vec![7; 2 * KIB]);
        let before = live();
        side.connection.send_prepared(&prepared, &mut side.out).unwrap();
        side.connection.send("small", &mut side.out).unwrap();
        let held = live() - before;
        assert!(held < 512, "{held} bytes for a message of 5");
    });
}

#[test]
fn a_queue_that_had_grown_shrinks_with_what_waits_in_it() {
    for role in ROLES {
        alone(move || {
            let config = Config::default().max_send_queue(64 * MIB);
            let mut side = Side::new(role, config);
            let before = live();
            for _ in 0..2_000 {
                side.connection.send(&[7; 4 * KIB][..], &mut side.out).unwrap();
            }
            while side.out.len() > KIB {
                side.out.sent(3 * KIB);
                let (held, waiting) = ((live() - before) as usize, side.out.len());
                assert!(held <= 4 * waiting + WIDE as usize + KIB, "{held} for {waiting}");
            }
            // The buffer is of the pool's size, so it goes there.
            side.out.release();
            let (held, waiting) = ((live() - before) as usize, side.out.len());
            assert!(held <= waiting + WIDE as usize + KIB, "{held} for {waiting}");
        });
    }
}

#[test]
fn the_rest_of_a_large_message_of_ones_own_is_all_that_stays_of_it() {
    for role in ROLES {
        alone(move || {
            let mut side = Side::new(role, Config::default());
            let before = live();
            side.connection.send_owned(Message::from(vec![7; MIB]), &mut side.out).unwrap();
            side.out.sent(MIB - KIB);
            side.out.release();
            let held = live() - before;
            assert!(held < 3 * KIB as isize, "{held} bytes for the last KiB");
            // What others hold too is not copied.
            let shared = Bytes::from(vec![7; MIB]);
            let mut side = Side::new(Role::Server, Config::default());
            side.connection.send_owned(Message::from(shared.clone()), &mut side.out).unwrap();
            side.out.sent(MIB - KIB);
            let before = live();
            side.out.release();
            assert!(live() <= before);
            assert_eq!(side.out.pending().as_ptr_range().end, shared.as_ptr_range().end);
        });
    }
}

#[test]
fn a_budget_is_charged_with_what_a_queue_holds() {
    for role in ROLES {
        alone(move || {
            let budget = Budget::new(1 << 30);
            let config = Config::default().memory_budget(&budget);
            let mut side = Side::new(role, config);
            let before = live();
            // The copies of a client are its own, so all counts but the queue's own entries.
            for i in 0..40 {
                let large = Message::from(vec![7; (16 + i) * KIB]);
                side.connection.send_owned(large, &mut side.out).unwrap();
                side.connection.send("small", &mut side.out).unwrap();
                side.connection.send(&[1; 5 * KIB][..], &mut side.out).unwrap();
                if side.out.len() > 900 * KIB {
                    break;
                }
                side.out.release();
                let (held, used) = ((live() - before) as usize, budget.used());
                assert!(used <= held && held <= used + used / 8 + KIB, "{used} for {held}");
                assert!(used <= 2 * side.out.len() + KIB, "{used} for {}", side.out.len());
            }
            while side.out.len() > 100 {
                side.out.sent(9_999);
                side.out.release();
                let (held, used) = ((live() - before) as usize, budget.used());
                // What has been sent of the pool's buffers is in the pool.
                assert!(held <= used + used / 8 + WIDE as usize + KIB, "{used} for {held}");
            }
        });
    }
}

#[test]
fn a_queue_that_had_many_frames_by_reference_keeps_no_room_for_them() {
    alone(|| {
        let config = Config::default().max_send_queue(64 * MIB);
        let mut side = Side::new(Role::Server, config);
        let prepared = Prepared::new(vec![7; 2 * KIB]);
        let before = live();
        for _ in 0..5_000 {
            side.connection.send_prepared(&prepared, &mut side.out).unwrap();
        }
        side.out.sent(side.out.len() - 10);
        side.out.release();
        let held = live() - before;
        assert!(held < KIB as isize, "{held} bytes for the last 10");
    });
}

#[cfg(feature = "deflate")]
#[test]
fn a_message_that_compresses_well_keeps_none_of_the_room_that_it_was_compressed_in() {
    alone(|| {
        let mut side = opened(Role::Server, true);
        let prepared = Prepared::new(Seeded(3).bytes(2 * KIB));
        let queue = |side: &mut Side| {
            side.connection.send_prepared(&prepared, &mut side.out).unwrap();
            side.connection.send(&[0; 64 * KIB][..], &mut side.out).unwrap();
        };
        // The pool of compressors fills first.
        for _ in 0..20 {
            queue(&mut side);
            let _ = side.take_out();
        }
        let before = live();
        for _ in 0..50 {
            queue(&mut side);
        }
        let held = (live() - before) as usize;
        // The frames by reference are shared, and were there before.
        assert!(held < 50 * KIB, "{held} bytes for {}", side.out.len() - 50 * 2 * KIB);
    });
}
