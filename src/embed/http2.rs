//! WebSockets over HTTP/2 (RFC 8441), for clients. A connection of the crate `h2` carries many of them at
//! once, each in a stream of its own, as well as ordinary requests.
//!
//! ```no_run
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! use bowline::{Config, handshake::ClientRequest, http2::Client};
//!
//! let stream = tokio::net::TcpStream::connect("127.0.0.1:9001").await?;
//! let (sender, mut connection) = bowline::h2::client::handshake(stream).await?;
//! let client = Client::new(sender, &mut connection);
//! tokio::spawn(connection);
//! let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
//! let (mut ws, _) = client.connect(&request, Config::default()).await?;
//! ws.send("Hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! It uses `h2` and not hyper's client, because a client must wait for the server's
//! `SETTINGS_ENABLE_CONNECT_PROTOCOL` before it asks for a WebSocket (RFC 8441 §3). hyper has no way to wait
//! for that.
//!
//! A server serves WebSockets over HTTP/2 with `hyper` or `axum`, as over HTTP/1.1.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use ::h2::client::{Connection, ResponseFuture, SendRequest};
use ::h2::ext::Protocol;
use ::h2::{Ping, PingPong, RecvStream, SendStream};
use ::http::{Method, Uri, Version};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::sync::Mutex;
use bytes::{Buf, Bytes};

use crate::adapter::trace::Handshake;
use crate::adapter::{Error, seed};
use crate::embed::http;
use crate::embed::time::Clock;
use crate::handshake::{ClientHandshake, ClientRequest, ConnectError, InvalidRequest, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;

/// A WebSocket on a stream of an HTTP/2 connection.
pub type WebSocket = crate::tokio::WebSocket<Http2Stream>;

/// At most this much of the connection's window is asked for at a time, so that streams share it.
const MAX_WRITE: usize = 64 << 10;

/// Opens WebSockets on an HTTP/2 connection. Clones use the same connection.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Bytes>,
    settings: Arc<Mutex<Settings>>,
}

/// The server's settings are the first frame that it sends, so they have come when it has answered a
/// ping. `h2` has no other way to wait for them.
enum Settings {
    Unasked(PingPong),
    Asked(PingPong),
    Known,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Opens WebSockets on this connection, which must be driven: see the module. A clone of the sender
    /// may send ordinary requests at the same time.
    ///
    /// It takes the `ping_pong` of the connection, to wait for the server's settings. If that was taken
    /// before, [`connect`](Self::connect) does not wait for them, and fails until they have come.
    pub fn new<T>(sender: SendRequest<Bytes>, connection: &mut Connection<T, Bytes>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let settings = connection.ping_pong().map_or(Settings::Known, Settings::Unasked);
        Self { sender, settings: Arc::new(Mutex::new(settings)) }
    }

    /// Opens a WebSocket. Gives the server's response too. The URL's host becomes `:authority`; nothing
    /// connects to it. `wss` becomes the scheme `https`, and `ws` becomes `http`.
    ///
    /// The whole handshake takes at most [`Config::handshake_timeout`]. If the server allows no more streams,
    /// it waits for one. The settings of `h2` bound the head of the response.
    ///
    /// Cancel safe: dropping the future resets the stream, if there is one already.
    ///
    /// ```no_run
    /// # async fn connect(client: bowline::http2::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use bowline::{Config, handshake::ClientRequest};
    /// let request = ClientRequest::new("wss://example.com/chat")?.subprotocol("chat.v2")?;
    /// let (mut ws, response) = client.connect(&request, Config::default()).await?;
    /// println!("{:?}", response.subprotocol());
    /// ws.send("Hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] with [`ConnectError::NotEnabled`] if the server knows no WebSockets over
    /// HTTP/2, the server's refusal (a status other than 2xx), or what is wrong with its answer.
    /// [`Error::Io`] if it reset the stream, the connection failed, or `h2` cannot send a header.
    pub async fn connect(
        &self,
        request: &ClientRequest,
        config: Config,
    ) -> Result<(WebSocket, Response), Error> {
        let opening = Box::pin(self.open(request, config));
        Handshake::client_over_http2(request).opening(opening).await
    }

