//! The client's side of the opening handshake (RFC 6455 §4.1): what is asked, and which answers open a connection.

use std::collections::HashSet;
use std::time::Duration;

use bowline::handshake::{
    ClientHandshake, ClientRequest, ConnectError, InvalidRequest, Response, accept_key,
};
use bowline::{Config, Connection, MessageRef, Progress, RecvBuf, SendBuf};

/// "Hello" as RFC 6455 §5.7 shows it.
const HELLO: &[u8] = b"\x81\x05Hello";

/// A client that has sent its request.
struct Client {
    handshake: ClientHandshake,
    input: RecvBuf,
    sent: String,
}

impl Client {
    fn new(request: &ClientRequest, config: Config, seed: [u8; 32]) -> Self {
        let mut out = SendBuf::new();
        let handshake = ClientHandshake::new(request, config, seed, &mut out);
        let sent = out.pending_slices().flatten().copied().collect();
        Self {
            handshake,
            input: RecvBuf::new(),
            sent: String::from_utf8(sent).expect("these requests are text"),
        }
    }

    fn at(url: &str) -> Self {
        let request = ClientRequest::new(url).expect("a valid URL");
        Self::new(&request, Config::default(), [3; 32])
    }

    /// The values of all fields of this name.
    fn field(&self, name: &str) -> Vec<&str> {
        let lines = self.sent.split("\r\n").skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    fn key(&self) -> &str {
        let keys = self.field("Sec-WebSocket-Key");
        assert_eq!(keys.len(), 1);
        keys[0]
    }

    /// The answer that opens the connection, with these lines more.
    fn answer(&self, more: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{more}\r\n",
            accept_key(self.key())
        )
        .into_bytes()
    }

    fn fill(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.input.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.input.filled(n);
            bytes = &bytes[n..];
        }
    }

    fn read(&mut self) -> Result<Option<(Connection, Response)>, ConnectError> {
        self.handshake.read(&mut self.input)
    }

    /// Receives bytes with one read.
    fn receive(&mut self, bytes: &[u8]) -> Result<Option<(Connection, Response)>, ConnectError> {
        self.fill(bytes);
        self.read()
    }

    /// Receives the answer of a server that refuses.
    #[track_caller]
    fn refused(&mut self, bytes: &[u8]) -> Response {
        match self.receive(bytes) {
            Err(ConnectError::Refused(response)) => *response,
            Err(error) => panic!("{error}"),
            Ok(other) => panic!("{}", other.is_some()),
        }
    }
}

fn waits(result: &Result<Option<(Connection, Response)>, ConnectError>) -> bool {
    matches!(result, Ok(None))
}

// The request (RFC 6455 §4.1).

