//! WebSocket (RFC 6455).
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// HTTP bytes to agreed parameters.
pub mod handshake;
// Loops around sockets.
#[cfg(feature = "std")]
mod adapter;
#[cfg(feature = "std")]
pub mod blocking;
#[cfg(feature = "tokio")]
pub mod tokio;
// Stateless codecs and the buffers.
mod close;
mod frame;
mod mask;
mod message;
mod pool;
mod recv_buf;
mod send_buf;
mod utf8;
// Frames to messages, messages to frames.
mod linger;
mod recv;
mod send;
// Both directions together.
mod config;
mod connection;
mod error;

#[cfg(feature = "std")]
pub use adapter::{Closed, Error};
pub use close::CloseCode;
pub use config::Config;
pub use connection::Connection;
pub use error::{End, Initiator, ProtocolError, Refusal, Rule, SendError, Timeout, Truncation};
pub use linger::Linger;
pub use message::{Message, MessageRef, Part, Text};
pub use recv::{Progress, Receiver, Replies, Role};
pub use recv_buf::RecvBuf;
pub use send::{Sender, Vectored};
pub use send_buf::SendBuf;
