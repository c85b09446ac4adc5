//! What a server keeps for connections that are gone: nothing.

#![cfg(feature = "tokio")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::counting::live;
use bowline::Config;
use bowline::tokio::Server;

/// A request that gets an error, so that the connection ends at once.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn visit(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 426 "));
    }
}

struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

#[tokio::test]
async fn a_server_keeps_nothing_of_connections_that_are_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Config::default());
    let mut running = pin!(server.run(listener, |_, _| async {}));
    // Each poll has a waker that no other equals, as a combinator of futures may give.
    let running = poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Forward(cx.waker().clone())));
        running.as_mut().poll(&mut Context::from_waker(&waker))
    });
    let visits = async {
        visit(address, 100).await;
        let before = live();
        visit(address, 300).await;
        let kept = live() - before;
        assert!(kept < 2_000, "{kept} bytes of 300 connections that are gone");
    };
    tokio::select! {
        () = running => panic!("the server ended"),
        () = visits => {}
    }
}
