//! What the blocking adapter needs from a stream in addition to reading and writing.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;

/// A blocking stream with timeouts and a second handle for splitting.
///
/// TCP and Unix streams have both. For a stream that has neither there is [`Plain`].
///
/// If its timeout ends a read or write, that gives [`io::ErrorKind::WouldBlock`] or
/// [`io::ErrorKind::TimedOut`]. [`io::ErrorKind::Interrupted`] asks to be called again. A stream must not give
/// it for ever without progress.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no stream for a blocking WebSocket",
    label = "it has no timeouts that the WebSocket knows of",
    note = "`TcpStream` and `UnixStream` of `std` are such streams; `blocking::Plain` makes one of any `Read + Write`",
    note = "for a stream of tokio, use `bowline::tokio`; for one of futures-io, `bowline::futures`"
)]
pub trait BlockingStream: Read + Write {
    /// How long a read may block. `None`: for ever.
    ///
    /// # Errors
    ///
    /// The stream's.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets how long a read may block. The library calls it with 1 ms to one day, or `None`.
    ///
    /// # Errors
    ///
    /// The stream's.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long a write may block. The library calls it with 1 ms to one day, or `None`.
    ///
    /// # Errors
    ///
    /// The stream's.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Whether the timeouts take effect. Without them, the library makes no write that must not block.
    fn has_timeouts(&self) -> bool {
        true
    }

    /// Sets whether reads and writes return at once when they would block. Only the program sets the mode: the
    /// library never changes it. See [`WebSocket`](super::WebSocket#non-blocking-mode) for what it does.
    ///
    /// # Errors
    ///
    /// The stream's.
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;

    /// Tells the peer that no more bytes will come. Reading goes on.
    ///
    /// # Errors
    ///
    /// The stream's.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Another handle of the same stream, for the other half of a split connection.
    ///
    /// # Errors
    ///
    /// The stream's; [`io::ErrorKind::Unsupported`] if it has no second handle.
    fn try_clone(&self) -> io::Result<Self>
    where
        Self: Sized;
}

macro_rules! socket {
    ($socket:ty) => {
        impl BlockingStream for $socket {
            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                self.read_timeout()
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_write_timeout(timeout)
            }

            fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.set_nonblocking(nonblocking)
            }

            fn shutdown_write(&mut self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            fn try_clone(&self) -> io::Result<Self> {
                self.try_clone()
            }
        }
    };
}

socket!(TcpStream);
#[cfg(unix)]
socket!(UnixStream);

/// Any `Read + Write`, without timeouts and without splitting.
///
/// While a read or write blocks, none of [`Config`](crate::Config)'s timeouts takes effect. The connection
/// cannot be split. Messages that were fed but not flushed are lost when it is dropped. The stream is flushed
/// where the write side of a socket would be shut.
#[derive(Clone, Debug, Default)]
pub struct Plain<S>(pub S);

impl<S: Read> Read for Plain<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Plain<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Read + Write> BlockingStream for Plain<S> {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn has_timeouts(&self) -> bool {
        false
    }

    fn set_nonblocking(&self, _nonblocking: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn try_clone(&self) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
