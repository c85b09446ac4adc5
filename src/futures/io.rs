//! The loops: read when the receiver needs input, write what the sender queued, leave politely.
//!
//! All state lives here and none in a future, so that a future can be dropped at any point. The two
//! directions are one value and one socket; halves share it behind a lock that is held for one poll.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use ::futures_io::{AsyncRead, AsyncWrite};
use futures_timer::Delay;

use crate::adapter::{Error, FLUSH_FROM, epoch, is_peer_gone, result_of};
use crate::asynchronous::waiters::{Side, Waiters};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::error::{End, Timeout};
use crate::protocol::leave::Linger;
use crate::protocol::recv::{Progress, Receiver, Replies};
use crate::protocol::send::Sender;

/// How many slices one vectored write takes.
const MAX_SLICES: usize = 16;

/// After this many events that were ready at once, other tasks get a turn.
const BUDGET: u8 = 128;

/// An event counts once more for every so many bytes: unmasking, checking and inflating take time.
const BYTES_PER_TURN: usize = 8 << 10;

pub(super) fn now() -> Duration {
    // The first to ask may read the clock before it begins.
    Instant::now().saturating_duration_since(epoch())
}

/// One timer, there only while there is something to wait for, with the deadline it was set for.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<(Duration, Delay)>);

impl Timer {
    /// Ready when `deadline` is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Duration>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.0 = None;
            return Poll::Pending;
        };
        loop {
            let left = deadline.saturating_sub(now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let (at, delay) = self.0.get_or_insert_with(|| (deadline, Delay::new(left)));
            // Deadlines that move on are common, and a timer that fires too early does no harm.
            if *at > deadline {
                (*at, *delay) = (deadline, Delay::new(left));
            }
            ready!(Pin::new(delay).poll(cx));
            self.0 = None;
        }
    }
}

/// How far the socket has been left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Flush,
    Shutdown,
    Drain,
    Over,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) receiver: Receiver,
    pub(super) replies: Replies,
    pub(super) input: RecvBuf,
    leaving: Option<Box<(Leaving, Linger)>>,
    budget: u8,
    /// A sending half minds what it fed itself.
    pub(super) is_half: bool,
    /// The `Stream` gave its last item.
    pub(super) done: bool,
}

impl Reader {
    pub(super) fn new(receiver: Receiver, replies: Replies, input: RecvBuf) -> Self {
        let (leaving, is_half, done) = (None, false, false);
        Self { receiver, replies, input, leaving, budget: BUDGET, is_half, done }
    }

