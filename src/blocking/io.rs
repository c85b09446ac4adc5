//! The loops: read when the receiver needs input, write what the sender queued, leave politely.

use core::time::Duration;
use std::io::{self, ErrorKind, IoSlice, Read};

use super::stream::BlockingStream;
use crate::adapter::{Error, FLUSH_FROM, epoch, is_peer_gone, result_of};
use crate::memory::pool;
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::error::{End, Timeout};
use crate::protocol::leave::{Leave, LeaveStep};
use crate::protocol::recv::{Progress, Receiver, Replies};
use crate::protocol::send::Sender;
use crate::protocol::send_state::SendState;

/// How many slices one vectored write takes.
const MAX_SLICES: usize = 16;

/// While replies wait for a peer that does not read, how often to try again beside reading.
const RETRY: Duration = Duration::from_millis(20);

pub(super) fn now() -> Duration {
    epoch().elapsed()
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A timeout as sockets take it: they refuse zero.
fn at_least_a_little(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// What the receiving side needs of the other: its stream to read from, and a way to the writer.
pub(super) trait Link {
    type Stream: BlockingStream;

    fn stream(&mut self) -> io::Result<&mut Self::Stream>;

    fn close_sent(&self) -> bool;

    /// See [`Sender::state`].
    fn state(&self) -> SendState;

    /// Puts the replies before whatever is queued from now on.
    fn answer(&mut self, replies: &mut Replies);

    /// Sends the replies and all that is queued; whether nothing was left waiting.
    fn flush(&mut self, replies: &mut Replies) -> io::Result<bool>;

    /// Like `flush`, for the last time: a sender that is at work counts as something waiting.
    fn finish(&mut self, replies: &mut Replies) -> io::Result<bool>;

    /// How long to read before looking whether the other side began to close.
    fn look_up(&self) -> Option<Duration>;

    /// How many bytes were fed and wait for this side to send them.
    fn fed(&self) -> usize;

    /// Nothing can be sent any more.
    fn shut(&mut self);
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) receiver: Receiver,
    pub(super) replies: Replies,
    pub(super) input: RecvBuf,
    left: bool,
}

impl Reader {
    pub(super) fn new(receiver: Receiver, replies: Replies, input: RecvBuf) -> Self {
        Self { receiver, replies, input, left: false }
    }

    /// Waits for an event; there is none after a clean close.
    #[inline]
    pub(super) fn next(&mut self, link: &mut impl Link, parts: bool) -> Result<(), Error> {
        // The common case at once.
        if link.fed() < self.flush_from() && self.receiver.whole(&mut self.input) {
            return Ok(());
        }
        self.next_of_any(link, parts)
    }

    /// From so many queued bytes on they are sent before the next event.
    fn flush_from(&self) -> usize {
        FLUSH_FROM.min(self.receiver.config().get().max_send_queue)
    }

    #[inline(never)]
    fn next_of_any(&mut self, link: &mut impl Link, parts: bool) -> Result<(), Error> {
        // Once Close is queued, the wait for input sends it, under the close timeout.
        if link.fed() >= self.flush_from() && !link.close_sent() {
            self.flush(link)?;
        }
        // What was begun before the caller came back may still have its rest in the socket: read once
        // before a timer that ran meanwhile counts.
        let mut lenient = true;
        let mut quiet_since = None;
        loop {
            let close_sent = link.close_sent();
            let (input, replies) = (&mut self.input, &mut self.replies);
            let progress = if parts {
                self.receiver.advance_parts(input, replies, close_sent)
            } else {
                self.receiver.advance(input, replies, close_sent)
            };
            match progress {
                Ok(Progress::Event) => {
                    if !self.replies.is_empty() {
                        link.answer(&mut self.replies);
                    }
                    return Ok(());
                }
                Ok(Progress::NeedInput) => {
                    self.wait(link, lenient && !close_sent, &mut quiet_since)?;
                    lenient = false;
                }
                Ok(Progress::Ended) | Err(_) => {
                    self.leave(link);
                    let end = self.receiver.end().unwrap_or(&End::Unconfirmed);
                    return result_of(end);
                }
            }
        }
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self, link: &mut impl Link) -> Result<(), Error> {
        match link.flush(&mut self.replies) {
            Ok(_) => Ok(()),
            Err(error) if timed_out(&error) => {
                let end = End::TimedOut(Timeout::Send);
                self.receiver.give_up(end.clone());
                link.shut();
                Err(Error::Ended(end))
            }
            Err(error) => {
                link.shut();
                Err(error.into())
            }
        }
    }

    /// Sends what waits, then reads once.
    fn wait(
        &mut self,
        link: &mut impl Link,
        lenient: bool,
        quiet_since: &mut Option<Duration>,
    ) -> Result<(), Error> {
        let close_sent = link.close_sent();
        if close_sent {
            self.limit_writes(link)?;
        }
        let all_sent = match link.flush(&mut self.replies) {
            Ok(all_sent) => all_sent,
            Err(error) if timed_out(&error) => {
                // The close timeout, if it is that one.
                self.on_time(link);
                self.receiver.give_up(End::TimedOut(Timeout::Send));
                return Ok(());
            }
            Err(_) => {
                // What cannot be sent is lost, but what the peer said last may still be read.
                link.shut();
                true
            }
        };
        let now = now();
        let deadline = self.receiver.deadline(now, &self.input, link.state());
        if !lenient && deadline.is_some_and(|at| at <= now) {
            self.on_time(link);
            return Ok(());
        }
        let retry = if all_sent { None } else { Some(RETRY) };
        let ours = deadline.map(|at| at.saturating_sub(now));
        let ours = ours.into_iter().chain(retry).chain(link.look_up()).min();
        let stream = link.stream()?;
        // The timeout that is set on the socket, and when it runs out; known only if it has to be
        // combined with ours.
        let mut users = None;
        let mut users_end = None;
        if let Some(ours) = ours {
            users = stream.read_timeout()?;
            let since = *quiet_since.get_or_insert(now);
            users_end = users.map(|users| since.saturating_add(users));
            let left = users_end.map_or(ours, |at| at.saturating_sub(now).min(ours));
            stream.set_read_timeout(Some(at_least_a_little(left)))?;
        }
        self.input.drop_large();
        pool::share_send();
        let result = stream.read(self.input.space());
        if ours.is_some() {
            stream.set_read_timeout(users)?;
        }
        match result {
            Ok(0) => self.input.eof(),
            Ok(n) => {
                self.input.filled(n);
                *quiet_since = None;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if timed_out(&error) => {
                if ours.is_none() || users_end.is_some_and(|at| at <= self::now()) {
                    return Err(error.into());
                }
                self.on_time(link);
            }
            Err(error) if is_peer_gone(&error) => self.receiver.transport_failed(&self.input),
            Err(error) => {
                self.receiver.transport_failed(&self.input);
                link.shut();
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Lets writes block no longer than the close timeout.
    fn limit_writes(&mut self, link: &mut impl Link) -> io::Result<()> {
        let now = now();
        let Some(at) = self.receiver.deadline(now, &self.input, link.state()) else {
            return Ok(());
        };
        let left = at_least_a_little(at.saturating_sub(now));
        let usual = self.receiver.config().write_timeout();
        link.stream()?.set_write_timeout(Some(usual.map_or(left, |usual| usual.min(left))))
    }

    fn on_time(&mut self, link: &impl Link) {
        self.receiver.on_time(now(), &self.input, &mut self.replies, link.state());
    }

    /// Leaves the socket so that the last bytes arrive.
    fn leave(&mut self, link: &mut impl Link) {
        if core::mem::replace(&mut self.left, true) {
            return;
        }
        let mut leave = self.receiver.leave();
        while leave.step() == LeaveStep::Flush {
            let left = leave.deadline(now()).map(|at| at.saturating_sub(now()));
            if let (Some(left), Ok(stream)) = (left, link.stream()) {
                let _ = stream.set_write_timeout(Some(at_least_a_little(left)));
            }
            match link.finish(&mut self.replies) {
                Ok(false) => {
                    leave.on_time(now());
                    std::thread::sleep(RETRY);
                }
                // It is the last that is sent; if it cannot be, there is nobody to tell.
                _ => leave.done(),
            }
        }
        link.shut();
        if let Ok(stream) = link.stream() {
            drain(stream, &mut leave);
        }
    }
}

/// Does the steps after the last bytes were sent.
pub(super) fn drain(stream: &mut impl BlockingStream, leave: &mut Leave) {
    let mut scratch = [0; 4096];
    let mut is_shut = false;
    loop {
        leave.on_time(now());
        match leave.step() {
            LeaveStep::Shutdown => {
                let _ = stream.shutdown_write();
                is_shut = true;
                leave.done();
            }
            LeaveStep::Drain => {
                let left = leave.deadline(now()).map(|at| at.saturating_sub(now()));
                if let Some(left) = left
                    && stream.set_read_timeout(Some(at_least_a_little(left))).is_err()
                {
                    leave.done();
                    continue;
                }
                match stream.read(&mut scratch) {
                    Ok(n) => leave.discard(n),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => leave.done(),
                }
            }
            LeaveStep::Flush => leave.done(),
            LeaveStep::Over => {
                // Too late to wait, but this waits for nothing.
                if !is_shut {
                    let _ = stream.shutdown_write();
                }
                return;
            }
        }
    }
}

/// The sending side, with its own handle of the stream.
#[derive(Debug)]
pub(super) struct Writer<S: BlockingStream> {
    /// `None` only once `into_stream` has taken it.
    stream: Option<S>,
    pub(super) sender: Sender,
    pub(super) out: SendBuf,
    /// A sending half gave up a peer that does not read.
    pub(super) gave_up: bool,
}

impl<S: BlockingStream> Writer<S> {
    pub(super) fn new(stream: S, sender: Sender) -> Self {
        Self { stream: Some(stream), sender, out: SendBuf::new(), gave_up: false }
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

    /// Whether a message would be refused for lack of room.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= self.sender.config().get().max_send_queue
    }

    /// Writes all that is queued.
    pub(super) fn write_all(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        write_all(stream, &mut self.out)
    }

    /// Writes what the socket takes without blocking; whether that was all.
    pub(super) fn try_write(&mut self) -> io::Result<bool> {
        if self.out.is_empty() {
            return Ok(true);
        }
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        stream.set_nonblocking(true)?;
        let result = write_all(stream, &mut self.out);
        stream.set_nonblocking(false)?;
        match result {
            Ok(()) => Ok(true),
            Err(error) if timed_out(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<S: BlockingStream> Link for Writer<S> {
    type Stream = S;

    fn stream(&mut self) -> io::Result<&mut S> {
        self.stream.as_mut().ok_or(ErrorKind::NotConnected.into())
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

    fn flush(&mut self, replies: &mut Replies) -> io::Result<bool> {
        loop {
            self.sender.answer(replies, &mut self.out);
            if self.out.is_empty() {
                return Ok(true);
            }
            self.write_all()?;
        }
    }

    fn finish(&mut self, replies: &mut Replies) -> io::Result<bool> {
        self.flush(replies)
    }

    fn look_up(&self) -> Option<Duration> {
        None
    }

    fn fed(&self) -> usize {
        self.out.len()
    }

    fn shut(&mut self) {
        self.sender.shut();
        self.out = SendBuf::new();
    }
}

impl<S: BlockingStream> Drop for Writer<S> {
    fn drop(&mut self) {
        if self.stream.is_some() {
            let _ = self.try_write();
        }
    }
}

pub(super) fn write_all(stream: &mut impl BlockingStream, out: &mut SendBuf) -> io::Result<()> {
    while !out.is_empty() {
        let written = match out.only_slice() {
            // The system call for one slice is the cheaper one.
            Some(slice) => stream.write(slice),
            None => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut count = 0;
                for (slot, slice) in slices.iter_mut().zip(out.pending_slices()) {
                    *slot = IoSlice::new(slice);
                    count += 1;
                }
                stream.write_vectored(&slices[..count])
            }
        };
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => out.sent(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}
