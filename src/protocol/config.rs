//! Limits, timeouts and policy, each with its default and the reason for it.

use alloc::sync::Arc;
use core::time::Duration;

use super::policy::Policy;
use crate::memory::budget::{Budget, FREE};
use crate::protocol::close::CloseAnswer;
use crate::protocol::frame::MAX_CONTROL;
use crate::protocol::rate_limit::RateLimit;

/// Settings of a connection: limits, timeouts, and what a server accepts.
///
/// The limits and timeouts that protect one connection are on by default, so a connection to the open
/// internet may use `Config::default()`. A server should also have a
/// [`memory_budget`](Config::memory_budget). Setters take the value and give it back. A clone costs one
/// reference count, so a server makes one `Config` and hands a clone to each connection.
///
/// ```
/// use bowline::Config;
/// let config = Config::default()
///     .max_message_size(64 << 20)
///     .allow_origin("https://app.example");
/// ```
///
/// # Durations
///
/// Every [`Duration`] here has the same three special values:
///
/// - `None`: never. The timer does not exist.
/// - [`Duration::MAX`], and anything from 2^30 seconds (34 years) on: never, the same as `None`. So a
///   deadline never exceeds what a clock can hold.
/// - Zero: at once. The timer has run out when the connection first waits. What is done without a wait is
///   not affected.
#[derive(Clone, Debug)]
pub struct Config(Arc<Settings>);

impl Default for Config {
    /// All default values share one allocation, because a server may ask for them at each connection.
    #[cfg(feature = "std")]
    fn default() -> Self {
        static DEFAULT: std::sync::LazyLock<Config> =
            std::sync::LazyLock::new(|| Config(Arc::default()));
        DEFAULT.clone()
    }

    #[cfg(not(feature = "std"))]
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The values of a [`Config`]. [`Config::get`] reads them. The methods of `Config` set them, and say what each
/// is for.
///
/// ```
/// use bowline::Config;
/// let config = Config::default().max_send_queue(0);
/// assert_eq!(config.get().max_send_queue, 1);
/// assert_eq!(config.get().max_message_size, 1 << 20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The most bytes of a received message: [`Config::max_message_size`].
    pub max_message_size: u64,
    /// The most payload bytes of a received frame, if that has a limit: [`Config::max_frame_size`].
    pub max_frame_size: Option<u64>,
    /// The most fragments of a received message that has few bytes, at least 1:
    /// [`Config::max_fragments`].
    pub max_fragments: u32,
    /// The most bytes of automatic pongs that wait: [`Config::max_pending_pongs`].
    pub max_pending_pongs: usize,
    /// How many waiting bytes keep a further message from being taken, at least 1:
    /// [`Config::max_send_queue`].
    pub max_send_queue: usize,
    /// The most payload bytes of a frame that is sent, at least 125, if that has a limit: [`Config::max_send_frame`].
    pub max_send_frame: Option<usize>,
    /// The memory that this connection shares with others: [`Config::memory_budget`].
    pub budget: Option<Budget>,
    /// The most bytes of an HTTP head: [`Config::max_head_size`].
    pub max_head_size: usize,
    /// The most header lines of an HTTP head: [`Config::max_headers`].
    pub max_headers: usize,
    /// How long the opening handshake may take: [`Config::handshake_timeout`].
    pub handshake_timeout: Option<Duration>,
    /// How long the closing handshake may take: [`Config::close_timeout`].
    pub close_timeout: Option<Duration>,
    /// The time in which a message that has begun must make progress: [`Config::progress_timeout`].
    pub progress_timeout: Option<Duration>,
    /// The time in which the peer must take bytes that wait for it: [`Config::send_timeout`].
    pub send_timeout: Option<Duration>,
    /// How long a peer may show no life before it is pinged: [`Config::ping_interval`].
    pub ping_interval: Option<Duration>,
    /// How long the peer may take for its pong: [`Config::pong_timeout`].
    pub pong_timeout: Option<Duration>,
    /// How long no message may come before the connection is closed: [`Config::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// How the peer's Close is answered: [`Config::close_answer`].
    pub close_answer: CloseAnswer,
    /// Whether pings and pongs are received like messages: [`Config::report_control_frames`].
    pub report_control_frames: bool,
    /// Whether a client's frames may be unmasked: [`Config::accept_unmasked_frames`].
    pub accept_unmasked_frames: bool,
    /// How much the peer may send in a second, if that has a limit: [`Config::rate_limit`].
    pub rate_limit: Option<RateLimit>,
    /// Whether messages and bytes are counted: [`Config::stats`].
    pub stats: bool,
    /// How messages are compressed, if the peer agrees: [`Config::deflate`].
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::protocol::deflate::Deflate>,
    pub(crate) policy: Policy,
    /// Derived from others: a send queue below this has room, no budget is charged for it, and what it has fits a frame.
    pub(crate) send_mark: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            max_frame_size: None,
            max_fragments: 1024,
            max_pending_pongs: 4096,
            max_send_queue: 1 << 20,
            max_send_frame: None,
            budget: None,
            max_head_size: 16 << 10,
            max_headers: 100,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(5)),
            progress_timeout: Some(Duration::from_secs(20)),
            send_timeout: Some(Duration::from_secs(20)),
            ping_interval: None,
            pong_timeout: Some(Duration::from_secs(20)),
            idle_timeout: None,
            close_answer: CloseAnswer::ECHO,
            report_control_frames: false,
            accept_unmasked_frames: false,
            rate_limit: None,
            stats: false,
            #[cfg(feature = "deflate")]
            deflate: None,
            policy: Policy::default(),
            send_mark: 1 << 20,
        }
    }
}

