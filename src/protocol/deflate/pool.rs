//! Codec states that the connections of one thread share. They are large, and most connections are idle.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};

use zlib_rs::{Deflate, DeflateConfig, Inflate, Method, Strategy};

use super::settings::Side;
use super::window::Window;
use crate::protocol::config::Config;

/// A thread keeps this many inflaters of 46 KiB. Each message that comes in pieces has one, and more such
/// messages are rarely under way at once.
const INFLATERS_CAP: usize = 4;

/// A thread keeps this many compressors of 134 to 483 KiB, so this many busy connections find their own. More
/// would be slower for large messages. A compressor in the processor's caches has to be filled with another window.
/// That takes less time than to go on with a compressor that is not in the caches.
const COMPRESSORS_CAP: usize = 8;

std::thread_local! {
    static INFLATERS: RefCell<Vec<Inflate>> = const { RefCell::new(Vec::new()) };
    static COMPRESSORS: RefCell<Vec<Compressor>> = const { RefCell::new(Vec::new()) };
    static RETURNS: Cell<u64> = const { Cell::new(0) };
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The settings that a compressor was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    window_bits: u8,
    level: u8,
    memory_level: u8,
}

impl Shape {
    pub(crate) fn new(side: Side, config: &Config) -> Self {
        let settings = config.get().deflate.unwrap_or_default();
        // zlib has no window of 256 bytes. With one of 512 bytes it refers back at most 250, because it keeps
        // 262 bytes of lookahead there.
        let window_bits = side.window_bits.max(9);
        Self { window_bits, level: settings.level, memory_level: settings.memory_level }
    }
}

/// Names one return of a compressor to the pool. While the compressor is there under this name, no other
/// connection has used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    thread: usize,
    count: u64,
}

pub(crate) struct Compressor {
    pub(crate) zlib: Deflate,
    shape: Shape,
    ticket: Option<Ticket>,
}

/// An inflater whose history is `window`.
pub(crate) fn take_inflater(window: &Window) -> Inflate {
    let pooled = INFLATERS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    // zlib-rs always inflates with a window of 32 KiB. `window` holds at most what was agreed on.
    let mut zlib = pooled.unwrap_or_else(|| Inflate::new(false, 15));
    zlib.reset(false);
    for text in window.slices() {
        // This cannot fail, because there is no zlib header that could name another dictionary.
        let _ = zlib.set_dictionary(text);
    }
    zlib
}

pub(crate) fn give_back_inflater(zlib: Inflate) {
    // `try_with` fails while the thread ends.
    let _ = INFLATERS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < INFLATERS_CAP {
            pool.push(zlib);
        }
    });
}

/// A compressor whose history is `window`. If the one that was given back for `ticket` is still there, it is
/// that one.
pub(crate) fn take_compressor(shape: Shape, ticket: Option<Ticket>, window: &Window) -> Compressor {
    let pooled = COMPRESSORS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let own = |other: &Compressor| ticket.is_some() && other.ticket == ticket;
        let free = |other: &Compressor| other.ticket.is_none() && other.shape == shape;
        let at =
            pool.iter().position(own).or_else(|| pool.iter().position(free)).or_else(|| {
                // It is another connection's, but it was used longest ago and would be dropped next.
                let oldest = pool.first().filter(|_| pool.len() >= COMPRESSORS_CAP)?;
                (oldest.shape == shape).then_some(0)
            })?;
        Some(pool.remove(at))
    });
    let mut compressor = match pooled.ok().flatten() {
        Some(compressor) if ticket.is_some() && compressor.ticket == ticket => return compressor,
        Some(mut compressor) => {
            compressor.zlib.reset();
            compressor
        }
        None => Compressor { zlib: new_compressor(shape), shape, ticket: None },
    };
    for text in window.slices() {
        // It refuses a dictionary only in the middle of a text.
        let _ = compressor.zlib.set_dictionary(text);
    }
    compressor
}

/// Takes a compressor back. With `keep`, the ticket can get the same one again.
pub(crate) fn give_back_compressor(mut compressor: Compressor, keep: bool) -> Option<Ticket> {
    let ticket = if keep { new_ticket() } else { None };
    compressor.ticket = ticket;
    COMPRESSORS
        .try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() >= COMPRESSORS_CAP {
                pool.remove(0);
            }
            pool.push(compressor);
        })
        .ok()?;
    ticket
}

fn new_ticket() -> Option<Ticket> {
    let thread = THREAD.try_with(|&thread| thread).ok()?;
    let count = RETURNS.try_with(|returns| returns.replace(returns.get() + 1)).ok()?;
    Some(Ticket { thread, count })
}

fn new_compressor(shape: Shape) -> Deflate {
    Deflate::new_with_config(DeflateConfig {
        level: shape.level.into(),
        method: Method::Deflated,
        // Negative: no zlib header.
        window_bits: -i32::from(shape.window_bits),
        mem_level: shape.memory_level.into(),
        strategy: Strategy::Default,
    })
}
