//! A response that opens no WebSocket: its status decides, and its body gets a short time (RFC 9112 §6.3).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::lists_token;
use super::response::Response;
use crate::memory::recv_buf::RecvBuf;

/// This much of a refusal's body is kept.
pub(crate) const MAX_BODY: usize = 64 << 10;

/// The longest line that announces a chunk of it.
const MAX_CHUNK_LINE: usize = 256;

/// How long the body may take once the status has come. A server that keeps the connection open may never end
/// a body that has no length (RFC 9112 §6.3 item 8), and one that announces a length may never send it.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(1);

/// A refusal whose body has not all come.
pub(super) struct Refusal {
    response: Box<Response>,
    body: Body,
    /// When the first look at the clock after the head was.
    since: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(response: Response) -> Self {
        let body = Body::of(&response);
        Self { response: Box::new(response), body, since: None }
    }

    /// Moves what has come of the body to the response. Whether the refusal can be told: the body is whole, as
    /// large as is kept, or cut short.
    pub(super) fn read(&mut self, input: &mut RecvBuf) -> bool {
        let ended = self.body.read(input, &mut self.response.body);
        ended || input.is_eof() || self.response.body.len() >= MAX_BODY
    }

    /// When it is told without the rest of its body. The first call starts the time; bytes do not prolong it.
    pub(super) fn deadline(&mut self, now: Duration) -> Duration {
        self.since.get_or_insert(now).saturating_add(BODY_GRACE)
    }

    pub(super) fn into_response(self) -> Box<Response> {
        self.response
    }
}

/// Where a refusal's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    UntilEof,
    /// Between chunks.
    Chunks,
    /// In a chunk, with this much left of its data and the line end behind it.
    Chunk(u64),
}

impl Body {
    fn of(response: &Response) -> Self {
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
    fn read(&mut self, input: &mut RecvBuf, body: &mut Vec<u8>) -> bool {
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
