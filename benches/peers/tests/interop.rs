//! Conversations over loopback with tungstenite and tokio-tungstenite, in both directions.
//!
//! Every conversation is the same: a client sends what servers find hard, the server echoes it, and
//! one of them closes with a code and a reason.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bowline::handshake::{Accept, ClientRequest};
use bowline::{Config, End, Initiator, MessageRef};
use futures_util::{SinkExt, StreamExt};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Message, Utf8Bytes};

/// A peer that hangs fails the test.
const LIMIT: Duration = Duration::from_secs(60);

const OFFERED: [&str; 2] = ["chat.v2", "chat.v1"];
const SELECTED: &str = "chat.v1";

/// A server that is told this closes first.
const CLOSE: &str = "please close";
const BY_CLIENT: (u16, &str) = (4001, "client: done, tschüß");
const BY_SERVER: (u16, &str) = (4002, "server: done");

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Text(String),
    Binary(Vec<u8>),
}

/// Around every length form, and up to 4 MiB.
fn items() -> Vec<Item> {
    let sizes =
        [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1000, 4096, 16_384, 65_535, 65_536, 65_537];
    let binary = |len: usize| Item::Binary((0..len).map(|i| (i * 7 + i / 251) as u8).collect());
    let mut items: Vec<_> = sizes.into_iter().map(binary).collect();
    items.extend([1 << 20, (1 << 20) + 1, 4 << 20].map(binary));
    items.push(Item::Text(String::new()));
    items.push(Item::Text("κόσμε, 你好, 🦊".into()));
    items.push(Item::Text("ß→🦊".repeat(40_000)));
    items
}

/// Text in fragments that are cut inside of characters is a conversation of its own.
fn fragments() -> (String, Vec<Vec<u8>>) {
    let text = "aß→🦊z".repeat(300);
    let pieces = text.as_bytes().chunks(101).map(<[u8]>::to_vec).collect();
    (text, pieces)
}

fn config() -> Config {
    Config::default().max_message_size(8 << 20).max_send_queue(8 << 20)
}

fn ours_to_item(message: &MessageRef<'_>) -> Item {
    match message {
        MessageRef::Text(text) => Item::Text((*text).into()),
        MessageRef::Binary(data) => Item::Binary(data.to_vec()),
        other => panic!("{other:?}"),
    }
}

fn to_ours(item: &Item) -> bowline::Message {
    match item {
        Item::Text(text) => text.as_str().into(),
        Item::Binary(data) => data.as_slice().into(),
    }
}

fn theirs_to_item(message: Message) -> Item {
    match message {
        Message::Text(text) => Item::Text(text.to_string()),
        Message::Binary(data) => Item::Binary(data.to_vec()),
        other => panic!("{other:?}"),
    }
}

fn to_theirs(item: &Item) -> Message {
    match item {
        Item::Text(text) => Message::text(text.as_str()),
        Item::Binary(data) => Message::binary(data.clone()),
    }
}

fn their_close((code, reason): (u16, &'static str)) -> CloseFrame {
    CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) }
}

/// bowline answers a Close with its code and its reason.
fn our_answer(close: (u16, &'static str)) -> Message {
    Message::Close(Some(their_close(close)))
}

/// The fragments as their frames.
fn their_fragments() -> Vec<Message> {
    let (_, pieces) = fragments();
    let last = pieces.len() - 1;
    let frames = pieces.into_iter().enumerate().map(|(i, piece)| {
        let data = if i == 0 { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(piece, OpCode::Data(data), i == last))
    });
    frames.collect()
}

/// Their servers select a subprotocol by hand.
#[allow(clippy::result_large_err)] // The callback's type is theirs.
fn select(
    request: &Request,
    mut response: Response,
) -> Result<Response, tungstenite::handshake::server::ErrorResponse> {
    let offered = request.headers()["sec-websocket-protocol"].to_str().unwrap();
    assert_eq!(offered, OFFERED.join(", "));
    response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SELECTED));
    Ok(response)
}

