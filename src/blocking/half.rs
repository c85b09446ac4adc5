//! Halves for two threads. They share the writer and two small values.
//!
//! - The *slot* holds what the receiving half owes the peer: pongs, a ping, one Close. It is bounded, and its lock
//!   is never held for long.
//! - The *state* says how far sending has come. It is an atomic. Each holder of the writer's lock notes it there.
//!
//! The receiving half fills the slot, then tries the writer's lock. A sending half checks the slot again after
//! it has released the lock. So no reply is left in the slot, and the receiving half never waits for a sender
//! that waits for the peer.
//!
//! Nothing can wake a thread that reads. So the receiving half checks the sending half now and then. That half may
//! have begun to close, given up the peer, or queued bytes that the peer does not take.

use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Instant;

use super::leaving::shutdown_until;
use super::patience::{is_gone, is_timeout, now};
use super::reader::{Limit, Link, Reader};
use super::stream::BlockingStream;
use super::writer::{Sent, Writer};
use super::{WebSocket, deadline_of};
use crate::adapter::reunite::Apart;
use crate::adapter::{Error, FLUSH_FROM, ReuniteError};
use crate::protocol::close::CloseCode;
use crate::protocol::config::Config;
use crate::protocol::error::{End, Refusal, SendError, Timeout};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::replies::Replies;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;

#[derive(Debug)]
struct Shared<S: BlockingStream> {
    writer: Mutex<Writer<S>>,
    slot: Mutex<Replies>,
    /// Whether anything is in the slot. With this, most messages need not lock an empty slot.
    is_owed: AtomicBool,
    /// How far sending has come. It can be read without the writer's lock.
    state: Arc<AtomicU64>,
    /// How the connection ended, once the receiving half knows.
    end: OnceLock<End>,
    receiver_gone: AtomicBool,
    config: Config,
}

/// A panic elsewhere breaks nothing in a writer, so poison is ignored here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl<S: BlockingStream> Shared<S> {
    /// Moves the replies from the slot to the writer's queue. Whether there were any. The caller notes the
    /// writer's state afterwards.
    fn answer(&self, writer: &mut Writer<S>) -> bool {
        if !self.is_owed.load(Ordering::Acquire) {
            return false;
        }
        let mut slot = lock(&self.slot);
        writer.sender.answer(&mut slot, &mut writer.out);
        // Pongs may have to wait until earlier ones have left.
        self.is_owed.store(!slot.is_empty(), Ordering::Release);
        true
    }

    /// Adds to the slot.
    fn owe(&self, replies: &mut Replies) {
        let mut slot = lock(&self.slot);
        slot.merge(replies, &self.config);
        self.is_owed.store(!slot.is_empty(), Ordering::Release);
    }

    /// Whether anything is in the slot.
    ///
    /// The receiving half fills the slot, and then tries the writer's lock. A sending half releases that lock, and
    /// then calls this. Each has a fence between its two steps. So at least one of them sees what the other did.
    fn is_owed(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_owed.load(Ordering::Relaxed)
    }

    /// Runs with the writer, for a call that sends nothing itself. What the receiving half owed meanwhile is sent, as far
    /// as the stream takes it at once.
    fn with<T>(&self, run: impl FnOnce(&Writer<S>) -> T) -> T {
        let result = run(&lock(&self.writer));
        self.send_owed();
        result
    }

    fn send_owed(&self) {
        while self.is_owed() {
            let Some(mut writer) = try_lock(&self.writer) else {
                return;
            };
            self.answer(&mut writer);
            let sent = writer.attempt();
            writer.note();
            if !matches!(sent, Ok(Sent::All)) {
                // The next wait of the receiving half goes on with it, or finds the error.
                return;
            }
        }
    }
}

pub(super) fn split<S: BlockingStream>(
    mut reader: Reader,
    mut writer: Writer<S>,
) -> Result<(SendHalf<S>, RecvHalf<S>), Error> {
    let stream = writer.stream()?.try_clone()?;
    let compression = writer.sender.compression();
    let in_message = writer.sender.is_message_open();
    let state = writer.share_state();
    let shared = Arc::new(Shared {
        config: reader.receiver.config().clone(),
        state,
        is_owed: AtomicBool::new(!reader.replies.is_empty()),
        slot: Mutex::new(core::mem::take(&mut reader.replies)),
        writer: Mutex::new(writer),
        end: OnceLock::new(),
        receiver_gone: AtomicBool::new(false),
    });
    let link = Half { stream, shared: Arc::clone(&shared) };
    Ok((SendHalf { shared, compression, in_message }, RecvHalf { reader, link }))
}

