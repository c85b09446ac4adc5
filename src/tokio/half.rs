//! Halves for two tasks. The writer's lock is held only while it is polled, never across an await,
//! so neither half waits for the other.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::broadcast::{Offered, Peer, SlowPeer};
use super::io::{Link, Reader, Side, Writer, poll_read};
use crate::adapter::{Error, FLUSH_FROM, FLUSH_PARTS_FROM};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::prepared::Prepared;
use crate::protocol::recv::Replies;
use crate::protocol::send_state::SendState;

#[derive(Debug)]
struct Shared<S: AsyncRead + AsyncWrite> {
    writer: Mutex<Writer<WriteHalf<S>>>,
    close_sent: AtomicBool,
    receiver_gone: AtomicBool,
}

impl<S: AsyncRead + AsyncWrite> Shared<S> {
    fn writer(&self) -> MutexGuard<'_, Writer<WriteHalf<S>>> {
        // Nothing in a writer is broken by a panic elsewhere, so poison means nothing here.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self) -> usize {
        self.writer().out.len()
    }

    /// Runs with the writer, and keeps the flag in step.
    fn with<T>(&self, run: impl FnOnce(&mut Writer<WriteHalf<S>>) -> T) -> T {
        let mut writer = self.writer();
        let result = run(&mut writer);
        self.close_sent.store(writer.sender.close_sent(), Ordering::Release);
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Send> Peer for Shared<S> {
    fn offer(&self, message: &Prepared, slow: SlowPeer, mark: usize) -> Offered {
        self.with(|writer| writer.offer(message, slow, mark))
    }

    fn queued(&self) -> usize {
        Shared::queued(self)
    }
}

pub(super) fn split<S: AsyncRead + AsyncWrite + Unpin>(
    reader: Reader,
    mut writer: Writer<S>,
) -> (SendHalf<S>, RecvHalf<S>) {
    writer.try_write();
    let mut read = None;
    let mut writer = writer.map(|stream| {
        let (read_half, write_half) = ::tokio::io::split(stream);
        read = Some(read_half);
        write_half
    });
    writer.share();
    let shared = Arc::new(Shared {
        close_sent: AtomicBool::new(writer.sender.close_sent()),
        receiver_gone: AtomicBool::new(false),
        writer: Mutex::new(writer),
    });
    let link = Half { read, shared: Arc::clone(&shared) };
    (SendHalf { shared }, RecvHalf { reader, link })
}

/// The receiving side's way to the writer.
#[derive(Debug)]
pub(super) struct Half<S: AsyncRead + AsyncWrite> {
    /// `None` only if the writer had lost its stream.
    read: Option<ReadHalf<S>>,
    shared: Arc<Shared<S>>,
}

impl<S: AsyncRead + AsyncWrite> Link for Half<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let read = self.read.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        poll_read(read, cx, input)
    }

    fn close_sent(&self) -> bool {
        self.shared.close_sent.load(Ordering::Acquire)
    }

    fn state(&self) -> SendState {
        let writer = self.shared.writer();
        writer.sender.state(&writer.out)
    }

    fn answer(&mut self, replies: &mut Replies) {
        self.shared.with(|writer| writer.sender.answer(replies, &mut writer.out));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_send(cx, Side::Receiving, replies))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_shutdown(cx, Side::Receiving))
    }

    fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        self.shared.writer().watch(cx)
    }

    fn fed(&self) -> usize {
        // The sending half minds its own.
        0
    }

    fn is_at_rest(&self) -> bool {
        self.shared.writer().is_at_rest()
    }

    fn send_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.shared.with(|writer| writer.deadline(now))
    }

    fn shut(&mut self) {
        self.shared.with(Writer::shut);
    }
}

/// The half that receives. It answers pings and Close, also after the sending half was dropped.
/// Dropping both closes the socket. It is also a [`Stream`](futures_core::Stream).
#[derive(Debug)]
pub struct RecvHalf<S: AsyncRead + AsyncWrite + Unpin> {
    pub(super) reader: Reader,
    pub(super) link: Half<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RecvHalf<S> {
    /// Waits for the next message; see [`WebSocket::recv`](super::WebSocket::recv). Cancel safe.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.link, false)).await?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy. Cancel safe.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_borrowed(&mut self) -> Result<Option<MessageRef<'_>>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.link, false)).await?;
        Ok(self.reader.input.event())
    }

    /// Waits for the next part of a message; see [`WebSocket::recv_part`](super::WebSocket::recv_part).
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        poll_fn(|cx| self.reader.poll_next(cx, &mut self.link, true)).await?;
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for RecvHalf<S> {
    fn drop(&mut self) {
        self.link.shared.receiver_gone.store(true, Ordering::Release);
    }
}

/// The half that sends. It is also a [`Sink`](futures_sink::Sink).
#[derive(Debug)]
pub struct SendHalf<S: AsyncRead + AsyncWrite + Unpin> {
    shared: Arc<Shared<S>>,
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
        self.relieve().await
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
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.shared.with(|writer| writer.sender.send_part(part, last, &mut writer.out))?;
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
        self.shared.queued()
    }

    /// For a [`Broadcast`](super::Broadcast).
    pub(super) fn peer(&self) -> Arc<dyn Peer>
    where
        S: Send + 'static,
    {
        Arc::<Shared<S>>::clone(&self.shared)
    }

    /// Hands all that is queued to the socket. Cancel safe: what was not written stays queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes what the socket takes at once, if much is queued; the rest can wait.
    async fn relieve(&mut self) -> Result<(), Error> {
        if self.queued() < FLUSH_FROM {
            return Ok(());
        }
        poll_fn(|cx| self.poll_flush_to_room(cx)).await
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
        self.shared.with(|writer| writer.sender.set_compression(on));
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
        if !self.shared.receiver_gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let shared = &self.shared;
        poll_fn(|cx| shared.writer().poll_shutdown(cx, Side::Sending)).await?;
        Ok(Some(End::Unconfirmed))
    }

    pub(super) fn queue(&mut self, message: Message) -> Result<(), Error> {
        Ok(self.shared.with(|writer| writer.sender.send_owned(message, &mut writer.out))?)
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.shared.writer().is_full() {
            self.poll_flush_to_room(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Ready where there is room, if not all is written.
    fn poll_flush_to_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.poll_flush(cx) {
            Poll::Pending if !self.shared.writer().is_full() => Poll::Ready(Ok(())),
            other => other,
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Replies are the receiving half's to hand over.
        self.shared.with(|writer| writer.poll_flush(cx, &mut Replies::default()))
    }

    /// Queues Close, and lets the receiving half know.
    pub(super) fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), SendError> {
        self.shared.with(|writer| writer.sender.start_close(code, reason, &mut writer.out))?;
        // Behind the flag: the receiving half has a deadline from now on.
        self.shared.writer().wake();
        Ok(())
    }
}
