//! Buffers that connections of one thread lend each other: a connection holds one only while it has bytes in it.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The size of a pooled buffer: several reads of small messages, and it stays in the L1 cache.
pub(crate) const SIZE: usize = 32 << 10;

#[cfg(feature = "std")]
mod local {
    use super::{Box, SIZE, Vec};
    use core::cell::RefCell;
    use std::thread::LocalKey;

    /// At most 512 KiB a thread and kind stay allocated for later.
    const CAP: usize = 16;

    type Pool<T> = RefCell<Vec<T>>;

    std::thread_local! {
        static RECEIVE: Pool<Box<[u8]>> = const { RefCell::new(Vec::new()) };
        static SEND: Pool<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    // `try_with` fails while the thread ends; then the allocator serves.
    fn pop<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
        pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
    }

    fn push<T>(pool: &'static LocalKey<Pool<T>>, buffer: T) {
        let _ = pool.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < CAP {
                pool.push(buffer);
            }
        });
    }

    pub(super) fn take() -> Option<Box<[u8]>> {
        pop(&RECEIVE)
    }

    pub(super) fn give_back(buffer: Box<[u8]>) {
        push(&RECEIVE, buffer);
    }

    pub(super) fn take_send() -> Option<Vec<u8>> {
        pop(&SEND)
    }

    pub(super) fn give_back_send(buffer: Vec<u8>) {
        push(&SEND, buffer);
    }

    const _: () = assert!(SIZE * CAP <= 512 << 10);
}

#[cfg(not(feature = "std"))]
mod local {
    use super::{Box, Vec};

    pub(super) fn take() -> Option<Box<[u8]>> {
        None
    }

    #[allow(clippy::boxed_local, reason = "as with std")]
    pub(super) fn give_back(_buffer: Box<[u8]>) {}

    pub(super) fn take_send() -> Option<Vec<u8>> {
        None
    }

    pub(super) fn give_back_send(_buffer: Vec<u8>) {}
}

/// A receive buffer of [`SIZE`] initialised bytes.
pub(crate) fn take() -> Box<[u8]> {
    local::take().unwrap_or_else(|| alloc::vec![0; SIZE].into())
}

/// Takes a receive buffer back; one of another size is freed.
pub(crate) fn give_back(buffer: Box<[u8]>) {
    if buffer.len() == SIZE {
        local::give_back(buffer);
    }
}

/// An empty send buffer with room for [`SIZE`] bytes.
pub(crate) fn take_send() -> Vec<u8> {
    local::take_send().unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Takes a send buffer back; one that has grown is freed.
pub(crate) fn give_back_send(mut buffer: Vec<u8>) {
    if buffer.capacity() == SIZE {
        buffer.clear();
        local::give_back_send(buffer);
    }
}