    /// Waits for an event; there is none after a clean close.
    pub(super) fn poll_next<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket<S>,
        parts: bool,
    ) -> Poll<Result<(), Error>> {
        if self.budget == 0 {
            // The close timeout holds for a peer that never stops. What was begun before the caller
            // came back may still have its rest in the socket, so other timers wait for a read.
            if socket.sender.close_sent() {
                self.expire(socket);
            }
            return self.take_turns(cx);
        }
        // Once Close is queued, the wait for input sends it, under the close timeout.
        if !self.is_half
            && socket.out.len() >= FLUSH_FROM.min(socket.max_queue())
            && !socket.sender.close_sent()
            && self.leaving.is_none()
        {
            ready!(self.poll_flush(cx, socket, Side::Receiving))?;
        }
        loop {
            let close_sent = socket.sender.close_sent();
            let (input, replies) = (&mut self.input, &mut self.replies);
            let progress = if parts {
                self.receiver.advance_parts(input, replies, close_sent)
            } else {
                self.receiver.advance(input, replies, close_sent)
            };
            match progress {
                Ok(Progress::Event) => {
                    socket.sender.answer(&mut self.replies, &mut socket.out);
                    let size = self.input.event_len() / BYTES_PER_TURN;
                    let cost = u8::try_from(size).unwrap_or(BUDGET).saturating_add(1);
                    self.budget = self.budget.saturating_sub(cost);
                    return Poll::Ready(Ok(()));
                }
                Ok(Progress::NeedInput) => {
                    // Only here, when all that came is decoded: a pong or Close may be the last of it.
                    if self.budget == 0 {
                        self.expire(socket);
                        return self.take_turns(cx);
                    }
                    ready!(self.poll_wait(cx, socket))?;
                    self.budget -= 1;
                }
                Ok(Progress::Ended) | Err(_) => {
                    ready!(self.poll_leave(cx, socket));
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
    fn expire<S: AsyncWrite + Unpin>(&mut self, socket: &mut Socket<S>) {
        let now = now();
        if socket.deadline(now).is_some_and(|at| at <= now) {
            self.receiver.give_up(End::TimedOut(Timeout::Send));
        }
        let state = socket.sender.state(&socket.out);
        self.receiver.on_time(now, &self.input, &mut self.replies, state);
    }

    /// Writes all that is queued.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket<S>,
        side: Side,
    ) -> Poll<Result<(), Error>> {
        let result = ready!(socket.poll_flush(cx, side, &mut self.replies));
        if let Err(Error::Ended(end)) = &result {
            self.receiver.give_up(end.clone());
        }
        Poll::Ready(result)
    }

    /// Sends what waits, then reads once; ready when it is worth to decode again.
    fn poll_wait<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket<S>,
    ) -> Poll<Result<(), Error>> {
        if let Poll::Ready(Err(_)) = socket.poll_send(cx, Side::Receiving, &mut self.replies) {
            // What cannot be sent is lost, but what the peer said last may still be read.
            socket.shut();
        }
        match socket.poll_read(cx, &mut self.input) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => {
                self.receiver.transport_failed(&self.input);
                if is_peer_gone(&error) {
                    return Poll::Ready(Ok(()));
                }
                socket.shut();
                return Poll::Ready(Err(error.into()));
            }
            Poll::Pending => {}
        }
        self.budget = BUDGET;
        // Nothing is held while waiting but what has to be.
        self.input.release();
        if socket.gave_up {
            self.receiver.give_up(End::TimedOut(Timeout::Send));
            return Poll::Ready(Ok(()));
        }
        let (now, state) = (now(), socket.sender.state(&socket.out));
        let sending = socket.deadline(now);
        let receiving = self.receiver.deadline(now, &self.input, state);
        let deadline = sending.into_iter().chain(receiving).min();
        ready!(socket.timer(Side::Receiving).poll(cx, deadline));
        self.expire(socket);
        Poll::Ready(Ok(()))
    }

    /// Leaves the socket so that the last bytes arrive.
    fn poll_leave<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket<S>,
    ) -> Poll<()> {
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
            let (step, next) = match leaving {
                Leaving::Flush => {
                    let sent = socket.poll_send(cx, Side::Receiving, &mut self.replies);
                    (sent.map(drop), Leaving::Shutdown)
                }
                Leaving::Shutdown if linger.shutdown_first() => {
                    (socket.poll_close(cx, Side::Receiving).map(drop), Leaving::Drain)
                }
                Leaving::Shutdown => (Poll::Ready(()), Leaving::Drain),
                Leaving::Drain if linger.is_done() => {
                    (socket.poll_close(cx, Side::Receiving).map(drop), Leaving::Over)
                }
                Leaving::Drain => match socket.poll_read(cx, &mut self.input) {
                    Poll::Ready(Ok(())) => {
                        linger.discard(self.input.discard());
                        continue;
                    }
                    Poll::Pending => {
                        // Who was sent away holds no buffer until it has gone.
                        self.input.release();
                        (Poll::Pending, Leaving::Over)
                    }
                    other => (other.map(drop), Leaving::Over),
                },
                Leaving::Over => {
                    self.input.release();
                    *socket.timer(Side::Receiving) = Timer::default();
                    return Poll::Ready(());
                }
            };
            let mut next = next;
            if step.is_pending() {
                ready!(socket.timer(Side::Receiving).poll(cx, linger.deadline(now())));
                // Too late for what is left.
                next = Leaving::Over;
            }
            socket.shut();
            *leaving = next;
        }
    }
}

/// The stream and the sending side.
pub(super) struct Socket<S: AsyncWrite + Unpin> {
    /// `None` only once `into_stream` has taken it.
    stream: Option<S>,
    pub(super) sender: Sender,
    pub(super) out: SendBuf,
    timers: [Timer; 2],
    /// Present once two tasks may wait for the stream to take bytes.
    waiters: Option<Arc<Waiters>>,
    /// Bytes were written and the stream was not flushed.
    dirty: bool,
    /// When the wait for the stream's own flush began, with nothing left to write.
    flush_since: Option<Duration>,
    /// Bytes that were queued were dropped: whoever waits for them must not be told that they left.
    lost: bool,
    /// The sending side gave up a peer that does not read.
    gave_up: bool,
}

