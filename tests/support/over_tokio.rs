//! The tokio adapter, for the tests that run over each asynchronous adapter.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use bowline::tokio::*;
use bowline::{Config, RecvBuf, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
pub(crate) use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

pub(crate) use super::stream::{Far, Io};
use super::{connection, stream};

/// A stream as the adapter takes it.
pub(crate) type Wrapped<S> = S;

std::thread_local! {
    /// One for each thread that tests, until the process ends: timers outlive the call that started them. The clock is
    /// the real one.
    static RUNTIME: &'static Runtime = Box::leak(Box::new(runtime()));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Makes this thread one that timers can be started on.
fn enter() {
    if Handle::try_current().is_err() {
        std::mem::forget(RUNTIME.with(|runtime| runtime.enter()));
    }
}

pub(crate) fn wrap<S>(stream: S) -> Wrapped<S> {
    enter();
    stream
}

pub(crate) fn io() -> (Io, Far) {
    enter();
    stream::io()
}

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    let (io, far) = io();
    (WebSocket::from_connection(io, connection(role, config), RecvBuf::new()), far)
}

/// Shuts down the writing side of a stream of bytes.
pub(crate) async fn shut(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await
}

/// Runs on tokio, and fails instead of waiting for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| *runtime).block_on(async {
        tokio::time::timeout(super::LONG, future).await.expect("it waits for ever")
    })
}

/// A task that goes on when this is dropped.
pub(crate) struct Task<T>(JoinHandle<T>);

/// Starts a task. It runs while this thread is in [`block_on`].
pub(crate) fn start_task<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    Task(RUNTIME.with(|runtime| runtime.spawn(future)))
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.expect("it did not panic"))
    }
}

/// A socket as the adapter takes it.
pub(crate) fn socket(stream: std::net::TcpStream) -> TcpStream {
    enter();
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

/// On a paused clock: nobody waits.
pub(crate) fn within_two_seconds<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(2), future).await.expect("it ends after a second")
    })
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        state.reads += 1;
        if let Some(run) = &state.on_read {
            run();
        }
        if state.stutters(0, cx) {
            return Poll::Pending;
        }
        let Some(n) = state.read(buffer.initialize_unfilled())? else {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.stutters(1, cx) {
            return Poll::Pending;
        }
        let Some(n) = state.write(slices)? else {
            if state.room_after_next_pending {
                state.room_after_next_pending = false;
                state.room = usize::MAX;
                // The waker that was registered last is the one that a stream has to wake.
                cx.waker().wake_by_ref();
                state.writer = None;
            } else {
                state.writer = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.stutters(2, cx) {
            return Poll::Pending;
        }
        if state.flush_pending {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.stutters(3, cx) {
            return Poll::Pending;
        }
        if state.shut_pending {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.shut = true;
        Poll::Ready(Ok(()))
    }
}
