//! The adapter for every other runtime: loops around any `AsyncRead + AsyncWrite` of `futures-io`, for
//! smol, async-std and kin.
//!
//! ```no_run
//! use bowline::{Config, handshake::ClientRequest};
//! # async fn client() -> Result<(), bowline::Error> {
//! let socket = smol::net::TcpStream::connect("127.0.0.1:9001").await?;
//! socket.set_nodelay(true)?;
//! let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
//! let (mut ws, _) = bowline::futures::client(socket, &request, Config::default()).await?;
//! ws.send("Hello").await?;
//! println!("{:?}", ws.recv().await?);
//! ws.close(1000, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server reads each connection in a task of its own: see [`accept`], and [`Incoming`] for one that
//! looks at the request first. [`WebSocket::split`] gives halves for two tasks. There is no `connect`,
//! since only a runtime can open a socket: connect one, with TLS if you need it, and use [`client`].
//!
//! # Timers
//!
//! No runtime is known here, and the timeouts of [`Config`](crate::Config) hold all the same: the crate
//! `futures-timer` keeps them, with one thread of its own for the whole process, which starts with the
//! first timer. Where no thread can be started, waiting for a timer panics. Set all timeouts to `None`
//! to use none.

mod half;
mod io;
mod opening;
mod sink;

pub use half::{RecvHalf, SendHalf};
pub use opening::{Incoming, accept, client};

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::vec::Vec;

use ::futures_io::{AsyncRead, AsyncWrite};

