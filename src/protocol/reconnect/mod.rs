//! When a client connects again, without I/O, clock or entropy.
//!
//! [`Outcome`] says what became of an attempt or of a session, and has the table of what is worth another attempt.

mod outcome;

pub use outcome::{Outcome, Then};
