//! The blocking adapter: WebSockets over the sockets of `std`, or over any `Read + Write`.
//!
//! A client:
//!
//! ```no_run
//! let mut ws = bowline::blocking::connect("ws://127.0.0.1:9001/")?;
//! ws.send("Hello")?;
//! if let Some(message) = ws.recv()? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! ws.close(1000, "")?;
//! # Ok::<(), bowline::Error>(())
//! ```
//!
//! A server, which reads each connection in a thread of its own:
//!
//! ```no_run
//! use std::net::TcpListener;
//! use bowline::{Config, blocking};
//!
//! let config = Config::default();
//! for socket in TcpListener::bind("127.0.0.1:9001")?.incoming() {
//!     let (socket, config) = (socket?, config.clone());
//!     std::thread::spawn(move || -> Result<(), bowline::Error> {
//!         socket.set_nodelay(true)?;
//!         let mut ws = blocking::accept(socket, config)?;
//!         while let Some(message) = ws.recv()? {
//!             ws.send(message)?;
//!         }
//!         Ok(())
//!     });
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`Incoming`] lets the server look at the request before it answers.
//!
//! One thread can send while another receives:
//!
//! ```no_run
//! # let ws = bowline::blocking::connect("ws://127.0.0.1:9001/")?;
//! let (mut sender, mut receiver) = ws.split()?;
//! let sending = std::thread::spawn(move || {
//!     sender.send("Hello")?;
//!     sender.close(1000, "")
//! });
//! while let Some(message) = receiver.recv()? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! sending.join().unwrap()?;
//! # Ok::<(), bowline::Error>(())
//! ```

mod byte_stream;
mod dial;
mod half;
mod leaving;
mod maybe_tls;
mod opening;
mod outbox;
mod patience;
mod reader;
mod reconnecting;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
mod writer;

pub use byte_stream::ByteStream;
pub use dial::{connect, connect_over, connect_with};
pub use half::{RecvHalf, SendHalf};
pub use maybe_tls::MaybeTls;
pub use opening::{Incoming, accept, client, tunnel};
pub use reconnecting::{Reconnecting, Session};
pub use stream::{BlockingStream, Plain};
#[cfg(feature = "rustls")]
pub use tls::TlsStream;

use core::time::Duration;
use std::time::Instant;
use std::vec::Vec;

use crate::adapter::{Closed, Error, FLUSH_FROM, epoch, seed_keepalive};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::Connection;
use crate::protocol::error::{End, Refusal, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::stats::Stats;
use half::if_would_block;
use patience::now;
use reader::{Limit, Reader};
use writer::Writer;

/// A WebSocket over a blocking stream.
///
/// Methods that wait do so until their work is done, the peer is gone, or a timeout of
/// [`Config`](crate::Config) runs out.
///
/// Messages that [`feed`](Self::feed) queued leave in one write: when `recv` has to wait for the socket, when
/// 64 KiB are queued, or with `send`, `flush`, `close` and `into_inner`. Dropping the value makes one attempt,
/// of a few milliseconds at most.
///
/// # To wait for some time only
///
/// [`recv_timeout`](Self::recv_timeout) and [`recv_deadline`](Self::recv_deadline) hold whatever the peer
/// sends. They give [`Error::TimedOut`]. Nothing is lost, and the next call goes on.
///
/// A read timeout that you set on the socket itself makes `recv` give [`Error::Io`] with
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock) (`TimedOut` on some systems). Nothing is lost then either.
/// It begins anew with each byte of a message, as on the socket; pings do not prolong it. The library leaves
/// this timeout on the socket as you set it. It sets the write timeout itself. [`close`](Self::close) ignores
/// both.
///
/// # Non-blocking mode
///
/// The library never changes the mode of your socket. If you put it in non-blocking mode, a method that would
/// have to wait gives [`Error::Io`] with `WouldBlock` at once, and nothing is lost:
///
/// - `recv` goes on with the next call.
/// - `send` and `start_close` have queued the message or the Close. Call [`flush`](Self::flush) until it is
///   Ok, and do not send it again.
/// - `feed` is Ok: the message is queued.
/// - If the queue is full and nothing can leave, `send` and `feed` give the message back, as
///   [`Error::Send`] with [`QueueFull`](crate::Refusal::QueueFull).
/// - `close` goes on with the next call.
///
/// An opening handshake needs a blocking socket, and otherwise fails with an error that says so. Timeouts are
/// checked only when a method is called, so call one also when a timeout is due.
#[derive(Debug)]
pub struct WebSocket<S: BlockingStream> {
    reader: Reader,
    writer: Writer<S>,
}

