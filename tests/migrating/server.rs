use bowline::handshake::{Accept, Response};
use bowline::tokio::Incoming;
use bowline::{Config, Error, Message};
use tokio::net::{TcpListener, TcpStream};

async fn converse(socket: TcpStream) -> Result<(), Error> {
    let incoming = Incoming::read(socket, Config::default()).await?;
    if incoming.request().path() != "/shout" {
        return incoming.respond(&Response::new(404).body("not here\n")).await;
    }
    let selected = incoming.request().select_subprotocol(&["shout.v1"]).map(String::from);
    let accept = Accept::new().subprotocol(selected.as_deref()).header("X-Server", "shouting")?;
    let mut ws = incoming.accept(accept).await?;
    while let Some(message) = ws.recv().await? {
        match message {
            Message::Text(text) if text == "bye" => {
                ws.close(4000, "bye").await?;
            }
            Message::Text(text) => ws.feed(text.to_uppercase()).await?,
            other => ws.feed(other).await?,
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
