//! The opening handshake over asynchronous streams.

use core::fmt;
use core::future::{Future, poll_fn};
#[cfg(feature = "tokio")]
use core::net::SocketAddr;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind};

use super::WebSocket;
use super::io::{Io, Wrap, poll_read};
use crate::adapter::trace::Handshake;
use crate::adapter::{Error, is_peer_gone, opening, seed};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Proxy, ProxyError, Request, RequestError,
    Response, ServerHandshake, Tunnel,
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

/// Asks the proxy at the other end of the stream for a connection to the host of the request, and gives the stream back.
pub(crate) async fn tunnel<I: Wrap>(
    stream: I::Stream,
    proxy: &Proxy,
    request: &ClientRequest,
    config: Config,
) -> Result<I::Stream, Error> {
    let target = (request.host(), request.port());
    match tunnel_to::<I>(stream, proxy, target, &request.config(config), I::now()).await? {
        (stream, first) if first.unread().is_empty() => Ok(stream),
        _ => Err(Error::of_proxy(proxy, ProxyError::EarlyBytes)),
    }
}

/// The same, for any target, and with the first bytes of the server, if some have come. It all began at `start`.
pub(crate) async fn tunnel_to<I: Wrap>(
    stream: I::Stream,
    proxy: &Proxy,
    (host, port): (&str, u16),
    config: &Config,
    start: Duration,
) -> Result<(I::Stream, RecvBuf), Error> {
    let mut io = I::wrap(stream);
    let mut timer = I::Timer::default();
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut tunnel = Tunnel::new(proxy, host, port, config.clone(), &mut out)?;
    tunnel.deadline(start);
    let refused = |error| Error::of_proxy(proxy, error);
    let mut is_mute = false;
    let opened = poll_fn(|cx| {
        loop {
            if tunnel.read(&mut input, &mut out).map_err(refused)? {
                return Poll::Ready(Ok::<_, Error>(()));
            }
            tunnel.on_time(I::now()).map_err(refused)?;
            let moved = match poll_write_all(&mut io, cx, &mut out) {
                Poll::Ready(Ok(())) => poll_input(&mut io, cx, &mut input),
                // The proxy may have refused before it read everything, and its answer may have come.
                Poll::Ready(Err(error)) if is_peer_gone(&error) => {
                    (is_mute, out) = (true, SendBuf::new());
                    poll_input(&mut io, cx, &mut input)
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => Poll::Pending,
            };
            match moved {
                Poll::Ready(result) => result?,
                Poll::Pending if is_mute => return Poll::Ready(Err(refused(ProxyError::Gone))),
                Poll::Pending => {
                    let deadline = tunnel.deadline(I::now());
                    ready!(I::poll_timer(&mut timer, cx, deadline));
                }
            }
        }
    });
    opened.await?;
    Ok((io.into_inner(), input))
}

/// Opens a WebSocket as a client; the handshake began at `start`. The first bytes of the server may have come.
pub(crate) async fn open<I: Wrap>(
    stream: I::Stream,
    mut input: RecvBuf,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<I>, Response), Error> {
    let mut io = I::wrap(stream);
    let mut timer = I::Timer::default();
    let mut out = SendBuf::new();
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(start);
    let is_mute =
        match poll_fn(|cx| poll_write_by(&mut io, cx, &mut out, &mut timer, deadline)).await {
            Some(Ok(())) => false,
            // The server may have refused before it read everything, and its answer may have come.
            Some(Err(error)) if is_peer_gone(&error) => true,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(ConnectError::TimedOut.into()),
        };
    let opened = poll_fn(|cx| {
        loop {
            if let Some(opened) = handshake.read(&mut input)? {
                return Poll::Ready(Ok::<_, Error>(opened));
            }
            handshake.on_time(I::now())?;
            match poll_input(&mut io, cx, &mut input) {
                Poll::Ready(result) => result?,
                Poll::Pending if is_mute => return Poll::Ready(Err(ConnectError::Gone.into())),
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
    /// The client is answered with something else than a WebSocket.
    refusing: Option<Box<Refusing>>,
    told: Handshake,
}

/// An answer that is no WebSocket, on its way to the client.
struct Refusing {
    leave: Leave,
    deadline: Option<Duration>,
    /// Why, if that is an error.
    why: Option<Error>,
}

impl<I: Io> fmt::Debug for Incoming<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("request", &self.0.request).finish_non_exhaustive()
    }
}

impl<I: Io> Arrived<I> {
    /// Reads the request, and answers one that is not well-formed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.refusing.is_none() {
            let Err(error) = ready!(self.poll_request(cx)) else {
                return Poll::Ready(Ok(()));
            };
            match &error {
                Error::Request(refused) if *refused != RequestError::Gone => {
                    let response = refused.response();
                    self.refuse(&response, Some(error));
                }
                _ => return Poll::Ready(Err(error)),
            }
        }
        self.poll_refuse(cx)
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let deadline = self.handshake.deadline(I::now());
        loop {
            self.request = self.handshake.read(&mut self.input)?;
            if let Some(request) = &self.request {
                self.told.asked(request);
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

    /// Accepts the request or refuses it, and queues the response. `admit` may still refuse one that could be
    /// accepted.
    fn accept(&mut self, accept: Accept, admit: impl FnOnce() -> Result<(), RequestError>) {
        let (refusal, why) = match self.request().upgrade(&self.config) {
            Ok(upgrade) => match upgrade.accept(accept) {
                Ok((connection, response)) => match admit() {
                    Ok(()) => {
                        response.encode(&mut self.out);
                        self.told.answered(response.status());
                        self.connection = Some(connection);
                        return;
                    }
                    Err(error) => (error.response(), Some(error.into())),
                },
                Err(error) => (Response::new(500), Some(error.into())),
            },
            Err(error) => (error.response(), Some(error.into())),
        };
        self.refuse(&refusal, why);
    }

    /// Sends the response. Gives the connection if the request was accepted.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>> {
        if self.refusing.is_some() {
            ready!(self.poll_refuse(cx))?;
        }
        ready!(self.poll_respond(cx))?;
        let connection = self.connection.take();
        Poll::Ready(connection.ok_or_else(|| io::Error::from(ErrorKind::NotConnected).into()))
    }

    fn request(&self) -> &Request {
        match &self.request {
            Some(request) => request,
            None => unreachable!("an `Incoming` is made once the request is there"),
        }
    }

    /// Queues an answer that is no WebSocket.
    fn refuse(&mut self, response: &Response, why: Option<Error>) {
        let mut leave = self.handshake.leave();
        let deadline = leave.deadline(I::now());
        self.handshake.respond(response, &mut self.out);
        self.told.answered(response.status());
        self.refusing = Some(Box::new(Refusing { leave, deadline, why }));
    }

    /// Sends that answer, and leaves the socket so that it arrives.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(mut refusing) = self.refusing.take() else {
            return Poll::Ready(Ok(()));
        };
        let sent = match self.poll_leave(cx, &mut refusing.leave) {
            Poll::Ready(sent) => sent,
            // Once the deadline is reached, the client had the time to read the answer, whether it did or not.
            Poll::Pending => match I::poll_timer(&mut self.timer, cx, refusing.deadline) {
                Poll::Ready(()) => Ok(()),
                Poll::Pending => {
                    self.refusing = Some(refusing);
                    return Poll::Pending;
                }
            },
        };
        // An error while answering does not change what was wrong with the request.
        Poll::Ready(refusing.why.map_or(sent, Err))
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
        step(Self::arrived(stream, config), Arrived::poll_read, |arrived, ()| Self(arrived))
    }

    /// Reads a request and accepts it.
    pub(crate) fn open(
        stream: I::Stream,
        config: Config,
    ) -> impl Future<Output = Result<WebSocket<I>, Error>> {
        let poll = |arrived: &mut Arrived<I>, cx: &mut Context<'_>| {
            if arrived.request.is_none() {
                ready!(arrived.poll_read(cx))?;
                arrived.accept(Accept::new(), || Ok(()));
            }
            arrived.poll_accept(cx)
        };
        step(Self::arrived(stream, config), poll, opened)
    }

    fn arrived(stream: I::Stream, config: Config) -> Box<Arrived<I>> {
        Box::new(Arrived {
            io: I::wrap(stream),
            input: RecvBuf::new(),
            out: SendBuf::new(),
            timer: I::Timer::default(),
            handshake: ServerHandshake::new(config.clone()),
            config,
            request: None,
            connection: None,
            refusing: None,
            told: Handshake::server(),
        })
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
        arrived.accept(accept, || Ok(()));
        step(arrived, Arrived::poll_accept, opened)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn set_peer_addr(&mut self, peer: Option<SocketAddr>) {
        if let Some(request) = &mut self.0.request {
            request.set_peer_addr(peer);
        }
        self.0.told.peer(|| peer);
    }

    /// The span of the handshake, for what the server does between the request and its answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn told(&self) -> &Handshake {
        &self.0.told
    }

    /// Accepts the request as [`accept`](Self::accept) does, unless `admit` gives an error to refuse it with. Gives
    /// the request as well.
    #[cfg(feature = "tokio")]
    pub(crate) fn accept_if(
        self,
        accept: Accept,
        admit: impl FnOnce() -> Result<(), RequestError>,
    ) -> impl Future<Output = Result<(WebSocket<I>, Request), Error>> {
        let mut arrived = self.0;
        arrived.accept(accept, admit);
        step(arrived, Arrived::poll_accept, |mut arrived, connection| {
            let Some(request) = arrived.request.take() else {
                unreachable!("an `Incoming` is made once the request is there")
            };
            (opened(arrived, connection), request)
        })
    }

    /// Answers with something else than a WebSocket, and closes the connection so that the answer arrives.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn respond(self, response: &Response) -> impl Future<Output = Result<(), Error>> + use<I> {
        let mut arrived = self.0;
        arrived.refuse(response, None);
        step(arrived, Arrived::poll_refuse, |_, ()| ())
    }
}

