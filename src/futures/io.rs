//! What a runtime with the traits of `futures-io` brings to the engine: its streams. The clock is that of `std`,
//! and a thread of `futures-timer` runs the timers, so no runtime is needed.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::time::Instant;

use ::futures_io::{AsyncRead, AsyncWrite};
use futures_timer::Delay;

use crate::adapter::epoch;
use crate::asynchronous::{ByteStream, Io, Sealed, Wrap};

/// The longest single sleep: `futures-timer` cannot represent every time that a `Duration` can.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A stream of the traits of `futures-io`.
#[derive(Debug)]
pub struct Futures<S>(S);

impl<S> Sealed for Futures<S> {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for Futures<S> {
    // There only while there is something to wait for, with the deadline that it was set for.
    type Timer = Option<(Duration, Delay)>;

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        // The trait does not say.
        false
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn now() -> Duration {
        // The first caller may read the clock before its start is set.
        Instant::now().saturating_duration_since(epoch())
    }

    fn poll_timer(
        timer: &mut Self::Timer,
        cx: &mut Context<'_>,
        deadline: Option<Duration>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            *timer = None;
            return Poll::Pending;
        };
        loop {
            let left = deadline.saturating_sub(Self::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let set = || (deadline, Delay::new(left.min(LONGEST)));
            let (at, _) = timer.get_or_insert_with(set);
            // Deadlines that move on are common, and a timer that fires too early does no harm.
            if *at > deadline {
                *timer = Some(set());
            }
            if let Some((_, delay)) = timer {
                ready!(Pin::new(delay).poll(cx));
            }
            *timer = None;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wrap for Futures<S> {
    type Stream = S;

    fn wrap(stream: S) -> Self {
        Self(stream)
    }

    fn get_ref(&self) -> &S {
        &self.0
    }

    fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<Futures<S>> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut n = 0;
        let read = self.get_mut().poll_bytes(cx, |bytes| {
            n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            n
        });
        read.map_ok(|()| n)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<Futures<S>> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}
