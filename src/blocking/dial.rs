//! Connecting: the name, the addresses, the proxy, TLS, redirects.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::string::ToString;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::vec::Vec;

#[cfg(feature = "rustls")]
use ::rustls::pki_types::ServerName;
#[cfg(feature = "rustls")]
use ::rustls::{ClientConfig, ClientConnection};

use super::opening::{open, tunnel_to};
use super::patience::{is_reached, now, timeout_until};
use super::stream::BlockingStream;
#[cfg(feature = "rustls")]
use super::tls::TlsStream;
use super::{MaybeTls, WebSocket};
use crate::adapter::race::Race;
#[cfg(feature = "rustls")]
use crate::adapter::tls;
use crate::adapter::trace::Handshake;
use crate::adapter::{Error, Unreachable};
use crate::handshake::{ClientRequest, ConnectError, Place, Proxy, ProxyScheme, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket at a `ws` or, with the feature `rustls`, a `wss` URL with the default [`Config`].
///
/// ```no_run
/// let mut ws = bowline::blocking::connect("ws://127.0.0.1:9001/")?;
/// ws.send("Hello")?;
/// println!("{:?}", ws.recv()?);
/// ws.close(1000, "")?;
/// # Ok::<(), bowline::Error>(())
/// ```
///
/// # Errors
///
/// As [`connect_with`].
pub fn connect(url: &str) -> Result<WebSocket<MaybeTls>, Error> {
    let (ws, _) = connect_with(&ClientRequest::new(url)?, Config::default())?;
    Ok(ws)
}

/// Opens a WebSocket as the request says: with headers, subprotocols and an origin, through a proxy, past redirects, to
/// another place. Gives the server's response too: its headers, and the subprotocol that it selected.
///
/// ```no_run
/// use bowline::handshake::ClientRequest;
/// use bowline::{Config, blocking};
///
/// let request = ClientRequest::new("ws://127.0.0.1:9001/chat")?.subprotocol("chat.v2")?;
/// let config = Config::default().max_message_size(64 << 20);
/// let (mut ws, response) = blocking::connect_with(&request, config)?;
/// println!("{}", response.status());
/// ws.send("Hello")?;
/// # Ok::<(), bowline::Error>(())
/// ```
///
/// The addresses of the host race (RFC 8305): the next one starts after 250 ms, or when one fails. The names, the
/// connections, the proxy, TLS, the redirects and the handshake together take at most
/// [`Config::handshake_timeout`], or the request's own [`timeout`](ClientRequest::timeout). `TCP_NODELAY` is set.
///
/// # Errors
///
/// - [`Error::Io`] if no connection came about: [`Error::unreachable`] has each address with its own error.
/// - [`Error::Proxy`] if the proxy gave none, and `Error::ProxyTls` if TLS with it failed.
/// - `Error::Tls` with what is wrong with the certificate, for example. [`Error::TlsNotBuiltIn`] for a `wss` URL without
///   the feature `rustls`.
/// - [`Error::Connect`] with the server's refusal, or a redirect that was not followed.
/// - [`Error::Invalid`] if a variable of the environment names an invalid proxy.
pub fn connect_with(
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let config = request.config(config);
    let start = now();
    let mut request = Cow::Borrowed(request);
    loop {
        let told = Handshake::client(&request);
        let opened = told.run(|| {
            let (stream, input) = reach(&request, &config, start)?;
            told.peer(|| stream.tcp().peer_addr().ok());
            open(stream, input, &request, config.clone(), start)
        });
        told.opened(&opened);
        match opened {
            Err(Error::Connect(ConnectError::Redirected(redirected))) => {
                request = Cow::Owned(request.follow(*redirected)?);
            }
            result => return result,
        }
    }
}

/// Opens a WebSocket over a stream that is connected already. If the URL is a `wss` one, TLS is done on it, for the host
/// of the URL.
///
/// ```no_run
/// use bowline::{Config, blocking, handshake::ClientRequest};
///
/// let stream = std::net::TcpStream::connect("192.0.2.1:443")?;
/// let request = ClientRequest::new("wss://example.com/chat")?;
/// let (mut ws, _) = blocking::connect_over(stream, &request, Config::default())?;
/// ws.send("Hello")?;
/// # Ok::<(), bowline::Error>(())
/// ```
///
/// TLS and the handshake together take at most [`Config::handshake_timeout`]. What the request says of proxies, addresses
/// and redirects has no effect.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, `Error::Tls`, [`Error::Io`]. [`Error::TlsNotBuiltIn`] for a `wss` URL
/// without the feature `rustls`.
pub fn connect_over<S: BlockingStream>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls<S>>, Response), Error> {
    let start = now();
    let told = Handshake::client(request);
    let opened = told.run(|| {
        let stream = Security::of(request)?.over(stream, &[])?;
        open(stream, RecvBuf::new(), request, request.config(config), start)
    });
    told.opened(&opened);
    opened
}

