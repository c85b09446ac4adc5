//! How many of the waiting bytes a peer has to take in each send timeout.

use std::time::Duration;

use crate::support::*;
use bowline::{Config, Connection, End, Role, SendBuf, SendState, Timeout};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(100);

/// A connection with this many bytes that wait, whose send timeout of 20 s has begun.
fn waiting(role: Role, bytes: usize) -> Side {
    let config = Config::default().send_timeout(20 * SECOND).max_send_queue(64 << 20);
    let mut side = Side::new(role, config);
    add(&mut side, bytes);
    assert_eq!(deadline(&mut side, START), Some(START + 20 * SECOND));
    side
}

/// Queues a message such that `bytes` more wait.
fn add(side: &mut Side, bytes: usize) {
    let before = side.out.len();
    let header = 2 + if side.role == Role::Client { 4 } else { 0 };
    let header =
        header + [0, 2, 8][usize::from(bytes > 125 + header) + usize::from(bytes > 65_000)];
    side.connection.send(&vec![7; bytes - header][..], &mut side.out).unwrap();
    assert_eq!(side.out.len() - before, bytes);
}

fn deadline(side: &mut Side, now: Duration) -> Option<Duration> {
    side.connection.deadline(now, &side.input, &side.out)
}

fn end_at(side: &mut Side, now: Duration) -> Option<&End> {
    side.connection.on_time(now, &side.input, &mut side.out);
    side.connection.end()
}

#[test]
fn a_peer_that_takes_less_than_a_kib_in_each_period_is_given_up() {
    for role in ROLES {
        let mut side = waiting(role, 1 << 20);
        for i in 1..20 {
            side.out.sent(53);
            // 19 times 53 bytes are 1,007.
            assert_eq!(deadline(&mut side, START + i * SECOND), Some(START + 20 * SECOND));
        }
        assert_eq!(end_at(&mut side, START + 20 * SECOND), Some(&End::TimedOut(Timeout::Send)));
    }
}

#[test]
fn a_peer_that_takes_a_kib_in_each_period_goes_on() {
    for role in ROLES {
        let mut side = waiting(role, 100_000);
        let mut now = START;
        while side.out.len() > 2_000 {
            now += 20 * SECOND;
            side.out.sent(1_000);
            let before = now - SECOND;
            assert_eq!(deadline(&mut side, before), Some(now), "1,000 are too few");
            side.out.sent(24);
            assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND), "1,024 are enough");
            assert_eq!(end_at(&mut side, now), None);
        }
    }
}

#[test]
fn a_short_queue_that_empties_is_progress_also_if_more_was_added_meanwhile() {
    for role in ROLES {
        let mut side = waiting(role, 100);
        side.out.sent(99);
        assert_eq!(deadline(&mut side, START + SECOND), Some(START + 20 * SECOND));
        add(&mut side, 100_000);
        side.out.sent(1);
        // All that waited when the period began has left.
        let now = START + 19 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
        side.out.sent(1_023);
        assert_eq!(deadline(&mut side, now + SECOND), Some(now + 20 * SECOND));
        assert_eq!(end_at(&mut side, now + 20 * SECOND), Some(&End::TimedOut(Timeout::Send)));
    }
}

#[test]
fn a_queue_that_ran_empty_between_two_looks_has_a_new_period() {
    for role in ROLES {
        let mut side = waiting(role, 100);
        let _ = side.take_out();
        add(&mut side, 100);
        let now = START + 19 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
    }
}

#[test]
fn no_timer_runs_while_nothing_waits() {
    for role in ROLES {
        let mut side = waiting(role, 100);
        let _ = side.take_out();
        assert_eq!(deadline(&mut side, START + 5 * SECOND), None);
        assert_eq!(end_at(&mut side, START + 500 * SECOND), None);
        add(&mut side, 100);
        let now = START + 1_000 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
    }
}

#[test]
fn bytes_that_the_stream_holds_back_wait_too() {
    for role in ROLES {
        let mut side = waiting(role, 100);
        let _ = side.take_out();
        side.out.set_buffered(true);
        assert!(side.out.is_empty() && side.out.is_buffered());
        let now = START + 10 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
        assert_eq!(deadline(&mut side, now + 19 * SECOND), Some(now + 20 * SECOND));
        // More that passes through is progress: the stream took it after it had let some go.
        add(&mut side, 100);
        let _ = side.take_out();
        let now = now + 19 * SECOND;
        assert_eq!(deadline(&mut side, now), Some(now + 20 * SECOND));
        assert_eq!(end_at(&mut side, now + 20 * SECOND), Some(&End::TimedOut(Timeout::Send)));

        let mut side = waiting(role, 100);
        let _ = side.take_out();
        side.out.set_buffered(true);
        assert!(deadline(&mut side, START).is_some());
        side.out.set_buffered(false);
        assert_eq!(deadline(&mut side, START), None);
    }
}

#[test]
fn a_close_has_not_left_while_the_stream_holds_bytes_back() {
    for role in ROLES {
        let (_, mut sender, _) = Side::new(role, Config::default()).connection.into_halves();
        let mut out = bowline::SendBuf::new();
        sender.start_close(1000, "", &mut out).unwrap();
        out.set_buffered(true);
        out.sent(out.len());
        let state = sender.state(&out);
        assert!(state.close_sent() && !state.close_left() && state.is_waiting());
        out.set_buffered(false);
        let state = sender.state(&out);
        assert!(state.close_sent() && state.close_left() && !state.is_waiting());
    }
}

#[test]
fn the_state_of_sending_is_one_number() {
    let (_, mut sender, _) = Connection::server(Config::default()).into_halves();
    let mut out = SendBuf::new();
    let mut states = vec![sender.state(&out)];
    sender.send("some", &mut out).unwrap();
    states.push(sender.state(&out));
    out.sent(3);
    states.push(sender.state(&out));
    out.sent(3);
    states.push(sender.state(&out));
    sender.start_close(1000, "", &mut out).unwrap();
    states.push(sender.state(&out));
    out.sent(4);
    states.push(sender.state(&out));
    let bits: Vec<u64> = states.iter().map(|state| state.to_bits()).collect();
    let again: Vec<SendState> = bits.iter().map(|&bits| SendState::from_bits(bits)).collect();
    assert_eq!(again, states);
    assert!(
        bits.iter()
            .enumerate()
            .all(|(i, bits)| states[..i].iter().all(|other| other.to_bits() != *bits))
    );
}
