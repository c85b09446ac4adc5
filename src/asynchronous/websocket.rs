//! The WebSocket as users have it: both sides in one value.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::vec::Vec;

use super::half::{self, RecvHalf, SendHalf};
use super::io::{Io, Wrap};
use super::reader::Reader;
use super::writer::Writer;
use crate::adapter::{Closed, Error, FLUSH_FROM, FLUSH_PARTS_FROM, seed_keepalive};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::Connection;
use crate::protocol::error::{End, Refusal, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::stats::Stats;

/// A WebSocket over an asynchronous stream.
///
/// [`send`](Self::send) hands a message to the socket before it is done. [`feed`](Self::feed) queues it. Queued
/// messages leave in one write: when `recv` has to wait for the socket, when 64 KiB are queued, or with `send`,
/// `flush`, `close` and `into_inner`. Dropping the value makes one attempt that does not wait.
///
/// It is also a [`Stream`](futures_core::Stream) of messages, which gives an error once and then
/// ends, and a [`Sink`](futures_sink::Sink) for them.
///
/// # Pings
///
/// Pings are answered while the program receives: in `recv` and its variants, and in `close`. A program that only
/// sends answers none, and its peer may take it for dead. Let another task receive ([`split`](Self::split)).
///
/// # Cancel safety
///
/// Every method says whether its future may be dropped before it is done, for example in `select!`.
/// No method leaves half a frame on the wire or loses bytes that were read.
///
/// # Fairness
///
/// `recv` lets other tasks run after 1 MiB of work without a wait, so that one busy peer does not starve its
/// thread. A byte that is received or inflated counts as one, a frame as 1 KiB more, and a message or a read as at
/// least 8 KiB. So a turn has at most 128 messages, and a flood of pings or empty fragments ends a turn too. A
/// message is always inflated in one turn: [`Config::max_message_size`](crate::Config::max_message_size) bounds how
/// long that takes.
// Each side has an allocation of its own: a program moves a WebSocket from function to function, and a task keeps room
// for it in each. Two small allocations also take less than a large one (docs/performance.md).
pub struct WebSocket<I: Io> {
    pub(crate) reader: Box<Reader<I>>,
    pub(crate) writer: Box<Writer<I>>,
}

impl<I: Io> fmt::Debug for WebSocket<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("reader", &self.reader)
            .field("writer", &self.writer)
            .finish()
    }
}

