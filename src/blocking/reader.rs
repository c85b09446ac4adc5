//! The receiving side: read when the receiver needs input, and leave the socket at the end.

use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, Read};

use super::leaving::Leaving;
use super::patience::{LEAST, Patience, is_gone, is_reached, is_timeout, now, timeout_until};
use super::stream::BlockingStream;
use super::writer::Sent;
use crate::adapter::trace::Opened;
use crate::adapter::{Error, FLUSH_FROM, result_of};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::error::{End, Timeout};
use crate::protocol::leave::{Leave, LeaveStep};
use crate::protocol::recv::{Progress, Receiver};
use crate::protocol::replies::Replies;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;

/// After this time a receiver tries again to send what the stream did not take, and reads meanwhile. Each
/// further attempt waits twice as long, up to `RETRY_MOST`.
const RETRY: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(250);

/// While the peer has to wait, what it is owed is sent after this time.
const NAP: Duration = Duration::from_millis(20);

/// What the receiving side needs from the sending side: the stream to read from, and a way to write.
pub(super) trait Link {
    type Stream: BlockingStream;

    fn stream(&mut self) -> io::Result<&mut Self::Stream>;

    /// How far sending has come.
    fn state(&self) -> SendState;

    /// Queues the replies, before all that is queued later.
    fn answer(&mut self, replies: &mut Replies);

    /// Sends the replies and all that is queued, until `until` at the latest.
    fn flush(&mut self, replies: &mut Replies, until: Option<Duration>) -> io::Result<Sent>;

    /// Does the same for the last time. `None`: another thread is sending, so wait for it.
    fn finish(
        &mut self,
        replies: &mut Replies,
        until: Option<Duration>,
    ) -> io::Result<Option<Sent>>;

    /// How long one read may take before the sending side is checked again.
    fn look_up(&self) -> Option<Duration>;

    /// How many bytes were fed and wait for this side to send them.
    fn fed(&self) -> usize;

    /// Tells the sending side how the connection ended.
    fn ended(&self, end: &End);

    /// Nothing can be sent any more.
    fn shut(&mut self);

    /// The numbers of what was queued, unless another thread is sending.
    fn stats(&self, now: Duration) -> Option<Stats>;
}

/// What ends a waiting call, in addition to the timeouts of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// The read timeout that the user set on the stream.
    OfStream,
    /// A deadline for this call.
    At(Duration),
    /// Nothing.
    None,
}

impl Limit {
    fn until(self) -> Option<Duration> {
        match self {
            Self::At(at) => Some(at),
            Self::OfStream | Self::None => None,
        }
    }
}

/// What a call remembers between its waits.
struct Waiting {
    limit: Limit,
    /// Nothing was read yet.
    is_first: bool,
    /// How many bytes of messages had come when that last changed. `quiet_since` is when it did.
    received: Option<u32>,
    quiet_since: Duration,
    retry: Duration,
    patience: Patience,
}

impl Waiting {
    /// Notes how many bytes have come by now.
    fn notice(&mut self, received: u32, now: Duration) {
        if self.received != Some(received) {
            (self.received, self.quiet_since) = (Some(received), now);
        }
    }
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) receiver: Receiver,
    pub(super) replies: Replies,
    pub(super) input: RecvBuf,
    leaving: Option<Box<Leaving>>,
    /// The last read that found nothing did not wait for it: the stream is in non-blocking mode.
    never_waits: bool,
    pub(super) opened: Opened,
}

impl Reader {
    pub(super) fn new(receiver: Receiver, replies: Replies, input: RecvBuf) -> Self {
        let opened = Opened::not_yet();
        Self { receiver, replies, input, leaving: None, never_waits: false, opened }
    }

    /// Tells how the connection ended, once.
    fn tell(&mut self, sent: impl FnOnce(Duration) -> Option<Stats>) {
        let Self { opened, receiver, .. } = self;
        opened.end(now, receiver, receiver.end(), sent);
    }

    /// Waits for an event. There is none after the peer's Close.
    #[inline]
    pub(super) fn next(
        &mut self,
        link: &mut impl Link,
        parts: bool,
        limit: Limit,
    ) -> Result<(), Error> {
        // The common case comes first.
        if link.fed() < self.flush_from() && self.receiver.short_message(&mut self.input).is_some()
        {
            return Ok(());
        }
        self.next_of_any(link, parts, limit)
    }

    /// How many queued bytes are sent before the next event is given.
    fn flush_from(&self) -> usize {
        FLUSH_FROM.min(self.receiver.config().get().max_send_queue)
    }

