//! Accepting a WebSocket on a stream.

use std::io::{Read, Write};

use crate::handshake::HandshakeError;
pub use crate::handshake::server::ServerHandshake;
use crate::handshake::server::{Callback, NoCallback};
use crate::protocol::{WebSocket, WebSocketConfig};

/// Reads a request and accepts it. A request that does not open a WebSocket gets an answer that says so.
///
/// # Errors
///
/// Why there is no WebSocket. [`HandshakeError::Interrupted`] if the stream would block.
pub fn accept<S: Read + Write>(
    stream: S,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, NoCallback>>> {
    accept_with_config(stream, None)
}

/// The same with settings.
///
/// # Errors
///
/// As [`accept`].
pub fn accept_with_config<S: Read + Write>(
    stream: S,
    config: Option<WebSocketConfig>,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, NoCallback>>> {
    accept_hdr_with_config(stream, NoCallback, config)
}

/// The same with a callback, which looks at the request and changes or refuses the response.
///
/// # Errors
///
/// As [`accept`]. [`Error::Http`](crate::Error::Http) if the callback refused.
pub fn accept_hdr<S: Read + Write, C: Callback>(
    stream: S,
    callback: C,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, C>>> {
    accept_hdr_with_config(stream, callback, None)
}

/// The same with a callback and settings.
///
/// # Errors
///
/// As [`accept_hdr`].
pub fn accept_hdr_with_config<S: Read + Write, C: Callback>(
    stream: S,
    callback: C,
    config: Option<WebSocketConfig>,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, C>>> {
    ServerHandshake::start(stream, callback, config).handshake()
}
