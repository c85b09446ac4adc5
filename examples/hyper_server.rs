//! A WebSocket server on hyper that sends every message back, and serves a page to try it with.

mod common;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline::bytes::Bytes;
use bowline::handshake::RequestError;
use bowline::hyper::{Upgrading, upgrade_with};
use bowline::tokio::Group;
use bowline::{End, Error};
use common::{Options, Socket, Sockets, fail, page_at};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

const PROGRAM: &str = "hyper_server";

#[tokio::main]
async fn main() {
    let options = Arc::new(Options::parse(PROGRAM));
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: &Arc<Options>) -> std::io::Result<()> {
    let sockets = Sockets::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on {}", sockets.url("ws")?);
    let group = Group::new();
    loop {
        tokio::select! {
            accepted = sockets.accept() => match accepted {
                Ok(socket) => {
                    let peer = socket.peer();
                    let (options, group) = (options.clone(), group.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve(socket, &options, &group).await {
                            eprintln!("{peer}: {error}");
                        }
                    });
                }
                // Too many open files, for example. Open connections may end meanwhile.
                Err(error) => {
                    eprintln!("{PROGRAM}: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = &mut interrupt => break,
        }
    }
    // Every WebSocket sends Close 1001, and waits for the answer at most the close timeout. There is no wait for
    // connections that are still HTTP.
    group.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// Serves HTTP on a connection, until it is done or becomes a WebSocket.
async fn serve(
    socket: Box<dyn Socket>,
    options: &Options,
    group: &Group,
) -> Result<(), Box<dyn std::error::Error>> {
    socket.set_nodelay()?;
    let service = service_fn(|request| {
        let response = answer(request, options, group);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    // Without a timer there is no timeout for the head of a request.
    http.timer(TokioTimer::new());
    Ok(http.serve_connection(TokioIo::new(socket), service).with_upgrades().await?)
}

fn answer(
    mut request: Request<Incoming>,
    options: &Options,
    group: &Group,
) -> Response<Full<Bytes>> {
    let upgrade = upgrade_with(&mut request, options.config.clone(), &options.subprotocols);
    match upgrade.and_then(|(response, upgrading)| Ok((response, upgrading.join(group)?))) {
        Ok((response, upgrading)) => {
            tokio::spawn(async {
                if let Err(error) = echo(upgrading).await {
                    eprintln!("{error}");
                }
            });
            response
        }
        Err(RequestError::NotUpgrade | RequestError::Method) => {
            page_at(request.method().as_str(), request.uri().path()).into()
        }
        Err(refusal) => refusal.response().into(),
    }
}

async fn echo(upgrading: Upgrading) -> Result<(), Error> {
    let mut ws = upgrading.await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.end().map_or(Ok(()), End::result)?)
}
