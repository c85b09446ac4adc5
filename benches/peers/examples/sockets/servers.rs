//! The echo servers, each the loop of its library's documentation around any stream.

use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::ready;

use fastwebsockets::{FragmentCollector, OpCode, Role};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::frames::{RESPONSE, closed};
use super::{Result, handshakes, shapes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Bytes copied back.
    Raw,
    /// Unmasks in place, and answers all messages of a read with one write. It trusts the peer.
    Bare,
    BowlineBorrowed,
    Bowline,
    BowlineSend,
    /// With blocking sockets, a thread for each connection. Not for streams.
    BareBlocking,
    BowlineBlockingBorrowed,
    BowlineBlocking,
    TungsteniteBlocking,
    Tungstenite,
    TungsteniteLate,
    TokioWebsockets,
    Fastwebsockets,
    Sockudo,
    SockudoLate,
    Yawc,
    YawcLate,
    // The shapes of real programs: shapes.rs.
    BareMoved,
    BareTwoTasks,
    BowlineMoved,
    BowlineSplit,
    BowlineTwoTasks,
    TungsteniteMoved,
    TungsteniteTwoTasks,
    BowlineRun,
    BowlineAxum,
    Axum,
    BowlineHyper,
    // With a handshake of their own, or of any key: handshakes.rs.
    BareAnyKey,
    Soketto,
    SockudoHandshake,
}

/// The servers, by their names in the tables and on the command line.
pub const ALL: &[(&str, Server)] = &[
    ("raw", Server::Raw),
    ("bare", Server::Bare),
    ("bowline-borrowed", Server::BowlineBorrowed),
    ("bowline", Server::Bowline),
    ("bowline-send", Server::BowlineSend),
    ("bare-blocking", Server::BareBlocking),
    ("bowline-blocking-borrowed", Server::BowlineBlockingBorrowed),
    ("bowline-blocking", Server::BowlineBlocking),
    ("tungstenite-blocking", Server::TungsteniteBlocking),
    ("tungstenite", Server::Tungstenite),
    ("tungstenite-late", Server::TungsteniteLate),
    ("tokio-websockets", Server::TokioWebsockets),
    ("fastwebsockets", Server::Fastwebsockets),
    ("sockudo-ws", Server::Sockudo),
    ("sockudo-ws-late", Server::SockudoLate),
    ("yawc", Server::Yawc),
    ("yawc-late", Server::YawcLate),
];

impl Server {
    pub fn name(self) -> &'static str {
        let mut all = ALL.iter().chain(shapes::ALL).chain(handshakes::ALL);
        all.find(|(_, server)| *server == self).map_or("", |(name, _)| name)
    }

    pub fn named(name: &str) -> Option<Self> {
        let mut all = ALL.iter().chain(shapes::ALL).chain(handshakes::ALL);
        all.find(|(known, _)| *known == name).map(|(_, server)| *server)
    }
}

/// Settings and factories that a server makes once.
#[derive(Clone, Default)]
pub struct Shared {
    bowline: bowline::Config,
    sockudo: sockudo_ws::Config,
}

/// Serves a connection in a task of its own. Gives the size of the task's future.
pub fn spawn<S>(server: Server, stream: S, shared: &Shared) -> usize
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match server {
        Server::Raw => task(raw(stream)),
        Server::Bare => task(bare(stream)),
        Server::BowlineBorrowed => task(bowline_borrowed(stream, shared.bowline.clone())),
        Server::Bowline => task(bowline(stream, shared.bowline.clone())),
        Server::BowlineSend => task(bowline_send(stream, shared.bowline.clone())),
        Server::BareBlocking
        | Server::BowlineBlockingBorrowed
        | Server::BowlineBlocking
        | Server::TungsteniteBlocking => {
            panic!("needs a socket")
        }
        Server::Tungstenite => task(tungstenite(stream)),
        Server::TungsteniteLate => task(tungstenite_late(stream)),
        Server::TokioWebsockets => task(tokio_websockets(stream)),
        Server::Fastwebsockets => task(fastwebsockets(stream)),
        Server::Sockudo => task(sockudo(stream, shared.sockudo.clone())),
        Server::SockudoLate => task(sockudo_late(stream, shared.sockudo.clone())),
        Server::Yawc => task(yawc(stream)),
        Server::YawcLate => task(yawc_late(stream)),
        Server::BareMoved => task(shapes::bare_moved(stream)),
        Server::BareTwoTasks => task(shapes::bare_two_tasks(stream)),
        Server::BowlineMoved => task(shapes::bowline_moved(stream, shared.bowline.clone())),
        Server::BowlineSplit => task(shapes::bowline_split(stream, shared.bowline.clone())),
        Server::BowlineTwoTasks => task(shapes::bowline_two_tasks(stream, shared.bowline.clone())),
        Server::TungsteniteMoved => task(shapes::tungstenite_moved(stream)),
        Server::TungsteniteTwoTasks => task(shapes::tungstenite_two_tasks(stream)),
        Server::BowlineHyper => task(shapes::bowline_hyper(stream)),
        Server::BareAnyKey => task(handshakes::bare_any_key(stream)),
        Server::Soketto => task(handshakes::soketto(stream)),
        Server::SockudoHandshake => task(handshakes::sockudo(stream, shared.sockudo.clone())),
        Server::BowlineRun | Server::BowlineAxum | Server::Axum => {
            panic!("has a listener of its own")
        }
    }
}

