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
use bowline::{End, Error};
use common::{Options, Socket, Sockets, fail, page_at};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

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
    let (stop, stopped) = watch::channel(());
    loop {
        tokio::select! {
            accepted = sockets.accept() => match accepted {
                Ok(socket) => {
                    let peer = socket.peer();
                    let (options, stopped) = (options.clone(), stopped.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve(socket, options, stopped).await {
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
    // Every task sees this, and drops its receiver when it ends. WebSockets send Close 1001, and wait for
    // the answer at most the close timeout.
    drop(stopped);
    let _ = stop.send(());
    stop.closed().await;
    Ok(())
}

/// Serves HTTP on a connection, until it is done or becomes a WebSocket.
async fn serve(
    socket: Box<dyn Socket>,
    options: Arc<Options>,
    stopped: watch::Receiver<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    socket.set_nodelay()?;
    let mut stop = stopped.clone();
    let service = service_fn(|request| {
        let response = answer(request, &options, &stopped);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    // Without a timer there is no timeout for the head of a request.
    http.timer(TokioTimer::new());
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    tokio::select! {
        result = connection => result?,
        _ = stop.changed() => {}
    }
    Ok(())
}

fn answer(
    mut request: Request<Incoming>,
    options: &Options,
    stopped: &watch::Receiver<()>,
) -> Response<Full<Bytes>> {
    match upgrade_with(&mut request, options.config.clone(), &options.subprotocols) {
        Ok((response, upgrading)) => {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                if let Err(error) = echo(upgrading, stopped).await {
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

async fn echo(upgrading: Upgrading, mut stopped: watch::Receiver<()>) -> Result<(), Error> {
    let mut ws = upgrading.await?;
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => ws.feed(message).await?,
                None => return Ok(ws.end().map_or(Ok(()), End::result)?),
            },
            _ = stopped.changed() => {
                ws.close(1001, "the server is going away").await?;
                return Ok(());
            }
        }
    }
}
