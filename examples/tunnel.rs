//! Carries TCP connections, such as those of ssh, through a WebSocket.
//!
//! On the server: `tunnel --listen 127.0.0.1:9001 --to 127.0.0.1:22`. On the client:
//! `tunnel --listen 127.0.0.1:2222 --url wss://example.com/ssh`, and then `ssh -p 2222 127.0.0.1`.
//!
//! When one end shuts down its half of a TCP connection, the whole tunnel ends: a WebSocket has no half-closed state.

mod common;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline::handshake::{ClientRequest, Proxies, Proxy};
use bowline::tokio::{ByteStream, Server, connect_with};
use bowline::{Config, Deflate, Error};
use common::{Arguments, about, fail, help, wrong_usage};
use lexopt::prelude::*;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const PROGRAM: &str = "tunnel";
const HELP: &str = "
tunnel: carries TCP connections through a WebSocket

Usage: tunnel --listen ADDRESS --to HOST:PORT [--deflate]
       tunnel --listen ADDRESS --url URL [--bearer TOKEN] [--proxy URL] [--deflate]

The first form is the server: WebSockets come to ADDRESS, and each leads to HOST:PORT. The second is the client: TCP
connections come to ADDRESS, and each gets a WebSocket to URL.

Options:
  --listen ADDRESS  where to listen
  --to HOST:PORT    where WebSockets lead
  --url URL         where TCP connections lead: the server's URL
  --bearer TOKEN    send this token as Authorization. The server does not check it: a proxy in front of it does
  --proxy URL       connect through this proxy; `env` means the one that the environment names
  --deflate         permessage-deflate, if the other side agrees. ssh compresses nothing by default
  -h, --help        print this
";

enum Mode {
    Server { listen: String, to: String },
    Client { listen: String, request: Box<ClientRequest> },
}

fn parse() -> Result<(Mode, Config), lexopt::Error> {
    // Both ends ping each other, so that nothing between them takes a quiet connection for a dead one.
    let interval = Duration::from_secs(30);
    let mut config = Config::default().ping_interval(interval).pong_timeout(interval);
    let [mut to, mut listen, mut url, mut bearer, mut proxy] = [const { None }; 5];
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        let value = match argument {
            Long("to") => &mut to,
            Long("listen") => &mut listen,
            Long("url") => &mut url,
            Long("bearer") => &mut bearer,
            Long("proxy") => &mut proxy,
            Long("deflate") => {
                config = config.deflate(Deflate::default());
                continue;
            }
            Short('h') | Long("help") => help(HELP),
            _ => return Err(argument.unexpected()),
        };
        *value = Some(arguments.text()?);
    }
    let mode = match (listen, to, url) {
        (Some(listen), Some(to), None) => Mode::Server { listen, to },
        (Some(listen), None, Some(url)) => {
            Mode::Client { listen, request: Box::new(request(&url, bearer, proxy)?) }
        }
        _ => return Err("expected --listen, and one of --to and --url".into()),
    };
    Ok((mode, config))
}

fn request(
    url: &str,
    bearer: Option<String>,
    proxy: Option<String>,
) -> Result<ClientRequest, lexopt::Error> {
    let of = |option: &'static str| move |error| format!("{option}: {error}");
    let mut request = ClientRequest::new(url).map_err(of("--url"))?;
    if let Some(token) = bearer {
        request = request.bearer(&token).map_err(of("--bearer"))?;
    }
    Ok(match proxy.as_deref() {
        None => request,
        Some("env") => request.proxy(Proxies::from_env()),
        Some(url) => request.proxy(Proxy::new(url).map_err(of("--proxy"))?),
    })
}

#[tokio::main]
async fn main() {
    let (mode, config) = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    let result = match mode {
        Mode::Server { listen, to } => serve(&listen, to.into(), config).await,
        Mode::Client { listen, request } => dial(&listen, Arc::new(*request), config).await,
    };
    if let Err(error) = result {
        fail(PROGRAM, 1, error);
    }
}

async fn serve(listen: &str, to: Arc<str>, config: Config) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(about(listen))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let server = Server::new(config);
    let handler = move |ws, _request| {
        let to = to.clone();
        async move {
            let carried = async {
                let mut socket = TcpStream::connect(&*to).await.map_err(about(&to))?;
                socket.set_nodelay(true)?;
                copy_bidirectional(&mut ByteStream::new(ws), &mut socket).await
            };
            report(carried.await.map_err(Error::from));
        }
    };
    server.run(listener, handler).await;
    Ok(())
}

async fn dial(listen: &str, request: Arc<ClientRequest>, config: Config) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(about(listen))?;
    println!("listening on tcp://{}", listener.local_addr()?);
    loop {
        let (mut socket, _) = listener.accept().await?;
        let (request, config) = (request.clone(), config.clone());
        tokio::spawn(async move {
            let carried = async {
                socket.set_nodelay(true)?;
                let (ws, _) = connect_with(&request, config).await?;
                Ok(copy_bidirectional(&mut socket, &mut ByteStream::new(ws)).await?)
            };
            report(carried.await);
        });
    }
}

fn report(carried: Result<(u64, u64), Error>) {
    match carried {
        Ok((there, back)) => eprintln!("{there} bytes there, {back} bytes back"),
        Err(error) => eprintln!("{error}"),
    }
}
