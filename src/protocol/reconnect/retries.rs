//! When the next attempt is made (RFC 6455 §7.2.3): arithmetic of the time, the outcome and a random number.

use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

use super::{Outcome, Reconnect, Then};
use crate::protocol::close::CloseCode;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The ceiling grows from this on, so that it grows from zero as well.
const LEAST: Duration = Duration::from_millis(500);

/// Why a client does not connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Never {
    /// Another attempt would go the same way, or the program does not want one after this outcome.
    Outcome(Outcome),
    /// This many attempts failed in a row, which is [`Reconnect::max_attempts`].
    Attempts(u32),
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outcome(outcome) => write!(f, "no other attempt after this: {outcome}"),
            Self::Attempts(1) => f.write_str("1 attempt failed, which is max_attempts"),
            Self::Attempts(n) => write!(f, "{n} attempts in a row failed, which is max_attempts"),
        }
    }
}

impl core::error::Error for Never {}

/// When the next attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The time, on the clock of the caller.
    pub at: Duration,
    /// No reason makes it earlier: the server asked for this wait, or the attempts of this hour are used up.
    pub earliest: Duration,
}

impl Wait {
    /// The wait when there is a reason to try now, such as a network that is back.
    pub fn nudged(self, now: Duration) -> Self {
        Self { at: self.earliest.max(now).min(self.at), ..self }
    }
}

/// The attempts of one client, and when it makes the next.
///
/// The time is that of any clock that only goes forward. It should go on while the machine sleeps.
///
/// ```
/// use bowline::protocol::{Never, Retries};
/// use bowline::{Outcome, Reconnect};
/// use std::time::Duration;
///
/// let mut retries = Retries::new(Reconnect::default());
/// let (mut now, random) = (Duration::ZERO, 1 << 63); // Random, in a real program.
/// retries.start(now);
/// let wait = retries.retry(now, Outcome::Network, None, random)?;
/// assert_eq!(wait.at, Duration::from_millis(500)); // Half of the first second.
///
/// now = wait.at;
/// retries.start(now);
/// retries.opened(now);
/// let never = retries.retry(now, Outcome::Closed(1008.into()), None, random);
/// assert_eq!(never, Err(Never::Outcome(Outcome::Closed(1008.into()))));
/// # Ok::<(), Never>(())
/// ```
#[derive(Clone, Debug)]
pub struct Retries {
    policy: Reconnect,
    /// Attempts that failed in a row.
    failed: u32,
    /// The wait is a random part of this.
    ceiling: Duration,
    /// When the session began that is open.
    open_since: Option<Duration>,
    /// When each attempt of the last hour was made.
    recent: VecDeque<Duration>,
}

impl Retries {
    /// No attempt has been made. The first one needs no wait.
    pub fn new(policy: Reconnect) -> Self {
        let ceiling = policy.first_delay;
        Self { policy, failed: 0, ceiling, open_since: None, recent: VecDeque::new() }
    }

    /// The policy.
    pub fn policy(&self) -> &Reconnect {
        &self.policy
    }

    /// An attempt begins. If a session is open, the attempt is to make its successor. A session that was long enough is a
    /// success then, although it goes on.
    pub fn start(&mut self, now: Duration) {
        if self.open_since.take().is_some_and(|since| self.is_success(since, now)) {
            self.succeeded();
        }
        let Some(limit) = self.policy.attempts_per_hour else { return };
        self.recent.push_back(now);
        if self.recent.len() > limit as usize {
            self.recent.pop_front();
        }
    }

    /// When the first attempt may be made that is to make the successor of a session while that is open: now, unless the
    /// attempts of this hour are used up.
    pub fn renew(&self, now: Duration) -> Wait {
        self.wait(now, Duration::ZERO, Duration::ZERO)
    }

    /// The attempt opened a session.
    pub fn opened(&mut self, now: Duration) {
        self.open_since = Some(now);
    }

    /// When a session that began at `now` should be closed: see [`Reconnect::max_session`].
    pub fn session_ends(&self, now: Duration, random: u64) -> Option<Duration> {
        let time = self.policy.max_session?;
        Some(now.saturating_add(time - part(time / 10, random)))
    }

