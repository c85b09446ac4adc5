//! The half that sends.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::adapter::{Error, FLUSH_FROM, FLUSH_PARTS_FROM};
use crate::asynchronous::broadcast::Peer;
use crate::asynchronous::io::{Io, Locked, Wrap};
use crate::asynchronous::waiters::Place;
use crate::asynchronous::writer::{Point, Writer};
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Refusal, SendError};
use crate::protocol::message::{Message, MessageRef};
use crate::protocol::replies::Replies;
use crate::protocol::stats::Stats;

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
///
/// # Clones
///
/// A clone sends on the same connection, and each may be in a task of its own. The messages of one arrive in their order,
/// and whole. Between the parts of a message ([`send_part`](Self::send_part)), messages and parts of the other halves are
/// refused with [`MessageOpen`](crate::Refusal::MessageOpen); pings and Close are not. If the half is dropped in the
/// middle of its message, the message cannot be ended, and only these can be sent from then on.
///
/// All share the queue, its limits and its errors. If the peer takes nothing, each that waits for its bytes to leave gets
/// [`Error::Ended`]. One that waits for room gets its message back, in [`Error::Send`]. Dropping a clone closes nothing:
/// the socket closes when the receiving half and all sending halves are gone.
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// # async fn talk(ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), bowline::Error> {
/// let (mut sender, _receiver) = ws.split();
/// let mut other = sender.clone();
/// tokio::spawn(async move { other.send("from another task").await });
/// sender.send("Hello").await
/// # }
/// ```
pub struct SendHalf<I: Io> {
    pub(super) shared: Arc<Shared<I>>,
    pub(super) own: Own,
}

/// What each clone has for itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) place: Place,
    /// A point in the queue that is after all that this half queued. It is made when the half waits.
    queued: Point,
    /// Whether messages are compressed, if that was agreed on.
    compression: bool,
    /// The `Sink` said that it is ready.
    promised: bool,
    /// This half began a message in parts, and has not ended it.
    in_message: bool,
}

impl<I: Io> fmt::Debug for SendHalf<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("writer", &*self.shared.writer()).finish_non_exhaustive()
    }
}

