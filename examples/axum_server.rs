//! A WebSocket server on axum that sends every message back, and serves a page to try it with.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use bowline::axum::{WebSocket, WebSocketUpgrade};
use bowline::tokio::Group;
use bowline::{End, Error};
use common::{Options, Sockets, fail, page_at};

const PROGRAM: &str = "axum_server";

#[derive(Clone)]
struct App {
    options: Arc<Options>,
    group: Group,
}

#[tokio::main]
async fn main() {
    let options = Arc::new(Options::parse(PROGRAM));
    if let Err(error) = run(&options).await {
        fail(PROGRAM, 1, error);
    }
}

async fn run(options: &Arc<Options>) -> std::io::Result<()> {
    let sockets = Sockets::bind(&options.listen).await?;
    // The first poll installs the signal handler, before the server says that it listens.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
        return Ok(());
    }
    println!("listening on {}", sockets.url("ws")?);
    let group = Group::new().on_end(|ended| {
        if let Err(error) = &ended.result {
            eprintln!("{error}");
        }
    });
    let app = App { options: options.clone(), group: group.clone() };
    let app = Router::new().fallback(any(answer)).with_state(app);
    let serve = async {
        match sockets {
            Sockets::Tcp(listener) => {
                let listener = listener.tap_io(|socket| {
                    if let Err(error) = socket.set_nodelay(true) {
                        eprintln!("{PROGRAM}: {error}");
                    }
                });
                axum::serve(listener, app).await
            }
            #[cfg(unix)]
            Sockets::Unix(listener, _file) => axum::serve(listener, app).await,
        }
    };
    tokio::select! {
        result = serve => result?,
        _ = &mut interrupt => {}
    }
    // Every WebSocket sends Close 1001, and waits for the answer at most the close timeout. There is no wait for
    // connections that are still HTTP.
    group.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

async fn answer(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    ws: Option<WebSocketUpgrade>,
) -> Response {
    let Some(ws) = ws else {
        return axum::http::Response::from(page_at(method.as_str(), uri.path()));
    };
    ws.config(app.options.config.clone())
        .protocols(&app.options.subprotocols)
        .on_failed_upgrade(|error| eprintln!("{error}"))
        .group(&app.group)
        .on_upgrade(echo)
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.end().map_or(Ok(()), End::result)?)
}
