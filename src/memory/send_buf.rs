//! The output queue: whole frames in order. Small frames share a buffer, large payloads are queued by reference.
//!
//! The memory of the queue follows the bytes that wait in it. [`SendBuf::kept`] computes it for a budget:
//!
//! | part | holds at most |
//! |---|---|
//! | `head`, a buffer that the thread lends | 126 KiB, until [`SendBuf::release`] |
//! | `head`, grown beyond that | four times the bytes that wait in it, and 126 KiB |
//! | `tail`, copied | twice the bytes that wait in it |
//! | `tail`, by reference | the payload, until its last byte has left |

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};

use crate::memory::budget::{Budget, Charge};
use crate::memory::pool;

/// Frames that wait for the socket.
///
/// Write [`pending_slices`](Self::pending_slices) with one vectored write, or
/// [`pending`](Self::pending) with a plain one. Then call [`sent`](Self::sent) with the number of bytes
/// that the socket took. Frames enter whole and leave in order.
#[derive(Default)]
pub struct SendBuf {
    /// Absent while nothing waits, so that an idle connection holds little.
    head: Option<Box<Head>>,
    /// What waits after `head`. Absent until a large payload is queued by reference, or a budget is charged.
    tail: Option<Box<Tail>>,
    /// How many bytes have left so far; wraps.
    left: u32,
    /// How many bytes have to leave until the marked frames in the queue are gone. The highest bit is
    /// [`BUFFERED`].
    marked: u32,
}

/// The highest bit of `SendBuf::marked`: the stream still holds back bytes that it took.
const BUFFERED: u32 = 1 << 31;

/// Bytes in a buffer of their own, and how many of them have left. The pool keeps them in one piece.
#[derive(Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    sent: usize,
}

impl Head {
    /// Appends a frame for which there is [room](SendBuf::head_with_room): the first `size` bytes of `header`, and
    /// the payload that `write` appends. There must be room for all of `header`.
    // A call would cost the shortest messages 20 of 120 instructions.
    #[inline(always)]
    pub(crate) fn append(
        &mut self,
        (header, size): ([u8; 8], usize),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        // The whole array is one store; a copy of `size` bytes would be a call.
        let end = self.bytes.len() + size;
        self.bytes.extend_from_slice(&header);
        self.bytes.truncate(end);
        write(&mut self.bytes);
    }

    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    #[inline]
    fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Moves the bytes that wait to the start. A buffer that has grown shrinks again.
    fn forget_sent(&mut self) {
        self.bytes.drain(..core::mem::take(&mut self.sent));
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to(pool::WIDE);
        }
    }
}

#[derive(Default)]
struct Tail {
    chunks: VecDeque<Chunk>,
    /// The bytes that wait in the chunks, and those that were given away.
    len: usize,
    /// The memory of the chunks that this queue alone keeps alive.
    own: usize,
    charge: Option<Charge>,
    /// The bytes that were given away, and the memory that they keep alive. `len` and `own` have them too.
    away: (usize, usize),
}

enum Chunk {
    Copied(Box<Head>),
    /// The bytes that have not left, and how many bytes of memory this queue alone keeps alive for them. That
    /// is the whole payload until its last byte has left, or 0 if other queues hold it too.
    Shared(Bytes, usize),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(head) => head.waiting(),
            Self::Shared(bytes, _) => bytes,
        }
    }

    /// The memory that this queue alone keeps alive.
    fn own(&self) -> usize {
        match self {
            Self::Copied(head) => head.capacity(),
            Self::Shared(_, own) => *own,
        }
    }

    /// Copies the rest of a payload of which most has left, if this is the only reference to it.
    fn shrink(&mut self) {
        if let Self::Shared(bytes, own) = self
            && bytes.len() <= *own / 4
            && bytes.is_unique()
        {
            *self = Self::Copied(Box::new(Head::new(bytes.to_vec())));
        }
    }
}

impl Tail {
    fn push(&mut self, chunk: Chunk) {
        self.count(&chunk);
        self.chunks.push_back(chunk);
    }

    fn count(&mut self, chunk: &Chunk) {
        self.len += chunk.bytes().len();
        // The same payload can be queued several times, so this can be more than there is memory.
        self.own = self.own.saturating_add(chunk.own());
    }

    fn push_front(&mut self, chunk: Chunk) {
        self.count(&chunk);
        self.chunks.push_front(chunk);
    }

