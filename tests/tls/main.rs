//! TLS in the adapters: `wss` URLs, certificates, providers.

#![cfg(feature = "rustls")]

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod client_certificates;
mod connections;
mod post_quantum;
mod provider;
