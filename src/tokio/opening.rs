//! The opening handshake over tokio's streams, and connecting.

use core::net::{IpAddr, SocketAddr};
use std::boxed::Box;
use std::io::{self, ErrorKind};
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::vec::Vec;

#[cfg(feature = "rustls")]
use ::{
    rustls::{ClientConfig, pki_types::ServerName},
    tokio_rustls::TlsConnector,
};
use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpStream, lookup_host};

use super::{Incoming, MaybeTls, WebSocket, now, within};
#[cfg(feature = "rustls")]
use crate::adapter::tls;
use crate::adapter::{Error, opening, share};
use crate::asynchronous;
use crate::handshake::{ClientRequest, ConnectError, Response};
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

/// Opens a WebSocket with headers, subprotocols, origin and limits of your own. Gives the server's
/// response too: its headers, and the subprotocol that it selected.
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
/// All addresses of the host are tried. The name, the connection, TLS and the handshake together
/// take at most [`Config::handshake_timeout`]. `TCP_NODELAY` is set. Dropping the future gives up the attempt.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`]. For a `wss` URL, `Error::Tls` with what is
/// wrong with the certificate, for example, or [`Error::TlsNotBuiltIn`] without the feature `rustls`.
pub async fn connect_with(
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let start = now();
    let deadline = config.get().handshake_timeout.map(|timeout| start.saturating_add(timeout));
    let secure = match within(deadline, Security::of(request)).await {
        Some(secure) => secure?,
        None => return Err(ConnectError::TimedOut.into()),
    };
    let addresses = match within(deadline, resolve(request)).await {
        Some(addresses) => addresses?,
        None => return Err(ConnectError::TimedOut.into()),
    };
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for (i, address) in addresses.iter().enumerate() {
        let until =
            share(deadline, now(), addresses.len() - i).map(|left| now().saturating_add(left));
        match within(until, TcpStream::connect(address)).await {
            Some(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return match within(deadline, Box::pin(secure.over(stream))).await {
                    Some(stream) => {
                        Box::pin(asynchronous::open(stream?, request, config, start)).await
                    }
                    None => Err(ConnectError::TimedOut.into()),
                };
            }
            Some(Err(error)) => last = opening::not_connected(request.host(), *address, &error),
            None => last = ErrorKind::TimedOut.into(),
        }
    }
    match last.kind() {
        ErrorKind::TimedOut => Err(ConnectError::TimedOut.into()),
        _ => Err(last.into()),
    }
}

/// What the scheme of the URL asks for.
struct Security {
    #[cfg(feature = "rustls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

#[cfg(not(feature = "rustls"))]
impl Security {
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if request.is_secure() { Err(Error::TlsNotBuiltIn) } else { Ok(Self {}) }
    }

    async fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        Ok(MaybeTls::Plain(stream))
    }
}

#[cfg(feature = "rustls")]
impl Security {
    /// This is done before anything is sent: an error here would be the same for every address.
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        let config = match request.own_tls_config().cloned() {
            Some(config) => config,
            // The first call reads files.
            None => match ::tokio::task::spawn_blocking(tls::with_platform_roots).await {
                Ok(config) => config?,
                Err(error) => return Err(io::Error::from(error).into()),
            },
        };
        Ok(Self { tls: Some((config, tls::server_name(request)?)) })
    }

    async fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let connector = TlsConnector::from(config);
        let stream = connector.with_alpn(tls::alpn()).connect(name, stream).await;
        let stream = stream.map_err(|error| opening::write_failed(error, ConnectError::Gone))?;
        Ok(MaybeTls::Tls(Box::new(stream)))
    }
}

async fn resolve(request: &ClientRequest) -> io::Result<Vec<SocketAddr>> {
    match request.host().parse::<IpAddr>() {
        Ok(address) => Ok([(address, request.port()).into()].into()),
        Err(_) => Ok(lookup_host((request.host(), request.port())).await?.collect()),
    }
}

/// Opens a WebSocket over a stream that is connected already: a Unix socket, a proxy's tunnel, TLS.
///
/// ```no_run
/// use bowline::{Config, handshake::ClientRequest};
/// # async fn client() -> Result<(), bowline::Error> {
/// let stream = tokio::net::UnixStream::connect("/run/chat.sock").await?;
/// let request = ClientRequest::new("ws://localhost/chat")?;
/// let (mut ws, _) = bowline::tokio::client(stream, &request, Config::default()).await?;
/// ws.send("Hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// As [`connect_with`].
pub async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    Box::pin(asynchronous::open(stream, request, config, now())).await
}

/// Accepts a client that asks for a WebSocket, whatever the path. It refuses an invalid request, or one from a
/// foreign origin, with the right HTTP status. For more, see [`Incoming`].
///
/// ```no_run
/// # async fn serve(listener: tokio::net::TcpListener) -> Result<(), bowline::Error> {
/// let (socket, _) = listener.accept().await?;
/// socket.set_nodelay(true)?;
/// let mut ws = bowline::tokio::accept(socket, bowline::Config::default()).await?;
/// while let Some(message) = ws.recv().await? {
///     ws.feed(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// On TCP, set `TCP_NODELAY` before. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Request`] if there was no such request. The client got an answer, unless it is gone. [`Error::Io`].
pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Config,
) -> impl Future<Output = Result<WebSocket<S>, Error>> {
    Incoming::<S>::open(stream, config)
}
