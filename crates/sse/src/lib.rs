#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "http", test))]
extern crate std;

mod event;
mod parser;
mod scan;
mod text;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "http")]
pub mod server;

pub use event::{EncodeError, Event, encode_comment, encode_retry};
pub use parser::{Item, Limits, ParseError, Parser};

/// The types of requests and responses: version 1 of the crate `http`.
#[cfg(feature = "http")]
pub use ::http;
/// What a client connects with: proxies, TLS, errors. [`EventSource::dial`](client::EventSource::dial) takes its `ClientRequest`.
#[cfg(feature = "client")]
pub use bowline;
/// What [`EventSource::reconnect`](client::EventSource::reconnect) takes, of the crate `bowline`.
#[cfg(feature = "client")]
pub use bowline::Reconnect;
