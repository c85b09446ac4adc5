//! A naive codec of frames: a buffer for each frame, nothing in place, nothing clever. It shares no code with the
//! library's. The benchmarks include this file alone.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use bowline::Role;

/// The masking key of every frame that is given no other; that of RFC 6455 §5.7.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

pub(crate) const DATA: [u8; 3] = [CONTINUATION, TEXT, BINARY];
pub(crate) const CONTROL: [u8; 3] = [CLOSE, PING, PONG];
pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// How a header writes the payload length (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Seven,
    Sixteen,
    SixtyFour,
}

impl Form {
    pub(crate) fn minimal(len: u64) -> Self {
        match len {
            0..=125 => Self::Seven,
            126..=65_535 => Self::Sixteen,
            _ => Self::SixtyFour,
        }
    }
}

/// A header as §5.2 draws it; its first byte, length and form need not be legal.
pub(crate) fn header_with(first: u8, key: Option<[u8; 4]>, form: Form, len: u64) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match form {
        Form::Seven => bytes.push(mask | len as u8),
        Form::Sixteen => {
            bytes.push(mask | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        Form::SixtyFour => {
            bytes.push(mask | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(key.into_iter().flatten());
    bytes
}

/// As [`header_with`], with [`KEY`] if it is masked.
pub(crate) fn header(first: u8, masked: bool, form: Form, len: u64) -> Vec<u8> {
    header_with(first, masked.then_some(KEY), form, len)
}

/// A frame with this first byte, a minimal length, and this key if it is masked.
pub(crate) fn frame_with(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u64;
    let mut bytes = header_with(first, key, Form::minimal(len), len);
    bytes.extend(masked_with(key.unwrap_or_default(), payload));
    bytes
}

/// As [`frame_with`], with [`KEY`] if it is masked. `rsv` is three bits, RSV1 the highest.
pub(crate) fn frame(fin: bool, rsv: u8, opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    frame_with(u8::from(fin) << 7 | rsv << 4 | opcode, masked.then_some(KEY), payload)
}

/// The header of a frame that is sent to `role`, announcing `len` bytes.
pub(crate) fn header_to(role: Role, first: u8, len: u64) -> Vec<u8> {
    header(first, role == Role::Server, Form::minimal(len), len)
}

/// A fragment that is sent to `role`: masked if that is the server (§5.1).
pub(crate) fn fragment_to(role: Role, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(fin, 0, opcode, payload, role == Role::Server)
}

/// A whole frame that is sent to `role`.
pub(crate) fn to(role: Role, opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment_to(role, true, opcode, payload)
}

/// A Close frame that is sent to `role`.
pub(crate) fn close_to(role: Role, code: u16) -> Vec<u8> {
    to(role, CLOSE, &code.to_be_bytes())
}

pub(crate) fn masked_with(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// A frame that was decoded by the naive decoder.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// RSV1 (RFC 7692 §6).
    pub(crate) marked: bool,
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { fin, marked, opcode, payload, .. } = self;
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(24)]);
        let (len, rsv1) = (payload.len(), if *marked { " rsv1" } else { "" });
        write!(f, "[fin {fin}{rsv1} op {opcode:x} len {len} {shown:?}]")
    }
}

/// Where the first frame's payload starts and ends, if that much of its header is there.
fn extent(bytes: &[u8]) -> Option<(usize, u64)> {
    let second = *bytes.get(1)?;
    let (len, mut size) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
        short => (u64::from(short), 2),
    };
    if second & 0x80 != 0 {
        size += 4;
    }
    (bytes.len() >= size).then_some((size, len))
}

/// The first frame and where it ends, if it is whole. Checks what every frame must be (§5.2).
fn first_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (start, len) = extent(bytes)?;
    let end = start + len as usize;
    let payload = bytes.get(start..end)?;
    let opcode = bytes[0] & 0x0F;
    // RFC 7692 §6: the first frame of a message may be marked.
    let reserved = if matches!(opcode, TEXT | BINARY) { 0x30 } else { 0x70 };
    assert_eq!(bytes[0] & reserved, 0, "a reserved bit was sent");
    let form = match bytes[1] & 0x7F {
        126 => Form::Sixteen,
        127 => Form::SixtyFour,
        _ => Form::Seven,
    };
    assert_eq!(form, Form::minimal(len), "a length that is not minimal was sent");
    let masked = bytes[1] & 0x80 != 0;
    let key: Option<[u8; 4]> = masked.then(|| bytes[start - 4..start].try_into().unwrap());
    let frame = Frame {
        fin: bytes[0] & 0x80 != 0,
        marked: bytes[0] & 0x40 != 0,
        opcode,
        key,
        payload: masked_with(key.unwrap_or_default(), payload),
    };
    Some((frame, end))
}

/// Takes the first whole frame off `bytes`, where no extension was agreed on.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (frame, end) = first_frame(bytes)?;
    assert!(!frame.marked, "a reserved bit was sent");
    bytes.drain(..end);
    Some(frame)
}

/// Decodes what `role` sent and checks what every frame from it must be (§5.1, §5.2). Half a frame at the end is a
/// failure, and so is a frame other than a pong after Close (§5.5.1, §5.5.2).
pub(crate) fn decode(role: Role, wire: &[u8]) -> Vec<Frame> {
    let frames = decode_extended(role, wire);
    assert!(frames.iter().all(|frame| !frame.marked), "a reserved bit was sent");
    frames
}

/// As [`decode`], where compression was agreed on: the first frame of a message may be marked.
pub(crate) fn decode_extended(role: Role, mut wire: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut closed = false;
    while let Some((frame, end)) = first_frame(wire) {
        let masked = frame.key.is_some();
        assert_eq!(masked, role == Role::Client, "{role:?} sent a frame with the wrong mask bit");
        assert!(!closed || frame.opcode == PONG, "{frame:?} was sent after Close");
        closed |= frame.opcode == CLOSE;
        frames.push(frame);
        wire = &wire[end..];
    }
    assert!(wire.is_empty(), "half a frame was sent: {} bytes behind {frames:?}", wire.len());
    frames
}

/// Where frames start in `bytes`, and whether the last one is whole. Nothing follows a frame that
/// claims more than is there.
pub(crate) fn frame_starts(bytes: &[u8]) -> (Vec<usize>, bool) {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        starts.push(at);
        match extent(&bytes[at..]) {
            Some((start, len)) if len <= (bytes.len() - at - start) as u64 => {
                at += start + len as usize;
            }
            _ => return (starts, false),
        }
    }
    (starts, true)
}
