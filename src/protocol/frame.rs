//! The frame header codec (RFC 6455 §5.2). Stateless; knows layout, not rules.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M|  length     | length, 16 bits if it was 126 |
//! |I|S|S|S|  (4)  |A|    (7)      |         64 bits if it was 127 |
//! |N|V|V|V|       |S|             |         none otherwise        |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |  masking key, 4 bytes if MASK is set, then the payload        |
//! +---------------------------------------------------------------+
//! ```

use alloc::vec::Vec;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV: u8 = 0x70;
/// Set in the first frame of a compressed message (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const MASK: u8 = 0x80;

/// The longest payload of a control frame. RFC 6455 §5.5: "a payload length of 125 bytes or less". It is also the
/// longest length of 7 bits. §5.2: "if 0-125, that is the payload length".
pub(crate) const MAX_CONTROL: usize = 125;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub(crate) const MAX_HEADER: usize = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in a frame's first byte, or `None` for a reserved one. RFC 6455 §5.2: "If an unknown opcode is
    /// received, the receiving endpoint MUST _Fail the WebSocket Connection_."
    pub(crate) fn of(first: u8) -> Option<Self> {
        Some(match first & 0x0F {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// The opcode with this number.
    pub(crate) fn exactly(number: u8) -> Option<Self> {
        Self::of(number).filter(|_| number < 0x10)
    }

    /// RFC 6455 §5.5: "Control frames are identified by opcodes where the most significant bit of the opcode is 1."
    pub(crate) fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }
}

/// How the payload length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) value: u64,
    /// Bytes that it takes after the second header byte: 0, 2 or 8.
    pub(crate) size: usize,
}

impl Length {
    /// Reads the length of a header that starts at `bytes[0]`. `None` until enough of it is there.
    ///
    /// RFC 6455 §5.2: "If 126, the following 2 bytes interpreted as a 16-bit unsigned integer are the payload
    /// length." With 127, it is the following 8 bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(match bytes.get(1)? & !MASK {
            126 => Self {
                value: u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
                size: 2,
            },
            127 => Self { value: u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), size: 8 },
            short => Self { value: u64::from(short), size: 0 },
        })
    }

    /// RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
    pub(crate) fn is_minimal(self) -> bool {
        match self.size {
            0 => true,
            2 => self.value > MAX_CONTROL as u64,
            _ => self.value > u64::from(u16::MAX),
        }
    }
}

/// An encoded header.
#[derive(Clone, Copy)]
pub(crate) struct Encoded {
    bytes: [u8; ROOM],
    size: usize,
}

/// Writes a header.
#[inline]
pub(crate) fn encode(
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    length: u64,
    key: Option<[u8; 4]>,
) -> Encoded {
    encode_any(opcode as u8 | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 }, length, key)
}

/// Writes a header with this first byte.
#[inline]
fn encode_any(first: u8, length: u64, key: Option<[u8; 4]>) -> Encoded {
    let mask = if key.is_some() { MASK } else { 0 };
    // Put together in registers, lowest byte first. RFC 6455 §5.2: "Multibyte length quantities are expressed in
    // network byte order."
    let (second, extended, mut size) = match length {
        0..=125 => (length as u8, 0, 2),
        126..=0xFFFF => (126, (length as u16).swap_bytes().into(), 4),
        _ => (127, length.swap_bytes(), 10),
    };
    let start = u128::from(u16::from_le_bytes([first, mask | second]));
    let mut bytes = start | u128::from(extended) << 16;
    if let Some(key) = key {
        bytes |= u128::from(u32::from_le_bytes(key)) << (8 * size);
        size += key.len();
    }
    Encoded { bytes: bytes.to_le_bytes(), size }
}

impl Encoded {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// Appends the header. A copy of a fixed length is one or two stores. A copy of the header's own length
    /// would be a call.
    #[inline]
    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>) {
        let end = buffer.len() + self.size;
        buffer.extend_from_slice(&self.bytes);
        buffer.truncate(end);
    }
}

