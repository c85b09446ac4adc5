//! RFC 6455 §10.4: a memory budget that connections share. What they keep is counted. A connection that would keep too
//! much is closed with 1013. Nothing stays counted.

use crate::support::*;
use bowline::{Budget, Config, End, Message, MessageRef, Progress, Refusal, Role};

const FREE: usize = 4 << 10;
const KIB: usize = 1 << 10;

fn config(budget: &Budget) -> Config {
    Config::default().memory_budget(budget)
}

/// All but the last `short` bytes of a message.
fn most_of(role: Role, len: usize, short: usize) -> Vec<u8> {
    let mut bytes = to(role, BINARY, &vec![7; len]);
    bytes.truncate(bytes.len() - short);
    bytes
}

fn assert_sent_away(side: &mut Side) {
    assert_eq!(side.connection.end(), Some(&End::OverBudget));
    let input = format!("{:?}", side.input);
    assert!(input.contains("assembled: 0, unread: 0"), "the memory is given back: {input}");
    let sent = side.take_sent();
    assert_eq!(sent, [(CLOSE, close_payload(1013, b""))]);
    // It stays so, and takes nothing.
    assert_eq!(side.try_receive(&[0; 100]), Ok(Progress::Ended));
    assert_eq!(side.connection.end(), Some(&End::OverBudget));
    let refused = side.connection.send("x", &mut side.out).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::Closed);
    assert_eq!(side.take_sent(), []);
}

#[test]
fn a_message_counts_while_it_is_assembled_and_no_longer() {
    for role in ROLES {
        for at_once in [100, 4_096, usize::MAX] {
            let budget = Budget::new(1 << 20);
            let mut side = Side::new(role, config(&budget));
            let bytes = to(role, BINARY, &vec![7; 300 * KIB]);
            let (last, most) = bytes.split_last().unwrap();
            for piece in most.chunks(at_once.min(most.len())) {
                side.receive(piece);
                side.input.release();
            }
            assert!((300 * KIB..=620 * KIB).contains(&budget.used()), "{budget:?}");
            side.fill(&[*last]);
            assert_eq!(side.advance(), Ok(Progress::Event));
            assert_eq!(budget.used(), 0, "an event is the user's");
            let message = side.input.take_event();
            assert_eq!(message, Some(binary(&vec![7; 300 * KIB])));
            assert_eq!((side.advance(), budget.used()), (Ok(Progress::NeedInput), 0));
            assert_eq!(side.connection.end(), None);
        }
    }
}

#[test]
fn who_would_keep_more_than_is_left_is_sent_away_and_the_others_go_on() {
    for role in ROLES {
        for at_once in [1_000, usize::MAX] {
            let budget = Budget::new(1 << 20);
            let part = most_of(role, 600 * KIB, 1);
            let mut first = Side::new(role, config(&budget));
            first.receive(&part);
            let used = budget.used();
            assert!(used > 500 * KIB);
            let mut second = Side::new(role, config(&budget));
            let mut most = 0;
            for piece in part.chunks(at_once.min(part.len())) {
                let over = second.try_receive(piece).unwrap() == Progress::Ended;
                most = most.max(budget.used());
                if over {
                    break;
                }
            }
            assert_eq!(budget.used(), used, "what was refused is given back at once");
            assert!(most <= budget.limit());
            assert_sent_away(&mut second);
            first.receive(&to(role, BINARY, &vec![7; 600 * KIB])[part.len()..]);
            assert_eq!(first.events.len(), 1);
            assert_eq!(budget.used(), 0);
        }
    }
}

#[test]
fn a_budget_is_used_to_the_last_byte_and_no_further() {
    for role in ROLES {
        let part = most_of(role, 10_000, 1_000);
        // After a wait the rest of a small message has an allocation of its own size.
        let payload = 9_000;
        for (limit, fits) in [(payload, true), (payload - 1, false), (0, false)] {
            let budget = Budget::new(limit);
            let mut side = Side::new(role, config(&budget));
            let result = side.try_receive(&part).unwrap();
            assert_eq!(result == Progress::NeedInput, fits);
            assert_eq!(budget.used(), if fits { payload } else { 0 });
            if !fits {
                assert_sent_away(&mut side);
            }
        }
    }
}

