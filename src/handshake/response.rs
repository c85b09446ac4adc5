//! A response: the one that opens a WebSocket, or any other.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::InvalidRequest;
use super::head::{Headers, write_head};
use crate::memory::send_buf::SendBuf;

/// An HTTP response: the one that opened the connection, one that a client was refused with, or a
/// server's answer to a request that it does not accept.
///
/// ```
/// use bowline::handshake::Response;
/// let page = Response::new(200).header("Content-Type", "text/html")?.body("<h1>Hello</h1>");
/// # Ok::<(), bowline::handshake::InvalidRequest>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Response {
    /// Without the values of headers and the body: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

impl Response {
    /// A response with this status code and nothing else.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Vec::new() }
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// If it is malformed, or one that is written for you: `Connection`, `Content-Length` and those
    /// of the handshake.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        self.headers.push_user(name, value)?;
        Ok(self)
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers; of one that was made here, only those that were added.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body; of one that a client was refused with, at most the first 64 KiB.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The subprotocol that the server selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.headers.get_str("Sec-WebSocket-Protocol")
    }

    /// Queues the response. One that opens no WebSocket says `Connection: close`: the connection is
    /// to be closed behind it, in the way that [`Linger`](crate::Linger) describes.
    pub fn encode(&self, out: &mut SendBuf) {
        let mut headers = self.headers.clone();
        if self.status != 101 {
            let close: &[u8] = match headers.get("Upgrade") {
                // RFC 9110 §7.8: who sends Upgrade lists it in Connection.
                Some(_) => b"close, Upgrade",
                None => b"close",
            };
            headers.push("Connection", close);
            // §8.6 of RFC 9110: not with these.
            if self.status >= 200 && self.status != 204 {
                let mut length = String::new();
                let _ = write!(length, "{}", self.body.len());
                headers.push("Content-Length", length.as_bytes());
            }
        }
        let reason = reason_phrase(self.status);
        write_head(format_args!("HTTP/1.1 {:03} {reason}", self.status), &headers, out);
        // RFC 9110 §15.3.5, §15.4.5: what followed would be read as another response.
        if !matches!(self.status, 204 | 304) {
            out.append(|buffer| buffer.extend_from_slice(&self.body));
        }
    }
}

/// The customary phrase; it may be empty.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
