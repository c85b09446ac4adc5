//! Messages that are written without a copy: those of a broadcast, and large ones that are lent.

use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::Arc;

use super::{Writer, poll_write_slices};
use crate::asynchronous::broadcast::{Offered, SlowPeer};
use crate::asynchronous::io::Io;
use crate::protocol::error::SendError;
use crate::protocol::message::MessageRef;
use crate::protocol::prepared::Prepared;

/// A lent payload of at least this size is offered to the stream at once, without a copy. Copying a smaller one
/// takes less time than a write.
const DIRECT_FROM: usize = 32 << 10;

impl<I: Io> Writer<I> {
    /// Sends a broadcast message as far as the stream takes it at once. The receiving side writes the rest.
    pub(in crate::asynchronous) fn offer(
        &mut self,
        message: &Prepared,
        slow: SlowPeer,
        mark: usize,
    ) -> Offered {
        if self.sender.is_closed() {
            return Offered::Refused;
        }
        // If a message is kept already, a new one must not overtake it: it replaces it.
        let kept = slow == SlowPeer::KeepNewest
            && self.sharing.as_ref().is_some_and(|sharing| sharing.newest.is_some());
        if kept || self.out.len() > mark || self.is_full() {
            return match slow {
                SlowPeer::Skip => Offered::Skipped,
                SlowPeer::KeepNewest => {
                    self.sharing().newest = Some(message.clone());
                    Offered::Kept
                }
                SlowPeer::Drop => {
                    self.sharing().gave_up = true;
                    self.shut();
                    Offered::Dropped
                }
            };
        }
        // Most peers take all at once. The wakers are looked up only for the others: with many members nothing
        // is in the cache, and each line that is not touched counts.
        let mut written = match self.offer_at_once(message) {
            Ok(written) => written,
            Err(_) => return Offered::Refused,
        };
        if written.is_pending() {
            let waiters = Arc::clone(&self.sharing().waiters);
            written = self.poll_write_all(&mut Context::from_waker(&Waker::from(waiters)));
        }
        match written {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                self.shut();
                return Offered::Refused;
            }
            // The receiving side has a deadline from now on.
            Poll::Pending => self.wake(),
        }
        Offered::Sent
    }

    /// Sends a broadcast message as far as the stream takes it, and queues the rest.
    fn offer_at_once(&mut self, message: &Prepared) -> Result<Poll<io::Result<()>>, SendError> {
        let cx = &mut Context::from_waker(Waker::noop());
        // A queue takes memory, and most peers do not need one.
        if self.out.is_empty()
            && let Some(io) = &mut self.io
        {
            let mut frame = self.sender.send_prepared_borrowed(message, &mut self.out)?;
            let written = poll_write_slices(io, cx, frame.slices());
            if let Poll::Ready(Ok(n)) = written {
                frame.sent(n);
            }
            drop(frame);
            self.out.set_buffered(true);
            if let Poll::Ready(Err(error)) = written {
                return Ok(Poll::Ready(Err(error)));
            }
        } else {
            self.sender.send_prepared(message, &mut self.out)?;
        }
        Ok(self.poll_write_all(cx))
    }

    /// Queues a message whose payload is lent. If it is large, the stream takes what it can at once, and only the
    /// rest is copied.
    #[inline]
    pub(crate) fn feed(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        if message.as_bytes().len() < DIRECT_FROM {
            return self.sender.send(message, &mut self.out);
        }
        self.feed_directly(message)
    }

    #[inline(never)]
    fn feed_directly(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        let mut frame = self.sender.send_borrowed(message, &mut self.out)?;
        // A stream without vectored writes would take only the header.
        let Some(io) = self.io.as_mut().filter(|io| io.is_write_vectored()) else {
            return Ok(());
        };
        // The next flush waits for the stream, and sees its error.
        let cx = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(n)) = poll_write_slices(io, cx, frame.slices()) {
            frame.sent(n);
            drop(frame);
            self.out.set_buffered(true);
        }
        Ok(())
    }
}