    fn removed(&mut self, chunk: Option<Chunk>) -> Option<Chunk> {
        let chunk = chunk?;
        self.len -= chunk.bytes().len();
        self.own = self.own.saturating_sub(chunk.own());
        Some(chunk)
    }

    fn pop_front(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front();
        self.removed(chunk)
    }

    fn pop_back(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_back();
        self.removed(chunk)
    }

    fn release(&mut self) {
        if let Some(mut chunk) = self.pop_front() {
            chunk.shrink();
            self.push_front(chunk);
        }
        if self.chunks.capacity() / 4 > self.chunks.len() {
            self.chunks.shrink_to(2 * self.chunks.len());
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
        self.in_head() + self.tail.as_ref().map_or(0, |tail| tail.len)
    }

    /// How many bytes wait in the first buffer.
    #[inline]
    fn in_head(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.len())
    }

    /// How many of them are here, and not given away.
    #[inline]
    fn queued(&self) -> usize {
        let in_tail = self.tail.as_ref().map_or(0, |tail| tail.len - tail.away.0);
        self.in_head() + in_tail
    }

    /// Whether none wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that wait, in order. No slice is empty.
    pub fn pending_slices(&self) -> impl Iterator<Item = &[u8]> {
        let tail = self.tail.iter().flat_map(|tail| &tail.chunks);
        let head = self.head.iter().map(|head| head.waiting());
        head.chain(tail.map(Chunk::bytes)).filter(|slice| !slice.is_empty())
    }

    /// The first bytes that wait. The slice is empty only if none do.
    pub fn pending(&self) -> &[u8] {
        self.pending_slices().next().unwrap_or_default()
    }

    /// Tells the queue that the socket took the first `n` bytes. A number above [`len`](Self::len) counts as
    /// all of them.
    pub fn sent(&mut self, n: usize) {
        let n = n.min(self.queued());
        self.left = self.left.wrapping_add(n as u32);
        let marked = self.marked & !BUFFERED;
        self.marked -= marked.min(u32::try_from(n).unwrap_or(u32::MAX));
        self.remove(n);
        if self.tail.is_some() {
            self.recharge();
        }
    }

    /// Gives the first bytes that wait away, for a kernel that takes them while the program does something else.
    /// Bring them back with [`put_pending`](Self::put_pending) once the write is complete. `None`: nothing waits
    /// here, or some were given away already.
    ///
    /// Until then they count as waiting: in [`len`](Self::len), for the limit of the queue, and for the send timeout.
    /// [`pending`](Self::pending) has only what follows them.
    ///
    /// ```
    /// use bowline::{Config, Connection, SendBuf};
    ///
    /// let mut connection = Connection::server(Config::default());
    /// let mut out = SendBuf::new();
    /// connection.send("Hello", &mut out)?;
    /// let pending = out.take_pending().unwrap();
    /// assert_eq!(pending.as_ref(), b"\x81\x05Hello");
    /// connection.send("again", &mut out)?; // While the kernel has the first.
    /// out.put_pending(pending, 3);
    /// assert_eq!(out.pending(), b"ello");
    /// # Ok::<(), bowline::SendError>(())
    /// ```
    pub fn take_pending(&mut self) -> Option<OwnedPending> {
        if self.queued() == 0 || self.tail.as_ref().is_some_and(|tail| tail.away.0 > 0) {
            return None;
        }
        let chunk = match self.head.take_if(|head| head.len() > 0) {
            Some(head) => Chunk::Copied(head),
            None => self.tail.as_mut()?.pop_front()?,
        };
        let pending = OwnedPending(Some(chunk));
        let tail = self.tail.get_or_insert_default();
        tail.away = (pending.as_ref().len(), pending.0.as_ref().map_or(0, Chunk::own));
        tail.len += tail.away.0;
        tail.own = tail.own.saturating_add(tail.away.1);
        Some(pending)
    }

    /// Takes the bytes back, of which the stream took the first `n`. The rest waits before all that was queued since.
    /// More than there were counts as all.
    pub fn put_pending(&mut self, mut pending: OwnedPending, n: usize) {
        let n = n.min(pending.as_ref().len());
        let tail = self.tail.get_or_insert_default();
        let (bytes, memory) = core::mem::take(&mut tail.away);
        tail.len -= bytes;
        tail.own = tail.own.saturating_sub(memory);
        if let Some(head) = self.head.take() {
            tail.push_front(Chunk::Copied(head));
        }
        match pending.0.take() {
            Some(Chunk::Copied(head)) => self.head = Some(head),
            shared => shared.into_iter().for_each(|chunk| tail.push_front(chunk)),
        }
        self.sent(n);
    }

