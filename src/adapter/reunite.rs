//! Why two halves are no whole.

use core::fmt;
use std::boxed::Box;

/// Two halves that are not put together, and why. It gives both back.
///
/// ```
/// # use bowline::ReuniteError;
/// # fn handle<S, R>(error: ReuniteError<S, R>) {
/// eprintln!("{error}");
/// let (sender, receiver) = error.into_halves();
/// # }
/// ```
pub struct ReuniteError<S, R> {
    halves: Box<(S, R)>,
    why: Apart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    Strangers,
    Shared,
}

impl<S, R> ReuniteError<S, R> {
    pub(crate) fn new(sender: S, receiver: R, why: Apart) -> Self {
        Self { halves: Box::new((sender, receiver)), why }
    }

    /// Gives the halves back. They are as they were.
    pub fn into_halves(self) -> (S, R) {
        *self.halves
    }
}

impl<S, R> fmt::Debug for ReuniteError<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<S, R> fmt::Display for ReuniteError<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Apart::Strangers => {
                "the halves belong to different connections: reunite those of one split"
            }
            Apart::Shared => {
                "a clone of the sending half, or a place in a Broadcast, still uses the connection: drop it first"
            }
        })
    }
}

impl<S, R> core::error::Error for ReuniteError<S, R> {}
