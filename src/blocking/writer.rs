//! The sending side: the queue, and the loop that writes it.

use core::time::Duration;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::patience::{Patience, as_timeout, is_reached, is_timeout, now, timeout_until};
use super::reader::Link;
use super::stream::BlockingStream;
use crate::memory::send_buf::SendBuf;
use crate::protocol::error::End;
use crate::protocol::replies::Replies;
use crate::protocol::send::Sender;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;

/// How many slices one vectored write takes.
const MAX_SLICES: usize = 16;

/// How long a write may take that is not meant to wait. Non-blocking mode is no alternative: only the user sets
/// it, and a socket does not tell its mode.
pub(super) const ATTEMPT: Duration = Duration::from_millis(2);

/// The result of writing the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Sent {
    /// The stream took everything.
    All,
    /// The time for this call is over, and bytes still wait.
    Waiting,
    /// Bytes still wait, and the stream does not block: it is in non-blocking mode.
    WouldBlock,
    /// The peer took too little for too long: the connection is over.
    Stalled,
}

/// The sending side, with its own handle of the stream.
#[derive(Debug)]
pub(super) struct Writer<S: BlockingStream> {
    /// `None` only once `into_stream` has taken it.
    stream: Option<S>,
    pub(super) sender: Sender,
    pub(super) out: SendBuf,
    /// The stream took bytes and was not flushed since.
    is_unflushed: bool,
    /// Queued bytes were thrown away. The next flush has to report it.
    lost: bool,
    /// A sending half gave up a peer that does not read.
    pub(super) gave_up: bool,
    /// The write timeout that the stream has now.
    timeout: Option<Duration>,
    /// How far sending has come, for the other half, which does not wait for the lock of this one.
    state: Option<Arc<AtomicU64>>,
}

impl<S: BlockingStream> Writer<S> {
    pub(super) fn new(stream: S, sender: Sender) -> io::Result<Self> {
        let timeout = sender.config().write_timeout().map(as_timeout);
        stream.set_write_timeout(timeout)?;
        Ok(Self {
            stream: Some(stream),
            sender,
            out: SendBuf::new(),
            is_unflushed: false,
            lost: false,
            gave_up: false,
            timeout,
            state: None,
        })
    }

    pub(super) fn get_ref(&self) -> &S {
        match &self.stream {
            Some(stream) => stream,
            None => unreachable!("into_stream consumes the writer"),
        }
    }

    pub(super) fn into_stream(mut self) -> io::Result<S> {
        self.stream.take().ok_or(ErrorKind::NotConnected.into())
    }

    /// From now on this notes how far sending has come, for the receiving half.
    pub(super) fn share_state(&mut self) -> Arc<AtomicU64> {
        let state = AtomicU64::new(self.sender.state(&self.out).to_bits());
        Arc::clone(self.state.insert(Arc::new(state)))
    }

    /// Undoes [`share_state`](Self::share_state).
    pub(super) fn unshare_state(&mut self) {
        self.state = None;
    }

    /// Notes how far sending has come. It does so even during a long write, because bytes that the peer takes
    /// show life.
    pub(super) fn note(&self) {
        if let Some(state) = &self.state {
            state.store(self.sender.state(&self.out).to_bits(), Ordering::Release);
        }
    }

    /// How long one write may take before [`note`](Self::note) has to say what the peer took.
    fn step(&self) -> Option<Duration> {
        let settings = self.sender.config().get();
        let is_watched = self.state.is_some() && settings.ping_interval.is_some();
        settings.pong_timeout.filter(|_| is_watched).map(|timeout| timeout / 4)
    }