#[test]
fn a_plain_request_has_the_five_fields_that_it_must_have() {
    let client = Client::at("ws://example.com/chat?room=1");
    let key = client.key();
    assert_eq!(
        client.sent,
        format!(
            "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             User-Agent: bowline/{}\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn host_names_the_port_unless_it_is_the_schemes_own() {
    for (url, host) in [
        ("ws://example.com:80/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("wss://example.com:443/", "example.com"),
        ("wss://example.com:80/", "example.com:80"),
        ("ws://example.com:9001/", "example.com:9001"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:9001/", "[::1]:9001"),
        ("ws://user:secret@example.com/", "example.com"),
    ] {
        assert_eq!(Client::at(url).field("Host"), [host], "{url}");
    }
}

#[test]
fn a_request_carries_what_was_added_to_it() {
    let request = ClientRequest::new("ws://example.com/")
        .and_then(|request| request.header("Cookie", "a=1"))
        .and_then(|request| request.header("X-Twice", "1")?.header("X-Twice", "2"))
        .and_then(|request| request.origin("https://app.example"))
        .and_then(|request| request.subprotocol("chat.v2")?.subprotocol("chat"))
        .unwrap();
    let client = Client::new(&request, Config::default(), [0; 32]);
    assert_eq!(client.field("Cookie"), ["a=1"]);
    assert_eq!(client.field("X-Twice"), ["1", "2"]);
    assert_eq!(client.field("Origin"), ["https://app.example"]);
    // The most preferred one comes first (§4.1 item 10).
    assert_eq!(client.field("Sec-WebSocket-Protocol"), ["chat.v2, chat"]);
    assert!(client.field("Sec-WebSocket-Extensions").is_empty());
    assert!(client.sent.ends_with("\r\n\r\n"));
    assert_eq!(client.sent.matches("\r\n\r\n").count(), 1);
}

#[test]
fn a_key_is_new_and_of_sixteen_bytes_in_every_handshake() {
    // §4.1 item 7: a nonce, selected randomly for each connection.
    let request = ClientRequest::new("ws://example.com/").unwrap();
    let mut keys = HashSet::new();
    for i in 0..1_000u32 {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&i.to_le_bytes());
        let client = Client::new(&request, Config::default(), seed);
        let key = client.key();
        assert_eq!(key.len(), 24);
        // Sixteen bytes leave four bits of the 22nd character unused, and they are zero.
        let alphabet = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        assert!(key[..22].chars().all(alphabet) && key.ends_with("=="), "{key}");
        assert!("AQgw".contains(&key[21..22]), "{key}");
        assert!(keys.insert(key.to_string()), "{key} was there before");
    }
    // No bit is constant: each of the first 21 characters takes nearly all of 64 values.
    for at in 0..21 {
        let values: HashSet<u8> = keys.iter().map(|key| key.as_bytes()[at]).collect();
        assert!(values.len() > 56, "{} values at {at}", values.len());
    }
}

#[test]
fn the_masking_keys_do_not_follow_from_the_key() {
    // RFC 6455 §10.3: an observer of the request must not predict masks. So the masks have another seed than the key.
    let mut client = Client::at("ws://example.com/");
    let answer = client.answer("");
    let (mut connection, _) = client.receive(&answer).unwrap().unwrap();
    let mut out = SendBuf::new();
    connection.send("Hello", &mut out).unwrap();
    let mut direct = Connection::client(Config::default(), [3; 32]);
    let mut other = SendBuf::new();
    direct.send("Hello", &mut other).unwrap();
    assert_ne!(out.pending(), other.pending());
}

#[test]
fn credentials_in_the_url_become_basic_authorization() {
    // RFC 7617 §2.
    for (url, value) in [
        ("ws://Aladdin:open%20sesame@h/", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("ws://user@h/", "Basic dXNlcjo="),
        ("ws://user:@h/", "Basic dXNlcjo="),
        ("ws://:pass@h/", "Basic OnBhc3M="),
        ("ws://a:b:c@h/", "Basic YTpiOmM="),
        ("ws://test:123%C2%A3@h/", "Basic dGVzdDoxMjPCow=="),
        ("ws://a%40b:c%3A@h/", "Basic YUBiOmM6"),
        ("ws://a%0d%0aX%3a%20y:b@h/", "Basic YQ0KWDogeTpi"),
    ] {
        assert_eq!(Client::at(url).field("Authorization"), [value], "{url}");
    }
    assert!(Client::at("ws://h/").field("Authorization").is_empty());
}

#[test]
fn an_authorization_of_the_users_replaces_the_urls() {
    for name in ["Authorization", "authorization", "AUTHORIZATION"] {
        let request = ClientRequest::new("ws://user:secret@h/")
            .and_then(|request| request.header("X-Before", "1"))
            .and_then(|request| request.header(name, "Bearer token"))
            .and_then(|request| request.header("X-After", "2"))
            .unwrap();
        let client = Client::new(&request, Config::default(), [0; 32]);
        assert_eq!(client.field("Authorization"), ["Bearer token"]);
        assert_eq!(client.field("X-Before"), ["1"]);
        assert_eq!(client.field("X-After"), ["2"]);
    }
}

#[test]
fn a_header_of_the_users_cannot_end_early_nor_begin_another() {
    let add = |name: &str, value: &str| {
        let request = ClientRequest::new("ws://h/").unwrap();
        request.header(name, value).map(|_| ())
    };
    for bad in (0..0x20).chain([0x7f]).map(char::from).filter(|&c| c != '\t') {
        for value in [format!("a{bad}b"), format!("{bad}b"), format!("a{bad}")] {
            assert_eq!(add("X-A", &value), Err(InvalidRequest::Header("X-A".into())), "{value:?}");
            let origin = ClientRequest::new("ws://h/").unwrap().origin(&value);
            assert!(matches!(origin, Err(InvalidRequest::Header(_))), "{value:?}");
            let subprotocol = ClientRequest::new("ws://h/").unwrap().subprotocol(&value);
            assert!(matches!(subprotocol, Err(InvalidRequest::Subprotocol(_))), "{value:?}");
            let url = format!("ws://h/{value}");
            assert!(matches!(ClientRequest::new(&url), Err(InvalidRequest::Url(_))), "{url:?}");
        }
    }
    for value in ["a\r\nX-B: b", " a", "a ", "\ta", "a\t"] {
        assert!(add("X-A", value).is_err(), "{value:?}");
    }
    for value in ["", "a\tb c", "\u{e9}"] {
        assert_eq!(add("X-A", value), Ok(()), "{value:?}");
    }
    // RFC 9110 §5.6.2: what is no token character, all of ASCII.
    for byte in 0..0x80u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = format!("X{}A", char::from(byte));
        assert_eq!(add(&name, "b").is_ok(), token, "{name:?}");
        let request = ClientRequest::new("ws://h/").unwrap();
        assert_eq!(request.subprotocol(&name).is_ok(), token, "{name:?}");
    }
    for name in ["", "X-\u{e9}", "X: a\r\nY"] {
        assert_eq!(add(name, "b"), Err(InvalidRequest::Header(name.into())));
    }
}

#[test]
fn the_handshakes_own_headers_cannot_be_set() {
    for name in [
        "Host",
        "Upgrade",
        "Connection",
        "Origin",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Other",
    ] {
        for name in [name.to_string(), name.to_lowercase(), name.to_uppercase()] {
            let result = ClientRequest::new("ws://h/").unwrap().header(&name, "x");
            assert!(
                matches!(&result, Err(InvalidRequest::ReservedHeader(found)) if *found == name),
                "{name}: {result:?}"
            );
        }
    }
    // What only looks like them is the user's.
    for name in ["Sec-WebSocket", "Sec-WebSocke-", "Hosts", "X-Host", "Sec-Fetch-Mode"] {
        let request = ClientRequest::new("ws://h/").unwrap();
        assert!(request.header(name, "x").is_ok(), "{name}");
    }
}

#[test]
fn a_subprotocol_is_a_token_and_offered_once() {
    // §4.1 item 10.
    let request = ClientRequest::new("ws://h/").unwrap().subprotocol("chat").unwrap();
    for name in ["", "chat", "a b", "a,b", "a/b", "\"a\"", "a;b", "\u{e9}"] {
        assert_eq!(
            request.clone().subprotocol(name).map(|_| ()),
            Err(InvalidRequest::Subprotocol(name.into()))
        );
    }
    assert!(request.subprotocol("Chat").is_ok(), "names have case");
}

#[test]
fn a_request_tells_where_to_connect() {
    let request = ClientRequest::new("wss://user:secret@[::1]:9001/chat").unwrap();
    assert_eq!((request.host(), request.port()), ("::1", 9001));
    assert!(request.is_secure());
    let request = ClientRequest::try_from("ws://Example.com").unwrap();
    assert_eq!((request.host(), request.port()), ("Example.com", 80));
    assert!(!request.is_secure());
    let url = String::from("wss://example.com");
    assert_eq!(ClientRequest::try_from(&url).unwrap().port(), 443);
}

// The answer that opens (RFC 6455 §4.1).

#[test]
fn the_answers_headers_and_subprotocol_are_given() {
    let request = ClientRequest::new("ws://h/").unwrap();
    let request = request.subprotocol("a").unwrap().subprotocol("b").unwrap();
    let mut client = Client::new(&request, Config::default(), [1; 32]);
    let answer =
        client.answer("Sec-WebSocket-Protocol: b\r\nSet-Cookie: x=1\r\nset-cookie: y=2\r\n");
    let (_, response) = client.receive(&answer).unwrap().unwrap();
    assert_eq!((response.status(), response.subprotocol()), (101, Some("b")));
    let cookies: Vec<_> = response.headers().all("Set-Cookie").collect();
    assert_eq!(cookies, [b"x=1", b"y=2"]);
    assert!(response.body_bytes().is_empty());
}

#[test]
fn frames_behind_the_answer_stay_in_the_input() {
    let len = Client::at("ws://h/").answer("").len() + HELLO.len();
    for cut in 1..len {
        let mut client = Client::at("ws://h/");
        let bytes = [&client.answer("")[..], HELLO].concat();
        let mut opened = None;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            client.fill(piece);
            if opened.is_none() {
                opened = client.read().unwrap();
            }
        }
        let (mut connection, _) = opened.expect("all bytes are there");
        assert_eq!(client.input.unread(), HELLO, "cut at {cut}");
        let mut out = SendBuf::new();
        let progress = connection.advance(&mut client.input, &mut out);
        assert_eq!(progress, Ok(Progress::Event));
        assert_eq!(client.input.event(), Some(MessageRef::Text("Hello")));
    }
}

#[test]
fn a_response_may_have_a_head_of_the_limit_and_no_more() {
    let config = Config::default().max_head_size(1 << 10).max_headers(10);
    let request = ClientRequest::new("ws://h/").unwrap();
    let open = |more: &str| {
        let mut outcomes = Vec::new();
        for step in [usize::MAX, 1] {
            let mut client = Client::new(&request, config.clone(), [1; 32]);
            let answer = client.answer(more);
            let mut outcome = Ok(None);
            for piece in answer.chunks(step.min(answer.len())) {
                outcome = client.receive(piece);
                if !waits(&outcome) {
                    break;
                }
            }
            outcomes.push(outcome.map(|opened| opened.is_some()));
        }
        assert_eq!(outcomes[0], outcomes[1], "whole and byte by byte");
        outcomes.remove(0)
    };
    let base = Client::new(&request, config.clone(), [1; 32]).answer("").len();
    // A line may have half of it, with its CR.
    let line = |len: usize| format!("X: {}\r\n", "a".repeat(len - 5));
    assert_eq!(open(&line(513)), Ok(true));
    assert_eq!(open(&line(514)), Err(ConnectError::HeadTooBig));
    let rest = (1 << 10) - base - 400;
    assert_eq!(open(&(line(400) + &line(rest))), Ok(true));
    assert_eq!(open(&(line(400) + &line(rest + 1))), Err(ConnectError::HeadTooBig));
    assert_eq!(open(&"X:\r\n".repeat(7)), Ok(true));
    assert_eq!(open(&"X:\r\n".repeat(8)), Err(ConnectError::HeadTooBig));
}

#[test]
fn each_interim_response_has_a_head_of_its_own() {
    // RFC 9110 §15.2: any number may come. Eight are skipped, each within the limits.
    let config = Config::default().max_head_size(1 << 10);
    let request = ClientRequest::new("ws://h/").unwrap();
    let mut client = Client::new(&request, config, [1; 32]);
    let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "a".repeat(490));
    for _ in 0..8 {
        assert!(waits(&client.receive(interim.as_bytes())));
    }
    let answer = client.answer("");
    assert!(client.receive(&answer).unwrap().is_some());
}

#[test]
fn the_ninth_interim_response_ends_the_attempt() {
    let mut client = Client::at("ws://h/");
    for _ in 0..8 {
        assert!(waits(&client.receive(b"HTTP/1.1 100 Continue\r\n\r\n")));
    }
    let result = client.receive(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(result.unwrap_err(), ConnectError::TooManyInterim);
}

// The answer that refuses (RFC 9112 §6.3).

#[test]
fn a_refusal_has_the_body_that_its_length_announces() {
    let mut client = Client::at("ws://h/");
    let head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\n";
    assert!(waits(&client.receive(head)));
    assert!(waits(&client.receive(b"sor")));
    let response = client.refused(b"ry, and no more");
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers().get_str("www-authenticate"), Some("Basic"));
    assert_eq!(response.body_bytes(), b"sorry");
}

#[test]
fn a_refusal_that_is_passed_on_is_framed_anew() {
    // RFC 9110 §7.6.1: these headers belong to the connection that they came by.
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: keep-alive"] {
        let mut client = Client::at("ws://h/");
        let body = if framing.ends_with("chunked") { "5\r\nsorry\r\n0\r\n\r\n" } else { "sorry" };
        let bytes = format!("HTTP/1.1 403 No\r\n{framing}\r\nX-A: b\r\n\r\n{body}");
        client.fill(bytes.as_bytes());
        client.input.eof();
        let Err(ConnectError::Refused(response)) = client.read() else { panic!("{framing}") };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            "HTTP/1.1 403 Forbidden\r\nX-A: b\r\nConnection: close\r\nContent-Length: 5\r\n\r\nsorry"
        );
    }
    let mut client = Client::at("ws://h/");
    let response = client.refused(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n");
    let mut out = SendBuf::new();
    response.encode(&mut out);
    assert!(out.pending().starts_with(b"HTTP/1.1 500 "));
}

