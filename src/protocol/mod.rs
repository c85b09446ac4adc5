//! The core after the opening handshake: RFC 6455 §5 to §8, and RFC 7692. No I/O, no clock, no entropy.
//!
//! [`Connection`] has both directions. [`Receiver`] and [`Sender`] are its halves, for two threads or tasks;
//! [`Replies`] and [`SendState`] are what they exchange. [`RecvBuf`] and [`SendBuf`] hold the bytes, and [`Leave`] ends the
//! socket. The program's types, such as [`Message`] and [`Config`], are in the root of the crate as well.

pub(crate) mod authority;
pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod deflate;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod keepalive;
mod label;
pub(crate) mod leave;
pub(crate) mod mask;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod policy;
pub(crate) mod prepared;
pub(crate) mod rate_limit;
pub(crate) mod reconnect;
pub(crate) mod recv;
pub(crate) mod replies;
pub(crate) mod send;
pub(crate) mod send_state;
pub(crate) mod stats;
pub(crate) mod utf8;

pub use close::{CloseAnswer, CloseCode};
pub use config::{Config, Settings};
pub use connection::Connection;
#[cfg(feature = "deflate")]
pub use deflate::{Agreed, Deflate};
pub use error::{End, Initiator, ProtocolError, Refusal, Rule, SendError, Timeout, Truncation};
pub use frame::FrameHeader;
pub use leave::{Leave, LeaveStep};
pub use mask::mask;
pub use message::{Message, MessageRef, Part, Text};
pub use outbox::{Outbox, OutboxFull};
pub use policy::InvalidPolicy;
pub use prepared::Prepared;
pub use rate_limit::RateLimit;
pub use reconnect::{Never, Outcome, Reconnect, Retries, Then, Wait};
pub use recv::{Progress, Receiver, Role};
pub use replies::Replies;
pub use send::{Sender, Vectored};
pub use send_state::SendState;
pub use stats::{Stats, Traffic};

pub use crate::memory::{RecvBuf, SendBuf};