    /// The attempt failed, or the session has ended. `retry_after` is how long the server asks to wait, if it does. All
    /// values of `random` have to be equally likely.
    ///
    /// # Errors
    ///
    /// Why there is no other attempt. If the program makes one all the same, [`anyway`](Self::anyway) says when.
    pub fn retry(
        &mut self,
        now: Duration,
        outcome: Outcome,
        retry_after: Option<Duration>,
        random: u64,
    ) -> Result<Wait, Never> {
        let session = self.open_since.take();
        // A session that is too short counts as a failed attempt. Otherwise a server that accepts and at once closes would
        // be asked all the time.
        let is_success = session.is_some_and(|since| self.is_success(since, now));
        if is_success {
            self.succeeded();
        } else {
            self.failed = self.failed.saturating_add(1);
        }
        if concerns_many(outcome, session.is_some()) {
            self.ceiling = self.ceiling.max(self.policy.spread);
        }
        let then = self.policy.then(outcome);
        if then == Then::Stop {
            return Err(Never::Outcome(outcome));
        }
        if self.policy.max_attempts.is_some_and(|most| self.failed >= most) {
            return Err(Never::Attempts(core::mem::take(&mut self.failed)));
        }
        let asked = retry_after.unwrap_or_default().min(self.policy.max_retry_after);
        let asked = if is_busy(outcome) { asked.max(self.policy.busy_delay) } else { asked };
        if then == Then::AtOnce && is_success {
            return Ok(self.wait(now, asked, Duration::ZERO));
        }
        Ok(self.back_off(now, asked, random))
    }

    /// When to make the next attempt although [`retry`](Self::retry) said that there is none.
    pub fn anyway(&mut self, now: Duration, random: u64) -> Wait {
        self.back_off(now, Duration::ZERO, random)
    }

    fn is_success(&self, since: Duration, now: Duration) -> bool {
        now.saturating_sub(since) >= self.policy.min_uptime
    }

    /// Waits begin with the first again.
    fn succeeded(&mut self) {
        self.failed = 0;
        self.ceiling = self.policy.first_delay;
    }

    fn back_off(&mut self, now: Duration, asked: Duration, random: u64) -> Wait {
        // RFC 6455 §7.2.3: "The first reconnect attempt SHOULD be delayed by a random amount of time." Later ones "SHOULD be
        // delayed by increasingly longer amounts of time, using a method such as truncated binary exponential backoff".
        //
        // The jitter comes after the limit. Before it, all clients that have reached the limit would come in step.
        let max = self.policy.max_delay;
        let ceiling = self.ceiling.min(max);
        // A ceiling of a year times a factor of 100 is no overflow.
        self.ceiling = ceiling.max(LEAST).mul_f64(self.policy.factor);
        self.wait(now, asked, part(ceiling, random))
    }

    fn wait(&self, now: Duration, asked: Duration, more: Duration) -> Wait {
        let allowed = match self.policy.attempts_per_hour {
            Some(limit) if self.recent.len() >= limit as usize => {
                self.recent.front().map_or(now, |&oldest| oldest.saturating_add(HOUR))
            }
            _ => now,
        };
        let earliest = now.saturating_add(asked).max(allowed);
        Wait { at: now.saturating_add(asked).saturating_add(more).max(earliest), earliest }
    }
}

/// Whether the outcome may have come to many clients at one moment.
fn concerns_many(outcome: Outcome, was_open: bool) -> bool {
    match outcome {
        // The server answered, or ended a session.
        Outcome::Status(_) | Outcome::Closed(_) => true,
        Outcome::Network => was_open,
        _ => false,
    }
}

fn is_busy(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Closed(CloseCode::TRY_AGAIN_LATER) | Outcome::OverBudget)
}

/// A random part of a duration: `random` out of 2^64.
fn part(whole: Duration, random: u64) -> Duration {
    // A year has fewer than 2^55 nanoseconds.
    let nanos = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(nanos as u64)
}
