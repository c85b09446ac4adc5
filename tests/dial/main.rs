//! Connecting over real sockets, in both adapters: addresses, proxies, redirects, other places, and the time that all of it
//! may take.

#![cfg(all(feature = "std", unix))]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod places;
mod proxies;
mod redirects;
#[cfg(feature = "ring")]
mod secure;
#[cfg(feature = "tokio")]
mod streams;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bowline::handshake::ClientRequest;
use bowline::{Config, Error, Message, blocking};
use support::{LONG, in_time};

/// A timeout that is meant to run out.
const SHORT: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug)]
enum Adapter {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
}

const ADAPTERS: &[Adapter] = &[
    Adapter::Blocking,
    #[cfg(feature = "tokio")]
    Adapter::Tokio,
];

#[cfg(feature = "tokio")]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(future);
    // A thread of the resolver may still run.
    runtime.shutdown_background();
    result
}

impl Adapter {
    /// Connects, and sends a message that comes back. Gives the status that opened the connection.
    fn echo(self, request: &ClientRequest) -> Result<u16, Error> {
        self.echo_with(request, Config::default())
    }

    fn echo_with(self, request: &ClientRequest, config: Config) -> Result<u16, Error> {
        let request = request.clone();
        in_time("connecting", move || match self {
            Self::Blocking => {
                let (mut ws, response) = blocking::connect_with(&request, config)?;
                ws.send("Hello")?;
                assert_eq!(ws.recv()?, Some(Message::from("Hello")));
                ws.close(1000, "")?;
                Ok(response.status())
            }
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(async {
                let (mut ws, response) = bowline::tokio::connect_with(&request, config).await?;
                ws.send("Hello").await?;
                assert_eq!(ws.recv().await?, Some(Message::from("Hello")));
                ws.close(1000, "").await?;
                Ok(response.status())
            }),
        })
    }
}

fn request(url: impl AsRef<str>) -> ClientRequest {
    ClientRequest::new(url.as_ref()).unwrap()
}

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Serves each connection in a thread of its own, as long as the test runs.
fn serve(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    serve_on("127.0.0.1:0".parse().unwrap(), serve)
}

fn serve_on(at: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            socket.set_read_timeout(Some(LONG)).unwrap();
            let serve = serve.clone();
            thread::spawn(move || serve(socket));
        }
    });
    address
}

fn echo(stream: impl blocking::BlockingStream) {
    let Ok(mut ws) = blocking::accept(stream, Config::default()) else { return };
    while let Ok(Some(message)) = ws.recv() {
        if ws.send(message).is_err() {
            return;
        }
    }
}

/// A server that sends messages back.
fn echo_server() -> SocketAddr {
    serve(echo)
}

/// Reads up to the end of a head.
fn read_head(socket: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && socket.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A server of HTTP that answers each request with what this gives, and tells the heads that came.
fn http_server(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (SocketAddr, Receiver<String>) {
    let (give, heads) = mpsc::channel();
    let address = serve(move |mut socket| {
        let head = read_head(&mut socket);
        let answer = answer(&head);
        let _ = give.send(head);
        let _ = socket.write_all(answer.as_bytes());
    });
    (address, heads)
}

/// Carries bytes both ways until both ends have ended.
fn carry(a: TcpStream, b: TcpStream) {
    let (mut from_a, mut to_b) = (a.try_clone().unwrap(), b.try_clone().unwrap());
    let there = thread::spawn(move || {
        let _ = std::io::copy(&mut from_a, &mut to_b);
        let _ = to_b.shutdown(std::net::Shutdown::Write);
    });
    let (mut from_b, mut to_a) = (b, a);
    let _ = std::io::copy(&mut from_b, &mut to_a);
    let _ = to_a.shutdown(std::net::Shutdown::Write);
    let _ = there.join();
}
