//! A response: the one that opens a WebSocket, or any other.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::head::{Headers, write_head};
use super::{InvalidRequest, retry_after};
use crate::memory::send_buf::SendBuf;

/// An HTTP response: the one that opened the connection, a refusal that a client received, or a server's
/// answer to a request that it does not accept.
///
/// ```
/// use bowline::handshake::Response;
/// let page = Response::new(200).header("Content-Type", "text/html")?.body("<h1>Hello</h1>");
/// # Ok::<(), bowline::handshake::InvalidRequest>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    /// The text repeats the query of the request. That may hold a token, so errors do not show the text.
    pub(super) repeats_query: bool,
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
    ///
    /// The status of an answer is from 200 to 599 (RFC 9110 §15). Any other becomes 500, so that the client gets
    /// an answer that it can read. After a 1xx it would wait for another one. 101 promises a WebSocket, which only
    /// [`Upgrade::accept`](super::Upgrade::accept) opens. For a status that is not yours, such as that of another
    /// server, use [`try_new`](Self::try_new).
    pub fn new(status: u16) -> Self {
        Self::try_new(status).unwrap_or_else(|_| Self::of_any_status(500))
    }

    /// A response with this status code, if it may be sent.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Status`] if it is not from 200 to 599.
    pub fn try_new(status: u16) -> Result<Self, InvalidRequest> {
        match status {
            200..=599 => Ok(Self::of_any_status(status)),
            _ => Err(InvalidRequest::Status(status)),
        }
    }

    /// A response that another HTTP client has received. It may have any status, and is for
    /// [`ClientHandshake::answer`](super::ClientHandshake::answer).
    pub fn received<N: AsRef<str>, V: AsRef<[u8]>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self { headers: Headers::from_pairs(&[], headers), ..Self::of_any_status(status) }
    }

    /// A response that was received, or that opens a connection.
    pub(super) fn of_any_status(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Vec::new(), repeats_query: false }
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

    /// The headers. A response that was made here has only those that were added.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body. A refusal that a client received has at most its first 64 KiB.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The subprotocol that the server selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.headers.get_str("Sec-WebSocket-Protocol")
    }

    /// How long the server asks to wait before the next request, if it does (RFC 9110 §10.2.3). `unix_now` is the time
    /// since 1970, which the date of the header is compared with. A date that has passed gives zero.
    ///
    /// Both forms of `Retry-After` are read: seconds, and a date in each of the three forms of RFC 9110 §5.6.7. The result
    /// is whatever the server says, up to [`Duration::MAX`], so bound it.
    ///
    /// ```
    /// use bowline::handshake::Response;
    /// use std::time::Duration;
    /// let now = Duration::from_secs(784_111_777); // 08:49:37
    /// let busy = Response::new(503).header("Retry-After", "120")?;
    /// assert_eq!(busy.retry_after(now), Some(Duration::from_secs(120)));
    /// let busy = Response::new(503).header("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT")?;
    /// assert_eq!(busy.retry_after(now), Some(Duration::from_secs(60)));
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn retry_after(&self, unix_now: Duration) -> Option<Duration> {
        retry_after::parse(self.headers.only("Retry-After").ok()??, unix_now)
    }

    /// RFC 9110 §15.4: whether the response names another place for the same request. The method is GET, which all of
    /// these keep.
    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.headers.get("Location").is_some()
    }

    /// The status, the headers and the content, for another HTTP server to send. That server writes
    /// `Connection: close`, `Content-Length` and `Transfer-Encoding` itself. The headers that the status must have are
    /// there: `Allow` for 405, `Upgrade` for 426. A status that may not be sent becomes 500.
    pub fn into_parts(self) -> (u16, Headers, Vec<u8>) {
        let Self { status, headers, body, .. } = self;
        let has_content = has_content(status);
        let mut headers = wire_headers(headers, status);
        // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
        if headers.get("Upgrade").is_some() && headers.get("Connection").is_none() {
            headers.push("Connection", b"upgrade");
        }
        let body = if has_content { body } else { Vec::new() };
        (status_to_send(status), headers, body)
    }

    /// Queues the response. One that opens no WebSocket says `Connection: close`. Close the connection after
    /// it, as [`Leave`](crate::Leave) describes. The response gets its length, and the headers that its status
    /// must have: `Allow` for 405, `Upgrade` for 426.
    ///
    /// To answer HEAD or CONNECT, use [`ServerHandshake::respond`](super::ServerHandshake::respond), which knows
    /// the request.
    pub fn encode(&self, out: &mut SendBuf) {
        self.write(true, out);
    }

    /// Queues the head, and the content unless `with_content` is false.
    pub(super) fn write(&self, with_content: bool, out: &mut SendBuf) {
        let status = status_to_send(self.status);
        let reason = reason_phrase(status);
        let first_line = format_args!("HTTP/1.1 {status:03} {reason}");
        if status == 101 {
            write_head(first_line, &self.headers, out);
        } else {
            let mut headers = wire_headers(self.headers.clone(), self.status);
            let close: &[u8] = match headers.get("Upgrade") {
                // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
                Some(_) => b"close, Upgrade",
                None => b"close",
            };
            headers.push("Connection", close);
            if let Some(length) = self.content_length() {
                headers.push_text("Content-Length", length);
            }
            write_head(first_line, &headers, out);
        }
        if with_content {
            out.append(|buffer| buffer.extend_from_slice(self.content()));
        }
    }

    /// The part of the body that is sent: all of it or nothing.
    fn content(&self) -> &[u8] {
        if has_content(self.status) { &self.body } else { &[] }
    }

    /// RFC 9110 §8.6: a 204 has none. In a 304 it is the length that a 200 would have, which only a body tells.
    fn content_length(&self) -> Option<usize> {
        match self.status {
            204 => None,
            304 => Some(self.body.len()).filter(|&length| length > 0),
            _ => Some(self.content().len()),
        }
    }
}

/// The headers, with those that the status must have, and without those that frame the message.
fn wire_headers(mut headers: Headers, status: u16) -> Headers {
    if status == 101 {
        return headers;
    }
    // In a response that was received, these belong to the connection that it came on.
    for name in ["Connection", "Content-Length", "Transfer-Encoding"] {
        if headers.get(name).is_some() {
            headers = Headers::default().with_all_but(&headers, name);
        }
    }
    let required: &[(&str, &[u8])] = match status {
        // RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
        405 => &[("Allow", b"GET")],
        // §15.5.22: "The server MUST send an Upgrade header field in a 426 response". RFC 6455 §4.4: "it MUST
        // respond with a |Sec-WebSocket-Version| header field".
        426 => &[("Upgrade", b"websocket"), ("Sec-WebSocket-Version", b"13")],
        _ => &[],
    };
    for (name, value) in required {
        if headers.get(name).is_none() {
            headers.push(name, value);
        }
    }
    headers
}

/// RFC 9110 §15.3.5, §15.3.6, §15.4.5: nothing is sent with these statuses. A client would read it as another
/// response.
fn has_content(status: u16) -> bool {
    !matches!(status, 101 | 204 | 205 | 304)
}

/// A response that was received may have a status that a server may not send. It becomes 500.
fn status_to_send(status: u16) -> u16 {
    if matches!(status, 101 | 200..=599) { status } else { 500 }
}

/// The customary phrase; it may be empty.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
