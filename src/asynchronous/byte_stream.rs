//! A WebSocket as a stream of bytes, for protocols that know no messages.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use bytes::{Buf, Bytes};
use futures_sink::Sink;

use super::WebSocket;
use super::io::Io;
use crate::adapter::byte_stream;
use crate::protocol::close::CloseCode;
use crate::protocol::message::MessageRef;

/// A WebSocket as a stream of bytes: binary messages, whose boundaries mean nothing. It implements the traits
/// `AsyncRead` and `AsyncWrite` of its runtime, so that TLS, ssh, HTTP or a copy between two sockets can run over it.
///
/// ```no_run
/// use bowline::tokio::ByteStream;
/// # async fn tunnel(mut socket: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let ws = bowline::tokio::connect("wss://example.com/tunnel").await?;
/// tokio::io::copy_bidirectional(&mut socket, &mut ByteStream::new(ws)).await?;
/// # Ok(())
/// # }
/// ```
///
/// - *Reading* gives the bytes as they come, also those of a message that is not complete. The end is a Close of the peer,
///   whatever its code: see [`WebSocket::end`]. An end without Close is [`io::ErrorKind::UnexpectedEof`]. A text message is
///   [`io::ErrorKind::InvalidData`], and the peer gets Close 1003 (RFC 6455 §7.4.1).
/// - *Writing* makes a message of at most 32 KiB of each write, and hands it to the socket at once, as far as the socket takes
///   it. While [`Config::max_send_queue`](crate::Config::max_send_queue) bytes wait, it waits. After a Close it is
///   [`io::ErrorKind::BrokenPipe`].
/// - *Shutting down* sends Close 1000, which ends both directions: a WebSocket has no half-closed state as TCP has. The
///   peer answers with its Close (RFC 6455 §5.5.1), and what it had not sent by then is lost. Reading goes on until that
///   Close.
///
/// Pings are answered while the program reads. Reads, writes and flushes may be cancelled: no byte is lost, and none is
/// written twice.
pub struct ByteStream<I: Io> {
    ws: WebSocket<I>,
    /// What of a message did not fit the reader's buffer.
    rest: Bytes,
}

impl<I: Io> fmt::Debug for ByteStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").field("ws", &self.ws).field("rest", &self.rest.len()).finish()
    }
}

impl<I: Io> ByteStream<I> {
    /// Takes the bytes of this WebSocket from here on.
    pub fn new(ws: WebSocket<I>) -> Self {
        Self { ws, rest: Bytes::new() }
    }

    /// The WebSocket, to ask how it ended, for example.
    pub fn get_ref(&self) -> &WebSocket<I> {
        &self.ws
    }

    /// Gives the WebSocket back, and the bytes of a message that were received and not read. If a message has begun, its
    /// rest is still to come.
    pub fn into_inner(self) -> (WebSocket<I>, Bytes) {
        (self.ws, self.rest)
    }

    /// Gives received bytes to `take`, which says how many it took, at least one. Nothing is given at the end.
    pub(crate) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            let n = take(&self.rest);
            self.rest.advance(n);
            return Poll::Ready(Ok(()));
        }
        let WebSocket { reader, writer } = &mut self.ws;
        // Reading and writing may be in two tasks.
        writer.share();
        loop {
            ready!(reader.poll_next(cx, &mut **writer, true)).map_err(byte_stream::read_error)?;
            match reader.input.part().map(|part| part.payload) {
                None => return Poll::Ready(Ok(())),
                Some(MessageRef::Binary(data)) if !data.is_empty() => {
                    let n = take(data);
                    if n < data.len() {
                        self.rest = Bytes::copy_from_slice(&data[n..]);
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(MessageRef::Text(_)) => {
                    // RFC 6455 §7.4.1: 1003 is for "a type of data it cannot accept".
                    let close =
                        writer.sender.start_close(CloseCode::UNSUPPORTED_DATA, "", &mut writer.out);
                    close.map_err(|error| byte_stream::write_error(error.into()))?;
                    writer.wake();
                    return Poll::Ready(Err(byte_stream::text()));
                }
                // Without bytes: an empty message, or a ping or pong that is reported.
                Some(_) => {}
            }
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        while self.ws.writer.is_full() {
            ready!(self.poll_flush(cx))?;
        }
        let n = bytes.len().min(byte_stream::LARGEST_WRITE);
        if n > 0 {
            let writer = &mut *self.ws.writer;
            let sent = writer.sender.send(&bytes[..n], &mut writer.out);
            sent.map_err(|error| byte_stream::write_error(error.into()))?;
            // The bytes leave now, as they would on a socket. What the socket does not take stays queued.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(n))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ws).poll_flush(cx).map_err(byte_stream::write_error)
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ws).poll_close(cx).map_err(byte_stream::write_error)
    }
}

impl<I: Io> From<WebSocket<I>> for ByteStream<I> {
    fn from(ws: WebSocket<I>) -> Self {
        Self::new(ws)
    }
}
