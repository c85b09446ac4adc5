//! Takes no more than [`Config::rate_limit`](crate::Config::rate_limit) allows.
//!
//! Decoding has no clock. So it goes on until the burst is used up, and stops before the next frame. The wait that
//! follows has a clock, and gives what time has allowed since the last wait. A receiver with a limit keeps its gate
//! shut, because the short way counts nothing.

use core::time::Duration;

use super::{Receiver, Stage};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::error::End;
use crate::protocol::rate_limit::{RateLimit, Rates};
use crate::protocol::replies::{CloseReply, Replies};
use crate::protocol::send_state::SendState;

impl Receiver {
    fn rates(&mut self) -> Option<(&mut Rates, &RateLimit)> {
        let limit = self.config.get().rate_limit.as_ref()?;
        Some((self.extras.as_mut()?.watched.as_mut()?.rates.as_mut()?, limit))
    }

    /// Whether the next frame is there and may not be taken now. After our Close, all may be taken: the peer's Close
    /// comes after them.
    #[inline]
    pub(super) fn is_used_up(&self, input: &RecvBuf, close_sent: bool) -> bool {
        self.is_limited()
            && !close_sent
            && !input.unread().is_empty()
            && self.time_to_room().is_some()
    }

    /// How long until there is room for more. `None`: there is.
    #[cold]
    fn time_to_room(&self) -> Option<Duration> {
        let limit = self.config.get().rate_limit.as_ref()?;
        let mut rates = self.extras.as_ref()?.watched.as_ref()?.rates?;
        rates.bytes(limit, self.offset);
        Some(rates.pause(limit)).filter(|pause| !pause.is_zero())
    }

    /// Counts a frame that begins.
    #[inline]
    pub(super) fn count_rate(&mut self) {
        if let Some((rates, limit)) = self.rates() {
            rates.frame(limit);
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.extras.is_some() && self.config.get().rate_limit.is_some()
    }

    /// Whether the peer has sent as much as [`Config::rate_limit`](crate::Config::rate_limit) allows by now. Then read
    /// nothing from the transport, wait until [`deadline`](Self::deadline) or for what is to be sent, and call
    /// [`on_time`](Self::on_time) and [`advance`](Self::advance). Ask after `advance` gave
    /// [`NeedInput`](crate::Progress::NeedInput), before each read.
    ///
    /// Without a limit it is always false. `state` is [`Sender::state`](crate::Sender::state).
    pub fn is_paused(&self, input: &RecvBuf, state: SendState) -> bool {
        self.is_limited() && self.pause(input, state).is_some()
    }

    /// How long the receiver is paused for.
    fn pause(&self, input: &RecvBuf, state: SendState) -> Option<Duration> {
        if state.close_sent || self.end().is_some() {
            return None;
        }
        // A peer that may not wait has broken the limit only if more of it is there.
        let has_more = input.has_unread() || !matches!(self.stage, Stage::Header);
        let limit = self.config.get().rate_limit?;
        self.time_to_room().filter(|_| has_more || !limit.closes())
    }

    /// Gives the peer what the time since the last wait allows.
    fn leak(&mut self, now: Duration) {
        let offset = self.offset;
        if let Some((rates, limit)) = self.rates() {
            rates.bytes(limit, offset);
            rates.leak(now);
        }
    }

    /// When a receiver that is paused goes on: now, if that time has passed, or if the peer may not wait.
    pub(super) fn pause_deadline(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        state: SendState,
    ) -> Option<Duration> {
        let was_paused = self.pause(input, state).is_some();
        self.leak(now);
        let pause = self.pause(input, state).unwrap_or_default();
        let closes = self.config.get().rate_limit?.closes();
        was_paused.then(|| if closes { now } else { now.saturating_add(pause) })
    }

    /// Whether the receiver is still paused. A peer that may not wait, and is too fast, is closed.
    pub(super) fn stays_paused(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        replies: &mut Replies,
        state: SendState,
    ) -> bool {
        self.leak(now);
        let is_paused = self.pause(input, state).is_some();
        if is_paused && self.config.get().rate_limit.is_some_and(|limit| limit.closes()) {
            replies.close(CloseReply(Some(CloseCode::POLICY_VIOLATION)));
            self.give_up(End::RateLimited);
        }
        is_paused
    }
}
