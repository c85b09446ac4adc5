//! The short way: a whole short message at once. Almost every message is one.
//!
//! It takes only what certainly breaks no rule, and leaves everything else unchanged to the long way. Each row
//! is a rule that it stands for:
//!
//! | it looks at | RFC 6455 | the long way decides it in |
//! |---|---|---|
//! | FIN is set, and the opcode is text or binary | §5.4, §5.5 | `header`: fragments, control frames |
//! | RSV1, RSV2 and RSV3 are not set | §5.2; RFC 7692 §6 | `header`: `ReservedBits`, compressed frames |
//! | MASK is set for a server, and not for a client | §5.1 | `header`: `Unmasked`, `Masked` |
//! | 7 bits of length, or 16 for more than 125 bytes | §5.2 | `header`: `NonMinimalLength`, 64 bits |
//! | [`Gate`]: no message is under way | §5.4 | `header`: `ExpectedContinuation` |
//! | [`Gate`]: the length is within the limits | §10.4 | `header`: `FrameTooBig`, `MessageTooBig` |
//! | [`Gate`]: the connection has not ended | §1.4, §7.1.7 | `run` |
//! | all of the payload is there | | `decode`, stage `Data` |
//! | a text is UTF-8 | §8.1 | `check_text`: `InvalidUtf8` |

use super::{PROGRESS, Receiver, Role, Stage};
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::config::Settings;
use crate::protocol::frame::{MASK, MAX_CONTROL};
use crate::protocol::mask;
use crate::protocol::utf8::{self, Checked};

/// Which messages the short way may take: those with fewer bytes than this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate(u16);

impl Gate {
    /// Takes nothing: inside a frame or a message, and after the end.
    pub(super) const SHUT: Self = Self(0);

    /// Between messages: takes what passes both `max_message_size` and `max_frame_size`.
    pub(super) fn open(settings: &Settings) -> Self {
        let message = settings.max_message_size;
        let longest = settings.max_frame_size.map_or(message, |frame| frame.min(message));
        Self(u16::try_from(longest.saturating_add(1)).unwrap_or(u16::MAX))
    }

    pub(super) fn is_open(self) -> bool {
        self.0 > 0
    }

    fn admits(self, len: u16) -> bool {
        len < self.0
    }
}

impl Receiver {
    /// Lends a short message if all of it is in `input`, and gives its length. Otherwise it changes nothing.
    ///
    /// [`advance`](Self::advance) tries this first. A short message makes the receiver owe the peer nothing. So this
    /// needs to know nothing of the sending half, and an adapter may call it before it asks that half.
    // It is a function apart from `run`. That one needs so many registers that saving them would take as long
    // as this function.
    pub fn short_message(&mut self, input: &mut RecvBuf) -> Option<u16> {
        // Between messages, nothing has to end the last event: the next one replaces it.
        let held = input.held_mut()?;
        let head = held.unread().first_chunk()?;
        // The whole of a short header, in one register. The first byte is the lowest.
        let head = u64::from_le_bytes(*head);
        let (mask_bit, key_size) = match self.role {
            Role::Server => (u64::from(MASK) << 8, 4),
            Role::Client => (0, 0),
        };
        let kind = match head & 0x80FF ^ mask_bit {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        let (len, key, header) = match head >> 8 & 0x7F {
            126 => {
                let len = ((head >> 16) as u16).swap_bytes();
                if usize::from(len) <= MAX_CONTROL {
                    return None;
                }
                (len, head >> 32, 4 + key_size)
            }
            127 => return None,
            len => (len as u16, head >> 16, 2 + key_size),
        };
        let key = if key_size == 0 { [0; 4] } else { (key as u32).to_le_bytes() };
        if !self.gate.admits(len) {
            return None;
        }
        debug_assert!(matches!(self.stage, Stage::Header) && self.message.is_none());
        debug_assert!(self.end().is_none() && self.remaining == 0);
        let payload = held.short_payload(header, len.into())?;
        if kind == Kind::Binary {
            mask::apply(payload, key);
        } else if !unmask_text(payload, key) {
            return None;
        }
        held.lend_short(kind, header, len.into());
        self.offset += header as u64 + u64::from(len);
        self.data = self.data.wrapping_add(len.into());
        self.cost = self.cost.wrapping_add(PROGRESS);
        Some(len)
    }
}

/// Unmasks a whole text. If it is not UTF-8, it stays as it was, and the long way finds what is wrong.
#[inline(never)]
fn unmask_text(payload: &mut [u8], key: [u8; 4]) -> bool {
    mask::apply(payload, key);
    if utf8::check(payload) == Checked::UpTo(payload.len()) {
        return true;
    }
    mask::apply(payload, key);
    false
}
