//! The event at the end of a connection: once, and for no message.

use std::pin::pin;

use bowline::{Config, Role};

use super::adapter::*;
use crate::collector::collect;
use crate::support::stream::poll;
use crate::support::*;

fn name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

#[test]
fn a_normal_close_is_told_once_with_the_numbers_of_both_directions() {
    for role in ROLES {
        let told = collect();
        let (mut ws, far) = open(role, &Config::default().stats(true));
        far.push(&to(role, TEXT, b"Hello"));
        block_on(async {
            ws.recv().await.unwrap().unwrap();
            ws.send("and more").await.unwrap();
            ws.send("and more").await.unwrap();
        });
        far.push(&to(role, CLOSE, &close_payload(1000, b"hunter2")));
        far.eof();
        assert!(block_on(ws.recv()).unwrap().is_none());
        assert_eq!(told.count(), (0, 1), "before the WebSocket is dropped");
        assert!(block_on(ws.recv()).unwrap().is_none());
        let written = far.written().len().to_string();
        drop(ws);
        let end = told.end(name(role));
        end.has(&[
            ("message", "websocket ended"),
            ("websocket.end", "closed_by_peer"),
            ("websocket.close.code", "1000"),
            ("websocket.received.messages", "1"),
            ("websocket.received.payload_bytes", "5"),
            ("websocket.sent.messages", "2"),
            ("websocket.sent.payload_bytes", "16"),
            ("websocket.sent.wire_bytes", &written),
        ]);
        assert!(end.get("duration").parse::<f64>().unwrap() >= 0.0);
        assert!(!told.text().contains("hunter2"));
    }
}

#[test]
fn without_stats_there_are_no_numbers() {
    let told = collect();
    let (mut ws, far) = open(Role::Server, &Config::default());
    far.push(&to(Role::Server, CLOSE, b""));
    assert!(block_on(ws.recv()).unwrap().is_none());
    let end = told.end("server");
    end.has(&[("websocket.close.code", "1005"), ("websocket.end", "closed_by_peer")]);
    let fields: Vec<_> = end.fields.keys().map(String::as_str).collect();
    let expected =
        ["duration", "message", "websocket.close.code", "websocket.end", "websocket.role"];
    assert_eq!(fields, expected);
}

#[test]
fn an_error_in_a_close_a_violation_and_a_peer_that_is_gone_have_their_labels() {
    for role in ROLES {
        let close = to(role, CLOSE, &close_payload(1011, b""));
        let cases: [(&[u8], &str, &str); 3] = [
            (&close, "closed_by_peer_with_error", "1011"),
            (&to(role, 0x3, b""), "protocol_error", "1006"),
            (b"", "peer_gone", "1006"),
        ];
        for (bytes, label, code) in cases {
            let told = collect();
            let (mut ws, far) = open(role, &Config::default());
            far.push(bytes);
            far.eof();
            let _ = block_on(ws.recv());
            drop(ws);
            told.end(name(role))
                .has(&[("websocket.end", label), ("websocket.close.code", code)]);
        }
    }
}

#[test]
fn a_reset_is_a_peer_that_is_gone() {
    let told = collect();
    let (mut ws, far) = open(Role::Server, &Config::default());
    far.change(|state| state.read_error = Some(std::io::ErrorKind::ConnectionReset));
    assert!(block_on(ws.recv()).is_err());
    drop(ws);
    told.end("server").has(&[("websocket.end", "peer_gone")]);
}

#[test]
fn a_websocket_that_is_dropped_open_says_so() {
    for role in ROLES {
        let told = collect();
        let (mut ws, far) = open(role, &Config::default().stats(true));
        far.push(&to(role, TEXT, b"Hello"));
        block_on(async {
            ws.recv().await.unwrap().unwrap();
            ws.feed("and more").await.unwrap();
        });
        assert_eq!(told.count(), (0, 0));
        drop(ws);
        let end = told.end(name(role));
        end.has(&[
            ("websocket.end", "dropped"),
            ("websocket.close.code", ""),
            ("websocket.received.messages", "1"),
        ]);
        // What was sent is known to the sending side, which goes by itself.
        for absent in ["websocket.close.code", "websocket.sent.messages"] {
            assert!(!end.fields.contains_key(absent));
        }
    }
}

#[test]
fn what_is_dropped_while_it_leaves_has_its_end() {
    let told = collect();
    let (mut ws, far) = open(Role::Client, &Config::default());
    far.push(&to(Role::Client, CLOSE, &close_payload(1001, b"")));
    // The server has to close the socket first, and does not.
    assert!(poll(pin!(ws.recv())).is_pending());
    assert_eq!(told.count(), (0, 0));
    drop(ws);
    told.end("client").has(&[("websocket.end", "closed_by_peer"), ("websocket.close.code", "1001")]);
}

#[test]
fn halves_tell_their_end_once_with_the_numbers_of_both() {
    let told = collect();
    let (ws, far) = open(Role::Server, &Config::default().stats(true));
    let (mut sender, mut receiver) = ws.split();
    assert_eq!(told.count(), (0, 0), "splitting ends nothing");
    block_on(sender.send("Hello")).unwrap();
    far.push(&to(Role::Server, CLOSE, &close_payload(1000, b"")));
    assert!(block_on(receiver.recv()).unwrap().is_none());
    drop((sender, receiver));
    told.end("server")
        .has(&[("websocket.end", "closed_by_peer"), ("websocket.sent.messages", "1")]);

    let told = collect();
    let (ws, _far) = open(Role::Server, &Config::default().stats(true));
    let (sender, receiver) = ws.split();
    drop(sender);
    assert_eq!(told.count(), (0, 0), "the receiving half goes on");
    drop(receiver);
    told.end("server").has(&[("websocket.end", "dropped"), ("websocket.received.messages", "0")]);
}

#[test]
fn a_stream_that_is_taken_back_ends_the_websocket() {
    let told = collect();
    let (ws, _far) = open(Role::Server, &Config::default());
    block_on(ws.into_inner()).unwrap();
    told.end("server").has(&[("websocket.end", "dropped")]);
}

#[test]
fn messages_have_no_span_and_no_event() {
    for role in ROLES {
        let told = collect();
        let (mut ws, far) = open(role, &Config::default());
        block_on(async {
            for _ in 0..100 {
                far.push(&[to(role, PING, b"?"), to(role, TEXT, b"hunter2")].concat());
                let message = ws.recv().await.unwrap().unwrap();
                ws.send(message).await.unwrap();
            }
        });
        assert_eq!(told.count(), (0, 0));
        drop(ws);
        assert_eq!(told.count(), (0, 1));
        assert!(!told.text().contains("hunter2"));
    }
}
