//! Rates of what a peer sends (RFC 6455 §10.4), with a clock that is moved by hand.

use std::time::Duration;

use crate::support::*;
use bowline::{Config, Deflate, End, Progress, RateLimit, Role, Timeout};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_nanos(1);

fn limited(role: Role, limit: RateLimit) -> Side {
    let mut side = Side::new(role, no_timeouts().rate_limit(limit));
    // The clock runs from the first wait on.
    assert_eq!(deadline(&mut side, Duration::ZERO), None);
    side
}

fn deadline(side: &mut Side, now: Duration) -> Option<Duration> {
    side.connection.deadline(now, &side.input, &side.out)
}

fn is_paused(side: &Side) -> bool {
    side.connection.is_paused(&side.input, &side.out)
}

/// The wait of an adapter: time passes, and decoding goes on.
fn wait_until(side: &mut Side, now: Duration) {
    side.connection.on_time(now, &side.input, &mut side.out);
    let _ = side.advance_all();
}

/// So many short messages at once.
fn messages(role: Role, count: usize) -> Vec<u8> {
    to(role, TEXT, b"Hello").repeat(count)
}

#[track_caller]
fn assert_closed(side: &mut Side) {
    assert_eq!(side.connection.end(), Some(&End::RateLimited));
    assert_eq!(side.advance(), Ok(Progress::Ended));
    assert_eq!(side.take_sent().last(), Some(&(CLOSE, close_payload(1008, b""))));
    // The peer is still sending: what comes is thrown away, so that the Close arrives.
    let leave = side.connection.leave();
    assert!(leave.shutdown_first() && !leave.is_done());
}

#[test]
fn a_burst_comes_at_once_and_the_rest_at_the_rate() {
    for role in ROLES {
        for split in [false, true] {
            let mut side = limited(role, RateLimit::new().messages(10));
            let wire = messages(role, 30);
            if split {
                wire.iter().for_each(|byte| side.receive(&[*byte]));
            } else {
                side.receive(&wire);
            }
            assert_eq!(side.events.len(), 10);
            assert!(is_paused(&side));
            for i in 1..=20 {
                let at = i * 100 * MILLI;
                assert_eq!(deadline(&mut side, at - 100 * MILLI), Some(at));
                wait_until(&mut side, at - TICK);
                assert_eq!(side.events.len(), 9 + i as usize);
                wait_until(&mut side, at);
                assert_eq!(side.events.len(), 10 + i as usize);
            }
            assert!(is_paused(&side), "the bucket is full, although nothing waits");
            wait_until(&mut side, 10 * SECOND);
            assert!(!is_paused(&side));
            assert_eq!(deadline(&mut side, 10 * SECOND), None);
        }
    }
}

#[test]
fn what_was_not_sent_is_saved_up_to_the_burst() {
    for role in ROLES {
        for (burst, most) in [(0, 1), (1, 10), (3, 30)] {
            let limit = RateLimit::new().messages(10).burst(burst * SECOND);
            let mut side = limited(role, limit);
            for round in 1..4 {
                side.events.clear();
                side.receive(&messages(role, 100));
                wait_until(&mut side, round * 1_000 * SECOND);
                assert_eq!(side.events.len(), 2 * most, "burst of {burst} s");
                // Another peer would be quiet for a while.
                side = limited(role, limit);
            }
        }
    }
}

#[test]
fn bytes_count_as_they_are_on_the_wire() {
    for role in ROLES {
        let frame = to(role, BINARY, &[7; 986]);
        let mut side = limited(role, RateLimit::new().bytes(10 * frame.len() as u64));
        side.receive(&frame.repeat(30));
        assert_eq!(side.events.len(), 10);
        wait_until(&mut side, SECOND);
        assert_eq!(side.events.len(), 20);

        // What is inflated from them does not count.
        let config = no_timeouts().deflate(Deflate::default());
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let mut far = Side::extended(other, config.clone(), "permessage-deflate");
        far.connection.send(&[7; 100_000][..], &mut far.out).unwrap();
        let small = far.take_out();
        assert!(small.len() < 900);
        let limit = RateLimit::new().bytes(1_000);
        let mut side = Side::extended(role, config.rate_limit(limit), "permessage-deflate");
        side.receive(&small);
        assert_eq!(side.events.len(), 1);
        assert!(!is_paused(&side));
    }
}

#[test]
fn a_long_message_is_paused_inside() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 100_000]);
        let mut side = limited(role, RateLimit::new().bytes(10_000));
        side.receive(&wire[..10_000]);
        assert!(is_paused(&side) && side.events.is_empty());
        let at = deadline(&mut side, Duration::ZERO).unwrap();
        assert!(at <= MILLI);
        // What was read before the pause counts all the same.
        side.receive(&wire[10_000..60_000]);
        assert_eq!(deadline(&mut side, Duration::ZERO), Some(5 * SECOND + TICK));
        wait_until(&mut side, 5 * SECOND);
        assert!(is_paused(&side));
        // Who asks for the deadline later than that learns that it is time.
        let now = 5 * SECOND + TICK;
        assert_eq!(deadline(&mut side, now), Some(now));
        wait_until(&mut side, now);
        assert!(!is_paused(&side));
        side.receive(&wire[60_000..]);
        assert_eq!(side.events.len(), 1);
    }
}

