//! The output queue: whole frames, in order, small ones side by side and large ones by reference.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};

use crate::{frame, pool};

/// Frames that wait for the socket.
///
/// Write [`pending_slices`](Self::pending_slices) with one vectored write, or
/// [`pending`](Self::pending) with a plain one, and tell how much was taken with
/// [`sent`](Self::sent). It never holds half a frame that could be left unfinished: frames enter
/// whole and leave in order.
#[derive(Default)]
pub struct SendBuf {
    head: Vec<u8>,
    head_sent: usize,
    /// Behind `head`; absent until a large payload is queued by reference.
    tail: Option<Box<Tail>>,
    /// Bytes that ever left; wraps.
    left: u32,
    /// How many bytes have to leave until the automatic pongs in the queue are gone.
    pongs: u32,
}

#[derive(Default)]
struct Tail {
    chunks: VecDeque<Chunk>,
    len: usize,
}

enum Chunk {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl SendBuf {
    /// An empty queue. It allocates nothing until something is queued, and nothing stays allocated
    /// once all of it has left.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() - self.head_sent + self.tail.as_ref().map_or(0, |tail| tail.len)
    }

    /// Whether none wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that wait, in order; no slice is empty.
    pub fn pending_slices(&self) -> impl Iterator<Item = &[u8]> {
        let tail = self.tail.iter().flat_map(|tail| &tail.chunks);
        core::iter::once(&self.head[self.head_sent..])
            .chain(tail.map(Chunk::bytes))
            .filter(|slice| !slice.is_empty())
    }

    /// The first bytes that wait; empty only if none do.
    pub fn pending(&self) -> &[u8] {
        self.pending_slices().next().unwrap_or_default()
    }

    /// All that waits, if it lies side by side, as small frames do.
    #[cfg(feature = "std")]
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        if self.tail.is_none() { Some(&self.head[self.head_sent..]) } else { None }
    }

    /// Tells that the socket took the first `n` bytes. More than wait counts as all.
    pub fn sent(&mut self, n: usize) {
        let mut n = n.min(self.len());
        self.left = self.left.wrapping_add(n as u32);
        self.pongs = self.pongs.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
        loop {
            let of_head = n.min(self.head.len() - self.head_sent);
            self.head_sent += of_head;
            n -= of_head;
            if self.head_sent < self.head.len() {
                // A queue that never runs empty must not keep all that it ever sent.
                if self.head_sent >= pool::WIDE / 2 && self.head_sent >= self.head.len() / 2 {
                    self.head.drain(..self.head_sent);
                    self.head_sent = 0;
                }
                return;
            }
            self.head_sent = 0;
            pool::give_back_send(core::mem::take(&mut self.head));
            let Some(tail) = &mut self.tail else {
                return;
            };
            match tail.chunks.pop_front() {
                None => self.tail = None,
                Some(Chunk::Copied(bytes)) => {
                    tail.len -= bytes.len();
                    self.head = bytes;
                }
                Some(Chunk::Shared(mut bytes)) => {
                    let taken = n.min(bytes.len());
                    n -= taken;
                    tail.len -= taken;
                    bytes.advance(taken);
                    if !bytes.is_empty() {
                        tail.chunks.push_front(Chunk::Shared(bytes));
                        return;
                    }
                }
            }
        }
    }

    /// Gives memory back while the socket takes nothing: what fills no quarter of its buffer moves to an
    /// allocation of its own size.
    pub fn release(&mut self) {
        let waiting = &self.head[self.head_sent..];
        if self.head.capacity() == pool::WIDE && waiting.len() <= pool::WIDE / 4 {
            let waiting = waiting.to_vec();
            self.head_sent = 0;
            pool::give_back_send(core::mem::replace(&mut self.head, waiting));
        }
    }

    /// Lets `write` append to the queue.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.is_some() {
            return self.append_to_tail(write);
        }
        if self.head.capacity() == 0 {
            self.head = pool::take_send();
        }
        write(&mut self.head);
    }

    /// Whether there is room for a frame with `len` bytes of payload, without an allocation, behind the
    /// small frames and with nothing behind those.
    #[inline]
    pub(crate) fn fits(&self, len: usize) -> bool {
        let room = self.head.capacity() - self.head.len();
        self.tail.is_none() && room >= frame::ROOM && room - frame::ROOM >= len
    }

    /// Lets `write` append a frame that [`fits`](Self::fits).
    #[inline]
    pub(crate) fn append_fitting(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // In registers, where the compiler sees that the room is there.
        let mut head = core::mem::take(&mut self.head);
        write(&mut head);
        self.head = head;
    }

    #[cold]
    fn append_to_tail(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let tail = self.tail.get_or_insert_default();
        let mut buffer = match tail.chunks.pop_back() {
            Some(Chunk::Copied(buffer)) => buffer,
            shared => {
                tail.chunks.extend(shared);
                pool::take_send()
            }
        };
        let before = buffer.len();
        write(&mut buffer);
        tail.len += buffer.len() - before;
        tail.chunks.push_back(Chunk::Copied(buffer));
    }

    /// Queues a payload by reference, behind its header.
    pub(crate) fn append_shared(&mut self, header: &[u8], bytes: Bytes) {
        if self.head.capacity() == 0 && self.tail.is_none() {
            // No whole buffer for a few bytes, while a slow peer takes the payload.
            self.head = header.to_vec();
        } else {
            self.append(|buffer| buffer.extend_from_slice(header));
        }
        if !bytes.is_empty() {
            let tail = self.tail.get_or_insert_default();
            tail.len += bytes.len();
            tail.chunks.push_back(Chunk::Shared(bytes));
        }
    }

    /// Counts the bytes that left, for watching progress; wraps.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Whether automatic pongs that were queued have not left yet.
    pub(crate) fn has_pongs(&self) -> bool {
        self.pongs > 0
    }

    /// Remembers that what was queued last are automatic pongs.
    pub(crate) fn mark_pongs(&mut self) {
        self.pongs = u32::try_from(self.len()).unwrap_or(u32::MAX);
    }
}

impl fmt::Debug for SendBuf {
    /// Sizes only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for SendBuf {
    fn drop(&mut self) {
        pool::give_back_send(core::mem::take(&mut self.head));
    }
}
