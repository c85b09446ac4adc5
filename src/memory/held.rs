//! What a receive buffer holds while there are bytes in it: the storage, and where what lies in it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use crate::memory::pool;
use crate::memory::read_ahead::{MIN_READ, ReadAhead};

/// So few unparsed bytes are cheap to move: a read may compact the buffer for them, even for little room.
const SMALL: usize = 4 << 10;

/// The least room that a few compressed bytes get to inflate to.
const SPREAD: usize = 8 << 10;

/// A storage, and the positions in it. The pool keeps both in one piece, so a connection that waits has neither.
///
/// ```text
///   0      message    message_end     read           filled       len
///   | spent |  assembled  |  spent     |  not parsed   |  room      |
/// ```
///
/// A compressed message is inflated into the spent bytes before the unparsed ones. If they are too few, the
/// unparsed bytes are moved towards the end of the storage.
pub(crate) struct Held {
    /// Initialised over its whole length.
    storage: Vec<u8>,
    message: usize,
    message_end: usize,
    read: usize,
    filled: usize,
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
pub(super) enum Plan {
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
///   7      5  4     3          2         0
///   |      | open | continues | unchecked |
/// ```
///
/// The last `unchecked` bytes are not known to be whole characters of UTF-8. [`ALL`](Self::ALL) says this of
/// the whole message. The buffer keeps it, since connections may exchange buffers: what one connection did
/// not check, another must not lend as text.
#[derive(Clone, Copy)]
struct Assembly(u8);

impl Assembly {
    /// Nothing was checked, however long the message is.
    const ALL: u8 = 7;
    /// Parts of the message were lent before.
    const CONTINUES: u8 = 8;
    /// More of the message will come.
    const OPEN: u8 = 16;

    fn unchecked(self) -> u8 {
        self.0 & Self::ALL
    }

    fn set_part(&mut self, first: bool, last: bool) {
        let continues = if first { 0 } else { Self::CONTINUES };
        let open = if last { 0 } else { Self::OPEN };
        self.0 = self.unchecked() | continues | open;
    }
}

impl Held {
    /// What a buffer holds that holds nothing.
    pub(super) const NOTHING: Self = Self::new(Vec::new());

    /// A storage of this size, of zeros.
    // The small allocation comes first. After the storage it could keep the allocator from extending that in place.
    pub(super) fn boxed(size: usize) -> Box<Self> {
        let mut held = Box::new(Self::NOTHING);
        held.storage = alloc::vec![0; size];
        held
    }

    /// A storage without bytes in it.
    const fn new(storage: Vec<u8>) -> Self {
        Self {
            storage,
            message: 0,
            message_end: 0,
            read: 0,
            filled: 0,
            event: None,
            event_cut: 0,
            assembly: Assembly(0),
            used: 0,
        }
    }

    /// A storage of its own for bytes that are not parsed.
    pub(super) fn of(unread: Vec<u8>) -> Self {
        let mut held = Self::new(unread);
        held.filled = held.storage.len();
        held.note_used();
        held
    }

    /// The size of the storage.
    pub(super) fn size(&self) -> usize {
        self.storage.len()
    }

    /// Clears what was written to, and forgets all positions.
    pub(super) fn wipe(&mut self) {
        let used = (usize::from(self.used) * USED_UNIT).min(self.storage.len());
        self.storage[..used].fill(0);
        *self = Self::new(core::mem::take(&mut self.storage));
    }

    /// How the next read gets its room.
    #[inline]
    pub(super) fn plan(&self, ahead: ReadAhead) -> Plan {
        let size = self.storage.len();
        if ahead.is_wide() && size == pool::NARROW {
            return Plan::Grow(pool::WIDE);
        }
        let want = ahead.want();
        let live = self.compact_len();
        let in_place = ahead.grows_in_place(live, size);
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
            Plan::Grow(ahead.grown(live, size))
        }
    }

    /// The room after the bytes that have come, up to `end`.
    pub(super) fn room(&mut self, end: usize) -> &mut [u8] {
        &mut self.storage[self.filled..end]
    }

