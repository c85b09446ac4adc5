//! What receiving owes the peer: pongs, a ping of keepalive, one Close (RFC 6455 §5.5).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::protocol::close::CloseCode;
use crate::protocol::config::Config;
use crate::protocol::frame::{MAX_CONTROL, Opcode};
use crate::protocol::keepalive::PING;

/// What the receiving half owes the peer: automatic pongs, a ping of keepalive, and one Close.
///
/// The receiving half of a split connection hands it to the sending half. [`Config::max_pending_pongs`] bounds
/// it.
#[derive(Debug, Default)]
pub struct Replies(Option<Box<Owed>>);

/// Never empty: if nothing is owed, there is no `Owed`.
#[derive(Default)]
struct Owed {
    pongs: Pongs,
    ping: Option<[u8; PING]>,
    close: Option<CloseReply>,
    /// The reason in that Close. Only the answer to the peer's Close has one.
    reason: String,
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

/// Payloads, each after one byte with its length.
#[derive(Default)]
struct Pongs {
    bytes: Vec<u8>,
    /// Where the last one begins.
    last: usize,
    /// How many there are. To count them again for each ping would cost the peer nothing, and us much.
    count: usize,
}

/// A Close frame to send. Without a code it has no body.
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

    pub(crate) fn pong(&mut self, payload: &[u8], config: &Config) {
        self.0.get_or_insert_default().pongs.push(payload, config);
    }

    pub(crate) fn ping(&mut self, payload: [u8; PING]) {
        self.0.get_or_insert_default().ping = Some(payload);
    }

    pub(crate) fn close(&mut self, reply: CloseReply) {
        self.close_with(reply, String::new());
    }

    pub(crate) fn close_with(&mut self, reply: CloseReply, reason: String) {
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

impl fmt::Debug for Pongs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.payloads().map(<[u8]>::len)).finish()
    }
}

impl Pongs {
    /// Half of the limit may wait here. The other half is for pongs in the `SendBuf`.
    fn push(&mut self, payload: &[u8], config: &Config) {
        // There must be room for the longest pong, so that any pong can replace the last one.
        if self.wire_len() + MAX_CONTROL + 6 > config.get().max_pending_pongs / 2 {
            // RFC 6455 §5.5.3: "the endpoint MAY elect to send a Pong frame for only the most recently processed
            // Ping frame."
            self.bytes.truncate(self.last);
            self.count = self.count.saturating_sub(1);
        }
        self.count += 1;
        self.last = self.bytes.len();
        self.bytes.push(payload.len() as u8);
        self.bytes.extend_from_slice(payload);
    }

    /// The bytes on the wire. There, each pong has a header of at most six bytes in place of the byte of length.
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
