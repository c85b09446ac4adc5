//! How much to read next: the one policy that the size of a receive buffer follows.
//!
//! | what came last | buffer | read | why |
//! |---|---|---|---|
//! | less than a narrow buffer holds | narrow | all of the room | the buffer stays in the nearest cache |
//! | all that there was room for | wide | all of the room | much data has few reads |
//! | the same, of long messages | wide | to the end of a message | a part of the next would have to be moved |
//! | little, and a part of a message is kept in an allocation of its own | that one | what it has room for | moving the part for each packet would cost its length each time |
//! | the end | any | nothing | |

use crate::memory::pool;

/// Offer the socket at least this much room.
pub(crate) const MIN_READ: usize = 4 << 10;

/// A part of a message from this size on grows in its own allocation while little comes.
const OWN_FROM: usize = 256;

/// How much is wanted and what came last. In 32 bits, since there is one for each connection.
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
    /// As wide, of long messages: a read ends where one of them does.
    Whole = 2,
    /// Its end.
    Eof = 3,
}

/// Bytes came since memory was last given back.
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

    /// How many bytes the frame or message in progress still needs: how far growth makes sense. From
    /// 512 MiB on it is that much.
    pub(crate) fn want(self) -> usize {
        (self.0 >> WANT_SHIFT) as usize
    }

    /// Tells how many bytes the frame in progress still needs.
    pub(crate) fn set_want(&mut self, want: u64) {
        let most = u32::MAX >> WANT_SHIFT;
        let want = u32::try_from(want).map_or(most, |want| want.min(most));
        self.0 = want << WANT_SHIFT | self.0 & 7;
        if self.supply() == Supply::Whole {
            self.set_supply(Supply::Wide);
        }
    }

    /// Tells that the message under way, or one that may begin, ends after `n` bytes; 0 if it is not known.
    pub(crate) fn expect(&mut self, n: u64) {
        self.set_want(n);
        if self.supply() == Supply::Wide && n > 0 {
            self.set_supply(Supply::Whole);
        }
    }

    /// Tells that a read brought `n` bytes, and whether they filled all of the room.
    pub(crate) fn came(&mut self, n: usize, is_all: bool) {
        // An end stays. Hysteresis: between the two marks the size does not change.
        let supply = match self.supply() {
            Supply::Eof => Supply::Eof,
            _ if is_all => Supply::Wide,
            _ if n < pool::NARROW / 2 => Supply::Narrow,
            other => other,
        };
        self.set_supply(supply);
        self.0 |= if n > 0 { CAME } else { 0 };
    }

    /// Whether it says anything that a read filled a room of `n` bytes in a buffer of `size`: the last bytes
    /// of a part that grows in its allocation are soon full.
    pub(crate) fn is_room(n: usize, size: usize) -> bool {
        n >= OWN_FROM || pool::is_pooled(size)
    }

    /// Tells that bytes were inflated. A narrow buffer of compressed bytes is work for long, and what they
    /// come to needs room too.
    pub(crate) fn inflated(&mut self) {
        if self.is_wide() {
            self.set_supply(Supply::Narrow);
        }
    }

    /// Tells that what waits moved to an allocation of its own. If nothing came since it last did, it is not
    /// moved back for the next read: there may be nothing again.
    pub(crate) fn shrunk(&mut self) {
        if self.0 & CAME == 0 {
            self.inflated();
        }
        self.0 &= !CAME;
    }

    /// The size of a buffer for what the socket gives.
    pub(crate) fn usual_size(self) -> usize {
        if self.is_wide() { pool::WIDE } else { pool::NARROW }
    }

    /// How much is read at most into a buffer that has `live` bytes already.
    pub(crate) fn most(self, live: usize) -> usize {
        // Not all of a large buffer for what is inflated from it: that needs room as well.
        let (usual, want) = (self.usual_size(), self.want());
        let most = match self.supply() {
            Supply::Whole if live > 0 => want,
            Supply::Whole => usual - usual % want.min(usual).max(1),
            _ => usual,
        };
        most.max(want)
    }

    /// Whether a part of `live` bytes, in a buffer of `size`, grows there, byte by byte: it is in an
    /// allocation of its own, and little comes.
    pub(crate) fn grows_in_place(self, live: usize, size: usize) -> bool {
        live >= OWN_FROM && !self.is_wide() && !pool::is_pooled(size)
    }

    /// The size of a buffer for `live` bytes that are there already, and more. It at most doubles what is
    /// alive, or a little more where that is all that will be needed: memory follows the bytes that came.
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
