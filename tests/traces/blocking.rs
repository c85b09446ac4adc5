//! The blocking adapter tells the same.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bowline::blocking::{Incoming, WebSocket, accept, client, connect_with};
use bowline::handshake::{ClientRequest, Response};
use bowline::{Config, Error, Role};

use crate::collector::collect;
use crate::support::blocking::{Far, Io, open};
use crate::support::*;

fn request(listener: &TcpListener) -> ClientRequest {
    let address = listener.local_addr().expect("an address");
    let url = format!("ws://user:hunter2@{address}/chat?token=hunter2");
    ClientRequest::new(&url).expect("a request")
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

/// A client in another thread, which tells nothing here, and a server in this one.
fn serve<T>(serve: impl FnOnce(TcpStream) -> T) -> T {
    let listener = listen();
    let request = request(&listener);
    let client = spawn(move || connect_with(&request, Config::default()).map(drop));
    let served = serve(listener.accept().expect("a client").0);
    let _ = client.wait("the client");
    served
}

/// A server in another thread, and a client in this one.
fn connect(
    serve: impl FnOnce(TcpStream) -> Result<(), Error> + Send + 'static,
    config: Config,
) -> (String, Result<(), Error>) {
    let listener = listen();
    let request = request(&listener);
    let address = listener.local_addr().expect("an address").to_string();
    let serving = spawn(move || serve(listener.accept().expect("a client").0));
    let opened = connect_with(&request, config).map(drop);
    let _ = serving.wait("the server");
    (address, opened)
}

#[test]
fn a_server_has_a_span() {
    let told = collect();
    let ws = serve(|stream| accept(stream, Config::default())).expect("a WebSocket");
    told.span("server").has(&[
        ("otel.name", "GET"),
        ("http.request.method", "GET"),
        ("url.path", "/chat"),
        ("server.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "101"),
        ("error.type", ""),
    ]);
    assert_eq!(told.count(), (1, 0));
    drop(ws);
}

#[test]
fn a_client_has_a_span_with_the_address_that_it_connected_to() {
    let told = collect();
    let (address, opened) =
        connect(|stream| accept(stream, Config::default()).map(drop), Config::default());
    opened.expect("a WebSocket");
    let (ip, port) = address.split_once(':').expect("a port");
    told.span("client").has(&[
        ("http.request.method", "GET"),
        ("url.full", &format!("ws://{address}/chat")),
        ("server.address", ip),
        ("server.port", port),
        ("network.peer.address", ip),
        ("network.peer.port", port),
        ("http.response.status_code", "101"),
        ("error.type", ""),
    ]);
    assert!(!told.text().contains("hunter2"));
}

#[test]
fn refusals_have_their_status() {
    let told = collect();
    let config = Config::default().allow_host("other.example");
    assert!(serve(|stream| accept(stream, config)).is_err());
    told.span("server").has(&[("error.type", "ForeignHost"), ("otel.status_code", "")]);

    let told = collect();
    serve(|stream| {
        Incoming::read(stream, Config::default())?.respond(&Response::new(503).body("hunter2"))
    })
    .expect("it is sent");
    told.span("server").has(&[("http.response.status_code", "503"), ("otel.status_code", "ERROR")]);

    let told = collect();
    let refuse = |stream| {
        Incoming::read(stream, Config::default())?.respond(&Response::new(401).body("hunter2"))
    };
    assert!(connect(refuse, Config::default()).1.is_err());
    told.span("client").has(&[
        ("http.response.status_code", "401"),
        ("error.type", "401"),
        ("otel.status_code", "ERROR"),
    ]);
    assert!(!told.text().contains("hunter2"));
}

#[test]
fn a_peer_that_does_nothing_is_a_timeout_and_one_that_does_not_listen_is_refused() {
    let short = Config::default().handshake_timeout(Duration::from_millis(50));
    let listener = listen();
    let told = collect();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    assert!(client(near, &request(&listener), short.clone()).is_err());
    told.span("client").has(&[("error.type", "TimedOut"), ("http.response.status_code", "")]);
    drop(far);

    let told = collect();
    let _near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(accept(listener.accept().unwrap().0, short).is_err());
    told.span("server").has(&[("error.type", "TimedOut"), ("http.response.status_code", "408")]);

    let told = collect();
    let request = request(&listener);
    drop(listener);
    assert!(connect_with(&request, Config::default()).is_err());
    told.span("client").has(&[("error.type", "ConnectionRefused"), ("otel.status_code", "ERROR")]);
}

fn end_of(role: Role, wire: &[u8]) -> (&'static str, WebSocket<Io>, Far) {
    let (mut ws, far) = open(role, &Config::default().stats(true));
    far.push(&to(role, TEXT, b"hunter2"));
    far.push(wire);
    far.eof();
    ws.recv().unwrap().unwrap();
    ws.send("hunter2").unwrap();
    let _ = ws.recv();
    let name = if role == Role::Client { "client" } else { "server" };
    (name, ws, far)
}

#[test]
fn the_end_is_told_once() {
    for role in ROLES {
        let close = to(role, CLOSE, &close_payload(1000, b"hunter2"));
        let cases: [(&[u8], &str, &str); 3] = [
            (&close, "closed_by_peer", "1000"),
            (&to(role, 0x3, b""), "protocol_error", "1006"),
            (b"", "peer_gone", "1006"),
        ];
        for (wire, label, code) in cases {
            let told = collect();
            let (name, mut ws, _far) = end_of(role, wire);
            assert_eq!(told.count(), (0, 1), "before the WebSocket is dropped");
            let _ = ws.recv();
            drop(ws);
            told.end(name).has(&[
                ("websocket.end", label),
                ("websocket.close.code", code),
                ("websocket.received.messages", "1"),
                ("websocket.sent.messages", "1"),
                ("websocket.sent.payload_bytes", "7"),
            ]);
            assert!(!told.text().contains("hunter2"));
        }
    }
}

#[test]
fn a_reset_is_a_peer_that_is_gone() {
    let told = collect();
    let (mut ws, far) = open(Role::Server, &Config::default());
    far.change(|state| state.read_error = Some(std::io::ErrorKind::ConnectionReset));
    assert!(ws.recv().is_err());
    drop(ws);
    told.end("server").has(&[("websocket.end", "peer_gone")]);
}

#[test]
fn what_is_dropped_taken_back_or_split_says_so() {
    let told = collect();
    drop(open(Role::Client, &Config::default()));
    told.end("client").has(&[("websocket.end", "dropped")]);

    let told = collect();
    open(Role::Client, &Config::default()).0.into_inner().unwrap();
    told.end("client").has(&[("websocket.end", "dropped")]);

    let told = collect();
    let (ws, _far) = open(Role::Server, &Config::default().stats(true));
    let (mut sender, receiver) = ws.split().unwrap();
    sender.send("Hello").unwrap();
    assert_eq!(told.count(), (0, 0), "splitting ends nothing");
    drop(receiver);
    drop(sender);
    told.end("server").has(&[("websocket.end", "dropped"), ("websocket.received.messages", "0")]);
}

#[test]
fn messages_have_no_span_and_no_event() {
    let told = collect();
    let (mut ws, far) = open(Role::Server, &Config::default());
    for _ in 0..100 {
        far.push(&to(Role::Server, TEXT, b"Hello"));
        let message = ws.recv().unwrap().unwrap();
        ws.send(message).unwrap();
    }
    assert_eq!(told.count(), (0, 0));
}
