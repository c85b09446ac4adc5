// The same program for both libraries: it is included where `tt` is one of them.

use futures_util::{SinkExt, StreamExt};
use tt::WebSocketStream;
use tt::tungstenite::protocol::Role;
use tt::tungstenite::{Bytes, Message};

use super::script::Script;

async fn open(script: Script, role: Role) -> WebSocketStream<Script> {
    WebSocketStream::from_raw_socket(script, role, None).await
}

/// A connection that echoed a message and waits for the next.
pub fn idle(script: Script) -> WebSocketStream<Script> {
    use futures_util::FutureExt;
    let mut ws = open(script, Role::Server).now_or_never().unwrap();
    let message = ws.next().now_or_never().unwrap().unwrap().unwrap();
    ws.send(message).now_or_never().unwrap().unwrap();
    assert!(ws.next().now_or_never().is_none());
    ws
}

pub async fn receive(script: Script, count: usize) -> usize {
    let mut ws = open(script, Role::Server).await;
    let mut bytes = 0;
    for _ in 0..count {
        bytes += ws.next().await.unwrap().unwrap().len();
    }
    bytes
}

pub async fn send(script: Script, payload: Bytes, count: usize) -> usize {
    let mut ws = open(script, Role::Server).await;
    for _ in 0..count {
        ws.send(Message::Binary(payload.clone())).await.unwrap();
    }
    ws.get_ref().written
}

pub async fn send_as_client(script: Script, payload: Bytes, count: usize) -> usize {
    let mut ws = open(script, Role::Client).await;
    for _ in 0..count {
        ws.send(Message::Binary(payload.clone())).await.unwrap();
    }
    ws.get_ref().written
}

pub async fn feed(script: Script, payload: Bytes, count: usize) -> usize {
    let mut ws = open(script, Role::Server).await;
    for n in 0..count {
        ws.feed(Message::Binary(payload.clone())).await.unwrap();
        if n % 16 == 15 {
            ws.flush().await.unwrap();
        }
    }
    ws.flush().await.unwrap();
    ws.get_ref().written
}

pub async fn echo(script: Script, count: usize) -> usize {
    let mut ws = open(script, Role::Server).await;
    for _ in 0..count {
        let message = ws.next().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
    }
    ws.get_ref().written
}

pub async fn split(script: Script, count: usize) -> usize {
    let (mut sender, mut receiver) = open(script, Role::Server).await.split();
    for _ in 0..count {
        let message = receiver.next().await.unwrap().unwrap();
        sender.send(message).await.unwrap();
    }
    sender.reunite(receiver).unwrap().get_ref().written
}
