//! The blocking adapter over a stream in memory, which blocks, has timeouts and a second handle.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline::blocking::{BlockingStream, WebSocket};
use bowline::{Config, RecvBuf, Role};

pub(crate) use super::stream::{Far, Io, io};
use super::stream::{Inner, State};
use super::{LONG, connection};

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    let (io, far) = io();
    let ws = WebSocket::from_connection(io, connection(role, config), RecvBuf::new()).unwrap();
    (ws, far)
}

impl Inner {
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

impl Far {
    pub(crate) fn drip(&self, every: Duration) {
        self.change(|s| s.drip = Some(every));
    }

    pub(crate) fn user_read_timeout(&self, timeout: Option<Duration>) {
        self.change(|s| s.read_timeout = timeout);
    }

    pub(crate) fn fail_next_write(&self, kind: ErrorKind) {
        self.change(|s| s.fail_write = Some(kind));
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
        self.wait_for("someone reads", |s| s.blocked_readers > 0 && s.is_read());
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

impl Read for Io {
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
        let mut read = |s: &mut State| s.read(buffer).transpose();
        if let Some(result) = read(&mut state) {
            return result;
        }
        if state.nonblocking {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.blocked_readers += 1;
        let result = self.0.wait(state, timeout, read);
        self.0.lock().blocked_readers -= 1;
        result.unwrap_or(Err(ErrorKind::WouldBlock.into()))
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let timeout = timeout_of(state.write_timeout);
        let write = |s: &mut State| s.write(slices).transpose();
        if let Some(result) = write(&mut state) {
            self.0.changed.notify_all();
            return result;
        }
        if state.nonblocking {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.blocked_writers += 1;
        let result = self.0.wait(state, timeout, write);
        self.0.lock().blocked_writers -= 1;
        result.unwrap_or(Err(ErrorKind::WouldBlock.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flushes += 1;
        Ok(())
    }
}

impl BlockingStream for Io {
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
        self.0.lock().shut = true;
        self.0.changed.notify_all();
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.0.lock().handles += 1;
        Ok(Self(Arc::clone(&self.0)))
    }
}