    async fn open(
        &self,
        request: &ClientRequest,
        config: Config,
    ) -> Result<(WebSocket, Response), Error> {
        let clock = Clock::start();
        let (mut handshake, headers) =
            ClientHandshake::start_extended_connect(request, config, seed()?);
        let deadline = handshake.deadline(clock.now());
        let mut message = ::http::Request::new(());
        *message.method_mut() = Method::CONNECT;
        *message.version_mut() = Version::HTTP_2;
        *message.uri_mut() = Uri::builder()
            .scheme(if request.is_secure() { "https" } else { "http" })
            .authority(request.authority())
            .path_and_query(request.target())
            .build()
            .map_err(|_| InvalidRequest::Url("a character that HTTP/2 cannot send"))?;
        message.extensions_mut().insert(Protocol::from_static("websocket"));
        http::put(&headers, message.headers_mut());

        let exchange = async {
            self.wait_for_settings().await?;
            let mut sender = self.sender.clone().ready().await.map_err(failed)?;
            // RFC 8441 §3: "Upon receipt of SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of 1, a client MAY
            // use the Extended CONNECT".
            if !sender.is_extended_connect_protocol_enabled() {
                return Err(ConnectError::NotEnabled.into());
            }
            let (response, send) = sender.send_request(message, false).map_err(failed)?;
            Ok::<_, Error>((final_response(response, &mut handshake).await?, send))
        };
        let (message, send) = match clock.within(deadline, exchange).await {
            Some(result) => result?,
            None => return Err(ConnectError::TimedOut.into()),
        };
        let response = http::received(&message);
        let recv = message.into_body();
        let Some((connection, response)) = handshake.answer(response)? else {
            return Err(read_refusal(&mut handshake, &clock, recv).await.into());
        };
        let stream = Http2Stream { send, recv, unread: Bytes::new() };
        Ok((WebSocket::from_connection(stream, connection, RecvBuf::new()), response))
    }

    async fn wait_for_settings(&self) -> Result<(), Error> {
        if self.sender.is_extended_connect_protocol_enabled() {
            return Ok(());
        }
        let mut settings = self.settings.lock().await;
        if let Settings::Unasked(_) = *settings
            && let Settings::Unasked(mut ping) = core::mem::replace(&mut *settings, Settings::Known)
        {
            ping.send_ping(Ping::opaque()).map_err(failed)?;
            *settings = Settings::Asked(ping);
        }
        // A caller that gives up here leaves the wait for the pong to the next one.
        if let Settings::Asked(ping) = &mut *settings {
            poll_fn(|cx| ping.poll_pong(cx)).await.map_err(failed)?;
            *settings = Settings::Known;
        }
        Ok(())
    }
}

/// The final response, after the interim ones.
async fn final_response(
    mut response: ResponseFuture,
    handshake: &mut ClientHandshake,
) -> Result<::http::Response<RecvStream>, Error> {
    poll_fn(|cx| {
        while let Poll::Ready(Some(early)) = response.poll_informational(cx) {
            handshake.answer(http::received(&early.map_err(failed)?))?;
        }
        Pin::new(&mut response).poll(cx).map_err(failed)
    })
    .await
}

/// The refusal, with as much of its body as comes in time.
async fn read_refusal(
    handshake: &mut ClientHandshake,
    clock: &Clock,
    mut body: RecvStream,
) -> ConnectError {
    let deadline = handshake.deadline(clock.now());
    let read = async {
        while let Some(Ok(data)) = body.data().await {
            if !handshake.refusal_body(&data) {
                return;
            }
            let _ = body.flow_control().release_capacity(data.len());
        }
    };
    clock.within(deadline, read).await;
    handshake.refused()
}

/// Why there is no response.
fn failed(error: ::h2::Error) -> Error {
    // The peer broke a rule of HTTP/2, and `h2` has told it.
    if error.is_library() { ConnectError::Malformed.into() } else { Error::Io(io_error(error)) }
}

fn io_error(error: ::h2::Error) -> io::Error {
    io::Error::new(kind(&error), error)
}

/// The kind of I/O error when a stream or its connection ended in another way than by END_STREAM.
pub(crate) fn kind(error: &::h2::Error) -> io::ErrorKind {
    match error.get_io() {
        Some(error) => error.kind(),
        // RFC 8441 §5: "RST exceptions are represented with the RST_STREAM frame".
        None if error.is_reset() || error.is_go_away() => io::ErrorKind::ConnectionReset,
        None => io::ErrorKind::ConnectionAborted,
    }
}

/// An HTTP/2 stream as the stream of a WebSocket (RFC 8441 §5). END_STREAM is its end, and RST_STREAM is a
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset).
///
/// Dropping it resets the stream with CANCEL. The task of the connection then drops what it has not sent yet.
/// So close the WebSocket first, if everything is to arrive.
pub struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// The rest of the last DATA frame, which was not read yet. Its window is given back as it is read.
    unread: Bytes,
}

impl fmt::Debug for Http2Stream {
    /// Without the received bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(data) => self.unread = data.map_err(io_error)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..n]);
        self.unread.advance(n);
        self.recv.flow_control().release_capacity(n).map_err(io_error)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(buf.len().min(MAX_WRITE));
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => drop(capacity.map_err(io_error)?),
                // It is closed, or was reset.
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        // No more than the window takes is written, so nothing that was written waits for the peer.
        let n = buf.len().min(self.send.capacity()).min(MAX_WRITE);
        self.send.send_data(Bytes::copy_from_slice(&buf[..n]), false).map_err(io_error)?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The task of the connection sends it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An error means that it was reset, or shut down before.
        let _ = self.send.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}

const _: () = {
    const fn is_send_and_unpin<T: Send + Unpin>() {}
    is_send_and_unpin::<WebSocket>();
    is_send_and_unpin::<Client>();
};
