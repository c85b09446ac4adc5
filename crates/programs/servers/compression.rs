//! An echo server on axum's own WebSockets: `/on` compresses them, by a layer of bowline-tokio-tungstenite, and `/off` does not.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use bowline_tokio_tungstenite::layer::CompressionLayer;
use bowline_tokio_tungstenite::tungstenite::Deflate;
use tokio::net::TcpListener;

async fn echo(ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(talk)
}

async fn talk(mut ws: WebSocket) {
    while let Some(Ok(message)) = ws.recv().await {
        if let Message::Text(_) | Message::Binary(_) = message
            && ws.send(message).await.is_err()
        {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let compressed = any(echo).layer(CompressionLayer::new(Deflate::default()));
    let app = Router::new().route("/on", compressed).route("/off", any(echo));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}
