//! The bytes of each public type, and of the futures that programs make of them: a task keeps room for its future as
//! long as it runs. Nothing may grow without somebody who notices, and says why.

#![cfg(all(target_pointer_width = "64", feature = "tokio", feature = "futures-io"))]

use ::tokio::io::DuplexStream;
use bowline::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Driver, Headers, Request, RequestError,
    Response, ServerHandshake,
};
use bowline::tokio::{Incoming, MaybeTls, RecvHalf, SendHalf, Server, WebSocket, accept};
use bowline::{
    Budget, Closed, Config, Connection, End, Error, Leave, Message, MessageRef, OwnedPending,
    OwnedSpace, Part, Prepared, Progress, ProtocolError, Receiver, RecvBuf, Replies, SendBuf,
    SendError, Sender, blocking,
};
use std::net::TcpStream;

#[test]
fn no_public_type_has_grown() {
    let sizes = [
        // The core.
        ("Connection", size_of::<Connection>(), 152),
        ("Receiver", size_of::<Receiver>(), 96),
        ("Sender", size_of::<Sender>(), 48),
        ("Replies", size_of::<Replies>(), 8),
        ("RecvBuf", size_of::<RecvBuf>(), 16),
        ("SendBuf", size_of::<SendBuf>(), 24),
        ("OwnedSpace", size_of::<OwnedSpace>(), 16),
        ("OwnedPending", size_of::<OwnedPending>(), 48),
        ("Config", size_of::<Config>(), 8),
        ("Budget", size_of::<Budget>(), 8),
        ("Leave", size_of::<Leave>(), 56),
        ("Prepared", size_of::<Prepared>(), 8),
        // Messages, and what functions give.
        ("Message", size_of::<Message>(), 40),
        ("MessageRef", size_of::<MessageRef<'_>>(), 24),
        ("Part", size_of::<Part<'_>>(), 32),
        ("Result<Option<Message>, Error>", size_of::<Result<Option<Message>, Error>>(), 64),
        ("Result<(), SendError>", size_of::<Result<(), SendError>>(), 48),
        ("Result<Progress, ProtocolError>", size_of::<Result<Progress, ProtocolError>>(), 24),
        ("Error", size_of::<Error>(), 64),
        ("End", size_of::<End>(), 32),
        ("Closed", size_of::<Closed>(), 40),
        // The opening handshake.
        ("Request", size_of::<Request>(), 64),
        ("Response", size_of::<Response>(), 64),
        ("Headers", size_of::<Headers>(), 32),
        ("Accept", size_of::<Accept>(), 56),
        ("ClientRequest", size_of::<ClientRequest>(), 192),
        ("ClientHandshake", size_of::<ClientHandshake>(), 224),
        ("ServerHandshake", size_of::<ServerHandshake>(), 64),
        ("Driver", size_of::<Driver>(), 208),
        ("RequestError", size_of::<RequestError>(), 1),
        ("ConnectError", size_of::<ConnectError>(), 16),
        // The adapters.
        ("tokio::WebSocket", size_of::<WebSocket<DuplexStream>>(), 16),
        ("tokio::Incoming", size_of::<Incoming<DuplexStream>>(), 8),
        ("tokio::Server", size_of::<Server>(), 8),
        ("tokio::MaybeTls", size_of::<MaybeTls>(), 40),
        ("tokio::RecvHalf", size_of::<RecvHalf<DuplexStream>>(), 24),
        // In addition to the reference, what each clone has for itself. In return, what the halves share is smaller.
        ("tokio::SendHalf", size_of::<SendHalf<DuplexStream>>(), 16),
        // 8 of them for whether the stream blocks, since a `rate_limit` must not wait on one that does not.
        ("blocking::WebSocket", size_of::<blocking::WebSocket<TcpStream>>(), 240),
    ];
    for (name, size, most) in sizes {
        println!("{name}: {size} of {most}");
    }
    for (name, size, most) in sizes {
        assert!(size <= most, "{name} has {size} bytes, which is more than {most}");
    }
}

/// The loops that programs are made of.
mod shapes {
    use super::{Config, DuplexStream, Error, WebSocket, accept};

    pub async fn lent(stream: DuplexStream, config: Config) -> Result<(), Error> {
        let mut ws = accept(stream, config).await?;
        while let Some((message, mut out)) = ws.recv_borrowed().await? {
            out.feed(message)?;
        }
        Ok(())
    }

    pub async fn owned(stream: DuplexStream, config: Config) -> Result<(), Error> {
        let mut ws = accept(stream, config).await?;
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok(())
    }

    pub async fn moved(stream: DuplexStream, config: Config) -> Result<(), Error> {
        serve(accept(stream, config).await?).await
    }

    async fn serve(mut ws: WebSocket<DuplexStream>) -> Result<(), Error> {
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok(())
    }

    pub async fn split(stream: DuplexStream, config: Config) -> Result<(), Error> {
        let (mut sender, mut receiver) = accept(stream, config).await?.split();
        while let Some(message) = receiver.recv().await? {
            sender.feed(message).await?;
        }
        Ok(())
    }
}

#[test]
fn no_task_of_a_program_has_grown() {
    let stream = || ::tokio::io::duplex(1).0;
    let config = Config::default();
    let opening = size_of_val(&accept(stream(), config.clone()));
    let sizes = [
        ("accept", opening, 8),
        ("lent", size_of_val(&shapes::lent(stream(), config.clone())), 56),
        ("owned", size_of_val(&shapes::owned(stream(), config.clone())), 200),
        // With rustls an error is larger, and a loop that ends with `?` keeps room for one.
        ("moved", size_of_val(&shapes::moved(stream(), config.clone())), 288),
        ("split", size_of_val(&shapes::split(stream(), config)), 288),
    ];
    for (name, size, most) in sizes {
        println!("{name}: {size} of {most}");
    }
    for (name, size, most) in sizes {
        assert!(size <= most, "{name} has {size} bytes, which is more than {most}");
    }
}
