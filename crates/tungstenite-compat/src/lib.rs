#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
#[cfg(feature = "deflate")]
pub mod compression;
pub mod error;
pub mod handshake;
pub mod protocol;
pub mod server;
pub mod stream;
#[cfg_attr(not(feature = "__rustls-tls"), allow(dead_code))]
mod tls;
pub mod util;

pub use bytes::Bytes;
pub use http;

pub use crate::client::{ClientRequestBuilder, client, connect};
pub use crate::error::{Error, Result};
pub use crate::handshake::HandshakeError;
pub use crate::handshake::client::ClientHandshake;
pub use crate::handshake::server::ServerHandshake;
pub use crate::protocol::frame::Utf8Bytes;
pub use crate::protocol::{Message, WebSocket};
pub use crate::server::{accept, accept_hdr, accept_hdr_with_config, accept_with_config};
#[cfg(feature = "__rustls-tls")]
pub use crate::tls::{Connector, client_tls, client_tls_with_config};

#[cfg(feature = "deflate")]
pub use bowline::Deflate;

/// For `bowline-tokio-tungstenite` alone. It may change with any release.
#[doc(hidden)]
pub mod private {
    pub use crate::client::place;
    pub use crate::tls::Connector;
    #[cfg(feature = "__rustls-tls")]
    pub use crate::tls::{default_config, server_name};
}
