//! What `{:?}` and `{}` show of the opening handshake: no credentials, no query, no values of headers, no seeds. Logs are
//! read by more people than requests.

#![cfg(feature = "std")]

use std::fmt::{Debug, Display};

use bowline::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response,
    ServerHandshake, accept_key,
};
use bowline::{Config, Connection, Error, RecvBuf, SendBuf};

/// Every secret of these tests contains the first. Its base64 contains the other, at whatever offset it begins.
const SECRET: &str = "hunter2hunter2hunter2";

#[track_caller]
fn assert_silent(shown: &str) {
    let lower = shown.to_ascii_lowercase();
    assert!(!lower.contains("hunter2"), "{shown}");
    // A list of bytes is as readable as text: `hunter2` in decimal, and with `{:#?}` over many lines.
    let list: String = shown.split_whitespace().collect();
    assert!(!list.contains("104,117,110,116,101,114,50"), "{shown}");
    for start in 0..3 {
        let padded = format!("{}{SECRET}", "x".repeat(start));
        let encoded = base64(padded.as_bytes());
        assert!(!shown.contains(&encoded[4..20]), "{shown}");
    }
}

#[track_caller]
fn assert_silent_debug(value: &impl Debug) {
    assert_silent(&format!("{value:?}"));
    assert_silent(&format!("{value:#?}"));
}

#[track_caller]
fn assert_silent_both(value: &(impl Debug + Display)) {
    assert_silent_debug(value);
    assert_silent(&format!("{value}"));
}

/// As RFC 4648 §4 draws it, without padding.
fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            encoded.push(char::from(alphabet[(bits >> shift & 63) as usize]));
        }
    }
    encoded
}

fn client_request() -> ClientRequest {
    ClientRequest::new(&format!("ws://{SECRET}:{SECRET}@example.com/chat?token={SECRET}"))
        .and_then(|request| request.header("Cookie", &format!("session={SECRET}")))
        .and_then(|request| request.header("X-Api-Key", SECRET))
        .expect("a valid request")
}

fn request() -> Request {
    let target = format!("/chat?token={SECRET}");
    let cookie = format!("session={SECRET}");
    let authorization = format!("Basic {}", base64(format!("{SECRET}:{SECRET}").as_bytes()));
    Request::from_parts(
        "GET",
        &target,
        [
            ("Host", "example.com"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
            ("Cookie", &cookie),
            ("Authorization", &authorization),
            ("X-Api-Key", SECRET),
        ],
    )
    .expect("a valid request")
}

#[test]
fn a_clients_request_shows_where_it_goes_and_nothing_secret() {
    let request = client_request();
    assert_silent_debug(&request);
    let shown = format!("{request:?}");
    for useful in ["example.com", "/chat", "Cookie", "X-Api-Key"] {
        assert!(shown.contains(useful), "{shown}");
    }
    assert!(!shown.contains("token"), "{shown}");
    let replaced = request.header("Authorization", SECRET).unwrap();
    assert_silent_debug(&replaced);
}

#[test]
fn a_servers_request_shows_what_is_asked_and_nothing_secret() {
    let request = request();
    assert_silent_debug(&request);
    assert_silent_debug(request.headers());
    let shown = format!("{request:?}");
    for useful in ["GET", "/chat", "Cookie", "Authorization"] {
        assert!(shown.contains(useful), "{shown}");
    }
    assert!(!shown.contains("token"), "{shown}");
    let upgrade = request.upgrade(&Config::default()).unwrap();
    assert_silent_debug(&upgrade);
}

#[test]
fn answers_show_the_names_of_their_headers_only() {
    let accept = Accept::new().header("Set-Cookie", &format!("session={SECRET}")).unwrap();
    assert_silent_debug(&accept);
    let request = request();
    let upgrade = request.upgrade(&Config::default()).unwrap();
    let (_, response) = upgrade.accept(accept).unwrap();
    assert_silent_debug(&response);
    assert_silent_debug(response.headers());
    assert!(format!("{response:?}").contains("Set-Cookie"));
}

#[test]
fn a_refusals_body_is_not_shown() {
    // A server's error page often repeats the URL, with the query.
    let body = format!("no such room: /chat?token={SECRET}");
    let response = Response::new(404).body(body.clone());
    assert_silent_debug(&response);

    let mut out = SendBuf::new();
    let mut handshake =
        ClientHandshake::new(&client_request(), Config::default(), [0; 32], &mut out);
    let head =
        format!("HTTP/1.1 404 No\r\nX-Trace: {SECRET}\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut input = RecvBuf::with_unread(head.as_bytes());
    assert!(matches!(handshake.read(&mut input), Ok(None)));
    assert_silent_debug(&handshake);
    let mut input = RecvBuf::with_unread(body.as_bytes());
    let error = handshake.read(&mut input).unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)));
    assert_silent_both(&error);
    let error = Error::from(error);
    assert_silent_both(&error);
    assert!(error.to_string().contains("404"));

    // The same holds for the target of a redirect. A text that repeats nothing is shown.
    for (head, shown) in [
        (format!("302 Found\r\nLocation: /login?next=/chat?token={SECRET}"), None),
        ("302 Found\r\nLocation: /login".into(), Some("/login")),
        ("404 No\r\nX: y".into(), Some("no such room")),
    ] {
        let body = "no such room\n";
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut handshake =
            ClientHandshake::new(&client_request(), Config::default(), [0; 32], &mut out);
        let mut input = RecvBuf::with_unread(answer.as_bytes());
        let error = handshake.read(&mut input).unwrap_err();
        assert_silent_both(&error);
        assert_eq!(shown.is_some(), error.to_string().contains(shown.unwrap_or("token")));
    }
}

