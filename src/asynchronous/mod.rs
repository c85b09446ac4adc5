//! The engine of the asynchronous adapters: one for all runtimes.
//!
//! [`tokio`](crate::tokio) and [`futures`](crate::futures) have aliases of these types for their streams. A
//! runtime brings an [`Io`]: a stream, a clock and a timer.
//!
//! ```text
//! stream ──poll_read──▶ Reader: Receiver, RecvBuf ──▶ recv
//!                          │ Replies: pong, Close
//! stream ◀─poll_write── Writer: Sender, SendBuf ◀──── send, feed, Broadcast
//! ```
//!
//! A [`WebSocket`] has both sides in one value. [`SendHalf`] and [`RecvHalf`] have one side each, with a lock
//! around the writer and another around the stream.

mod broadcast;
mod byte_stream;
mod half;
mod io;
mod opening;
mod outbox;
mod reader;
mod reconnecting;
mod sink;
mod waiters;
mod websocket;
mod writer;

pub use broadcast::{Broadcast, Delivery, Member, SlowPeer};
pub use byte_stream::ByteStream;
pub use half::{RecvHalf, SendHalf};
pub use io::{Io, Wrap};
pub use opening::Incoming;
pub use reconnecting::Reconnecting;
pub use websocket::{Outgoing, WebSocket};

pub(crate) use io::Sealed;
#[cfg(feature = "tokio")]
pub(crate) use opening::tunnel_to;
pub(crate) use opening::{open, tunnel};
#[cfg(feature = "tokio")]
pub(crate) use reader::{Order, Supervisor};
#[cfg(feature = "tokio")]
pub(crate) use reconnecting::in_time;
