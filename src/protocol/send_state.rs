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
