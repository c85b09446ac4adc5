//! A WebSocket server on tokio that sends every message back, and serves a page to try it with.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline::handshake::Accept;
use bowline::tokio::Incoming;
use bowline::{Config, Error};
use common::{Options, fail, page};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PROGRAM: &str = "echo_server";

#[tokio::main]
async fn main() {
    let options = Options::parse(PROGRAM);
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, format_args!("{}: {error}", options.listen));
    }
}

async fn run(options: &Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(&options.listen).await?;
    // Its handler is installed when it is polled first: before anybody knows that the server runs.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on ws://{}", listener.local_addr()?);
    let subprotocols = Arc::new(options.subprotocols.clone());
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let (config, subprotocols) = (options.config.clone(), subprotocols.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve(socket, config, &subprotocols, stopped).await {
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
    config: Config,
    subprotocols: &[String],
    mut stopped: watch::Receiver<()>,
) -> Result<(), Error> {
    socket.set_nodelay(true)?;
    let incoming = tokio::select! {
        incoming = Incoming::read(socket, config) => incoming?,
        _ = stopped.changed() => return Ok(()),
    };
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return incoming.respond(&page).await;
    }
    let subprotocol = incoming.request().select_subprotocol(subprotocols).map(String::from);
    let mut ws = incoming.accept(Accept::new().subprotocol(subprotocol.as_deref())).await?;
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
