//! Results of streams that do not block.

use std::io;

use crate::Error;

/// An error that may mean that a call would block.
pub trait NonBlockingError: Sized {
    /// `None` if the call would block, and otherwise the error.
    fn into_non_blocking(self) -> Option<Self>;
}

impl NonBlockingError for io::Error {
    fn into_non_blocking(self) -> Option<Self> {
        Some(self).filter(|error| error.kind() != io::ErrorKind::WouldBlock)
    }
}

impl NonBlockingError for Error {
    fn into_non_blocking(self) -> Option<Self> {
        match self {
            Self::Io(error) => error.into_non_blocking().map(Self::Io),
            other => Some(other),
        }
    }
}

/// A result whose error may mean that the call would block.
pub trait NonBlockingResult {
    /// The result without that case.
    type Result;

    /// `Ok(None)` if the call would block.
    fn no_block(self) -> Self::Result;
}

impl<T, E: NonBlockingError> NonBlockingResult for Result<T, E> {
    type Result = Result<Option<T>, E>;

    fn no_block(self) -> Self::Result {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) => error.into_non_blocking().map_or(Ok(None), Err),
        }
    }
}
