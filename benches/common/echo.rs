//! An echo by each adapter, over a stream in memory: a client sends 16 messages, reads the answers, and goes on.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline::blocking::{self, BlockingStream};
use bowline::{Config, Connection, RecvBuf};

use super::{Sink, Work};

/// The most messages that a read brings. After them a read has to wait, or returns the next ones.
const BATCH: usize = 16;

/// The client's end of a stream: a read is a memcpy of its messages, a write is a memcpy to a sink.
struct Wire<'a> {
    stream: &'a [u8],
    at: usize,
    /// The bytes of as many messages as one read brings.
    batch: usize,
    /// Bytes of the batch under way that were not read yet. With none left, a read waits once.
    left: usize,
    sink: Sink,
}

impl Wire<'_> {
    fn read(&mut self, room: usize) -> &[u8] {
        let n = self.left.min(room);
        self.left -= n;
        let start = self.at;
        self.at += n;
        &self.stream[start..start + n]
    }

    /// Begins the next batch.
    fn next_batch(&mut self) {
        self.left = self.batch;
        if self.at + self.batch > self.stream.len() {
            self.at = 0;
        }
    }
}

/// A stream of every kind. Each clone is a handle of the same one.
#[derive(Clone)]
pub struct Stream<'a>(Rc<RefCell<Wire<'a>>>);

impl<'a> Stream<'a> {
    pub fn new(work: &'a Work, sink: Sink) -> Self {
        let batch = work.stream.len() / work.messages as usize * BATCH;
        let wire = Wire { stream: &work.stream, at: 0, batch, left: batch, sink };
        Self(Rc::new(RefCell::new(wire)))
    }

    /// The bytes that were written.
    pub fn written(&self) -> u64 {
        self.0.borrow().sink.written
    }

    /// Those bytes, as long as the sink holds them.
    pub fn first(&self, len: usize) -> Vec<u8> {
        self.0.borrow().sink.first(len).to_vec()
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> usize {
        let sink = &mut self.0.borrow_mut().sink;
        slices.iter().map(|slice| sink.write(slice)).sum()
    }

    /// Between two batches there is nothing to read: pending, once.
    fn poll(&self) -> Poll<()> {
        let mut wire = self.0.borrow_mut();
        if wire.left > 0 {
            return Poll::Ready(());
        }
        wire.next_batch();
        Poll::Pending
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.left == 0 {
            wire.next_batch();
        }
        let bytes = wire.read(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.borrow_mut().sink.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.write_slices(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// No read or write blocks, so timeouts have no effect.
impl BlockingStream for Stream<'_> {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_nonblocking(&self, _nonblocking: bool) -> io::Result<()> {
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl ::tokio::io::AsyncRead for Stream<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ::tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll().map(|()| {
            buffer.put_slice(self.0.borrow_mut().read(buffer.remaining()));
            Ok(())
        })
    }
}

impl smol::io::AsyncRead for Stream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll().map(|()| self.read(buffer))
    }
}

macro_rules! writes {
    ($trait:path, $close:ident, { $($more:item)* }) => {
        impl $trait for Stream<'_> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(self.write(bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(self.write_slices(slices)))
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn $close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            $($more)*
        }
    };
}

writes!(::tokio::io::AsyncWrite, poll_shutdown, {
    fn is_write_vectored(&self) -> bool {
        true
    }
});
writes!(smol::io::AsyncWrite, poll_close, {});

/// Polls until the future is done. After `Pending`, the next poll finds the bytes.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

fn connection() -> Connection {
    Connection::server(Config::default())
}

/// An adapter's echo of `count` messages.
pub type Echo = fn(Stream<'_>, u64);

macro_rules! asynchronous {
    ($adapter:ident) => {
        pub mod $adapter {
            use bowline::$adapter::WebSocket;
            use bowline::{Config, Connection, RecvBuf};

            use super::{Stream, block_on, connection};

            fn open(stream: Stream<'_>) -> WebSocket<Stream<'_>> {
                WebSocket::from_connection(stream, connection(), RecvBuf::new())
            }

            /// `recv_borrowed`, and `feed` of the lent message.
            pub fn lent(stream: Stream<'_>, count: u64) {
                echo_lent(open(stream), count);
            }

            /// The same with `Config::stats`.
            #[allow(dead_code, reason = "it is counted for one adapter")]
            pub fn counted(stream: Stream<'_>, count: u64) {
                let connection = Connection::server(Config::default().stats(true));
                echo_lent(WebSocket::from_connection(stream, connection, RecvBuf::new()), count);
            }

            fn echo_lent(mut ws: WebSocket<Stream<'_>>, count: u64) {
                block_on(async {
                    for _ in 0..count {
                        let (message, mut out) = ws.recv_borrowed().await.unwrap().unwrap();
                        out.feed(message).unwrap();
                    }
                    ws.flush().await.unwrap();
                });
            }

            /// `recv`, and `feed` of the owned message.
            pub fn owned(stream: Stream<'_>, count: u64) {
                let mut ws = open(stream);
                block_on(async {
                    for _ in 0..count {
                        let message = ws.recv().await.unwrap().unwrap();
                        ws.feed(message).await.unwrap();
                    }
                    ws.flush().await.unwrap();
                });
            }

            /// The same with two halves, in one task.
            pub fn halves(stream: Stream<'_>, count: u64) {
                let (mut sender, mut receiver) = open(stream).split();
                block_on(async {
                    for _ in 0..count {
                        let message = receiver.recv().await.unwrap().unwrap();
                        sender.feed(message).await.unwrap();
                    }
                    sender.flush().await.unwrap();
                });
            }
        }
    };
}

asynchronous!(tokio);
asynchronous!(futures);

fn open_blocking(stream: Stream<'_>) -> blocking::WebSocket<Stream<'_>> {
    blocking::WebSocket::from_connection(stream, connection(), RecvBuf::new()).unwrap()
}

fn blocking_lent(stream: Stream<'_>, count: u64) {
    let mut ws = open_blocking(stream);
    for _ in 0..count {
        let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
        out.feed(message).unwrap();
    }
    ws.flush().unwrap();
}

fn blocking_owned(stream: Stream<'_>, count: u64) {
    let mut ws = open_blocking(stream);
    for _ in 0..count {
        let message = ws.recv().unwrap().unwrap();
        ws.feed(message).unwrap();
    }
    ws.flush().unwrap();
}

fn blocking_halves(stream: Stream<'_>, count: u64) {
    let (mut sender, mut receiver) = open_blocking(stream).split().unwrap();
    for _ in 0..count {
        let message = receiver.recv().unwrap().unwrap();
        sender.feed(message).unwrap();
    }
    sender.flush().unwrap();
}

/// Every adapter and every way to use it, as the tables name them.
pub const ALL: [(&str, &str, Echo); 10] = [
    ("tokio", "lent", tokio::lent),
    ("tokio", "owned", tokio::owned),
    ("tokio", "halves", tokio::halves),
    ("tokio", "lent with stats", tokio::counted),
    ("futures", "lent", futures::lent),
    ("futures", "owned", futures::owned),
    ("futures", "halves", futures::halves),
    ("blocking", "lent", blocking_lent),
    ("blocking", "owned", blocking_owned),
    ("blocking", "halves", blocking_halves),
];
