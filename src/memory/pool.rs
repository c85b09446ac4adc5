//! Buffers that the connections of one thread share: a connection holds one only while it has bytes in it.

use alloc::boxed::Box;
use alloc::vec::Vec;

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
    use super::{Box, NARROW, Vec, WIDE};
    use core::cell::RefCell;
    use std::sync::Mutex;
    use std::thread::LocalKey;

    /// How many buffers of each kind a thread keeps for later.
    const CAP: usize = 16;

    type Pool<T> = RefCell<Vec<T>>;

    std::thread_local! {
        static RECEIVE: Pool<Box<[u8]>> = const { RefCell::new(Vec::new()) };
        static RECEIVE_WIDE: Pool<Box<[u8]>> = const { RefCell::new(Vec::new()) };
        static SEND: Pool<Vec<u8>> = const { RefCell::new(Vec::new()) };
        /// The send buffer that was given back last. It is taken and given back by a swap in place. A vector that is
        /// written to memory in parts and read back as a whole makes the processor wait.
        static SEND_LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// Send buffers that threads gave away before they blocked.
    static SHARED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

    // `try_with` fails while the thread ends. Then the buffer comes from the allocator.
    fn pop<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
        pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
    }

    fn push<T>(pool: &'static LocalKey<Pool<T>>, cap: usize, buffer: T) {
        let _ = pool.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < cap {
                pool.push(buffer);
            }
        });
    }

    fn of(size: usize) -> &'static LocalKey<Pool<Box<[u8]>>> {
        if size == WIDE { &RECEIVE_WIDE } else { &RECEIVE }
    }

    pub(super) fn take(size: usize) -> Option<Box<[u8]>> {
        pop(of(size))
    }

    pub(super) fn give_back(buffer: Box<[u8]>) {
        push(of(buffer.len()), CAP, buffer);
    }

    /// Swaps `buffer`, which is empty, with the buffer that was given back last.
    #[inline]
    pub(super) fn swap_send(buffer: &mut Vec<u8>) {
        let _ = SEND_LAST.try_with(|last| core::mem::swap(&mut *last.borrow_mut(), buffer));
    }

    pub(super) fn take_send() -> Option<Vec<u8>> {
        // An allocation takes less time than waiting for the lock.
        pop(&SEND).or_else(|| SHARED.try_lock().ok()?.pop())
    }

    pub(super) fn share_send() {
        let mut last = Vec::new();
        swap_send(&mut last);
        if last.capacity() > 0 {
            push(&SEND, CAP, last);
        }
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

    pub(super) fn give_back_send(buffer: Vec<u8>) {
        push(&SEND, CAP - 1, buffer);
    }

    // docs/security.md promises this bound on what a thread keeps.
    const _: () = assert!((NARROW + WIDE + WIDE) * CAP < 5 << 20);
}

#[cfg(not(feature = "std"))]
mod local {
    use super::{Box, Vec};

    pub(super) fn take(_size: usize) -> Option<Box<[u8]>> {
        None
    }

    #[allow(clippy::boxed_local, reason = "as with std")]
    pub(super) fn give_back(_buffer: Box<[u8]>) {}

    pub(super) fn swap_send(_buffer: &mut Vec<u8>) {}

    pub(super) fn take_send() -> Option<Vec<u8>> {
        None
    }

    pub(super) fn give_back_send(_buffer: Vec<u8>) {}
}

/// A receive buffer of zeros, [`NARROW`] or [`WIDE`] in size.
#[inline(never)]
pub(crate) fn take(size: usize) -> Box<[u8]> {
    local::take(size).unwrap_or_else(|| alloc::vec![0; size].into())
}

/// Whether receive buffers of this size are pooled.
pub(crate) fn is_pooled(size: usize) -> bool {
    size == NARROW || size == WIDE
}

/// The size of the smallest pooled receive buffer that holds `len` bytes.
pub(crate) fn fitting(len: usize) -> Option<usize> {
    [NARROW, WIDE].into_iter().find(|&size| len <= size)
}

/// Takes back a receive buffer whose first `used` bytes were written to. One of another size is freed.
///
/// The used bytes are cleared. Otherwise a stream that claims to have read more than it did would hand one
/// user's data to another.
pub(crate) fn give_back(mut buffer: Box<[u8]>, used: usize) {
    if is_pooled(buffer.len()) {
        let used = used.min(buffer.len());
        buffer[..used].fill(0);
        local::give_back(buffer);
    }
}

/// Replaces `buffer`, which has no room, with an empty send buffer that has room for [`WIDE`] bytes.
#[inline]
pub(crate) fn take_send(buffer: &mut Vec<u8>) {
    local::swap_send(buffer);
    if buffer.capacity() == 0 {
        *buffer = take_other();
    }
}

#[cold]
fn take_other() -> Vec<u8> {
    local::take_send().unwrap_or_else(|| Vec::with_capacity(WIDE))
}

/// Gives the send buffers of this thread to all threads, before it blocks. A program may have a thread for
/// each connection, and few of them send at a time.
#[cfg(feature = "std")]
pub(crate) fn share_send() {
    local::share_send();
}

/// Takes a send buffer back. One that has grown is freed.
#[inline]
pub(crate) fn give_back_send(buffer: &mut Vec<u8>) {
    if buffer.capacity() == WIDE {
        buffer.clear();
        local::swap_send(buffer);
    }
    if buffer.capacity() > 0 {
        give_back_other(core::mem::take(buffer));
    }
}

#[cold]
fn give_back_other(buffer: Vec<u8>) {
    if buffer.capacity() == WIDE {
        local::give_back_send(buffer);
    }
}
