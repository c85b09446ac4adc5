//! Halves for two tasks.
//!
//! Each half has its own handle of the stream. The queue's lock is held while the queue is polled. It is never
//! held across an await, or while a message is decoded. So neither half waits for the other.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::broadcast::{Offered, Peer, SlowPeer};
use super::io::{Io, Locked, poll_read};
use super::reader::{Link, Reader};
use super::waiters::Side;
use super::writer::Writer;
use crate::adapter::{Error, FLUSH_FROM, FLUSH_PARTS_FROM};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Refusal};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::prepared::Prepared;
use crate::protocol::replies::Replies;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;

/// What both halves share.
struct Shared<I: Io> {
    writer: Mutex<Writer<Locked<I>>>,
    // The receiving half reads these for each message, without the lock.
    close_sent: AtomicBool,
    gave_up: AtomicBool,
    receiver_gone: AtomicBool,
}

impl<I: Io> Shared<I> {
    fn writer(&self) -> MutexGuard<'_, Writer<Locked<I>>> {
        // A panic elsewhere breaks nothing in a writer, so poison is ignored here.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self) -> usize {
        self.writer().out.len()
    }

    /// Runs with the writer, and updates the flags.
    fn with<T>(&self, run: impl FnOnce(&mut Writer<Locked<I>>) -> T) -> T {
        let mut writer = self.writer();
        let result = run(&mut writer);
        self.close_sent.store(writer.sender.close_sent(), Ordering::Release);
        self.gave_up.store(writer.gave_up(), Ordering::Release);
        result
    }
}

impl<I: Io + Send> Peer for Shared<I>
where
    I::Timer: Send,
{
    fn offer(&self, message: &Prepared, slow: SlowPeer, mark: usize) -> Offered {
        self.with(|writer| writer.offer(message, slow, mark))
    }

    fn queued(&self) -> usize {
        Shared::queued(self)
    }
}

pub(super) fn split<I: Io>(
    reader: Box<Reader<I>>,
    mut writer: Writer<I>,
) -> (SendHalf<I>, RecvHalf<I>) {
    writer.try_write();
    let mut stream = None;
    let mut writer = writer.map(|io| stream.insert(Locked::new(io)).clone());
    writer.share();
    let shared = Arc::new(Shared {
        close_sent: AtomicBool::new(writer.sender.close_sent()),
        gave_up: AtomicBool::new(writer.gave_up()),
        receiver_gone: AtomicBool::new(false),
        writer: Mutex::new(writer),
    });
    let link = Half { stream, shared: Arc::clone(&shared) };
    (SendHalf { shared }, RecvHalf { reader, link })
}

/// The receiving side's way to the writer.
pub(super) struct Half<I: Io> {
    /// `None` only if the writer had lost its stream.
    stream: Option<Locked<I>>,
    shared: Arc<Shared<I>>,
}

impl<I: Io> Link for Half<I> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        poll_read(stream, cx, input)
    }

    fn close_sent(&self) -> bool {
        self.shared.close_sent.load(Ordering::Acquire)
    }

    fn state(&self) -> SendState {
        let writer = self.shared.writer();
        writer.sender.state(&writer.out)
    }

    fn gave_up(&self) -> bool {
        self.shared.gave_up.load(Ordering::Acquire)
    }

    fn give_up(&mut self) {
        self.shared.with(Writer::give_up);
    }

    fn answer(&mut self, replies: &mut Replies) {
        self.shared.with(|writer| writer.sender.answer(replies, &mut writer.out));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_send_of_half(cx, replies))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_shutdown(cx, Side::Receiving))
    }

    fn watch(&mut self, cx: &mut Context<'_>) {
        self.shared.writer().watch(cx);
    }

    fn fed(&self) -> usize {
        // The sending half itself writes the bytes that it fed.
        0
    }

    fn has_lost(&self) -> bool {
        self.shared.writer().has_lost()
    }

    fn is_at_rest(&mut self) -> bool {
        self.shared.writer().is_at_rest()
    }

    fn send_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.shared.with(|writer| writer.deadline(now))
    }

    fn queued(&self) -> usize {
        self.shared.queued()
    }

    fn shut(&mut self) {
        self.shared.with(Writer::shut);
    }
}