/// Undoes [`split`]. Nothing else has the connection.
fn reunite<S: BlockingStream>(sender: SendHalf<S>, receiver: RecvHalf<S>) -> WebSocket<S> {
    let RecvHalf { mut reader, link } = receiver;
    let SendHalf { shared, compression, .. } = sender;
    drop(link);
    let Some(Shared { writer, slot, .. }) = Arc::into_inner(shared) else {
        unreachable!("two references were counted, and both are here");
    };
    let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    writer.unshare_state();
    writer.sender.set_compression(compression);
    reader.replies = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    if writer.gave_up {
        reader.receiver.give_up(End::TimedOut(Timeout::Send));
    }
    WebSocket { reader, writer }
}

/// The receiving side's way to the writer.
#[derive(Debug)]
struct Half<S: BlockingStream> {
    stream: S,
    shared: Arc<Shared<S>>,
}

impl<S: BlockingStream> Drop for Half<S> {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Release);
    }
}

impl<S: BlockingStream> Link for Half<S> {
    type Stream = S;

    fn stream(&mut self) -> io::Result<&mut S> {
        Ok(&mut self.stream)
    }

    fn state(&self) -> SendState {
        SendState::from_bits(self.shared.state.load(Ordering::Acquire))
    }

    fn answer(&mut self, replies: &mut Replies) {
        // The next wait finds the error.
        let _ = self.write(replies);
    }

    fn flush(&mut self, replies: &mut Replies, _: Option<Duration>) -> io::Result<Sent> {
        // The holder of the lock checks the slot again when it is done.
        Ok(self
            .write(replies)?
            .unwrap_or_else(|| if self.shared.is_owed() { Sent::Waiting } else { Sent::All }))
    }

    fn finish(&mut self, replies: &mut Replies, _: Option<Duration>) -> io::Result<Option<Sent>> {
        self.write(replies)
    }

    fn look_up(&self) -> Option<Duration> {
        let config = &self.shared.config;
        let sending = config.write_timeout().map(|timeout| timeout / 2);
        config.get().close_timeout.into_iter().chain(sending).min()
    }

    fn fed(&self) -> usize {
        0
    }

    fn ended(&self, end: &End) {
        let _ = self.shared.end.set(end.clone());
    }

    fn stats(&self, now: Duration) -> Option<Stats> {
        Some(try_lock(&self.shared.writer)?.sender.stats(now))
    }

    fn shut(&mut self) {
        // A sender that holds the lock finds out by this write or its next one: the write side is shut next.
        if let Some(mut writer) = try_lock(&self.shared.writer) {
            writer.shut();
        }
    }
}

impl<S: BlockingStream> Half<S> {
    /// Hands over the replies, and writes what the stream takes at once. `None`: a sender holds the lock.
    fn write(&self, replies: &mut Replies) -> io::Result<Option<Sent>> {
        let shared = &*self.shared;
        if !replies.is_empty() {
            shared.owe(replies);
        }
        fence(Ordering::SeqCst);
        let Some(mut writer) = try_lock(&shared.writer) else {
            return Ok(None);
        };
        if writer.gave_up {
            return Ok(Some(Sent::Stalled));
        }
        loop {
            shared.answer(&mut writer);
            if !writer.is_waiting() {
                return Ok(Some(Sent::All));
            }
            let sent = writer.attempt();
            writer.note();
            match sent? {
                Sent::All => {}
                other => return Ok(Some(other)),
            }
        }
    }
}

