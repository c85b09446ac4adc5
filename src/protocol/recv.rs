//! The receiving half: the order of frames, fragments, limits, UTF-8 (RFC 6455 §5, §8.1, §10.4), and
//! compressed messages (RFC 7692 §6.2).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::memory::budget::{Charge, FREE};
use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::clock::{self, Timer};
use crate::protocol::close::CloseCode;
use crate::protocol::config::Config;
use crate::protocol::deflate::{CHUNK, Inflated, Inflating, Side};
use crate::protocol::error::{End, Initiator, ProtocolError, Rule, Timeout, Truncation};
use crate::protocol::frame::{self, FIN, Length, MASK, MAX_CONTROL, Opcode, RSV, RSV1};
use crate::protocol::keepalive::{Due, Keepalive, PING};
use crate::protocol::leave::Leave;
use crate::protocol::mask;
use crate::protocol::send_state::SendState;
use crate::protocol::utf8::{self, Checked};

/// A message that is under way must bring this much payload in every progress timeout, or end. It also is
/// what each frame costs beside its bytes: see [`Receiver::work`].
const PROGRESS: u32 = 1024;

/// Where a message of this size is cut by the end of a buffer, moving its part costs more than a read.
const LONG: u64 = 8 << 10;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Masks what it sends (RFC 6455 §5.1).
    Client,
    /// Requires what it receives to be masked.
    Server,
}

/// What [`Connection::advance`](crate::Connection::advance) came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// [`RecvBuf::event`] has something.
    Event,
    /// More bytes from the peer are needed. Send what waits to be sent before waiting for them.
    NeedInput,
    /// The connection is over; `end` tells how. Send what waits to be sent, then [`Leave`](crate::Leave).
    Ended,
}

/// What the receiving half owes the peer: automatic pongs, a ping of keepalive, and one Close.
///
/// The one thing that the halves of a split connection exchange. It is bounded by
/// [`Config::max_pending_pongs`].
#[derive(Debug, Default)]
pub struct Replies(Option<Box<Owed>>);

/// Never empty: then there is none.
#[derive(Default)]
struct Owed {
    pongs: Pongs,
    ping: Option<[u8; PING]>,
    close: Option<CloseReply>,
    /// The reason in that Close; only the answer to the peer's Close has one.
    reason: String,
}

/// Payloads, each behind one byte of length.
#[derive(Default)]
struct Pongs {
    bytes: Vec<u8>,
    /// Where the last one begins.
    last: usize,
    /// How many there are. Counting them for each that is added would cost a peer nothing, and us much.
    count: usize,
}

/// A Close frame to be sent, with no body if it has no code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloseReply(pub(crate) Option<CloseCode>);

impl Replies {
    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds what `newer` holds, leaving it empty.
    pub fn merge(&mut self, newer: &mut Self, config: &Config) {
        let Some(newer) = newer.0.take() else {
            return;
        };
        let owed = self.0.get_or_insert_default();
        newer.pongs.payloads().for_each(|payload| owed.pongs.push(payload, config));
        owed.ping = newer.ping.or(owed.ping);
        if owed.close.is_none() {
            owed.close = newer.close;
            owed.reason = newer.reason;
        }
    }

    fn pong(&mut self, payload: &[u8], config: &Config) {
        self.0.get_or_insert_default().pongs.push(payload, config);
    }

    fn ping(&mut self, payload: [u8; PING]) {
        self.0.get_or_insert_default().ping = Some(payload);
    }

    fn close(&mut self, reply: CloseReply) {
        self.close_with(reply, String::new());
    }

    fn close_with(&mut self, reply: CloseReply, reason: String) {
        let owed = self.0.get_or_insert_default();
        owed.close = Some(reply);
        owed.reason = reason;
    }

    /// Takes the pongs and the ping, calling `send` for each payload.
    pub(crate) fn take_pongs(&mut self, mut send: impl FnMut(Opcode, &[u8])) {
        if let Some(owed) = &mut self.0 {
            let pongs = core::mem::take(&mut owed.pongs);
            pongs.payloads().for_each(|payload| send(Opcode::Pong, payload));
            if let Some(payload) = owed.ping.take() {
                send(Opcode::Ping, &payload);
            }
            if owed.close.is_none() {
                self.0 = None;
            }
        }
    }

    /// How many bytes the pongs and the ping take on the wire; `None` if there are none.
    pub(crate) fn pongs_len(&self) -> Option<usize> {
        let owed = self.0.as_ref()?;
        let ping = owed.ping.map_or(0, |payload| payload.len() + 6);
        Some(owed.pongs.wire_len() + ping).filter(|&len| len > 0)
    }

    pub(crate) fn has_close(&self) -> bool {
        self.0.as_ref().is_some_and(|owed| owed.close.is_some())
    }

    pub(crate) fn take_close(&mut self) -> Option<(CloseReply, String)> {
        let owed = self.0.as_mut()?;
        let reason = core::mem::take(&mut owed.reason);
        let close = owed.close.take().map(|reply| (reply, reason));
        if owed.pongs.bytes.is_empty() && owed.ping.is_none() {
            self.0 = None;
        }
        close
    }
}