#[test]
fn a_refusal_that_is_cut_short_is_given_as_far_as_it_came() {
    for (head, body) in [
        ("Content-Length: 50", "part"),
        ("X: y", "part"),
        ("Content-Length: nonsense", "part"),
        ("Transfer-Encoding: chunked", "32\r\npart"),
    ] {
        let mut client = Client::at("ws://h/");
        let bytes = format!("HTTP/1.1 503 Busy\r\n{head}\r\n\r\n{body}");
        assert!(waits(&client.receive(bytes.as_bytes())), "{head}");
        client.input.eof();
        let Err(ConnectError::Refused(response)) = client.read() else {
            panic!("{head}");
        };
        assert_eq!(response.body_bytes(), b"part", "{head}");
    }
}

#[test]
fn a_chunked_refusal_is_put_together() {
    // RFC 9112 §7.1, with extensions, both cases of hexadecimal, and leading zeros.
    let body =
        "3\r\nabc\r\nA;name=\"value\"\r\n0123456789\r\n00001\r\nx\r\n0\r\nTrailer: t\r\n\r\n";
    let bytes = format!("HTTP/1.1 500 Oh\r\nTransfer-Encoding: Chunked\r\n\r\n{body}");
    for step in [1, 2, 3, 7, bytes.len()] {
        let mut client = Client::at("ws://h/");
        let mut result = Ok(None);
        for piece in bytes.as_bytes().chunks(step) {
            result = client.receive(piece);
            if !waits(&result) {
                break;
            }
        }
        let Err(ConnectError::Refused(response)) = result else {
            panic!("in steps of {step}");
        };
        assert_eq!(response.body_bytes(), b"abc0123456789x");
    }
}

