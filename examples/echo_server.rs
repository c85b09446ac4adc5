//! A WebSocket server on tokio that sends every message back, and serves a page to try it with.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline::handshake::{Accept, Request};
use bowline::tokio::{Server, WebSocket};
use bowline::{End, Error};
use common::{Options, Socket, Sockets, fail, page};

const PROGRAM: &str = "echo_server";

#[tokio::main]
async fn main() {
    let options = Options::parse(PROGRAM);
    if let Err(error) = run(options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: Options) -> std::io::Result<()> {
    let sockets = Sockets::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on {}", sockets.url("ws")?);
    let subprotocols = options.subprotocols;
    let server = Server::new(options.config).on_request(move |request| {
        if !request.is_upgrade() {
            return Err(page(request));
        }
        Ok(Accept::new().subprotocol(request.select_subprotocol(&subprotocols)))
    });
    let serve = async {
        match sockets {
            Sockets::Tcp(listener) => server.run(listener, handle).await,
            #[cfg(unix)]
            Sockets::Unix(listener, _file) => server.run(listener, handle).await,
        }
    };
    tokio::select! {
        () = serve => {}
        _ = interrupt => {}
    }
    // Every connection sends Close 1001, and waits for the answer at most the close timeout.
    server.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

async fn handle<S: Socket>(ws: WebSocket<S>, _request: Request) {
    let peer = ws.get_ref().peer();
    if let Err(error) = echo(ws).await {
        eprintln!("{peer}: {error}");
    }
}

async fn echo<S: Socket>(mut ws: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.end().map_or(Ok(()), End::result)?)
}
