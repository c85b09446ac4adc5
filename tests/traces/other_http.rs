//! Upgrades of hyper and axum, and a client over HTTP/2.

use bowline::handshake::ClientRequest;
use bowline::{Config, hyper::upgrade};

use crate::collector::collect;

fn request(host: &str) -> http::Request<()> {
    http::Request::get("/chat?token=hunter2")
        .header("Host", host)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Authorization", "Bearer hunter2")
        .body(())
        .expect("a request")
}

#[test]
fn an_upgrade_has_a_span_until_the_response_is_sent() {
    let told = collect();
    let (response, upgrading) =
        upgrade::<_, ()>(&mut request("example.com"), Config::default()).expect("an upgrade");
    assert_eq!(response.status(), 101);
    assert!(!told.spans("server")[0].is_closed);
    drop(upgrading);
    told.span("server").has(&[
        ("otel.name", "GET"),
        ("url.path", "/chat"),
        ("server.address", "example.com"),
        ("http.response.status_code", "101"),
        ("error.type", ""),
    ]);
    assert!(!told.text().contains("hunter2"));
}

#[test]
fn a_request_that_is_not_served_with_upgrades_is_an_error() {
    let told = collect();
    let (_, upgrading) =
        upgrade::<_, ()>(&mut request("example.com"), Config::default()).expect("an upgrade");
    assert!(crate::support::over_tokio::block_on(upgrading).is_err());
    told.span("server").has(&[("error.type", "Other"), ("otel.status_code", "ERROR")]);
    assert_eq!(told.count(), (1, 0), "a WebSocket that never was has no end");
}

#[test]
fn a_refusal_has_its_status() {
    let told = collect();
    let config = Config::default().allow_host("other.example");
    let error = upgrade::<_, ()>(&mut request("example.com"), config).expect_err("a refusal");
    let status = error.response().status().to_string();
    told.span("server").has(&[
        ("http.response.status_code", &status),
        ("error.type", "ForeignHost"),
        ("otel.status_code", ""),
    ]);
}

#[tokio::test]
async fn a_client_over_http2_connects() {
    let told = collect();
    let (near, far) = tokio::io::duplex(4096);
    let serving = tokio::spawn(async move {
        let mut connection = h2::server::Builder::new().handshake::<_, bytes::Bytes>(far).await?;
        while connection.accept().await.is_some() {}
        Ok::<_, h2::Error>(())
    });
    let (sender, mut connection) = h2::client::handshake(near).await.expect("HTTP/2");
    let client = bowline::http2::Client::new(sender, &mut connection);
    let driving = tokio::spawn(connection);
    let request = ClientRequest::new("wss://example.com/chat?token=hunter2").expect("a request");
    let opened = crate::support::server::bounded(client.connect(&request, Config::default())).await;
    assert!(opened.is_err());
    told.span("client").has(&[
        ("otel.name", "CONNECT"),
        ("http.request.method", "CONNECT"),
        ("network.protocol.version", "2"),
        ("url.full", "wss://example.com/chat"),
        ("server.port", "443"),
        ("error.type", "NotEnabled"),
    ]);
    driving.abort();
    serving.abort();
}
