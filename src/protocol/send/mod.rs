//! The sending half: messages to frames, masking, Close (RFC 6455 §5.1 to §5.5), compression
//! (RFC 7692 §6.1).

mod frames;
mod raw;
mod short;
mod stats;
mod vectored;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::memory::budget::FREE;
use crate::memory::send_buf::SendBuf;
use crate::protocol::clock::{self, Timer};
use crate::protocol::close::{self, CloseCode};
use crate::protocol::config::Config;
use crate::protocol::deflate::{Deflating, Side};
use crate::protocol::error::{Refused, SendError, Shut};
use crate::protocol::frame::{self, MAX_CONTROL, Opcode};
use crate::protocol::mask;
use crate::protocol::message::{Message, MessageRef};
use crate::protocol::prepared::Prepared;
use crate::protocol::replies::{CloseReply, Replies};
use crate::protocol::send_state::SendState;
use short::Gate;
use stats::Private;
use vectored::Rest;

pub use vectored::Vectored;

/// An owned payload of at least this size is queued by reference, not copied.
const SHARE_FROM: usize = 16 << 10;

/// A prepared frame of at least this size is queued by reference. A copy of a smaller one is cheaper.
const SHARE_PREPARED_FROM: usize = 1 << 10;

/// While bytes wait, the peer must take this many in every send timeout, or all that waited. Receiving asks
/// for as many in every progress timeout. If any byte were progress, a peer could hold a full queue for days.
const PROGRESS: u32 = 1 << 10;

/// Messages in, frames out: the sending half of a [`Connection`](crate::Connection).
pub struct Sender {
    config: Config,
    /// The masking keys of a client, and what was counted. Boxed: most servers have none of it.
    private: Option<Box<Private>>,
    /// The type of the message that is being sent in parts.
    open: Option<Opcode>,
    /// Whether it is compressed.
    open_compressed: bool,
    /// How to compress, if that was agreed on.
    side: Option<Side>,
    deflating: Deflating,
    /// Whether the user wants messages to be compressed.
    compression: bool,
    close_sent: bool,
    open_for: OpenFor,
    /// What the short way may take.
    gate: Gate,
    /// When the peer last made progress, if bytes wait for it.
    timer: Timer,
    /// How many bytes will have left at the next progress; wraps.
    timer_mark: u32,
    /// How many pings of keepalive were queued; wraps.
    pings: u8,
}

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenFor {
    All,
    /// Our Close was sent, and the peer's has not come (RFC 6455 §5.5.2).
    Pongs,
    Nothing,
}

impl Sender {
    pub(crate) fn client(config: Config, mask_seed: [u8; 32], side: Option<Side>) -> Self {
        Self::new(config, Some(mask_seed), side)
    }

    pub(crate) fn server(config: Config, side: Option<Side>) -> Self {
        Self::new(config, None, side)
    }

    fn new(config: Config, mask_seed: Option<[u8; 32]>, side: Option<Side>) -> Self {
        let mut sender = Self {
            private: Private::new(mask_seed, config.get().stats),
            config,
            open: None,
            open_compressed: false,
            side,
            deflating: Deflating::default(),
            compression: true,
            close_sent: false,
            open_for: OpenFor::All,
            gate: Gate::SHUT,
            timer: Timer::default(),
            timer_mark: 0,
            pings: 0,
        };
        sender.set_gate();
        sender
    }

