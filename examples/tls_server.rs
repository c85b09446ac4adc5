//! A WebSocket server on tokio and TLS that sends every message back. It makes its certificate at the start.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline::End;
use bowline::handshake::Accept;
use bowline::tokio::Incoming;
use bowline::tokio_rustls::TlsAcceptor;
use common::tls::{acceptor, agreed};
use common::{Options, Socket, Sockets, fail, page};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PROGRAM: &str = "tls_server";
const WHAT: &str = "a WebSocket server on TLS";
const ABOUT: &str = "\
It makes a certificate for localhost when it starts, which nobody trusts until told to. To talk to it:

  tls_server --certificate cert.pem &
  SSL_CERT_FILE=cert.pem connect wss://localhost:9001/

It serves a page to try it with on GET /. Ctrl-C ends it, with Close 1001 to all.";

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
    let acceptor = acceptor(&["http/1.1"], options.certificate.as_deref())?;
    println!("listening on {}", sockets.url("wss")?);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = sockets.accept() => match accepted {
                Ok(socket) => {
                    let peer = socket.peer();
                    let (acceptor, options) = (acceptor.clone(), options.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move {
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
            Some(_) = connections.join_next() => {}
            _ = &mut interrupt => break,
        }
    }
    // Every connection sees this, sends Close 1001, and waits for the answer at most the close timeout.
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve(
    socket: Box<dyn Socket>,
    acceptor: TlsAcceptor,
    options: Arc<Options>,
    mut stopped: watch::Receiver<()>,
) -> Result<()> {
    socket.set_nodelay()?;
    let opening = async {
        // The timeout of the WebSocket's handshake begins after this.
        let stream = timeout(Duration::from_secs(10), acceptor.accept(socket)).await??;
        if options.verbose {
            println!("{}", agreed(stream.get_ref().1));
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            Incoming::read(stream, options.config.clone()).await?,
        )
    };
    let incoming = tokio::select! {
        incoming = opening => incoming?,
        _ = stopped.changed() => return Ok(()),
    };
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return Ok(incoming.respond(&page).await?);
    }
    let accept = Accept::new();
    let accept = accept.subprotocol(incoming.request().select_subprotocol(&options.subprotocols));
    let mut ws = incoming.accept(accept).await?;
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
