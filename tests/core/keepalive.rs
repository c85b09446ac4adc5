//! Keepalive (RFC 6455 §5.5.2, §5.5.3), with a clock that is moved by hand: liveness is progress.

use std::time::Duration;

use crate::support::*;
use bowline::{
    CloseCode, Config, Connection, End, Initiator, Progress, Refusal, Role, SendState, Timeout,
};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(1);
const MIB: usize = 1 << 20;

fn deadline(side: &mut Side, now: Duration) -> Option<Duration> {
    side.connection.deadline(now, &side.input, &side.out)
}

fn on_time(side: &mut Side, now: Duration) {
    side.connection.on_time(now, &side.input, &mut side.out);
}

fn only_keepalive() -> Config {
    Config::default().progress_timeout(None).send_timeout(None)
}

/// A ping after 30 seconds, 10 for the pong, and no other timer. The first wait was at 1 second.
fn pinging(role: Role) -> Side {
    let config = only_keepalive().ping_interval(30 * SECOND).pong_timeout(10 * SECOND);
    let mut side = Side::new(role, config);
    assert_eq!(deadline(&mut side, SECOND), Some(31 * SECOND));
    side
}

/// Takes the one ping that was sent.
#[track_caller]
fn take_ping(side: &mut Side) -> Vec<u8> {
    let sent = side.take_sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].0, PING);
    sent[0].1.clone()
}

/// A ping was sent at 31 seconds.
fn asked(role: Role) -> (Side, Vec<u8>) {
    let mut side = pinging(role);
    on_time(&mut side, 31 * SECOND);
    let ping = take_ping(&mut side);
    (side, ping)
}

#[track_caller]
fn assert_dead(side: &mut Side) {
    let end = side.connection.end().unwrap();
    assert_eq!((end, end.code()), (&End::TimedOut(Timeout::Keepalive), CloseCode::ABNORMAL));
    assert_eq!(side.advance(), Ok(Progress::Ended));
    assert_eq!(side.take_sent(), [(CLOSE, close_payload(1008, b""))]);
    let error = side.connection.send("late", &mut side.out).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Closed);
    assert_eq!(deadline(side, 1_000_000 * SECOND), None);
    // There is no wait for a peer that answers nothing.
    let mut leave = side.connection.leave();
    assert!(leave.is_done() && leave.shutdown_first());
    assert_eq!(leave.deadline(99 * SECOND), Some(99 * SECOND));
}

#[test]
fn it_is_off_by_default() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        assert_eq!(deadline(&mut side, SECOND), None);
        on_time(&mut side, 1_000_000 * SECOND);
        assert_eq!(side.take_sent(), []);
        // A pong timeout alone does nothing.
        let mut side = Side::new(role, Config::default().pong_timeout(SECOND));
        assert_eq!(deadline(&mut side, SECOND), None);
        assert_eq!(side.connection.round_trip(), None);
    }
}

#[test]
fn a_silent_peer_is_pinged_after_the_interval_and_once() {
    for role in ROLES {
        let mut side = pinging(role);
        on_time(&mut side, 31 * SECOND - TICK);
        assert_eq!(side.take_sent(), []);
        on_time(&mut side, 31 * SECOND);
        assert_eq!(take_ping(&mut side).len(), 8);
        assert_eq!(deadline(&mut side, 31 * SECOND), Some(41 * SECOND));
        on_time(&mut side, 41 * SECOND - TICK);
        assert_eq!(side.take_sent(), []);
        assert_eq!(side.connection.end(), None);
    }
}

#[test]
fn a_peer_that_does_not_answer_is_dead_within_interval_and_timeout() {
    for role in ROLES {
        let (mut side, _) = asked(role);
        on_time(&mut side, 41 * SECOND);
        assert_dead(&mut side);
    }
}