#[test]
fn small_messages_pass_where_nothing_is_left() {
    for role in ROLES {
        let budget = Budget::new(0);
        let mut side = Side::new(role, config(&budget));
        let bytes = to(role, TEXT, &[b'x'; 4_000]);
        // Cut anywhere, and many at once.
        for at in [1, 7, 2_000] {
            side.receive(&bytes[..at]);
            side.receive(&bytes[at..]);
        }
        side.receive(&bytes.repeat(30));
        assert_eq!(side.events.len(), 33);
        for _ in 0..10 {
            side.connection.send(&*"x".repeat(4_000), &mut side.out).unwrap();
            assert_eq!(side.take_sent().len(), 1);
        }
        assert_eq!(budget.used(), 0);
        // Not those that would have to be kept.
        assert_eq!(side.try_receive(&most_of(role, 8_000, 1)), Ok(Progress::Ended));
        assert_sent_away(&mut side);
    }
}

#[test]
fn fragments_and_what_came_behind_a_control_frame_count() {
    for role in ROLES {
        let budget = Budget::new(100 * KIB);
        let mut side = Side::new(role, config(&budget).report_control_frames(true));
        side.receive(&fragment_to(role, false, BINARY, &[1; 8_000]));
        assert_eq!(budget.used(), 8_000);
        side.receive(&to(role, PING, b"p"));
        assert_eq!(budget.used(), 8_000, "the message is still there");
        side.receive(&fragment_to(role, false, CONTINUATION, &[1; 2_000]));
        assert_eq!(budget.used(), 10_000);
        side.receive(&to(role, CONTINUATION, b""));
        assert_eq!(budget.used(), 0);
        // The next one comes the short way again, whole, and in pieces.
        side.receive(&to(role, BINARY, &[1; 8_000]));
        side.receive(&most_of(role, 8_000, 500));
        assert_eq!(budget.used(), 7_500);
        side.receive(&to(role, BINARY, &[7; 8_000])[most_of(role, 8_000, 500).len()..]);
        assert_eq!(budget.used(), 0);
        assert_eq!(side.events.len(), 4);
    }
}

#[test]
fn a_message_in_parts_takes_nothing_of_the_budget() {
    for role in ROLES {
        let budget = Budget::new(0);
        let mut side = Side::new(role, config(&budget).max_message_size(u64::MAX));
        let bytes = to(role, TEXT, "ü".repeat(1 << 20).as_bytes());
        let mut got = 0;
        for piece in bytes.chunks(10_001) {
            side.fill(piece);
            while let Progress::Event =
                side.connection.advance_parts(&mut side.input, &mut side.out).unwrap()
            {
                got += side.input.part().unwrap().payload.as_bytes().len();
            }
            assert_eq!((budget.used(), side.connection.end()), (0, None));
        }
        assert_eq!(got, 2 << 20);
    }
}

#[test]
fn nothing_stays_counted_however_a_connection_ends() {
    type Ending = fn(&mut Side);
    let endings: [Ending; 5] = [
        |side| side.eof(),
        |side| {
            side.connection.transport_failed(&side.input);
            assert_eq!(side.advance(), Ok(Progress::Ended));
        },
        |side| {
            let bytes = frame(true, 7, BINARY, b"", side.role == Role::Server);
            assert!(side.try_receive(&[vec![0; 100_000], bytes].concat()).is_err());
        },
        |side| {
            let rest = [vec![0; 100_000], to(side.role, CLOSE, b"")].concat();
            assert_eq!(side.try_receive(&rest), Ok(Progress::Ended));
        },
        |side| {
            let late = std::time::Duration::from_secs(100);
            let _ = side.connection.deadline(late, &side.input, &side.out);
            side.connection.on_time(late * 2, &side.input, &mut side.out);
            assert_eq!(side.advance(), Ok(Progress::Ended));
        },
    ];
    for role in ROLES {
        let budget = Budget::new(1 << 20);
        let open = || {
            let mut side = Side::new(role, config(&budget));
            side.receive(&most_of(role, 200_000, 100_000));
            side.connection.send(&[0; 50_000][..], &mut side.out).unwrap();
            assert!(budget.used() >= 150_000, "{budget:?}");
            side
        };
        // Dropped in the middle, whole or in halves.
        drop(open());
        assert_eq!(budget.used(), 0);
        let Side { connection, input, out, .. } = open();
        let (receiver, sender, replies) = connection.into_halves();
        drop((sender, replies, out));
        assert!(budget.used() >= 100_000);
        drop((receiver, input));
        assert_eq!(budget.used(), 0);
        for ending in endings {
            let mut side = open();
            ending(&mut side);
            assert!(side.connection.end().is_some());
            let _ = side.take_out();
            assert_eq!(budget.used(), 0, "{:?}", side.connection.end());
        }
    }
}