    /// How far the next read may fill the storage.
    pub(super) fn room_end(&self, ahead: ReadAhead) -> usize {
        let end = self.filled.saturating_add(ahead.most(self.compact_len()));
        end.min(self.storage.len())
    }

    /// Counts `n` more bytes as filled, up to `end`. Whether they took all of that room.
    pub(super) fn fill(&mut self, n: usize, end: usize) -> bool {
        self.filled = self.filled.saturating_add(n).min(end);
        self.note_used();
        self.filled == end
    }

    /// Notes that the storage was written to up to `filled`.
    fn note_used(&mut self) {
        let used = self.filled.div_ceil(USED_UNIT);
        self.used = self.used.max(u8::try_from(used).unwrap_or(u8::MAX));
    }

    pub(super) fn event(&self) -> Option<Kind> {
        self.event
    }

    /// What is lent, and its type. For a text message, it is only what was checked in this buffer: whole
    /// characters of UTF-8.
    #[inline(always)]
    pub(super) fn lent(&self) -> Option<(Kind, &[u8])> {
        let kind = self.event?;
        Some((kind, &self.storage[self.event_range(kind)]))
    }

    /// Whether what is lent begins a message, and whether it ends one.
    pub(super) fn lent_ends(&self) -> (bool, bool) {
        let Assembly(bits) = self.assembly;
        (bits & Assembly::CONTINUES == 0, bits & Assembly::OPEN == 0)
    }

    /// Whether `payload`, which is lent, should take the storage along and not be copied. It should not if it
    /// fills at most half of the storage. Nor if the storage holds more of the message, or much after it: that
    /// rest would be moved now, and again when more comes.
    pub(super) fn is_most(&self, payload: &Range<usize>) -> bool {
        payload.len() > self.storage.len() / 2
            && self.unread().len() <= payload.len() / 4
            && payload.end == self.message_end
    }

    /// The storage up to `end`.
    pub(super) fn into_storage(mut self, end: usize) -> Vec<u8> {
        self.storage.truncate(end);
        self.storage
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.storage[range]
    }

    /// The bytes that have come and are not parsed yet.
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        &self.storage[self.read..self.filled]
    }

    /// The live bytes, in a storage of just their size.
    pub(super) fn shrunk(&self) -> Self {
        let mut held = Self::of([self.assembled(0), self.unread()].concat());
        held.message_end = self.assembled_len();
        held.read = held.message_end;
        held.assembly = self.assembly;
        held
    }

    /// Steps over `n` parsed bytes.
    pub(super) fn skip(&mut self, n: usize) {
        self.read += n;
        debug_assert!(self.read <= self.filled);
    }

    /// Drops all bytes, and gives how many were not parsed.
    pub(super) fn discard(&mut self) -> usize {
        let n = self.unread().len();
        self.end_event();
        self.rewind();
        n
    }

