//! The rules for a request (RFC 6455 §4.2.1; over HTTP/2, RFC 8441 §5), and the answers to one that breaks them.

use alloc::vec::Vec;
use core::fmt;

use super::extension::{Extension, extensions};
use super::head::HeadError;
use super::request::Request;
use super::response::Response;
use super::{is_token, key, list, lists_token};
use crate::protocol::authority::{default_port, is_host, same_authority};

/// Why a request does not open a WebSocket. It is the client's fault, and [`response`](Self::response) is the
/// answer that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// Not valid HTTP/1.1 (RFC 9112). Status 400.
    Malformed,
    /// A version of HTTP that this kind of request does not belong to: other than 1.1 for an upgrade
    /// (RFC 6455 §4.2.1), lower than 2 for an extended CONNECT. Status 505.
    HttpVersion,
    /// The request line is longer than half of
    /// [`Config::max_head_size`](crate::Config::max_head_size). Status 414.
    TargetTooLong,
    /// The head is larger than [`Config::max_head_size`](crate::Config::max_head_size) or
    /// [`Config::max_headers`](crate::Config::max_headers) allow. Status 431.
    HeadTooBig,
    /// The request was not complete within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout). Status 408.
    TimedOut,
    /// The client went away before the request was complete. It gets no answer.
    Gone,
    /// No `Host`, several, or a malformed one (RFC 9112 §3.2); in an extended CONNECT, several, or
    /// another one than `:authority` (RFC 9113 §8.3.1). Status 400.
    Host,
    /// The request has a body (RFC 6455 §4.1 gives it none). Status 400.
    Body,
    /// A target with a fragment, or in a form that its method does not have (RFC 9112 §3.2). An extended
    /// CONNECT without `:scheme`, `:authority` or `:path`, or with a malformed one (RFC 8441 §4). Status 400.
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
    /// The server names the hosts that it serves, and this is another one: see
    /// [`Config::allow_host`](crate::Config::allow_host). Status 421 (RFC 9110 §15.5.20).
    ForeignHost,
    /// The server takes no more WebSockets for now: it has as many as it may have, it is being shut down, or its decision
    /// took too long. Status 503, with `Retry-After`.
    Unavailable,
}

impl RequestError {
    /// The answer that the client gets: the status, the headers that it must have, and the reason in plain
    /// text.
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
            Self::ForeignHost => 421,
            Self::Unavailable => 503,
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
        // RFC 6455 §4.4: "it MUST respond with a |Sec-WebSocket-Version| header field".
        if status == 426 || *self == Self::VersionMissing {
            headers.push("Sec-WebSocket-Version", b"13");
        }
        if *self == Self::Unavailable {
            headers.push("Retry-After", b"5");
        }
        headers.push("Content-Type", b"text/plain; charset=utf-8");
        response
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed HTTP request: this port speaks HTTP/1.1, for WebSockets",
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
            Self::NotUpgrade => {
                "this is a WebSocket server: send Upgrade: websocket and Connection: Upgrade"
            }
            Self::Key => "exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed",
            Self::VersionMissing => "exactly one Sec-WebSocket-Version is needed",
            Self::Version => "only version 13 of WebSocket is served here",
            Self::Subprotocols => "Sec-WebSocket-Protocol is not a list of different tokens",
            Self::Extensions => "Sec-WebSocket-Extensions is malformed",
            Self::Origin => "more than one Origin header",
            Self::ForeignOrigin => {
                "cross-origin request refused; the server can allow it with Config::allow_origin"
            }
            Self::Unavailable => "the server takes no more WebSockets for now: try again later",
            Self::ForeignHost => {
                "this host is not served here; the server can name it with Config::allow_host"
            }
        })
    }
}

impl core::error::Error for RequestError {}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::Malformed,
            HeadError::Version => Self::HttpVersion,
            HeadError::FirstLineTooLong => Self::TargetTooLong,
            HeadError::TooBig => Self::HeadTooBig,
        }
    }
}

impl Request {
    /// Whether this is a request for a WebSocket at all.
    pub(super) fn check_asks(&self) -> Result<(), RequestError> {
        // RFC 8441 §5: "it MUST have a value of "websocket"". §4: the values are those of Upgrade, and RFC 9110
        // §7.8 says: "recipients SHOULD use case-insensitive comparison when matching each protocol-name".
        match self.protocol.as_deref() {
            Some(name) if name.eq_ignore_ascii_case("websocket") => return Ok(()),
            Some(_) => return Err(RequestError::Protocol),
            None => {}
        }
        // RFC 6455 §4.2.1 item 1: "An HTTP/1.1 or higher GET request". Any other method gets 405, even an unknown
        // one. RFC 9110 §9.1 has 501 for that, which does not say what to send.
        if self.method() != "GET" {
            return Err(RequestError::Method);
        }
        // RFC 6455 §4.2.1 items 3 and 4: each header has its token, "treated as an ASCII case-insensitive value".
        if !lists_token(self.headers.all("Upgrade"), "websocket")
            || !lists_token(self.headers.all("Connection"), "upgrade")
        {
            return Err(RequestError::NotUpgrade);
        }
        Ok(())
    }

