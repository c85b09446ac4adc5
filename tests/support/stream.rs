//! An asynchronous stream in memory that moves as many bytes, and is as often not ready, as a test wants; and polling
//! by hand.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bowline::tokio::WebSocket;
use bowline::{Config, RecvBuf, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Frame, connection, decode};

pub(crate) struct State {
    /// Runs in the middle of each read.
    pub(crate) on_read: Option<Box<dyn Fn() + Send>>,
    input: VecDeque<u8>,
    /// What comes again and again once `input` is empty: a peer that never stops.
    pub(crate) endless: Vec<u8>,
    eof: bool,
    pub(crate) read_error: Option<ErrorKind>,
    pub(crate) write_error: Option<ErrorKind>,
    /// What each write took.
    pub(crate) writes: Vec<Vec<u8>>,
    /// How many bytes writes may still take.
    pub(crate) room: usize,
    /// The most that one operation moves.
    pub(crate) chunk: usize,
    /// Each operation is not ready at first, every time.
    pub(crate) stutter: bool,
    ready: [bool; 4],
    /// Writes take no byte and are ready all the same.
    pub(crate) takes_nothing: bool,
    pub(crate) flushes: usize,
    pub(crate) flush_pending: bool,
    pub(crate) shut_pending: bool,
    pub(crate) shut: bool,
    pub(crate) dropped: bool,
    pub(crate) reads: usize,
    pub(crate) read_bytes: usize,
    /// Room comes right after the next write that found none, as if the peer read meanwhile.
    pub(crate) room_after_next_pending: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("room", &self.room).finish_non_exhaustive()
    }
}

impl State {
    /// Gives back the memory of what was read, where memory is measured.
    pub(crate) fn shrink(&mut self) {
        self.input.shrink_to_fit();
    }

    /// Whether this operation has to wait, being woken at once.
    fn stutters(&mut self, which: usize, cx: &mut Context<'_>) -> bool {
        if !self.stutter {
            return false;
        }
        self.ready[which] = !self.ready[which];
        if self.ready[which] {
            cx.waker().wake_by_ref();
        }
        self.ready[which]
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Io(Arc<Mutex<State>>);

/// The other end, for the test.
#[derive(Clone, Debug)]
pub(crate) struct Far(Arc<Mutex<State>>);

pub(crate) fn io() -> (Io, Far) {
    let state = Arc::new(Mutex::new(State {
        on_read: None,
        input: VecDeque::new(),
        endless: Vec::new(),
        eof: false,
        read_error: None,
        write_error: None,
        writes: Vec::new(),
        room: usize::MAX,
        chunk: usize::MAX,
        stutter: false,
        ready: [false; 4],
        takes_nothing: false,
        flushes: 0,
        flush_pending: false,
        shut_pending: false,
        shut: false,
        dropped: false,
        reads: 0,
        read_bytes: 0,
        room_after_next_pending: false,
        reader: None,
        writer: None,
    }));
    (Io(Arc::clone(&state)), Far(state))
}

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    let (io, far) = io();
    (WebSocket::from_connection(io, connection(role, config), RecvBuf::new()), far)
}

impl Far {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes whoever waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Moves one operation's worth of bytes at a time, each after a refusal.
    pub(crate) fn stutter(&self, chunk: usize) {
        self.change(|s| (s.stutter, s.chunk) = (true, chunk));
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.change(|s| s.input.extend(bytes));
    }

    pub(crate) fn eof(&self) {
        self.change(|s| s.eof = true);
    }

    /// Lets writes take this many bytes, and wakes whoever waits for that.
    pub(crate) fn room(&self, room: usize) {
        let mut state = self.lock();
        state.room = room;
        let waker = state.writer.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn writes(&self) -> usize {
        self.lock().writes.len()
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        self.lock().writes.concat()
    }

    pub(crate) fn frames(&self, role: Role) -> Vec<Frame> {
        decode(role, &self.written())
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        state.reads += 1;
        if let Some(run) = &state.on_read {
            run();
        }
        if state.stutters(0, cx) {
            return Poll::Pending;
        }
        if let Some(kind) = state.read_error {
            return Poll::Ready(Err(kind.into()));
        }
        if state.input.is_empty() && !state.endless.is_empty() {
            let endless = state.endless.clone();
            state.input.extend(endless);
        }
        if state.input.is_empty() {
            if state.eof {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = state.input.len().min(buffer.remaining()).min(state.chunk);
        let (front, _) = state.input.as_slices();
        let n = n.min(front.len());
        buffer.put_slice(&front[..n]);
        state.input.drain(..n);
        state.read_bytes += n;
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
        let mut state = self.0.lock().unwrap();
        if state.stutters(1, cx) {
            return Poll::Pending;
        }
        if let Some(kind) = state.write_error {
            return Poll::Ready(Err(kind.into()));
        }
        if state.shut {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if state.takes_nothing {
            return Poll::Ready(Ok(0));
        }
        let bytes = slices.iter().map(|slice| &**slice).collect::<Vec<_>>().concat();
        let n = bytes.len().min(state.room).min(state.chunk);
        if n == 0 && !bytes.is_empty() {
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
        }
        if state.room != usize::MAX {
            state.room -= n;
        }
        state.writes.push(bytes[..n].to_vec());
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
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
        let mut state = self.0.lock().unwrap();
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

impl Drop for Io {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).dropped = true;
    }
}

/// Polls at most `polls` times, then drops the future: its result, if it was done by then.
pub(crate) fn cancelled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
    }
    None
}

/// Polls until it is done; more polls than any test needs are a hang.
pub(crate) fn finish<F: Future>(future: F) -> F::Output {
    cancelled(future, 1_000_000).expect("a future that is never done")
}

/// Polls once.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A task's waker that counts.
#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&wakes));
        (wakes, waker)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