fn their_request(address: SocketAddr) -> tungstenite::http::Request<()> {
    let mut request = format!("ws://{address}/echo").into_client_request().unwrap();
    let offered = HeaderValue::from_str(&OFFERED.join(", ")).unwrap();
    request.headers_mut().insert("sec-websocket-protocol", offered);
    request
}

fn our_request(address: SocketAddr) -> ClientRequest {
    OFFERED
        .iter()
        .fold(ClientRequest::new(&format!("ws://{address}/echo")).unwrap(), |request, name| {
            request.subprotocol(name).unwrap()
        })
}

fn closed(end: Option<&End>, by: Initiator, expected: (u16, &str)) {
    let Some(End::Closed { initiator, code, reason, .. }) = end else {
        panic!("{end:?}");
    };
    assert_eq!((*initiator, code.unwrap().get(), reason.as_str()), (by, expected.0, expected.1));
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn limited(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Who closes first.
const BOTH: [bool; 2] = [false, true];

mod blocking {
    use super::*;
    use bowline::blocking::{Incoming, client};
    use tungstenite::WebSocket;

    fn their_server(stream: TcpStream, server_closes: bool) {
        let mut ws = tungstenite::accept_hdr(limited(stream), select).unwrap();
        loop {
            match ws.read().unwrap() {
                Message::Text(text) if text.as_str() == CLOSE => break,
                message @ (Message::Text(_) | Message::Binary(_)) => ws.send(message).unwrap(),
                Message::Ping(data) => {
                    assert_eq!(&data[..], b"are you there");
                    // Their reply waits for the next call.
                    ws.flush().unwrap();
                }
                Message::Close(frame) => {
                    assert!(!server_closes);
                    assert_eq!(frame, Some(their_close(BY_CLIENT)));
                    return end(&mut ws);
                }
                other => panic!("{other:?}"),
            }
        }
        ws.close(Some(their_close(BY_SERVER))).unwrap();
        assert_eq!(ws.read().unwrap(), our_answer(BY_SERVER));
        end(&mut ws);
    }

    fn end<S: Read + Write>(ws: &mut WebSocket<S>) {
        match ws.read() {
            Err(tungstenite::Error::ConnectionClosed) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn our_client_with_their_server() {
        for server_closes in BOTH {
            let (listener, address) = listen();
            let server = std::thread::spawn(move || {
                their_server(listener.accept().unwrap().0, server_closes);
            });
            let stream = limited(TcpStream::connect(address).unwrap());
            let config = config().report_control_frames(true);
            let (mut ws, response) = client(stream, &our_request(address), config).unwrap();
            assert_eq!(response.subprotocol(), Some(SELECTED));

            for item in items() {
                ws.send(to_ours(&item)).unwrap();
                assert_eq!(ours_to_item(&ws.recv().unwrap().unwrap().borrow()), item);
            }
            let text = "in parts, ß→🦊";
            ws.send_part("in parts, ", false).unwrap();
            ws.ping(b"are you there").unwrap();
            ws.send_part("ß→", false).unwrap();
            ws.send_part("🦊", false).unwrap();
            ws.send_part("", true).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), b"are you there");
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some(text));

            if server_closes {
                ws.send(CLOSE).unwrap();
                assert!(ws.recv().unwrap().is_none());
                closed(ws.end(), Initiator::Remote, BY_SERVER);
            } else {
                let end = ws.close(BY_CLIENT.0, BY_CLIENT.1).unwrap().end;
                closed(Some(&end), Initiator::Local, BY_CLIENT);
            }
            server.join().unwrap();
        }
    }

    fn our_server(stream: TcpStream, server_closes: bool) {
        let config = config().report_control_frames(true);
        let incoming = Incoming::read(limited(stream), config).unwrap();
        let selected = incoming.request().select_subprotocol(&["other", SELECTED]);
        assert_eq!(selected, Some(SELECTED));
        let accept = Accept::new().subprotocol(selected);
        let mut ws = incoming.accept(accept).unwrap();
        let mut pings = 0;
        while let Some((message, mut out)) = ws.recv_borrowed().unwrap() {
            match message {
                MessageRef::Text(CLOSE) => {
                    assert!(server_closes);
                    assert_eq!(pings, 1);
                    let end = ws.close(BY_SERVER.0, BY_SERVER.1).unwrap().end;
                    return closed(Some(&end), Initiator::Local, BY_SERVER);
                }
                MessageRef::Ping(data) => {
                    assert_eq!(data, b"are you there");
                    pings += 1;
                }
                message => out.feed(message).unwrap(),
            }
        }
        assert!(!server_closes);
        assert_eq!(pings, 1);
        closed(ws.end(), Initiator::Remote, BY_CLIENT);
    }

    #[test]
    fn their_client_with_our_server() {
        for server_closes in BOTH {
            let (listener, address) = listen();
            let server = std::thread::spawn(move || {
                our_server(listener.accept().unwrap().0, server_closes);
            });
            let stream = limited(TcpStream::connect(address).unwrap());
            let (mut ws, response) = tungstenite::client(their_request(address), stream).unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], SELECTED);

            for item in items() {
                ws.send(to_theirs(&item)).unwrap();
                assert_eq!(theirs_to_item(ws.read().unwrap()), item);
            }
            for (i, frame) in their_fragments().into_iter().enumerate() {
                ws.send(frame).unwrap();
                if i == 0 {
                    ws.send(Message::Ping("are you there".into())).unwrap();
                }
            }
            assert_eq!(ws.read().unwrap(), Message::Pong("are you there".into()));
            assert_eq!(theirs_to_item(ws.read().unwrap()), Item::Text(fragments().0));

            let expected = if server_closes {
                ws.send(Message::text(CLOSE)).unwrap();
                Message::Close(Some(their_close(BY_SERVER)))
            } else {
                ws.close(Some(their_close(BY_CLIENT))).unwrap();
                our_answer(BY_CLIENT)
            };
            assert_eq!(ws.read().unwrap(), expected);
            end(&mut ws);
            server.join().unwrap();
        }
    }
}

