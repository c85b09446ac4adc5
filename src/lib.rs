//! WebSockets ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)): a protocol core without I/O, and adapters for
//! tokio, for other asynchronous runtimes, and for threads.
//!
//! A client and a server on tokio:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # async fn client() -> Result<(), bowline::Error> {
//! let mut ws = bowline::tokio::connect("ws://127.0.0.1:9001/").await?;
//! ws.send("Hello").await?;
//! if let Some(message) = ws.recv().await? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! ws.close(1000, "").await?;
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use bowline::{Config, tokio::Server};
//!
//! # async fn server() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
//! let echo = |mut ws: bowline::tokio::WebSocket<_>, _request| async move {
//!     while let Ok(Some(message)) = ws.recv().await {
//!         if ws.send(message).await.is_err() {
//!             break;
//!         }
//!     }
//! };
//! Server::new(Config::default()).run(listener, echo).await;
//! # Ok(())
//! # }
//! ```
//!
//! `recv` gives `None` after any Close of the peer. [`End`] says whether it was a normal one, with its code and
//! reason.
//!
//! All adapters have the same methods. Read next the page of one: `tokio`, `futures` for smol and other
//! runtimes, or `blocking` for threads. [`Config`] has the limits, the timeouts and the origin policy. In an HTTP
//! server, `axum` and `hyper` give the same `WebSocket`.
//!
//! # The core
//!
//! A library that brings sockets of its own drives the core itself, with the types of [`protocol`]:
//!
//! ```text
//! socket ──read──▶ RecvBuf ──▶ Connection::advance ──▶ RecvBuf::event() ──▶ you
//!                                    │ pong, close
//! socket ◀─write── SendBuf ◀─────────┴──────────── Connection::send ◀────── you
//! ```
//!
//! There is one rule for driving it: **after every read, advance until it needs input; before every wait, write
//! what is queued.**
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
//!             // 2. All that came is used up: write before waiting for more.
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
//!             // 3. It is over, or the peer broke a rule: `connection.end()` says which. The peer is told by
//!             //    the last frame in the queue, a Close.
//!             Ok(Progress::Ended) | Err(_) => return Ok(socket.write_all(out.pending())?),
//!         }
//!     }
//! }
//! ```
//!
//! An event loop with many peers drives [`handshake::Driver`] in place of all this: it is the opening handshake, the
//! connection and the end of the socket in one.
//!
//! An adapter also keeps timers ([`Connection::deadline`]), reads nothing while the peer has to wait
//! ([`Connection::is_paused`]), and leaves the socket so that the last bytes arrive
//! ([`Leave`]). docs/adapters.md in the repository builds one step by step.
//!
//! # Where each rule stands
//!
//! | section | file in `src` |
//! |---|---|
//! | RFC 6455 §1.3, §4.1 client's handshake | `handshake/client/mod.rs`; `handshake/key.rs` |
//! | §4.2 server's handshake | `handshake/rules.rs` (the request), `handshake/server.rs` (the answer), `handshake/key.rs` |
//! | §3 URLs; §10.2 origins | `handshake/url.rs`; `protocol/policy.rs` |
//! | §4.1 proxies, item 3; redirects | `handshake/proxy/`; `handshake/client/redirect.rs` |
//! | §9 extensions | `handshake/extension.rs` (syntax), `handshake/server.rs`, `handshake/client/mod.rs` |
//! | §5.1 to §5.5 frame headers | `protocol/frame.rs` (layout), `protocol/recv/header.rs` (rules) |
//! | §5.3 masking; §10.3 masking keys | `protocol/mask.rs`; `protocol/send/frames.rs`, `adapter/mod.rs` (entropy) |
//! | §5.4 fragments; §8.1 UTF-8 | `protocol/recv/header.rs` (order), `protocol/recv/assemble.rs`; `protocol/utf8.rs` |
//! | §5.5.1, §7 closing | `protocol/recv/ends.rs`, `protocol/send/mod.rs`, `protocol/close.rs` (codes), `protocol/leave.rs` |
//! | §5.5.2, §5.5.3 ping and pong | `protocol/recv/mod.rs`, `protocol/replies.rs`, `protocol/keepalive.rs` |
//! | §5.4, §6 sending | `protocol/send/`, `protocol/prepared.rs` |
//! | §10.4 limits | `protocol/recv/header.rs`, `handshake/head.rs`, `memory/budget.rs`; settings: `protocol/config.rs` |
//! | RFC 7692 §5, §7.1 negotiation | `protocol/deflate/negotiation.rs` |
//! | RFC 7692 §6, §7.2 compressed messages | `protocol/recv/inflate.rs`, `protocol/send/frames.rs`, `protocol/deflate/` |
//! | §7.2.3 connecting again | `protocol/reconnect/`; RFC 9110 §10.2.3 `Retry-After`: `handshake/retry_after.rs` |
//! | RFC 8441 over HTTP/2 | `handshake/request.rs`, `handshake/rules.rs`, `embed/http2.rs` (client), `embed/hyper.rs` |
//!
//! Whole short messages go a shorter way, `protocol/recv/short.rs` and `protocol/send/short.rs`. Each file
//! opens with a table of the rules that it stands for.
//!
//! Folders depend on each other in one direction:
//! `memory ← protocol ← handshake ← adapter ← asynchronous | blocking ← tokio, futures ← embed`.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | adapter | code that moves bytes between a socket and the core |
//! | backpressure | a sender waits because its peer does not read |
//! | borrowed | lent from a buffer, without a copy |
//! | budget | a bound on the memory of many connections together |
//! | cancel safe | a future may be dropped at any poll and nothing is torn |
//! | close code | the number in a Close frame (§7.4) |
//! | control frame | ping, pong or Close; at most 125 bytes (§5.5) |
//! | core | the protocol without I/O: [`protocol`] and [`handshake`] |
//! | deadline | when to look again, on the caller's clock |
//! | end | how a connection ended: [`End`] |
//! | engine | the loops that the asynchronous adapters share |
//! | event | a message, a part of one, or a reported ping or pong |
//! | feed | queue a message without writing it |
//! | flush | hand what is queued to the socket |
//! | fragment | a frame that is a piece of a message (§5.4) |
//! | frame | header and payload, the unit on the wire (§5.2) |
//! | half | the receiving or the sending side of a connection |
//! | handshake | the HTTP exchange that opens a connection (§4) |
//! | keepalive | pings of our own that find a peer that is gone |
//! | leave | end the socket so that the last bytes arrive |
//! | mask | the XOR with which a client hides its payload (§5.3) |
//! | message | text or binary data, in one frame or more (§5.6) |
//! | part | a piece of a message that is given before the whole is there |
//! | payload | the bytes of a frame after its header |
//! | peer | the other end |
//! | progress | bytes that keep a timeout from running out |
//! | replies | what the receiving half owes the peer: pongs and a Close |
//! | role | client or server |
//! | short way | the code for a whole short message, which is most of them |
//! | turn | the work after which a task lets others run |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `std` | yes | `blocking`, `Error`; without it the crate is `no_std` with `alloc` |
//! | `tokio` | no | `tokio` (and `std`, `socket2`) |
//! | `futures-io` | no | `futures`, for smol, async-std and others (and `std`) |
//! | `http` | no | conversions between [`handshake`] and the types of the `http` crate (and `std`) |
//! | `hyper` | no | `hyper`: WebSockets on hyper's connections, server and client (and `tokio`, `http`) |
//! | `axum` | no | `axum`: an extractor for axum 0.8 (and `hyper`) |
//! | `http2` | no | WebSockets over HTTP/2, RFC 8441: in `hyper` and `axum`, and `http2` for clients (and `hyper`) |
//! | `rustls` | no | `wss` URLs in `connect` of the tokio and the blocking adapter, `tls` (and `std`) |
//! | `ring` | no | a crypto provider, used if the program installed none (and `rustls`) |
//! | `aws-lc-rs` | no | another crypto provider, with post-quantum key exchange; it goes before `ring` (and `rustls`) |
//! | `webpki-roots` | no | `tls::with_webpki_roots`: Mozilla's root certificates (and `rustls`) |
//! | `socket2` | no | a client's local address, and options of its socket (and `std`); `tokio` turns it on |
//! | `deflate` | no | `Deflate`: compressed messages, RFC 7692 (and `std`) |
//! | `tracing` | no | a span for each opening handshake, an event at the end of each connection (and `std`) |
//!
//! # Memory
//!
//! An idle server connection holds at most 192 bytes in the core; a client also holds the generator of its masking
//! keys. Neither holds a buffer: a small pool of each thread lends buffers while bytes are in them. Only the
//! blocking adapter keeps one while it reads. All else that a connection holds follows the bytes that came, never
//! what a header announces, up to the limits of [`Config`].
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

