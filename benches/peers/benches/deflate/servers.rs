//! The servers: each sends back every message, as its documentation shows.

use std::future::poll_fn;

use bowline::{Config, Deflate};
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::deflate::DeflateConfig;
use sockudo_ws::{CompressedWebSocketStream, Message, WebSocketStream};
use yawc::frame::OpCode;
use yawc::{DeflateOptions, DeflatePool, Options, Role, WebSocket};

use crate::common::floor::{put_len, xor};
use crate::common::wire::{Agreed, Packer, REQUEST, TAIL, Unpacker};
use crate::link::{Link, Served};

/// What a server agreed on, and the connection.
pub type Opened = (Option<Agreed>, Served);

/// Raw calls of zlib-rs. Headers are written, but not checked.
pub fn floor(level: i32, memory: i32, agreed: Agreed) -> Opened {
    let mut unpacker = Unpacker::new(agreed.client_bits, agreed.client_takeover);
    let mut packer = Packer::new(level, memory, agreed.server_bits, agreed.server_takeover);
    let task = async move |link: Link| {
        let (mut frame, mut out, mut packed) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            frame.clear();
            poll_fn(|_| link.poll_frame(&mut frame)).await;
            let header = match frame[1] & 0x7F {
                126 => 4,
                _ => 2,
            };
            let key = *frame[header..].first_chunk::<4>().unwrap();
            xor(&mut frame[header + 4..], key);
            frame.extend(TAIL);
            let message = unpacker.unpack(&frame[header + 4..]);
            packed.clear();
            packer.pack(message, &mut packed);
            out.clear();
            out.push(0xC1);
            put_len(&mut out, 0, packed.len());
            out.extend_from_slice(&packed);
            link.write(&out);
        }
    };
    (Some(agreed), Served::new("", task))
}

/// bowline: `recv` and `feed`.
pub fn owned(deflate: Option<Deflate>) -> Opened {
    let config = Config::default().deflate(deflate);
    let task = async |link: Link| {
        let mut ws = bowline::tokio::accept(link, config).await.unwrap();
        while let Some(message) = ws.recv().await.unwrap() {
            ws.feed(message).await.unwrap();
        }
    };
    agreed(deflate, Served::new(REQUEST, task))
}

/// bowline: `recv_borrowed`, and `feed` of the lent message.
pub fn borrowed(deflate: Option<Deflate>) -> Opened {
    let config = Config::default().deflate(deflate);
    let task = async |link: Link| {
        let mut ws = bowline::tokio::accept(link, config).await.unwrap();
        while let Some((message, mut out)) = ws.recv_borrowed().await.unwrap() {
            out.feed(message).unwrap();
        }
    };
    agreed(deflate, Served::new(REQUEST, task))
}

fn agreed(deflate: Option<Deflate>, served: Served) -> Opened {
    let head = served.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let header = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    assert_eq!(header.is_some(), deflate.is_some(), "{head}");
    (header.map(Agreed::parse), served)
}

/// sockudo-ws: `next` and `send`.
pub fn sockudo(deflate: Option<DeflateConfig>) -> Opened {
    let config = sockudo_ws::Config::default();
    let Some(deflate) = deflate else {
        let task = async |link: Link| {
            let mut ws = WebSocketStream::server(link, config);
            while let Some(message) = ws.next().await {
                ws.send(message.unwrap()).await.unwrap();
            }
        };
        return (None, Served::new("", task));
    };
    let agreed = Agreed {
        client_bits: deflate.client_max_window_bits.into(),
        client_takeover: !deflate.client_no_context_takeover,
        server_bits: deflate.server_max_window_bits.into(),
        server_takeover: !deflate.server_no_context_takeover,
    };
    let task = async |link: Link| {
        let mut ws = CompressedWebSocketStream::server(link, config, deflate);
        while let Some(message) = ws.next().await {
            match message.unwrap() {
                message @ (Message::Text(_) | Message::Binary(_)) => {
                    ws.send(message).await.unwrap()
                }
                other => panic!("{other:?}"),
            }
        }
    };
    (Some(agreed), Served::new("", task))
}

/// yawc: `next` and `send`.
pub fn yawc(deflate: Option<DeflateOptions>) -> Opened {
    let agreed = deflate.as_ref().map(|deflate| Agreed {
        client_takeover: !deflate.client_no_context_takeover,
        server_takeover: !deflate.server_no_context_takeover,
        ..Agreed::FULL
    });
    let extensions = match agreed {
        None => None,
        Some(Agreed::FULL) => Some("permessage-deflate"),
        Some(_) => {
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        }
    };
    let options = Options { compression: deflate, ..Options::default() };
    let task = async move |link: Link| {
        let mut ws =
            WebSocket::from_stream_with_extensions(link, Role::Server, extensions, options)
                .unwrap();
        while let Some(frame) = ws.next().await {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => ws.send(frame).await.unwrap(),
                other => panic!("{other:?}"),
            }
        }
    };
    (agreed, Served::new("", task))
}

/// No window is kept, and states are lent by a pool.
pub fn pooled() -> DeflateOptions {
    thread_local! {
        static POOL: DeflatePool = DeflatePool::new(16);
    }
    DeflateOptions {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        pool: Some(POOL.with(DeflatePool::clone)),
        ..DeflateOptions::default()
    }
}
