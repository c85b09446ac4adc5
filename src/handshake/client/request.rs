//! What a client asks for.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::handshake::head::{self, Headers};
use crate::handshake::url::Url;
use crate::handshake::{InvalidRequest, is_token, key};
use crate::protocol::config::Config;
use crate::protocol::deflate;

/// What a client asks for: a URL, and the other parts of its request.
///
/// ```
/// use bowline::handshake::ClientRequest;
/// let request = ClientRequest::new("ws://user:secret@[::1]:9001/chat?room=1")?
///     .header("Cookie", "session=abc")?
///     .origin("https://app.example")?
///     .subprotocol("chat.v2")?;
/// # Ok::<(), bowline::handshake::InvalidRequest>(())
/// ```
///
/// Credentials in the URL become an `Authorization` header with the Basic scheme (RFC 7617).
#[derive(Clone)]
pub struct ClientRequest {
    pub(super) url: Url,
    headers: Headers,
    origin: Option<String>,
    pub(super) subprotocols: Vec<String>,
    #[cfg(feature = "rustls")]
    tls: Option<alloc::sync::Arc<::rustls::ClientConfig>>,
}

impl ClientRequest {
    /// A request for a `ws` or `wss` URL.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL. RFC 6455 §3 allows no fragment. The host must be ASCII (an IDNA name in
    /// its `xn--` form). Elsewhere, all that is not visible ASCII must be percent-encoded.
    pub fn new(url: &str) -> Result<Self, InvalidRequest> {
        let url = Url::parse(url)?;
        let mut headers = Headers::default();
        if let Some(credentials) = &url.credentials {
            headers.push("Authorization", key::basic_credentials(credentials).as_bytes());
        }
        Ok(Self {
            url,
            headers,
            origin: None,
            subprotocols: Vec::new(),
            #[cfg(feature = "rustls")]
            tls: None,
        })
    }

    /// Adds a header, such as `Cookie` or `Authorization` (which replaces the URL's credentials).
    ///
    /// # Errors
    ///
    /// If it is malformed (CR, LF, NUL) or one that the handshake writes itself.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        if name.eq_ignore_ascii_case("Authorization") && self.url.credentials.take().is_some() {
            self.headers = Headers::default().with_all_but(&self.headers, name);
        }
        self.headers.push_user(name, value)?;
        Ok(self)
    }

    /// Sends an `Origin`, as a browser does for the page that it shows.
    ///
    /// # Errors
    ///
    /// If it has a byte that a header cannot have.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidRequest> {
        if !head::is_field_value(origin.as_bytes()) {
            return Err(InvalidRequest::Header("Origin".into()));
        }
        self.origin = Some(origin.into());
        Ok(self)
    }

    /// Offers a subprotocol; the first one offered is the most preferred.
    ///
    /// # Errors
    ///
    /// If it is no token or was offered already.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, InvalidRequest> {
        if !is_token(name.as_bytes()) || self.subprotocols.iter().any(|other| other == name) {
            return Err(InvalidRequest::Subprotocol(name.into()));
        }
        self.subprotocols.push(name.into());
        Ok(self)
    }

    /// Uses this TLS configuration in `connect_with` of either adapter, instead of
    /// [`with_platform_roots`](crate::adapter::tls::with_platform_roots). Its ALPN protocols are not offered;
    /// `http/1.1` is. It has no effect where `connect_with` does not do the TLS.
    #[cfg(feature = "rustls")]
    pub fn tls_config(mut self, config: alloc::sync::Arc<::rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The TLS configuration that was set, if any.
    #[cfg(feature = "rustls")]
    pub fn own_tls_config(&self) -> Option<&alloc::sync::Arc<::rustls::ClientConfig>> {
        self.tls.as_ref()
    }

    /// Whether the URL is a `wss` one, for TLS.
    pub fn is_secure(&self) -> bool {
        self.url.secure
    }

    /// The host to connect to: a name, or an address (IPv6 without brackets).
    pub fn host(&self) -> &str {
        &self.url.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.url.port
    }

    /// Path and query, as the request line has them.
    pub fn target(&self) -> &str {
        &self.url.target
    }

    /// The host, and the port if it is not the scheme's default. It is the value of `Host`, and of `:authority` over
    /// HTTP/2.
    pub fn authority(&self) -> String {
        self.url.host_header().to_string()
    }

    /// All headers of the request (RFC 6455 §4.1 items 4 to 12). Without a key, they are those of an extended
    /// CONNECT (RFC 8441 §5).
    pub(super) fn headers(&self, key: Option<&[u8]>, config: &Config) -> Headers {
        let mut headers = Headers::with_capacity(8 + self.headers.iter().count(), 256);
        if let Some(key) = key {
            headers.push_text("Host", self.url.host_header());
            headers.push("Upgrade", b"websocket");
            headers.push("Connection", b"Upgrade");
            headers.push("Sec-WebSocket-Key", key);
        }
        headers.push("Sec-WebSocket-Version", b"13");
        if !self.subprotocols.is_empty() {
            headers.push("Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        if let Some(offer) = deflate::offer(config) {
            headers.push("Sec-WebSocket-Extensions", offer.as_bytes());
        }
        if let Some(origin) = &self.origin {
            headers.push("Origin", origin.as_bytes());
        }
        for (name, value) in self.headers.iter() {
            headers.push(name, value);
        }
        headers
    }
}

impl TryFrom<&str> for ClientRequest {
    type Error = InvalidRequest;

    fn try_from(url: &str) -> Result<Self, InvalidRequest> {
        Self::new(url)
    }
}

impl TryFrom<&String> for ClientRequest {
    type Error = InvalidRequest;

    fn try_from(url: &String) -> Result<Self, InvalidRequest> {
        Self::new(url)
    }
}

impl fmt::Debug for ClientRequest {
    /// Without credentials, the query and the values of headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("host", &self.authority())
            .field("path", &self.url.target.split('?').next().unwrap_or_default())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
