//! The programs of docs/cookbook.md do what the page says, and the server on localhost of docs/deploying.md.

#![cfg(feature = "tokio")]

#[path = "../cookbook/file.rs"]
mod file;
#[path = "../cookbook/in_memory.rs"]
mod in_memory;
#[path = "../cookbook/json.rs"]
mod json;
#[path = "../cookbook/localhost.rs"]
mod localhost;
#[path = "../cookbook/metrics.rs"]
mod metrics;
#[path = "../cookbook/reverse_proxy.rs"]
mod reverse_proxy;
#[path = "../cookbook/tokens.rs"]
mod tokens;
#[path = "../cookbook/users.rs"]
mod users;

use std::future::Future;
use std::time::Duration;

use bowline::handshake::{Accept, ClientRequest, ConnectError, Response};
use bowline::tokio::{Incoming, WebSocket};
use bowline::{CloseCode, Config, End, Error, Message, Truncation};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// No wait of a test lasts longer; a hang fails.
const LONG: Duration = Duration::from_secs(20);

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it ends in time")
}

/// Two ends of a pipe, server and client.
async fn pair(config: Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = duplex(4096);
    let request = ClientRequest::new("ws://localhost/").expect("a request");
    let client = bowline::tokio::client(near, &request, config.clone());
    let (server, client) = tokio::join!(bowline::tokio::accept(far, config), client);
    (server.expect("it opens"), client.expect("it opens").0)
}

async fn text(ws: &mut WebSocket<DuplexStream>) -> String {
    let message = in_time(ws.recv()).await.expect("a message").expect("no end");
    message.as_text().expect("text").into()
}

#[test]
fn the_programs_stand_in_the_page() {
    let page = include_str!("../../docs/cookbook.md");
    for program in [
        include_str!("../cookbook/file.rs"),
        include_str!("../cookbook/in_memory.rs"),
        include_str!("../cookbook/json.rs"),
        include_str!("../cookbook/metrics.rs"),
        include_str!("../cookbook/reverse_proxy.rs"),
        include_str!("../cookbook/tokens.rs"),
        include_str!("../cookbook/users.rs"),
    ] {
        assert!(page.contains(&format!("```rust\n{program}```\n")), "not in the page:\n{program}");
    }
    let page = include_str!("../../docs/deploying.md");
    let program = include_str!("../cookbook/localhost.rs");
    assert!(page.contains(&format!("```rust\n{program}```\n")), "not in the page:\n{program}");
}

