//! Buffers that the connections of one thread share: a connection holds one only while it has bytes in it.

use alloc::boxed::Box;

use crate::memory::held::Held;
use crate::memory::send_buf::Head;

/// The size of a receive buffer for a peer that sends little at a time: it stays in the L1 cache.
pub(crate) const NARROW: usize = 30 << 10;

/// The size of a receive buffer for a peer that fills narrow ones, and of a send buffer. A read or write
/// costs some microseconds, so a large amount of data should take few of them.
///
/// Both sizes are half a page less than a round number, so that neighbouring buffers begin at different places
/// in their pages. Processors copy several times slower between two places that are a whole number of pages
/// and a few bytes apart. The sizes are also below those that allocators request from the system each time.
pub(crate) const WIDE: usize = 126 << 10;

#[cfg(feature = "std")]
mod local {
    use super::{Box, Head, Held, NARROW, WIDE};
    use core::cell::{Cell, RefCell};
    use std::sync::Mutex;
    use std::thread::LocalKey;
    use std::vec::Vec;

    /// How many buffers of each kind a thread keeps for later.
    const CAP: usize = 16;

    // In boxes, because that is how connections hold them.
    #[allow(clippy::vec_box, reason = "a move of a pointer and not of the value")]
    type Pool<T> = RefCell<Vec<Box<T>>>;

    std::thread_local! {
        static RECEIVE: Pool<Held> = const { RefCell::new(Vec::new()) };
        static RECEIVE_WIDE: Pool<Held> = const { RefCell::new(Vec::new()) };
        static SEND: Pool<Head> = const { RefCell::new(Vec::new()) };
        /// The send buffer that was given back last: a pointer here, so that a message that is sent at once pays little.
        static SEND_LAST: Cell<Option<Box<Head>>> = const { Cell::new(None) };
    }

    /// Send buffers that threads gave away before they blocked.
    #[allow(clippy::vec_box, reason = "as in a pool")]
    static SHARED: Mutex<Vec<Box<Head>>> = Mutex::new(Vec::new());

    // `try_with` fails while the thread ends. Then the buffer comes from the allocator.
    fn pop<T>(pool: &'static LocalKey<Pool<T>>) -> Option<Box<T>> {
        pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
    }

    fn push<T>(pool: &'static LocalKey<Pool<T>>, cap: usize, buffer: Box<T>) {
        let _ = pool.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < cap {
                pool.push(buffer);
            }
        });
    }

    fn of(size: usize) -> &'static LocalKey<Pool<Held>> {
        if size == WIDE { &RECEIVE_WIDE } else { &RECEIVE }
    }

    pub(super) fn take(size: usize) -> Option<Box<Held>> {
        pop(of(size))
    }

    pub(super) fn give_back(held: Box<Held>) {
        push(of(held.size()), CAP, held);
    }

    /// Keeps `head` as the one that was given back last, and gives the one before.
    #[inline]
    pub(super) fn swap_send(head: Option<Box<Head>>) -> Option<Box<Head>> {
        SEND_LAST.try_with(|last| last.replace(head)).ok().flatten()
    }

    pub(super) fn take_send() -> Option<Box<Head>> {
        // An allocation takes less time than waiting for the lock.
        pop(&SEND).or_else(|| SHARED.try_lock().ok()?.pop())
    }

    pub(super) fn share_send() {
        swap_send(None).into_iter().for_each(give_back_send);
        let _ = SEND.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if !pool.is_empty()
                && let Ok(mut shared) = SHARED.try_lock()
            {
                let room = CAP.saturating_sub(shared.len());
                let from = pool.len().saturating_sub(room);
                shared.extend(pool.drain(from..));
            }
        });
    }

    pub(super) fn give_back_send(head: Box<Head>) {
        push(&SEND, CAP - 1, head);
    }

    // docs/security.md promises this bound on what a thread keeps.
    const _: () = assert!((NARROW + WIDE + WIDE) * CAP < 5 << 20);
}

#[cfg(not(feature = "std"))]
#[allow(clippy::boxed_local, reason = "as with std")]
mod local {
    use super::{Box, Head, Held};

    pub(super) fn take(_size: usize) -> Option<Box<Held>> {
        None
    }

    pub(super) fn give_back(_held: Box<Held>) {}

    pub(super) fn swap_send(_head: Option<Box<Head>>) -> Option<Box<Head>> {
        None
    }

    pub(super) fn take_send() -> Option<Box<Head>> {
        None
    }

    pub(super) fn give_back_send(_head: Box<Head>) {}
}

/// A receive buffer of zeros, [`NARROW`] or [`WIDE`] in size.
#[inline(never)]
pub(crate) fn take(size: usize) -> Box<Held> {
    local::take(size).unwrap_or_else(|| Held::boxed(size))
}

/// Whether receive buffers of this size are pooled.
pub(crate) fn is_pooled(size: usize) -> bool {
    size == NARROW || size == WIDE
}

/// The size of the smallest pooled receive buffer that holds `len` bytes.
pub(crate) fn fitting(len: usize) -> Option<usize> {
    [NARROW, WIDE].into_iter().find(|&size| len <= size)
}

/// Takes back a receive buffer. One of another size is freed.
///
/// What was written to is cleared. Otherwise a stream that claims to have read more than it did would hand one
/// user's data to another.
pub(crate) fn give_back(mut held: Box<Held>) {
    if is_pooled(held.size()) {
        held.wipe();
        local::give_back(held);
    }
}

/// An empty send buffer with room for [`WIDE`] bytes.
#[inline]
pub(crate) fn take_send() -> Box<Head> {
    local::swap_send(None).unwrap_or_else(take_other)
}

#[cold]
fn take_other() -> Box<Head> {
    local::take_send().unwrap_or_else(|| Box::new(Head::new(alloc::vec::Vec::with_capacity(WIDE))))
}

/// Gives the send buffers of this thread to all threads, before it blocks. A program may have a thread for
/// each connection, and few of them send at a time.
#[cfg(feature = "std")]
pub(crate) fn share_send() {
    local::share_send();
}

/// Takes a send buffer back. One that has grown is freed.
#[inline]
pub(crate) fn give_back_send(mut head: Box<Head>) {
    if head.capacity() == WIDE {
        head.clear();
        if let Some(before) = local::swap_send(Some(head)) {
            local::give_back_send(before);
        }
    }
}
