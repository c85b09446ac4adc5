//! Timers, with a clock that is moved by hand: progress, close, send, and none while idle.

use std::time::Duration;

use crate::support::*;
use bowline::{CloseCode, Config, End, Progress, Refusal, Role, Timeout};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(1);

fn deadline(side: &mut Side, now: Duration) -> Option<Duration> {
    side.connection.deadline(now, &side.input, &side.out)
}

fn on_time(side: &mut Side, now: Duration) {
    side.connection.on_time(now, &side.input, &mut side.out);
}

/// Only the progress timeout, of ten seconds.
fn slow(role: Role) -> Side {
    let config = Config::default().progress_timeout(10 * SECOND).send_timeout(None);
    Side::new(role, config)
}

#[track_caller]
fn assert_too_slow(side: &mut Side) {
    assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Progress)));
    assert_eq!(side.connection.end().unwrap().code(), CloseCode::ABNORMAL);
    assert_eq!(side.advance(), Ok(Progress::Ended));
    assert_eq!(side.take_sent(), [(CLOSE, close_payload(1008, b""))]);
    let error = side.connection.send("late", &mut side.out).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Closed);
    // The peer may still be sending.
    let leave = side.connection.leave();
    assert!(leave.shutdown_first() && !leave.is_done());
    assert_eq!(deadline(side, 1_000_000 * SECOND), None);
}

#[test]
fn an_idle_connection_has_no_deadline() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        assert_eq!(deadline(&mut side, SECOND), None);
        side.receive(&to(role, TEXT, b"Hello"));
        side.receive(&to(role, PING, b"?"));
        side.connection.send("Hello", &mut side.out).unwrap();
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, 2 * SECOND), None);
        on_time(&mut side, 1_000_000 * SECOND);
        assert_eq!(side.connection.end(), None);
        assert_eq!(side.advance(), Ok(Progress::NeedInput));
    }
}

#[test]
fn a_frame_that_has_begun_must_end_in_time() {
    for role in ROLES {
        for frame in [to(role, BINARY, &[1; 200]), to(role, PING, b"ping")] {
            for begun in 1..frame.len().min(20) {
                let mut side = slow(role);
                side.receive(&frame[..begun]);
                let start = 5 * SECOND;
                assert_eq!(deadline(&mut side, start), Some(start + 10 * SECOND));
                on_time(&mut side, start + 10 * SECOND - TICK);
                assert_eq!(side.connection.end(), None);
                on_time(&mut side, start + 10 * SECOND);
                assert_too_slow(&mut side);

                // In time, nothing is left of the timer.
                let mut side = slow(role);
                side.receive(&frame[..begun]);
                assert!(deadline(&mut side, start).is_some());
                side.receive(&frame[begun..]);
                let _ = side.take_out();
                on_time(&mut side, start + 11 * SECOND);
                assert_eq!(side.connection.end(), None);
                assert_eq!(deadline(&mut side, start + 11 * SECOND), None);
            }
        }
    }
}

#[test]
fn a_peer_that_drips_a_byte_now_and_then_is_given_up() {
    for role in ROLES {
        let mut side = slow(role);
        side.receive(&header(0x82, role == Role::Server, Form::SixtyFour, 1 << 20));
        let mut now = SECOND;
        let until = deadline(&mut side, now).unwrap();
        while side.connection.end().is_none() {
            assert!(now <= 12 * SECOND, "a byte each second is no progress");
            side.receive(&[0]);
            assert_eq!(deadline(&mut side, now), Some(until));
            now += SECOND;
            on_time(&mut side, now);
        }
        assert_eq!(now, until);
        assert_too_slow(&mut side);
    }
}

