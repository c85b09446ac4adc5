//! A WebSocket server over HTTP/2 and HTTP/1.1 on one TLS port, with hyper: it sends every message back, and serves a page
//! to try it with.

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
use bowline::tokio_rustls::TlsAcceptor;
use bowline::{End, Error};
use common::tls::{acceptor, agreed};
use common::{Options, Socket, Sockets, fail, page_at};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PROGRAM: &str = "http2_server";
const WHAT: &str = "a WebSocket server over HTTP/2 and HTTP/1.1";
const ABOUT: &str = "\
It makes a certificate for localhost when it starts, which nobody trusts until told to. A browser asks whether
to go on to https://localhost:9001/; from then on it opens WebSockets over HTTP/2.

It serves a page to try it with on GET /, and says of each WebSocket which version of HTTP it came over.
Ctrl-C ends it, with Close 1001 to all.";

#[tokio::main]
async fn main() {
    let options = Arc::new(Options::parse_tls(PROGRAM, WHAT, ABOUT));
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: &Arc<Options>) -> Result<()> {
    let sockets = Sockets::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    let acceptor = acceptor(&["h2", "http/1.1"], options.certificate.as_deref())?;
    println!("listening on {}", sockets.url("wss")?);
    let (stop, stopped) = watch::channel(());
    loop {
        tokio::select! {
            accepted = sockets.accept() => match accepted {
                Ok(socket) => {
                    let peer = socket.peer();
                    let (acceptor, options) = (acceptor.clone(), options.clone());
                    let stopped = stopped.clone();
                    tokio::spawn(async move {
                        if let Err(error) = serve(socket, acceptor, options, stopped).await {
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
    // Every task sees this, and drops its receiver when it ends.
    drop(stopped);
    let _ = stop.send(());
    stop.closed().await;
    Ok(())
}

/// Serves HTTP on a connection. Over HTTP/2 it also carries the WebSockets, until the last one is closed.
async fn serve(
    socket: Box<dyn Socket>,
    acceptor: TlsAcceptor,
    options: Arc<Options>,
    stopped: watch::Receiver<()>,
) -> Result<()> {
    socket.set_nodelay()?;
    let mut stop = stopped.clone();
    let stream = tokio::select! {
        stream = timeout(Duration::from_secs(10), acceptor.accept(socket)) => stream??,
        _ = stop.changed() => return Ok(()),
    };
    if options.verbose {
        println!("{}", agreed(stream.get_ref().1));
    }
    let service = service_fn(|request| {
        let response = answer(request, &options, &stopped);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Without a timer there is no timeout for the head of a request.
    http.http1().timer(TokioTimer::new());
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .enable_connect_protocol()
        // A WebSocket that nobody reads must not stop the others on its connection.
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20);
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        result = connection.as_mut() => return result,
        _ = stop.changed() => connection.as_mut().graceful_shutdown(),
    }
    // Enough for the answer to a Close and for the last bytes.
    let _ = timeout(Duration::from_secs(10), connection).await;
    Ok(())
}

fn answer(
    mut request: Request<Incoming>,
    options: &Options,
    stopped: &watch::Receiver<()>,
) -> Response<Full<Bytes>> {
    match upgrade_with(&mut request, options.config.clone(), &options.subprotocols) {
        Ok((response, upgrading)) => {
            println!("WebSocket over {:?}", request.version());
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

async fn echo(
    upgrading: Upgrading,
    mut stopped: watch::Receiver<()>,
) -> std::result::Result<(), Error> {
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
