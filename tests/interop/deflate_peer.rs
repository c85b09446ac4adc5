//! Compression with any settings against other implementations; `deflate.py` starts it.
//!
//! ```text
//! deflate_peer serve SETTINGS...       an echo server for each; prints their addresses, one a line
//! deflate_peer connect URL SETTINGS... a client for each, all at once; prints what came of each, one a line
//! ```
//!
//! SETTINGS are words that may be absent: `server=BITS`, `client=BITS`, `no-server-takeover`, `no-client-takeover`,
//! `level=N`, `memory=N`,
//! `largest=BYTES` (of the messages that are sent); one argument has them all, with commas between. All connections are on one
//! thread, so that they lend each other compressors.

use std::process::exit;

use bowline::handshake::{Accept, ClientRequest};
use bowline::tokio::{Incoming, MaybeTls, WebSocket, connect_with};
use bowline::{Config, Deflate, Message};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is sent of each kind; `deflate.py` and `ws_peer.cjs` have the same.
const SIZES: [usize; 10] = [0, 1, 127, 128, 1024, 16_384, 1024, 65_537, 1_000_000, 300];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(|argument| &argument[..]).collect();
    let result = match arguments[..] {
        ["serve", ref settings @ ..] => serve(settings).await,
        ["connect", url, ref settings @ ..] => connect(url, settings).await,
        _ => Err("expected serve or connect".into()),
    };
    if let Err(error) = result {
        eprintln!("deflate_peer: {error}");
        exit(1);
    }
}

fn config(settings: &str) -> Result<Config> {
    let mut deflate = Deflate::high_compression().threshold(0);
    for word in settings.split(',').filter(|word| !word.is_empty()) {
        deflate = match word.split_once('=') {
            Some(("server", bits)) => deflate.server_max_window_bits(bits.parse()?),
            Some(("client", bits)) => deflate.client_max_window_bits(bits.parse()?),
            Some(("level", level)) => deflate.level(level.parse()?),
            Some(("memory", level)) => deflate.memory_level(level.parse()?),
            Some(("largest", _)) => deflate,
            None if word == "no-server-takeover" => deflate.server_context_takeover(false),
            None if word == "no-client-takeover" => deflate.client_context_takeover(false),
            _ => return Err(format!("unknown setting {word}").into()),
        };
    }
    Ok(Config::default().deflate(deflate))
}

async fn serve(settings: &[&str]) -> Result<()> {
    let mut servers = tokio::task::JoinSet::new();
    for settings in settings {
        let config = config(settings)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        servers.spawn(async move {
            while let Ok((socket, peer)) = listener.accept().await {
                let config = config.clone();
                tokio::spawn(async move {
                    if let Err(error) = echo(socket, config).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
        });
    }
    println!("listening");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

async fn echo(socket: TcpStream, config: Config) -> std::result::Result<(), bowline::Error> {
    socket.set_nodelay(true)?;
    let mut ws = Incoming::read(socket, config).await?.accept(Accept::new()).await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

async fn connect(url: &str, settings: &[&str]) -> Result<()> {
    let local = LocalSet::new();
    let mut runs = Vec::new();
    for settings in settings {
        let (url, config) = (url.to_string(), config(settings)?);
        let largest = settings.split(',').find_map(|word| word.strip_prefix("largest="));
        let largest = largest.map_or(Ok(usize::MAX), str::parse)?;
        runs.push(local.spawn_local(async move {
            run(&url, config, largest).await.unwrap_or_else(|error| format!("failed: {error}"))
        }));
    }
    local.await;
    for run in runs {
        println!("{}", run.await?);
    }
    Ok(())
}

/// Sends all, has all back; gives what the server answered.
async fn run(url: &str, config: Config, largest: usize) -> Result<String> {
    let (mut ws, response) = connect_with(&ClientRequest::new(url)?, config).await?;
    let answer = response.headers().get("Sec-WebSocket-Extensions").unwrap_or_default();
    let answer = String::from_utf8_lossy(answer).into_owned();
    for (i, size) in SIZES.into_iter().filter(|&size| size <= largest).enumerate() {
        round_trip(&mut ws, text(size, i).into(), i).await?;
        round_trip(&mut ws, noise(size, i).into(), i + 1).await?;
    }
    ws.close(1000, "").await?;
    Ok(answer)
}

async fn round_trip(ws: &mut WebSocket<MaybeTls>, message: Message, way: usize) -> Result<()> {
    if way.is_multiple_of(3) {
        let [first, second] = halves(&message);
        ws.send_part(&first, false).await?;
        ws.send_part(&second, true).await?;
    } else {
        ws.send(message.clone()).await?;
    }
    match ws.recv().await? {
        Some(back) if back == message => Ok(()),
        _ => {
            Err(format!("a message of {} bytes came back as another", message.as_bytes().len())
                .into())
        }
    }
}

fn halves(message: &Message) -> [Message; 2] {
    match message.as_text() {
        Some(text) => {
            let (first, second) = text.split_at(char_boundary(text, text.len() / 2));
            [first.into(), second.into()]
        }
        None => {
            let (first, second) = message.as_bytes().split_at(message.as_bytes().len() / 2);
            [first.into(), second.into()]
        }
    }
}

/// JSON of `size` bytes, alike from message to message.
fn text(size: usize, seed: usize) -> String {
    let mut text = String::new();
    for n in seed.. {
        if text.len() >= size {
            break;
        }
        text +=
            &format!("{{\"id\":{},\"name\":\"user{}\",\"tags\":[\"α\",\"β\"]}},", n * 7919, n % 89);
    }
    text.truncate(char_boundary(&text, size));
    text
}

fn char_boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Bytes that hardly compress.
fn noise(size: usize, seed: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32 ^ seed as u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}
