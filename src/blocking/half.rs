//! Halves for two threads, which exchange nothing but one bounded slot of replies.
//!
//! The receiving half fills the slot, then tries the writer's lock; a sending half looks at the slot
//! again after it has let go of the lock. So no reply is left behind, and the receiving half never
//! waits for a sender that is blocked by a peer that does not read.

use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::io::{Link, Reader, Writer, now};
use super::stream::BlockingStream;
use crate::adapter::{Error, FLUSH_FROM};
use crate::protocol::close::CloseCode;
use crate::protocol::config::Config;
use crate::protocol::error::{End, Timeout};
use crate::protocol::message::{Message, MessageRef, Part};
use crate::protocol::recv::Replies;
use crate::protocol::send_state::SendState;

#[derive(Debug)]
struct Shared<S: BlockingStream> {
    writer: Mutex<Writer<S>>,
    slot: Mutex<Replies>,
    /// How far sending has come, to be known without the writer's lock.
    state: Mutex<SendState>,
    receiver_gone: AtomicBool,
    config: Config,
}

/// Nothing in a writer is broken by a panic elsewhere, so poison means nothing here.
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
    /// Moves the replies from the slot to the writer's queue; whether there were any.
    fn answer(&self, writer: &mut Writer<S>) -> bool {
        let mut slot = lock(&self.slot);
        let any = !slot.is_empty();
        writer.sender.answer(&mut slot, &mut writer.out);
        self.note(writer);
        any
    }

    /// Notes how far sending has come. Call it with the lock held after each change.
    fn note(&self, writer: &Writer<S>) {
        *lock(&self.state) = writer.sender.state(&writer.out);
    }

    fn slot_is_empty(&self) -> bool {
        lock(&self.slot).is_empty()
    }
}

pub(super) fn split<S: BlockingStream>(
    mut reader: Reader,
    mut writer: Writer<S>,
) -> Result<(SendHalf<S>, RecvHalf<S>), Error> {
    let stream = writer.stream()?.try_clone()?;
    let compression = writer.sender.compression();
    let shared = Arc::new(Shared {
        config: reader.receiver.config().clone(),
        state: Mutex::new(writer.sender.state(&writer.out)),
        slot: Mutex::new(core::mem::take(&mut reader.replies)),
        writer: Mutex::new(writer),
        receiver_gone: AtomicBool::new(false),
    });
    let link = Half { stream, shared: Arc::clone(&shared) };
    Ok((SendHalf { shared, compression }, RecvHalf { reader, link }))
}

/// The receiving side's way to the writer.
#[derive(Debug)]
struct Half<S: BlockingStream> {
    stream: S,
    shared: Arc<Shared<S>>,
}

impl<S: BlockingStream> Link for Half<S> {
    type Stream = S;

    fn stream(&mut self) -> io::Result<&mut S> {
        Ok(&mut self.stream)
    }

    fn close_sent(&self) -> bool {
        self.state().close_sent()
    }

    fn state(&self) -> SendState {
        *lock(&self.shared.state)
    }

    fn answer(&mut self, replies: &mut Replies) {
        // An error shows when there is nothing to do but wait.
        let _ = self.write(replies);
    }

    fn flush(&mut self, replies: &mut Replies) -> io::Result<bool> {
        // A holder of the lock looks at the slot again when it is done.
        Ok(self.write(replies)?.unwrap_or_else(|| self.shared.slot_is_empty()))
    }

    fn finish(&mut self, replies: &mut Replies) -> io::Result<bool> {
        Ok(self.write(replies)?.unwrap_or(false))
    }

    fn look_up(&self) -> Option<Duration> {
        // Nothing can wake a thread that reads, so it finds out after at most this time.
        self.shared.config.get().close_timeout
    }

    fn fed(&self) -> usize {
        0
    }

    fn shut(&mut self) {
        // A sender that is blocked in a write finds out by that write.
        if let Some(mut writer) = try_lock(&self.shared.writer) {
            writer.shut();
        }
    }
}

impl<S: BlockingStream> Half<S> {
    /// Hands the replies over and writes what the socket takes; whether that was all, or `None` if a
    /// sender holds the lock.
    fn write(&self, replies: &mut Replies) -> io::Result<Option<bool>> {
        let shared = &*self.shared;
        if !replies.is_empty() {
            lock(&shared.slot).merge(replies, &shared.config);
        }
        let Some(mut writer) = try_lock(&shared.writer) else {
            return Ok(None);
        };
        if writer.gave_up {
            return Err(io::ErrorKind::TimedOut.into());
        }
        loop {
            shared.answer(&mut writer);
            if writer.out.is_empty() {
                return Ok(Some(true));
            }
            let all_written = writer.try_write();
            shared.note(&writer);
            if !all_written? {
                let writer = &mut *writer;
                return if writer.sender.is_stalled(now(), &writer.out) {
                    Err(io::ErrorKind::TimedOut.into())
                } else {
                    Ok(Some(false))
                };
            }
        }
    }
}

