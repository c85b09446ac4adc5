//! A client's request, before anything is answered.

use alloc::boxed::Box;
use core::fmt;
use core::net::SocketAddr;

use super::head::Headers;
use super::rules::RequestError;
use super::server::Upgrade;
use super::{list, lists_token};
use crate::protocol::authority::is_host;
use crate::protocol::config::Config;

/// A client's request, before anything is answered.
#[derive(Clone)]
pub struct Request {
    /// Their first line is the method and the target, with nothing between them.
    pub(super) headers: Headers,
    method_len: usize,
    /// The `:protocol` of an extended CONNECT.
    pub(super) protocol: Option<Box<str>>,
    peer_addr: Option<Box<SocketAddr>>,
}

impl Request {
    /// Takes a request that another HTTP/1.1 parser has read, so that its server can upgrade it.
    /// The version must be 1.1: that parser knows it.
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
    /// Those errors of [`ServerHandshake::read`](crate::handshake::ServerHandshake::read) that can still occur.
    pub fn from_parts<N: AsRef<str>, V: AsRef<[u8]>>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, RequestError> {
        let request = Self::from_parts_unchecked(method, target, headers);
        request.check_http()?;
        Ok(request)
    }

    /// Like [`from_parts`](Self::from_parts), but checks nothing. This is for a server that answers ordinary requests
    /// too. [`check`](Self::check) checks the request later.
    pub fn from_parts_unchecked<N: AsRef<str>, V: AsRef<[u8]>>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = Headers::from_pairs(&[method, target], headers);
        Self::new(headers, method, None)
    }

    pub(super) fn parsed(method: &str, target: &str, headers: &[httparse::Header<'_>]) -> Self {
        let headers = Headers::from_parsed(&[method, target], headers);
        Self::new(headers, method, None)
    }

    /// Takes an extended CONNECT (RFC 8441 §4) that a parser of HTTP/2 has read: its pseudo-headers and its
    /// headers. An empty pseudo-header counts as missing. The server must have sent
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL` before. HTTP/3 has the same kind of request (RFC 9220).
    ///
    /// It is accepted with status 200, and its stream then carries the WebSocket. `Sec-WebSocket-Key` is
    /// ignored.
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
    /// [`RequestError::Body`]. [`upgrade`](Self::upgrade) refuses another protocol than `websocket`.
    pub fn from_extended_connect<N: AsRef<str>, V: AsRef<[u8]>>(
        protocol: &str,
        scheme: &str,
        authority: &str,
        path: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, RequestError> {
        let request =
            Self::from_extended_connect_unchecked(protocol, scheme, authority, path, headers);
        request.check_http()?;
        Ok(request)
    }

    /// Like [`from_extended_connect`](Self::from_extended_connect), but checks nothing.
    /// [`check`](Self::check) checks the request later.
    pub fn from_extended_connect_unchecked<N: AsRef<str>, V: AsRef<[u8]>>(
        protocol: &str,
        scheme: &str,
        authority: &str,
        path: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        // If a part is wrong, the target is empty. So the parts of a target are those that were sent.
        let is_right = is_http && is_host(authority.as_bytes()) && path.starts_with('/');
        let method = "CONNECT";
        let line = [method, scheme, "://", authority, path];
        let line = if is_right { &line[..] } else { &line[..1] };
        let headers = Headers::from_pairs(line, headers);
        Self::new(headers, method, Some(protocol.into()))
    }

    fn new(headers: Headers, method: &str, protocol: Option<Box<str>>) -> Self {
        Self { headers, method_len: method.len(), protocol, peer_addr: None }
    }

    /// The `:protocol` of an extended CONNECT (RFC 8441 §4), and `None` for any other request.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The method. `GET` opens a WebSocket; over HTTP/2 it is `CONNECT`.
    pub fn method(&self) -> &str {
        &self.headers.line()[..self.method_len]
    }

    /// The target as it was sent: usually path and query. For an extended CONNECT, the whole URI.
    pub fn target(&self) -> &str {
        &self.headers.line()[self.method_len..]
    }

    /// The path that the target asks for, without the query.
    pub fn path(&self) -> &str {
        match self.split_target().1.split('?').next() {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// The query, after the `?`.
    pub fn query(&self) -> Option<&str> {
        Some(self.target().split_once('?')?.1)
    }

    /// The authority of the target, if it has one, and the rest. A target may name the host, as a request to
    /// a proxy does (RFC 9112 §3.2.2).
    pub(super) fn split_target(&self) -> (Option<&str>, &str) {
        let target = self.target();
        match target.split_once("://") {
            Some((_, rest)) if !target.starts_with('/') => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), path)
            }
            _ => (None, target),
        }
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The requested host, and its port unless that is the scheme's default. It is from the target if that
    /// names a host (RFC 9112 §3.2.2; `:authority` in HTTP/2), otherwise from `Host`.
    pub fn host(&self) -> &str {
        let from_target = self.split_target().0;
        from_target.or_else(|| self.headers.get_str("Host")).unwrap_or_default()
    }

    /// The `Origin` of the page that opened the connection. Usually only browsers send it.
    pub fn origin(&self) -> Option<&str> {
        self.headers.get_str("Origin")
    }

    /// The address of the client, if the server knows it. `tokio::Server` does, for connections of TCP. With
    /// `tokio::Server::proxy_protocol`, it is the address that the load balancer tells.
    ///
    /// Headers such as `X-Forwarded-For` are not looked at: a client can send them itself.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr.as_deref().copied()
    }

    /// Sets the [`peer_addr`](Self::peer_addr), for a server that accepts the connection itself.
    pub fn set_peer_addr(&mut self, address: impl Into<Option<SocketAddr>>) {
        self.peer_addr = address.into().map(Box::new);
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

    /// Whether the request asks for a WebSocket, even if it breaks a rule. If it does not, it may be answered
    /// like any other request. If it breaks a rule, [`upgrade`](Self::upgrade) refuses it.
    pub fn is_upgrade(&self) -> bool {
        // Any answer of 2xx to an extended CONNECT opens a tunnel, so it is never an ordinary request.
        self.protocol.is_some()
            || lists_token(self.headers.all("Upgrade"), "websocket")
            || self.headers.get("Sec-WebSocket-Key").is_some()
            || self.headers.get("Sec-WebSocket-Version").is_some()
    }

    /// Checks all rules of RFC 6455 §4.2.1 or RFC 8441 §5, and the origin policy. Then the request may be
    /// accepted.
    ///
    /// ```
    /// use bowline::Config;
    /// use bowline::handshake::{Request, RequestError};
    ///
    /// let ordinary = Request::from_parts("GET", "/", [("Host", "example.com")])?;
    /// let refusal = ordinary.upgrade(&Config::default()).unwrap_err();
    /// assert_eq!(refusal, RequestError::NotUpgrade);
    /// assert_eq!(refusal.response().status(), 426);
    /// # Ok::<(), RequestError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn upgrade(&self, config: &Config) -> Result<Upgrade<'_>, RequestError> {
        self.check_asks()?;
        self.check_handshake()?;
        let policy = &config.get().policy;
        if !policy.allows_host(self.host()) {
            return Err(RequestError::ForeignHost);
        }
        match self.headers.get("Origin") {
            // RFC 6455 §10.2: "Servers that are not intended to process input from any web page but only for
            // certain sites SHOULD verify the |Origin| field is an origin they expect".
            Some(origin) if !policy.allows_origin(origin, self.host()) => {
                Err(RequestError::ForeignOrigin)
            }
            _ => Ok(Upgrade { request: self, config: config.clone() }),
        }
    }
}

impl fmt::Debug for Request {
    /// Without the query and the values of headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
