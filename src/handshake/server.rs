//! The server's side: bytes to a request, a request to a connection or a refusal (RFC 6455 §4.2;
//! over HTTP/2, RFC 8441 §5).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::extension::{Extension, extensions};
use super::head::{HeadError, HeadReader, Headers, Response};
use super::{InvalidRequest, is_token, key, list, lists_token};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::{Config, Origins};
use crate::protocol::connection::Connection;
use crate::protocol::deflate;

/// Why a request does not open a WebSocket. It is the client's fault; [`response`](Self::response)
/// is what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// Not HTTP/1.1 as RFC 9112 writes it. Status 400.
    Malformed,
    /// A version of HTTP that this kind of request does not belong to: other than 1.1 for an upgrade
    /// (RFC 6455 §4.2.1), lower than 2 for an extended CONNECT. Status 505.
    HttpVersion,
    /// The request line is longer than half of
    /// [`Config::max_head_size`](crate::Config::max_head_size). Status 414.
    TargetTooLong,
    /// Larger than [`Config::max_head_size`](crate::Config::max_head_size) or
    /// [`Config::max_headers`](crate::Config::max_headers) allow. Status 431.
    HeadTooBig,
    /// Not complete within [`Config::handshake_timeout`](crate::Config::handshake_timeout). Status 408.
    TimedOut,
    /// The client went away before the request was complete. There is nobody to answer.
    Gone,
    /// No `Host`, several, or a malformed one (RFC 9112 §3.2); in an extended CONNECT, several, or
    /// another one than `:authority` (RFC 9113 §8.3.1). Status 400.
    Host,
    /// The request has a body (RFC 6455 §4.1 gives it none). Status 400.
    Body,
    /// A target with a fragment, or of no form that a GET has (RFC 9112 §3.2); an extended CONNECT
    /// without `:scheme`, `:authority` or `:path`, or with a malformed one (RFC 8441 §4). Status 400.
    Target,
    /// Not GET (RFC 6455 §4.2.1), nor an extended CONNECT. Status 405.
    Method,
    /// An extended CONNECT for another `:protocol` than `websocket` (RFC 8441 §5). Status 501.
    Protocol,
    /// An extended CONNECT with `Connection`, `Upgrade` or another header of HTTP/1.1's connections
    /// (RFC 8441 §5, RFC 9113 §8.2.2). Status 400.
    ConnectionHeader,
    /// No `Upgrade: websocket` with `Connection: Upgrade`: an ordinary request. Status 426.
    NotUpgrade,
    /// Not exactly one `Sec-WebSocket-Key` of 16 bytes in base64 (RFC 6455 §4.2.1). Status 400.
    Key,
    /// No `Sec-WebSocket-Version`, or several (RFC 6455 §4.2.1). Status 400.
    VersionMissing,
    /// A `Sec-WebSocket-Version` other than 13 (RFC 6455 §4.4). Status 426.
    Version,
    /// `Sec-WebSocket-Protocol` is not a list of different tokens (RFC 6455 §4.1). Status 400.
    Subprotocols,
    /// `Sec-WebSocket-Extensions` is not a list of extensions (RFC 6455 §9.1). Status 400.
    Extensions,
    /// Several `Origin` headers. Status 400.
    Origin,
    /// A page of another origin, refused by the origin policy (RFC 6455 §10.2): see
    /// [`Config::allow_origin`](crate::Config::allow_origin). Status 403.
    ForeignOrigin,
}

