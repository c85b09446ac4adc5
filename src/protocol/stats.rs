//! The numbers of a connection, for metrics.

use core::iter::Sum;
use core::ops::{Add, AddAssign};
use core::time::Duration;

use crate::protocol::close::CloseCode;

/// The numbers of one direction, since the opening handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Whole messages. A message in fragments counts when its last one has come, or was queued.
    pub messages: u64,
    /// Whole frames of every kind, fragments and control frames among them.
    pub frames: u64,
    /// Pings, pongs and Close.
    pub control_frames: u64,
    /// Bytes of frames, their headers included. What is received counts when it is decoded, and what is sent when
    /// it is queued. What is received counts without [`Config::stats`](crate::Config::stats) too.
    pub wire_bytes: u64,
    /// Payload of messages: inflated for what is received, before compression for what is sent.
    pub payload_bytes: u64,
    /// How long ago the last frame came or was queued. A connection looks at the clock only when it waits. So this
    /// is the time since the first wait after the frame.
    pub since_frame: Option<Duration>,
    /// The same for the last whole message.
    pub since_message: Option<Duration>,
    /// The code in the Close frame; 1005 if it had none. What is received is there without
    /// [`Config::stats`](crate::Config::stats) too.
    pub close_code: Option<CloseCode>,
}

/// The numbers of a connection: what [`Connection::stats`](crate::Connection::stats) and `stats` of the adapters
/// give. Most need [`Config::stats`](crate::Config::stats), and are zero or `None` without it.
///
/// Numbers can be added: those of two halves, or those of many connections. Counts add up. Of the queue and of the
/// round trip a sum has the largest, of the times the shortest, and of the close codes the first.
///
/// ```
/// use bowline::{Config, Connection, SendBuf, Stats};
/// use core::time::Duration;
///
/// let mut connections = [(); 3].map(|()| Connection::server(Config::default().stats(true)));
/// for connection in &mut connections {
///     connection.send("Hello", &mut SendBuf::new())?;
/// }
/// let now = Duration::ZERO;
/// let all: Stats = connections.iter().map(|connection| connection.stats(now)).sum();
/// assert_eq!((all.sent.messages, all.sent.payload_bytes, all.sent.wire_bytes), (3, 15, 21));
/// # Ok::<(), bowline::SendError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What came from the peer.
    pub received: Traffic,
    /// What was queued for the peer.
    pub sent: Traffic,
    /// How long the peer took for its last pong to a ping of keepalive. It is there without
    /// [`Config::stats`](crate::Config::stats) too.
    pub round_trip: Option<Duration>,
    /// The most bytes that waited in the send queue.
    pub queue_high_water: usize,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.frames += other.frames;
        self.control_frames += other.control_frames;
        self.wire_bytes += other.wire_bytes;
        self.payload_bytes += other.payload_bytes;
        self.since_frame = self.since_frame.into_iter().chain(other.since_frame).min();
        self.since_message = self.since_message.into_iter().chain(other.since_message).min();
        self.close_code = self.close_code.or(other.close_code);
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.round_trip = self.round_trip.max(other.round_trip);
        self.queue_high_water = self.queue_high_water.max(other.queue_high_water);
    }
}

impl Add for Stats {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), Self::add)
    }
}

/// The counts of one direction. Only a connection with [`Config::stats`](crate::Config::stats) has them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) traffic: Traffic,
    /// When the last frame was noticed, and how many there were then.
    frame_at: Option<Duration>,
    frames_seen: u64,
    message_at: Option<Duration>,
    messages_seen: u64,
}

impl Counts {
    /// Counts a whole frame, with its payload if it belongs to a message.
    #[inline]
    pub(crate) fn frame(&mut self, is_control: bool, ends_message: bool) {
        self.traffic.frames += 1;
        self.traffic.control_frames += u64::from(is_control);
        self.traffic.messages += u64::from(ends_message);
    }

    /// Counts whole messages of one frame.
    #[inline]
    pub(crate) fn messages(&mut self, n: u64) {
        self.traffic.frames += n;
        self.traffic.messages += n;
    }

    /// Notes the time of what was counted since the last wait.
    pub(crate) fn observe(&mut self, now: Duration) {
        let Traffic { frames, messages, .. } = self.traffic;
        if frames != self.frames_seen {
            (self.frame_at, self.frames_seen) = (Some(now), frames);
        }
        if messages != self.messages_seen {
            (self.message_at, self.messages_seen) = (Some(now), messages);
        }
    }

    pub(crate) fn traffic(&self, now: Duration) -> Traffic {
        let since = |at: Option<Duration>| at.map(|at| now.saturating_sub(at));
        Traffic {
            since_frame: since(self.frame_at),
            since_message: since(self.message_at),
            ..self.traffic
        }
    }
}
