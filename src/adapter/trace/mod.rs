//! What `tracing` is told, with the feature of that name: a span for each opening handshake, and an event at the end of each
//! connection. Names and fields are decided in `spans`. Without the feature, `absent` takes its place and does nothing.
//!
//! No header, no query, no payload and no reason of a Close is told: a log is read by more people than a secret is for.

#[cfg(not(feature = "tracing"))]
mod absent;
#[cfg(all(feature = "tracing", any(feature = "tokio", feature = "futures-io")))]
mod polled;
#[cfg(feature = "tracing")]
mod spans;

#[cfg(not(feature = "tracing"))]
pub(crate) use absent::{Handshake, Opened};
#[cfg(feature = "tracing")]
pub(crate) use spans::{Handshake, Opened};
