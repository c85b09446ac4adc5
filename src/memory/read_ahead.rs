//! How much to read next: the one policy that the size of a receive buffer follows.
//!
//! | what came last | buffer | read | why |
//! |---|---|---|---|
//! | less than a narrow buffer holds | narrow | all of the room | the buffer stays in the nearest cache |
//! | all that there was room for | wide | all of the room | much data takes few reads |
//! | the same, of long messages | wide | to the end of a message | the start of the next need not be moved |
//! | little, and a part of a message is in an allocation of its own | that one | all of the room | moving the part for each packet would copy all of it each time |
//! | the end of the stream | any | nothing | |

use crate::memory::pool;

/// A read is offered at least this much room, if the message still needs as much. A part of a message that
/// grows in its own allocation may have less.
pub(crate) const MIN_READ: usize = 4 << 10;

/// A part of a message of at least this size grows in its own allocation while little comes.
const OWN_FROM: usize = 256;

/// How many bytes are wanted, and what came last. It has 32 bits, because each connection has one.
///
/// ```text
///   31             3   2    1     0
///   | bytes wanted | came | supply |
/// ```
#[derive(Clone, Copy, Default)]
pub(crate) struct ReadAhead(u32);

/// What the socket gave last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supply {
    /// Less than a narrow buffer holds.
    Narrow = 0,
    /// All that there was room for, and there may be more.
    Wide = 1,
    /// Like `Wide`, for long messages: a read ends where a message ends.
    Whole = 2,
    /// The end of the stream.
    Eof = 3,
}

/// A flag: bytes have come since memory was last given back.
const CAME: u32 = 4;

const WANT_SHIFT: u32 = 3;

impl ReadAhead {
    fn supply(self) -> Supply {
        match self.0 & 3 {
            0 => Supply::Narrow,
            1 => Supply::Wide,
            2 => Supply::Whole,
            _ => Supply::Eof,
        }
    }

    fn set_supply(&mut self, supply: Supply) {
        self.0 = self.0 & !3 | supply as u32;
    }

    pub(crate) fn is_eof(self) -> bool {
        self.supply() == Supply::Eof
    }

    pub(crate) fn eof(&mut self) {
        self.set_supply(Supply::Eof);
    }

    pub(crate) fn is_wide(self) -> bool {
        matches!(self.supply(), Supply::Wide | Supply::Whole)
    }

    /// How many bytes the frame or message under way still needs, at most 512 MiB. It makes no sense to grow
    /// by more.
    pub(crate) fn want(self) -> usize {
        (self.0 >> WANT_SHIFT) as usize
    }

    /// Tells how many bytes the frame under way still needs.
    pub(crate) fn set_want(&mut self, want: u64) {
        let most = u32::MAX >> WANT_SHIFT;
        let want = u32::try_from(want).map_or(most, |want| want.min(most));
        self.0 = want << WANT_SHIFT | self.0 & 7;
        if self.supply() == Supply::Whole {
            self.set_supply(Supply::Wide);
        }
    }

    /// Tells that the message under way, or the next one, is expected to end after `n` bytes. 0: not known.
    pub(crate) fn expect(&mut self, n: u64) {
        self.set_want(n);
        if self.supply() == Supply::Wide && n > 0 {
            self.set_supply(Supply::Whole);
        }
    }

    /// Tells that a read brought `n` bytes, and whether they filled all of the room.
    pub(crate) fn came(&mut self, n: usize, is_all: bool) {
        // The end of the stream stays. Hysteresis: between the two marks the size does not change.
        let supply = match self.supply() {
            Supply::Eof => Supply::Eof,
            _ if is_all => Supply::Wide,
            _ if n < pool::NARROW / 2 => Supply::Narrow,
            other => other,
        };
        self.set_supply(supply);
        self.0 |= if n > 0 { CAME } else { 0 };
    }

    /// Whether a full room of `n` bytes, in a buffer of `size`, is a sign that more waits. It is no
    /// sign if a part of a message grows there, because the last bytes of its allocation are soon full.
    pub(crate) fn is_room(n: usize, size: usize) -> bool {
        n >= OWN_FROM || pool::is_pooled(size)
    }

    /// Tells that bytes were inflated. A narrow buffer is enough then: its compressed bytes are much work, and
    /// what they inflate to needs room too.
    pub(crate) fn inflated(&mut self) {
        if self.is_wide() {
            self.set_supply(Supply::Narrow);
        }
    }

    /// Tells that the waiting bytes moved to an allocation of their own. If nothing has come since the last
    /// such move, they stay there for the next read: again nothing may come.
    pub(crate) fn shrunk(&mut self) {
        if self.0 & CAME == 0 {
            self.inflated();
        }
        self.0 &= !CAME;
    }

    /// The size of the next buffer from the pool.
    pub(crate) fn usual_size(self) -> usize {
        if self.is_wide() { pool::WIDE } else { pool::NARROW }
    }

    /// The most bytes to read into a buffer that has `live` bytes already.
    pub(crate) fn most(self, live: usize) -> usize {
        // A large buffer is not filled: what is inflated from the bytes needs room as well.
        let (usual, want) = (self.usual_size(), self.want());
        let most = match self.supply() {
            Supply::Whole if live > 0 => want,
            Supply::Whole => usual - usual % want.min(usual).max(1),
            _ => usual,
        };
        most.max(want)
    }

    /// Whether a part of `live` bytes stays in its buffer of `size` and grows there. It does if that is an
    /// allocation of its own, and little comes.
    pub(crate) fn grows_in_place(self, live: usize, size: usize) -> bool {
        live >= OWN_FROM && !self.is_wide() && !pool::is_pooled(size)
    }

    /// The size of a larger buffer for `live` bytes and more to come. The room is at most as large as `live`,
    /// or an eighth more if the message then fits. So memory follows the bytes that have come. Small sizes
    /// are rounded up to that of a pooled buffer.
    pub(crate) fn grown(self, live: usize, size: usize) -> usize {
        let want = self.want();
        if self.grows_in_place(live, size) {
            let room = if want == 0 { live } else { want.clamp(live / 8, live) };
            return live + room;
        }
        let most = live.max(pool::NARROW.saturating_sub(live));
        let room = if want <= most + most / 8 { want.max(MIN_READ) } else { most };
        let new = live + room;
        pool::fitting(new).unwrap_or(new.max(size))
    }
}

/// Whether [`RecvBuf::release`](crate::RecvBuf::release) moves `live` bytes out of a buffer of this size. One
/// that has just doubled keeps them.
pub(crate) fn is_shrunk(live: usize, size: usize) -> bool {
    live < size.div_ceil(2) && size >= pool::NARROW
}