/// How a server with blocking sockets serves a connection.
pub fn blocking(server: Server) -> Option<fn(TcpStream)> {
    match server {
        Server::BareBlocking => Some(|stream| drop(bare_blocking(stream))),
        Server::BowlineBlockingBorrowed => Some(|stream| drop(bowline_blocking_borrowed(stream))),
        Server::BowlineBlocking => Some(|stream| drop(bowline_blocking(stream))),
        Server::TungsteniteBlocking => Some(|stream| drop(tungstenite_blocking(stream))),
        _ => None,
    }
}

/// The loop without a protocol library on sockets of the same kind.
pub fn bare_for(server: Server) -> Server {
    match blocking(server) {
        Some(_) => Server::BareBlocking,
        None => Server::Bare,
    }
}

fn task<E: Display + Send + 'static>(
    serve: impl Future<Output = std::result::Result<(), E>> + Send + 'static,
) -> usize {
    let size = size_of_val(&serve);
    // The client ends its connections without a Close, so an error is no news.
    // Not by another async block, which would hold it twice.
    tokio::spawn(serve.map(drop));
    size
}

pub fn other(error: impl Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

/// The opening handshake for libraries that have none, or none without an HTTP server.
pub async fn open(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    stream.write_all(RESPONSE).await
}

async fn raw(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    open(&mut stream).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Room for the largest message and more.
pub const BUFFER: usize = 128 << 10;

thread_local! {
    /// A connection that waits holds no buffer.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

async fn bare(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    open(&mut stream).await?;
    let (mut buffer, mut filled) = (Vec::new(), 0);
    loop {
        match read_pooled(&mut stream, &mut buffer, filled).await? {
            0 => return Ok(()),
            n => filled += n,
        }
        let (read, replies) = answer(&mut buffer[..filled]);
        stream.write_all(&buffer[..replies]).await?;
        // For TLS, which may keep some.
        stream.flush().await?;
        if closed(&buffer[..replies]) {
            return Ok(());
        }
        buffer.copy_within(read..filled, 0);
        filled -= read;
    }
}

/// Reads behind what is filled, into a buffer that goes back to its pool while there is nothing to read.
pub fn read_pooled(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    filled: usize,
) -> impl Future<Output = Result<usize>> {
    poll_fn(move |cx| {
        if buffer.is_empty() {
            let pooled = BUFFERS.with_borrow_mut(Vec::pop);
            *buffer = pooled.unwrap_or_else(|| vec![0; BUFFER]);
        }
        let mut room = ReadBuf::new(&mut buffer[filled..]);
        let result = Pin::new(&mut *stream).poll_read(cx, &mut room);
        let n = room.filled().len();
        if result.is_pending() && filled == 0 {
            BUFFERS.with_borrow_mut(|buffers| buffers.push(std::mem::take(buffer)));
        }
        ready!(result)?;
        io::Result::Ok(n).into()
    })
}

fn bare_blocking(mut stream: TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut buffer = vec![0; BUFFER];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => head.extend(&buffer[..n]),
        }
    }
    stream.write_all(RESPONSE)?;
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            n => filled += n,
        }
        let (read, replies) = answer(&mut buffer[..filled]);
        stream.write_all(&buffer[..replies])?;
        if closed(&buffer[..replies]) {
            return Ok(());
        }
        buffer.copy_within(read..filled, 0);
        filled -= read;
    }
}

/// Turns whole frames into replies, which are shorter. Gives where the rest begins, and where the
/// replies end.
pub fn answer(buffer: &mut [u8]) -> (usize, usize) {
    let (mut read, mut replies) = (0, 0);
    loop {
        let unread = &buffer[read..];
        let (len, size) = match unread {
            [_, 0xFE, a, b, ..] => (u16::from_be_bytes([*a, *b]) as usize, 4),
            [_, 0xFF, rest @ ..] if rest.len() >= 8 => {
                (u64::from_be_bytes(*rest.first_chunk().unwrap()) as usize, 10)
            }
            [_, len, ..] if *len < 0xFE => (usize::from(len & 0x7F), 2),
            _ => return (read, replies),
        };
        if unread.len() < size + 4 + len {
            return (read, replies);
        }
        let key = *unread[size..].first_chunk().unwrap();
        buffer.copy_within(read..read + size, replies);
        buffer[replies + 1] &= 0x7F;
        replies += size;
        let from = read + size + 4;
        unmask(&mut buffer[from..from + len], key);
        buffer.copy_within(from..from + len, replies);
        replies += len;
        read = from + len;
    }
}

