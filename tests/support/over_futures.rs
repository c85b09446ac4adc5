//! The adapter for `futures-io`, for the tests that run over each asynchronous adapter.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(crate) use bowline::futures::*;
use bowline::{Config, RecvBuf, Role};
use smol::LocalExecutor;
use smol::io::{AsyncRead, AsyncWrite};
pub(crate) use smol::io::{AsyncReadExt, AsyncWriteExt};
use tokio::io::ReadBuf;

pub(crate) use super::stream::Far;
use super::{connection, stream};

/// A stream of tokio's traits, with those of `futures-io`.
#[derive(Debug)]
pub(crate) struct Compat<S>(S);

/// A stream as the adapter takes it.
pub(crate) type Wrapped<S> = Compat<S>;

pub(crate) type Io = Wrapped<stream::Io>;

pub(crate) fn wrap<S>(stream: S) -> Wrapped<S> {
    Compat(stream)
}

pub(crate) fn io() -> (Io, Far) {
    let (io, far) = stream::io();
    (Compat(io), far)
}

/// Shuts down the writing side of a stream of bytes.
pub(crate) async fn shut(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    stream.close().await
}

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    let (io, far) = io();
    (WebSocket::from_connection(io, connection(role, config), RecvBuf::new()), far)
}

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Compat<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for Compat<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

std::thread_local! {
    /// One for each thread that tests.
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
}

/// Runs on smol, and fails instead of waiting for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(super::LONG).await;
        panic!("it waits for ever");
    };
    let executor = EXECUTOR.with(|executor| *executor);
    smol::block_on(executor.run(smol::future::or(future, late)))
}

/// A task that goes on when this is dropped.
pub(crate) struct Task<T>(Option<smol::Task<T>>);

/// Starts a task. It runs while this thread is in [`block_on`].
pub(crate) fn start_task<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    Task(Some(EXECUTOR.with(|executor| executor.spawn(future))))
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(self.0.as_mut().expect("it is there until it is dropped")).poll(cx)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(smol::Task::detach);
    }
}

/// A socket as the adapter takes it.
pub(crate) fn socket(stream: std::net::TcpStream) -> smol::net::TcpStream {
    stream.try_into().unwrap()
}

/// The clock is the real one: what ends later than the handshake's timeout of ten seconds fails.
pub(crate) fn within_two_seconds<F: Future>(future: F) -> F::Output {
    block_on(future)
}
