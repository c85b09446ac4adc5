//! Where a client opens its connection: at the host of the URL, elsewhere, or at a proxy.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::handshake::proxy::Proxy;
use crate::handshake::url::Url;

/// Where to connect in place of the URL's host: see [`ClientRequest::connect_to`](super::ClientRequest::connect_to).
///
/// ```
/// use bowline::handshake::ConnectTo;
/// use std::net::SocketAddr;
/// let addresses: [SocketAddr; 2] = ["192.0.2.1:443".parse()?, "[2001:db8::1]:443".parse()?];
/// let places = [ConnectTo::from(addresses), ("staging.example", 9001).into(), ConnectTo::unix("/run/chat.sock")];
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectTo {
    /// The first of these addresses that answers. They are tried as those of a name are.
    Addresses(Vec<SocketAddr>),
    /// Another host, by its name or IP address, and port.
    Host(String, u16),
    /// The Unix socket at this path.
    Unix(String),
}

impl ConnectTo {
    /// The Unix socket at this path.
    pub fn unix(path: impl Into<String>) -> Self {
        Self::Unix(path.into())
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl From<SocketAddr> for ConnectTo {
    fn from(address: SocketAddr) -> Self {
        Self::Addresses([address].into())
    }
}

impl From<Vec<SocketAddr>> for ConnectTo {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self::Addresses(addresses)
    }
}

impl From<&[SocketAddr]> for ConnectTo {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::Addresses(addresses.into())
    }
}

impl<const N: usize> From<[SocketAddr; N]> for ConnectTo {
    fn from(addresses: [SocketAddr; N]) -> Self {
        Self::Addresses(addresses.into())
    }
}

impl From<(&str, u16)> for ConnectTo {
    fn from((name, port): (&str, u16)) -> Self {
        Self::Host(name.into(), port)
    }
}

impl From<(String, u16)> for ConnectTo {
    fn from((name, port): (String, u16)) -> Self {
        Self::Host(name, port)
    }
}

/// How a client gets to its server: what [`ClientRequest::route`](super::ClientRequest::route) gives to adapters.
///
/// Open a socket at `place`. With a `proxy`, do TLS with it if its scheme is `https`, and let a
/// [`Tunnel`](super::super::Tunnel) ask it for the first of the `targets`. If it cannot reach that one
/// ([`ProxyError::is_about_target`](super::super::ProxyError::is_about_target)), ask for the next on a new socket. Then do
/// TLS with the server if the URL is a `wss` one, and the handshake.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route<'a> {
    /// Where to open the socket: at the proxy, if there is one.
    pub place: Place<'a>,
    /// The proxy, if there is one.
    pub proxy: Option<&'a Proxy>,
    /// The hosts and the ports to ask the proxy for. A host is a name, or an IP address without brackets.
    pub targets: Vec<(Cow<'a, str>, u16)>,
}

/// Where to open a socket: see [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place<'a> {
    /// At the addresses of this name, with this port. It may be an IP address. An IPv6 address may have a zone, as in
    /// `fe80::1%eth0`, which the system's resolver understands.
    Host(Cow<'a, str>, u16),
    /// At one of these addresses.
    Addresses(&'a [SocketAddr]),
    /// At the Unix socket with this path.
    Unix(&'a str),
}

/// The place of a host as a resolver takes it.
fn host<'a>(name: &'a str, zone: Option<&str>, port: u16) -> Place<'a> {
    match zone {
        Some(zone) => Place::Host(format!("{name}%{zone}").into(), port),
        None => Place::Host(name.into(), port),
    }
}

pub(super) fn of<'a>(
    url: &'a Url,
    connect_to: Option<&'a ConnectTo>,
    proxy: Option<&'a Proxy>,
) -> Route<'a> {
    let own_target = || [(Cow::Borrowed(&url.host[..]), url.port)].into();
    let (place, targets) = match (connect_to, url.unix.as_deref()) {
        (Some(ConnectTo::Addresses(addresses)), _) => {
            let target = |address: &SocketAddr| (address.ip().to_string().into(), address.port());
            (Place::Addresses(addresses), addresses.iter().map(target).collect())
        }
        (Some(ConnectTo::Host(name, port)), _) => {
            (host(name, None, *port), [(Cow::Borrowed(&name[..]), *port)].into())
        }
        (Some(ConnectTo::Unix(path)), _) => (Place::Unix(path), own_target()),
        (None, Some(path)) => (Place::Unix(path), own_target()),
        (None, None) => (host(&url.host, url.zone.as_deref(), url.port), own_target()),
    };
    let place = match proxy {
        Some(proxy) => host(proxy.host(), proxy.zone(), proxy.port()),
        None => place,
    };
    Route { place, proxy, targets }
}
