#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "connect")]
mod connect;
mod io;
#[cfg(feature = "tower")]
pub mod layer;
mod stream;
mod tls;

use std::future::poll_fn;
use std::io::{Empty, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, stream::FusedStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeRole;
use tungstenite::handshake::client::{ClientHandshake, Response};
use tungstenite::handshake::server::{Callback, NoCallback, ServerHandshake};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

pub use tungstenite;

#[cfg(all(feature = "connect", feature = "__rustls-tls"))]
pub use crate::connect::connect_async_tls_with_config;
#[cfg(feature = "connect")]
pub use crate::connect::{connect_async, connect_async_with_config};
pub use crate::stream::MaybeTlsStream;
pub use crate::tls::Connector;
#[cfg(feature = "__rustls-tls")]
pub use crate::tls::{client_async_tls, client_async_tls_with_config};

use crate::io::{Polled, Side, Writers};

/// Opens a WebSocket on a stream. For `wss` the stream has to be one with TLS.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// Why there is no WebSocket. If the server answered with another status than 101, [`Error::Http`] has its response.
pub async fn client_async<R, S>(
    request: R,
    stream: S,
) -> Result<(WebSocketStream<S>, Response), Error>
where
    R: IntoClientRequest + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    client_async_with_config(request, stream, None).await
}

/// The same with settings.
///
/// # Errors
///
/// As [`client_async`].
pub async fn client_async_with_config<R, S>(
    request: R,
    mut stream: S,
    config: Option<WebSocketConfig>,
) -> Result<(WebSocketStream<S>, Response), Error>
where
    R: IntoClientRequest + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opening = ClientHandshake::<Empty>::new(&request.into_client_request()?, config)?;
    let (context, response) = open(opening, &mut stream).await?;
    Ok((WebSocketStream::of(stream, context), response))
}

/// Reads a request and accepts it. A request that does not open a WebSocket gets an answer that says so.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// Why there is no WebSocket.
pub async fn accept_async<S>(stream: S) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_hdr_async(stream, NoCallback).await
}

/// The same with settings.
///
/// # Errors
///
/// As [`accept_async`].
pub async fn accept_async_with_config<S>(
    stream: S,
    config: Option<WebSocketConfig>,
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_hdr_async_with_config(stream, NoCallback, config).await
}

/// The same with a callback, which looks at the request and changes or refuses the response.
///
/// # Errors
///
/// As [`accept_async`]. [`Error::Http`] if the callback refused.
pub async fn accept_hdr_async<S, C>(stream: S, callback: C) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callback + Unpin,
{
    accept_hdr_async_with_config(stream, callback, None).await
}

/// The same with a callback and settings.
///
/// # Errors
///
/// As [`accept_hdr_async`].
pub async fn accept_hdr_async_with_config<S, C>(
    mut stream: S,
    callback: C,
    config: Option<WebSocketConfig>,
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callback + Unpin,
{
    let context = open(ServerHandshake::<Empty, _>::new(callback, config), &mut stream).await?;
    Ok(WebSocketStream::of(stream, context))
}

/// Drives a handshake, which has the type of another stream than the one that it is given.
async fn open<R: HandshakeRole, S>(mut role: R, stream: &mut S) -> Result<R::Opened, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut writers = None;
    poll_fn(|cx| {
        let side = Side::Write;
        ready_unless_blocked(role.run(&mut Polled { stream, cx, side, writers: &mut writers }))
    })
    .await
}

fn ready_unless_blocked<T>(result: Result<T, Error>) -> Poll<Result<T, Error>> {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// A WebSocket over a stream of tokio.
///
/// It is a [`Stream`] of messages, and a [`Sink`] for them. Receiving is cancel safe: no message is lost when a future of
/// `next` is dropped. A message that `feed` or `send` took is queued, whether its future is dropped or not.
///
/// As a `Stream` it ends after the closing handshake, and after the first error.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    stream: S,
    context: WebSocketContext,
    writers: Option<Arc<Writers>>,
    /// The `Stream` has ended.
    ended: bool,
    /// Close was queued by `poll_close`.
    closing: bool,
    /// The stream takes bytes, as far as is known.
    ready: bool,
}

impl<S> WebSocketStream<S> {
    /// A connection on a stream whose handshake is over. The future never waits.
    pub async fn from_raw_socket(stream: S, role: Role, config: Option<WebSocketConfig>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Self::of(stream, WebSocketContext::new(role, config))
    }

    /// The same, where some bytes of the peer were read already.
    pub async fn from_partially_read(
        stream: S,
        part: Vec<u8>,
        role: Role,
        config: Option<WebSocketConfig>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Self::of(stream, WebSocketContext::from_partially_read(part, role, config))
    }

    fn of(stream: S, context: WebSocketContext) -> Self {
        Self { stream, context, writers: None, ended: false, closing: false, ready: true }
    }

    /// The stream. What is queued is lost.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream. Reading from it, or writing to it, tears the connection.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The settings.
    pub fn get_config(&self) -> &WebSocketConfig {
        self.context.get_config()
    }

    /// Sends Close. Go on receiving until the `Stream` ends.
    ///
    /// # Errors
    ///
    /// Those of the stream. A code that may not be sent.
    pub async fn close(&mut self, msg: Option<CloseFrame>) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.send(Message::Close(msg)).await
    }

    fn parts<'a, 'b>(
        &'a mut self,
        side: Side,
        cx: &'a mut Context<'b>,
    ) -> (&'a mut WebSocketContext, Polled<'a, 'b, S>) {
        let Self { stream, context, writers, .. } = self;
        (context, Polled { stream, cx, side, writers })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocketStream<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (context, mut stream) = self.parts(Side::Read, cx);
        match ready!(ready_unless_blocked(context.read(&mut stream))) {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(error) => {
                self.ended = true;
                Poll::Ready(match error {
                    Error::AlreadyClosed | Error::ConnectionClosed => None,
                    error => Some(Err(error)),
                })
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocketStream<S> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocketStream<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(self.as_mut().poll_flush(cx));
        self.ready = true;
        Poll::Ready(flushed)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<(), Error> {
        // Whatever wakes this: if a write has to wait, the next call is a flush, which has a task.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (context, mut stream) = self.parts(Side::Write, &mut cx);
        let written = context.write(&mut stream, item);
        match written {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.ready = false;
                Ok(())
            }
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (context, mut stream) = self.parts(Side::Write, cx);
        let flushed = ready!(ready_unless_blocked(context.flush(&mut stream)));
        self.ready = true;
        Poll::Ready(match flushed {
            // The answer to the peer's Close has left. That is no failure of flushing.
            Err(Error::ConnectionClosed) => Ok(()),
            flushed => flushed,
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let queues = !std::mem::replace(&mut self.closing, true);
        let (context, mut stream) = self.parts(Side::Write, cx);
        let closed =
            if queues { context.close(&mut stream, None) } else { context.flush(&mut stream) };
        Poll::Ready(match ready!(ready_unless_blocked(closed)) {
            Err(Error::ConnectionClosed) => Ok(()),
            closed => closed,
        })
    }
}
