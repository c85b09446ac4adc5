use bowline::handshake::{Accept, ClientRequest, InvalidRequest, Request, Response};
use bowline::tokio::Server;
use bowline::{Config, Error};
use tokio::net::TcpListener;

/// Who asks, by a token that comes in one of three ways.
fn user(request: &Request) -> Option<&'static str> {
    let bearer = request.headers().get_str("authorization");
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let mut offered = request.subprotocols();
    let offered = offered.find_map(|name| name.strip_prefix("token."));
    // A program asks its database here, with `on_request_async`.
    match bearer.or_else(|| request.cookie("token")).or(offered)? {
        "s3cret" => Some("alice"),
        _ => None,
    }
}

pub async fn serve(listener: TcpListener) {
    let server = Server::new(Config::default()).on_request(|request| match user(request) {
        // The subprotocol with the token is never the one that is selected.
        Some(_) => Ok(Accept::new().subprotocol(request.select_subprotocol(&["chat"]))),
        None => {
            let refusal = Response::new(401).body("a token is missing, or not valid\n");
            Err(refusal.header("WWW-Authenticate", "Bearer").expect("a valid header"))
        }
    });
    let handler = |mut ws: bowline::tokio::WebSocket<_>, request: Request| async move {
        // The request has the token still.
        let user = user(&request).unwrap_or("nobody");
        ws.send(format!("hello {user}")).await?;
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok::<_, Error>(())
    };
    server.run(listener, handler).await;
}

/// The same request in three ways. A program needs one of them.
pub fn requests(url: &str, token: &str) -> Result<[ClientRequest; 3], InvalidRequest> {
    let request = || ClientRequest::new(url);
    Ok([
        request()?.bearer(token)?,
        request()?.header("Cookie", &format!("token={token}"))?,
        request()?.subprotocol("chat")?.subprotocol(&format!("token.{token}"))?,
    ])
}
