//! What the tests share. `protocol` needs no adapter. The rest is streams in memory that record each operation and
//! block, stutter or fail as a test wants. Nothing here sleeps: a test waits for a condition, and every wait has an end.
//!
//! `counting.rs` is no part of this, since a binary has one global allocator. A `main.rs` that counts names it.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

#[cfg(feature = "std")]
pub(crate) mod blocking;
#[cfg(all(feature = "tokio", feature = "futures-io"))]
pub(crate) mod over_futures;
#[cfg(feature = "tokio")]
pub(crate) mod over_tokio;
pub(crate) mod protocol;
#[cfg(feature = "tokio")]
pub(crate) mod server;
pub(crate) mod stream;
#[cfg(feature = "ring")]
pub(crate) mod tls;

use std::time::Duration;

use bowline::Config;

pub(crate) use protocol::*;

/// No wait of a test lasts longer; a hang fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Without a single timer.
pub(crate) fn no_timeouts() -> Config {
    Config::default()
        .handshake_timeout(None)
        .close_timeout(None)
        .progress_timeout(None)
        .send_timeout(None)
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

/// `text` in three fragments, with pings between them.
pub(crate) fn text_in_fragments(role: bowline::Role, text: &str) -> Vec<u8> {
    let (a, rest) = text.as_bytes().split_at(text.len() / 3);
    let (b, c) = rest.split_at(rest.len() / 2);
    [
        fragment_to(role, false, TEXT, a),
        to(role, PING, b"1"),
        fragment_to(role, false, CONTINUATION, b),
        to(role, PING, b"2"),
        fragment_to(role, true, CONTINUATION, c),
    ]
    .concat()
}