    /// Moves the next `n` unparsed bytes to the end of the message under assembly, and gives them.
    #[inline]
    pub(super) fn assemble(&mut self, n: usize) -> &mut [u8] {
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

    /// Whether the room before the unparsed bytes is too small to inflate at most `most` bytes into it.
    pub(super) fn is_narrow(&mut self, most: usize) -> bool {
        if self.message == self.message_end {
            (self.message, self.message_end) = (0, 0);
        }
        self.read - self.message_end < most.min(MIN_READ)
    }

    /// The next `n` unparsed bytes, and the room before them.
    pub(super) fn inflate_space(&mut self, n: usize) -> (&[u8], &mut [u8]) {
        let (before, unread) = self.storage.split_at_mut(self.read);
        (&unread[..n], &mut before[self.message_end..])
    }

    /// Tells how many of the bytes of `inflate_space` were consumed, and how many were written to its room.
    pub(super) fn inflated(&mut self, consumed: usize, produced: usize) {
        self.read += consumed;
        if produced > 0 {
            self.message_end += produced;
            self.assembly = Assembly(Assembly::ALL);
        }
    }

    /// How many bytes of the message are assembled.
    pub(super) fn assembled_len(&self) -> usize {
        self.message_end - self.message
    }

    /// How many bytes at the end of the message under assembly were not checked to be whole characters. Once
    /// bytes are added, it is the whole message.
    pub(super) fn unchecked(&self) -> usize {
        match self.assembly.unchecked() {
            Assembly::ALL => self.assembled_len(),
            n => usize::from(n).min(self.assembled_len()),
        }
    }

    /// Tells that the message under assembly is whole characters of UTF-8, except for its last `n` bytes.
    pub(super) fn set_unchecked(&mut self, n: usize) {
        self.assembly = Assembly(u8::try_from(n).map_or(Assembly::ALL, |n| n.min(Assembly::ALL)));
    }

    /// The message under assembly, from `from` bytes into it.
    pub(super) fn assembled(&self, from: usize) -> &[u8] {
        &self.storage[self.message + from..self.message_end]
    }

    /// The next `n` unparsed bytes, to be unmasked in place.
    pub(super) fn unparsed_mut(&mut self, n: usize) -> &mut [u8] {
        &mut self.storage[self.read..self.read + n]
    }

    /// Lends the message under assembly. Of a text message, it lends only what was checked.
    pub(super) fn lend_message(&mut self, kind: Kind, first: bool, last: bool) {
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
    pub(super) fn lend_control(&mut self, kind: Kind, len: u8) {
        (self.event, self.event_cut) = (Some(kind), len);
        self.assembly.set_part(true, true);
        self.read += usize::from(len);
    }

    /// Forgets the event and what it lent.
    #[inline]
    pub(super) fn end_event(&mut self) {
        if let Some(Kind::Text | Kind::Binary) = self.event.take() {
            self.message = self.message_end - usize::from(self.event_cut);
        }
        if self.read == self.filled && self.message == self.message_end {
            self.rewind();
        }
    }

    /// Drops the message under assembly, except for its last `keep` bytes.
    pub(super) fn drop_message(&mut self, keep: usize) {
        self.message = self.message_end - keep;
    }

    pub(super) fn event_range(&self, kind: Kind) -> Range<usize> {
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
    pub(super) fn compact_len(&self) -> usize {
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
    pub(super) fn compact(&mut self) {
        let assembled = self.assembled_len();
        self.message_to_start();
        self.storage.copy_within(self.read..self.filled, assembled);
        self.filled = assembled + (self.filled - self.read);
        (self.message, self.message_end, self.read) = (0, assembled, assembled);
    }

    /// Copies the live bytes of `old` to the start of this storage, which has room for them and holds nothing.
    pub(super) fn continue_from(&mut self, old: &Self) {
        let (assembled, live) = (old.assembled_len(), old.compact_len());
        self.storage[..assembled].copy_from_slice(old.assembled(0));
        self.storage[assembled..live].copy_from_slice(old.unread());
        (self.message, self.message_end, self.read) = (0, assembled, assembled);
        self.filled = live;
        self.assembly = old.assembly;
        self.note_used();
    }

    /// The size that the storage has to grow to before [`spread`](Self::spread). `None`: it is large enough.
    pub(super) fn spread_to(&self, most: usize, ahead: ReadAhead) -> Option<usize> {
        let (live, size) = (self.compact_len(), self.storage.len());
        let in_place = ahead.grows_in_place(live, size);
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
    pub(super) fn spread(&mut self) {
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

    /// Makes a large storage larger. The allocator can often do that in place.
    pub(super) fn extend(&mut self, new: usize) {
        self.storage.reserve_exact(new.saturating_sub(self.storage.len()));
        self.storage.resize(new.max(self.storage.len()), 0);
        self.used = u8::MAX;
    }
}

/// A pooled buffer that was given away with the message in it. It goes back to the pool when that is dropped.
pub(super) struct Given {
    held: Option<Box<Held>>,
    payload: Range<usize>,
}

impl Given {
    pub(super) fn new(held: Box<Held>, payload: Range<usize>) -> Self {
        Self { held: Some(held), payload }
    }
}

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], |held| held.bytes(self.payload.clone()))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.held.take().into_iter().for_each(pool::give_back);
    }
}
