//! How a socket is left so that the last bytes arrive.

use core::time::Duration;

/// At most this much is read from a peer that does not stop sending.
const MAX_DISCARD: usize = 1 << 20;

/// After a clean close, a peer that takes this much of the queue gets the whole timeout again.
const PROGRESS: usize = 1 << 10;

/// What to do next to leave a socket: see [`Leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveStep {
    /// Send the queued bytes. The last of them are a Close, or an HTTP refusal.
    Flush,
    /// Shut the write side of the socket.
    Shutdown,
    /// Read bytes and drop them.
    Drain,
    /// Drop the socket.
    Over,
}

/// How to leave a socket so that the last bytes sent on it arrive.
///
/// A socket that is closed while it has unread input is reset, and a reset destroys what was sent last:
/// the Close frame, or the HTTP refusal. So there are steps. Do what [`step`](Self::step) says, and call
/// [`done`](Self::done) when the step is done, until it says [`LeaveStep::Over`]. A step that fails is done
/// too, because there is nothing else to try. Before each wait ask for the [`deadline`](Self::deadline), and
/// call [`on_time`](Self::on_time) after it.
///
/// ```
/// # use std::{io::{Read, Write}, net::{Shutdown, TcpStream}, time::{Duration, Instant}};
/// use bowline::{Connection, LeaveStep, SendBuf};
///
/// fn leave(connection: &mut Connection, out: &mut SendBuf, mut socket: TcpStream) {
///     let start = Instant::now();
///     let mut leave = connection.leave();
///     loop {
///         // With a blocking socket, the deadline is a timeout for reads and writes.
///         leave.on_time(start.elapsed());
///         let left = leave.deadline(start.elapsed()).map(|at| at.saturating_sub(start.elapsed()));
///         let left = left.map(|left| left.max(Duration::from_millis(1)));
///         let _ = (socket.set_read_timeout(left), socket.set_write_timeout(left));
///         match leave.step() {
///             LeaveStep::Flush => match socket.write(out.pending()) {
///                 Ok(n) if n > 0 => {
///                     out.sent(n);
///                     leave.sent(n);
///                 }
///                 _ => leave.done(),
///             },
///             LeaveStep::Shutdown => {
///                 let _ = socket.shutdown(Shutdown::Write);
///                 leave.done();
///             }
///             LeaveStep::Drain => match socket.read(&mut [0; 4096]) {
///                 Ok(n) => leave.discard(n),
///                 Err(_) => leave.done(),
///             },
///             _ => return,
///         }
///     }
/// }
/// # let mut connection = Connection::server(bowline::Config::default());
/// # let _ = leave;
/// ```
#[derive(Clone, Debug)]
pub struct Leave {
    step: LeaveStep,
    /// RFC 6455 §7.1.1: a client "SHOULD wait for a TCP Close from the server".
    waits_for_peer: bool,
    /// Bytes that may still be read and dropped.
    left: usize,
    timeout: Option<Duration>,
    since: Option<Duration>,
    /// Whether bytes that the peer takes extend the time.
    extends: bool,
    /// Bytes taken since the time was last extended.
    taken: usize,
}

impl Leave {
    fn new(step: LeaveStep, left: usize, timeout: Option<Duration>) -> Self {
        let (waits_for_peer, since, extends, taken) = (false, None, false, 0);
        Self { step, waits_for_peer, left, timeout, since, extends, taken }
    }

    /// A server after a clean close has nothing to wait for. RFC 6455 §5.5.1: "The server MUST close the
    /// underlying TCP connection immediately".
    pub(crate) fn at_once(timeout: Option<Duration>) -> Self {
        Self { extends: true, ..Self::new(LeaveStep::Flush, 0, timeout) }
    }

    /// A client after a clean close. RFC 6455 §5.5.1: "the client SHOULD wait for the server to close the
    /// connection".
    pub(crate) fn after_peer(timeout: Option<Duration>) -> Self {
        let leave = Self::new(LeaveStep::Flush, MAX_DISCARD, timeout);
        Self { waits_for_peer: true, extends: true, ..leave }
    }

    /// After a violation or a refusal: the peer may still be sending.
    pub(crate) fn discarding(timeout: Option<Duration>) -> Self {
        Self::new(LeaveStep::Flush, MAX_DISCARD, timeout)
    }

    /// The peer does not answer: what the socket takes at once is sent, and nothing is waited for.
    pub(crate) fn without_waiting() -> Self {
        Self::new(LeaveStep::Flush, 0, Some(Duration::ZERO))
    }

    /// The peer takes nothing, or is gone: nothing is sent.
    pub(crate) fn without_sending(timeout: Option<Duration>) -> Self {
        Self::new(LeaveStep::Shutdown, 0, timeout)
    }

    /// What to do next.
    pub fn step(&self) -> LeaveStep {
        self.step
    }

