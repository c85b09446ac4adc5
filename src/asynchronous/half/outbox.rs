//! Sends what has waited for a session.

use core::future::{Future, poll_fn};
use core::task::{Context, Poll, ready};

use super::SendHalf;
use crate::adapter::{Error, FLUSH_FROM};
use crate::asynchronous::io::Io;
use crate::protocol::outbox::Outbox;

impl<I: Io> SendHalf<I> {
    /// Sends the messages of an outbox in their order. They have been handed to the socket when this is done. Those of other
    /// clones may come in between.
    ///
    /// A message leaves the outbox once it is queued here. Of this half, at most 64 KiB and one message are queued. Those
    /// after it wait in the outbox, also when this fails.
    ///
    /// Cancel safe: no message is lost or sent twice. What is queued leaves with the next flush of any kind, and the next
    /// call goes on with the first message that waits.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A message that was refused is the first in the outbox, and not in the error. If that is
    /// for what it is, such as a ping that is too long, [`pop`](Outbox::pop) it.
    pub fn send_from<K>(
        &mut self,
        outbox: &mut Outbox<K>,
    ) -> impl Future<Output = Result<(), Error>> {
        poll_fn(move |cx| self.poll_send_from(cx, outbox))
    }

    fn poll_send_from<K>(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox<K>,
    ) -> Poll<Result<(), Error>> {
        // A socket that is known to be dead takes nothing.
        ready!(self.poll_flush(cx))?;
        while !outbox.is_empty() {
            // Other halves get the lock after each turn.
            ready!(self.with(|own, writer| {
                ready!(own.poll_room(writer, cx))?;
                own.queue(writer, |writer| {
                    while let Some(taken) =
                        outbox.hand_over(|message| writer.sender.send(message, &mut writer.out))
                    {
                        taken?;
                        if writer.out.len() >= FLUSH_FROM || writer.is_full() {
                            break;
                        }
                    }
                    Ok::<_, Error>(())
                })?;
                own.poll_sent(writer, cx)
            }))?;
        }
        Poll::Ready(Ok(()))
    }
}
