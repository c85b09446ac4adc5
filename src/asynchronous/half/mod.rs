//! Halves for two tasks, or more: the sending half can be cloned.
//!
//! Each half has its own handle of the stream. The queue's lock is held while the queue is polled. It is never
//! held across an await, or while a message is decoded. So neither half waits for the other.

mod outbox;
mod receiving;
mod sending;

pub use receiving::RecvHalf;
pub use sending::SendHalf;

use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::WebSocket;
use super::broadcast::{Offered, Peer, SlowPeer};
use super::io::{Io, Locked, poll_read};
use super::reader::{Link, Reader};
use super::waiters::{Side, Waiters};
use super::writer::Writer;
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::prepared::Prepared;
use crate::protocol::replies::Replies;
use crate::protocol::send_state::SendState;
use crate::protocol::stats::Stats;
use sending::Own;

/// What both halves share.
struct Shared<I: Io> {
    writer: Mutex<Writer<Locked<I>>>,
    /// Those of the writer. A half comes and goes without the writer's lock, which may be held where one is dropped.
    waiters: Arc<Waiters>,
    // The receiving half reads these for each message, without the lock.
    close_sent: AtomicBool,
    gave_up: AtomicBool,
    receiver_gone: AtomicBool,
}

impl<I: Io> Shared<I> {
    fn writer(&self) -> MutexGuard<'_, Writer<Locked<I>>> {
        // A panic elsewhere breaks nothing in a writer, so poison is ignored here.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self) -> usize {
        self.writer().out.len()
    }

    /// Runs with the writer, and updates the flags.
    fn with<T>(&self, run: impl FnOnce(&mut Writer<Locked<I>>) -> T) -> T {
        let mut writer = self.writer();
        let result = run(&mut writer);
        self.close_sent.store(writer.sender.close_sent(), Ordering::Release);
        self.gave_up.store(writer.gave_up(), Ordering::Release);
        result
    }
}

impl<I: Io + Send> Peer for Shared<I>
where
    I::Timer: Send,
{
    fn offer(&self, message: &Prepared, slow: SlowPeer, mark: usize) -> Offered {
        self.with(|writer| writer.offer(message, slow, mark))
    }

    fn queued(&self) -> usize {
        Shared::queued(self)
    }
}

pub(super) fn split<I: Io>(
    reader: Box<Reader<I>>,
    mut writer: Writer<I>,
) -> (SendHalf<I>, RecvHalf<I>) {
    writer.try_write();
    let mut stream = None;
    let mut writer = writer.map(|io| stream.insert(Locked::new(io)).clone());
    let own = Own::first(&mut writer);
    let waiters = Arc::clone(writer.share());
    let shared = Arc::new(Shared {
        close_sent: AtomicBool::new(writer.sender.close_sent()),
        gave_up: AtomicBool::new(writer.gave_up()),
        receiver_gone: AtomicBool::new(false),
        writer: Mutex::new(writer),
        waiters,
    });
    let link = Half { stream, shared: Arc::clone(&shared) };
    (SendHalf { shared, own }, RecvHalf { reader, link })
}

/// Undoes [`split`]. Nothing else has the connection.
fn reunite<I: Io>(sender: SendHalf<I>, receiver: RecvHalf<I>) -> WebSocket<I> {
    let RecvHalf { reader, link } = receiver;
    let shared = Arc::clone(&link.shared);
    drop(link);
    sender.own.give_back(&mut shared.writer());
    drop(sender);
    let Some(shared) = Arc::into_inner(shared) else {
        unreachable!("two references were counted, and both are here");
    };
    let writer = shared.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut writer = writer.map(Locked::into_inner);
    writer.unshare();
    WebSocket { reader, writer: Box::new(writer) }
}

/// The receiving side's way to the writer.
pub(super) struct Half<I: Io> {
    /// `None` only if the writer had lost its stream.
    stream: Option<Locked<I>>,
    shared: Arc<Shared<I>>,
}

impl<I: Io> Drop for Half<I> {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Release);
    }
}

impl<I: Io> Link for Half<I> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut RecvBuf) -> Poll<io::Result<()>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        poll_read(stream, cx, input)
    }

    fn close_sent(&self) -> bool {
        self.shared.close_sent.load(Ordering::Acquire)
    }

    fn state(&self) -> SendState {
        let writer = self.shared.writer();
        writer.sender.state(&writer.out)
    }

    fn gave_up(&self) -> bool {
        self.shared.gave_up.load(Ordering::Acquire)
    }

    fn give_up(&mut self) {
        self.shared.with(Writer::give_up);
    }

    fn answer(&mut self, replies: &mut Replies) {
        self.shared.with(|writer| writer.sender.answer(replies, &mut writer.out));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_send_of_half(cx, replies))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|writer| writer.poll_shutdown(cx, Side::Receiving))
    }

    fn watch(&mut self, cx: &mut Context<'_>) {
        self.shared.writer().watch(cx);
    }

    fn fed(&self) -> usize {
        // The sending half itself writes the bytes that it fed.
        0
    }

    fn has_lost(&self) -> bool {
        self.shared.writer().has_lost()
    }

    fn is_at_rest(&mut self) -> bool {
        self.shared.writer().is_at_rest()
    }

    fn send_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.shared.with(|writer| writer.deadline(now))
    }

    fn queued(&self) -> usize {
        self.shared.queued()
    }

    fn shut(&mut self) {
        self.shared.with(Writer::shut);
    }

    fn stats(&self, now: Duration) -> Stats {
        self.shared.writer().sender.stats(now)
    }
}
