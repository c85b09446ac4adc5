//! An opening handshake allocates few times, whatever the number of headers.

#![cfg(feature = "tokio")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::counting::counts;
use bowline::handshake::ClientRequest;
use bowline::{Config, tokio::WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// A request as a browser sends it.
const REQUEST: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: localhost:9001\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Upgrade: websocket\r\nOrigin: http://localhost:9001\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: session=abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn accept(config: &Config) -> usize {
    let (mut near, far) = duplex(4096);
    ready(near.write_all(REQUEST.as_bytes())).unwrap();
    let before = counts().allocations;
    let _ws: WebSocket<DuplexStream> = ready(bowline::tokio::accept(far, config.clone())).unwrap();
    counts().allocations - before
}

#[tokio::test]
async fn accepting_allocates_few_times() {
    let config = Config::default();
    // The first one fills the pool.
    accept(&config);
    let allocations = accept(&config);
    assert!(allocations <= 6, "{allocations}");
}

#[tokio::test]
async fn connecting_allocates_few_times() {
    let config = Config::default();
    let connect = || {
        let (near, mut far) = duplex(4096);
        let mut head = [0; 1024];
        let before = counts().allocations;
        let request = ClientRequest::new("ws://localhost:9001/chat").unwrap();
        let mut opening = pin!(bowline::tokio::client(near, &request, config.clone()));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(opening.as_mut().poll(cx).is_pending());
        let between = counts().allocations;
        let n = ready(far.read(&mut head)).unwrap();
        let text = std::str::from_utf8(&head[..n]).unwrap();
        let key = text.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            bowline::handshake::accept_key(key)
        );
        ready(far.write_all(response.as_bytes())).unwrap();
        let after = counts().allocations;
        let Poll::Ready(Ok(_)) = opening.as_mut().poll(cx) else { panic!("it waits") };
        counts().allocations - after + between - before
    };
    connect();
    let allocations = connect();
    assert!(allocations <= 10, "{allocations}");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_accepts_with_few_allocations() {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;

    async fn handler(upgrade: bowline::axum::WebSocketUpgrade) -> axum::response::Response {
        upgrade.on_upgrade(|mut ws| async move {
            let _ = ws.recv().await;
        })
    }

    let app: axum::Router = axum::Router::new().route("/chat", axum::routing::get(handler));
    // These are for the task of the connection and for what the stream in memory keeps.
    const OF_THE_TEST: usize = 2;
    // The connections stay open, because the end of one allocates too.
    let mut open = Vec::with_capacity(3);
    let mut least = usize::MAX;
    for _ in 0..3 {
        let (mut near, far) = duplex(4096);
        let service = TowerToHyperService::new(app.clone());
        let mut http = hyper::server::conn::http1::Builder::new();
        http.half_close(false);
        let connection = http.serve_connection(TokioIo::new(far), service).with_upgrades();
        near.write_all(REQUEST.as_bytes()).await.unwrap();
        let before = counts().allocations;
        let mut served = tokio::spawn(connection);
        let mut head = [0; 1024];
        let n = near.read(&mut head).await.unwrap();
        assert!(head[..n].starts_with(b"HTTP/1.1 101 "));
        let _ = (&mut served).await;
        tokio::task::yield_now().await;
        least = least.min(counts().allocations - before - OF_THE_TEST);
        open.push(near);
    }
    assert!(least <= 25, "{least}");
}
