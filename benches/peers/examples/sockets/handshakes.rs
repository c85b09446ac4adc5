//! Echo servers whose opening handshake is their library's, where servers.rs has a library without it, or no such library.

use std::io::ErrorKind;

use futures_util::{SinkExt, StreamExt};
use soketto::handshake::server::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::servers::{Server, other};
use super::{Result, shapes};

/// These servers, by their names in the tables and on the command line.
pub const ALL: &[(&str, Server)] = &[
    ("bare, any key", Server::BareAnyKey),
    ("soketto", Server::Soketto),
    ("sockudo-ws, handshake", Server::SockudoHandshake),
];

/// The bare loop for clients that choose a key.
pub async fn bare_any_key(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    const NAME: &str = "sec-websocket-key: ";
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8(head).map_err(other)?;
    let mut lines = head.lines();
    let name = |line: &&str| line.get(..NAME.len()).is_some_and(|it| it.eq_ignore_ascii_case(NAME));
    let key = lines.find(name).ok_or(ErrorKind::InvalidData)?;
    let accept = tungstenite::handshake::derive_accept_key(&key.as_bytes()[NAME.len()..]);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    shapes::bare(stream).await
}

pub async fn soketto(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut server = soketto::handshake::Server::new(stream.compat());
    let key = server.receive_request().await.map_err(other)?.key();
    let accept = Response::Accept { key, protocol: None };
    server.send_response(&accept).await.map_err(other)?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        let kind = receiver.receive_data(&mut message).await.map_err(other)?;
        match kind.is_text() {
            true => sender.send_text(str::from_utf8(&message).map_err(other)?).await,
            false => sender.send_binary_mut(&mut message).await,
        }
        .map_err(other)?;
        sender.flush().await.map_err(other)?;
    }
}

pub async fn sockudo<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    config: sockudo_ws::Config,
) -> std::result::Result<(), sockudo_ws::Error> {
    use sockudo_ws::{Message, WebSocketStream};
    sockudo_ws::handshake::server_handshake(&mut stream).await?;
    let mut ws = WebSocketStream::server(stream, config);
    while let Some(message) = ws.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => ws.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