impl RequestError {
    /// The answer that the client gets: status, headers that the status asks for, and the reason in
    /// plain text.
    pub fn response(&self) -> Response {
        let status = match self {
            Self::Method => 405,
            Self::TimedOut => 408,
            Self::TargetTooLong => 414,
            Self::NotUpgrade | Self::Version => 426,
            Self::HeadTooBig => 431,
            Self::Protocol => 501,
            Self::HttpVersion => 505,
            Self::ForeignOrigin => 403,
            _ => 400,
        };
        let mut response = Response::new(status).body(alloc::format!("{self}\n"));
        let headers = &mut response.headers;
        if *self == Self::Method {
            headers.push("Allow", b"GET");
        }
        if status == 426 {
            headers.push("Upgrade", b"websocket");
        }
        // §4.4: the versions that would do.
        if status == 426 || *self == Self::VersionMissing {
            headers.push("Sec-WebSocket-Version", b"13");
        }
        headers.push("Content-Type", b"text/plain; charset=utf-8");
        response
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed HTTP request",
            Self::HttpVersion => "only HTTP/1.1 is served here, or extended CONNECT over HTTP/2",
            Self::TargetTooLong => "request line too long",
            Self::HeadTooBig => "request head too big",
            Self::TimedOut => "request not complete in time",
            Self::Gone => "client went away during the opening handshake",
            Self::Host => {
                "exactly one valid Host header is needed, in HTTP/2 none or that of :authority"
            }
            Self::Body => "a request for a WebSocket has no body",
            Self::Target => "invalid request target",
            Self::Method => "only GET is served here",
            Self::Protocol => "only the protocol websocket is served here",
            Self::ConnectionHeader => "extended CONNECT has no headers of the connection",
            Self::NotUpgrade => "this is a WebSocket server: send Upgrade: websocket",
            Self::Key => "exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed",
            Self::VersionMissing => "exactly one Sec-WebSocket-Version is needed",
            Self::Version => "only version 13 of WebSocket is served here",
            Self::Subprotocols => "Sec-WebSocket-Protocol is not a list of different tokens",
            Self::Extensions => "Sec-WebSocket-Extensions is malformed",
            Self::Origin => "more than one Origin header",
            Self::ForeignOrigin => {
                "cross-origin request refused; the server can allow it with Config::allow_origin"
            }
        })
    }
}

impl core::error::Error for RequestError {}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::Malformed,
            HeadError::FirstLineTooLong => Self::TargetTooLong,
            HeadError::TooBig => Self::HeadTooBig,
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
    since: Option<Duration>,
    failed: Option<RequestError>,
}

impl ServerHandshake {
    /// Expects a request.
    pub fn new(config: Config) -> Self {
        Self { config, reader: HeadReader::default(), since: None, failed: None }
    }

    /// Gives the request once all of its head is in `input`; `None`: read more. What follows the
    /// head stays in `input`. The request is well-formed HTTP but need not ask for a WebSocket.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as soon as the bytes show it, and the same from then on. Send the
    /// [`response`](RequestError::response) and leave with [`leave`](Self::leave).
    pub fn read(&mut self, input: &mut RecvBuf) -> Result<Option<Request>, RequestError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.try_read(input).inspect_err(|error| self.failed = Some(*error))
    }

    fn try_read(&mut self, input: &mut RecvBuf) -> Result<Option<Request>, RequestError> {
        let Some(end) = self.reader.find_end(input.unread(), &self.config)? else {
            return if input.is_eof() { Err(RequestError::Gone) } else { Ok(None) };
        };
        let mut fields = vec![httparse::EMPTY_HEADER; self.reader.lines];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(&input.unread()[..end]) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::Version) => return Err(RequestError::HttpVersion),
            _ => return Err(RequestError::Malformed),
        }
        if parsed.version != Some(1) {
            return Err(RequestError::HttpVersion);
        }
        let request = Request {
            method: parsed.method.unwrap_or_default().into(),
            target: parsed.path.unwrap_or_default().into(),
            headers: Headers::from_parsed(parsed.headers),
            protocol: None,
        };
        request.check_http()?;
        input.skip(end);
        self.reader = HeadReader::default();
        Ok(Some(request))
    }

    /// When the request must be complete. The first call starts the time: make it before the first wait.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        Some(since.saturating_add(self.config.get().handshake_timeout?))
    }

    /// Whether that time is over.
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

    /// How to leave the socket after a response that opened no WebSocket.
    pub fn leave(&self) -> crate::Leave {
        crate::Leave::discarding(self.config.get().close_timeout)
    }

    /// The former name of [`leave`](Self::leave).
    #[deprecated(note = "use `leave`, which says each step")]
    #[doc(hidden)]
    pub fn linger(&self) -> crate::Leave {
        self.leave()
    }
}

