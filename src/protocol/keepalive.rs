//! Whether the peer is still there: our own pings, their pongs, and the idle timeout. RFC 6455 §5.5.2: "A Ping
//! frame may serve either as a keepalive or as a means to verify that the remote endpoint is still responsive."

use core::fmt;
use core::time::Duration;

use sha1::{Digest, Sha1};

use crate::protocol::clock::is_reached;
use crate::protocol::config::Settings;
use crate::protocol::send_state::SendState;

/// While a pong is awaited, this many bytes of payload in every pong timeout also show life: the pong may come
/// after a large frame. So do this many bytes that the peer takes: the ping may still be on its way.
const ALIVE: u32 = 1024;

pub(crate) const PING: usize = 8;

/// The bytes of a digest that follow the payload. They make the next digest.
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

/// How far the last ping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// No ping waits for its pong.
    Nothing,
    /// It was queued, and there was no check since then.
    Queued,
    /// A check found that it had not left.
    Waits,
    Left,
    /// Its pong came.
    Answered,
}

/// Allocated only for a connection with a ping interval or an idle timeout.
pub(crate) struct Keepalive {
    /// Its hash gives the payload of the next ping and the next secret.
    secret: [u8; SECRET],
    asked: Asked,
    /// The payload of the last ping.
    payload: [u8; PING],
    /// Idle: Close is on its way, and the close timeout takes over.
    closing: bool,
    /// How many pings there were; wraps.
    pings: u8,
    /// When the ping left. If no check found it waiting, that is when it was queued.
    asked_at: Duration,
    /// Whether bytes waited to be sent at the last check. If none wait, bytes that are taken show no life,
    /// because the socket's buffer takes them.
    was_waiting: bool,
    /// How many bytes had left when the peer last took enough.
    taken_mark: u32,
    /// When the peer last showed life; `None` before the first wait.
    alive_at: Option<Duration>,
    /// How much payload had been received by then.
    alive_mark: u32,
    /// How much of the receiver's progress was no activity; wraps.
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
        // The label keeps this apart from the masking keys, which a client makes from the same seed.
        let digest = Sha1::new().chain_update(b"bowline keepalive").chain_update(seed).finalize();
        self.secret.copy_from_slice(&digest[..SECRET]);
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Takes a pong. RFC 6455 §5.5.3: it "must have identical "Application data" as found in the message body of
    /// the Ping frame being replied to". A pong to no ping of ours, or to an old one, does not count.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if matches!(self.asked, Asked::Queued | Asked::Waits | Asked::Left)
            && self.payload == payload
        {
            self.asked = Asked::Answered;
        }
    }

    /// Tells that the receiver's progress grew by `n` without data of a message, as for a control frame.
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

    /// What to do now. `deadline` must have been called with the same `now`.
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

    /// Checks whether the ping has left, and whether the peer takes the bytes that wait before it.
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
