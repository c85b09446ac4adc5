//! What the example programs share: their command lines, their page, and a certificate for those on TLS.
#![allow(dead_code, reason = "each program uses a part of it")]

mod listen;
mod options;
mod sockets;
#[cfg(feature = "tls")]
pub mod tls;

use std::fmt::Display;
use std::io;

use bowline::handshake::{Request, Response};

#[cfg(unix)]
#[allow(unused_imports, reason = "each program uses a part of it")]
pub use listen::SocketFile;
#[allow(unused_imports, reason = "each program uses a part of it")]
pub use {
    listen::Listen,
    options::{Arguments, Options, fail, help, wrong_usage},
    sockets::{Socket, Sockets},
};

/// Puts the subject of an error before it, such as an address or a file.
pub fn about(what: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The answer to a request that asks for no WebSocket.
pub fn page(request: &Request) -> Response {
    page_at(request.method(), request.path())
}

pub fn page_at(method: &str, path: &str) -> Response {
    let html = "text/html; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        ("GET", "/") => (200, html, include_str!("page.html")),
        ("GET", _) => (404, "text/plain", "Not here. The page is at /\n"),
        _ => (405, "text/plain", "Only GET is served here.\n"),
    };
    let mut response = Response::new(status).body(body);
    for (name, value) in [("Content-Type", kind), ("Allow", "GET")] {
        if name != "Allow" || status == 405 {
            response = response.header(name, value).expect("both are valid headers");
        }
    }
    response
}
