//! What a failing socket means during the opening handshake, for all adapters.

use core::net::{IpAddr, SocketAddr};
use std::format;
use std::io;

#[cfg(any(feature = "tokio", feature = "futures-io"))]
use super::{Error, is_peer_gone};
#[cfg(any(feature = "tokio", feature = "futures-io"))]
use crate::memory::recv_buf::RecvBuf;

/// A failed read. A reset ends the input as an EOF does: the handshake then gives what had come, a refusal for
/// one, or tells that the peer is gone.
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) fn read_failed(error: io::Error, input: &mut RecvBuf) -> Result<(), Error> {
    if !is_peer_gone(&error) {
        return Err(error.into());
    }
    input.eof();
    Ok(())
}

/// A failed write, or a failed handshake of TLS: `gone` if the peer is.
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) fn write_failed(error: io::Error, gone: impl Into<Error>) -> Error {
    if is_peer_gone(&error) { gone.into() } else { error.into() }
}

/// Names what could not be connected to: the address, and the host if that is a name.
pub(crate) fn not_connected(host: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let why = match host.parse::<IpAddr>() {
        Ok(_) => format!("cannot connect to {address}: {error}"),
        Err(_) => format!("cannot connect to {address} ({host}): {error}"),
    };
    io::Error::new(error.kind(), why)
}