#[test]
fn a_message_that_brings_1_kib_in_each_period_may_take_for_ever() {
    for role in ROLES {
        let mut side = slow(role);
        let mut now = SECOND;
        side.receive(&header(0x82, role == Role::Server, Form::SixtyFour, 1 << 20));
        for _ in 0..100 {
            let until = deadline(&mut side, now).unwrap();
            assert_eq!(until, now + 10 * SECOND);
            // 1,023 bytes leave the deadline as it is; the next byte moves it.
            now += 9 * SECOND;
            side.receive(&[0; 1_023]);
            assert_eq!(deadline(&mut side, now), Some(until));
            side.receive(&[0]);
            now = until;
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        on_time(&mut side, now + 10 * SECOND);
        assert_too_slow(&mut side);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn of_a_compressed_message_what_comes_on_the_wire_is_progress() {
    let config = Config::default().progress_timeout(10 * SECOND).send_timeout(None);
    let config = config.max_message_size(u64::MAX).deflate(bowline::Deflate::default());
    let noise = deflate::Blocks::new().stored(false, &Seeded(1).bytes(60_000)).bytes();
    // As much again, inflated from a few bytes.
    let zeros = deflate::Blocks::new().fixed(false, &deflate::run_of(b'0', 60_000)).bytes();
    for role in ROLES {
        for (payload, keeps) in [(&noise, true), (&zeros, false)] {
            let mut side = Side::extended(role, config.clone(), "permessage-deflate");
            let wire = deflate::marked(role, false, BINARY, payload);
            let mut now = SECOND;
            for piece in wire[..wire.len() - 1].chunks_exact(if keeps { 1_100 } else { 50 }) {
                side.receive(piece);
                assert!(deadline(&mut side, now).is_some());
                now += 10 * SECOND - TICK;
                on_time(&mut side, now);
                if side.connection.end().is_some() {
                    break;
                }
            }
            assert_eq!(side.connection.end().is_none(), keeps, "{role:?}");
        }
    }
}

#[test]
fn fragments_that_bring_little_and_control_frames_are_no_progress() {
    for role in ROLES {
        let mut side = slow(role);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        let mut now = SECOND;
        let until = deadline(&mut side, now).unwrap();
        while side.connection.end().is_none() {
            assert!(now <= until, "not given up");
            side.receive(&fragment_to(role, false, CONTINUATION, b"b"));
            side.receive(&to(role, PING, &[0; 125]).repeat(20));
            side.receive(&to(role, PONG, &[0; 125]).repeat(20));
            let _ = side.take_out();
            assert_eq!(deadline(&mut side, now), Some(until));
            now += SECOND;
            on_time(&mut side, now);
        }
        assert_too_slow(&mut side);
    }
}

#[test]
fn each_message_has_its_own_time() {
    for role in ROLES {
        let mut side = slow(role);
        let message = to(role, TEXT, b"Hello");
        let (head, tail) = message.split_at(4);
        let mut now = SECOND;
        side.receive(head);
        for _ in 0..20 {
            assert_eq!(deadline(&mut side, now), Some(now + 10 * SECOND));
            now += 6 * SECOND;
            // This one ends, and with the same read the next begins.
            side.receive(&[tail, head].concat());
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        assert_eq!(side.events.len(), 20);
    }
}

#[test]
fn each_control_frame_has_its_own_time() {
    for role in ROLES {
        let mut side = slow(role);
        let ping = to(role, PING, b"ping");
        let (head, tail) = ping.split_at(ping.len() - 1);
        let mut now = SECOND;
        side.receive(head);
        for _ in 0..20 {
            let _ = side.take_out();
            assert!(deadline(&mut side, now).is_some());
            now += 6 * SECOND;
            // "A frame or message that has begun must bring at least 1 KiB of payload, or end".
            side.receive(&[tail, head].concat());
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None, "each of them ended in time");
        }
    }
}

#[test]
fn a_message_that_is_received_in_parts_has_to_come_on_all_the_same() {
    for role in ROLES {
        let mut side = slow(role);
        side.fill(&fragment_to(role, false, BINARY, &[0; 2_000]));
        while side.connection.advance_parts(&mut side.input, &mut side.out).unwrap()
            == Progress::Event
        {}
        assert_eq!(deadline(&mut side, SECOND), Some(11 * SECOND));
        on_time(&mut side, 11 * SECOND);
        assert_too_slow(&mut side);
    }
}

#[test]
fn there_may_be_no_progress_timeout() {
    for role in ROLES {
        let config = Config::default().progress_timeout(None).send_timeout(None);
        let mut side = Side::new(role, config);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        assert_eq!(deadline(&mut side, SECOND), None);
        on_time(&mut side, 1_000_000 * SECOND);
        assert_eq!(side.connection.end(), None);
    }
}

#[test]
fn a_timer_starts_when_it_is_asked_for_and_not_before() {
    for role in ROLES {
        let mut side = slow(role);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        // Whoever never waits never reads a clock, so the time until here counts for nothing.
        on_time(&mut side, 1_000 * SECOND);
        assert_eq!(side.connection.end(), None);
        assert_eq!(deadline(&mut side, 1_001 * SECOND), Some(1_010 * SECOND));
    }
}

/// Only the send timeout, of ten seconds.
fn stuck(role: Role) -> Side {
    Side::new(role, Config::default().send_timeout(10 * SECOND).progress_timeout(None))
}

#[track_caller]
fn assert_stuck(side: &mut Side, waiting: usize) {
    let end = side.connection.end().unwrap();
    assert_eq!((end, end.code()), (&End::TimedOut(Timeout::Send), CloseCode::ABNORMAL));
    assert_eq!(side.out.len(), waiting, "no Close for one who does not read");
    // At once, not only after the next `advance`.
    let error = side.connection.send("late", &mut side.out).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Closed);
    assert_eq!(side.advance(), Ok(Progress::Ended));
    assert!(side.connection.leave().is_done());
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    for role in ROLES {
        let mut side = stuck(role);
        side.connection.send("Hello", &mut side.out).unwrap();
        let start = 3 * SECOND;
        assert_eq!(deadline(&mut side, start), Some(start + 10 * SECOND));
        // More bytes to send do not prolong it, and bytes from the peer do not either.
        side.connection.send("more", &mut side.out).unwrap();
        side.receive(&to(role, TEXT, &[b'x'; 5_000]));
        assert_eq!(deadline(&mut side, start + SECOND), Some(start + 10 * SECOND));
        on_time(&mut side, start + 10 * SECOND - TICK);
        assert_eq!(side.connection.end(), None);
        let waiting = side.out.len();
        on_time(&mut side, start + 10 * SECOND);
        assert_stuck(&mut side, waiting);
    }
}

#[test]
fn a_peer_that_takes_a_kilobyte_in_each_period_is_not() {
    for role in ROLES {
        let mut side = stuck(role);
        side.connection.send(&[0; 200_000][..], &mut side.out).unwrap();
        let mut now = SECOND;
        for _ in 0..100 {
            let until = deadline(&mut side, now).unwrap();
            assert_eq!(until, now + 10 * SECOND);
            side.out.sent(1_024);
            now = until;
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        // All has left: no deadline, and the next message has all of the time.
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, now), None);
        side.connection.send("Hello", &mut side.out).unwrap();
        assert_eq!(deadline(&mut side, now + 9 * SECOND), Some(now + 19 * SECOND));
    }
}

#[test]
fn a_queue_that_was_emptied_between_two_looks_has_made_progress() {
    for role in ROLES {
        let mut side = stuck(role);
        side.connection.send("Hello", &mut side.out).unwrap();
        assert!(deadline(&mut side, SECOND).is_some());
        let len = side.take_out().len();
        side.connection.send("Hello", &mut side.out).unwrap();
        assert_eq!(side.out.len(), len);
        on_time(&mut side, 11 * SECOND);
        assert_eq!(side.connection.end(), None);
        assert_eq!(deadline(&mut side, 11 * SECOND), Some(21 * SECOND));
    }
}

#[test]
fn bytes_that_a_vectored_write_took_are_progress() {
    let mut side = stuck(Role::Server);
    let payload = [7; 1_000];
    side.connection.send("queued", &mut side.out).unwrap();
    assert_eq!(deadline(&mut side, SECOND), Some(11 * SECOND));
    let mut frame = side.connection.send_borrowed(&payload[..], &mut side.out).unwrap();
    frame.sent(8 + 4 + 500);
    drop(frame);
    assert_eq!(side.out.len(), 500);
    on_time(&mut side, 11 * SECOND);
    assert_eq!(side.connection.end(), None);
    assert_eq!(deadline(&mut side, 12 * SECOND), Some(21 * SECOND));
}

#[test]
fn a_close_that_nobody_takes_is_given_up_too() {
    for role in ROLES {
        let config = Config::default().send_timeout(10 * SECOND).close_timeout(30 * SECOND);
        let mut side = Side::new(role, config);
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        // The earlier of both.
        assert_eq!(deadline(&mut side, SECOND), Some(11 * SECOND));
        let waiting = side.out.len();
        on_time(&mut side, 11 * SECOND);
        assert_stuck(&mut side, waiting);
    }
}

#[test]
fn there_may_be_no_send_timeout() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().send_timeout(None));
        side.connection.send("Hello", &mut side.out).unwrap();
        assert_eq!(deadline(&mut side, SECOND), None);
        on_time(&mut side, 1_000_000 * SECOND);
        assert_eq!(side.connection.end(), None);
    }
}

