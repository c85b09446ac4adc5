//! The adapter for other runtimes: loops around any `AsyncRead + AsyncWrite` of `futures-io`, for smol,
//! async-std and others.
//!
//! ```no_run
//! use bowline::{Config, handshake::ClientRequest};
//! # async fn client() -> Result<(), bowline::Error> {
//! let socket = smol::net::TcpStream::connect("127.0.0.1:9001").await?;
//! socket.set_nodelay(true)?;
//! let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
//! let (mut ws, _) = bowline::futures::client(socket, &request, Config::default()).await?;
//! ws.send("Hello").await?;
//! if let Some(message) = ws.recv().await? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! ws.close(1000, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server reads each connection in a task of its own: see [`accept`]. [`Incoming`] lets it look at the
//! request first. [`WebSocket::split`] gives halves for two tasks. There is no `connect`, because only a
//! runtime can open a socket: connect one, with TLS if you need it, and use [`client`]. [`tunnel`] goes
//! through a proxy.
//!
//! # Timers
//!
//! The timeouts of [`Config`] hold without a runtime: the crate `futures-timer` runs them in one thread for
//! the whole process. That thread starts with the first timer. If no thread can be started, waiting for a
//! timer panics. To use no timers, set all timeouts to `None`.

mod io;
mod reconnect;

pub use crate::asynchronous::{Broadcast, Delivery, Member, SlowPeer};

use ::futures_io::{AsyncRead, AsyncWrite};

use crate::adapter::Error;
use crate::adapter::trace::Handshake;
use crate::asynchronous::{self, Io as _};
use crate::handshake::{ClientRequest, Proxy, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;
pub(crate) use io::Futures;
pub use reconnect::{Reconnecting, Session};

/// A WebSocket over a stream of the traits of `futures-io`.
pub type WebSocket<S> = asynchronous::WebSocket<Futures<S>>;

/// The half of a [`WebSocket`] that receives.
pub type RecvHalf<S> = asynchronous::RecvHalf<Futures<S>>;

/// The half of a [`WebSocket`] that sends.
pub type SendHalf<S> = asynchronous::SendHalf<Futures<S>>;

/// A [`WebSocket`] as a stream of bytes.
pub type ByteStream<S> = asynchronous::ByteStream<Futures<S>>;

/// Answers the message that [`WebSocket::recv_borrowed`] lent.
pub type Outgoing<'a, S> = asynchronous::Outgoing<'a, Futures<S>>;

/// A request over a stream of the traits of `futures-io` that was read but not answered yet.
///
/// ```no_run
/// use bowline::futures::Incoming;
/// use bowline::handshake::{Accept, Response};
/// # async fn serve(stream: smol::net::TcpStream) -> Result<(), bowline::Error> {
/// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
/// if !incoming.request().is_upgrade() {
///     return incoming.respond(&Response::new(200).body("not a WebSocket, but hello")).await;
/// }
/// let protocol = incoming.request().select_subprotocol(&["chat.v2", "chat"]).map(String::from);
/// let mut ws = incoming.accept(Accept::new().subprotocol(protocol.as_deref())).await?;
/// # Ok(())
/// # }
/// ```
pub type Incoming<S> = asynchronous::Incoming<Futures<S>>;

/// Opens a WebSocket over a stream that is connected already, with headers, subprotocols, origin and
/// limits of your own. Gives the server's response too: its headers, and the subprotocol that it selected.
///
/// ```no_run
/// use bowline::{Config, handshake::ClientRequest};
/// # async fn client() -> Result<(), bowline::Error> {
/// let socket = smol::net::TcpStream::connect("127.0.0.1:9001").await?;
/// let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
/// let (mut ws, _) = bowline::futures::client(socket, &request, Config::default()).await?;
/// ws.send("Hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// For a `wss` URL give a stream that speaks TLS. This function does no TLS, and the URL only names the host
/// and the path. On TCP, set `TCP_NODELAY` before. The handshake takes at most
/// [`Config::handshake_timeout`]. Dropping the future drops the stream. What the request says of proxies, addresses and
/// redirects has no effect; see [`tunnel`] for a proxy.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`].
pub async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    let start = Futures::<S>::now();
    let opening = asynchronous::open(stream, RecvBuf::new(), request, config, start);
    Handshake::client(request).opening(std::boxed::Box::pin(opening)).await
}

/// Asks the proxy at the other end of the stream for a connection to the host of the request, and gives the stream back.
/// Then do TLS on it, if the URL is a `wss` one, and call [`client`].
///
/// ```no_run
/// use bowline::handshake::{ClientRequest, Proxy};
/// use bowline::{Config, futures};
/// # async fn client() -> Result<(), bowline::Error> {
/// let proxy = Proxy::new("http://user:secret@127.0.0.1:3128")?;
/// let request = ClientRequest::new("ws://example.com/chat")?;
/// let socket = smol::net::TcpStream::connect((proxy.host(), proxy.port())).await?;
/// let stream = futures::tunnel(socket, &proxy, &request, Config::default()).await?;
/// let (mut ws, _) = futures::client(stream, &request, Config::default()).await?;
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
    std::boxed::Box::pin(asynchronous::tunnel::<Futures<S>>(stream, proxy, request, config)).await
}

/// Accepts a client that asks for a WebSocket, whatever the path. It refuses an invalid request, or one from a
/// foreign origin, with the right HTTP status. For more, see [`Incoming`].
///
/// ```no_run
/// # async fn serve(listener: smol::net::TcpListener) -> Result<(), bowline::Error> {
/// let (socket, _) = listener.accept().await?;
/// socket.set_nodelay(true)?;
/// let mut ws = bowline::futures::accept(socket, bowline::Config::default()).await?;
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
