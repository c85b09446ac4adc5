//! Compressed frames (RFC 7692 §6.2).

use super::{Receiver, Stop};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::deflate::{CHUNK, Inflated};
use crate::protocol::error::Rule;
use crate::protocol::mask;

impl Receiver {
    /// Inflates the bytes that have come of a compressed frame. Whether there is an event before its end.
    pub(super) fn inflate(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Stop> {
        let result = self.try_inflate(input, parts);
        if result.is_err() {
            // The place of the error in the frame depends on how the bytes came. The start of the frame does not.
            self.offset = self.inflating.frame_offset();
        }
        result
    }

    fn try_inflate(&mut self, input: &mut RecvBuf, parts: bool) -> Result<bool, Stop> {
        let mut left = self.remaining.min(input.unread().len() as u64) as usize;
        // There are fewer bytes than that only if the buffer was exchanged.
        let unmasked = self.inflating.unmasked().min(left);
        let fresh = &mut input.unparsed_mut(left)[unmasked..];
        self.key = mask::apply_part(fresh, self.key);
        let compressed = fresh.len();
        self.data = self.data.wrapping_add(compressed as u32);
        self.count_inflated(0, compressed);
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
            // A byte above the limit needs no room in the buffer, but it has to be noticed.
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
            self.count_inflated(produced, 0);
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
}
