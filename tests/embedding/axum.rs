//! The extractor for axum, under `axum::serve`.

#![cfg(feature = "axum")]

#[path = "programs/axum.rs"]
mod program;

use std::future::pending;
use std::net::SocketAddr;

use crate::guide::*;
use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::{Request, StatusCode};
use axum::middleware::map_response;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{any, get};
use bowline::axum::{WebSocket, WebSocketUpgrade, WebSocketUpgradeRejection};
use bowline::handshake::{ClientRequest, ConnectError, RequestError};
use bowline::{Config, Error, Message};
use tokio::sync::mpsc;

/// The program of the guide.
async fn program() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(program::serve(listener));
    address
}

async fn server(app: Router) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn echo(mut ws: WebSocket) {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.feed(message).await.is_err() {
            return;
        }
    }
}

/// The only message of a server that then drops its WebSocket: that sends no Close.
async fn first(url: &str) -> String {
    let mut ws = in_time(bowline::tokio::connect(url)).await.expect("a connection");
    let message = in_time(ws.recv()).await.expect("a message").expect("not the end");
    match in_time(ws.recv()).await {
        Err(Error::Ended(end)) => assert_eq!(end.code(), 1006),
        other => panic!("{other:?}"),
    }
    message.as_text().expect("text").to_string()
}

#[tokio::test]
async fn the_program_of_the_guide_echoes() {
    stands_in_the_guide(include_str!("programs/axum.rs"));
    echoes(&format!("ws://{}/ws", program().await)).await;
}

#[tokio::test]
async fn bytes_read_ahead_are_the_first_frames() {
    keeps_what_is_read_ahead(program().await, "/ws").await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    refuses(program().await, "/ws").await;
}

#[tokio::test]
async fn limits_are_those_of_the_configuration() {
    keeps_to_the_limit(program().await, "/ws", 1 << 20).await;
    let handler = async |ws: WebSocketUpgrade| {
        ws.config(Config::default().max_message_size(70_000)).on_upgrade(echo)
    };
    let address = server(Router::new().route("/", any(handler))).await;
    keeps_to_the_limit(address, "/", 70_000).await;
}

#[tokio::test]
async fn state_paths_and_nested_routes_are_as_usual() {
    async fn handler(
        State(state): State<String>,
        Path(room): Path<String>,
        ws: WebSocketUpgrade,
    ) -> Response {
        let path = ws.request().target().to_string();
        ws.on_upgrade(async move |mut ws| {
            let _ = ws.send(format!("{state} {room} {path}")).await;
        })
    }
    let rooms = Router::new().route("/{room}", any(handler));
    let app = Router::new().nest("/rooms", rooms).with_state("state".to_string());
    let address = server(app).await;
    // A nested router sees the rest of the path, as it does of any request.
    assert_eq!(first(&format!("ws://{address}/rooms/blue?x=1")).await, "state blue /blue?x=1");
}

#[tokio::test]
async fn the_first_of_the_clients_subprotocols_is_selected() {
    async fn handler(ws: WebSocketUpgrade) -> Response {
        let ws = ws.protocols(["chat", "chat.v2"]);
        let selected = ws.selected_protocol().map(String::from);
        ws.on_upgrade(async move |mut ws| {
            let _ = ws.send(format!("{selected:?}")).await;
        })
    }
    let address = server(Router::new().route("/", any(handler))).await;
    for (offers, expected) in [
        (&["chat.v3", "chat.v2", "chat"][..], Some("chat.v2")),
        (&["chat"], Some("chat")),
        (&["CHAT"], None),
        (&[], None),
    ] {
        let mut request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
        for offer in offers {
            request = request.subprotocol(offer).unwrap();
        }
        let connect = bowline::tokio::connect_with(&request, Config::default());
        let (mut ws, response) = in_time(connect).await.unwrap();
        assert_eq!(response.subprotocol(), expected);
        let told = in_time(ws.recv()).await.unwrap();
        assert_eq!(told, Some(Message::from(format!("{expected:?}"))));
    }
}

