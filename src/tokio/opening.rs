//! The opening handshake over tokio's streams.

use std::boxed::Box;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::{Incoming, Tokio, WebSocket, now};
use crate::adapter::Error;
use crate::adapter::trace::Handshake;
use crate::asynchronous;
use crate::handshake::{ClientRequest, Proxy, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket over a stream that is connected already, and does no TLS: the stream has it if the URL is a `wss`
/// one. See [`connect_over`](super::connect_over) for a stream on which TLS is to be done.
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
/// What the request says of proxies, addresses and redirects has no effect. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`].
pub async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    let opening = asynchronous::open(stream, RecvBuf::new(), request, config, now());
    Handshake::client(request).opening(Box::pin(opening)).await
}

/// Asks the proxy at the other end of the stream for a connection to the host of the request, and gives the stream back.
/// Then do TLS on it, if the URL is a `wss` one, and call [`client`] or [`connect_over`](super::connect_over).
///
/// ```no_run
/// use bowline::handshake::{ClientRequest, Proxy};
/// use bowline::{Config, tokio};
/// # async fn client() -> Result<(), bowline::Error> {
/// let proxy = Proxy::new("http://user:secret@localhost")?;
/// let request = ClientRequest::new("wss://example.com/chat")?;
/// let socket = ::tokio::net::UnixStream::connect("/run/proxy.sock").await?;
/// let stream = tokio::tunnel(socket, &proxy, &request, Config::default()).await?;
/// let (mut ws, _) = tokio::connect_over(stream, &request, Config::default()).await?;
/// ws.send("Hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// [`ProxyScheme::Socks5`](crate::handshake::ProxyScheme::Socks5) is for addresses: a name is sent as it is. It takes at
/// most [`Config::handshake_timeout`]. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Proxy`], [`Error::Io`]. [`Error::Invalid`] if the proxy cannot be asked for this host.
pub async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    proxy: &Proxy,
    request: &ClientRequest,
    config: Config,
) -> Result<S, Error> {
    Box::pin(asynchronous::tunnel::<Tokio<S>>(stream, proxy, request, config)).await
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