/// The half that receives. It answers pings and Close, even after the sending half was dropped.
/// Dropping both closes the socket.
///
/// While it waits, it checks now and then what the sending half did: at least once in each
/// [`Config::close_timeout`](crate::Config::close_timeout), and twice in each
/// [`Config::send_timeout`](crate::Config::send_timeout). It ends at such a check in three cases:
///
/// - The other half gave up the peer.
/// - The peer takes none of the fed bytes.
/// - The peer does not answer our Close.
///
/// ```no_run
/// # fn run(ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), bowline::Error> {
/// let (mut sender, mut receiver) = ws.split()?;
/// std::thread::spawn(move || sender.send("Hello"));
/// while let Some(message) = receiver.recv()? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecvHalf<S: BlockingStream> {
    reader: Reader,
    link: Half<S>,
}

impl<S: BlockingStream> RecvHalf<S> {
    /// Waits for the next message; see [`WebSocket::recv`](super::WebSocket::recv).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.reader.next(&mut self.link, false, Limit::OfStream)?;
        Ok(self.reader.input.take_event())
    }

    /// Waits for the next message, at most this long; see
    /// [`WebSocket::recv_timeout`](super::WebSocket::recv_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.recv_limited(Limit::At(now().saturating_add(timeout)))
    }

    /// Like [`recv_timeout`](Self::recv_timeout), until a point in time.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Option<Message>, Error> {
        self.recv_limited(Limit::At(deadline_of(deadline)))
    }

    fn recv_limited(&mut self, limit: Limit) -> Result<Option<Message>, Error> {
        self.reader.next(&mut self.link, false, limit)?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub fn recv_borrowed(&mut self) -> Result<Option<MessageRef<'_>>, Error> {
        self.reader.next(&mut self.link, false, Limit::OfStream)?;
        Ok(self.reader.input.event())
    }

    /// Like [`recv_borrowed`](Self::recv_borrowed), until a point in time.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_borrowed_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<MessageRef<'_>>, Error> {
        self.reader.next(&mut self.link, false, Limit::At(deadline_of(deadline)))?;
        Ok(self.reader.input.event())
    }

    /// Waits for the next part of a message; see [`WebSocket::recv_part`](super::WebSocket::recv_part).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.link, true, Limit::OfStream)?;
        Ok(self.reader.input.part())
    }

    /// Like [`recv_part`](Self::recv_part), until a point in time.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_part_deadline(&mut self, deadline: Instant) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.link, true, Limit::At(deadline_of(deadline)))?;
        Ok(self.reader.input.part())
    }

    /// How long the peer took for its last pong to a ping of keepalive
    /// ([`Config::ping_interval`](crate::Config::ping_interval)); see
    /// [`Receiver::round_trip`](crate::Receiver::round_trip). `None` before there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.reader.receiver.round_trip()
    }

    /// The numbers of what was received, and the round trip: see [`WebSocket::stats`](super::WebSocket::stats). Add
    /// those of the sending half for all of them.
    pub fn stats(&self) -> Stats {
        self.reader.receiver.stats(now())
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// The stream. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        &self.link.stream
    }

    /// Puts both halves together again. Nothing is lost: neither what is queued, nor a message that is under way in
    /// either direction, nor what was read.
    ///
    /// ```no_run
    /// # fn run(ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, receiver) = ws.split()?;
    /// // Nothing else has a clone of the sender now.
    /// let mut ws = receiver.reunite(sender)?;
    /// ws.close(1000, "")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Both halves come back if they belong to different connections, or while a clone of the sending half is there.
    pub fn reunite(
        self,
        sender: SendHalf<S>,
    ) -> Result<WebSocket<S>, ReuniteError<SendHalf<S>, Self>> {
        let why = if !Arc::ptr_eq(&sender.shared, &self.link.shared) {
            Apart::Strangers
        } else if Arc::strong_count(&sender.shared) > 2 {
            Apart::Shared
        } else {
            return Ok(reunite(sender, self));
        };
        Err(ReuniteError::new(sender, self, why))
    }
}

/// The half that sends. Share it between threads with a lock of your own, or clone it: each clone sends whole
/// messages, one after the other. Between the parts of a message ([`send_part`](Self::send_part)), messages and parts
/// of the other clones are refused with [`MessageOpen`](Refusal::MessageOpen); pings and Close are not. If the clone is
/// dropped in the middle of its message, the message cannot be ended, and only these can be sent from then on.
///
/// It waits for room and for the peer, at most [`Config::send_timeout`](crate::Config::send_timeout). It
/// never waits for the receiving half.
///
/// ```no_run
/// # fn run(ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), bowline::Error> {
/// let (mut sender, mut receiver) = ws.split()?;
/// let reader = std::thread::spawn(move || while let Ok(Some(_)) = receiver.recv() {});
/// let mut other = sender.clone();
/// std::thread::spawn(move || other.send("from another thread"));
/// sender.send("Hello")?;
/// sender.close(1000, "")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SendHalf<S: BlockingStream> {
    shared: Arc<Shared<S>>,
    compression: bool,
    /// This half began a message in parts, and has not ended it.
    in_message: bool,
}

