//! The blocking adapter: loops around `std` sockets, or any `Read + Write`.
//!
//! ```no_run
//! let mut ws = bowline::blocking::connect("ws://127.0.0.1:9001/")?;
//! ws.send("Hello")?;
//! println!("{:?}", ws.recv()?);
//! ws.close(1000, "")?;
//! # Ok::<(), bowline::Error>(())
//! ```
//!
//! A server reads each connection in a thread of its own: see [`accept`], and [`Incoming`] for one
//! that looks at the request first. [`WebSocket::split`] gives halves for two threads.

mod half;
mod io;
mod maybe_tls;
mod opening;
mod stream;
#[cfg(feature = "rustls")]
mod tls;

pub use half::{RecvHalf, SendHalf};
pub use maybe_tls::MaybeTls;
pub use opening::{Incoming, accept, client, connect, connect_with};
pub use stream::{BlockingStream, Plain};
#[cfg(feature = "rustls")]
pub use tls::TlsStream;

use core::time::Duration;
use std::vec::Vec;

use crate::adapter::{Closed, Error, FLUSH_FROM, seed_keepalive};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::Connection;
use crate::protocol::error::{End, Refusal, SendError};
use crate::protocol::message::{Message, MessageRef, Part};
use io::{Reader, Writer};

/// A WebSocket over a blocking stream.
///
/// Methods that wait do so until their work is done, the peer is gone, or a timeout of
/// [`Config`](crate::Config) runs out. A read timeout that is set on the socket itself makes `recv`
/// return [`Error::Io`]; nothing is lost, and `recv` may be called again.
///
/// What [`feed`](Self::feed) queued leaves, in one write, when `recv` has to wait for the socket, or
/// when 64 KiB are queued, or with `send`, `flush`, `close`, `into_inner`; dropping the value makes
/// one attempt that does not block.
#[derive(Debug)]
pub struct WebSocket<S: BlockingStream> {
    reader: Reader,
    writer: Writer<S>,
}

impl<S: BlockingStream> WebSocket<S> {
    /// A WebSocket whose opening handshake was done elsewhere. `input` holds what was read behind
    /// it, or is new.
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
        stream.set_write_timeout(sender.config().write_timeout())?;
        Ok(Self {
            reader: Reader::new(receiver, replies, input),
            writer: Writer::new(stream, sender),
        })
    }

    /// Waits for the next message; `None` after a clean close.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] once the connection has ended otherwise, now and on every later call. If
    /// the peer broke the protocol, it has been told by then. [`Error::Io`] as the stream gives it.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.reader.next(&mut self.writer, false)?;
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
        self.reader.next(&mut self.writer, false)?;
        Ok(self.reader.input.event().map(|message| (message, Outgoing(&mut self.writer))))
    }

    /// Waits for the next part of a message, so that a message of any size takes no more memory than
    /// a buffer; `None` after a clean close. A `recv` in the middle of a message skips its rest.
    ///
    /// [`Config::max_message_size`](crate::Config::max_message_size) still holds; raise it for large
    /// messages.
    ///
    /// # Errors
    ///
    /// As `recv`; the parts that came before then belong to no whole message.
    pub fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.writer, true)?;
        Ok(self.reader.input.part())
    }

    /// Sends a message: its bytes were handed to the socket when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] with the message if it was refused; [`Error::Ended`] if the peer does not
    /// read ([`Config::send_timeout`](crate::Config::send_timeout)); [`Error::Io`].
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.queue(message.into())?;
        self.flush()
    }

    /// Queues a message: it leaves as the type's documentation says. For a handler that answers at
    /// once, this with `recv` costs one write for many messages. A handler that works long before
    /// the next `recv` delays what it fed, and should `send`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.queue(message.into())?;
        self.relieve()
    }

    fn queue(&mut self, message: Message) -> Result<(), Error> {
        if self.writer.is_full() {
            self.flush()?;
        }
        Ok(self.writer.sender.send_owned(message, &mut self.writer.out)?)
    }

    /// Sends a part of a message whose length need not be known; the part with `last` ends it. Parts
    /// are queued and leave like what is fed, and with the last one. Pings and Close may come between.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); a message of another kind has to wait until this one is ended.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        if self.writer.is_full() {
            self.flush()?;
        }
        self.writer.sender.send_part(part, last, &mut self.writer.out)?;
        if last { self.flush() } else { self.relieve() }
    }

    /// Hands all that is queued to the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if the peer does not read, [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.reader.flush(&mut self.writer)
    }

    fn relieve(&mut self) -> Result<(), Error> {
        if self.writer.out.len() >= FLUSH_FROM { self.flush() } else { Ok(()) }
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

    /// Sends Close; go on with [`recv`](Self::recv) until it gives `None`, to have what the peer sent
    /// before its own Close.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, or if Close was sent already.
    pub fn start_close(&mut self, code: impl Into<CloseCode>, reason: &str) -> Result<(), Error> {
        self.writer.sender.start_close(code, reason, &mut self.writer.out)?;
        self.flush()
    }

    /// Closes the connection: sends Close unless that was done, waits for the peer's (at most
    /// [`Config::close_timeout`](crate::Config::close_timeout)), and drops the messages that come
    /// before it, counting them.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent, [`Error::Io`]. That the peer did
    /// not answer is no error but [`Closed::end`].
    pub fn close(&mut self, code: impl Into<CloseCode>, reason: &str) -> Result<Closed, Error> {
        match self.writer.sender.start_close(code, reason, &mut self.writer.out) {
            Err(error) if error.refusal() != Refusal::Closed => return Err(error.into()),
            _ => {}
        }
        let mut discarded = 0;
        loop {
            match self.reader.next(&mut self.writer, false) {
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
        self.writer.sender.set_compression(on);
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
        self.writer.get_ref()
    }

    /// Flushes, and splits the connection, for one thread that receives and one that sends; neither
    /// ever waits for the other.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), or if the stream has no second handle ([`BlockingStream::try_clone`]).
    pub fn split(mut self) -> Result<(SendHalf<S>, RecvHalf<S>), Error> {
        self.flush()?;
        half::split(self.reader, self.writer)
    }

    /// Flushes, and gives back the stream and the bytes that were read from it and not used.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); the stream is lost then.
    pub fn into_inner(mut self) -> Result<(S, Vec<u8>), Error> {
        self.flush()?;
        let unread = self.reader.input.unread().to_vec();
        Ok((self.writer.into_stream()?, unread))
    }
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