#[test]
fn no_more_than_64_kib_of_a_refusal_are_kept() {
    let piece = [b'x'; 5_000];
    for fields in [
        "Content-Length: 99999999999",
        "Content-Length: 18446744073709551615",
        "X: y",
        "Transfer-Encoding: chunked",
    ] {
        let mut client = Client::at("ws://h/");
        let start = if fields.ends_with("chunked") { "ffffffff\r\n" } else { "" };
        let head = format!("HTTP/1.1 401 No\r\n{fields}\r\n\r\n{start}");
        assert!(waits(&client.receive(head.as_bytes())));
        let mut fed = 0;
        let response = loop {
            fed += piece.len();
            assert!(fed < 80_000, "{fields}: it never ends");
            match client.receive(&piece) {
                Ok(None) => assert!(client.input.unread().len() <= piece.len()),
                Err(ConnectError::Refused(response)) => break response,
                _ => panic!("{fields}"),
            }
        };
        assert_eq!(response.body_bytes().len(), 64 << 10, "{fields}");
    }
}

#[test]
fn what_is_no_content_of_a_refusal_is_not_kept_either() {
    // §10.4: the sizes and extensions of chunks are bytes of the peer's choice as well.
    for (body, again) in [
        ("1;", "a"),
        ("1;a\r\nx\r\n1;", "a"),
        ("", "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n"),
    ] {
        let mut client = Client::at("ws://h/");
        let head = format!("HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let mut result = client.receive(head.as_bytes());
        let piece = again.repeat(1_000);
        for _ in 0..2_000 {
            if !waits(&result) {
                break;
            }
            result = client.receive(piece.as_bytes());
            let unread = client.input.unread().len();
            assert!(unread < 128 << 10, "{unread} bytes wait for the end of a line");
        }
        assert!(matches!(result, Err(ConnectError::Refused(_))), "{body:?} {again:?}");
    }
}

#[test]
fn a_chunks_line_has_one_limit_however_it_is_cut() {
    for len in [10, 100, 250, 251, 252, 253, 254, 255, 256, 257, 258, 259, 300, 4_000] {
        let extension = "x".repeat(len);
        let bytes = format!(
            "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n1;{extension}\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        );
        let mut bodies = Vec::new();
        for step in [bytes.len(), 1] {
            let mut client = Client::at("ws://h/");
            let mut result = Ok(None);
            for piece in bytes.as_bytes().chunks(step) {
                result = client.receive(piece);
                if !waits(&result) {
                    break;
                }
            }
            let Err(ConnectError::Refused(response)) = result else {
                panic!("an extension of {len} bytes in steps of {step}");
            };
            bodies.push(response.body_bytes().to_vec());
        }
        assert_eq!(bodies[0], bodies[1], "an extension of {len} bytes");
        assert!(len > 200 || bodies[0] == b"ab", "an extension of {len} bytes");
    }
}

#[test]
fn some_refusals_have_no_body_whatever_they_say() {
    // RFC 9112 §6.3 item 1.
    for status in ["204 No Content", "304 Not Modified"] {
        for fields in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"] {
            let mut client = Client::at("ws://h/");
            let bytes = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\nhello");
            let response = client.refused(bytes.as_bytes());
            assert!(response.body_bytes().is_empty(), "{status} {fields}");
        }
    }
}

#[test]
fn a_refusal_of_http_1_0_is_one_and_an_upgrade_of_it_is_none() {
    let mut client = Client::at("ws://h/");
    let response = client.refused(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(response.status(), 404);
    // RFC 9110 §15.2: no 1xx for HTTP/1.0.
    for status in ["100", "101", "103", "199"] {
        let mut client = Client::at("ws://h/");
        let answer = String::from_utf8(client.answer("")).unwrap();
        let answer = answer.replace("HTTP/1.1 101", &format!("HTTP/1.0 {status}"));
        let result = client.receive(answer.as_bytes());
        assert_eq!(result.unwrap_err(), ConnectError::Malformed, "{status}");
    }
}

#[test]
fn no_status_but_101_opens_a_connection() {
    for status in 200..=999 {
        let mut client = Client::at("ws://h/");
        let answer = String::from_utf8(client.answer("Content-Length: 0\r\n")).unwrap();
        let answer = answer.replace(" 101 ", &format!(" {status:03} "));
        assert_eq!(client.refused(answer.as_bytes()).status(), status);
    }
    for status in (0..100).chain([1000]) {
        let mut client = Client::at("ws://h/");
        let answer = String::from_utf8(client.answer("")).unwrap();
        let answer = answer.replace(" 101 ", &format!(" {status:03} "));
        let result = client.receive(answer.as_bytes());
        assert_eq!(result.unwrap_err(), ConnectError::Malformed, "{status}");
    }
}

#[test]
fn an_error_stays() {
    type Bytes = fn(&Client) -> Vec<u8>;
    type IsExpected = fn(&ConnectError) -> bool;
    let first: [(Bytes, IsExpected); 5] = [
        (
            |_| b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            |error| matches!(error, ConnectError::Refused(_)),
        ),
        (|_| b"HTTP/1.1 101 Hi\r\n\r\n".to_vec(), |error| *error == ConnectError::NotUpgraded),
        (
            |client| client.answer("Sec-WebSocket-Extensions: x\r\n"),
            |error| *error == ConnectError::Extension,
        ),
        (|_| b"HTTP/1.1 099 Hi\r\n\r\n".to_vec(), |error| *error == ConnectError::Malformed),
        (|_| b"\x16\x03\x01".to_vec(), |error| *error == ConnectError::Malformed),
    ];
    for (bytes, is_expected) in first {
        let mut client = Client::at("ws://h/");
        let bytes = bytes(&client);
        let error = client.receive(&bytes).map(|_| ()).unwrap_err();
        assert!(is_expected(&error), "{error}");
        // What follows can no longer open a connection.
        let answer = client.answer("");
        for bytes in [&b""[..], &answer] {
            let again = client.receive(bytes).map(|_| ());
            assert_eq!(again, Err(error.clone()));
        }
    }
}

#[test]
fn what_cannot_become_a_status_line_fails_at_the_byte_that_shows_it() {
    // RFC 9112 §4: what is sent, and how many of its bytes are needed.
    let cases: [(&[u8], usize); 18] = [
        (b"220 smtp.invalid ESMTP\r\n", 1),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 1),
        (b"HELO relay.invalid\r\n", 2),
        // An alert of TLS: the port wants wss.
        (b"\x15\x03\x03\x00\x02\x02\x32", 1),
        (b"\x16\x03\x01", 1),
        // The settings of HTTP/2.
        (b"\0\0\x12\x04\0\0\0\0\0", 1),
        (b"<html>", 1),
        (b"+OK POP3\r\n", 1),
        (b"* OK IMAP4\r\n", 1),
        (b"RFB 003.008\n", 1),
        (b"HTTP/2 101\r\n", 6),
        (b"HTTP/1.2 101 Hi\r\n", 8),
        (b"HTTP/1.1\t101 Hi\r\n", 9),
        (b"HTTP/1.1 099 Hi\r\n", 10),
        (b"HTTP/1.1 10 Hi\r\n", 12),
        (b"HTTP/1.1 1010 Hi\r\n", 13),
        (b"HTTP/1.1 101 H\0\r\n", 15),
        (b"HTTP/1.1 101 Hi\rX", 17),
    ];
    for empty_line in [&b""[..], b"\r\n"] {
        for (bytes, needed) in cases {
            let shown = String::from_utf8_lossy(bytes);
            let start = [empty_line, &bytes[..needed - 1]].concat();
            for more in [&b""[..], b"x", HELLO, &[b'a'; 20_000]] {
                let mut whole = Client::at("ws://h/");
                let all = [empty_line, &bytes[..needed], more].concat();
                assert_eq!(
                    whole.receive(&all).map(drop),
                    Err(ConnectError::Malformed),
                    "{shown:?}"
                );
            }
            let mut slow = Client::at("ws://h/");
            for &byte in &start {
                assert!(waits(&slow.receive(&[byte])), "{shown:?}");
            }
            let last = slow.receive(&bytes[needed - 1..needed]);
            assert_eq!(last.map(drop), Err(ConnectError::Malformed), "{shown:?}");
        }
    }
}

// Time (RFC 6455 §10.4), on a clock that is set by hand.

#[test]
fn the_deadline_is_absolute_and_interim_responses_do_not_prolong_it() {
    let timeout = Duration::from_secs(4);
    let request = ClientRequest::new("ws://h/").unwrap();
    let mut client = Client::new(&request, Config::default().handshake_timeout(timeout), [1; 32]);
    let start = Duration::from_secs(70);
    assert_eq!(client.handshake.deadline(start), Some(start + timeout));
    for second in 1..4 {
        assert!(waits(&client.receive(b"HTTP/1.1 100 Continue\r\n\r\n")));
        let now = start + Duration::from_secs(second);
        assert_eq!(client.handshake.deadline(now), Some(start + timeout));
        assert_eq!(client.handshake.on_time(now), Ok(()));
    }
    let late = start + timeout;
    assert_eq!(client.handshake.on_time(late - Duration::from_nanos(1)), Ok(()));
    assert_eq!(client.handshake.on_time(late), Err(ConnectError::TimedOut));
}

#[test]
fn a_refusal_whose_body_is_late_is_given_at_the_deadline() {
    let mut client = Client::at("ws://h/");
    let start = Duration::from_secs(1);
    let deadline = client.handshake.deadline(start).unwrap();
    assert_eq!(deadline, start + Duration::from_secs(10));
    assert!(waits(
        &client.receive(b"HTTP/1.1 429 Slow\r\nRetry-After: 5\r\nContent-Length: 9\r\n\r\nlater")
    ));
    assert_eq!(client.handshake.on_time(start), Ok(()));
    let Err(ConnectError::Refused(response)) = client.handshake.on_time(deadline) else {
        panic!("the refusal is known");
    };
    assert_eq!((response.status(), response.body_bytes()), (429, &b"later"[..]));
    // And it stays: what follows is no other answer.
    let answer = client.answer("");
    let again = client.receive(&answer).map(|_| ());
    assert!(matches!(again, Err(ConnectError::Refused(_))), "{again:?}");
    let again = client.handshake.on_time(deadline);
    assert!(matches!(again, Err(ConnectError::Refused(_))), "{again:?}");
}

/// The heads of refusals whose bodies do not end by themselves, and the start of their bodies.
const ENDLESS: [(&str, &str, &str); 9] = [
    ("HTTP/1.1 200 OK\r\n", "", ""),
    ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "<html>", "<html>"),
    ("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n", "", ""),
    ("HTTP/1.1 401 No\r\nContent-Length: 9\r\n", "", ""),
    ("HTTP/1.1 401 No\r\nContent-Length: 9\r\n", "later", "later"),
    ("HTTP/1.1 301 Gone\r\nTransfer-Encoding: chunked\r\n", "5\r\nlat", "lat"),
    ("HTTP/1.1 301 Gone\r\nTransfer-Encoding: chunked\r\n", "", ""),
    ("HTTP/1.0 503 Busy\r\nConnection: keep-alive\r\n", "later", "later"),
    ("HTTP/1.1 999 What\r\nContent-Length: x\r\n", "later", "later"),
];

