//! What every adapter has to do, tested over all of them.

#![cfg(feature = "tokio")]

#[path = "../support/mod.rs"]
mod support;

mod keepalive;
