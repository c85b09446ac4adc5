//! A frame whose payload is written without a copy.

use core::fmt;

use bytes::{Buf, Bytes};

use crate::memory::budget::Budget;
use crate::memory::send_buf::SendBuf;

/// The bytes in the [`SendBuf`], and the rest of a frame that is not there yet. Dropping it queues the part of the
/// frame that was not written. See [`Sender::send_borrowed`](crate::Sender::send_borrowed) and
/// [`Sender::send_prepared_borrowed`](crate::Sender::send_prepared_borrowed).
pub struct Vectored<'a> {
    pub(super) out: &'a mut SendBuf,
    pub(super) rest: Rest<'a>,
    pub(super) budget: Option<Budget>,
}

/// The part of the frame that follows the bytes in the queue.
pub(super) enum Rest<'a> {
    /// The payload, which the caller owns. It is queued by a copy.
    Lent(&'a [u8]),
    /// A frame that queues share. It is queued by reference.
    Common(Bytes),
}

impl Rest<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Common(bytes) => bytes,
        }
    }
}

impl Vectored<'_> {
    /// All bytes to write, in order. No slice is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let rest = Some(self.rest.bytes()).filter(|rest| !rest.is_empty());
        self.out.pending_slices().chain(rest)
    }

    /// Call this after the socket has taken the first `n` bytes.
    pub fn sent(&mut self, n: usize) {
        let queued = n.min(self.out.len());
        self.out.sent(queued);
        let n = (n - queued).min(self.rest.bytes().len());
        match &mut self.rest {
            Rest::Lent(bytes) => *bytes = &bytes[n..],
            Rest::Common(bytes) => bytes.advance(n),
        }
    }
}

impl fmt::Debug for Vectored<'_> {
    /// Sizes only: the payload may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectored")
            .field("out", &self.out)
            .field("rest", &self.rest.bytes().len())
            .finish_non_exhaustive()
    }
}

impl Drop for Vectored<'_> {
    fn drop(&mut self) {
        match &mut self.rest {
            Rest::Lent(bytes) if !bytes.is_empty() => {
                self.out.append(|buffer| buffer.extend_from_slice(bytes));
                if let Some(budget) = &self.budget {
                    self.out.charge_added(budget);
                }
            }
            Rest::Lent(_) => {}
            Rest::Common(bytes) => self.out.append_common(core::mem::take(bytes)),
        }
    }
}
