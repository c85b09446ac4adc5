//! A clock that goes on while the machine sleeps.

use core::time::Duration;

/// The clock of the wall is set now and then, by less than this.
const SET: Duration = Duration::from_secs(5);

/// Makes one clock of two. The monotonic clock stops on some systems while the machine sleeps. The clock of the wall goes on,
/// but can be set.
///
/// So the monotonic clock counts, and where the wall is suddenly far ahead, the machine has slept. A wall that was set ahead by
/// hours looks the same. That does no harm: one wait is shorter.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The last reading of both.
    last: Option<(Duration, Duration)>,
    slept: Duration,
}

impl Clock {
    pub(super) fn read(&mut self, monotonic: Duration, wall: Duration) -> Duration {
        if let Some((last, last_wall)) = self.last {
            let awake = monotonic.saturating_sub(last);
            let ahead = wall.saturating_sub(last_wall).saturating_sub(awake);
            if ahead >= SET {
                self.slept = self.slept.saturating_add(ahead);
            }
        }
        self.last = Some((monotonic, wall));
        monotonic.saturating_add(self.slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(clock: &mut Clock, monotonic: u64, wall: u64) -> u64 {
        clock.read(Duration::from_secs(monotonic), Duration::from_secs(wall)).as_secs()
    }

    #[test]
    fn sleep_counts() {
        let mut clock = Clock::default();
        assert_eq!(read(&mut clock, 10, 1_000), 10);
        assert_eq!(read(&mut clock, 20, 1_010), 20);
        // An hour of sleep, in which the monotonic clock went on by a second.
        assert_eq!(read(&mut clock, 21, 4_611), 3_621);
        assert_eq!(read(&mut clock, 22, 4_612), 3_622);
        assert_eq!(read(&mut clock, 23, 4_618), 3_628);
    }

    #[test]
    fn a_wall_that_is_set_changes_nothing() {
        let mut clock = Clock::default();
        assert_eq!(read(&mut clock, 10, 1_000), 10);
        assert_eq!(read(&mut clock, 11, 1_005), 11);
        assert_eq!(read(&mut clock, 12, 500), 12);
        assert_eq!(read(&mut clock, 13, 501), 13);
        // A paused clock that is moved.
        assert_eq!(read(&mut clock, 1_000, 502), 1_000);
    }
}
