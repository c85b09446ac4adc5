//! Clients of a `tokio::Server`, and a handler.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::future::{Future, ready};

use bowline::handshake::{ClientRequest, Request};
use bowline::tokio::{Server, WebSocket};
use bowline::{Config, Error};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

use super::LONG;

/// Waits no longer than a test may.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it waits for ever")
}

/// A handler.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>, _: Request) {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.send(message).await.is_err() {
            break;
        }
    }
}

pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> Result<WebSocket<S>, Error> {
    let request = ClientRequest::new("ws://a/chat").unwrap();
    Ok(bowline::tokio::client(stream, &request, Config::default()).await?.0)
}

/// A client in memory whose connection the server has begun to serve.
pub(crate) async fn enter<F: Future<Output: bowline::tokio::HandlerResult> + Send + 'static>(
    server: &Server,
    handler: impl FnOnce(WebSocket<DuplexStream>, Request) -> F + Send + 'static,
) -> DuplexStream {
    let (near, far) = duplex(4096);
    bounded(server.serve(ready(Ok(far)), handler)).await;
    near
}

/// A client in memory that has been let in.
pub(crate) async fn open<F: Future<Output: bowline::tokio::HandlerResult> + Send + 'static>(
    server: &Server,
    handler: impl FnOnce(WebSocket<DuplexStream>, Request) -> F + Send + 'static,
) -> WebSocket<DuplexStream> {
    bounded(connect(enter(server, handler).await)).await.unwrap()
}