    /// Whether a message would be refused for lack of room.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= self.sender.config().get().max_send_queue
    }

    /// Whether bytes wait, here or in the stream.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_unflushed || !self.out.is_empty()
    }

    /// Fails if queued bytes were thrown away.
    pub(super) fn check_lost(&self) -> io::Result<()> {
        if self.lost { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Writes all that is queued. It writes at least once. It stops at `until`, or when the peer has taken too
    /// long.
    pub(super) fn write(&mut self, until: Option<Duration>) -> io::Result<Sent> {
        let mut patience = Patience::default();
        let mut moved_at = None;
        let mut is_first = true;
        while self.is_waiting() {
            let start = now();
            let stalls = self.stalls_at(start, *moved_at.get_or_insert(start));
            if !core::mem::take(&mut is_first) {
                if is_reached(stalls, start) {
                    return Ok(Sent::Stalled);
                }
                if is_reached(until, start) {
                    return Ok(Sent::Waiting);
                }
            }
            let step = self.step().map(|step| start.saturating_add(step));
            let end = stalls.into_iter().chain(until).chain(step).min();
            self.limit(timeout_until(end, start))?;
            match self.write_once() {
                Ok(()) => {
                    self.note();
                    patience.moved();
                    moved_at = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => patience.interrupted(),
                Err(error) if is_timeout(&error) => {
                    let now = now();
                    if patience.does_not_wait(now.saturating_sub(start), self.timeout) {
                        let is_stalled = is_reached(stalls, now);
                        return Ok(if is_stalled { Sent::Stalled } else { Sent::WouldBlock });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All)
    }

    /// When the peer must have taken more bytes.
    fn stalls_at(&mut self, now: Duration, moved_at: Duration) -> Option<Duration> {
        // While nothing moves, the pong timeout holds too, because a thread that writes cannot look for the pong.
        let still = self.sender.config().write_timeout();
        let still = still.map(|timeout| moved_at.saturating_add(timeout));
        self.sender.deadline(now, &self.out).into_iter().chain(still).min()
    }

    /// Sets how long the next write may block.
    fn limit(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.timeout != timeout {
            let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
            stream.set_write_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// Writes once, and flushes the stream if nothing is left.
    fn write_once(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        if !self.out.is_empty() {
            self.is_unflushed = true;
            match write_slices(stream, &self.out)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => self.out.sent(n),
            }
        }
        if self.out.is_empty() {
            let flushed = stream.flush();
            self.is_unflushed = flushed.is_err();
            self.out.set_buffered(self.is_unflushed);
            flushed?;
        }
        Ok(())
    }

    /// Writes what the stream takes at once.
    pub(super) fn attempt(&mut self) -> io::Result<Sent> {
        if !self.is_waiting() {
            return Ok(Sent::All);
        }
        if !self.get_ref().has_timeouts() {
            return Ok(Sent::WouldBlock);
        }
        self.write(Some(now() + ATTEMPT))
    }
}

impl<S: BlockingStream> Link for Writer<S> {
    type Stream = S;

    fn stats(&self, now: Duration) -> Option<Stats> {
        Some(self.sender.stats(now))
    }

    fn stream(&mut self) -> io::Result<&mut S> {
        self.stream.as_mut().ok_or(ErrorKind::NotConnected.into())
    }

    fn state(&self) -> SendState {
        self.sender.state(&self.out)
    }

    fn answer(&mut self, replies: &mut Replies) {
        self.sender.answer(replies, &mut self.out);
    }

    fn flush(&mut self, replies: &mut Replies, until: Option<Duration>) -> io::Result<Sent> {
        loop {
            self.sender.answer(replies, &mut self.out);
            if !self.is_waiting() {
                return Ok(Sent::All);
            }
            match self.write(until)? {
                Sent::All => {}
                other => return Ok(other),
            }
        }
    }

    fn finish(
        &mut self,
        replies: &mut Replies,
        until: Option<Duration>,
    ) -> io::Result<Option<Sent>> {
        self.flush(replies, until).map(Some)
    }

    fn look_up(&self) -> Option<Duration> {
        None
    }

    fn fed(&self) -> usize {
        self.out.len()
    }

    fn ended(&self, _: &End) {}

    fn shut(&mut self) {
        self.sender.shut();
        self.lost |= self.is_waiting();
        self.out = SendBuf::new();
        self.is_unflushed = false;
    }
}

impl<S: BlockingStream> Drop for Writer<S> {
    fn drop(&mut self) {
        if self.stream.is_some() {
            let _ = self.attempt();
        }
    }
}

/// Makes one write, of as many slices as one call takes.
pub(super) fn write_slices(stream: &mut impl BlockingStream, out: &SendBuf) -> io::Result<usize> {
    let first = out.pending();
    if first.len() == out.len() {
        // The system call for one slice is cheaper.
        return stream.write(first);
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slot, slice) in slices.iter_mut().zip(out.pending_slices()) {
        *slot = IoSlice::new(slice);
        count += 1;
    }
    stream.write_vectored(&slices[..count])
}
