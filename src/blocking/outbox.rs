//! Sends what has waited for a session.

use super::half::make_room;
use super::{BlockingStream, SendHalf, WebSocket};
use crate::adapter::{Error, FLUSH_FROM};
use crate::protocol::outbox::Outbox;

impl<S: BlockingStream> WebSocket<S> {
    /// Sends the messages of an outbox in their order. They were handed to the socket when this returns.
    ///
    /// A message leaves the outbox once it is queued here, and at most 64 KiB and one message are queued. Those after it
    /// wait in the outbox, also when this fails. In [non-blocking mode](Self#non-blocking-mode), call it again after
    /// `WouldBlock`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A message that was refused is the first in the outbox, and not in the error. If that is
    /// for what it is, such as a ping that is too long, [`pop`](Outbox::pop) it.
    pub fn send_from<K>(&mut self, outbox: &mut Outbox<K>) -> Result<(), Error> {
        // A socket that is known to be dead takes nothing.
        self.flush()?;
        loop {
            let writer = &mut self.writer;
            let taken = outbox.hand_over(|message| writer.sender.send(message, &mut writer.out));
            let Some(taken) = taken else { break };
            taken?;
            if self.writer.out.len() >= FLUSH_FROM || self.writer.is_full() {
                self.flush()?;
            }
        }
        self.flush()
    }
}

impl<S: BlockingStream> SendHalf<S> {
    /// Sends the messages of an outbox in their order. They were handed to the socket when this returns. Those of other
    /// clones may come in between.
    ///
    /// A message leaves the outbox once it is queued here, and at most 64 KiB and one message are queued. Those after it
    /// wait in the outbox, also when this fails. In [non-blocking mode](WebSocket#non-blocking-mode), call it again after
    /// `WouldBlock`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A message that was refused is the first in the outbox, and not in the error. If that is
    /// for what it is, such as a ping that is too long, [`pop`](Outbox::pop) it.
    pub fn send_from<K>(&mut self, outbox: &mut Outbox<K>) -> Result<(), Error> {
        // A socket that is known to be dead takes nothing.
        self.flush()?;
        while !outbox.is_empty() {
            // Other clones get the lock after each turn.
            self.write(true, None, |writer| {
                make_room(writer)?;
                while let Some(taken) =
                    outbox.hand_over(|message| writer.sender.send(message, &mut writer.out))
                {
                    taken?;
                    if writer.out.len() >= FLUSH_FROM || writer.is_full() {
                        break;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
