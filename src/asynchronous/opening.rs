//! The opening handshake over asynchronous streams.

use core::fmt;
use core::future::{Future, poll_fn};
use core::task::{Context, Poll, ready};
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
use crate::protocol::connection::Connection;
use crate::protocol::leave::{Leave, LeaveStep};

/// Reads once. If the stream has nothing yet, the buffer is given back. A reset ends the input as an EOF does.
fn poll_input<I: Io>(
    io: &mut I,
    cx: &mut Context<'_>,
    input: &mut RecvBuf,
) -> Poll<Result<(), Error>> {
    match poll_read(io, cx, input) {
        Poll::Ready(result) => Poll::Ready(result.or_else(|e| opening::read_failed(e, input))),
        Poll::Pending => {
            input.release();
            Poll::Pending
        }
    }
}

fn poll_write_all<I: Io>(
    io: &mut I,
    cx: &mut Context<'_>,
    out: &mut SendBuf,
) -> Poll<io::Result<()>> {
    while !out.is_empty() {
        match ready!(io.poll_write(cx, out.pending()))? {
            0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
            n => out.sent(n),
        }
    }
    io.poll_flush(cx)
}

/// The same, until the deadline: `None` if that comes first.
fn poll_write_by<I: Io>(
    io: &mut I,
    cx: &mut Context<'_>,
    out: &mut SendBuf,
    timer: &mut I::Timer,
    deadline: Option<Duration>,
) -> Poll<Option<io::Result<()>>> {
    match poll_write_all(io, cx, out) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => I::poll_timer(timer, cx, deadline).map(|()| None),
    }
}

/// Opens a WebSocket as a client; the handshake began at `start`.
pub(crate) async fn open<I: Wrap>(
    stream: I::Stream,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<I>, Response), Error> {
    let mut io = I::wrap(stream);
    let mut timer = I::Timer::default();
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(start);
    match poll_fn(|cx| poll_write_by(&mut io, cx, &mut out, &mut timer, deadline)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(opening::write_failed(error, ConnectError::Gone)),
        None => return Err(ConnectError::TimedOut.into()),
    }
    let opened = poll_fn(|cx| {
        loop {
            if let Some(opened) = handshake.read(&mut input)? {
                return Poll::Ready(Ok::<_, Error>(opened));
            }
            handshake.on_time(I::now())?;
            match poll_input(&mut io, cx, &mut input) {
                Poll::Ready(result) => result?,
                // If the deadline comes first, `on_time` says so. It is nearer once a refusal has come.
                Poll::Pending => {
                    let deadline = handshake.deadline(I::now());
                    ready!(I::poll_timer(&mut timer, cx, deadline));
                }
            }
        }
    });
    let (connection, response) = opened.await?;
    Ok((WebSocket::from_connection(io.into_inner(), connection, input), response))
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
pub struct Incoming<I: Io>(Box<Arrived<I>>);

/// The handshake has an allocation of its own. Otherwise the task would keep room for it as long as it runs.
struct Arrived<I: Io> {
    io: I,
    input: RecvBuf,
    out: SendBuf,
    timer: I::Timer,
    handshake: ServerHandshake,
    config: Config,
    request: Option<Request>,
    connection: Option<Connection>,
}

impl<I: Io> fmt::Debug for Incoming<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("request", &self.0.request).finish_non_exhaustive()
    }
}

