//! What a failing socket means during the opening handshake, for all adapters.

use core::net::{IpAddr, SocketAddr};
use std::format;
use std::io;

#[cfg(any(feature = "tokio", feature = "futures-io"))]
use super::{Error, is_peer_gone};
#[cfg(any(feature = "tokio", feature = "futures-io"))]
use crate::memory::recv_buf::RecvBuf;

/// Handles a failed read. A reset ends the input as an EOF does. The handshake then gives what had come, such as a
/// refusal, or says that the peer is gone.
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) fn read_failed(error: io::Error, input: &mut RecvBuf) -> Result<(), Error> {
    if !is_peer_gone(&error) {
        return Err(error.into());
    }
    input.eof();
    Ok(())
}

/// The error for a failed write or a failed TLS handshake. If the peer is gone, it is `gone`.
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) fn write_failed(error: io::Error, gone: impl Into<Error>) -> Error {
    if is_peer_gone(&error) { gone.into() } else { error.into() }
}

/// Adds to the error which address could not be connected to, and its host if that is a name.
pub(crate) fn not_connected(host: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let why = match host.parse::<IpAddr>() {
        Ok(_) => format!("cannot connect to {address}: {error}"),
        Err(_) => format!("cannot connect to {address} ({host}): {error}"),
    };
    io::Error::new(error.kind(), why)
}