    fn remove(&mut self, mut n: usize) {
        loop {
            if let Some(mut head) = self.head.take() {
                let of_head = n.min(head.len());
                head.sent += of_head;
                n -= of_head;
                if head.len() > 0 {
                    // A queue that never runs empty must not keep all that it ever sent.
                    if head.sent >= pool::WIDE / 2 && head.sent >= head.bytes.len() / 2 {
                        head.forget_sent();
                    }
                    self.head = Some(head);
                    return;
                }
                pool::give_back_send(head);
            }
            let Some(tail) = &mut self.tail else {
                return;
            };
            match tail.chunks.front_mut() {
                // What was given away has its number there.
                None if tail.away.0 > 0 => return,
                None => self.tail = None,
                Some(Chunk::Copied(_)) => {
                    if let Some(Chunk::Copied(head)) = tail.pop_front() {
                        self.head = Some(head);
                    }
                }
                Some(Chunk::Shared(bytes, _)) if n < bytes.len() => {
                    bytes.advance(n);
                    tail.len -= n;
                    return;
                }
                Some(Chunk::Shared(bytes, _)) => {
                    n -= bytes.len();
                    tail.pop_front();
                }
            }
        }
    }

    /// How much memory this queue alone will keep alive after [`release`](Self::release), if `more` bytes are
    /// added.
    fn kept(&self, more: usize) -> usize {
        let waiting = self.in_head();
        let is_last = self.tail.as_ref().is_none_or(|tail| tail.chunks.is_empty());
        let (of_head, of_tail) = if is_last { (more, 0) } else { (0, more) };
        let waiting = waiting.saturating_add(of_head);
        let (capacity, len) =
            self.head.as_ref().map_or((0, 0), |head| (head.capacity(), head.bytes.len()));
        let head = if is_moved(capacity, waiting) {
            waiting
        } else {
            capacity.max(len.saturating_add(of_head))
        };
        let tail = self.tail.as_ref().map_or(0, |tail| tail.own);
        head.saturating_add(tail).saturating_add(of_tail)
    }

    /// Charges the budget for what is kept, and for `more` bytes that will be added. Whether it has room.
    #[cold]
    pub(crate) fn charge(&mut self, budget: &Budget, more: usize) -> bool {
        let bytes = self.kept(more);
        let tail = self.tail.get_or_insert_default();
        tail.charge.get_or_insert_with(|| Charge::new(budget)).try_set(bytes)
    }

    /// Charges the budget for bytes that were already added.
    #[cold]
    pub(crate) fn charge_added(&mut self, budget: &Budget) {
        let tail = self.tail.get_or_insert_default();
        tail.charge.get_or_insert_with(|| Charge::new(budget));
        self.recharge();
    }

    /// Sets the charge to what is kept now, if there is a charge.
    #[cold]
    fn recharge(&mut self) {
        let bytes = self.kept(0);
        if let Some(charge) = self.tail.as_mut().and_then(|tail| tail.charge.as_mut()) {
            charge.set(bytes);
        }
    }

    /// Gives memory back while the socket takes nothing. Bytes that fill at most a quarter of their buffer
    /// move to an allocation of their own size.
    pub fn release(&mut self) {
        if let Some(head) = self.head.take_if(|head| is_moved(head.capacity(), head.len())) {
            if head.len() > 0 {
                self.head = Some(Box::new(Head::new(head.waiting().to_vec())));
            }
            pool::give_back_send(head);
        }
        if let Some(tail) = &mut self.tail {
            tail.release();
            self.recharge();
        }
    }

    /// Tells the queue whether the stream still holds back bytes that it took, as TLS and `BufWriter` do until
    /// they are flushed. For [`Sender::deadline`](crate::Sender::deadline), such bytes still wait. Otherwise
    /// the stream's own buffer would hide a peer that takes nothing.
    pub fn set_buffered(&mut self, buffered: bool) {
        self.marked = self.marked & !BUFFERED | if buffered { BUFFERED } else { 0 };
    }

