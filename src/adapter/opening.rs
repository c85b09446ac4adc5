//! What a failing socket means during the opening handshake, for the asynchronous adapters.

use std::io;

use super::{Error, is_peer_gone};
use crate::memory::recv_buf::RecvBuf;

/// Handles a failed read. A reset ends the input as an EOF does. The handshake then gives what had come, such as a
/// refusal, or says that the peer is gone.
pub(crate) fn read_failed(error: io::Error, input: &mut RecvBuf) -> Result<(), Error> {
    if !is_peer_gone(&error) {
        return Err(error.into());
    }
    input.eof();
    Ok(())
}

/// The error for a failed write or a failed TLS handshake. If the peer is gone, it is `gone`.
pub(crate) fn write_failed(error: io::Error, gone: impl Into<Error>) -> Error {
    if is_peer_gone(&error) { gone.into() } else { error.into() }
}
