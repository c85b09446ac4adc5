//! Counts the bytes that are allocated now. zlib-rs allocates here too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

pub struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// How many bytes are allocated now.
pub fn live() -> isize {
    LIVE.load(Relaxed)
}

/// A load and a store instead of one atomic step, so that the measured allocations do not pay for it. While
/// memory is counted, only one thread works.
fn count(freed: usize, allocated: usize) {
    LIVE.store(live() + allocated as isize - freed as isize, Relaxed);
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
