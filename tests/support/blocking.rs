//! A blocking stream in memory, with timeouts and a second handle, and the test's hand on it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline::blocking::{BlockingStream, WebSocket};
use bowline::{Config, RecvBuf, Role};

use super::{Frame, LONG, connection, decode};

#[derive(Debug)]
pub(crate) struct State {
    input: VecDeque<u8>,
    eof: bool,
    /// What each write call took.
    pub(crate) writes: Vec<Vec<u8>>,
    /// How many bytes writes may still take.
    room: usize,
    /// The most that one operation moves.
    chunk: usize,
    pub(crate) reads: usize,
    pub(crate) blocked_readers: usize,
    pub(crate) blocked_writers: usize,
    pub(crate) write_shut: bool,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) nonblocking: bool,
    pub(crate) handles: usize,
    /// Given once by the next write.
    fail_write: Option<ErrorKind>,
    /// A slow network: each read gives one byte after this time.
    drip: Option<Duration>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` gives something, at most for `timeout`.
    fn wait<'a, T>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        timeout: Duration,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + timeout;
        // Others may wait for somebody to wait.
        self.changed.notify_all();
        loop {
            if let Some(value) = ready(&mut state) {
                self.changed.notify_all();
                return Some(value);
            }
            let left = end.checked_duration_since(Instant::now())?;
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Pipe(Arc<Inner>);

/// The other end, for the test.
#[derive(Clone, Debug)]
pub(crate) struct Far(Arc<Inner>);

pub(crate) fn pipe() -> (Pipe, Far) {
    let inner = Arc::new(Inner {
        state: Mutex::new(State {
            input: VecDeque::new(),
            eof: false,
            writes: Vec::new(),
            room: usize::MAX,
            chunk: usize::MAX,
            reads: 0,
            blocked_readers: 0,
            blocked_writers: 0,
            write_shut: false,
            read_timeout: None,
            write_timeout: None,
            nonblocking: false,
            handles: 1,
            fail_write: None,
            drip: None,
        }),
        changed: Condvar::new(),
    });
    (Pipe(Arc::clone(&inner)), Far(inner))
}

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Pipe>, Far) {
    let (pipe, far) = pipe();
    let ws = WebSocket::from_connection(pipe, connection(role, config), RecvBuf::new()).unwrap();
    (ws, far)
}

impl Far {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.changed.notify_all();
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.change(|s| s.input.extend(bytes));
    }

    pub(crate) fn eof(&self) {
        self.change(|s| s.eof = true);
    }

    /// Writes may take this many bytes from now on.
    pub(crate) fn room(&self, room: usize) {
        self.change(|s| s.room = room);
    }

    pub(crate) fn chunk(&self, chunk: usize) {
        self.change(|s| s.chunk = chunk);
    }

    pub(crate) fn drip(&self, every: Duration) {
        self.change(|s| s.drip = Some(every));
    }

    pub(crate) fn user_read_timeout(&self, timeout: Option<Duration>) {
        self.change(|s| s.read_timeout = timeout);
    }

    pub(crate) fn fail_next_write(&self, kind: ErrorKind) {
        self.change(|s| s.fail_write = Some(kind));
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

    /// Waits for a condition; a hang fails.
    pub(crate) fn wait_for(&self, what: &str, mut condition: impl FnMut(&State) -> bool) {
        let found = self.0.wait(self.lock(), LONG, |s| condition(s).then_some(()));
        assert!(found.is_some(), "waited in vain: {what}; {:?}", self.lock());
    }

    /// Does nothing for some time, which the code under test measures.
    pub(crate) fn let_pass(&self, time: Duration) {
        let _ = self.0.wait(self.lock(), time, |_| None::<()>);
    }

    pub(crate) fn wait_until_reading(&self) {
        self.wait_for("someone reads", |s| s.blocked_readers > 0 && s.input.is_empty());
    }

    pub(crate) fn wait_until_writing(&self) {
        self.wait_for("someone is blocked in a write", |s| s.blocked_writers > 0);
    }
}

/// Sockets refuse a timeout of zero, and some refuse a very long one.
fn assert_acceptable(timeout: Option<Duration>) {
    assert!(timeout != Some(Duration::ZERO) && timeout <= Some(Duration::from_secs(100_000)));
}

fn timeout_of(configured: Option<Duration>) -> Duration {
    configured.unwrap_or(LONG * 2)
}

impl Read for Pipe {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.reads += 1;
        let mut timeout = timeout_of(state.read_timeout);
        if let Some(every) = state.drip {
            let _ = self.0.wait(state, every.min(timeout), |_| None::<()>);
            if timeout < every {
                return Err(ErrorKind::WouldBlock.into());
            }
            state = self.0.lock();
            buffer = &mut buffer[..1];
            timeout -= every;
        }
        let mut take = |s: &mut State| {
            if s.input.is_empty() {
                return s.eof.then_some(0);
            }
            let n = s.input.len().min(buffer.len()).min(s.chunk);
            for (to, from) in buffer.iter_mut().zip(s.input.drain(..n)) {
                *to = from;
            }
            Some(n)
        };
        if let Some(n) = take(&mut state) {
            return Ok(n);
        }
        if state.nonblocking {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.blocked_readers += 1;
        let result = self.0.wait(state, timeout, take);
        self.0.lock().blocked_readers -= 1;
        result.ok_or(ErrorKind::WouldBlock.into())
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if let Some(kind) = state.fail_write.take() {
            return Err(kind.into());
        }
        let bytes = slices.iter().map(|slice| &**slice).collect::<Vec<_>>().concat();
        let timeout = timeout_of(state.write_timeout);
        let give = |s: &mut State| {
            if s.write_shut {
                return Some(Err(ErrorKind::BrokenPipe.into()));
            }
            let n = bytes.len().min(s.room).min(s.chunk);
            if n == 0 {
                return None;
            }
            s.room -= if s.room == usize::MAX { 0 } else { n };
            s.writes.push(bytes[..n].to_vec());
            Some(Ok(n))
        };
        if let Some(result) = give(&mut state) {
            self.0.changed.notify_all();
            return result;
        }
        if state.nonblocking {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.blocked_writers += 1;
        let result = self.0.wait(state, timeout, give);
        self.0.lock().blocked_writers -= 1;
        result.unwrap_or(Err(ErrorKind::WouldBlock.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlockingStream for Pipe {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.lock().read_timeout)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        assert_acceptable(timeout);
        self.0.lock().read_timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        assert_acceptable(timeout);
        self.0.lock().write_timeout = timeout;
        Ok(())
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.lock().nonblocking = nonblocking;
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.lock().write_shut = true;
        self.0.changed.notify_all();
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.0.lock().handles += 1;
        Ok(Self(Arc::clone(&self.0)))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.lock().handles -= 1;
        self.0.changed.notify_all();
    }
}
