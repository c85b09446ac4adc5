//! The opening handshake of each library that has one over any stream, as server and as client.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use bowline::blocking::{self, Plain};
use bowline::handshake::{ClientRequest, accept_key};
use bowline::{Config, tokio};
use embedded_websocket::{WebSocketClient, WebSocketOptions, WebSocketServer, read_http_header};
use futures_util::io::{BufReader, BufWriter};

use crate::common::BROWSER;
use crate::count::{Asked, asked, uncounted};
use crate::mock::block_on;

const HOST: &str = "server.example.com";
const PATH: &str = "/chat";
const URL: &str = "ws://server.example.com/chat";

/// The other end: a client that has sent its request, or a server that answers once it has one.
#[derive(Debug)]
struct Wire {
    unread: Vec<u8>,
    read: usize,
    written: Vec<u8>,
    answers: bool,
}

impl Wire {
    fn read(&mut self, room: usize) -> &[u8] {
        if self.answers && self.unread.is_empty() {
            self.unread = uncounted(|| response(&self.written));
        }
        let now = (self.unread.len() - self.read).min(room);
        self.read += now;
        &self.unread[self.read - now..self.read]
    }
}

fn response(request: &[u8]) -> Vec<u8> {
    let request = str::from_utf8(request).unwrap();
    assert!(request.ends_with("\r\n\r\n"), "a whole request: {request}");
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Key").then_some(value)
    });
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key.expect("a key")),
    )
    .into_bytes()
}

/// A stream of every kind. Each clone is a handle of the same one.
#[derive(Clone, Debug)]
struct Stream(Rc<RefCell<Wire>>);

