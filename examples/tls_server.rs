//! A WebSocket server on tokio and TLS that sends every message back, with a certificate made at the start.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline::Config;
use bowline::handshake::Accept;
use bowline::tokio::Incoming;
use bowline::tokio_rustls::TlsAcceptor;
use common::tls::TlsOptions;
use common::{fail, page};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PROGRAM: &str = "tls_server";
const HELP: &str = "
tls_server: a WebSocket server on TLS that sends every message back

Usage: tls_server [OPTIONS]

It makes a certificate for localhost when it starts, which nobody trusts until told to. To talk to it:

  tls_server --certificate cert.pem &
  SSL_CERT_FILE=cert.pem connect wss://localhost:9001/

It serves a page to try it with on GET /. Ctrl-C ends it, with Close 1001 to all.

Options:
  --listen ADDR       where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --certificate FILE  write the certificate there
  --any-origin        let pages of any origin connect, not only its own
  --deflate           permessage-deflate, if the other side agrees
  -h, --help          print this
";

#[tokio::main]
async fn main() {
    let options = TlsOptions::parse(PROGRAM, HELP);
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, format_args!("{}: {error}", options.listen));
    }
}

async fn run(options: &TlsOptions) -> Result<()> {
    let listener = TcpListener::bind(&options.listen).await?;
    // Its handler is installed when it is polled first: before anybody knows that the server runs.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    let acceptor = options.acceptor(&["http/1.1"])?;
    println!("listening on wss://{}", listener.local_addr()?);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let (acceptor, config) = (acceptor.clone(), options.config.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve(socket, acceptor, config, stopped).await {
                            eprintln!("{peer}: {error}");
                        }
                    });
                }
                // Too many open files, for example: what is open may end meanwhile.
                Err(error) => {
                    eprintln!("{PROGRAM}: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = &mut interrupt => break,
        }
    }
    // Every connection sees this, says Close 1001, and waits for the answer no longer than the
    // close timeout.
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    config: Config,
    mut stopped: watch::Receiver<()>,
) -> Result<()> {
    socket.set_nodelay(true)?;
    let opening = async {
        // The timeout of the WebSocket's handshake begins after this.
        let stream = timeout(Duration::from_secs(10), acceptor.accept(socket)).await??;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Incoming::read(stream, config).await?)
    };
    let incoming = tokio::select! {
        incoming = opening => incoming?,
        _ = stopped.changed() => return Ok(()),
    };
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return Ok(incoming.respond(&page).await?);
    }
    let mut ws = incoming.accept(Accept::new()).await?;
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => ws.feed(message).await?,
                None => return Ok(()),
            },
            _ = stopped.changed() => {
                ws.close(1001, "the server is going away").await?;
                return Ok(());
            }
        }
    }
}
