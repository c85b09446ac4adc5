//! The half that receives.

use core::fmt;
use core::future::poll_fn;
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use super::{Half, SendHalf};
use crate::adapter::reunite::Apart;
use crate::adapter::{Error, ReuniteError};
use crate::asynchronous::WebSocket;
use crate::asynchronous::io::{Io, Wrap};
use crate::asynchronous::reader::Reader;
use crate::protocol::error::End;
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::stats::Stats;

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
    pub(in crate::asynchronous) reader: Box<Reader<I>>,
    pub(in crate::asynchronous) link: Half<I>,
}

impl<I: Io> fmt::Debug for RecvHalf<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl<I: Io> RecvHalf<I> {
    /// Waits for the next message; see [`WebSocket::recv`](crate::asynchronous::WebSocket::recv). Cancel safe.
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

    /// Waits for the next part of a message; see [`WebSocket::recv_part`](crate::asynchronous::WebSocket::recv_part).
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

    /// The numbers of what was received, and the round trip: see
    /// [`WebSocket::stats`](crate::asynchronous::WebSocket::stats). Add those of the sending half for all of them.
    pub fn stats(&self) -> Stats {
        self.reader.receiver.stats(I::now())
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// Lends the stream; see [`SendHalf::with_ref`].
    pub fn with_ref<T>(&self, run: impl FnOnce(&I::Stream) -> T) -> T
    where
        I: Wrap,
    {
        let Some(stream) = &self.link.stream else {
            unreachable!("only a WebSocket with a stream is split");
        };
        stream.with_ref(run)
    }

    /// Puts both halves together again. Nothing is lost: neither what is queued, nor a message that is under way in
    /// either direction, nor what was read.
    ///
    #[cfg_attr(feature = "tokio", doc = "```no_run")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// # async fn run(ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, receiver) = ws.split();
    /// // Nothing else has a clone of the sender now.
    /// let mut ws = receiver.reunite(sender)?;
    /// ws.close(1000, "").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Both halves come back if they belong to different connections, or while a clone of the sending half or a
    /// [`Member`](crate::asynchronous::Member) of a [`Broadcast`](crate::asynchronous::Broadcast) is there.
    pub fn reunite(
        self,
        sender: SendHalf<I>,
    ) -> Result<WebSocket<I>, ReuniteError<SendHalf<I>, Self>> {
        let why = if !Arc::ptr_eq(&sender.shared, &self.link.shared) {
            Apart::Strangers
        } else if Arc::strong_count(&sender.shared) > 2 {
            Apart::Shared
        } else {
            return Ok(super::reunite(sender, self));
        };
        Err(ReuniteError::new(sender, self, why))
    }
}