    /// Checks the headers `Sec-WebSocket-*` and `Origin` by the rules that do not depend on the configuration
    /// (RFC 6455 §4.2.1). [`upgrade`](Self::upgrade) does so too.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn check_handshake(&self) -> Result<(), RequestError> {
        // RFC 6455 §4.2.1 item 6: "with a value of 13".
        match self.headers.only("Sec-WebSocket-Version") {
            Ok(Some(b"13")) => {}
            Ok(Some(_)) => return Err(RequestError::Version),
            _ => return Err(RequestError::VersionMissing),
        }
        // RFC 6455 §4.2.1 item 5: "when decoded, is 16 bytes in length". §11.3.1: it "MUST NOT appear more than
        // once". RFC 8441 §5: servers "do not do the processing" of it with an extended CONNECT.
        match self.headers.only("Sec-WebSocket-Key") {
            _ if self.protocol.is_some() => {}
            Ok(Some(found)) if key::is_valid(found) => {}
            _ => return Err(RequestError::Key),
        }
        // RFC 6455 §9.1: with a value "that does not conform to the ABNF below, the recipient of such malformed
        // data MUST immediately _Fail the WebSocket Connection_".
        if !self.extensions().all(|extension| extension.is_valid()) {
            return Err(RequestError::Extensions);
        }
        // RFC 6455 §4.1 item 10: "The elements that comprise this value MUST be non-empty strings [...] and MUST all
        // be unique strings".
        let mut offers: Vec<_> = list(self.headers.all("Sec-WebSocket-Protocol")).collect();
        offers.sort_unstable();
        if !offers.iter().all(|offer| is_token(offer))
            || offers.windows(2).any(|two| two[0] == two[1])
        {
            return Err(RequestError::Subprotocols);
        }
        // RFC 6454 §7.3: "The user agent MUST NOT include more than one Origin header field".
        self.headers.only("Origin").map_err(|()| RequestError::Origin)?;
        Ok(())
    }

    pub(super) fn extensions(&self) -> impl Iterator<Item = Extension<'_>> {
        extensions(self.headers.all("Sec-WebSocket-Extensions"))
    }

    /// Checks a request that was made [unchecked](Self::from_parts_unchecked). `version` is the version of HTTP that
    /// it came by: `(1, 1)` for HTTP/1.1. What [`check_handshake`](Self::check_handshake) checks is left to
    /// [`upgrade`](Self::upgrade).
    ///
    /// # Errors
    ///
    /// [`RequestError::Method`] and [`RequestError::NotUpgrade`] come first. They mean an ordinary request, which may
    /// be answered like any other. Then come [`RequestError::Protocol`], [`RequestError::HttpVersion`], and the errors
    /// that any HTTP request may have.
    pub fn check(&self, version: (u8, u8)) -> Result<(), RequestError> {
        self.check_asks()?;
        // An upgrade has HTTP/1.1 (RFC 6455 §4.2.1 item 1). An extended CONNECT has HTTP/2 (RFC 8441) or HTTP/3
        // (RFC 9220).
        let fits = match version {
            (1, 1) => self.protocol.is_none(),
            (2 | 3, 0) => self.protocol.is_some(),
            _ => false,
        };
        if !fits {
            return Err(RequestError::HttpVersion);
        }
        self.check_http()
    }

    /// Checks the rules for any HTTP request, whether it asks for a WebSocket or not.
    pub(super) fn check_http(&self) -> Result<(), RequestError> {
        if self.protocol.is_some() {
            return self.check_extended_connect();
        }
        // RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code" to a request without Host,
        // with more than one, or with an invalid one.
        match self.headers.only("Host") {
            Ok(Some(host)) if is_host(host) => {}
            _ => return Err(RequestError::Host),
        }
        // RFC 9112 §6.3, §11.2: if a server and a proxy disagree on where a body ends, one of them sees another
        // request in it. No request that belongs here has a body, so any body is refused.
        if self.headers.get("Transfer-Encoding").is_some() {
            return Err(RequestError::Body);
        }
        match self.headers.only("Content-Length") {
            Ok(None | Some(b"0")) => {}
            _ => return Err(RequestError::Body),
        }
        self.check_target()
    }

    /// RFC 9112 §3.2: the target is a path or an absolute URI. For OPTIONS it may also be an asterisk, and for
    /// CONNECT it is an authority.
    fn check_target(&self) -> Result<(), RequestError> {
        let target = self.target().as_bytes();
        let absolute = |scheme: &str| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        let form = target.starts_with(b"/")
            || (absolute("http://") || absolute("https://"))
                && self.split_target().0.is_some_and(|authority| is_host(authority.as_bytes()));
        let form = match self.method() {
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
        let target = self.target().as_bytes();
        if target.is_empty() || !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Err(RequestError::Target);
        }
        // RFC 8441 §5: Connection and Upgrade "MUST NOT be included in the CONNECT request defined here".
        if OF_CONNECTIONS.iter().any(|name| self.headers.get(name).is_some()) {
            return Err(RequestError::ConnectionHeader);
        }
        let scheme = self.target().split(':').next().unwrap_or_default();
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
}
