use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async_with_config;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::{HeaderValue, StatusCode};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message};

#[allow(clippy::result_large_err)]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() != "/shout" {
        let mut refusal = ErrorResponse::new(Some("not here\n".into()));
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return Err(refusal);
    }
    let offered = request.headers().get("Sec-WebSocket-Protocol");
    let offered = offered.and_then(|names| names.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|name| name.trim() == "shout.v1") {
        let selected = HeaderValue::from_static("shout.v1");
        response.headers_mut().insert("Sec-WebSocket-Protocol", selected);
    }
    response.headers_mut().insert("X-Server", HeaderValue::from_static("shouting"));
    Ok(response)
}

async fn converse(socket: TcpStream) -> Result<(), Error> {
    let config = WebSocketConfig::default().max_message_size(Some(1 << 20));
    let mut ws = accept_hdr_async_with_config(socket, choose, Some(config)).await?;
    while let Some(message) = ws.next().await {
        match message? {
            Message::Text(text) if text == "bye" => {
                let frame = CloseFrame { code: CloseCode::from(4000), reason: "bye".into() };
                ws.close(Some(frame)).await?;
                while let Some(Ok(_)) = ws.next().await {}
            }
            Message::Text(text) => ws.send(Message::text(text.to_uppercase())).await?,
            Message::Binary(data) => ws.send(Message::Binary(data)).await?,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (socket, peer) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = converse(socket).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}