impl<S: BlockingStream> WebSocket<S> {
    /// A WebSocket whose opening handshake was done elsewhere. `input` holds the bytes that were read after
    /// the handshake, or is new.
    ///
    /// ```no_run
    /// # fn serve(stream: std::net::TcpStream, read: &[u8]) -> Result<(), bowline::Error> {
    /// use bowline::handshake::{Accept, Request};
    /// use bowline::{Config, RecvBuf, blocking::WebSocket};
    ///
    /// // Another HTTP parser has read the head of the request, and perhaps the first frames.
    /// let headers = [("Host", "example.com"), ("Upgrade", "websocket")];
    /// let request = Request::from_parts("GET", "/chat", headers)?;
    /// let (connection, _response) = request.upgrade(&Config::default())?.accept(Accept::new())?;
    /// // Send the response first.
    /// let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::with_unread(read))?;
    /// ws.send("Hello")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the stream refuses its write timeout.
    pub fn from_connection(
        stream: S,
        mut connection: Connection,
        input: RecvBuf,
    ) -> Result<Self, Error> {
        seed_keepalive(&mut connection);
        let (receiver, sender, replies) = connection.into_halves();
        let writer = Writer::new(stream, sender)?;
        let mut reader = Reader::new(receiver, replies, input);
        reader.opened.begin(now);
        Ok(Self { reader, writer })
    }