/// The half that receives. It answers pings and Close, even after the sending half was dropped.
/// Dropping both closes the socket. It is also a [`Stream`](futures_core::Stream).
///
/// ```no_run
/// # async fn run(ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), bowline::Error> {
/// let (mut sender, mut receiver) = ws.split();
/// tokio::spawn(async move { sender.send("Hello").await });
/// while let Some(message) = receiver.recv_borrowed().await? {
///     println!("{message:?}");
/// }
/// println!("{:?}", receiver.end());
/// # Ok(())
/// # }
/// ```
pub struct RecvHalf<I: Io> {
    pub(super) reader: Box<Reader<I>>,
    pub(super) link: Half<I>,
}

impl<I: Io> fmt::Debug for RecvHalf<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl<I: Io> RecvHalf<I> {
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

    /// The numbers of what was received, and the round trip: see [`WebSocket::stats`](super::WebSocket::stats). Add
    /// those of the sending half for all of them.
    pub fn stats(&self) -> Stats {
        self.reader.receiver.stats(I::now())
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }
}

impl<I: Io> Drop for RecvHalf<I> {
    fn drop(&mut self) {
        self.link.shared.receiver_gone.store(true, Ordering::Release);
    }
}

/// The half that sends. It is also a [`Sink`](futures_sink::Sink).
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// # async fn talk(ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), bowline::Error> {
/// let (mut sender, mut receiver) = ws.split();
/// let reader = tokio::spawn(async move {
///     while let Some(message) = receiver.recv().await? {
///         println!("{} bytes", message.as_bytes().len());
///     }
///     receiver.end().map_or(Ok(()), bowline::End::result)?;
///     Ok::<_, bowline::Error>(())
/// });
/// sender.send("Hello").await?;
/// sender.close(1000, "").await?;
/// reader.await.expect("the reader does not panic")
/// # }
/// ```
///
/// While the receiving half waits for input, it also watches [`Config::send_timeout`](crate::Config::send_timeout)
/// for the bytes that this half queued.
pub struct SendHalf<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> fmt::Debug for SendHalf<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("writer", &*self.shared.writer()).finish_non_exhaustive()
    }
}

