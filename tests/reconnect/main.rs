//! Connecting again: what is worth another attempt, when it is made, and the iterators of the adapters.

#![cfg(feature = "std")]

#[path = "../support/mod.rs"]
mod support;

mod adapters;
#[cfg(feature = "tokio")]
mod on_tokio;
mod outcomes;
#[cfg(feature = "tokio")]
mod overlap;
mod policy;
mod retry_after;
mod simulated;
