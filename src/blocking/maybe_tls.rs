//! The stream of a client: what the URL's scheme asks for.

use core::time::Duration;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use super::stream::BlockingStream;
#[cfg(feature = "rustls")]
use super::tls::TlsStream;

/// The stream under a WebSocket that [`connect`](super::connect) opens: TCP, with TLS for a `wss` URL.
#[derive(Debug)]
#[non_exhaustive]
pub enum MaybeTls {
    /// `ws`.
    Plain(TcpStream),
    /// `wss`.
    #[cfg(feature = "rustls")]
    Tls(TlsStream<TcpStream>),
}

impl MaybeTls {
    /// The socket, for its addresses and options. Reading from it or writing to it breaks the connection.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

/// Does the same with either stream.
macro_rules! either {
    ($self:expr, $stream:ident => $what:expr) => {
        match $self {
            MaybeTls::Plain($stream) => $what,
            #[cfg(feature = "rustls")]
            MaybeTls::Tls($stream) => $what,
        }
    };
}

impl Read for MaybeTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.read(buffer))
    }
}

impl Write for MaybeTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        either!(self, stream => stream.flush())
    }
}

impl BlockingStream for MaybeTls {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.tcp().read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, stream => stream.set_write_timeout(timeout))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.tcp().set_nonblocking(nonblocking)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        either!(self, stream => stream.shutdown_write())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(stream) => Self::Plain(stream.try_clone()?),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Self::Tls(stream.try_clone()?),
        })
    }
}