    /// Waits for the next message. `None` says that the peer sent Close, with whatever code: ask
    /// [`end`](Self::end) whether it was a normal one.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] once the connection has ended in another way, now and on every later call. If the
    /// peer broke the protocol, it was sent a Close with the reason. [`Error::Io`] as the stream gives it.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.recv_limited(Limit::OfStream)
    }

    /// Waits for the next message, at most this long. The timeout also holds while the peer pings, sends one
    /// byte now and then, or takes nothing. It replaces the read timeout of the socket for this call.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use bowline::Error;
    ///
    /// # fn poll(mut ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), Error> {
    /// loop {
    ///     match ws.recv_timeout(Duration::from_secs(1)) {
    ///         Ok(Some(message)) => println!("{message:?}"),
    ///         Ok(None) => return Ok(()),
    ///         Err(Error::TimedOut) => println!("nothing for a second"),
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// [`Duration::ZERO`] takes what is there: it reads once, for at most a millisecond. With
    /// [`Duration::MAX`] it is `recv` without the read timeout of the socket.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] when the time is over. The connection goes on, nothing is lost, and the next call
    /// continues where this one stopped. Otherwise as [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.recv_limited(Limit::At(now().saturating_add(timeout)))
    }

    /// Like [`recv_timeout`](Self::recv_timeout), until a point in time.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Option<Message>, Error> {
        self.recv_limited(Limit::At(deadline_of(deadline)))
    }

    fn recv_limited(&mut self, limit: Limit) -> Result<Option<Message>, Error> {
        self.reader.next(&mut self.writer, false, limit)?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy, with a handle to answer it:
    ///
    /// ```no_run
    /// # fn echo(mut ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), bowline::Error> {
    /// while let Some((message, mut out)) = ws.recv_borrowed()? {
    ///     out.feed(message)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub fn recv_borrowed(&mut self) -> Result<Option<(MessageRef<'_>, Outgoing<'_, S>)>, Error> {
        self.borrow_limited(Limit::OfStream)
    }

    /// Like [`recv_borrowed`](Self::recv_borrowed), until a point in time.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_borrowed_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<(MessageRef<'_>, Outgoing<'_, S>)>, Error> {
        self.borrow_limited(Limit::At(deadline_of(deadline)))
    }

    #[inline]
    fn borrow_limited(
        &mut self,
        limit: Limit,
    ) -> Result<Option<(MessageRef<'_>, Outgoing<'_, S>)>, Error> {
        self.reader.next(&mut self.writer, false, limit)?;
        Ok(self.reader.input.event().map(|message| (message, Outgoing(&mut self.writer))))
    }

    /// Waits for the next part of a message. So a message of any size takes no more memory than one buffer.
    /// `None` after the peer's Close. A `recv` in the middle of a message skips its rest.
    ///
    /// [`Config::max_message_size`](crate::Config::max_message_size) still holds; raise it for large
    /// messages.
    ///
    /// # Errors
    ///
    /// As `recv`. The parts that came before the error belong to no whole message.
    pub fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.writer, true, Limit::OfStream)?;
        Ok(self.reader.input.part())
    }

    /// Like [`recv_part`](Self::recv_part), until a point in time.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_part_deadline(&mut self, deadline: Instant) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.writer, true, Limit::At(deadline_of(deadline)))?;
        Ok(self.reader.input.part())
    }

    /// Sends a message: its bytes were handed to the socket when this returns.
    ///
    /// Sending reads nothing. So while a program only sends, it does not answer the peer's pings, does not see
    /// its Close, and runs no keepalive. Call [`recv`](Self::recv) or
    /// [`recv_timeout`](Self::recv_timeout) now and then, or [`split`](Self::split) and receive in another
    /// thread.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] with the message if it was refused; [`Error::Ended`] if the peer does not
    /// read ([`Config::send_timeout`](crate::Config::send_timeout)); [`Error::Io`]. In
    /// [non-blocking mode](Self#non-blocking-mode) `WouldBlock` says that the message is queued.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.queue(message.into())?;
        self.flush()
    }

    /// Queues a message. The documentation of the type says when it leaves. A handler that answers at once
    /// should use this: with `recv` it costs one write for many messages. A handler that works for long before
    /// the next `recv` delays the messages that it fed, and should `send`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), except that `WouldBlock` is not an error here.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.queue(message.into())?;
        self.relieve()
    }

    /// Queues a message if there is room, and never waits. It leaves as after [`feed`](Self::feed), but this writes
    /// nothing, also where 64 KiB are queued. To make room, [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The message comes back, with [`QueueFull`](Refusal::QueueFull) if there is no room, or with what else forbids it.
    pub fn try_feed(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.writer.sender.send_owned(message.into(), &mut self.writer.out)
    }

    /// Writes if the queue is full.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.writer.is_full() { self.flush().or_else(if_would_block) } else { Ok(()) }
    }

    fn queue(&mut self, message: Message) -> Result<(), Error> {
        self.make_room()?;
        Ok(self.writer.sender.send_owned(message, &mut self.writer.out)?)
    }

    /// Sends a part of a message whose length need not be known. The part with `last` ends the message. Parts
    /// are queued and leave as fed messages do, and with the last part. Pings and Close may come in between.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). Another message has to wait until this one has ended.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        self.make_room()?;
        self.writer.sender.send_part(part, last, &mut self.writer.out)?;
        if last { self.flush() } else { self.relieve() }
    }

    /// Hands all that is queued to the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if the peer does not read, [`Error::Io`]. If queued bytes were thrown away, because the
    /// connection ended before they could leave, this gives
    /// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) from then on. [`end`](Self::end) says why.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.check_lost()?;
        self.reader.flush(&mut self.writer, None)
    }

    fn relieve(&mut self) -> Result<(), Error> {
        if self.writer.out.len() < FLUSH_FROM {
            return Ok(());
        }
        self.flush().or_else(if_would_block)
    }

    /// Sends a ping with at most 125 bytes. The peer's pong is received only with
    /// [`Config::report_control_frames`](crate::Config::report_control_frames).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload))
    }

    /// Sends Close. Go on with [`recv`](Self::recv) until it gives `None`, to get the messages that the peer
    /// sent before its own Close.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, or if Close was sent already.
    pub fn start_close(&mut self, code: impl Into<CloseCode>, reason: &str) -> Result<(), Error> {
        self.writer.sender.start_close(code, reason, &mut self.writer.out)?;
        self.flush()
    }

    /// Closes the connection. It sends Close unless that was done, and waits for the peer's Close, at most
    /// [`Config::close_timeout`](crate::Config::close_timeout) after ours has left. It drops the messages that
    /// come before the peer's Close, and counts them.
    ///
    /// Fed messages leave first, and the peer has [`Config::send_timeout`](crate::Config::send_timeout) for
    /// them. The read timeout of the socket does not cut this short. It is no error to close twice, or after
    /// the peer's Close.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, [`Error::Io`]. If the peer did not answer,
    /// that is no error: [`Closed::end`] says so.
    pub fn close(&mut self, code: impl Into<CloseCode>, reason: &str) -> Result<Closed, Error> {
        match self.writer.sender.start_close(code, reason, &mut self.writer.out) {
            Err(error) if error.refusal() != Refusal::Closed => return Err(error.into()),
            _ => {}
        }
        let mut discarded = 0;
        loop {
            match self.reader.next(&mut self.writer, false, Limit::None) {
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
        let now = patience::now();
        self.reader.receiver.stats(now) + self.writer.sender.stats(now)
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// The stream. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        self.writer.get_ref()
    }

    /// Flushes, and splits the connection for one thread that receives and one that sends. Neither ever waits
    /// for the other.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), or if the stream has no second handle ([`BlockingStream::try_clone`]).
    pub fn split(mut self) -> Result<(SendHalf<S>, RecvHalf<S>), Error> {
        // In non-blocking mode, the sending half takes over what is still queued.
        self.flush().or_else(if_would_block)?;
        half::split(self.reader, self.writer)
    }

    /// Flushes, and gives back the stream and the bytes that were read from it and not used.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). The stream is lost then. In
    /// [non-blocking mode](Self#non-blocking-mode), flush first.
    pub fn into_inner(mut self) -> Result<(S, Vec<u8>), Error> {
        self.flush()?;
        let unread = self.reader.input.unread().to_vec();
        Ok((self.writer.into_stream()?, unread))
    }
}

/// A point in time on the clock of the connections.
fn deadline_of(at: Instant) -> Duration {
    at.saturating_duration_since(epoch())
}

/// Answers the message that [`WebSocket::recv_borrowed`] lent.
#[derive(Debug)]
pub struct Outgoing<'a, S: BlockingStream>(&'a mut Writer<S>);

impl<S: BlockingStream> Outgoing<'_, S> {
    /// Queues a message; it leaves as after [`WebSocket::feed`]. The payload is copied once.
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