    /// Tells that the step is done, or that it failed.
    pub fn done(&mut self) {
        let drains = self.left > 0;
        self.step = match self.step {
            LeaveStep::Flush if self.waits_for_peer && drains => LeaveStep::Drain,
            LeaveStep::Flush => LeaveStep::Shutdown,
            LeaveStep::Shutdown if !self.waits_for_peer && drains => LeaveStep::Drain,
            LeaveStep::Drain if self.waits_for_peer => LeaveStep::Shutdown,
            LeaveStep::Shutdown | LeaveStep::Drain | LeaveStep::Over => LeaveStep::Over,
        };
    }

    /// Tells that the socket took `n` queued bytes. After a clean close that is progress: a peer that takes
    /// 1 KiB has the whole timeout again.
    pub fn sent(&mut self, n: usize) {
        self.taken = self.taken.saturating_add(n);
        if self.extends && self.taken >= PROGRESS {
            self.taken = 0;
            self.since = None;
        }
    }

    /// Tells that `n` bytes were read and dropped. 0 is the end of the peer's stream. At the end, or after
    /// 1 MiB, [`Drain`](LeaveStep::Drain) is done.
    pub fn discard(&mut self, n: usize) {
        self.left = if n == 0 { 0 } else { self.left.saturating_sub(n) };
        if self.left == 0 && self.step == LeaveStep::Drain {
            self.done();
        }
    }

    /// Whether the write side is shut before the wait for the end of the peer's stream.
    pub fn shutdown_first(&self) -> bool {
        !self.waits_for_peer
    }

    /// Whether nothing is left to be read and dropped.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// When to close in any case, on the clock that `now` is read from:
    /// [`Config::close_timeout`](crate::Config::close_timeout) after the first call. `None`: never.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        Some(since.saturating_add(self.timeout?))
    }

    /// Goes to [`Over`](LeaveStep::Over) if the [`deadline`](Self::deadline) is reached.
    pub fn on_time(&mut self, now: Duration) {
        if self.deadline(now).is_some_and(|at| at <= now) {
            self.step = LeaveStep::Over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LeaveStep::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The steps, if each is done at once and the peer ends.
    fn steps(mut leave: Leave) -> alloc::vec::Vec<LeaveStep> {
        let mut steps = alloc::vec![leave.step()];
        while leave.step() != Over {
            match leave.step() {
                Drain => leave.discard(0),
                _ => leave.done(),
            }
            steps.push(leave.step());
        }
        steps
    }

    #[test]
    fn each_end_has_its_steps() {
        let timeout = Some(SECOND);
        assert_eq!(steps(Leave::at_once(timeout)), [Flush, Shutdown, Over]);
        assert_eq!(steps(Leave::after_peer(timeout)), [Flush, Drain, Shutdown, Over]);
        assert_eq!(steps(Leave::discarding(timeout)), [Flush, Shutdown, Drain, Over]);
        assert_eq!(steps(Leave::without_waiting()), [Flush, Shutdown, Over]);
        assert_eq!(steps(Leave::without_sending(timeout)), [Shutdown, Over]);
    }

    #[test]
    fn a_peer_that_does_not_stop_is_read_up_to_a_mebibyte() {
        let mut leave = Leave::discarding(None);
        leave.done();
        leave.done();
        for _ in 0..15 {
            leave.discard(64 << 10);
            assert_eq!(leave.step(), Drain);
        }
        leave.discard(64 << 10);
        assert_eq!(leave.step(), Over);
    }

    #[test]
    fn a_clean_end_gives_a_peer_that_takes_bytes_the_time_again_and_a_refusal_does_not() {
        for (mut leave, extends) in
            [(Leave::at_once(Some(SECOND)), true), (Leave::discarding(Some(SECOND)), false)]
        {
            assert_eq!(leave.deadline(SECOND), Some(2 * SECOND));
            leave.sent(1000);
            leave.on_time(SECOND * 3 / 2);
            assert_eq!(leave.deadline(SECOND * 3 / 2), Some(2 * SECOND), "1000 bytes are too few");
            leave.sent(24);
            let deadline = if extends { SECOND * 5 / 2 } else { 2 * SECOND };
            assert_eq!(leave.deadline(SECOND * 3 / 2), Some(deadline));
            leave.on_time(deadline - Duration::from_nanos(1));
            assert_eq!(leave.step(), Flush);
            leave.on_time(deadline);
            assert_eq!(leave.step(), Over);
        }
    }

    #[test]
    fn the_longest_timeout_never_ends() {
        let mut leave = Leave::at_once(Some(Duration::MAX));
        leave.on_time(SECOND);
        assert_eq!((leave.step(), leave.deadline(SECOND)), (Flush, Some(Duration::MAX)));
    }
}
