//! The input buffer: the bytes from the socket, the message under assembly, and the event that is lent.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use bytes::{Buf, Bytes};

use crate::memory::pool;
use crate::memory::read_ahead::{MIN_READ, ReadAhead, is_shrunk};

/// So few unparsed bytes are cheap to move: a read may compact the buffer for them, even for little room.
const SMALL: usize = 4 << 10;

/// The least room that a few compressed bytes get to inflate to.
const SPREAD: usize = 8 << 10;

/// An owned payload of at most this size is copied, so that it keeps no larger buffer alive.
const COPY_UP_TO: usize = 4 << 10;

/// Bytes from the peer, and the event that [`Connection::advance`](crate::Connection::advance)
/// found in them.
///
/// The order of calls: fill it ([`space`](Self::space), [`filled`](Self::filled), at the end
/// [`eof`](Self::eof)), advance the connection, look at the [`event`](Self::event). An event lives
/// until the next `advance` or `space`.
///
/// Payloads are unmasked in place, and fragments are moved together. So an event is one slice, and the
/// message is not copied. The memory grows with the bytes that have come, and at most doubles. It never
/// grows with what a header announces. While nothing is buffered, [`release`](Self::release) gives all of
/// it back.
///
/// ```text
///   0      message    message_end     read           filled       len
///   | spent |  assembled  |  spent     |  not parsed   |  room      |
/// ```
///
/// A compressed message is inflated into the spent bytes before the unparsed ones. If they are too few, the
/// unparsed bytes are moved towards the end of the buffer.
#[derive(Default)]
pub struct RecvBuf {
    /// Initialised over its whole length.
    storage: Box<[u8]>,
    message: usize,
    message_end: usize,
    read: usize,
    filled: usize,
    ahead: ReadAhead,
    /// The event is kept as positions and not as a borrow, so that decoding can use the buffer. The bytes of
    /// a message begin at `message`; the payload of a control frame ends at `read`.
    event: Option<Kind>,
    /// For a control frame, its length. For a message, how many assembled bytes at its end are not lent.
    event_cut: u8,
    assembly: Assembly,
    /// How much of the storage was written to since it came from the pool, in units of 512 bytes.
    used: u8,
}

/// The unit of `used`, in bytes. A wide buffer has fewer than 255 units, so `used` fits one byte.
const USED_UNIT: usize = 512;
const _: () = assert!(pool::WIDE < USED_UNIT * 255);

/// How to get room for a read.
#[derive(Clone, Copy)]
enum Plan {
    Stay,
    Compact,
    /// To a buffer of this size.
    Grow(usize),
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
    Ping,
    Pong,
}

/// How much of the message under assembly was checked as text, and which part of it is lent. In one byte:
///
/// ```text
///   7       5  4     3          2         0
///   |       | open | continues | unchecked |
/// ```
///
/// The last `unchecked` bytes are not known to be whole characters of UTF-8. [`ALL`](Self::ALL) says this of
/// the whole message. The buffer keeps it, since connections may exchange buffers: what one connection did
/// not check, another must not lend as text.
#[derive(Clone, Copy, Default)]
struct Assembly(u8);

impl Assembly {
    /// Nothing was checked, however long the message is.
    const ALL: u8 = 7;
    /// Parts of the message were lent before.
    const CONTINUES: u8 = 8;
    /// More of the message will come.
    const OPEN: u8 = 16;
    /// The storage was given away, with bytes that were not parsed.
    const AWAY: u8 = 32;

    fn unchecked(self) -> u8 {
        self.0 & Self::ALL
    }

    fn set_part(&mut self, first: bool, last: bool) {
        let continues = if first { 0 } else { Self::CONTINUES };
        let open = if last { 0 } else { Self::OPEN };
        self.0 = self.unchecked() | continues | open;
    }
}

impl RecvBuf {
    /// An empty buffer. It allocates nothing until it is filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer that begins with bytes that were already read, for example the bytes that another HTTP
    /// parser found after the request head.
    pub fn with_unread(bytes: &[u8]) -> Self {
        Self { storage: bytes.into(), filled: bytes.len(), used: u8::MAX, ..Self::default() }
    }

    /// Room for bytes from the socket; it is never empty. Write to its start, then call
    /// [`filled`](Self::filled). This ends the current event.
    pub fn space(&mut self) -> &mut [u8] {
        self.end_event();
        if self.storage.is_empty() {
            self.storage = pool::take(self.ahead.usual_size());
            self.used = 0;
        } else {
            self.make_room();
        }
        let end = self.space_end();
        &mut self.storage[self.filled..end]
    }

