//! The opening handshake over asynchronous streams.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind};

use super::WebSocket;
use super::io::{Io, Wrap, poll_read};
use crate::adapter::{Error, opening, seed};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response,
    ServerHandshake,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;
use crate::protocol::leave::LeaveStep;

/// `None` if the deadline comes first.
pub(crate) async fn within<I: Io, F: Future>(
    deadline: Option<Duration>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = I::Timer::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => I::poll_timer(&mut timer, cx, deadline).map(|()| None),
    })
    .await
}

async fn read<I: Io>(io: &mut I, input: &mut RecvBuf) -> io::Result<()> {
    poll_fn(|cx| {
        let result = poll_read(io, cx, input);
        if result.is_pending() {
            input.release();
        }
        result
    })
    .await
}

async fn write_all<I: Io>(io: &mut I, out: &mut SendBuf) -> io::Result<()> {
    poll_fn(|cx| {
        while !out.is_empty() {
            match ready!(io.poll_write(cx, out.pending()))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => out.sent(n),
            }
        }
        io.poll_flush(cx)
    })
    .await
}

/// Reads once, unless the deadline comes first. A reset ends the input as an EOF does.
async fn read_in_time<I: Io>(
    deadline: Option<Duration>,
    io: &mut I,
    input: &mut RecvBuf,
) -> Result<(), Error> {
    match within::<I, _>(deadline, read(io, input)).await {
        Some(Err(error)) => opening::read_failed(error, input),
        _ => Ok(()),
    }
}

/// Opens a WebSocket as a client. The handshake began at `start`.
pub(crate) async fn open<I: Wrap>(
    stream: I::Stream,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<I>, Response), Error> {
    let mut io = I::wrap(stream);
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(start);
    match within::<I, _>(deadline, write_all(&mut io, &mut out)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(opening::write_failed(error, ConnectError::Gone)),
        None => return Err(ConnectError::TimedOut.into()),
    }
    loop {
        if let Some((connection, response)) = handshake.read(&mut input)? {
            let stream = io.into_inner();
            return Ok((WebSocket::from_connection(stream, connection, input), response));
        }
        handshake.on_time(I::now())?;
        // If the deadline comes first, `on_time` says so. It is nearer once a refusal has come.
        let deadline = handshake.deadline(I::now());
        read_in_time(deadline, &mut io, &mut input).await?;
    }
}

/// A request that was read but not answered yet.
///
/// ```no_run
/// use bowline::handshake::{Accept, Response};
/// use bowline::tokio::Incoming;
/// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), bowline::Error> {
/// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
/// if !incoming.request().is_upgrade() {
///     return incoming.respond(&Response::new(200).body("not a WebSocket, but hello")).await;
/// }
/// let protocol = incoming.request().select_subprotocol(&["chat.v2", "chat"]).map(String::from);
/// let mut ws = incoming.accept(Accept::new().subprotocol(protocol.as_deref())).await?;
/// # Ok(())
/// # }
/// ```
pub struct Incoming<I>(Box<Arrived<I>>);

struct Arrived<I> {
    io: I,
    input: RecvBuf,
    request: Request,
    handshake: ServerHandshake,
    config: Config,
}

impl<I> fmt::Debug for Incoming<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("request", &self.0.request).finish_non_exhaustive()
    }
}

impl<I: Wrap> Incoming<I> {
    /// Reads a request. If it is not well-formed HTTP/1.1, too big or too slow, it is answered here.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub fn read(stream: I::Stream, config: Config) -> impl Future<Output = Result<Self, Error>> {
        // The future has an allocation of its own. Otherwise the task would keep room for it as long as it runs.
        Box::pin(Self::try_read(stream, config))
    }

    async fn try_read(stream: I::Stream, config: Config) -> Result<Self, Error> {
        let mut io = I::wrap(stream);
        let mut input = RecvBuf::new();
        let mut handshake = ServerHandshake::new(config.clone());
        let deadline = handshake.deadline(I::now());
        loop {
            let result = match handshake.read(&mut input) {
                Ok(Some(request)) => {
                    let arrived = Arrived { io, input, request, handshake, config };
                    return Ok(Self(Box::new(arrived)));
                }
                Ok(None) => handshake.on_time(I::now()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                if error != RequestError::Gone {
                    // An error while answering does not change what was wrong with the request.
                    let response = error.response();
                    let _ = Box::pin(respond(&mut io, &handshake, &response)).await;
                }
                return Err(error.into());
            }
            read_in_time(deadline, &mut io, &mut input).await?;
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Accepts the request if it keeps to RFC 6455 §4.2.1 and the origin policy, and otherwise refuses it.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub fn accept(self, accept: Accept) -> impl Future<Output = Result<WebSocket<I>, Error>> {
        // As in `read`.
        Box::pin(self.try_accept(accept))
    }

    async fn try_accept(self, accept: Accept) -> Result<WebSocket<I>, Error> {
        let accepted = match self.0.request.upgrade(&self.0.config) {
            Ok(upgrade) => upgrade.accept(accept),
            Err(error) => {
                let _ = self.respond(&error.response()).await;
                return Err(error.into());
            }
        };
        let (connection, response) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = self.respond(&Response::new(500)).await;
                return Err(error.into());
            }
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        let Arrived { mut io, input, mut handshake, .. } = *self.0;
        let deadline = handshake.deadline(I::now());
        match within::<I, _>(deadline, write_all(&mut io, &mut out)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(opening::write_failed(error, RequestError::Gone)),
            None => return Err(RequestError::TimedOut.into()),
        }
        Ok(WebSocket::from_connection(io.into_inner(), connection, input))
    }

    /// Answers with something else than a WebSocket, and closes the connection so that the answer arrives.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn respond(mut self, response: &Response) -> Result<(), Error> {
        let Arrived { io, handshake, .. } = &mut *self.0;
        Box::pin(respond(io, handshake, response)).await
    }
}

/// Answers with something else than a WebSocket, and leaves the socket so that the answer arrives.
async fn respond<I: Io>(
    io: &mut I,
    handshake: &ServerHandshake,
    response: &Response,
) -> Result<(), Error> {
    let mut leave = handshake.leave();
    let deadline = leave.deadline(I::now());
    let steps = async {
        let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
        handshake.respond(response, &mut out);
        loop {
            match leave.step() {
                LeaveStep::Flush => {
                    write_all(io, &mut out).await?;
                    leave.done();
                }
                LeaveStep::Shutdown => {
                    poll_fn(|cx| io.poll_shutdown(cx)).await?;
                    leave.done();
                }
                LeaveStep::Drain => {
                    read(io, &mut input).await?;
                    leave.discard(input.discard());
                }
                LeaveStep::Over => return Ok(()),
            }
        }
    };
    // The client had the time to read the answer, whether it did or not.
    within::<I, _>(deadline, steps).await.unwrap_or(Ok(()))
}
