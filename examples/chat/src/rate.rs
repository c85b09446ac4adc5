//! How fast somebody may talk, over all transports together.

use std::time::Duration;

use tokio::time::Instant;

/// `BURST` messages at once, and one more for each `REFILL`.
pub struct Rate {
    tokens: u32,
    strikes: u32,
    filled: Instant,
}

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_millis(500);
/// After this many refusals the connection is closed. A pause that allows a whole burst resets the count.
const STRIKES: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    No,
    Never,
}

impl Rate {
    pub fn new(now: Instant) -> Self {
        Self { tokens: BURST, strikes: 0, filled: now }
    }

    pub fn take(&mut self, now: Instant) -> Allowed {
        self.refill(now);
        if self.tokens > 0 {
            self.tokens -= 1;
            return Allowed::Yes;
        }
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes > STRIKES { Allowed::Never } else { Allowed::No }
    }

    /// It knows nothing that a new one does not.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens == BURST
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && now - self.filled >= REFILL {
            self.tokens += 1;
            self.filled += REFILL;
        }
        if self.tokens == BURST {
            self.filled = now;
            self.strikes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        assert!(rate.is_full(now));
        for _ in 0..BURST {
            assert_eq!(rate.take(now), Allowed::Yes);
        }
        assert!(!rate.is_full(now));
        assert_eq!(rate.take(now), Allowed::No);
        now += REFILL;
        assert_eq!(rate.take(now), Allowed::Yes);
        assert_eq!(rate.take(now), Allowed::No);
        now += 100 * REFILL;
        assert!(rate.is_full(now));
        for _ in 0..BURST {
            assert_eq!(rate.take(now), Allowed::Yes);
        }
        assert_eq!(rate.take(now), Allowed::No);
    }

    #[test]
    fn who_does_not_stop_is_closed() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        for _ in 0..BURST + STRIKES {
            assert_ne!(rate.take(now), Allowed::Never);
        }
        assert_eq!(rate.take(now), Allowed::Never);
    }
}