impl Stream {
    fn new(unread: &[u8], answers: bool) -> Self {
        let written = Vec::with_capacity(16 << 10);
        let wire = Wire { unread: unread.to_vec(), read: 0, written, answers };
        Self(Rc::new(RefCell::new(wire)))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let bytes = wire.read(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().written.extend(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(slice)).sum()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(self.0.borrow_mut().read(buffer.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl futures_util::io::AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.read(buffer))
    }
}

macro_rules! writes {
    ($trait:path, $close:ident) => {
        impl $trait for Stream {
            fn poll_write(
                mut self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(self.write(bytes))
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn $close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    };
}

writes!(AsyncWrite, poll_shutdown);
writes!(futures_util::io::AsyncWrite, poll_close);

impl wtx::stream::StreamReader for Stream {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(Read::read(self, bytes)?)
    }
}

impl wtx::stream::StreamWriter for Stream {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        Ok(Write::write_all(self, bytes)?)
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        for bytes in bytes {
            Write::write_all(self, bytes)?;
        }
        Ok(())
    }
}

/// What a server asks for until a browser is connected. Its answer is checked.
fn accept<T>(open: impl Fn(Stream) -> T) -> Asked {
    // What is allocated once belongs to no connection.
    drop(open(Stream::new(BROWSER.as_bytes(), false)));
    let stream = Stream::new(BROWSER.as_bytes(), false);
    let server = stream.clone();
    let asked = asked(|| open(server));
    let wire = stream.0.borrow();
    let answer = str::from_utf8(&wire.written).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    asked
}

/// What a client asks for until a server has accepted it.
fn connect<T>(open: impl Fn(Stream) -> T) -> Asked {
    drop(open(Stream::new(b"", true)));
    let stream = Stream::new(b"", true);
    asked(|| open(stream))
}

/// The name of each library with what it asks for as a server and as a client.
pub fn all() -> Vec<(&'static str, Asked, Asked)> {
    let config = Config::default();
    let request = ClientRequest::new(URL).unwrap();
    let tokio = (
        "bowline tokio",
        accept(|stream| block_on(tokio::accept(stream, config.clone())).unwrap()),
        connect(|stream| block_on(tokio::client(stream, &request, config.clone())).unwrap()),
    );
    let blocking = (
        "bowline blocking",
        accept(|stream| blocking::accept(Plain(stream), config.clone()).unwrap()),
        connect(|stream| blocking::client(Plain(stream), &request, config.clone()).unwrap()),
    );
    let tungstenite = (
        "tungstenite",
        accept(|stream| tungstenite::accept(stream).unwrap()),
        connect(|stream| tungstenite::client(URL, stream).unwrap()),
    );
    vec![
        tokio,
        blocking,
        tungstenite,
        tokio_websockets(),
        sockudo(),
        ws_tool(),
        wtx(),
        soketto(),
        embedded(),
    ]
}

fn tokio_websockets() -> (&'static str, Asked, Asked) {
    use tokio_websockets::{ClientBuilder, ServerBuilder};
    let server = ServerBuilder::new();
    let client = ClientBuilder::new().uri(URL).unwrap();
    (
        "tokio-websockets",
        accept(|stream| block_on(server.accept(stream)).unwrap()),
        connect(|stream| block_on(client.connect_on(stream)).unwrap()),
    )
}

fn sockudo() -> (&'static str, Asked, Asked) {
    use sockudo_ws::handshake::{client_handshake, server_handshake};
    use sockudo_ws::{Config, Role, WebSocketStream};
    let config = Config::default();
    let open = |stream, role, leftover| {
        WebSocketStream::from_raw_with_leftover(stream, role, config.clone(), leftover)
    };
    (
        "sockudo-ws",
        accept(|mut stream| {
            let done = block_on(server_handshake(&mut stream)).unwrap();
            open(stream, Role::Server, done.leftover)
        }),
        connect(|mut stream| {
            let done = block_on(client_handshake(&mut stream, HOST, PATH, None)).unwrap();
            open(stream, Role::Client, done.leftover)
        }),
    )
}

fn ws_tool() -> (&'static str, Asked, Asked) {
    use ws_tool::codec::{FrameCodec, default_handshake_handler};
    use ws_tool::stream::BufStream;
    use ws_tool::{ClientBuilder, ServerBuilder};
    (
        "ws-tool",
        accept(|stream| {
            ServerBuilder::accept(stream, default_handshake_handler, |request, stream| {
                FrameCodec::factory(request, BufStream::new(stream))
            })
            .unwrap()
        }),
        connect(|stream| {
            ClientBuilder::new()
                .with_stream(URL.parse().unwrap(), stream, |key, response, stream| {
                    FrameCodec::check_fn(key, response, BufStream::new(stream))
                })
                .unwrap()
        }),
    )
}

fn wtx() -> (&'static str, Asked, Asked) {
    use wtx::misc::UriRef;
    use wtx::web_socket::{WebSocketAcceptor, WebSocketConnector};
    (
        "wtx",
        accept(|stream| {
            let opened: wtx::Result<_> = block_on(WebSocketAcceptor::default().accept(stream));
            opened.unwrap()
        }),
        connect(|stream| {
            let url = UriRef::new(URL);
            let opened: wtx::Result<_> =
                block_on(WebSocketConnector::default().connect(stream, &url));
            opened.unwrap()
        }),
    )
}

fn soketto() -> (&'static str, Asked, Asked) {
    use soketto::handshake::server::{Response, Server};
    use soketto::handshake::{Client, ServerResponse};
    let buffered = |stream| BufReader::new(BufWriter::new(stream));
    (
        "soketto",
        accept(|stream| {
            block_on(async {
                let mut server = Server::new(buffered(stream));
                let key = server.receive_request().await.unwrap().key();
                let accept = Response::Accept { key, protocol: None };
                server.send_response(&accept).await.unwrap();
                server.into_builder().finish()
            })
        }),
        connect(|stream| {
            block_on(async {
                let mut client = Client::new(buffered(stream), HOST, PATH);
                let response = client.handshake().await.unwrap();
                assert!(matches!(response, ServerResponse::Accepted { .. }));
                client.into_builder().finish()
            })
        }),
    )
}

/// Its buffers are the caller's, here on the stack, and so is the parser of the request.
fn embedded() -> (&'static str, Asked, Asked) {
    (
        "embedded-websocket",
        accept(|mut stream| {
            let (mut input, mut out) = ([0; 4000], [0; 4000]);
            let read = Read::read(&mut stream, &mut input).unwrap();
            let mut headers = [httparse::EMPTY_HEADER; 24];
            let mut request = httparse::Request::new(&mut headers);
            assert!(request.parse(&input[..read]).unwrap().is_complete());
            let headers = request.headers.iter().map(|header| (header.name, header.value));
            let asked = read_http_header(headers).unwrap().expect("a WebSocket");
            let mut ws = WebSocketServer::new_server();
            let len = ws.server_accept(&asked.sec_websocket_key, None, &mut out).unwrap();
            Write::write_all(&mut stream, &out[..len]).unwrap();
            ws
        }),
        connect(|mut stream| {
            let mut buffer = [0; 4000];
            let mut ws = WebSocketClient::new_client(rand::thread_rng());
            let options = WebSocketOptions {
                path: PATH,
                host: HOST,
                origin: "http://server.example.com",
                sub_protocols: None,
                additional_headers: None,
            };
            let (len, key) = ws.client_connect(&options, &mut buffer).unwrap();
            Write::write_all(&mut stream, &buffer[..len]).unwrap();
            let read = Read::read(&mut stream, &mut buffer).unwrap();
            ws.client_accept(&key, &buffer[..read]).unwrap();
            ws
        }),
    )
}
