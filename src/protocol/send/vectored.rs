//! A frame whose payload is written without a copy.

use core::fmt;

use crate::memory::budget::Budget;
use crate::memory::send_buf::SendBuf;

/// A frame that is half queued: its header is in the [`SendBuf`], and its payload is still with the caller. See
/// [`Sender::send_borrowed`](crate::Sender::send_borrowed).
pub struct Vectored<'a> {
    pub(super) out: &'a mut SendBuf,
    pub(super) rest: &'a [u8],
    pub(super) budget: Option<Budget>,
}

impl Vectored<'_> {
    /// All bytes to write, in order. No slice is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let rest = Some(self.rest).filter(|rest| !rest.is_empty());
        self.out.pending_slices().chain(rest)
    }

    /// Tells that the socket took the first `n` bytes.
    pub fn sent(&mut self, n: usize) {
        let queued = n.min(self.out.len());
        self.out.sent(queued);
        self.rest = &self.rest[(n - queued).min(self.rest.len())..];
    }
}

impl fmt::Debug for Vectored<'_> {
    /// Sizes only: the payload may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectored")
            .field("out", &self.out)
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Vectored<'_> {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.out.append(|buffer| buffer.extend_from_slice(self.rest));
            if let Some(budget) = &self.budget {
                self.out.charge_added(budget);
            }
        }
    }
}