#[test]
fn the_deadline_is_the_earliest() {
    for role in ROLES {
        let config = Config::default().progress_timeout(7 * SECOND).send_timeout(9 * SECOND);
        let mut side = Side::new(role, config);
        side.connection.send("Hello", &mut side.out).unwrap();
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        assert_eq!(deadline(&mut side, SECOND), Some(8 * SECOND));
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, 2 * SECOND), Some(8 * SECOND));
        side.connection.send("Hello", &mut side.out).unwrap();
        side.receive(&to(role, CONTINUATION, b""));
        assert_eq!(deadline(&mut side, 3 * SECOND), Some(12 * SECOND));
    }
}

#[test]
fn by_default_a_message_and_a_send_have_20_seconds_and_a_close_has_5() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        let mut side = Side::new(role, Config::default());
        side.connection.send("Hello", &mut side.out).unwrap();
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        // From when the Close has left.
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, 2 * SECOND), Some(7 * SECOND));
    }
}

/// What was queued before a Close, and the Close.
fn closing_after(role: Role, config: Config, bytes: usize) -> Side {
    let mut side = Side::new(role, config);
    side.connection.send(&vec![7; bytes][..], &mut side.out).unwrap();
    side.connection.start_close(1000, "", &mut side.out).unwrap();
    side
}

