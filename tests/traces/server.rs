//! `tokio::Server` and `connect`: the address of the client, the decision within the span, redirects.

use std::future::ready;

use bowline::handshake::{Accept, ClientRequest, Request, Response};
use bowline::tokio::{Server, connect_with};
use bowline::{Config, Error};
use tokio::io::duplex;
use tokio::net::TcpListener;

use crate::collector::collect;
use crate::support::server::{bounded, connect, echo, enter, open};

const HERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn a_server_tells_the_address_of_its_client() {
    let told = collect();
    let (near, far) = duplex(4096);
    let peer = "192.0.2.7:4711".parse().unwrap();
    let server = Server::new(Config::default());
    bounded(server.serve_from(peer, ready(Ok(far)), echo)).await;
    let mut ws = bounded(connect(near)).await.expect("a WebSocket");
    told.span("server")
        .has(&[("network.peer.address", "192.0.2.7"), ("network.peer.port", "4711")]);
    bounded(ws.close(1000, "hunter2")).await.expect("it closes");
    bounded(server.shutdown(std::time::Duration::from_secs(10))).await;
    told.end("server").has(&[("websocket.end", "closed_by_peer")]);
    drop(ws);
    told.end("client").has(&[("websocket.end", "closed_by_us")]);
}

#[tokio::test]
async fn decisions_run_within_the_span_and_handlers_do_not() {
    let told = collect();
    let decide = |_: &Request| {
        tracing::event!(target: "test", tracing::Level::INFO, websocket.role = "now");
        Ok(Accept::new())
    };
    let later = |_: Request| async {
        tokio::task::yield_now().await;
        tracing::event!(target: "test", tracing::Level::INFO, websocket.role = "later");
        Ok(Accept::new())
    };
    for server in [
        Server::new(Config::default()).on_request(decide),
        Server::new(Config::default()).on_request_async(later),
    ] {
        let handler = |_, _| async {
            tracing::event!(target: "test", tracing::Level::INFO, websocket.role = "handler");
            std::future::pending::<()>().await;
        };
        drop(open(&server, handler).await);
        bounded(async {
            while told.ends("handler").is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert!(told.ends("now")[0].parent.is_some());
    assert!(told.ends("later")[0].parent.is_some());
    assert!(told.ends("handler").iter().all(|event| event.parent.is_none()));
}

#[tokio::test]
async fn a_server_without_room_and_one_that_is_refused_by_the_program_tell_the_status() {
    let told = collect();
    let full = Server::new(Config::default()).max_connections(0);
    assert!(bounded(connect(enter(&full, echo).await)).await.is_err());
    bounded(full.shutdown(std::time::Duration::from_secs(10))).await;
    told.span("server").has(&[("http.response.status_code", "503"), ("otel.status_code", "ERROR")]);

    let told = collect();
    let strict =
        Server::new(Config::default()).on_request(|_| Err(Response::new(403).body("hunter2")));
    assert!(bounded(connect(enter(&strict, echo).await)).await.is_err());
    bounded(strict.shutdown(std::time::Duration::from_secs(10))).await;
    told.span("server").has(&[
        ("http.response.status_code", "403"),
        ("otel.status_code", ""),
        ("error.type", ""),
    ]);
    assert!(!told.text().contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_being_shut_down_refuses_with_its_error() {
    let told = collect();
    let server = Server::new(Config::default());
    let closing = server.clone();
    let strict = server.clone().on_request_async(move |_| {
        let closing = closing.clone();
        async move {
            // The shutdown begins before the answer.
            tokio::spawn(async move { closing.shutdown(std::time::Duration::from_secs(10)).await });
            tokio::task::yield_now().await;
            Ok(Accept::new())
        }
    });
    assert!(bounded(connect(enter(&strict, echo).await)).await.is_err());
    bounded(server.shutdown(std::time::Duration::from_secs(10))).await;
    told.span("server").has(&[
        ("http.response.status_code", "503"),
        ("error.type", "Unavailable"),
        ("otel.status_code", "ERROR"),
    ]);
}

#[tokio::test]
async fn each_redirect_has_a_span_of_its_own() {
    let told = collect();
    let listener = TcpListener::bind(HERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Config::default()).on_request(|request| match request.path() {
        "/new" => Ok(Accept::new()),
        _ => Err(Response::new(307).header("Location", "/new?token=hunter2").unwrap()),
    });
    let running = server.clone();
    let running = tokio::spawn(async move { running.run(listener, echo).await });
    let request = ClientRequest::new(&format!("ws://{address}/old")).unwrap().redirects(1);
    let (ws, _) = bounded(connect_with(&request, Config::default())).await.expect("a WebSocket");
    let [old, new] = &told.spans("client")[..] else { panic!("{told:?}", told = told.text()) };
    let port = address.port().to_string();
    old.has(&[
        ("http.response.status_code", "307"),
        ("error.type", "307"),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", &port),
    ]);
    new.has(&[("http.response.status_code", "101"), ("error.type", "")]);
    assert_eq!(new.get("url.full"), format!("ws://{address}/new"));
    assert!(!told.text().contains("hunter2"));
    drop(ws);
    bounded(server.shutdown(std::time::Duration::from_secs(10))).await;
    running.abort();
}

#[tokio::test]
async fn a_client_that_reaches_nobody_says_why() {
    let listener = TcpListener::bind(HERE).await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let told = collect();
    assert!(bounded(bowline::tokio::connect(&url)).await.is_err());
    told.span("client").has(&[
        ("error.type", "ConnectionRefused"),
        ("otel.status_code", "ERROR"),
        ("network.peer.address", ""),
    ]);
}

#[tokio::test]
async fn connect_over_has_a_span() {
    let told = collect();
    let (near, far) = duplex(4096);
    let server = Server::new(Config::default());
    bounded(server.serve(ready(Ok(far)), echo)).await;
    let request = ClientRequest::new("ws://a/chat").unwrap();
    let opening = bowline::tokio::connect_over(near, &request, Config::default());
    let opened: Result<_, Error> = bounded(opening).await;
    told.span("client").has(&[("http.response.status_code", "101")]);
    drop(opened.expect("a WebSocket"));
}
