//! A function of the program that sees each socket before it connects.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;

/// A socket that does not connect yet: see [`ClientRequest::configure_socket`](super::ClientRequest::configure_socket).
#[cfg(unix)]
pub type SocketHandle<'a> = std::os::fd::BorrowedFd<'a>;

/// A socket that does not connect yet: see [`ClientRequest::configure_socket`](super::ClientRequest::configure_socket).
#[cfg(windows)]
pub type SocketHandle<'a> = std::os::windows::io::BorrowedSocket<'a>;

type Configure = dyn Fn(SocketHandle<'_>, SocketAddr) -> io::Result<()> + Send + Sync;

/// What was given to [`ClientRequest::configure_socket`](super::ClientRequest::configure_socket). Adapters call it.
#[derive(Clone)]
pub struct SocketHook(Arc<Configure>);

impl SocketHook {
    pub(super) fn new(
        configure: impl Fn(SocketHandle<'_>, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(configure))
    }

    /// Calls it with a socket that will connect to this address.
    ///
    /// # Errors
    ///
    /// Those of the function.
    #[cfg(unix)]
    pub fn call(&self, socket: &impl std::os::fd::AsFd, address: SocketAddr) -> io::Result<()> {
        (self.0)(socket.as_fd(), address)
    }

    /// Calls it with a socket that will connect to this address.
    ///
    /// # Errors
    ///
    /// Those of the function.
    #[cfg(windows)]
    pub fn call(
        &self,
        socket: &impl std::os::windows::io::AsSocket,
        address: SocketAddr,
    ) -> io::Result<()> {
        (self.0)(socket.as_socket(), address)
    }
}

impl fmt::Debug for SocketHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketHook")
    }
}
