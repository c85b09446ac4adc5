use bowline::Error;
use bowline::tokio::WebSocket;
use tokio::io::{AsyncRead, AsyncWrite};

/// A handler over any stream.
pub async fn shout<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        match message.as_text() {
            Some("bye") => {
                ws.close(4000, "bye").await?;
            }
            Some(text) => ws.feed(text.to_uppercase()).await?,
            None => {
                ws.close(1003, "text only").await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bowline::handshake::ClientRequest;
    use bowline::{Config, End, Error, Timeout};
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::{WebSocket, shout};

    /// A client, and the handler at the other end of a pipe.
    async fn pair(config: Config) -> (WebSocket<DuplexStream>, JoinHandle<Result<(), Error>>) {
        let (near, far) = duplex(4096);
        let handler = tokio::spawn(async move {
            let ws = bowline::tokio::accept(far, config).await?;
            shout(ws).await
        });
        let request = ClientRequest::new("ws://localhost/").unwrap();
        let (ws, _) = bowline::tokio::client(near, &request, Config::default()).await.unwrap();
        (ws, handler)
    }

    #[tokio::test]
    async fn it_shouts_and_says_goodbye() {
        let (mut ws, handler) = pair(Config::default()).await;
        ws.send("hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("HELLO"));
        ws.send("bye").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.end().unwrap().code(), 4000);
        handler.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn it_takes_text_only() {
        let (mut ws, handler) = pair(Config::default()).await;
        ws.send(vec![1, 2, 3]).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.end().unwrap().code(), 1003);
        handler.await.unwrap().unwrap();
    }

    /// The clock is tokio's. While all tasks wait, it jumps to the next timer, so this takes no time.
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_found() {
        let minute = Duration::from_secs(60);
        let config = Config::default().ping_interval(minute).pong_timeout(minute);
        let (ws, handler) = pair(config).await;
        // Nobody reads `ws`, so nobody answers the ping.
        let ended = handler.await.unwrap().unwrap_err();
        assert!(matches!(ended, Error::Ended(End::TimedOut(Timeout::Keepalive))), "{ended}");
        drop(ws);
    }
}