#[test]
fn a_refusal_whose_body_never_ends_is_told_after_a_second() {
    // RFC 9112 §6.3: the status has decided; without a length, the body ends with a connection that may stay open.
    let (start, second) = (Duration::from_secs(100), Duration::from_secs(1));
    for timeout in [None, Some(Duration::from_secs(10)), Some(Duration::from_secs(1 << 20))] {
        for (head, body, kept) in ENDLESS {
            for step in [1, usize::MAX] {
                let request = ClientRequest::new("ws://h/").unwrap();
                let config = Config::default().handshake_timeout(timeout);
                let mut client = Client::new(&request, config, [1; 32]);
                let whole = timeout.map(|timeout| start.saturating_add(timeout));
                assert_eq!(client.handshake.deadline(start), whole);
                let bytes = format!("{head}\r\n{body}");
                for piece in bytes.as_bytes().chunks(step.min(bytes.len())) {
                    assert!(waits(&client.receive(piece)), "{head}");
                }
                // The head took two seconds. The body has one second from the next look at the clock.
                let now = start + 2 * second;
                assert_eq!(client.handshake.deadline(now), Some(now + second), "{head}");
                // What comes later prolongs nothing.
                let later = now + second / 2;
                assert_eq!(client.handshake.on_time(later), Ok(()));
                assert_eq!(client.handshake.deadline(later), Some(now + second));
                assert_eq!(
                    client.handshake.on_time(now + second - Duration::from_nanos(1)),
                    Ok(())
                );
                for _ in 0..2 {
                    let Err(ConnectError::Refused(response)) =
                        client.handshake.on_time(now + second)
                    else {
                        panic!("{head}");
                    };
                    assert_eq!(response.status(), head[9..12].parse::<u16>().unwrap());
                    assert_eq!(response.body_bytes(), kept.as_bytes(), "{head}");
                }
            }
        }
    }
}

