use bowline::handshake::{self, Accept};
use bowline::{Config, Error, RecvBuf, tokio::WebSocket};
use http::{Request, Response};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn echo(request: &Request<()>, stream: &mut TcpStream, read: &[u8]) -> Result<(), Error> {
    let request = handshake::Request::try_from(request)?;
    let (connection, response) = request.upgrade(&Config::default())?.accept(Accept::new())?;
    respond(stream, response.into()).await?;
    let mut ws = WebSocket::from_connection(stream, connection, RecvBuf::with_unread(read));
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

pub async fn serve(head: Request<()>, mut stream: TcpStream, read: &[u8]) -> Result<(), Error> {
    match echo(&head, &mut stream, read).await {
        Err(Error::Request(refusal)) => Ok(respond(&mut stream, refusal.response().into()).await?),
        result => result,
    }
}

async fn respond(stream: &mut TcpStream, response: Response<Vec<u8>>) -> std::io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if response.status() != 101 {
        bytes.extend(format!("Content-Length: {}\r\n", response.body().len()).into_bytes());
    }
    stream.write_all(&[&bytes, &b"\r\n"[..], response.body()].concat()).await
}
