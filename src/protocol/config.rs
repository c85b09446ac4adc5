//! Limits, timeouts and policy, each with its default and the reason for it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::memory::budget::{Budget, FREE};

/// Settings of a connection: limits, timeouts, and what a server accepts.
///
/// Every limit and timeout is on by default; a connection may be pointed at the open internet with
/// `Config::default()`. Setters take and give the value, and a clone is one reference count, so a
/// server makes one `Config` and hands a clone to each connection.
///
/// ```
/// use bowline::Config;
/// let config = Config::default()
///     .max_message_size(64 << 20)
///     .allow_origin("https://app.example");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config(Arc<Settings>);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_message_size: u64,
    pub(crate) max_frame_size: Option<u64>,
    /// What is shorter than this both admit, if it has a short header.
    pub(crate) whole_below: u16,
    pub(crate) max_fragments: u32,
    pub(crate) max_pending_pongs: usize,
    pub(crate) max_send_queue: usize,
    /// A send queue that stays below this, with what is added, needs no closer look.
    pub(crate) send_mark: usize,
    pub(crate) budget: Option<Budget>,
    pub(crate) max_head_size: usize,
    pub(crate) max_headers: usize,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) close_timeout: Option<Duration>,
    pub(crate) progress_timeout: Option<Duration>,
    pub(crate) send_timeout: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) report_control_frames: bool,
    pub(crate) origins: Origins,
    #[cfg(feature = "deflate")]
    pub(crate) deflate: Option<crate::protocol::deflate::Deflate>,
}

