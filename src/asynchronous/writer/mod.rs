//! The sending side: the queue, and writing it.

mod direct;
mod sharing;

pub(crate) use sharing::Point;

use core::fmt;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use crate::adapter::Error;
use crate::asynchronous::io::{Io, Locked, Wrap, poll_read};
use crate::asynchronous::reader::{Link, lost};
use crate::asynchronous::waiters::{Place, Side, Waiters};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::replies::Replies;
use crate::protocol::send::Sender;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;
use sharing::Sharing;

/// How many slices one vectored write takes.
const MAX_SLICES: usize = 16;

/// The sending side, with its own handle of the stream.
pub(crate) struct Writer<I: Io> {
    /// `None` only before `connect`, and once `into_io` has taken it.
    io: Option<I>,
    pub(crate) sender: Sender,
    pub(crate) out: SendBuf,
    /// Present once two tasks may use the connection, or once a flush has waited or a `Sink` was used.
    sharing: Option<Box<Sharing<I::Timer>>>,
}

impl<I: Io> fmt::Debug for Writer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("sender", &self.sender)
            .field("queued", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl<I: Io> Writer<I> {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { io: None, sender, out: SendBuf::new(), sharing: None }
    }

    pub(crate) fn connect(&mut self, io: I) {
        self.io = Some(io);
    }

    /// From now on, different tasks may drive the two sides. Gives the tasks that wait.
    pub(crate) fn share(&mut self) -> &Arc<Waiters> {
        &self.sharing().waiters
    }

    fn sharing(&mut self) -> &mut Sharing<I::Timer> {
        let is_blocked = self.out.is_buffered();
        self.sharing.get_or_insert_with(|| Box::new(Sharing::new(is_blocked)))
    }

    pub(crate) fn into_io(mut self) -> io::Result<I> {
        self.io.take().ok_or(ErrorKind::NotConnected.into())
    }

    /// The same writer around another handle of the stream.
    pub(crate) fn map<J: Io<Timer = I::Timer>>(mut self, map: impl FnOnce(I) -> J) -> Writer<J> {
        let config = self.sender.config().clone();
        let closed = crate::protocol::connection::Connection::server(config).into_halves().1;
        Writer {
            io: self.io.take().map(map),
            sender: core::mem::replace(&mut self.sender, closed),
            out: core::mem::take(&mut self.out),
            sharing: self.sharing.take(),
        }
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.gave_up)
    }

    /// The peer takes nothing, so each later flush fails with that.
    pub(crate) fn give_up(&mut self) {
        self.sharing().gave_up = true;
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.has_lost)
    }

    /// Whether a message would be refused for lack of room.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= self.sender.config().get().max_send_queue || self.holds()
    }

    /// Writes the replies and all that is queued.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        replies: &mut Replies,
    ) -> Poll<io::Result<()>> {
        loop {
            if !replies.is_empty() {
                self.sender.answer(replies, &mut self.out);
            }
            if self.out.is_empty()
                && let Some(newest) =
                    self.sharing.as_mut().and_then(|sharing| sharing.newest.take())
            {
                // It is refused only if the connection was closed meanwhile, and then it does not matter.
                let _ = self.sender.send_prepared(&newest, &mut self.out);
            }
            if self.holds() {
                self.release_held();
            }
            if !self.is_waiting() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_io(cx, side, Self::poll_write_all))?;
        }
    }

    /// As [`poll_send`](Self::poll_send), for a receiving half. If that half was only woken to watch the deadline
    /// of fed bytes, it leaves them to the sending half.
    pub(crate) fn poll_send_of_half(
        &mut self,
        cx: &mut Context<'_>,
        replies: &mut Replies,
    ) -> Poll<io::Result<()>> {
        if let Some(sharing) = &mut self.sharing {
            sharing.rests = false;
            let told = core::mem::take(&mut sharing.told);
            if told && replies.is_empty() && sharing.newest.is_none() && !sharing.is_blocked {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_send(cx, Side::Receiving, replies)
    }

    /// Whether the stream took all bytes, and Close was not sent. When that changes, the receiving side is woken.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        let is_at_rest = !self.is_waiting();
        if is_at_rest && let Some(sharing) = &mut self.sharing {
            sharing.rests = true;
        }
        is_at_rest && !self.sender.close_sent()
    }

    /// If bytes wait now, wakes a receiving side that rests, so that it watches their deadline.
    pub(crate) fn tell(&mut self) {
        if self.is_waiting() {
            self.tell_receiving();
        }
    }

    #[cold]
    fn tell_receiving(&mut self) {
        if let Some(sharing) = self.sharing.as_mut().filter(|sharing| sharing.rests) {
            (sharing.rests, sharing.told) = (false, true);
            sharing.waiters.wake_receiving();
        }
    }

    /// Whether bytes wait, here or in a stream that holds them back, as TLS does.
    fn is_waiting(&self) -> bool {
        !self.out.is_empty() || self.out.is_buffered()
    }

    /// When the peer must have taken enough of the bytes that wait.
    pub(crate) fn deadline(&mut self, now: Duration) -> Option<Duration> {
        self.sender.deadline(now, &self.out)
    }

    /// Writes all that is queued, for the sending side. It has to be shared.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        place: Place,
        replies: &mut Replies,
    ) -> Poll<Result<(), Error>> {
        if self.has_lost() {
            return Poll::Ready(Err(lost(self.gave_up())));
        }
        let error = match self.poll_send(cx, Side::Sending(place), replies) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => error.into(),
            Poll::Pending => {
                // The caller may drop its future. Then the receiving side goes on.
                self.tell();
                let deadline = self.deadline(I::now());
                ready!(self.poll_timer(deadline));
                self.give_up();
                lost(true)
            }
        };
        self.shut();
        Poll::Ready(Err(error))
    }

    /// Waits for the deadline, for each half that waits for the socket: the one that waits now may be dropped.
    fn poll_timer(&mut self, deadline: Option<Duration>) -> Poll<()> {
        let sharing = self.sharing();
        let waker = Waker::from(Arc::clone(&sharing.waiters));
        I::poll_timer(&mut sharing.timer, &mut Context::from_waker(&waker), deadline)
    }

    /// Writes what the stream takes at once.
    pub(crate) fn try_write(&mut self) {
        if self.io.is_some() && !self.out.is_empty() {
            let _ = self.poll_write_all(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = self.io.as_mut().ok_or(ErrorKind::NotConnected)?;
        while !self.out.is_empty() {
            // Until it is flushed, the stream may hold back what it took.
            self.out.set_buffered(true);
            let first = self.out.pending();
            let written = if first.len() == self.out.len() {
                io.poll_write(cx, first)
            } else {
                poll_write_slices(io, cx, self.out.pending_slices())
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.out.sent(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.note_blocked();
                    self.out.release();
                    return Poll::Pending;
                }
            }
        }
        let flushed = io.poll_flush(cx);
        if let Some(sharing) = &mut self.sharing {
            sharing.is_blocked = !matches!(flushed, Poll::Ready(Ok(())));
            if !sharing.is_blocked {
                sharing.rounds.all();
            }
        }
        ready!(flushed)?;
        self.out.set_buffered(false);
        Poll::Ready(Ok(()))
    }

    /// The stream takes no more now.
    fn note_blocked(&mut self) {
        if let Some(sharing) = &mut self.sharing {
            sharing.is_blocked = true;
            sharing.rounds.some(self.sender.state(&self.out).taken(), self.out.len());
        }
    }

    /// Shuts the write side of the stream.
    pub(crate) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
    ) -> Poll<io::Result<()>> {
        self.poll_io(cx, side, |writer, cx| match &mut writer.io {
            Some(io) => io.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        })
    }

    /// Shuts the write side for a sending half whose receiving half is gone. It takes at most the close timeout
    /// after `since`.
    pub(crate) fn poll_shutdown_in_time(
        &mut self,
        cx: &mut Context<'_>,
        place: Place,
        since: Duration,
    ) -> Poll<io::Result<()>> {
        let result = self.poll_shutdown(cx, Side::Sending(place));
        if result.is_pending() {
            let timeout = self.sender.config().get().close_timeout;
            let deadline = timeout.map(|timeout| since.saturating_add(timeout));
            ready!(self.poll_timer(deadline));
            return Poll::Ready(Ok(()));
        }
        result
    }

    /// Polls the stream so that every task that waits for it is woken.
    fn poll_io<T>(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self.waiters() {
            // The waker is stored before the stream is polled: it may become ready for others in between.
            Some(waiters) => {
                waiters.register(side, cx.waker());
                poll(self, &mut Context::from_waker(&Waker::from(waiters)))
            }
            None => poll(self, cx),
        }
    }

    /// See [`Link::watch`].
    pub(crate) fn watch(&mut self, cx: &mut Context<'_>) {
        self.report();
        if let Some(waiters) = self.waiters() {
            waiters.register(Side::Receiving, cx.waker());
        }
    }

    /// Wakes all halves, because there is news.
    pub(crate) fn wake(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.waiters.wake_all();
        }
    }

    fn waiters(&self) -> Option<Arc<Waiters>> {
        self.sharing.as_ref().map(|sharing| Arc::clone(&sharing.waiters))
    }

    /// Ends sending. Queued bytes are thrown away.
    pub(crate) fn shut(&mut self) {
        self.sender.shut();
        let has_lost = self.is_waiting();
        self.out = SendBuf::new();
        if has_lost || self.sharing.is_some() {
            let sharing = self.sharing();
            sharing.has_lost |= has_lost | sharing.throw_away();
            sharing.is_blocked = false;
        }
        self.wake();
    }
}