impl<I: Io> Arrived<I> {
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let deadline = self.handshake.deadline(I::now());
        loop {
            self.request = self.handshake.read(&mut self.input)?;
            if self.request.is_some() {
                return Poll::Ready(Ok(()));
            }
            self.handshake.on_time(I::now())?;
            match poll_input(&mut self.io, cx, &mut self.input) {
                Poll::Ready(result) => result?,
                Poll::Pending => ready!(I::poll_timer(&mut self.timer, cx, deadline)),
            }
        }
    }

    fn poll_respond(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let deadline = self.handshake.deadline(I::now());
        let Self { io, out, timer, .. } = self;
        Poll::Ready(match ready!(poll_write_by(io, cx, out, timer, deadline)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(opening::write_failed(error, RequestError::Gone)),
            None => Err(RequestError::TimedOut.into()),
        })
    }

    /// Accepts the request and queues the response. An error comes with the response that the client gets.
    fn accept(&mut self, accept: Accept) -> Result<(), Box<(Error, Response)>> {
        let upgrade = self.request().upgrade(&self.config);
        let upgrade = upgrade.map_err(|error| Box::new((error.into(), error.response())))?;
        let accepted = upgrade.accept(accept);
        let (connection, response) =
            accepted.map_err(|error| Box::new((error.into(), Response::new(500))))?;
        response.encode(&mut self.out);
        self.connection = Some(connection);
        Ok(())
    }

    fn request(&self) -> &Request {
        match &self.request {
            Some(request) => request,
            None => unreachable!("an `Incoming` is made once the request is there"),
        }
    }

    /// Answers with something else than a WebSocket, and leaves the socket so that the answer arrives.
    async fn respond(&mut self, response: &Response) -> Result<(), Error> {
        let mut leave = self.handshake.leave();
        let deadline = leave.deadline(I::now());
        self.handshake.respond(response, &mut self.out);
        poll_fn(|cx| match self.poll_leave(cx, &mut leave) {
            Poll::Ready(result) => Poll::Ready(result),
            // The client had the time to read the answer, whether it did or not.
            Poll::Pending => I::poll_timer(&mut self.timer, cx, deadline).map(Ok),
        })
        .await
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>, leave: &mut Leave) -> Poll<Result<(), Error>> {
        loop {
            match leave.step() {
                LeaveStep::Flush => {
                    ready!(poll_write_all(&mut self.io, cx, &mut self.out))?;
                    leave.done();
                }
                LeaveStep::Shutdown => {
                    ready!(self.io.poll_shutdown(cx))?;
                    leave.done();
                }
                LeaveStep::Drain => {
                    ready!(poll_input(&mut self.io, cx, &mut self.input))?;
                    leave.discard(self.input.discard());
                }
                LeaveStep::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<I: Wrap> Incoming<I> {
    /// Reads a request. If it is not well-formed HTTP/1.1, too big or too slow, it is answered here.
    ///
    /// Dropping the future drops the stream.
    ///
    /// ```no_run
    /// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), bowline::Error> {
    /// use bowline::tokio::Incoming;
    /// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
    /// println!("{} asks for {}", incoming.request().host(), incoming.request().path());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub fn read(stream: I::Stream, config: Config) -> impl Future<Output = Result<Self, Error>> {
        let mut arrived = Box::new(Arrived {
            io: I::wrap(stream),
            input: RecvBuf::new(),
            out: SendBuf::new(),
            timer: I::Timer::default(),
            handshake: ServerHandshake::new(config.clone()),
            config,
            request: None,
            connection: None,
        });
        async move {
            let Err(error) = poll_fn(|cx| arrived.poll_request(cx)).await else {
                return Ok(Self(arrived));
            };
            if let Error::Request(refused) = &error
                && *refused != RequestError::Gone
            {
                // An error while answering does not change what was wrong with the request.
                let response = Box::new(refused.response());
                let _ = Box::pin(arrived.respond(&response)).await;
            }
            Err(error)
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        self.0.request()
    }

    /// Accepts the request if it keeps to RFC 6455 §4.2.1 and the origin policy, and otherwise refuses it.
    ///
    /// Dropping the future drops the stream.
    ///
    /// ```no_run
    /// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), bowline::Error> {
    /// use bowline::{handshake::Accept, tokio::Incoming};
    /// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
    /// let mut ws = incoming.accept(Accept::new()).await?;
    /// ws.send("Hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub fn accept(self, accept: Accept) -> impl Future<Output = Result<WebSocket<I>, Error>> {
        let mut arrived = self.0;
        let accepted = arrived.accept(accept);
        async move {
            if let Err(refused) = accepted {
                let _ = Box::pin(arrived.respond(&refused.1)).await;
                return Err(refused.0);
            }
            poll_fn(|cx| arrived.poll_respond(cx)).await?;
            let Arrived { io, input, connection, .. } = *arrived;
            let connection = connection.ok_or(io::Error::from(ErrorKind::NotConnected))?;
            Ok(WebSocket::from_connection(io.into_inner(), connection, input))
        }
    }

    /// Answers with something else than a WebSocket, and closes the connection so that the answer arrives.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn respond(mut self, response: &Response) -> Result<(), Error> {
        Box::pin(self.0.respond(response)).await
    }
}
