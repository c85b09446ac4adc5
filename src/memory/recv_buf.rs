//! The input buffer: the bytes from the socket, the message under assembly, and the event that is lent.

use alloc::boxed::Box;
use core::fmt;

use bytes::{Buf, Bytes};

use crate::memory::held::{Given, Held, Plan};
use crate::memory::pool;
use crate::memory::read_ahead::{ReadAhead, is_shrunk};

pub(crate) use crate::memory::held::Kind;

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
#[derive(Default)]
pub struct RecvBuf {
    /// Absent while nothing is buffered. Its storage is never empty.
    held: Option<Box<Held>>,
    ahead: ReadAhead,
    /// The space was given away, with bytes that were not parsed. It ends with the next bytes.
    has_given_unread: bool,
}

/// What a buffer without a storage holds.
static NOTHING: Held = Held::NOTHING;

impl RecvBuf {
    /// An empty buffer. It allocates nothing until it is filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer that begins with bytes that were already read, for example the bytes that another HTTP
    /// parser found after the request head.
    pub fn with_unread(bytes: &[u8]) -> Self {
        let held = (!bytes.is_empty()).then(|| Box::new(Held::of(bytes.into())));
        Self { held, ..Self::default() }
    }

    #[inline(always)]
    fn held(&self) -> &Held {
        self.held.as_deref().unwrap_or(&NOTHING)
    }

    /// What is held, to be changed. `None`: nothing is buffered.
    #[inline(always)]
    pub(crate) fn held_mut(&mut self) -> Option<&mut Held> {
        self.held.as_deref_mut()
    }

    /// What is held while something is decoded: then bytes have come.
    fn decoded(&mut self) -> &mut Held {
        self.held.get_or_insert_with(|| pool::take(self.ahead.usual_size()))
    }

    /// Room for bytes from the socket; it is never empty. Write to its start, then call
    /// [`filled`](Self::filled). This ends the current event.
    pub fn space(&mut self) -> &mut [u8] {
        self.end_event();
        if self.held.is_some() {
            self.make_room();
        }
        let ahead = self.ahead;
        let held = self.decoded();
        let end = held.room_end(ahead);
        held.room(end)
    }

    // A function of its own, so that the common case touches few lines of the cache.
    #[inline(never)]
    fn make_room(&mut self) {
        match self.held().plan(self.ahead) {
            Plan::Stay => {}
            Plan::Compact => self.decoded().compact(),
            Plan::Grow(size) if pool::is_pooled(size) => self.relocate(pool::take(size)),
            Plan::Grow(size) if pool::is_pooled(self.held().size()) => {
                self.relocate(Held::boxed(size));
            }
            Plan::Grow(size) => {
                let held = self.decoded();
                held.compact();
                held.extend(size);
            }
        }
    }

    /// Tells the buffer that the socket put `n` bytes at the start of [`space`](Self::space). A number larger
    /// than the room counts as all of the room.
    pub fn filled(&mut self, n: usize) {
        let Some(held) = &mut self.held else {
            return;
        };
        // A space that was given away with unread bytes and has not come back by now is lost.
        self.has_given_unread = false;
        let end = held.room_end(self.ahead);
        let is_all = held.fill(n, end);
        self.ahead.came(n, is_all && ReadAhead::is_room(n, held.size()));
    }

    /// Replaces what is held. The old storage goes back to the pool.
    fn exchange(&mut self, new: Option<Box<Held>>) {
        if let Some(old) = core::mem::replace(&mut self.held, new) {
            pool::give_back(old);
        }
    }

    /// Moves the live bytes to `new`, which has room for them.
    fn relocate(&mut self, mut new: Box<Held>) {
        new.continue_from(self.held());
        self.exchange(Some(new));
    }

    /// Tells the buffer that no more bytes will come.
    pub fn eof(&mut self) {
        self.ahead.eof();
    }

