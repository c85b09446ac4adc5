//! What a `Config` holds, and what the ends of the range of each setting mean.

use std::time::Duration;

use crate::support::*;
use bowline::{Config, End, Refusal, Timeout};

const SECOND: Duration = Duration::from_secs(1);

type Set = fn(Config, Option<Duration>) -> Config;
type Get = fn(&Config) -> Option<Duration>;

/// Every setting that is a duration.
const DURATIONS: [(Set, Get); 7] = [
    (Config::handshake_timeout, |config| config.get().handshake_timeout),
    (Config::close_timeout, |config| config.get().close_timeout),
    (Config::progress_timeout, |config| config.get().progress_timeout),
    (Config::send_timeout, |config| config.get().send_timeout),
    (Config::ping_interval, |config| config.get().ping_interval),
    (Config::pong_timeout, |config| config.get().pong_timeout),
    (Config::idle_timeout, |config| config.get().idle_timeout),
];

#[test]
fn a_config_tells_what_was_set() {
    let config = Config::default()
        .max_message_size(1)
        .max_frame_size(2)
        .max_fragments(3)
        .max_pending_pongs(4)
        .max_send_queue(5)
        .max_send_frame(126)
        .memory_budget(&bowline::Budget::new(6))
        .max_head_size(7)
        .max_headers(8)
        .report_control_frames(true)
        .accept_unmasked_frames(true)
        .stats(true);
    let settings = config.get();
    assert_eq!((settings.max_message_size, settings.max_frame_size), (1, Some(2)));
    assert_eq!((settings.max_fragments, settings.max_pending_pongs), (3, 4));
    assert_eq!((settings.max_send_queue, settings.max_send_frame), (5, Some(126)));
    assert_eq!(settings.budget.as_ref().map(bowline::Budget::limit), Some(6));
    assert_eq!((settings.max_head_size, settings.max_headers), (7, 8));
    assert!(settings.report_control_frames && settings.stats);
    assert!(settings.accept_unmasked_frames);
    for (set, get) in DURATIONS {
        assert_eq!(get(&set(Config::default(), Some(9 * SECOND))), Some(9 * SECOND));
    }
}

#[test]
fn the_longest_durations_mean_never_as_none_does() {
    for (set, get) in DURATIONS {
        for never in [None, Some(Duration::MAX), Some(Duration::from_secs(1 << 30))] {
            assert_eq!(get(&set(Config::default(), never)), None);
        }
        let longest = Duration::from_secs(1 << 30) - Duration::from_nanos(1);
        for kept in [Duration::ZERO, longest] {
            assert_eq!(get(&set(Config::default(), Some(kept))), Some(kept));
        }
    }
}

#[test]
fn no_deadline_comes_of_a_duration_that_means_never() {
    for role in ROLES {
        let mut config = Config::default();
        for (set, _) in DURATIONS {
            config = set(config, Some(Duration::MAX));
        }
        let mut side = Side::new(role, config);
        let now = 100 * SECOND;
        side.receive(&fragment_to(role, false, TEXT, b"begun"));
        side.connection.send("waits", &mut side.out).unwrap();
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), None);
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), None);
        side.connection.on_time(Duration::MAX, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), None);
    }
}

#[test]
fn a_pong_may_take_for_ever_without_a_pong_timeout() {
    for role in ROLES {
        let config = Config::default().ping_interval(SECOND).pong_timeout(None).send_timeout(None);
        let mut side = Side::new(role, config);
        let now = 100 * SECOND;
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), Some(now + SECOND));
        side.connection.on_time(now + SECOND, &side.input, &mut side.out);
        assert_eq!(side.take_sent().len(), 1);
        assert_eq!(side.connection.deadline(now + SECOND, &side.input, &side.out), None);
    }
}

#[test]
fn a_timeout_of_zero_has_run_out_at_the_first_wait() {
    for role in ROLES {
        let config =
            Config::default().send_timeout(Duration::ZERO).progress_timeout(Duration::ZERO);
        let now = 100 * SECOND;
        // Without a wait nothing happens.
        let mut side = Side::new(role, config.clone());
        side.receive(&to(role, TEXT, b"whole"));
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), None);
        // A message that is not there whole.
        side.receive(&fragment_to(role, false, TEXT, b"begun"));
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), Some(now));
        side.connection.on_time(now, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Progress)));
        // Bytes that the socket did not take.
        let mut side = Side::new(role, config);
        side.connection.send("waits", &mut side.out).unwrap();
        side.connection.on_time(now, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Send)));
    }
}

#[test]
fn a_send_queue_of_zero_bytes_is_one_message_at_a_time() {
    for role in ROLES {
        let config = Config::default().max_send_queue(0);
        assert_eq!(config.get().max_send_queue, 1);
        let mut side = Side::new(role, config);
        for _ in 0..3 {
            side.connection.send("one", &mut side.out).unwrap();
            let refused = side.connection.send("two", &mut side.out).unwrap_err();
            assert_eq!(refused.refusal(), Refusal::QueueFull);
            assert_eq!(side.take_sent().len(), 1);
        }
    }
}
