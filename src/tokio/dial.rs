//! Connecting: the name, the addresses, the proxy, TLS, redirects. `dial` stops before the handshake.

use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::borrow::Cow;
use std::boxed::Box;
use std::io;
use std::string::ToString;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::vec::Vec;

#[cfg(feature = "rustls")]
use ::{
    rustls::{ClientConfig, pki_types::ServerName},
    tokio_rustls::TlsConnector,
};
use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::{MaybeTls, Tokio, WebSocket, now, within};
use crate::adapter::race::Race;
use crate::adapter::trace::Handshake;
use crate::adapter::{Error, Unreachable};
#[cfg(feature = "rustls")]
use crate::adapter::{opening, tls};
use crate::asynchronous::{self, Io as _};
use crate::handshake::{
    ClientRequest, ConnectError, Place, Proxy, ProxyError, ProxyScheme, Response,
};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket at a `ws` or, with the feature `rustls`, a `wss` URL with the default [`Config`].
///
/// ```no_run
/// # async fn client() -> Result<(), bowline::Error> {
/// let mut ws = bowline::tokio::connect("ws://127.0.0.1:9001/").await?;
/// ws.send("Hello").await?;
/// ws.close(1000, "").await?;
/// # Ok(())
/// # }
/// ```
///
/// Dropping the future gives up the attempt.
///
/// # Errors
///
/// As [`connect_with`].
pub async fn connect(url: &str) -> Result<WebSocket<MaybeTls>, Error> {
    let (ws, _) = connect_with(&ClientRequest::new(url)?, Config::default()).await?;
    Ok(ws)
}

