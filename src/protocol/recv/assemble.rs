//! Fragments and parts to messages, and their text (RFC 6455 §5.4, §8.1).

use super::{LONG, Lent, PROGRESS, Progress, Receiver};
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::error::{End, Rule};
use crate::protocol::utf8::{self, Checked};

impl Receiver {
    /// Tells how much makes sense to be read where a header, or a frame that is small, is not there yet.
    pub(super) fn want_next(&self, input: &mut RecvBuf, parts: bool) {
        if parts || self.compressed {
            return input.ahead().set_want(0);
        }
        match self.rest() {
            // In proportion to the message, else collecting a large one in small frames would move it
            // again and again.
            0 => input.ahead().set_want(self.message_len / 2),
            rest => input.ahead().expect(rest),
        }
    }

    /// Tells how much makes sense to be read inside of a frame.
    pub(super) fn want_rest(&self, input: &mut RecvBuf, fin: bool, parts: bool) {
        // Room for the rest of the message, if this frame ends it; in parts, none of it has to be there at
        // once.
        match (parts, fin, self.rest()) {
            (true, ..) => input.ahead().set_want(0),
            (_, true, _) if self.message_len >= LONG => input.ahead().expect(self.remaining),
            (_, true, _) => input.ahead().set_want(self.remaining),
            (_, _, rest) if rest >= self.remaining => input.ahead().expect(rest),
            _ => input.ahead().set_want(self.remaining + self.message_len / 2),
        }
    }

    /// How much of the message that is under way, or will begin, is still to come, if it takes what the last
    /// long one took; 0 where that cannot be.
    pub(super) fn rest(&self) -> u64 {
        let taken = match self.message {
            Some(_) => (self.offset as u32).wrapping_sub(self.began),
            None => 0,
        };
        self.last_long.saturating_sub(taken).into()
    }

    /// Lends what is assembled of the message under way, up to the last character; whether that is
    /// anything.
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

    /// How many bytes at the end of what is assembled are held back, since they begin a character that is
    /// not complete.
    pub(super) fn held(&self, input: &RecvBuf) -> usize {
        if self.message == Some(Kind::Text) { input.unchecked() } else { 0 }
    }

    /// Whether what came last of the message is skipped, because only parts of it were asked for.
    pub(super) fn skips(&mut self, parts: bool) -> bool {
        if self.lent == Lent::Parts && !parts {
            self.lent = Lent::Skipped;
        }
        self.lent == Lent::Skipped
    }

    /// Checks the `n` bytes of text that were assembled last, with the `before` bytes before them that were
    /// not checked yet.
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

    /// Ends the message that is under way; whether there is an event.
    pub(super) fn finish(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Rule> {
        let taken = (self.offset as u32).wrapping_sub(self.began);
        let is_long = self.message_len >= LONG && !self.compressed;
        self.last_long = if is_long { taken } else { 0 };
        if core::mem::take(&mut self.compressed) {
            self.inflating.finish()?;
        }
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

    /// The input is used up.
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