    // A function of its own, so that the common case touches few lines of the cache.
    #[inline(never)]
    fn make_room(&mut self) {
        match self.plan() {
            Plan::Stay => {}
            Plan::Compact => self.compact(),
            Plan::Grow(size) => self.grow(size),
        }
    }

    /// How the next read gets its room.
    #[inline]
    fn plan(&self) -> Plan {
        let size = self.storage.len();
        if self.ahead.is_wide() && size == pool::NARROW {
            return Plan::Grow(pool::WIDE);
        }
        let want = self.ahead.want();
        let live = self.compact_len();
        let in_place = self.ahead.grows_in_place(live, size);
        let room = if in_place { 1 } else { want.clamp(1, MIN_READ) };
        if size - self.filled >= room {
            return Plan::Stay;
        }
        let free = size - live;
        // The message is at the start already, as an inflated one is: only a few unparsed bytes move.
        let is_cheap = want == 0 && self.message == 0 && self.filled - self.read <= SMALL;
        if free >= room && (is_cheap || free >= size / 4) {
            Plan::Compact
        } else {
            Plan::Grow(self.ahead.grown(live, size))
        }
    }

    fn space_end(&self) -> usize {
        let end = self.filled.saturating_add(self.ahead.most(self.compact_len()));
        end.min(self.storage.len())
    }

    /// Tells the buffer that the socket put `n` bytes at the start of [`space`](Self::space). A number larger
    /// than the room counts as all of the room.
    pub fn filled(&mut self, n: usize) {
        let end = self.space_end();
        self.filled = self.filled.saturating_add(n).min(end);
        let is_all = self.filled == end;
        self.ahead.came(n, is_all && ReadAhead::is_room(n, self.storage.len()));
        self.note_used();
    }

    /// Notes that the storage was written to up to `filled`.
    fn note_used(&mut self) {
        let used = self.filled.div_ceil(USED_UNIT);
        self.used = self.used.max(u8::try_from(used).unwrap_or(u8::MAX));
    }

    /// Replaces the storage with `new`, which was written to up to `filled`. The old one goes back to the pool.
    fn exchange(&mut self, new: Box<[u8]>) {
        let used = core::mem::take(&mut self.used);
        self.note_used();
        pool::give_back(core::mem::replace(&mut self.storage, new), usize::from(used) * USED_UNIT);
    }

    /// Tells the buffer that no more bytes will come.
    pub fn eof(&mut self) {
        self.ahead.eof();
    }

    /// What is lent, and its type. For a text message, it is only what was checked in this buffer: whole
    /// characters of UTF-8.
    #[inline(always)]
    pub(crate) fn lent(&self) -> Option<(Kind, &[u8])> {
        let kind = self.event?;
        Some((kind, &self.storage[self.event_range(kind)]))
    }

    /// Whether what is lent begins a message, and whether it ends one.
    pub(crate) fn lent_ends(&self) -> (bool, bool) {
        let Assembly(bits) = self.assembly;
        (bits & Assembly::CONTINUES == 0, bits & Assembly::OPEN == 0)
    }

    /// Takes what is lent, and ends the event. A payload of up to 4 KiB is copied. A larger one takes the
    /// buffer itself, if it fills most of it.
    #[inline(always)]
    pub(crate) fn take_lent(&mut self) -> Option<(Kind, Bytes)> {
        let kind = self.event?;
        let Range { start, end } = self.event_range(kind);
        let payload = if end - start <= COPY_UP_TO {
            let payload = Box::<[u8]>::from(&self.storage[start..end]).into();
            self.end_event();
            payload
        } else {
            self.take_large(start..end)
        };
        Some((kind, payload))
    }

    #[inline(never)]
    fn take_large(&mut self, Range { start, end }: Range<usize>) -> Bytes {
        let len = end - start;
        let rest = self.unread();
        // The payload is copied if it fills at most half of the buffer. It is also copied if the buffer holds
        // more of the message, or much after it. That rest would be moved now, and again when more comes.
        if len <= self.storage.len() / 2 || rest.len() > len / 4 || end != self.message_end {
            let payload = Bytes::copy_from_slice(&self.storage[start..end]);
            self.end_event();
            return payload;
        }
        let rest = rest.into();
        let storage = core::mem::replace(&mut self.storage, rest);
        let used = usize::from(core::mem::replace(&mut self.used, u8::MAX)) * USED_UNIT;
        self.event = None;
        (self.message, self.message_end, self.read) = (0, 0, 0);
        self.filled = self.storage.len();
        if pool::is_pooled(storage.len()) {
            return Bytes::from_owner(Given { storage, used, payload: start..end });
        }
        let mut storage = storage.into_vec();
        storage.truncate(end);
        let mut payload = Bytes::from(storage);
        payload.advance(start);
        payload
    }