#[test]
fn the_pong_keeps_it_alive_and_tells_the_round_trip() {
    for role in ROLES {
        let (mut side, mut ping) = asked(role);
        let mut now = 31 * SECOND;
        for i in 1..10 {
            side.receive(&to(role, PONG, &ping));
            assert_eq!(side.events, [], "an automatic pong is not reported");
            let round_trip = Duration::from_millis(50 * i);
            now += round_trip;
            assert_eq!(deadline(&mut side, now), Some(now + 30 * SECOND));
            assert_eq!(side.connection.round_trip(), Some(round_trip));
            now += 30 * SECOND;
            on_time(&mut side, now);
            ping = take_ping(&mut side);
        }
        on_time(&mut side, now + 10 * SECOND);
        assert_dead(&mut side);
    }
}

#[test]
fn pongs_are_reported_to_those_who_want_them() {
    for role in ROLES {
        let config = only_keepalive().ping_interval(SECOND).report_control_frames(true);
        let mut side = Side::new(role, config);
        assert_eq!(deadline(&mut side, SECOND), Some(2 * SECOND));
        on_time(&mut side, 2 * SECOND);
        let ping = take_ping(&mut side);
        side.receive(&to(role, PONG, &ping));
        assert_eq!(side.events, [bowline::Message::Pong(ping.into())]);
        assert_eq!(deadline(&mut side, 3 * SECOND), Some(4 * SECOND));
    }
}

/// Battery T11.
#[test]
fn nothing_but_the_right_pong_looks_alive() {
    for role in ROLES {
        for reported in [false, true] {
            let config = only_keepalive().ping_interval(30 * SECOND).pong_timeout(10 * SECOND);
            let mut side = Side::new(role, config.report_control_frames(reported));
            let (mut pinged, mut dead) = (None, None);
            assert!(deadline(&mut side, SECOND).is_some());
            for second in 2..60 {
                for pong in [&b""[..], b"a", &[0; 8], &[0; 125]] {
                    side.receive(&to(role, PONG, pong));
                }
                side.receive(&to(role, PING, b"I live"));
                // Nor do messages that come to too little.
                side.receive(&to(role, TEXT, &[b'a'; 30]));
                side.receive(&to(role, BINARY, b""));
                on_time(&mut side, second * SECOND);
                let pings = side.take_sent().into_iter().filter(|sent| sent.0 == PING).count();
                if pings > 0 {
                    assert_eq!((pings, pinged.replace(second)), (1, None));
                }
                if side.connection.end().is_some() {
                    dead = Some(second);
                    break;
                }
            }
            assert_eq!((pinged, dead), (Some(31), Some(41)));
            assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Keepalive)));
        }
    }
}

#[test]
fn a_pong_that_is_nearly_right_is_wrong() {
    for role in ROLES {
        let (_, ping) = asked(role);
        let mut wrong = vec![ping[..7].to_vec(), [&ping[..], b"x"].concat()];
        for at in 0..8 {
            let mut other = ping.clone();
            other[at] ^= 1;
            wrong.push(other);
        }
        for pong in wrong {
            let (mut side, _) = asked(role);
            side.receive(&to(role, PONG, &pong));
            assert_eq!(deadline(&mut side, 32 * SECOND), Some(41 * SECOND));
            on_time(&mut side, 41 * SECOND);
            assert_dead(&mut side);
        }
    }
}

#[test]
fn a_pong_answers_one_ping_only() {
    for role in ROLES {
        let (mut side, first) = asked(role);
        side.receive(&to(role, PONG, &first));
        assert_eq!(deadline(&mut side, 32 * SECOND), Some(62 * SECOND));
        // Before the next is asked it counts for nothing, nor as its answer.
        side.receive(&to(role, PONG, &first));
        assert_eq!(deadline(&mut side, 50 * SECOND), Some(62 * SECOND));
        on_time(&mut side, 62 * SECOND);
        assert_ne!(take_ping(&mut side), first);
        side.receive(&to(role, PONG, &first));
        on_time(&mut side, 72 * SECOND);
        assert_dead(&mut side);
    }
}