#[tokio::test]
async fn one_path_can_have_a_page_and_a_websocket() {
    async fn handler(ws: Option<WebSocketUpgrade>) -> Response {
        match ws {
            Some(ws) => ws.on_upgrade(echo),
            None => "a page".into_response(),
        }
    }
    let address = server(Router::new().route("/", get(handler))).await;
    echoes(&format!("ws://{address}/")).await;
    let page = Raw::connect(address).await.ask("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
    assert_eq!(status(&page), 200);
    assert!(page.ends_with("a page"), "{page}");
    // A request for a WebSocket gets no page, even if it breaks rules.
    let good = request("/", "");
    for (broken, expected) in [
        (good.replace("Version: 13", "Version: 12"), 426),
        (good.replace("Upgrade: websocket\r\nConnection: Upgrade\r\n", ""), 426),
        (good.replace("Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: websocket"), 426),
        (request("/", "Sec-WebSocket-Key: x\r\n"), 400),
    ] {
        let answer = Raw::connect(address).await.ask(&broken).await;
        assert_eq!(status(&answer), expected, "{broken}{answer}");
    }
}

#[tokio::test]
async fn a_rejection_has_a_type() {
    async fn handler(ws: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Response {
        match ws {
            Ok(ws) => ws.on_upgrade(echo),
            Err(rejection) => {
                let status = rejection.into_response().status();
                (StatusCode::IM_A_TEAPOT, format!("{rejection:?} {status}")).into_response()
            }
        }
    }
    let address = server(Router::new().route("/", any(handler))).await;
    let good = request("/", "");
    for (request, expected) in [
        (good.replace("Version: 13", "Version: 12"), "Request(Version) 426 Upgrade Required"),
        (good.replace("GET", "PUT"), "Request(Method) 405 Method Not Allowed"),
        (good.replace("Sec-WebSocket-Key", "X"), "Request(Key) 400 Bad Request"),
    ] {
        let answer = Raw::connect(address).await.ask(&request).await;
        assert_eq!(status(&answer), 418, "{answer}");
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn origins_are_allowed_by_name() {
    async fn handler(
        State(called): State<mpsc::UnboundedSender<()>>,
        ws: WebSocketUpgrade,
    ) -> Response {
        let config = Config::default().allow_origin("https://app.example");
        ws.config(config).on_upgrade(async move |_| called.send(()).unwrap())
    }
    let (call, mut called) = mpsc::unbounded_channel();
    let url =
        format!("ws://{}/", server(Router::new().route("/", any(handler)).with_state(call)).await);
    match connect_from(&url, "https://evil.example").await {
        Err(Error::Connect(ConnectError::Refused(response))) => {
            assert_eq!(response.status(), 403);
            let told = String::from_utf8_lossy(response.body_bytes()).into_owned();
            assert!(told.contains("Config::allow_origin"), "{told}");
        }
        other => panic!("{other:?}"),
    }
    connect_from(&url, "https://app.example").await.expect("allowed");
    in_time(called.recv()).await.expect("called for this one");
    assert!(called.try_recv().is_err(), "and not for the other");
}

#[tokio::test]
async fn who_asks_is_told_of_a_failed_upgrade() {
    async fn handler(
        State(failed): State<mpsc::UnboundedSender<Error>>,
        ws: WebSocketUpgrade,
    ) -> Response {
        ws.on_failed_upgrade(move |error| failed.send(error).unwrap())
            .on_upgrade(async |_| panic!("there is no WebSocket"))
    }
    let (fail, mut failed) = mpsc::unbounded_channel();
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    // A layer that holds back the response.
    let keep = map_response(move |_: Response| {
        arrive.send(()).unwrap();
        pending::<Response>()
    });
    let app = Router::new().route("/", any(handler)).with_state(fail).layer(keep);
    let mut raw = Raw::connect(server(app).await).await;
    raw.send(request("/", "")).await;
    in_time(arrived.recv()).await.unwrap();
    drop(raw);
    let error = in_time(failed.recv()).await.expect("the error");
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

/// hyper hands over the connection when it is done with it, whatever the response was (1.12.0). The guide warns of that. If
/// this test fails, the warning is no longer needed.
#[tokio::test]
async fn a_layer_that_sends_another_response_takes_nothing_back() {
    async fn handler(
        State(received): State<mpsc::UnboundedSender<Option<Message>>>,
        ws: WebSocketUpgrade,
    ) -> Response {
        ws.on_upgrade(async move |mut ws| received.send(ws.recv().await.unwrap()).unwrap())
    }
    let (receive, mut received) = mpsc::unbounded_channel();
    let refuse = map_response(async |_: Response| StatusCode::FORBIDDEN);
    let app = Router::new().route("/", any(handler)).with_state(receive).layer(refuse);
    let mut raw = Raw::connect(server(app).await).await;
    let closing = request("/", "").replace("Connection: Upgrade", "Connection: close, Upgrade");
    assert_eq!(status(&raw.ask(closing).await), 403);
    raw.send(HELLO_MASKED).await;
    assert_eq!(in_time(received.recv()).await, Some(Some(Message::from("Hello"))));
}

#[tokio::test]
async fn headers_can_be_added_to_the_response() {
    async fn handler(ws: WebSocketUpgrade) -> impl IntoResponse {
        (AppendHeaders([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]), ws.on_upgrade(echo))
    }
    let address = server(Router::new().route("/", any(handler))).await;
    let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
    let connect = bowline::tokio::connect_with(&request, Config::default());
    let (_, response) = in_time(connect).await.unwrap();
    assert!(response.headers().all("Set-Cookie").eq([b"a=1", b"b=2"]));
}

#[tokio::test]
async fn a_connection_that_cannot_be_upgraded_is_the_servers_fault() {
    let request = Request::get("/")
        .header("Host", "example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let rejection = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map(drop);
    assert_eq!(rejection, Err(WebSocketUpgradeRejection::NotUpgradable));
    assert_eq!(rejection.into_response().status(), 500);
    parts.method = axum::http::Method::POST;
    let rejection = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map(drop);
    assert_eq!(rejection, Err(WebSocketUpgradeRejection::Request(RequestError::Method)));
}

#[tokio::test]
async fn a_group_limits_drains_and_tells_the_ends() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&told);
    let group = bowline::tokio::Group::new().max_connections(1).on_end(move |ended| {
        noted.lock().unwrap().push((ended.result.is_ok(), ended.end.map(bowline::End::code)));
    });
    let handlers = group.clone();
    let app = Router::new().route(
        "/ws",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.group(&handlers).on_upgrade(async |mut ws| {
                while let Some(message) = ws.recv().await? {
                    ws.feed(message).await?;
                }
                Ok::<_, bowline::Error>(())
            })
        }),
    );
    let url = format!("ws://{}/ws", server(app).await);
    let mut client = bowline::tokio::connect(&url).await.unwrap();
    client.send("Hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("Hello".into()));
    assert_eq!(group.connections(), 1);
    let status = async || match bowline::tokio::connect(&url).await.unwrap_err() {
        bowline::Error::Connect(bowline::handshake::ConnectError::Refused(response)) => {
            assert!(response.headers().get_str("Retry-After").is_some());
            response.status()
        }
        other => panic!("{other:?}"),
    };
    // It is full.
    assert_eq!(status().await, 503);
    let receiving = tokio::spawn(async move {
        assert_eq!(client.recv().await.unwrap(), None);
        client.end().cloned().unwrap()
    });
    let report = group.shutdown(std::time::Duration::from_secs(30)).await;
    assert_eq!((report.closed, report.dropped), (1, 0));
    assert_eq!(receiving.await.unwrap().code(), 1001);
    assert_eq!(*told.lock().unwrap(), [(true, Some(1001.into()))]);
    // There are no more after a shutdown.
    assert_eq!(status().await, 503);
}
