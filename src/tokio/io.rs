//! The loops: read when the receiver needs input, write what the sender queued, leave politely.
//!
//! All state lives here and none in a future, so that a future can be dropped at any point.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::task::Wake;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::time::{Instant, Sleep, sleep_until};
use bytes::Buf;

use super::broadcast::{Offered, SlowPeer};
use super::server::{Order, Seat};
use crate::adapter::{Error, FLUSH_FROM, epoch, is_peer_gone, result_of};
pub(super) use crate::asynchronous::waiters::Side;
use crate::asynchronous::waiters::Waiters;
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::error::{End, SendError, Timeout};
use crate::protocol::leave::Linger;
use crate::protocol::message::MessageRef;
use crate::protocol::prepared::Prepared;
use crate::protocol::recv::{Progress, Receiver, Replies};
use crate::protocol::send::Sender;
use crate::protocol::send_state::SendState;

/// A lent payload from this size on is offered to the stream at once, from where it lies. A smaller one is
/// copied sooner than written.
const DIRECT_FROM: usize = 32 << 10;

/// How many slices one vectored write takes.
const MAX_SLICES: usize = 16;

/// What an event costs beside its bytes: unmasking, checking and inflating take time.
const EVENT: u32 = 8 << 10;

/// When events that were ready at once have cost so much, other tasks get a turn.
const BUDGET: u32 = 128 * EVENT;

pub(super) fn now() -> Duration {
    Instant::now().saturating_duration_since(Instant::from_std(epoch()))
}

/// One timer, allocated only while there is something to wait for.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Duration>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.0 = None;
            return Poll::Pending;
        };
        // Beyond any clock: never.
        let Some(at) = Instant::from_std(epoch()).checked_add(deadline) else {
            return Poll::Pending;
        };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // Deadlines that move on are common, and a timer that fires too early does no harm.
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

/// What the receiving side needs of the other: a stream to read from, and a way to the writer.
pub(super) trait Link {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>>;

    fn close_sent(&self) -> bool;

    /// See [`Sender::state`].
    fn state(&self) -> SendState;

    /// Puts the replies before whatever is queued from now on.
    fn answer(&mut self, replies: &mut Replies);

    /// Sends the replies and all that is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>>;

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Asks to be woken when the sending side begins to close or gives up a peer that does not read;
    /// whether it gave up.
    fn watch(&mut self, cx: &mut Context<'_>) -> bool;

    /// How many bytes were fed and wait for this side to send them.
    fn fed(&self) -> usize;

    /// Whether the stream took all that was to be written, and Close was not sent: there is no deadline.
    fn is_at_rest(&self) -> bool;

    /// See [`Sender::deadline`].
    fn send_deadline(&mut self, now: Duration) -> Option<Duration>;

    /// Nothing can be sent any more.
    fn shut(&mut self);
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) receiver: Receiver,
    pub(super) replies: Replies,
    pub(super) input: RecvBuf,
    timer: Timer,
    leaving: Option<Box<(Leaving, Linger)>>,
    budget: u32,
    /// Its place in a server.
    pub(super) seat: Option<Arc<Seat>>,
    /// The `Stream` gave an error; it has ended.
    pub(super) failed: bool,
}

/// How far the socket has been left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Flush,
    Shutdown,
    Drain,
    Over,
}

impl Reader {
    pub(super) fn new(receiver: Receiver, replies: Replies, input: RecvBuf) -> Self {
        let (timer, leaving) = (Timer::default(), None);
        let (budget, seat, failed) = (BUDGET, None, false);
        Self { receiver, replies, input, timer, leaving, budget, seat, failed }
    }

