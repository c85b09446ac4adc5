//! A battery of attacks on the opening handshake: bytes, and the exact reaction, of a server and of a client. A number
//! names a case for ever, so there are gaps. Each case comes whole, byte by byte and cut at every place, with the same
//! outcome. The classes of the cases follow without numbers.

use bowline::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, RequestError, ServerHandshake, accept_key,
};
use bowline::{Config, Connection, Message, Progress, RecvBuf, Role, Rule, SendBuf};

use crate::support::{close_code, decode};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// "Hello" as RFC 6455 §5.7 shows it, from a client and from a server.
const HELLO_MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

// Heads, and every way to cut them.

/// A head under construction: its lines, and the bytes after it.
#[derive(Clone)]
struct Head {
    lines: Vec<Vec<u8>>,
    behind: Vec<u8>,
}

impl Head {
    fn new(lines: &[&str]) -> Self {
        Self {
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
            behind: Vec::new(),
        }
    }

    fn first_line(mut self, line: &str) -> Self {
        self.lines[0] = line.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        let before = self.lines.len();
        let start = format!("{name}:");
        self.lines.retain(|line| !line.starts_with(start.as_bytes()));
        assert!(self.lines.len() < before, "there is a {name}");
        self
    }

    fn with(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(line.as_ref().to_vec());
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let start = format!("{name}:");
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.starts_with(start.as_bytes()))
            .expect("the base has that field");
        *line = format!("{name}: {value}").into();
        self
    }

    fn behind(mut self, bytes: &[u8]) -> Self {
        self.behind = bytes.into();
        self
    }

    fn ends_with(&self, line_end: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in self.lines.iter().map(Vec::as_slice).chain([&b""[..]]) {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(line_end.as_bytes());
        }
        bytes.extend_from_slice(&self.behind);
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        self.ends_with("\r\n")
    }
}

/// The request that all others differ from.
fn request() -> Head {
    Head::new(&[
        "GET /chat HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        &format!("Sec-WebSocket-Key: {KEY}"),
        "Sec-WebSocket-Version: 13",
    ])
}

/// The answer that all others differ from. `{accept}` stands for the value that the client's key calls for.
fn answer() -> Head {
    Head::new(&[
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: {accept}",
    ])
}

/// Where to cut: nowhere, everywhere, and in two at every place; of long input at the ends of lines (of many lines the
/// first and the last) and at seeded places.
fn splits(bytes: &[u8]) -> Vec<Vec<usize>> {
    let len = bytes.len();
    let mut splits = vec![vec![], (1..len).collect::<Vec<_>>()];
    let mut places: Vec<usize> = if len <= 512 {
        (1..len).collect()
    } else {
        let ends: Vec<usize> = (0..len).filter(|&at| bytes[at] == b'\n').collect();
        let (first, last) = (ends.iter().take(64), ends.iter().rev().take(16));
        // A small linear generator; the same numbers in every run.
        let mut state = len as u64;
        let seeded = (0..200).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % len
        });
        first.chain(last).flat_map(|&at| [at, at + 1]).chain(seeded).collect()
    };
    places.retain(|&at| 0 < at && at < len);
    places.sort_unstable();
    places.dedup();
    splits.extend(places.into_iter().map(|at| vec![at]));
    splits
}

/// The reads that bring `bytes` cut at `places`: never more at once than the buffer has room for.
struct Reads<'a> {
    rest: &'a [u8],
    places: std::slice::Iter<'a, usize>,
    next: Option<usize>,
    at: usize,
}

impl<'a> Reads<'a> {
    fn new(bytes: &'a [u8], places: &'a [usize]) -> Self {
        let mut places = places.iter();
        let next = places.next().copied();
        Self { rest: bytes, places, next, at: 0 }
    }

    /// Makes one read; `false` if all bytes have come.
    fn read(&mut self, input: &mut RecvBuf) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        // What an adapter does before it waits.
        input.release();
        let space = input.space();
        let until_cut = self.next.map_or(usize::MAX, |place| place - self.at);
        let n = space.len().min(self.rest.len()).min(until_cut);
        space[..n].copy_from_slice(&self.rest[..n]);
        input.filled(n);
        self.rest = &self.rest[n..];
        self.at += n;
        if self.next == Some(self.at) {
            self.next = self.places.next().copied();
        }
        true
    }
}

// A naive reader of HTTP answers.