    /// The bytes that have come and are not parsed yet.
    pub fn unread(&self) -> &[u8] {
        &self.storage[self.read..self.filled]
    }

    /// Gives memory back while the connection waits for its peer. If nothing is buffered, that is all of it.
    /// If the bytes fill less than half of their buffer, they move to an allocation of their own size. Nothing
    /// else frees the memory of a large message, so that the next one finds it. This ends the current event.
    pub fn release(&mut self) {
        self.end_event();
        let live = self.compact_len();
        if live == 0 {
            self.exchange(Box::default());
        } else if is_shrunk(live, self.storage.len()) {
            let parts = [&self.storage[self.message..self.message_end], self.unread()];
            let rest = parts.concat().into();
            self.set_compact(self.assembled_len());
            self.exchange(rest);
            self.ahead.shrunk();
        }
    }

    /// How many bytes of memory the connection keeps while it waits. That is what [`release`](Self::release)
    /// will leave after a read that made room and found nothing.
    pub(crate) fn kept(&self) -> usize {
        let live = self.compact_len();
        let size = match self.plan() {
            Plan::Grow(size) => size,
            Plan::Stay | Plan::Compact => self.storage.len(),
        };
        if live == 0 || is_shrunk(live, size) { live } else { size }
    }

    /// Drops all bytes and gives the memory back, because the connection is over.
    pub(crate) fn abandon(&mut self) {
        self.discard();
        self.drop_message(0);
        self.release();
    }

    /// Whether the event is a message or a part of one.
    pub(crate) fn lends_message(&self) -> bool {
        matches!(self.event, Some(Kind::Text | Kind::Binary))
    }

    /// Call this before a read that blocks the thread. It gives back the large buffer of a message that is over. Other
    /// threads may then use the send buffers that this thread keeps. A small buffer stays, because the read needs it.
    #[cfg(feature = "std")]
    pub fn before_blocking(&mut self) {
        if self.storage.len() > pool::WIDE && self.compact_len() == 0 {
            self.release();
        }
        pool::share_send();
    }

    /// What stays here while the space is given away: nothing but how much to read next, and whether bytes that
    /// were not parsed went with it.
    pub(super) fn left_behind(&self) -> Self {
        let bits = if self.has_unread() { Assembly::AWAY } else { 0 };
        let mut left = Self::default();
        (left.ahead, left.assembly) = (self.ahead, Assembly(bits));
        left
    }

