//! An allocator that counts: how often it is asked for memory, and for how much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::{Div, Sub};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static ASKED: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Memory that was asked for. To grow a block counts as a new block of the new size.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub times: f64,
    pub bytes: f64,
}

impl Asked {
    /// Since the process began.
    fn now() -> Self {
        Self { times: ASKED.load(Relaxed) as f64, bytes: BYTES.load(Relaxed) as f64 }
    }
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { times: self.times - other.times, bytes: self.bytes - other.bytes }
    }
}

impl Div<f64> for Asked {
    type Output = Self;

    fn div(self, by: f64) -> Self {
        Self { times: self.times / by, bytes: self.bytes / by }
    }
}

/// What `work` asks for. What it gives is dropped afterwards.
pub fn asked<T>(work: impl FnOnce() -> T) -> Asked {
    let before = Asked::now();
    let result = work();
    let asked = Asked::now() - before;
    drop(result);
    asked
}

/// Runs a part of the other end, which does not count.
pub fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let (times, bytes) = (ASKED.load(Relaxed), BYTES.load(Relaxed));
    let result = work();
    ASKED.store(times, Relaxed);
    BYTES.store(bytes, Relaxed);
    result
}

fn count(size: usize) {
    ASKED.fetch_add(1, Relaxed);
    BYTES.fetch_add(size as u64, Relaxed);
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
