use std::convert::Infallible;

use bowline::{Config, bytes::Bytes, handshake::RequestError};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;

async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, RequestError> {
    let (response, upgrading) = bowline::hyper::upgrade(&mut request, Config::default())?;
    tokio::spawn(async {
        let Ok(mut ws) = upgrading.await else { return };
        while let Ok(Some(message)) = ws.recv().await {
            let _ = ws.feed(message).await; // recv gives the error again
        }
    });
    Ok(response)
}

pub async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let service = service_fn(|request| async {
            let response = echo(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|refusal| refusal.response().into()))
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()); // else a client may take for ever to send its request
        http.http2().enable_connect_protocol(); // else no client asks for a WebSocket over HTTP/2
        tokio::spawn(async move {
            http.serve_connection_with_upgrades(TokioIo::new(socket), service).await
        });
    }
}
