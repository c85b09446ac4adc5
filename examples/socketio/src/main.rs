//! A chat over Socket.IO: socketioxide on axum, on one node or, through Redis, on many.

mod chat;
mod options;
mod redis;
mod web;

use std::io;
use std::process::exit;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use socketioxide::adapter::Adapter;
use socketioxide::handler::ConnectHandler;
use socketioxide::{SocketIo, SocketIoBuilder};
use socketioxide_redis::{CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr};
use tokio::net::TcpListener;
use tokio::sync::watch;

use options::Options;

/// How long clients and requests get to end after Ctrl-C. socketioxide does not end the poll of a client that has just left, for one.
const GRACE: Duration = Duration::from_secs(2);
/// How long a node waits for the others, for example to say who is in a room.
const OTHER_NODES: Duration = Duration::from_secs(1);

fn fail(status: i32, error: impl std::fmt::Display) -> ! {
    eprintln!("socketio: {error}");
    exit(status);
}

/// On one thread. socketioxide starts a task for each event, and on more threads the messages of a client could overtake each other. Who
/// needs more cores starts more nodes.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => fail(2, format_args!("{error}; see --help")),
    };
    if let Err(error) = run(options).await {
        fail(1, error);
    }
}

async fn run(options: Options) -> Result<(), String> {
    let client_js = options.read_client_js()?;
    let pages = web::pages(&options, client_js);
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| format!("{}: {error}", options.listen))?;
    let builder = builder(&options);
    match &options.redis {
        None => {
            let (layer, io) = builder.with_state(chat::Cluster::alone()).build_layer();
            io.ns("/", chat::connected.with(chat::admit));
            serve(listener, web::routes(&options, pages, layer), io).await
        }
        Some(server) => {
            let (driver, reachable) = redis::connect(server.clone())
                .await
                .map_err(|error| format!("--redis: {error}"))?;
            let config = RedisAdapterConfig::new().with_request_timeout(OTHER_NODES);
            let adapter = RedisAdapterCtr::new_with_driver(driver, config);
            let (layer, io) = builder
                .with_state(chat::Cluster::of(reachable.clone()))
                .with_adapter::<CustomRedisAdapter<_, redis::Driver>>(adapter)
                .build_layer();
            let namespace = io.ns("/", chat::connected.with(chat::admit));
            namespace.await.map_err(|error| format!("--redis: {error}"))?;
            tokio::spawn(tell_of_redis(io.clone(), reachable));
            serve(listener, web::routes(&options, pages, layer), io).await
        }
    }
}

fn builder(options: &Options) -> SocketIoBuilder {
    SocketIo::builder()
        .req_path(options.path.clone())
        .ping_interval(options.ping_interval)
        .ping_timeout(options.ping_timeout)
        .max_payload(options.max_payload)
        .with_state(chat::Token(options.token.clone()))
}

/// Tells the clients of this node when the other nodes are out of reach, and when they are back.
async fn tell_of_redis<A: Adapter>(io: SocketIo<A>, mut reachable: watch::Receiver<bool>) {
    while reachable.changed().await.is_ok() {
        let now = *reachable.borrow_and_update();
        if let Err(error) = io.local().broadcast().emit("cluster", &now).await {
            eprintln!("socketio: {error}");
        }
    }
}

/// Serves until the first signal. Then it ends the connections of all clients, which come back when a server is there again.
async fn serve<A: Adapter>(
    listener: TcpListener,
    routes: Router,
    io: SocketIo<A>,
) -> Result<(), String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            eprintln!("socketio: {error}");
        }
    });
    // The handlers are there before the server says that it listens.
    let stop = stop_signal().map_err(|error| format!("signals: {error}"))?;
    println!("listening on http://{address}/");
    let (stopping, mut stopped) = watch::channel(false);
    let stop = async move {
        stop.await;
        let _ = stopping.send(true);
        io.close().await;
    };
    let server = axum::serve(listener, routes).with_graceful_shutdown(stop);
    let late = async {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result.map_err(|error| format!("{address}: {error}")),
        () = late => {
            eprintln!("socketio: connections that did not end in {} s are dropped", GRACE.as_secs());
            Ok(())
        }
    }
}

/// Ready at Ctrl-C, and where there is one at SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        let _ = interrupt.recv().await;
    })
}
