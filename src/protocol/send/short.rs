//! The short way of sending: a whole message of less than 64 KiB, not compressed, into the first buffer.
//!
//! It decides no rule. It takes only what the long way, [`Sender::send_long`], would take, and writes the same
//! bytes. This is what it looks at, and where the long way decides the same:
//!
//! | looks at | stands for | decided in |
//! |---|---|---|
//! | type: text or binary | RFC 6455 §5.5: control frames have "125 bytes or less" | `Sender::admit` |
//! | length 0 to 125 | §5.2: 7 bits | `frame::encode` |
//! | length 126 to 65,535 | §5.2: 16 bits, since "the minimal number of bytes MUST be used" | `frame::encode` |
//! | longer | §5.2: 64 bits | left to `frame::encode` |
//! | `private` | §5.1, §5.3: "the client MUST pick a fresh masking key" for each frame | `Sender::key` |
//! | gate: nothing was closed | §5.5.1: no data frames "after sending a Close frame" | `Sender::has_room` |
//! | gate: no message is open | §5.4: fragments "MUST NOT be interleaved" | `Sender::admit` |
//! | gate: no compression | RFC 7692 §6.1: the first frame of a compressed message is marked | `Sender::compresses` |
//! | gate: bytes that wait | `max_send_queue` | `Sender::has_room` |
//! | gate: bytes that wait | `memory_budget` (§10.4), which is free below 4 KiB | `Sender::afford` |

use rand::Rng;
use rand::rngs::StdRng;

use super::stats::Private;
use super::{OpenFor, SHARE_FROM, Sender};
use crate::memory::budget::FREE;
use crate::memory::send_buf::{Head, SendBuf};
use crate::protocol::frame::{self, Opcode};
use crate::protocol::mask;
use crate::protocol::message::{Message, MessageRef};

/// What the short way may take: all rules that depend on the state of the sender, in one number.
///
/// The long way keeps it up to date: all code that changes such a state calls [`Sender::set_gate`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gate(u32);

impl Gate {
    /// Admits nothing.
    pub(super) const SHUT: Self = Self(0);

    /// Admits a queue that stays below this many bytes.
    pub(super) fn open(below: usize) -> Self {
        Self(u32::try_from(below).unwrap_or(u32::MAX))
    }

    #[inline]
    fn admits(self, queue: usize) -> bool {
        queue < self.0 as usize
    }
}

impl Sender {
    /// Opens or shuts the short way, after a change of a state that its [`Gate`] stands for.
    pub(super) fn set_gate(&mut self) {
        let is_open = self.side.is_none() && self.open.is_none() && !self.is_closed();
        self.gate = if is_open { Gate::open(self.config.get().send_mark) } else { Gate::SHUT };
    }

    /// Whether the message went the short way.
    #[inline]
    pub(crate) fn send_short(&mut self, message: MessageRef<'_>, out: &mut SendBuf) -> bool {
        let opcode = match message {
            MessageRef::Text(_) => Opcode::Text,
            MessageRef::Binary(_) => Opcode::Binary,
            _ => return false,
        };
        let payload = message.as_bytes();
        let Ok(len) = u16::try_from(payload.len()) else {
            return false;
        };
        let Some(waiting) = out.waiting_in_head() else {
            return false;
        };
        if !self.gate.admits(waiting + payload.len()) {
            return false;
        }
        self.assert_admitted(&message, out);
        let Some(head) = out.head_with_room(frame::ROOM + payload.len()) else {
            return false;
        };
        match &mut self.private {
            Some(private) if private.counts.is_some() => {
                append_counted(head, opcode, len, payload, private);
            }
            Some(private) => append_masked(head, opcode, len, payload, &mut private.keys),
            None => append_plain(head, opcode, len, payload),
        }
        true
    }

    /// Whether the message went the short way. A large payload does not: the long way queues it by reference.
    #[inline]
    pub(crate) fn send_short_owned(&mut self, message: &Message, out: &mut SendBuf) -> bool {
        let borrowed = message.borrow();
        borrowed.as_bytes().len() < SHARE_FROM && self.send_short(borrowed, out)
    }

    /// Checks one by one what the gate stands for.
    #[inline]
    fn assert_admitted(&self, message: &MessageRef<'_>, out: &SendBuf) {
        debug_assert!(self.open_for == OpenFor::All && self.open.is_none());
        debug_assert!(!self.compresses(message.opcode(), message.as_bytes().len()));
        debug_assert!(self.admit(message, out).is_ok());
        debug_assert!(
            self.config.get().budget.is_none() || out.len() + message.as_bytes().len() < FREE
        );
    }
}

/// Checks that the short header is the same as that of the long way.
#[inline]
fn assert_same_header(
    (bytes, size): ([u8; 8], usize),
    opcode: Opcode,
    len: u16,
    key: Option<[u8; 4]>,
) {
    debug_assert_eq!(&bytes[..size], frame::encode(true, false, opcode, len.into(), key).bytes());
}

#[inline(always)]
fn append_plain(head: &mut Head, opcode: Opcode, len: u16, payload: &[u8]) {
    let header = frame::encode_short(opcode, len, None);
    assert_same_header(header, opcode, len, None);
    head.append(header, |queue| queue.extend_from_slice(payload));
}

/// A function of its own: with both ways inlined, `send_short` needs more registers than there are.
#[inline(never)]
fn append_masked(head: &mut Head, opcode: Opcode, len: u16, payload: &[u8], keys: &mut StdRng) {
    let key = keys.next_u32().to_ne_bytes();
    let header = frame::encode_short(opcode, len, Some(key));
    assert_same_header(header, opcode, len, Some(key));
    head.append(header, |queue| mask::append(queue, payload, key));
}

/// For a client or a server that counts. A count in `append_masked` would cost each client 20 instructions.
#[inline(never)]
fn append_counted(
    head: &mut Head,
    opcode: Opcode,
    len: u16,
    payload: &[u8],
    private: &mut Private,
) {
    if private.masks() {
        append_masked(head, opcode, len, payload, &mut private.keys);
    } else {
        append_plain(head, opcode, len, payload);
    }
    private.count_short(len, head.len());
}
