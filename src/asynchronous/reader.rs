//! The receiving side: it reads when the receiver needs input, flushes before each wait, and leaves the socket.
//!
//! All state is here and none is in a future, so a future can be dropped at any point.

use core::fmt;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use super::io::Io;
use crate::adapter::trace::Opened;
use crate::adapter::{Error, FLUSH_FROM, is_peer_gone, result_of};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::error::{End, Timeout};
use crate::protocol::leave::{Leave, LeaveStep};
use crate::protocol::recv::{Progress, Receiver};
use crate::protocol::replies::Replies;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;

/// What an event or a read costs in addition to its bytes.
const STEP: u32 = 8 << 10;

/// After work of this cost without a wait, other tasks get a turn.
const TURN: u32 = 128 * STEP;

/// What the receiving side needs from the sending side: a stream to read from, and a way to the writer.
pub(crate) trait Link {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>>;

    fn close_sent(&self) -> bool;

    /// See [`Sender::state`](crate::Sender::state).
    fn state(&self) -> SendState;

    /// Whether a side gave up a peer that takes nothing.
    fn gave_up(&self) -> bool;

    /// This side gives the peer up. The sending side has the same error then.
    fn give_up(&mut self);

    /// Queues the replies, before all that is queued later.
    fn answer(&mut self, replies: &mut Replies);

    /// Sends the replies and all that is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>>;

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Asks to be woken by the sending side: when it begins to close, gives up the peer, or leaves bytes whose
    /// deadline nobody watches.
    fn watch(&mut self, cx: &mut Context<'_>);

    /// How many bytes were fed and wait for this side to send them.
    fn fed(&self) -> usize;

    /// Whether queued bytes were dropped.
    fn has_lost(&self) -> bool;

    /// Whether the stream took all bytes, and Close was not sent. Then there is no deadline.
    fn is_at_rest(&mut self) -> bool;

    /// When the peer must have taken enough of the bytes that wait.
    fn send_deadline(&mut self, now: Duration) -> Option<Duration>;

    /// How many bytes are queued. While the socket is left, this shows progress.
    fn queued(&self) -> usize;

    /// Nothing can be sent any more.
    fn shut(&mut self);

    /// The numbers of what was queued.
    fn stats(&self, now: Duration) -> Stats;
}

/// What a [`Supervisor`] wants from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "only tokio has a server"))]
pub(crate) enum Order {
    /// Send Close and go on.
    Close,
    /// End now.
    Drop,
}

/// Can end a connection from outside its task, as a server does when it shuts down.
pub(crate) trait Supervisor: Send + Sync + fmt::Debug {
    /// Asks to be woken when there is an order. Gives the order if there is one.
    fn poll(&self, cx: &Context<'_>) -> Option<Order>;

    /// The order, if there is one. Each is given once.
    fn order(&self) -> Option<Order>;

    /// The connection has ended, and the socket is left.
    fn ended(&self, end: Option<&End>);

    /// What was received by now, if the connection counts: at each wait for input, and at the end.
    fn received(&self, stats: Stats);

    /// What was sent by now, if the connection counts: at each wait for input, and at the end.
    fn sent(&self, stats: Stats);
}

/// The receiving side.
pub(crate) struct Reader<I: Io> {
    pub(crate) receiver: Receiver,
    pub(crate) replies: Replies,
    pub(crate) input: RecvBuf,
    rare: Option<Box<Rare<I>>>,
    /// How much work is left of the turn.
    turn: u32,
    /// The `Stream` gave its last item.
    pub(crate) is_terminated: bool,
    pub(crate) opened: Opened,
}

/// State that most connections do not have.
struct Rare<I: Io> {
    timer: I::Timer,
    supervisor: Option<Arc<dyn Supervisor>>,
    leave: Option<Box<Leave>>,
}

impl<I: Io> Default for Rare<I> {
    fn default() -> Self {
        Self { timer: I::Timer::default(), supervisor: None, leave: None }
    }
}

impl<I: Io> fmt::Debug for Reader<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("receiver", &self.receiver)
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl<I: Io> Reader<I> {
    pub(crate) fn new(receiver: Receiver, replies: Replies, input: RecvBuf) -> Self {
        let opened = Opened::not_yet();
        Self { receiver, replies, input, rare: None, turn: TURN, is_terminated: false, opened }
    }

    /// Waits for the deadline. Without one, it waits for ever.
    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Option<Duration>) -> Poll<()> {
        if deadline.is_none() {
            self.stop_timer();
            return Poll::Pending;
        }
        I::poll_timer(&mut self.rare.get_or_insert_default().timer, cx, deadline)
    }