impl<S: AsyncWrite + Unpin> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("sender", &self.sender)
            .field("queued", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, sender: Sender) -> Self {
        Self {
            stream: Some(stream),
            sender,
            out: SendBuf::new(),
            timers: [Timer::default(), Timer::default()],
            waiters: None,
            dirty: false,
            flush_since: None,
            lost: false,
            gave_up: false,
        }
    }

    /// From now on the two sides may be driven by different tasks.
    pub(super) fn share(&mut self) {
        self.waiters.get_or_insert_default();
    }

    pub(super) fn get_ref(&self) -> &S {
        match &self.stream {
            Some(stream) => stream,
            None => unreachable!("into_stream consumes the socket"),
        }
    }

    pub(super) fn into_stream(mut self) -> io::Result<S> {
        self.stream.take().ok_or(ErrorKind::NotConnected.into())
    }

    fn timer(&mut self, side: Side) -> &mut Timer {
        &mut self.timers[side as usize]
    }

    fn max_queue(&self) -> usize {
        self.sender.config().get().max_send_queue
    }

    /// Whether a message would be refused for lack of room.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= self.max_queue()
    }

    /// Writes the replies and all that is queued.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        replies: &mut Replies,
    ) -> Poll<io::Result<()>> {
        // Also with nothing to write: the other side's news wake this one.
        self.with_waker(cx, side, |socket, cx| {
            loop {
                socket.sender.answer(replies, &mut socket.out);
                if socket.out.is_empty() && !socket.dirty {
                    return Poll::Ready(Ok(()));
                }
                ready!(socket.poll_write_all(cx))?;
            }
        })
    }

    /// Writes all that is queued, for at most the time that the peer may take.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        replies: &mut Replies,
    ) -> Poll<Result<(), Error>> {
        if self.lost {
            return Poll::Ready(Err(Error::Io(ErrorKind::BrokenPipe.into())));
        }
        let error = match self.poll_send(cx, side, replies) {
            Poll::Ready(Ok(())) => {
                *self.timer(side) = Timer::default();
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => error.into(),
            Poll::Pending => {
                let deadline = self.deadline(now());
                ready!(self.timer(side).poll(cx, deadline));
                self.gave_up = true;
                Error::Ended(End::TimedOut(Timeout::Send))
            }
        };
        self.shut();
        Poll::Ready(Err(error))
    }

    /// When the peer must have taken something; a stream that buffers (TLS) has to pass it on.
    fn deadline(&mut self, now: Duration) -> Option<Duration> {
        if !self.out.is_empty() || !self.dirty {
            self.flush_since = None;
            return self.sender.deadline(now, &self.out);
        }
        let since = *self.flush_since.get_or_insert(now);
        Some(since.saturating_add(self.sender.config().get().send_timeout?))
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while !self.out.is_empty() {
            self.dirty = true;
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slot, slice) in slices.iter_mut().zip(self.out.pending_slices()) {
                *slot = IoSlice::new(slice);
                count += 1;
            }
            let written = match &slices[..count] {
                // The system call for one slice is the cheaper one.
                [slice] => Pin::new(&mut *stream).poll_write(cx, slice),
                slices => Pin::new(&mut *stream).poll_write_vectored(cx, slices),
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
        (self.dirty, self.flush_since) = (false, None);
        Poll::Ready(Ok(()))
    }

    /// Writes what the stream takes at once.
    pub(super) fn try_write(&mut self) {
        if self.stream.is_some() && !self.out.is_empty() {
            let _ = self.poll_write_all(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Shuts the write side of the stream.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<io::Result<()>> {
        self.with_waker(cx, side, |socket, cx| match &mut socket.stream {
            Some(stream) => Pin::new(stream).poll_close(cx),
            None => Poll::Ready(Ok(())),
        })
    }

    /// Polls the stream such that every task that waits for it is woken.
    fn with_waker<T>(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self.waiters.clone() {
            Some(waiters) => {
                waiters.register(side, cx.waker());
                poll(self, &mut Context::from_waker(&Waker::from(waiters)))
            }
            None => poll(self, cx),
        }
    }

    /// Tells both sides that there is something new to know.
    pub(super) fn wake(&self) {
        if let Some(waiters) = &self.waiters {
            Waker::from(Arc::clone(waiters)).wake();
        }
    }

    /// Nothing can be sent any more.
    fn shut(&mut self) {
        self.sender.shut();
        self.lost |= !self.out.is_empty() || self.dirty;
        self.out = SendBuf::new();
        self.dirty = false;
        self.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        poll_read(stream, cx, input)
    }
}

impl<S: AsyncWrite + Unpin> Drop for Socket<S> {
    fn drop(&mut self) {
        self.try_write();
    }
}

/// Reads once into the buffer's room.
pub(super) fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    input: &mut RecvBuf,
) -> Poll<io::Result<()>> {
    match ready!(Pin::new(stream).poll_read(cx, input.space()))? {
        0 => input.eof(),
        n => input.filled(n),
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::config::Config;
    use crate::protocol::connection::Connection;

    /// Takes all, and passes it on or never does.
    struct Buffering {
        stuck: bool,
    }

    impl AsyncWrite for Buffering {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.stuck { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_stream_has_the_send_timeout_to_flush_what_it_took_last() {
        let second = Duration::from_secs(1);
        let config = Config::default().send_timeout(20 * second);
        let (_, sender, _) = Connection::server(config).into_halves();
        let mut socket = Socket::new(Buffering { stuck: true }, sender);
        let feed = |socket: &mut Socket<Buffering>| {
            socket.sender.send("x", &mut socket.out).expect("there is room");
        };
        assert_eq!(socket.deadline(second), None);
        feed(&mut socket);
        socket.try_write();
        assert_eq!(socket.deadline(2 * second), Some(22 * second));
        assert_eq!(socket.deadline(3 * second), Some(22 * second), "it still waits");
        // Bytes that wait have a timer of their own; when they are taken, the stream has time anew.
        feed(&mut socket);
        assert_eq!(socket.deadline(4 * second), Some(24 * second));
        socket.try_write();
        assert_eq!(socket.deadline(5 * second), Some(25 * second));
        // As it has when it passed all on, and took more.
        for stuck in [false, true] {
            socket.stream = Some(Buffering { stuck });
            feed(&mut socket);
            socket.try_write();
        }
        assert_eq!(socket.deadline(6 * second), Some(26 * second));
    }
}