/// Opens a WebSocket as the request says: with headers, subprotocols and an origin, through a proxy, past redirects, to
/// another place. Gives the server's response too: its headers, and the subprotocol that it selected.
///
/// ```no_run
/// use bowline::{Config, handshake::ClientRequest};
/// # async fn client() -> Result<(), bowline::Error> {
/// let request = ClientRequest::new("ws://127.0.0.1:9001/chat")?.subprotocol("chat.v2")?;
/// let (mut ws, response) = bowline::tokio::connect_with(&request, Config::default()).await?;
/// if response.subprotocol() == Some("chat.v2") {
///     ws.send("Hello").await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// The addresses of the host race (RFC 8305): the next one starts after 250 ms, or when one fails. The names, the
/// connections, the proxy, TLS, the redirects and the handshake together take at most
/// [`Config::handshake_timeout`], or the request's own [`timeout`](ClientRequest::timeout). `TCP_NODELAY` is set. Dropping the future gives up the attempt.
///
/// # Errors
///
/// - [`Error::Io`] if no connection came about: [`Error::unreachable`] has each address with its own error.
/// - [`Error::Proxy`] if the proxy gave none, and `Error::ProxyTls` if TLS with it failed.
/// - `Error::Tls` with what is wrong with the certificate, for example. [`Error::TlsNotBuiltIn`] for a `wss` URL without
///   the feature `rustls`.
/// - [`Error::Connect`] with the server's refusal, or a redirect that was not followed.
/// - [`Error::Invalid`] if a variable of the environment names an invalid proxy.
pub async fn connect_with(
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let config = request.config(config);
    let start = now();
    let mut request = Cow::Borrowed(request);
    loop {
        let told = Handshake::client(&request);
        let opening = Box::pin(open(&request, &config, start, told.clone()));
        match told.opening(opening).await {
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
/// use bowline::{Config, handshake::ClientRequest};
/// # async fn client() -> Result<(), bowline::Error> {
/// let stream = tokio::net::TcpStream::connect("192.0.2.1:443").await?;
/// let request = ClientRequest::new("wss://example.com/chat")?;
/// let (mut ws, _) = bowline::tokio::connect_over(stream, &request, Config::default()).await?;
/// ws.send("Hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// TLS and the handshake together take at most [`Config::handshake_timeout`]. What the request says of proxies, addresses
/// and redirects has no effect. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, `Error::Tls`, [`Error::Io`]. [`Error::TlsNotBuiltIn`] for a `wss` URL
/// without the feature `rustls`.
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls<S>>, Response), Error> {
    let config = request.config(config);
    let start = now();
    let opening = async move {
        let secured = async { Security::of(request).await?.over(stream, &[]).await };
        let Some(stream) = within(deadline(&config, start), Box::pin(secured)).await else {
            return Err(ConnectError::TimedOut.into());
        };
        asynchronous::open(stream?, RecvBuf::new(), request, config, start).await
    };
    Handshake::client(request).opening(Box::pin(opening)).await
}

/// Opens the stream that a WebSocket of this request would run over, and sends no request on it. It is for other protocols to
/// the same servers: HTTP/1.1 with an `http` or `https` URL, for example.
///
/// ```no_run
/// use bowline::{Config, handshake::{ClientRequest, Proxies}};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # async fn client() -> Result<(), bowline::Error> {
/// let to = ClientRequest::new("https://example.com/")?.proxy(Proxies::from_env());
/// let mut stream = bowline::tokio::dial(&to, Config::default()).await?;
/// stream.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n").await?;
/// let mut answer = Vec::new();
/// stream.read_to_end(&mut answer).await?;
/// # Ok(())
/// # }
/// ```
///
/// It goes the way of [`connect_with`]: the same addresses, proxies, local address, hook for sockets and Unix sockets. With a
/// `wss` or `https` URL the stream has TLS for the host of the URL, with `http/1.1` as its only ALPN protocol. The headers, the
/// subprotocols and the redirects of the request have no effect, and neither has its path.
///
/// The names, the connections, the proxy and TLS together take at most [`Config::handshake_timeout`], or the request's own
/// [`timeout`](ClientRequest::timeout). [`Config::max_head_size`] and [`Config::max_headers`] limit the answer of a proxy. The
/// rest of `config` has no effect. `TCP_NODELAY` is set.
///
/// # Errors
///
/// - [`Error::Io`] if no connection came about: [`Error::unreachable`] has each address with its own error.
/// - [`Error::Proxy`] if the proxy gave none, and `Error::ProxyTls` if TLS with it failed. It is
///   [`ProxyError::EarlyBytes`] if the server spoke first without TLS: those bytes would be lost.
/// - `Error::Tls`, and [`Error::TlsNotBuiltIn`] for a secure URL without the feature `rustls`.
/// - [`Error::Connect`] with [`ConnectError::TimedOut`] if the time ran out, or with [`ConnectError::Gone`] if the server left
///   during TLS.
/// - [`Error::Invalid`] if a variable of the environment names an invalid proxy.
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt, and closes what it has opened.
pub async fn dial(request: &ClientRequest, config: Config) -> Result<MaybeTls, Error> {
    let config = request.config(config);
    let (stream, first) = reach_in_time(request, &config, now()).await?;
    match request.route()?.proxy {
        Some(proxy) if !first.unread().is_empty() => {
            Err(Error::of_proxy(proxy, ProxyError::EarlyBytes))
        }
        _ => Ok(stream),
    }
}

fn deadline(config: &Config, start: Duration) -> Option<Duration> {
    Some(start.saturating_add(config.get().handshake_timeout?))
}

/// One attempt, which follows no redirect. All attempts began at `start`.
async fn open(
    request: &ClientRequest,
    config: &Config,
    start: Duration,
    told: Handshake,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let (stream, input) = reach_in_time(request, config, start).await?;
    told.peer(|| stream.tcp().peer_addr().ok());
    Box::pin(asynchronous::open(stream, input, request, config.clone(), start)).await
}

/// The same as [`reach`], until the deadline.
async fn reach_in_time(
    request: &ClientRequest,
    config: &Config,
    start: Duration,
) -> Result<(MaybeTls, RecvBuf), Error> {
    let reaching = Box::pin(reach(request, config, start));
    within(deadline(config, start), reaching).await.unwrap_or(Err(ConnectError::TimedOut.into()))
}

/// A stream to the server, with TLS if the URL asks for it, and the first bytes that have come on it.
async fn reach(
    request: &ClientRequest,
    config: &Config,
    start: Duration,
) -> Result<(MaybeTls, RecvBuf), Error> {
    let deadline = deadline(config, start);
    // This is done before anything is sent: an error here would be the same for every address.
    let security = Security::of(request).await?;
    let route = request.route()?;
    let Some(proxy) = route.proxy else {
        let stream = socket(&route.place, request, deadline).await?;
        return Ok((security.over(stream, &[]).await?, RecvBuf::new()));
    };
    let mut targets = targets(proxy, route.targets, deadline).await?.into_iter();
    loop {
        let Some((host, port)) = targets.next() else {
            return Err(Unreachable::new(request.host(), Vec::new()).into());
        };
        let stream = socket(&route.place, request, deadline).await;
        let stream = stream.map_err(|error| error.at_proxy(true))?;
        let stream = match within(deadline, to_proxy(proxy, stream)).await {
            Some(stream) => stream?,
            None => return Err(Error::of_proxy(proxy, ProxyError::TimedOut)),
        };
        let target = (&host[..], port);
        match asynchronous::tunnel_to::<Tokio<_>>(stream, proxy, target, config, start).await {
            Ok((stream, input)) => return security.inside(stream, input).await,
            // The proxy cannot reach this address. It may reach the next.
            Err(Error::Proxy { error, .. })
                if error.is_about_target() && !targets.as_slice().is_empty() => {}
            Err(error) => return Err(error.of_tls_with(proxy)),
        }
    }
}

/// The stream to a proxy, with TLS if its scheme is `https`.
async fn to_proxy(proxy: &Proxy, stream: TcpStream) -> Result<MaybeTls, Error> {
    if proxy.scheme() != ProxyScheme::Https {
        return Ok(MaybeTls::Plain(stream));
    }
    let secured = async { Security::of_proxy(proxy).await?.over(stream, &[]).await };
    Box::pin(secured).await.map_err(|error| error.of_tls_with(proxy))
}

type Targets<'a> = Vec<(Cow<'a, str>, u16)>;

/// The hosts to ask a proxy for. With `socks5` a name is resolved here.
async fn targets<'a>(
    proxy: &Proxy,
    targets: Targets<'a>,
    deadline: Option<Duration>,
) -> Result<Targets<'a>, Error> {
    match &targets[..] {
        [(host, port)]
            if proxy.scheme() == ProxyScheme::Socks5 && host.parse::<IpAddr>().is_err() =>
        {
            let addresses = resolve(host, *port, deadline).await?;
            let target = |address: &SocketAddr| (address.ip().to_string().into(), address.port());
            Ok(addresses.iter().map(target).collect())
        }
        _ => Ok(targets),
    }
}