/// A client's request, before anything is answered.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Headers,
    /// The `:protocol` of an extended CONNECT.
    protocol: Option<String>,
}

impl Request {
    /// Takes a request that another HTTP/1.1 parser has read, so that its server can upgrade.
    /// The version must be 1.1, which that parser knows.
    ///
    /// ```
    /// use bowline::handshake::{Accept, Request};
    /// let request = Request::from_parts("GET", "/chat", [
    ///     ("Host", "example.com"),
    ///     ("Upgrade", "websocket"),
    ///     ("Connection", "Upgrade"),
    ///     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ///     ("Sec-WebSocket-Version", "13"),
    /// ])?;
    /// let config = bowline::Config::default();
    /// let (connection, response) = request.upgrade(&config)?.accept(Accept::new())?;
    /// assert_eq!(response.status(), 101);
    /// assert_eq!(
    ///     response.headers().get("Sec-WebSocket-Accept"),
    ///     Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]),
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`ServerHandshake::read`], of those that are left.
    pub fn from_parts<N: AsRef<str>, V: AsRef<[u8]>>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, RequestError> {
        let mut fields = Headers::default();
        for (name, value) in headers {
            fields.push(name.as_ref(), value.as_ref().trim_ascii());
        }
        let request = Self::unchecked(method, target, fields);
        request.check_http()?;
        Ok(request)
    }

    pub(crate) fn unchecked(method: &str, target: &str, headers: Headers) -> Self {
        Self { method: method.into(), target: target.into(), headers, protocol: None }
    }

    /// Takes an extended CONNECT (RFC 8441 §4) that a parser of HTTP/2 has read: its pseudo-headers, of
    /// which an empty one is missing, and its headers. A server must have sent
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL` before; HTTP/3 has the same kind of request (RFC 9220).
    ///
    /// It is accepted with status 200, and the stream becomes the WebSocket's. `Sec-WebSocket-Key` means
    /// nothing here.
    ///
    /// ```
    /// use bowline::handshake::{Accept, Request};
    /// let headers = [("sec-websocket-version", "13"), ("origin", "https://example.com")];
    /// let request =
    ///     Request::from_extended_connect("websocket", "https", "example.com", "/chat", headers)?;
    /// let config = bowline::Config::default();
    /// let (connection, response) = request.upgrade(&config)?.accept(Accept::new())?;
    /// assert_eq!(response.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError::Target`], [`RequestError::Host`], [`RequestError::ConnectionHeader`] and
    /// [`RequestError::Body`]. Another protocol than `websocket` is for [`upgrade`](Self::upgrade) to
    /// refuse.
    pub fn from_extended_connect<N: AsRef<str>, V: AsRef<[u8]>>(
        protocol: &str,
        scheme: &str,
        authority: &str,
        path: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, RequestError> {
        let mut fields = Headers::default();
        for (name, value) in headers {
            fields.push(name.as_ref(), value.as_ref().trim_ascii());
        }
        let request = Self::unchecked_connect(protocol, scheme, authority, path, fields);
        request.check_http()?;
        Ok(request)
    }

    pub(crate) fn unchecked_connect(
        protocol: &str,
        scheme: &str,
        authority: &str,
        path: &str,
        headers: Headers,
    ) -> Self {
        let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        // What is wrong stays out, so that the parts of the target are those that were sent.
        let target = if is_http && is_host(authority.as_bytes()) && path.starts_with('/') {
            alloc::format!("{scheme}://{authority}{path}")
        } else {
            String::new()
        };
        Self { method: "CONNECT".into(), target, headers, protocol: Some(protocol.into()) }
    }

    /// Whether it is an extended CONNECT, of HTTP/2 or later.
    #[cfg(feature = "http")]
    pub(crate) fn is_extended_connect(&self) -> bool {
        self.protocol.is_some()
    }

    /// The method; a WebSocket is opened with `GET`, over HTTP/2 with `CONNECT`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target as it was sent: usually path and query. Of an extended CONNECT, the whole URI.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path that the target asks for, without the query.
    pub fn path(&self) -> &str {
        match self.split_target().1.split('?').next() {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// The query, behind the `?`.
    pub fn query(&self) -> Option<&str> {
        Some(self.target.split_once('?')?.1)
    }

    /// A target may name the host as well, as if to a proxy (RFC 9112 §3.2.2): the authority if it
    /// does, and the rest.
    fn split_target(&self) -> (Option<&str>, &str) {
        match self.target.split_once("://") {
            Some((_, rest)) if !self.target.starts_with('/') => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), path)
            }
            _ => (None, &self.target),
        }
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The host that is asked for, and its port unless it is the scheme's own: from the target if
    /// that names one (RFC 9112 §3.2.2; `:authority` in HTTP/2), else from `Host`.
    pub fn host(&self) -> &str {
        let from_target = self.split_target().0;
        from_target.or_else(|| self.headers.get_str("Host")).unwrap_or_default()
    }

    /// The `Origin` of the page that opened the connection; only browsers send it.
    pub fn origin(&self) -> Option<&str> {
        self.headers.get_str("Origin")
    }

    /// The value of a cookie (RFC 6265 §4.2).
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .all("Cookie")
            .filter_map(|line| core::str::from_utf8(line).ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .find(|(found, _)| found.trim() == name)
            .map(|(_, value)| value.trim())
    }

    /// The subprotocols that the client offers, most preferred first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        list(self.headers.all("Sec-WebSocket-Protocol"))
            .filter_map(|name| core::str::from_utf8(name).ok())
    }

    /// The first of the client's subprotocols that is in `supported`.
    pub fn select_subprotocol(&self, supported: &[impl AsRef<str>]) -> Option<&str> {
        self.subprotocols().find(|offered| supported.iter().any(|name| name.as_ref() == *offered))
    }

    /// Whether it asks for a WebSocket, rightly or not: if not, it may be answered like any other
    /// request. One that does and breaks a rule is left to [`upgrade`](Self::upgrade) to refuse.
    pub fn is_upgrade(&self) -> bool {
        // To an extended CONNECT any answer of 2xx opens a tunnel, so that none is an ordinary request.
        self.protocol.is_some()
            || lists_token(self.headers.all("Upgrade"), "websocket")
            || self.headers.get("Sec-WebSocket-Key").is_some()
            || self.headers.get("Sec-WebSocket-Version").is_some()
    }

    /// Checks all that RFC 6455 §4.2.1 or RFC 8441 §5 asks, and the origin policy; then it may be
    /// accepted.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn upgrade(&self, config: &Config) -> Result<Upgrade<'_>, RequestError> {
        self.check_asks()?;
        self.check_rules()?;
        match self.headers.get("Origin") {
            Some(origin) if !self.allows(origin, config) => Err(RequestError::ForeignOrigin),
            _ => Ok(Upgrade { request: self, config: config.clone() }),
        }
    }

    /// Whether this is a request for a WebSocket at all.
    pub(crate) fn check_asks(&self) -> Result<(), RequestError> {
        match self.protocol.as_deref() {
            Some("websocket") => return Ok(()),
            Some(_) => return Err(RequestError::Protocol),
            None => {}
        }
        if self.method != "GET" {
            return Err(RequestError::Method);
        }
        if !lists_token(self.headers.all("Upgrade"), "websocket")
            || !lists_token(self.headers.all("Connection"), "upgrade")
        {
            return Err(RequestError::NotUpgrade);
        }
        Ok(())
    }

    /// What is the same whatever the configuration.
    pub(crate) fn check_rules(&self) -> Result<(), RequestError> {
        match self.headers.only("Sec-WebSocket-Version") {
            Ok(Some(b"13")) => {}
            Ok(Some(_)) => return Err(RequestError::Version),
            _ => return Err(RequestError::VersionMissing),
        }
        // RFC 8441 §5: the key is not looked at where `:protocol` stands for it.
        match self.headers.only("Sec-WebSocket-Key") {
            _ if self.protocol.is_some() => {}
            Ok(Some(found)) if key::is_valid(found) => {}
            _ => return Err(RequestError::Key),
        }
        // §9.1: "if a value does not conform to the ABNF, the recipient MUST fail the connection".
        if !self.extensions().all(|extension| extension.is_valid()) {
            return Err(RequestError::Extensions);
        }
        let mut offers: Vec<_> = list(self.headers.all("Sec-WebSocket-Protocol")).collect();
        offers.sort_unstable();
        if !offers.iter().all(|offer| is_token(offer))
            || offers.windows(2).any(|two| two[0] == two[1])
        {
            return Err(RequestError::Subprotocols);
        }
        self.headers.only("Origin").map_err(|()| RequestError::Origin)?;
        Ok(())
    }

    fn extensions(&self) -> impl Iterator<Item = Extension<'_>> {
        extensions(self.headers.all("Sec-WebSocket-Extensions"))
    }

    /// What any HTTP request must keep to, WebSocket or not.
    pub(crate) fn check_http(&self) -> Result<(), RequestError> {
        if self.protocol.is_some() {
            return self.check_extended_connect();
        }
        // RFC 9112 §3.2: exactly one Host, else 400.
        match self.headers.only("Host") {
            Ok(Some(host)) if is_host(host) => {}
            _ => return Err(RequestError::Host),
        }
        // RFC 9112 §6: whoever disagrees on where the body ends can be made to see another request
        // in it, and no request that belongs here has one.
        if self.headers.get("Transfer-Encoding").is_some() {
            return Err(RequestError::Body);
        }
        match self.headers.only("Content-Length") {
            Ok(None | Some(b"0")) => {}
            _ => return Err(RequestError::Body),
        }
        let target = self.target.as_bytes();
        let absolute = |scheme: &str| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        let form = target.starts_with(b"/")
            || (absolute("http://") || absolute("https://"))
                && self.split_target().0.is_some_and(|authority| is_host(authority.as_bytes()));
        let form = match self.method.as_str() {
            "CONNECT" => is_host(target),
            "OPTIONS" => form || target == b"*",
            _ => form,
        };
        if !form || !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(RequestError::Target);
        }
        Ok(())
    }

    /// The same for an extended CONNECT: RFC 8441 §4, RFC 9113 §8.2.2 and §8.3.1.
    fn check_extended_connect(&self) -> Result<(), RequestError> {
        const OF_CONNECTIONS: [&str; 5] =
            ["Connection", "Upgrade", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection"];
        let target = self.target.as_bytes();
        if target.is_empty() || !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Err(RequestError::Target);
        }
        if OF_CONNECTIONS.iter().any(|name| self.headers.get(name).is_some()) {
            return Err(RequestError::ConnectionHeader);
        }
        let scheme = self.target.split(':').next().unwrap_or_default();
        match self.headers.only("Host") {
            Ok(None) => {}
            Ok(Some(host))
                if is_host(host)
                    && same_authority(host, self.host().as_bytes(), default_port(scheme)) => {}
            _ => return Err(RequestError::Host),
        }
        match self.headers.only("Content-Length") {
            Ok(None | Some(b"0")) => Ok(()),
            _ => Err(RequestError::Body),
        }
    }

    /// The origin policy: by name, or the same host and port.
    fn allows(&self, origin: &[u8], config: &Config) -> bool {
        let Origins::SameAnd(allowed) = &config.get().origins else {
            return true;
        };
        let Some((scheme, authority)) = split_origin(origin) else {
            return false;
        };
        if allowed.iter().any(|allowed| {
            split_origin(allowed.as_bytes()).is_some_and(|(its_scheme, its_authority)| {
                its_scheme.eq_ignore_ascii_case(scheme)
                    && same_authority(its_authority, authority, default_port(scheme))
            })
        }) {
            return true;
        }
        // Which of http and https does not count: TLS may end at a proxy. A Host without a port stands
        // for the default one of whatever scheme the browser used.
        let port = default_port(scheme);
        port.is_some() && same_authority(authority, self.host().as_bytes(), port)
    }
}

