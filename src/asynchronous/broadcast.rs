//! One message to many connections.

use core::fmt;
use core::future::poll_fn;
use core::task::Poll;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::vec::Vec;

use super::SendHalf;
use super::io::Io;
use crate::protocol::prepared::Prepared;

/// How many members are sent to before other tasks get a turn.
const TURN: usize = 64;

/// What a [`Broadcast`] does with a peer that has not taken earlier messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPeer {
    /// Ends the connection, with [`Timeout::Send`](crate::Timeout::Send): for streams of messages in which
    /// none may be missing.
    Drop,
    /// Leaves out the message for this peer: for news that a peer may miss.
    Skip,
    /// Keeps only the newest message, and sends it once the queue is empty: for states of which only the last
    /// counts.
    KeepNewest,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// For how many members it was written or queued.
    pub sent: usize,
    /// For how many it waits, as the newest, until the queue is empty.
    pub kept: usize,
    /// For how many it was left out.
    pub skipped: usize,
    /// How many connections it ended.
    pub dropped: usize,
    /// How many members could not be sent to: the connection had ended, or the member had sent Close or was in
    /// the middle of a message.
    pub refused: usize,
}

/// A group of connections that are sent the same messages.
///
/// Each message is encoded once (see [`Prepared`]) and written to each member at once, as far as its
/// socket takes it. The rest waits in the member's queue by reference, and the member's receiving half writes
/// it. A member is slow if its queue is longer than the [`high_water_mark`](Self::high_water_mark), or has no
/// room by its [`Config`](crate::Config).
///
/// ```no_run
/// # async fn serve(ws: bowline::tokio::WebSocket<tokio::net::TcpStream>) -> Result<(), bowline::Error> {
/// use bowline::tokio::{Broadcast, SlowPeer};
///
/// let group = Broadcast::new(SlowPeer::Skip); // one for all connections; a clone is the same group
///
/// let (sender, mut receiver) = ws.split();
/// let member = group.join(&sender);
/// while let Some(message) = receiver.recv().await? {
///     group.send(message).await;
/// }
/// drop(member); // leaves the group
/// # Ok(())
/// # }
/// ```
///
/// A member's queue goes on only while its receiving half is in `recv`. A connection's task is there when it
/// has nothing else to do.
#[derive(Clone)]
pub struct Broadcast {
    group: Arc<Group>,
}

struct Group {
    slow: SlowPeer,
    high_water_mark: usize,
    members: Mutex<Members>,
}

/// The next members that join take the places of those that left.
#[derive(Default)]
struct Members {
    places: Vec<Option<Arc<dyn Peer>>>,
    free: Vec<usize>,
}

/// The sending side of a connection over any stream.
pub(super) trait Peer: Send + Sync {
    /// Sends to a peer whose queue is no longer than the mark. For others, does what `slow` says.
    fn offer(&self, message: &Prepared, slow: SlowPeer, mark: usize) -> Offered;

    fn queued(&self) -> usize;
}

/// What became of a message for one member.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offered {
    Sent,
    Kept,
    Skipped,
    Dropped,
    Refused,
}

impl Group {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broadcast {
    /// An empty group.
    pub fn new(slow: SlowPeer) -> Self {
        Self::with_high_water_mark(slow, 64 << 10)
    }

    /// An empty group in which a peer is slow when more than `bytes` bytes wait for it. The default is 64 KiB.
    /// A socket's own buffer holds about as much in addition.
    pub fn with_high_water_mark(slow: SlowPeer, bytes: usize) -> Self {
        let members = Mutex::default();
        Self { group: Arc::new(Group { slow, high_water_mark: bytes, members }) }
    }

    /// How many bytes may wait for a peer before it is slow.
    pub fn high_water_mark(&self) -> usize {
        self.group.high_water_mark
    }

    /// Adds a connection to the group, until the returned value is dropped. A clone of the sending half is the same
    /// connection: one that joins twice gets each message twice.
    pub fn join<I>(&self, sender: &SendHalf<I>) -> Member
    where
        I: Io + Send + 'static,
        I::Timer: Send,
    {
        let peer = sender.peer();
        let mut members = self.group.members();
        let place = match members.free.pop() {
            Some(place) => {
                members.places[place] = Some(Arc::clone(&peer));
                place
            }
            None => {
                members.places.push(Some(Arc::clone(&peer)));
                members.places.len() - 1
            }
        };
        Member { group: Arc::downgrade(&self.group), place, peer }
    }

    /// How many connections are in the group.
    pub fn len(&self) -> usize {
        let members = self.group.members();
        members.places.len() - members.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait for each member, in no order.
    pub fn queued(&self) -> Vec<usize> {
        let members = self.group.members();
        members.places.iter().flatten().map(|peer| peer.queued()).collect()
    }

    /// Sends a message to every member. It never waits for a member. With many members, it lets other tasks
    /// run between some of them.
    ///
    /// Every member gets the messages of one sender in order. If several senders send at once, their messages
    /// may come in different orders to different members.
    ///
    /// If the future is dropped, the members that come later do not get the message.
    pub async fn send(&self, message: impl Into<Prepared>) -> Delivery {
        let message = message.into();
        let mut delivery = Delivery::default();
        let mut next = 0;
        let mut turn = Vec::with_capacity(TURN);
        loop {
            {
                let members = self.group.members();
                let places = members.places.get(next..).unwrap_or_default();
                next += places.len().min(TURN);
                turn.extend(places.iter().take(TURN).flatten().map(Arc::clone));
                if places.is_empty() {
                    return delivery;
                }
            }
            for peer in turn.drain(..) {
                let offered = peer.offer(&message, self.group.slow, self.group.high_water_mark);
                let count = match offered {
                    Offered::Sent => &mut delivery.sent,
                    Offered::Kept => &mut delivery.kept,
                    Offered::Skipped => &mut delivery.skipped,
                    Offered::Dropped => &mut delivery.dropped,
                    Offered::Refused => &mut delivery.refused,
                };
                *count += 1;
            }
            yield_now().await;
        }
    }
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("members", &self.len())
            .field("slow", &self.group.slow)
            .field("high_water_mark", &self.group.high_water_mark)
            .finish()
    }
}

/// A connection's place in a [`Broadcast`]. Dropping it leaves the group.
#[must_use = "dropping it leaves the group"]
pub struct Member {
    group: Weak<Group>,
    place: usize,
    peer: Arc<dyn Peer>,
}

impl Member {
    /// How many bytes wait for this peer.
    pub fn queued(&self) -> usize {
        self.peer.queued()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(group) = self.group.upgrade() {
            let mut members = group.members();
            members.places[self.place] = None;
            members.free.push(self.place);
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("queued", &self.queued()).finish_non_exhaustive()
    }
}
