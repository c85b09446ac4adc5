//! The first line of a head, read byte by byte (RFC 9112 §3 and §4). A wrong line fails at the first byte that
//! shows it.
//!
//! Without this, a mail server that says `220 smtp.invalid`, or a mail client that says `HELO`, would keep its
//! connection until the handshake timeout. No empty line ever ends its head.

use super::head::HeadError;
use super::is_token_byte;

/// Where the next byte is in the first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// `request-line = method SP request-target SP HTTP-version`, at its first byte.
    #[default]
    Request,
    Method,
    /// After the space.
    TargetStart,
    Target,
    /// After this many bytes of the version.
    RequestVersion(u8),
    /// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`, after this many bytes of the version.
    StatusVersion(u8),
    /// After this many digits of the status code.
    StatusCode(u8),
    Reason,
    /// After the CR: a LF must follow.
    End,
}

/// The only version for a request. A response may also be HTTP/1.0.
const VERSION: &[u8; 8] = b"HTTP/1.1";

impl FirstLine {
    /// The first byte of a status line.
    pub(super) const STATUS: Self = Self::StatusVersion(0);

    /// Takes the next byte of the line, which is not the LF that ends it.
    pub(super) fn step(&mut self, byte: u8) -> Result<(), HeadError> {
        use FirstLine::*;
        *self = match (*self, byte) {
            // RFC 9112 §2.2: a server ignores one empty line before the request line, and so does our client.
            (Request | StatusVersion(0), b'\r') => End,
            (Request | Method, byte) if is_token_byte(byte) => Method,
            (Method, b' ') => TargetStart,
            (Target, b' ') => RequestVersion(0),
            (TargetStart | Target, byte) if byte > b' ' && byte != 0x7f => Target,
            (RequestVersion(n), byte) if VERSION.get(usize::from(n)) == Some(&byte) => {
                RequestVersion(n + 1)
            }
            (RequestVersion(8), b'\r') => End,
            // RFC 9112 §2.3, RFC 9110 §15.6.6: the line names another version.
            (RequestVersion(0..8), _) => return Err(HeadError::Version),
            (StatusVersion(n), byte) if VERSION.get(usize::from(n)) == Some(&byte) => {
                StatusVersion(n + 1)
            }
            // HTTP/1.0 opens no WebSocket, but it may refuse one.
            (StatusVersion(7), b'0') => StatusVersion(8),
            (StatusVersion(8), b' ') => StatusCode(0),
            // RFC 9110 §15: "The first digit of the status code defines the class of response".
            (StatusCode(0), b'1'..=b'9') => StatusCode(1),
            (StatusCode(n @ 1..3), b'0'..=b'9') => StatusCode(n + 1),
            (StatusCode(3), b' ') => Reason,
            (StatusCode(3) | Reason, b'\r') => End,
            (Reason, b'\t' | b' '..=b'~' | 0x80..) => Reason,
            _ => return Err(HeadError::Malformed),
        };
        Ok(())
    }
}
