//! What is the same in all streams of bytes: how much one write takes, and what their errors are.

use std::io::{self, ErrorKind};

use crate::adapter::Error;
use crate::protocol::error::Refusal;

/// One write takes at most this many bytes. Some gateways take no larger frames.
pub(crate) const LARGEST_WRITE: usize = 32 << 10;

/// The error of a read. A connection that ended without Close may be cut off, which an end must not hide.
pub(crate) fn read_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(ErrorKind::UnexpectedEof, error),
    }
}

/// The error of a write or a flush.
pub(crate) fn write_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Ended(_) => io::Error::new(ErrorKind::BrokenPipe, error),
        Error::Send(ref refused) if refused.refusal() == Refusal::Closed => {
            io::Error::new(ErrorKind::BrokenPipe, error)
        }
        error => io::Error::other(error),
    }
}

/// The error for a text message.
pub(crate) fn text() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a text message came in a stream of bytes")
}
