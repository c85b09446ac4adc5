//! No secret is told: not the query, not a header, not the credentials of the URL, no payload, no reason of a Close.

use bowline::handshake::{Accept, ClientRequest};
use bowline::tokio::Incoming;
use bowline::{Config, Error};
use tokio::io::duplex;

use crate::collector::collect;
use crate::support::server::bounded;

const SECRET: &str = "hunter2hunter2hunter2";

fn request() -> Result<ClientRequest, Error> {
    let url = format!("ws://{SECRET}:{SECRET}@example.com/chat?token={SECRET}");
    Ok(ClientRequest::new(&url)?
        .bearer(SECRET)?
        .header("Cookie", &format!("session={SECRET}"))?
        .header("X-Api-Key", SECRET)?
        .header("User-Agent", SECRET)?
        .subprotocol(SECRET)?
        .origin(&format!("https://{SECRET}.example"))?)
}

#[tokio::test]
async fn a_whole_connection_tells_no_secret() -> Result<(), Error> {
    let told = collect();
    let (near, far) = duplex(1 << 16);
    let config = Config::default().stats(true).allow_any_origin();
    let request = request()?;
    let serving = async {
        let incoming = Incoming::read(far, config).await?;
        assert!(incoming.request().headers().get_str("Authorization").is_some());
        let accept = Accept::new().subprotocol(Some(SECRET)).header("Set-Cookie", SECRET)?;
        let mut ws = incoming.accept(accept).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok::<_, Error>(())
    };
    let client = async {
        let (mut ws, _) = bowline::tokio::client(near, &request, Config::default()).await?;
        ws.send(SECRET).await?;
        ws.recv().await?;
        ws.close(4000, SECRET).await?;
        Ok::<_, Error>(())
    };
    bounded(async { tokio::try_join!(serving, client) }).await?;
    assert_eq!(told.count(), (2, 2));
    told.end("server").has(&[("websocket.close.code", "4000")]);
    let text = told.text();
    assert!(!text.contains("hunter2"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_target_with_credentials_tells_none() {
    let told = collect();
    let (mut near, far) = duplex(4096);
    let head =
        format!("GET ws://{SECRET}@example.com/chat?{SECRET} HTTP/1.1\r\nHost: {SECRET}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut near, head.as_bytes()).await.unwrap();
    drop(near);
    assert!(bounded(bowline::tokio::accept(far, Config::default())).await.is_err());
    assert_eq!(told.spans("server").len(), 1);
    let text = told.text();
    assert!(!text.contains("hunter2"), "{text}");
}
