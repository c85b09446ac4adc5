//! Nothing is left in a `tokio::Server` of connections that come and go in any state: attack battery R21.

use std::future::ready;
use std::io;

use crate::counting;
use crate::support::LONG;
use crate::support::server::{bounded, connect, echo, enter, open};
use bowline::Config;
use bowline::tokio::Server;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

/// Battery R21.
#[test]
fn nothing_is_left_of_a_hundred_thousand_who_come_and_go() {
    let _turn = crate::turn();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::new(Config::default());
        come_and_go(&server).await;
        sockets_come_and_go(&server).await;
    });
}

async fn come_and_go(server: &Server) {
    let raw = |bytes: &'static [u8]| async move {
        let mut stream = enter(server, echo).await;
        stream.write_all(bytes).await.unwrap();
    };
    let round = |i: usize| {
        let raw = &raw;
        async move {
            match i % 10 {
                0 => drop(enter(server, echo).await),
                1 => raw(b"GET / HTT").await,
                2 => raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await,
                3 => raw(b"\xff\r\n\r\n").await,
                4 => raw(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n").await,
                5 => {
                    server
                        .serve(ready(Err::<DuplexStream, _>(io::ErrorKind::Other.into())), echo)
                        .await
                }
                6 => drop(open(server, echo).await),
                7 => {
                    let mut client = open(server, echo).await;
                    client.send("Hello").await.unwrap();
                    assert!(bounded(client.recv()).await.unwrap().is_some());
                    let _ = bounded(client.close(1000, "")).await.unwrap();
                }
                8 => {
                    let client = open(server, echo).await;
                    let (mut stream, _) = client.into_inner().await.unwrap();
                    stream.write_all(b"\x82\xfe\x10").await.unwrap();
                }
                _ => {
                    let mut client = open(server, echo).await;
                    client.send_part("half a message", false).await.unwrap();
                    client.flush().await.unwrap();
                }
            }
        }
    };
    let run = async |count: usize| {
        for i in 0..count {
            round(i).await;
            if i % 100 == 99 {
                settle(server).await;
            }
        }
        settle(server).await;
        counting::live()
    };
    // The pools, tables and queues have their size after some.
    let before = run(2_000).await;
    let after = run(100_000).await;
    assert!(after - before < 64 << 10, "{} bytes are left", after - before);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

async fn sockets_come_and_go(server: &Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = server.clone();
    let run = tokio::spawn(async move { running.run(listener, echo).await });
    let before = descriptors();
    for i in 0..2_000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match i % 5 {
            0 => drop(stream),
            1 => {
                stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
                drop(stream);
            }
            2 => drop(bounded(connect(stream)).await.unwrap()),
            3 => {
                let mut client = bounded(connect(stream)).await.unwrap();
                let _ = bounded(client.close(1000, "")).await.unwrap();
            }
            _ => {
                // A reset, in the middle of a frame.
                stream = bounded(connect(stream)).await.unwrap().into_inner().await.unwrap().0;
                stream.write_all(b"\x82\xfe\x10").await.unwrap();
                stream.set_zero_linger().unwrap();
                drop(stream);
            }
        }
        // Every one was taken from the listener by then.
        if i % 100 == 99 {
            let _ = bounded(connect(TcpStream::connect(address).await.unwrap())).await.unwrap();
            settle(server).await;
        }
    }
    assert_eq!(descriptors(), before, "descriptors are left");
    assert_eq!(bounded(server.shutdown(LONG)).await, bowline::tokio::Shutdown::default());
    bounded(run).await.unwrap();
}

async fn settle(server: &Server) {
    let settled = async {
        while !format!("{server:?}").contains("open: 0, opening: 0, refusing: 0") {
            tokio::task::yield_now().await;
        }
    };
    bounded(settled).await;
}
