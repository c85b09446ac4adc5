//! The deadlines of the receiving half. [`clock`] has the timer that they are made of.
//!
//! | deadline | from | setting | then |
//! |---|---|---|---|
//! | rest of a message | the last 1 KiB of a frame or message that has begun | `progress_timeout` | Close 1008, [`Timeout::Progress`] |
//! | Close | our Close has left | `close_timeout` | [`Timeout::Close`] |
//! | Close to leave, without a send timeout | the last 1 KiB that was taken | `close_timeout` | [`Timeout::Close`] |
//! | ping | the last life | `ping_interval` | a ping |
//! | pong | the ping has left, or the last life | `pong_timeout` | Close 1008, [`Timeout::Keepalive`] |
//! | idle | the last of a message | `idle_timeout` | Close 1001 |
//! | pause | the peer was too fast | `rate_limit` | more is decoded, or Close 1008 and [`End::RateLimited`] |
//!
//! The sending half has one more, [`Sender::deadline`](crate::Sender::deadline), and so has the end of a socket.

use core::time::Duration;

use super::{Extras, PROGRESS, Receiver, Stage};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::clock;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Timeout};
use crate::protocol::keepalive::Due;
use crate::protocol::replies::{CloseReply, Replies};
use crate::protocol::send_state::SendState;

/// What the one timer of transfers waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The rest of a frame or message that has begun.
    #[default]
    Rest,
    /// That our Close leaves. Without a send timeout, nothing else limits that.
    CloseLeft,
    /// The peer's Close.
    Close,
}

impl Receiver {
    /// How long the peer took for its last pong to a ping of keepalive; `None` before there was one.
    ///
    /// It is the time from when the ping left to the first wait after its pong. So it is the round trip of the
    /// network, or longer if this side was slow.
    pub fn round_trip(&self) -> Option<Duration> {
        self.extras.as_ref()?.keepalive.as_ref()?.round_trip()
    }

    pub(crate) fn seed_keepalive(&mut self, seed: &[u8; 32]) {
        if let Some(keepalive) = Extras::keepalive(&mut self.extras) {
            keepalive.seed(seed);
        }
    }

    /// When [`on_time`](Self::on_time) wants to be called, on the clock that `now` is read from. Any
    /// clock that only goes forward will do. Ask each time before waiting: that is when timers start.
    /// `state` is [`Sender::state`](crate::Sender::state).
    ///
    /// A timeout of [`Duration::ZERO`] is over at once. [`Duration::MAX`] is never reached.
    pub fn deadline(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        state: SendState,
    ) -> Option<Duration> {
        self.observe(now);
        if self.is_limited()
            && let Some(pause) = self.pause_deadline(now, input, state)
        {
            // The peer is not to blame for what it cannot send.
            self.timer.clear();
            return Some(pause);
        }
        let transfer = self.transfer_deadline(now, input, state);
        transfer.into_iter().chain(self.keepalive_deadline(now, state)).min()
    }

    /// Whether there is surely no [`deadline`](Self::deadline), so that the adapter need not read its clock before it
    /// waits. This does not see whether Close was sent: then there may be a deadline.
    pub fn is_at_rest(&mut self, input: &RecvBuf) -> bool {
        let is_at_rest = self.is_between(input) && !input.has_unread() && self.extras.is_none();
        if is_at_rest {
            self.timer.clear();
        }
        is_at_rest
    }

    /// The deadline of the close timeout or of the progress timeout.
    fn transfer_deadline(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        state: SendState,
    ) -> Option<Duration> {
        let Some((awaits, timeout)) = self.awaits(input, state) else {
            self.timer.clear();
            return None;
        };
        let mark = match awaits {
            Awaits::Rest => self.progress(),
            Awaits::CloseLeft => state.taken,
            // Nothing prolongs the wait for the peer's Close.
            Awaits::Close => self.timer_mark,
        };
        let has_moved = mark.wrapping_sub(self.timer_mark) >= PROGRESS;
        if !self.timer.is_set() || awaits != self.awaits || has_moved {
            self.timer.set(now);
            (self.awaits, self.timer_mark) = (awaits, mark);
        }
        self.timer.deadline(timeout)
    }

    /// What the timer waits for, and how long at most.
    fn awaits(&self, input: &RecvBuf, state: SendState) -> Option<(Awaits, Duration)> {
        let settings = self.config.get();
        if self.end().is_some() {
            return None;
        }
        if let Some(timeout) = settings.close_timeout.filter(|_| state.close_sent) {
            // Before our Close has left, the peer cannot answer it. Until then the send timeout holds.
            if state.close_left {
                return Some((Awaits::Close, timeout));
            } else if settings.send_timeout.is_none() {
                return Some((Awaits::CloseLeft, timeout));
            }
        }
        let has_begun =
            self.message.is_some() || !matches!(self.stage, Stage::Header) || input.has_unread();
        settings.progress_timeout.filter(|_| has_begun).map(|timeout| (Awaits::Rest, timeout))
    }

    fn keepalive_deadline(&mut self, now: Duration, state: SendState) -> Option<Duration> {
        // After our Close the peer need not answer pings, and the close timeout holds.
        if state.close_sent || self.end().is_some() {
            return None;
        }
        let (data, progress) = (self.data, self.progress());
        let keepalive = Extras::keepalive(&mut self.extras)?;
        keepalive.deadline(self.config.get(), now, data, progress, state)
    }

    /// Ends the connection, or pings or closes it, if its [`deadline`](Self::deadline) is reached. Otherwise it
    /// does nothing. A ping or Close is added to `replies`.
    pub fn on_time(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        replies: &mut Replies,
        state: SendState,
    ) {
        if self.is_limited() && self.stays_paused(now, input, replies, state) {
            return;
        }
        let transfer = self.transfer_deadline(now, input, state);
        if transfer.is_some_and(|at| clock::is_reached(at, now)) {
            let timeout = match self.awaits {
                Awaits::Close | Awaits::CloseLeft => Timeout::Close,
                Awaits::Rest => {
                    replies.close(CloseReply(Some(CloseCode::POLICY_VIOLATION)));
                    Timeout::Progress
                }
            };
            self.give_up(End::TimedOut(timeout));
        }
        let keepalive = self.keepalive_deadline(now, state);
        if !keepalive.is_some_and(|at| clock::is_reached(at, now)) {
            return;
        }
        let Some(keepalive) = Extras::keepalive(&mut self.extras) else {
            return;
        };
        match keepalive.due(self.config.get(), now, self.data) {
            Due::Nothing => {}
            Due::Ping(payload) => replies.ping(payload),
            Due::Idle => replies.close(CloseReply(Some(CloseCode::GOING_AWAY))),
            Due::Dead => {
                replies.close(CloseReply(Some(CloseCode::POLICY_VIOLATION)));
                self.give_up(End::TimedOut(Timeout::Keepalive));
            }
        }
    }
}
