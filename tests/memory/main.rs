//! What connections hold, by an allocator that counts what the current thread does. A binary of its own, for there is one
//! global allocator. What counts over a whole process is in `tests/process`.

#![allow(clippy::duplicate_mod, reason = "each adapter runs the same modules")]

#[path = "../support/counting.rs"]
mod counting;
#[path = "../support/mod.rs"]
mod support;

/// The modules that run over each asynchronous adapter.
#[cfg(feature = "tokio")]
macro_rules! over {
    ($name:ident, $adapter:ident) => {
        #[path = ""]
        mod $name {
            use crate::support::$adapter as adapter;

            #[path = "at_rest.rs"]
            pub(crate) mod at_rest;
            #[path = "budget.rs"]
            mod budget;
        }
    };
}

#[cfg(feature = "tokio")]
over!(on_tokio, over_tokio);
#[cfg(all(feature = "tokio", feature = "futures-io"))]
over!(on_futures, over_futures);

mod accept;
mod copies;
mod core;
mod deflate;
mod driver;
mod send;
mod sizes;
mod tokio_server;
mod tokio_timer;
