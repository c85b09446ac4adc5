//! Proxies: what they are, which one a URL goes through, and how one is asked for a connection.

mod choice;
mod connect;
mod error;
mod no_proxy;
mod socks;
mod tunnel;

pub use choice::Proxies;
pub use error::{ProxyError, SocksReply};
pub use tunnel::Tunnel;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::InvalidRequest;
use super::head::Headers;
use super::url::{Authority, percent_decode_leniently};

/// A proxy that connects to a server for us.
///
/// ```
/// use bowline::handshake::{ClientRequest, Proxy};
/// let proxy = Proxy::new("http://user:secret@proxy.example:3128")?;
/// assert_eq!(proxy.to_string(), "http://proxy.example:3128");
/// let request = ClientRequest::new("wss://example.com/chat")?.proxy(proxy);
/// # Ok::<(), bowline::handshake::InvalidRequest>(())
/// ```
///
/// The server never sees the credentials of the proxy, and the proxy never sees those of the server. For other ways of
/// authentication, such as Digest or NTLM, connect a stream yourself and use `client` of an adapter.
#[derive(Clone)]
pub struct Proxy {
    scheme: ProxyScheme,
    host: String,
    zone: Option<String>,
    port: u16,
    user: Option<Credentials>,
    headers: Headers,
    #[cfg(feature = "rustls")]
    tls: Option<alloc::sync::Arc<::rustls::ClientConfig>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    name: Vec<u8>,
    password: Vec<u8>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyScheme {
    /// `http`: CONNECT (RFC 9110 §9.3.6). It is used for `ws` too. RFC 6455 §4.1 asks the proxy "to open a TCP
    /// connection to the host", and a proxy that forwards requests need not know the upgrade to WebSocket.
    Http,
    /// `https`: the same, over TLS with the proxy. A `wss` connection has its own TLS inside of it.
    Https,
    /// `socks4a`: SOCKS 4 with the name of the host, which the proxy resolves.
    Socks4a,
    /// `socks5`: SOCKS 5 (RFC 1928) with an IP address, so the host's name is resolved here.
    Socks5,
    /// `socks5h`: SOCKS 5 with the name of the host, which is never resolved here.
    Socks5h,
}

impl ProxyScheme {
    /// As URLs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks4a, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    /// Those of the schemes; 1080 is that of SOCKS (RFC 1928 §3).
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            _ => 1080,
        }
    }
}

/// The longest name, password and host in SOCKS 5: its length is one byte (RFC 1928 §4, RFC 1929 §2).
const LONGEST: usize = 255;

impl Proxy {
    /// A proxy from its URL, such as `http://proxy.example:3128` or `socks5h://user:secret@127.0.0.1:1080`.
    ///
    /// - The scheme is `http`, `https`, `socks5`, `socks5h` or `socks4a`: see [`ProxyScheme`]. Without one it is
    ///   `http`.
    /// - Without a port it is 80 for `http`, 443 for `https`, and 1080 for SOCKS.
    /// - Credentials are percent-encoded; a percent sign without two digits after it stays as it is. An HTTP proxy gets them with the Basic scheme (RFC 7617), and SOCKS 5 as in
    ///   RFC 1929. SOCKS 4 has no password, so only the name is sent.
    /// - A path means nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Proxy`], with what is wrong with the URL.
    pub fn new(url: &str) -> Result<Self, InvalidRequest> {
        Self::parse(url).map_err(InvalidRequest::Proxy)
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (
                ProxyScheme::of(scheme)
                    .ok_or("the scheme is none of http, https, socks5, socks5h and socks4a")?,
                rest,
            ),
            None => (ProxyScheme::Http, url),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err("a byte that must be percent-encoded, or a host name not in ASCII");
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = Authority::parse(authority)?;
        Ok(Self {
            scheme,
            host: authority.host.to_string(),
            zone: authority.zone.map(String::from),
            port: authority.port.unwrap_or(scheme.default_port()),
            user: match authority.user {
                Some("") | None => None,
                Some(user) => Some(Credentials::parse(scheme, user)?),
            },
            headers: Headers::default(),
            #[cfg(feature = "rustls")]
            tls: None,
        })
    }

    /// Adds a header to the CONNECT request, such as `Proxy-Authorization` with a token, which replaces the URL's
    /// credentials. SOCKS has no headers.
    ///
    /// # Errors
    ///
    /// If it is malformed (CR, LF, NUL) or one that is written for you.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        self.headers.push_user(name, value)?;
        Ok(self)
    }

    /// Uses this TLS configuration with an `https` proxy, instead of
    /// [`with_platform_roots`](crate::adapter::tls::with_platform_roots). Its ALPN protocols are not offered;
    /// `http/1.1` is.
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

    /// How it is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The host to connect to: a name, or an address (IPv6 without brackets).
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Credentials {
    fn parse(scheme: ProxyScheme, user: &str) -> Result<Self, &'static str> {
        if user.contains('@') {
            return Err("two at signs: one in the credentials is written %40");
        }
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let (name, password) = (percent_decode_leniently(name), percent_decode_leniently(password));
        match scheme {
            // RFC 7617 §2: "The user-id and password MUST NOT contain any control characters".
            ProxyScheme::Http | ProxyScheme::Https
                if [&name, &password].iter().any(|text| text.iter().any(u8::is_ascii_control)) =>
            {
                Err("a control character in the credentials")
            }
            // RFC 7617 §2: "a user-id containing a colon character is invalid".
            ProxyScheme::Http | ProxyScheme::Https if name.contains(&b':') => {
                Err("a colon in the name of the user")
            }
            // RFC 1929 §2: the name has 1 to 255 bytes, and the password at most 255.
            ProxyScheme::Socks5 | ProxyScheme::Socks5h
                if name.len() > LONGEST || password.len() > LONGEST =>
            {
                Err("a name or a password of more than 255 bytes")
            }
            // The name ends at its NUL.
            ProxyScheme::Socks4a if name.len() > LONGEST || name.contains(&0) => {
                Err("a name of more than 255 bytes or with a NUL")
            }
            _ => Ok(Self { name, password }),
        }
    }
}

impl PartialEq for Proxy {
    /// Whether the URLs are the same, credentials included.
    fn eq(&self, other: &Self) -> bool {
        (self.scheme, &self.host, &self.zone, self.port, &self.user)
            == (other.scheme, &other.host, &other.zone, other.port, &other.user)
    }
}

impl Eq for Proxy {}

/// The URL, without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme.name(), &self.host, self.port);
        match &self.zone {
            Some(zone) => write!(f, "{scheme}://[{host}%25{zone}]:{port}"),
            None if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            None => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}
