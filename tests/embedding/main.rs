//! bowline in other HTTP servers: the programs of docs/embedding.md, and what hostile clients do to them.

#![cfg(feature = "tokio")]

#[path = "../support/mod.rs"]
mod support;

mod axum;
mod guide;
mod http;
mod http2;
mod hyper;
