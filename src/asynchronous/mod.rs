//! The engine of the asynchronous adapters: one for all runtimes.
//!
//! The types here are those of [`tokio`](crate::tokio) and [`futures`](crate::futures), which name them for
//! their kind of stream. What a runtime brings is an [`Io`]: a stream, a clock and a timer.
//!
//! ```text
//! stream ──poll_read──▶ Reader: Receiver, RecvBuf ──▶ recv
//!                          │ Replies: pong, Close
//! stream ◀─poll_write── Writer: Sender, SendBuf ◀──── send, feed, Broadcast
//! ```
//!
//! A [`WebSocket`] has both sides in one value. [`SendHalf`] and [`RecvHalf`] have one each, with a lock around
//! the writer and another around the stream.

mod broadcast;
mod half;
mod io;
mod opening;
mod reader;
mod sink;
mod waiters;
mod websocket;
mod writer;

pub use broadcast::{Broadcast, Delivery, Member, SlowPeer};
pub use half::{RecvHalf, SendHalf};
pub use io::{Io, Wrap};
pub use opening::Incoming;
pub use websocket::{Outgoing, WebSocket};

pub(crate) use io::Sealed;
pub(crate) use opening::open;
#[cfg(feature = "tokio")]
pub(crate) use reader::{Order, Supervisor};