#[test]
fn handshakes_do_not_show_what_they_read() {
    let mut server = ServerHandshake::new(Config::default());
    let mut input = RecvBuf::with_unread(
        format!("GET /chat?token={SECRET} HTTP/1.1\r\nAuthorization: {SECRET}\r\n").as_bytes(),
    );
    assert!(matches!(server.read(&mut input), Ok(None)));
    assert_silent_debug(&server);
    assert_silent_debug(&input);

    let mut out = SendBuf::new();
    let client = ClientHandshake::new(&client_request(), Config::default(), [0; 32], &mut out);
    assert_silent_debug(&client);
    assert_silent_debug(&out);
}

/// Whether any four bytes of `secret` stand in `shown`, in decimal or in hexadecimal.
fn shows(shown: &str, secret: &[u8]) -> bool {
    let list: String = shown.split_whitespace().collect();
    secret.windows(4).any(|bytes| {
        let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        list.contains(&decimal.join(",")) || list.to_ascii_lowercase().contains(&hexadecimal)
    })
}

/// The bytes of every list of 8 or more numbers below 256 that `{:?}` has shown.
fn lists_of_bytes(shown: &str) -> Vec<Vec<u8>> {
    shown
        .split('[')
        .filter_map(|rest| {
            let list = rest.split(']').next()?;
            let bytes: Result<Vec<u8>, _> =
                list.split(',').map(|number| number.trim().parse()).collect();
            bytes.ok().filter(|bytes| bytes.len() >= 8)
        })
        .collect()
}

