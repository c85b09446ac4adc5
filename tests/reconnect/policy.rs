//! Each setting of `Reconnect`, with the time and the random number as arguments.

use std::time::Duration;

use bowline::protocol::{Never, Retries, Wait};
use bowline::{Outcome, Reconnect, Then};

/// The largest random part is a little less than the ceiling.
const MOST: u64 = u64::MAX;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn closed(code: u16) -> Outcome {
    Outcome::Closed(code.into())
}

/// A policy without a random part, where `Network` backs off by 1, 2, 4, 8 and 10 seconds.
fn policy() -> Reconnect {
    Reconnect::default().first_delay(secs(1)).max_delay(secs(10)).attempts_per_hour(None)
}

/// The ceiling of a wait: what the largest random number gives, rounded up.
fn ceiling(wait: Wait, now: Duration) -> Duration {
    wait.at - now + Duration::from_nanos(1)
}

/// A session that lasted, and then this outcome.
fn after_session(retries: &mut Retries, uptime: Duration, outcome: Outcome) -> Result<Wait, Never> {
    retries.start(secs(0));
    retries.opened(secs(0));
    retries.retry(uptime, outcome, None, MOST)
}

#[test]
fn the_ceiling_grows_to_its_limit() {
    let mut retries = Retries::new(policy());
    let mut ceilings = Vec::new();
    for _ in 0..6 {
        retries.start(secs(0));
        let wait = retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
        ceilings.push(ceiling(wait, secs(0)).as_secs());
    }
    assert_eq!(ceilings, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn the_wait_is_any_part_of_the_ceiling_even_at_its_limit() {
    for (random, millis) in [(0, 0), (1 << 62, 2_500), (1 << 63, 5_000), (3 << 62, 7_500)] {
        let mut retries = Retries::new(policy().first_delay(secs(100)));
        let wait = retries.retry(secs(7), Outcome::Network, None, random).unwrap();
        assert_eq!(wait.at, secs(7) + Duration::from_millis(millis));
        assert_eq!(wait.earliest, secs(7));
    }
}

#[test]
fn a_factor_is_from_1_to_100() {
    for (factor, second) in [(1.0, 1), (3.0, 3), (0.5, 1), (f64::NAN, 1), (-1.0, 1), (1e300, 100)] {
        let mut retries = Retries::new(policy().max_delay(secs(1_000)).factor(factor));
        retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
        let wait = retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
        assert_eq!(ceiling(wait, secs(0)), secs(second), "{factor}");
    }
}

#[test]
fn a_first_delay_of_zero_still_grows() {
    let mut retries = Retries::new(policy().first_delay(secs(0)));
    let mut waits = || retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
    assert_eq!(waits().at, secs(0));
    assert_eq!(ceiling(waits(), secs(0)), secs(1));
    assert_eq!(ceiling(waits(), secs(0)), secs(2));
}

#[test]
fn a_success_begins_anew() {
    let mut retries = Retries::new(policy());
    for _ in 0..5 {
        retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
    }
    let wait = after_session(&mut retries, secs(10), Outcome::Local).unwrap();
    assert_eq!(ceiling(wait, secs(10)), secs(1));
}

#[test]
fn a_short_session_is_a_failed_attempt() {
    let just_short = secs(10) - Duration::from_nanos(1);
    let mut retries = Retries::new(policy().max_attempts(3));
    for expected in [1, 2] {
        let wait = after_session(&mut retries, just_short, Outcome::Local).unwrap();
        assert_eq!(ceiling(wait, just_short), secs(expected));
    }
    let never = after_session(&mut retries, just_short, Outcome::Local);
    assert_eq!(never, Err(Never::Attempts(3)));

    let mut retries = Retries::new(policy().max_attempts(1).min_uptime(secs(0)));
    assert!(after_session(&mut retries, secs(0), Outcome::Local).is_ok());
}

/// The session whose end nobody told is not that of the next attempt.
#[test]
fn an_attempt_that_fails_is_no_session() {
    let mut retries = Retries::new(policy().max_attempts(1));
    retries.start(secs(0));
    retries.opened(secs(0));
    retries.start(secs(60));
    assert!(retries.retry(secs(60), Outcome::Network, None, 0).is_err());
}

#[test]
fn attempts_in_a_row_are_counted() {
    let mut retries = Retries::new(policy().max_attempts(2));
    assert!(retries.retry(secs(0), Outcome::Network, None, 0).is_ok());
    assert!(after_session(&mut retries, secs(10), Outcome::Network).is_ok());
    assert!(retries.retry(secs(0), Outcome::Network, None, 0).is_ok());
    let never = retries.retry(secs(0), Outcome::Network, None, 0);
    assert_eq!(never, Err(Never::Attempts(2)));
    // Who goes on has as many again.
    assert!(retries.retry(secs(0), Outcome::Network, None, 0).is_ok());
    assert!(retries.retry(secs(0), Outcome::Network, None, 0).is_err());
    // Zero attempts would be no client.
    let mut retries = Retries::new(policy().max_attempts(0));
    assert_eq!(retries.retry(secs(0), Outcome::Network, None, 0), Err(Never::Attempts(1)));
}

#[test]
fn what_is_not_worth_it_stops() {
    for outcome in [closed(1000), closed(1008), closed(4000), Outcome::Status(401), Outcome::Tls] {
        let mut retries = Retries::new(policy());
        let never = after_session(&mut retries, secs(60), outcome);
        assert_eq!(never, Err(Never::Outcome(outcome)));
    }
}

/// A program that goes on after it was told to stop makes no tight loop of it.
#[test]
fn who_goes_on_anyway_backs_off_too() {
    let mut retries = Retries::new(policy().max_attempts(1));
    let mut ceilings = Vec::new();
    for _ in 0..4 {
        retries.start(secs(0));
        retries.retry(secs(0), Outcome::Invalid, None, MOST).unwrap_err();
        ceilings.push(ceiling(retries.anyway(secs(0), MOST), secs(0)).as_secs());
    }
    assert_eq!(ceilings, [1, 2, 4, 8]);
}

#[test]
fn the_program_says_what_close_codes_mean() {
    let policy = policy()
        .on_close(1000..=1000, Then::BackOff)
        .on_close(1001..=1001, Then::Stop)
        .on_close(4000..=4999, Then::BackOff)
        .on_close(4003..=4003, Then::Stop);
    for (code, then) in [
        (1000, Then::BackOff),
        (1001, Then::Stop),
        (1008, Then::Stop),
        (1011, Then::BackOff),
        (3999, Then::Stop),
        (4000, Then::BackOff),
        (4003, Then::Stop),
        (4999, Then::BackOff),
    ] {
        assert_eq!(policy.then(closed(code)), then, "{code}");
    }
    assert_eq!(policy.then(Outcome::Status(401)), Then::Stop);
    assert_eq!(policy.then(Outcome::Network), Then::BackOff);
}

#[test]
fn codes_by_hundreds() {
    let policy = policy().on_close_by_hundreds();
    for (code, then) in [
        (3999, Then::Stop),
        (4000, Then::Stop),
        (4099, Then::Stop),
        (4100, Then::BackOff),
        (4199, Then::BackOff),
        (4200, Then::AtOnce),
        (4299, Then::AtOnce),
        (4300, Then::Stop),
        (1000, Then::Stop),
    ] {
        assert_eq!(policy.then(closed(code)), then, "{code}");
    }
}

#[test]
fn at_once_holds_after_a_success_only() {
    let mut retries = Retries::new(policy().on_close_by_hundreds());
    let wait = after_session(&mut retries, secs(10), closed(4200)).unwrap();
    assert_eq!(wait.at, secs(10));
    let wait = after_session(&mut retries, secs(1), closed(4200)).unwrap();
    assert_eq!(ceiling(wait, secs(1)), secs(10));
}

/// A server that restarts ends all its sessions at one moment.
#[test]
fn what_may_concern_many_clients_is_spread() {
    let policy = policy().spread(secs(8));
    for outcome in [closed(1001), closed(1006), closed(1012), Outcome::Network] {
        let mut retries = Retries::new(policy.clone());
        let wait = after_session(&mut retries, secs(60), outcome).unwrap();
        assert_eq!(ceiling(wait, secs(60)), secs(8), "{outcome}");
    }
    let mut retries = Retries::new(policy.clone());
    let wait = retries.retry(secs(0), Outcome::Status(503), None, MOST).unwrap();
    assert_eq!(ceiling(wait, secs(0)), secs(8));
    // An attempt that got no answer, and a session that this side ended, concern nobody else.
    let mut retries = Retries::new(policy.clone());
    let wait = retries.retry(secs(0), Outcome::Network, None, MOST).unwrap();
    assert_eq!(ceiling(wait, secs(0)), secs(1));
    let wait = after_session(&mut retries, secs(60), Outcome::Local).unwrap();
    assert_eq!(ceiling(wait, secs(60)), secs(1));
}

#[test]
fn a_busy_server_is_left_alone_for_longer() {
    let policy = policy().busy_delay(secs(15)).spread(secs(0));
    for outcome in [closed(1013), Outcome::OverBudget] {
        let mut retries = Retries::new(policy.clone());
        let wait = after_session(&mut retries, secs(60), outcome).unwrap();
        assert_eq!(wait.earliest, secs(75), "{outcome}");
        assert_eq!(ceiling(wait, secs(60)), secs(16), "{outcome}");
        assert_eq!(wait.nudged(secs(61)).at, secs(75));
    }
}

#[test]
fn the_server_says_when_to_come_back_but_not_for_ever() {
    let policy = policy().spread(secs(4)).max_retry_after(secs(100));
    for (asked, given) in [(0, 0), (30, 30), (100, 100), (101, 100), (u64::MAX, 100)] {
        let mut retries = Retries::new(policy.clone());
        let asked = Some(secs(asked));
        let wait = retries.retry(secs(0), Outcome::Status(503), asked, MOST).unwrap();
        assert_eq!(wait.earliest, secs(given));
        // All who were told the same do not come at the same moment.
        assert_eq!(ceiling(wait, secs(0)), secs(given + 4));
        assert_eq!(wait.nudged(secs(0)).at, secs(given));
    }
    // It is no reason to come back where there was none.
    let mut retries = Retries::new(policy);
    let never = retries.retry(secs(0), Outcome::Status(403), Some(secs(1)), 0);
    assert_eq!(never, Err(Never::Outcome(Outcome::Status(403))));
}

#[test]
fn a_nudge_ends_the_wait() {
    let mut retries = Retries::new(policy().first_delay(secs(10)));
    let wait = retries.retry(secs(5), Outcome::Network, None, MOST).unwrap();
    assert_eq!(wait.nudged(secs(7)).at, secs(7));
    // It prolongs none.
    assert_eq!(wait.nudged(secs(100)).at, wait.at);
}

#[test]
fn attempts_in_an_hour_are_counted_over_the_last_hour() {
    const HOUR: u64 = 3_600;
    let mut retries = Retries::new(policy().first_delay(secs(0)).attempts_per_hour(3));
    for at in [0, 10, 20] {
        retries.start(secs(at));
    }
    let wait = retries.retry(secs(20), Outcome::Network, None, 0).unwrap();
    assert_eq!((wait.at, wait.earliest), (secs(HOUR), secs(HOUR)));
    assert_eq!(wait.nudged(secs(21)).at, secs(HOUR));
    retries.start(wait.at);
    let wait = retries.retry(wait.at, Outcome::Network, None, 0).unwrap();
    assert_eq!(wait.at, secs(HOUR + 10));
    // A success does not make more of them, nor does going on after a stop.
    let wait = retries.anyway(secs(HOUR), 0);
    assert_eq!(wait.at, secs(HOUR + 10));

    let mut retries = Retries::new(policy().attempts_per_hour(0));
    assert!(retries.retry(secs(0), Outcome::Network, None, 0).unwrap().at < secs(1));
    retries.start(secs(0));
    assert_eq!(retries.retry(secs(0), Outcome::Network, None, 0).unwrap().at, secs(HOUR));
}

#[test]
fn sessions_that_began_together_end_apart() {
    let retries = Retries::new(policy().max_session(secs(1_000)));
    assert_eq!(retries.session_ends(secs(5), 0), Some(secs(1_005)));
    assert_eq!(retries.session_ends(secs(5), 1 << 63), Some(secs(955)));
    assert!(retries.session_ends(secs(5), MOST) > Some(secs(905)));
    assert_eq!(Retries::new(policy()).session_ends(secs(5), 0), None);
}

#[test]
fn durations_of_any_length_do_no_harm() {
    let long = Duration::MAX;
    let policy = Reconnect::default()
        .first_delay(long)
        .spread(long)
        .factor(100.0)
        .max_delay(long)
        .min_uptime(long)
        .busy_delay(long)
        .max_retry_after(long)
        .max_session(long);
    let mut retries = Retries::new(policy);
    for now in [Duration::ZERO, secs(1), long] {
        retries.start(now);
        retries.opened(now);
        retries.session_ends(now, MOST);
        let wait = retries.retry(now, closed(1013), Some(long), MOST).unwrap();
        assert!(wait.at >= now && wait.earliest <= wait.at);
    }
}
