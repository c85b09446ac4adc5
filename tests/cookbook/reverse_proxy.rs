use bowline::handshake::{Accept, ClientRequest, ConnectError, InvalidRequest, Request, Response};
use bowline::tokio::{Incoming, RecvHalf, SendHalf, WebSocket, connect_with};
use bowline::{CloseCode, Config, End, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What is passed on of the client's request. All else belongs to the connection between the client and this proxy.
const HEADERS: [&str; 4] = ["Authorization", "Cookie", "User-Agent", "Accept-Language"];

/// Serves one client. `backend` is a URL without a path, such as `ws://127.0.0.1:9002`.
pub async fn serve(socket: TcpStream, backend: &str) -> Result<(), Error> {
    socket.set_nodelay(true)?;
    let client = socket.peer_addr()?.ip().to_string();
    let config = Config::default();
    let incoming = Incoming::read(socket, config.clone()).await?;
    // Before the backend is asked: whether it is a valid request for a WebSocket, and its origin.
    if let Err(refusal) = incoming.request().upgrade(&config) {
        return incoming.respond(&refusal.response()).await;
    }
    let request = ask(incoming.request(), backend, &client)?;
    let (there, response) = match connect_with(&request, config).await {
        Ok(connected) => connected,
        Err(Error::Connect(ConnectError::Refused(refusal))) => {
            let response = Response::new(refusal.status()).body(refusal.body_bytes());
            return incoming.respond(&response).await;
        }
        Err(error) => {
            eprintln!("{backend}: {error}");
            return incoming.respond(&Response::new(502)).await;
        }
    };
    let here = incoming.accept(Accept::new().subprotocol(response.subprotocol())).await?;
    pass(here, there).await
}

/// The request to the backend.
fn ask(from: &Request, backend: &str, client: &str) -> Result<ClientRequest, InvalidRequest> {
    let mut request = ClientRequest::new(&format!("{backend}{}", from.target()))?
        .user_agent(None)?
        .header("X-Forwarded-For", client)?
        .header("X-Forwarded-Host", from.host())?;
    for name in HEADERS {
        if let Some(value) = from.headers().get_str(name) {
            request.try_header(name, value)?;
        }
    }
    for name in from.subprotocols() {
        request = request.subprotocol(name)?;
    }
    Ok(request)
}

/// Passes messages on in both directions, and Close.
pub async fn pass<A, B>(here: WebSocket<A>, there: WebSocket<B>) -> Result<(), Error>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (to_here, from_here) = here.split();
    let (to_there, from_there) = there.split();
    // Both directions end with Close. If one breaks off, the other is dropped, and its peer sees 1006 as well.
    tokio::try_join!(one_way(from_here, to_there), one_way(from_there, to_here))?;
    Ok(())
}

async fn one_way<A, B>(mut from: RecvHalf<A>, mut to: SendHalf<B>) -> Result<(), Error>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = from.recv().await? {
        // If the other side has closed, this message is late. If it is gone, the other direction tells.
        let _ = to.send(message).await;
    }
    if let Some(End::Closed { code, reason, .. }) = from.end() {
        // A Close without a code stays one: `NO_STATUS` sends no body. It is refused if this side has sent Close.
        let _ = to.close(code.unwrap_or(CloseCode::NO_STATUS), reason).await;
    }
    Ok(())
}
