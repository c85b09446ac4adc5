//! WebSockets on hyper's connections, server and client.

#![cfg(feature = "hyper")]

#[path = "programs/hyper.rs"]
mod program;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use crate::guide::*;
use bowline::bytes::Bytes;
use bowline::handshake::{ClientRequest, ConnectError, InvalidRequest, RequestError, accept_key};
use bowline::hyper::{Upgrading, upgrade, upgrade_with};
use bowline::{Config, Error, Message};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The program of the guide.
async fn program() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(program::serve(listener));
    address
}

/// Echoes with this configuration and these subprotocols.
async fn server(config: Config, subprotocols: &'static [&'static str]) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let config = config.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                let result = upgrade_with(&mut request, config.clone(), subprotocols);
                async move {
                    Ok::<Response<Full<Bytes>>, Infallible>(match result {
                        Ok((response, upgrading)) => {
                            tokio::spawn(echo(upgrading));
                            response
                        }
                        Err(refusal) => refusal.response().into(),
                    })
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

async fn echo(upgrading: Upgrading) -> Result<(), Error> {
    let mut ws = upgrading.await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_program_of_the_guide_echoes() {
    stands_in_the_guide(include_str!("programs/hyper.rs"));
    echoes(&format!("ws://{}/", program().await)).await;
}

#[tokio::test]
async fn bytes_read_ahead_are_the_first_frames() {
    keeps_what_is_read_ahead(program().await, "/").await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    refuses(program().await, "/").await;
}

#[tokio::test]
async fn after_a_refusal_the_connection_goes_on() {
    let mut raw = Raw::connect(program().await).await;
    let foreign = request("/", "Origin: https://evil.example\r\n");
    assert_eq!(status(&raw.ask(&foreign).await), 403);
    assert_eq!(status(&raw.ask(request("/", "")).await), 101);
    raw.send(HELLO_MASKED).await;
    assert_eq!(raw.read(HELLO.len()).await, HELLO);
}

#[tokio::test]
async fn limits_are_those_of_the_configuration() {
    keeps_to_the_limit(program().await, "/", 1 << 20).await;
    let small = Config::default().max_message_size(70_000);
    keeps_to_the_limit(server(small, &[]).await, "/", 70_000).await;
}

#[tokio::test]
async fn an_origin_is_allowed_by_name() {
    let config = Config::default().allow_origin("https://app.example");
    let url = format!("ws://{}/", server(config, &[]).await);
    connect_from(&url, "https://app.example").await.expect("allowed");
    match connect_from(&url, "https://evil.example").await {
        Err(Error::Connect(ConnectError::Refused(response))) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_of_the_clients_subprotocols_is_selected() {
    let address = server(Config::default(), &["chat", "chat.v2"]).await;
    for (offer, expected) in [
        ("chat.v3, chat.v2, chat", Some("\r\nsec-websocket-protocol: chat.v2\r\n")),
        ("chat", Some("\r\nsec-websocket-protocol: chat\r\n")),
        ("CHAT", None),
    ] {
        let offer = format!("Sec-WebSocket-Protocol: {offer}\r\n");
        let answer = Raw::connect(address).await.ask(request("/", &offer)).await;
        assert_eq!(status(&answer), 101, "{answer}");
        match expected {
            Some(line) => assert!(answer.contains(line), "{answer}"),
            None => assert!(!answer.contains("sec-websocket-protocol"), "{answer}"),
        }
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression_is_agreed_on_if_the_configuration_says_so() {
    let config = Config::default().deflate(bowline::Deflate::default());
    let address = server(config.clone(), &[]).await;
    let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
    let (mut ws, response) = bowline::tokio::connect_with(&request, config).await.unwrap();
    assert!(response.headers().get("Sec-WebSocket-Extensions").is_some());
    let text = Message::from("again and again ".repeat(1000));
    ws.send(text.clone()).await.unwrap();
    assert_eq!(in_time(ws.recv()).await.unwrap(), Some(text));
}

/// Serves one connection in memory. What the handler makes of the upgrade comes out of the channel.
fn in_memory(
    upgrades: bool,
    answer: impl Fn(Response<Full<Bytes>>) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static,
) -> (DuplexStream, mpsc::UnboundedReceiver<Upgrading>) {
    let (ours, theirs) = duplex(1 << 16);
    let (give, take) = mpsc::unbounded_channel();
    let answer = std::sync::Arc::new(answer);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (give, answer) = (give.clone(), answer.clone());
        async move {
            let (response, upgrading) =
                upgrade(&mut request, Config::default()).expect("a good request");
            give.send(upgrading).expect("the test is there");
            match answer(response) {
                Some(response) => Ok::<_, Infallible>(response),
                None => pending().await,
            }
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
    if upgrades {
        tokio::spawn(connection.with_upgrades());
    } else {
        tokio::spawn(connection);
    }
    (ours, take)
}

#[tokio::test]
async fn without_upgrades_there_is_an_error() {
    let (mut client, mut upgrades) = in_memory(false, Some);
    client.write_all(request("/", "").as_bytes()).await.unwrap();
    let error = in_time(in_time(upgrades.recv()).await.unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_is_an_error() {
    let (mut client, mut upgrades) = in_memory(true, |_| None);
    client.write_all(request("/", "").as_bytes()).await.unwrap();
    let upgrading = in_time(upgrades.recv()).await.unwrap();
    drop(client);
    let error = in_time(upgrading).await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_never_sent_ends_the_wait() {
    let (mut client, mut upgrades) = in_memory(true, |_| None);
    client.write_all(request("/", "").as_bytes()).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = in_time(upgrades.recv().await.unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");
    let waited = start.elapsed().as_secs();
    assert!((10..12).contains(&waited), "the default handshake timeout is 10 s, not {waited}");
}

#[tokio::test]
async fn a_dropped_upgrade_closes_the_connection() {
    let (mut client, mut upgrades) = in_memory(true, Some);
    client.write_all(request("/", "").as_bytes()).await.unwrap();
    drop(in_time(upgrades.recv()).await.unwrap());
    let mut bytes = Vec::new();
    in_time(client.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{bytes:?}");
}

#[tokio::test]
async fn to_refuse_after_all_is_to_drop_the_upgrade_too() {
    let refuse = |_| Some(Response::builder().status(403).body(Full::default()).unwrap());
    let (mut client, mut upgrades) = in_memory(true, refuse);
    let closing = request("/", "").replace("Connection: Upgrade", "Connection: close, Upgrade");
    client.write_all(&[closing.as_bytes(), HELLO_MASKED].concat()).await.unwrap();
    drop(in_time(upgrades.recv()).await.unwrap());
    let mut bytes = Vec::new();
    in_time(client.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 403 ") && bytes.ends_with(b"\r\n\r\n"), "{bytes:?}");
}

#[test]
fn a_refused_request_is_left_as_it_was() {
    let mut request = Request::post("/").body("body").unwrap();
    request.extensions_mut().insert(7);
    let refused = upgrade::<_, ()>(&mut request, Config::default()).map(drop);
    assert_eq!(refused.unwrap_err(), RequestError::Method);
    assert_eq!((*request.body(), request.extensions().get()), ("body", Some(&7)));
}

#[tokio::test]
async fn the_stream_can_be_had_back() {
    let (mut client, mut upgrades) = in_memory(true, Some);
    let bytes = [request("/", "").as_bytes(), HELLO_MASKED, b"\x81"].concat();
    client.write_all(&bytes).await.unwrap();
    let mut ws = in_time(in_time(upgrades.recv()).await.unwrap()).await.unwrap();
    assert_eq!(in_time(ws.recv()).await.unwrap(), Some(Message::from("Hello")));
    let (io, unread) = ws.into_inner().await.unwrap();
    assert_eq!(unread, b"\x81");
    let upgraded = hyper::upgrade::Upgraded::from(io);
    upgraded.downcast::<TokioIo<DuplexStream>>().expect("what was served");
}

// The client.

type Body = Empty<Bytes>;

/// A connection of hyper's client over this stream.
async fn client<S>(stream: S) -> SendRequest<Body>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

#[tokio::test]
async fn a_client_opens_a_websocket() {
    let address = server(Config::default(), &["chat"]).await;
    let mut sender = client(TcpStream::connect(address).await.unwrap()).await;
    let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
    let request = request.subprotocol("chat.v2").unwrap().subprotocol("chat").unwrap();
    let connect = bowline::hyper::connect(&mut sender, &request, Config::default());
    let (mut ws, response) = in_time(connect).await.unwrap();
    assert_eq!((response.status(), response.subprotocol()), (101, Some("chat")));
    for message in [Message::from("Hello"), Message::from(vec![7; 300_000])] {
        ws.send(message.clone()).await.unwrap();
        assert_eq!(in_time(ws.recv()).await.unwrap(), Some(message));
    }
    assert!(in_time(ws.close(1000, "")).await.unwrap().end.is_clean());
}

/// A server of raw bytes reads the request, gives this answer to its key, and closes. Gives the request, and the first
/// message that the client received.
async fn answered(
    request: &ClientRequest,
    answer: impl FnOnce(&str) -> Vec<u8>,
) -> (String, Result<Option<Message>, Error>) {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut sender = client(ours).await;
    let server = async {
        let head = read_head(&mut theirs).await;
        let accept = accept_key(&field(&head, "sec-websocket-key"));
        theirs.write_all(&answer(&accept)).await.unwrap();
        theirs.shutdown().await.unwrap();
        (head, theirs)
    };
    let client = async {
        let connect = bowline::hyper::connect(&mut sender, request, Config::default());
        connect.await?.0.recv().await
    };
    let ((head, _theirs), received) = in_time(async { tokio::join!(server, client) }).await;
    (head, received)
}

async fn read_head(stream: &mut DuplexStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    head
}

/// The value of the only field of this name.
fn field(head: &str, name: &str) -> String {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let values: Vec<_> =
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect();
    assert_eq!(values.len(), 1, "{name} in {head}");
    values[0].to_string()
}

fn chat() -> ClientRequest {
    let request = ClientRequest::new("ws://example.com:8080/chat?room=1").unwrap();
    request.subprotocol("chat").unwrap().header("Cookie", "a=1").unwrap()
}

/// The answer that opens the WebSocket, with these lines more.
fn opening(accept: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_clients_request_is_whole_and_the_first_frames_are_kept() {
    let (head, received) = answered(&chat(), |accept| {
        // RFC 9110 §15.2: an interim response comes before the answer.
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        let opening = opening(accept, "Sec-WebSocket-Protocol: chat\r\n");
        [interim.as_bytes(), opening.as_bytes(), HELLO].concat()
    })
    .await;
    assert_eq!(received.unwrap(), Some(Message::from("Hello")));
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "example.com:8080"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("cookie", "a=1"),
    ] {
        assert_eq!(field(&head, name), value);
    }
}

#[tokio::test]
async fn a_client_checks_the_answer() {
    use ConnectError::*;
    type Answer = fn(&str) -> String;
    let cases: [(Answer, ConnectError); 9] = [
        (|_| opening("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ""), WrongAccept),
        (|accept| opening(accept, "").replace("Upgrade: websocket", "Upgrade: h2c"), NotUpgraded),
        (|accept| opening(accept, "").replace("Connection: Upgrade\r\n", ""), NotUpgraded),
        (|accept| opening(accept, "Sec-WebSocket-Protocol: other\r\n"), Subprotocol),
        (|accept| opening(accept, "Sec-WebSocket-Extensions: x\r\n"), Extension),
        (|accept| opening(accept, "Content-Length: 5\r\n"), Body),
        (|accept| opening(accept, "").replace("HTTP/1.1", "HTTP/1.0"), Malformed),
        (|_| "SSH-2.0-OpenSSH\r\n\r\n".into(), Malformed),
        (|_| "HTTP/1.1 101 Switching".into(), Gone),
    ];
    for (i, (answer, expected)) in cases.into_iter().enumerate() {
        match answered(&chat(), |accept| answer(accept).into_bytes()).await.1 {
            Err(Error::Connect(error)) => assert_eq!(error, expected, "case {i}"),
            other => panic!("case {i}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_is_given_the_refusal() {
    let small = "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\nX-Why: because\r\n\r\nnot for you";
    let chunked = "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nX-Why: because\r\n\r\n\
                   4\r\nnot \r\n6\r\nfor yo\r\n0\r\n\r\n";
    let large = format!("HTTP/1.1 403 No\r\nX-Why: because\r\n\r\n{}", "x".repeat(100_000));
    let kept = "x".repeat(64 << 10);
    for (answer, body) in [(small, "not for yo"), (chunked, "not for yo"), (&large, &kept)] {
        match answered(&chat(), |_| answer.into()).await.1 {
            Err(Error::Connect(ConnectError::Refused(response))) => {
                assert_eq!(response.status(), 403);
                assert_eq!(response.headers().get_str("X-Why"), Some("because"));
                assert!(response.body_bytes() == body.as_bytes(), "{:?}", response.body_bytes());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_to_no_end_is_given_up() {
    let refusal = "HTTP/1.1 403 Forbidden\r\n";
    let slow = format!("{refusal}Content-Length: 10\r\n\r\nnot");
    let endless = format!("{refusal}\r\n{}", "x".repeat(100_000));
    // The default handshake timeout; a second for the body once the status has come; nothing if there is enough.
    for (answer, kept, seconds) in
        [("", None, 10), (&slow, Some(3), 1), (&endless, Some(64 << 10), 0)]
    {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut sender = client(ours).await;
        let start = tokio::time::Instant::now();
        let server = async {
            read_head(&mut theirs).await;
            theirs.write_all(answer.as_bytes()).await.unwrap();
            pending::<()>().await;
        };
        let request = chat();
        let result = tokio::select! {
            result = in_time(bowline::hyper::connect(&mut sender, &request, Config::default())) => result,
            () = server => unreachable!(),
        };
        match result.map(drop).unwrap_err() {
            Error::Connect(ConnectError::TimedOut) => assert_eq!(kept, None),
            Error::Connect(ConnectError::Refused(response)) => {
                assert_eq!(Some(response.body_bytes().len()), kept);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

#[tokio::test]
async fn a_path_that_hyper_cannot_send_is_invalid() {
    let request = ClientRequest::new("ws://example.com/<>").unwrap();
    let mut sender = client(duplex(64).0).await;
    let error = bowline::hyper::connect(&mut sender, &request, Config::default()).await;
    let error = error.map(drop).unwrap_err();
    assert!(matches!(error, Error::Invalid(InvalidRequest::Url(_))), "{error:?}");
}

#[tokio::test]
async fn a_group_limits_drains_and_tells_the_ends() {
    let (telling, mut told) = mpsc::unbounded_channel();
    let group = bowline::tokio::Group::new().max_connections(1).on_end(move |ended| {
        telling.send((ended.result.is_ok(), ended.end.map(bowline::End::code))).unwrap();
    });
    let (listener, address) = listener().await;
    let members = group.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let members = members.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                let result = upgrade(&mut request, Config::default())
                    .and_then(|(response, upgrading)| Ok((response, upgrading.join(&members)?)));
                async move {
                    Ok::<Response<Full<Bytes>>, Infallible>(match result {
                        Ok((response, upgrading)) => {
                            tokio::spawn(echo(upgrading));
                            response
                        }
                        Err(refusal) => refusal.response().into(),
                    })
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    let url = format!("ws://{address}/");
    let mut client = bowline::tokio::connect(&url).await.unwrap();
    client.send("Hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::from("Hello")));
    assert_eq!(group.connections(), 1);
    match bowline::tokio::connect(&url).await.unwrap_err() {
        Error::Connect(ConnectError::Refused(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    let receiving = tokio::spawn(async move {
        assert_eq!(client.recv().await.unwrap(), None);
        client.end().cloned().unwrap().code()
    });
    let report = group.shutdown(std::time::Duration::from_secs(30)).await;
    assert_eq!((report.closed, report.dropped), (1, 0));
    assert_eq!(receiving.await.unwrap(), 1001);
    assert_eq!(told.recv().await, Some((true, Some(1001.into()))));
    assert!(told.try_recv().is_err(), "it was told of one that was refused");
}
