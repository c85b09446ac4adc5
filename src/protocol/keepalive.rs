//! Whether the peer is still there: pings of our own, their pongs, and the idle timeout (RFC 6455 §5.5.2).

use core::fmt;
use core::time::Duration;

use sha1::{Digest, Sha1};

use crate::protocol::clock::is_reached;
use crate::protocol::config::Settings;
use crate::protocol::send_state::SendState;

/// While a pong is awaited, this much payload in every pong timeout shows life as well: the pong may come
/// after a large frame. So does this much taken of what waits to be sent: the ping may still be on its way.
const ALIVE: u32 = 1024;

pub(crate) const PING: usize = 8;

/// Of a digest, what is left beside a payload; it makes the next.
const SECRET: usize = 12;

/// What [`Keepalive::due`] wants done.
pub(crate) enum Due {
    Nothing,
    Ping([u8; PING]),
    /// The peer is gone, as far as one can tell.
    Dead,
    /// Nothing was received for too long.
    Idle,
}

/// How far the last ping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// There is none that waits for its pong.
    Nothing,
    /// It was queued, and nobody has looked yet.
    Queued,
    /// A look found that it had not left.
    Waits,
    Left,
    /// Its pong came.
    Answered,
}

/// Allocated only for a connection that has it on.
pub(crate) struct Keepalive {
    /// Hashed, it makes the payload of the next ping and its own successor.
    secret: [u8; SECRET],
    asked: Asked,
    /// The payload of the last ping.
    payload: [u8; PING],
    /// Idle: Close is on its way, and the close timeout takes over.
    closing: bool,
    /// How many pings there were; wraps.
    pings: u8,
    /// When the ping left. If no look found it waiting, that is when it was queued.
    asked_at: Duration,
    /// Bytes waited to be sent at the last look. What is taken while none wait shows no life: sockets have
    /// buffers.
    was_waiting: bool,
    /// The bytes that had left when the peer last took enough.
    taken_mark: u32,
    /// When the peer last showed life; `None` before the first wait.
    alive_at: Option<Duration>,
    /// The payload received by then.
    alive_mark: u32,
    /// What the receiver counted as progress that is no activity; wraps.
    no_activity: u32,
    /// When something of a message last came.
    busy_at: Duration,
    busy_mark: u32,
    round_trip: Option<Duration>,
}

