//! An echo server on warp, over the two halves of its WebSocket.

use futures_util::{StreamExt, TryStreamExt, future};
use tokio::net::TcpListener;
use warp::Filter;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let echo = warp::path("echo").and(warp::ws()).map(|ws: warp::ws::Ws| {
        ws.max_message_size(2 << 20).on_upgrade(|socket| async {
            let (sender, receiver) = socket.split();
            let data = receiver
                .try_filter(|message| future::ready(message.is_text() || message.is_binary()));
            match data.forward(sender).await {
                Ok(()) => println!("closed"),
                Err(error) => println!("failed: {error}"),
            }
        })
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    warp::serve(echo).incoming(listener).run().await;
    Ok(())
}
