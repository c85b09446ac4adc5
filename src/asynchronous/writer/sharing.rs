//! What a writer has once several tasks use it.

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::Writer;
use crate::asynchronous::io::Io;
use crate::asynchronous::reader::Supervisor;
use crate::asynchronous::waiters::Waiters;
use crate::protocol::error::{Refusal, SendError};
use crate::protocol::message::Message;
use crate::protocol::prepared::Prepared;

/// State that most connections do not have.
pub(super) struct Sharing<T> {
    pub(super) waiters: Arc<Waiters>,
    /// The timer of the sending side. The receiving side has its own.
    pub(super) timer: T,
    /// A broadcast message that waits until all before it has left.
    pub(super) newest: Option<Prepared>,
    /// The `Sink` of a WebSocket said that it is ready. A half keeps its promise itself.
    promised: bool,
    held: Option<Box<Held>>,
    pub(super) rounds: Rounds,
    /// Who is told what was counted. It is not kept alive by that.
    supervisor: Option<Box<Weak<dyn Supervisor>>>,
    /// The receiving side waits, and watches no deadline of the queue.
    pub(super) rests: bool,
    /// The receiving side was woken only to watch the deadline of fed bytes.
    pub(super) told: bool,
    /// The stream did not take everything at the last try. The task that waits for the socket goes on with it.
    pub(super) is_blocked: bool,
    /// Queued bytes were dropped: a flush must not say that they left.
    pub(super) has_lost: bool,
    /// The sending side gave up a peer that does not read.
    pub(super) gave_up: bool,
}

/// Messages that sinks took, after something else had taken their room, each with whether it may be compressed. A sink
/// promises nothing while one is here, so there are at most as many as there are sending halves.
#[derive(Default)]
struct Held(VecDeque<(Message, bool)>);

impl<T: Default> Sharing<T> {
    pub(super) fn new(is_blocked: bool) -> Self {
        Self {
            waiters: Arc::default(),
            timer: T::default(),
            newest: None,
            promised: false,
            held: None,
            rounds: Rounds::default(),
            supervisor: None,
            rests: false,
            told: false,
            is_blocked,
            has_lost: false,
            gave_up: false,
        }
    }
}

impl<T> Sharing<T> {
    pub(super) fn supervisor(&self) -> Option<Arc<dyn Supervisor>> {
        self.supervisor.as_ref()?.upgrade()
    }

    /// Whether a sink took a message that is not queued yet.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Throws away what waits for room. Whether a sink had taken any of it.
    pub(super) fn throw_away(&mut self) -> bool {
        self.newest = None;
        self.held.take().is_some()
    }

    fn hold(&mut self, message: Message, compression: bool) {
        self.held.get_or_insert_default().0.push_back((message, compression));
    }

    fn next_held(&mut self) -> Option<(Message, bool)> {
        let Held(held) = &mut **self.held.as_mut()?;
        let next = held.pop_front();
        if held.is_empty() {
            self.held = None;
        }
        next
    }
}

/// A point in the queue: what had been queued when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point(u8);

impl Point {
    /// Stands for one that is still to be made.
    pub(crate) const NEXT: Self = Self(u8::MAX);
}

/// How many points there are. Those that are further apart look alike.
const COUNTS: u8 = 128;

/// Tells a half that its bytes have left, although others go on to queue theirs. The queue may never be empty then, and
/// who waited for that would wait for ever.
///
/// The end of the queue is marked from time to time. What was queued before a mark has left when the second one after it
/// is reached.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many marks were reached; wraps.
    count: u8,
    /// `count` when the mark was made. Another count says that there is none: the queue was empty since.
    count_at_mark: u8,
    /// How many bytes have left at the mark; wraps.
    mark: u32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { count: 0, count_at_mark: 1, mark: 0 }
    }
}

impl Rounds {
    pub(super) fn point(&self) -> Point {
        Point(self.count % COUNTS)
    }

    /// Whether all that was queued at the point has left. After 128 marks it may be said late, but not too early.
    pub(super) fn have_passed(&self, point: Point) -> bool {
        self.count.wrapping_sub(point.0) % COUNTS >= 2
    }

    /// All has left.
    pub(super) fn all(&mut self) {
        self.count = self.count.wrapping_add(2);
    }

    /// So many bytes have left, and so many wait.
    #[cold]
    pub(super) fn some(&mut self, left: u32, waiting: usize) {
        let is_reached = |mark: u32| left.wrapping_sub(mark) as i32 >= 0;
        if (self.count != self.count_at_mark || is_reached(self.mark))
            && let Ok(waiting) = i32::try_from(waiting)
        {
            self.count = self.count.wrapping_add(1);
            self.count_at_mark = self.count;
            self.mark = left.wrapping_add_signed(waiting);
        }
    }
}

impl<I: Io> Writer<I> {
    /// Tells the supervisor from now on what was counted, if that is done.
    #[cfg(feature = "tokio")]
    pub(crate) fn supervise(&mut self, supervisor: Weak<dyn Supervisor>) {
        if self.sender.config().get().stats {
            self.sharing().supervisor = Some(Box::new(supervisor));
        }
    }