fn unmask(data: &mut [u8], key: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| key[i % 4]);
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for i in 0..32 {
            block[i] ^= wide[i];
        }
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

async fn bowline_borrowed<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error> {
    let mut ws = bowline::tokio::accept(stream, config).await?;
    while let Some((message, mut out)) = ws.recv_borrowed().await? {
        out.feed(message)?;
    }
    Ok(())
}

async fn bowline<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error> {
    let mut ws = bowline::tokio::accept(stream, config).await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

async fn bowline_send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: bowline::Config,
) -> std::result::Result<(), bowline::Error> {
    let mut ws = bowline::tokio::accept(stream, config).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn bowline_blocking_borrowed(stream: TcpStream) -> std::result::Result<(), bowline::Error> {
    let mut ws = bowline::blocking::accept(stream, bowline::Config::default())?;
    while let Some((message, mut out)) = ws.recv_borrowed()? {
        out.feed(message)?;
    }
    Ok(())
}

fn bowline_blocking(stream: TcpStream) -> std::result::Result<(), bowline::Error> {
    let mut ws = bowline::blocking::accept(stream, bowline::Config::default())?;
    while let Some(message) = ws.recv()? {
        ws.feed(message)?;
    }
    Ok(())
}

/// tungstenite's own way, without tokio-tungstenite.
fn tungstenite_blocking(stream: TcpStream) -> std::result::Result<(), tungstenite::Error> {
    let mut ws = match tungstenite::accept(stream) {
        Ok(ws) => ws,
        Err(tungstenite::HandshakeError::Failure(error)) => return Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => return Ok(()),
    };
    loop {
        let message = ws.read()?;
        if message.is_text() || message.is_binary() {
            ws.send(message)?;
        }
    }
}

async fn tungstenite<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> std::result::Result<(), tungstenite::Error> {
    let mut ws = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn tungstenite_late<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> std::result::Result<(), tungstenite::Error> {
    let mut ws = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = ws.next().await {
        let mut message = message?;
        loop {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
            match ws.next().now_or_never() {
                Some(Some(next)) => message = next?,
                _ => break,
            }
        }
        ws.flush().await?;
    }
    Ok(())
}

async fn tokio_websockets<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> std::result::Result<(), tokio_websockets::Error> {
    let (_request, mut ws) = tokio_websockets::ServerBuilder::new().accept(stream).await?;
    while let Some(Ok(message)) = ws.next().await {
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn fastwebsockets<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<()> {
    open(&mut stream).await?;
    let ws = fastwebsockets::WebSocket::after_handshake(stream, Role::Server);
    let mut ws = FragmentCollector::new(ws);
    loop {
        let frame = ws.read_frame().await.map_err(other)?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await.map_err(other)?,
            _ => {}
        }
    }
}

async fn sockudo<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    config: sockudo_ws::Config,
) -> std::result::Result<(), sockudo_ws::Error> {
    use sockudo_ws::{Message, WebSocketStream};
    open(&mut stream).await?;
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

async fn sockudo_late<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    config: sockudo_ws::Config,
) -> std::result::Result<(), sockudo_ws::Error> {
    use sockudo_ws::{Message, WebSocketStream};
    open(&mut stream).await?;
    let mut ws = WebSocketStream::server(stream, config);
    while let Some(message) = ws.next().await {
        let mut message = message?;
        loop {
            match message {
                message @ (Message::Text(_) | Message::Binary(_)) => ws.feed(message).await?,
                Message::Close(_) => return Ok(()),
                _ => {}
            }
            match ws.next().now_or_never() {
                Some(Some(next)) => message = next?,
                _ => break,
            }
        }
        ws.flush().await?;
    }
    Ok(())
}

async fn yawc<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<()> {
    use yawc::{OpCode, Options, Role, WebSocket};
    open(&mut stream).await?;
    let mut ws = WebSocket::from_stream(stream, Role::Server, Options::default()).map_err(other)?;
    while let Some(frame) = ws.next().await {
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => ws.send(frame).await.map_err(other)?,
            OpCode::Close => break,
            _ => {}
        }
    }
    Ok(())
}

async fn yawc_late<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<()> {
    use yawc::{OpCode, Options, Role, WebSocket};
    open(&mut stream).await?;
    let mut ws = WebSocket::from_stream(stream, Role::Server, Options::default()).map_err(other)?;
    while let Some(mut frame) = ws.next().await {
        loop {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => ws.feed(frame).await.map_err(other)?,
                OpCode::Close => return Ok(()),
                _ => {}
            }
            match ws.next().now_or_never() {
                Some(Some(next)) => frame = next,
                _ => break,
            }
        }
        ws.flush().await.map_err(other)?;
    }
    Ok(())
}
