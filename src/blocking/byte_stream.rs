//! A WebSocket as a stream of bytes, for protocols that know no messages.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};

use super::WebSocket;
use super::patience::is_timeout;
use super::stream::BlockingStream;
use crate::adapter::{Error, byte_stream};
use crate::protocol::close::CloseCode;
use crate::protocol::error::Refusal;
use crate::protocol::message::MessageRef;

/// A WebSocket as a stream of bytes: binary messages, whose boundaries mean nothing. It implements [`Read`] and
/// [`Write`], so that a protocol of bytes can run over it.
///
/// ```no_run
/// use std::io::{Read, Write};
///
/// use bowline::blocking::{ByteStream, connect};
/// let mut stream = ByteStream::new(connect("wss://example.com/tunnel")?);
/// stream.write_all(b"Hello")?;
/// let mut answer = [0; 5];
/// stream.read_exact(&mut answer)?;
/// stream.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// - *Reading* gives the bytes as they come, also those of a message that is not complete. The end is a Close of the peer,
///   whatever its code: see [`WebSocket::end`]. An end without Close is [`io::ErrorKind::UnexpectedEof`]. A text message
///   is [`io::ErrorKind::InvalidData`], and the peer gets Close 1003 (RFC 6455 §7.4.1). A read timeout of the stream is
///   given as the stream gives it, and nothing is lost.
/// - *Writing* makes a message of at most 32 KiB of each write, and hands it to the socket. After a Close it is
///   [`io::ErrorKind::BrokenPipe`].
///
/// Pings are answered while the program reads.
#[derive(Debug)]
pub struct ByteStream<S: BlockingStream> {
    ws: WebSocket<S>,
    /// What of a message did not fit the reader's buffer.
    rest: Bytes,
}

impl<S: BlockingStream> ByteStream<S> {
    /// Takes the bytes of this WebSocket from here on.
    pub fn new(ws: WebSocket<S>) -> Self {
        Self { ws, rest: Bytes::new() }
    }

    /// The WebSocket, to ask how it ended, for example.
    pub fn get_ref(&self) -> &WebSocket<S> {
        &self.ws
    }

    /// Gives the WebSocket back, and the bytes of a message that were received and not read. If a message has begun, its
    /// rest is still to come.
    pub fn into_inner(self) -> (WebSocket<S>, Bytes) {
        (self.ws, self.rest)
    }

    /// Sends Close 1000, which ends both directions: a WebSocket has no half-closed state as TCP has. The peer answers
    /// with its Close (RFC 6455 §5.5.1), and what it had not sent by then is lost. Reading goes on until that Close.
    ///
    /// # Errors
    ///
    /// As writing. It is no error if a Close was sent before.
    pub fn close(&mut self) -> io::Result<()> {
        match self.ws.start_close(CloseCode::NORMAL, "") {
            Err(Error::Send(refused)) if refused.refusal() == Refusal::Closed => Ok(()),
            result => result.map_err(byte_stream::write_error),
        }
    }
}

impl<S: BlockingStream> Read for ByteStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.rest.is_empty() {
            match self.ws.recv_part().map_err(byte_stream::read_error)?.map(|part| part.payload) {
                None => return Ok(0),
                Some(MessageRef::Binary(data)) if !data.is_empty() => {
                    let n = data.len().min(buffer.len());
                    buffer[..n].copy_from_slice(&data[..n]);
                    self.rest = Bytes::copy_from_slice(&data[n..]);
                    return Ok(n);
                }
                Some(MessageRef::Text(_)) => {
                    // RFC 6455 §7.4.1: 1003 is for "a type of data it cannot accept".
                    let close = self.ws.start_close(CloseCode::UNSUPPORTED_DATA, "");
                    close.map_err(byte_stream::write_error)?;
                    return Err(byte_stream::text());
                }
                // Without bytes: an empty message, or a ping or pong that is reported.
                Some(_) => {}
            }
        }
        let n = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

impl<S: BlockingStream> Write for ByteStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(byte_stream::LARGEST_WRITE);
        if n == 0 {
            return Ok(0);
        }
        // Nothing is taken while earlier bytes wait, so that an error before the message is told from one after it.
        self.flush()?;
        match self.ws.send_part(&bytes[..n], true) {
            // The message is queued, and its rest leaves with the next write, read or flush.
            Err(Error::Io(error)) if is_timeout(&error) => Ok(n),
            result => result.map(|()| n).map_err(byte_stream::write_error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ws.flush().map_err(byte_stream::write_error)
    }
}

impl<S: BlockingStream> From<WebSocket<S>> for ByteStream<S> {
    fn from(ws: WebSocket<S>) -> Self {
        Self::new(ws)
    }
}
