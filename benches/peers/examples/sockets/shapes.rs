//! Echo servers in the shapes of real programs. A WebSocket is moved into a function that serves it, is split, or comes
//! from a server with a listener of its own.

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;

use super::Result;
use super::frames::closed;
use super::servers::{Server, answer, open, other, read_pooled};

/// The shapes, by their names in the tables and on the command line.
pub const ALL: &[(&str, Server)] = &[
    ("bare, moved", Server::BareMoved),
    ("bare, two tasks", Server::BareTwoTasks),
    ("bowline, moved", Server::BowlineMoved),
    ("bowline, split", Server::BowlineSplit),
    ("bowline, two tasks", Server::BowlineTwoTasks),
    ("bowline, Server", Server::BowlineRun),
    ("bowline, axum", Server::BowlineAxum),
    ("axum", Server::Axum),
    ("bowline, hyper", Server::BowlineHyper),
    ("tungstenite, moved", Server::TungsteniteMoved),
    ("tungstenite, two tasks", Server::TungsteniteTwoTasks),
];

/// Messages that may wait between the two tasks of a connection.
const QUEUE: usize = 8;

/// Whether a server accepts connections itself.
pub fn listens(server: Server) -> bool {
    matches!(server, Server::BowlineRun | Server::BowlineAxum | Server::Axum)
}

/// Serves all connections of a listener.
pub async fn listen(server: Server, listener: TcpListener) -> ! {
    match server {
        Server::BowlineRun => bowline_server(listener).await,
        Server::BowlineAxum => axum_server(listener, any(bowline_axum)).await,
        Server::Axum => axum_server(listener, any(axum_ws)).await,
        _ => panic!("has no listener of its own"),
    }
    panic!("the server ended")
}

pub async fn bare_moved(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    open(&mut stream).await?;
    bare(stream).await
}

pub async fn bare(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let (mut buffer, mut filled) = (Vec::new(), 0);
    loop {
        match read_pooled(&mut stream, &mut buffer, filled).await? {
            0 => return Ok(()),
            n => filled += n,
        }
        let (read, replies) = answer(&mut buffer[..filled]);
        stream.write_all(&buffer[..replies]).await?;
        if closed(&buffer[..replies]) {
            return Ok(());
        }
        buffer.copy_within(read..filled, 0);
        filled -= read;
    }
}

pub async fn bare_two_tasks<S>(mut stream: S) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    open(&mut stream).await?;
    let (mut receiver, mut sender) = tokio::io::split(stream);
    let (queue, mut messages) = mpsc::channel::<Bytes>(QUEUE);
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            sender.write_all(&message).await?;
        }
        Result::Ok(())
    });
    let (mut buffer, mut filled) = (Vec::new(), 0);
    loop {
        match read_pooled(&mut receiver, &mut buffer, filled).await? {
            0 => return Ok(()),
            n => filled += n,
        }
        let (read, replies) = answer(&mut buffer[..filled]);
        let replies = Bytes::copy_from_slice(&buffer[..replies]);
        buffer.copy_within(read..filled, 0);
        filled -= read;
        let _ = queue.send(replies).await; // the other task has ended, so reading ends too
    }
}

pub async fn bowline_moved<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error> {
    let ws = bowline::tokio::accept(stream, config).await?;
    bowline(ws).await
}

async fn bowline<S: AsyncRead + AsyncWrite + Unpin>(
    mut ws: bowline::tokio::WebSocket<S>,
) -> std::result::Result<(), bowline::Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

pub async fn bowline_split<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error> {
    let ws = bowline::tokio::accept(stream, config).await?;
    let (mut sender, mut receiver) = ws.split();
    while let Some(message) = receiver.recv().await? {
        sender.send(message).await?;
    }
    Ok(())
}

pub async fn bowline_two_tasks<S>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ws = bowline::tokio::accept(stream, config).await?;
    let (mut sender, mut receiver) = ws.split();
    let (queue, mut messages) = mpsc::channel::<bowline::Message>(QUEUE);
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            sender.send(message).await?;
        }
        Ok::<_, bowline::Error>(())
    });
    while let Some(message) = receiver.recv().await? {
        let _ = queue.send(message).await; // the other task has ended, so receiving ends too
    }
    Ok(())
}

pub async fn bowline_hyper<S>(stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(async |mut request: Request<Incoming>| {
        let upgraded = bowline::hyper::upgrade(&mut request, bowline::Config::default());
        let (response, upgrading) = upgraded.map_err(other)?;
        tokio::spawn(async move {
            if let Ok(ws) = upgrading.await {
                let _ = bowline(ws).await; // the client ends its connections as it likes
            }
        });
        Result::<hyper::Response<Full<Bytes>>>::Ok(response)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.serve_connection(TokioIo::new(stream), service).with_upgrades().await
}

pub async fn tungstenite_moved<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> std::result::Result<(), tungstenite::Error> {
    let ws = tokio_tungstenite::accept_async(stream).await?;
    tungstenite(ws).await
}

async fn tungstenite<S: AsyncRead + AsyncWrite + Unpin>(
    mut ws: WebSocketStream<S>,
) -> std::result::Result<(), tungstenite::Error> {
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

pub async fn tungstenite_two_tasks<S>(stream: S) -> std::result::Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ws = tokio_tungstenite::accept_async(stream).await?;
    let (mut sender, mut receiver) = ws.split();
    let (queue, mut messages) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            sender.send(message).await?;
        }
        Ok::<_, tungstenite::Error>(())
    });
    while let Some(message) = receiver.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            let _ = queue.send(message).await; // the other task has ended, so receiving ends too
        }
    }
    Ok(())
}

async fn bowline_server(listener: TcpListener) {
    let server =
        bowline::tokio::Server::new(bowline::Config::default()).max_connections(usize::MAX);
    let serve = |ws, _request| async move { drop(bowline::<TcpStream>(ws).await) };
    server.run(listener, serve).await;
}

/// Serves WebSockets on every path.
async fn axum_server(listener: TcpListener, route: axum::routing::MethodRouter) {
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    axum::serve(listener, Router::new().fallback(route)).await.expect("a server");
}

async fn bowline_axum(upgrade: bowline::axum::WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |ws| drop(bowline(ws).await))
}

async fn axum_ws(upgrade: axum::extract::WebSocketUpgrade) -> Response {
    use axum::extract::ws::Message;
    upgrade.on_upgrade(async |mut ws| {
        while let Some(Ok(message)) = ws.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_))
                && ws.send(message).await.is_err()
            {
                return;
            }
        }
    })
}