/// Polls until there is a result, and then makes the value of the future from it. It is as small as a pointer. An async
/// block would be larger, and a task keeps room for it as long as it runs.
fn step<I: Io, T, O>(
    arrived: Box<Arrived<I>>,
    mut poll: impl FnMut(&mut Arrived<I>, &mut Context<'_>) -> Poll<Result<T, Error>>,
    mut done: impl FnMut(Box<Arrived<I>>, T) -> O,
) -> impl Future<Output = Result<O, Error>> {
    let mut arrived = Some(arrived);
    poll_fn(move |cx| {
        let Some(mut this) = arrived.take() else {
            return Poll::Pending;
        };
        let told = this.told.clone();
        match told.run(|| poll(&mut this, cx)) {
            Poll::Ready(result) => Poll::Ready(match result {
                Ok(given) => Ok(done(this, given)),
                Err(error) => {
                    told.failed(&error);
                    Err(error)
                }
            }),
            Poll::Pending => {
                arrived = Some(this);
                Poll::Pending
            }
        }
    })
}

#[allow(clippy::boxed_local, reason = "`step` gives it so")]
fn opened<I: Wrap>(arrived: Box<Arrived<I>>, connection: Connection) -> WebSocket<I> {
    let Arrived { io, input, .. } = *arrived;
    WebSocket::from_connection(io.into_inner(), connection, input)
}
