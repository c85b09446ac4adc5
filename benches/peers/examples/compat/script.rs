//! A stream whose peer costs nothing: it gives the same frames again and again, and takes all bytes.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Script {
    frames: Arc<[u8]>,
    /// What was given of them.
    given: usize,
    /// Whether they come once, and then nothing does.
    once: bool,
    pub written: usize,
}

impl Script {
    /// A client's binary frames: `batch` of them are there at a time.
    pub fn new(payload: usize, batch: usize) -> Self {
        let mut frame = vec![0x82];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        frame.resize(frame.len() + payload, b'x');
        Self { frames: frame.repeat(batch).into(), given: 0, once: false, written: 0 }
    }

    /// One frame, and then silence.
    pub fn once(payload: usize) -> Self {
        Self { once: true, ..Self::new(payload, 1) }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.frames.is_empty() {
            return Poll::Pending;
        }
        let rest = &self.frames[self.given..];
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        self.given = (self.given + n) % self.frames.len();
        if self.once && self.given == 0 {
            // Nothing of the peer is left in memory, which is measured.
            self.frames = Arc::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        self.written += buf.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let n = bufs.iter().map(|buf| buf.len()).sum();
        self.written += n;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