    #[inline(never)]
    fn next_of_any(
        &mut self,
        link: &mut impl Link,
        parts: bool,
        limit: Limit,
    ) -> Result<(), Error> {
        // Once Close is queued, the wait for input sends it.
        if link.fed() >= self.flush_from() && !link.state().close_sent() {
            self.flush(link, limit.until())?;
        }
        let mut waiting = Waiting {
            limit,
            is_first: true,
            received: None,
            quiet_since: Duration::ZERO,
            retry: RETRY,
            patience: Patience::default(),
        };
        loop {
            let close_sent = link.state().close_sent();
            let (input, replies) = (&mut self.input, &mut self.replies);
            let progress = if parts {
                self.receiver.advance_parts(input, replies, close_sent)
            } else {
                self.receiver.advance(input, replies, close_sent)
            };
            match progress {
                Ok(Progress::Event) => {
                    if !self.replies.is_empty() {
                        link.answer(&mut self.replies);
                    }
                    return Ok(());
                }
                Ok(Progress::NeedInput) => self.wait(link, &mut waiting)?,
                Ok(Progress::Ended) | Err(_) => {
                    self.leave(link, limit.until())?;
                    return result_of(self.receiver.end().unwrap_or(&End::Unconfirmed));
                }
            }
        }
    }

    /// Sends all that waits.
    pub(super) fn flush(
        &mut self,
        link: &mut impl Link,
        until: Option<Duration>,
    ) -> Result<(), Error> {
        match link.flush(&mut self.replies, until) {
            Ok(Sent::All) => Ok(()),
            Ok(Sent::Waiting) => Err(Error::TimedOut),
            Ok(Sent::WouldBlock) => Err(would_block()),
            Ok(Sent::Stalled) => {
                let end = End::TimedOut(Timeout::Send);
                self.receiver.give_up(end.clone());
                link.shut();
                Err(Error::Ended(end))
            }
            Err(error) => {
                link.shut();
                Err(error.into())
            }
        }
    }

    /// Sends the bytes that wait, then reads once.
    fn wait(&mut self, link: &mut impl Link, waiting: &mut Waiting) -> Result<(), Error> {
        let state = link.state();
        let mut until = waiting.limit.until();
        if state.close_sent() {
            // The close timeout also bounds writes: only pongs are written now.
            let close = self.receiver.deadline(now(), &self.input, state);
            until = until.into_iter().chain(close).min();
        }
        let sent = match link.flush(&mut self.replies, until) {
            Ok(Sent::Stalled) => {
                // If the close timeout is over too, it is the reason.
                self.on_time(link);
                self.receiver.give_up(End::TimedOut(Timeout::Send));
                return Ok(());
            }
            Ok(sent) => sent,
            Err(_) => {
                // Queued bytes are lost, but the last bytes from the peer may still be read.
                link.shut();
                Sent::All
            }
        };
        if self.is_paused(link) {
            return self.pause(link, waiting);
        }
        let now = now();
        let state = link.state();
        let deadline = self.receiver.deadline(now, &self.input, state);
        // A message may have begun before the caller came back, and its rest may be in the socket. So a timer
        // that ran meanwhile counts only after a read.
        let is_first = core::mem::take(&mut waiting.is_first);
        if is_reached(deadline, now) && (!is_first || state.close_sent()) {
            self.on_time(link);
            return Ok(());
        }
        if is_reached(waiting.limit.until(), now) && !is_first {
            return Err(Error::TimedOut);
        }
        let retry = match sent {
            Sent::All => None,
            _ => {
                let retry = waiting.retry;
                waiting.retry = RETRY_MOST.min(2 * retry);
                Some(retry)
            }
        };
        let later = retry.into_iter().chain(link.look_up()).map(|time| now.saturating_add(time));
        let ours = deadline.into_iter().chain(later).chain(waiting.limit.until()).min();
        self.read(link, waiting, is_first, now, ours)
    }

    /// Whether the peer has to wait. Without a limit, the sending side is not asked.
    fn is_paused(&self, link: &impl Link) -> bool {
        self.receiver.config().get().rate_limit.is_some()
            && self.receiver.is_paused(&self.input, link.state())
    }

    /// Waits while the peer may send nothing, as long as the call may take. Nothing is read, and that slows the peer down.
    #[cold]
    fn pause(&mut self, link: &mut impl Link, waiting: &mut Waiting) -> Result<(), Error> {
        self.on_time(link);
        if !self.is_paused(link) {
            return Ok(());
        }
        if self.never_waits {
            return Err(would_block());
        }
        let now = now();
        waiting.notice(self.receiver.received(), now);
        let users = match waiting.limit {
            Limit::OfStream => link.stream()?.read_timeout()?,
            Limit::At(_) | Limit::None => None,
        };
        let goes_on = self.receiver.deadline(now, &self.input, link.state()).unwrap_or(now);
        let users_end = users.map(|timeout| waiting.quiet_since.saturating_add(timeout));
        let until = waiting.limit.until().into_iter().chain(users_end).min();
        // What the peer is owed leaves meanwhile.
        let nap = link.look_up().unwrap_or(NAP).min(NAP);
        let end = until.into_iter().chain([goes_on, now.saturating_add(nap)]).min();
        std::thread::sleep(end.unwrap_or(now).saturating_sub(now));
        match until {
            Some(until) if goes_on > until && end == Some(until) => Err(match waiting.limit {
                Limit::OfStream => would_block(),
                Limit::At(_) | Limit::None => Error::TimedOut,
            }),
            _ => Ok(()),
        }
    }

