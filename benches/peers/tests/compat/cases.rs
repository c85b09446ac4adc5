// What a program sees. It is included where `tt` is one of the two libraries.

use std::io::{Cursor, Read, Write};

use tt::client::{IntoClientRequest, client};
use tt::protocol::frame::coding::{Control, Data, OpCode};
use tt::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tt::protocol::{Role, WebSocketConfig};
use tt::{Error, HandshakeError, Message, WebSocket, http};

/// A peer that has said all it says, and what it was sent.
struct Peer {
    says: Cursor<Vec<u8>>,
    hears: Vec<u8>,
}

impl Peer {
    fn says(bytes: impl Into<Vec<u8>>) -> Self {
        Self { says: Cursor::new(bytes.into()), hears: Vec::new() }
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.says.read(buf)
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.hears.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The variant of an error, without what is in it.
fn word(error: &Error) -> String {
    let text = format!("{error:?}");
    let inner = text.strip_prefix("Protocol(").unwrap_or(&text);
    inner.split(['(', ')', ' ', '{']).next().unwrap_or_default().to_string()
}

fn told(result: Result<impl Sized, Error>) -> String {
    result.map_or_else(|error| word(&error), |_| "ok".into())
}

/// What a server that is sent these bytes gives, and whether it sends a Close.
pub fn server_reads(bytes: &[u8]) -> String {
    let mut ws = WebSocket::from_raw_socket(Peer::says(bytes), Role::Server, None);
    let result = loop {
        match ws.read() {
            Ok(message) if message.is_close() => break "Close".to_string(),
            Ok(_) => {}
            Err(error) => break word(&error),
        }
    };
    let _ = ws.flush();
    let close = ws.get_ref().hears.windows(2).any(|bytes| bytes[0] == 0x88);
    format!("{result}, {}", if close { "Close sent" } else { "nothing sent" })
}

fn server_sends(message: Message) -> String {
    told(WebSocket::from_raw_socket(Peer::says([]), Role::Server, None).send(message))
}

pub fn sends_ping(len: usize) -> String {
    server_sends(Message::Ping(vec![0; len].into()))
}

pub fn sends_close(code: u16, reason: &str) -> String {
    server_sends(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })))
}

pub fn sends_reserved_opcode() -> String {
    let opcode = OpCode::Control(Control::Reserved(11));
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    server_sends(Message::Frame(Frame::from_payload(header, tt::Bytes::new())))
}

pub fn sends_stray_continuation() -> String {
    server_sends(Message::Frame(Frame::message("", OpCode::Data(Data::Continue), true)))
}

/// What a server says of a request, and the status that it answers.
pub fn accepts(request: &str) -> String {
    let mut peer = Peer::says(request);
    let outcome = match tt::accept(&mut peer) {
        Ok(_) => "ok".into(),
        Err(HandshakeError::Failure(error)) => word(&error),
        Err(HandshakeError::Interrupted(_)) => "interrupted".into(),
    };
    let status = String::from_utf8_lossy(&peer.hears);
    let status = status.split(' ').nth(1).unwrap_or("no answer").to_string();
    format!("{outcome}, {status}")
}

/// A server that answers the key with these headers.
struct Answering<'a> {
    headers: &'a str,
    peer: Peer,
}

impl Read for Answering<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.peer.read(buf)
    }
}

impl Write for Answering<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.peer.hears.extend_from_slice(buf);
        if self.peer.hears.ends_with(b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&self.peer.hears).to_string();
            let key = request.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
            });
            let accept = tt::handshake::derive_accept_key(key.unwrap_or_default().as_bytes());
            let headers = self.headers;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{headers}Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            self.peer.says = Cursor::new(answer.into());
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a client says of a server that answers with these headers.
pub fn connects(subprotocol: Option<&'static str>, headers: &str) -> String {
    let mut request = "ws://example.com/".into_client_request().unwrap();
    if let Some(name) = subprotocol {
        let name = http::HeaderValue::from_static(name);
        request.headers_mut().insert("sec-websocket-protocol", name);
    }
    let stream = Answering { headers, peer: Peer::says([]) };
    match client(request, stream) {
        Ok(_) => "ok".into(),
        Err(HandshakeError::Failure(error)) => word(&error),
        Err(HandshakeError::Interrupted(_)) => "interrupted".into(),
    }
}

/// Whether a request without the headers of the handshake can be sent.
pub fn sends_bare_request() -> String {
    let request = http::Request::get("ws://example.com/").body(()).unwrap();
    let stream = Answering { headers: "Connection: Upgrade\r\n", peer: Peer::says([]) };
    match client(request, stream) {
        Ok(_) => "ok".into(),
        Err(HandshakeError::Failure(error)) => word(&error),
        Err(HandshakeError::Interrupted(_)) => "interrupted".into(),
    }
}

/// Whether the request of a URL with credentials has them.
pub fn sends_credentials() -> String {
    let mut stream = Answering { headers: "Connection: Upgrade\r\n", peer: Peer::says([]) };
    let opened = client("ws://user:pw@example.com/", &mut stream).is_ok();
    let request = String::from_utf8_lossy(&stream.peer.hears).to_lowercase();
    format!("{opened}, {}", request.contains("authorization: basic dxnlcjpwdw=="))
}

pub fn reads_unmasked(accept: bool) -> String {
    let config = WebSocketConfig::default().accept_unmasked_frames(accept);
    told(WebSocket::from_raw_socket(Peer::says(*b"\x81\x00"), Role::Server, Some(config)).read())
}
