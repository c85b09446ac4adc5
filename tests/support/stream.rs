//! A stream in memory that records each operation, moves as many bytes and is as often not ready as a test wants, with
//! the test's hand on its other end; and polling by hand. Each adapter's file says how it waits for the stream.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline::Role;

use super::{Frame, decode};

pub(crate) struct State {
    /// Runs in the middle of each read.
    pub(crate) on_read: Option<Box<dyn Fn() + Send>>,
    input: VecDeque<u8>,
    /// What comes again and again once `input` is empty: a peer that never stops.
    pub(crate) endless: Vec<u8>,
    eof: bool,
    pub(crate) read_error: Option<ErrorKind>,
    pub(crate) write_error: Option<ErrorKind>,
    /// Given once, by the next write.
    pub(super) fail_write: Option<ErrorKind>,
    /// What each write took.
    pub(crate) writes: Vec<Vec<u8>>,
    /// How many bytes writes may still take.
    pub(crate) room: usize,
    /// The most that one operation moves.
    pub(crate) chunk: usize,
    /// Writes take no byte and are ready all the same.
    pub(crate) takes_nothing: bool,
    pub(crate) reads: usize,
    pub(crate) read_bytes: usize,
    pub(crate) flushes: usize,
    pub(crate) shut: bool,
    pub(crate) handles: usize,

    /// Each asynchronous operation is not ready at first, every time.
    pub(crate) stutter: bool,
    ready: [bool; 4],
    pub(crate) flush_pending: bool,
    pub(crate) shut_pending: bool,
    /// Room comes right after the next write that found none, as if the peer read meanwhile.
    pub(crate) room_after_next_pending: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,

    pub(crate) blocked_readers: usize,
    pub(crate) blocked_writers: usize,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) nonblocking: bool,
    /// A slow network: each blocking read gives one byte after this time.
    pub(super) drip: Option<Duration>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("unread", &self.input.len())
            .field("written", &self.writes.iter().map(Vec::len).collect::<Vec<_>>())
            .field("room", &self.room)
            .field("blocked_readers", &self.blocked_readers)
            .field("blocked_writers", &self.blocked_writers)
            .field("shut", &self.shut)
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Gives back the memory of what was read, where memory is measured.
    pub(crate) fn shrink(&mut self) {
        self.input.shrink_to_fit();
    }

    pub(crate) fn is_read(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether this operation has to wait, being woken at once.
    pub(super) fn stutters(&mut self, which: usize, cx: &mut Context<'_>) -> bool {
        if !self.stutter {
            return false;
        }
        self.ready[which] = !self.ready[which];
        if self.ready[which] {
            cx.waker().wake_by_ref();
        }
        self.ready[which]
    }

    /// Reads what there is; nothing where a reader has to wait.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(kind) = self.read_error {
            return Err(kind.into());
        }
        if self.input.is_empty() {
            self.input.extend(&self.endless);
        }
        if self.input.is_empty() {
            return Ok(self.eof.then_some(0));
        }
        let most = buffer.len().min(self.chunk);
        let n = self.input.read(&mut buffer[..most])?;
        self.read_bytes += n;
        Ok(Some(n))
    }

    /// Writes as much as there is room for; nothing where a writer has to wait.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        if let Some(kind) = self.fail_write.take().or(self.write_error) {
            return Err(kind.into());
        }
        if self.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.takes_nothing {
            return Ok(Some(0));
        }
        let bytes = slices.iter().map(|slice| &**slice).collect::<Vec<_>>().concat();
        let n = bytes.len().min(self.room).min(self.chunk);
        if n == 0 && !bytes.is_empty() {
            return Ok(None);
        }
        if self.room != usize::MAX {
            self.room -= n;
        }
        self.writes.push(bytes[..n].to_vec());
        Ok(Some(n))
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    state: Mutex<State>,
    /// For those who block; tasks have wakers in the state.
    pub(super) changed: Condvar,
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Io(pub(super) Arc<Inner>);

/// The other end, for the test.
#[derive(Clone, Debug)]
pub(crate) struct Far(pub(super) Arc<Inner>);

pub(crate) fn io() -> (Io, Far) {
    let state = State {
        on_read: None,
        input: VecDeque::new(),
        endless: Vec::new(),
        eof: false,
        read_error: None,
        write_error: None,
        fail_write: None,
        writes: Vec::new(),
        room: usize::MAX,
        chunk: usize::MAX,
        takes_nothing: false,
        reads: 0,
        read_bytes: 0,
        flushes: 0,
        shut: false,
        handles: 1,
        stutter: false,
        ready: [false; 4],
        flush_pending: false,
        shut_pending: false,
        room_after_next_pending: false,
        reader: None,
        writer: None,
        blocked_readers: 0,
        blocked_writers: 0,
        read_timeout: None,
        write_timeout: None,
        nonblocking: false,
        drip: None,
    };
    let inner = Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() });
    (Io(Arc::clone(&inner)), Far(inner))
}

impl Drop for Io {
    fn drop(&mut self) {
        self.0.lock().handles -= 1;
        self.0.changed.notify_all();
    }
}

impl Far {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Changes something, and wakes whoever waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        self.0.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Moves one operation's worth of bytes at a time, each after a refusal.
    pub(crate) fn stutter(&self, chunk: usize) {
        self.change(|s| (s.stutter, s.chunk) = (true, chunk));
    }

    pub(crate) fn chunk(&self, chunk: usize) {
        self.change(|s| s.chunk = chunk);
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
        self.0.changed.notify_all();
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
