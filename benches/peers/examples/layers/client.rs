//! The client: frames made in advance, over streams of any kind. Its own time is not measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bowline::handshake::ClientRequest;
use futures_util::future::try_join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Layer;
use crate::sockets::Result;
use crate::sockets::frames::{ACCEPT, REQUEST, Window};
use crate::sockets::servers::other;
use crate::tls::Identity;

/// A server that does not answer fails the benchmark.
const LIMIT: Duration = Duration::from_secs(30);

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

pub type Stream = Box<dyn Duplex>;

/// Streams whose opening handshakes are done.
pub async fn open(
    layer: Layer,
    server: SocketAddr,
    identity: &Identity,
    count: usize,
) -> Result<Vec<Stream>> {
    if let Layer::Http2 = layer {
        return over_http2(server, count).await;
    }
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = connect(server).await?;
        let mut stream: Stream = match layer {
            Layer::Tls => Box::new(identity.connect(stream).await?),
            _ => Box::new(stream),
        };
        upgrade(&mut stream).await?;
        streams.push(stream);
    }
    Ok(streams)
}

async fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn upgrade(stream: &mut Stream) -> Result<()> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    Ok(())
}

/// All WebSockets are streams of one connection. bowline opens them, and its part ends there.
async fn over_http2(server: SocketAddr, count: usize) -> Result<Vec<Stream>> {
    // No stream waits for another one's window.
    let handshake = h2::client::Builder::new()
        .initial_window_size(4 << 20)
        .initial_connection_window_size(64 << 20)
        .handshake(connect(server).await?);
    let (sender, mut connection) = handshake.await.map_err(other)?;
    let client = bowline::http2::Client::new(sender, &mut connection);
    tokio::spawn(connection);
    let request = ClientRequest::new(&format!("ws://{server}/")).map_err(other)?;
    let mut streams: Vec<Stream> = Vec::new();
    for _ in 0..count {
        let opened = client.connect(&request, bowline::Config::default()).await;
        let (stream, _) = opened.map_err(other)?.0.into_inner().await.map_err(other)?;
        streams.push(Box::new(stream));
    }
    Ok(streams)
}

/// Keeps a window in flight on every stream for some time. Gives the number of answered messages.
pub async fn run(streams: &mut [Stream], window: &Window, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    let all = try_join_all(streams.iter_mut().map(|stream| drive(stream, window, end)));
    let windows: u64 = tokio::time::timeout(time + LIMIT, all).await??.into_iter().sum();
    Ok(windows * window.messages as u64)
}

async fn drive(stream: &mut Stream, window: &Window, end: Instant) -> Result<u64> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut replies = vec![0; window.reply.len()];
    let mut windows = 0;
    loop {
        let send = async {
            writer.write_all(&window.request).await?;
            writer.flush().await
        };
        tokio::try_join!(send, reader.read_exact(&mut replies))?;
        assert!(replies == window.reply, "other bytes than were sent");
        windows += 1;
        if Instant::now() >= end {
            return Ok(windows);
        }
    }
}
