//! The server's side: it reads a request, and answers it with a connection or a refusal (RFC 6455 §4.2;
//! over HTTP/2, RFC 8441 §5).

use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use super::head::{HeadReader, Headers, with_places};
use super::request::Request;
use super::response::Response;
use super::rules::RequestError;
use super::{InvalidRequest, key};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;
use crate::protocol::connection::Connection;
use crate::protocol::deflate;
use crate::protocol::leave::Leave;

/// The methods that change how a response is read (RFC 9112 §6.3 items 1 and 2).
#[derive(Clone, Copy, Debug)]
enum Asked {
    Head,
    Connect,
    Other,
}

impl Asked {
    /// The method of a head, as far as it has come. Methods are case-sensitive (RFC 9110 §9.1).
    fn of(head: &[u8]) -> Self {
        match head.strip_prefix(b"\r\n").unwrap_or(head) {
            head if head.starts_with(b"HEAD ") => Self::Head,
            head if head.starts_with(b"CONNECT ") => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// Reads the request that a client opens with.
///
/// ```
/// use bowline::handshake::{Accept, ServerHandshake};
/// use bowline::{Config, RecvBuf, SendBuf};
///
/// let config = Config::default();
/// let mut handshake = ServerHandshake::new(config.clone());
/// let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
/// let bytes = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// input.space()[..bytes.len()].copy_from_slice(bytes);
/// input.filled(bytes.len());
///
/// if let Some(request) = handshake.read(&mut input)? {
///     let (connection, response) = request.upgrade(&config)?.accept(Accept::new())?;
///     response.encode(&mut out);
///     // The handshake is over; what is left in `input` are frames.
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerHandshake {
    config: Config,
    reader: HeadReader,
    asked: Asked,
    since: Option<Duration>,
    failed: Option<RequestError>,
}

impl ServerHandshake {
    /// Expects a request.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            reader: HeadReader::default(),
            asked: Asked::Other,
            since: None,
            failed: None,
        }
    }

    /// Gives the request once all of its head is in `input`. `None`: read more. The bytes after the head stay
    /// in `input`. The request is well-formed HTTP, but it need not ask for a WebSocket.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as soon as the bytes show it. Every later call gives the same error. Queue the
    /// [`response`](RequestError::response) with [`respond`](Self::respond), and leave with [`leave`](Self::leave).
    pub fn read(&mut self, input: &mut RecvBuf) -> Result<Option<Request>, RequestError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.try_read(input).inspect_err(|error| self.failed = Some(*error))
    }

    fn try_read(&mut self, input: &mut RecvBuf) -> Result<Option<Request>, RequestError> {
        self.asked = Asked::of(input.unread());
        let Some(end) = self.reader.find_end(input.unread(), &self.config)? else {
            return if input.is_eof() { Err(RequestError::Gone) } else { Ok(None) };
        };
        let request = parse(&input.unread()[..end], self.reader.lines)?;
        request.check_http()?;
        input.skip(end);
        self.reader = HeadReader::default();
        Ok(Some(request))
    }

    /// When the request must be complete. The first call starts the time, so make it before the first wait.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        Some(since.saturating_add(self.config.get().handshake_timeout?))
    }

    /// Whether the [`deadline`](Self::deadline) is reached.
    ///
    /// # Errors
    ///
    /// [`RequestError::TimedOut`] if it is.
    pub fn on_time(&mut self, now: Duration) -> Result<(), RequestError> {
        match self.deadline(now) {
            Some(deadline) if deadline <= now => Err(RequestError::TimedOut),
            _ => Ok(()),
        }
    }

    /// Queues an answer that opens no WebSocket, to the request that was read or that failed.
    ///
    /// It is [`Response::encode`] except for two methods. An answer to HEAD has no content: "the server MUST NOT
    /// send content in the response" (RFC 9110 §9.3.2). An answer of 2xx to CONNECT would open a tunnel (§9.3.6),
    /// so the client gets 405 instead.
    pub fn respond(&self, response: &Response, out: &mut SendBuf) {
        match self.asked {
            Asked::Head => response.write(false, out),
            Asked::Connect if (200..300).contains(&response.status()) => {
                RequestError::Method.response().encode(out);
            }
            Asked::Connect | Asked::Other => response.encode(out),
        }
    }

    /// How to leave the socket after a response that opened no WebSocket.
    pub fn leave(&self) -> Leave {
        Leave::discarding(self.config.get().close_timeout)
    }

    /// The former name of [`leave`](Self::leave).
    #[deprecated(note = "use `leave`, which says each step")]
    #[doc(hidden)]
    pub fn linger(&self) -> Leave {
        self.leave()
    }
}