/// A stream to the server, with TLS if the URL asks for it, and the first bytes that have come on it. All attempts
/// began at `start`.
fn reach(
    request: &ClientRequest,
    config: &Config,
    start: Duration,
) -> Result<(MaybeTls, RecvBuf), Error> {
    let timeout = config.get().handshake_timeout;
    let deadline = timeout.map(|timeout| start.saturating_add(timeout));
    // This is done before anything is sent: an error here would be the same for every address.
    let security = Security::of(request)?;
    let route = request.route()?;
    let Some(proxy) = route.proxy else {
        let stream = socket(&route.place, request, deadline)?;
        return Ok((security.over(stream, &[])?, RecvBuf::new()));
    };
    let mut targets = targets(proxy, route.targets, deadline)?.into_iter();
    loop {
        let Some((host, port)) = targets.next() else {
            return Err(Unreachable::new(request.host(), Vec::new()).into());
        };
        let stream = socket(&route.place, request, deadline);
        let stream = stream.map_err(|error| error.at_proxy(true))?;
        let stream = match proxy.scheme() {
            ProxyScheme::Https => Security::of_proxy(proxy)
                .and_then(|security| security.over(stream, &[]))
                .map_err(|error| error.of_tls_with(proxy))?,
            _ => MaybeTls::Plain(stream),
        };
        match tunnel_to(stream, proxy, (&host, port), config, start) {
            Ok((stream, input)) => return security.inside(stream, input),
            // The proxy cannot reach this address. It may reach the next.
            Err(Error::Proxy { error, .. })
                if error.is_about_target() && !targets.as_slice().is_empty() => {}
            Err(error) => return Err(error.of_tls_with(proxy)),
        }
    }
}

type Targets<'a> = Vec<(Cow<'a, str>, u16)>;

/// The hosts to ask a proxy for. With `socks5` a name is resolved here.
fn targets<'a>(
    proxy: &Proxy,
    targets: Targets<'a>,
    deadline: Option<Duration>,
) -> Result<Targets<'a>, Error> {
    match &targets[..] {
        [(host, port)]
            if proxy.scheme() == ProxyScheme::Socks5 && host.parse::<IpAddr>().is_err() =>
        {
            let addresses = resolve(host, *port, deadline)?;
            let target = |address: &SocketAddr| (address.ip().to_string().into(), address.port());
            Ok(addresses.iter().map(target).collect())
        }
        _ => Ok(targets),
    }
}

/// Opens a socket at the place.
fn socket(
    place: &Place<'_>,
    request: &ClientRequest,
    deadline: Option<Duration>,
) -> Result<TcpStream, Unreachable> {
    let (host, addresses) = match place {
        Place::Host(host, port) => (&host[..], Cow::Owned(resolve(host, *port, deadline)?)),
        Place::Addresses(addresses) => (request.host(), Cow::Borrowed(*addresses)),
        Place::Unix(path) => return unix(path, deadline),
    };
    race(&addresses, request, deadline).map_err(|race| Unreachable::new(host, race.into_attempts()))
}

/// Resolves the host's name, within the deadline.
fn resolve(
    host: &str,
    port: u16,
    deadline: Option<Duration>,
) -> Result<Vec<SocketAddr>, Unreachable> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok([(address, port).into()].into());
    }
    let name = (host.to_string(), port);
    within(deadline, move || Ok(name.to_socket_addrs()?.collect()))
        .map_err(|error| Unreachable::of_name(host, error))
}

