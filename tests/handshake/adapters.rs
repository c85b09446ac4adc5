//! The opening handshake over real sockets, in both adapters: refusals arrive, deadlines hold, all addresses are tried.

#![cfg(feature = "std")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bowline::handshake::{
    Accept, ClientRequest, ConnectError, InvalidRequest, RequestError, Response,
};
use bowline::{Config, Error, Message, blocking};

/// Longer than anything here takes. Anything that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A timeout that is meant to run out.
const SHORT: Duration = Duration::from_millis(300);

/// A request with this line more.
fn head(more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

const HELLO_MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

/// Works in a thread of its own, which no test waits for longer than its patience lasts.
fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (give, take) = mpsc::channel();
    thread::spawn(move || give.send(work()));
    take
}

#[track_caller]
fn in_time<T>(result: &mpsc::Receiver<T>) -> T {
    result.recv_timeout(PATIENCE).expect("it ends in time, and without a panic")
}

// Both adapters with one interface.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Adapter {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
}

const ADAPTERS: &[Adapter] = &[
    Adapter::Blocking,
    #[cfg(feature = "tokio")]
    Adapter::Tokio,
];

/// What the server does with a request.
#[derive(Clone)]
enum Do {
    /// Accepts with this, and receives one message.
    Accept(Accept),
    /// Answers with this.
    Respond(Response),
}

#[cfg(feature = "tokio")]
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it ends in time") })
}

#[cfg(feature = "tokio")]
fn tokio_stream(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).expect("a socket");
    tokio::net::TcpStream::from_std(stream).expect("a socket")
}

impl Adapter {
    /// Serves one connection, and gives the message that came.
    fn serve(self, stream: TcpStream, config: Config, act: Do) -> Result<Option<Message>, Error> {
        match self {
            Self::Blocking => {
                let incoming = blocking::Incoming::read(stream, config)?;
                match act {
                    Do::Accept(accept) => incoming.accept(accept)?.recv(),
                    Do::Respond(response) => incoming.respond(&response).map(|()| None),
                }
            }
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(async {
                let stream = tokio_stream(stream);
                let incoming = bowline::tokio::Incoming::read(stream, config).await?;
                match act {
                    Do::Accept(accept) => incoming.accept(accept).await?.recv().await,
                    Do::Respond(response) => incoming.respond(&response).await.map(|()| None),
                }
            }),
        }
    }

    /// Connects; gives the response, whether `TCP_NODELAY` is set, and the first message if one is expected.
    fn connect(
        self,
        request: &ClientRequest,
        config: Config,
        recv: bool,
    ) -> Result<(Response, bool, Option<Message>), Error> {
        let request = request.clone();
        in_time(&start(move || self.connect_here(&request, config, recv)))
    }

    fn connect_here(
        self,
        request: &ClientRequest,
        config: Config,
        recv: bool,
    ) -> Result<(Response, bool, Option<Message>), Error> {
        match self {
            Self::Blocking => {
                let (mut ws, response) = blocking::connect_with(request, config)?;
                let message = if recv { ws.recv()? } else { None };
                Ok((response, ws.get_ref().tcp().nodelay()?, message))
            }
            #[cfg(feature = "tokio")]
            Self::Tokio => block_on(async {
                let (mut ws, response) = bowline::tokio::connect_with(request, config).await?;
                let message = if recv { ws.recv().await? } else { None };
                Ok((response, ws.get_ref().tcp().nodelay()?, message))
            }),
        }
    }
}

struct Server {
    address: SocketAddr,
    result: mpsc::Receiver<Result<Option<Message>, Error>>,
}

impl Server {
    /// A server for one connection.
    fn start(adapter: Adapter, config: Config, act: Do) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), adapter, config, act).expect("a port")
    }

    fn start_on(
        address: std::net::IpAddr,
        adapter: Adapter,
        config: Config,
        act: Do,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let result = start(move || {
            let (stream, _) = listener.accept()?;
            adapter.serve(stream, config, act)
        });
        Ok(Self { address, result })
    }

    fn accept(adapter: Adapter, config: Config) -> Self {
        Self::start(adapter, config, Do::Accept(Accept::new()))
    }

    fn peer(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn end(self) -> Result<Option<Message>, Error> {
        in_time(&self.result)
    }
}