    fn stop_timer(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.timer = I::Timer::default();
        }
        self.rare.take_if(|rare| rare.supervisor.is_none() && rare.leave.is_none());
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn supervise(&mut self, supervisor: Arc<dyn Supervisor>) {
        self.rare.get_or_insert_default().supervisor = Some(supervisor);
    }

    fn supervisor(&self) -> Option<&dyn Supervisor> {
        self.rare.as_ref()?.supervisor.as_deref()
    }

    /// Tells the supervisor what was counted. Others are asked nothing, and do not read the clock.
    fn report(&self) {
        if let Some(supervisor) = self.supervisor()
            && self.receiver.config().get().stats
        {
            supervisor.received(self.receiver.stats(I::now()));
        }
    }

    fn is_leaving(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.leave.is_some())
    }

    /// Waits for an event. There is none after the peer's Close.
    #[inline]
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        // The common case comes first. Only the turn, the fed bytes and the receiver itself can forbid it.
        // Orders and timers are checked before the next read.
        if self.turn > 0
            && link.fed() < self.flush_from()
            && let Some(len) = self.receiver.short_message(&mut self.input)
        {
            self.charge(u32::from(len) + STEP);
            return Poll::Ready(Ok(()));
        }
        self.poll_any(cx, link, parts)
    }

    /// How many queued bytes are sent before the next event is given.
    #[inline]
    fn flush_from(&self) -> usize {
        FLUSH_FROM.min(self.receiver.config().get().max_send_queue)
    }

    #[inline]
    fn charge(&mut self, cost: u32) {
        self.turn = self.turn.saturating_sub(cost);
    }

    #[inline(never)]
    fn poll_any(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        if let Some(order) = self.supervisor().and_then(Supervisor::order) {
            self.obey(order, link);
        }
        if self.turn == 0 {
            // The close timeout holds for a peer that never stops sending. A message may have begun before the
            // caller came back, and its rest may be in the socket. So other timers wait for a read.
            if link.close_sent() {
                self.expire(cx, link);
            }
            return self.take_turns(cx);
        }
        // Once Close is queued, the wait for input sends it, under the close timeout.
        if link.fed() >= self.flush_from() && !link.close_sent() && !self.is_leaving() {
            ready!(self.poll_flush(cx, link))?;
        }
        loop {
            if link.gave_up() {
                self.receiver.give_up(End::TimedOut(Timeout::Send));
            }
            let close_sent = link.close_sent();
            let before = self.receiver.work();
            let (input, replies) = (&mut self.input, &mut self.replies);
            let progress = if parts {
                self.receiver.advance_parts(input, replies, close_sent)
            } else {
                self.receiver.advance(input, replies, close_sent)
            };
            // Pings, empty fragments and skipped bytes give no event, but they are work too.
            let work = self.receiver.work().wrapping_sub(before);
            self.charge(work);
            match progress {
                Ok(Progress::Event) => {
                    if !self.replies.is_empty() {
                        link.answer(&mut self.replies);
                    }
                    self.charge(STEP);
                    return Poll::Ready(Ok(()));
                }
                Ok(Progress::NeedInput) => {
                    // Timers count only here, when all input is decoded: the pong may be the last of it.
                    if self.turn == 0 {
                        self.expire(cx, link);
                        return self.take_turns(cx);
                    }
                    ready!(self.poll_wait(cx, link))?;
                    // A read is work too, however little it brings.
                    self.charge(STEP.saturating_sub(work));
                    if let Some(len) = self.receiver.short_message(&mut self.input) {
                        self.charge(u32::from(len) + STEP);
                        return Poll::Ready(Ok(()));
                    }
                }
                Ok(Progress::Ended) | Err(_) => {
                    ready!(self.poll_leave(cx, link));
                    let end = self.receiver.end().unwrap_or(&End::Unconfirmed);
                    return Poll::Ready(result_of(end));
                }
            }
        }
    }

    /// Lets other tasks run.
    fn take_turns<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.turn = TURN;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the connection if a deadline is reached.
    fn expire<L: Link>(&mut self, cx: &mut Context<'_>, link: &mut L) {
        let now = I::now();
        let is_late = |link: &mut L| link.send_deadline(now).is_some_and(|at| at <= now);
        // The sending half may have fed bytes that nothing has tried to send yet.
        if is_late(link) && link.poll_flush(cx, &mut self.replies).is_pending() && is_late(link) {
            link.give_up();
            self.receiver.give_up(End::TimedOut(Timeout::Send));
        }
        self.receiver.on_time(now, &self.input, &mut self.replies, link.state());
    }

    /// Sends all that waits.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
    ) -> Poll<Result<(), Error>> {
        if link.has_lost() {
            return Poll::Ready(Err(lost(link.gave_up())));
        }
        match link.poll_flush(cx, &mut self.replies) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => {
                link.shut();
                Poll::Ready(Err(error.into()))
            }
            Poll::Pending => {
                let deadline = link.send_deadline(I::now());
                ready!(self.poll_timer(cx, deadline));
                let end = End::TimedOut(Timeout::Send);
                self.receiver.give_up(end.clone());
                link.shut();
                Poll::Ready(Err(Error::Ended(end)))
            }
        }
    }

    /// Sends the bytes that wait, then reads once. It is ready when it is worth decoding again.
    fn poll_wait(&mut self, cx: &mut Context<'_>, link: &mut impl Link) -> Poll<Result<(), Error>> {
        if let Poll::Ready(Err(_)) = link.poll_flush(cx, &mut self.replies) {
            // Queued bytes are lost, but the last bytes from the peer may still be read.
            link.shut();
        }
        let is_paused = self.is_paused(link);
        if is_paused && self.goes_on(link) {
            return Poll::Ready(Ok(()));
        }
        // What is not read slows the peer down.
        let read = if is_paused { Poll::Pending } else { link.poll_read(cx, &mut self.input) };
        match read {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => {
                self.receiver.transport_failed(&self.input);
                if is_peer_gone(&error) {
                    return Poll::Ready(Ok(()));
                }
                link.shut();
                return Poll::Ready(Err(error.into()));
            }
            Poll::Pending => {}
        }
        self.turn = TURN;
        // While it waits, a connection holds only the memory that it must.
        self.input.release();
        // This comes before the checks of the sending side. Otherwise news in between would be missed.
        link.watch(cx);
        if link.gave_up() {
            return Poll::Ready(Ok(()));
        }
        self.report();
        if let Some(order) = self.supervisor().and_then(|supervisor| supervisor.poll(cx)) {
            self.obey(order, link);
            return Poll::Ready(Ok(()));
        }
        // Most waits have no deadline, and do not read the clock.
        if link.is_at_rest() && self.receiver.is_at_rest(&self.input) {
            self.stop_timer();
            return Poll::Pending;
        }
        let (now, state) = (I::now(), link.state());
        let sending = link.send_deadline(now);
        let receiving = self.receiver.deadline(now, &self.input, state);
        let deadline = sending.into_iter().chain(receiving).min();
        ready!(self.poll_timer(cx, deadline));
        self.expire(cx, link);
        Poll::Ready(Ok(()))
    }

    /// Whether the time since the last wait has ended a pause of the receiver, or its connection.
    #[cold]
    fn goes_on(&mut self, link: &mut impl Link) -> bool {
        self.receiver.on_time(I::now(), &self.input, &mut self.replies, link.state());
        !self.is_paused(link)
    }

    /// Whether the peer has to wait. Without a limit, the sending side is not asked.
    fn is_paused(&self, link: &impl Link) -> bool {
        self.receiver.config().get().rate_limit.is_some()
            && self.receiver.is_paused(&self.input, link.state())
    }

    /// Does what the supervisor orders.
    #[cold]
    fn obey(&mut self, order: Order, link: &mut impl Link) {
        match order {
            Order::Close if link.close_sent() => {}
            Order::Close => self.receiver.go_away(&mut self.replies),
            Order::Drop => {
                self.receiver.give_up(End::Unconfirmed);
                link.shut();
            }
        }
    }

    /// Leaves the socket so that the last bytes arrive.
    fn poll_leave(&mut self, cx: &mut Context<'_>, link: &mut impl Link) -> Poll<()> {
        let rare = self.rare.get_or_insert_default();
        let Rare { timer, supervisor, leave } = &mut **rare;
        let leave = leave.get_or_insert_with(|| Box::new(self.receiver.leave()));
        while leave.step() != LeaveStep::Over {
            let waits = match leave.step() {
                LeaveStep::Flush => {
                    let queued = link.queued();
                    let flushed = link.poll_flush(cx, &mut self.replies);
                    leave.sent(queued.saturating_sub(link.queued()));
                    flushed.map(drop)
                }
                LeaveStep::Shutdown => link.poll_shutdown(cx).map(drop),
                _ if self.turn == 0 => {
                    self.turn = TURN;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => match link.poll_read(cx, &mut self.input) {
                    Poll::Ready(Ok(())) => {
                        let n = self.input.discard();
                        self.turn = self.turn.saturating_sub(n as u32 + STEP);
                        leave.discard(n);
                        continue;
                    }
                    Poll::Ready(Err(_)) => Poll::Ready(()),
                    Poll::Pending => {
                        // A connection that waits for the end of its peer holds no buffer.
                        self.input.release();
                        Poll::Pending
                    }
                },
            };
            if waits.is_ready() {
                leave.done();
            } else {
                let deadline = leave.deadline(I::now());
                ready!(I::poll_timer(timer, cx, deadline));
                // The deadline is reached, so the rest is given up.
                leave.on_time(I::now());
            }
            if leave.step() != LeaveStep::Flush {
                link.shut();
            }
        }
        link.shut();
        *timer = I::Timer::default();
        self.input.release();
        if let Some(supervisor) = supervisor {
            supervisor.ended(self.receiver.end());
        }
        self.tell(|now| Some(link.stats(now)));
        Poll::Ready(())
    }

    /// Tells how the connection ended, once.
    fn tell(&mut self, sent: impl FnOnce(Duration) -> Option<Stats>) {
        let Self { opened, receiver, .. } = self;
        opened.end(I::now, receiver, receiver.end(), sent);
    }
}

impl<I: Io> Drop for Reader<I> {
    /// Who supervises the connection learns how it ended, even if the program did not wait until the socket was left.
    fn drop(&mut self) {
        self.report();
        if let Some(supervisor) = self.supervisor() {
            supervisor.ended(self.receiver.end());
        }
        // The sending side may be gone already, with its numbers.
        self.tell(|_| None);
    }
}

/// The error of a flush after queued bytes were thrown away: it must not say that they left. `gave_up`: because the peer
/// took nothing.
pub(crate) fn lost(gave_up: bool) -> Error {
    if gave_up {
        return Error::Ended(End::TimedOut(Timeout::Send));
    }
    let why = "the connection ended before all that was queued could be sent";
    Error::Io(io::Error::new(io::ErrorKind::BrokenPipe, why))
}
