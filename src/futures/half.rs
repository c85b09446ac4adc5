//! Halves for two tasks. The socket's lock is held only while it is polled, never across an await.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::futures_io::{AsyncRead, AsyncWrite};

use super::io::{Reader, Socket};
use crate::adapter::{Error, FLUSH_FROM, FLUSH_PARTS_FROM};
use crate::asynchronous::waiters::Side;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::recv::Replies;

pub(super) type Shared<S> = Arc<Mutex<Socket<S>>>;

pub(super) fn lock<S: AsyncWrite + Unpin>(shared: &Shared<S>) -> MutexGuard<'_, Socket<S>> {
    // Nothing in a socket is broken by a panic elsewhere, so poison means nothing here.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn split<S: AsyncRead + AsyncWrite + Unpin>(
    mut reader: Reader,
    mut socket: Socket<S>,
) -> (SendHalf<S>, RecvHalf<S>) {
    socket.try_write();
    socket.share();
    reader.is_half = true;
    let shared = Arc::new(Mutex::new(socket));
    (SendHalf { shared: Arc::clone(&shared) }, RecvHalf { reader, shared })
}

/// The half that receives. It answers pings and Close, also after the sending half was dropped.
/// Dropping both closes the socket. It is also a [`Stream`](futures_core::Stream).
#[derive(Debug)]
pub struct RecvHalf<S: AsyncRead + AsyncWrite + Unpin> {
    pub(super) reader: Reader,
    shared: Shared<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RecvHalf<S> {
    /// Waits for the next message; see [`WebSocket::recv`](super::WebSocket::recv). Cancel safe.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_event(cx, false)).await?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy. Cancel safe.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_borrowed(&mut self) -> Result<Option<MessageRef<'_>>, Error> {
        poll_fn(|cx| self.poll_event(cx, false)).await?;
        Ok(self.reader.input.event())
    }

    /// Waits for the next part of a message; see [`WebSocket::recv_part`](super::WebSocket::recv_part).
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        poll_fn(|cx| self.poll_event(cx, true)).await?;
        Ok(self.reader.input.part())
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

    pub(super) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        self.reader.poll_next(cx, &mut lock(&self.shared), parts)
    }
}

/// The half that sends. It is also a [`Sink`](futures_sink::Sink).
#[derive(Debug)]
pub struct SendHalf<S: AsyncRead + AsyncWrite + Unpin> {
    shared: Shared<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SendHalf<S> {
    /// Sends a message: its bytes were handed to the socket when this is done. Cancel safe as
    /// [`WebSocket::send`](super::WebSocket::send) is.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.ready().await?;
        self.queue(message.into())?;
        self.flush().await
    }

    /// Queues a message; it leaves with the next `send` or `flush`, when 64 KiB are queued, or with
    /// the next reply of the receiving half. Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.ready().await?;
        self.queue(message.into())?;
        if self.queued() < FLUSH_FROM {
            return Ok(());
        }
        poll_fn(|cx| self.poll_flush_to_room(cx)).await
    }

    /// Sends a part of a message; see [`WebSocket::send_part`](super::WebSocket::send_part). Cancel
    /// safe as [`send`](Self::send) is, for the part.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let part = part.into();
        self.ready().await?;
        self.with(|socket| socket.sender.send_part(part, last, &mut socket.out))?;
        if last || self.queued() >= FLUSH_PARTS_FROM { self.flush().await } else { Ok(()) }
    }

    /// Waits until there is room in the queue, so that a `feed` that follows does not wait. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes are queued; there is room below
    /// [`Config::max_send_queue`](crate::Config::max_send_queue).
    pub fn queued(&self) -> usize {
        lock(&self.shared).out.len()
    }

    /// Hands all that is queued to the socket. Cancel safe: what was not written stays queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends a ping; see [`WebSocket::ping`](super::WebSocket::ping). Cancel safe as
    /// [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload)).await
    }

    /// As [`WebSocket::set_compression`](super::WebSocket::set_compression).
    pub fn set_compression(&mut self, on: bool) {
        self.with(|socket| socket.sender.set_compression(on));
    }

    /// Sends Close. The receiving half goes on until the peer's Close and tells how the connection
    /// ended. If it was dropped, nobody can tell, and this gives [`End::Unconfirmed`]. Cancel safe
    /// as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::start_close`](super::WebSocket::start_close).
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Option<End>, Error> {
        self.start_close(code, reason)?;
        self.flush().await?;
        // Only the receiving half has another handle.
        if Arc::strong_count(&self.shared) > 1 {
            return Ok(None);
        }
        poll_fn(|cx| lock(&self.shared).poll_close(cx, Side::Sending)).await?;
        Ok(Some(End::Unconfirmed))
    }

    fn with<T>(&self, run: impl FnOnce(&mut Socket<S>) -> T) -> T {
        run(&mut lock(&self.shared))
    }

    pub(super) fn queue(&mut self, message: Message) -> Result<(), Error> {
        Ok(self.with(|socket| socket.sender.send_owned(message, &mut socket.out))?)
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.with(|socket| socket.is_full()) {
            self.poll_flush_to_room(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Ready where there is room, if not all is written.
    fn poll_flush_to_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.poll_flush(cx) {
            Poll::Pending if !self.with(|socket| socket.is_full()) => Poll::Ready(Ok(())),
            other => other,
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Replies are the receiving half's to hand over.
        self.with(|socket| socket.poll_flush(cx, Side::Sending, &mut Replies::default()))
    }

    /// Queues Close, and lets the receiving half know: it has a deadline from now on.
    pub(super) fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), SendError> {
        self.with(|socket| {
            socket.sender.start_close(code, reason, &mut socket.out)?;
            socket.wake();
            Ok(())
        })
    }
}
