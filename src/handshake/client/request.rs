//! What a client asks for, and where and through what it connects.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::redirect::{Redirected, Unfollowed, is_kept_elsewhere};
use super::route::{ConnectTo, Route};
use super::{ConnectError, route};
use crate::handshake::head::{self, Headers};
use crate::handshake::proxy::Proxies;
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
///
/// The request also says how `connect_with` of an adapter gets to the server: through which
/// [`proxy`](Self::proxy), to which [address](Self::connect_to), past how many [`redirects`](Self::redirects). Where
/// the program brings a stream of its own, these have no effect.
#[derive(Clone)]
pub struct ClientRequest {
    pub(super) url: Url,
    headers: Headers,
    /// The `Authorization` header is one that a later one replaces: that of the URL, `basic` or `bearer`.
    replaces_authorization: bool,
    /// `User-Agent` is sent although no header says so.
    has_user_agent: bool,
    origin: Option<String>,
    pub(super) subprotocols: Vec<String>,
    /// Most requests have only a URL and headers.
    ways: Option<Arc<Ways>>,
    #[cfg(feature = "rustls")]
    tls: Option<Arc<::rustls::ClientConfig>>,
}

/// How the client gets to its server.
#[derive(Clone, Default)]
struct Ways {
    proxies: Proxies,
    redirects: u32,
    /// How many were followed so far.
    redirected: u32,
    connect_to: Option<ConnectTo>,
    timeout: Option<Option<Duration>>,
    #[cfg(feature = "socket2")]
    local_address: Option<core::net::IpAddr>,
    #[cfg(feature = "socket2")]
    socket_hook: Option<super::socket::SocketHook>,
}

/// Some firewalls answer a request without a `User-Agent` with 403.
pub(crate) const USER_AGENT: &str = concat!("bowline/", env!("CARGO_PKG_VERSION"));

impl ClientRequest {
    /// A request for a `ws` or `wss` URL.
    ///
    /// - `http` and `https` URLs are taken as `ws` and `wss`, as browsers take them.
    /// - `ws+unix:/path/to.sock:/target` and `wss+unix:` connect to a Unix socket. The `Host` is `localhost` then.
    /// - `ws://[fe80::1%25eth0]/` names the interface of a link-local address (RFC 6874). It is not sent.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL. RFC 6455 §3 allows no fragment. The host must be ASCII (an IDNA name in
    /// its `xn--` form). Elsewhere, all that is not visible ASCII must be percent-encoded.
    pub fn new(url: &str) -> Result<Self, InvalidRequest> {
        let (url, credentials) = Url::parse(url)?;
        let mut request = Self {
            url,
            headers: Headers::default(),
            replaces_authorization: false,
            has_user_agent: true,
            origin: None,
            subprotocols: Vec::new(),
            ways: None,
            #[cfg(feature = "rustls")]
            tls: None,
        };
        if let Some(credentials) = credentials {
            request.authorize(key::basic_credentials(&credentials));
        }
        Ok(request)
    }