impl fmt::Debug for Request {
    /// Without the query and the values of headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// A request that keeps to all of RFC 6455 §4.2.1 or RFC 8441 §5 and to the origin policy, and may be
/// accepted.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    request: &'a Request,
    config: Config,
}

impl Upgrade<'_> {
    /// The connection, and the response that opens it. They belong together: the response tells what
    /// was agreed on. Send it before anything of the connection.
    ///
    /// # Errors
    ///
    /// If `accept` names a subprotocol that the client did not offer.
    pub fn accept(&self, accept: Accept) -> Result<(Connection, Response), InvalidRequest> {
        let Self { request, config } = self;
        // RFC 8441 §5: `:protocol` replaces Upgrade, Connection, key and accept.
        let mut response = Response::new(if request.protocol.is_some() { 200 } else { 101 });
        let headers = &mut response.headers;
        if request.protocol.is_none() {
            let key = request.headers.get_str("Sec-WebSocket-Key").unwrap_or_default();
            headers.push("Upgrade", b"websocket");
            headers.push("Connection", b"Upgrade");
            headers.push("Sec-WebSocket-Accept", key::accept_key(key).as_bytes());
        }
        if let Some(name) = accept.subprotocol {
            if !request.subprotocols().any(|offered| offered == name) {
                return Err(InvalidRequest::SubprotocolNotOffered(name));
            }
            headers.push("Sec-WebSocket-Protocol", name.as_bytes());
        }
        // The first offer that can be accepted; what is declined is not mentioned (RFC 7692 §5.1).
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
    subprotocol: Option<String>,
    headers: Headers,
}