    /// Reads once, until `ours` at the latest. The stream keeps the timeout that the user set on it.
    fn read(
        &mut self,
        link: &mut impl Link,
        waiting: &mut Waiting,
        is_first: bool,
        start: Duration,
        ours: Option<Duration>,
    ) -> Result<(), Error> {
        waiting.notice(self.receiver.received(), start);
        let stream = link.stream()?;
        // If only the stream's own timeout limits the call, the first read need not ask for it.
        let is_alone = is_first && ours.is_none() && matches!(waiting.limit, Limit::OfStream);
        let (mut users, mut users_end, mut set) = (None, None, None);
        if !is_alone {
            users = stream.read_timeout()?;
            if matches!(waiting.limit, Limit::OfStream) {
                users_end = users.map(|timeout| waiting.quiet_since.saturating_add(timeout));
            }
            set = timeout_until(ours.into_iter().chain(users_end).min(), start);
            if set != users {
                stream.set_read_timeout(set)?;
            }
        }
        self.input.before_blocking();
        let result = stream.read(self.input.space());
        let restored = if set == users { Ok(()) } else { stream.set_read_timeout(users) };
        match result {
            Ok(0) => self.input.eof(),
            Ok(n) => {
                self.input.filled(n);
                waiting.patience.moved();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => waiting.patience.interrupted(),
            Err(error) if is_timeout(&error) => {
                let now = now();
                self.never_waits = now.saturating_sub(start) < LEAST;
                if is_alone || is_reached(users_end, now) {
                    return Err(error.into());
                }
                if is_reached(waiting.limit.until(), now) {
                    return Err(Error::TimedOut);
                }
                if waiting.patience.does_not_wait(now.saturating_sub(start), set) {
                    return Err(error.into());
                }
                self.on_time(link);
            }
            Err(error) if is_gone(&error) => self.receiver.transport_failed(&self.input),
            Err(error) => {
                self.receiver.transport_failed(&self.input);
                link.shut();
                return Err(error.into());
            }
        }
        Ok(restored?)
    }

    fn on_time(&mut self, link: &impl Link) {
        self.receiver.on_time(now(), &self.input, &mut self.replies, link.state());
    }

    /// Leaves the socket so that the last bytes arrive. If it has to stop early, a later call goes on.
    fn leave(&mut self, link: &mut impl Link, until: Option<Duration>) -> Result<(), Error> {
        let mut leaving = self.leaving.take().unwrap_or_else(|| {
            link.ended(self.receiver.end().unwrap_or(&End::Unconfirmed));
            Box::new(Leaving::new(self.receiver.leave()))
        });
        let result = self.leave_by(link, &mut leaving, until);
        self.leaving = Some(leaving);
        if result.is_ok() {
            self.tell(|now| link.stats(now));
        }
        result
    }

    fn leave_by(
        &mut self,
        link: &mut impl Link,
        leaving: &mut Leaving,
        until: Option<Duration>,
    ) -> Result<(), Error> {
        if leaving.leave.step() == LeaveStep::Flush {
            self.send_last(link, &mut leaving.leave, until)?;
        }
        link.shut();
        let Ok(stream) = link.stream() else {
            return Ok(());
        };
        match leaving.after_flush(stream, until) {
            Sent::Waiting => Err(Error::TimedOut),
            Sent::WouldBlock => Err(would_block()),
            Sent::All | Sent::Stalled => Ok(()),
        }
    }

    /// Sends the last bytes: the Close that says why.
    fn send_last(
        &mut self,
        link: &mut impl Link,
        leave: &mut Leave,
        until: Option<Duration>,
    ) -> Result<(), Error> {
        while leave.step() == LeaveStep::Flush {
            let stop = leave.deadline(now()).into_iter().chain(until).min();
            let before = link.state().taken();
            let sent = match link.finish(&mut self.replies, stop) {
                // If it cannot be sent, the peer cannot be told.
                Ok(Some(Sent::All | Sent::Stalled)) | Err(_) => {
                    leave.done();
                    return Ok(());
                }
                Ok(sent) => sent,
            };
            leave.sent(link.state().taken().wrapping_sub(before) as usize);
            let now = now();
            leave.on_time(now);
            if leave.step() != LeaveStep::Flush {
                return Ok(());
            }
            if is_reached(until, now) {
                return Err(Error::TimedOut);
            }
            match sent {
                Some(Sent::WouldBlock) => return Err(would_block()),
                // The deadline was reached, but the peer's progress has moved it.
                Some(_) if is_reached(stop, now) => {}
                _ => {
                    let left = stop.map_or(RETRY, |at| at.saturating_sub(now));
                    std::thread::sleep(RETRY.min(left));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.tell(|_| None);
    }
}

fn would_block() -> Error {
    Error::Io(ErrorKind::WouldBlock.into())
}