impl Keepalive {
    /// One for these settings, if they want any.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        if settings.ping_interval.is_none() && settings.idle_timeout.is_none() {
            return None;
        }
        Some(Self {
            secret: [0; SECRET],
            asked: Asked::Nothing,
            payload: [0; PING],
            closing: false,
            pings: 0,
            asked_at: Duration::ZERO,
            was_waiting: false,
            taken_mark: 0,
            alive_at: None,
            alive_mark: 0,
            no_activity: 0,
            busy_at: Duration::ZERO,
            busy_mark: 0,
            round_trip: None,
        })
    }

    pub(crate) fn seed(&mut self, seed: &[u8; 32]) {
        // With a label, since a client's seed makes its masking keys as well.
        let digest = Sha1::new().chain_update(b"bowline keepalive").chain_update(seed).finalize();
        self.secret.copy_from_slice(&digest[..SECRET]);
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// A pong came. One that answers no ping of ours, or an old one, is worth nothing (§5.5.3).
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if matches!(self.asked, Asked::Queued | Asked::Waits | Asked::Left)
            && self.payload == payload
        {
            self.asked = Asked::Answered;
        }
    }

    /// The receiver's progress grew by so much for what brings nothing of a message: a control frame.
    pub(crate) fn no_activity(&mut self, n: u32) {
        self.no_activity = self.no_activity.wrapping_add(n);
    }

    /// When there is something to do. `data` is the payload received, and `progress` the receiver's.
    /// `state` tells whether the ping has left.
    pub(crate) fn deadline(
        &mut self,
        settings: &Settings,
        now: Duration,
        data: u32,
        progress: u32,
        state: SendState,
    ) -> Option<Duration> {
        if self.closing {
            return None;
        }
        let activity = progress.wrapping_sub(self.no_activity);
        self.observe(now, data, activity);
        self.observe_sending(now, state);
        let ping = self.next_ping(settings);
        let dead = self.dead_at(settings);
        let idle = self.idle_at(settings);
        ping.into_iter().chain(dead).chain(idle).min()
    }

    /// What is to be done now; `deadline` was asked at this time.
    pub(crate) fn due(&mut self, settings: &Settings, now: Duration, data: u32) -> Due {
        let reached = |at: Option<Duration>| at.is_some_and(|at| is_reached(at, now));
        if self.closing {
            return Due::Nothing;
        }
        if reached(self.dead_at(settings)) {
            return Due::Dead;
        }
        if reached(self.idle_at(settings)) {
            self.closing = true;
            return Due::Idle;
        }
        if reached(self.next_ping(settings)) {
            self.payload = self.next_payload();
            self.asked = Asked::Queued;
            self.asked_at = now;
            self.pings = self.pings.wrapping_add(1);
            self.alive_mark = data;
            return Due::Ping(self.payload);
        }
        Due::Nothing
    }

    fn observe(&mut self, now: Duration, data: u32, activity: u32) {
        let Some(alive_at) = &mut self.alive_at else {
            self.alive_at = Some(now);
            self.alive_mark = data;
            self.busy_at = now;
            self.busy_mark = activity;
            return;
        };
        if self.asked == Asked::Answered {
            self.asked = Asked::Nothing;
            self.round_trip = Some(now.saturating_sub(self.asked_at));
            *alive_at = now;
            self.alive_mark = data;
        } else if data.wrapping_sub(self.alive_mark) >= ALIVE {
            *alive_at = now;
            self.alive_mark = data;
        }
        if activity != self.busy_mark {
            self.busy_at = now;
            self.busy_mark = activity;
        }
    }

    /// Sees whether the ping has left, and whether the peer takes what waits before it.
    fn observe_sending(&mut self, now: Duration, state: SendState) {
        match self.asked {
            Asked::Nothing | Asked::Answered => {
                self.taken_mark = state.taken;
                self.was_waiting = state.is_waiting;
                return;
            }
            Asked::Queued | Asked::Waits if state.pings != self.pings => self.asked = Asked::Waits,
            Asked::Queued => self.asked = Asked::Left,
            Asked::Waits => (self.asked, self.asked_at) = (Asked::Left, now),
            Asked::Left => {}
        }
        let taken = state.taken.wrapping_sub(self.taken_mark);
        let all = taken > 0 && !state.is_waiting;
        if self.was_waiting && (taken >= ALIVE || all) {
            (self.alive_at, self.taken_mark) = (Some(now), state.taken);
        } else if !self.was_waiting {
            self.taken_mark = state.taken;
        }
        self.was_waiting = state.is_waiting;
    }

    fn next_ping(&self, settings: &Settings) -> Option<Duration> {
        let interval = settings.ping_interval?;
        let alive_at = self.alive_at?;
        let since = match self.asked {
            Asked::Nothing => alive_at,
            // Data shows life, but the pong may never come: a peer may answer only the last of several
            // pings (§5.5.3). Without another ping, a peer that pauses would count as dead.
            Asked::Left if alive_at > self.asked_at => self.asked_at,
            _ => return None,
        };
        Some(since.saturating_add(interval))
    }

    fn dead_at(&self, settings: &Settings) -> Option<Duration> {
        if matches!(self.asked, Asked::Nothing | Asked::Answered) {
            return None;
        }
        let since = self.asked_at.max(self.alive_at?);
        Some(since.saturating_add(settings.pong_timeout?))
    }

    fn idle_at(&self, settings: &Settings) -> Option<Duration> {
        self.alive_at?;
        Some(self.busy_at.saturating_add(settings.idle_timeout?))
    }

    fn next_payload(&mut self) -> [u8; PING] {
        let digest = Sha1::digest(self.secret);
        let mut payload = [0; PING];
        payload.copy_from_slice(&digest[..PING]);
        self.secret.copy_from_slice(&digest[PING..]);
        payload
    }
}

impl fmt::Debug for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what the peer must not know.
        f.debug_struct("Keepalive")
            .field("asked", &self.asked)
            .field("round_trip", &self.round_trip)
            .finish_non_exhaustive()
    }
}