use crate::adapter::{Closed, Error, FLUSH_FROM, FLUSH_PARTS_FROM, seed_keepalive};
use crate::asynchronous::waiters::Side;
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::Connection;
use crate::protocol::error::{End, Refusal, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use io::{Reader, Socket};

/// A WebSocket over an asynchronous stream.
///
/// What [`feed`](Self::feed) queued leaves, in one write, when `recv` has to wait for the socket, or
/// when 64 KiB are queued, or with `send`, `flush`, `close`, `into_inner`; dropping the value makes
/// one attempt that does not wait.
///
/// It is also a [`Stream`](futures_core::Stream) of messages, which gives an error once and then
/// ends, and a [`Sink`](futures_sink::Sink) for them.
///
/// # Cancel safety
///
/// Every method says whether its future may be dropped before it is done, in `select!` for example.
/// No method ever leaves half a frame on the wire or loses bytes that were read.
///
/// # Fairness
///
/// `recv` yields to the runtime after 128 messages or 1 MiB that it never had to wait for.
#[derive(Debug)]
pub struct WebSocket<S: AsyncRead + AsyncWrite + Unpin> {
    reader: Reader,
    socket: Socket<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A WebSocket whose opening handshake was done elsewhere. `input` holds what was read behind
    /// it, or is new.
    pub fn from_connection(stream: S, mut connection: Connection, input: RecvBuf) -> Self {
        seed_keepalive(&mut connection);
        let (receiver, sender, replies) = connection.into_halves();
        Self { reader: Reader::new(receiver, replies, input), socket: Socket::new(stream, sender) }
    }

    /// Waits for the next message; `None` after a clean close.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] once the connection has ended otherwise, now and on every later call. If
    /// the peer broke the protocol, it has been told by then. [`Error::Io`] as the stream gives it.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.socket, false)).await?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy, with a handle to answer it:
    ///
    /// ```no_run
    /// # async fn echo(mut ws: bowline::futures::WebSocket<smol::net::TcpStream>) -> Result<(), bowline::Error> {
    /// while let Some((message, mut out)) = ws.recv_borrowed().await? {
    ///     out.feed(message)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe, as `recv`.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_borrowed(
        &mut self,
    ) -> Result<Option<(MessageRef<'_>, Outgoing<'_, S>)>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.socket, false)).await?;
        Ok(self.reader.input.event().map(|message| (message, Outgoing(&mut self.socket))))
    }

    /// Waits for the next part of a message, so that a message of any size takes no more memory than
    /// a buffer; `None` after a clean close. A `recv` in the middle of a message skips its rest.
    ///
    /// [`Config::max_message_size`](crate::Config::max_message_size) still holds; raise it for large
    /// messages.
    ///
    /// Cancel safe, as `recv`.
    ///
    /// # Errors
    ///
    /// As `recv`; the parts that came before then belong to no whole message.
    pub async fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.socket, true)).await?;
        Ok(self.reader.input.part())
    }

    /// Sends a message: its bytes were handed to the socket when this is done.
    ///
    /// Cancel safe in this sense: dropped while the queue is full, nothing was sent; dropped later,
    /// the whole message is queued, and the next flush of any kind sends it.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] with the message if it was refused; [`Error::Ended`] if the peer does not
    /// read ([`Config::send_timeout`](crate::Config::send_timeout)); [`Error::Io`].
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.ready().await?;
        self.socket.sender.send_owned(message, &mut self.socket.out)?;
        self.flush().await
    }

    /// Queues a message: it leaves as the type's documentation says. A handler that works long before
    /// the next `recv` delays what it fed, and should `send`.
    ///
    /// Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.ready().await?;
        self.socket.sender.send_owned(message, &mut self.socket.out)?;
        if self.queued() < FLUSH_FROM {
            return Ok(());
        }
        // What the socket takes at once; the rest can wait while there is room.
        poll_fn(|cx| self.poll_flush_to_room(cx)).await
    }

    /// Sends a part of a message whose length need not be known; the part with `last` ends it. Parts
    /// are queued and leave like what is fed, and with the last one. Pings and Close may come between.
    ///
    /// Cancel safe as [`send`](Self::send) is, for the part.
    ///
    /// # Errors
    ///
    /// As `send`; a message of another kind has to wait until this one is ended.
    pub async fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let part = part.into();
        self.ready().await?;
        self.socket.sender.send_part(part, last, &mut self.socket.out)?;
        if last || self.queued() >= FLUSH_PARTS_FROM { self.flush().await } else { Ok(()) }
    }

    /// Hands all that is queued to the socket.
    ///
    /// Cancel safe: what was not written stays queued.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if the peer does not read, [`Error::Io`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits until there is room in the queue, so that a `feed` that follows does not wait.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes are queued; there is room below
    /// [`Config::max_send_queue`](crate::Config::max_send_queue).
    pub fn queued(&self) -> usize {
        self.socket.out.len()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.reader.poll_flush(cx, &mut self.socket, Side::Sending)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.socket.is_full() { self.poll_flush_to_room(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Ready where there is room, if not all is written.
    fn poll_flush_to_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.poll_flush(cx) {
            Poll::Pending if !self.socket.is_full() => Poll::Ready(Ok(())),
            other => other,
        }
    }

    /// Sends a ping with at most 125 bytes. The peer's pong is received only with
    /// [`Config::report_control_frames`](crate::Config::report_control_frames).
    ///
    /// Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload)).await
    }

    /// Sends Close; go on with [`recv`](Self::recv) until it gives `None`, to have what the peer sent
    /// before its own Close.
    ///
    /// Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, or if Close was sent already.
    pub async fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), Error> {
        self.socket.sender.start_close(code, reason, &mut self.socket.out)?;
        self.flush().await
    }

    /// Closes the connection: sends Close unless that was done, waits for the peer's (at most
    /// [`Config::close_timeout`](crate::Config::close_timeout)), and drops the messages that come
    /// before it, counting them.
    ///
    /// Cancel safe: call it again to go on; the count begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, [`Error::Io`]. That the peer did
    /// not answer is no error but [`Closed::end`].
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Closed, Error> {
        match self.socket.sender.start_close(code, reason, &mut self.socket.out) {
            Err(error) if error.refusal() != Refusal::Closed => return Err(error.into()),
            _ => {}
        }
        let mut discarded = 0;
        loop {
            match poll_fn(|cx| self.reader.poll_next(cx, &mut self.socket, false)).await {
                Ok(()) => match self.reader.input.event() {
                    Some(MessageRef::Text(_) | MessageRef::Binary(_)) => discarded += 1,
                    Some(_) => {}
                    None => break,
                },
                Err(Error::Ended(_)) => break,
                Err(error) => return Err(error),
            }
        }
        let end = self.end().cloned().unwrap_or(End::Unconfirmed);
        Ok(Closed { end, discarded })
    }

    /// Whether messages that are begun from now on are compressed, if that was agreed on; at first they
    /// are. Turn it off for messages that hold secrets: see [`Sender::set_compression`](crate::Sender::set_compression).
    pub fn set_compression(&mut self, on: bool) {
        self.socket.sender.set_compression(on);
    }

    /// How long the peer took for its last pong to a ping of keepalive
    /// ([`Config::ping_interval`](crate::Config::ping_interval)); see
    /// [`Receiver::round_trip`](crate::Receiver::round_trip). `None` before there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.reader.receiver.round_trip()
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// The stream. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        self.socket.get_ref()
    }

    /// Splits the connection, for one task that receives and one that sends. They share the stream behind
    /// a lock that is held for a poll, never across an await, so neither waits for the other's peer. What
    /// was fed is written as far as the socket takes it at once.
    pub fn split(self) -> (SendHalf<S>, RecvHalf<S>) {
        half::split(self.reader, self.socket)
    }

    /// Flushes, and gives back the stream and the bytes that were read from it and not used.
    ///
    /// Not cancel safe: it takes the connection.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); the stream is lost then.
    pub async fn into_inner(mut self) -> Result<(S, Vec<u8>), Error> {
        self.flush().await?;
        let unread = self.reader.input.unread().to_vec();
        Ok((self.socket.into_stream()?, unread))
    }
}

/// Answers the message that [`WebSocket::recv_borrowed`] lent.
#[derive(Debug)]
pub struct Outgoing<'a, S>(&'a mut Socket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin;

impl<S: AsyncRead + AsyncWrite + Unpin> Outgoing<'_, S> {
    /// Queues a message; it leaves as after [`WebSocket::feed`]. The payload is copied.
    ///
    /// # Errors
    ///
    /// If it was refused.
    pub fn feed<'a>(&mut self, message: impl Into<MessageRef<'a>>) -> Result<(), SendError> {
        self.0.sender.send(message, &mut self.0.out)
    }

    /// See [`WebSocket::set_compression`].
    pub fn set_compression(&mut self, on: bool) {
        self.0.sender.set_compression(on);
    }

    /// Queues Close; see [`WebSocket::start_close`].
    ///
    /// # Errors
    ///
    /// If it was refused.
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), SendError> {
        self.0.sender.start_close(code, reason, &mut self.0.out)
    }
}