#[test]
fn what_masking_keys_come_from_is_not_shown() {
    // RFC 6455 §10.3: with the seed, every mask is known. Other values are made from the seed, so no list of bytes may
    // show, whatever its values.
    let seed: [u8; 32] = std::array::from_fn(|i| i as u8 * 7 + 11);
    let mut out = SendBuf::new();
    let mut handshake = ClientHandshake::new(&client_request(), Config::default(), seed, &mut out);
    let check = |shown: String| {
        assert!(!shows(&shown, &seed), "{shown}");
        assert!(lists_of_bytes(&shown).is_empty(), "{shown}");
        assert!(shown.len() < 4_000, "{shown}");
    };
    check(format!("{handshake:?}"));
    check(format!("{handshake:#?}"));

    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let sent = String::from_utf8(sent).unwrap();
    let key = sent.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    );
    let mut input = RecvBuf::with_unread(answer.as_bytes());
    let (mut connection, _) = handshake.read(&mut input).unwrap().unwrap();
    check(format!("{connection:?}"));
    // Nor once keys were drawn from it.
    let mut out = SendBuf::new();
    connection.send("Hello", &mut out).unwrap();
    let key: [u8; 4] = out.pending()[2..6].try_into().unwrap();
    let shown = format!("{connection:?} {out:?}");
    assert!(!shows(&shown, &key), "{shown}");
    check(shown);

    check(format!("{:?}", Connection::client(Config::default(), seed)));
    let (receiver, sender, replies) = connection.into_halves();
    check(format!("{receiver:?} {sender:?} {replies:?}"));
}

#[test]
fn a_websocket_shows_nothing_secret() {
    // Over a stream in memory: neither the bytes that it read and wrote nor the state of the masks shows.
    let seed: [u8; 32] = std::array::from_fn(|i| i as u8 * 5 + 3);
    let stream = bowline::blocking::Plain(std::io::Cursor::new(Vec::new()));
    let unread = [b"\x81\x15", SECRET.as_bytes()].concat();
    let mut ws = bowline::blocking::WebSocket::from_connection(
        Opaque(stream),
        Connection::client(Config::default(), seed),
        RecvBuf::with_unread(&unread),
    )
    .unwrap();
    ws.feed(SECRET).unwrap();
    let shown = format!("{ws:?}");
    assert_silent(&shown);
    assert!(!shows(&shown, &seed), "{shown}");
    assert!(lists_of_bytes(&shown).is_empty(), "{shown}");
    assert!(ws.recv().unwrap().is_some());
    assert_silent_debug(&ws);
}

/// A stream that shows nothing of itself.
struct Opaque(bowline::blocking::Plain<std::io::Cursor<Vec<u8>>>);

impl Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opaque")
    }
}

impl std::io::Read for Opaque {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Opaque {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl bowline::blocking::BlockingStream for Opaque {
    fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _timeout: Option<std::time::Duration>) -> std::io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _timeout: Option<std::time::Duration>) -> std::io::Result<()> {
        Ok(())
    }

    fn set_nonblocking(&self, _nonblocking: bool) -> std::io::Result<()> {
        Ok(())
    }

    fn shutdown_write(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn try_clone(&self) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn errors_do_not_repeat_what_was_refused() {
    let mut fields = vec![
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Cookie", SECRET),
    ];
    let mut refused = |name, value| {
        fields.push((name, value));
        let result = Request::from_parts("GET", "/", fields.iter().copied());
        let result = result.and_then(|request| request.upgrade(&Config::default()).map(|_| ()));
        fields.pop();
        result.unwrap_err()
    };
    let mut errors = vec![
        refused("Sec-WebSocket-Key", SECRET),
        refused("Host", SECRET),
        refused("Content-Length", SECRET),
    ];
    errors.push(RequestError::ForeignOrigin);
    for error in errors {
        assert_silent_both(&error);
        assert_silent_debug(&error.response());
        assert_silent_both(&Error::from(error));
    }
    // A value that cannot be sent: only its name is shown.
    let value = format!("{SECRET}\n");
    for error in [
        ClientRequest::new("ws://h/").unwrap().header("Cookie", &value).unwrap_err(),
        ClientRequest::new("ws://h/").unwrap().origin(&value).unwrap_err(),
        Accept::new().header("Set-Cookie", &value).unwrap_err(),
        Response::new(200).header("Set-Cookie", &value).unwrap_err(),
        ClientRequest::new("ws://h/").unwrap().header("Host", SECRET).unwrap_err(),
        ClientRequest::new(&format!("ws://{SECRET}:{SECRET}@h:0/?{SECRET}")).unwrap_err(),
    ] {
        assert_silent_both(&error);
        assert_silent_both(&Error::from(error));
    }
}