#[derive(Clone, Debug)]
pub(crate) enum Origins {
    Any,
    SameAnd(Vec<String>),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            max_frame_size: None,
            whole_below: u16::MAX,
            max_fragments: 1024,
            max_pending_pongs: 4096,
            max_send_queue: 1 << 20,
            send_mark: 1 << 20,
            budget: None,
            max_head_size: 16 << 10,
            max_headers: 100,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(5)),
            progress_timeout: Some(Duration::from_secs(20)),
            send_timeout: Some(Duration::from_secs(20)),
            ping_interval: None,
            pong_timeout: Duration::from_secs(20),
            idle_timeout: None,
            report_control_frames: false,
            origins: Origins::SameAnd(Vec::new()),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl Settings {
    fn set_whole_below(&mut self) {
        let message = self.max_message_size;
        let longest = self.max_frame_size.map_or(message, |frame| frame.min(message));
        self.whole_below = u16::try_from(longest.saturating_add(1)).unwrap_or(u16::MAX);
    }

    fn set_send_mark(&mut self) {
        let look = if self.budget.is_some() { FREE } else { usize::MAX };
        self.send_mark = self.max_send_queue.max(1).min(look);
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn get(&self) -> &Settings {
        &self.0
    }

    /// How long a blocked write may last without progress. Keepalive promises to find a dead peer within the
    /// pong timeout, also where its ping does not fit the socket.
    #[cfg(feature = "std")]
    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        let pong = self.0.ping_interval.map(|_| self.0.pong_timeout);
        self.0.send_timeout.into_iter().chain(pong).min()
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The most bytes that a received message may have, over all its fragments. Beyond: Close 1009.
    ///
    /// Default 1 MiB: what other careful servers take, and enough for all but file transfer. Memory
    /// follows what has come, never what a header announces. For messages of any size, received in
    /// parts, set `u64::MAX`.
    pub fn max_message_size(self, bytes: u64) -> Self {
        self.with(|s| {
            s.max_message_size = bytes;
            s.set_whole_below();
        })
    }

    /// The most payload bytes that one received frame may have. Beyond: Close 1009.
    ///
    /// Default: no other limit than [`max_message_size`](Self::max_message_size), since frames mean
    /// nothing to the receiver.
    pub fn max_frame_size(self, bytes: u64) -> Self {
        self.with(|s| {
            s.max_frame_size = Some(bytes);
            s.set_whole_below();
        })
    }

    /// How many fragments a received message may have, beside one for every 32 bytes of payload
    /// that it brought. Beyond: Close 1008.
    ///
    /// Default 1,024, at least 1. Empty fragments cost the sender six bytes and are worth nothing, so a message
    /// that is all fragments is an attack; one that carries data in small pieces is not.
    pub fn max_fragments(self, count: u32) -> Self {
        self.with(|s| s.max_fragments = count.max(1))
    }

    /// How many bytes of automatic pongs may wait to be sent; beyond that the newest pong replaces
    /// the last one that waits, as RFC 6455 §5.5.3 allows.
    ///
    /// Default 4 KiB. A peer that pings and never reads then costs no more than this.
    pub fn max_pending_pongs(self, bytes: usize) -> Self {
        self.with(|s| s.max_pending_pongs = bytes)
    }

    /// How many bytes may wait to be sent before a further message has to wait for room (adapters)
    /// or is given back ([`Refusal::QueueFull`](crate::Refusal::QueueFull), core). A message is
    /// taken whole when there is any room, so the queue holds at most this plus one message.
    ///
    /// Default 1 MiB: enough to keep a fast network busy, little enough that a stuck peer shows.
    pub fn max_send_queue(self, bytes: usize) -> Self {
        self.with(|s| {
            s.max_send_queue = bytes;
            s.set_send_mark();
        })
    }

    /// The memory that all connections with this budget may keep together. Beyond: Close 1013 for who sends
    /// more ([`End::OverBudget`](crate::End::OverBudget)), and
    /// [`Refusal::OverBudget`](crate::Refusal::OverBudget) for what is to be sent. See [`Budget`] for what
    /// counts. `None`: no such bound.
    ///
    /// Default `None`: how much memory there is to share, nobody here can know. A server for anybody should
    /// have one, since the limits of each connection alone allow 2 MiB and more for each.
    pub fn memory_budget<'a>(self, budget: impl Into<Option<&'a Budget>>) -> Self {
        let budget = budget.into().cloned();
        self.with(|s| {
            s.budget = budget;
            s.set_send_mark();
        })
    }

    /// The most bytes of an HTTP head in the opening handshake; the first line and each header line
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

    /// How long the opening handshake may take as a whole; bytes that arrive do not prolong it. For
    /// a client it begins before the name is resolved. `None`: for ever.
    ///
    /// Default 10 s: slow networks finish in two, and a peer that sends a byte now and then must not
    /// hold a place for ever.
    pub fn handshake_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|s| s.handshake_timeout = timeout)
    }

    /// How long to wait for the peer's Close after ours, for its end of the connection after both,
    /// and for it to read the Close (or the HTTP refusal) that it is failed with. `None`: for ever.
    ///
    /// Default 5 s.
    pub fn close_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|s| s.close_timeout = timeout)
    }

    /// A frame or message that has begun must bring at least 1 KiB of payload, or end, in every
    /// period of this length. Else: Close 1008 and [`Timeout::Progress`](crate::Timeout::Progress).
    /// `None`: no such rule. An idle connection is never affected.
    ///
    /// Default 20 s: 51 bytes a second, slower than any working network.
    pub fn progress_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|s| s.progress_timeout = timeout)
    }

    /// While bytes wait to be sent, the peer must take some in every period of this length; else the
    /// connection ends with [`Timeout::Send`](crate::Timeout::Send). `None`: no such rule.
    ///
    /// Default 20 s.
    pub fn send_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|s| s.send_timeout = timeout)
    }

    /// Keepalive: ping a peer that has shown no life for so long. `None`: no pings.
    ///
    /// Life is the pong that answers our last ping, or 1 KiB of payload. Nothing else is: not a ping, not
    /// another pong, and not a few small messages, which can be sent by who reads nothing. So a connection
    /// with little traffic has a ping and a pong for each interval, and
    /// [`round_trip`](crate::Connection::round_trip) tells how long the last took.
    ///
    /// Default `None`: it costs the battery of a phone, and is of no use to whoever sends often, since
    /// [`send_timeout`](Self::send_timeout) then finds a dead peer. Turn it on where connections wait long
    /// for messages: a peer that lost its network says nothing, and proxies drop connections that are silent
    /// for a minute. 30 s suits both. The pings go out while something waits in `recv`.
    pub fn ping_interval(self, interval: impl Into<Option<Duration>>) -> Self {
        let interval = interval.into();
        self.with(|s| s.ping_interval = interval)
    }

    /// Keepalive: how long a peer may take for the pong, or for each 1 KiB of payload before it. Else:
    /// Close 1008, as far as the socket takes it at once, and
    /// [`Timeout::Keepalive`](crate::Timeout::Keepalive). So a dead peer is found within this time and the
    /// [`ping_interval`](Self::ping_interval), without which it means nothing.
    ///
    /// Default 20 s: a phone that changes networks is back in ten. What is received keeps a peer alive
    /// since the pong may be queued behind a large frame.
    ///
    /// In the blocking adapter a write that the peer takes nothing of lasts no longer than this either, and
    /// ends with [`Timeout::Send`](crate::Timeout::Send): a thread that writes cannot mind the pong.
    ///
    /// A peer may answer only the last of several pings (RFC 6455 §5.5.3), so leave pings to keepalive
    /// where it is on, or send them seldom.
    pub fn pong_timeout(self, timeout: Duration) -> Self {
        self.with(|s| s.pong_timeout = timeout)
    }

    /// Close a connection (1001) on which nothing of a message was received for so long; pings and pongs
    /// do not count, nor does what is sent. `None`: it may idle for ever.
    ///
    /// It is an ordinary close: the peer's answer is waited for, what it sent before still comes, and
    /// [`End::Closed`](crate::End::Closed) says that this side began. The code is 1001 and not 1000 since
    /// the purpose of the connection may not be fulfilled: this side leaves, and a client that still
    /// needs it should connect again.
    ///
    /// Default `None`: an idle connection costs next to nothing, and many are meant to idle.
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with(|s| s.idle_timeout = timeout)
    }

    /// Whether pings and pongs are received like messages. Pings are answered in either case.
    ///
    /// Default `false`: few programs have a use for them.
    pub fn report_control_frames(self, report: bool) -> Self {
        self.with(|s| s.report_control_frames = report)
    }

    /// Compress messages, if the peer agrees (permessage-deflate, RFC 7692), or do not with `None`.
    ///
    /// Default: no compression. It costs many times what all else costs for a message, and where
    /// secrets are sent beside text that others choose, it can tell them: see
    /// [`Deflate`](crate::Deflate).
    #[cfg(feature = "deflate")]
    pub fn deflate(self, settings: impl Into<Option<crate::protocol::deflate::Deflate>>) -> Self {
        let settings = settings.into();
        self.with(|s| s.deflate = settings)
    }

    /// Server: also accept browsers' requests from this origin, written as browsers send it:
    /// `scheme://host` or `scheme://host:port`. May be called repeatedly.
    ///
    /// Default: only the server's own host and port (compared with `Host`, over http or https,
    /// since TLS may end at a proxy), and clients that send no `Origin` since they are no browsers.
    /// Any page on the web can make its visitor's browser open a WebSocket with the visitor's
    /// cookies; this check is what stops it (RFC 6455 §10.2). Others get status 403.
    pub fn allow_origin(self, origin: impl Into<String>) -> Self {
        let origin = origin.into();
        self.with(|s| match &mut s.origins {
            Origins::Any => {}
            Origins::SameAnd(list) => list.push(origin),
        })
    }

    /// Server: accept browsers' requests from any origin. Right for public data, and where requests
    /// are authorised by something other than cookies or the network that they come from.
    pub fn allow_any_origin(self) -> Self {
        self.with(|s| s.origins = Origins::Any)
    }
}
