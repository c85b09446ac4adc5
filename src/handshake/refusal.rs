//! A response that opens no WebSocket. Its status decides, and its body gets a short time (RFC 9112 §6.3).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::time::Duration;

use super::lists_token;
use super::response::Response;
use crate::memory::recv_buf::RecvBuf;

/// At most this much of a refusal's body is kept.
const MAX_BODY: usize = 64 << 10;

/// The longest line that announces a chunk of it.
const MAX_CHUNK_LINE: usize = 256;

/// How long the body may take once the status has come. A server that keeps the connection open may never end
/// a body that has no length (RFC 9112 §6.3 item 8). A server that announces a length may never send the body.
const BODY_GRACE: Duration = Duration::from_secs(1);

/// A refusal whose body has not all come.
pub(super) struct Refusal {
    response: Box<Response>,
    body: Body,
    /// When the clock was first read after the head had come.
    since: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(response: Response) -> Self {
        let body = Body::of(&response);
        Self { response: Box::new(response), body, since: None }
    }

    /// Moves the bytes of the body that have come to the response. Whether the refusal is ready: its body is
    /// complete, is as large as is kept, or was cut short.
    pub(super) fn read(&mut self, input: &mut RecvBuf) -> bool {
        let ended = self.body.read(input, &mut self.response.body);
        ended || input.is_eof() || self.response.body.len() >= MAX_BODY
    }

    /// Adds a part of the body that another HTTP client has read. Gives whether more of it is wanted.
    pub(super) fn add(&mut self, part: &[u8]) -> bool {
        let body = &mut self.response.body;
        let room = MAX_BODY - body.len();
        body.extend_from_slice(&part[..part.len().min(room)]);
        body.len() < MAX_BODY
    }

    /// When the refusal is given without the rest of its body. The first call starts the time, and bytes do not
    /// prolong it.
    pub(super) fn deadline(&mut self, now: Duration) -> Duration {
        self.since.get_or_insert(now).saturating_add(BODY_GRACE)
    }

    pub(super) fn into_response(self) -> Response {
        *self.response
    }
}

/// The longest text from the server that an error shows, in characters.
const MAX_SHOWN: usize = 200;

/// Writes the status of a refusal, and what a reader needs to know of the rest.
pub(super) fn describe(who: &str, response: &Response, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{who} answered with status {}", response.status())?;
    if response.repeats_query {
        return Ok(());
    }
    match response.status() {
        300..=399 => Ok(()),
        200..=299 => f.write_str(": no WebSocket is served at this URL"),
        _ => match first_line(response) {
            Some(line) => {
                f.write_str(": ")?;
                show(line, f)
            }
            None => Ok(()),
        },
    }
}

/// Writes text from the server, without control characters that would change a terminal or a log.
pub(super) fn show(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars().take(MAX_SHOWN) {
        f.write_char(if c.is_control() { '\u{fffd}' } else { c })?;
    }
    if text.chars().nth(MAX_SHOWN).is_some() { f.write_str("...") } else { Ok(()) }
}

/// The first line of a body that is text for people to read.
fn first_line(response: &Response) -> Option<&str> {
    let is_text = match response.headers().get_str("Content-Type") {
        None => true,
        Some(kind) => {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            ["text/plain", "application/json", "application/problem+json"]
                .iter()
                .any(|text| kind.eq_ignore_ascii_case(text))
        }
    };
    // The end may be cut inside a character.
    let body = response.body_bytes();
    let text = match core::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default(),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    (is_text && !line.starts_with('<')).then_some(line)
}

/// Where a refusal's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    UntilEof,
    /// Between chunks.
    Chunks,
    /// In a chunk, with this much left of its data and the line end after it.
    Chunk(u64),
}

impl Body {
    fn of(response: &Response) -> Self {
        // A redirect is followed or reported at once, with what came of its body.
        if matches!(response.status, 101 | 204 | 304) || response.is_redirect() {
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

    /// Moves the bytes that have come to `body`. Whether the body is complete.
    fn read(&mut self, input: &mut RecvBuf, body: &mut Vec<u8>) -> bool {
        let mut take = |input: &mut RecvBuf, most: u64| {
            let n = most.min(input.unread().len() as u64) as usize;
            let room = MAX_BODY - body.len();
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
                    // A chunk may have extensions of any length, but no server sends them.
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