/// Opens a socket at the place.
async fn socket(
    place: &Place<'_>,
    request: &ClientRequest,
    deadline: Option<Duration>,
) -> Result<TcpStream, Unreachable> {
    let (host, addresses) = match place {
        Place::Host(host, port) => (&host[..], Cow::Owned(resolve(host, *port, deadline).await?)),
        Place::Addresses(addresses) => (request.host(), Cow::Borrowed(*addresses)),
        Place::Unix(path) => return unix(path).await,
    };
    race(&addresses, request, deadline)
        .await
        .map_err(|race| Unreachable::new(host, race.into_attempts()))
}

async fn resolve(
    host: &str,
    port: u16,
    deadline: Option<Duration>,
) -> Result<Vec<SocketAddr>, Unreachable> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok([(address, port).into()].into());
    }
    match within(deadline, lookup_host((host, port))).await {
        Some(Ok(addresses)) => Ok(addresses.collect()),
        Some(Err(error)) => Err(Unreachable::of_name(host, error)),
        None => Err(Unreachable::of_name(host, io::ErrorKind::TimedOut.into())),
    }
}

type Attempt = (SocketAddr, Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>);

/// Connects to the first address that answers. The other attempts are dropped, which closes their sockets.
async fn race(
    addresses: &[SocketAddr],
    request: &ClientRequest,
    deadline: Option<Duration>,
) -> Result<TcpStream, Race> {
    let mut race = Race::new(addresses);
    let mut attempts: Vec<Attempt> = Vec::with_capacity(1);
    let mut timer = Default::default();
    let won = poll_fn(|cx| {
        loop {
            if let Some(address) = race.start(now()) {
                attempts.push((address, Box::pin(connect_one(address, request.clone()))));
            }
            if let Some(stream) = poll_attempts(&mut attempts, &mut race, cx) {
                return Poll::Ready(Some(stream));
            }
            let is_late = deadline.is_some_and(|deadline| deadline <= now());
            if race.is_lost() || is_late {
                return Poll::Ready(None);
            }
            let next = race.starts_at().into_iter().chain(deadline).min();
            if race.starts_at().is_none_or(|at| at > now()) {
                ready!(Tokio::<TcpStream>::poll_timer(&mut timer, cx, next));
            }
        }
    });
    won.await.ok_or(race)
}

