//! A bound on the memory of many connections together (RFC 6455 §10.4).

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A connection keeps up to this much in each direction without a charge; what it sends must stay below. So
/// connections with small messages go on when others have used up the budget, and they share no counter.
pub(crate) const FREE: usize = 4 << 10;

/// A bound on the memory that many connections keep together (RFC 6455 §10.4).
///
/// Each connection has limits of its own. But those limits times the number of connections are more memory
/// than most machines have. With a budget in their [`Config`](crate::Config::memory_budget), connections
/// count what they keep while they wait:
///
/// - receiving: the part of a message that has come, and what came after the last message. For a
///   compressed message under way, also the inflater's 46 KiB. Up to 4 KiB are free.
/// - sending: the messages that wait for the peer to take them. Below 4 KiB they are free.
///
/// If a received message needs more than the budget has left, the connection is closed with 1013 (Try Again
/// Later). It ends with [`End::OverBudget`](crate::End::OverBudget), now and on every later call. Its peer
/// broke no rule. A message to be sent is given back with
/// [`Refusal::OverBudget`](crate::Refusal::OverBudget), and the connection goes on. Neither waits until
/// other connections need less, because those might be waiting too.
///
/// The charge is for the memory that is held, not only for the bytes in it. A send queue that holds many
/// messages is charged at most twice the bytes that wait. It holds at most an eighth more than the charge. A
/// large message is charged until its last byte has left.
///
/// Bytes no longer count once they have left, or once they are yours. A message that was received is yours,
/// with the memory that it lies in. When a connection ends or is dropped, its whole charge is given back.
///
/// These do not count:
///
/// - buffers that a thread lends to the connections that it is working on: at most 126 KiB in each
///   direction, or for a large message as much again as has come;
/// - the unused rest of the buffer, when a received message is sent on: at most as much again;
/// - the windows of compression between messages, and a compressor while a message is sent in parts;
/// - messages that are sent as [`Prepared`](crate::Prepared), because connections share them;
/// - pongs that wait ([`Config::max_pending_pongs`](crate::Config::max_pending_pongs));
/// - heads of opening handshakes, and TLS.
///
/// A clone is another handle of the same budget.
///
/// ```
/// use bowline::{Budget, Config};
/// let budget = Budget::new(512 << 20);
/// let config = Config::default().memory_budget(&budget);
/// assert_eq!(budget.used(), 0);
/// # let _ = config;
/// ```
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Inner { limit: bytes, used: AtomicUsize::new(0) }))
    }

    /// How many bytes the budget has in all.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many bytes connections keep now. This can exceed the limit for a moment, when the buffer of a
    /// queue has grown beyond the bytes in it.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limit) = (self.used(), self.limit());
        f.debug_struct("Budget").field("used", &used).field("limit", &limit).finish()
    }
}

/// The bytes that one holder has of a budget. They are given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self { budget: budget.clone(), bytes: 0 }
    }

    /// Changes the charge if the budget has room for it. A smaller charge always fits.
    pub(crate) fn try_set(&mut self, bytes: usize) -> bool {
        let Inner { limit, used } = &*self.budget.0;
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) {
            let fits = |used: usize| used.checked_add(more).filter(|sum| sum <= limit);
            if used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
                return false;
            }
            self.bytes = bytes;
        } else {
            self.set(bytes);
        }
        true
    }

    /// Changes the charge whether there is room or not, because the memory is in use already.
    pub(crate) fn set(&mut self, bytes: usize) {
        let used = &self.budget.0.used;
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
