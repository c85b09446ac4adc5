//! The stream of a client: what the URL's scheme asks for.

use core::pin::Pin;
use core::task::{Context, Poll};
#[cfg(feature = "rustls")]
use std::boxed::Box;
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;
#[cfg(feature = "rustls")]
use ::tokio_rustls::client::TlsStream;

/// The stream under a WebSocket that [`connect`](super::connect) or [`connect_over`](super::connect_over) opens: with
/// TLS for a `wss` URL.
#[derive(Debug)]
#[non_exhaustive]
pub enum MaybeTls<S = TcpStream> {
    /// `ws`.
    Plain(S),
    /// `wss`, or `ws` through an `https` proxy. The state of TLS takes more than 1 KiB, and is boxed so that a plain
    /// connection does not pay for it.
    #[cfg(feature = "rustls")]
    Tls(Box<TlsStream<S>>),
    /// `wss` through an `https` proxy: TLS with the server inside of TLS with the proxy.
    #[cfg(feature = "rustls")]
    Nested(Box<TlsStream<Box<TlsStream<S>>>>),
}

impl<S> MaybeTls<S> {
    /// The stream below TLS. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => stream.get_ref().0,
            #[cfg(feature = "rustls")]
            Self::Nested(stream) => stream.get_ref().0.get_ref().0,
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