#[test]
fn a_kibibyte_of_payload_is_life_and_a_byte_less_is_not() {
    for role in ROLES {
        // In whole messages, in fragments, and in a message that never ends.
        let forms: [fn(Role, usize) -> Vec<u8>; 3] = [
            |role, len| to(role, BINARY, &vec![0; len]),
            |role, len| {
                let (half, rest) = (vec![0; len / 2], vec![0; len - len / 2]);
                [fragment_to(role, false, BINARY, &half), to(role, CONTINUATION, &rest)].concat()
            },
            |role, len| {
                let head = header(0x82, role == Role::Server, Form::SixtyFour, 1 << 20);
                [head, vec![0; len]].concat()
            },
        ];
        for form in forms {
            let mut side = pinging(role);
            side.receive(&form(role, 1_023));
            assert_eq!(deadline(&mut side, 20 * SECOND), Some(31 * SECOND));
            let mut side = pinging(role);
            side.receive(&form(role, 1_024));
            assert_eq!(deadline(&mut side, 20 * SECOND), Some(50 * SECOND));

            let (mut side, _) = asked(role);
            side.receive(&form(role, 1_023));
            on_time(&mut side, 40 * SECOND);
            on_time(&mut side, 41 * SECOND);
            assert_dead(&mut side);
            let (mut side, _) = asked(role);
            side.receive(&form(role, 1_024));
            on_time(&mut side, 40 * SECOND);
            on_time(&mut side, 50 * SECOND - TICK);
            assert_eq!(side.connection.end(), None);
            on_time(&mut side, 50 * SECOND);
            assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Keepalive)));
        }
    }
}

#[test]
fn payload_before_a_ping_does_not_answer_it() {
    for role in ROLES {
        let mut side = pinging(role);
        side.receive(&to(role, BINARY, &[0; 1_000]));
        on_time(&mut side, 31 * SECOND);
        let _ = take_ping(&mut side);
        side.receive(&to(role, BINARY, &[0; 1_000]));
        on_time(&mut side, 41 * SECOND);
        assert_dead(&mut side);
    }
}

/// Battery T12: 50 MiB at 1 MiB a second, longer than the pong timeout, with the pongs after it.
#[test]
fn a_large_frame_in_front_of_the_pong_is_waited_for() {
    for role in ROLES {
        let config = only_keepalive().max_message_size(64 << 20);
        let config = config.ping_interval(15 * SECOND).pong_timeout(5 * SECOND);
        let mut side = Side::new(role, config);
        let mut pings = Vec::new();
        let mut now = SECOND;
        let mib = vec![0; MIB];
        on_time(&mut side, now);
        now = 16 * SECOND;
        on_time(&mut side, now);
        pings.extend(side.take_sent());
        assert_eq!(pings.len(), 1);
        side.fill(&header(0x82, role == Role::Server, Form::SixtyFour, 50 << 20));
        for _ in 0..50 {
            side.fill(&mib);
            while side.connection.advance_parts(&mut side.input, &mut side.out).unwrap()
                == Progress::Event
            {}
            now += SECOND;
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None, "at {now:?}");
            pings.extend(side.take_sent());
        }
        // More pings were sent now and then, in case the first pong never comes.
        assert_eq!(pings.len(), 1 + 50 / 15);
        assert!(pings.iter().all(|ping| ping.0 == PING));
        // The old pongs after the frame do not count. The last one does.
        for (i, (_, ping)) in pings.iter().enumerate() {
            assert_eq!(side.connection.round_trip(), None);
            side.receive(&to(role, PONG, ping));
            now += SECOND;
            on_time(&mut side, now);
            assert_eq!(side.connection.round_trip().is_some(), i == 3);
        }
        assert_eq!(deadline(&mut side, now), Some(now + 15 * SECOND));
    }
}

#[test]
fn a_frame_that_stalls_is_no_life() {
    for role in ROLES {
        let (mut side, _) = asked(role);
        side.receive(&header(0x82, role == Role::Server, Form::SixtyFour, 1 << 20));
        for second in 31..41 {
            assert_eq!(side.connection.end(), None);
            side.receive(&[0; 100]);
            on_time(&mut side, second * SECOND);
        }
        on_time(&mut side, 41 * SECOND);
        assert_dead(&mut side);
    }
}