    /// See [`Held::lent`].
    #[inline(always)]
    pub(crate) fn lent(&self) -> Option<(Kind, &[u8])> {
        self.held.as_ref()?.lent()
    }

    /// See [`Held::lent_ends`].
    pub(crate) fn lent_ends(&self) -> (bool, bool) {
        self.held().lent_ends()
    }

    /// Takes what is lent, and ends the event. A payload of up to 4 KiB is copied. A larger one takes the
    /// buffer itself, if it fills most of it.
    #[inline(always)]
    pub(crate) fn take_lent(&mut self) -> Option<(Kind, Bytes)> {
        let held = self.held.as_deref_mut()?;
        let (kind, payload) = held.lent()?;
        if payload.len() <= COPY_UP_TO {
            let payload = Box::<[u8]>::from(payload).into();
            held.end_event();
            return Some((kind, payload));
        }
        Some((kind, self.take_large(kind)?))
    }

    #[inline(never)]
    fn take_large(&mut self, kind: Kind) -> Option<Bytes> {
        let mut held = self.held.take()?;
        let payload = held.event_range(kind);
        if !held.is_most(&payload) {
            let bytes = Bytes::copy_from_slice(held.bytes(payload));
            held.end_event();
            self.held = Some(held);
            return Some(bytes);
        }
        self.held = Self::with_unread(held.unread()).held.take();
        if pool::is_pooled(held.size()) {
            return Some(Bytes::from_owner(Given::new(held, payload)));
        }
        let mut bytes = Bytes::from(held.into_storage(payload.end));
        bytes.advance(payload.start);
        Some(bytes)
    }

    /// The bytes that have come and are not parsed yet.
    pub fn unread(&self) -> &[u8] {
        self.held().unread()
    }

    /// Gives memory back while the connection waits for its peer. If nothing is buffered, that is all of it.
    /// If the bytes fill less than half of their buffer, they move to an allocation of their own size. Nothing
    /// else frees the memory of a large message, so that the next one finds it. This ends the current event.
    pub fn release(&mut self) {
        self.end_event();
        let live = self.held().compact_len();
        if live == 0 {
            self.exchange(None);
        } else if is_shrunk(live, self.held().size()) {
            let shrunk = Box::new(self.held().shrunk());
            self.exchange(Some(shrunk));
            self.ahead.shrunk();
        }
    }

    /// How many bytes of memory the connection keeps while it waits. That is what [`release`](Self::release)
    /// will leave after a read that made room and found nothing.
    pub(crate) fn kept(&self) -> usize {
        let held = self.held();
        let live = held.compact_len();
        let size = match held.plan(self.ahead) {
            Plan::Grow(size) => size,
            Plan::Stay | Plan::Compact => held.size(),
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
        matches!(self.held().event(), Some(Kind::Text | Kind::Binary))
    }

    /// Call this before a read that blocks the thread. It gives back the large buffer of a message that is over. Other
    /// threads may then use the send buffers that this thread keeps. A small buffer stays, because the read needs it.
    #[cfg(feature = "std")]
    pub fn before_blocking(&mut self) {
        if self.held().size() > pool::WIDE && self.held().compact_len() == 0 {
            self.release();
        }
        pool::share_send();
    }

    /// What stays here while the space is given away: nothing but how much to read next, and whether bytes that
    /// were not parsed went with it.
    pub(super) fn left_behind(&self) -> Self {
        Self { held: None, ahead: self.ahead, has_given_unread: self.has_unread() }
    }

    /// Whether bytes wait to be parsed, here or in a space that was given away.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread().is_empty() || self.held.is_none() && self.has_given_unread
    }

    pub(crate) fn is_eof(&self) -> bool {
        self.ahead.is_eof()
    }

    /// Steps over `n` parsed bytes.
    pub(crate) fn skip(&mut self, n: usize) {
        self.decoded().skip(n);
    }

