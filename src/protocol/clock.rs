//! The timer that every deadline of a connection is made of. Time is an argument: there is no clock here.
//!
//! A deadline is the time when something began, plus a timeout. [`Duration::ZERO`] is over at once, and
//! [`Duration::MAX`] never is. A sum that no `Duration` can hold never is either.

use core::time::Duration;

/// When something began, in eight bytes: nanoseconds plus one. Zero means that nothing began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timer(u64);

/// The value of a timer that began later than 584 years on the clock. It never runs out.
const NEVER: u64 = u64::MAX;

impl Timer {
    pub(crate) fn is_set(self) -> bool {
        self.0 != 0
    }

    pub(crate) fn set(&mut self, now: Duration) {
        self.0 = u64::try_from(now.as_nanos()).map_or(NEVER, |now| now.saturating_add(1));
    }

    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }

    /// When the timeout is over, if the timer is set.
    pub(crate) fn deadline(self, timeout: Duration) -> Option<Duration> {
        match self.0 {
            0 => None,
            NEVER => Some(Duration::MAX),
            since => Some(Duration::from_nanos(since - 1).saturating_add(timeout)),
        }
    }
}

/// Whether the deadline is reached. [`Duration::MAX`] never is: it stands for a sum that no `Duration` holds.
pub(crate) fn is_reached(deadline: Duration, now: Duration) -> bool {
    deadline <= now && deadline < Duration::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_began_beyond_its_range_never_runs_out() {
        let edge = Duration::from_nanos(u64::MAX);
        for (start, never) in [
            (Duration::ZERO, false),
            (edge - Duration::from_nanos(2), false),
            (edge - Duration::from_nanos(1), true),
            (edge, true),
            (edge + Duration::from_nanos(1), true),
            (Duration::MAX, true),
        ] {
            let mut timer = Timer::default();
            assert!(!timer.is_set() && timer.deadline(Duration::ZERO).is_none());
            timer.set(start);
            let at = timer.deadline(Duration::ZERO).unwrap();
            assert_eq!(at, if never { Duration::MAX } else { start });
            assert_eq!(is_reached(at, start), !never, "{start:?}");
            assert_eq!(timer.deadline(Duration::MAX), Some(Duration::MAX));
            assert!(!is_reached(Duration::MAX, Duration::MAX));
        }
    }
}