#[test]
fn payloads_differ_and_cannot_be_told_from_each_other() {
    let payloads = |seed: Option<[u8; 32]>| {
        let mut connection = Connection::server(only_keepalive().ping_interval(SECOND));
        if let Some(seed) = seed {
            connection.seed_keepalive(seed);
        }
        let mut side = Side::of(Role::Server, connection);
        let mut payloads = Vec::new();
        let mut now = SECOND;
        for _ in 0..100 {
            now = deadline(&mut side, now).unwrap();
            on_time(&mut side, now);
            let ping = take_ping(&mut side);
            side.receive(&to(Role::Server, PONG, &ping));
            payloads.push(ping);
        }
        payloads
    };
    let mut all = [payloads(Some([1; 32])), payloads(Some([2; 32])), payloads(None)].concat();
    assert_eq!(payloads(Some([1; 32])), all[..100], "by the seed alone");
    // About half of the bits, as random ones: no counter, no byte that stays.
    let ones: u32 = all.iter().flatten().map(|byte| byte.count_ones()).sum();
    let bits = all.len() as u32 * 64;
    assert!(ones.abs_diff(bits / 2) < bits / 50, "{ones} of {bits}");
    for at in 0..8 {
        assert!(all.iter().any(|payload| payload[at] != all[0][at]), "byte {at}");
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 300);
}

#[test]
fn a_client_is_seeded_with_its_masks() {
    let first = |seed| {
        let connection = Connection::client(only_keepalive().ping_interval(SECOND), seed);
        let mut side = Side::of(Role::Client, connection);
        on_time(&mut side, SECOND);
        on_time(&mut side, 2 * SECOND);
        take_ping(&mut side)
    };
    assert_ne!(first([1; 32]), first([2; 32]));
}

#[test]
fn debug_output_shows_no_payload_to_come() {
    let mut connection = Connection::server(only_keepalive().ping_interval(SECOND));
    connection.seed_keepalive([1; 32]);
    let seeded = format!("{connection:?}");
    connection.seed_keepalive([2; 32]);
    assert_eq!(format!("{connection:?}"), seeded);
    assert!(seeded.contains("Keepalive"));
}

#[test]
fn pings_of_the_user_go_beside() {
    for role in ROLES {
        let mut side = pinging(role);
        side.connection.ping(b"mine", &mut side.out).unwrap();
        assert_eq!(side.take_sent(), [(PING, b"mine".to_vec())]);
        side.receive(&to(role, PONG, b"mine"));
        assert_eq!(deadline(&mut side, 2 * SECOND), Some(31 * SECOND));
        assert_eq!(side.connection.round_trip(), None);
        on_time(&mut side, 31 * SECOND);
        let ping = take_ping(&mut side);
        side.connection.ping(b"mine", &mut side.out).unwrap();
        let _ = side.take_out();
        side.receive(&to(role, PONG, b"mine"));
        side.receive(&to(role, PONG, &ping));
        assert_eq!(deadline(&mut side, 32 * SECOND), Some(62 * SECOND));
    }
}

#[test]
fn after_our_close_nobody_is_asked() {
    for role in ROLES {
        let (mut side, _) = asked(role);
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, 40 * SECOND), Some(45 * SECOND));
        on_time(&mut side, 45 * SECOND - TICK);
        assert_eq!(side.connection.end(), None);
        on_time(&mut side, 45 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
        assert_eq!(side.take_sent(), []);
    }
}

#[test]
fn pings_do_not_pile_up_for_a_peer_that_sends_and_does_not_read() {
    for role in ROLES {
        let config = only_keepalive().ping_interval(SECOND).pong_timeout(2 * SECOND);
        let mut side = Side::new(role, config.max_pending_pongs(1_000));
        let mut now = SECOND;
        on_time(&mut side, now);
        for _ in 0..1_000 {
            now += SECOND;
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
            side.receive(&to(role, BINARY, &[0; 2_000]));
            side.events.clear();
            assert!(deadline(&mut side, now + TICK).is_some());
            side.receive(&to(role, PING, b"and you?"));
            assert!(side.out.len() <= 500, "{} bytes wait", side.out.len());
        }
        let sent = side.take_sent();
        assert!(sent.iter().any(|sent| sent.0 == PING) && sent.iter().any(|sent| sent.0 == PONG));
    }
}

