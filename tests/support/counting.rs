//! A global allocator that counts, for the test files that name it.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

use bowline::RecvBuf;

/// Counts what the current thread does, so that tests that run side by side do not disturb each
/// other. No test frees what another thread allocated, unless it counts the whole process, alone.
pub(crate) struct Counting;

#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) live: isize,
    pub(crate) peak: isize,
    pub(crate) allocations: usize,
    pub(crate) allocated: usize,
}

thread_local! {
    static COUNTS: Cell<Counts> =
        const { Cell::new(Counts { live: 0, peak: 0, allocations: 0, allocated: 0 }) };
}

static PROCESS_LIVE: AtomicIsize = AtomicIsize::new(0);
static PROCESS_PEAK: AtomicIsize = AtomicIsize::new(0);

fn count(freed: usize, allocated: usize) {
    let change = allocated as isize - freed as isize;
    let live = PROCESS_LIVE.fetch_add(change, Ordering::Relaxed) + change;
    PROCESS_PEAK.fetch_max(live, Ordering::Relaxed);
    let _ = COUNTS.try_with(|cell| {
        let mut counts = cell.get();
        counts.live += allocated as isize - freed as isize;
        counts.peak = counts.peak.max(counts.live);
        counts.allocations += usize::from(allocated > 0);
        counts.allocated += allocated;
        cell.set(counts);
    });
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

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn counts() -> Counts {
    COUNTS.get()
}

pub(crate) fn live() -> isize {
    counts().live
}

/// The most that was live at once while `work` ran, above what was live before.
pub(crate) fn peak(work: impl FnOnce()) -> isize {
    let before = live();
    COUNTS.set(Counts { peak: before, ..counts() });
    work();
    counts().peak - before
}

/// As [`peak`], of all threads together.
pub(crate) fn process_peak(work: impl FnOnce()) -> isize {
    let before = PROCESS_LIVE.load(Ordering::Relaxed);
    PROCESS_PEAK.store(before, Ordering::Relaxed);
    work();
    PROCESS_PEAK.load(Ordering::Relaxed) - before
}

/// The size of a pooled buffer for a peer that sends little at a time.
pub(crate) const POOLED: isize = 30 << 10;
/// The size of a pooled buffer for one that sends much, and for sending.
pub(crate) const WIDE: isize = 126 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Puts as many bytes in as one read may, up to `most`; how many.
pub(crate) fn read(input: &mut RecvBuf, bytes: &[u8], most: usize) -> usize {
    let space = input.space();
    let n = space.len().min(bytes.len()).min(most);
    space[..n].copy_from_slice(&bytes[..n]);
    input.filled(n);
    n
}
