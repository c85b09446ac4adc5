//! The opening handshake over asynchronous streams.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind};

use ::futures_io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use super::io::{Timer, now, poll_read};
use crate::adapter::{Error, opening, seed};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response,
    ServerHandshake,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// `None` if the deadline comes first.
async fn within<F: Future>(deadline: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = Timer::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll(cx, deadline).map(|()| None),
    })
    .await
}

async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut RecvBuf) -> io::Result<()> {
    poll_fn(|cx| {
        let result = poll_read(stream, cx, input);
        if result.is_pending() {
            input.release();
        }
        result
    })
    .await
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), out: &mut SendBuf) -> io::Result<()> {
    poll_fn(|cx| {
        while !out.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, out.pending()))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => out.sent(n),
            }
        }
        Pin::new(&mut *stream).poll_flush(cx)
    })
    .await
}

/// Opens a WebSocket over a stream that is connected already, with headers, subprotocols, origin and
/// limits of your own. Gives the server's response too: its headers, and the subprotocol that it selected.
///
/// For a `wss` URL give a stream that speaks TLS: none is made here, and the URL only names the host and
/// the path. On TCP, set `TCP_NODELAY` before. The handshake takes at most
/// [`Config::handshake_timeout`]. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`].
pub async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(now());
    match within(deadline, write_all(&mut stream, &mut out)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(opening::write_failed(error, ConnectError::Gone)),
        None => return Err(ConnectError::TimedOut.into()),
    }
    loop {
        if let Some((connection, response)) = handshake.read(&mut input)? {
            return Ok((WebSocket::from_connection(stream, connection, input), response));
        }
        handshake.on_time(now())?;
        // That the deadline comes first is for `on_time` to tell. It is nearer once a refusal has come.
        let deadline = handshake.deadline(now());
        read_in_time(deadline, &mut stream, &mut input).await?;
    }
}

/// Reads once, unless the deadline comes first. A reset ends the input as an EOF does.
async fn read_in_time(
    deadline: Option<Duration>,
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut RecvBuf,
) -> Result<(), Error> {
    match within(deadline, read(stream, input)).await {
        Some(Err(error)) => opening::read_failed(error, input),
        _ => Ok(()),
    }
}

/// Accepts a client that asks for a WebSocket, whatever the path; refuses, with the right HTTP
/// status, what is no valid request or comes from a foreign origin. For more, see [`Incoming`].
///
/// On TCP, set `TCP_NODELAY` before. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Request`] if there was no such request; the client has been told then. [`Error::Io`].
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Config,
) -> Result<WebSocket<S>, Error> {
    Incoming::read(stream, config).await?.accept(Accept::new()).await
}

/// A request that was read and not answered yet.
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
#[derive(Debug)]
pub struct Incoming<S>(Box<Arrived<S>>);

#[derive(Debug)]
struct Arrived<S> {
    stream: S,
    input: RecvBuf,
    request: Request,
    handshake: ServerHandshake,
    config: Config,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Reads a request. What is no well-formed HTTP/1.1, or too big, or too slow, is answered here.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub async fn read(mut stream: S, config: Config) -> Result<Self, Error> {
        let mut input = RecvBuf::new();
        let mut handshake = ServerHandshake::new(config.clone());
        let deadline = handshake.deadline(now());
        loop {
            let result = match handshake.read(&mut input) {
                Ok(Some(request)) => {
                    let arrived = Arrived { stream, input, request, handshake, config };
                    return Ok(Self(Box::new(arrived)));
                }
                Ok(None) => handshake.on_time(now()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                if error != RequestError::Gone {
                    // That the client cannot be told does not change what it did.
                    let _ = respond(&mut stream, &handshake, &error.response()).await;
                }
                return Err(error.into());
            }
            read_in_time(deadline, &mut stream, &mut input).await?;
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Accepts it, if it keeps to RFC 6455 §4.2.1 and the origin policy; else refuses it.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub async fn accept(self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let upgrade = match self.0.request.upgrade(&self.0.config) {
            Ok(upgrade) => upgrade,
            Err(error) => {
                let _ = self.respond(&error.response()).await;
                return Err(error.into());
            }
        };
        let (connection, response) = match upgrade.accept(accept) {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = self.respond(&Response::new(500)).await;
                return Err(error.into());
            }
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        let Arrived { mut stream, input, mut handshake, .. } = *self.0;
        let deadline = handshake.deadline(now());
        match within(deadline, write_all(&mut stream, &mut out)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(opening::write_failed(error, RequestError::Gone)),
            None => return Err(RequestError::TimedOut.into()),
        }
        Ok(WebSocket::from_connection(stream, connection, input))
    }

    /// Answers with something else than a WebSocket, and closes the connection, in a way that lets
    /// the answer arrive.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn respond(mut self, response: &Response) -> Result<(), Error> {
        let Arrived { stream, handshake, .. } = &mut *self.0;
        respond(stream, handshake, response).await
    }
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    handshake: &ServerHandshake,
    response: &Response,
) -> Result<(), Error> {
    let mut linger = handshake.linger();
    let deadline = linger.deadline(now());
    let leave = async {
        let mut out = SendBuf::new();
        handshake.respond(response, &mut out);
        write_all(stream, &mut out).await?;
        poll_fn(|cx| Pin::new(&mut *stream).poll_close(cx)).await?;
        let mut input = RecvBuf::new();
        while !linger.is_done() {
            read(stream, &mut input).await?;
            linger.discard(input.discard());
        }
        Ok(())
    };
    // The client has had its time, whether or not it read the answer.
    within(deadline, leave).await.unwrap_or(Ok(()))
}
