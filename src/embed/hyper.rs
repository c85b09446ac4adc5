//! WebSockets on the connections of [hyper] 1: over HTTP/1.1 and, with the feature `http2`, a server's
//! over HTTP/2 too (RFC 8441). The client for HTTP/2 is in `http2`.
//!
//! A server upgrades a request, and must serve its connections
//! [with upgrades](https://docs.rs/hyper/1/hyper/server/conn/http1/struct.Connection.html#method.with_upgrades):
//!
//! ```no_run
//! use bowline::Config;
//! use bowline::bytes::Bytes;
//! use http_body_util::Full;
//! use hyper::{Request, Response, body::Incoming};
//! # use std::convert::Infallible;
//!
//! async fn serve(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     match bowline::hyper::upgrade(&mut request, Config::default()) {
//!         Ok((response, upgrading)) => {
//!             tokio::spawn(async move {
//!                 let mut ws = upgrading.await?;
//!                 ws.send("Hello").await
//!             });
//!             Ok(response)
//!         }
//!         Err(refusal) => Ok(refusal.response().into()),
//!     }
//! }
//! ```
//!
//! Over HTTP/2 hyper has to be told to
//! [enable extended CONNECT](https://docs.rs/hyper/1/hyper/server/conn/http2/struct.Builder.html#method.enable_connect_protocol);
//! each WebSocket is a stream of the connection, and `upgrade` is the same.
//!
//! hyper reads the head of the request, with its own limits and timeouts. The other settings of [`Config`]
//! hold. docs/embedding.md in the repository has whole programs.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, IoSlice};

use ::hyper::body::{Body, Incoming};
use ::hyper::client::conn::http1::SendRequest;
use ::hyper::rt::{Read, Write};
use ::hyper::upgrade::{OnUpgrade, Upgraded};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::adapter::trace::Handshake;
use crate::adapter::{Error, is_peer_gone, seed};
use crate::embed::http;
use crate::embed::time::Clock;
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, InvalidRequest, Request, RequestError,
    Response,
};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;
use crate::tokio::Group;

/// A WebSocket on an upgraded connection.
pub type WebSocket = crate::tokio::WebSocket<UpgradedIo>;

/// Upgrades a request to a WebSocket, if it keeps to RFC 6455 §4.2.1 (over HTTP/2, RFC 8441 §5) and
/// the origin policy of `config`.
///
/// Send the response: the future waits for that. You may add headers to it, but those of the handshake must
/// stay. To refuse the WebSocket after this call, drop the future as well as sending another response. The
/// other response alone is not enough, because hyper may still hand over the connection.
///
/// ```no_run
/// use bowline::{Config, bytes::Bytes};
/// use http_body_util::Full;
/// use hyper::{Request, Response, body::Incoming};
///
/// fn serve(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
///     match bowline::hyper::upgrade(&mut request, Config::default()) {
///         Ok((response, upgrading)) => {
///             tokio::spawn(async { upgrading.await?.send("Hello").await });
///             response
///         }
///         Err(refusal) => refusal.response().into(),
///     }
/// }
/// ```
///
/// # Errors
///
/// Why the request opens no WebSocket. [`RequestError::Method`] and [`RequestError::NotUpgrade`] mean an
/// ordinary request. [`RequestError::response`] is the answer. The request is unchanged.
pub fn upgrade<B, R: Default>(
    request: &mut ::http::Request<B>,
    config: Config,
) -> Result<(::http::Response<R>, Upgrading), RequestError> {
    upgrade_with::<_, _, &str>(request, config, &[])
}

/// Like [`upgrade`], and selects a subprotocol: the first of the client's that is in `subprotocols`.
/// The response names it in `Sec-WebSocket-Protocol`.
///
/// ```no_run
/// # use bowline::{Config, bytes::Bytes, handshake::RequestError};
/// # use http_body_util::Full;
/// # use hyper::{Request, Response, body::Incoming};
/// # fn serve(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, RequestError> {
/// let names = ["chat.v2", "chat"];
/// let (response, upgrading) =
///     bowline::hyper::upgrade_with(&mut request, Config::default(), &names)?;
/// println!("{:?}", response.headers().get("sec-websocket-protocol"));
/// tokio::spawn(async { upgrading.await?.send("Hello").await });
/// # Ok(response)
/// # }
/// ```
///
/// # Errors
///
/// As `upgrade`.
pub fn upgrade_with<B, R: Default, P: AsRef<str>>(
    request: &mut ::http::Request<B>,
    config: Config,
    subprotocols: &[P],
) -> Result<(::http::Response<R>, Upgrading), RequestError> {
    let checked = Request::try_from(&*request)?;
    let subprotocol = checked.select_subprotocol(subprotocols);
    let (response, accepted) = accept(&checked, config, subprotocol)?;
    Ok((response, Upgrading(Box::pin(accepted.upgraded(::hyper::upgrade::on(request))))))
}

