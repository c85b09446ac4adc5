//! A WebSocket server on tokio that sends every message to all connected clients.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline::handshake::Accept;
use bowline::tokio::{Broadcast, Incoming, SlowPeer};
use bowline::{Config, Deflate, End, Error};
use common::{Arguments, Listen, Socket, Sockets, fail, help, page, wrong_usage};
use lexopt::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PROGRAM: &str = "broadcast_server";
const HELP: &str = "
broadcast_server: a WebSocket server that sends every message to everybody who is connected

Usage: broadcast_server [OPTIONS]

It serves a page to try it with on GET /. Ctrl-C ends it, with Close 1001 to all.

Options:
  --listen ADDR            where to listen; port 0 picks one, unix:PATH is a Unix socket [default: 127.0.0.1:9001]
  --any-origin             let pages of any origin connect, not only its own
  --slow POLICY            for peers that do not read: drop, skip or keep-newest [default: skip]
  --high-water-mark BYTES  a peer for which more than this waits does not read [default: 65536]
  --report SECONDS         print this often how many bytes wait for the slowest peer [default: none]
  --deflate                permessage-deflate, if the other side agrees
  -h, --help               print this
";

struct Options {
    listen: Listen,
    config: Config,
    slow: SlowPeer,
    high_water_mark: usize,
    report: Option<Duration>,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        listen: Listen::default(),
        config: Config::default(),
        slow: SlowPeer::Skip,
        high_water_mark: 64 << 10,
        report: None,
    };
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => options.listen = arguments.convert(Listen::parse)?,
            Long("any-origin") => options.config = options.config.allow_any_origin(),
            Long("slow") => {
                options.slow = arguments.convert(|policy| match policy {
                    "drop" => Ok(SlowPeer::Drop),
                    "skip" => Ok(SlowPeer::Skip),
                    "keep-newest" => Ok(SlowPeer::KeepNewest),
                    _ => Err("expected drop, skip or keep-newest"),
                })?;
            }
            Long("high-water-mark") => options.high_water_mark = arguments.number()?,
            Long("report") => options.report = arguments.seconds()?,
            Long("deflate") => options.config = options.config.deflate(Deflate::default()),
            Short('h') | Long("help") => help(HELP),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() {
    let options = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: &Options) -> std::io::Result<()> {
    let sockets = Sockets::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on {}", sockets.url("ws")?);
    let group = Broadcast::with_high_water_mark(options.slow, options.high_water_mark);
    if let Some(every) = options.report {
        tokio::spawn(report(group.clone(), every));
    }
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = sockets.accept() => match accepted {
                Ok(socket) => {
                    let peer = socket.peer();
                    let (config, group) = (options.config.clone(), group.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve(socket, config, group, stopped).await {
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
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve(
    socket: Box<dyn Socket>,
    config: Config,
    group: Broadcast,
    mut stopped: watch::Receiver<()>,
) -> Result<(), Error> {
    socket.set_nodelay()?;
    let incoming = tokio::select! {
        incoming = Incoming::read(socket, config) => incoming?,
        _ = stopped.changed() => return Ok(()),
    };
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return incoming.respond(&page).await;
    }
    let (mut sender, mut receiver) = incoming.accept(Accept::new()).await?.split();
    let _member = group.join(&sender);
    let mut closing = false;
    loop {
        tokio::select! {
            message = receiver.recv() => match message? {
                Some(message) => {
                    group.send(message).await;
                }
                None => return Ok(receiver.end().map_or(Ok(()), End::result)?),
            },
            _ = stopped.changed(), if !closing => {
                closing = true;
                sender.close(1001, "the server is going away").await?;
            }
        }
    }
}

async fn report(group: Broadcast, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let queued = group.queued();
        let longest = queued.iter().max().unwrap_or(&0);
        println!("{} connected, at most {longest} bytes wait for one", queued.len());
    }
}
