//! The clients: each connects, sends a message, receives it, and closes, with its library's functions.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bowline::handshake::ClientRequest;
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::sockets::Result;
use crate::sockets::frames::{REQUEST, Window, closing};
use crate::sockets::servers::other;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Bare,
    BowlineConnect,
    Bowline,
    TungsteniteConnect,
    Tungstenite,
    TokioWebsocketsConnect,
    TokioWebsockets,
}

/// The clients, by their names in the tables and on the command line.
pub const ALL: &[(&str, Client)] = &[
    ("bare", Client::Bare),
    ("bowline, connect", Client::BowlineConnect),
    ("bowline, client", Client::Bowline),
    ("tungstenite, connect_async", Client::TungsteniteConnect),
    ("tungstenite, client_async", Client::Tungstenite),
    ("tokio-websockets, connect", Client::TokioWebsocketsConnect),
    ("tokio-websockets, connect_on", Client::TokioWebsockets),
];

impl Client {
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(_, client)| *client == self).map_or("", |(name, _)| name)
    }
}

const MESSAGE: Bytes = Bytes::from_static(&[7; 16]);

/// Opens connections, so many at a time, for some time. Gives how many there were.
pub async fn run(
    client: Client,
    server: SocketAddr,
    at_once: usize,
    time: Duration,
) -> Result<u64> {
    let end = Instant::now() + time;
    let tasks = (0..at_once).map(|_| {
        tokio::spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                live(client, server).await?;
                done += 1;
            }
            Result::Ok(done)
        })
    });
    let done = try_join_all(tasks).await?;
    done.into_iter().sum()
}

async fn live(client: Client, server: SocketAddr) -> Result<()> {
    let url = format!("ws://{server}/");
    match client {
        Client::Bare => return bare(stream(server).await?).await,
        Client::BowlineConnect => bowline(bowline::tokio::connect(&url).await).await,
        Client::Bowline => {
            let request = ClientRequest::new(&url).map_err(other)?;
            let config = bowline::Config::default();
            let opened = bowline::tokio::client(stream(server).await?, &request, config).await;
            bowline(opened.map(|(ws, _)| ws)).await
        }
        Client::TungsteniteConnect => {
            let opened = tokio_tungstenite::connect_async(&url).await;
            tungstenite(opened.map(|(ws, _)| ws)).await
        }
        Client::Tungstenite => {
            let opened = tokio_tungstenite::client_async(&url, stream(server).await?).await;
            tungstenite(opened.map(|(ws, _)| ws)).await
        }
        Client::TokioWebsocketsConnect => {
            let builder = tokio_websockets::ClientBuilder::new().uri(&url).map_err(other)?;
            tokio_websockets(builder.connect().await.map(|(ws, _)| ws)).await
        }
        Client::TokioWebsockets => {
            let builder = tokio_websockets::ClientBuilder::new().uri(&url).map_err(other)?;
            let opened = builder.connect_on(stream(server).await?).await;
            tokio_websockets(opened.map(|(ws, _)| ws)).await
        }
    }
    .map_err(other)
}

async fn stream(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn bare(mut stream: TcpStream) -> Result<()> {
    let mut received = Vec::new();
    stream.write_all(REQUEST).await?;
    while !received.ends_with(b"\r\n\r\n") {
        read(&mut stream, &mut received).await?;
    }
    for window in [Window::new(1, MESSAGE.len(), false), closing()] {
        stream.write_all(&window.request).await?;
        received.clear();
        while received.len() < window.reply.len() {
            read(&mut stream, &mut received).await?;
        }
    }
    stream.read_to_end(&mut received).await.map(drop)
}

async fn read(stream: &mut TcpStream, to: &mut Vec<u8>) -> Result<()> {
    match stream.read_buf(to).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn bowline<S: AsyncRead + AsyncWrite + Unpin>(
    opened: std::result::Result<bowline::tokio::WebSocket<S>, bowline::Error>,
) -> std::result::Result<(), String> {
    let mut ws = opened.map_err(said)?;
    ws.send(MESSAGE).await.map_err(said)?;
    let echo = ws.recv().await.map_err(said)?;
    assert!(matches!(echo, Some(bowline::Message::Binary(data)) if data == MESSAGE));
    ws.close(1000, "").await.map(drop).map_err(said)
}

async fn tungstenite<S: AsyncRead + AsyncWrite + Unpin>(
    opened: std::result::Result<WebSocketStream<S>, tungstenite::Error>,
) -> std::result::Result<(), String> {
    let mut ws = opened.map_err(said)?;
    ws.send(tungstenite::Message::Binary(MESSAGE)).await.map_err(said)?;
    let echo = ws.next().await.expect("an echo").map_err(said)?;
    assert_eq!(echo.into_data(), MESSAGE);
    ws.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
        .await
        .map_err(said)?;
    while let Some(message) = ws.next().await {
        message.map_err(said)?;
    }
    Ok(())
}

async fn tokio_websockets<S: AsyncRead + AsyncWrite + Unpin>(
    opened: std::result::Result<tokio_websockets::WebSocketStream<S>, tokio_websockets::Error>,
) -> std::result::Result<(), String> {
    let mut ws = opened.map_err(said)?;
    ws.send(tokio_websockets::Message::binary(MESSAGE)).await.map_err(said)?;
    let echo = ws.next().await.expect("an echo").map_err(said)?;
    assert_eq!(echo.as_payload()[..], MESSAGE[..]);
    ws.close().await.map_err(said)?;
    while let Some(message) = ws.next().await {
        message.map_err(said)?;
    }
    Ok(())
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}