/// A ping was queued at 31 seconds, after `bytes` bytes that wait.
fn asked_after(role: Role, bytes: usize) -> Side {
    let mut side = pinging(role);
    side.connection.send(&vec![7; bytes][..], &mut side.out).unwrap();
    on_time(&mut side, 31 * SECOND);
    assert!(side.out.len() > bytes + 10);
    side
}

#[test]
fn a_peer_that_takes_what_waits_before_the_ping_is_alive() {
    for role in ROLES {
        let mut side = asked_after(role, 100_000);
        let mut now = 31 * SECOND;
        // Not the last bytes of the ping.
        while side.out.len() > 1_030 {
            assert_eq!(deadline(&mut side, now), Some(now + 10 * SECOND));
            now += 9 * SECOND;
            side.out.sent(1_024);
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        // No other ping meanwhile: this one has not left.
        assert!(now > 300 * SECOND);
        assert_eq!(deadline(&mut side, now), Some(now + 10 * SECOND));
        now += 9 * SECOND;
        let _ = side.take_out();
        // From when it has left, the pong has its whole time, and nothing else prolongs that.
        assert_eq!(deadline(&mut side, now), Some(now + 10 * SECOND));
        on_time(&mut side, now + 10 * SECOND - TICK);
        assert_eq!(side.connection.end(), None);
        on_time(&mut side, now + 10 * SECOND);
        assert_dead(&mut side);
    }
}

#[test]
fn a_peer_that_takes_nothing_of_what_waits_before_the_ping_is_dead() {
    for role in ROLES {
        // A few bytes do not show life: less than 1 KiB in the time for a pong.
        for (step, each) in [(SECOND, 0), (SECOND, 1), (SECOND, 100)] {
            let mut side = asked_after(role, 100_000);
            let mut now = 31 * SECOND;
            for _ in 0..10 {
                assert_eq!(deadline(&mut side, now), Some(41 * SECOND));
                now += step;
                side.out.sent(each);
                assert_eq!(side.connection.end(), None);
                on_time(&mut side, now);
            }
            let end = side.connection.end();
            assert_eq!(end, Some(&End::TimedOut(Timeout::Keepalive)), "{role:?} {each}");
        }
    }
}

#[test]
fn a_peer_that_takes_what_waits_after_the_ping_is_alive() {
    for role in ROLES {
        let mut side = asked_after(role, 1_000);
        side.connection.send(&[7; 50_000][..], &mut side.out).unwrap();
        let mut now = 31 * SECOND;
        // The ping is somewhere in the buffers of a slow link.
        for _ in 0..4 {
            assert_eq!(deadline(&mut side, now), Some(now + 10 * SECOND));
            now += 9 * SECOND;
            side.out.sent(2_000);
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        on_time(&mut side, now + 10 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Keepalive)));
    }
}

#[test]
fn what_a_socket_takes_at_once_shows_no_life() {
    for role in ROLES {
        let (mut side, _) = asked(role);
        let mut now = 31 * SECOND;
        for _ in 0..10 {
            assert_eq!(deadline(&mut side, now), Some(41 * SECOND));
            side.connection.send(&[7; 2_000][..], &mut side.out).unwrap();
            let _ = side.take_out();
            now += SECOND;
            on_time(&mut side, now);
        }
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Keepalive)));
    }
}

#[test]
fn a_round_trip_begins_when_the_ping_has_left() {
    for role in ROLES {
        let mut side = asked_after(role, 10_000);
        assert!(deadline(&mut side, 31 * SECOND).is_some());
        let wire = side.take_out();
        let ping = decode(role, &wire).pop().unwrap();
        assert!(deadline(&mut side, 39 * SECOND).is_some());
        side.receive(&to(role, PONG, &ping.payload));
        assert!(deadline(&mut side, 40 * SECOND).is_some());
        assert_eq!(side.connection.round_trip(), Some(SECOND));
    }
}

