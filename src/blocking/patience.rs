//! What a loop does when the stream moves no bytes: it goes on, it pauses, or it stops. No loop spins.

use core::time::Duration;
use std::io::{self, ErrorKind};

use crate::adapter::{epoch, is_peer_gone};

/// Sockets refuse a timeout of zero.
pub(super) const LEAST: Duration = Duration::from_millis(1);

/// Some systems refuse longer timeouts. A loop that waits longer waits again.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// Timers of sockets end up to one tick of the kernel too early: 10 ms at 100 Hz.
const SLACK: Duration = Duration::from_millis(15);

/// A wait that ends within `SLACK` before its timeout is a failure after this many in a row. One tick explains two.
const EARLY: u32 = 3;

/// How often in a row a stream may be interrupted before the loop pauses each time.
const INTERRUPTS: u32 = 16;

/// How long that pause is.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn now() -> Duration {
    epoch().elapsed()
}

/// Whether the deadline is reached. [`Duration::MAX`] means never.
pub(super) fn is_reached(deadline: Option<Duration>, now: Duration) -> bool {
    deadline.is_some_and(|at| at <= now && at < Duration::MAX)
}

/// The timeout of a socket that ends at `deadline`, or as near to it as sockets allow.
pub(super) fn timeout_until(deadline: Option<Duration>, now: Duration) -> Option<Duration> {
    Some(as_timeout(deadline?.saturating_sub(now)))
}

/// A timeout as sockets take it.
pub(super) fn as_timeout(timeout: Duration) -> Duration {
    timeout.clamp(LEAST, MOST)
}

/// Whether the stream's timeout ran out, or the stream is in non-blocking mode and would block.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::WouldBlock => true,
        // On Unix, TimedOut from the system is ETIMEDOUT: TCP has given up the peer.
        ErrorKind::TimedOut => !cfg!(unix) || error.raw_os_error().is_none(),
        _ => false,
    }
}

/// Whether the error means that the peer is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    is_peer_gone(error) || error.kind() == ErrorKind::TimedOut && !is_timeout(error)
}

/// Counts the operations in a row that moved no byte.
#[derive(Debug, Default)]
pub(super) struct Patience {
    interrupted: u32,
    early: u32,
}

impl Patience {
    /// Bytes moved.
    pub(super) fn moved(&mut self) {
        *self = Self::default();
    }

    /// The stream gave [`ErrorKind::Interrupted`], and asks to be called again. A signal or a TLS record does
    /// that now and then. If a stream does nothing else, the loop pauses, so that it does not spin.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = self.interrupted.saturating_add(1);
        if self.interrupted > INTERRUPTS {
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether a stream that would block did not wait for its timeout. Then it is in non-blocking mode, or its
    /// timeout is not the one that was set. Another call would give the same again.
    pub(super) fn does_not_wait(&mut self, waited: Duration, timeout: Option<Duration>) -> bool {
        match timeout {
            None => true,
            Some(timeout) if waited >= timeout => {
                self.early = 0;
                false
            }
            Some(timeout) => {
                self.early += 1;
                self.early >= EARLY || timeout - waited > SLACK
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_zero_and_never_longer_than_systems_take() {
        let now = Duration::from_secs(5);
        assert_eq!(timeout_until(None, now), None);
        assert_eq!(timeout_until(Some(Duration::ZERO), now), Some(LEAST));
        assert_eq!(timeout_until(Some(now + SLACK), now), Some(SLACK));
        assert_eq!(timeout_until(Some(Duration::MAX), now), Some(MOST));
        assert!(is_reached(Some(now), now) && !is_reached(Some(now + LEAST), now));
        assert!(!is_reached(None, now) && !is_reached(Some(Duration::MAX), Duration::MAX));
    }

    #[test]
    fn a_wait_that_ends_a_tick_early_is_a_timeout_and_one_that_ends_at_once_is_none() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::default();
        for _ in 0..10 {
            assert!(!patience.does_not_wait(second, Some(second)));
        }
        assert!(patience.does_not_wait(Duration::ZERO, Some(second)), "far too early");
        assert!(patience.does_not_wait(second, None), "there is no timeout");
        let mut patience = Patience::default();
        let tick_early = second - SLACK;
        assert!(!patience.does_not_wait(tick_early, Some(second)));
        assert!(!patience.does_not_wait(Duration::ZERO, Some(LEAST)), "the tick's rest");
        assert!(patience.does_not_wait(Duration::ZERO, Some(LEAST)), "three in a row");
        patience.moved();
        assert!(!patience.does_not_wait(tick_early, Some(second)));
    }

    #[test]
    fn a_connection_that_tcp_gave_up_is_a_peer_that_is_gone() {
        assert!(is_timeout(&ErrorKind::TimedOut.into()), "a stream that names its timeout so");
        assert!(is_timeout(&ErrorKind::WouldBlock.into()));
        #[cfg(target_os = "linux")]
        {
            let etimedout = io::Error::from_raw_os_error(110);
            assert!(is_gone(&etimedout) && !is_timeout(&etimedout));
        }
    }
}
