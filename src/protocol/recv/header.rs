//! The rules of one frame header, in wire order (RFC 6455 §5.1, §5.2, §5.4, §5.5, §10.4).

use super::{Receiver, Role};
use crate::protocol::error::Rule;
use crate::protocol::frame::{self, FIN, Length, MASK, MAX_CONTROL, Opcode, RSV, RSV1};

/// A header that breaks no rule.
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) len: u64,
    pub(super) key: [u8; 4],
    pub(super) size: usize,
}

impl Receiver {
    /// Reads a header. Each rule is checked as soon as the bytes that decide it are there.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Rule> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // RFC 6455 §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values".
        // RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and
        // non-first fragments of a data message." That bit is RSV1.
        let reserved = match self.peer {
            Some(_) if matches!(first & 0x0F, 0x1 | 0x2) => RSV & !RSV1,
            _ => RSV,
        };
        if first & reserved != 0 {
            return Err(Rule::ReservedBits);
        }
        // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
        // Connection_."
        let opcode = Opcode::of(first).ok_or(Rule::ReservedOpcode)?;
        let compressed = first & RSV1 != 0 || opcode == Opcode::Continuation && self.compressed;
        let fin = first & FIN != 0;
        if opcode.is_control() {
            // RFC 6455 §5.5: "All control frames [...] MUST NOT be fragmented."
            if !fin {
                return Err(Rule::FragmentedControl);
            }
        } else {
            // RFC 6455 §5.4: a fragmented message is one frame with "an opcode other than 0, followed by zero or
            // more frames with the FIN bit clear and the opcode set to 0". "The fragments of one message MUST
            // NOT be interleaved between the fragments of another message".
            match (opcode, self.message) {
                (Opcode::Continuation, None) => return Err(Rule::UnexpectedContinuation),
                (Opcode::Text | Opcode::Binary, Some(_)) => {
                    return Err(Rule::ExpectedContinuation);
                }
                _ => {}
            }
            // RFC 6455 §10.4: a peer can send "a long stream of small frames that are a part of a fragmented
            // message". Fragments with payload earn more fragments.
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
        // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked." "A client
        // MUST close a connection if it detects a masked frame."
        let masked = second & MASK != 0;
        match self.role {
            Role::Server if !masked && !self.config.get().accept_unmasked_frames => {
                return Err(Rule::Unmasked);
            }
            Role::Client if masked => return Err(Rule::Masked),
            _ => {}
        }
        if opcode.is_control() {
            // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less". §5.5.1: "If there
            // is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
            match second & !MASK {
                1 if opcode == Opcode::Close => return Err(Rule::CloseLength),
                len if usize::from(len) > MAX_CONTROL => return Err(Rule::ControlTooLong),
                _ => {}
            }
        }
        // RFC 6455 §5.2: "the most significant bit MUST be 0". It is in the first of the eight bytes.
        if second & !MASK == 127 && bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
            return Err(Rule::LengthOverflow);
        }
        let Some(length) = Length::decode(bytes) else {
            return Ok(None);
        };
        // RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
        if !length.is_minimal() {
            return Err(Rule::NonMinimalLength);
        }
        if !opcode.is_control() {
            // RFC 6455 §10.4: "Such an implementation SHOULD impose a limit on frame sizes and the total message
            // size after reassembly from multiple frames."
            if self.config.get().max_frame_size.is_some_and(|limit| length.value > limit) {
                return Err(Rule::FrameTooBig);
            }
            let limit = self.config.get().max_message_size;
            // Compression can make a message a little larger. Inflated bytes are counted as they come.
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
