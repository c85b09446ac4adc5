//! Streams with TLS or without.

use std::fmt;
use std::io::{Read, Result, Write};
use std::net::TcpStream;

/// Whether a connection has TLS.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// `ws`.
    Plain,
    /// `wss`.
    Tls,
}

/// A stream on which small writes need not wait for one another.
pub trait NoDelay {
    /// Sets `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn set_nodelay(&mut self, nodelay: bool) -> Result<()>;
}

impl NoDelay for TcpStream {
    fn set_nodelay(&mut self, nodelay: bool) -> Result<()> {
        TcpStream::set_nodelay(self, nodelay)
    }
}

#[cfg(feature = "__rustls-tls")]
impl<S, SD, T> NoDelay for rustls::StreamOwned<S, T>
where
    S: std::ops::DerefMut<Target = rustls::ConnectionCommon<SD>>,
    SD: rustls::SideData,
    T: Read + Write + NoDelay,
{
    fn set_nodelay(&mut self, nodelay: bool) -> Result<()> {
        self.sock.set_nodelay(nodelay)
    }
}

/// A stream with TLS or without.
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // The variants are tungstenite's.
pub enum MaybeTlsStream<S: Read + Write> {
    /// Without.
    Plain(S),
    /// With rustls.
    #[cfg(feature = "__rustls-tls")]
    Rustls(rustls::StreamOwned<rustls::ClientConnection, S>),
}

impl<S: Read + Write + fmt::Debug> fmt::Debug for MaybeTlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(stream) => f.debug_tuple("Plain").field(stream).finish(),
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(stream) => f.debug_tuple("Rustls").field(&stream.sock).finish(),
        }
    }
}

/// Calls the same method of whichever stream it is.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Self::Plain($stream) => $call,
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls($stream) => $call,
        }
    };
}

impl<S: Read + Write> Read for MaybeTlsStream<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        forward!(self, stream => stream.read(buf))
    }
}

impl<S: Read + Write> Write for MaybeTlsStream<S> {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        forward!(self, stream => stream.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> Result<usize> {
        forward!(self, stream => stream.write_vectored(bufs))
    }

    fn flush(&mut self) -> Result<()> {
        forward!(self, stream => stream.flush())
    }
}

impl<S: Read + Write + NoDelay> NoDelay for MaybeTlsStream<S> {
    fn set_nodelay(&mut self, nodelay: bool) -> Result<()> {
        forward!(self, stream => stream.set_nodelay(nodelay))
    }
}