#[test]
fn a_ping_is_counted_among_the_pongs_that_wait() {
    for role in ROLES {
        let mut waited = 0;
        for len in 0..60 {
            let config = only_keepalive().ping_interval(30 * SECOND).max_pending_pongs(512);
            let mut side = Side::new(role, config);
            assert!(deadline(&mut side, SECOND).is_some());
            // Half of the limit is for what is queued. One pong more would fit, but no ping.
            side.receive(&to(role, PING, &vec![b'x'; len]));
            while side.out.len() + 6 <= 250 {
                side.receive(&to(role, PING, b""));
            }
            let before = side.out.len();
            on_time(&mut side, 31 * SECOND);
            assert!(side.out.len() <= 256, "{} bytes wait", side.out.len());
            waited += usize::from(side.out.len() == before);
            let sent = side.take_sent();
            assert_eq!(sent.iter().filter(|frame| frame.0 == PING).count(), 1);
        }
        assert!(waited > 0, "some had no room for it");
    }
}

#[test]
fn a_ping_that_waits_is_not_sent_behind_a_close() {
    for role in ROLES {
        let side = pinging(role);
        let Side { connection, input, mut out, .. } = side;
        let (mut receiver, mut sender, mut replies) = connection.into_halves();
        receiver.on_time(31 * SECOND, &input, &mut replies, SendState::default());
        assert!(!replies.is_empty());
        receiver.on_time(41 * SECOND, &input, &mut replies, SendState::default());
        assert_eq!(receiver.end(), Some(&End::TimedOut(Timeout::Keepalive)));
        sender.answer(&mut replies, &mut out);
        assert!(replies.is_empty());
        let frames = decode(role, out.pending());
        assert_eq!(frames.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [CLOSE]);
    }
}

#[test]
fn the_newer_ping_takes_the_place_of_the_older() {
    let config = only_keepalive().ping_interval(SECOND);
    let (first, second) = ([1; 32], [2; 32]);
    let replies_of = |seed| {
        let mut connection = Connection::server(config.clone());
        connection.seed_keepalive(seed);
        let side = Side::of(Role::Server, connection);
        let (mut receiver, sender, mut replies) = side.connection.into_halves();
        receiver.on_time(SECOND, &side.input, &mut replies, SendState::default());
        receiver.on_time(2 * SECOND, &side.input, &mut replies, SendState::default());
        (sender, replies)
    };
    let payload = |(mut sender, mut replies): (bowline::Sender, bowline::Replies)| {
        let mut out = bowline::SendBuf::new();
        sender.answer(&mut replies, &mut out);
        assert!(replies.is_empty());
        let frames = decode(Role::Server, out.pending());
        assert_eq!((frames.len(), frames[0].opcode), (1, PING));
        frames[0].payload.clone()
    };
    let (sender, mut replies) = replies_of(first);
    let (_, mut newer) = replies_of(second);
    replies.merge(&mut newer, &config);
    assert!(newer.is_empty());
    assert_eq!(payload((sender, replies)), payload(replies_of(second)));
    // And one that nothing newer came to stays.
    let (sender, mut replies) = replies_of(first);
    replies.merge(&mut newer, &config);
    assert_eq!(payload((sender, replies)), payload(replies_of(first)));
}

/// Only the idle timeout, of 60 seconds. The first wait was at 1 second.
fn idling(role: Role) -> Side {
    let mut side = Side::new(role, only_keepalive().idle_timeout(60 * SECOND));
    assert_eq!(deadline(&mut side, SECOND), Some(61 * SECOND));
    side
}