    pub(super) fn report(&self) {
        if let Some(supervisor) = self.sharing.as_ref().and_then(|sharing| sharing.supervisor()) {
            supervisor.sent(self.sender.stats(I::now()));
        }
    }

    /// One task has the connection again. It is as before the first one shared it, unless there is something to keep.
    pub(crate) fn unshare(&mut self) {
        self.sharing.take_if(|sharing| {
            let keeps = sharing.newest.is_some() || sharing.holds() || sharing.promised;
            !keeps && !sharing.has_lost && !sharing.gave_up && sharing.supervisor.is_none()
        });
    }

    /// Promises room for the next message of the `Sink` of a WebSocket.
    pub(crate) fn promise(&mut self) {
        self.sharing().promised = true;
    }

    /// Whether there was a promise. It holds once.
    pub(crate) fn take_promise(&mut self) -> bool {
        self.sharing.as_mut().is_some_and(|sharing| core::mem::take(&mut sharing.promised))
    }

    /// Whether sinks took messages that are not queued yet.
    pub(crate) fn holds(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.holds())
    }

    /// Takes a message of a `Sink`. If that was `promised` room and something else has taken it since, the message
    /// waits here.
    pub(crate) fn start_send(&mut self, message: Message, promised: bool) -> Result<(), SendError> {
        match self.queue(message) {
            // Between the parts of a message, it could not be queued when there is room.
            Err(error)
                if promised
                    && error.refusal() == Refusal::QueueFull
                    && !self.sender.is_message_open() =>
            {
                let compression = self.sender.compression();
                if let Some(message) = error.into_message() {
                    self.sharing().hold(message, compression);
                }
            }
            result => result?,
        }
        self.tell();
        Ok(())
    }

    /// Queues a message, if there is room.
    #[inline]
    pub(crate) fn queue(&mut self, message: Message) -> Result<(), SendError> {
        // What sinks took goes first.
        if self.holds() {
            self.release_held();
        }
        self.sender.send_owned(message, &mut self.out)
    }

    /// Queues what sinks took, as far as there is room.
    #[cold]
    pub(super) fn release_held(&mut self) {
        let most = self.sender.config().get().max_send_queue;
        while self.out.len() < most
            && let Some(sharing) = &mut self.sharing
            && let Some((message, compression)) = sharing.next_held()
        {
            let queued = self.compressing(compression, |writer| {
                writer.sender.send_owned(message, &mut writer.out)
            });
            if queued.is_err() {
                self.sharing().has_lost = true;
            }
        }
    }

    /// Runs with a setting that holds for one half.
    #[inline]
    pub(crate) fn compressing<T>(&mut self, on: bool, run: impl FnOnce(&mut Self) -> T) -> T {
        if self.sender.compression() == on {
            run(self)
        } else {
            self.compressing_unusually(on, run)
        }
    }

    #[cold]
    #[inline(never)]
    fn compressing_unusually<T>(&mut self, on: bool, run: impl FnOnce(&mut Self) -> T) -> T {
        let usual = self.sender.compression();
        self.sender.set_compression(on);
        let result = run(self);
        self.sender.set_compression(usual);
        result
    }

    /// Where the queue ends now.
    pub(crate) fn point(&self) -> Point {
        self.sharing.as_ref().map_or(Point::NEXT, |sharing| sharing.rounds.point())
    }

    /// Whether all that was queued at the point has left.
    pub(crate) fn has_left(&self, point: Point) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.rounds.have_passed(point))
    }
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[test]
    fn what_was_queued_has_left_once_the_bytes_after_it_do_not_count() {
        for start in [0, 7, u32::MAX - 10, u32::MAX / 2] {
            let mut rounds = Rounds::default();
            // 100 bytes wait, the last of which is waited for. Others queue as many bytes as leave.
            let point = rounds.point();
            rounds.some(start, 100);
            let passed = (1_u32..).find(|&left| {
                rounds.some(start.wrapping_add(left), 100);
                rounds.have_passed(point)
            });
            assert!((100..=200).contains(&passed.unwrap()), "{start}: {passed:?}");
        }
    }

    #[test]
    fn nothing_has_left_before_its_bytes_did() {
        for before in 0..50_u32 {
            let mut rounds = Rounds::default();
            // Other bytes left and waited before.
            rounds.some(0, 50);
            rounds.some(before, 50);
            let point = rounds.point();
            // 50 + 100 bytes wait until `before + 150` have left.
            for left in before..before + 150 {
                rounds.some(left, (before + 150 - left) as usize);
                assert!(!rounds.have_passed(point), "{before}: {left}");
            }
        }
    }

    #[test]
    fn an_empty_queue_ends_a_wait_and_makes_an_old_mark_void() {
        let mut rounds = Rounds::default();
        rounds.some(0, 1000);
        let point = rounds.point();
        rounds.all();
        assert!(rounds.have_passed(point));
        // The mark that is ahead by more than can be told apart holds nothing up.
        let point = rounds.point();
        let far = 3 << 30;
        rounds.some(far, 10);
        rounds.some(far + 10, 10);
        assert!(rounds.have_passed(point));
    }
}