/// `subprotocol` must be one that the request offers.
pub(crate) fn accept<R: Default>(
    request: &Request,
    config: Config,
    subprotocol: Option<&str>,
) -> Result<(::http::Response<R>, Accepted), RequestError> {
    let told = Handshake::server();
    told.asked(request);
    let accepted = told.run(|| {
        let accept = Accept::new().subprotocol(subprotocol);
        request.upgrade(&config)?.accept(accept).map_err(|_| RequestError::Subprotocols)
    });
    let (connection, response) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            told.answered(error.response().status());
            told.failed(&error.into());
            return Err(error);
        }
    };
    told.answered(response.status());
    let accepted = Accepted {
        ws: WebSocket::unconnected(connection, RecvBuf::new()),
        clock: Clock::start(),
        timeout: config.get().handshake_timeout,
        max_write: if request.protocol().is_some() { MAX_HTTP2_WRITE } else { usize::MAX },
        told,
    };
    Ok((http::response(response).map(|_| R::default()), accepted))
}

/// A request that was accepted. The response has yet to be sent.
pub(crate) struct Accepted {
    /// Without a stream. It is made here because it is small: a task keeps room for this as long as it runs.
    ws: WebSocket,
    clock: Clock,
    timeout: Option<Duration>,
    max_write: usize,
    told: Handshake,
}

impl Accepted {
    /// Waits until the response is sent.
    pub(crate) async fn upgraded(self, on_upgrade: OnUpgrade) -> Result<WebSocket, Error> {
        let upgraded = match self.clock.within(self.timeout, on_upgrade).await {
            Some(result) => result.map_err(|error| Error::Io(io::Error::other(error))),
            None => Err(RequestError::TimedOut.into()),
        };
        let upgraded = upgraded.inspect_err(|error| self.told.failed(error))?;
        // The stream gives the bytes first that hyper read after the request.
        Ok(self.ws.connected(UpgradedIo { upgraded, max_write: self.max_write }))
    }
}

/// Resolves to the WebSocket once hyper has sent the response that opens it.
///
/// Await it in a task of its own: it waits for the response that the handler has yet to return.
/// Dropping it closes the connection.
///
/// # Errors
///
/// [`Error::Io`] if hyper upgraded nothing: the client went away, the response was not sent, or the
/// connection is not served with upgrades. [`Error::Request`] with [`RequestError::TimedOut`] after
/// [`Config::handshake_timeout`].
#[must_use = "there is no WebSocket unless it is awaited"]
pub struct Upgrading(Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>);

impl Upgrading {
    /// Makes the WebSocket one of a group: it is counted, closed when the group is shut down, and its end is told.
    ///
    /// ```no_run
    /// use bowline::handshake::RequestError;
    /// use bowline::{Config, bytes::Bytes, tokio::Group};
    /// use http_body_util::Full;
    /// use hyper::{Request, Response, body::Incoming};
    ///
    /// fn serve(
    ///     group: &Group,
    ///     mut request: Request<Incoming>,
    /// ) -> Result<Response<Full<Bytes>>, RequestError> {
    ///     let (response, upgrading) = bowline::hyper::upgrade(&mut request, Config::default())?;
    ///     let upgrading = upgrading.join(group)?;
    ///     tokio::spawn(async { upgrading.await?.send("Hello").await });
    ///     Ok(response)
    /// }
    /// ```
    ///
    /// It counts until its receiving side is dropped. The program runs the handler in a task of its own, which the group
    /// cannot abort: after the time of a shutdown, only the connection is dropped. What the handler gives is not known to the group: of
    /// [`Ended::result`](crate::tokio::Ended::result), it says `Ok`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unavailable`] if the group is full or is being shut down. Answer with its response.
    pub fn join(self, group: &Group) -> Result<Self, RequestError> {
        let seat = group.enter().ok_or(RequestError::Unavailable)?;
        Ok(Self(Box::pin(async move {
            let mut ws = self.await?;
            seat.supervise(&mut ws);
            seat.returned(());
            Ok(ws)
        })))
    }
}

impl Future for Upgrading {
    type Output = Result<WebSocket, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// Opens a WebSocket on a connection of hyper's client, which must be driven
/// [with upgrades](https://docs.rs/hyper/1/hyper/client/conn/http1/struct.Connection.html#method.with_upgrades).
/// Gives the server's response too.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use bowline::{Config, bytes::Bytes, handshake::ClientRequest};
///
/// let stream = tokio::net::TcpStream::connect("127.0.0.1:9001").await?;
/// let io = hyper_util::rt::TokioIo::new(stream);
/// let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
/// tokio::spawn(connection.with_upgrades());
/// let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
/// let (mut ws, _) = bowline::hyper::connect::<http_body_util::Empty<Bytes>>(
///     &mut sender, &request, Config::default(),
/// ).await?;
/// ws.send("Hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// The whole handshake takes at most [`Config::handshake_timeout`]. hyper's settings bound the head of the
/// response. The host of the URL only goes into the request; nothing connects to it.
///
/// Dropping the future gives up the attempt. If the request was sent, it gives up the connection too.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, or what is wrong with its answer; a head beyond hyper's
/// limits is [`ConnectError::Malformed`]. [`Error::Invalid`] for a path that hyper cannot send,
/// [`Error::Io`].
pub async fn connect<B: Body + Default + 'static>(
    sender: &mut SendRequest<B>,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket, Response), Error> {
    Handshake::client(request).opening(Box::pin(open(sender, request, config))).await
}