#[tokio::test]
async fn json_is_answered_and_what_is_none_is_refused() {
    let (server, mut client) = pair(Config::default()).await;
    let handler = tokio::spawn(json::converse(server));
    let mut ask = async |question: Message| {
        client.send(question).await.expect("it is sent");
        text(&mut client).await
    };
    let sum = ask(r#"{"type":"add","a":2,"b":-5}"#.into()).await;
    assert_eq!(sum, r#"{"type":"sum","sum":-3}"#);
    let shouted = ask(br#"{"type":"shout","text":"hi"}"#.into()).await;
    assert_eq!(shouted, r#"{"type":"shouted","text":"HI"}"#);
    for wrong in [
        "",
        "{",
        r#"{"type":"sub","a":1,"b":2}"#,
        r#"{"type":"add","a":1}"#,
        r#"{"type":"add","a":1,"b":2,"c":3}"#,
        r#"{"type":"add","a":9223372036854775807,"b":1}"#,
    ] {
        let refusal = ask(wrong.into()).await;
        assert!(refusal.starts_with(r#"{"type":"error","error":""#), "{wrong}: {refusal}");
    }
    in_time(client.close(1000, "")).await.expect("it closes");
    in_time(handler).await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_user_gets_what_is_sent_to_it_on_all_its_connections() {
    let users = users::Users::default();
    let join = async |name: &str| {
        let (server, client) = pair(Config::default()).await;
        let handler = tokio::spawn(users::converse(users.clone(), server, name.into()));
        (client, handler)
    };
    let ((mut alice, _), (mut bob, _), (mut bobs_phone, phone)) =
        (join("alice").await, join("bob").await, join("bob").await);
    // The handlers have begun once they answer.
    for ws in [&mut alice, &mut bob, &mut bobs_phone] {
        ws.send("?").await.expect("it is sent");
        assert_eq!(text(ws).await, "expected NAME: TEXT");
    }
    alice.send("bob: hello").await.expect("it is sent");
    assert_eq!(text(&mut bob).await, "alice: hello");
    assert_eq!(text(&mut bobs_phone).await, "alice: hello");
    assert_eq!(users.send("bob", "from the program").await.sent, 2);
    assert_eq!(text(&mut bob).await, "from the program");

    // Nobody else got it, and who left gets no more, whether the handler returned or was aborted.
    in_time(bob.close(1000, "")).await.expect("it closes");
    phone.abort();
    let _ = in_time(phone).await;
    alice.send("bob: still there?").await.expect("it is sent");
    assert_eq!(text(&mut alice).await, "bob is not here");
}

#[tokio::test]
async fn a_token_opens_in_each_of_three_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(tokens::serve(listener));
    let mut selected = Vec::new();
    for request in tokens::requests(&url, "s3cret").expect("requests") {
        let connecting = bowline::tokio::connect_with(&request, Config::default());
        let (mut ws, response) = in_time(connecting).await.expect("it opens");
        selected.push(response.subprotocol().map(String::from));
        let hello = in_time(ws.recv()).await.expect("a message").expect("no end");
        assert_eq!(hello.as_text(), Some("hello alice"));
    }
    assert_eq!(selected, [None, None, Some("chat".into())]);
    let wrong = tokens::requests(&url, "wrong").expect("requests");
    for request in wrong.into_iter().chain([ClientRequest::new(&url).expect("a request")]) {
        match in_time(bowline::tokio::connect_with(&request, Config::default())).await {
            Err(Error::Connect(ConnectError::Refused(response))) => {
                assert_eq!(response.status(), 401);
                assert_eq!(response.headers().get_str("www-authenticate"), Some("Bearer"));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What a scrape gives, once no connection is open.
async fn scrape(address: std::net::SocketAddr) -> String {
    in_time(async {
        loop {
            let mut socket = TcpStream::connect(address).await.expect("it listens");
            let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
            socket.write_all(request).await.expect("it is sent");
            let mut response = String::new();
            socket.read_to_string(&mut response).await.expect("an answer");
            let (head, body) = response.split_once("\r\n\r\n").expect("a body");
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(head.contains("text/plain; version=0.0.4"), "{head}");
            if body.contains("\nwebsocket_connections 0\n") {
                return body.to_string();
            }
        }
    })
    .await
}

/// `promtool check metrics`, if the variable `PROMTOOL` says where it is: see `tests/interop/run metrics`.
fn check_names(metrics: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let Some(promtool) = std::env::var_os("PROMTOOL") else {
        return;
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = check.stdin.take().expect("it is piped");
    input.write_all(metrics.as_bytes()).expect("it reads");
    drop(input);
    let output = check.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
    println!("promtool has no objection");
}

#[tokio::test]
async fn metrics_count_connections_messages_and_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let scrapes = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    let metrics = scrapes.local_addr().expect("an address");
    tokio::spawn(metrics::serve(listener, scrapes));
    for code in [1000, 1000, 1011] {
        let mut ws = in_time(bowline::tokio::connect(&url)).await.expect("it opens");
        ws.send("Hello").await.expect("it is sent");
        in_time(ws.recv()).await.expect("a message");
        in_time(ws.close(code, "")).await.expect("it closes");
    }
    // One that leaves without a Close.
    drop(in_time(bowline::tokio::connect(&url)).await.expect("it opens"));
    let found = scrape(metrics).await;
    for line in [
        "# TYPE websocket_connections gauge",
        "# TYPE websocket_ends_total counter",
        r#"websocket_ends_total{end="closed_by_peer"} 2"#,
        r#"websocket_ends_total{end="closed_by_peer_with_error"} 1"#,
        r#"websocket_ends_total{end="peer_gone"} 1"#,
        r#"websocket_messages_total{direction="received"} 3"#,
        r#"websocket_messages_total{direction="sent"} 3"#,
        r#"websocket_payload_bytes_total{direction="received"} 15"#,
        r#"websocket_payload_bytes_total{direction="sent"} 15"#,
        "# TYPE websocket_connection_duration_seconds histogram",
        r#"websocket_connection_duration_seconds_bucket{le="+Inf"} 4"#,
        "websocket_connection_duration_seconds_count 4",
    ] {
        assert!(found.lines().any(|other| other == line), "no {line} in\n{found}");
    }
    check_names(&found);
}

/// A file that is there while the test runs.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn named(name: &str) -> Self {
        let file = format!("bowline-cookbook-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_file_arrives_whole_with_its_progress() {
    for length in [0, 1, 64 << 10, 3_000_000] {
        let from = TempFile::named(&format!("from-{length}"));
        let to = TempFile::named(&format!("to-{length}"));
        let content: Vec<u8> = (0..length).map(|i| (i * 7919 / 8) as u8).collect();
        std::fs::write(&from.0, &content).expect("it is written");
        let (mut server, mut client) = pair(Config::default().max_message_size(1 << 30)).await;
        let (mut sent, mut came) = (Vec::new(), Vec::new());
        let sending = file::send(&mut client, &from.0, |n, all| sent.push((n, all)));
        let receiving = file::receive(&mut server, &to.0, |n, all| came.push((n, all)));
        let (result, received) = in_time(async { tokio::join!(sending, receiving) }).await;
        result.expect("it is sent");
        assert_eq!(received.expect("it is received"), length);
        assert!(std::fs::read(&to.0).expect("the file") == content);
        for told in [&sent, &came] {
            assert!(told.is_sorted() && told.iter().all(|&(_, all)| all == length), "{told:?}");
        }
        if length > 0 {
            assert_eq!(
                (sent.last(), came.last()),
                (Some(&(length, length)), Some(&(length, length)))
            );
        }
        assert!(length < 3_000_000 || came.len() > 10, "{came:?}");
        // A file that is there is not written over.
        in_time(client.send("1")).await.expect("it is sent");
        let refused = in_time(file::receive(&mut server, &to.0, |_, _| {})).await;
        assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
        assert!(std::fs::read(&to.0).expect("the file") == content);
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_leaves_nothing() {
    let to = TempFile::named("broken");
    for (length, bytes, last) in
        [("3", b"two!", true), ("8", b"half", true), ("8", b"half", false), ("x", b"....", true)]
    {
        let (mut server, mut client) = pair(Config::default()).await;
        let sending = async {
            client.feed(length).await?;
            client.send_part(bytes, last).await?;
            client.flush().await?;
            drop(client);
            Ok::<_, Error>(())
        };
        let receiving = file::receive(&mut server, &to.0, |_, _| {});
        let (sent, received) = in_time(async { tokio::join!(sending, receiving) }).await;
        sent.expect("it is sent");
        received.expect_err("not whole");
        assert!(!to.0.exists());
    }
}

/// What a backend of the proxy saw of its request.
type Seen = (String, Option<String>, Option<String>, Option<String>);

/// What a backend does with its only connection.
#[derive(Clone, Copy)]
enum Backend {
    Echo,
    Close(Option<u16>, &'static str),
    Drop,
    Refuse,
}

async fn backend(
    listener: TcpListener,
    how: Backend,
    seen: mpsc::UnboundedSender<Seen>,
    ends: mpsc::UnboundedSender<End>,
) -> Result<(), Error> {
    let incoming = Incoming::read(listener.accept().await?.0, Config::default()).await?;
    let request = incoming.request();
    let header = |name| request.headers().get_str(name).map(String::from);
    let _ = seen.send((
        request.target().into(),
        header("cookie"),
        header("x-forwarded-for"),
        header("origin"),
    ));
    if matches!(how, Backend::Refuse) {
        return incoming.respond(&Response::new(403).body("not you\n")).await;
    }
    let accept = Accept::new().subprotocol(request.select_subprotocol(&["chat"]));
    let mut ws = incoming.accept(accept).await?;
    ws.send("welcome").await?;
    match how {
        Backend::Close(code, reason) => {
            let code = code.map_or(CloseCode::NO_STATUS, CloseCode::from);
            ws.close(code, reason).await?;
        }
        Backend::Drop => return Ok(()),
        Backend::Echo | Backend::Refuse => {
            while let Ok(Some(message)) = ws.recv().await {
                ws.feed(message).await?;
            }
        }
    }
    let _ = ends.send(ws.end().expect("it has ended").clone());
    Ok(())
}

struct Proxied {
    url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    ends: mpsc::UnboundedReceiver<End>,
    result: tokio::task::JoinHandle<Result<(), Error>>,
}

/// A proxy for one connection, with its backend.
async fn proxied(how: Backend) -> Proxied {
    let (back, front) = (
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    );
    let there = format!("ws://{}", back.local_addr().expect("an address"));
    let url = format!("ws://{}/room?n=7", front.local_addr().expect("an address"));
    let ((tell, seen), (tell_end, ends)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    tokio::spawn(backend(back, how, tell, tell_end));
    let result =
        tokio::spawn(async move { reverse_proxy::serve(front.accept().await?.0, &there).await });
    Proxied { url, seen, ends, result }
}

async fn open(url: &str) -> WebSocket<bowline::tokio::MaybeTls> {
    in_time(bowline::tokio::connect(url)).await.expect("it opens")
}

#[tokio::test]
async fn the_proxy_passes_on_the_request_and_messages_of_all_sizes() {
    let mut proxied = proxied(Backend::Echo).await;
    let request = ClientRequest::new(&proxied.url).expect("a request");
    let request = request.header("Cookie", "a=b").expect("a header");
    let host = proxied.url.trim_start_matches("ws://").split('/').next().expect("a host");
    let request = request.origin(&format!("http://{host}")).expect("an origin");
    let request =
        request.subprotocol("other").expect("a name").subprotocol("chat").expect("a name");
    let connecting = bowline::tokio::connect_with(&request, Config::default());
    let (mut ws, response) = in_time(connecting).await.expect("it opens");
    assert_eq!(response.subprotocol(), Some("chat"));
    let seen = proxied.seen.recv().await.expect("a request");
    // The origin is checked by the proxy, whose host it names.
    let local = Some("127.0.0.1".to_owned());
    assert_eq!(seen, ("/room?n=7".to_owned(), Some("a=b".to_owned()), local, None));
    assert_eq!(in_time(ws.recv()).await.expect("a message"), Some("welcome".into()));
    for message in [Message::from(""), "grüße".into(), vec![0xAB; 900_000].into()] {
        ws.send(message.clone()).await.expect("it is sent");
        assert_eq!(in_time(ws.recv()).await.expect("a message"), Some(message));
    }
}

#[tokio::test]
async fn the_proxy_passes_on_close_in_both_directions() {
    let cases = [(Some(1000), "bye"), (Some(1011), ""), (Some(4001), "grüße"), (None, "")];
    for (code, reason) in cases {
        let sent = code.map_or(CloseCode::NO_STATUS, CloseCode::from);

        let mut from_client = proxied(Backend::Echo).await;
        let mut ws = open(&from_client.url).await;
        in_time(ws.close(sent, reason)).await.expect("it closes");
        let end = in_time(from_client.ends.recv()).await.expect("an end");
        assert_eq!((end.code(), end.reason(), end.is_clean()), (sent, reason, true));
        in_time(from_client.result).await.expect("no panic").expect("a clean end");

        let from_backend = proxied(Backend::Close(code, reason)).await;
        let mut ws = open(&from_backend.url).await;
        assert_eq!(in_time(ws.recv()).await.expect("a message"), Some("welcome".into()));
        assert_eq!(in_time(ws.recv()).await.expect("an end"), None);
        let end = ws.end().expect("an end");
        assert_eq!((end.code(), end.reason(), end.is_clean()), (sent, reason, true));
        in_time(from_backend.result).await.expect("no panic").expect("a clean end");
    }
}

#[tokio::test]
async fn the_proxy_drops_one_side_when_the_other_is_gone() {
    let gone = |end: &End| matches!(end, End::PeerGone(Truncation::BetweenMessages));
    let proxied_drop = proxied(Backend::Drop).await;
    let mut ws = open(&proxied_drop.url).await;
    // What was said before still arrives.
    assert_eq!(in_time(ws.recv()).await.expect("a message"), Some("welcome".into()));
    in_time(ws.recv()).await.expect_err("no Close");
    assert!(ws.end().is_some_and(gone), "{:?}", ws.end());
    in_time(proxied_drop.result).await.expect("no panic").expect_err("an end without Close");

    let mut proxied = proxied(Backend::Echo).await;
    drop(open(&proxied.url).await);
    let end = in_time(proxied.ends.recv()).await.expect("an end");
    assert!(gone(&end), "{end}");
}

#[tokio::test]
async fn the_proxy_passes_on_a_refusal_and_refuses_what_is_no_websocket() {
    let proxied_refusal = proxied(Backend::Refuse).await;
    match in_time(bowline::tokio::connect(&proxied_refusal.url)).await {
        Err(Error::Connect(ConnectError::Refused(response))) => {
            assert_eq!((response.status(), response.body_bytes()), (403, &b"not you\n"[..]));
        }
        other => panic!("{other:?}"),
    }

    let mut proxied = proxied(Backend::Echo).await;
    let host = proxied.url.trim_start_matches("ws://").split('/').next().expect("a host");
    let mut socket = TcpStream::connect(host).await.expect("a socket");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is written");
    let mut answer = Vec::new();
    in_time(socket.read_to_end(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 426 "), "{}", String::from_utf8_lossy(&answer));
    // The backend was not asked.
    assert!(proxied.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_server_on_localhost_takes_its_page_and_its_hosts() {
    let listener = localhost::listen(0).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    assert!(address.ip().is_loopback());
    tokio::spawn(localhost::serve(listener));
    let cases = [
        ("localhost:9001", Some("https://app.example"), 101),
        ("127.0.0.1:9001", Some("https://app.example"), 101),
        ("localhost:9001", Some("http://localhost:9001"), 101),
        ("localhost:9001", None, 101),
        ("localhost:9001", Some("https://evil.example"), 403),
        ("localhost:9001", Some("null"), 403),
        // A name of an attacker's that leads here.
        ("evil.example:9001", Some("http://evil.example:9001"), 421),
        ("evil.example:9001", Some("https://app.example"), 421),
    ];
    for (host, origin, status) in cases {
        let url = format!("ws://{host}/");
        let mut request = ClientRequest::new(&url).expect("a request").connect_to(address);
        if let Some(origin) = origin {
            request = request.origin(origin).expect("an origin");
        }
        let connecting = bowline::tokio::connect_with(&request, Config::default());
        let got = match in_time(connecting).await {
            Ok(_) => 101,
            Err(Error::Connect(ConnectError::Refused(response))) => response.status(),
            Err(error) => panic!("{host}, {origin:?}: {error}"),
        };
        assert_eq!(got, status, "{host}, {origin:?}");
    }
}