/// The half that receives. It answers pings and Close, also after the sending half was dropped.
/// Dropping both closes the socket.
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
        self.reader.next(&mut self.link, false)?;
        Ok(self.reader.input.take_event())
    }

    /// Like [`recv`](Self::recv), but lends the message, without a copy.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub fn recv_borrowed(&mut self) -> Result<Option<MessageRef<'_>>, Error> {
        self.reader.next(&mut self.link, false)?;
        Ok(self.reader.input.event())
    }

    /// Waits for the next part of a message; see [`WebSocket::recv_part`](super::WebSocket::recv_part).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        self.reader.next(&mut self.link, true)?;
        Ok(self.reader.input.part())
    }

    /// How long the peer took for its last pong to a ping of keepalive
    /// ([`Config::ping_interval`](crate::Config::ping_interval)); see
    /// [`Receiver::round_trip`](crate::Receiver::round_trip). `None` before there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.reader.receiver.round_trip()
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.reader.receiver.end()
    }

    /// The stream. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        &self.link.stream
    }
}

impl<S: BlockingStream> Drop for RecvHalf<S> {
    fn drop(&mut self) {
        self.link.shared.receiver_gone.store(true, Ordering::Release);
    }
}

/// The half that sends. Share it between threads behind a lock of yours, or clone it: each clone
/// sends whole messages, one after the other.
#[derive(Debug)]
pub struct SendHalf<S: BlockingStream> {
    shared: Arc<Shared<S>>,
    compression: bool,
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
        self.write(true, |writer| queue(writer, message))
    }

    /// Queues a message; it leaves with the next `send` or `flush`, when 64 KiB are queued, or with
    /// the next reply of the receiving half.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.write(false, |writer| queue(writer, message))
    }

    /// Sends a part of a message; see [`WebSocket::send_part`](super::WebSocket::send_part).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
    ) -> Result<(), Error> {
        let part = part.into();
        self.write(last, |writer| {
            if writer.is_full() {
                send_all(writer)?;
            }
            Ok(writer.sender.send_part(part, last, &mut writer.out)?)
        })
    }

    /// Hands all that is queued to the socket.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write(true, |_| Ok(()))
    }

    /// Sends a ping; see [`WebSocket::ping`](super::WebSocket::ping).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send(MessageRef::Ping(payload))
    }

    /// As [`WebSocket::set_compression`](super::WebSocket::set_compression), for what this clone sends.
    pub fn set_compression(&mut self, on: bool) {
        self.compression = on;
    }

    /// Sends Close. The receiving half goes on until the peer's Close and tells how the connection
    /// ended. If it was dropped, nobody can tell, and this gives [`End::Unconfirmed`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::start_close`](super::WebSocket::start_close).
    pub fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
    ) -> Result<Option<End>, Error> {
        let code = code.into();
        self.write(true, |writer| Ok(writer.sender.start_close(code, reason, &mut writer.out)?))?;
        if !self.shared.receiver_gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        lock(&self.shared.writer).stream()?.shutdown_write()?;
        Ok(Some(End::Unconfirmed))
    }

    /// Queues with the lock held, writes, and afterwards takes care of replies that came meanwhile.
    fn write(
        &mut self,
        mut flush: bool,
        queue: impl FnOnce(&mut Writer<S>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut writer = lock(&shared.writer);
        flush |= shared.answer(&mut writer);
        writer.sender.set_compression(self.compression);
        let mut result = queue(&mut writer);
        loop {
            shared.note(&writer);
            if flush || writer.out.len() >= FLUSH_FROM {
                result = result.and(send_all(&mut writer));
                shared.note(&writer);
            }
            drop(writer);
            if shared.slot_is_empty() {
                return result;
            }
            match try_lock(&shared.writer) {
                Some(again) => writer = again,
                None => return result,
            }
            flush = shared.answer(&mut writer);
        }
    }
}

impl<S: BlockingStream> Clone for SendHalf<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), compression: self.compression }
    }
}

/// Queues a message, making room first if there is none.
fn queue<S: BlockingStream>(writer: &mut Writer<S>, message: Message) -> Result<(), Error> {
    if writer.is_full() {
        send_all(writer)?;
    }
    Ok(writer.sender.send_owned(message, &mut writer.out)?)
}

fn send_all<S: BlockingStream>(writer: &mut Writer<S>) -> Result<(), Error> {
    writer.write_all().map_err(|error| {
        writer.shut();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                writer.gave_up = true;
                Error::Ended(End::TimedOut(Timeout::Send))
            }
            _ => error.into(),
        }
    })
}