mod tokio {
    use super::*;
    use ::tokio::io::{AsyncRead, AsyncWrite};
    use ::tokio::net::TcpListener;
    use ::tokio::time::timeout;
    use bowline::tokio::{Incoming, connect_with};
    use tokio_tungstenite::{WebSocketStream, accept_hdr_async, connect_async};

    /// Server and client side by side, with an end to the waiting.
    fn converse(server: impl Future<Output = ()>, client: impl Future<Output = ()>) {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { timeout(LIMIT, futures_util::future::join(server, client)).await })
            .expect("the conversation hangs");
    }

    async fn their_server(listener: TcpListener, server_closes: bool) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut ws = accept_hdr_async(stream, select).await.unwrap();
        loop {
            match ws.next().await.unwrap().unwrap() {
                Message::Text(text) if text.as_str() == CLOSE => break,
                message @ (Message::Text(_) | Message::Binary(_)) => {
                    ws.send(message).await.unwrap()
                }
                Message::Ping(data) => {
                    assert_eq!(&data[..], b"are you there");
                    ws.flush().await.unwrap();
                }
                Message::Close(frame) => {
                    assert!(!server_closes);
                    assert_eq!(frame, Some(their_close(BY_CLIENT)));
                    return end(&mut ws).await;
                }
                other => panic!("{other:?}"),
            }
        }
        ws.send(Message::Close(Some(their_close(BY_SERVER)))).await.unwrap();
        let answer = ws.next().await.unwrap().unwrap();
        assert_eq!(answer, our_answer(BY_SERVER));
        end(&mut ws).await;
    }

    async fn end<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<S>) {
        match ws.next().await {
            None | Some(Err(tungstenite::Error::ConnectionClosed)) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn our_client(address: SocketAddr, server_closes: bool) {
        let config = config().report_control_frames(true);
        let (mut ws, response) = connect_with(&our_request(address), config).await.unwrap();
        assert_eq!(response.subprotocol(), Some(SELECTED));

        for item in items() {
            ws.send(to_ours(&item)).await.unwrap();
            assert_eq!(ours_to_item(&ws.recv().await.unwrap().unwrap().borrow()), item);
        }
        ws.send_part("in parts, ", false).await.unwrap();
        ws.ping(b"are you there").await.unwrap();
        ws.send_part("ß→", false).await.unwrap();
        ws.send_part("🦊", false).await.unwrap();
        ws.send_part("", true).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), b"are you there");
        let whole = ws.recv().await.unwrap().unwrap();
        assert_eq!(whole.as_text(), Some("in parts, ß→🦊"));

        if server_closes {
            ws.send(CLOSE).await.unwrap();
            assert!(ws.recv().await.unwrap().is_none());
            closed(ws.end(), Initiator::Remote, BY_SERVER);
        } else {
            let end = ws.close(BY_CLIENT.0, BY_CLIENT.1).await.unwrap().end;
            closed(Some(&end), Initiator::Local, BY_CLIENT);
        }
    }

    fn listen() -> (std::net::TcpListener, SocketAddr) {
        let (listener, address) = super::listen();
        listener.set_nonblocking(true).unwrap();
        (listener, address)
    }

    #[test]
    fn our_client_with_their_server() {
        for server_closes in BOTH {
            let (listener, address) = listen();
            converse(
                async {
                    their_server(TcpListener::from_std(listener).unwrap(), server_closes).await
                },
                our_client(address, server_closes),
            );
        }
    }

    async fn our_server(listener: TcpListener, server_closes: bool) {
        let (stream, _) = listener.accept().await.unwrap();
        let config = config().report_control_frames(true);
        let incoming = Incoming::read(stream, config).await.unwrap();
        let selected = incoming.request().select_subprotocol(&["other", SELECTED]);
        assert_eq!(selected, Some(SELECTED));
        let accept = Accept::new().subprotocol(selected);
        let mut ws = incoming.accept(accept).await.unwrap();
        let mut pings = 0;
        while let Some((message, mut out)) = ws.recv_borrowed().await.unwrap() {
            match message {
                MessageRef::Text(CLOSE) => {
                    assert!(server_closes);
                    assert_eq!(pings, 1);
                    let end = ws.close(BY_SERVER.0, BY_SERVER.1).await.unwrap().end;
                    return closed(Some(&end), Initiator::Local, BY_SERVER);
                }
                MessageRef::Ping(data) => {
                    assert_eq!(data, b"are you there");
                    pings += 1;
                }
                message => out.feed(message).unwrap(),
            }
        }
        assert!(!server_closes);
        assert_eq!(pings, 1);
        closed(ws.end(), Initiator::Remote, BY_CLIENT);
    }

    async fn their_client(address: SocketAddr, server_closes: bool) {
        let (mut ws, response) = connect_async(their_request(address)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], SELECTED);

        for item in items() {
            ws.send(to_theirs(&item)).await.unwrap();
            assert_eq!(theirs_to_item(ws.next().await.unwrap().unwrap()), item);
        }
        for (i, frame) in their_fragments().into_iter().enumerate() {
            ws.send(frame).await.unwrap();
            if i == 0 {
                ws.send(Message::Ping("are you there".into())).await.unwrap();
            }
        }
        let pong = ws.next().await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong("are you there".into()));
        let whole = ws.next().await.unwrap().unwrap();
        assert_eq!(theirs_to_item(whole), Item::Text(fragments().0));

        let expected = if server_closes {
            ws.send(Message::text(CLOSE)).await.unwrap();
            Message::Close(Some(their_close(BY_SERVER)))
        } else {
            ws.send(Message::Close(Some(their_close(BY_CLIENT)))).await.unwrap();
            our_answer(BY_CLIENT)
        };
        assert_eq!(ws.next().await.unwrap().unwrap(), expected);
        end(&mut ws).await;
    }

    #[test]
    fn their_client_with_our_server() {
        for server_closes in BOTH {
            let (listener, address) = listen();
            converse(
                async { our_server(TcpListener::from_std(listener).unwrap(), server_closes).await },
                their_client(address, server_closes),
            );
        }
    }
}
