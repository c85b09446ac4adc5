//! The opening handshake (RFC 6455 §4), without sockets: from HTTP bytes to a connection.
//!
//! A server reads with [`ServerHandshake`], looks at the [`Request`], and answers with
//! [`Upgrade::accept`] or any [`Response`]. A server that has an HTTP parser of its own makes the
//! `Request` with [`Request::from_parts`] and sends the response itself; over HTTP/2, with
//! [`Request::from_extended_connect`].
//!
//! A client describes what it wants in a [`ClientRequest`] and reads the answer with
//! [`ClientHandshake`]. A client with another HTTP library sends the headers that
//! [`ClientHandshake::start`] gives. The adapters do both; see their `accept` and `connect`.
//!
//! How a client gets to its server is in the `ClientRequest` too: [`Proxies`], [`ConnectTo`], redirects. The adapters
//! follow its [`Route`], and a [`Tunnel`] asks a proxy for a connection.
//!
//! An event loop needs neither: a [`Driver`] is one end from its first byte to its last.

mod client;
mod driver;
mod extension;
mod first_line;
mod head;
mod key;
mod proxy;
mod proxy_header;
mod refusal;
mod request;
mod response;
mod retry_after;
mod rules;
mod server;
mod url;

pub use client::{
    ClientHandshake, ClientRequest, ConnectError, ConnectTo, Place, Redirected, Route, Unfollowed,
};
#[cfg(feature = "socket2")]
pub use client::{SocketHandle, SocketHook};
pub use driver::{Driver, DriverEvent};
pub use head::Headers;
pub use key::accept_key;
pub use proxy::{Proxies, Proxy, ProxyError, ProxyScheme, SocksReply, Tunnel};
pub use proxy_header::{ProxyHeader, ProxyHeaderError};
pub use request::Request;
pub use response::Response;
pub use rules::RequestError;
pub use server::{Accept, ServerHandshake, Upgrade};

use alloc::string::String;
use core::fmt;

/// A URL, header or subprotocol that cannot be sent. It is the caller's mistake; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// Not a `ws` or `wss` URL (RFC 6455 §3): what is wrong with it.
    Url(&'static str),
    /// Not the URL of a proxy, or a host that it cannot be asked for: what is wrong. See [`Proxy::new`].
    Proxy(&'static str),
    /// A method other than GET: only GET opens a WebSocket (RFC 6455 §4.1).
    Method,
    /// A header name or value with a byte that it may not have, such as CR, LF or NUL
    /// (RFC 9110 §5.5).
    Header(String),
    /// A header that the handshake writes itself, or that would frame the message differently.
    ReservedHeader(String),
    /// Not a token, or named twice (RFC 6455 §4.1).
    Subprotocol(String),
    /// A status that no answer may have (RFC 9110 §15).
    Status(u16),
    /// The client did not offer this subprotocol (RFC 6455 §4.2.2).
    SubprotocolNotOffered(String),
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => write!(f, "invalid WebSocket URL: {what}"),
            Self::Proxy(what) => write!(f, "invalid proxy: {what}"),
            Self::Method => f.write_str("a WebSocket is opened with GET"),
            Self::Header(name) => write!(f, "invalid header {name:?}"),
            Self::ReservedHeader(name) => {
                write!(f, "header {name:?} is written by the handshake itself")
            }
            Self::Subprotocol(name) => write!(f, "invalid or repeated subprotocol {name:?}"),
            Self::Status(status) => {
                write!(f, "status {status} cannot be sent as an answer: use one from 200 to 599")
            }
            Self::SubprotocolNotOffered(name) => {
                write!(f, "subprotocol {name:?} was not offered by the client")
            }
        }
    }
}

impl core::error::Error for InvalidRequest {}

/// Whether `name` is a token (RFC 9110 §5.6.2).
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The elements of a comma-separated list that may be spread over several lines; empty ones are
/// skipped (RFC 9110 §5.6.1).
fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn lists_token<'a>(lines: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    list(lines).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}
