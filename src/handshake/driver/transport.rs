//! The bytes and the time of a [`Driver`]: reading, writing, deadlines.

use core::time::Duration;

use super::{Driver, Stage};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::leave::LeaveStep;

impl Driver {
    /// Whether to read from the socket. It changes with each call that moves something. So try to read whenever it
    /// is true, and not only when the system says that the socket is readable.
    pub fn wants_read(&self) -> bool {
        match &self.stage {
            Stage::Serving(serving) => serving.request.is_none(),
            Stage::Calling(_) => true,
            Stage::Open(connection) => {
                connection.end().is_none()
                    && !self.is_held()
                    && !connection.is_paused(&self.input, &self.out)
            }
            Stage::Leaving(leaving) => leaving.step() == LeaveStep::Drain,
        }
    }

    /// Room for bytes from the socket; it is never empty. Write to its start, then call [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Tells the driver that the socket put `n` bytes at the start of [`space`](Self::space).
    pub fn filled(&mut self, n: usize) {
        self.input.filled(n);
        if let Stage::Leaving(leaving) = &mut self.stage {
            self.input = RecvBuf::new();
            if let Some(leave) = &mut leaving.leave {
                leave.discard(n);
            }
        }
    }

    /// Tells the driver that no more bytes will come: a read gave 0.
    pub fn eof(&mut self) {
        match &mut self.stage {
            Stage::Leaving(leaving) => {
                if let Some(leave) = &mut leaving.leave {
                    leave.discard(0);
                }
            }
            _ => self.input.eof(),
        }
    }

    /// Tells the driver that a read failed, for example with a reset. The peer is gone.
    pub fn transport_failed(&mut self) {
        match &mut self.stage {
            Stage::Serving(_) | Stage::Calling(_) => self.input.eof(),
            Stage::Open(connection) => connection.transport_failed(&self.input),
            Stage::Leaving(leaving) => leaving.leave = None,
        }
    }

    /// Whether bytes wait to be written.
    pub fn wants_write(&self) -> bool {
        let is_open = match &self.stage {
            Stage::Leaving(leaving) => leaving.step() == LeaveStep::Flush,
            _ => true,
        };
        is_open && !self.is_mute && !self.out.is_empty()
    }

    /// The first bytes to write, in one slice. Call it while [`wants_write`](Self::wants_write).
    pub fn pending(&self) -> &[u8] {
        self.out.pending()
    }

    /// All bytes to write, in order, for a vectored write. No slice is empty.
    pub fn pending_slices(&self) -> impl Iterator<Item = &[u8]> {
        self.out.pending_slices()
    }

    /// Tells the driver that the socket took the first `n` bytes.
    pub fn sent(&mut self, n: usize) {
        self.out.sent(n);
        if let Stage::Leaving(leaving) = &mut self.stage
            && let Some(leave) = &mut leaving.leave
        {
            leave.sent(n);
        }
    }

    /// Tells the driver that a write failed. The bytes that wait are dropped, and so are those that are queued
    /// later. The connection has not ended: the peer's Close may still be read.
    pub fn write_failed(&mut self) {
        self.is_mute = true;
        self.drop_unsendable();
    }

    pub(super) fn drop_unsendable(&mut self) {
        if self.is_mute && !self.out.is_empty() {
            self.sent(self.out.len());
        }
    }

    /// When [`on_time`](Self::on_time) wants to be called: the handshake timeout, a
    /// [deadline of the connection](crate::Connection::deadline), or the close timeout. `None`: never. Ask before
    /// each wait, because that is when timers start and buffers are given back.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        self.input.release();
        self.out.release();
        let is_held = self.is_held();
        match &mut self.stage {
            // The program takes its time, and that is not the client's fault.
            Stage::Serving(serving) if serving.request.is_some() => None,
            Stage::Serving(serving) => serving.handshake.deadline(now),
            Stage::Calling(handshake) => handshake.deadline(now),
            // Nothing is read, so the peer cannot be asked for the rest of a message.
            Stage::Open(connection) if is_held => {
                connection.deadline(now, &RecvBuf::new(), &self.out)
            }
            Stage::Open(connection) => connection.deadline(now, &self.input, &self.out),
            Stage::Leaving(leaving) => leaving.leave.as_mut()?.deadline(now),
        }
    }

    /// Does what is due if a [`deadline`](Self::deadline) is reached: status 408, a ping, a Close, or an end.
    /// Otherwise it does nothing. Call [`poll`](Self::poll) before it, so that bytes that came in time count, and
    /// after it.
    pub fn on_time(&mut self, now: Duration) {
        let is_held = self.is_held();
        match &mut self.stage {
            Stage::Serving(serving) if serving.request.is_some() => {}
            Stage::Serving(serving) => {
                if let Err(error) = serving.handshake.on_time(now) {
                    self.refuse_with(error);
                }
            }
            // The next `read` gives the error again.
            Stage::Calling(handshake) => drop(handshake.on_time(now)),
            Stage::Open(connection) if is_held => {
                connection.on_time(now, &RecvBuf::new(), &mut self.out);
            }
            Stage::Open(connection) => connection.on_time(now, &self.input, &mut self.out),
            Stage::Leaving(leaving) => {
                if let Some(leave) = &mut leaving.leave {
                    leave.on_time(now);
                }
            }
        }
    }
}
