//! permessage-deflate (RFC 7692), once it is agreed. How it is agreed is in `tests/handshake`.

#![cfg(feature = "deflate")]

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod codec;
mod limits;
