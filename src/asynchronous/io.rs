//! What a runtime brings to the engine: a stream, a clock, a timer.

use core::task::{Context, Poll};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::recv_buf::RecvBuf;

/// A stream, with the clock and the timers of its runtime.
///
/// It is sealed: only the adapters of this crate implement it, each for the streams of its runtime.
pub trait Io: Sealed + Unpin {
    /// A timer. It holds nothing while there is nothing to wait for.
    #[doc(hidden)]
    type Timer: Default + Unpin;

    /// Reads into `room`. 0 is the end of the stream.
    #[doc(hidden)]
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;

    #[doc(hidden)]
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    #[doc(hidden)]
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Whether a vectored write is known to take more than the first slice.
    #[doc(hidden)]
    fn is_write_vectored(&self) -> bool;

    #[doc(hidden)]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Shuts the write side.
    #[doc(hidden)]
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The time, on a clock that only goes forward.
    #[doc(hidden)]
    fn now() -> Duration;

    /// Ready when `deadline` is reached. Without a deadline, the timer is freed.
    #[doc(hidden)]
    fn poll_timer(
        timer: &mut Self::Timer,
        cx: &mut Context<'_>,
        deadline: Option<Duration>,
    ) -> Poll<()>;
}

/// An [`Io`] around a stream of the caller.
pub trait Wrap: Io {
    /// The stream, as the caller knows it.
    type Stream;

    #[doc(hidden)]
    fn wrap(stream: Self::Stream) -> Self;

    #[doc(hidden)]
    fn get_ref(&self) -> &Self::Stream;

    #[doc(hidden)]
    fn into_inner(self) -> Self::Stream;
}

/// Keeps implementations of [`Io`] in this crate.
pub trait Sealed {}

/// Reads once into the buffer's room.
pub(crate) fn poll_read<I: Io>(
    io: &mut I,
    cx: &mut Context<'_>,
    input: &mut RecvBuf,
) -> Poll<io::Result<()>> {
    io.poll_read(cx, input.space()).map_ok(|n| match n {
        0 => input.eof(),
        n => input.filled(n),
    })
}

/// One of two handles of a stream: the receiving half reads, and the sending half writes. The lock is held for
/// one operation of the stream, and never while a message is decoded.
#[derive(Debug)]
pub struct Locked<I>(Arc<Mutex<I>>);

impl<I> Locked<I> {
    pub(crate) fn new(io: I) -> Self {
        Self(Arc::new(Mutex::new(io)))
    }

    fn lock(&self) -> MutexGuard<'_, I> {
        // A panic elsewhere breaks nothing that the stream itself does not report.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I> Locked<I> {
    /// The stream, from the last handle of it.
    pub(crate) fn into_inner(self) -> I {
        let Some(io) = Arc::into_inner(self.0) else {
            unreachable!("each half has one handle, and the other half is gone");
        };
        io.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with_ref<T>(&self, run: impl FnOnce(&I::Stream) -> T) -> T
    where
        I: Wrap,
    {
        run(self.lock().get_ref())
    }
}

impl<I> Clone for Locked<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Sealed for Locked<I> {}

impl<I: Io> Io for Locked<I> {
    type Timer = I::Timer;

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_read(cx, room)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_write_vectored()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_shutdown(cx)
    }

    fn now() -> Duration {
        I::now()
    }

    fn poll_timer(
        timer: &mut Self::Timer,
        cx: &mut Context<'_>,
        deadline: Option<Duration>,
    ) -> Poll<()> {
        I::poll_timer(timer, cx, deadline)
    }
}