    /// Drops all unparsed bytes, and gives how many there were. This is for
    /// [`LeaveStep::Drain`](crate::LeaveStep::Drain). The current event ends.
    pub fn discard(&mut self) -> usize {
        self.held_mut().map_or(0, Held::discard)
    }

    /// See [`Held::assemble`].
    #[inline]
    pub(crate) fn assemble(&mut self, n: usize) -> &mut [u8] {
        self.decoded().assemble(n)
    }

    /// The next `n` unparsed bytes, and room after the message under assembly for what they inflate to. The
    /// message may still grow by at most `most` bytes. Memory at most doubles, and never for more than those.
    pub(crate) fn inflate_space(&mut self, n: usize, most: u64) -> (&[u8], &mut [u8]) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.decoded().is_narrow(most) {
            self.spread(most);
        }
        self.decoded().inflate_space(n)
    }

    fn spread(&mut self, most: usize) {
        match self.held().spread_to(most, self.ahead) {
            None => {}
            Some(size) if pool::is_pooled(size) && size > self.held().size() => {
                self.relocate(pool::take(size));
            }
            Some(size) => self.decoded().extend(size),
        }
        self.decoded().spread();
    }

    /// The size of the buffer after [`inflate_space`](Self::inflate_space), if it is larger than those that
    /// the pool lends.
    pub(crate) fn inflate_size(&self, most: u64) -> Option<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let held = self.held();
        let size = held.spread_to(most, self.ahead).unwrap_or(0).max(held.size());
        (size > pool::WIDE).then_some(size)
    }

    /// Tells how many of the bytes of [`inflate_space`](Self::inflate_space) were consumed, and how many bytes
    /// were written to its room.
    pub(crate) fn inflated(&mut self, consumed: usize, produced: usize) {
        self.decoded().inflated(consumed, produced);
        self.ahead.inflated();
    }

    /// How many bytes of the message are assembled.
    pub(crate) fn assembled_len(&self) -> usize {
        self.held().assembled_len()
    }

    /// See [`Held::unchecked`].
    pub(crate) fn unchecked(&self) -> usize {
        self.held().unchecked()
    }

    /// See [`Held::set_unchecked`].
    pub(crate) fn set_unchecked(&mut self, n: usize) {
        self.decoded().set_unchecked(n);
    }

    /// The message under assembly, from `from` bytes into it.
    pub(crate) fn assembled(&self, from: usize) -> &[u8] {
        self.held().assembled(from)
    }

    /// The next `n` unparsed bytes, to be unmasked in place.
    pub(crate) fn unparsed_mut(&mut self, n: usize) -> &mut [u8] {
        self.decoded().unparsed_mut(n)
    }

    /// How much to read next.
    pub(crate) fn ahead(&mut self) -> &mut ReadAhead {
        &mut self.ahead
    }

    /// See [`Held::lend_message`].
    pub(crate) fn lend_message(&mut self, kind: Kind, first: bool, last: bool) {
        self.decoded().lend_message(kind, first, last);
    }

    /// See [`Held::lend_control`].
    pub(crate) fn lend_control(&mut self, kind: Kind, len: u8) {
        self.decoded().lend_control(kind, len);
    }

    /// Forgets the event and what it lent.
    #[inline]
    pub(crate) fn end_event(&mut self) {
        if let Some(held) = &mut self.held {
            held.end_event();
        }
    }

    /// Drops the message under assembly, except for its last `keep` bytes.
    pub(crate) fn drop_message(&mut self, keep: usize) {
        if let Some(held) = &mut self.held {
            held.drop_message(keep);
        }
    }
}

impl fmt::Debug for RecvBuf {
    /// Sizes only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf")
            .field("assembled", &self.assembled_len())
            .field("unread", &self.unread().len())
            .field("event", &self.held().event())
            .field("eof", &self.is_eof())
            .finish_non_exhaustive()
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.exchange(None);
    }
}