#[test]
fn an_idle_connection_is_closed_in_an_orderly_way() {
    for role in ROLES {
        let mut side = idling(role);
        on_time(&mut side, 61 * SECOND - TICK);
        assert!(!side.connection.close_sent());
        on_time(&mut side, 61 * SECOND);
        assert!(side.connection.close_sent());
        assert_eq!(side.take_sent(), [(CLOSE, close_payload(1001, b""))]);
        // What the peer sent before still comes.
        assert_eq!(deadline(&mut side, 61 * SECOND), Some(66 * SECOND));
        side.receive(&to(role, TEXT, b"Hello"));
        assert_eq!(side.events, [text("Hello")]);
        let _ = side.try_receive(&to(role, CLOSE, &close_payload(1001, b"")));
        match side.connection.end() {
            Some(End::Closed { initiator: Initiator::Local, code: Some(code), .. }) => {
                assert_eq!(*code, CloseCode::GOING_AWAY);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_idle_peer_that_does_not_answer_the_close_is_left() {
    for role in ROLES {
        let mut side = idling(role);
        on_time(&mut side, 61 * SECOND);
        assert_eq!(deadline(&mut side, 61 * SECOND), Some(66 * SECOND));
        on_time(&mut side, 66 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
    }
}

#[test]
fn messages_and_their_parts_postpone_it_and_control_frames_do_not() {
    for role in ROLES {
        for bytes in [
            to(role, TEXT, b"a"),
            to(role, TEXT, b""),
            fragment_to(role, false, BINARY, b"a"),
            [fragment_to(role, false, BINARY, b""), to(role, CONTINUATION, b"")].concat(),
        ] {
            let mut side = idling(role);
            side.receive(&bytes);
            assert_eq!(deadline(&mut side, 50 * SECOND), Some(110 * SECOND));
            on_time(&mut side, 61 * SECOND);
            assert!(!side.connection.close_sent());
        }
        for bytes in [
            to(role, PING, b"a"),
            to(role, PONG, b""),
            header(0x81, role == Role::Server, Form::Seven, 5),
            fragment_to(role, false, BINARY, b""),
        ] {
            let mut side = idling(role);
            for _ in 0..if bytes[0] & 0x08 != 0 { 100 } else { 1 } {
                side.receive(&bytes);
            }
            let _ = side.take_out();
            assert_eq!(deadline(&mut side, 50 * SECOND), Some(61 * SECOND));
            on_time(&mut side, 61 * SECOND);
            assert!(side.connection.close_sent());
        }
    }
}

#[test]
fn an_idle_close_that_cannot_be_queued_at_once_asks_for_no_more_time() {
    for role in ROLES {
        let Side { connection, input, .. } = idling(role);
        let (mut receiver, _, mut replies) = connection.into_halves();
        receiver.on_time(61 * SECOND, &input, &mut replies, SendState::default());
        assert!(!replies.is_empty());
        // Otherwise a thread that waits for the sender's lock would spin.
        assert_eq!(receiver.deadline(62 * SECOND, &input, SendState::default()), None);
    }
}

#[test]
fn both_timers_run_beside_the_others() {
    for role in ROLES {
        let config = Config::default().ping_interval(10 * SECOND).idle_timeout(15 * SECOND);
        let mut side = Side::new(role, config.progress_timeout(7 * SECOND));
        assert_eq!(deadline(&mut side, SECOND), Some(11 * SECOND));
        side.receive(&fragment_to(role, false, BINARY, b"a"));
        assert_eq!(deadline(&mut side, 2 * SECOND), Some(9 * SECOND));
        side.receive(&to(role, CONTINUATION, b""));
        assert_eq!(deadline(&mut side, 3 * SECOND), Some(11 * SECOND));
        on_time(&mut side, 11 * SECOND);
        let _ = take_ping(&mut side);
        assert_eq!(deadline(&mut side, 11 * SECOND), Some(18 * SECOND));
        on_time(&mut side, 18 * SECOND);
        assert!(side.connection.close_sent());
    }
}

#[test]
fn a_clock_may_stand_anywhere() {
    for role in ROLES {
        for start in [Duration::ZERO, TICK, Duration::from_secs(u64::MAX / 4), Duration::MAX] {
            let config = only_keepalive().ping_interval(30 * SECOND).idle_timeout(60 * SECOND);
            let mut side = Side::new(role, config);
            assert_eq!(deadline(&mut side, start), Some(start.saturating_add(30 * SECOND)));
            if start < Duration::MAX {
                on_time(&mut side, start + 29 * SECOND);
                assert_eq!(side.take_sent(), []);
                on_time(&mut side, start + 30 * SECOND);
                let _ = take_ping(&mut side);
            }
        }
    }
}
