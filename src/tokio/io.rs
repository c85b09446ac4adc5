//! What tokio brings to the engine: its streams, its clock, its timers.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::time::{Instant, Sleep, sleep_until};

use crate::adapter::epoch;
use crate::asynchronous::{ByteStream, Io, Sealed, Wrap};

/// A stream of tokio's traits.
#[derive(Debug)]
pub struct Tokio<S>(S);

impl<S> Sealed for Tokio<S> {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for Tokio<S> {
    // Allocated only while there is something to wait for: most connections have no deadline.
    type Timer = Option<Pin<Box<Sleep>>>;

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
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
        self.0.is_write_vectored()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn now() -> Duration {
        Instant::now().saturating_duration_since(Instant::from_std(epoch()))
    }

    fn poll_timer(
        timer: &mut Self::Timer,
        cx: &mut Context<'_>,
        deadline: Option<Duration>,
    ) -> Poll<()> {
        // A deadline beyond the range of the clock is never reached.
        let at = deadline.and_then(|deadline| Instant::from_std(epoch()).checked_add(deadline));
        let Some(at) = at else {
            *timer = None;
            return Poll::Pending;
        };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // Deadlines that move on are common, and a timer that fires too early does no harm.
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wrap for Tokio<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<Tokio<S>> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.get_mut().poll_bytes(cx, |bytes| {
            let n = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..n]);
            n
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<Tokio<S>> {
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

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}