#[test]
fn the_whole_handshakes_deadline_holds_for_a_refusals_body_too() {
    let timeout = Duration::from_millis(300);
    let request = ClientRequest::new("ws://h/").unwrap();
    let mut client = Client::new(&request, Config::default().handshake_timeout(timeout), [1; 32]);
    let start = Duration::from_secs(5);
    assert_eq!(client.handshake.deadline(start), Some(start + timeout));
    assert!(waits(&client.receive(b"HTTP/1.1 401 No\r\n\r\n")));
    assert_eq!(client.handshake.deadline(start + timeout / 2), Some(start + timeout));
    let result = client.handshake.on_time(start + timeout);
    assert!(matches!(result, Err(ConnectError::Refused(_))), "{result:?}");
}

#[test]
fn a_refusal_without_a_body_is_told_at_once() {
    // RFC 9112 §6.3: items 1 and 6, and §7.1 for the last chunk. A connection that stays open changes nothing.
    for head in [
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 401 No\r\nContent-Length: 0\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n",
    ] {
        for more in ["", "x", "HTTP/1.1 101 Switching Protocols\r\n\r\n"] {
            let mut client = Client::at("ws://h/");
            let bytes = format!("{head}\r\n{more}");
            assert!(client.refused(bytes.as_bytes()).body_bytes().is_empty(), "{head}");
        }
        let mut client = Client::at("ws://h/");
        let bytes = format!("{head}\r\n");
        let (last, before) = bytes.as_bytes().split_last().unwrap();
        for &byte in before {
            assert!(waits(&client.receive(&[byte])), "{head}");
        }
        assert!(client.refused(&[*last]).body_bytes().is_empty(), "{head}");
    }
}

