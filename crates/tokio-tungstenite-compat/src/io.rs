//! A stream of tokio as one that does not block, for the length of one poll.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which side of a WebSocket is polled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Read,
    Write,
}

/// The tasks that wait for a stream to take bytes. Both sides write: one its replies, and the other its messages. A stream
/// wakes only the last that asked. So it gets this waker, which wakes both.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    read: AtomicWaker,
    write: AtomicWaker,
}

impl Wake for Writers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.read.wake();
        self.write.wake();
    }
}

/// A stream, while it is polled.
pub(crate) struct Polled<'a, 'b, S> {
    pub(crate) stream: &'a mut S,
    pub(crate) cx: &'a mut Context<'b>,
    pub(crate) side: Side,
    /// It exists from the first write on that had to wait, so that most connections have none.
    pub(crate) writers: &'a mut Option<Arc<Writers>>,
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: Unpin> Polled<'_, '_, S> {
    /// Polls something that waits until the stream takes bytes.
    fn write_with<T>(
        &mut self,
        mut poll: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        if self.writers.is_none() {
            let polled = poll(Pin::new(self.stream), self.cx);
            if polled.is_ready() {
                return ready(polled);
            }
        }
        let writers = self.writers.get_or_insert_default();
        match self.side {
            Side::Read => writers.read.register(self.cx.waker()),
            Side::Write => writers.write.register(self.cx.waker()),
        }
        let waker = Waker::from(writers.clone());
        ready(poll(Pin::new(self.stream), &mut Context::from_waker(&waker)))
    }
}

impl<S: AsyncRead + Unpin> Read for Polled<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        ready(Pin::new(&mut *self.stream).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for Polled<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with(|stream, cx| stream.poll_write(cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|stream, cx| stream.poll_flush(cx))
    }
}
