//! Counts what is sent, if [`Config::stats`](crate::Config::stats) is on.

use alloc::boxed::Box;
use core::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Sender;
use crate::memory::send_buf::SendBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::frame::{MAX_CONTROL, Opcode};
use crate::protocol::stats::{Counts, Stats};

/// What a client has, and a server only if it counts.
pub(super) struct Private {
    /// A client's masking keys come from a CSPRNG (RFC 6455 §5.3, §10.3). A server does not use them.
    pub(super) keys: StdRng,
    /// In an allocation of their own, so that the one of a client stays in its size class.
    pub(super) counts: Option<Box<Sent>>,
}

impl Private {
    /// `seed`: a client's. `None`: nothing of this is needed.
    pub(super) fn new(seed: Option<[u8; 32]>, counts: bool) -> Option<Box<Self>> {
        if seed.is_none() && !counts {
            return None;
        }
        let sent = Sent { masks: seed.is_some(), ..Sent::default() };
        let keys = StdRng::from_seed(seed.unwrap_or_default());
        Some(Box::new(Self { keys, counts: counts.then(|| Box::new(sent)) }))
    }

    /// Whether this side is a client.
    pub(super) fn masks(&self) -> bool {
        self.counts.as_ref().is_none_or(|sent| sent.masks)
    }

    /// Counts a message of `len` bytes that went the short way, after which `queued` bytes wait.
    #[inline(always)]
    pub(super) fn count_short(&mut self, len: u16, queued: usize) {
        if let Some(sent) = &mut self.counts {
            sent.short.messages += 1;
            sent.short.payload += u64::from(len);
            sent.short.of_16_bits += u64::from(usize::from(len) > MAX_CONTROL);
            sent.queue_high_water = sent.queue_high_water.max(queued);
        }
    }
}

/// The counts of a sender.
#[derive(Clone, Copy, Default)]
pub(super) struct Sent {
    counts: Counts,
    short: Short,
    /// Whether this side is a client.
    masks: bool,
    queue_high_water: usize,
}

/// The messages that went the short way since the last look. More numbers for each would cost it more.
#[derive(Clone, Copy, Default)]
struct Short {
    messages: u64,
    payload: u64,
    /// Messages whose length takes 16 bits.
    of_16_bits: u64,
}

impl Sent {
    /// Adds what went the short way to the counts.
    fn look(&mut self) {
        let Short { messages, payload, of_16_bits } = core::mem::take(&mut self.short);
        self.counts.messages(messages);
        self.counts.traffic.payload_bytes += payload;
        // RFC 6455 §5.2: a header has 2 bytes, 2 more for a length of 16 bits, and 4 more for a key.
        let header = if self.masks { 6 } else { 2 };
        self.counts.traffic.wire_bytes += payload + messages * header + of_16_bits * 2;
    }
}

impl Sender {
    fn sent(&mut self) -> Option<&mut Sent> {
        self.private.as_mut()?.counts.as_deref_mut()
    }

    /// The numbers of what was queued. `now` is on the clock of [`deadline`](Self::deadline). All of them need
    /// [`Config::stats`](crate::Config::stats).
    pub fn stats(&self, now: Duration) -> Stats {
        let mut stats = Stats::default();
        if let Some(sent) = self.private.as_ref().and_then(|private| private.counts.as_deref()) {
            let mut sent = *sent;
            sent.look();
            stats.sent = sent.counts.traffic(now);
            stats.queue_high_water = sent.queue_high_water;
        }
        stats
    }

    /// Counts a frame of `wire` bytes that was queued just now.
    #[inline]
    pub(super) fn count(
        &mut self,
        (fin, opcode): (bool, Opcode),
        payload: usize,
        wire: usize,
        out: &SendBuf,
    ) {
        if let Some(sent) = self.sent() {
            let is_control = opcode.is_control();
            sent.counts.frame(is_control, fin && !is_control);
            sent.counts.traffic.payload_bytes += if is_control { 0 } else { payload as u64 };
            sent.counts.traffic.wire_bytes += wire as u64;
            sent.queue_high_water = sent.queue_high_water.max(out.len());
        }
    }

    /// Notes the code of a Close frame.
    pub(super) fn count_close(&mut self, code: Option<CloseCode>) {
        if let Some(sent) = self.sent() {
            sent.counts.traffic.close_code = Some(code.unwrap_or(CloseCode::NO_STATUS));
        }
    }

    /// Notes the time of what was queued since the last wait.
    pub(super) fn observe(&mut self, now: Duration, out: &SendBuf) {
        if let Some(sent) = self.sent() {
            sent.look();
            sent.counts.observe(now);
            sent.queue_high_water = sent.queue_high_water.max(out.len());
        }
    }
}
