//! WebSocket ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)): a protocol core that does no
//! I/O, and thin adapters that do.
//!
//! Programs use an adapter: `blocking` for threads and `std` sockets, `tokio` for
//! tasks, `futures` for other runtimes. All have the same methods; their `WebSocket` is the page to read next, with [`Config`]
//! for limits, timeouts and the origin policy. In an HTTP server, `axum` and `hyper` give the same
//! `WebSocket`. Libraries that bring sockets of their own drive the
//! core themselves:
//!
//! ```text
//! socket ──read──▶ RecvBuf ──▶ Connection::advance ──▶ RecvBuf::event() ──▶ you
//!                                    │ pong, close
//! socket ◀─write── SendBuf ◀─────────┴──────────── Connection::send ◀────── you
//! ```
//!
//! The one rule of driving it: **after every read, advance until it needs input; before every wait,
//! write what is queued.**
//!
//! ```
//! use std::io::{Read, Write};
//! use bowline::{Config, Connection, Progress, RecvBuf, SendBuf};
//!
//! fn echo(mut socket: impl Read + Write) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut connection = Connection::server(Config::default());
//!     let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
//!     loop {
//!         match connection.advance(&mut input, &mut out) {
//!             // 1. An event borrows from the input alone, so it can be sent while it is held.
//!             Ok(Progress::Event) => connection.send(input.event().unwrap(), &mut out)?,
//!             // 2. Everything that came is used up: write before waiting for more.
//!             Ok(Progress::NeedInput) => {
//!                 while connection.answer(&mut out) {
//!                     let n = socket.write(out.pending())?;
//!                     out.sent(n);
//!                 }
//!                 match socket.read(input.space())? {
//!                     0 => input.eof(),
//!                     n => input.filled(n),
//!                 }
//!             }
//!             // 3. Over, or the peer broke a rule: `connection.end()` tells. It is told by the last
//!             //    thing in the queue, a Close frame.
//!             Ok(Progress::Ended) | Err(_) => return Ok(socket.write_all(out.pending())?),
//!         }
//!     }
//! }
//! ```
//!
//! An adapter also minds timers ([`Connection::deadline`]) and how it leaves the socket
//! ([`Leave`]); docs/adapters.md in the repository goes through one.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `std` | yes | `blocking`, `Error`; without it the crate is `no_std` with `alloc` |
//! | `tokio` | no | `tokio` (and `std`) |
//! | `futures-io` | no | `futures`, for smol, async-std and kin (and `std`) |
//! | `http` | no | conversions between [`handshake`] and the types of the `http` crate (and `std`) |
//! | `hyper` | no | `hyper`: WebSockets on hyper's connections, server and client (and `tokio`, `http`) |
//! | `axum` | no | `axum`: an extractor for axum 0.8 (and `hyper`) |
//! | `http2` | no | WebSockets over HTTP/2, RFC 8441: in `hyper` and `axum`, and `http2` for clients (and `hyper`) |
//! | `rustls` | no | `wss` URLs in `connect` of both adapters, `tls` (and `std`) |
//! | `ring` | no | the crypto provider where the program installed none (and `rustls`) |
//! | `webpki-roots` | no | `tls::with_webpki_roots`: Mozilla's root certificates (and `rustls`) |
//! | `deflate` | no | `Deflate`: compressed messages, RFC 7692 (and `std`) |
//!
//! # Memory
//!
//! An idle server connection holds at most 256 bytes in the core, a client's the generator of its
//! masking keys beside them, and neither a buffer: buffers are lent by a small pool of each thread
//! while bytes are in them. Only the blocking adapter keeps one while it reads. What a connection holds otherwise follows the bytes
//! that came, never what a header announces, up to the limits of [`Config`].
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Each line may use what stands above it, and nothing below.
mod memory;
mod protocol;

pub mod handshake;

#[cfg(feature = "std")]
mod adapter;

#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod asynchronous;
#[cfg(feature = "std")]
pub mod blocking;

#[cfg(feature = "futures-io")]
pub mod futures;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "http")]
mod embed;

#[cfg(feature = "rustls")]
pub use adapter::tls;
#[cfg(feature = "std")]
pub use adapter::{Closed, Error};
#[cfg(feature = "axum")]
pub use embed::axum;
#[cfg(feature = "http2")]
pub use embed::http2;
#[cfg(feature = "hyper")]
pub use embed::hyper;
pub use memory::{Budget, RecvBuf, SendBuf};
#[cfg(feature = "deflate")]
pub use protocol::Deflate;
pub use protocol::{
    CloseAnswer, CloseCode, Config, Connection, End, Initiator, InvalidPolicy, Leave, LeaveStep,
    Message, MessageRef, Part, Prepared, Progress, ProtocolError, Receiver, Refusal, Replies, Role,
    Rule, SendError, SendState, Sender, Settings, Text, Timeout, Truncation, Vectored,
};

/// The former name of [`Leave`].
#[deprecated(note = "use `Leave`, which says each step")]
#[doc(hidden)]
pub type Linger = Leave;

/// The bytes that public types are made of: version 1 of the [`bytes`] crate.
pub use bytes;

/// What public types of `tls` and the adapters are made of, with the feature `rustls`.
#[cfg(feature = "rustls")]
pub use ::rustls;

/// What `tokio::MaybeTls` is made of, with the features `rustls` and `tokio`; its acceptor is for servers.
#[cfg(all(feature = "rustls", feature = "tokio"))]
pub use ::tokio_rustls;

/// What `http2` is made of.
#[cfg(feature = "http2")]
pub use ::h2;

/// The programs of the documents compile.
#[cfg(all(doctest, feature = "axum", feature = "http2", feature = "deflate"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/backpressure.md")]
    mod backpressure {}
    #[doc = include_str!("../docs/deploying.md")]
    mod deploying {}
    #[doc = include_str!("../docs/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/migrating-from-tungstenite.md")]
    mod migrating {}
}
