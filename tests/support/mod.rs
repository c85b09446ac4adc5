//! What the adapters' tests share: a naive frame codec, and streams in memory that record each operation and block,
//! stutter or fail as a test wants. Nothing here sleeps: a test waits for a condition, and every wait has an end.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod blocking;
#[cfg(all(feature = "tokio", feature = "futures-io"))]
pub(crate) mod over_futures;
#[cfg(feature = "tokio")]
pub(crate) mod over_tokio;
#[cfg(feature = "tokio")]
pub(crate) mod stream;

use std::time::Duration;

use bowline::{Config, Connection, Role};

/// No wait of a test lasts longer; a hang fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// A connection whose opening handshake is over.
pub(crate) fn connection(role: Role, config: &Config) -> Connection {
    match role {
        Role::Server => Connection::server(config.clone()),
        Role::Client => Connection::client(config.clone(), [7; 32]),
    }
}

/// Without a single timer.
pub(crate) fn no_timeouts() -> Config {
    Config::default()
        .handshake_timeout(None)
        .close_timeout(None)
        .progress_timeout(None)
        .send_timeout(None)
}

/// The header of a frame that is sent to `role`, announcing `len` bytes (RFC 6455 §5.2).
pub(crate) fn header_to(role: Role, first: u8, len: usize) -> Vec<u8> {
    let mask = if role == Role::Server { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(mask | len as u8),
        126..=65_535 => {
            bytes.push(mask | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    if mask != 0 {
        bytes.extend(KEY);
    }
    bytes
}

/// A fragment that is sent to `role`: masked if that is the server (§5.1).
pub(crate) fn fragment_to(role: Role, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header_to(role, if fin { FIN | opcode } else { opcode }, payload.len());
    match role {
        Role::Server => bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k)),
        Role::Client => bytes.extend(payload),
    }
    bytes
}

/// A whole frame that is sent to `role`.
pub(crate) fn to(role: Role, opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment_to(role, true, opcode, payload)
}

/// A Close frame that is sent to `role`.
pub(crate) fn close_to(role: Role, code: u16) -> Vec<u8> {
    to(role, CLOSE, &code.to_be_bytes())
}

/// A frame as the peer decodes it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.payload[..self.payload.len().min(24)]);
        let (fin, opcode, len) = (self.fin, self.opcode, self.payload.len());
        write!(f, "[fin {fin} op {opcode:x} len {len} {shown:?}]")
    }
}

/// Takes the first whole frame off `bytes`.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let second = *bytes.get(1)?;
    let (len, mut start) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
        short => (u64::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let mut key = [0; 4];
    if masked {
        key = bytes.get(start..start + 4)?.try_into().unwrap();
        start += 4;
    }
    let end = start + len as usize;
    let payload =
        bytes.get(start..end)?.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
    let first = bytes[0];
    bytes.drain(..end);
    assert_eq!(first & 0x70, 0, "a reserved bit was sent: the stream is torn");
    Some(Frame { fin: first & FIN != 0, opcode: first & 0xF, masked, payload })
}

/// Decodes what `role` sent. Half a frame at the end, a wrong mask bit, or a frame other than a pong after Close is a
/// failure (RFC 6455 §5.5.1, §5.5.2).
pub(crate) fn frames(role: Role, wire: &[u8]) -> Vec<Frame> {
    let mut wire = wire.to_vec();
    let mut frames: Vec<Frame> = Vec::new();
    while let Some(frame) = take_frame(&mut wire) {
        assert_eq!(frame.masked, role == Role::Client, "{role:?} sent {frame:?}");
        let after_close = frames.iter().any(|earlier| earlier.opcode == CLOSE);
        assert!(!after_close || frame.opcode == PONG, "{frame:?} after Close");
        frames.push(frame);
    }
    assert!(wire.is_empty(), "half a frame was sent: {} bytes behind {frames:?}", wire.len());
    frames
}

/// The payloads of all frames of a type.
pub(crate) fn payloads(frames: &[Frame], opcode: u8) -> Vec<Vec<u8>> {
    frames.iter().filter(|f| f.opcode == opcode).map(|f| f.payload.clone()).collect()
}

/// Opcode and payload of each frame, the payload as text.
pub(crate) fn shorthand(frames: &[Frame]) -> Vec<(u8, String)> {
    let text = |f: &Frame| String::from_utf8_lossy(&f.payload).into_owned();
    frames.iter().map(|f| (f.opcode, text(f))).collect()
}

/// The code in a Close frame.
pub(crate) fn close_code(frame: &Frame) -> u16 {
    assert_eq!(frame.opcode, CLOSE, "{frame:?} is no Close");
    u16::from_be_bytes(frame.payload[..2].try_into().unwrap())
}

/// Runs in a thread and gives the result, or fails after [`LONG`].
pub(crate) fn in_time<T: Send + 'static>(
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    spawn(run).wait(what)
}

/// A thread whose result is waited for at most [`LONG`].
pub(crate) struct Running<T>(std::sync::mpsc::Receiver<std::thread::Result<T>>);

pub(crate) fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = give.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)));
    });
    Running(take)
}

impl<T> Running<T> {
    pub(crate) fn wait(self, what: &str) -> T {
        self.wait_at_most(LONG, what)
    }

    pub(crate) fn wait_at_most(self, time: Duration, what: &str) -> T {
        match self.0.recv_timeout(time) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("{what}: not done after {time:?}"),
        }
    }
}

/// Bytes that repeat after 251, so that a shift shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}
