//! How connections open and end over sockets, whose peers are threads that block.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use bowline::handshake::{Accept, ClientRequest};
use bowline::{Config, End, Error, Initiator, RecvBuf, Role, Rule};
use smol::future::zip;

use super::adapter::*;
use crate::support::{
    BINARY, LONG, ROLES, close_code, connection, decode, pattern, spawn, to,
};

pub(crate) fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

#[test]
fn a_client_and_a_server_talk_and_close() {
    block_on(async {
        let (ours, peer) = tcp();
        let server = async {
            let incoming = Incoming::read(socket(ours), Config::default()).await.unwrap();
            assert_eq!(incoming.request().path(), "/chat");
            let accept = Accept::new().subprotocol(Some("chat"));
            let mut ws = incoming.accept(accept).await.unwrap();
            while let Some((message, mut out)) = ws.recv_borrowed().await.unwrap() {
                out.feed(message).unwrap();
            }
            ws.end().cloned()
        };
        let client = async {
            let request = ClientRequest::new("ws://a/chat").unwrap().subprotocol("chat").unwrap();
            let opened = client(socket(peer), &request, Config::default()).await;
            let (mut ws, response) = opened.unwrap();
            assert_eq!(response.subprotocol(), Some("chat"));
            for size in [0, 1, 70_000, 1 << 20] {
                ws.send(pattern(size)).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(pattern(size).into()));
            }
            ws.close(4000, "bye").await.unwrap()
        };
        let (served, closed) = zip(server, client).await;
        assert!(closed.end.is_clean(), "{closed:?}");
        assert!(matches!(served, Some(End::Closed { initiator: Initiator::Remote, .. })));
    });
}

#[test]
fn a_violations_close_arrives_at_a_peer_that_keeps_sending() {
    // A close with unread input would send a reset, which destroys what was sent last (docs/design.md decision 6).
    for role in ROLES {
        let (ours, mut peer) = tcp();
        let connection = connection(role, &Config::default());
        peer.set_read_timeout(Some(LONG)).unwrap();
        let mut writer = peer.try_clone().unwrap();
        let writing = spawn(move || {
            writer.write_all(&to(role, 0x3, b"bad")).unwrap();
            let filler = to(role, BINARY, &vec![0; 60_000]);
            for _ in 0..16 {
                if writer.write_all(&filler).is_err() {
                    break;
                }
            }
            // Held open: the end has to come from the other side.
            writer
        });
        let reading = spawn(move || {
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).expect("a reset instead of an end");
            // The last handle of the peer's side, if it has written all.
            drop(writing.wait("the peer's writes"));
            wire
        });
        block_on(async {
            let mut ws = WebSocket::from_connection(socket(ours), connection, RecvBuf::new());
            let error = ws.recv().await.unwrap_err();
            assert!(
                matches!(error, Error::Ended(End::Failed(e)) if e.rule() == Rule::ReservedOpcode)
            );
        });
        let wire = reading.wait("the write side was not shut");
        assert_eq!(close_code(&decode(role, &wire)[0]), 1002);
    }
}

#[test]
fn both_ends_may_close_at_once() {
    // Battery T04: each takes the other's Close for the answer.
    block_on(async {
        let (ours, peer) = tcp();
        let open = |stream, role| {
            let connection = connection(role, &Config::default());
            WebSocket::from_connection(socket(stream), connection, RecvBuf::new())
        };
        let (mut server, mut client) = (open(ours, Role::Server), open(peer, Role::Client));
        server.start_close(1000, "").await.unwrap();
        client.start_close(1001, "").await.unwrap();
        let (served, closed) = zip(server.close(1000, ""), client.close(1000, "")).await;
        for (closed, code) in [(closed.unwrap(), 1000), (served.unwrap(), 1001)] {
            assert!(matches!(closed.end, End::Closed { initiator: Initiator::Local, .. }));
            assert_eq!(closed.end.code().get(), code);
        }
    });
}

#[test]
fn a_reset_is_a_peer_that_is_gone() {
    // A socket that is dropped with unread input is reset. Battery T08.
    block_on(async {
        let (ours, peer) = tcp();
        let connection = connection(Role::Server, &Config::default());
        let mut ws = WebSocket::from_connection(socket(ours), connection, RecvBuf::new());
        ws.send("never read").await.unwrap();
        assert_eq!(peer.peek(&mut [0]).unwrap(), 1);
        drop(peer);
        for _ in 0..2 {
            let result = ws.recv().await;
            assert!(matches!(result, Err(Error::Ended(End::PeerGone(_)))), "{result:?}");
        }
    });
}
