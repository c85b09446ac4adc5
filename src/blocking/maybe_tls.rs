//! The stream of a client: what the URL's scheme asks for.

use core::time::Duration;
#[cfg(feature = "rustls")]
use std::boxed::Box;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use super::stream::BlockingStream;
#[cfg(feature = "rustls")]
use super::tls::TlsStream;

/// The stream under a WebSocket that [`connect`](super::connect) or [`connect_over`](super::connect_over) opens: with
/// TLS for a `wss` URL.
#[derive(Debug)]
#[non_exhaustive]
pub enum MaybeTls<S = TcpStream> {
    /// `ws`.
    Plain(S),
    /// `wss`, or `ws` through an `https` proxy.
    #[cfg(feature = "rustls")]
    Tls(TlsStream<S>),
    /// `wss` through an `https` proxy: TLS with the server inside of TLS with the proxy.
    #[cfg(feature = "rustls")]
    Nested(Box<TlsStream<TlsStream<S>>>),
}

impl<S: BlockingStream> MaybeTls<S> {
    /// The stream below TLS. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => stream.get_ref(),
            #[cfg(feature = "rustls")]
            Self::Nested(stream) => stream.get_ref().get_ref(),
        }
    }
}

impl MaybeTls {
    /// The socket, for its addresses and options. Reading from it or writing to it breaks the connection.
    ///
    /// If the connection goes to a Unix socket, this is its handle: the options and addresses of TCP give an error.
    pub fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

/// Does the same with either stream.
macro_rules! either {
    ($self:expr, $stream:ident => $what:expr) => {
        match $self {
            MaybeTls::Plain($stream) => $what,
            #[cfg(feature = "rustls")]
            MaybeTls::Tls($stream) => $what,
            #[cfg(feature = "rustls")]
            MaybeTls::Nested($stream) => $what,
        }
    };
}

impl<S: BlockingStream> Read for MaybeTls<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.read(buffer))
    }
}

impl<S: BlockingStream> Write for MaybeTls<S> {
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

impl<S: BlockingStream> BlockingStream for MaybeTls<S> {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.get_ref().read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, stream => stream.set_read_timeout(timeout))
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, stream => stream.set_write_timeout(timeout))
    }

    fn has_timeouts(&self) -> bool {
        either!(self, stream => stream.has_timeouts())
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        either!(self, stream => stream.set_nonblocking(nonblocking))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        either!(self, stream => stream.shutdown_write())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(stream) => Self::Plain(stream.try_clone()?),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Self::Tls(stream.try_clone()?),
            #[cfg(feature = "rustls")]
            Self::Nested(stream) => Self::Nested(stream.try_clone()?.into()),
        })
    }
}
