//! When a client connects again: the settings, each with its default and the reason for it.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use super::{Outcome, Then};
use crate::protocol::close::CloseCode;

/// No duration here is longer, so that sums of them fit every clock.
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// When a client connects again after a failure, and when it does not.
///
/// The wait before an attempt is a random part of a ceiling (full jitter). The ceiling grows from attempt to attempt, up to
/// [`max_delay`](Self::max_delay). What is worth another attempt is the table of [`Outcome::then`], which
/// [`on_close`](Self::on_close) changes for close codes.
///
/// ```
/// use bowline::{Reconnect, Then};
/// use std::time::Duration;
///
/// let policy = Reconnect::default()
///     .max_delay(Duration::from_secs(60))
///     .max_attempts(20)
///     .on_close(1000..=1000, Then::BackOff)
///     .on_close(4001..=4001, Then::Stop);
/// ```
///
/// All durations are cut to a year.
#[derive(Clone, Debug)]
pub struct Reconnect {
    pub(super) first_delay: Duration,
    pub(super) spread: Duration,
    pub(super) factor: f64,
    pub(super) max_delay: Duration,
    pub(super) max_attempts: Option<u32>,
    pub(super) attempts_per_hour: Option<u32>,
    pub(super) min_uptime: Duration,
    pub(super) busy_delay: Duration,
    pub(super) max_retry_after: Duration,
    pub(super) max_session: Option<Duration>,
    /// Later ones go before earlier ones.
    codes: Vec<(RangeInclusive<u16>, Then)>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            spread: Duration::from_secs(12),
            factor: 2.0,
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            attempts_per_hour: Some(360),
            min_uptime: Duration::from_secs(10),
            busy_delay: Duration::from_secs(15),
            max_retry_after: Duration::from_secs(60 * 60),
            max_session: None,
            codes: Vec::new(),
        }
    }
}

impl Reconnect {
    /// The ceiling of the first wait: so the first retry is soon. Default 1 s. With zero the first
    /// retry is at once, and the second as if this were 500 ms.
    ///
    /// It is for failures that concern this client alone, such as a network that is away. See [`spread`](Self::spread)
    /// for the others.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay.min(YEAR);
        self
    }

    /// The ceiling of the first wait after the server ended a session, or answered with an error. Default 12 s. Less than
    /// [`first_delay`](Self::first_delay) has no effect.
    ///
    /// A server that restarts ends all its sessions at one moment, and all its clients come back together. With 12 s, no
    /// tenth of a second gets more than 3 % of a thousand clients. A program with few clients may choose less. With more
    /// than a thousand, let this and [`max_delay`](Self::max_delay) grow with their number.
    pub fn spread(mut self, spread: Duration) -> Self {
        self.spread = spread.min(YEAR);
        self
    }

    /// By how much the ceiling grows with each attempt. Default 2. It is taken from 1 to 100; what is no number is 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = if factor.is_nan() { 1.0 } else { factor.clamp(1.0, 100.0) };
        self
    }

    /// The largest ceiling. Default 30 s. It holds for the first wait as well.
    ///
    /// The random part is chosen below it. So clients that have all reached it do not come back in step. Only a wait that
    /// the server asks for, or [`attempts_per_hour`](Self::attempts_per_hour), is longer.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay.min(YEAR);
        self
    }

    /// After how many failed attempts in a row the client stops. Default `None`: never. Zero counts as 1. A session that
    /// was shorter than [`min_uptime`](Self::min_uptime) is a failed attempt.
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into().map(|attempts| attempts.max(1));
        self
    }

    /// How many attempts are made in any hour, whatever happens. Default 360. Zero counts as 1, `None` is no limit. Beyond
    /// it, the next attempt waits.
    ///
    /// Each one of them takes 16 bytes of memory.
    pub fn attempts_per_hour(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.attempts_per_hour = attempts.into().map(|attempts| attempts.max(1));
        self
    }

    /// How long a session has to last to be a success, after which waits begin with the first again. Default 10 s.
    ///
    /// Without it, a server that accepts and at once closes would be asked again and again with the shortest wait.
    pub fn min_uptime(mut self, uptime: Duration) -> Self {
        self.min_uptime = uptime.min(YEAR);
        self
    }

    /// The shortest wait after close code 1013, "try again later", and after [`End::OverBudget`](crate::End::OverBudget).
    /// Default 15 s. The random part comes on top.
    pub fn busy_delay(mut self, delay: Duration) -> Self {
        self.busy_delay = delay.min(YEAR);
        self
    }

    /// The longest wait that a server can ask for with `Retry-After`. Default one hour. The random part comes on top.
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.max_retry_after = wait.min(YEAR);
        self
    }

    /// How long a session should last, for services that end sessions after a fixed time. Default `None`: for ever. Up to
    /// a tenth of it is taken off at random, so that sessions that began together do not end together.
    ///
    /// The session says when that time has come. The program closes it, since only the program knows a good moment. Or it
    /// makes the next one before: docs/reconnecting.md in the repository has both.
    pub fn max_session(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.max_session = time.into().map(|time: Duration| time.min(YEAR));
        self
    }

    /// What to do when the peer closes with one of these codes. It goes before the table of [`Outcome::then`], and before
    /// what was set earlier.
    ///
    /// Code 1000 is a choice: by default the client stops, because the purpose of the session is fulfilled. 3000 to 4999
    /// stop too, unless this says what they mean.
    pub fn on_close(mut self, codes: RangeInclusive<u16>, then: Then) -> Self {
        self.codes.push((codes, then));
        self
    }

    /// For services that tell by the hundreds of their codes: 4000 to 4099 stop, 4100 to 4199 back off, and after 4200 to
    /// 4299 the client connects at once. The other codes stay as they are.
    pub fn on_close_by_hundreds(self) -> Self {
        self.on_close(4000..=4099, Then::Stop)
            .on_close(4100..=4199, Then::BackOff)
            .on_close(4200..=4299, Then::AtOnce)
    }

    /// What to do after this outcome.
    pub fn then(&self, outcome: Outcome) -> Then {
        match outcome {
            Outcome::Closed(code) => self.on_code(code),
            other => other.then(),
        }
    }

    fn on_code(&self, code: CloseCode) -> Then {
        let own = self.codes.iter().rev().find(|(codes, _)| codes.contains(&code.get()));
        own.map_or_else(|| Outcome::Closed(code).then(), |(_, then)| *then)
    }
}
