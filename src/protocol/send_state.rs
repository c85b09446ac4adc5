//! What the receiving half has to know about the sending half.

/// How far sending has come. The deadlines of a [`Receiver`](crate::Receiver) depend on it.
///
/// [`Sender::state`](crate::Sender::state) gives it. Halves in two threads hand it over by value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendState {
    pub(crate) close_sent: bool,
    pub(crate) close_left: bool,
    pub(crate) is_waiting: bool,
    /// How many pings of keepalive have left; wraps.
    pub(crate) pings: u8,
    /// How many bytes have left; wraps.
    pub(crate) taken: u32,
}

impl SendState {
    /// The state as one number, for halves in two threads that share it in an atomic.
    pub fn to_bits(self) -> u64 {
        let flags = [self.close_sent, self.close_left, self.is_waiting];
        let flags = flags.iter().fold(0, |bits, &flag| bits << 1 | u64::from(flag));
        flags << 40 | u64::from(self.pings) << 32 | u64::from(self.taken)
    }

    /// The state that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        let flag = |place: u32| bits >> (40 + place) & 1 == 1;
        Self {
            close_sent: flag(2),
            close_left: flag(1),
            is_waiting: flag(0),
            pings: (bits >> 32) as u8,
            taken: bits as u32,
        }
    }

    /// Whether Close was queued.
    pub fn close_sent(self) -> bool {
        self.close_sent
    }

    /// Whether Close was queued, and the stream took all of it.
    pub fn close_left(self) -> bool {
        self.close_left
    }

    /// Whether bytes wait for the stream to take them.
    pub fn is_waiting(self) -> bool {
        self.is_waiting
    }

    /// How many bytes the stream took; wraps.
    pub fn taken(self) -> u32 {
        self.taken
    }
}