async fn open<B: Body + Default + 'static>(
    sender: &mut SendRequest<B>,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket, Response), Error> {
    let clock = Clock::start();
    let (mut handshake, headers) = ClientHandshake::start(request, config, seed()?);
    let deadline = handshake.deadline(clock.now());
    let mut message = ::http::Request::new(B::default());
    *message.uri_mut() = request
        .target()
        .parse()
        .map_err(|_| InvalidRequest::Url("a character in the path that hyper cannot send"))?;
    http::put(&headers, message.headers_mut());
    let exchange = async {
        sender.ready().await?;
        sender.send_request(message).await
    };
    let mut message = match clock.within(deadline, exchange).await {
        Some(result) => result.map_err(failed)?,
        None => return Err(ConnectError::TimedOut.into()),
    };
    let response = http::received(&message);
    if response.status() == 101 && message.version() != ::http::Version::HTTP_11 {
        return Err(ConnectError::Malformed.into());
    }
    let Some((connection, response)) = handshake.answer(response)? else {
        let body = read_refusal(&mut handshake, &clock, message.into_body());
        return Err(body.await.into());
    };
    match clock.within(deadline, ::hyper::upgrade::on(&mut message)).await {
        Some(upgraded) => {
            let stream = UpgradedIo::from(upgraded.map_err(failed)?);
            Ok((WebSocket::from_connection(stream, connection, RecvBuf::new()), response))
        }
        None => Err(ConnectError::TimedOut.into()),
    }
}

/// The refusal, with as much of its body as comes in time.
async fn read_refusal(
    handshake: &mut ClientHandshake,
    clock: &Clock,
    mut body: Incoming,
) -> ConnectError {
    let deadline = handshake.deadline(clock.now());
    let read = async {
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if !handshake.refusal_body(&frame.into_data().unwrap_or_default()) {
                return;
            }
        }
    };
    clock.within(deadline, read).await;
    handshake.refused()
}

fn failed(error: ::hyper::Error) -> Error {
    if error.is_parse() {
        ConnectError::Malformed.into()
    } else if error.is_incomplete_message() || is_reset(&error) {
        ConnectError::Gone.into()
    } else {
        Error::Io(io::Error::other(error))
    }
}

/// Whether the socket failed because the peer is gone.
fn is_reset(error: &::hyper::Error) -> bool {
    let mut cause = core::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(is_peer_gone) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The stream of an upgraded connection, for tokio. The bytes that hyper had already read come first.
#[derive(Debug)]
pub struct UpgradedIo {
    upgraded: Upgraded,
    max_write: usize,
}

/// hyper copies a write to an HTTP/2 stream whatever its size, and together with `h2` it holds up to four of
/// them. So at most 64 KiB wait for a peer that does not read, in addition to the send queue.
const MAX_HTTP2_WRITE: usize = 16 << 10;

impl From<Upgraded> for UpgradedIo {
    fn from(upgraded: Upgraded) -> Self {
        Self { upgraded, max_write: usize::MAX }
    }
}

impl From<UpgradedIo> for Upgraded {
    /// For its `downcast`.
    fn from(io: UpgradedIo) -> Self {
        io.upgraded
    }
}

impl AsyncRead for UpgradedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // This is no work if the buffer is initialised, as the adapter's buffers are.
        let mut room = ::hyper::rt::ReadBuf::new(buf.initialize_unfilled());
        ready!(Pin::new(&mut self.upgraded).poll_read(cx, room.unfilled()))
            .map_err(stream_error)?;
        let n = room.filled().len();
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpgradedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let buf = &buf[..buf.len().min(self.max_write)];
        Pin::new(&mut self.upgraded).poll_write(cx, buf).map_err(stream_error)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.max_write < usize::MAX {
            // An HTTP/2 stream takes one slice at a time.
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            return self.poll_write(cx, first);
        }
        Pin::new(&mut self.upgraded).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.upgraded.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_flush(cx).map_err(stream_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_shutdown(cx).map_err(stream_error)
    }
}

/// Gives an error of hyper the kind that says whether the peer is gone. hyper gives most errors of HTTP/2
/// without one.
#[cfg(feature = "http2")]
fn stream_error(error: io::Error) -> io::Error {
    let mut cause = error.get_ref().map(|inner| inner as &(dyn core::error::Error + 'static));
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<::h2::Error>() {
            return io::Error::new(crate::embed::http2::kind(inner), error);
        }
        cause = inner.source();
    }
    error
}

#[cfg(not(feature = "http2"))]
fn stream_error(error: io::Error) -> io::Error {
    error
}

const _: () = {
    const fn is_send_and_unpin<T: Send + Unpin>() {}
    is_send_and_unpin::<WebSocket>();
    is_send_and_unpin::<Upgrading>();
};