impl fmt::Debug for Owed {
    /// Without payloads, and without the reason of the peer's Close.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owed")
            .field("pongs", &self.pongs)
            .field("ping", &self.ping.is_some())
            .field("close", &self.close)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pongs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.payloads().map(<[u8]>::len)).finish()
    }
}

impl Pongs {
    /// Half of the limit may wait here; the other half is for what is in the `SendBuf`.
    fn push(&mut self, payload: &[u8], config: &Config) {
        // Room for the longest, so that any can take the last one's place.
        if self.wire_len() + MAX_CONTROL + 6 > config.get().max_pending_pongs / 2 {
            // "A Pong frame for only the most recently processed Ping" will do (§5.5.3).
            self.bytes.truncate(self.last);
            self.count = self.count.saturating_sub(1);
        }
        self.count += 1;
        self.last = self.bytes.len();
        self.bytes.push(payload.len() as u8);
        self.bytes.extend_from_slice(payload);
    }

    /// Each takes a header on the wire, of at most six bytes, not the one byte of length here.
    fn wire_len(&self) -> usize {
        self.bytes.len() + 5 * self.count
    }

    fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        core::iter::from_fn(move || {
            #[cfg(test)]
            tests::READ.set(tests::READ.get() + 1);
            let (&len, behind) = rest.split_first()?;
            let (payload, behind) = behind.split_at_checked(usize::from(len))?;
            rest = behind;
            Some(payload)
        })
    }
}

/// Frames in, events out: the receiving half of a [`Connection`](crate::Connection).
///
/// It knows nothing of the sending half; what it owes the peer goes to [`Replies`].
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
    /// Turned so that the next payload byte is masked with its first.
    key: [u8; 4],
    /// Payload bytes that the data frame under way still needs.
    remaining: u64,
    /// Payload bytes of the message, with all of the frame under way.
    message_len: u64,
    fragments: u32,
    /// How much the last message took that did not come at once, with its headers, if that was long: the
    /// next may be as long. Else 0.
    usual: u32,
    /// `offset` where the message that is under way began; wraps.
    began: u32,
    /// Bytes that were decoded.
    offset: u64,
    /// The payload received; wraps.
    data: u32,
    /// What decoding cost beside the bytes in `offset`; wraps.
    cost: u32,
    /// `progress` when the timer was set, or the bytes that had left.
    timer_mark: u32,
    timer: Timer,
    awaits: Awaits,
    /// An unfragmented message may come that is shorter than this; 0 inside of a frame or a message, and once
    /// the connection has ended.
    whole_below: u16,
    beside: Option<Box<Beside>>,
    /// How the peer compresses, if that was agreed on.
    peer: Option<Side>,
    inflating: Inflating,
}

/// What most connections have none of while they are open.
#[derive(Debug, Default)]
struct Beside {
    end: Option<End>,
    keepalive: Option<Keepalive>,
    /// What is kept of a budget that others share.
    charge: Option<Box<Charge>>,
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

impl Beside {
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

/// What the one timer of transfers waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaits {
    /// The rest of what has begun to come.
    #[default]
    Rest,
    /// That our Close leaves. Nothing else limits that where there is no send timeout.
    CloseLeft,
    /// The peer's Close.
    Close,
}

/// What of the message that is under way was lent already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lent {
    #[default]
    Nothing,
    Parts,
    /// Some, and others were skipped, so that no more will be.
    Skipped,
}

/// A header that broke no rule.
struct Header {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    len: u64,
    key: [u8; 4],
    size: usize,
}

