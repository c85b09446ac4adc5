//! The blocking adapter, over streams in memory that block, stutter or fail as a test wants.

#![cfg(feature = "std")]

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod closing;
mod connect;
mod keepalive;
mod nonblocking;
mod outbox;
mod parts;
mod rate_limit;
mod send;
mod split;
mod stats;