#[test]
fn what_waits_to_be_sent_counts_until_it_has_left() {
    for role in ROLES {
        let budget = Budget::new(1 << 20);
        let mut side = Side::new(role, config(&budget));
        // Copied, owned, in parts, and borrowed.
        side.connection.send(&[1; 20_000][..], &mut side.out).unwrap();
        assert!((20_000..=21_000).contains(&budget.used()), "{budget:?}");
        side.connection.send_owned(Message::from(vec![2; 200_000]), &mut side.out).unwrap();
        assert!(budget.used() >= 220_000, "{budget:?}");
        drop(side.connection.send_borrowed(&[3; 100_000][..], &mut side.out).unwrap());
        assert!(budget.used() >= 320_000, "{budget:?}");
        side.connection.send_part(&[4; 100_000][..], false, &mut side.out).unwrap();
        side.connection.send_part(&[5; 10][..], true, &mut side.out).unwrap();
        side.out.release();
        let used = budget.used();
        assert!((420_000..=700_000).contains(&used), "{budget:?}");
        // By and by.
        let mut before = used;
        while !side.out.is_empty() {
            side.out.sent(7_777);
            assert!(budget.used() <= before && budget.used() >= side.out.len());
            before = budget.used();
        }
        assert_eq!(budget.used(), 0);
        // A large message is there until its last byte has left.
        side.connection.send_owned(Message::from(vec![2; 200_000]), &mut side.out).unwrap();
        side.out.sent(200_000);
        assert!(budget.used() >= 200_000);
        side.out.sent(100);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn what_is_received_is_charged_by_the_byte_beyond_the_free_4_kib() {
    for role in ROLES {
        for (kept, charged) in [(1, 0), (FREE, 0), (FREE + 1, FREE + 1), (9_000, 9_000)] {
            let budget = Budget::new(1 << 20);
            let mut side = Side::new(role, config(&budget));
            side.receive(&most_of(role, kept + 100, 100));
            assert_eq!(budget.used(), charged, "{role:?} {kept}");
        }
    }
}

#[test]
fn what_waits_to_be_sent_is_charged_by_the_byte_from_4_kib_on() {
    for role in ROLES {
        let header = 4 + if role == Role::Client { 4 } else { 0 };
        type Send = fn(&mut Side, &[u8]);
        let ways: [Send; 5] = [
            |side, bytes| side.connection.send(bytes, &mut side.out).unwrap(),
            |side, bytes| {
                side.connection.send_owned(Message::from(bytes), &mut side.out).unwrap();
            },
            |side, bytes| drop(side.connection.send_borrowed(bytes, &mut side.out).unwrap()),
            |side, bytes| side.connection.send_part(bytes, true, &mut side.out).unwrap(),
            |side, bytes| {
                let part = side.connection.send_part(&bytes[..0], false, &mut side.out);
                part.and_then(|()| side.connection.send_part(bytes, true, &mut side.out)).unwrap();
            },
        ];
        for (way, send) in ways.into_iter().enumerate() {
            let first = if way == 4 { header - 2 } else { 0 };
            for (len, is_charged) in [(1, false), (FREE - 1, false), (FREE, true), (9_000, true)] {
                let budget = Budget::new(1 << 20);
                let mut side = Side::new(role, config(&budget));
                send(&mut side, &vec![7; len]);
                side.out.release();
                let expected = if is_charged { first + header + len } else { 0 };
                assert_eq!(budget.used(), expected, "{role:?} {way} {len}");
                side.out.sent(side.out.len());
                assert_eq!(budget.used(), 0);
            }
        }
    }
}

#[test]
fn a_queue_of_small_messages_is_charged_whole_once_it_has_4_kib() {
    for role in ROLES {
        let budget = Budget::new(1 << 20);
        let mut side = Side::new(role, config(&budget));
        while side.out.len() < FREE {
            assert_eq!(budget.used(), 0, "{} bytes wait", side.out.len());
            side.connection.send(&[7; 50][..], &mut side.out).unwrap();
        }
        assert_eq!(budget.used(), 0, "what begins below 4 KiB is free");
        let before = side.out.len();
        side.connection.send("x", &mut side.out).unwrap();
        assert_eq!(budget.used(), before + 1);
        side.out.release();
        assert_eq!(budget.used(), side.out.len());
    }
}

#[test]
fn a_large_message_is_charged_with_its_payload_and_what_is_queued_after_it() {
    for role in ROLES {
        let header = 4 + if role == Role::Client { 4 } else { 0 };
        let budget = Budget::new(1 << 20);
        let mut side = Side::new(role, config(&budget));
        side.connection.send_owned(Message::from(vec![2; 20_000]), &mut side.out).unwrap();
        side.out.release();
        assert_eq!(budget.used(), header + 20_000);
        side.connection.send_owned(Message::from(vec![2; 30_000]), &mut side.out).unwrap();
        side.out.release();
        // The header after a payload is in a buffer of its own, of at least 8 bytes.
        assert_eq!(budget.used(), header + 8 + 50_000);
        side.out.sent(header + 20_000);
        side.out.release();
        assert_eq!(budget.used(), 8 + 30_000);
        // There is no other reference to it, so the last quarter is moved.
        side.out.sent(header + 22_500);
        side.out.release();
        assert_eq!(budget.used(), 7_500);
    }
}

#[test]
fn small_messages_that_wait_count_together() {
    for role in ROLES {
        let budget = Budget::new(32 << 10);
        let mut side = Side::new(role, config(&budget));
        let refused =
            (0..10_000).find_map(|_| side.connection.send(&[7; 10][..], &mut side.out).err());
        assert_eq!(refused.expect("there is no end").refusal(), Refusal::OverBudget);
        assert!(side.out.len() <= 32 << 10, "{role:?} keeps {} bytes", side.out.len());
        assert!(side.out.len() > 16 << 10, "{role:?} may keep more than {} bytes", side.out.len());
    }
}

#[test]
fn what_does_not_fit_the_budget_is_given_back_and_the_connection_goes_on() {
    for role in ROLES {
        let budget = Budget::new(100_000);
        let (mut side, mut other) =
            (Side::new(role, config(&budget)), Side::new(role, config(&budget)));
        other.connection.send(&[1; 60_000][..], &mut other.out).unwrap();
        let used = budget.used();
        let large = Message::from(vec![2; 70_000]);
        let error = side.connection.send_owned(large.clone(), &mut side.out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::OverBudget);
        assert_eq!(error.into_message(), Some(large.clone()));
        let borrowed = large.borrow();
        let refused = [
            side.connection.send(borrowed, &mut side.out).unwrap_err(),
            side.connection.send_borrowed(borrowed, &mut side.out).map(drop).unwrap_err(),
            side.connection.send_part(borrowed, false, &mut side.out).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.refusal() == Refusal::OverBudget));
        assert_eq!((side.out.len(), budget.used()), (0, used));
        // Many small ones add up to the same.
        let refused =
            (0..1_000).find_map(|_| side.connection.send(&*"x".repeat(1_000), &mut side.out).err());
        assert_eq!(refused.unwrap().refusal(), Refusal::OverBudget);
        // Replies and Close are not refused.
        side.receive(&to(role, PING, b"p"));
        let _ = other.take_out();
        let mut left = side.take_sent();
        assert_eq!(left.pop().unwrap(), (PONG, b"p".to_vec()));
        assert_eq!(budget.used(), 0);
        side.connection.send_owned(large, &mut side.out).unwrap();
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_eq!(side.take_sent().len(), 2);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn the_rest_of_a_borrowed_message_counts_and_not_what_left_at_once() {
    let budget = Budget::new(1 << 20);
    let mut side = Side::new(Role::Server, config(&budget));
    let payload = vec![3; 100_000];
    let mut frame =
        side.connection.send_borrowed(MessageRef::Binary(&payload), &mut side.out).unwrap();
    frame.sent(60_010);
    assert_eq!(budget.used(), 0);
    drop(frame);
    assert!(budget.used() >= 40_000, "{budget:?}");
    side.out.sent(side.out.len());
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_message_for_many_counts_for_none_of_them() {
    let budget = Budget::new(10_000);
    let message = bowline::Prepared::new(vec![1; 50_000]);
    let mut sides: Vec<_> = (0..10).map(|_| Side::new(Role::Server, config(&budget))).collect();
    for side in &mut sides {
        side.connection.send_prepared(&message, &mut side.out).unwrap();
    }
    assert_eq!(budget.used(), 0);
    // Small ones are copied.
    let small = bowline::Prepared::new(vec![1; 500]);
    let Side { connection, out, .. } = &mut sides[0];
    let refused = (0..100).find_map(|_| connection.send_prepared(&small, out).err());
    assert_eq!(refused.unwrap().refusal(), Refusal::OverBudget);
}

#[test]
fn settings_in_any_order_have_the_same_meaning() {
    let budget = Budget::new(0);
    let large = &[0; 5_000][..];
    for config in [
        Config::default().max_send_queue(1 << 10).memory_budget(&budget),
        Config::default().memory_budget(&budget).max_send_queue(1 << 10),
    ] {
        let mut side = Side::new(Role::Server, config.clone());
        let refused = side.connection.send(large, &mut side.out).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::OverBudget);
        side.connection.send(&large[..FREE - 1], &mut side.out).unwrap();
        let refused = side.connection.send("x", &mut side.out).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::QueueFull);
        let mut side = Side::new(Role::Server, config.memory_budget(None));
        side.connection.send(large, &mut side.out).unwrap();
    }
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use bowline::Deflate;

    fn plain() -> Config {
        Config::default().deflate(Deflate::default())
    }

    #[test]
    fn what_a_message_inflates_to_counts_before_it_has_memory() {
        for role in ROLES {
            let budget = Budget::new(400 * KIB);
            let config = config(&budget).deflate(Deflate::default());
            let other = match role {
                Role::Server => Role::Client,
                Role::Client => Role::Server,
            };
            let header = "permessage-deflate";
            let mut from = Side::extended(other, plain(), header);
            from.connection.send(&vec![7; 1 << 20][..], &mut from.out).unwrap();
            let wire = from.take_out();
            let mut to = Side::extended(role, config.clone(), header);
            assert_eq!(to.try_receive(&wire), Ok(Progress::Ended));
            assert_eq!(budget.used(), 0);
            assert_sent_away(&mut to);
            // One that fits: with the inflater, while it is under way.
            let mut from = Side::extended(other, plain(), header);
            let mut to = Side::extended(role, config, header);
            let mut next = || {
                from.connection.send(&vec![7; 100_000][..], &mut from.out).unwrap();
                from.take_out()
            };
            let (first, second) = (next(), next());
            let (last, most) = first.split_last().unwrap();
            to.receive(most);
            assert!(budget.used() > 100_000 - 2_400 + 46 * KIB, "{budget:?}");
            to.receive(&[*last]);
            assert_eq!((budget.used(), to.events.len()), (0, 1), "windows do not count");
            to.receive(&second[..second.len() - 1]);
            assert!(budget.used() > 0);
            drop(to);
            assert_eq!(budget.used(), 0);
        }
    }
}
