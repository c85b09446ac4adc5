//! The listeners that a server accepts connections from.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};

use crate::asynchronous::Sealed;

/// What [`Server::run`](super::Server::run) accepts connections from: tokio's `TcpListener`, and its `UnixListener`
/// on Unix.
///
/// It is sealed. For connections from elsewhere there is [`Server::serve`](super::Server::serve), which takes any
/// stream.
#[diagnostic::on_unimplemented(
    message = "a server cannot accept connections from `{Self}`",
    label = "this is no `TcpListener` or `UnixListener` of tokio",
    note = "`tokio::net::TcpListener::from_std` takes a listener of `std`",
    note = "give other streams to `Server::serve`, one by one"
)]
pub trait Listener: Sealed {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// With the address of the client, if it is one of IP.
    #[doc(hidden)]
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;

    /// Sets the options of a new connection.
    #[doc(hidden)]
    fn prepare(stream: Self::Stream) -> io::Result<Self::Stream>;
}

impl Sealed for TcpListener {}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        self.poll_accept(cx).map_ok(|(stream, peer)| (stream, Some(peer)))
    }

    fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(unix)]
impl Sealed for UnixListener {}

#[cfg(unix)]
impl Listener for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        self.poll_accept(cx).map_ok(|(stream, _)| (stream, None))
    }

    fn prepare(stream: UnixStream) -> io::Result<UnixStream> {
        Ok(stream)
    }
}
