//! Counts what is received, if [`Config::stats`](crate::Config::stats) is on.
//!
//! The short way counts nothing. Each of its messages adds [`PROGRESS`] to `cost`, and its length to `data`, and
//! nothing else changes these outside of `run`. So the number of its messages since the last look is known. Both
//! numbers wrap, but a look comes each time that all input is decoded.

use alloc::boxed::Box;
use core::time::Duration;

use super::{Extras, PROGRESS, Receiver};
use crate::protocol::close::CloseCode;
use crate::protocol::error::End;
use crate::protocol::stats::{Counts, Stats};

/// The counts, and what the receiver's own numbers were at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    counts: Counts,
    cost_mark: u32,
    data_mark: u32,
}

impl Received {
    /// Counts the messages that went the short way since the last look.
    fn look(&mut self, cost: u32, data: u32) {
        self.counts.messages(u64::from(cost.wrapping_sub(self.cost_mark) / PROGRESS));
        self.mark(cost, data);
    }

    /// Counts the payload since the last look.
    fn mark(&mut self, cost: u32, data: u32) {
        let payload = &mut self.counts.traffic.payload_bytes;
        *payload = payload.wrapping_add(data.wrapping_sub(self.data_mark).into());
        (self.cost_mark, self.data_mark) = (cost, data);
    }
}

impl Extras {
    pub(super) fn received(this: &mut Option<Box<Self>>) -> Option<&mut Received> {
        this.as_mut()?.watched.as_mut()?.received.as_mut()
    }
}

impl Receiver {
    /// The numbers of what was received, and the round trip. `now` is on the clock of
    /// [`deadline`](Self::deadline). See [`Stats`] for what needs [`Config::stats`](crate::Config::stats).
    pub fn stats(&self, now: Duration) -> Stats {
        let mut stats = Stats { round_trip: self.round_trip(), ..Stats::default() };
        let watched = self.extras.as_ref().and_then(|extras| extras.watched.as_ref());
        if let Some(mut received) = watched.and_then(|watched| watched.received) {
            received.look(self.cost, self.data);
            stats.received = received.counts.traffic(now);
        }
        stats.received.wire_bytes = self.offset;
        stats.received.close_code = match self.end() {
            Some(End::Closed { code, .. }) => Some(code.unwrap_or(CloseCode::NO_STATUS)),
            _ => None,
        };
        stats
    }

    /// Counts what went the short way. It comes before each decoding, and before a wait.
    #[inline]
    pub(super) fn count_short(&mut self) {
        if let Some(received) = Extras::received(&mut self.extras) {
            received.look(self.cost, self.data);
        }
    }

    /// Counts the payload of a decoding, whose frames and messages are counted already.
    #[inline]
    pub(super) fn count_decoded(&mut self) {
        if let Some(received) = Extras::received(&mut self.extras) {
            received.mark(self.cost, self.data);
        }
    }

    /// Counts a frame that has ended.
    #[inline]
    pub(super) fn count_frame(&mut self, is_control: bool, ends_message: bool) {
        if let Some(received) = Extras::received(&mut self.extras) {
            received.counts.frame(is_control, ends_message);
        }
    }

    /// Counts `inflated` bytes in the place of `compressed` ones, which `data` has.
    #[inline]
    pub(super) fn count_inflated(&mut self, inflated: usize, compressed: usize) {
        if let Some(received) = Extras::received(&mut self.extras) {
            let payload = &mut received.counts.traffic.payload_bytes;
            *payload = payload.wrapping_add(inflated as u64).wrapping_sub(compressed as u64);
        }
    }

    /// Notes the time of what came since the last wait.
    pub(super) fn observe(&mut self, now: Duration) {
        self.count_short();
        if let Some(received) = Extras::received(&mut self.extras) {
            received.counts.observe(now);
        }
    }
}