#[test]
fn the_close_timeout_runs_from_when_close_has_left() {
    for role in ROLES {
        let config = Config::default().close_timeout(5 * SECOND).send_timeout(20 * SECOND);
        let mut side = closing_after(role, config, 98_000);
        let mut now = SECOND;
        // The peer takes what was sent before, slower than the close timeout; all but the last byte.
        while side.out.len() > 1 {
            assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
            now += 19 * SECOND;
            side.out.sent((side.out.len() - 1).min(10_000));
            on_time(&mut side, now);
            assert_eq!(side.connection.end(), None);
        }
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
        side.out.sent(1);
        // Nothing prolongs it from there on.
        let until = now + 5 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(until));
        side.receive(&to(role, BINARY, &[0; 5_000]));
        assert_eq!(deadline(&mut side, now + SECOND), Some(until));
        on_time(&mut side, until - TICK);
        assert_eq!(side.connection.end(), None);
        on_time(&mut side, until);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
    }
}

#[test]
fn a_close_that_the_peer_never_takes_is_given_up_by_the_send_timeout() {
    for role in ROLES {
        let config = Config::default().close_timeout(5 * SECOND).send_timeout(20 * SECOND);
        let mut side = closing_after(role, config, 100_000);
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        on_time(&mut side, 21 * SECOND - TICK);
        assert_eq!(side.connection.end(), None);
        let waiting = side.out.len();
        on_time(&mut side, 21 * SECOND);
        assert_stuck(&mut side, waiting);
    }
}

