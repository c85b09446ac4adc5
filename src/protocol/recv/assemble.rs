//! Assembles messages from fragments, lends their parts, and checks their text (RFC 6455 §5.4, §8.1).

use super::{LONG, Lent, PROGRESS, Progress, Receiver};
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::error::{End, Rule};
use crate::protocol::utf8::{self, Checked};

impl Receiver {
    /// Tells how much to read while a header or a small frame is not there yet.
    pub(super) fn want_next(&self, input: &mut RecvBuf, parts: bool) {
        if parts || self.compressed {
            return input.ahead().set_want(0);
        }
        match self.rest() {
            // In proportion to the message. Otherwise a large message in small frames would be moved again and
            // again.
            0 => input.ahead().set_want(self.message_len / 2),
            rest => input.ahead().expect(rest),
        }
    }

    /// Tells how much to read inside a frame.
    pub(super) fn want_rest(&self, input: &mut RecvBuf, fin: bool, parts: bool) {
        // If this frame ends the message, there is room for the rest of it. In parts, none of it has to be there
        // at once.
        match (parts, fin, self.rest()) {
            (true, ..) => input.ahead().set_want(0),
            (_, true, _) if self.message_len >= LONG => input.ahead().expect(self.remaining),
            (_, true, _) => input.ahead().set_want(self.remaining),
            (_, _, rest) if rest >= self.remaining => input.ahead().expect(rest),
            _ => input.ahead().set_want(self.remaining + self.message_len / 2),
        }
    }

    /// How many bytes of the message under way, or of the next one, are still to come. It expects as many as the
    /// last long message took. 0: that cannot be.
    pub(super) fn rest(&self) -> u64 {
        let taken = match self.message {
            Some(_) => (self.offset as u32).wrapping_sub(self.began),
            None => 0,
        };
        self.last_long.saturating_sub(taken).into()
    }

    /// Lends the assembled bytes of the message under way, up to the last whole character. Whether there are
    /// any.
    pub(super) fn lend_part(&mut self, input: &mut RecvBuf) -> bool {
        let Some(kind) = self.message else {
            return false;
        };
        if input.assembled_len() <= self.held(input) {
            return false;
        }
        input.lend_message(kind, self.lent == Lent::Nothing, false);
        self.lent = Lent::Parts;
        true
    }

    /// How many of the assembled bytes at the end are held back, because they begin a character that is not
    /// complete.
    pub(super) fn held(&self, input: &RecvBuf) -> usize {
        if self.message == Some(Kind::Text) { input.unchecked() } else { 0 }
    }

    /// Whether the rest of the message is skipped, because parts of it were lent and now whole messages are
    /// asked for.
    pub(super) fn skips(&mut self, parts: bool) -> bool {
        if self.lent == Lent::Parts && !parts {
            self.lent = Lent::Skipped;
        }
        self.lent == Lent::Skipped
    }

    /// Checks the `n` bytes of text that were assembled last, and the `before` bytes before them that were not
    /// checked yet.
    ///
    /// RFC 6455 §8.1: for a stream that is not UTF-8, "that endpoint MUST _Fail the WebSocket Connection_".
    pub(super) fn check_text(
        &mut self,
        input: &mut RecvBuf,
        before: usize,
        n: usize,
    ) -> Result<(), Rule> {
        if self.message != Some(Kind::Text) {
            return Ok(());
        }
        let fresh = before + n;
        match utf8::check(input.assembled(input.assembled_len() - fresh)) {
            Checked::UpTo(end) => {
                input.set_unchecked(fresh - end);
                Ok(())
            }
            Checked::InvalidAt(at) => {
                self.offset += at.saturating_sub(before) as u64;
                Err(Rule::InvalidUtf8)
            }
        }
    }

    /// Ends the message that is under way. Whether there is an event.
    pub(super) fn finish(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Rule> {
        let taken = (self.offset as u32).wrapping_sub(self.began);
        let is_long = self.message_len >= LONG && !self.compressed;
        self.last_long = if is_long { taken } else { 0 };
        if core::mem::take(&mut self.compressed) {
            self.inflating.finish()?;
        }
        // RFC 6455 §5.6: "the whole message MUST contain valid UTF-8". So it ends with a whole character.
        if self.held(input) > 0 {
            return Err(Rule::InvalidUtf8);
        }
        let kind = self.message.take().unwrap_or(Kind::Binary);
        let lent = core::mem::take(&mut self.lent);
        self.message_len = 0;
        self.fragments = 0;
        self.cost = self.cost.wrapping_add(PROGRESS);
        let lend = lent == Lent::Nothing || lent == Lent::Parts && parts;
        if lend {
            input.lend_message(kind, lent == Lent::Nothing, true);
        } else {
            input.drop_message(0);
        }
        Ok(lend)
    }

    /// Says what to do when all input is used up.
    pub(super) fn out_of_input(&mut self, input: &mut RecvBuf, parts: bool) -> Progress {
        if self.message.is_some() {
            if parts && self.lent != Lent::Skipped && self.lend_part(input) {
                return Progress::Event;
            }
            if self.skips(parts) {
                input.drop_message(self.held(input));
            }
        }
        if input.is_eof() {
            self.give_up(End::PeerGone(self.truncation(input)));
            return Progress::Ended;
        }
        Progress::NeedInput
    }
}
