//! Letting the last bytes arrive.

use core::time::Duration;

/// No more than this is read from a peer that does not stop.
const MAX_DISCARD: usize = 1 << 20;

/// How to leave a socket so that the last bytes sent on it arrive.
///
/// A socket that is closed while it has unread input is reset, and a reset destroys what was sent
/// last: the Close frame, or the HTTP refusal. So: send what waits; shut the write side, at once or
/// after the peer has ([`shutdown_first`](Self::shutdown_first)); read and
/// [`discard`](Self::discard) until [`is_done`](Self::is_done) or its
/// [`deadline`](Self::deadline); close.
#[derive(Clone, Debug)]
pub struct Linger {
    shutdown_first: bool,
    left: usize,
    timeout: Option<Duration>,
    since: Option<Duration>,
}

impl Linger {
    /// A server after a clean close: nothing to wait for.
    pub(crate) fn at_once(timeout: Option<Duration>) -> Self {
        Self { shutdown_first: true, left: 0, timeout, since: None }
    }

    /// A client after a clean close: the server ends the connection (RFC 6455 §7.1.1).
    pub(crate) fn until_eof(timeout: Option<Duration>) -> Self {
        Self { shutdown_first: false, left: MAX_DISCARD, timeout, since: None }
    }

    /// After a violation or a refusal: the peer may still be sending.
    pub(crate) fn discarding(timeout: Option<Duration>) -> Self {
        Self { shutdown_first: true, left: MAX_DISCARD, timeout, since: None }
    }

    /// Whether to shut the write side before reading; else only at the end.
    pub fn shutdown_first(&self) -> bool {
        self.shutdown_first
    }

    /// Tells that `n` bytes were read and dropped; 0 is the peer's end.
    pub fn discard(&mut self, n: usize) {
        self.left = if n == 0 { 0 } else { self.left.saturating_sub(n) };
    }

    /// Whether there is nothing left to wait for.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// When to close in any case, also while sending.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        Some(since.saturating_add(self.timeout?))
    }
}