impl<I: Io> SendHalf<I> {
    /// Sends a message: its bytes have been handed to the socket when this is done. It does not wait for what other
    /// clones queue after it. Cancel safe as [`WebSocket::send`](crate::asynchronous::WebSocket::send) is.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            self.with(|own, writer| {
                ready!(own.poll_queue(writer, cx, &mut message))?;
                own.poll_sent(writer, cx)
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
            // This changes none of the flags that the halves share.
            let at_once = self.own.queue_at_once(&mut self.shared.writer(), &mut message);
            if let Some(queued) = at_once {
                return Poll::Ready(queued);
            }
            self.with(|own, writer| {
                if message.is_some() {
                    ready!(own.poll_queue(writer, cx, &mut message))?;
                    if writer.out.len() < FLUSH_FROM {
                        writer.tell();
                        return Poll::Ready(Ok(()));
                    }
                }
                // Write what the socket takes at once. The rest can wait while there is room.
                own.poll_flush_to_room(writer, cx)
            })
        })
        .await
    }

    /// Queues a message if there is room, and never waits. It leaves as after [`feed`](Self::feed), but this writes
    /// nothing, also where 64 KiB are queued. To make room, let a task [`flush`](Self::flush), or wait until this is
    /// [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// The message comes back, with [`QueueFull`](Refusal::QueueFull) if there is no room, or with what else forbids it.
    pub fn try_feed(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        self.with(|own, writer| {
            own.queue(writer, |writer| writer.queue(message))?;
            writer.tell();
            Ok(())
        })
    }

    /// Sends a part of a message; see [`WebSocket::send_part`](crate::asynchronous::WebSocket::send_part). Cancel
    /// safe as [`send`](Self::send) is, for the part.
    ///
    /// # Errors
    ///
    /// As there. [`Error::Send`] with [`MessageOpen`](Refusal::MessageOpen) if another clone is in the middle of a
    /// message.
    pub async fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let mut part = Some(part.into());
        poll_fn(|cx| {
            self.with(|own, writer| {
                if let Some(queueing) = part {
                    ready!(own.poll_room(writer, cx))?;
                    own.queue_part(writer, queueing, last)?;
                    part = None;
                }
                if last || writer.out.len() >= FLUSH_PARTS_FROM {
                    return own.poll_sent(writer, cx);
                }
                writer.tell();
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    /// Waits until there is room in the queue. A `feed` after it does not wait, unless something else takes the
    /// room first, such as another clone or a [`Broadcast`](crate::asynchronous::Broadcast). Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes are queued, by all clones. There is room below
    /// [`Config::max_send_queue`](crate::Config::max_send_queue).
    pub fn queued(&self) -> usize {
        self.shared.queued()
    }

    /// The numbers of what was sent, by all clones: see
    /// [`WebSocket::stats`](crate::asynchronous::WebSocket::stats). Add those of the receiving half for all of them.
    pub fn stats(&self) -> Stats {
        self.shared.writer().sender.stats(I::now())
    }

    /// Lends the stream, for its addresses and options. It is locked meanwhile, so no half reads or writes: be quick, and
    /// use none of the halves. Reading from it or writing to it breaks the connection.
    ///
    #[cfg_attr(feature = "tokio", doc = "```no_run")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// # fn peer(sender: bowline::tokio::SendHalf<tokio::net::TcpStream>) -> std::io::Result<std::net::SocketAddr> {
    /// sender.with_ref(|stream| stream.peer_addr())
    /// # }
    /// ```
    pub fn with_ref<T>(&self, run: impl FnOnce(&I::Stream) -> T) -> T
    where
        I: Wrap,
    {
        // Without the lock of the queue, which others may need meanwhile.
        let stream = self.shared.writer().stream();
        stream.with_ref(run)
    }

    /// For a [`Broadcast`](crate::asynchronous::Broadcast).
    pub(in crate::asynchronous) fn peer(&self) -> Arc<dyn Peer>
    where
        I: Send + 'static,
        I::Timer: Send,
    {
        Arc::<Shared<I>>::clone(&self.shared)
    }

    /// Hands all that is queued to the socket, also what other clones queued before. Cancel safe: what was not written
    /// stays queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). If queued bytes were lost, because the connection ended before they left, every
    /// flush fails from then on.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let mut is_begun = false;
        poll_fn(|cx| {
            self.with(|own, writer| {
                // All that waits now, whoever queued it.
                if !core::mem::replace(&mut is_begun, true) {
                    own.queued = Point::NEXT;
                }
                own.poll_sent(writer, cx)
            })
        })
        .await
    }

    /// Sends a ping; see [`WebSocket::ping`](crate::asynchronous::WebSocket::ping). Cancel safe as
    /// [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload)).await
    }

    /// As [`WebSocket::set_compression`](crate::asynchronous::WebSocket::set_compression), for what this half sends. A
    /// new clone begins with what it was cloned from. What a [`Broadcast`](crate::asynchronous::Broadcast) sends follows the
    /// last call on any half of the connection.
    pub fn set_compression(&mut self, on: bool) {
        self.own.compression = on;
        self.shared.with(|writer| writer.sender.set_compression(on));
    }

    /// Sends Close, unless that was done or the connection has ended. The receiving half goes on until the
    /// peer's Close, and says how the connection ended. If that half was dropped, this gives
    /// [`End::Unconfirmed`] after the write side of the socket was shut, or after
    /// [`Config::close_timeout`](crate::Config::close_timeout). It is Ok for each clone. Cancel safe as
    /// [`send`](Self::send) is: call it again to go on.
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
        let code = code.into();
        // What a sink took before goes before Close.
        poll_fn(|cx| {
            self.with(
                |own, writer| {
                    if writer.holds() { own.poll_room(writer, cx) } else { Poll::Ready(Ok(())) }
                },
            )
        })
        .await?;
        self.start_close(code, reason)?;
        // Bytes that were lost when the connection ended are no error of Close.
        if !self.shared.writer().has_lost() {
            self.flush().await?;
        }
        if !self.shared.receiver_gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let since = I::now();
        poll_fn(|cx| self.with(|own, writer| writer.poll_shutdown_in_time(cx, own.place, since)))
            .await?;
        Ok(Some(End::Unconfirmed))
    }

    /// Runs with what this half has, and the writer. A future that calls this holds one reference.
    #[inline]
    pub(super) fn with<T>(&mut self, run: impl FnOnce(&mut Own, &mut Writer<Locked<I>>) -> T) -> T {
        let own = &mut self.own;
        self.shared.with(|writer| run(own, writer))
    }

    pub(in crate::asynchronous) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.with(|own, writer| {
            let promised = core::mem::take(&mut own.promised);
            own.queue(writer, |writer| writer.start_send(message, promised))?;
            Ok(())
        })
    }

    pub(in crate::asynchronous) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.with(|own, writer| own.poll_room(writer, cx))
    }

    /// For a `Sink`, which must take the next message whatever happens in between.
    pub(in crate::asynchronous) fn poll_promise(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.with(|own, writer| {
            ready!(own.poll_room(writer, cx))?;
            own.promised = true;
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what this half queued.
    pub(in crate::asynchronous) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.with(|own, writer| own.poll_sent(writer, cx))
    }

    /// Queues Close, unless nothing can be sent any more, and wakes the receiving half.
    pub(in crate::asynchronous) fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<(), Error> {
        let queued = self.with(|own, writer| {
            own.queued = Point::NEXT;
            writer.sender.start_close(code, reason, &mut writer.out)
        });
        match queued {
            // This comes after the flag is set: the receiving half has a deadline from now on.
            Ok(()) => self.shared.waiters.wake_all(),
            Err(error) if error.refusal() == Refusal::Closed => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl<I: Io> Clone for SendHalf<I> {
    fn clone(&self) -> Self {
        let place = self.shared.waiters.enter();
        // The clone has promised nothing, and is in the middle of nothing.
        let own = Own { place, promised: false, in_message: false, ..self.own };
        Self { shared: Arc::clone(&self.shared), own }
    }
}

impl<I: Io> Drop for SendHalf<I> {
    fn drop(&mut self) {
        self.shared.waiters.leave(self.own.place);
    }
}

impl Own {
    /// Those of the half that `split` makes.
    pub(super) fn first<I: Io>(writer: &mut Writer<I>) -> Self {
        Self {
            place: Place::FIRST,
            queued: Point::NEXT,
            compression: writer.sender.compression(),
            promised: writer.take_promise(),
            in_message: writer.sender.is_message_open(),
        }
    }

    /// Gives to the writer of a whole WebSocket what this half has.
    pub(super) fn give_back<I: Io>(&self, writer: &mut Writer<I>) {
        writer.sender.set_compression(self.compression);
        if self.promised {
            writer.promise();
        }
    }

    /// Waits for room, and queues the message if that was not done. Both happen under one lock, so nothing can take
    /// the room in between.
    #[inline]
    fn poll_queue<I: Io>(
        &mut self,
        writer: &mut Writer<I>,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Error>> {
        if message.is_none() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_room(writer, cx))?;
        let Some(message) = message.take() else { return Poll::Ready(Ok(())) };
        // There is room, so no sink has a message that would go first.
        let queued =
            self.queue(writer, |writer| writer.sender.send_owned(message, &mut writer.out));
        Poll::Ready(queued.map_err(Error::from))
    }

    /// Queues a message that has room and need not be written yet. `None`: there is more to do.
    #[inline]
    fn queue_at_once<I: Io>(
        &mut self,
        writer: &mut Writer<I>,
        message: &mut Option<Message>,
    ) -> Option<Result<(), Error>> {
        if writer.is_full() {
            return None;
        }
        let message = message.take()?;
        let queued =
            self.queue(writer, |writer| writer.sender.send_owned(message, &mut writer.out));
        if let Err(error) = queued {
            return Some(Err(error.into()));
        }
        (writer.out.len() < FLUSH_FROM).then(|| {
            writer.tell();
            Ok(())
        })
    }

    /// Queues with the setting of this half.
    #[inline]
    pub(super) fn queue<I: Io, E>(
        &mut self,
        writer: &mut Writer<I>,
        queue: impl FnOnce(&mut Writer<I>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.queued = Point::NEXT;
        writer.compressing(self.compression, queue)
    }

    /// Queues a part, if no other half is in the middle of a message.
    fn queue_part<I: Io>(
        &mut self,
        writer: &mut Writer<I>,
        part: MessageRef<'_>,
        last: bool,
    ) -> Result<(), SendError> {
        if writer.sender.is_message_open() && !self.in_message {
            return Err(Refusal::MessageOpen.into());
        }
        self.queue(writer, |writer| writer.sender.send_part(part, last, &mut writer.out))?;
        self.in_message = !last;
        Ok(())
    }

    #[inline]
    pub(super) fn poll_room<I: Io>(
        &self,
        writer: &mut Writer<I>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // There is no wait for a closed writer: the refusal says that it is closed.
        if writer.is_full() && !writer.sender.is_closed() {
            self.poll_flush_to_room(writer, cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes. It is ready when all is written, or when there is room.
    #[inline(never)]
    fn poll_flush_to_room<I: Io>(
        &self,
        writer: &mut Writer<I>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        match self.poll_flush(writer, cx) {
            Poll::Pending if !writer.is_full() => Poll::Ready(Ok(())),
            other => other,
        }
    }

    /// Writes. It is ready when all that this half queued is written.
    pub(super) fn poll_sent<I: Io>(
        &mut self,
        writer: &mut Writer<I>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let flushed = self.poll_flush(writer, cx);
        // What sinks hold is not in the queue yet.
        if flushed.is_pending() && !writer.holds() {
            if self.queued == Point::NEXT {
                self.queued = writer.point();
            }
            if writer.has_left(self.queued) {
                return Poll::Ready(Ok(()));
            }
        }
        flushed
    }

    fn poll_flush<I: Io>(
        &self,
        writer: &mut Writer<I>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // The receiving half hands over the replies.
        writer.poll_flush(cx, self.place, &mut Replies::default())
    }
}
