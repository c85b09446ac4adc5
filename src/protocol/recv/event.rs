//! Gives what a buffer lends as messages (RFC 6455 §5.6).

use crate::memory::recv_buf::{Kind, RecvBuf};
use crate::protocol::message::{Message, MessageRef, Part, Text};
use crate::protocol::utf8;

impl RecvBuf {
    /// What the last `advance` found.
    #[inline]
    pub fn event(&self) -> Option<MessageRef<'_>> {
        let (kind, bytes) = self.lent()?;
        Some(match kind {
            // SAFETY: of a text, `lent` gives only what was checked in this buffer. Nothing writes to it while
            // the event lasts.
            #[allow(unsafe_code)]
            Kind::Text => MessageRef::Text(unsafe { utf8::trusted(bytes) }),
            Kind::Binary => MessageRef::Binary(bytes),
            Kind::Ping => MessageRef::Ping(bytes),
            Kind::Pong => MessageRef::Pong(bytes),
        })
    }

    /// What the last [`advance_parts`](crate::Connection::advance_parts) found.
    pub fn part(&self) -> Option<Part<'_>> {
        let (first, last) = self.lent_ends();
        Some(Part { payload: self.event()?, first, last })
    }

    /// Takes the event as an owned message, and ends the event. A payload of up to 4 KiB is copied. A larger one
    /// takes the buffer itself, if it fills most of it. So a message holds at most twice its size.
    #[inline(always)]
    pub fn take_event(&mut self) -> Option<Message> {
        let (kind, payload) = self.take_lent()?;
        Some(match kind {
            // SAFETY: as in `event`. The bytes never change from here on.
            #[allow(unsafe_code)]
            Kind::Text => Message::Text(unsafe { Text::trusted(payload) }),
            Kind::Binary => Message::Binary(payload),
            Kind::Ping => Message::Ping(payload),
            Kind::Pong => Message::Pong(payload),
        })
    }
}
