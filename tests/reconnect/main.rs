//! Connecting again: what is worth another attempt, when it is made, and the iterators of the adapters.

#![cfg(feature = "std")]

mod outcomes;
mod policy;
mod retry_after;
mod simulated;