impl<I: Wrap> Writer<I> {
    pub(crate) fn get_ref(&self) -> &I::Stream {
        match &self.io {
            Some(io) => io.get_ref(),
            None => unreachable!("into_io consumes the writer"),
        }
    }
}

impl<I: Wrap> Writer<Locked<I>> {
    /// Another handle of the stream.
    pub(crate) fn stream(&self) -> Locked<I> {
        match &self.io {
            Some(io) => io.clone(),
            None => unreachable!("only a WebSocket with a stream is split"),
        }
    }
}

impl<I: Io> Link for Writer<I> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let io = self.io.as_mut().ok_or(ErrorKind::NotConnected)?;
        poll_read(io, cx, input)
    }

    fn close_sent(&self) -> bool {
        self.sender.close_sent()
    }

    fn state(&self) -> SendState {
        self.sender.state(&self.out)
    }

    fn gave_up(&self) -> bool {
        Writer::gave_up(self)
    }

    fn give_up(&mut self) {
        Writer::give_up(self);
    }

    fn answer(&mut self, replies: &mut Replies) {
        self.sender.answer(replies, &mut self.out);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>> {
        self.poll_send(cx, Side::Receiving, replies)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Writer::poll_shutdown(self, cx, Side::Receiving)
    }

    fn watch(&mut self, cx: &mut Context<'_>) {
        Writer::watch(self, cx);
    }

    fn fed(&self) -> usize {
        self.out.len()
    }

    fn has_lost(&self) -> bool {
        Writer::has_lost(self)
    }

    fn is_at_rest(&mut self) -> bool {
        Writer::is_at_rest(self)
    }

    fn send_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.deadline(now)
    }

    fn queued(&self) -> usize {
        self.out.len()
    }

    fn shut(&mut self) {
        Writer::shut(self);
    }

    fn stats(&self, now: Duration) -> Stats {
        self.sender.stats(now)
    }
}

impl<I: Io> Drop for Writer<I> {
    fn drop(&mut self) {
        self.try_write();
        self.report();
    }
}

fn poll_write_slices<'a, I: Io>(
    io: &mut I,
    cx: &mut Context<'_>,
    pending: impl Iterator<Item = &'a [u8]>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slot, slice) in slices.iter_mut().zip(pending) {
        *slot = IoSlice::new(slice);
        count += 1;
    }
    match &slices[..count] {
        // The system call for one slice is cheaper.
        [only] => io.poll_write(cx, only),
        slices => io.poll_write_vectored(cx, slices),
    }
}