/// Calls what cannot be interrupted, such as the system's resolver. With a deadline it gets a thread that may outlive the
/// wait.
fn within<T: Send + 'static>(
    deadline: Option<Duration>,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(deadline) = deadline else {
        return call();
    };
    let (give, take) = mpsc::channel();
    thread::Builder::new().name("connecting".into()).spawn(move || give.send(call()))?;
    match take.recv_timeout(deadline.saturating_sub(now())) {
        Ok(result) => result,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Connects to the first address that answers. A single address needs no thread. Of several, each has one, which ends
/// with its attempt. The socket of an attempt that comes late is closed at once.
fn race(
    addresses: &[SocketAddr],
    request: &ClientRequest,
    deadline: Option<Duration>,
) -> Result<TcpStream, Race> {
    let mut race = Race::new(addresses);
    let (give, take) = mpsc::channel();
    loop {
        while let Some(address) = race.start(now()) {
            if addresses.len() == 1 {
                match connect_one(address, request, deadline) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => race.failed(address, error),
                }
                continue;
            }
            let (give, request) = (give.clone(), request.clone());
            let attempt = move || {
                let _ = give.send((address, connect_one(address, &request, deadline)));
            };
            if let Err(error) = thread::Builder::new().name("connecting".into()).spawn(attempt) {
                race.failed(address, error);
            }
        }
        if race.is_lost() || is_reached(deadline, now()) {
            return Err(race);
        }
        let next = race.starts_at().into_iter().chain(deadline).min();
        let result = match next {
            Some(at) => take.recv_timeout(at.saturating_sub(now())),
            None => take.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match result {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((address, Err(error))) => race.failed(address, error),
            // The next address may start, or time is up. `give` is here, so the channel is open.
            Err(_) => {}
        }
    }
}

fn connect_one(
    address: SocketAddr,
    request: &ClientRequest,
    deadline: Option<Duration>,
) -> io::Result<TcpStream> {
    let now = now();
    if is_reached(deadline, now) {
        return Err(ErrorKind::TimedOut.into());
    }
    let stream = connect_socket(address, request, timeout_until(deadline, now))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn connect_plain(address: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
    match timeout {
        Some(timeout) => TcpStream::connect_timeout(&address, timeout),
        None => TcpStream::connect(address),
    }
}

#[cfg(not(feature = "socket2"))]
fn connect_socket(
    address: SocketAddr,
    _: &ClientRequest,
    timeout: Option<Duration>,
) -> io::Result<TcpStream> {
    connect_plain(address, timeout)
}

#[cfg(feature = "socket2")]
fn connect_socket(
    address: SocketAddr,
    request: &ClientRequest,
    timeout: Option<Duration>,
) -> io::Result<TcpStream> {
    use ::socket2::{Domain, Protocol, Socket, Type};

    let (local, hook) = (request.own_local_address(), request.own_socket_hook());
    // The standard library opens and connects a socket in one call.
    if local.is_none() && hook.is_none() {
        return connect_plain(address, timeout);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::from((local, 0)).into())?;
    }
    if let Some(hook) = hook {
        hook.call(&socket, address)?;
    }
    match timeout {
        Some(timeout) => socket.connect_timeout(&address.into(), timeout)?,
        None => socket.connect(&address.into())?,
    }
    Ok(socket.into())
}

/// A Unix socket, as the type that all connections have. Reading and writing are the same; options and addresses of TCP
/// give errors.
#[cfg(unix)]
fn unix(path: &str, deadline: Option<Duration>) -> Result<TcpStream, Unreachable> {
    let owned = path.to_string();
    let connect = move || {
        let stream = std::os::unix::net::UnixStream::connect(owned)?;
        Ok(TcpStream::from(std::os::fd::OwnedFd::from(stream)))
    };
    within(deadline, connect).map_err(|error| Unreachable::of_name(path, error))
}

#[cfg(not(unix))]
fn unix(path: &str, _: Option<Duration>) -> Result<TcpStream, Unreachable> {
    Err(Unreachable::of_name(path, ErrorKind::Unsupported.into()))
}

/// Whether TLS is to be done, and for whom.
struct Security {
    #[cfg(feature = "rustls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

#[cfg(not(feature = "rustls"))]
impl Security {
    fn of(request: &ClientRequest) -> Result<Self, Error> {
        if request.is_secure() { Err(Error::TlsNotBuiltIn) } else { Ok(Self {}) }
    }

    fn of_proxy(_: &Proxy) -> Result<Self, Error> {
        Err(Error::TlsNotBuiltIn)
    }

    fn over<S>(self, stream: S, _: &[u8]) -> Result<MaybeTls<S>, Error> {
        Ok(MaybeTls::Plain(stream))
    }

    fn inside(self, stream: MaybeTls, first: RecvBuf) -> Result<(MaybeTls, RecvBuf), Error> {
        Ok((stream, first))
    }
}

#[cfg(feature = "rustls")]
impl Security {
    fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        Self::with(request.own_tls_config(), request.host())
    }

    fn of_proxy(proxy: &Proxy) -> Result<Self, Error> {
        Self::with(proxy.own_tls_config(), proxy.host())
    }

    fn with(own: Option<&Arc<ClientConfig>>, host: &str) -> Result<Self, Error> {
        let config = match own.cloned() {
            Some(config) => config,
            None => tls::with_platform_roots()?,
        };
        Ok(Self { tls: Some((config, tls::server_name(host)?)) })
    }

    /// Does TLS on the stream, on which these bytes have come already. The first writes and reads do its handshake.
    fn over<S: BlockingStream>(self, stream: S, first: &[u8]) -> Result<MaybeTls<S>, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let mut connection = ClientConnection::new_with_alpn(config, name, tls::alpn())
            .map_err(tls::TlsError::from)?;
        tls::give_first(&mut connection, first)?;
        Ok(MaybeTls::Tls(TlsStream::new(connection, stream)))
    }

    /// Does TLS with the server on a proxy's stream, and takes the first bytes that have come from the server.
    fn inside(self, stream: MaybeTls, first: RecvBuf) -> Result<(MaybeTls, RecvBuf), Error> {
        if self.tls.is_none() {
            return Ok((stream, first));
        }
        let stream = match stream {
            MaybeTls::Plain(stream) => self.over(stream, first.unread())?,
            MaybeTls::Tls(stream) => match self.over(stream, first.unread())? {
                MaybeTls::Tls(nested) => MaybeTls::Nested(nested.into()),
                MaybeTls::Plain(stream) => MaybeTls::Tls(stream),
                MaybeTls::Nested(_) => unreachable!("`over` does TLS once"),
            },
            nested => nested,
        };
        Ok((stream, RecvBuf::new()))
    }
}
