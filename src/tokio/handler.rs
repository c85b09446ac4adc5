//! What handlers give, and what is told of them.

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::boxed::Box;

use crate::asynchronous::Sealed;
use crate::protocol::error::End;
use crate::protocol::stats::Stats;

/// An error of a handler, of whatever type.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What a handler gives: nothing, or any `Result`. The value of an `Ok` is dropped. An error goes to `on_end` of the
/// [`Server`](super::Server) or the [`Group`](super::Group), and to nobody if there is none.
///
/// It is sealed. Errors are those that a `Box<dyn Error + Send + Sync>` can be made of: each error type that is
/// `Send + Sync`, that of `anyhow`, and strings.
#[diagnostic::on_unimplemented(
    message = "a handler gives nothing, or a `Result` with an error that is `Send + Sync`",
    label = "this is neither",
    note = "end the handler with `;` or with `Ok(())`",
    note = "if the type of the error is not known, write it: `Ok::<(), bowline::Error>(())`"
)]
pub trait HandlerResult: Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), BoxError>;
}

impl Sealed for () {}

impl HandlerResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T, E> Sealed for Result<T, E> {}

impl<T, E: Into<BoxError>> HandlerResult for Result<T, E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map(drop).map_err(E::into)
    }
}

/// The type of a handler that never returns, such as one whose last expression is `panic!`.
type Never = <fn() -> ! as Returns>::Output;

/// Names the never type, which stable Rust has no other name for here.
#[doc(hidden)]
pub trait Returns {
    /// What it gives.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

impl Sealed for Never {}

// The compiler knows that `self` never is.
#[allow(unreachable_code, reason = "it never runs")]
impl HandlerResult for Never {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}

/// How a WebSocket of a server ended, and what its handler gave: see [`Group::on_end`](super::Group::on_end).
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// What the handler gave. It is an error as well if the handler panicked, or was aborted by a shutdown.
    pub result: Result<(), Box<dyn Error + Send + Sync>>,
    /// How the connection ended. `None` if the handler dropped it while it was open.
    pub end: Option<&'a End>,
    /// How long it was open: since the request was accepted, until the handler returned and the receiving side was
    /// dropped.
    pub duration: Duration,
    /// The numbers of the connection, with [`Config::stats`](crate::Config::stats). Times are as of its last wait for input.
    pub stats: Option<Stats>,
}

impl<'a> Ended<'a> {
    pub(super) fn new(
        result: Option<Result<(), BoxError>>,
        end: Option<&'a End>,
        duration: Duration,
        stats: Option<Stats>,
    ) -> Self {
        let result = result.unwrap_or_else(|| Err(Unfinished.into()));
        Self { result, end, duration, stats }
    }
}

/// The handler did not return.
#[derive(Debug)]
struct Unfinished;

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handler panicked, or a shutdown aborted it")
    }
}

impl Error for Unfinished {}
