//! The receiving half: the order of frames, fragments, limits, UTF-8 (RFC 6455 §5, §8.1, §10.4), and
//! compressed messages (RFC 7692 §6.2).

mod assemble;
mod charge;
mod deadlines;
mod ends;
mod event;
mod header;
mod inflate;
mod rate;
mod short;
mod stats;

use alloc::boxed::Box;

use self::deadlines::Awaits;
pub(super) use self::ends::close_payload;
use self::header::Header;
use self::short::Gate;
use self::stats::Received;
use crate::memory::budget::Charge;
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::clock::Timer;
use crate::protocol::close::CloseCode;
use crate::protocol::config::{Config, Settings};
use crate::protocol::deflate::{Inflating, Side};
use crate::protocol::error::{End, ProtocolError, Rule};
use crate::protocol::frame::Opcode;
use crate::protocol::keepalive::Keepalive;
use crate::protocol::mask;
use crate::protocol::rate_limit::Rates;
use crate::protocol::replies::{CloseReply, Replies};

/// A message that is under way must bring this many bytes of payload in every progress timeout, or end. Each
/// frame also costs this much work in addition to its bytes: see [`Receiver::work`].
const PROGRESS: u32 = 1024;

/// If the end of a buffer cuts a message of this size, moving its part costs more than a read.
const LONG: u64 = 8 << 10;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Masks what it sends (RFC 6455 §5.1).
    Client,
    /// Requires received frames to be masked (RFC 6455 §5.1).
    Server,
}

/// The result of [`Connection::advance`](crate::Connection::advance).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// [`RecvBuf::event`] has something.
    Event,
    /// More bytes from the peer are needed. Send what waits to be sent before waiting for them.
    NeedInput,
    /// The connection is over; `end` says how. Send what waits to be sent, then [`Leave`](crate::Leave).
    Ended,
}

/// Frames in, events out: the receiving half of a [`Connection`](crate::Connection).
///
/// It knows nothing about the sending half. What it owes the peer goes to [`Replies`].
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    role: Role,
    stage: Stage,
    /// The type of the message that is under way.
    message: Option<Kind>,
    /// Whether the message that is under way is compressed.
    compressed: bool,
    lent: Lent,
    /// The masking key, rotated so that its first byte is for the next payload byte.
    key: [u8; 4],
    /// Payload bytes that the data frame under way still needs.
    remaining: u64,
    /// Payload bytes of the message, including all of the frame under way.
    message_len: u64,
    fragments: u32,
    /// How many bytes the last message took with its headers, if it was long and did not come at once: the next
    /// may be as long. Otherwise 0.
    last_long: u32,
    /// `offset` where the message that is under way began; wraps.
    began: u32,
    /// How many bytes were decoded.
    offset: u64,
    /// How much payload was received; wraps.
    data: u32,
    /// What decoding cost in addition to the bytes in `offset`; wraps.
    cost: u32,
    /// `progress` when the timer was set, or how many bytes had left.
    timer_mark: u32,
    timer: Timer,
    awaits: Awaits,
    /// Which messages the short way may take.
    gate: Gate,
    extras: Option<Box<Extras>>,
    /// How the peer compresses, if that was agreed on.
    peer: Option<Side>,
    inflating: Inflating,
}

/// State that most connections do not have while they are open.
#[derive(Debug, Default)]
struct Extras {
    end: Option<End>,
    keepalive: Option<Keepalive>,
    /// The charge to a budget that connections share.
    charge: Option<Box<Charge>>,
    watched: Option<Box<Watched>>,
}

/// What is kept of what came, if that is counted or limited.
#[derive(Debug)]
struct Watched {
    received: Option<Received>,
    rates: Option<Rates>,
}

/// Why decoding cannot go on.
enum Stop {
    Broken(Rule),
    OverBudget,
}

impl From<Rule> for Stop {
    fn from(rule: Rule) -> Self {
        Self::Broken(rule)
    }
}

