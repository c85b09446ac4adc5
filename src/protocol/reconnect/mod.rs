//! When a client connects again, without I/O, clock or entropy.
//!
//! [`Outcome`] says what became of an attempt or of a session, and has the table of what is worth another attempt.
//! [`Reconnect`] has the program's wishes. [`Retries`] puts both together: it is told the outcome, the time and a random
//! number, and says when to try again, or why never.

mod outcome;
mod policy;
mod retries;

pub use outcome::{Outcome, Then};
pub use policy::Reconnect;
pub use retries::{Never, Retries, Wait};