/// The header of a frame as it is on the wire (RFC 6455 §5.2): the layout alone, and no rule.
///
/// A [`Connection`](crate::Connection) reads and writes headers by itself. This is for programs that look at frames from
/// outside of it: proxies, test tools, captures.
///
/// ```
/// use bowline::protocol::{FrameHeader, mask};
///
/// let header = FrameHeader { fin: true, rsv: 0, opcode: 0x1, mask: Some([1, 2, 3, 4]), len: 5 };
/// let mut frame = header.encode();
/// let mut payload = *b"Hello";
/// mask(&mut payload, [1, 2, 3, 4]);
/// frame.extend_from_slice(&payload);
///
/// let (read, size) = FrameHeader::decode(&frame).unwrap();
/// assert_eq!((read, size), (header, 6));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the frame ends its message (FIN).
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 in the lowest three bits, RSV1 as 4.
    pub rsv: u8,
    /// The four bits of the opcode.
    pub opcode: u8,
    /// The masking key, if MASK is set.
    pub mask: Option<[u8; 4]>,
    /// How many bytes of payload follow the header.
    pub len: u64,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`, and gives its size. `None` until all of it is there.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = Length::decode(bytes)?;
        let (first, mut size) = (bytes[0], 2 + length.size);
        let mut mask = None;
        if bytes[1] & MASK != 0 {
            mask = Some(*bytes.get(size..)?.first_chunk()?);
            size += 4;
        }
        let (fin, rsv, opcode) = (first & FIN != 0, (first & RSV) >> 4, first & 0x0F);
        Some((Self { fin, rsv, opcode, mask, len: length.value }, size))
    }

    /// The header in bytes, with the shortest form of the length. Higher bits of `rsv` and `opcode` are ignored.
    pub fn encode(&self) -> Vec<u8> {
        let fin = if self.fin { FIN } else { 0 };
        let first = fin | (self.rsv << 4 & RSV) | self.opcode & 0x0F;
        encode_any(first, self.len, self.mask).bytes().to_vec()
    }
}

/// The room that a header is written into, in bytes, whatever its length.
pub(crate) const ROOM: usize = 16;

/// The header of a whole message whose length takes at most 16 bits, and how many of the eight bytes it takes.
#[inline]
pub(crate) fn encode_short(opcode: Opcode, len: u16, key: Option<[u8; 4]>) -> ([u8; 8], usize) {
    let mask = if key.is_some() { MASK } else { 0 };
    let (second, extended, mut size) = match usize::from(len) {
        0..=MAX_CONTROL => (len as u8, 0, 2),
        _ => (126, len.swap_bytes(), 4),
    };
    // As in `encode`.
    let start = u64::from(u16::from_le_bytes([FIN | opcode as u8, mask | second]));
    let mut bytes = start | u64::from(extended) << 16;
    if let Some(key) = key {
        bytes |= u64::from(u32::from_le_bytes(key)) << (8 * size);
        size += key.len();
    }
    (bytes.to_le_bytes(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_form_round_trips_and_is_minimal() {
        for (value, size) in [
            (0, 0),
            (1, 0),
            (125, 0),
            (126, 2),
            (127, 2),
            (65_535, 2),
            (65_536, 8),
            (u64::MAX >> 1, 8),
        ] {
            for key in [None, Some([1, 2, 3, 4])] {
                let encoded = encode(true, false, Opcode::Binary, value, key);
                let header = encoded.bytes();
                let length = Length::decode(header).unwrap();
                assert_eq!(length, Length { value, size });
                assert!(length.is_minimal());
                assert_eq!(header.len(), 2 + size + if key.is_some() { 4 } else { 0 });
                for cut in 0..2 + size {
                    assert_eq!(Length::decode(&header[..cut]), None);
                }
            }
        }
    }

    #[test]
    fn longer_forms_than_needed_are_not_minimal() {
        assert!(!Length { value: 125, size: 2 }.is_minimal());
        assert!(!Length { value: 65_535, size: 8 }.is_minimal());
    }
}