impl<I: Wrap> WebSocket<I> {
    /// A WebSocket whose opening handshake was done elsewhere. `input` holds the bytes that were read after
    /// the handshake, or is new.
    ///
    /// ```no_run
    /// # async fn serve(stream: tokio::net::TcpStream, read: &[u8]) -> Result<(), bowline::Error> {
    /// use bowline::handshake::{Accept, Request};
    /// use bowline::{Config, RecvBuf, tokio::WebSocket};
    ///
    /// // Another HTTP parser has read the head of the request, and perhaps the first frames.
    /// let headers = [("Host", "example.com"), ("Upgrade", "websocket")];
    /// let request = Request::from_parts("GET", "/chat", headers)?;
    /// let (connection, _response) = request.upgrade(&Config::default())?.accept(Accept::new())?;
    /// // Send the response first.
    /// let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::with_unread(read));
    /// ws.send("Hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_connection(stream: I::Stream, connection: Connection, input: RecvBuf) -> Self {
        Self::unconnected(connection, input).connected(stream)
    }

    /// A WebSocket that has no stream yet. Nothing but [`connected`](Self::connected) may be called.
    pub(crate) fn unconnected(mut connection: Connection, input: RecvBuf) -> Self {
        seed_keepalive(&mut connection);
        let (receiver, sender, replies) = connection.into_halves();
        Self {
            reader: Box::new(Reader::new(receiver, replies, input)),
            writer: Box::new(Writer::new(sender)),
        }
    }

    pub(crate) fn connected(mut self, stream: I::Stream) -> Self {
        self.writer.connect(I::wrap(stream));
        self.reader.opened.begin(I::now);
        self
    }

    /// Waits for the next message. `None` says that the peer sent Close, with whatever code: ask
    /// [`end`](Self::end) whether it was a normal one.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] once the connection has ended in another way, now and on every later call. If the
    /// peer broke the protocol, it was sent a Close with the reason. [`Error::Io`] as the stream gives it.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        // Not an async block: tasks hold this future, and this one is only a reference.
        inlined(|cx| {
            ready!(self.poll_next(cx, false))?;
            Poll::Ready(Ok(self.reader.input.take_event()))
        })
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>, parts: bool) -> Poll<Result<(), Error>> {
        self.reader.poll_next(cx, &mut *self.writer, parts)
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy, with a handle to answer it:
    ///
    /// ```no_run
    /// # async fn echo(mut ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), bowline::Error> {
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
    pub fn recv_borrowed(
        &mut self,
    ) -> impl Future<Output = Result<Option<(MessageRef<'_>, Outgoing<'_, I>)>, Error>> {
        // As in `recv`. The lent message outlives the closure, so the reference leaves it.
        let mut this = Some(self);
        inlined(move |cx| {
            let Some(ws) = this.take() else {
                return Poll::Pending;
            };
            if ws.poll_next(cx, false)?.is_pending() {
                this = Some(ws);
                return Poll::Pending;
            }
            let Self { reader, writer } = ws;
            Poll::Ready(Ok(reader.input.event().map(|message| (message, Outgoing(writer)))))
        })
    }

    /// Waits for the next part of a message. So a message of any size takes no more memory than one buffer.
    /// `None` after the peer's Close. A `recv` in the middle of a message skips its rest.
    ///
    /// [`Config::max_message_size`](crate::Config::max_message_size) still holds; raise it for large
    /// messages.
    ///
    /// Cancel safe, as `recv`.
    ///
    /// # Errors
    ///
    /// As `recv`. The parts that came before the error belong to no whole message.
    pub async fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        poll_fn(|cx| self.poll_next(cx, true)).await?;
        Ok(self.reader.input.part())
    }

    /// Sends a message: its bytes have been handed to the socket when this is done.
    ///
    /// Cancel safe in this sense: if the future is dropped while the queue is full, nothing was sent. If it is
    /// dropped later, the whole message is queued, and the next flush of any kind sends it.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] with the message if it was refused; [`Error::Ended`] if the peer does not
    /// read ([`Config::send_timeout`](crate::Config::send_timeout)); [`Error::Io`].
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        // Written by hand, because an async block would hold the message twice.
        let mut message = Some(message.into());
        inlined(move |cx| {
            ready!(self.poll_queue(cx, &mut message))?;
            self.reader.poll_flush(cx, &mut *self.writer)
        })
    }

    /// Queues a message. The documentation of the type says when it leaves. A handler that answers at once
    /// should use this: with `recv` it costs one write for many messages. A handler that works for long before
    /// the next `recv` delays the messages that it fed, and should `send`.
    ///
    /// Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub fn feed(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        let mut message = Some(message.into());
        inlined(move |cx| {
            if message.is_some() {
                ready!(self.poll_queue(cx, &mut message))?;
                if self.queued() < FLUSH_FROM {
                    return Poll::Ready(Ok(()));
                }
            }
            // Write what the socket takes at once. The rest can wait while there is room.
            self.poll_flush_to_room(cx)
        })
    }

    /// Queues a message if there is room, and never waits. It leaves as after [`feed`](Self::feed), but this writes
    /// nothing, also where 64 KiB are queued. To make room, [`flush`](Self::flush), or wait until this is
    /// [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// The message comes back, with [`QueueFull`](Refusal::QueueFull) if there is no room, or with what else forbids it.
    pub fn try_feed(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.writer.queue(message.into())
    }

    /// Waits for room, and queues the message if that was not done.
    #[inline]
    fn poll_queue(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(cx))?;
        if let Some(message) = message.take() {
            let writer = &mut *self.writer;
            writer.sender.send_owned(message, &mut writer.out)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a part of a message whose length need not be known. The part with `last` ends the message. Parts
    /// are queued and leave as fed messages do, and with the last part. Pings and Close may come in between.
    ///
    /// Cancel safe as [`send`](Self::send) is, for the part.
    ///
    /// # Errors
    ///
    /// As `send`. Another message has to wait until this one has ended.
    pub async fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let part = part.into();
        if self.writer.is_full() {
            self.ready().await?;
        }
        let writer = &mut *self.writer;
        writer.sender.send_part(part, last, &mut writer.out)?;
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
        poll_fn(|cx| self.reader.poll_flush(cx, &mut *self.writer)).await
    }

    /// Waits until there is room in the queue, so that the next `feed` does not wait.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes are queued. There is room below
    /// [`Config::max_send_queue`](crate::Config::max_send_queue).
    pub fn queued(&self) -> usize {
        self.writer.out.len()
    }

    #[inline(always)]
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.writer.is_full() { self.poll_flush_to_room(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Writes. It is ready when all is written, or when there is room.
    fn poll_flush_to_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.reader.poll_flush(cx, &mut *self.writer) {
            Poll::Pending if !self.writer.is_full() => Poll::Ready(Ok(())),
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

    /// Sends Close. Go on with [`recv`](Self::recv) until it gives `None`, to get the messages that the peer
    /// sent before its own Close.
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
        let writer = &mut *self.writer;
        writer.sender.start_close(code, reason, &mut writer.out)?;
        self.flush().await
    }

    /// Closes the connection. It sends Close unless that was done, and waits for the peer's Close, at most
    /// [`Config::close_timeout`](crate::Config::close_timeout). It drops the messages that come before the
    /// peer's Close, and counts them.
    ///
    /// Cancel safe: call it again to go on. The count then begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, [`Error::Io`]. If the peer did not answer,
    /// that is no error: [`Closed::end`] says so.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Closed, Error> {
        let writer = &mut *self.writer;
        match writer.sender.start_close(code, reason, &mut writer.out) {
            Err(error) if error.refusal() != Refusal::Closed => return Err(error.into()),
            _ => {}
        }
        let mut discarded = 0;
        loop {
            match poll_fn(|cx| self.poll_next(cx, false)).await {
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

    /// Sets whether messages that begin from now on are compressed, if that was agreed on. By default they are.
    /// Turn it off for messages that hold secrets: see [`Sender::set_compression`](crate::Sender::set_compression).
    pub fn set_compression(&mut self, on: bool) {
        self.writer.sender.set_compression(on);
    }

    /// How long the peer took for its last pong to a ping of keepalive
    /// ([`Config::ping_interval`](crate::Config::ping_interval)); see
    /// [`Receiver::round_trip`](crate::Receiver::round_trip). `None` before there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.reader.receiver.round_trip()
    }

    /// The numbers of the connection: messages, bytes, times. Most need [`Config::stats`](crate::Config::stats):
    /// see [`Stats`].
    pub fn stats(&self) -> Stats {
        let now = I::now();
        self.reader.receiver.stats(now) + self.writer.sender.stats(now)
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// The stream. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &I::Stream {
        self.writer.get_ref()
    }

    /// Splits the connection for one task that receives and one that sends. Neither ever waits for the other.
    /// Fed messages are written as far as the socket takes them at once.
    pub fn split(self) -> (SendHalf<I>, RecvHalf<I>) {
        half::split(self.reader, *self.writer)
    }

    /// Flushes, and gives back the stream and the bytes that were read from it and not used.
    ///
    /// Not cancel safe: it takes the connection.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). The stream is lost then.
    pub async fn into_inner(mut self) -> Result<(I::Stream, Vec<u8>), Error> {
        self.flush().await?;
        let unread = self.reader.input.unread().to_vec();
        Ok((self.writer.into_io()?.into_inner(), unread))
    }
}

/// Like `poll_fn`, but inlined into the function that awaits it, so its result does not go through memory.
fn inlined<T, F>(poll: F) -> Inlined<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<T> + Unpin,
{
    Inlined(poll)
}

struct Inlined<F>(F);

impl<T, F: FnMut(&mut Context<'_>) -> Poll<T> + Unpin> Future for Inlined<F> {
    type Output = T;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        (self.0)(cx)
    }
}

/// Answers the message that [`WebSocket::recv_borrowed`] lent.
pub struct Outgoing<'a, I: Io>(&'a mut Writer<I>);

impl<I: Io> fmt::Debug for Outgoing<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outgoing").field(&self.0).finish()
    }
}

impl<I: Io> Outgoing<'_, I> {
    /// Queues a message. It leaves as after [`WebSocket::feed`]. The payload is copied once. For a payload of
    /// 32 KiB or more, only the bytes that the socket does not take at once are copied.
    ///
    /// # Errors
    ///
    /// If it was refused.
    pub fn feed<'a>(&mut self, message: impl Into<MessageRef<'a>>) -> Result<(), SendError> {
        self.0.feed(message.into())
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