impl Settings {
    fn set_send_mark(&mut self) {
        let look = if self.budget.is_some() { FREE } else { usize::MAX };
        let frame = self.max_send_frame.map_or(usize::MAX, |most| most.saturating_add(1));
        self.send_mark = self.max_send_queue.min(look).min(frame);
    }
}

/// A duration of 34 years or more means never.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// The argument of a setter of a duration. A duration that no clock can add to its time becomes `None`.
fn timeout(timeout: impl Into<Option<Duration>>) -> Option<Duration> {
    timeout.into().filter(|&timeout| timeout < NEVER)
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the settings.
    pub fn get(&self) -> &Settings {
        &self.0
    }

    /// How long a write that blocks its thread may last without progress: the send timeout or, with keepalive, the
    /// pong timeout if that is shorter. Keepalive promises to find a dead peer within the pong timeout, even if its
    /// ping does not fit the socket. A thread that is blocked in a write cannot wait for the pong.
    pub fn write_timeout(&self) -> Option<Duration> {
        let pong = self.0.ping_interval.and(self.0.pong_timeout);
        self.0.send_timeout.into_iter().chain(pong).min()
    }

    /// These settings for a connection that has begun with `old`: what is fixed at its beginning stays.
    pub(super) fn for_running(self, old: &Self) -> Self {
        let old = old.get();
        self.with(|s| {
            (s.budget, s.ping_interval) = (old.budget.clone(), old.ping_interval);
            (s.rate_limit, s.stats) = (old.rate_limit, old.stats);
            #[cfg(feature = "deflate")]
            {
                s.deflate = old.deflate;
            }
            s.set_send_mark();
        })
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The most bytes that a received message may have, over all its fragments. Beyond: Close 1009.
    ///
    /// Default 1 MiB: what other careful servers take, and enough for all but file transfer. Memory
    /// follows what has come, never what a header announces. For messages of any size, received in
    /// parts, set `u64::MAX`.
    pub fn max_message_size(self, bytes: u64) -> Self {
        self.with(|s| s.max_message_size = bytes)
    }

    /// The most payload bytes that one received frame may have. Beyond: Close 1009.
    ///
    /// Default: no other limit than [`max_message_size`](Self::max_message_size), because frames mean
    /// nothing to the receiver.
    pub fn max_frame_size(self, bytes: u64) -> Self {
        self.with(|s| s.max_frame_size = Some(bytes))
    }

    /// How many fragments a received message may have, in addition to one for every 32 bytes of payload that
    /// it brought. Beyond: Close 1008.
    ///
    /// Default 1,024, at least 1. An empty fragment costs the sender six bytes and is worth nothing. So a message
    /// of many empty fragments is an attack. A message that carries data in small pieces is not.
    pub fn max_fragments(self, count: u32) -> Self {
        self.with(|s| s.max_fragments = count.max(1))
    }

    /// How much the peer may send in a second. Beyond: it has to wait, or Close 1008 and
    /// [`End::RateLimited`](crate::End::RateLimited), as [`RateLimit`] says. `None`: no limit.
    ///
    /// Default `None`: a rate depends on what the program does with a message. While a peer has to wait, its timeouts
    /// stand still. A limit makes each message take the long way of decoding, and each wait looks at the clock.
    ///
    /// A blocking WebSocket sleeps while its peer has to wait, as long as the call may take. Over a stream that does not
    /// block, it gives `WouldBlock`: call it again after a while, although the stream has nothing new.
    pub fn rate_limit(self, limit: impl Into<Option<RateLimit>>) -> Self {
        let limit = limit.into().filter(RateLimit::is_set);
        self.with(|s| s.rate_limit = limit)
    }

    /// How many bytes of automatic pongs may wait to be sent. Beyond that, the newest pong replaces
    /// the last one that waits, as RFC 6455 §5.5.3 allows.
    ///
    /// Default 4 KiB. A peer that pings and never reads then costs no more than this.
    pub fn max_pending_pongs(self, bytes: usize) -> Self {
        self.with(|s| s.max_pending_pongs = bytes)
    }

    /// How many bytes may wait to be sent before a further message has to wait for room (adapters)
    /// or is given back ([`Refusal::QueueFull`](crate::Refusal::QueueFull), core). A message is
    /// taken whole when there is any room, so the queue holds at most this plus one message.
    /// Zero means 1: one message at a time, once all that waited has left.
    ///
    /// Default 1 MiB: it keeps a fast network busy, and a stuck peer is still noticed soon.
    pub fn max_send_queue(self, bytes: usize) -> Self {
        self.with(|s| {
            s.max_send_queue = bytes.max(1);
            s.set_send_mark();
        })
    }

    /// The most payload bytes of a frame that is sent. A longer message goes out in fragments (RFC 6455 §5.4), also a
    /// compressed one (RFC 7692 §6.1), and so does a longer part. The peer receives the same message. `None`: no limit.
    ///
    /// Default `None`: few peers need it. Some gateways refuse a frame of more than 32 KiB, which a message of several
    /// frames may exceed. Less than 125 means 125, which each control frame may have (RFC 6455 §5.5). A message in
    /// fragments is always copied to the queue.
    pub fn max_send_frame(self, bytes: impl Into<Option<usize>>) -> Self {
        let bytes = bytes.into().map(|bytes| bytes.max(MAX_CONTROL));
        self.with(|s| {
            s.max_send_frame = bytes;
            s.set_send_mark();
        })
    }

    /// The memory that all connections with this budget may keep together. Beyond: Close 1013 for a peer that
    /// sends more ([`End::OverBudget`](crate::End::OverBudget)), and
    /// [`Refusal::OverBudget`](crate::Refusal::OverBudget) for what is to be sent. See [`Budget`] for what
    /// counts. `None`: no such bound.
    ///
    /// Default `None`: the library cannot know how much memory there is to share. A server on the open
    /// internet should have a budget, because the limits of one connection alone allow it 2 MiB and more.
    pub fn memory_budget<'a>(self, budget: impl Into<Option<&'a Budget>>) -> Self {
        let budget = budget.into().cloned();
        self.with(|s| {
            s.budget = budget;
            s.set_send_mark();
        })
    }

    /// The most bytes of an HTTP head in the opening handshake. The first line and each header line
    /// may have half of it. Beyond: status 414 or 431.
    ///
    /// Default 16 KiB (lines 8 KiB), the common limit of HTTP servers.
    pub fn max_head_size(self, bytes: usize) -> Self {
        self.with(|s| s.max_head_size = bytes)
    }

    /// The most header lines of an HTTP head in the opening handshake. Beyond: status 431.
    ///
    /// Default 100: browsers behind proxies send about 30.
    pub fn max_headers(self, count: usize) -> Self {
        self.with(|s| s.max_headers = count)
    }

    /// How long the whole opening handshake may take. Bytes that arrive do not prolong it. For a client it
    /// begins before the name is resolved.
    ///
    /// `None` or [`Duration::MAX`]: it may take for ever. Zero: it fails at its first wait.
    ///
    /// Default 10 s: slow networks finish in two. A peer that sends a byte now and then must not keep its
    /// connection for ever.
    pub fn handshake_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.handshake_timeout = duration)
    }

    /// How long to wait for the peer at the end: for its Close after ours, for the end of its stream after
    /// both, and until it has read the Close (or the HTTP refusal) that fails the connection.
    ///
    /// `None` or [`Duration::MAX`]: for ever. Zero: Close is sent, and nothing is waited for.
    ///
    /// Default 5 s.
    pub fn close_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.close_timeout = duration)
    }

    /// A frame or message that has begun must bring at least 1 KiB of payload, or end, in every
    /// period of this length. Else: Close 1008 and [`Timeout::Progress`](crate::Timeout::Progress).
    /// An idle connection is never affected.
    ///
    /// `None` or [`Duration::MAX`]: no such rule. Zero: the whole message must be there when the connection
    /// waits.
    ///
    /// Default 20 s: 51 bytes a second, slower than any working network.
    pub fn progress_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.progress_timeout = duration)
    }

    /// While bytes wait to be sent, the peer must take at least 1 KiB in every period of this length, or all
    /// that waited when the period began. Otherwise the connection ends with
    /// [`Timeout::Send`](crate::Timeout::Send). It is the rule of
    /// [`progress_timeout`](Self::progress_timeout) for the other direction: a peer that reads a byte now and
    /// then cannot hold a full queue for days.
    ///
    /// `None` or [`Duration::MAX`]: no such rule. Zero: the socket has to take all at once.
    ///
    /// Default 20 s: 51 bytes a second, slower than any working network.
    pub fn send_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.send_timeout = duration)
    }

    /// Keepalive: ping a peer that has shown no life for this long.
    ///
    /// `None` or [`Duration::MAX`]: no pings. Zero: a ping at the first wait, and another as soon as its pong
    /// has come.
    ///
    /// Life is the pong that answers our last ping, or 1 KiB of payload. Nothing else is: not a ping, not
    /// another pong, and not a few small messages. A peer that reads nothing can send all of these. So a
    /// connection with little traffic has a ping and a pong for each interval.
    /// [`round_trip`](crate::Connection::round_trip) tells how long the last round trip took.
    ///
    /// Default `None`: it costs the battery of a phone. A program that sends often has no use for it,
    /// because [`send_timeout`](Self::send_timeout) finds a dead peer. Turn it on if connections wait long
    /// for messages. A peer that lost its network says nothing, and proxies drop connections that are silent
    /// for a minute. 30 s suits both. The pings leave while the program waits in `recv`.
    pub fn ping_interval(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.ping_interval = duration)
    }

    /// Keepalive: how long a peer may take for the pong, or for each 1 KiB of payload before it. Otherwise:
    /// Close 1008, if the socket takes it at once, and
    /// [`Timeout::Keepalive`](crate::Timeout::Keepalive). So a dead peer is found within this time plus the
    /// [`ping_interval`](Self::ping_interval). Without a ping interval, this setting has no effect.
    ///
    /// `None` or [`Duration::MAX`]: a pong may take for ever. Zero: the pong has to be there when the
    /// connection first waits for it.
    ///
    /// Default 20 s: a phone that changes networks is back in ten. Received payload also shows life, because
    /// the pong may be queued after a large frame.
    ///
    /// In the blocking adapter, this also bounds a write of which the peer takes nothing. Such a write ends
    /// with [`Timeout::Send`](crate::Timeout::Send), because a thread that writes cannot look for the pong.
    ///
    /// A peer may answer only the last of several pings (RFC 6455 §5.5.3). So if keepalive is on, leave pings
    /// to it, or send your own seldom.
    pub fn pong_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.pong_timeout = duration)
    }

    /// Close a connection (1001) on which no part of a message was received for this long. Pings and pongs do
    /// not count, and neither does anything that is sent.
    ///
    /// `None` or [`Duration::MAX`]: it may idle for ever. Zero: it is closed at the first wait.
    ///
    /// It is an ordinary close. This side waits for the peer's answer, and still receives what the peer sent
    /// before. [`End::Closed`](crate::End::Closed) says that this side began. The code is 1001 and not 1000,
    /// because the purpose of the connection may not be fulfilled. A client that still needs the connection
    /// should connect again.
    ///
    /// Default `None`: an idle connection costs next to nothing, and many are meant to idle.
    pub fn idle_timeout(self, duration: impl Into<Option<Duration>>) -> Self {
        let duration = timeout(duration);
        self.with(|s| s.idle_timeout = duration)
    }

    /// How the peer's Close is answered (RFC 6455 §5.5.1).
    ///
    /// Default [`CloseAnswer::ECHO`]: the code and the reason of the peer's Close, as most implementations
    /// do. So the `onclose` of a web page sees its own reason. A relay that closes its other side with
    /// [`End::code`](crate::End::code) and [`End::reason`](crate::End::reason) passes both on. A server that
    /// should repeat nothing that a client sends can use [`CloseAnswer::new`].
    pub fn close_answer(self, answer: CloseAnswer) -> Self {
        self.with(|s| s.close_answer = answer)
    }

    /// Whether pings and pongs are received like messages. Pings are answered in either case.
    ///
    /// Default `false`: few programs have a use for them.
    pub fn report_control_frames(self, report: bool) -> Self {
        self.with(|s| s.report_control_frames = report)
    }

    /// Server: whether a client's frames may come without a mask.
    ///
    /// Default `false`. RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
    /// Turn it on only for clients that you know and cannot mend: without masks, what a client sends can look like
    /// requests to a proxy between the two (§10.3).
    pub fn accept_unmasked_frames(self, accept: bool) -> Self {
        self.with(|s| s.accept_unmasked_frames = accept)
    }

    /// Whether messages, frames and bytes are counted, for [`Connection::stats`](crate::Connection::stats) and `stats`
    /// of the adapters.
    ///
    /// Default `false`: counting takes up to 850 bytes for each connection, about 55 instructions for each short
    /// message that is sent, and a look at the clock for each wait. Without it, `stats` still has the bytes that came,
    /// the round trip of keepalive, and the code of the peer's Close.
    pub fn stats(self, count: bool) -> Self {
        self.with(|s| s.stats = count)
    }

    /// Compress messages, if the peer agrees (permessage-deflate, RFC 7692), or do not with `None`.
    ///
    /// Default: no compression. It costs many times what the rest of a message costs. If a message has
    /// both a secret and text that others choose, its size can tell the secret: see
    /// [`Deflate`](crate::Deflate).
    #[cfg(feature = "deflate")]
    pub fn deflate(self, settings: impl Into<Option<crate::protocol::deflate::Deflate>>) -> Self {
        let settings = settings.into();
        self.with(|s| s.deflate = settings)
    }
}
