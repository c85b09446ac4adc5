//! How much a peer may send in a second.

use core::time::Duration;

/// One second, in the unit of [`Bucket`].
const SECOND: u64 = 1_000_000_000;

/// How much a peer may send in a second: messages, bytes, or both. See
/// [`Config::rate_limit`](crate::Config::rate_limit).
///
/// More may come at once than a rate allows for that moment: as much as it allows in the time of
/// [`burst`](Self::burst). After that, the connection takes no more than the rate. By default the peer has to wait:
/// nothing is read from it meanwhile, so its network slows it down. With [`close`](Self::close) the connection ends.
///
/// ```
/// use bowline::{Config, RateLimit};
///
/// // At most 20 messages and 64 KiB in a second, and 5 seconds' worth of that at once.
/// let limit = RateLimit::new()
///     .messages(20)
///     .bytes(64 << 10)
///     .burst(std::time::Duration::from_secs(5));
/// let config = Config::default().rate_limit(limit.close());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    messages: Option<u32>,
    bytes: Option<u64>,
    burst: Duration,
    closes: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimit {
    /// No limit yet. The burst is one second's worth, and the peer has to wait.
    pub const fn new() -> Self {
        Self { messages: None, bytes: None, burst: Duration::from_secs(1), closes: false }
    }

    /// How many messages may come in a second. Pings, pongs and fragments count as messages: each takes work. Zero
    /// means 1.
    pub const fn messages(mut self, per_second: u32) -> Self {
        self.messages = Some(if per_second == 0 { 1 } else { per_second });
        self
    }

    /// How many bytes may come in a second, as they are on the wire: with their headers, and before they are inflated.
    /// Zero means 1.
    ///
    /// A message that alone has more than the rate and the burst allow comes slowly. With [`close`](Self::close) it ends
    /// the connection. Bytes that were read together count together, so the burst should be at least 64 KiB.
    pub const fn bytes(mut self, per_second: u64) -> Self {
        self.bytes = Some(if per_second == 0 { 1 } else { per_second });
        self
    }

    /// For how long the peer may save up what it did not send, and then send it at once. Default 1 s: a rate of 20
    /// messages allows 20 at once. [`Duration::ZERO`] means one message at a time. At most a day.
    pub const fn burst(mut self, time: Duration) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        self.burst = if time.as_secs() < DAY.as_secs() { time } else { DAY };
        self
    }

    /// Ends the connection of a peer that sends more, with Close 1008 (RFC 6455 §7.4.1: "a message that violates its
    /// policy") and [`End::RateLimited`](crate::End::RateLimited).
    pub const fn close(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Lets a peer that sends more wait, which is the default.
    pub const fn wait(mut self) -> Self {
        self.closes = false;
        self
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    pub(crate) fn is_set(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}

/// What has come of late: a bucket that leaks. What comes fills it with the time that the rate allows for it, and time
/// empties it.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(u64);

impl Bucket {
    fn fill(&mut self, amount: u64, per_second: Option<u64>) {
        if let Some(rate) = per_second {
            self.0 = self.0.saturating_add(time_for(amount, rate));
        }
    }

    fn leak(&mut self, time: u64) {
        self.0 = self.0.saturating_sub(time);
    }

    /// How long until there is room for what takes `time`. An empty bucket has room for everything.
    fn until_room(self, time: u64, burst: u64) -> u64 {
        self.0.min(self.0.saturating_add(time).saturating_sub(burst))
    }
}

/// The time that the rate allows for this amount.
fn time_for(amount: u64, per_second: u64) -> u64 {
    let time = u128::from(amount) * u128::from(SECOND) / u128::from(per_second);
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// The rates of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    messages: Bucket,
    bytes: Bucket,
    /// How many bytes of the connection are in the bucket, or were.
    counted: u64,
    /// Until when the buckets have leaked.
    leaked: Option<Duration>,
}

impl Rates {
    /// Counts a frame that has begun.
    pub(crate) fn frame(&mut self, limit: &RateLimit) {
        self.messages.fill(1, limit.messages.map(u64::from));
    }

    /// Counts bytes: `offset` is how many have come in all.
    pub(crate) fn bytes(&mut self, limit: &RateLimit, offset: u64) {
        self.bytes.fill(offset.saturating_sub(self.counted), limit.bytes);
        self.counted = offset;
    }

    /// Empties the buckets by the time since the last call.
    pub(crate) fn leak(&mut self, now: Duration) {
        let since = now.saturating_sub(self.leaked.unwrap_or(now));
        let time = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.messages.leak(time);
        self.bytes.leak(time);
        self.leaked = Some(self.leaked.map_or(now, |leaked| leaked.max(now)));
    }

    /// How long until the connection may take more. Zero: now.
    pub(crate) fn pause(&self, limit: &RateLimit) -> Duration {
        let burst = u64::try_from(limit.burst.as_nanos()).unwrap_or(u64::MAX);
        let message = limit.messages.map_or(0, |rate| time_for(1, rate.into()));
        // How long the next frame is, is not known yet. So there must be room for something.
        let time = self.messages.until_room(message, burst).max(self.bytes.until_room(1, burst));
        Duration::from_nanos(time)
    }
}