impl Accept {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects a subprotocol; it must be one that the client offered: see
    /// [`Request::select_subprotocol`]. `None` selects none.
    pub fn subprotocol<'a>(mut self, name: impl Into<Option<&'a str>>) -> Self {
        self.subprotocol = name.into().map(String::from);
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

/// `uri-host [ ":" port ]` (RFC 9110 §7.2).
fn is_host(host: &[u8]) -> bool {
    let (name, port) = split_port(host);
    let name_is_valid = match name.strip_prefix(b"[") {
        Some(address) => address
            .strip_suffix(b"]")
            .and_then(|address| core::str::from_utf8(address).ok())
            .is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok()),
        // reg-name of RFC 3986 §3.2.2
        None => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b))
        }
    };
    name_is_valid && port.is_none_or(|port| port.is_empty() || parse_port(port).is_some())
}

/// Splits the port off, at a colon that is not inside brackets.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let behind_address = authority.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    match authority[behind_address..].iter().position(|&byte| byte == b':') {
        Some(at) => {
            let (name, port) = authority.split_at(behind_address + at);
            (name, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

fn parse_port(port: &[u8]) -> Option<u16> {
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(port).ok()?.parse().ok()
}

/// `scheme://host[:port]`, and nothing more (RFC 6454 §6.2); not `null`.
fn split_origin(origin: &[u8]) -> Option<(&str, &[u8])> {
    let (scheme, authority) = core::str::from_utf8(origin).ok()?.split_once("://")?;
    is_host(authority.as_bytes()).then_some((scheme, authority.as_bytes()))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

fn same_authority(a: &[u8], b: &[u8], default_port: Option<u16>) -> bool {
    let ((a_name, a_port), (b_name, b_port)) = (split_port(a), split_port(b));
    let port = |port: Option<&[u8]>| match port {
        None | Some(b"") => default_port,
        Some(port) => parse_port(port),
    };
    a_name.eq_ignore_ascii_case(b_name) && port(a_port) == port(b_port)
}