#[test]
fn control_frames_and_fragments_count_as_messages() {
    for role in ROLES {
        for frames in [
            to(role, PING, b"?"),
            to(role, PONG, b""),
            [fragment_to(role, false, TEXT, b"a"), to(role, CONTINUATION, b"b")].concat(),
        ] {
            let mut side = limited(role, RateLimit::new().messages(4));
            side.receive(&frames.repeat(10));
            assert!(is_paused(&side));
            let count = frame_starts(&frames).0.len();
            assert!(side.events.len() <= 4 / count);
            let pongs = side.take_sent().len();
            assert!(pongs <= 4);
        }
    }
}

#[test]
fn a_peer_that_may_not_wait_gets_1008() {
    for role in ROLES {
        let limit = RateLimit::new().messages(10).close();
        let mut side = limited(role, limit);
        side.receive(&messages(role, 10));
        assert_eq!(side.events.len(), 10);
        assert!(!is_paused(&side), "ten are no violation");
        side.receive(&messages(role, 1));
        assert_eq!(side.events.len(), 10);
        assert!(is_paused(&side));
        assert_eq!(deadline(&mut side, Duration::ZERO), Some(Duration::ZERO));
        wait_until(&mut side, Duration::ZERO);
        assert_closed(&mut side);

        // Time that has passed is noticed first.
        let mut side = limited(role, limit);
        side.receive(&messages(role, 11));
        wait_until(&mut side, 100 * MILLI);
        assert_eq!((side.events.len(), side.connection.end()), (11, None));

        // One long message is enough.
        let mut side = limited(role, RateLimit::new().bytes(1_000).close());
        side.receive(&to(role, BINARY, &[7; 5_000])[..2_000]);
        wait_until(&mut side, 100 * MILLI);
        assert_closed(&mut side);
    }
}

#[test]
fn the_end_of_the_stream_is_seen_when_all_before_it_was_taken() {
    for role in ROLES {
        for limit in [RateLimit::new().messages(2), RateLimit::new().messages(2).close()] {
            let mut side = limited(role, limit);
            side.receive(&messages(role, 2));
            side.eof();
            assert_eq!(side.events.len(), 2);
        }
    }
}

#[test]
fn after_our_close_nothing_is_paused() {
    for role in ROLES {
        for limit in [RateLimit::new().messages(2), RateLimit::new().messages(2).close()] {
            let mut side = limited(role, limit);
            side.receive(&messages(role, 3));
            assert!(is_paused(&side));
            side.connection.start_close(1000, "", &mut side.out).unwrap();
            assert!(!is_paused(&side));
            side.fill(&[messages(role, 5), close_to(role, 1000)].concat());
            assert_eq!(side.advance_all(), Ok(Progress::Ended));
            assert_eq!(side.events.len(), 8);
            assert!(side.connection.end().unwrap().is_normal());
        }
    }
}

#[test]
fn the_timeouts_of_a_peer_that_has_to_wait_stand_still() {
    for role in ROLES {
        let config = Config::default()
            .progress_timeout(SECOND)
            .send_timeout(None)
            .ping_interval(SECOND)
            .pong_timeout(SECOND);
        let limit = RateLimit::new().messages(1).burst(Duration::ZERO);
        let mut side = Side::new(role, config.rate_limit(RateLimit::bytes(limit, 1)));
        let _ = deadline(&mut side, Duration::ZERO);
        // 27 bytes at one a second, and then the half of a frame.
        side.receive(&[messages(role, 1), to(role, BINARY, &[1; 100])[..20].to_vec()].concat());
        for second in 1..7 {
            let _ = deadline(&mut side, second * SECOND);
            wait_until(&mut side, second * SECOND);
            assert_eq!(side.connection.end(), None, "{role:?} after {second} s");
            assert!(side.take_out().is_empty());
        }
        // Once it need not wait, they hold.
        let free = 100 * SECOND;
        wait_until(&mut side, free);
        let _ = deadline(&mut side, free);
        let _ = deadline(&mut side, free + 101 * SECOND);
        wait_until(&mut side, free + 102 * SECOND);
        wait_until(&mut side, free + 104 * SECOND);
        let end = side.connection.end();
        assert!(
            matches!(end, Some(End::TimedOut(Timeout::Progress | Timeout::Keepalive))),
            "{end:?}"
        );
    }
}

#[test]
fn a_limit_without_a_rate_is_none_and_zero_is_one() {
    let of = |limit: RateLimit| Config::default().rate_limit(limit).get().rate_limit;
    assert_eq!(of(RateLimit::new()), None);
    assert_eq!(of(RateLimit::new().close()), None);
    assert_eq!(of(RateLimit::new().messages(0)), Some(RateLimit::new().messages(1)));
    assert_eq!(of(RateLimit::new().bytes(0)), Some(RateLimit::new().bytes(1)));
    assert_eq!(Config::default().rate_limit(None).get().rate_limit, None);
    for limit in [
        RateLimit::new().messages(u32::MAX).bytes(u64::MAX).burst(Duration::MAX),
        RateLimit::new().messages(1).bytes(1).burst(Duration::MAX),
        RateLimit::new().messages(1).bytes(1).burst(Duration::ZERO),
    ] {
        for role in ROLES {
            let mut side = limited(role, limit);
            side.receive(&messages(role, 50));
            for now in [Duration::from_secs(1 << 40), Duration::MAX, Duration::MAX] {
                wait_until(&mut side, now);
                let _ = deadline(&mut side, now);
            }
            assert!(!side.events.is_empty());
        }
    }
}

#[test]
fn without_a_limit_nothing_is_paused() {
    for role in ROLES {
        let mut side = Side::new(role, no_timeouts());
        side.receive(&messages(role, 100_000));
        assert!(!is_paused(&side) && side.events.len() == 100_000);
    }
}
