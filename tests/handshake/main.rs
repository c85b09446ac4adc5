//! The opening handshake: requests, answers, URLs, and the negotiation of extensions.

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod battery;
mod client;
mod errors;
mod other_http;
mod proxy;
mod proxy_header;
mod redirect;
mod rfc7692_negotiation;
mod rfc8441;
mod server;
mod url;
