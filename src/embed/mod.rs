//! WebSockets in another library's HTTP server or client.

#[cfg(feature = "axum")]
pub mod axum;
mod http;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "hyper")]
mod time;
