//! Two tasks that wait for one socket.

use core::task::Waker;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// Which side of a connection waits for the socket to take bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Receiving,
    Sending,
}

/// A socket remembers one waker for writing, but both sides write: this one wakes both.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    receiving: Mutex<Option<Waker>>,
    sending: Mutex<Option<Waker>>,
}

impl Waiters {
    fn slot(&self, side: Side) -> &Mutex<Option<Waker>> {
        match side {
            Side::Receiving => &self.receiving,
            Side::Sending => &self.sending,
        }
    }

    pub(crate) fn register(&self, side: Side, waker: &Waker) {
        let mut slot = self.slot(side).lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    pub(crate) fn wake_one(&self, side: Side) {
        let waker = self.slot(side).lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_one(Side::Receiving);
        self.wake_one(Side::Sending);
    }
}
