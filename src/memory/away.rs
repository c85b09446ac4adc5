//! A receive buffer that is with a kernel, for interfaces that complete a read later (io_uring, IOCP).

use core::fmt;

use crate::memory::recv_buf::RecvBuf;

/// The room of a [`RecvBuf`] as an owned value: see [`RecvBuf::take_space`].
///
/// The bytes keep their address until the value is dropped, wherever it is moved. So a kernel can write to them
/// while the program does something else. Dropping it loses what had come before the read.
pub struct OwnedSpace(RecvBuf);

impl AsMut<[u8]> for OwnedSpace {
    /// The room, never empty.
    fn as_mut(&mut self) -> &mut [u8] {
        // There is room already, so nothing moves.
        self.0.space()
    }
}

impl fmt::Debug for OwnedSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedSpace").field(&self.0).finish()
    }
}

impl RecvBuf {
    /// Gives the room for the next read away, as [`space`](Self::space) lends it. Bring it back with
    /// [`put_space`](Self::put_space) once the read is complete. Ends the current event.
    ///
    /// Until then the buffer is empty: [`Connection::advance`](crate::Connection::advance) finds nothing, and
    /// deadlines still count what has begun to come. Bytes that are put in meanwhile are lost.
    ///
    /// ```
    /// use bowline::{Config, Connection, Progress, RecvBuf, SendBuf};
    ///
    /// let mut connection = Connection::server(Config::default());
    /// let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    /// let mut space = input.take_space();
    /// // The kernel has the space. Later it says how many bytes it has put there.
    /// let bytes = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    /// space.as_mut()[..bytes.len()].copy_from_slice(bytes);
    /// input.put_space(space, bytes.len());
    /// assert_eq!(connection.advance(&mut input, &mut out)?, Progress::Event);
    /// # Ok::<(), bowline::ProtocolError>(())
    /// ```
    pub fn take_space(&mut self) -> OwnedSpace {
        let _ = self.space();
        let left = self.left_behind();
        OwnedSpace(core::mem::replace(self, left))
    }

    /// Takes the room back, with `n` bytes at its start that the read brought. At the end of the stream, call
    /// [`eof`](Self::eof) as well. More than there was room for counts as all of the room.
    pub fn put_space(&mut self, space: OwnedSpace, n: usize) {
        let is_eof = self.is_eof();
        *self = space.0;
        self.filled(n);
        if is_eof {
            self.eof();
        }
    }
}