    /// Whether bytes wait to be parsed, here or in a space that was given away.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread().is_empty()
            || self.storage.is_empty() && self.assembly.0 & Assembly::AWAY != 0
    }

    pub(crate) fn is_eof(&self) -> bool {
        self.ahead.is_eof()
    }

    /// Steps over `n` parsed bytes.
    pub(crate) fn skip(&mut self, n: usize) {
        self.read += n;
        debug_assert!(self.read <= self.filled);
    }

    /// Drops all unparsed bytes, and gives how many there were. This is for
    /// [`LeaveStep::Drain`](crate::LeaveStep::Drain). The current event ends.
    pub fn discard(&mut self) -> usize {
        let n = self.filled - self.read;
        self.end_event();
        self.rewind();
        n
    }

    /// Moves the next `n` unparsed bytes to the end of the message under assembly, and gives them.
    #[inline]
    pub(crate) fn assemble(&mut self, n: usize) -> &mut [u8] {
        if self.message == self.message_end {
            self.message = self.read;
            self.message_end = self.read;
        } else if self.message_end != self.read {
            self.storage.copy_within(self.read..self.read + n, self.message_end);
        }
        self.assembly = Assembly(Assembly::ALL);
        let start = self.message_end;
        self.message_end += n;
        self.read += n;
        &mut self.storage[start..start + n]
    }

    /// The next `n` unparsed bytes, and room after the message under assembly for what they inflate to. The
    /// message may still grow by at most `most` bytes. Memory at most doubles, and never for more than those.
    pub(crate) fn inflate_space(&mut self, n: usize, most: u64) -> (&[u8], &mut [u8]) {
        if self.message == self.message_end {
            (self.message, self.message_end) = (0, 0);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.read - self.message_end < most.min(MIN_READ) {
            self.spread(most);
        }
        let (before, unread) = self.storage.split_at_mut(self.read);
        (&unread[..n], &mut before[self.message_end..])
    }

    /// The size of the buffer after [`inflate_space`](Self::inflate_space), if it is larger than those that
    /// the pool lends.
    pub(crate) fn inflate_size(&self, most: u64) -> Option<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let size = self.spread_to(most).unwrap_or(0).max(self.storage.len());
        (size > pool::WIDE).then_some(size)
    }

    /// Tells how many of the bytes of [`inflate_space`](Self::inflate_space) were consumed, and how many bytes
    /// were written to its room.
    pub(crate) fn inflated(&mut self, consumed: usize, produced: usize) {
        self.read += consumed;
        if produced > 0 {
            self.message_end += produced;
            self.assembly = Assembly(Assembly::ALL);
        }
        self.ahead.inflated();
    }

    /// How many bytes of the message are assembled.
    pub(crate) fn assembled_len(&self) -> usize {
        self.message_end - self.message
    }

    /// How many bytes at the end of the message under assembly were not checked to be whole characters. Once
    /// bytes are added, it is the whole message.
    pub(crate) fn unchecked(&self) -> usize {
        match self.assembly.unchecked() {
            Assembly::ALL => self.assembled_len(),
            n => usize::from(n).min(self.assembled_len()),
        }
    }

    /// Tells that the message under assembly is whole characters of UTF-8, except for its last `n` bytes.
    pub(crate) fn set_unchecked(&mut self, n: usize) {
        self.assembly = Assembly(u8::try_from(n).map_or(Assembly::ALL, |n| n.min(Assembly::ALL)));
    }

    /// The message under assembly, from `from` bytes into it.
    pub(crate) fn assembled(&self, from: usize) -> &[u8] {
        &self.storage[self.message + from..self.message_end]
    }

    /// The next `n` unparsed bytes, to be unmasked in place.
    pub(crate) fn unparsed_mut(&mut self, n: usize) -> &mut [u8] {
        &mut self.storage[self.read..self.read + n]
    }

    /// How much to read next.
    pub(crate) fn ahead(&mut self) -> &mut ReadAhead {
        &mut self.ahead
    }

    /// Lends the message under assembly. Of a text message, it lends only what was checked.
    pub(crate) fn lend_message(&mut self, kind: Kind, first: bool, last: bool) {
        self.event_cut = 0;
        if kind == Kind::Text {
            match self.unchecked() {
                held @ 0..=3 => self.event_cut = held as u8,
                _ => self.message = self.message_end,
            }
        }
        self.assembly.set_part(first, last);
        self.event = Some(kind);
    }

    /// The `len` bytes of payload after the next `header` bytes, if all of them are there.
    #[inline]
    pub(crate) fn short_payload(&mut self, header: usize, len: usize) -> Option<&mut [u8]> {
        self.storage[self.read..self.filled].get_mut(header..header + len)
    }

    /// Lends what [`short_payload`](Self::short_payload) gave, as a whole message. No other message may be
    /// under assembly, and a text must have been checked.
    #[inline]
    pub(crate) fn lend_short(&mut self, kind: Kind, header: usize, len: usize) {
        self.message = self.read + header;
        self.message_end = self.message + len;
        self.read = self.message_end;
        self.assembly = Assembly(if kind == Kind::Text { 0 } else { Assembly::ALL });
        (self.event, self.event_cut) = (Some(kind), 0);
    }

    /// Lends the next `len` unparsed bytes as a control frame's payload and steps over them.
    pub(crate) fn lend_control(&mut self, kind: Kind, len: u8) {
        (self.event, self.event_cut) = (Some(kind), len);
        self.assembly.set_part(true, true);
        self.read += usize::from(len);
    }

    /// Forgets the event and what it lent.
    #[inline]
    pub(crate) fn end_event(&mut self) {
        if let Some(Kind::Text | Kind::Binary) = self.event.take() {
            self.message = self.message_end - usize::from(self.event_cut);
        }
        if self.read == self.filled && self.message == self.message_end {
            self.rewind();
        }
    }

    /// Drops the message under assembly, except for its last `keep` bytes.
    pub(crate) fn drop_message(&mut self, keep: usize) {
        self.message = self.message_end - keep;
    }

    fn event_range(&self, kind: Kind) -> Range<usize> {
        let cut = usize::from(self.event_cut);
        match kind {
            Kind::Text | Kind::Binary => self.message..self.message_end - cut,
            Kind::Ping | Kind::Pong => self.read - cut..self.read,
        }
    }

    fn rewind(&mut self) {
        (self.message, self.message_end, self.read, self.filled) = (0, 0, 0, 0);
    }

    /// How many bytes are alive: the message under assembly and the unparsed bytes.
    fn compact_len(&self) -> usize {
        self.assembled_len() + (self.filled - self.read)
    }

    /// Moves the message to the start of the storage. The caller sets the positions.
    fn message_to_start(&mut self) {
        // A long message is often there already. Copying it onto itself would cost more with each read.
        if self.message > 0 {
            self.storage.copy_within(self.message..self.message_end, 0);
        }
    }

    /// Moves the live bytes together at the start.
    fn compact(&mut self) {
        let assembled = self.assembled_len();
        self.message_to_start();
        self.storage.copy_within(self.read..self.filled, assembled);
        self.set_compact(assembled);
    }

    fn set_compact(&mut self, assembled: usize) {
        self.filled = assembled + (self.filled - self.read);
        (self.message, self.message_end, self.read) = (0, assembled, assembled);
    }

    /// Moves the live bytes to `new`, which has room for them.
    fn relocate(&mut self, mut new: Box<[u8]>) {
        let assembled = self.assembled_len();
        let unread = self.filled - self.read;
        new[..assembled].copy_from_slice(&self.storage[self.message..self.message_end]);
        new[assembled..assembled + unread].copy_from_slice(&self.storage[self.read..self.filled]);
        self.set_compact(assembled);
        self.exchange(new);
    }

    /// The size that the buffer has to grow to before [`spread`](Self::spread). `None`: it is large enough.
    fn spread_to(&self, most: usize) -> Option<usize> {
        let (live, size) = (self.compact_len(), self.storage.len());
        let in_place = self.ahead.grows_in_place(live, size);
        let least = if in_place { live / 4 } else { MIN_READ };
        if size - live >= most.min(least) {
            return None;
        }
        if in_place {
            return Some(live.saturating_add(most.min(live)));
        }
        let new = live.saturating_add(most.min(live.max(MIN_READ)));
        Some(pool::fitting(new).filter(|&fitting| fitting > size).unwrap_or(new))
    }

    /// Makes room to inflate into: the message moves to the start, and the unparsed bytes move towards the
    /// end. A few unparsed bytes do not move to the very end, because all that is written to must be cleared.
    fn spread(&mut self, most: usize) {
        match self.spread_to(most) {
            None => {}
            Some(size) if pool::is_pooled(size) && size > self.storage.len() => {
                self.relocate(pool::take(size));
            }
            Some(size) => self.extend(size),
        }
        let (assembled, unread) = (self.assembled_len(), self.filled - self.read);
        self.message_to_start();
        let live = assembled + unread;
        let end = live.saturating_add(SPREAD.max(8 * unread)).max(self.read + unread);
        let end = end.min(self.storage.len());
        self.storage.copy_within(self.read..self.filled, end - unread);
        (self.message, self.message_end) = (0, assembled);
        (self.read, self.filled) = (end - unread, end);
        self.note_used();
    }

    fn grow(&mut self, size: usize) {
        if pool::is_pooled(size) {
            self.relocate(pool::take(size));
        } else if pool::is_pooled(self.storage.len()) {
            self.relocate(alloc::vec![0; size].into());
        } else {
            self.compact();
            self.extend(size);
        }
    }

    /// Makes a large buffer larger. The allocator can often do that in place.
    fn extend(&mut self, new: usize) {
        let mut storage = core::mem::take(&mut self.storage).into_vec();
        let new = new.max(storage.len());
        storage.reserve_exact(new - storage.len());
        storage.resize(new, 0);
        self.storage = storage.into();
        self.used = u8::MAX;
    }
}

/// A pooled buffer that was given away with the message in it. It goes back to the pool when that is dropped.
struct Given {
    storage: Box<[u8]>,
    used: usize,
    payload: Range<usize>,
}

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        &self.storage[self.payload.clone()]
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        pool::give_back(core::mem::take(&mut self.storage), self.used);
    }
}

impl fmt::Debug for RecvBuf {
    /// Sizes only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf")
            .field("assembled", &self.assembled_len())
            .field("unread", &self.unread().len())
            .field("event", &self.event)
            .field("eof", &self.is_eof())
            .finish_non_exhaustive()
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.exchange(Box::default());
    }
}
