//! Charges the memory that a connection keeps to the budget that connections share (RFC 6455 §10.4).

use alloc::boxed::Box;

use super::{Progress, Receiver, Stop};
use crate::memory::budget::{Charge, FREE};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::deflate::Inflating;

impl Receiver {
    /// Charges the budget for what is kept from here on.
    #[inline(never)]
    pub(super) fn account(
        &mut self,
        progress: Progress,
        input: &mut RecvBuf,
    ) -> Result<Progress, Stop> {
        match progress {
            Progress::NeedInput => {
                let kept = input.kept() + self.inflating.kept();
                self.charge(if kept > FREE { kept } else { 0 })?;
            }
            // A lent message is the user's, with the memory that it lies in.
            Progress::Event if input.lends_message() => self.charge(0)?,
            Progress::Event => {}
            Progress::Ended => self.free_memory(input),
        }
        Ok(progress)
    }

    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Stop> {
        if bytes == 0 {
            if let Some(extras) = &mut self.extras {
                extras.charge = None;
            }
            return Ok(());
        }
        let Some(budget) = &self.config.get().budget else {
            return Ok(());
        };
        let extras = self.extras.get_or_insert_default();
        let charge = extras.charge.get_or_insert_with(|| Box::new(Charge::new(budget)));
        if charge.try_set(bytes) { Ok(()) } else { Err(Stop::OverBudget) }
    }

    /// Frees the memory of a connection that is over, if it was charged for it.
    pub(super) fn free_memory(&mut self, input: &mut RecvBuf) {
        if let Some(extras) = &mut self.extras
            && let Some(charge) = extras.charge.take()
        {
            input.abandon();
            self.inflating = Inflating::default();
            drop(charge);
        }
    }
}
