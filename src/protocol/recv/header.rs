//! The rules of one frame header, in wire order (RFC 6455 §5.1, §5.2, §5.4, §5.5, §10.4).

use super::{Receiver, Role};
use crate::protocol::error::Rule;
use crate::protocol::frame::{self, FIN, Length, MASK, MAX_CONTROL, Opcode, RSV, RSV1};

/// A header that broke no rule.
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) len: u64,
    pub(super) key: [u8; 4],
    pub(super) size: usize,
}

impl Receiver {
    /// Reads a header. Each rule fires as soon as the bytes that decide it are there.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Rule> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // §5.2: no extension that was agreed on gives them a meaning, but for RSV1: it is set in the
        // first frame of a compressed message (RFC 7692 §6.2), and in no control frame (§6.1).
        let reserved = match self.peer {
            Some(_) if matches!(first & 0x0F, 0x1 | 0x2) => RSV & !RSV1,
            _ => RSV,
        };
        if first & reserved != 0 {
            return Err(Rule::ReservedBits);
        }
        let opcode = Opcode::of(first).ok_or(Rule::ReservedOpcode)?;
        let compressed = first & RSV1 != 0 || opcode == Opcode::Continuation && self.compressed;
        let fin = first & FIN != 0;
        if opcode.is_control() {
            if !fin {
                return Err(Rule::FragmentedControl);
            }
        } else {
            // §5.4
            match (opcode, self.message) {
                (Opcode::Continuation, None) => return Err(Rule::UnexpectedContinuation),
                (Opcode::Text | Opcode::Binary, Some(_)) => {
                    return Err(Rule::ExpectedContinuation);
                }
                _ => {}
            }
            let earned = self.message_len / 32;
            if u64::from(self.fragments)
                >= u64::from(self.config.get().max_fragments).saturating_add(earned)
            {
                return Err(Rule::TooManyFragments);
            }
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        // §5.1
        let masked = second & MASK != 0;
        match self.role {
            Role::Server if !masked => return Err(Rule::Unmasked),
            Role::Client if masked => return Err(Rule::Masked),
            _ => {}
        }
        if opcode.is_control() {
            match second & !MASK {
                1 if opcode == Opcode::Close => return Err(Rule::CloseLength),
                len if usize::from(len) > MAX_CONTROL => return Err(Rule::ControlTooLong),
                _ => {}
            }
        }
        // §5.2: "the most significant bit MUST be 0"; it is in the first of the eight bytes.
        if second & !MASK == 127 && bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
            return Err(Rule::LengthOverflow);
        }
        let Some(length) = Length::decode(bytes) else {
            return Ok(None);
        };
        // §5.2: "the minimal number of bytes MUST be used"
        if !length.is_minimal() {
            return Err(Rule::NonMinimalLength);
        }
        if !opcode.is_control() {
            if self.config.get().max_frame_size.is_some_and(|limit| length.value > limit) {
                return Err(Rule::FrameTooBig);
            }
            let limit = self.config.get().max_message_size;
            // Text that cannot be compressed grows a little; what is inflated is counted as it comes.
            let limit = if compressed { limit.saturating_add(limit / 8 + 1024) } else { limit };
            if self.message_len.saturating_add(length.value) > limit {
                return Err(Rule::MessageTooBig);
            }
        }
        let mut size = 2 + length.size;
        let mut key = [0; 4];
        if masked {
            let Some(&found) = bytes.get(size..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            key = found;
            size += key.len();
        }
        debug_assert!(size <= frame::MAX_HEADER);
        let len = length.value;
        Ok((bytes.len() >= size).then_some(Header { opcode, fin, compressed, len, key, size }))
    }
}
