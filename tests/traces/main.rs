//! The feature `tracing`: the spans of opening handshakes, and the events at the ends of connections.

#![cfg(all(feature = "tracing", feature = "tokio", feature = "futures-io"))]
#![allow(clippy::duplicate_mod, reason = "each adapter runs the same modules")]

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod collector;
#[cfg(feature = "http2")]
mod other_http;
mod secrets;
mod server;

/// The modules that run over each adapter.
macro_rules! over {
    ($name:ident, $adapter:ident) => {
        #[path = ""]
        mod $name {
            use crate::support::$adapter as adapter;

            #[path = "ends.rs"]
            mod ends;
            #[path = "handshakes.rs"]
            mod handshakes;
        }
    };
}

over!(on_tokio, over_tokio);
over!(on_futures, over_futures);
