//! The half that sends.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::adapter::{Error, FLUSH_FROM, FLUSH_PARTS_FROM};
use crate::asynchronous::broadcast::Peer;
use crate::asynchronous::io::Io;
use crate::asynchronous::writer::Writer;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Refusal};
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
pub struct SendHalf<I: Io> {
    pub(super) shared: Arc<Shared<I>>,
}

impl<I: Io> fmt::Debug for SendHalf<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("writer", &*self.shared.writer()).finish_non_exhaustive()
    }
}

impl<I: Io> SendHalf<I> {
    /// Sends a message: its bytes have been handed to the socket when this is done. Cancel safe as
    /// [`WebSocket::send`](crate::asynchronous::WebSocket::send) is.
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

    /// Sends a part of a message; see [`WebSocket::send_part`](crate::asynchronous::WebSocket::send_part). Cancel
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
    /// room first, such as a [`Broadcast`](crate::asynchronous::Broadcast). Cancel safe.
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

    /// The numbers of what was sent, by all clones: see
    /// [`WebSocket::stats`](crate::asynchronous::WebSocket::stats). Add those of the receiving half for all of them.
    pub fn stats(&self) -> Stats {
        self.shared.writer().sender.stats(I::now())
    }

    /// For a [`Broadcast`](crate::asynchronous::Broadcast).
    pub(in crate::asynchronous) fn peer(&self) -> Arc<dyn Peer>
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

    /// Sends a ping; see [`WebSocket::ping`](crate::asynchronous::WebSocket::ping). Cancel safe as
    /// [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload)).await
    }

    /// As [`WebSocket::set_compression`](crate::asynchronous::WebSocket::set_compression).
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

    pub(in crate::asynchronous) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.shared.with(|writer| writer.start_send(message))
    }

    pub(in crate::asynchronous) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.shared.with(|writer| poll_room(writer, cx))
    }

    /// For a `Sink`, which must take the next message whatever happens in between.
    pub(in crate::asynchronous) fn poll_promise(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.shared.with(|writer| {
            ready!(poll_room(writer, cx))?;
            writer.promise();
            Poll::Ready(Ok(()))
        })
    }

    pub(in crate::asynchronous) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // The receiving half hands over the replies.
        self.shared.with(|writer| writer.poll_flush(cx, &mut Replies::default()))
    }

    /// Queues Close, unless nothing can be sent any more, and wakes the receiving half.
    pub(in crate::asynchronous) fn start_close(
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