// Each line may use what stands above it, and nothing below.
mod memory;
pub mod protocol;

pub mod handshake;

#[cfg(feature = "std")]
mod adapter;

#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub mod asynchronous;
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
pub use adapter::{
    Attempt, Closed, Ending, Error, Live, Nudge, ReuniteError, Session, Stopped, Unreachable,
    Waiting,
};
#[cfg(feature = "axum")]
pub use embed::axum;
#[cfg(feature = "http2")]
pub use embed::http2;
#[cfg(feature = "hyper")]
pub use embed::hyper;
pub use memory::{Budget, OwnedPending, OwnedSpace, RecvBuf, SendBuf};
#[cfg(feature = "deflate")]
pub use protocol::{Agreed, Deflate};
pub use protocol::{
    CloseAnswer, CloseCode, Config, Connection, End, Initiator, InvalidPolicy, Leave, LeaveStep,
    Message, MessageRef, Never, Outbox, OutboxFull, Outcome, Part, Prepared, Progress,
    ProtocolError, RateLimit, Receiver, Reconnect, Refusal, Replies, Role, Rule, SendError,
    SendState, Sender, Settings, Stats, Text, Then, Timeout, Traffic, Truncation, Vectored,
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
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "http2",
    feature = "deflate",
    feature = "futures-io",
    feature = "ring",
    feature = "tracing"
))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/backpressure.md")]
    mod backpressure {}
    #[doc = include_str!("../docs/connecting.md")]
    mod connecting {}
    #[doc = include_str!("../docs/cookbook.md")]
    mod cookbook {}
    #[doc = include_str!("../docs/deploying.md")]
    mod deploying {}
    #[doc = include_str!("../docs/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/migrating-from-tungstenite.md")]
    mod migrating {}
    #[doc = include_str!("../docs/reconnecting.md")]
    mod reconnecting {}
}