#[test]
fn without_a_send_timeout_each_kilobyte_taken_before_a_close_has_the_close_timeout() {
    for role in ROLES {
        let config = Config::default().close_timeout(5 * SECOND).send_timeout(None);
        let mut side = closing_after(role, config, 100_000);
        let mut now = SECOND;
        for _ in 0..20 {
            assert_eq!(deadline(&mut side, now), Some(now + 5 * SECOND));
            now += 4 * SECOND;
            side.out.sent(1_024);
            on_time(&mut side, now);
        }
        assert_eq!(deadline(&mut side, now), Some(now + 5 * SECOND));
        side.out.sent(1_023);
        on_time(&mut side, now + 5 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
    }
}

#[test]
fn starting_to_close_starts_the_close_timeout_anew() {
    for role in ROLES {
        let config = Config::default().progress_timeout(10 * SECOND).send_timeout(None);
        let mut side = Side::new(role, config);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        assert_eq!(deadline(&mut side, SECOND), Some(11 * SECOND));
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_eq!(deadline(&mut side, 9 * SECOND), Some(14 * SECOND));
        // The message that is under way is no longer waited for on its own.
        on_time(&mut side, 14 * SECOND - TICK);
        assert_eq!(side.connection.end(), None);
        on_time(&mut side, 14 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
    }
}

#[test]
fn an_end_is_not_changed_by_a_timer() {
    for role in ROLES {
        let mut side = slow(role);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        assert!(deadline(&mut side, SECOND).is_some());
        let error = side.try_receive(&[0xF1]).unwrap_err();
        assert_eq!(deadline(&mut side, 100 * SECOND), None);
        on_time(&mut side, 100 * SECOND);
        assert_eq!(side.connection.end(), Some(&End::Failed(error)));
        assert_eq!(side.take_sent(), [(CLOSE, close_payload(1002, b""))]);
    }
}

#[test]
fn a_clock_may_stand_anywhere() {
    for role in ROLES {
        for start in [Duration::ZERO, TICK, Duration::from_secs(u64::MAX / 4), Duration::MAX] {
            let mut side = slow(role);
            side.receive(&fragment_to(role, false, TEXT, b"a"));
            assert!(deadline(&mut side, start).is_some());
            on_time(&mut side, start);
            if start < Duration::from_secs(1 << 30) {
                assert_eq!(side.connection.end(), None);
                on_time(&mut side, start + 10 * SECOND);
                assert_too_slow(&mut side);
            }
        }
    }
}

/// A connection that waits for `what`, with this timeout for it and no other.
fn waiting_for(role: Role, what: &str, timeout: Duration, now: Duration) -> Side {
    let config = Config::default().progress_timeout(None).send_timeout(None).close_timeout(None);
    let config = match what {
        "rest" => config.progress_timeout(timeout),
        "send" => config.send_timeout(timeout),
        "close" | "close to leave" => config.close_timeout(timeout),
        "ping" => config.ping_interval(timeout),
        "pong" => config.ping_interval(Duration::ZERO).pong_timeout(timeout),
        _ => config.idle_timeout(timeout),
    };
    let mut side = Side::new(role, config);
    match what {
        "rest" => side.receive(&fragment_to(role, false, TEXT, b"a")),
        "send" => side.connection.send("a", &mut side.out).unwrap(),
        "close" | "close to leave" => {
            side.connection.start_close(1000, "", &mut side.out).unwrap();
            if what == "close" {
                let _ = side.take_out();
            }
        }
        "pong" => {
            on_time(&mut side, now);
            assert_eq!(side.take_sent().len(), usize::from(now < Duration::MAX));
        }
        _ => {}
    }
    side
}

const WAITS: [&str; 7] = ["rest", "send", "close", "close to leave", "ping", "pong", "idle"];

/// Whether the timeout had its effect.
fn is_over(side: &mut Side) -> bool {
    side.connection.end().is_some() || side.connection.close_sent() || !side.take_sent().is_empty()
}

fn starts() -> [Duration; 6] {
    let edge = Duration::from_nanos(u64::MAX);
    [Duration::ZERO, SECOND, edge - TICK, edge, edge + TICK, Duration::MAX]
}

#[test]
fn the_longest_timeout_is_never_over() {
    for role in ROLES {
        for what in WAITS {
            for start in starts() {
                let mut side = waiting_for(role, what, Duration::MAX, start);
                let waits = side.out.len();
                for now in [start, start.saturating_add(SECOND), Duration::MAX] {
                    assert!(
                        deadline(&mut side, now).is_none_or(|at| at == Duration::MAX),
                        "{what}"
                    );
                    on_time(&mut side, now);
                    assert_eq!(side.connection.end(), None, "{role:?} {what} {start:?}");
                    assert_eq!(side.out.len(), waits, "{role:?} {what} {start:?}");
                }
            }
        }
    }
}

#[test]
fn a_timeout_of_zero_is_over_at_once() {
    for role in ROLES {
        for what in WAITS {
            for start in [Duration::ZERO, SECOND, 1_000_000_000 * SECOND] {
                let mut side = waiting_for(role, what, Duration::ZERO, start);
                if what == "close to leave" || what == "send" {
                    assert_eq!(deadline(&mut side, start), Some(start), "{what}");
                    on_time(&mut side, start);
                    assert!(side.connection.end().is_some(), "{role:?} {what}");
                    continue;
                }
                assert_eq!(deadline(&mut side, start), Some(start), "{what}");
                on_time(&mut side, start);
                assert!(is_over(&mut side), "{role:?} {what} {start:?}");
            }
        }
    }
}

#[test]
fn the_halves_have_the_same_timers() {
    for role in ROLES {
        let config = Config::default();
        let mut side = Side::new(role, config);
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        side.connection.send("Hello", &mut side.out).unwrap();
        let Side { connection, input, mut out, .. } = side;
        let (mut receiver, mut sender, mut replies) = connection.into_halves();
        assert_eq!(receiver.deadline(SECOND, &input, sender.state(&out)), Some(21 * SECOND));
        assert_eq!(sender.deadline(2 * SECOND, &out), Some(22 * SECOND));
        assert!(!sender.is_stalled(22 * SECOND - TICK, &out));
        assert!(sender.is_stalled(22 * SECOND, &out));
        let state = sender.state(&out);
        receiver.on_time(21 * SECOND - TICK, &input, &mut replies, state);
        assert!(receiver.end().is_none() && replies.is_empty());
        receiver.on_time(21 * SECOND, &input, &mut replies, state);
        assert_eq!(receiver.end(), Some(&End::TimedOut(Timeout::Progress)));
        let before = out.len();
        sender.answer(&mut replies, &mut out);
        assert!(out.len() > before && sender.close_sent());
    }
}
