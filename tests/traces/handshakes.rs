//! The span of an opening handshake, on both sides.

use std::pin::pin;

use bowline::handshake::{Accept, ClientRequest, Response};
use bowline::{Config, Error};
use futures_util::future::join;
use tokio::io::{DuplexStream, duplex};

use super::adapter::*;
use crate::collector::collect;
use crate::support::stream::poll;

const URL: &str = "ws://example.com:8080/chat?token=hunter2";

type Opened = Result<WebSocket<Wrapped<DuplexStream>>, Error>;

fn request() -> ClientRequest {
    ClientRequest::new(URL).expect("a request")
}

/// Both results of an opening handshake.
fn open(server: &Config) -> (Opened, Opened) {
    let (near, far) = duplex(4096);
    let (near, far) = (wrap(near), wrap(far));
    let request = request();
    let opening = client(near, &request, Config::default());
    let (server, client) = block_on(join(accept(far, server.clone()), opening));
    (server, client.map(|(ws, _)| ws))
}

#[test]
fn both_sides_have_a_span_with_the_fields_of_opentelemetry() {
    let told = collect();
    let (server, client) = open(&Config::default());
    told.span("server").has(&[
        ("otel.name", "GET"),
        ("http.request.method", "GET"),
        ("url.path", "/chat"),
        ("server.address", "example.com"),
        ("server.port", "8080"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "101"),
        ("otel.status_code", ""),
        ("error.type", ""),
        ("network.peer.address", ""),
    ]);
    told.span("client").has(&[
        ("otel.name", "GET"),
        ("http.request.method", "GET"),
        ("url.full", "ws://example.com:8080/chat"),
        ("server.address", "example.com"),
        ("server.port", "8080"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "101"),
        ("otel.status_code", ""),
        ("error.type", ""),
    ]);
    // The handshake is over, and the connections are open.
    assert_eq!(told.count(), (2, 0));
    drop((server, client));
}

#[test]
fn a_refusal_has_its_status_and_is_an_error_of_the_client_alone() {
    let told = collect();
    let (server, client) = open(&Config::default().allow_host("other.example"));
    assert!(server.is_err() && client.is_err());
    let status = told.span("client").get("http.response.status_code").to_string();
    told.span("server").has(&[
        ("http.response.status_code", &status),
        ("error.type", "ForeignHost"),
        ("otel.status_code", ""),
    ]);
    told.span("client").has(&[("error.type", &status), ("otel.status_code", "ERROR")]);
    assert!(status.starts_with('4'), "{status}");
    assert_eq!(told.count(), (2, 0));
}

#[test]
fn a_program_that_refuses_gives_the_status() {
    for (status, server_status) in [(401, ""), (503, "ERROR")] {
        let told = collect();
        let (near, far) = duplex(4096);
        let (near, far) = (wrap(near), wrap(far));
        let serving = async {
            let incoming = Incoming::read(far, Config::default()).await.expect("a request");
            incoming.respond(&Response::new(status)).await.expect("it is sent");
        };
        let request = request();
        let opening = client(near, &request, Config::default());
        let ((), opened) = block_on(join(serving, opening));
        assert!(opened.is_err());
        let status = status.to_string();
        let span = told.span("server");
        span.has(&[("http.response.status_code", &status), ("otel.status_code", server_status)]);
        told.span("client").has(&[("http.response.status_code", &status), ("error.type", &status)]);
    }
}

#[test]
fn a_peer_that_does_nothing_is_a_timeout() {
    let time = std::time::Duration::from_millis(50);
    let short = Config::default().handshake_timeout(time).close_timeout(time);
    let told = collect();
    let (_near, far) = duplex(4096);
    assert!(within_two_seconds(accept(wrap(far), short.clone())).is_err());
    told.span("server").has(&[
        ("error.type", "TimedOut"),
        ("http.response.status_code", "408"),
        ("http.request.method", ""),
    ]);
    let (near, _far) = duplex(4096);
    let request = request();
    assert!(within_two_seconds(client(wrap(near), &request, short)).is_err());
    told.span("client").has(&[
        ("error.type", "TimedOut"),
        ("http.response.status_code", ""),
        ("otel.status_code", "ERROR"),
    ]);
}

