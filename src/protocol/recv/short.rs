//! A whole short message at once.

use super::{PROGRESS, Receiver, Role};
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::frame::{MASK, MAX_CONTROL};
use crate::protocol::mask;
use crate::protocol::utf8::{self, Checked};

impl Receiver {
    /// The common case at once: an unfragmented, uncompressed message of less than 64 KiB that is all
    /// there. Whatever is not plainly so is left as it is, to `run`.
    ///
    /// Apart from `run`, which needs so many registers that saving them would take as long as this.
    pub(crate) fn whole(&mut self, input: &mut RecvBuf) -> bool {
        // Between messages the event that was lent last needs no end: another takes its place.
        let unread = input.unread();
        let Some(head) = unread.first_chunk() else {
            return false;
        };
        // All that a short header can have, in one register; the first byte is the lowest.
        let head = u64::from_le_bytes(*head);
        let (mask_bit, key_size) = match self.role {
            Role::Server => (u64::from(MASK) << 8, 4),
            Role::Client => (0, 0),
        };
        let kind = match head & 0x80FF ^ mask_bit {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return false,
        };
        let (len, key, header) = match head >> 8 & 0x7F {
            126 => {
                let len = ((head >> 16) as u16).swap_bytes();
                if usize::from(len) <= MAX_CONTROL {
                    return false;
                }
                (len, head >> 32, 4 + key_size)
            }
            127 => return false,
            len => (len as u16, head >> 16, 2 + key_size),
        };
        let key = if key_size == 0 { [0; 4] } else { (key as u32).to_le_bytes() };
        if len >= self.whole_below {
            return false;
        }
        let Some(payload) = input.short_payload(header, len.into()) else {
            return false;
        };
        if kind == Kind::Binary {
            mask::apply(payload, key);
        } else if !unmask_text(payload, key) {
            return false;
        }
        input.lend_short(kind, header, len.into());
        self.offset += header as u64 + u64::from(len);
        self.data = self.data.wrapping_add(len.into());
        self.cost = self.cost.wrapping_add(PROGRESS);
        true
    }
}

/// Unmasks a whole text; or leaves it as it is, if it is none, for `run` to find what is wrong.
#[inline(never)]
fn unmask_text(payload: &mut [u8], key: [u8; 4]) -> bool {
    mask::apply(payload, key);
    if utf8::check(payload) == Checked::UpTo(payload.len()) {
        return true;
    }
    mask::apply(payload, key);
    false
}