/// A server that is not ours, and what it does with its one connection.
fn raw_server<T: Send + 'static>(
    act: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client comes");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        act(stream)
    });
    (address, thread)
}

/// Reads a request head and gives the 101 for it.
fn answer_to(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the client sends a request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("the request is text");
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .expect("the request has a key");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        bowline::handshake::accept_key(key)
    )
}

/// Reads to the end, and asserts that this is one whole HTTP answer with this status.
#[track_caller]
fn assert_answered(stream: &mut TcpStream, status: u16) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer arrives and ends, without a reset");
    let answer = String::from_utf8(answer).expect("the answer is text");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer:?}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the head has an end");
    assert!(head.contains("\r\nConnection: close"), "{answer:?}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{answer:?}");
    body.to_string()
}

// Refusals arrive.

/// Heads that are refused, and the bytes that the client goes on with.
fn refused_heads() -> Vec<(String, &'static [u8], RequestError, u16)> {
    let foreign = head("Origin: https://evil.example\r\n");
    let body = head("Content-Length: 100000000\r\n");
    let no_upgrade = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_string();
    let endless = head("").trim_end().to_string();
    vec![
        (foreign, HELLO_MASKED, RequestError::ForeignOrigin, 403),
        (body, b"body", RequestError::Body, 400),
        (no_upgrade, b"more", RequestError::NotUpgrade, 426),
        (endless, b"\r\nX-A: b", RequestError::HeadTooBig, 431),
        ("GET /".into(), b"a", RequestError::TargetTooLong, 414),
        ("".into(), b"\x16\x03\x01", RequestError::Malformed, 400),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".into(), b"x", RequestError::Method, 405),
    ]
}

