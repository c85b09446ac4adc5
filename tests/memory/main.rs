//! What connections hold, by an allocator that counts what the current thread does. A binary of its own, for there is one
//! global allocator. What counts over several threads has a file in `tests/` itself.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/counting.rs"]
mod counting;
#[cfg(feature = "std")]
#[path = "../support/mod.rs"]
mod support;

mod accept;
mod budget;
mod copies;
mod core;
mod deflate;
mod driver;
mod futures;
mod send;
mod tokio;
