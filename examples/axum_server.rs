//! A WebSocket server on axum that sends every message back, and serves a page to try it with.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use bowline::axum::{WebSocket, WebSocketUpgrade};
use bowline::{End, Error};
use common::{Options, Sockets, fail, page_at};
use tokio::sync::watch;

const PROGRAM: &str = "axum_server";

#[derive(Clone)]
struct App {
    options: Arc<Options>,
    stop: watch::Sender<bool>,
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
    let stop = watch::Sender::new(false);
    let app = App { options: options.clone(), stop: stop.clone() };
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
    // The WebSockets see this, send Close 1001, and wait for the answer at most the close timeout. Each
    // drops its receiver when it ends. There is no wait for connections that are still HTTP.
    stop.send_replace(true);
    stop.closed().await;
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
        .on_upgrade(async move |ws| {
            if let Err(error) = echo(ws, app.stop.subscribe()).await {
                eprintln!("{error}");
            }
        })
}

/// Waits for the stop. If it came before the wait began, this is ready at once; `changed` would miss it.
async fn until(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn echo(mut ws: WebSocket, mut stopped: watch::Receiver<bool>) -> Result<(), Error> {
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => ws.feed(message).await?,
                None => return Ok(ws.end().map_or(Ok(()), End::result)?),
            },
            () = until(&mut stopped) => {
                ws.close(1001, "the server is going away").await?;
                return Ok(());
            }
        }
    }
}
