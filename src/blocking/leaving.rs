//! The end of a socket: the steps of [`Leave`], with the timeouts of the stream.

use core::time::Duration;
use std::io::{self, ErrorKind};

use super::patience::{Patience, is_reached, is_timeout, now, timeout_until};
use super::stream::BlockingStream;
use super::writer::Sent;
use crate::protocol::leave::{Leave, LeaveStep};

/// How far leaving the socket has come.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) leave: Leave,
    is_shut: bool,
}

impl Leaving {
    pub(super) fn new(leave: Leave) -> Self {
        Self { leave, is_shut: false }
    }

    /// Does the steps after the last bytes were sent. The stream keeps its read timeout. After `Waiting` and
    /// `WouldBlock`, a later call goes on with the rest.
    pub(super) fn after_flush(
        &mut self,
        stream: &mut impl BlockingStream,
        until: Option<Duration>,
    ) -> Sent {
        let users = stream.read_timeout();
        let mut result = Sent::All;
        while result == Sent::All {
            self.leave.on_time(now());
            match self.leave.step() {
                LeaveStep::Flush => self.leave.done(),
                LeaveStep::Shutdown => {
                    self.shut(stream);
                    self.leave.done();
                }
                LeaveStep::Drain => result = self.drain(stream, until),
                LeaveStep::Over => {
                    // The deadline may be over, but this does not wait.
                    self.shut(stream);
                    break;
                }
            }
        }
        if let Ok(users) = users {
            let _ = stream.set_read_timeout(users);
        }
        result
    }

    fn shut(&mut self, stream: &mut impl BlockingStream) {
        if !core::mem::replace(&mut self.is_shut, true) {
            let _ = shutdown_until(stream, self.leave.deadline(now()));
        }
    }

    /// Reads and drops bytes until the step is done.
    fn drain(&mut self, stream: &mut impl BlockingStream, until: Option<Duration>) -> Sent {
        let mut patience = Patience::default();
        let mut scratch = [0; 4096];
        let mut is_first = true;
        while self.leave.step() == LeaveStep::Drain {
            let start = now();
            // Each call reads at least once, as `recv` does.
            if !core::mem::take(&mut is_first) && is_reached(until, start) {
                return Sent::Waiting;
            }
            let end = self.leave.deadline(start).into_iter().chain(until).min();
            let timeout = timeout_until(end, start);
            if stream.set_read_timeout(timeout).is_err() {
                self.leave.done();
                break;
            }
            match stream.read(&mut scratch) {
                Ok(n) => {
                    self.leave.discard(n);
                    patience.moved();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => patience.interrupted(),
                Err(error) if is_timeout(&error) => {
                    if patience.does_not_wait(now().saturating_sub(start), timeout) {
                        return Sent::WouldBlock;
                    }
                }
                Err(_) => self.leave.done(),
            }
            self.leave.on_time(now());
        }
        Sent::All
    }
}

/// Shuts the write side. A TLS stream may take until the deadline to send its last record.
pub(super) fn shutdown_until(
    stream: &mut impl BlockingStream,
    deadline: Option<Duration>,
) -> io::Result<()> {
    let limited = stream.set_write_timeout(timeout_until(deadline, now()));
    stream.shutdown_write().and(limited)
}
