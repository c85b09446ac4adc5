//! A WebSocket server for use behind a proxy or under a supervisor. It has limits, keepalive and a health check.
//! SIGTERM ends it in an orderly way. It sends every message back.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline::handshake::{Accept, Request, Response};
use bowline::tokio::{Server, WebSocket};
use bowline::{Config, Deflate, End, Error};
use common::{Arguments, Listen, Sockets, about, fail, help, page, wrong_usage};
use lexopt::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

const PROGRAM: &str = "service";
const HELP: &str = "
service: a WebSocket server that sends every message back, for a place behind a proxy

Usage: service [OPTIONS]

GET /health is answered with 200 while there is room for connections, GET / with a page to try it with. SIGTERM or Ctrl-C
ends it: with Close 1001 to all, and a count of those that answered.

Options:
  --listen ADDR             where to listen; port 0 picks one, unix:PATH is a Unix socket [default: 127.0.0.1:9001]
  --max-connections COUNT   more get status 503 [default: 10000]
  --ping-interval SECONDS   ping a peer that has shown no life for this long, or none for no pings [default: 30]
  --grace SECONDS           how long the end may take, or none for as long as it needs [default: 10]
  --allow-origin ORIGIN     let pages of this origin connect too (repeatable)
  --any-origin              let pages of any origin connect
  --deflate                 permessage-deflate, if the other side agrees
  --subprotocol NAME        select this subprotocol if it is offered (repeatable)
  --max-message-size BYTES  the largest message to accept [default: 1048576]
  -h, --help                print this
";

struct Options {
    listen: Listen,
    config: Config,
    subprotocols: Vec<String>,
    max_connections: usize,
    grace: Duration,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        listen: Listen::default(),
        config: Config::default().ping_interval(Duration::from_secs(30)),
        subprotocols: Vec::new(),
        max_connections: 10_000,
        grace: Duration::from_secs(10),
    };
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        let config = &options.config;
        match argument {
            Long("listen") => options.listen = arguments.convert(Listen::parse)?,
            Long("max-connections") => options.max_connections = arguments.number()?,
            Long("ping-interval") => {
                options.config = config.clone().ping_interval(arguments.seconds()?);
            }
            Long("grace") => options.grace = arguments.seconds()?.unwrap_or(Duration::MAX),
            Long("allow-origin") => {
                options.config =
                    arguments.convert(|origin| config.clone().try_allow_origin(origin))?;
            }
            Long("any-origin") => options.config = config.clone().allow_any_origin(),
            Long("deflate") => options.config = config.clone().deflate(Deflate::default()),
            Long("subprotocol") => options.subprotocols.push(arguments.subprotocol()?),
            Long("max-message-size") => {
                options.config = config.clone().max_message_size(arguments.number()?);
            }
            Short('h') | Long("help") => help(HELP),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() {
    let options = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    if let Err(error) = run(options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: Options) -> std::io::Result<()> {
    let Options { listen, config, subprotocols, max_connections, grace } = options;
    let sockets = match &listen {
        Listen::Tcp(address) => Sockets::Tcp(bind(address).await.map_err(about(address))?),
        #[cfg(unix)]
        Listen::Unix(_) => Sockets::bind(&listen).await?,
    };
    // The first poll installs the signal handlers, before the server says that it listens.
    let mut told_to_end = pin!(told_to_end());
    if poll_fn(|cx| Poll::Ready(told_to_end.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on {}", sockets.url("ws")?);
    let server = Server::new(config)
        .max_connections(max_connections)
        .on_request(move |request| choose(request, &subprotocols));
    let serve = async {
        match sockets {
            Sockets::Tcp(listener) => server.run(listener, echo).await,
            #[cfg(unix)]
            Sockets::Unix(listener, _file) => server.run(listener, echo).await,
        }
    };
    tokio::select! {
        () = serve => {}
        result = &mut told_to_end => result?,
    }
    let end = server.shutdown(grace).await;
    println!("{} closed, {} dropped", end.closed, end.dropped);
    Ok(())
}

/// Listens with a long backlog. After a restart all clients come back at once, and `TcpListener::bind` lets only 128
/// of them wait.
async fn bind(address: &str) -> std::io::Result<TcpListener> {
    let address = lookup_host(address).await?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without this, the port is taken while connections of the last run are in TIME_WAIT. On Windows it means
    // something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

#[cfg(unix)]
async fn told_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn told_to_end() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn choose(request: &Request, subprotocols: &[String]) -> Result<Accept, Response> {
    if request.is_upgrade() {
        return Ok(Accept::new().subprotocol(request.select_subprotocol(subprotocols)));
    }
    Err(match (request.method(), request.path()) {
        ("GET", "/health") => Response::new(200).body("ok\n"),
        _ => page(request),
    })
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(ws: WebSocket<S>, _request: Request) {
    if let Err(error) = send_back(ws).await {
        eprintln!("{error}");
    }
}

async fn send_back<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.end().map_or(Ok(()), End::result)?)
}