impl Receiver {
    pub(crate) fn new(role: Role, config: Config, peer: Option<Side>) -> Self {
        let whole_below = config.get().whole_below;
        let keepalive = Keepalive::new(config.get());
        let beside =
            keepalive.map(|on| Box::new(Beside { keepalive: Some(on), ..Beside::default() }));
        Self {
            whole_below,
            beside,
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
            usual: 0,
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

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How much work decoding was so far; wraps. Take the difference of two values to give other
    /// connections a turn after some work, whatever the peer made it of.
    ///
    /// The unit is a byte that was decoded or inflated. Each frame counts as 1 KiB more, also a ping, a
    /// pong, an empty fragment and what was skipped.
    pub fn work(&self) -> u32 {
        (self.offset as u32).wrapping_add(self.cost)
    }

    /// How many bytes of messages came so far; wraps. Control frames do not count, unlike in
    /// [`work`](Self::work): so a timeout can hold although the peer pings.
    pub fn received(&self) -> u32 {
        self.data
    }

    /// Grows with the payload received, and with each message and each control frame between messages; wraps.
    fn progress(&self) -> u32 {
        self.data.wrapping_add(self.cost)
    }

    /// Counts work that is no progress of the peer's: the mark moves with it.
    fn no_progress(&mut self, cost: u32) {
        self.cost = self.cost.wrapping_add(cost);
        if self.awaits == Awaits::Rest {
            self.timer_mark = self.timer_mark.wrapping_add(cost);
        }
        if let Some(keepalive) = Beside::keepalive(&mut self.beside) {
            keepalive.no_activity(cost);
        }
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.beside.as_ref()?.end.as_ref()
    }

    /// Decodes until an event is ready, more bytes are needed, or the connection is over. What the
    /// peer is owed is added to `replies`; `close_sent` is
    /// [`Sender::close_sent`](crate::Sender::close_sent).
    ///
    /// If parts of a message were lent before, the rest of that message is skipped.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke, and the same on every later call.
    #[inline]
    pub fn advance(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
    ) -> Result<Progress, ProtocolError> {
        if self.whole(input) {
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
        if self.whole(input) {
            return Ok(Progress::Event);
        }
        self.step(input, replies, close_sent, true)
    }

    /// What `advance` does where [`whole`](Self::whole) has nothing.
    #[inline]
    pub(crate) fn step(
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

    /// `None`: the connection has failed, see [`failure`](Self::failure). The whole answer fits a
    /// register; a `Result` with the error in it goes through memory, once a call and level.
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
                self.settle(input);
                return Some(Progress::Ended);
            }
            None => {}
        }
        let decoded = self.decode(input, replies, close_sent, parts);
        let result = if self.config.get().budget.is_some() {
            decoded.and_then(|progress| self.account(progress, input))
        } else {
            decoded
        };
        self.admit_whole();
        match result {
            Ok(progress) => Some(progress),
            Err(Stop::Broken(rule)) => {
                let error = self.broken(rule, input.unread());
                self.give_up(End::Failed(error));
                replies.close(CloseReply(Some(error.close_code())));
                self.settle(input);
                None
            }
            Err(Stop::OverBudget) => {
                self.give_up(End::OverBudget);
                replies.close(CloseReply(Some(CloseCode::TRY_AGAIN_LATER)));
                self.settle(input);
                Some(Progress::Ended)
            }
        }
    }

    /// Sets what [`whole`](Self::whole) looks at.
    fn admit_whole(&mut self) {
        let is_between = matches!(self.stage, Stage::Header) && self.message.is_none();
        let admits = is_between && self.end().is_none();
        self.whole_below = if admits { self.config.get().whole_below } else { 0 };
    }

    /// Whether nothing has begun, and nothing has ended.
    fn is_between(&self, input: &RecvBuf) -> bool {
        self.whole_below > 0 && input.unread().is_empty()
    }

    /// Whether `run` would only find that all is decoded, between messages. Apart from it as `whole` is.
    fn is_waiting(&mut self, input: &mut RecvBuf, parts: bool) -> bool {
        let is_waiting = self.is_between(input) && !input.is_eof();
        if is_waiting {
            input.end_event();
            self.want_next(input, parts);
        }
        is_waiting
    }

    /// Charges to the budget what is kept from here on.
    #[inline(never)]
    fn account(&mut self, progress: Progress, input: &mut RecvBuf) -> Result<Progress, Stop> {
        match progress {
            Progress::NeedInput => {
                let kept = input.kept() + self.inflating.kept();
                self.charge(if kept > FREE { kept } else { 0 })?;
            }
            // What is lent is the user's, with the memory that it lies in.
            Progress::Event if input.lends_message() => self.charge(0)?,
            Progress::Event => {}
            Progress::Ended => self.settle(input),
        }
        Ok(progress)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Stop> {
        if bytes == 0 {
            if let Some(beside) = &mut self.beside {
                beside.charge = None;
            }
            return Ok(());
        }
        let Some(budget) = &self.config.get().budget else {
            return Ok(());
        };
        let beside = self.beside.get_or_insert_default();
        let charge = beside.charge.get_or_insert_with(|| Box::new(Charge::new(budget)));
        if charge.try_set(bytes) { Ok(()) } else { Err(Stop::OverBudget) }
    }

    /// A connection that is over, and was charged for what it kept, keeps it no longer.
    fn settle(&mut self, input: &mut RecvBuf) {
        if let Some(beside) = &mut self.beside
            && let Some(charge) = beside.charge.take()
        {
            input.abandon();
            self.inflating = Inflating::default();
            drop(charge);
        }
    }

    /// The error for a rule that was broken here, with the numbers that its text shows. `unread` begins with
    /// what broke it.
    #[cold]
    fn broken(&self, rule: Rule, unread: &[u8]) -> ProtocolError {
        let settings = self.config.get();
        let announced = match self.stage {
            Stage::Header => Length::decode(unread).map_or(0, |length| length.value),
            _ => 0,
        };
        let (found, limit) = match rule {
            Rule::FrameTooBig => (announced, settings.max_frame_size.unwrap_or_default()),
            Rule::MessageTooBig if announced > 0 => {
                (self.message_len.saturating_add(announced), settings.max_message_size)
            }
            Rule::MessageTooBig => (0, settings.max_message_size),
            Rule::TooManyFragments => (0, settings.max_fragments.into()),
            Rule::CloseCode => {
                let code = unread.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                (code.into(), 0)
            }
            #[cfg(feature = "deflate")]
            Rule::InflateRatio => (
                0,
                settings.deflate.and_then(|deflate| deflate.max_ratio).unwrap_or_default().into(),
            ),
            _ => (0, 0),
        };
        ProtocolError::new(rule, self.offset, found, limit)
    }

    #[cold]
    fn failure(&self) -> ProtocolError {
        match self.end() {
            Some(End::Failed(error)) => *error,
            _ => unreachable!("`run` gives nothing only after a failure"),
        }
    }

    fn decode(
        &mut self,
        input: &mut RecvBuf,
        replies: &mut Replies,
        close_sent: bool,
        parts: bool,
    ) -> Result<Progress, Stop> {
        loop {
            match self.stage {
                Stage::Header => {
                    let Some(header) = self.header(input.unread())? else {
                        self.want_next(input, parts);
                        return Ok(self.starved(input, parts));
                    };
                    input.skip(header.size);
                    self.begin(&header);
                }
                Stage::Data { fin } => {
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
                        // Room for the rest of the message, if this frame ends it; in parts, none of
                        // it has to be there at once.
                        match (parts, fin, self.rest()) {
                            (true, ..) => input.ahead().set_want(0),
                            (_, true, _) if self.message_len >= LONG => {
                                input.ahead().expect(self.remaining)
                            }
                            (_, true, _) => input.ahead().set_want(self.remaining),
                            (_, _, rest) if rest >= self.remaining => input.ahead().expect(rest),
                            _ => input.ahead().set_want(self.remaining + self.message_len / 2),
                        }
                        return Ok(self.starved(input, parts));
                    }
                    self.stage = Stage::Header;
                    if !fin {
                        self.no_progress(PROGRESS);
                    } else if self.finish(input, parts)? {
                        return Ok(Progress::Event);
                    }
                }
                Stage::Compressed { fin } => {
                    if self.inflate(input, parts)? {
                        return Ok(Progress::Event);
                    }
                    if self.remaining > 0 {
                        input.ahead().set_want(0);
                        return Ok(self.starved(input, parts));
                    }
                    self.stage = Stage::Header;
                    if !fin {
                        self.no_progress(PROGRESS);
                    } else if self.finish(input, parts)? {
                        return Ok(Progress::Event);
                    }
                }
                Stage::Control(opcode, len) => {
                    let len = usize::from(len);
                    if input.unread().len() < len {
                        self.want_next(input, parts);
                        return Ok(self.starved(input, parts));
                    }
                    mask::apply(input.unparsed_mut(len), self.key);
                    let payload = &input.unread()[..len];
                    match opcode {
                        Opcode::Close => {
                            let (code, reason) = close_payload(payload)?;
                            self.closed(code, reason, close_sent, replies);
                            input.discard();
                            return Ok(Progress::Ended);
                        }
                        Opcode::Ping => replies.pong(payload, &self.config),
                        Opcode::Pong => {
                            if let Some(keepalive) = Beside::keepalive(&mut self.beside) {
                                keepalive.pong(payload);
                            }
                        }
                        _ => {}
                    }
                    self.stage = Stage::Header;
                    self.offset += len as u64;
                    if self.message.is_none() {
                        // The next one has its own time; inside a message only its data counts.
                        self.cost = self.cost.wrapping_add(PROGRESS);
                        if let Some(keepalive) = Beside::keepalive(&mut self.beside) {
                            keepalive.no_activity(PROGRESS);
                        }
                    } else {
                        self.no_progress(PROGRESS);
                    }
                    if self.config.get().report_control_frames {
                        let kind = match opcode {
                            Opcode::Ping => Kind::Ping,
                            _ => Kind::Pong,
                        };
                        input.lend_control(kind, len as u8);
                        return Ok(Progress::Event);
                    }
                    input.skip(len);
                }
            }
        }
    }

    /// The common case at once: an unfragmented, uncompressed message of less than 64 KiB that is all
    /// there. Whatever is not plainly so is left as it is, to `run`.
    ///
    /// Apart from `run`, which needs so many registers that saving them would take as long as this.
    pub(crate) fn whole(&mut self, input: &mut RecvBuf) -> bool {
        // Between messages the event that was lent last needs no end: another takes its place.
        let unread = input.unread();
        let Some(head) = unread.first_chunk() else {
            return false;
        };
        // All that a short header can have, in one register; the first byte is the lowest.
        let head = u64::from_le_bytes(*head);
        let (mask_bit, key_size) = match self.role {
            Role::Server => (u64::from(MASK) << 8, 4),
            Role::Client => (0, 0),
        };
        let kind = match head & 0x80FF ^ mask_bit {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return false,
        };
        let (len, key, header) = match head >> 8 & 0x7F {
            126 => {
                let len = ((head >> 16) as u16).swap_bytes();
                if usize::from(len) <= MAX_CONTROL {
                    return false;
                }
                (len, head >> 32, 4 + key_size)
            }
            127 => return false,
            len => (len as u16, head >> 16, 2 + key_size),
        };
        let key = if key_size == 0 { [0; 4] } else { (key as u32).to_le_bytes() };
        if len >= self.whole_below {
            return false;
        }
        let Some(payload) = input.short_payload(header, len.into()) else {
            return false;
        };
        if kind == Kind::Binary {
            mask::apply(payload, key);
        } else if !unmask_text(payload, key) {
            return false;
        }
        input.lend_short(kind, header, len.into());
        self.offset += header as u64 + u64::from(len);
        self.data = self.data.wrapping_add(len.into());
        self.cost = self.cost.wrapping_add(PROGRESS);
        true
    }

    /// Tells how much makes sense to be read where a header, or a frame that is small, is not there yet.
    fn want_next(&self, input: &mut RecvBuf, parts: bool) {
        if parts || self.compressed {
            return input.ahead().set_want(0);
        }
        match self.rest() {
            // In proportion to the message, else collecting a large one in small frames would move it
            // again and again.
            0 => input.ahead().set_want(self.message_len / 2),
            rest => input.ahead().expect(rest),
        }
    }

    /// How much of the message that is under way, or will begin, is still to come, if it takes what the last
    /// long one took; 0 where that cannot be.
    fn rest(&self) -> u64 {
        let taken = match self.message {
            Some(_) => (self.offset as u32).wrapping_sub(self.began),
            None => 0,
        };
        self.usual.saturating_sub(taken).into()
    }

    /// Reads a header. Each rule fires as soon as the bytes that decide it are there.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Rule> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // §5.2: no extension that was agreed on gives them a meaning, but for RSV1: it is set in the
        // first frame of a compressed message (RFC 7692 §6.2), and in no control frame (§6.1).
        let reserved = match self.peer {
            Some(_) if matches!(first & 0x0F, 0x1 | 0x2) => RSV & !RSV1,
            _ => RSV,
        };
        if first & reserved != 0 {
            return Err(Rule::ReservedBits);
        }
        let opcode = Opcode::of(first).ok_or(Rule::ReservedOpcode)?;
        let compressed = first & RSV1 != 0 || opcode == Opcode::Continuation && self.compressed;
        let fin = first & FIN != 0;
        if opcode.is_control() {
            if !fin {
                return Err(Rule::FragmentedControl);
            }
        } else {
            // §5.4
            match (opcode, self.message) {
                (Opcode::Continuation, None) => return Err(Rule::UnexpectedContinuation),
                (Opcode::Text | Opcode::Binary, Some(_)) => {
                    return Err(Rule::ExpectedContinuation);
                }
                _ => {}
            }
            let earned = self.message_len / 32;
            if u64::from(self.fragments)
                >= u64::from(self.config.get().max_fragments).saturating_add(earned)
            {
                return Err(Rule::TooManyFragments);
            }
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        // §5.1
        let masked = second & MASK != 0;
        match self.role {
            Role::Server if !masked => return Err(Rule::Unmasked),
            Role::Client if masked => return Err(Rule::Masked),
            _ => {}
        }
        if opcode.is_control() {
            match second & !MASK {
                1 if opcode == Opcode::Close => return Err(Rule::CloseLength),
                len if usize::from(len) > MAX_CONTROL => return Err(Rule::ControlTooLong),
                _ => {}
            }
        }
        // §5.2: "the most significant bit MUST be 0"; it is in the first of the eight bytes.
        if second & !MASK == 127 && bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
            return Err(Rule::LengthOverflow);
        }
        let Some(length) = Length::decode(bytes) else {
            return Ok(None);
        };
        // §5.2: "the minimal number of bytes MUST be used"
        if !length.is_minimal() {
            return Err(Rule::NonMinimalLength);
        }
        if !opcode.is_control() {
            if self.config.get().max_frame_size.is_some_and(|limit| length.value > limit) {
                return Err(Rule::FrameTooBig);
            }
            let limit = self.config.get().max_message_size;
            // Text that cannot be compressed grows a little; what is inflated is counted as it comes.
            let limit = if compressed { limit.saturating_add(limit / 8 + 1024) } else { limit };
            if self.message_len.saturating_add(length.value) > limit {
                return Err(Rule::MessageTooBig);
            }
        }
        let mut size = 2 + length.size;
        let mut key = [0; 4];
        if masked {
            let Some(&found) = bytes.get(size..).and_then(<[u8]>::first_chunk) else {
                return Ok(None);
            };
            key = found;
            size += key.len();
        }
        debug_assert!(size <= frame::MAX_HEADER);
        let len = length.value;
        Ok((bytes.len() >= size).then_some(Header { opcode, fin, compressed, len, key, size }))
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

    /// Inflates what has come of a compressed frame; whether there is an event before the end of it.
    fn inflate(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Stop> {
        let result = self.try_inflate(input, parts);
        if result.is_err() {
            // Where the frame was broken depends on where it was cut; where it began does not.
            self.offset = self.inflating.frame_offset();
        }
        result
    }

    fn try_inflate(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Stop> {
        let mut left = self.remaining.min(input.unread().len() as u64) as usize;
        // Fewer are there only if the buffer was exchanged.
        let unmasked = self.inflating.unmasked().min(left);
        let fresh = &mut input.unparsed_mut(left)[unmasked..];
        self.key = mask::apply_part(fresh, self.key);
        self.data = self.data.wrapping_add(fresh.len() as u32);
        loop {
            let inflated = self.inflating.inflated();
            let limit = self.config.get().max_message_size.saturating_sub(inflated);
            let allowance = self.inflating.allowance(self.message_len, &self.config);
            let most = limit.min(allowance);
            let growth = if parts { CHUNK as u64 } else { most };
            if self.config.get().budget.is_some()
                && let Some(size) = input.inflate_size(growth)
            {
                self.charge(size + self.inflating.kept())?;
            }
            let (source, room) = input.inflate_space(left, growth);
            // What is too much needs no room, but has to be seen.
            let mut beyond = [0];
            let target = match usize::try_from(most).unwrap_or(CHUNK).min(CHUNK) {
                0 => &mut beyond,
                most => {
                    let len = room.len().min(most);
                    &mut room[..len]
                }
            };
            let target_len = target.len();
            let Inflated { consumed, produced, broken } =
                self.inflating.inflate(source, target, self.fragments);
            if most == 0 && produced > 0 {
                let rule = if limit == 0 { Rule::MessageTooBig } else { Rule::InflateRatio };
                return Err(rule.into());
            }
            let before = input.unchecked();
            input.inflated(consumed, produced);
            self.no_progress(produced as u32);
            left -= consumed;
            self.inflating.set_unmasked(left);
            self.remaining -= consumed as u64;
            self.offset += consumed as u64;
            if produced > 0 {
                self.check_text(input, before, produced)?;
            }
            if let Some(rule) = broken {
                return Err(rule.into());
            }
            if self.skips(parts) {
                input.drop_message(self.held(input));
            } else if parts && input.assembled_len() >= CHUNK {
                return Ok(self.lend_part(input));
            }
            if left == 0 && produced < target_len {
                return Ok(false);
            }
            if consumed == 0 && produced == 0 {
                return Err(Rule::InvalidDeflate.into());
            }
        }
    }

    /// Lends what is assembled of the message under way, up to the last character; whether that is
    /// anything.
    fn lend_part(&mut self, input: &mut RecvBuf) -> bool {
        let Some(kind) = self.message else {
            return false;
        };
        if input.assembled_len() <= self.held(input) {
            return false;
        }
        input.lend_message(kind, self.lent == Lent::Nothing, false);
        self.lent = Lent::Parts;
        true
    }

    /// How many bytes at the end of what is assembled are held back, since they begin a character that is
    /// not complete.
    fn held(&self, input: &RecvBuf) -> usize {
        if self.message == Some(Kind::Text) { input.unchecked() } else { 0 }
    }

    /// Whether what came last of the message is skipped, because only parts of it were asked for.
    fn skips(&mut self, parts: bool) -> bool {
        if self.lent == Lent::Parts && !parts {
            self.lent = Lent::Skipped;
        }
        self.lent == Lent::Skipped
    }

    /// Checks the `n` bytes of text that were assembled last, with the `before` bytes before them that were
    /// not checked yet.
    fn check_text(&mut self, input: &mut RecvBuf, before: usize, n: usize) -> Result<(), Rule> {
        if self.message != Some(Kind::Text) {
            return Ok(());
        }
        let fresh = before + n;
        match utf8::check(input.assembled(input.assembled_len() - fresh)) {
            Checked::UpTo(end) => {
                input.set_unchecked(fresh - end);
                Ok(())
            }
            Checked::InvalidAt(at) => {
                self.offset += at.saturating_sub(before) as u64;
                Err(Rule::InvalidUtf8)
            }
        }
    }

    /// Ends the message that is under way; whether there is an event.
    fn finish(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Rule> {
        let taken = (self.offset as u32).wrapping_sub(self.began);
        let is_long = self.message_len >= LONG && !self.compressed;
        self.usual = if is_long { taken } else { 0 };
        if core::mem::take(&mut self.compressed) {
            self.inflating.finish()?;
        }
        if self.held(input) > 0 {
            return Err(Rule::InvalidUtf8);
        }
        let kind = self.message.take().unwrap_or(Kind::Binary);
        let lent = core::mem::take(&mut self.lent);
        self.message_len = 0;
        self.fragments = 0;
        self.cost = self.cost.wrapping_add(PROGRESS);
        let lend = lent == Lent::Nothing || lent == Lent::Parts && parts;
        if lend {
            input.lend_message(kind, lent == Lent::Nothing, true);
        } else {
            input.drop_message(0);
        }
        Ok(lend)
    }

    /// The input is used up.
    fn starved(&mut self, input: &mut RecvBuf, parts: bool) -> Progress {
        if self.message.is_some() {
            if parts && self.lent != Lent::Skipped && self.lend_part(input) {
                return Progress::Event;
            }
            if self.skips(parts) {
                input.drop_message(self.held(input));
            }
        }
        if input.is_eof() {
            self.give_up(End::PeerGone(self.truncation(input)));
            return Progress::Ended;
        }
        Progress::NeedInput
    }

    fn truncation(&self, input: &RecvBuf) -> Truncation {
        match self.stage {
            Stage::Data { .. } | Stage::Compressed { .. } | Stage::Control(..) => {
                Truncation::InPayload
            }
            Stage::Header if !input.unread().is_empty() => Truncation::InHeader,
            Stage::Header if self.message.is_some() => Truncation::InMessage,
            Stage::Header => Truncation::BetweenMessages,
        }
    }

    /// The peer's Close came: it answers ours, or is answered.
    ///
    /// RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame,
    /// the endpoint MUST send a Close frame in response."
    fn closed(
        &mut self,
        code: Option<CloseCode>,
        reason: String,
        close_sent: bool,
        replies: &mut Replies,
    ) {
        let initiator = if close_sent { Initiator::Local } else { Initiator::Remote };
        let (answer, said) = self.config.get().close_answer.to(code, &reason);
        self.give_up(End::Closed { initiator, code, reason });
        replies.close_with(CloseReply(answer), said);
    }

    /// Closes the connection from outside, since this side shuts down (§7.4.1).
    #[cfg(feature = "tokio")]
    pub(crate) fn go_away(&mut self, replies: &mut Replies) {
        if self.end().is_none() {
            replies.close(CloseReply(Some(CloseCode::GOING_AWAY)));
        }
    }

    /// The connection is over. How it ended first stays.
    pub(crate) fn give_up(&mut self, end: End) {
        self.whole_below = 0;
        self.beside.get_or_insert_default().end.get_or_insert(end);
    }

    /// Tells that the transport broke, for example by a reset: the peer is gone.
    pub fn transport_failed(&mut self, input: &RecvBuf) {
        let end = End::PeerGone(self.truncation(input));
        self.give_up(end);
    }

    /// When [`on_time`](Self::on_time) wants to be called, on the clock that `now` is read from; any
    /// clock that only goes forward will do. Ask each time before waiting: that is when timers start.
    /// `state` is [`Sender::state`](crate::Sender::state).
    ///
    /// A timeout of [`Duration::ZERO`] is over at once. [`Duration::MAX`] is never reached.
    pub fn deadline(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        state: SendState,
    ) -> Option<Duration> {
        let transfer = self.transfer_deadline(now, input, state);
        transfer.into_iter().chain(self.keepalive_deadline(now, state)).min()
    }

    /// Whether there is no [`deadline`](Self::deadline), unless Close was sent; then it need not be asked.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_at_rest(&mut self, input: &RecvBuf) -> bool {
        let is_at_rest = self.is_between(input) && self.beside.is_none();
        if is_at_rest {
            self.timer.clear();
        }
        is_at_rest
    }

    /// Of the close timeout or the progress timeout.
    fn transfer_deadline(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        state: SendState,
    ) -> Option<Duration> {
        let Some((awaits, timeout)) = self.awaits(input, state) else {
            self.timer.clear();
            return None;
        };
        let mark = match awaits {
            Awaits::Rest => self.progress(),
            Awaits::CloseLeft => state.taken,
            // Nothing prolongs it.
            Awaits::Close => self.timer_mark,
        };
        let has_moved = mark.wrapping_sub(self.timer_mark) >= PROGRESS;
        if !self.timer.is_set() || awaits != self.awaits || has_moved {
            self.timer.set(now);
            (self.awaits, self.timer_mark) = (awaits, mark);
        }
        self.timer.deadline(timeout)
    }

    /// What is waited for, and how long at most.
    fn awaits(&self, input: &RecvBuf, state: SendState) -> Option<(Awaits, Duration)> {
        let settings = self.config.get();
        if self.end().is_some() {
            return None;
        }
        if let Some(timeout) = settings.close_timeout.filter(|_| state.close_sent) {
            // Before our Close has left, the peer cannot answer it: the send timeout holds.
            if state.close_left {
                return Some((Awaits::Close, timeout));
            } else if settings.send_timeout.is_none() {
                return Some((Awaits::CloseLeft, timeout));
            }
        }
        let has_begun = self.message.is_some()
            || !matches!(self.stage, Stage::Header)
            || !input.unread().is_empty();
        settings.progress_timeout.filter(|_| has_begun).map(|timeout| (Awaits::Rest, timeout))
    }

    fn keepalive_deadline(&mut self, now: Duration, state: SendState) -> Option<Duration> {
        // After our Close the peer need not answer pings, and the close timeout holds.
        if state.close_sent || self.end().is_some() {
            return None;
        }
        let (data, progress) = (self.data, self.progress());
        let keepalive = Beside::keepalive(&mut self.beside)?;
        keepalive.deadline(self.config.get(), now, data, progress, state)
    }

    /// Ends the connection, or pings or closes it, if its [`deadline`](Self::deadline) is reached; else
    /// does nothing. A ping or Close is added to `replies`.
    pub fn on_time(
        &mut self,
        now: Duration,
        input: &RecvBuf,
        replies: &mut Replies,
        state: SendState,
    ) {
        let transfer = self.transfer_deadline(now, input, state);
        if transfer.is_some_and(|at| clock::is_reached(at, now)) {
            let timeout = match self.awaits {
                Awaits::Close | Awaits::CloseLeft => Timeout::Close,
                Awaits::Rest => {
                    replies.close(CloseReply(Some(CloseCode::POLICY_VIOLATION)));
                    Timeout::Progress
                }
            };
            self.give_up(End::TimedOut(timeout));
        }
        let keepalive = self.keepalive_deadline(now, state);
        if !keepalive.is_some_and(|at| clock::is_reached(at, now)) {
            return;
        }
        let Some(keepalive) = Beside::keepalive(&mut self.beside) else {
            return;
        };
        match keepalive.due(self.config.get(), now, self.data) {
            Due::Nothing => {}
            Due::Ping(payload) => replies.ping(payload),
            Due::Idle => replies.close(CloseReply(Some(CloseCode::GOING_AWAY))),
            Due::Dead => {
                replies.close(CloseReply(Some(CloseCode::POLICY_VIOLATION)));
                self.give_up(End::TimedOut(Timeout::Keepalive));
            }
        }
    }

    /// How long the peer took for its last pong to a ping of keepalive; `None` before there was one.
    ///
    /// It is the time from when the ping left to the first wait after its pong. So it is what the network
    /// took, or more if we were slow.
    pub fn round_trip(&self) -> Option<Duration> {
        self.beside.as_ref()?.keepalive.as_ref()?.round_trip()
    }

    pub(crate) fn seed_keepalive(&mut self, seed: &[u8; 32]) {
        if let Some(keepalive) = Beside::keepalive(&mut self.beside) {
            keepalive.seed(seed);
        }
    }

    /// What is still to be done with the socket, once the connection has ended.
    pub fn leave(&self) -> Leave {
        let timeout = self.config.get().close_timeout;
        match (self.end(), self.role) {
            // §7.1.1: the server closes first, at once; the client waits for that.
            (Some(End::Closed { .. }), Role::Client) => Leave::after_peer(timeout),
            (Some(End::Failed(_) | End::OverBudget | End::TimedOut(Timeout::Progress)), _) => {
                Leave::discarding(timeout)
            }
            // A peer that answers no ping would only be waited for: Close goes out if the socket takes it now.
            (Some(End::TimedOut(Timeout::Keepalive)), _) => Leave::without_waiting(),
            // There is nobody who would read.
            (Some(End::PeerGone(_) | End::TimedOut(Timeout::Send | Timeout::Close)), _) => {
                Leave::without_sending(timeout)
            }
            _ => Leave::at_once(timeout),
        }
    }

    /// The former name of [`leave`](Self::leave).
    #[deprecated(note = "use `leave`, which says each step")]
    #[doc(hidden)]
    pub fn linger(&self) -> Leave {
        self.leave()
    }
}

/// Reads a Close frame's payload (§5.5.1). The header has already refused a length of one.
fn close_payload(payload: &[u8]) -> Result<(Option<CloseCode>, String), Rule> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Ok((None, String::new()));
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_sendable() {
        return Err(Rule::CloseCode);
    }
    match core::str::from_utf8(reason) {
        Ok(reason) => Ok((Some(code), reason.into())),
        Err(_) => Err(Rule::CloseReason),
    }
}

/// Unmasks a whole text; or leaves it as it is, if it is none, for `run` to find what is wrong.
#[inline(never)]
fn unmask_text(payload: &mut [u8], key: [u8; 4]) -> bool {
    mask::apply(payload, key);
    if utf8::check(payload) == Checked::UpTo(payload.len()) {
        return true;
    }
    mask::apply(payload, key);
    false
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    std::thread_local! {
        /// How many pongs were looked at.
        pub(super) static READ: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn the_work_for_a_ping_does_not_grow_with_the_pongs_that_wait() {
        for limit in [0, 4_096, 1 << 20] {
            let config = Config::default().max_pending_pongs(limit);
            let mut replies = Replies::default();
            let before = READ.get();
            for n in 0..10_000_usize {
                replies.pong(&[7; 125][..n % 126], &config);
                let _ = replies.pongs_len();
            }
            assert_eq!(READ.get() - before, 0, "each pong is looked at once, when it is sent");
            let mut sent = 0;
            let len = replies.pongs_len();
            replies.take_pongs(|_, payload| sent += payload.len() + 6);
            assert_eq!(len, Some(sent), "the count is right");
        }
    }
}