#[test]
fn a_refusal_arrives_at_a_client_that_first_sends_all_and_then_reads() {
    // A server that closes with unread input causes a reset, and a reset destroys the answer.
    for &adapter in ADAPTERS {
        for (head, more, error, status) in refused_heads() {
            println!("{adapter:?} {error:?}");
            let server = Server::accept(adapter, Config::default().close_timeout(2 * PATIENCE));
            let mut peer = server.peer();
            peer.write_all(head.as_bytes()).unwrap();
            let rest = more.repeat((900 << 10) / more.len());
            for piece in rest.chunks(10_000) {
                peer.write_all(piece).expect("the server goes on reading");
            }
            let body = assert_answered(&mut peer, status);
            assert_eq!(body, format!("{error}\n"));
            drop(peer);
            match server.end() {
                Err(Error::Request(found)) => assert_eq!(found, error),
                other => panic!("{adapter:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_refusal_arrives_at_a_client_that_does_not_stop() {
    for &adapter in ADAPTERS {
        for (head, more, error, status) in refused_heads() {
            println!("{adapter:?} {error:?}");
            let server = Server::accept(adapter, Config::default());
            let mut peer = server.peer();
            peer.write_all(head.as_bytes()).unwrap();
            let mut writer = peer.try_clone().unwrap();
            let flood = thread::spawn(move || {
                let rest = more.repeat((64 << 10) / more.len());
                // Until the server has had enough and closes; 64 MiB are more than it reads.
                (0..1_024).any(|_| writer.write_all(&rest).is_err())
            });
            // The client reads meanwhile. The end may be a reset, because the client never stopped sending.
            let mut answer = Vec::new();
            let mut buffer = [0; 4_096];
            loop {
                match peer.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => answer.extend_from_slice(&buffer[..n]),
                    Err(error) => {
                        assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server closes");
                        break;
                    }
                }
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
            assert!(answer.ends_with(&format!("\r\n\r\n{error}\n")), "{answer:?}");
            assert!(flood.join().unwrap(), "the server does not read for ever");
            assert!(matches!(server.end(), Err(Error::Request(found)) if found == error));
        }
    }
}

#[test]
fn a_client_that_neither_reads_nor_ends_is_left_at_the_close_timeout() {
    for &adapter in ADAPTERS {
        let server = Server::accept(adapter, Config::default().close_timeout(SHORT));
        let mut peer = server.peer();
        let begin = Instant::now();
        peer.write_all(head("Origin: null\r\n").as_bytes()).unwrap();
        let result = server.end();
        assert!(matches!(result, Err(Error::Request(RequestError::ForeignOrigin))));
        assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
        assert_answered(&mut peer, 403);
    }
}

#[test]
fn a_request_for_no_websocket_gets_the_answer_of_the_servers_choice() {
    for &adapter in ADAPTERS {
        let page =
            Response::new(200).header("Content-Type", "text/html").unwrap().body("<h1>Hello</h1>");
        let server = Server::start(adapter, Config::default(), Do::Respond(page));
        let mut peer = server.peer();
        peer.write_all(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(assert_answered(&mut peer, 200), "<h1>Hello</h1>");
        drop(peer);
        assert!(matches!(server.end(), Ok(None)));
    }
}

#[test]
fn a_slow_head_is_answered_at_the_deadline_however_it_drips() {
    // RFC 6455 §10.4: the deadline is absolute.
    for &adapter in ADAPTERS {
        for drips in [false, true] {
            let config = Config::default().handshake_timeout(SHORT);
            let server = Server::accept(adapter, config);
            let mut peer = server.peer();
            let begin = Instant::now();
            peer.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
            let (stop, stopped) = mpsc::channel::<()>();
            let mut writer = peer.try_clone().unwrap();
            let dripper = thread::spawn(move || {
                let pause = Duration::from_millis(20);
                let timed_out = Err(mpsc::RecvTimeoutError::Timeout);
                while drips && stopped.recv_timeout(pause) == timed_out {
                    if writer.write_all(b"a").is_err() {
                        break;
                    }
                }
            });
            assert_answered(&mut peer, 408);
            let took = begin.elapsed();
            assert!(SHORT <= took && took < PATIENCE / 2, "{took:?}");
            drop((stop, peer));
            dripper.join().unwrap();
            assert!(matches!(server.end(), Err(Error::Request(RequestError::TimedOut))));
        }
    }
}

#[test]
fn a_client_that_leaves_inside_its_request_is_gone_and_gets_no_answer() {
    for &adapter in ADAPTERS {
        let server = Server::accept(adapter, Config::default());
        let mut peer = server.peer();
        peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty());
        assert!(matches!(server.end(), Err(Error::Request(RequestError::Gone))));
    }
}

#[test]
fn an_acceptance_that_cannot_be_sent_is_the_servers_fault() {
    for &adapter in ADAPTERS {
        let accept = Do::Accept(Accept::new().subprotocol("not-offered"));
        let server = Server::start(adapter, Config::default(), accept);
        let mut peer = server.peer();
        peer.write_all(head("").as_bytes()).unwrap();
        assert_answered(&mut peer, 500);
        drop(peer);
        assert!(matches!(
            server.end(),
            Err(Error::Invalid(InvalidRequest::SubprotocolNotOffered(_)))
        ));
    }
}

/// A stream that brings a request and takes no answer.
#[derive(Debug)]
struct Deaf(std::io::Cursor<Vec<u8>>);

impl Read for Deaf {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Deaf {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn that_the_client_cannot_be_told_does_not_change_what_it_did() {
    for (request, expected) in [
        ("\n".to_string(), RequestError::Malformed),
        (head("Origin: null\r\n"), RequestError::ForeignOrigin),
    ] {
        let stream = blocking::Plain(Deaf(std::io::Cursor::new(request.clone().into())));
        let error = blocking::accept(stream, Config::default()).unwrap_err();
        assert!(matches!(error, Error::Request(found) if found == expected), "{error:?}");
        #[cfg(feature = "tokio")]
        block_on(async {
            use tokio::io::AsyncWriteExt;
            let (stream, mut peer) = tokio::io::duplex(4_096);
            peer.write_all(request.as_bytes()).await.unwrap();
            drop(peer);
            let error = bowline::tokio::accept(stream, Config::default()).await.unwrap_err();
            assert!(matches!(error, Error::Request(found) if found == expected), "{error:?}");
        });
    }
}

// Nothing between the head and the frames is lost.

#[test]
fn a_frame_in_the_same_segment_as_the_request_is_received() {
    for &adapter in ADAPTERS {
        let server = Server::accept(adapter, Config::default());
        let mut peer = server.peer();
        let bytes = [head("").as_bytes(), HELLO_MASKED].concat();
        peer.write_all(&bytes).unwrap();
        assert_eq!(server.end().unwrap(), Some("Hello".into()));
        let mut answer = [0; 12];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    }
}

#[test]
fn a_frame_in_the_same_segment_as_the_response_is_received() {
    for &adapter in ADAPTERS {
        let (address, server) = raw_server(|mut stream| {
            let answer = answer_to(&mut stream);
            let bytes = [answer.as_bytes(), b"\r\n", HELLO].concat();
            stream.write_all(&bytes).unwrap();
            stream
        });
        let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
        let (_, _, message) = adapter.connect(&request, Config::default(), true).unwrap();
        assert_eq!(message, Some("Hello".into()));
        drop(server.join().unwrap());
    }
}

#[test]
fn the_users_own_read_timeout_outlives_the_handshake() {
    let timeout = Some(Duration::from_secs(7));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(timeout).unwrap();
        let ws = blocking::accept(stream, Config::default()).unwrap();
        assert_eq!(ws.get_ref().read_timeout().unwrap(), timeout);
    });
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(timeout).unwrap();
    let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
    let (ws, _) = blocking::client(stream, &request, Config::default()).unwrap();
    assert_eq!(ws.get_ref().read_timeout().unwrap(), timeout);
    server.join().unwrap();
}

// The client.

#[test]
fn a_client_gets_the_response_that_opened_its_connection() {
    for &adapter in ADAPTERS {
        let accept = Accept::new().subprotocol("chat").header("X-Room", "7").unwrap();
        let server = Server::start(adapter, Config::default(), Do::Accept(accept));
        let request = ClientRequest::new(&format!("ws://{}/chat", server.address))
            .and_then(|request| request.subprotocol("superchat")?.subprotocol("chat"))
            .unwrap();
        let (response, nodelay, _) = adapter.connect(&request, Config::default(), false).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.subprotocol(), Some("chat"));
        assert_eq!(response.headers().get_str("x-room"), Some("7"));
        assert!(nodelay, "TCP_NODELAY is set");
        // The client is gone without Close.
        assert!(matches!(server.end(), Err(Error::Ended(_))));
    }
}

#[test]
fn a_client_gets_the_refusal_with_its_body() {
    for &adapter in ADAPTERS {
        let refusal = Response::new(429).header("Retry-After", "5").unwrap().body("not so fast");
        let server = Server::start(adapter, Config::default(), Do::Respond(refusal));
        let request = ClientRequest::new(&format!("ws://{}/", server.address)).unwrap();
        match adapter.connect(&request, Config::default(), false) {
            Err(Error::Connect(ConnectError::Refused(response))) => {
                assert_eq!(response.status(), 429);
                assert_eq!(response.headers().get_str("Retry-After"), Some("5"));
                assert_eq!(response.body_bytes(), b"not so fast");
            }
            other => panic!("{adapter:?}: {:?}", other.map(|_| ())),
        }
        assert!(matches!(server.end(), Ok(None)));
    }
}

#[test]
fn a_client_that_fails_closes_its_socket_and_sends_nothing_more() {
    for &adapter in ADAPTERS {
        let (address, server) = raw_server(|mut stream| {
            let answer = answer_to(&mut stream);
            let wrong = answer.replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x");
            stream.write_all(format!("{wrong}\r\n").as_bytes()).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(|_| rest)
        });
        let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
        let error = adapter.connect(&request, Config::default(), false).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::WrongAccept)));
        let rest = server.join().unwrap().expect("the client ends the connection");
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_server_that_ends_inside_its_response_is_gone() {
    for &adapter in ADAPTERS {
        let (address, server) = raw_server(|mut stream| {
            let answer = answer_to(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
        let error = adapter.connect(&request, Config::default(), false).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::Gone)), "{error}");
        server.join().unwrap();
    }
}

#[cfg(not(feature = "rustls"))]
#[test]
fn a_wss_url_needs_a_tls_stream_of_the_users() {
    for &adapter in ADAPTERS {
        let request = ClientRequest::new("wss://127.0.0.1:1/").unwrap();
        let error = adapter.connect(&request, Config::default(), false).unwrap_err();
        assert!(matches!(error, Error::TlsNotBuiltIn), "{error}");
    }
    let error = blocking::connect("wss://127.0.0.1:1/").unwrap_err();
    assert!(matches!(error, Error::TlsNotBuiltIn));
}

#[test]
fn a_port_that_none_can_be_is_refused() {
    let error = blocking::connect("ws://127.0.0.1:0/").unwrap_err();
    assert!(matches!(error, Error::Invalid(InvalidRequest::Url(_))));
}

#[test]
fn over_a_stream_of_the_users_a_wss_url_is_a_url_like_any_other() {
    for &adapter in ADAPTERS {
        let server = Server::accept(adapter, Config::default());
        let stream = server.peer();
        let request = ClientRequest::new("wss://example.com/").unwrap();
        match adapter {
            Adapter::Blocking => {
                let (mut ws, _) = blocking::client(stream, &request, Config::default()).unwrap();
                ws.send("Hello").unwrap();
            }
            #[cfg(feature = "tokio")]
            Adapter::Tokio => block_on(async {
                let stream = tokio_stream(stream);
                let (mut ws, _) =
                    bowline::tokio::client(stream, &request, Config::default()).await.unwrap();
                ws.send("Hello").await.unwrap();
            }),
        }
        assert_eq!(server.end().unwrap(), Some("Hello".into()));
    }
}

#[test]
fn all_addresses_of_a_host_are_tried() {
    // `localhost` has both families on most machines; a server listens on one of them.
    let mut both = [false; 2];
    for address in std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80)).unwrap() {
        both[usize::from(address.is_ipv6())] = true;
    }
    for &adapter in ADAPTERS {
        for address in [Ipv4Addr::LOCALHOST.into(), std::net::IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let accept = Do::Accept(Accept::new());
            if !both[usize::from(address.is_ipv6())] {
                println!("localhost is not {address} here");
                continue;
            }
            let Ok(server) = Server::start_on(address, adapter, Config::default(), accept) else {
                println!("there is no {address} here");
                continue;
            };
            let url = format!("ws://localhost:{}/", server.address.port());
            let request = ClientRequest::new(&url).unwrap();
            let (response, ..) = adapter
                .connect(&request, Config::default(), false)
                .unwrap_or_else(|error| panic!("{adapter:?} {address}: {error}"));
            assert_eq!(response.status(), 101);
            let _ = server.end();
        }
    }
}

