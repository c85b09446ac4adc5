use std::io;

use bowline::handshake::Request;
use bowline::tokio::{Server, WebSocket};
use bowline::{Config, Error};
use tokio::net::{TcpListener, TcpStream};

/// Not 0.0.0.0: the network has no business here.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await
}

pub async fn serve(listener: TcpListener) {
    let config = Config::default()
        .allow_origin("https://app.example") // the page
        .allow_host("localhost") // what the page connects to
        .allow_host("127.0.0.1");
    Server::new(config).run(listener, echo).await;
}

async fn echo(mut ws: WebSocket<TcpStream>, _request: Request) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}