    /// Queues a message as one frame, or a ping or pong. The payload is copied.
    ///
    /// Replies of the receiving half, such as pongs, leave only with [`answer`](Self::answer). A program that
    /// sends for long without receiving does not see the peer's pings, and answers none.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    #[inline]
    pub fn send<'a>(
        &mut self,
        message: impl Into<MessageRef<'a>>,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let message = message.into();
        if self.send_short(message, out) {
            return Ok(());
        }
        self.send_long(message, out)
    }

    #[inline(never)]
    pub(crate) fn send_long(
        &mut self,
        message: MessageRef<'_>,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        self.admit(&message, out)?;
        self.afford(message.as_bytes().len(), out)?;
        self.message_frame(message.opcode(), message.as_bytes(), out);
        Ok(())
    }

    /// Like [`send`](Self::send), but a payload of 16 KiB or more is not copied. A server queues it by
    /// reference. A client masks it in place if this is the only reference to it.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal), with the message.
    #[inline]
    pub fn send_owned(&mut self, message: Message, out: &mut SendBuf) -> Result<(), SendError> {
        if self.send_short_owned(&message, out) {
            return Ok(());
        }
        self.send_long_owned(message, out)
    }

    #[inline(never)]
    pub(crate) fn send_long_owned(
        &mut self,
        message: Message,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let admitted = self.admit(&message.borrow(), out);
        if let Err(refused) = admitted.and_then(|()| self.afford(message.as_bytes().len(), out)) {
            return Err(SendError::new(refused, Some(message)));
        }
        let opcode = message.borrow().opcode();
        let payload = message.into_bytes();
        let is_copied = payload.len() < SHARE_FROM || !self.fits_a_frame(payload.len(), false);
        if is_copied || self.compresses(opcode, payload.len()) {
            self.message_frame(opcode, &payload, out);
            return Ok(());
        }
        let key = self.key();
        let payload = match key {
            None => payload,
            Some(key) => match payload.try_into_mut() {
                Ok(mut payload) => {
                    mask::apply(&mut payload, key);
                    payload.freeze()
                }
                Err(shared) => {
                    let mut payload = Vec::with_capacity(shared.len());
                    mask::append(&mut payload, &shared, key);
                    Bytes::from(payload)
                }
            },
        };
        let len = payload.len();
        let header = frame::encode(true, false, opcode, len as u64, key);
        out.append_shared(header.bytes(), payload);
        self.count((true, opcode), len, header.bytes().len() + len, out);
        Ok(())
    }

    /// Like [`send`](Self::send), but a server's payload is not copied: write the
    /// [`slices`](Vectored::slices) with one vectored write. When the value is dropped, the bytes that were not
    /// written are copied to `out`. A client copies the payload, because it masks it. So does compression.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_borrowed<'a>(
        &mut self,
        message: impl Into<MessageRef<'a>>,
        out: &'a mut SendBuf,
    ) -> Result<Vectored<'a>, SendError> {
        let message = message.into();
        self.admit(&message, out)?;
        let payload = message.as_bytes();
        self.afford(payload.len(), out)?;
        let is_copied = self.masks() || !self.fits_a_frame(payload.len(), false);
        let rest = if is_copied || self.compresses(message.opcode(), payload.len()) {
            self.message_frame(message.opcode(), payload, out);
            &[]
        } else {
            let header = frame::encode(true, false, message.opcode(), payload.len() as u64, None);
            out.append(|buffer| header.append_to(buffer));
            let wire = header.bytes().len() + payload.len();
            self.count((true, message.opcode()), payload.len(), wire, out);
            payload
        };
        let budget = self.config.get().budget.as_ref().filter(|_| rest.len() >= FREE).cloned();
        Ok(Vectored { out, rest: Rest::Lent(rest), budget })
    }

    /// Like [`send`](Self::send) for a message that goes to many connections. A server queues the one frame
    /// by reference if it has 1 KiB or more.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_prepared(
        &mut self,
        message: &Prepared,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let borrowed = message.message().borrow();
        self.admit(&borrowed, out)?;
        // This comes before the frame is made: once a compressed frame is made, the window has the message.
        let len = borrowed.as_bytes().len();
        let is_shared = self.shares(message) && len >= SHARE_PREPARED_FROM;
        self.afford(if is_shared { 0 } else { len }, out)?;
        let Some(frame) = self.frame_of(message) else {
            self.message_frame(borrowed.opcode(), borrowed.as_bytes(), out);
            return Ok(());
        };
        let wire = frame.len();
        if wire < SHARE_PREPARED_FROM {
            out.append(|buffer| buffer.extend_from_slice(&frame));
        } else {
            out.append_common(frame);
        }
        self.count((true, borrowed.opcode()), len, wire, out);
        Ok(())
    }

    /// Like [`send_prepared`](Self::send_prepared), for one vectored write. The bytes that the write does not take
    /// are queued. A server queues them by reference, whatever the size of the frame.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_prepared_borrowed<'a>(
        &mut self,
        message: &Prepared,
        out: &'a mut SendBuf,
    ) -> Result<Vectored<'a>, SendError> {
        if !self.shares(message) {
            self.send_prepared(message, out)?;
            return Ok(Vectored { out, rest: Rest::Lent(&[]), budget: None });
        }
        self.admit(&message.message().borrow(), out)?;
        self.afford(0, out)?;
        let frame = self.frame_of(message).unwrap_or_default();
        let borrowed = message.message().borrow();
        self.count((true, borrowed.opcode()), borrowed.as_bytes().len(), frame.len(), out);
        Ok(Vectored { out, rest: Rest::Common(frame), budget: None })
    }

    /// Whether this queue can share the frame of the message with others. A client masks each frame with another key,
    /// and each connection may have another limit for its frames.
    fn shares(&self, message: &Prepared) -> bool {
        let borrowed = message.message().borrow();
        let len = borrowed.as_bytes().len();
        !self.masks() && self.fits_a_frame(len, self.compresses(borrowed.opcode(), len))
    }

    fn frame_of(&mut self, message: &Prepared) -> Option<Bytes> {
        let borrowed = message.message().borrow();
        let (opcode, payload) = (borrowed.opcode(), borrowed.as_bytes());
        match self.side {
            _ if !self.shares(message) => None,
            Some(side) if self.compresses(opcode, payload.len()) => {
                self.deflating.sent_alone(side, payload);
                Some(message.compressed(side, |frame| {
                    Deflating::deflate_alone(side, payload, &self.config, frame);
                }))
            }
            _ => Some(message.frame().clone()),
        }
    }

    /// Queues a part of a message as one fragment (RFC 6455 §5.4). The length of the message need not be known.
    /// The first part begins a message of its type. The part with `last` ends it, and may be empty. Pings,
    /// pongs and Close may be sent between parts.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued, and the message stays open.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let part = part.into();
        let opcode = part.opcode();
        if opcode.is_control() || self.open.is_some_and(|open| open != opcode) {
            return Err(Refused::PartMismatch.into());
        }
        self.has_room(part.as_bytes().len(), out)?;
        self.afford(part.as_bytes().len(), out)?;
        let continues = self.open.is_some();
        if !continues {
            self.open_compressed = self.compression && self.side.is_some();
        }
        self.open = if last { None } else { Some(opcode) };
        self.set_gate();
        let opcode = if continues { Opcode::Continuation } else { opcode };
        if self.open_compressed {
            self.compressed_frame(last, opcode, part.as_bytes(), out);
        } else {
            self.frame(last, opcode, part.as_bytes(), out);
        }
        Ok(())
    }

    /// How this side compresses, if that was agreed on.
    #[cfg(feature = "deflate")]
    pub(crate) fn side(&self) -> Option<Side> {
        self.side
    }

    /// Whether a message is being sent in parts, and its last part was not. Until then, other messages are refused.
    pub fn is_message_open(&self) -> bool {
        self.open.is_some()
    }

    /// Sets whether messages that begin from now on are compressed, if that was agreed on. By default they are.
    /// Turn it off for a message that has both a secret and text that an attacker chooses: the compressed size
    /// would tell about the secret.
    pub fn set_compression(&mut self, on: bool) {
        self.compression = on;
    }

    /// Queues a Close frame. Nothing can be sent after it. RFC 6455 §5.5.1: "The application MUST NOT send any more
    /// data frames after sending a Close frame." Messages that the peer sent before its own Close can still be
    /// received.
    ///
    /// [`CloseCode::NO_STATUS`] with an empty reason sends a Close frame without a body.
    ///
    /// # Errors
    ///
    /// [`Refusal::CloseCode`](crate::Refusal::CloseCode),
    /// [`Refusal::CloseReasonTooLong`](crate::Refusal::CloseReasonTooLong), or
    /// [`Refusal::Closed`](crate::Refusal::Closed) if Close was sent already.
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let code = close::body(code.into(), reason)?;
        if self.is_closed() {
            return Err(self.is_shut().into());
        }
        self.close(code, reason, out);
        Ok(())
    }

    /// Queues what the receiving half owes the peer. Pongs may stay in `replies` while earlier ones wait in
    /// `out`: that bounds them. Call it again when `out` is empty.
    pub fn answer(&mut self, replies: &mut Replies, out: &mut SendBuf) {
        if let Some(len) = replies.pongs_len()
            // Half of the limit may be in the queue, and half in `replies`.
            && (out.is_empty()
                // After our Close, the mark stays at the Close.
                || !(out.has_marked() || self.close_sent)
                || out.len() + len <= self.config.get().max_pending_pongs / 2
                // Nothing follows a Close, so the pongs before it need not wait to stay bounded.
                || replies.has_close())
        {
            let closes = replies.has_close();
            replies.take_pongs(|opcode, payload| {
                let is_ping = opcode == Opcode::Ping;
                let goes = match self.open_for {
                    // A peer that gets a Close needs no ping any more.
                    OpenFor::All => !(closes && is_ping),
                    // RFC 6455 §5.5.2: a pong, "unless it already received a Close frame". `closes` says whether.
                    OpenFor::Pongs => !closes && !is_ping,
                    OpenFor::Nothing => false,
                };
                if goes {
                    self.frame(true, opcode, payload, out);
                    self.pings = self.pings.wrapping_add(u8::from(is_ping));
                }
            });
            if !self.close_sent {
                out.mark();
            }
        }
        if let Some((CloseReply(code), reason)) = replies.take_close()
            && !self.is_closed()
        {
            self.close(code, &reason, out);
        }
    }

    /// Whether messages are compressed, if that was agreed on: what [`set_compression`](Self::set_compression) set
    /// last.
    pub fn compression(&self) -> bool {
        self.compression
    }

    /// Whether Close was queued.
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// How far sending has come. [`Receiver::deadline`](crate::Receiver::deadline) and
    /// [`Receiver::on_time`](crate::Receiver::on_time) have to know it.
    pub fn state(&self, out: &SendBuf) -> SendState {
        let has_left = !out.has_marked();
        SendState {
            close_sent: self.close_sent,
            close_left: self.close_sent && has_left && !out.is_buffered(),
            is_waiting: !out.is_empty() || out.is_buffered(),
            pings: self.pings.wrapping_sub(u8::from(!has_left)),
            taken: out.left(),
        }
    }

    /// Refuses all that would be sent from now on: the connection has ended.
    pub fn shut(&mut self) {
        self.open_for = OpenFor::Nothing;
        self.set_gate();
    }

    /// Whether everything would be refused: Close was queued or the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.open_for != OpenFor::All
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

    /// When the peer must have taken enough of the bytes that wait in `out`: 1 KiB, or all that waited when the
    /// period began. Ask each time before waiting: that is when the timer starts. The clock is as in
    /// [`Receiver::deadline`](crate::Receiver::deadline).
    ///
    /// Bytes that the stream itself holds back ([`SendBuf::set_buffered`]) wait too.
    pub fn deadline(&mut self, now: Duration, out: &SendBuf) -> Option<Duration> {
        self.observe(now, out);
        let waits = !out.is_empty() || out.is_buffered();
        let Some(timeout) = self.config.get().send_timeout.filter(|_| waits) else {
            self.timer.clear();
            return None;
        };
        let missing = self.timer_mark.wrapping_sub(out.left());
        if !self.timer.is_set() || !(1..=PROGRESS).contains(&missing) {
            self.timer.set(now);
            let step = u32::try_from(out.len()).unwrap_or(PROGRESS).clamp(1, PROGRESS);
            self.timer_mark = out.left().wrapping_add(step);
        }
        self.timer.deadline(timeout)
    }

    /// Whether the [`deadline`](Self::deadline) is reached: the connection is over, with
    /// [`Timeout::Send`](crate::Timeout::Send).
    pub fn is_stalled(&mut self, now: Duration, out: &SendBuf) -> bool {
        self.deadline(now, out).is_some_and(|at| clock::is_reached(at, now))
    }

    #[inline]
    fn admit(&self, message: &MessageRef<'_>, out: &SendBuf) -> Result<(), Refused> {
        self.has_room(message.as_bytes().len(), out)?;
        if message.opcode().is_control() {
            if message.as_bytes().len() > MAX_CONTROL {
                return Err(Refused::ControlTooLong(Refused::number(message.as_bytes().len())));
            }
        } else if self.open.is_some() {
            return Err(Refused::MessageOpen);
        }
        Ok(())
    }

    /// Why nothing is sent any more.
    #[cold]
    fn is_shut(&self) -> Refused {
        Refused::Closed(if self.close_sent { Shut::CloseSent } else { Shut::Ended })
    }

    #[inline]
    fn has_room(&self, len: usize, out: &SendBuf) -> Result<(), Refused> {
        if self.is_closed() {
            Err(self.is_shut())
        } else if !queue_has_room(out.len(), len, self.config.get().max_send_queue) {
            Err(Refused::QueueFull(Refused::number(self.config.get().max_send_queue)))
        } else {
            Ok(())
        }
    }

    /// Whether the memory budget has room for `len` bytes more.
    #[inline]
    fn afford(&self, len: usize, out: &mut SendBuf) -> Result<(), Refused> {
        if len < FREE && out.len() < self.config.get().send_mark {
            return Ok(());
        }
        match &self.config.get().budget {
            Some(budget) if !out.charge(budget, len) => Err(Refused::OverBudget),
            _ => Ok(()),
        }
    }
}

/// Whether a queue in which `waiting` bytes wait takes a message of `len` bytes. If there is any room, it takes the
/// whole message, unless the sum is too large to count. One payload can be queued many times by reference.
#[inline]
fn queue_has_room(waiting: usize, len: usize, max_send_queue: usize) -> bool {
    const MOST: usize = isize::MAX as usize;
    waiting < max_send_queue && (waiting == 0 || waiting < MOST.saturating_sub(len))
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key generator's state.
        f.debug_struct("Sender")
            .field("close_sent", &self.close_sent)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::queue_has_room;

    #[test]
    fn a_queue_never_holds_more_than_can_be_counted() {
        let most = isize::MAX as usize;
        assert!(queue_has_room(0, most, 1));
        assert!(!queue_has_room(1, 0, 1));
        assert!(queue_has_room(99, most - 100, 100));
        assert!(!queue_has_room(100, 0, 100));
        assert!(queue_has_room(99, most - 100, usize::MAX));
        assert!(!queue_has_room(100, most - 100, usize::MAX));
        assert!(!queue_has_room(most, 0, usize::MAX));
    }
}
