//! A chat: bowline on axum, with fallbacks where a WebSocket does not get through. On one node, with the history in SQLite, or on many.

mod fallback;
mod origin;
mod protocol;
mod rate;
mod room;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod websocket;

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::process::exit;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt;
use bowline::Config;
use bowline::axum::WebSocketUpgrade;
use bowline::tokio::Group;
use hub::{Hub, Settings};
use lexopt::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use fallback::Pollers;
use origin::Origins;
use room::Rooms;
use store::Store;

const PING_EVERY: Duration = Duration::from_secs(30);
/// The page never sends a tenth of this in one message.
const MAX_MESSAGE: usize = 32 << 10;
/// How long connections have to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

const HELP: &str = "\
chat: rooms to talk in, with a page for the browser

Usage: chat [OPTIONS]

The page is on GET /. It uses a WebSocket, or server-sent events, long polling or short polling where that is all that gets through.
Ctrl-C ends it, with Close 1001 to all; their pages come back by themselves.

Options:
  --listen ADDR          where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --database FILE        where the history of a single node is kept; :memory: keeps none [default: chat.sqlite]
  --broker URL           be one of many nodes: redis://HOST:PORT or nats://HOST:PORT keeps the history, the newest 1000 messages of a room
  --history COUNT        how many messages of a room the broker keeps; all nodes say the same [default: 1000]
  --allow-origin ORIGIN  let pages of this origin connect as well, not only its own (repeatable)
  -h, --help             print this";

/// Allows only the page's own script, style and connection.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Options {
    listen: String,
    database: PathBuf,
    broker: Option<String>,
    settings: Settings,
    config: Config,
    origins: Origins,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let mut options = Options {
        listen: "127.0.0.1:9001".into(),
        database: "chat.sqlite".into(),
        broker: None,
        settings: Settings::default(),
        config: config(),
        origins: Origins::default(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => options.listen = arguments.value()?.parse()?,
            Long("database") => options.database = arguments.value()?.into(),
            Long("broker") => options.broker = Some(arguments.value()?.string()?),
            Long("history") => options.settings.history = arguments.value()?.parse()?,
            Long("allow-origin") => {
                let origin = arguments.value()?.string()?;
                let config = options.config.try_allow_origin(&origin);
                options.config = config.map_err(|error| format!("--allow-origin: {error}"))?;
                options.origins.allow(&origin);
            }
            Short('h') | Long("help") => {
                println!("{HELP}");
                exit(0);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

/// Pages of other origins are refused by default.
fn config() -> Config {
    // Keepalive: proxies end silent connections, and a peer that is gone has to leave its rooms.
    Config::default().max_message_size(MAX_MESSAGE as u64).ping_interval(PING_EVERY)
}

fn fail(status: i32, error: impl std::fmt::Display) -> ! {
    eprintln!("chat: {error}");
    exit(status);
}

#[tokio::main]
async fn main() {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => fail(2, format_args!("{error}; see --help")),
    };
    let hub = match hub(&options).await {
        Ok(hub) => hub,
        Err(error) => fail(1, error),
    };
    if let Err(error) = run(&options, hub).await {
        fail(1, format_args!("{}: {error}", options.listen));
    }
}

async fn hub(options: &Options) -> Result<Hub, String> {
    match &options.broker {
        Some(url) => Hub::connect(url, options.settings.clone())
            .await
            .map_err(|error| format!("--broker: {error}")),
        None => {
            let store = Store::open(&options.database);
            let store =
                store.map_err(|error| format!("{}: {error}", options.database.display()))?;
            Ok(alone(store))
        }
    }
}

fn alone(store: Store) -> Hub {
    Hub::with(Arc::new(store), Settings::default(), mpsc::unbounded_channel().1)
}

async fn run(options: &Options, hub: Hub) -> std::io::Result<()> {
    let listener = TcpListener::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on http://{}/", listener.local_addr()?);
    let interrupt = async {
        let _ = interrupt.await;
    };
    serve(listener, options.config.clone(), options.origins.clone(), hub, interrupt).await
}

#[derive(Clone)]
struct App {
    rooms: Arc<Rooms>,
    pollers: Arc<Pollers>,
    config: Config,
    group: Group,
    stop: watch::Receiver<bool>,
}

/// Serves until the future is ready, and then ends all sessions.
async fn serve(
    listener: TcpListener,
    config: Config,
    origins: Origins,
    hub: Hub,
    until: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            eprintln!("chat: {error}");
        }
    });
    let stopping = watch::Sender::new(false);
    let mut stop = stopping.subscribe();
    let app = App {
        rooms: Rooms::new(hub.clone(), stopping.subscribe()),
        pollers: Arc::default(),
        config,
        group: Group::new(),
        stop: stopping.subscribe(),
    };
    let group = app.group.clone();
    let forgetting = tokio::spawn(app.pollers.clone().forget_the_gone());
    // The extractor of a WebSocket looks at the origin by itself.
    let fallbacks = Router::new()
        .route("/events", get(fallback::events))
        .route("/poll", post(fallback::poll))
        .route("/leave", post(fallback::leave))
        .route("/say", post(fallback::say))
        .layer(from_fn_with_state(origins, origin::check))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE));
    let router = Router::new()
        .route("/", get(page))
        .route("/ws", any(connect))
        .merge(fallbacks)
        .with_state(app);
    let stopped = async move {
        let _ = stop.wait_for(|&stop| stop).await;
    };
    let mut serving =
        tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
    tokio::select! {
        result = &mut serving => return result.map_err(std::io::Error::other)?,
        () = until => {}
    }
    let _ = stopping.send(true);
    // Sessions over WebSockets end by themselves. The group waits for them.
    let _ = tokio::join!(group.shutdown(GRACE), timeout(GRACE, &mut serving));
    forgetting.abort();
    hub.flush().await;
    Ok(())
}

async fn page() -> impl IntoResponse {
    let headers = [("Content-Security-Policy", POLICY), ("Cache-Control", "no-cache")];
    (headers, Html(include_str!("page.html")))
}

async fn connect(State(app): State<App>, ws: WebSocketUpgrade) -> Response {
    ws.config(app.config.clone())
        .group(&app.group)
        .on_failed_upgrade(|error| eprintln!("chat: {error}"))
        .on_upgrade(async move |ws| {
            if let Err(error) = websocket::serve(ws, app).await {
                eprintln!("chat: {error}");
            }
        })
}
