//! TLS in the adapters: `wss` URLs, certificates, providers.

#![cfg(feature = "rustls")]

#[cfg(feature = "ring")]
#[path = "../support/tls.rs"]
mod certificates;
#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod connections;
mod provider;