/// The first stream that is connected. Attempts that failed are gone.
fn poll_attempts(
    attempts: &mut Vec<Attempt>,
    race: &mut Race,
    cx: &mut Context<'_>,
) -> Option<TcpStream> {
    let mut won = None;
    attempts.retain_mut(|(address, attempt)| match attempt.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(stream)) => {
            won.get_or_insert(stream);
            false
        }
        Poll::Ready(Err(error)) => {
            race.failed(*address, error);
            false
        }
    });
    won
}

async fn connect_one(address: SocketAddr, request: ClientRequest) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(local) = request.own_local_address() {
        socket.bind((local, 0).into())?;
    }
    if let Some(hook) = request.own_socket_hook() {
        hook.call(&socket, address)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A Unix socket, as the type that all connections have. Reading and writing are the same; options and addresses of TCP
/// give errors.
#[cfg(unix)]
async fn unix(path: &str) -> Result<TcpStream, Unreachable> {
    let connected = async {
        let stream = ::tokio::net::UnixStream::connect(path).await?.into_std()?;
        TcpStream::from_std(std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream)))
    };
    connected.await.map_err(|error| Unreachable::of_name(path, error))
}

#[cfg(not(unix))]
async fn unix(path: &str) -> Result<TcpStream, Unreachable> {
    Err(Unreachable::of_name(path, io::ErrorKind::Unsupported.into()))
}

/// Whether TLS is to be done, and for whom.
struct Security {
    #[cfg(feature = "rustls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

#[cfg(not(feature = "rustls"))]
impl Security {
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if request.is_secure() { Err(Error::TlsNotBuiltIn) } else { Ok(Self {}) }
    }

    async fn of_proxy(_: &Proxy) -> Result<Self, Error> {
        Err(Error::TlsNotBuiltIn)
    }

    async fn over<S>(self, stream: S, _: &[u8]) -> Result<MaybeTls<S>, Error> {
        Ok(MaybeTls::Plain(stream))
    }

    async fn inside(self, stream: MaybeTls, first: RecvBuf) -> Result<(MaybeTls, RecvBuf), Error> {
        Ok((stream, first))
    }
}

#[cfg(feature = "rustls")]
impl Security {
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        Self::with(request.own_tls_config(), request.host()).await
    }

    async fn of_proxy(proxy: &Proxy) -> Result<Self, Error> {
        Self::with(proxy.own_tls_config(), proxy.host()).await
    }

    async fn with(own: Option<&Arc<ClientConfig>>, host: &str) -> Result<Self, Error> {
        let config = match own.cloned() {
            Some(config) => config,
            // The first call reads files.
            None => match ::tokio::task::spawn_blocking(tls::with_platform_roots).await {
                Ok(config) => config?,
                Err(error) => return Err(io::Error::from(error).into()),
            },
        };
        Ok(Self { tls: Some((config, tls::server_name(host)?)) })
    }

    /// Does TLS on the stream, on which these bytes have come already.
    async fn over<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
        first: &[u8],
    ) -> Result<MaybeTls<S>, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let connector = TlsConnector::from(config);
        let mut given = Ok(());
        let give_first = |connection: &mut _| given = tls::give_first(connection, first);
        let connecting = connector.with_alpn(tls::alpn()).connect_with(name, stream, give_first);
        given?;
        let stream = connecting.await;
        let stream = stream.map_err(|error| opening::write_failed(error, ConnectError::Gone))?;
        Ok(MaybeTls::Tls(Box::new(stream)))
    }

    /// Does TLS with the server on a proxy's stream, and takes the first bytes that have come from the server.
    async fn inside(self, stream: MaybeTls, first: RecvBuf) -> Result<(MaybeTls, RecvBuf), Error> {
        if self.tls.is_none() {
            return Ok((stream, first));
        }
        let stream = match stream {
            MaybeTls::Plain(stream) => self.over(stream, first.unread()).await?,
            MaybeTls::Tls(stream) => match self.over(stream, first.unread()).await? {
                MaybeTls::Tls(nested) => MaybeTls::Nested(nested),
                MaybeTls::Plain(stream) => MaybeTls::Tls(stream),
                MaybeTls::Nested(_) => unreachable!("`over` does TLS once"),
            },
            nested => nested,
        };
        Ok((stream, RecvBuf::new()))
    }
}
