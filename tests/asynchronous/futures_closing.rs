//! How connections end over sockets of smol.

use bowline::handshake::{Accept, ClientRequest};
use bowline::{Config, End, Error, Initiator, Role, Rule};
use smol::future::zip;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use crate::support::over_futures::*;
use crate::support::*;

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, peer) = zip(listener.accept(), TcpStream::connect(address)).await;
    (ours.unwrap().0, peer.unwrap())
}

#[test]
fn a_client_and_a_server_of_smol_talk_and_close() {
    block_on(async {
        let (ours, peer) = tcp().await;
        let server = async {
            let incoming = Incoming::read(ours, Config::default()).await.unwrap();
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
            let (mut ws, response) = client(peer, &request, Config::default()).await.unwrap();
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
    // A close with unread input would send a reset, which destroys what was sent last.
    block_on(async {
        let (ours, mut peer) = tcp().await;
        let (role, config) = (Role::Server, Config::default());
        let mut ws =
            WebSocket::from_connection(ours, connection(role, &config), Default::default());
        let serving = async {
            let error = ws.recv().await.unwrap_err();
            assert!(
                matches!(error, Error::Ended(End::Failed(e)) if e.rule() == Rule::ReservedOpcode)
            );
        };
        let peering = async {
            peer.write_all(&to(role, 0x3, b"bad")).await.unwrap();
            peer.write_all(&to(role, BINARY, &[0; 60_000])).await.unwrap();
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).await.expect("a reset instead of an end");
            peer.close().await.unwrap();
            wire
        };
        let ((), wire) = zip(serving, peering).await;
        assert_eq!(close_code(&decode(role, &wire)[0]), 1002);
    });
}
