//! A WebSocket server on smol that sends every message back, and serves a page to try it with.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bowline::futures::Incoming;
use bowline::handshake::Accept;
use bowline::{Config, End, Error, Message};
#[cfg(unix)]
use common::SocketFile;
use common::{Listen, Options, about, fail, page};
use smol::channel::Receiver;
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpListener;
use smol::{Executor, Timer};

const PROGRAM: &str = "echo_server_smol";

fn main() {
    let options = Options::parse(PROGRAM);
    let executor = Arc::new(Executor::new());
    if let Err(error) = smol::block_on(executor.run(start(&options, &executor))) {
        fail(PROGRAM, 1, error);
    }
}

async fn start(
    options: &Options,
    executor: &Executor<'static>,
) -> Result<(), Box<dyn std::error::Error>> {
    match &options.listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(about(address))?;
            let url = format!("ws://{}", listener.local_addr()?);
            let accept = async || {
                let (socket, peer) = listener.accept().await?;
                // It fails if the client is gone, which the handshake finds as well.
                let _ = socket.set_nodelay(true);
                Ok((socket, peer.to_string()))
            };
            run(options, executor, &url, accept).await
        }
        #[cfg(unix)]
        Listen::Unix(path) => {
            let (listener, file) = SocketFile::listen(path).map_err(about(&options.listen))?;
            let listener = smol::net::unix::UnixListener::try_from(listener)?;
            let accept = async || Ok((listener.accept().await?.0, "a client".into()));
            run(options, executor, &file.to_string(), accept).await
        }
    }
}

/// Serves each connection in a task. `accept` also gives the name of the client, for messages about it.
async fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    options: &Options,
    executor: &Executor<'static>,
    url: &str,
    accept: impl AsyncFn() -> std::io::Result<(S, String)>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Nothing is ever sent on this channel. When it is closed, all tasks stop.
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    // A task that has a clone of this sender is not done yet.
    let (busy, idle) = smol::channel::bounded::<()>(1);
    ctrlc::set_handler(move || {
        stop.close();
    })?;
    println!("listening on {url}");
    loop {
        let accepted = or(async { Some(accept().await) }, async {
            let _ = stopped.recv().await;
            None
        });
        match accepted.await {
            Some(Ok((socket, peer))) => {
                let (config, subprotocols) = (options.config.clone(), options.subprotocols.clone());
                let (stopped, busy) = (stopped.clone(), busy.clone());
                let task = async move {
                    if let Err(error) = serve(socket, config, &subprotocols, &stopped).await {
                        eprintln!("{peer}: {error}");
                    }
                    drop(busy);
                };
                executor.spawn(task).detach();
            }
            // Too many open files, for example. Open connections may end meanwhile.
            Some(Err(error)) => {
                eprintln!("{PROGRAM}: accept: {error}");
                Timer::after(Duration::from_millis(100)).await;
            }
            None => break,
        }
    }
    // Every connection sends Close 1001, and waits for the answer at most the close timeout.
    drop(busy);
    let _ = idle.recv().await;
    Ok(())
}

/// What a connection waits for.
enum Next {
    Message(Result<Option<Message>, Error>),
    Stop,
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    config: Config,
    subprotocols: &[String],
    stopped: &Receiver<()>,
) -> Result<(), Error> {
    let stop = async || {
        let _ = stopped.recv().await;
    };
    let incoming = or(async { Some(Incoming::read(socket, config).await) }, async {
        stop().await;
        None
    });
    let Some(incoming) = incoming.await else { return Ok(()) };
    let incoming = incoming?;
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return incoming.respond(&page).await;
    }
    let subprotocol = incoming.request().select_subprotocol(subprotocols).map(String::from);
    let mut ws = incoming.accept(Accept::new().subprotocol(subprotocol.as_deref())).await?;
    loop {
        let next = or(async { Next::Message(ws.recv().await) }, async {
            stop().await;
            Next::Stop
        });
        match next.await {
            Next::Message(Ok(Some(message))) => ws.feed(message).await?,
            Next::Message(Ok(None)) => return Ok(ws.end().map_or(Ok(()), End::result)?),
            Next::Message(Err(error)) => return Err(error),
            Next::Stop => {
                ws.close(1001, "the server is going away").await?;
                return Ok(());
            }
        }
    }
}
