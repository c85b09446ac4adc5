//! What connections hold, by an allocator that counts what the current thread does. A binary of its own, for there is one
//! global allocator. What counts over several threads has a file in `tests/` itself.

#[path = "../support/counting.rs"]
mod counting;
#[path = "../support/mod.rs"]
mod support;

mod budget;
mod copies;
mod core;
mod deflate;
mod driver;
mod futures;
mod send;
mod tokio;