impl<S: BlockingStream> SendHalf<S> {
    /// Sends a message: its bytes were handed to the socket when this returns. Waits while the peer
    /// does not read, at most [`Config::send_timeout`](crate::Config::send_timeout) without progress.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](super::WebSocket::send).
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.write(true, None, |writer| queue(writer, message))
    }

    /// Queues a message. It leaves with the next `send` or `flush`, or when 64 KiB are queued. The next reply or
    /// check of the receiving half sends it too.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::feed`](super::WebSocket::feed).
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.write(false, None, |writer| queue(writer, message))
    }

    /// Queues a message if there is room, and never waits. It leaves as after [`feed`](Self::feed).
    ///
    /// # Errors
    ///
    /// The message comes back, with [`QueueFull`](Refusal::QueueFull) if there is no room, or if another clone is writing
    /// at this moment. Otherwise with what else forbids it.
    pub fn try_feed(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let Some(mut guard) = try_lock(&self.shared.writer) else {
            return Err(SendError::from(Refusal::QueueFull).with_message(message));
        };
        let writer = &mut *guard;
        writer.sender.set_compression(self.compression);
        let result = writer.sender.send_owned(message, &mut writer.out);
        writer.note();
        drop(guard);
        self.shared.send_owed();
        result
    }

    /// Sends a part of a message; see [`WebSocket::send_part`](super::WebSocket::send_part).
    ///
    /// # Errors
    ///
    /// As there. [`Error::Send`] with [`MessageOpen`](Refusal::MessageOpen) if another clone is in the middle of a
    /// message.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let part = part.into();
        let mut in_message = self.in_message;
        let result = self.write(last, None, |writer| {
            make_room(writer)?;
            if writer.sender.is_message_open() && !in_message {
                return Err(SendError::from(Refusal::MessageOpen).into());
            }
            writer.sender.send_part(part, last, &mut writer.out)?;
            in_message = !last;
            Ok(())
        });
        self.in_message = in_message;
        result
    }

    /// Hands all that is queued to the socket.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`](super::WebSocket::flush).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write(true, None, |writer| Ok(writer.check_lost()?))
    }

    /// Sends a ping; see [`WebSocket::ping`](super::WebSocket::ping).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload))
    }

    /// The numbers of what was sent: see [`WebSocket::stats`](super::WebSocket::stats). Add those of the receiving
    /// half for all of them. It waits while another thread writes.
    pub fn stats(&self) -> Stats {
        self.shared.with(|writer| writer.sender.stats(now()))
    }

    /// Lends the stream, for its addresses and options. It waits while another clone writes, and no clone writes
    /// meanwhile: use none of them. Reading from the stream or writing to it breaks the connection.
    pub fn with_ref<T>(&self, run: impl FnOnce(&S) -> T) -> T {
        self.shared.with(|writer| run(writer.get_ref()))
    }

    /// As [`WebSocket::set_compression`](super::WebSocket::set_compression), for what this clone sends.
    pub fn set_compression(&mut self, on: bool) {
        self.compression = on;
    }

    /// Sends Close, unless that was done. The receiving half goes on until the peer's Close, and says how
    /// the connection ended.
    ///
    /// Gives how the connection ended, if that is known already. It is `None` while the receiving half still
    /// has to find out. If that half was dropped before, this shuts the write side and gives
    /// [`End::Unconfirmed`].
    ///
    /// It is no error to close twice, or after the peer's Close.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code or reason that cannot be sent. [`Error::Ended`] if the peer does not take
    /// the Close: after [`Config::send_timeout`](crate::Config::send_timeout), or after
    /// [`Config::close_timeout`](crate::Config::close_timeout) if there is no send timeout.
    /// [`Error::Io`].
    pub fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Option<End>, Error> {
        let (code, mut is_new) = (code.into(), true);
        let settings = self.shared.config.get();
        let close_timeout = settings.close_timeout;
        // Without a send timeout, the close timeout limits the wait.
        let limit = close_timeout.filter(|_| settings.send_timeout.is_none());
        let until = limit.map(|timeout| now().saturating_add(timeout));
        let result = self.write(true, until, |writer| {
            match writer.sender.start_close(code, reason, &mut writer.out) {
                Err(error) if error.refusal() == Refusal::Closed => is_new = false,
                result => result?,
            }
            Ok(())
        });
        match result {
            Err(Error::TimedOut) => {
                self.write(false, None, |writer| {
                    writer.shut();
                    Ok(())
                })?;
                return Err(Error::Ended(End::TimedOut(Timeout::Close)));
            }
            // Nothing can be sent any more, so the connection ends. That is what the caller wants.
            Err(_) if !is_new => {}
            result => result?,
        }
        if let Some(end) = self.shared.end.get() {
            return Ok(Some(end.clone()));
        }
        if !self.shared.receiver_gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut writer = lock(&self.shared.writer);
        let deadline = close_timeout.map(|timeout| now().saturating_add(timeout));
        match shutdown_until(writer.stream()?, deadline) {
            Err(error) if !is_gone(&error) && !is_timeout(&error) => Err(error.into()),
            _ => Ok(Some(End::Unconfirmed)),
        }
    }

    /// Queues with the lock held, writes, and then sends the replies that came meanwhile.
    pub(super) fn write(
        &mut self,
        mut flush: bool,
        until: Option<Duration>,
        queue: impl FnOnce(&mut Writer<S>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut writer = lock(&shared.writer);
        let mut is_asked = flush;
        flush |= shared.answer(&mut writer);
        writer.sender.set_compression(self.compression);
        let mut result = queue(&mut writer);
        loop {
            writer.note();
            if flush || writer.out.len() >= FLUSH_FROM {
                let sent = send_all(&mut writer, until);
                writer.note();
                // A fed message is queued, whether it can leave now or not.
                let sent = if is_asked { sent } else { sent.or_else(if_would_block) };
                result = result.and(sent);
            }
            drop(writer);
            if !shared.is_owed() {
                return result;
            }
            match try_lock(&shared.writer) {
                Some(again) => writer = again,
                None => return result,
            }
            flush = shared.answer(&mut writer);
            is_asked = false;
        }
    }
}