    /// Adds a header, such as `Cookie` or `Authorization` (which replaces the URL's credentials). A `User-Agent`
    /// replaces the default one, which is `bowline/` and the version.
    ///
    /// # Errors
    ///
    /// If it is malformed (CR, LF, NUL) or one that the handshake writes itself.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        self.try_header(name, value)?;
        Ok(self)
    }

    /// Like [`header`](Self::header), but the request is still there after an error.
    ///
    /// ```
    /// use bowline::handshake::ClientRequest;
    /// let mut request = ClientRequest::new("ws://localhost/")?;
    /// for (name, value) in [("X-Room", "7"), ("X-Name", "two\r\nlines")] {
    ///     if let Err(error) = request.try_header(name, value) {
    ///         eprintln!("left out: {error}");
    ///     }
    /// }
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header). Nothing was added.
    pub fn try_header(&mut self, name: &str, value: &str) -> Result<(), InvalidRequest> {
        Headers::default().push_user(name, value)?;
        if name.eq_ignore_ascii_case("Authorization") && self.replaces_authorization {
            self.remove("Authorization");
            self.replaces_authorization = false;
        }
        self.headers.push_user(name, value)
    }

    /// Sends a bearer token as `Authorization` (RFC 6750 §2.1), in place of an earlier one.
    ///
    /// # Errors
    ///
    /// If it has a byte that a header cannot have.
    pub fn bearer(mut self, token: &str) -> Result<Self, InvalidRequest> {
        if token.is_empty() || !head::is_field_value(token.as_bytes()) {
            return Err(InvalidRequest::Header("Authorization".into()));
        }
        self.authorize(["Bearer ", token].concat());
        Ok(self)
    }

    /// Sends a name and a password as `Authorization` (RFC 7617), in place of an earlier one, such as that of the URL.
    ///
    /// # Errors
    ///
    /// RFC 7617 §2: if the name has a colon, or either has a control character.
    pub fn basic(mut self, user: &str, password: &str) -> Result<Self, InvalidRequest> {
        if user.contains(':') || [user, password].iter().any(|text| text.contains(char::is_control))
        {
            return Err(InvalidRequest::Header("Authorization".into()));
        }
        self.authorize(key::basic_credentials(&[user, ":", password].concat().into_bytes()));
        Ok(self)
    }

    fn authorize(&mut self, value: String) {
        self.remove("Authorization");
        self.headers.push("Authorization", value.as_bytes());
        self.replaces_authorization = true;
    }

    fn remove(&mut self, name: &str) {
        if self.headers.get(name).is_some() {
            self.headers = Headers::default().with_all_but(&self.headers, name);
        }
    }

    /// Sends this as `User-Agent` in place of `bowline/` and the version, or none with `None`.
    ///
    /// # Errors
    ///
    /// If it has a byte that a header cannot have.
    pub fn user_agent<'a>(
        mut self,
        user_agent: impl Into<Option<&'a str>>,
    ) -> Result<Self, InvalidRequest> {
        self.remove("User-Agent");
        self.has_user_agent = false;
        if let Some(user_agent) = user_agent.into() {
            self.headers.push_user("User-Agent", user_agent)?;
        }
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

    /// Connects through a proxy: one [`Proxy`](crate::handshake::Proxy), or the [`Proxies`] of which the URL chooses one.
    ///
    /// Without this, no proxy is used. The variables of the environment are read only by
    /// [`Proxies::from_env`](crate::handshake::Proxies::from_env), so that they redirect no program that did not ask for it.
    ///
    /// ```
    /// use bowline::handshake::{ClientRequest, Proxy};
    /// let proxy = Proxy::new("socks5h://user:secret@proxy.example:1080")?;
    /// let request = ClientRequest::new("wss://example.com/chat")?.proxy(proxy);
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn proxy(mut self, proxies: impl Into<Proxies>) -> Self {
        self.ways_mut().proxies = proxies.into();
        self
    }

    /// Follows at most `n` redirects (301, 302, 303, 307 and 308; RFC 9110 §15.4). Default 0: a redirect is the error
    /// [`ConnectError::Redirected`].
    ///
    /// - A redirect from `wss` to `ws` is never followed, nor one to a Unix socket, nor one with credentials in its URL.
    /// - To another origin (scheme, host or port), no header of [`header`](Self::header), [`bearer`](Self::bearer),
    ///   [`basic`](Self::basic) or the URL is sent, except those that hold no secret, such as `User-Agent` and
    ///   `Accept-Language`. The `Origin` and the subprotocols are sent to all, so do not put a secret in these.
    /// - The proxy is chosen anew for each. [`connect_to`](Self::connect_to) is for the host of the URL alone.
    /// - All together take at most the [`timeout`](Self::timeout).
    pub fn redirects(mut self, n: u32) -> Self {
        self.ways_mut().redirects = n;
        self
    }

    /// Connects to this place instead of the host and port of the URL. `Host`, and the name that the server's
    /// certificate must have, stay those of the URL.
    ///
    /// ```
    /// use bowline::handshake::ClientRequest;
    /// use std::net::SocketAddr;
    /// let staging: SocketAddr = "127.0.0.1:9001".parse()?;
    /// let request = ClientRequest::new("wss://example.com/chat")?.connect_to(staging);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A proxy, if there is one, is asked for one of these addresses after the other. There is none to a Unix socket.
    pub fn connect_to(mut self, place: impl Into<ConnectTo>) -> Self {
        self.ways_mut().connect_to = Some(place.into());
        self
    }

    /// How long the whole attempt may take: names, connecting, proxy, TLS, redirects and handshake. It takes the place
    /// of [`Config::handshake_timeout`](crate::Config::handshake_timeout). `None`: for ever.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.ways_mut().timeout = Some(timeout.into());
        self
    }

    /// Connects from this address of the machine. Addresses of the other family fail then. It has no effect on a Unix
    /// socket.
    #[cfg(feature = "socket2")]
    pub fn local_address(mut self, address: core::net::IpAddr) -> Self {
        self.ways_mut().local_address = Some(address);
        self
    }

    /// Uses this TLS configuration in `connect_with` of either adapter, instead of
    /// [`with_platform_roots`](crate::adapter::tls::with_platform_roots). Its ALPN protocols are not offered;
    /// `http/1.1` is. It has no effect where `connect_with` does not do the TLS, and none on the TLS to an `https`
    /// proxy, which has [a setting of its own](crate::handshake::Proxy::tls_config).
    #[cfg(feature = "rustls")]
    pub fn tls_config(mut self, config: Arc<::rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The TLS configuration that was set, if any.
    #[cfg(feature = "rustls")]
    pub fn own_tls_config(&self) -> Option<&Arc<::rustls::ClientConfig>> {
        self.tls.as_ref()
    }

    /// Calls this with each socket before it connects, for options such as keepalive, `TCP_USER_TIMEOUT` or the
    /// interface. An error of it is the error of this address. It is not called for a Unix socket.
    ///
    /// ```
    /// use bowline::handshake::ClientRequest;
    /// let request = ClientRequest::new("wss://example.com/chat")?.configure_socket(|socket, address| {
    ///     println!("a socket for {address}");
    ///     // With the crate socket2: `SockRef::from(&socket).set_keepalive(true)`
    ///     Ok(())
    /// });
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    #[cfg(feature = "socket2")]
    pub fn configure_socket(
        mut self,
        configure: impl Fn(
            super::socket::SocketHandle<'_>,
            core::net::SocketAddr,
        ) -> std::io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.ways_mut().socket_hook = Some(super::socket::SocketHook::new(configure));
        self
    }

    /// What was given to [`configure_socket`](Self::configure_socket), if anything.
    #[cfg(feature = "socket2")]
    pub fn own_socket_hook(&self) -> Option<&super::socket::SocketHook> {
        self.ways.as_ref()?.socket_hook.as_ref()
    }

    /// The address that was set with [`local_address`](Self::local_address), if any.
    #[cfg(feature = "socket2")]
    pub fn own_local_address(&self) -> Option<core::net::IpAddr> {
        self.ways.as_ref()?.local_address
    }

    /// Whether the URL is a `wss` one, for TLS.
    pub fn is_secure(&self) -> bool {
        self.url.secure
    }

    /// The host to connect to: a name, or an address (IPv6 without brackets and without its zone).
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

    /// The URL, without credentials.
    ///
    /// ```
    /// use bowline::handshake::ClientRequest;
    /// let request: ClientRequest = "https://user:secret@example.com:443/chat?room=1".parse()?;
    /// assert_eq!(request.url(), "wss://example.com/chat?room=1");
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The host, and the port if it is not the scheme's default. It is the value of `Host`, and of `:authority` over
    /// HTTP/2.
    pub fn authority(&self) -> String {
        self.url.host_header().to_string()
    }

    /// Where to open a connection for this request, and through which proxy. It is for adapters: see
    /// [`Route`].
    ///
    /// # Errors
    ///
    /// If the variable of the environment that names the proxy is invalid.
    pub fn route(&self) -> Result<Route<'_>, InvalidRequest> {
        let ways = self.ways.as_deref();
        let connect_to = ways.and_then(|ways| ways.connect_to.as_ref());
        let is_direct = match connect_to {
            Some(place) => place.is_unix(),
            None => self.url.unix.is_some(),
        };
        let proxy = match ways {
            Some(ways) if !is_direct => ways.proxies.choose(self)?,
            _ => None,
        };
        Ok(route::of(&self.url, connect_to, proxy))
    }

    /// The configuration with the [`timeout`](Self::timeout) of this request, if it has one. It is for adapters.
    pub fn config(&self, config: Config) -> Config {
        match self.ways.as_ref().and_then(|ways| ways.timeout) {
            Some(timeout) => config.handshake_timeout(timeout),
            None => config,
        }
    }

    /// The request that follows a redirect, if one is to be sent: see [`redirects`](Self::redirects). It is for
    /// adapters, which connect anew then.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Redirected`], which says why the redirect is not followed.
    pub fn follow(&self, redirected: Redirected) -> Result<Self, ConnectError> {
        let not = |redirected: Redirected, why| {
            Err(ConnectError::Redirected(redirected.because(why).into()))
        };
        let (most, followed) = match &self.ways {
            Some(ways) => (ways.redirects, ways.redirected),
            None => (0, 0),
        };
        if most == 0 {
            return not(redirected, Unfollowed::Off);
        }
        if followed >= most {
            return not(redirected, Unfollowed::TooMany(most));
        }
        let joined = redirected.location_text().map(|location| self.url.join(location));
        let url = match joined {
            Some(Ok(url)) => url,
            _ => return not(redirected, Unfollowed::Location),
        };
        if self.url.secure && !url.secure {
            return not(redirected, Unfollowed::Insecure);
        }
        let mut next = self.clone();
        next.ways_mut().redirected += 1;
        if !self.url.is_same_origin(&url) {
            next.headers = Headers::default().with(&self.headers, is_kept_elsewhere);
        }
        if !self.url.is_same_place(&url) {
            next.ways_mut().connect_to = None;
        }
        next.url = url;
        Ok(next)
    }

    /// Whether redirects are followed where the adapter can connect anew.
    pub(super) fn allows_redirects(&self) -> bool {
        self.ways.as_ref().is_some_and(|ways| ways.redirects > 0)
    }

    fn ways_mut(&mut self) -> &mut Ways {
        Arc::make_mut(self.ways.get_or_insert_default())
    }

    /// All headers of the request (RFC 6455 §4.1 items 4 to 12). Without a key, they are those of an extended
    /// CONNECT (RFC 8441 §5).
    pub(super) fn headers(&self, key: Option<&[u8]>, config: &Config) -> Headers {
        let mut headers = Headers::with_capacity(9 + self.headers.iter().count(), 256);
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
        if self.has_user_agent && self.headers.get("User-Agent").is_none() {
            headers.push("User-Agent", USER_AGENT.as_bytes());
        }
        for (name, value) in self.headers.iter() {
            headers.push(name, value);
        }
        headers
    }
}

impl FromStr for ClientRequest {
    type Err = InvalidRequest;

    fn from_str(url: &str) -> Result<Self, InvalidRequest> {
        Self::new(url)
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