#[test]
fn an_ipv6_address_in_the_url_is_connected_to() {
    for &adapter in ADAPTERS {
        let accept = Do::Accept(Accept::new());
        let address = Ipv6Addr::LOCALHOST.into();
        let Ok(server) = Server::start_on(address, adapter, Config::default(), accept) else {
            println!("there is no IPv6 here");
            continue;
        };
        let url = format!("ws://[::1]:{}/", server.address.port());
        let request = ClientRequest::new(&url).unwrap();
        assert!(adapter.connect(&request, Config::default(), false).is_ok());
        let _ = server.end();
    }
}

#[test]
fn nobody_listening_is_an_error_of_the_socket() {
    for &adapter in ADAPTERS {
        // A port that was free a moment ago.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
        match adapter.connect(&request, Config::default(), false) {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            other => panic!("{adapter:?}: {:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn one_deadline_holds_for_the_whole_attempt() {
    // The server takes the connection and says nothing, or never stops saying something.
    for &adapter in ADAPTERS {
        for drip in ["", "HTTP/1.1 101 a", "HTTP/1.1 503 Busy\r\n\r\nx"] {
            let (stop, stopped) = mpsc::channel::<()>();
            let (address, server) = raw_server(move |mut stream| {
                let (start, end) = drip.split_at(drip.len().saturating_sub(1));
                let _ = stream.write_all(start.as_bytes());
                let pause = Duration::from_millis(20);
                while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if stream.write_all(end.as_bytes()).is_err() {
                        break;
                    }
                }
            });
            let request = ClientRequest::new(&format!("ws://{address}/")).unwrap();
            let config = Config::default().handshake_timeout(SHORT);
            let begin = Instant::now();
            let error = adapter.connect(&request, config, false).unwrap_err();
            let took = begin.elapsed();
            assert!(SHORT <= took && took < PATIENCE / 2, "{drip:?}: {took:?}");
            match error {
                Error::Connect(ConnectError::TimedOut) => assert!(!drip.contains("503")),
                // The part of a refusal that came is reported.
                Error::Connect(ConnectError::Refused(response)) => {
                    assert_eq!(response.status(), 503);
                    assert!(drip.contains("503"));
                }
                other => panic!("{adapter:?} {drip:?}: {other}"),
            }
            drop(stop);
            server.join().unwrap();
        }
    }
}