impl<S: BlockingStream> Clone for SendHalf<S> {
    fn clone(&self) -> Self {
        // The clone is in the middle of nothing.
        Self { shared: Arc::clone(&self.shared), compression: self.compression, in_message: false }
    }
}

/// Queues a message, making room first if there is none.
fn queue<S: BlockingStream>(writer: &mut Writer<S>, message: Message) -> Result<(), Error> {
    make_room(writer)?;
    Ok(writer.sender.send_owned(message, &mut writer.out)?)
}

/// Writes if the queue is full. The lock is held, so no other sender takes the room.
pub(super) fn make_room<S: BlockingStream>(writer: &mut Writer<S>) -> Result<(), Error> {
    if writer.is_full() { send_all(writer, None).or_else(if_would_block) } else { Ok(()) }
}

fn send_all<S: BlockingStream>(
    writer: &mut Writer<S>,
    until: Option<Duration>,
) -> Result<(), Error> {
    match writer.write(until) {
        Ok(Sent::All) => Ok(()),
        Ok(Sent::Waiting) => Err(Error::TimedOut),
        Ok(Sent::WouldBlock) => Err(Error::Io(io::ErrorKind::WouldBlock.into())),
        Ok(Sent::Stalled) => {
            writer.shut();
            writer.gave_up = true;
            Err(Error::Ended(End::TimedOut(Timeout::Send)))
        }
        Err(error) => {
            writer.shut();
            Err(error.into())
        }
    }
}

/// In non-blocking mode the queue keeps the bytes that cannot leave. That is no error while it has room.
pub(super) fn if_would_block(error: Error) -> Result<(), Error> {
    match error {
        Error::Io(error) if is_timeout(&error) => Ok(()),
        error => Err(error),
    }
}