#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("the answer has an end of its head");
        let head = std::str::from_utf8(&bytes[..end]).expect("the head is ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.strip_prefix("HTTP/1.1 ").expect("the version comes first");
        assert_eq!(status.as_bytes()[3], b' ', "{status_line:?}");
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a field has a colon");
                (name.to_ascii_lowercase(), value.to_string())
            })
            .collect();
        Self {
            status: status[..3].parse().expect("the status is a number"),
            fields,
            body: bytes[end + 4..].to_vec(),
        }
    }

    #[track_caller]
    fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(found, _)| found == name);
        let first = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} is there once: {self:?}");
        first
    }

    /// A refusal that every HTTP client can read to its end.
    #[track_caller]
    fn assert_refusal(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        let connection = self.get("connection").expect("Connection is there");
        let lists =
            |token| connection.split(", ").any(|element| element.eq_ignore_ascii_case(token));
        assert!(lists("close"), "{self:?}");
        let length = self.get("content-length").expect("the body has a length");
        assert_eq!(length, self.body.len().to_string());
        assert!(!self.body.is_empty() && self.body.len() < 256, "the body says why, and briefly");
        assert_eq!(self.get("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.get("transfer-encoding"), None);
        assert_eq!(self.get("sec-websocket-accept"), None);
        // RFC 9110 §15.5.6: a 405 lists the methods that would do.
        assert_eq!(self.get("allow"), (status == 405).then_some("GET"));
        // RFC 9110 §15.5.22: a 426 names the protocol; §7.8: and lists Upgrade in Connection.
        assert_eq!(self.get("upgrade"), (status == 426).then_some("websocket"));
        assert_eq!(lists("upgrade"), status == 426, "{self:?}");
        if status == 426 {
            // RFC 6455 §4.4.
            assert_eq!(self.get("sec-websocket-version"), Some("13"));
        }
    }

    /// RFC 6455 §4.2.2: what opens the connection, and nothing that was not asked for.
    #[track_caller]
    fn assert_opens(&self, accept: &str, subprotocol: Option<&str>) {
        assert_eq!(self.status, 101, "{self:?}");
        assert_eq!(self.get("upgrade"), Some("websocket"));
        assert_eq!(self.get("connection"), Some("Upgrade"));
        assert_eq!(self.get("sec-websocket-accept"), Some(accept));
        assert_eq!(self.get("sec-websocket-protocol"), subprotocol);
        assert_eq!(self.get("sec-websocket-extensions"), None);
        // RFC 9110 §8.6, RFC 9112 §6.1: never in a 1xx.
        assert_eq!(self.get("content-length"), None);
        assert_eq!(self.get("transfer-encoding"), None);
        assert!(self.body.is_empty());
    }
}

// What happens on the connection after the handshake.

/// What came of the bytes that follow a head.
#[derive(Clone, Debug, PartialEq)]
struct After {
    messages: Vec<Message>,
    failed: Option<Rule>,
    /// The close code that was sent, if a Close was.
    close: Option<u16>,
}

/// Decodes the one frame that may have been sent: a Close.
#[track_caller]
fn close_sent(role: Role, sent: &[u8]) -> Option<u16> {
    let frames = decode(role, sent);
    assert!(frames.len() <= 1 && frames.iter().all(|frame| frame.fin), "{frames:?}");
    frames.first().map(close_code)
}

fn go_on(
    connection: &mut Connection,
    input: &mut RecvBuf,
    reads: &mut Reads<'_>,
    role: Role,
) -> After {
    let mut out = SendBuf::new();
    let mut after = After { messages: Vec::new(), failed: None, close: None };
    loop {
        match connection.advance(input, &mut out) {
            Ok(Progress::Event) => after.messages.push(input.take_event().expect("announced")),
            Ok(Progress::NeedInput) => {
                if !reads.read(input) {
                    break;
                }
            }
            Ok(Progress::Ended) => break,
            Err(error) => {
                after.failed = Some(error.rule());
                break;
            }
        }
    }
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    after.close = close_sent(role, &sent);
    after
}

// Part A: the attacker is the client.

#[derive(Clone, Debug, PartialEq)]
enum Served {
    Open(Vec<u8>, After),
    Refused(RequestError),
    /// The request is not complete yet.
    Waiting,
}

/// A server with one subprotocol, `chat`.
fn serve(bytes: &[u8], places: &[usize], config: &Config) -> Served {
    let mut handshake = ServerHandshake::new(config.clone());
    let mut input = RecvBuf::new();
    let mut reads = Reads::new(bytes, places);
    while reads.read(&mut input) {
        let request = match handshake.read(&mut input) {
            Ok(None) => continue,
            Ok(Some(request)) => request,
            Err(error) => return Served::Refused(error),
        };
        let (mut connection, response) = match request.upgrade(config) {
            Ok(upgrade) => upgrade
                .accept(Accept::new().subprotocol(request.select_subprotocol(&["chat"])))
                .expect("what was selected was offered"),
            Err(error) => return Served::Refused(error),
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        let sent = out.pending_slices().flatten().copied().collect();
        return Served::Open(sent, go_on(&mut connection, &mut input, &mut reads, Role::Server));
    }
    Served::Waiting
}

/// The outcome, which is the same however the bytes are cut.
#[track_caller]
fn served(title: &str, bytes: &[u8], config: &Config) -> Served {
    let expected = serve(bytes, &[], config);
    for places in splits(bytes) {
        let outcome = serve(bytes, &places, config);
        let shown = if places.len() > 1 { &[][..] } else { &places };
        assert_eq!(outcome, expected, "{title}: cut at {shown:?}");
    }
    expected
}

enum Expect {
    /// 101, with this subprotocol.
    Open(Option<&'static str>),
    /// 101, with this accept value: the key is another one.
    OpenAs(&'static str),
    /// 101, then this rule of framing is broken.
    OpenThen(Rule),
    Refuse(RequestError, u16),
}
use Expect::{Open, OpenAs, OpenThen, Refuse};

#[track_caller]
fn check_server(title: &str, head: &Head, expect: &Expect) {
    check_server_bytes(title, &head.bytes(), expect);
}

#[track_caller]
fn check_server_bytes(title: &str, bytes: &[u8], expect: &Expect) {
    println!("{title}");
    let config = Config::default();
    match (served(title, bytes, &config), expect) {
        (Served::Open(sent, after), Open(_) | OpenAs(_)) => {
            let (accept, subprotocol) = match *expect {
                OpenAs(accept) => (accept, None),
                Open(subprotocol) => (ACCEPT, subprotocol),
                _ => unreachable!("the pattern has these two"),
            };
            Answer::parse(&sent).assert_opens(accept, subprotocol);
            assert_eq!(
                (after.failed, after.close),
                (None, None),
                "{title}: nothing of the head is left"
            );
            // Frames right after the head are not lost, wherever the bytes are cut.
            let more = [bytes, HELLO_MASKED].concat();
            match served(title, &more, &config) {
                Served::Open(_, after) => assert_eq!(after.messages.last(), Some(&"Hello".into())),
                other => panic!("{title}: {other:?}"),
            }
        }
        (Served::Open(sent, after), OpenThen(rule)) => {
            Answer::parse(&sent).assert_opens(ACCEPT, None);
            assert_eq!(after.failed, Some(*rule), "{title}");
            assert_eq!(after.close, Some(rule.close_code().get()), "{title}");
            assert!(after.messages.is_empty(), "{title}: {after:?}");
        }
        (Served::Refused(error), Refuse(expected, status)) => {
            assert_eq!(error, *expected, "{title}");
            let mut out = SendBuf::new();
            error.response().encode(&mut out);
            let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
            let answer = Answer::parse(&sent);
            answer.assert_refusal(*status);
            if error == RequestError::VersionMissing {
                // RFC 6455 §4.4: a client that names no version also gets the supported one.
                assert_eq!(answer.get("sec-websocket-version"), Some("13"));
            }
        }
        (other, _) => panic!("{title}: {other:?}"),
    }
}

const BODY: Expect = Refuse(RequestError::Body, 400);
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
const FOREIGN: Expect = Refuse(RequestError::ForeignOrigin, 403);
const HOST: Expect = Refuse(RequestError::Host, 400);
const KEY_WRONG: Expect = Refuse(RequestError::Key, 400);
const MALFORMED: Expect = Refuse(RequestError::Malformed, 400);
const METHOD: Expect = Refuse(RequestError::Method, 405);
const NOT_UPGRADE: Expect = Refuse(RequestError::NotUpgrade, 426);
const SUBPROTOCOLS: Expect = Refuse(RequestError::Subprotocols, 400);
const TARGET: Expect = Refuse(RequestError::Target, 400);
const TOO_BIG: Expect = Refuse(RequestError::HeadTooBig, 431);
const VERSION: Expect = Refuse(RequestError::Version, 426);
const VERSION_MISSING: Expect = Refuse(RequestError::VersionMissing, 400);
const HTTP_VERSION: Expect = Refuse(RequestError::HttpVersion, 505);

#[rustfmt::skip]
fn server_cases() -> Vec<(&'static str, &'static str, Head, Expect)> {
    let g = request;
    let line = |line: &str| request().first_line(line);
    let set = |name: &str, value: &str| request().set(name, value);
    let with = |name: &str, value: &str| request().with(format!("{name}: {value}"));
    let offers = "permessage-deflate; foo, ".repeat(316);
    vec![
        ("H01", "a well-formed request", g(), Open(None)),
        ("H02", "POST", line("POST /chat HTTP/1.1"), METHOD),
        ("H04", "HTTP/2.0 in a request line of HTTP/1", line("GET /chat HTTP/2.0"), HTTP_VERSION),
        ("H05", "the preface of HTTP/2", Head::new(&["PRI * HTTP/2.0"]).behind(b"SM\r\n\r\n"), HTTP_VERSION),
        ("H07", "no Host", g().without("Host"), HOST),
        ("H08", "two Hosts", with("Host", "evil.example"), HOST),
        ("H10", "Upgrade in other case", set("Upgrade", "WebSocket"), Open(None)),
        ("H11", "Upgrade is a list", set("Upgrade", "h2c, websocket"), Open(None)),
        ("H13", "a token that ends in upgrade", set("Connection", "notupgrade"), NOT_UPGRADE),
        ("H14", "Connection is a list", set("Connection", "keep-alive, Upgrade"), Open(None)),
        ("H16", "Connection: close", set("Connection", "close"), NOT_UPGRADE),
        ("H17", "no key", g().without("Sec-WebSocket-Key"), KEY_WRONG),
        ("H19", "a key of 15 bytes", set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"), KEY_WRONG),
        ("H20", "a key of 17 bytes", set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="), KEY_WRONG),
        ("H22", "no version", g().without("Sec-WebSocket-Version"), VERSION_MISSING),
        ("H23", "version 12", set("Sec-WebSocket-Version", "12"), VERSION),
        ("H25", "versions 13 and 8", with("Sec-WebSocket-Version", "8"), VERSION_MISSING),
        ("H26", "a foreign origin", with("Origin", "https://evil.example"), FOREIGN),
        ("H28", "an origin that begins with the host", with("Origin", "http://127.0.0.1.evil.example"), FOREIGN),
        ("H29", "an origin with the host as user", with("Origin", "http://127.0.0.1@evil.example"), FOREIGN),
        ("H31", "the same origin", with("Origin", "http://127.0.0.1"), Open(None)),
        ("H32", "a body", with("Content-Length", "5").behind(b"hello"), BODY),
        ("H34", "both kinds of length", with("Content-Length", "5").with("Transfer-Encoding: chunked").behind(b"0\r\n\r\n"), BODY),
        ("H35", "two lengths", with("Content-Length", "0").with("Content-Length: 5"), BODY),
        ("H37", "a space before the colon", g().with("X-A : b"), MALFORMED),
        ("H38", "NUL in a value", g().with("X-A: b\0c"), MALFORMED),
        ("H41", "a space in a name", g().with("X A: b"), MALFORMED),
        ("H43", "a fragment", line("GET /chat#x HTTP/1.1"), TARGET),
        ("H44", "a target of 16 KiB", line(&format!("GET /{} HTTP/1.1", "a".repeat(16_384))), Refuse(RequestError::TargetTooLong, 414)),
        ("H46", "2,001 small headers", (0..2_001).fold(g(), |head, i| head.with(format!("x{i}:"))), TOO_BIG),
        ("H47", "a subprotocol with 7,000 spaces inside", with("Sec-WebSocket-Protocol", &format!("b{}x", " ".repeat(7_000))), SUBPROTOCOLS),
        ("H49", "extensions that scripts stumble over", with(EXTENSIONS, "constructor, __proto__, hasOwnProperty"), Open(None)),
        ("H50", "a window of 1,000 bits", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=1000"), Open(None)),
        ("H52", "a window with a leading zero", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=010"), Open(None)),
        ("H53", "a value where none belongs", with(EXTENSIONS, "permessage-deflate; server_no_context_takeover=1"), Open(None)),
        ("H55", "an unknown parameter", with(EXTENSIONS, "permessage-deflate; foo=1"), Open(None)),
        ("H56", "a bad offer before a good one", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=16, permessage-deflate"), Open(None)),
        ("H58", "a quoted value", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=\"12\""), Open(None)),
        ("H59", "316 offers in one line", with(EXTENSIONS, &format!("{offers}permessage-deflate; foo")), Open(None)),
        ("H61", "an unknown subprotocol", with("Sec-WebSocket-Protocol", "evil"), Open(None)),
        ("H62", "byte by byte", g(), Open(None)),
        // 0x47 has the bit of RSV1: what follows the head is frames, and never a request.
        ("H64", "a second request behind the first", g().behind(b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"), OpenThen(Rule::ReservedBits)),
    ]
}

#[test]
fn a_server_reacts_to_each_case_however_it_is_cut() {
    for (id, title, head, expect) in server_cases() {
        check_server(&format!("{id} {title}"), &head, &expect);
    }
}

#[test]
fn h40_a_server_refuses_lines_that_end_in_a_bare_lf() {
    // RFC 9112 §2.2 leaves the choice. Parsers that disagree on where a line ends see different headers.
    check_server_bytes("all lines", &request().ends_with("\n"), &MALFORMED);
    let whole = request().bytes();
    for (at, _) in whole.iter().enumerate().filter(|&(_, &byte)| byte == b'\r') {
        let mut bytes = whole.clone();
        bytes.remove(at);
        check_server_bytes(&format!("without the CR at {at}"), &bytes, &MALFORMED);
    }
}

/// The lines with their names in lower case (RFC 9110 §5.1).
fn lowered(head: Head) -> Vec<Vec<u8>> {
    let lower = |line: Vec<u8>| {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(0);
        [&line[..colon].to_ascii_lowercase(), &line[colon..]].concat()
    };
    head.lines.into_iter().map(lower).collect()
}

/// The classes of the cases of part A.
#[rustfmt::skip]
fn server_classes() -> Vec<(&'static str, Head, Expect)> {
    let g = request;
    let line = |line: &str| request().first_line(line);
    let set = |name: &str, value: &str| request().set(name, value);
    let with = |name: &str, value: &str| request().with(format!("{name}: {value}"));
    let key = |value: &str| request().set("Sec-WebSocket-Key", value);
    vec![
        // The request line (RFC 6455 §4.2.1 item 1, RFC 9112 §3).
        ("HTTP/1.0", line("GET /chat HTTP/1.0"), HTTP_VERSION),
        ("HTTP/1.2", line("GET /chat HTTP/1.2"), HTTP_VERSION),
        ("HTTP/0.9", line("GET /chat"), MALFORMED),
        ("a version in lower case", line("GET /chat http/1.1"), HTTP_VERSION),
        ("another protocol", line("GET /chat ICAP/1.0"), HTTP_VERSION),
        ("bytes behind the version", line("GET /chat HTTP/1.1 x"), MALFORMED),
        ("HEAD", line("HEAD /chat HTTP/1.1"), METHOD),
        ("CONNECT with an authority", line("CONNECT 127.0.0.1:80 HTTP/1.1"), METHOD),
        ("OPTIONS *", line("OPTIONS * HTTP/1.1"), METHOD),
        ("methods have case", line("get /chat HTTP/1.1"), METHOD),
        ("a longer method", line("GETX /chat HTTP/1.1"), METHOD),
        ("no method", line(" /chat HTTP/1.1"), MALFORMED),
        ("no target", line("GET  HTTP/1.1"), MALFORMED),
        ("two spaces before the target", line("GET  /chat HTTP/1.1"), MALFORMED),
        ("two spaces behind the target", line("GET /chat  HTTP/1.1"), HTTP_VERSION),
        ("a tab for a space", line("GET\t/chat HTTP/1.1"), MALFORMED),
        ("a space in the target", line("GET /a b HTTP/1.1"), HTTP_VERSION),
        ("NUL in the target", line("GET /a\0b HTTP/1.1"), MALFORMED),
        ("DEL in the target", line("GET /a\x7fb HTTP/1.1"), MALFORMED),
        ("a target that is no URI character", line("GET /caf\u{e9} HTTP/1.1"), TARGET),
        ("a target without a slash", line("GET chat HTTP/1.1"), TARGET),
        ("GET *", line("GET * HTTP/1.1"), TARGET),
        ("a target of another scheme", line("GET ftp://127.0.0.1/chat HTTP/1.1"), TARGET),
        ("an absolute target", line("GET http://127.0.0.1/chat HTTP/1.1"), Open(None)),
        ("an absolute target in capitals", line("GET HTTPS://127.0.0.1/chat HTTP/1.1"), Open(None)),
        ("an empty line before the request", line("\r\nGET /chat HTTP/1.1"), Open(None)),
        ("two empty lines before the request", line("\r\n\r\nGET /chat HTTP/1.1"), MALFORMED),
        ("a CR before the request", line("\rGET /chat HTTP/1.1"), MALFORMED),

        // Host (RFC 9112 §3.2).
        ("an empty Host", set("Host", ""), HOST),
        ("the same Host twice", with("Host", "127.0.0.1"), HOST),
        ("two hosts in one Host", set("Host", "a, b"), HOST),
        ("a Host with a user", set("Host", "user@127.0.0.1"), HOST),
        ("a Host with a path", set("Host", "127.0.0.1/chat"), HOST),
        ("a Host with a scheme", set("Host", "http://127.0.0.1"), HOST),
        ("a Host with a space", set("Host", "a b"), HOST),
        ("a Host with a port that is none", set("Host", "127.0.0.1:http"), HOST),
        ("a Host with a signed port", set("Host", "127.0.0.1:+80"), HOST),
        ("a Host with a port of 17 bits", set("Host", "127.0.0.1:65536"), HOST),
        ("a Host with two ports", set("Host", "127.0.0.1:80:80"), HOST),
        ("a Host with an address that is none", set("Host", "[::g]"), HOST),
        ("a Host with bytes behind its address", set("Host", "[::1]x"), HOST),
        ("a Host with an open bracket", set("Host", "[::1"), HOST),
        ("a Host that is an IPv6 address without brackets", set("Host", "::1"), HOST),
        ("a Host with an address and a port", set("Host", "[::1]:9001"), Open(None)),
        ("a Host with a percent-encoded name", set("Host", "caf%C3%A9.example"), Open(None)),
        ("a Host with a trailing dot", set("Host", "example.com."), Open(None)),

        // Upgrade and Connection (RFC 6455 §4.2.1 items 3 and 4).
        ("no Upgrade", g().without("Upgrade"), NOT_UPGRADE),
        ("an empty Upgrade", set("Upgrade", ""), NOT_UPGRADE),
        ("another Upgrade", set("Upgrade", "h2c"), NOT_UPGRADE),
        ("a longer Upgrade", set("Upgrade", "websocketx"), NOT_UPGRADE),
        ("a shorter Upgrade", set("Upgrade", "websocke"), NOT_UPGRADE),
        ("an Upgrade with a version", set("Upgrade", "websocket/13"), NOT_UPGRADE),
        ("Upgrade over two lines", with("Upgrade", "h2c"), Open(None)),
        ("an Upgrade with empty elements", set("Upgrade", " ,, websocket ,"), Open(None)),
        ("no Connection", g().without("Connection"), NOT_UPGRADE),
        ("a longer Connection", set("Connection", "upgraded"), NOT_UPGRADE),
        ("a Connection with a hyphen", set("Connection", "x-upgrade"), NOT_UPGRADE),
        ("a Connection with spaces for commas", set("Connection", "keep-alive Upgrade"), NOT_UPGRADE),
        ("a Connection with semicolons for commas", set("Connection", "keep-alive; Upgrade"), NOT_UPGRADE),
        ("Connection over two lines", with("Connection", "keep-alive"), Open(None)),
        ("Connection over two lines, Upgrade in the second", set("Connection", "keep-alive").with("Connection: uPGRADE"), Open(None)),
        ("a Connection with tabs", set("Connection", "keep-alive,\tUpgrade\t"), Open(None)),

        // The key (RFC 6455 §4.2.1 item 5, §11.3.1).
        ("an empty key", key(""), KEY_WRONG),
        ("a key twice", with("Sec-WebSocket-Key", KEY), KEY_WRONG),
        ("two keys", with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), KEY_WRONG),
        ("two keys in one line", key(&format!("{KEY}, {KEY}")), KEY_WRONG),
        ("a key of 18 bytes", key("AAAAAAAAAAAAAAAAAAAAAAAA"), KEY_WRONG),
        ("a key without its padding", key("dGhlIHNhbXBsZSBub25jZQ"), KEY_WRONG),
        ("a key with one byte of padding", key("dGhlIHNhbXBsZSBub25jZQ="), KEY_WRONG),
        ("a key with padding inside", key("dGhl=HNhbXBsZSBub25jZQ=="), KEY_WRONG),
        ("a key in the alphabet of URLs", key("dGhlIHNhbXBsZSBub25jZ-=="), KEY_WRONG),
        ("a key with a space", key("dGhlIHNhbXB ZSBub25jZQ=="), KEY_WRONG),
        // RFC 6455 §4.1: the example of a key has bits after its last byte.
        ("a key with bits after its last byte", key("AQIDBAUGBwgJCgsMDQ4PEC=="), OpenAs("OfS0wDaT5NoxF2gqm7Zj2YtetzM=")),
        ("a key with all bits after its last byte", key("AAAAAAAAAAAAAAAAAAAAA/=="), OpenAs("Y3/spZqjp+5Mkkv2AXXLUvL5QEc=")),
        ("15 bytes and bits after them", key("AAAAAAAAAAAAAAAAAAAB"), KEY_WRONG),
        ("17 bytes and bits after them", key("AAAAAAAAAAAAAAAAAAAAAAB="), KEY_WRONG),
        ("a key that is not base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), KEY_WRONG),
        ("a key of a megabyte", key(&"A".repeat(1 << 20)), TOO_BIG),
        ("a key with spaces around it", key(&format!("  {KEY} \t")), Open(None)),

        // The version (RFC 6455 §4.2.1 item 6, §4.4).
        ("an empty version", set("Sec-WebSocket-Version", ""), VERSION),
        ("version 8", set("Sec-WebSocket-Version", "8"), VERSION),
        ("version 14", set("Sec-WebSocket-Version", "14"), VERSION),
        ("version 0", set("Sec-WebSocket-Version", "0"), VERSION),
        ("version 013", set("Sec-WebSocket-Version", "013"), VERSION),
        ("version 13.0", set("Sec-WebSocket-Version", "13.0"), VERSION),
        ("version +13", set("Sec-WebSocket-Version", "+13"), VERSION),
        ("version 269, which 8 bits would make 13", set("Sec-WebSocket-Version", "269"), VERSION),
        ("versions in one line", set("Sec-WebSocket-Version", "13, 8"), VERSION),
        ("version 13 twice", with("Sec-WebSocket-Version", "13"), VERSION_MISSING),

        // The origin (RFC 6455 §10.2, RFC 6454 §7).
        ("the origin null", with("Origin", "null"), FOREIGN),
        ("an empty origin", with("Origin", ""), FOREIGN),
        ("two origins", with("Origin", "http://127.0.0.1").with("Origin: https://evil.example"), Refuse(RequestError::Origin, 400)),
        ("two origins in one line", with("Origin", "http://127.0.0.1 https://evil.example"), FOREIGN),
        ("an origin that ends in the host", with("Origin", "http://evil-127.0.0.1"), FOREIGN),
        ("an origin that has the host inside", with("Origin", "http://a.127.0.0.1.b"), FOREIGN),
        ("an origin with the host as path", with("Origin", "http://evil.example/127.0.0.1"), FOREIGN),
        ("an origin with the host as query", with("Origin", "http://evil.example?127.0.0.1"), FOREIGN),
        ("an origin with the host as fragment", with("Origin", "http://evil.example#127.0.0.1"), FOREIGN),
        ("an origin with a backslash", with("Origin", "http://evil.example\\127.0.0.1"), FOREIGN),
        ("an origin with a password", with("Origin", "http://127.0.0.1:80@evil.example"), FOREIGN),
        ("an origin of another port", with("Origin", "http://127.0.0.1:8080"), FOREIGN),
        ("an origin without a scheme", with("Origin", "127.0.0.1"), FOREIGN),
        ("an origin with an empty scheme and host", with("Origin", "://"), FOREIGN),
        ("an origin that is not ASCII", g().with(b"Origin: http://127.0.0.\xff"), FOREIGN),
        ("the same origin by https", with("Origin", "https://127.0.0.1"), Open(None)),
        ("the same origin with its port", with("Origin", "http://127.0.0.1:80"), Open(None)),

        // A body (RFC 9112 §6).
        ("Content-Length: 0", with("Content-Length", "0"), Open(None)),
        ("Content-Length: 0 twice", with("Content-Length", "0").with("Content-Length: 0"), BODY),
        ("a list of lengths", with("Content-Length", "0, 0"), BODY),
        ("a signed length", with("Content-Length", "+0"), BODY),
        ("a negative length", with("Content-Length", "-1"), BODY),
        ("a length in hexadecimal", with("Content-Length", "0x0"), BODY),
        ("an empty length", with("Content-Length", ""), BODY),
        ("a length of 2^64", with("Content-Length", "18446744073709551616"), BODY),
        ("a chunked body", with("Transfer-Encoding", "chunked").behind(b"5\r\nhello\r\n0\r\n\r\n"), BODY),
        ("an encoding that looks like chunked", with("Transfer-Encoding", "xchunked"), BODY),
        ("the identity encoding", with("Transfer-Encoding", "identity"), BODY),
        ("an empty encoding", with("Transfer-Encoding", ""), BODY),
        ("a body on a POST", line("POST /chat HTTP/1.1").with("Content-Length: 5").behind(b"hello"), BODY),

        // Header lines (RFC 9112 §5).
        ("a folded line", g().with("X-A: b").with(" c"), MALFORMED),
        ("a folded line with a tab", g().with("X-A: b").with("\tc"), MALFORMED),
        ("a folded first header", line("GET /chat HTTP/1.1\r\n X-A: b"), MALFORMED),
        ("a line without a colon", g().with("X-A"), MALFORMED),
        ("a line without a name", g().with(": b"), MALFORMED),
        ("a CR inside a value", g().with("X-A: b\rc"), MALFORMED),
        ("a CR at the end of a value", g().with("X-A: b\r"), MALFORMED),
        ("NUL in a name", g().with("X\0A: b"), MALFORMED),
        ("DEL in a value", g().with("X-A: b\x7f"), MALFORMED),
        ("ESC in a value", g().with("X-A: \x1b[31m"), MALFORMED),
        ("a vertical tab in a value", g().with("X-A: b\x0bc"), MALFORMED),
        ("a form feed around a value", g().with("X-A: \x0cb"), MALFORMED),
        ("a name that is not ASCII", g().with("X-\u{e9}: b"), MALFORMED),
        ("a name in brackets", g().with("(X): b"), MALFORMED),
        ("a value that is not ASCII", g().with(b"X-A: \xe9\xff"), Open(None)),
        ("an empty value", g().with("X-A:"), Open(None)),
        ("a value without a space", g().with("X-A:b"), Open(None)),
        ("names in lower case", Head { lines: lowered(g()), behind: Vec::new() }, Open(None)),

        // Subprotocols (RFC 6455 §4.1 item 10, §4.2.2 item 5, §11.3.4).
        ("a known subprotocol", with("Sec-WebSocket-Protocol", "chat"), Open(Some("chat"))),
        ("a known subprotocol behind others", with("Sec-WebSocket-Protocol", "a, chat ,b"), Open(Some("chat"))),
        ("a known subprotocol in another line", with("Sec-WebSocket-Protocol", "a").with("Sec-WebSocket-Protocol: chat"), Open(Some("chat"))),
        ("subprotocols have case", with("Sec-WebSocket-Protocol", "Chat"), Open(None)),
        ("a subprotocol that begins like the known one", with("Sec-WebSocket-Protocol", "chatx"), Open(None)),
        ("a subprotocol that is no token", with("Sec-WebSocket-Protocol", "chat, a/b"), SUBPROTOCOLS),
        ("a subprotocol in quotes", with("Sec-WebSocket-Protocol", "\"chat\""), SUBPROTOCOLS),
        ("a subprotocol twice", with("Sec-WebSocket-Protocol", "chat, chat"), SUBPROTOCOLS),
        ("a subprotocol twice in two lines", with("Sec-WebSocket-Protocol", "chat").with("Sec-WebSocket-Protocol: a, chat"), SUBPROTOCOLS),
        ("a subprotocol that is not ASCII", g().with(b"Sec-WebSocket-Protocol: \xff"), SUBPROTOCOLS),

        // Extensions: none is served, whatever is offered (RFC 6455 §9.1).
        ("permessage-deflate", with(EXTENSIONS, "permessage-deflate"), Open(None)),
        ("what browsers offer", with(EXTENSIONS, "permessage-deflate; client_max_window_bits"), Open(None)),
        ("a parameter twice", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=10; server_max_window_bits=11"), Open(None)),
        ("a window of 7 bits", with(EXTENSIONS, "permessage-deflate; client_max_window_bits=7"), Open(None)),
        ("extensions in two lines", with(EXTENSIONS, "a").with("Sec-WebSocket-Extensions: b; c=d"), Open(None)),
        ("a quoted value with a backslash", with(EXTENSIONS, "foo; bar=\"1\\2\""), Open(None)),
        ("empty elements between extensions", with(EXTENSIONS, ", a,, b ,"), Open(None)),
        // §9.1 keeps the "implied *LWS" of RFC 2616.
        ("spaces around the semicolon and the equals sign", with(EXTENSIONS, "a ; b = 1;c\t=\t\"2\""), Open(None)),

        // Sizes (RFC 6585 §5, RFC 9110 §15.5.15).
        ("a header of 16 KiB", with("X-A", &"a".repeat(16 << 10)), TOO_BIG),
        ("a header name of 16 KiB", g().with(format!("{}: b", "a".repeat(16 << 10))), TOO_BIG),
        ("headers of 24 KiB", (0..4).fold(g(), |head, i| head.with(format!("X{i}: {}", "a".repeat(6 << 10)))), TOO_BIG),
        ("a first line of a megabyte without its end", Head::new(&[&"G".repeat(1 << 20)]), Refuse(RequestError::TargetTooLong, 414)),
        ("what begins a TLS connection", Head::new(&["\x16\x03\x01\x02\0"]), MALFORMED),
        ("what begins an SSH connection", Head::new(&["SSH-2.0-OpenSSH_9.9"]), MALFORMED),
        ("a PROXY line", line("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /chat HTTP/1.1"), HTTP_VERSION),

        // After the head (RFC 6455 §4.2.2, §5.1).
        ("a frame without a mask behind the head", g().behind(HELLO), OpenThen(Rule::Unmasked)),
        ("a CRLF behind the head", g().behind(b"\r\n"), OpenThen(Rule::ReservedOpcode)),
    ]
}

#[test]
fn a_server_reacts_to_each_class_however_it_is_cut() {
    for (title, head, expect) in server_classes() {
        check_server(title, &head, &expect);
    }
}

/// RFC 6455 §9.1: an extension list that does not conform to the ABNF fails the connection.
#[test]
fn a_server_refuses_extension_lists_that_are_malformed() {
    for value in [
        ";",
        "foo;",
        "foo; ;bar",
        "foo bar",
        "foo; bar=",
        "foo; =1",
        "foo; bar=1=2",
        "foo; bar=\"1",
        "foo; bar=\"1\"2",
        "foo; bar=\"\"",
        "foo; bar=\"a b\"",
        "foo; bar=a/b",
        "\"foo\"",
        "foo, b@r",
    ] {
        let head = request().with(format!("{EXTENSIONS}: {value}"));
        let Served::Refused(error) = served(value, &head.bytes(), &Config::default()) else {
            panic!("{value}: was accepted");
        };
        assert_eq!(error.response().status(), 400, "{value}");
    }
}

/// RFC 6455 §10.4: no accepted head makes the server work longer than its length.
#[test]
fn h59_a_thousand_offers_cost_no_more_than_their_bytes() {
    let lists: Vec<String> = (0..2)
        .map(|line| {
            let names = (0..1_600).map(|i| format!("{line}{i:03x}"));
            names.collect::<Vec<_>>().join(",")
        })
        .collect();
    for name in [EXTENSIONS, "Sec-WebSocket-Protocol"] {
        let head = lists.iter().fold(request(), |head, list| head.with(format!("{name}: {list}")));
        let bytes = head.bytes();
        assert!(bytes.len() <= 16 << 10, "{} bytes", bytes.len());
        let times = (0..3).map(|_| {
            let start = std::time::Instant::now();
            let outcome = serve(&bytes, &[], &Config::default());
            assert!(matches!(outcome, Served::Open(..)), "{name}: {outcome:?}");
            start.elapsed()
        });
        // Without optimisation, quadratic work takes most of a second, linear work a few milliseconds.
        let time = times.min().unwrap();
        assert!(time.as_millis() < 100, "{name}: {time:?}");
    }
}

// Part B: the attacker is the server.

#[derive(Clone, Debug, PartialEq)]
enum Connected {
    Open(Option<String>, After),
    Failed(ConnectError),
    /// The answer is not complete yet.
    Waiting,
}

fn connect(request: &ClientRequest, bytes: &[u8], places: &[usize]) -> Connected {
    let (mut handshake, _) = client(request);
    let mut input = RecvBuf::new();
    let mut reads = Reads::new(bytes, places);
    loop {
        let eof = !reads.read(&mut input);
        match handshake.read(&mut input) {
            Ok(Some((mut connection, response))) => {
                let after = go_on(&mut connection, &mut input, &mut reads, Role::Client);
                return Connected::Open(response.subprotocol().map(String::from), after);
            }
            Ok(None) if eof => return Connected::Waiting,
            Ok(None) => {}
            Err(error) => return Connected::Failed(error),
        }
    }
}

/// A client that has sent its request, and the accept value for the key that it sent.
fn client(request: &ClientRequest) -> (ClientHandshake, String) {
    let mut out = SendBuf::new();
    let handshake = ClientHandshake::new(request, Config::default(), [7; 32], &mut out);
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let sent = String::from_utf8(sent).expect("the request is ASCII");
    let key = sent
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .expect("the request has a key");
    (handshake, accept_key(key))
}

/// Puts the accept value where `{accept}` stands, and with its case flipped where `{flipped}` does.
fn fill_in(template: &[u8], accept: &str) -> Vec<u8> {
    let flipped: String =
        accept
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            })
            .collect();
    let mut bytes = template.to_vec();
    for (mark, value) in [("{accept}", accept), ("{flipped}", &flipped)] {
        while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())
        {
            bytes.splice(at..at + mark.len(), value.bytes());
        }
    }
    bytes
}

/// The outcome, which is the same however the bytes are cut.
#[track_caller]
fn connected(title: &str, request: &ClientRequest, template: &[u8]) -> Connected {
    let bytes = fill_in(template, &client(request).1);
    let expected = connect(request, &bytes, &[]);
    for places in splits(&bytes) {
        let outcome = connect(request, &bytes, &places);
        let shown = if places.len() > 1 { &[][..] } else { &places };
        assert_eq!(outcome, expected, "{title}: cut at {shown:?}");
    }
    expected
}

enum Then {
    Opens,
    Selects(&'static str),
    /// Opens, and this is delivered.
    Delivers(&'static str),
    /// Opens, then this rule of framing is broken.
    Breaks(Rule),
    Fails(ConnectError),
    /// Fails with a refusal of this status and this much of a body.
    Refused(u16, usize),
    /// A redirect with this status, which is not followed.
    Redirects(u16),
}
use Then::{Breaks, Delivers, Fails, Opens, Redirects, Refused, Selects};

/// A client that offers the subprotocols `chat` and `superchat`, and no extension.
fn check_client(title: &str, head: &Head, then: &Then) {
    println!("{title}");
    let offering = ClientRequest::new("ws://127.0.0.1/chat")
        .and_then(|request| request.subprotocol("chat")?.subprotocol("superchat"))
        .expect("a valid request");
    let bytes = head.bytes();
    match (connected(title, &offering, &bytes), then) {
        (Connected::Open(subprotocol, after), Opens | Selects(_)) => {
            let selected = if let Selects(name) = then { Some(*name) } else { None };
            assert_eq!(subprotocol.as_deref(), selected, "{title}");
            assert_eq!((after.failed, after.close), (None, None), "{title}");
            // RFC 6455 §4.1: frames may come in the same segment.
            let more = [&bytes[..], HELLO].concat();
            match connected(title, &offering, &more) {
                Connected::Open(_, after) => assert_eq!(after.messages, ["Hello".into()]),
                other => panic!("{title}: {other:?}"),
            }
        }
        (Connected::Open(_, after), Delivers(text)) => {
            assert_eq!(after.messages, [Message::from(*text)], "{title}");
            assert_eq!((after.failed, after.close), (None, None), "{title}");
        }
        (Connected::Open(_, after), Breaks(rule)) => {
            assert_eq!(after.failed, Some(*rule), "{title}");
            assert_eq!(after.close, Some(rule.close_code().get()), "{title}");
            assert!(after.messages.is_empty(), "{title}: {after:?}");
        }
        (Connected::Failed(error), Fails(expected)) => assert_eq!(error, *expected, "{title}"),
        (Connected::Failed(ConnectError::Refused(response)), Refused(status, len)) => {
            assert_eq!(response.status(), *status, "{title}");
            assert_eq!(response.body_bytes().len(), *len, "{title}");
        }
        (Connected::Failed(ConnectError::Redirected(redirected)), Redirects(status)) => {
            assert_eq!(redirected.status(), *status, "{title}");
        }
        (Connected::Failed(error), _) => panic!("{title}: {error}"),
        (other, _) => panic!("{title}: {other:?}"),
    }
}

const WRONG_ACCEPT: Then = Fails(ConnectError::WrongAccept);
const NOT_UPGRADED: Then = Fails(ConnectError::NotUpgraded);
const EXTENSION: Then = Fails(ConnectError::Extension);
const SUBPROTOCOL: Then = Fails(ConnectError::Subprotocol);
const BAD: Then = Fails(ConnectError::Malformed);
const BIG: Then = Fails(ConnectError::HeadTooBig);
const HAS_BODY: Then = Fails(ConnectError::Body);

/// Interim responses, and the answer after them.
fn interim(heads: &[&str]) -> Head {
    let mut lines = heads.join("\r\n\r\n");
    lines.push_str("\r\n\r\nHTTP/1.1 101 Switching Protocols");
    answer().first_line(&lines)
}

#[rustfmt::skip]
fn client_cases() -> Vec<(&'static str, &'static str, Head, Then)> {
    let r = answer;
    let line = |line: &str| answer().first_line(line);
    let set = |name: &str, value: &str| answer().set(name, value);
    let with = |name: &str, value: &str| answer().with(format!("{name}: {value}"));
    vec![
        ("K01", "a valid answer", r(), Opens),
        ("K02", "the accept of another key", set("Sec-WebSocket-Accept", ACCEPT), WRONG_ACCEPT),
        ("K04", "an accept in other case", set("Sec-WebSocket-Accept", "{flipped}"), WRONG_ACCEPT),
        ("K05", "a right accept and a wrong one", with("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), WRONG_ACCEPT),
        ("K07", "a longer Upgrade", set("Upgrade", "websocketx"), NOT_UPGRADED),
        ("K08", "Upgrade in other case", set("Upgrade", "WebSocket"), Opens),
        ("K10", "Connection is a list", set("Connection", "keep-alive, Upgrade"), Opens),
        ("K11", "status 200", line("HTTP/1.1 200 OK").with("Content-Length: 0"), Refused(200, 0)),
        ("K13", "an extension that nobody offered", with(EXTENSIONS, "permessage-foo"), EXTENSION),
        ("K14", "a window of 1,000 bits", with(EXTENSIONS, "permessage-deflate; server_max_window_bits=1000"), EXTENSION),
        ("K16", "an extension twice", with(EXTENSIONS, "permessage-deflate, permessage-deflate"), EXTENSION),
        ("K17", "a parameter twice", with(EXTENSIONS, "permessage-deflate; server_no_context_takeover; server_no_context_takeover"), EXTENSION),
        ("K19", "a chunked 101", with("Transfer-Encoding", "chunked"), HAS_BODY),
        ("K20", "HTTP/1.0", line("HTTP/1.0 101 Switching Protocols"), BAD),
        ("K22", "early hints, then 101", interim(&["HTTP/1.1 103 Early Hints\r\nLink: </a>"]), Opens),
        ("K23", "a folded line", r().with("X-A: b").with(" c"), BAD),
        ("K25", "a header of a megabyte", with("X-A", &"a".repeat(1 << 20)), BIG),
        ("K26", "5,000 headers", (0..5_000).fold(r(), |head, i| head.with(format!("x{i}: 1"))), BIG),
        ("K28", "a frame in the same segment", r().behind(HELLO), Delivers("Hello")),
        ("K29", "another response where frames belong", r().behind(b"HTTP/1.1 200 OK\r\n\r\n"), Breaks(Rule::ReservedBits)),
        ("K31", "a body without an end", Head::new(&["HTTP/1.1 401 Unauthorized", "Content-Length: 999999999"]).behind(&[b'x'; 5 << 20]), Refused(401, 64 << 10)),
        ("K32", "a masked frame", r().behind(HELLO_MASKED), Breaks(Rule::Masked)),
        ("K34", "a length of 64 bits with the highest set", r().behind(b"\x82\x7f\x80\0\0\0\0\0\0\0"), Breaks(Rule::LengthOverflow)),
        ("K35", "a compressed frame that nobody agreed on", r().behind(b"\xc1\x05Hello"), Breaks(Rule::ReservedBits)),
        ("K37", "two subprotocols", with("Sec-WebSocket-Protocol", "chat").with("Sec-WebSocket-Protocol: evil"), SUBPROTOCOL),
    ]
}

/// K11 without a length: the body ends with the connection, so the refusal is known then or at the deadline.
#[test]
fn k11_a_refusal_without_a_length_ends_with_the_connection() {
    let request = ClientRequest::new("ws://127.0.0.1/").unwrap();
    let template = answer().first_line("HTTP/1.1 200 OK").behind(b"page").bytes();
    let (mut handshake, _) = client(&request);
    let mut input = RecvBuf::with_unread(&template);
    assert!(matches!(handshake.read(&mut input), Ok(None)));
    input.eof();
    let Err(ConnectError::Refused(response)) = handshake.read(&mut input) else {
        panic!("the connection has ended");
    };
    assert_eq!((response.status(), response.body_bytes()), (200, &b"page"[..]));
}

#[test]
fn a_client_reacts_to_each_case_however_it_is_cut() {
    for (id, title, head, then) in client_cases() {
        check_client(&format!("{id} {title}"), &head, &then);
    }
}

/// The classes of the cases of part B.
#[rustfmt::skip]
fn client_classes() -> Vec<(&'static str, Head, Then)> {
    let r = answer;
    let line = |line: &str| answer().first_line(line);
    let set = |name: &str, value: &str| answer().set(name, value);
    let with = |name: &str, value: &str| answer().with(format!("{name}: {value}"));
    let accept = |value: &str| answer().set("Sec-WebSocket-Accept", value);
    let hints = ["HTTP/1.1 103 Early Hints"; 9];
    let refusal = |line: &str, fields: &[&str], body: &[u8]| {
        let head = Head::new(&[line]);
        fields.iter().fold(head, |head, field| head.with(field)).behind(body)
    };
    vec![
        // Sec-WebSocket-Accept (RFC 6455 §4.1 check 4, §11.3.3).
        ("no accept", r().without("Sec-WebSocket-Accept"), WRONG_ACCEPT),
        ("an empty accept", accept(""), WRONG_ACCEPT),
        ("the right accept twice", with("Sec-WebSocket-Accept", "{accept}"), WRONG_ACCEPT),
        ("a wrong accept and the right one", accept("AAAAAAAAAAAAAAAAAAAAAAAAAAA=").with("Sec-WebSocket-Accept: {accept}"), WRONG_ACCEPT),
        ("the right accept and a comma", accept("{accept},"), WRONG_ACCEPT),
        ("the right accept and more", accept("{accept}x"), WRONG_ACCEPT),
        ("the right accept in quotes", accept("\"{accept}\""), WRONG_ACCEPT),
        ("the right accept with spaces around it", accept(" \t{accept}  "), Opens),

        // Upgrade and Connection (checks 2 and 3).
        ("no Upgrade", r().without("Upgrade"), NOT_UPGRADED),
        ("an empty Upgrade", set("Upgrade", ""), NOT_UPGRADED),
        ("another Upgrade", set("Upgrade", "h2c"), NOT_UPGRADED),
        ("Upgrade is a list", set("Upgrade", "h2c, websocket"), NOT_UPGRADED),
        ("two Upgrades", with("Upgrade", "h2c"), NOT_UPGRADED),
        ("no Connection", r().without("Connection"), NOT_UPGRADED),
        ("another Connection", set("Connection", "keep-alive"), NOT_UPGRADED),
        ("a longer Connection", set("Connection", "upgraded"), NOT_UPGRADED),
        ("Connection over two lines", set("Connection", "keep-alive").with("Connection: upgrade"), Opens),

        // Extensions (check 5): none was offered.
        ("permessage-deflate", with(EXTENSIONS, "permessage-deflate"), EXTENSION),
        ("an empty list of extensions", with(EXTENSIONS, ""), EXTENSION),
        ("a malformed list of extensions", with(EXTENSIONS, ";;"), EXTENSION),

        // The subprotocol (check 6).
        ("the first offer", with("Sec-WebSocket-Protocol", "chat"), Selects("chat")),
        ("the second offer", with("Sec-WebSocket-Protocol", "superchat"), Selects("superchat")),
        ("a subprotocol that was not offered", with("Sec-WebSocket-Protocol", "evil"), SUBPROTOCOL),
        ("an offer in other case", with("Sec-WebSocket-Protocol", "Chat"), SUBPROTOCOL),
        ("both offers", with("Sec-WebSocket-Protocol", "chat, superchat"), SUBPROTOCOL),
        ("one offer twice", with("Sec-WebSocket-Protocol", "chat").with("Sec-WebSocket-Protocol: chat"), SUBPROTOCOL),
        ("an empty subprotocol", with("Sec-WebSocket-Protocol", ""), SUBPROTOCOL),

        // A body that a 101 cannot have (RFC 9110 §8.6, RFC 9112 §6.1).
        ("a 101 with a length", with("Content-Length", "5").behind(b"hello"), HAS_BODY),
        ("a 101 with two lengths", with("Content-Length", "0").with("Content-Length: 0"), HAS_BODY),
        ("a 101 with an empty body", with("Content-Length", "0"), Opens),

        // The status line (RFC 9112 §4).
        ("HTTP/1.2", line("HTTP/1.2 101 Switching Protocols"), BAD),
        ("HTTP/2", line("HTTP/2 101"), BAD),
        ("another protocol", line("ICY 200 OK"), BAD),
        ("a status of two digits", line("HTTP/1.1 10 Switching Protocols"), BAD),
        ("a status of four digits", line("HTTP/1.1 1010 Switching Protocols"), BAD),
        ("a signed status", line("HTTP/1.1 +101 Switching Protocols"), BAD),
        ("status 000", line("HTTP/1.1 000 Nothing"), BAD),
        ("status 099", line("HTTP/1.1 099 Nothing"), BAD),
        ("no reason", line("HTTP/1.1 101 "), Opens),
        ("no reason and no space", line("HTTP/1.1 101"), Opens),
        ("a reason that is not ASCII", line("HTTP/1.1 101 \u{e9}"), Opens),
        ("NUL in the reason", line("HTTP/1.1 101 a\0b"), BAD),
        ("frames and no answer", Head::new(&["\u{1}\u{5}Hello"]), BAD),
        ("a request for an answer", request(), BAD),
        ("a status line of 16 KiB", line(&format!("HTTP/1.1 101 {}", "a".repeat(16 << 10))), BIG),

        // Header lines (RFC 9112 §5).
        ("a space before the colon", r().with("X-A : b"), BAD),
        ("NUL in a value", r().with("X-A: b\0c"), BAD),
        ("a CR in a value", r().with("X-A: b\rc"), BAD),
        ("a line without a colon", r().with("X-A"), BAD),
        ("a value that is not ASCII", r().with(b"X-A: \xff"), Opens),
        ("an empty line before the answer", line("\r\nHTTP/1.1 101 Switching Protocols"), Opens),

        // Interim responses (RFC 9110 §15.2).
        ("100, then 101", interim(&["HTTP/1.1 100 Continue"]), Opens),
        ("102, then 101", interim(&["HTTP/1.1 102 Processing\r\nX-A: b"]), Opens),
        ("199, then 101", interim(&["HTTP/1.1 199 Something"]), Opens),
        ("eight interim responses", interim(&hints[..8]), Opens),
        ("nine interim responses", interim(&hints), Fails(ConnectError::TooManyInterim)),
        ("an interim response of HTTP/1.0", interim(&["HTTP/1.0 100 Continue"]), BAD),
        ("a refusal behind an interim response", refusal("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found", &["Content-Length: 2"], b"no"), Refused(404, 2)),

        // Refusals (RFC 9112 §6.3): a redirect is one too, and is never followed.
        ("302", refusal("HTTP/1.1 302 Found", &["Location: ws://evil.example/", "Content-Length: 0"], b""), Redirects(302)),
        ("a refusal of HTTP/1.0", refusal("HTTP/1.0 400 Bad Request", &["Content-Length: 3"], b"bad"), Refused(400, 3)),
        ("426", refusal("HTTP/1.1 426 Upgrade Required", &["Sec-WebSocket-Version: 8", "Content-Length: 0"], b""), Refused(426, 0)),
        ("204 has no body", refusal("HTTP/1.1 204 No Content", &["Content-Length: 9"], b""), Refused(204, 0)),
        ("304 has no body", refusal("HTTP/1.1 304 Not Modified", &["Transfer-Encoding: chunked"], b""), Refused(304, 0)),
        ("bytes behind a body are not part of it", refusal("HTTP/1.1 403 Forbidden", &["Content-Length: 4"], b"no!!HTTP/1.1"), Refused(403, 4)),
        ("a chunked body", refusal("HTTP/1.1 403 Forbidden", &["Transfer-Encoding: chunked"], b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), Refused(403, 13)),
        ("chunked wins over a length", refusal("HTTP/1.1 403 Forbidden", &["Content-Length: 1", "Transfer-Encoding: chunked"], b"2\r\nab\r\n0\r\n\r\n"), Refused(403, 2)),
        ("a chunk that is none", refusal("HTTP/1.1 403 Forbidden", &["Transfer-Encoding: chunked"], b"2\r\nab\r\nxyz\r\n"), Refused(403, 2)),
        ("a chunk of 2^64-1", refusal("HTTP/1.1 403 Forbidden", &["Transfer-Encoding: chunked"], &[b"ffffffffffffffff\r\n".as_slice(), &[b'x'; 70_000]].concat()), Refused(403, 64 << 10)),
        ("a body without an end and without a length", refusal("HTTP/1.1 500 Oh", &[], &[b'x'; 70_000]), Refused(500, 64 << 10)),
        ("a last status", refusal("HTTP/1.1 999 What", &["Content-Length: 0"], b""), Refused(999, 0)),

        // After the head.
        ("a frame with a reserved opcode", r().behind(b"\x83\0"), Breaks(Rule::ReservedOpcode)),
        ("a continuation of nothing", r().behind(b"\x80\0"), Breaks(Rule::UnexpectedContinuation)),
        ("a CRLF behind the head", r().behind(b"\r\n"), Breaks(Rule::ReservedOpcode)),
    ]
}

#[test]
fn a_client_reacts_to_each_class_however_it_is_cut() {
    for (title, head, then) in client_classes() {
        check_client(title, &head, &then);
    }
}

#[test]
fn a_client_refuses_lines_that_end_in_a_bare_lf() {
    let request = ClientRequest::new("ws://127.0.0.1/").unwrap();
    let whole = answer().bytes();
    let mut heads = vec![answer().ends_with("\n")];
    for (at, _) in whole.iter().enumerate().filter(|&(_, &byte)| byte == b'\r') {
        let mut bytes = whole.clone();
        bytes.remove(at);
        heads.push(bytes);
    }
    for head in heads {
        let outcome = connected("bare LF", &request, &head);
        assert_eq!(outcome, Connected::Failed(ConnectError::Malformed));
    }
}

#[test]
fn heads_that_stop_are_waited_for_and_then_gone() {
    let whole = request().bytes();
    for len in 0..whole.len() {
        let mut handshake = ServerHandshake::new(Config::default());
        let mut input = RecvBuf::with_unread(&whole[..len]);
        assert!(matches!(handshake.read(&mut input), Ok(None)), "{len} bytes");
        input.eof();
        let error = handshake.read(&mut input).unwrap_err();
        assert_eq!(error, RequestError::Gone, "{len} bytes");
    }
    let request = ClientRequest::new("ws://127.0.0.1/").unwrap();
    let bytes = fill_in(&answer().bytes(), &client(&request).1);
    for len in 0..bytes.len() {
        let (mut handshake, _) = client(&request);
        let mut input = RecvBuf::with_unread(&bytes[..len]);
        assert!(matches!(handshake.read(&mut input), Ok(None)), "{len} bytes");
        input.eof();
        let error = handshake.read(&mut input).unwrap_err();
        assert_eq!(error, ConnectError::Gone, "{len} bytes");
    }
}