#[test]
fn interim_responses_begin_no_grace() {
    let mut client = Client::at("ws://h/");
    let start = Duration::from_secs(1);
    let whole = Some(start + Duration::from_secs(10));
    assert_eq!(client.handshake.deadline(start), whole);
    assert!(waits(&client.receive(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n")));
    assert_eq!(client.handshake.deadline(start + Duration::from_secs(2)), whole);
}

#[test]
fn without_a_timeout_there_is_no_deadline() {
    let request = ClientRequest::new("ws://h/").unwrap();
    let mut client = Client::new(&request, Config::default().handshake_timeout(None), [1; 32]);
    assert_eq!(client.handshake.deadline(Duration::ZERO), None);
    assert_eq!(client.handshake.on_time(Duration::MAX), Ok(()));
}

// What a program says of itself.

/// The values of all headers of this name.
fn sent(request: &ClientRequest, name: &str) -> Vec<String> {
    let (_, headers) = ClientHandshake::start(request, Config::default(), [7; 32]);
    headers.all(name).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

#[test]
fn the_last_credentials_are_the_ones_that_are_sent() {
    let with_url = || ClientRequest::new("ws://user:pw@h/").unwrap();
    let authorization = |request: ClientRequest| sent(&request, "Authorization");
    assert_eq!(authorization(with_url()), ["Basic dXNlcjpwdw=="]);
    assert_eq!(authorization(with_url().bearer("abc.def").unwrap()), ["Bearer abc.def"]);
    assert_eq!(authorization(with_url().basic("u", "p:w").unwrap()), ["Basic dTpwOnc="]);
    assert_eq!(authorization(with_url().basic("u", "").unwrap()), ["Basic dTo="]);
    let custom = |request: ClientRequest| request.header("authorization", "Custom x").unwrap();
    assert_eq!(authorization(custom(with_url())), ["Custom x"]);
    assert_eq!(authorization(custom(with_url().bearer("t").unwrap())), ["Custom x"]);
    assert_eq!(authorization(custom(with_url()).bearer("t").unwrap()), ["Bearer t"]);
    let plain = ClientRequest::new("ws://h/").unwrap();
    assert_eq!(authorization(plain.clone()), Vec::<String>::new());
    // RFC 7617 §2 has no colon in the name, and no control characters.
    for (user, password) in [("a:b", "c"), ("a\n", "b"), ("a", "b\0")] {
        assert!(plain.clone().basic(user, password).is_err(), "{user:?}");
    }
    for token in ["", "a\r\nX: y", " a"] {
        assert!(plain.clone().bearer(token).is_err(), "{token:?}");
    }
}

#[test]
fn a_user_agent_is_sent_unless_the_program_has_none() {
    let plain = || ClientRequest::new("ws://h/").unwrap();
    let own = concat!("bowline/", env!("CARGO_PKG_VERSION"));
    assert_eq!(sent(&plain(), "User-Agent"), [own]);
    assert_eq!(sent(&plain().header("user-agent", "mine").unwrap(), "User-Agent"), ["mine"]);
    assert_eq!(sent(&plain().user_agent("mine/1").unwrap(), "User-Agent"), ["mine/1"]);
    let twice = plain().user_agent("mine/1").unwrap().user_agent("mine/2").unwrap();
    assert_eq!(sent(&twice, "User-Agent"), ["mine/2"]);
    assert!(sent(&plain().user_agent(None).unwrap(), "User-Agent").is_empty());
    assert!(plain().user_agent("a\nb").is_err());
}

#[test]
fn a_header_that_cannot_be_added_leaves_the_request_as_it_was() {
    let mut request = ClientRequest::new("ws://user:pw@h/").unwrap();
    for (name, value) in
        [("Authorization", "a\r\nb"), ("X Y", "z"), ("Host", "h"), ("Upgrade", "x")]
    {
        assert!(request.try_header(name, value).is_err(), "{name}");
        assert_eq!(sent(&request, "Authorization"), ["Basic dXNlcjpwdw=="], "{name}");
    }
    request.try_header("X-Room", "7").unwrap();
    assert_eq!(sent(&request, "x-room"), ["7"]);
}

#[test]
fn the_requests_own_timeout_goes_before_the_configurations() {
    use std::time::Duration;
    let second = Duration::from_secs(1);
    let deadline = |request: &ClientRequest| {
        ClientHandshake::start(request, Config::default(), [7; 32]).0.deadline(second)
    };
    let request = ClientRequest::new("ws://h/").unwrap();
    assert_eq!(deadline(&request), Some(11 * second));
    assert_eq!(deadline(&request.clone().timeout(3 * second)), Some(4 * second));
    assert_eq!(deadline(&request.timeout(None)), None);
}