#[test]
fn a_peer_that_leaves_is_gone() {
    let told = collect();
    let (near, far) = duplex(4096);
    drop(near);
    assert!(block_on(accept(wrap(far), Config::default())).is_err());
    told.span("server").has(&[("error.type", "Gone"), ("otel.status_code", "")]);
    let (near, far) = duplex(4096);
    drop(far);
    let request = request();
    assert!(block_on(client(wrap(near), &request, Config::default())).is_err());
    told.span("client").has(&[("error.type", "Gone"), ("otel.status_code", "ERROR")]);
}

#[test]
fn a_request_that_is_no_http_has_no_method() {
    let told = collect();
    let (mut near, far) = duplex(4096);
    block_on(tokio::io::AsyncWriteExt::write_all(&mut near, b"hunter2 hunter2\r\n\r\n")).unwrap();
    drop(near);
    assert!(block_on(accept(wrap(far), Config::default())).is_err());
    told.span("server").has(&[
        ("http.request.method", ""),
        ("http.response.status_code", "400"),
        ("error.type", "Malformed"),
    ]);
    assert!(!told.text().contains("hunter2"));
}

#[test]
fn a_client_cannot_make_up_names() {
    let told = collect();
    let (mut near, far) = duplex(4096);
    let request = b"BREW /pot HTTP/1.1\r\nHost: example.com\r\n\r\n";
    block_on(tokio::io::AsyncWriteExt::write_all(&mut near, request)).unwrap();
    drop(near);
    assert!(block_on(accept(wrap(far), Config::default())).is_err());
    told.span("server").has(&[
        ("otel.name", "HTTP"),
        ("http.request.method", "_OTHER"),
        ("http.response.status_code", "405"),
        ("server.address", "example.com"),
        ("server.port", ""),
    ]);
}

#[test]
fn what_is_dropped_halfway_leaves_no_span_open() {
    let told = collect();
    let (near, far) = duplex(4096);
    let (near, far) = (wrap(near), wrap(far));
    let request = request();
    {
        let mut opening = pin!(client(near, &request, Config::default()));
        assert!(poll(opening.as_mut()).is_pending());
        let mut accepting = pin!(Incoming::read(far, Config::default()));
        let std::task::Poll::Ready(incoming) = poll(accepting.as_mut()) else {
            panic!("the request has come");
        };
        // A server that takes its time holds the span, and is not in it.
        let incoming = incoming.expect("a request");
        assert!(tracing::Span::current().is_none());
        assert!(!told.spans("server")[0].is_closed);
        drop(incoming.accept(Accept::new()));
    }
    told.span("server").has(&[("http.response.status_code", "101"), ("error.type", "")]);
    told.span("client").has(&[("http.response.status_code", ""), ("error.type", "")]);
    assert_eq!(told.count(), (2, 0));
}

#[test]
fn a_span_is_within_that_of_the_program_and_hides_nothing_of_it() {
    let told = collect();
    let own = tracing::info_span!(target: "test", "own", otel.kind = "own");
    let (near, far) = duplex(4096);
    let request = request();
    let opening = own.in_scope(|| {
        let accepting = accept(wrap(far), Config::default());
        join(accepting, client(wrap(near), &request, Config::default()))
    });
    let opening = tracing::Instrument::instrument(opening, own.clone());
    let (server, client) = block_on(opening);
    assert!(server.is_ok() && client.is_ok());
    drop(own);
    let own = 1;
    assert_eq!(told.span("server").parent, Some(own));
    assert_eq!(told.span("client").parent, Some(own));
}
