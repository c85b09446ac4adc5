//! A chat: bowline on axum, rooms as broadcast groups, and the history in SQLite.

mod protocol;
mod room;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::process::exit;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use bowline::Config;
use bowline::axum::WebSocketUpgrade;
use lexopt::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::watch;

use room::Hub;
use store::Store;

const PING_EVERY: Duration = Duration::from_secs(30);

const HELP: &str = "\
chat: rooms to talk in, with a page for the browser

Usage: chat [OPTIONS]

The page is on GET /. Ctrl-C ends it, with Close 1001 to all; their pages come back by themselves.

Options:
  --listen ADDR          where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --database FILE        where the history is kept; :memory: keeps none [default: chat.sqlite]
  --allow-origin ORIGIN  let pages of this origin connect as well, not only its own (repeatable)
  -h, --help             print this";

/// Allows only the page's own script, style and connection.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Options {
    listen: String,
    database: PathBuf,
    config: Config,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let mut options = Options {
        listen: "127.0.0.1:9001".into(),
        database: "chat.sqlite".into(),
        config: config(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => options.listen = arguments.value()?.parse()?,
            Long("database") => options.database = arguments.value()?.into(),
            Long("allow-origin") => {
                let origin = arguments.value()?.string()?;
                let config = options.config.try_allow_origin(origin);
                options.config = config.map_err(|error| format!("--allow-origin: {error}"))?;
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

/// The page never sends a tenth of this in one message. Pages of other origins are refused by
/// default.
fn config() -> Config {
    // Keepalive: proxies end silent connections, and a peer that is gone has to leave its rooms.
    Config::default().max_message_size(32 << 10).ping_interval(PING_EVERY)
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
    let store = match Store::open(&options.database) {
        Ok(store) => store,
        Err(error) => fail(1, format_args!("{}: {error}", options.database.display())),
    };
    if let Err(error) = run(&options, store).await {
        fail(1, format_args!("{}: {error}", options.listen));
    }
}

async fn run(options: &Options, store: Store) -> std::io::Result<()> {
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
    serve(listener, options.config.clone(), store, interrupt).await
}

#[derive(Clone)]
struct App {
    hub: Arc<Hub>,
    config: Config,
    stop: watch::Sender<bool>,
}

/// Serves until the future is ready, and then closes all connections.
async fn serve(
    listener: TcpListener,
    config: Config,
    store: Store,
    until: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            eprintln!("chat: {error}");
        }
    });
    let stop = watch::Sender::new(false);
    let app = App { hub: Arc::new(Hub::new(store)), config, stop: stop.clone() };
    let router = Router::new().route("/", get(page)).route("/ws", any(connect)).with_state(app);
    tokio::select! {
        result = axum::serve(listener, router) => result?,
        () = until => {}
    }
    // Each WebSocket sees this, and drops its receiver when it ends.
    let _ = stop.send(true);
    stop.closed().await;
    Ok(())
}

async fn page() -> impl IntoResponse {
    let headers = [("Content-Security-Policy", POLICY), ("Cache-Control", "no-cache")];
    (headers, Html(include_str!("page.html")))
}

async fn connect(State(app): State<App>, ws: WebSocketUpgrade) -> Response {
    ws.config(app.config).on_failed_upgrade(|error| eprintln!("chat: {error}")).on_upgrade(
        async move |ws| {
            if let Err(error) = session::serve(ws, app.hub, app.stop.subscribe()).await {
                eprintln!("chat: {error}");
            }
        },
    )
}