    /// Whether the stream still holds back bytes: see [`set_buffered`](Self::set_buffered).
    pub fn is_buffered(&self) -> bool {
        self.marked & BUFFERED != 0
    }

    /// Lets `write` append to the queue.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.is_some() {
            return self.append_to_tail(write);
        }
        write(&mut self.head.get_or_insert_with(pool::take_send).bytes);
    }

    /// How many bytes wait, if all of them are in the first buffer and no budget is charged for them.
    #[inline]
    pub(crate) fn waiting_in_head(&self) -> Option<usize> {
        if self.tail.is_some() { None } else { Some(self.in_head()) }
    }

    /// The first buffer, if `room` bytes can be appended to it without growing it. A queue without a buffer takes
    /// one from the pool.
    #[inline]
    pub(crate) fn head_with_room(&mut self, room: usize) -> Option<&mut Head> {
        let head = self.head.get_or_insert_with(pool::take_send);
        (head.bytes.capacity() - head.bytes.len() >= room).then_some(head)
    }

    #[cold]
    fn append_to_tail(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let tail = self.tail.get_or_insert_default();
        if tail.chunks.is_empty() {
            return write(&mut self.head.get_or_insert_with(pool::take_send).bytes);
        }
        let mut head = match tail.pop_back() {
            Some(Chunk::Copied(head)) => head,
            shared => {
                shared.into_iter().for_each(|chunk| tail.push(chunk));
                // It grows with the bytes in it. A pooled buffer for each small frame between large ones
                // would take 126 KiB for a few bytes.
                Box::default()
            }
        };
        let buffer = &mut head.bytes;
        write(buffer);
        // Compression asks for more room than it fills.
        if buffer.capacity() / 2 > buffer.len() {
            buffer.shrink_to_fit();
        }
        tail.push(Chunk::Copied(head));
    }

    /// Queues a header, and its payload by reference.
    pub(crate) fn append_shared(&mut self, header: &[u8], bytes: Bytes) {
        if self.head.is_none() && self.tail.as_ref().is_none_or(|tail| tail.chunks.is_empty()) {
            // Not a pooled buffer: it would hold a few bytes for as long as a slow peer takes the payload.
            self.head = Some(Box::new(Head::new(header.to_vec())));
        } else {
            self.append(|buffer| buffer.extend_from_slice(header));
        }
        if !bytes.is_empty() {
            let own = bytes.len();
            self.tail.get_or_insert_default().push(Chunk::Shared(bytes, own));
        }
    }

    /// Queues a frame by reference that other queues hold too.
    pub(crate) fn append_common(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.tail.get_or_insert_default().push(Chunk::Shared(frame, 0));
        }
    }

    /// How many bytes have left so far, to watch progress; wraps.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Whether a frame that was marked has not left yet.
    pub(crate) fn has_marked(&self) -> bool {
        self.marked & !BUFFERED > 0
    }

    /// Marks all that is queued now. Its last frame is a reply, and it matters when that has left.
    pub(crate) fn mark(&mut self) {
        let marked = u32::try_from(self.len()).unwrap_or(u32::MAX).min(!BUFFERED);
        self.marked = self.marked & BUFFERED | marked;
    }
}

/// Bytes of a [`SendBuf`] as an owned value: see [`SendBuf::take_pending`].
///
/// They keep their address until the value is dropped, wherever it is moved. Dropping it loses them.
pub struct OwnedPending(Option<Chunk>);

impl AsRef<[u8]> for OwnedPending {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Chunk::bytes)
    }
}

impl fmt::Debug for OwnedPending {
    /// The size only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPending").field("len", &self.as_ref().len()).finish_non_exhaustive()
    }
}

impl Drop for OwnedPending {
    fn drop(&mut self) {
        if let Some(Chunk::Copied(head)) = self.0.take() {
            pool::give_back_send(head);
        }
    }
}

/// In buffers below this size it is not worth moving the waiting bytes.
const SMALL: usize = 256;

/// Whether [`SendBuf::release`] moves the waiting bytes from a buffer of this size to one of their own.
fn is_moved(capacity: usize, waiting: usize) -> bool {
    waiting == 0 || capacity >= SMALL && waiting <= capacity / 4
}

impl fmt::Debug for SendBuf {
    /// Sizes only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for SendBuf {
    fn drop(&mut self) {
        self.head.take().into_iter().for_each(pool::give_back_send);
    }
}
