//! What a failing socket means during the opening handshake, for all adapters.

#[cfg(feature = "tokio")]
use core::net::SocketAddr;
#[cfg(feature = "tokio")]
use std::format;
use std::io;

use super::{Error, is_peer_gone};
use crate::memory::recv_buf::RecvBuf;

/// A failed read. A reset ends the input as an EOF does: the handshake then gives what had come, a refusal for
/// one, or tells that the peer is gone.
pub(crate) fn read_failed(error: io::Error, input: &mut RecvBuf) -> Result<(), Error> {
    if !is_peer_gone(&error) {
        return Err(error.into());
    }
    input.eof();
    Ok(())
}

/// A failed write, or a failed handshake of TLS: `gone` if the peer is.
pub(crate) fn write_failed(error: io::Error, gone: impl Into<Error>) -> Error {
    if is_peer_gone(&error) { gone.into() } else { error.into() }
}

/// Names the address that nobody answered at.
#[cfg(feature = "tokio")]
pub(crate) fn not_connected(address: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot connect to {address}: {error}"))
}
