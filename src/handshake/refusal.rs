//! A response that opens no WebSocket: its status decides, and its body gets a short time (RFC 9112 §6.3).

use alloc::vec::Vec;

use super::head::Response;
use super::lists_token;
use crate::memory::recv_buf::RecvBuf;

/// This much of a refusal's body is kept.
pub(crate) const MAX_BODY: usize = 64 << 10;

/// The longest line that announces a chunk of it.
const MAX_CHUNK_LINE: usize = 256;

/// Where a refusal's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Length(u64),
    UntilEof,
    /// Between chunks.
    Chunks,
    /// In a chunk, with this much left of its data and the line end behind it.
    Chunk(u64),
}

impl Body {
    pub(super) fn of(response: &Response) -> Self {
        if matches!(response.status, 204 | 304) {
            return Self::Length(0);
        }
        if lists_token(response.headers.all("Transfer-Encoding"), "chunked") {
            return Self::Chunks;
        }
        match response.headers.get_str("Content-Length").map(str::parse) {
            Some(Ok(length)) => Self::Length(length),
            _ => Self::UntilEof,
        }
    }

    /// Moves what has come to `body`; whether that was all.
    pub(super) fn read(&mut self, input: &mut RecvBuf, body: &mut Vec<u8>) -> bool {
        let mut take = |input: &mut RecvBuf, most: u64| {
            let n = most.min(input.unread().len() as u64) as usize;
            let room = MAX_BODY.saturating_sub(body.len());
            body.extend_from_slice(&input.unread()[..n.min(room)]);
            input.skip(n);
            n as u64
        };
        loop {
            match self {
                Self::Length(left) => {
                    *left -= take(input, *left);
                    return *left == 0;
                }
                Self::UntilEof => {
                    take(input, u64::MAX);
                    return false;
                }
                Self::Chunks => match httparse::parse_chunk_size(input.unread()) {
                    // Extensions of a chunk may be of any length; nobody sends them.
                    Ok(httparse::Status::Complete((n, _))) if n > MAX_CHUNK_LINE => return true,
                    Ok(httparse::Status::Complete((n, size))) => {
                        input.skip(n);
                        if size == 0 {
                            return true;
                        }
                        *self = Self::Chunk(size.saturating_add(2));
                    }
                    Ok(httparse::Status::Partial) => return input.unread().len() >= MAX_CHUNK_LINE,
                    Err(_) => return true,
                },
                Self::Chunk(left) => {
                    if *left > 2 {
                        *left -= take(input, *left - 2);
                    }
                    if *left > 2 || input.unread().len() < 2 {
                        return false;
                    }
                    input.skip(2);
                    *self = Self::Chunks;
                }
            }
        }
    }
}
