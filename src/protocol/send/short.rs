//! The short way of sending.

use rand::Rng;
use rand::rngs::StdRng;

use super::Sender;
use crate::memory::send_buf::SendBuf;
use crate::protocol::frame::{self, Opcode};
use crate::protocol::mask;
use crate::protocol::message::MessageRef;

impl Sender {
    /// Sets what [`plain`](Self::plain) looks at.
    pub(super) fn admit_plain(&mut self) {
        let is_plain = self.side.is_none() && self.open.is_none() && !self.is_closed();
        let mark = u32::try_from(self.config.get().send_mark).unwrap_or(u32::MAX);
        self.plain_mark = if is_plain { mark } else { 0 };
    }

    /// The common case at once: a message of less than 64 KiB that is not compressed, and for which there is
    /// room. Whatever is not plainly so is left to `send_any`.
    #[inline]
    pub(super) fn plain(&mut self, message: MessageRef<'_>, out: &mut SendBuf) -> bool {
        let opcode = match message {
            MessageRef::Text(_) => Opcode::Text,
            MessageRef::Binary(_) => Opcode::Binary,
            _ => return false,
        };
        let payload = message.as_bytes();
        let Ok(len) = u16::try_from(payload.len()) else {
            return false;
        };
        if !out.fits(payload.len(), self.plain_mark) {
            return false;
        }
        match &mut self.keys {
            Some(keys) => append_masked(out, opcode, len, payload, keys),
            None => {
                let header = frame::encode_short(opcode, len, None);
                out.append_fitting(header, |queue| queue.extend_from_slice(payload));
            }
        }
        true
    }
}

/// Apart, since both ways of `plain` in one need more registers than there are.
#[inline(never)]
fn append_masked(out: &mut SendBuf, opcode: Opcode, len: u16, payload: &[u8], keys: &mut StdRng) {
    let key = keys.next_u32().to_ne_bytes();
    let header = frame::encode_short(opcode, len, Some(key));
    out.append_fitting(header, |queue| mask::append(queue, payload, key));
}
