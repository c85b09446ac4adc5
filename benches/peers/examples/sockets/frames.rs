//! Frames made by hand: what the client sends, and what has to come back.

#[path = "../../../../tests/support/protocol/frames.rs"]
mod naive;

/// A request with the key of RFC 6455, 1.3, so that the answer is known.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// For the servers that have no handshake of their own.
pub const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Messages that are sent at once, and the answers to all of them.
pub struct Window {
    pub messages: usize,
    pub request: Vec<u8>,
    pub reply: Vec<u8>,
}

impl Window {
    /// Binary messages, each with other bytes and another masking key. With `copied` they come back
    /// as they are.
    pub fn new(messages: usize, size: usize, copied: bool) -> Self {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        for i in 0..messages {
            let key = (0x9E37_79B9_u32.wrapping_mul(i as u32 + 1)).to_be_bytes();
            let payload: Vec<u8> = (0..size).map(|at| (at * 7 + at / 251 + i) as u8).collect();
            request.extend(naive::frame_with(0x82, Some(key), &payload));
            reply.extend(naive::frame_with(0x82, None, &payload));
        }
        if copied {
            reply.clone_from(&request);
        }
        Self { messages, request, reply }
    }
}

/// A Close with the code 1000, and its answer.
pub fn closing() -> Window {
    let code = 1000_u16.to_be_bytes();
    let request = naive::frame_with(0x88, Some([1, 2, 3, 4]), &code);
    Window { messages: 1, request, reply: naive::frame_with(0x88, None, &code) }
}

/// Whether replies end with the answer to that Close. No payload of these benchmarks ends so.
pub fn closed(replies: &[u8]) -> bool {
    replies.ends_with(&[0x88, 2, 3, 0xE8])
}