impl Extras {
    /// What a connection with these settings has from its start.
    fn new(settings: &Settings) -> Option<Box<Self>> {
        let keepalive = Keepalive::new(settings);
        let received = settings.stats.then(Received::default);
        let rates = settings.rate_limit.map(|_| Rates::default());
        let is_watched = received.is_some() || rates.is_some();
        let watched = is_watched.then(|| Box::new(Watched { received, rates }));
        let is_needed = keepalive.is_some() || is_watched;
        is_needed.then(|| Box::new(Self { keepalive, watched, ..Self::default() }))
    }

    fn keepalive(this: &mut Option<Box<Self>>) -> Option<&mut Keepalive> {
        this.as_mut()?.keepalive.as_mut()
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    Data { fin: bool },
    Compressed { fin: bool },
    Control(Opcode, u8),
}

/// How much of the message under way was lent already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lent {
    #[default]
    Nothing,
    Parts,
    /// Some parts were lent and others were skipped, so no more will be lent.
    Skipped,
}

impl Receiver {
    pub(crate) fn new(role: Role, config: Config, peer: Option<Side>) -> Self {
        let is_limited = config.get().rate_limit.is_some();
        let gate = if is_limited { Gate::SHUT } else { Gate::open(config.get()) };
        let extras = Extras::new(config.get());
        Self {
            gate,
            extras,
            config,
            role,
            stage: Stage::Header,
            message: None,
            compressed: false,
            lent: Lent::Nothing,
            key: [0; 4],
            remaining: 0,
            message_len: 0,
            fragments: 0,
            last_long: 0,
            began: 0,
            offset: 0,
            data: 0,
            cost: 0,
            timer_mark: 0,
            timer: Timer::default(),
            awaits: Awaits::default(),
            peer,
            inflating: Inflating::default(),
        }
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the peer compresses, if that was agreed on.
    #[cfg(feature = "deflate")]
    pub(crate) fn peer(&self) -> Option<Side> {
        self.peer
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces the settings: see [`Connection::set_config`](crate::Connection::set_config).
    pub fn set_config(&mut self, config: Config) {
        self.config = config.for_running(&self.config);
        self.set_gate();
    }

    /// How much work decoding was so far; wraps. Use the difference of two values to give other connections
    /// a turn after some work, whatever frames the peer sends.
    ///
    /// The unit is a byte that was decoded or inflated. Each frame counts 1 KiB more, even a ping, a pong, an
    /// empty fragment and a frame that was skipped.
    pub fn work(&self) -> u32 {
        (self.offset as u32).wrapping_add(self.cost)
    }

    /// How many bytes of messages came so far; wraps. Unlike in [`work`](Self::work), control frames do not
    /// count. So a timeout can run out although the peer pings.
    pub fn received(&self) -> u32 {
        self.data
    }

    /// Grows with the payload received, and with each message and each control frame between messages; wraps.
    fn progress(&self) -> u32 {
        self.data.wrapping_add(self.cost)
    }

    /// Counts work that is no progress of the peer. The mark moves with it.
    fn no_progress(&mut self, cost: u32) {
        self.cost = self.cost.wrapping_add(cost);
        if self.awaits == Awaits::Rest {
            self.timer_mark = self.timer_mark.wrapping_add(cost);
        }
        if let Some(keepalive) = Extras::keepalive(&mut self.extras) {
            keepalive.no_activity(cost);
        }
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.extras.as_ref()?.end.as_ref()
    }

    /// Decodes until an event is ready, more bytes are needed, or the connection is over. It adds what the
    /// peer is owed to `replies`. `close_sent` is [`Sender::close_sent`](crate::Sender::close_sent).
    ///
    /// If parts of a message were lent before, the rest of that message is skipped.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke. Every later call gives the same error.
    #[inline]
    pub fn advance(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
    ) -> Result<Progress, ProtocolError> {
        if self.short_message(input).is_some() {
            return Ok(Progress::Event);
        }
        self.step(input, replies, close_sent, false)
    }

    /// Like [`advance`](Self::advance), but lends the payload in parts, as it comes:
    /// see [`RecvBuf::part`].
    ///
    /// # Errors
    ///
    /// As `advance`. Parts that were lent before the error belong to no whole message.
    #[inline]
    pub fn advance_parts(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
    ) -> Result<Progress, ProtocolError> {
        if self.short_message(input).is_some() {
            return Ok(Progress::Event);
        }
        self.step(input, replies, close_sent, true)
    }

    /// What `advance` does where [`short_message`](Self::short_message) has nothing.
    #[inline]
    pub(super) fn step(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
        parts: bool,
    ) -> Result<Progress, ProtocolError> {
        if self.is_waiting(input, parts) {
            return Ok(Progress::NeedInput);
        }
        self.run(input, replies, close_sent, parts).ok_or_else(|| self.failure())
    }

    /// `None`: the connection has failed, see [`failure`](Self::failure). This answer fits a register. A
    /// `Result` with the error in it would go through memory, once for each call and level.
    #[inline(never)]
    fn run(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
        parts: bool,
    ) -> Option<Progress> {
        input.end_event();
        match self.end() {
            Some(End::Failed(_)) => return None,
            Some(_) => {
                self.free_memory(input);
                return Some(Progress::Ended);
            }
            None => {}
        }
        self.count_short();
        let decoded = self.decode(input, replies, close_sent, parts);
        self.count_decoded();
        let result = if self.config.get().budget.is_some() {
            decoded.and_then(|progress| self.account(progress, input))
        } else {
            decoded
        };
        self.set_gate();
        match result {
            Ok(progress) => Some(progress),
            Err(Stop::Broken(rule)) => {
                let error = self.broken(rule, input.unread());
                self.give_up(End::Failed(error));
                replies.close(CloseReply(Some(error.close_code())));
                self.free_memory(input);
                None
            }
            Err(Stop::OverBudget) => {
                self.give_up(End::OverBudget);
                replies.close(CloseReply(Some(CloseCode::TRY_AGAIN_LATER)));
                self.free_memory(input);
                Some(Progress::Ended)
            }
        }
    }

    /// Opens or shuts the short way.
    fn set_gate(&mut self) {
        let is_between = matches!(self.stage, Stage::Header) && self.message.is_none();
        let is_open = is_between && self.end().is_none() && !self.is_limited();
        self.gate = if is_open { Gate::open(self.config.get()) } else { Gate::SHUT };
    }

    /// Whether no frame or message has begun, and the connection has not ended.
    fn is_between(&self, input: &RecvBuf) -> bool {
        self.gate.is_open() && input.unread().is_empty()
    }

    /// Whether `run` would only find that everything is decoded, between messages. It is a function apart, as
    /// `short_message` is.
    fn is_waiting(&mut self, input: &mut RecvBuf, parts: bool) -> bool {
        let is_waiting = self.is_between(input) && !input.is_eof();
        if is_waiting {
            input.end_event();
            self.want_next(input, parts);
            self.count_short();
        }
        is_waiting
    }

    fn decode(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
        parts: bool,
    ) -> Result<Progress, Stop> {
        loop {
            let progress = match self.stage {
                Stage::Header if self.is_used_up(input, close_sent) => Some(Progress::NeedInput),
                Stage::Header => match self.header(input.unread())? {
                    Some(header) => {
                        self.count_rate();
                        input.skip(header.size);
                        self.begin(&header);
                        None
                    }
                    None => {
                        self.want_next(input, parts);
                        Some(self.out_of_input(input, parts))
                    }
                },
                Stage::Data { fin } => self.data(input, fin, parts)?,
                Stage::Compressed { fin } => self.compressed_data(input, fin, parts)?,
                Stage::Control(opcode, len) => {
                    let len = usize::from(len);
                    if input.unread().len() < len {
                        self.want_next(input, parts);
                        Some(self.out_of_input(input, parts))
                    } else {
                        self.control(input, (opcode, len), replies, close_sent)?
                    }
                }
            };
            if let Some(progress) = progress {
                return Ok(progress);
            }
        }
    }

    /// Takes the bytes that came of a frame that is not compressed. `None`: the frame has ended, and there is no
    /// event.
    #[inline]
    fn data(
        &mut self,
        input: &mut RecvBuf,
        fin: bool,
        parts: bool,
    ) -> Result<Option<Progress>, Stop> {
        let available = input.unread().len() as u64;
        let n = available.min(self.remaining) as usize;
        if n > 0 {
            let before = input.unchecked();
            self.key = mask::apply_part(input.assemble(n), self.key);
            self.remaining -= n as u64;
            self.data = self.data.wrapping_add(n as u32);
            self.check_text(input, before, n)?;
            self.offset += n as u64;
        }
        if self.remaining > 0 {
            self.want_rest(input, fin, parts);
            return Ok(Some(self.out_of_input(input, parts)));
        }
        self.end_frame(input, fin, parts)
    }

    /// Takes the bytes that came of a compressed frame. `None`: the frame has ended, and there is no event.
    fn compressed_data(
        &mut self,
        input: &mut RecvBuf,
        fin: bool,
        parts: bool,
    ) -> Result<Option<Progress>, Stop> {
        if self.inflate(input, parts)? {
            return Ok(Some(Progress::Event));
        }
        if self.remaining > 0 {
            input.ahead().set_want(0);
            return Ok(Some(self.out_of_input(input, parts)));
        }
        self.end_frame(input, fin, parts)
    }

    /// Ends a data frame. `None`: there is no event.
    #[inline]
    fn end_frame(
        &mut self,
        input: &mut RecvBuf,
        fin: bool,
        parts: bool,
    ) -> Result<Option<Progress>, Stop> {
        self.stage = Stage::Header;
        self.count_frame(false, fin);
        if !fin {
            self.no_progress(PROGRESS);
            return Ok(None);
        }
        let is_lent = self.finish(input, parts)?;
        Ok(is_lent.then_some(Progress::Event))
    }

    /// Takes a control frame that is all there (RFC 6455 §5.5). `None`: there is no event.
    fn control(
        &mut self,
        input: &mut RecvBuf,
        (opcode, len): (Opcode, usize),
        replies: &mut Replies,
        close_sent: bool,
    ) -> Result<Option<Progress>, Stop> {
        mask::apply(input.unparsed_mut(len), self.key);
        let payload = &input.unread()[..len];
        match opcode {
            Opcode::Close => {
                let (code, reason) = close_payload(payload)?;
                self.offset += len as u64;
                self.count_frame(true, false);
                self.closed(code, reason, close_sent, replies);
                input.discard();
                return Ok(Some(Progress::Ended));
            }
            // RFC 6455 §5.5.2: "an endpoint MUST send a Pong frame in response".
            Opcode::Ping => replies.pong(payload, &self.config),
            Opcode::Pong => {
                if let Some(keepalive) = Extras::keepalive(&mut self.extras) {
                    keepalive.pong(payload);
                }
            }
            _ => {}
        }
        self.stage = Stage::Header;
        self.offset += len as u64;
        self.count_frame(true, false);
        if self.message.is_none() {
            // The next frame gets a time of its own. Inside a message, only the message's data counts.
            self.cost = self.cost.wrapping_add(PROGRESS);
            if let Some(keepalive) = Extras::keepalive(&mut self.extras) {
                keepalive.no_activity(PROGRESS);
            }
        } else {
            self.no_progress(PROGRESS);
        }
        if !self.config.get().report_control_frames {
            input.skip(len);
            return Ok(None);
        }
        let kind = match opcode {
            Opcode::Ping => Kind::Ping,
            _ => Kind::Pong,
        };
        input.lend_control(kind, len as u8);
        Ok(Some(Progress::Event))
    }

    fn begin(&mut self, header: &Header) {
        if self.message.is_none() {
            self.began = self.offset as u32;
        }
        self.offset += header.size as u64;
        self.key = header.key;
        if header.opcode.is_control() {
            self.stage = Stage::Control(header.opcode, header.len as u8);
            return;
        }
        match header.opcode {
            Opcode::Text => self.message = Some(Kind::Text),
            Opcode::Binary => self.message = Some(Kind::Binary),
            _ => {}
        }
        self.compressed = header.compressed;
        self.stage = match self.peer {
            Some(peer) if header.compressed => {
                self.inflating.begin_frame(peer, self.offset);
                Stage::Compressed { fin: header.fin }
            }
            _ => Stage::Data { fin: header.fin },
        };
        self.remaining = header.len;
        self.message_len += header.len;
        self.fragments = self.fragments.saturating_add(1);
    }
}