impl<I: Io> SendHalf<I> {
    /// Sends a message: its bytes have been handed to the socket when this is done. Cancel safe as
    /// [`WebSocket::send`](super::WebSocket::send) is.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            self.shared.with(|writer| {
                ready!(poll_queue(writer, cx, &mut message))?;
                writer.poll_flush(cx, &mut Replies::default())
            })
        })
        .await
    }

    /// Queues a message. It leaves with the next `send` or `flush`, when 64 KiB are queued, or when the
    /// receiving half next has something to do. Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            self.shared.with(|writer| {
                if message.is_some() {
                    ready!(poll_queue(writer, cx, &mut message))?;
                    if writer.out.len() < FLUSH_FROM {
                        writer.tell();
                        return Poll::Ready(Ok(()));
                    }
                }
                // Write what the socket takes at once. The rest can wait while there is room.
                poll_flush_to_room(writer, cx)
            })
        })
        .await
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
        let mut part = Some(part.into());
        poll_fn(|cx| {
            self.shared.with(|writer| {
                if let Some(queueing) = part {
                    ready!(poll_room(writer, cx))?;
                    writer.sender.send_part(queueing, last, &mut writer.out)?;
                    part = None;
                }
                if last || writer.out.len() >= FLUSH_PARTS_FROM {
                    return writer.poll_flush(cx, &mut Replies::default());
                }
                writer.tell();
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    /// Waits until there is room in the queue. A `feed` after it does not wait, unless something else takes the
    /// room first, such as a [`Broadcast`](super::Broadcast). Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes are queued. There is room below
    /// [`Config::max_send_queue`](crate::Config::max_send_queue).
    pub fn queued(&self) -> usize {
        self.shared.queued()
    }

    /// The numbers of what was sent: see [`WebSocket::stats`](super::WebSocket::stats). Add those of the receiving
    /// half for all of them.
    pub fn stats(&self) -> Stats {
        self.shared.writer().sender.stats(I::now())
    }

    /// For a [`Broadcast`](super::Broadcast).
    pub(super) fn peer(&self) -> Arc<dyn Peer>
    where
        I: Send + 'static,
        I::Timer: Send,
    {
        Arc::<Shared<I>>::clone(&self.shared)
    }

    /// Hands all that is queued to the socket. Cancel safe: what was not written stays queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). If queued bytes were lost, because the connection ended before they left, every
    /// flush fails from then on.
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
        self.shared.with(|writer| writer.sender.set_compression(on));
    }

    /// Sends Close, unless that was done or the connection has ended. The receiving half goes on until the
    /// peer's Close, and says how the connection ended. If that half was dropped, this gives
    /// [`End::Unconfirmed`] after the write side of the socket was shut, or after
    /// [`Config::close_timeout`](crate::Config::close_timeout). Cancel safe as [`send`](Self::send) is:
    /// call it again to go on.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent. [`Error::Ended`] if the peer takes nothing.
    /// [`Error::Io`].
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Option<End>, Error> {
        self.start_close(code, reason)?;
        // Bytes that were lost when the connection ended are no error of Close.
        if !self.shared.writer().has_lost() {
            self.flush().await?;
        }
        if !self.shared.receiver_gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let since = I::now();
        poll_fn(|cx| self.shared.with(|writer| writer.poll_shutdown_in_time(cx, since))).await?;
        Ok(Some(End::Unconfirmed))
    }

    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.shared.with(|writer| writer.start_send(message))
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.with(|writer| poll_room(writer, cx))
    }

    /// For a `Sink`, which must take the next message whatever happens in between.
    pub(super) fn poll_promise(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.with(|writer| {
            ready!(poll_room(writer, cx))?;
            writer.promise();
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // The receiving half hands over the replies.
        self.shared.with(|writer| writer.poll_flush(cx, &mut Replies::default()))
    }

    /// Queues Close, unless nothing can be sent any more, and wakes the receiving half.
    pub(super) fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), Error> {
        let queued =
            self.shared.with(|writer| writer.sender.start_close(code, reason, &mut writer.out));
        match queued {
            // This comes after the flag is set: the receiving half has a deadline from now on.
            Ok(()) => self.shared.writer().wake(),
            Err(error) if error.refusal() == Refusal::Closed => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Waits for room, and queues the message if that was not done. Both happen under one lock, so nothing can take
/// the room in between.
fn poll_queue<I: Io>(
    writer: &mut Writer<I>,
    cx: &mut Context<'_>,
    message: &mut Option<Message>,
) -> Poll<Result<(), Error>> {
    if message.is_some() {
        ready!(poll_room(writer, cx))?;
    }
    Poll::Ready(writer.queue(message))
}

fn poll_room<I: Io>(writer: &mut Writer<I>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    // There is no wait for a closed writer: the refusal says that it is closed.
    if writer.is_full() && !writer.sender.is_closed() {
        poll_flush_to_room(writer, cx)
    } else {
        Poll::Ready(Ok(()))
    }
}

/// Writes. It is ready when all is written, or when there is room.
fn poll_flush_to_room<I: Io>(
    writer: &mut Writer<I>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    match writer.poll_flush(cx, &mut Replies::default()) {
        Poll::Pending if !writer.is_full() => Poll::Ready(Ok(())),
        other => other,
    }
}
