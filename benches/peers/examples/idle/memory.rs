//! Connections over streams that hold nothing while they are idle. Only memory limits their number.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sockets::frames::{REQUEST, Window};
use crate::sockets::process::{Memory, cpu};
use crate::sockets::rounds::median;
use crate::sockets::servers::{Server, Shared, spawn};
use crate::{Found, MESSAGES, PAYLOAD, ROUNDS, UNDER_WAY, live, steps};

/// The client's end: the bytes that the server has to read, and how much it wrote.
#[derive(Default)]
struct Pipe {
    unread: &'static [u8],
    written: usize,
    reader: Option<Waker>,
    closed: bool,
}

#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Pipe>>);

impl Stream {
    fn send(&self, bytes: &'static [u8]) {
        let mut pipe = self.0.lock().unwrap();
        (pipe.unread, pipe.written) = (bytes, 0);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
    }

    /// How many bytes were written, once the server has read all and waits for more.
    fn answered(&self) -> Option<usize> {
        let pipe = self.0.lock().unwrap();
        pipe.reader.as_ref().map(|_| pipe.written)
    }

    fn close(&self) {
        let mut pipe = self.0.lock().unwrap();
        pipe.closed = true;
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.0.lock().unwrap();
        if pipe.unread.is_empty() && !pipe.closed {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (now, later) = pipe.unread.split_at(pipe.unread.len().min(buffer.remaining()));
        buffer.put_slice(now);
        pipe.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().written += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = slices.iter().map(|slice| slice.len()).sum();
        self.0.lock().unwrap().written += n;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Sends bytes on each stream in turn, and lets the tasks answer with a number of bytes (0: any number).
async fn sweep(streams: &[Stream], bytes: &'static [u8], reply: usize) {
    for group in streams.chunks(UNDER_WAY) {
        group.iter().for_each(|stream| stream.send(bytes));
        for stream in group {
            let mut turns = 0;
            let written = loop {
                match stream.answered() {
                    // A second task may write later.
                    Some(written) if written >= reply.max(1) => break written,
                    _ => tokio::task::yield_now().await,
                }
                turns += 1;
                assert!(turns < 10_000, "no answer");
            };
            assert!(written == reply || reply == 0 && written > 0, "{written} B for {reply} B");
        }
    }
}

pub fn measure(server: Server, count: usize) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared = Shared::default();
    runtime.block_on(async {
        let window = Window::new(1, PAYLOAD, false);
        let reply = window.reply.len();
        let message: &'static [u8] = window.request.leak();

        // Memory that is loaded and allocated once belongs to no connection.
        let warm: Vec<_> = (0..UNDER_WAY).map(|_| Stream::default()).collect();
        for stream in &warm {
            spawn(server, stream.clone(), &shared);
        }
        sweep(&warm, REQUEST, 0).await;
        sweep(&warm, message, reply).await;
        warm.iter().for_each(Stream::close);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        drop(warm);

        // Neither do the streams.
        let mut streams: Vec<_> = (0..count).map(|_| Stream::default()).collect();
        let before = Memory::now(live);
        let mut task = 0;
        for group in streams.chunks(UNDER_WAY) {
            for stream in group {
                task = spawn(server, stream.clone(), &shared);
            }
            sweep(group, REQUEST, 0).await;
        }
        let new = Memory::now(live);
        sweep(&streams, message, reply).await;
        let after = Memory::now(live);
        let mut found = Found {
            task: task as u64,
            new: Found::each(before, new, count),
            after: Found::each(before, after, count),
            cpu: Vec::new(),
        };
        for step in steps(count).into_iter().rev() {
            streams[step..].iter().for_each(Stream::close);
            streams.truncate(step);
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            let mut figures = Vec::new();
            for _ in 0..ROUNDS {
                let (begin, mut messages) = (cpu(), 0);
                while messages < MESSAGES {
                    sweep(&streams, message, reply).await;
                    messages += streams.len();
                }
                figures.push((cpu() - begin).as_secs_f64() * 1e6 / messages as f64);
            }
            found.cpu.insert(0, median(figures));
        }
        found
    })
}