/// Reads a complete head, which has this many lines.
fn parse(head: &[u8], lines: usize) -> Result<Request, RequestError> {
    with_places(lines, |places| {
        let mut parsed = httparse::Request::new(places);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) if parsed.version == Some(1) => {}
            Ok(httparse::Status::Complete(_)) | Err(httparse::Error::Version) => {
                return Err(RequestError::HttpVersion);
            }
            _ => return Err(RequestError::Malformed),
        }
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        Ok(Request::parsed(method, target, parsed.headers))
    })
}

/// A request that keeps to all of RFC 6455 §4.2.1 or RFC 8441 §5 and to the origin policy, and may be
/// accepted.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    pub(super) request: &'a Request,
    pub(super) config: Config,
}

impl Upgrade<'_> {
    /// The connection, and the response that opens it. They belong together: the response says what was
    /// agreed on. Send it before any frame of the connection.
    ///
    /// ```
    /// use bowline::Config;
    /// use bowline::handshake::{Accept, Request};
    ///
    /// let request = Request::from_parts("GET", "/chat", [
    ///     ("Host", "example.com"),
    ///     ("Upgrade", "websocket"),
    ///     ("Connection", "Upgrade"),
    ///     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ///     ("Sec-WebSocket-Version", "13"),
    ///     ("Sec-WebSocket-Protocol", "chat, superchat"),
    /// ])?;
    /// let accept = Accept::new().subprotocol(request.select_subprotocol(&["chat"]));
    /// let (connection, response) = request.upgrade(&Config::default())?.accept(accept)?;
    /// assert_eq!(response.subprotocol(), Some("chat"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `accept` names a subprotocol that the client did not offer.
    pub fn accept(&self, accept: Accept) -> Result<(Connection, Response), InvalidRequest> {
        let Self { request, config } = self;
        let config = accept.config.as_ref().unwrap_or(config);
        // RFC 8441 §5: the functionality of key and accept "has been superseded by the :protocol pseudo-header
        // field". Upgrade and Connection "are not part of HTTP/2".
        let mut response =
            Response::of_any_status(if request.protocol.is_some() { 200 } else { 101 });
        let headers = &mut response.headers;
        if request.protocol.is_none() {
            *headers = Headers::with_capacity(5, 200);
            let key = request.headers.get("Sec-WebSocket-Key").unwrap_or_default();
            headers.push("Upgrade", b"websocket");
            headers.push("Connection", b"Upgrade");
            headers.push("Sec-WebSocket-Accept", &key::accept_for(key));
        }
        // RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake".
        if let Some(name) = accept.subprotocol {
            if !request.subprotocols().any(|offered| *offered == *name) {
                return Err(InvalidRequest::SubprotocolNotOffered(String::from(name)));
            }
            headers.push("Sec-WebSocket-Protocol", name.as_bytes());
        }
        // The first offer that can be accepted. A declined offer is not mentioned in the response
        // (RFC 7692 §5).
        let agreed = request
            .extensions()
            .filter(|extension| extension.name() == deflate::NAME.as_bytes())
            .find_map(|extension| deflate::accept(config, extension.parameters()));
        let agreed = agreed.map(|(agreed, answer)| {
            headers.push("Sec-WebSocket-Extensions", answer.as_bytes());
            agreed
        });
        for (name, value) in accept.headers.iter() {
            headers.push(name, value);
        }
        Ok((Connection::agreed_server(config.clone(), agreed), response))
    }
}

/// What a server adds to the response that opens a WebSocket.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    subprotocol: Option<Box<str>>,
    headers: Headers,
    config: Option<Config>,
}

impl Accept {
    /// Adds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects a subprotocol. It must be one that the client offered: see
    /// [`Request::select_subprotocol`]. `None` selects none.
    pub fn subprotocol<'a>(mut self, name: impl Into<Option<&'a str>>) -> Self {
        self.subprotocol = name.into().map(Box::from);
        self
    }

    /// The settings of this connection, in place of the server's: other limits for a client that is signed in, for
    /// example, or no compression for one client.
    ///
    /// ```
    /// use bowline::Config;
    /// use bowline::handshake::{Accept, Request};
    ///
    /// let config = Config::default();
    /// let large = config.clone().max_message_size(64 << 20);
    /// let choose = |request: &Request| match request.path() {
    ///     "/upload" => Accept::new().config(large.clone()),
    ///     _ => Accept::new(),
    /// };
    /// # let _ = choose;
    /// ```
    ///
    /// What concerns the request was decided by the server's own settings: origins, hosts, the bounds of the head, and
    /// the time of the handshake.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Adds a header, such as `Set-Cookie`.
    ///
    /// # Errors
    ///
    /// If it is malformed or one of the handshake's own.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        self.headers.push_user(name, value)?;
        Ok(self)
    }
}
