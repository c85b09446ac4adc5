//! The asynchronous adapters. What any of them does is tested over each of them, by the same modules; what only
//! tokio has, or only its paused clock can show, has files named for it.

#![cfg(all(feature = "tokio", feature = "futures-io"))]
#![allow(clippy::duplicate_mod, reason = "each adapter runs the same modules")]

#[path = "../support/mod.rs"]
mod support;

/// The modules that run over each adapter.
macro_rules! over {
    ($name:ident, $adapter:ident) => {
        #[path = ""]
        mod $name {
            use crate::support::$adapter as adapter;

            #[path = "broadcast.rs"]
            mod broadcast;
            #[path = "bytes.rs"]
            mod bytes;
            #[path = "cancel.rs"]
            mod cancel;
            #[path = "clones.rs"]
            mod clones;
            #[path = "closing.rs"]
            mod closing;
            #[path = "fairness.rs"]
            mod fairness;
            #[path = "halves.rs"]
            mod halves;
            #[path = "handshake.rs"]
            mod handshake;
            #[path = "keepalive.rs"]
            mod keepalive;
            #[path = "opening.rs"]
            mod opening;
            #[path = "outbox.rs"]
            mod outbox;
            #[path = "parts.rs"]
            mod parts;
            #[path = "rate_limit.rs"]
            mod rate_limit;
            #[path = "reunite.rs"]
            mod reunite;
            #[path = "send.rs"]
            mod send;
            #[path = "sink.rs"]
            mod sink;
            #[path = "sockets.rs"]
            mod sockets;
            #[path = "split.rs"]
            mod split;
            #[path = "stats.rs"]
            mod stats;
            #[path = "timers.rs"]
            mod timers;
        }
    };
}

over!(on_tokio, over_tokio);
over!(on_futures, over_futures);

mod tokio_closing;
mod tokio_keepalive;
mod tokio_opening;
mod tokio_server;