    /// Waits for an event; there is none after a clean close.
    #[inline]
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        // The common case at once; what it may not do is looked at below.
        if self.budget > 0 && link.fed() < self.flush_from() && self.receiver.whole(&mut self.input)
        {
            self.charge(self.input.assembled_len());
            return Poll::Ready(Ok(()));
        }
        self.poll_any(cx, link, parts)
    }

    /// From so many queued bytes on they are sent before the next event.
    #[inline]
    fn flush_from(&self) -> usize {
        FLUSH_FROM.min(self.receiver.config().get().max_send_queue)
    }

    /// Takes an event of so many bytes off the budget.
    #[inline]
    fn charge(&mut self, size: usize) {
        let size = u32::try_from(size).unwrap_or(BUDGET);
        self.budget = self.budget.saturating_sub(size.saturating_add(EVENT));
    }

    #[inline(never)]
    fn poll_any(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        if let Some(order) = self.seat.as_ref().and_then(|seat| seat.order()) {
            self.obey(&order, link);
        }
        if self.budget == 0 {
            // The close timeout holds for a peer that never stops. What was begun before the caller
            // came back may still have its rest in the socket, so other timers wait for a read.
            if link.close_sent() {
                self.expire(link);
            }
            return self.take_turns(cx);
        }
        // Once Close is queued, the wait for input sends it, under the close timeout.
        if link.fed() >= self.flush_from() && !link.close_sent() && self.leaving.is_none() {
            ready!(self.poll_flush(cx, link))?;
        }
        loop {
            let close_sent = link.close_sent();
            let (input, replies) = (&mut self.input, &mut self.replies);
            match self.receiver.step(input, replies, close_sent, parts) {
                Ok(Progress::Event) => {
                    if !self.replies.is_empty() {
                        link.answer(&mut self.replies);
                    }
                    self.charge(self.input.event_len());
                    return Poll::Ready(Ok(()));
                }
                Ok(Progress::NeedInput) => {
                    // Only here, when all that came is decoded: the pong may be the last of it.
                    if self.budget == 0 {
                        self.expire(link);
                        return self.take_turns(cx);
                    }
                    ready!(self.poll_wait(cx, link))?;
                    self.budget = self.budget.saturating_sub(EVENT);
                    if self.receiver.whole(&mut self.input) {
                        self.charge(self.input.assembled_len());
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
        self.budget = BUDGET;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the connection if a deadline is reached.
    fn expire(&mut self, link: &mut impl Link) {
        let now = now();
        if link.send_deadline(now).is_some_and(|at| at <= now) {
            self.receiver.give_up(End::TimedOut(Timeout::Send));
        }
        self.receiver.on_time(now, &self.input, &mut self.replies, link.state());
    }

    /// Sends all that waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut impl Link,
    ) -> Poll<Result<(), Error>> {
        match link.poll_flush(cx, &mut self.replies) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => {
                link.shut();
                Poll::Ready(Err(error.into()))
            }
            Poll::Pending => {
                ready!(self.timer.poll(cx, link.send_deadline(now())));
                let end = End::TimedOut(Timeout::Send);
                self.receiver.give_up(end.clone());
                link.shut();
                Poll::Ready(Err(Error::Ended(end)))
            }
        }
    }

    /// Sends what waits, then reads once; ready when it is worth to decode again.
    fn poll_wait(&mut self, cx: &mut Context<'_>, link: &mut impl Link) -> Poll<Result<(), Error>> {
        if let Poll::Ready(Err(_)) = link.poll_flush(cx, &mut self.replies) {
            // What cannot be sent is lost, but what the peer said last may still be read.
            link.shut();
        }
        match link.poll_read(cx, &mut self.input) {
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
        self.budget = BUDGET;
        // Nothing is held while waiting but what has to be.
        self.input.release();
        // Before looking what the sending side did, or its news could fall in between.
        if link.watch(cx) {
            self.receiver.give_up(End::TimedOut(Timeout::Send));
            return Poll::Ready(Ok(()));
        }
        if let Some(order) = self.seat.as_ref().and_then(|seat| seat.poll(cx)) {
            self.obey(&order, link);
            return Poll::Ready(Ok(()));
        }
        // Most waits are without a deadline, and need not know the time.
        if link.is_at_rest() && self.receiver.is_at_rest(&self.input) {
            self.timer = Timer::default();
            return Poll::Pending;
        }
        let (now, state) = (now(), link.state());
        let sending = link.send_deadline(now);
        let receiving = self.receiver.deadline(now, &self.input, state);
        ready!(self.timer.poll(cx, sending.into_iter().chain(receiving).min()));
        self.expire(link);
        Poll::Ready(Ok(()))
    }

    /// Does what the server wants of its connection.
    #[cold]
    fn obey(&mut self, order: &Order, link: &mut impl Link) {
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
        let receiver = &self.receiver;
        let (leaving, linger) = &mut **self.leaving.get_or_insert_with(|| {
            let first = match receiver.end() {
                // There is nobody who would read.
                Some(End::PeerGone(_) | End::TimedOut(Timeout::Send | Timeout::Close)) => {
                    Leaving::Shutdown
                }
                _ => Leaving::Flush,
            };
            Box::new((first, receiver.linger()))
        });
        loop {
            let step = match leaving {
                Leaving::Flush => link.poll_flush(cx, &mut self.replies).map(drop),
                Leaving::Shutdown if linger.shutdown_first() => link.poll_shutdown(cx).map(drop),
                Leaving::Shutdown => Poll::Ready(()),
                Leaving::Drain if linger.is_done() => link.poll_shutdown(cx).map(drop),
                Leaving::Drain => match link.poll_read(cx, &mut self.input) {
                    Poll::Ready(Ok(())) => {
                        linger.discard(self.input.discard());
                        continue;
                    }
                    Poll::Pending => {
                        // Who was sent away holds no buffer until it has gone.
                        self.input.release();
                        Poll::Pending
                    }
                    other => other.map(drop),
                },
                Leaving::Over => {
                    if let Some(seat) = &self.seat {
                        seat.ended(receiver.end());
                    }
                    self.input.release();
                    return Poll::Ready(());
                }
            };
            if step.is_pending() {
                ready!(self.timer.poll(cx, linger.deadline(now())));
                // Too late for what is left.
                *leaving = Leaving::Drain;
            }
            *leaving = match leaving {
                Leaving::Flush => {
                    link.shut();
                    Leaving::Shutdown
                }
                Leaving::Shutdown => {
                    link.shut();
                    Leaving::Drain
                }
                Leaving::Drain | Leaving::Over => {
                    link.shut();
                    self.timer = Timer::default();
                    Leaving::Over
                }
            };
        }
    }
}

/// The sending side, with its own handle of the stream.
pub(super) struct Writer<W: AsyncWrite + Unpin> {
    /// `None` only once `into_stream` has taken it.
    stream: Option<W>,
    pub(super) sender: Sender,
    pub(super) out: SendBuf,
    /// Present once two tasks may wait for the stream to take bytes, or one for what it buffered.
    sharing: Option<Box<Sharing>>,
    /// Bytes were written and the stream was not flushed.
    dirty: bool,
    /// Bytes that were queued were dropped: whoever waits for them must not be told that they left.
    lost: bool,
    /// The sending side gave up a peer that does not read.
    gave_up: bool,
}

/// What the sending side has beside the receiving one.
#[derive(Default)]
struct Sharing {
    waiters: Arc<Waiters>,
    timer: Timer,
    /// When the wait for the stream's own flush began, with nothing left to write.
    flush_since: Option<Duration>,
    /// A broadcast message that waits until all before it has left.
    newest: Option<Prepared>,
}

impl<W: AsyncWrite + Unpin> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("sender", &self.sender)
            .field("queued", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W, sender: Sender) -> Self {
        Self {
            stream: Some(stream),
            sender,
            out: SendBuf::new(),
            sharing: None,
            dirty: false,
            lost: false,
            gave_up: false,
        }
    }

    /// From now on the two sides may be driven by different tasks.
    pub(super) fn share(&mut self) {
        self.sharing.get_or_insert_default();
    }

    pub(super) fn get_ref(&self) -> &W {
        match &self.stream {
            Some(stream) => stream,
            None => unreachable!("into_stream consumes the writer"),
        }
    }

    pub(super) fn into_stream(mut self) -> io::Result<W> {
        self.stream.take().ok_or(ErrorKind::NotConnected.into())
    }

    /// The same writer around another handle of the stream.
    pub(super) fn map<V: AsyncWrite + Unpin>(mut self, stream: impl FnOnce(W) -> V) -> Writer<V> {
        let config = self.sender.config().clone();
        Writer {
            stream: self.stream.take().map(stream),
            sender: core::mem::replace(&mut self.sender, Sender::server(config, None)),
            out: core::mem::take(&mut self.out),
            sharing: self.sharing.take(),
            dirty: self.dirty,
            lost: self.lost,
            gave_up: self.gave_up,
        }
    }

    /// Whether a message would be refused for lack of room.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= self.sender.config().get().max_send_queue
    }

    /// Writes the replies and all that is queued.
    pub(super) fn poll_send(
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
                // Refused by a connection that was closed meanwhile, where nobody waits for it.
                let _ = self.sender.send_prepared(&newest, &mut self.out);
            }
            if self.out.is_empty() && !self.dirty {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_stream(cx, side, Self::poll_write_all))?;
        }
    }

    /// Whether the stream took all that was to be written, and Close was not sent.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.dirty && !self.sender.close_sent()
    }

    /// When the peer must have taken something; a stream that buffers (TLS) has to pass it on.
    pub(super) fn deadline(&mut self, now: Duration) -> Option<Duration> {
        if !self.out.is_empty() || !self.dirty {
            self.forget_flush();
            return self.sender.deadline(now, &self.out);
        }
        let since = *self.sharing.get_or_insert_default().flush_since.get_or_insert(now);
        Some(since.saturating_add(self.sender.config().get().send_timeout?))
    }

    /// Writes all that is queued, for the sending side.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        replies: &mut Replies,
    ) -> Poll<Result<(), Error>> {
        if self.lost {
            return Poll::Ready(Err(Error::Io(ErrorKind::BrokenPipe.into())));
        }
        let error = match self.poll_send(cx, Side::Sending, replies) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => error.into(),
            Poll::Pending => {
                let deadline = self.deadline(now());
                ready!(self.sharing.get_or_insert_default().timer.poll(cx, deadline));
                self.gave_up = true;
                Error::Ended(End::TimedOut(Timeout::Send))
            }
        };
        self.shut();
        Poll::Ready(Err(error))
    }

    /// Sends a broadcast message as far as the stream takes it at once; the receiving side writes the rest.
    pub(super) fn offer(&mut self, message: &Prepared, slow: SlowPeer, mark: usize) -> Offered {
        if self.sender.is_closed() {
            return Offered::Refused;
        }
        // What was kept goes before what is new, or instead of it.
        let kept = slow == SlowPeer::KeepNewest
            && self.sharing.as_ref().is_some_and(|sharing| sharing.newest.is_some());
        if kept || self.out.len() > mark || self.is_full() {
            return match slow {
                SlowPeer::Skip => Offered::Skipped,
                SlowPeer::KeepNewest => {
                    self.sharing.get_or_insert_default().newest = Some(message.clone());
                    Offered::Kept
                }
                SlowPeer::Drop => {
                    self.gave_up = true;
                    self.shut();
                    Offered::Dropped
                }
            };
        }
        // Most peers take all at once. Who waits is looked up for the others alone: with many members
        // nothing is in the cache, and each line that is not touched counts.
        let mut written = match self.offer_at_once(message) {
            Ok(written) => written,
            Err(_) => return Offered::Refused,
        };
        if written.is_pending() {
            let waiters = Arc::clone(&self.sharing.get_or_insert_default().waiters);
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
        // A queue takes memory, which most peers need not have.
        if self.out.is_empty()
            && let Some(stream) = &mut self.stream
            && let Some(mut frame) = self.sender.prepared_frame(message, &self.out)?
        {
            self.dirty = true;
            match Pin::new(stream).poll_write(cx, &frame) {
                Poll::Ready(Ok(n)) => frame.advance(n),
                Poll::Ready(Err(error)) => return Ok(Poll::Ready(Err(error))),
                Poll::Pending => {}
            }
            self.out.append_common(frame);
        } else {
            self.sender.send_prepared(message, &mut self.out)?;
        }
        Ok(self.poll_write_all(cx))
    }

    /// Writes what the stream takes at once.
    pub(super) fn try_write(&mut self) {
        if self.stream.is_some() && !self.out.is_empty() {
            let _ = self.poll_write_all(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Queues a message whose payload is lent. Of a large one the stream takes at once what it can, from
    /// where it lies; only the rest is copied.
    #[inline]
    pub(super) fn feed(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        if message.as_bytes().len() < DIRECT_FROM {
            return self.sender.send(message, &mut self.out);
        }
        self.feed_directly(message)
    }

    #[inline(never)]
    fn feed_directly(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        let mut frame = self.sender.send_borrowed(message, &mut self.out)?;
        // Without this a stream would take the header alone.
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_write_vectored()) {
            self.dirty = true;
            // Whoever flushes next waits for the stream, and sees its error.
            let cx = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(Ok(n)) = poll_write_slices(stream, cx, frame.slices()) {
                frame.sent(n);
            }
        }
        Ok(())
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while !self.out.is_empty() {
            self.dirty = true;
            let written = match self.out.only_slice() {
                // The system call for one slice is the cheaper one.
                Some(slice) => Pin::new(&mut *stream).poll_write(cx, slice),
                None => poll_write_slices(stream, cx, self.out.pending_slices()),
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.out.sent(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.out.release();
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.dirty = false;
        self.forget_flush();
        Poll::Ready(Ok(()))
    }

    fn forget_flush(&mut self) {
        if let Some(sharing) = &mut self.sharing {
            sharing.flush_since = None;
        }
    }

    pub(super) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
    ) -> Poll<io::Result<()>> {
        self.poll_stream(cx, side, |writer, cx| match &mut writer.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        })
    }

    /// Polls the stream such that every task that waits for it is woken.
    fn poll_stream<T>(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self.waiters() {
            // Known before the stream is asked: it may be ready for others in between.
            Some(waiters) => {
                waiters.register(side, cx.waker());
                poll(self, &mut Context::from_waker(&Waker::from(waiters)))
            }
            None => poll(self, cx),
        }
    }

    /// See [`Link::watch`].
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(waiters) = self.waiters() {
            waiters.register(Side::Receiving, cx.waker());
        }
        self.gave_up
    }

    /// Tells both sides that there is something new to know.
    pub(super) fn wake(&self) {
        if let Some(waiters) = self.waiters() {
            waiters.wake();
        }
    }

    fn waiters(&self) -> Option<Arc<Waiters>> {
        self.sharing.as_ref().map(|sharing| Arc::clone(&sharing.waiters))
    }

    pub(super) fn shut(&mut self) {
        self.sender.shut();
        self.lost |= !self.out.is_empty() || self.dirty;
        self.out = SendBuf::new();
        self.dirty = false;
        self.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link for Writer<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        poll_read(stream, cx, input)
    }

    fn close_sent(&self) -> bool {
        self.sender.close_sent()
    }

    fn state(&self) -> SendState {
        self.sender.state(&self.out)
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

    fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        Writer::watch(self, cx)
    }

    fn fed(&self) -> usize {
        self.out.len()
    }

    fn is_at_rest(&self) -> bool {
        Writer::is_at_rest(self)
    }

    fn send_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.deadline(now)
    }

    fn shut(&mut self) {
        Writer::shut(self);
    }
}

impl<W: AsyncWrite + Unpin> Drop for Writer<W> {
    fn drop(&mut self) {
        self.try_write();
    }
}

fn poll_write_slices<'a>(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    pending: impl Iterator<Item = &'a [u8]>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slot, slice) in slices.iter_mut().zip(pending) {
        *slot = IoSlice::new(slice);
        count += 1;
    }
    Pin::new(stream).poll_write_vectored(cx, &slices[..count])
}

/// Reads once into the buffer's room.
pub(super) fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    input: &mut RecvBuf,
) -> Poll<io::Result<()>> {
    let mut buffer = ReadBuf::new(input.space());
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    match buffer.filled().len() {
        0 => input.eof(),
        n => input.filled(n),
    }
    Poll::Ready(Ok(()))
}
