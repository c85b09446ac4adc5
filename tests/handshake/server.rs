//! The server's side of the opening handshake (RFC 6455 §4.2): what a request is, what it may be answered with, and
//! where its limits are.

use std::time::Duration;

use bowline::handshake::{
    Accept, InvalidRequest, Request, RequestError, Response, ServerHandshake,
};
use bowline::{Config, Connection, InvalidPolicy, MessageRef, Progress, RecvBuf, SendBuf};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// "Hello" as RFC 6455 §5.7 shows it.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

/// The fields that make a request one for a WebSocket.
const FIELDS: [(&str, &str); 5] = [
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
];

/// A request for `target` with more fields.
fn head(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("GET {target} HTTP/1.1\r\n");
    for (name, value) in FIELDS.iter().chain(more) {
        head += &format!("{name}: {value}\r\n");
    }
    head.into_bytes().into_iter().chain(*b"\r\n").collect()
}

/// The outcome of bytes that come with one read.
fn read(bytes: &[u8], config: &Config) -> Result<Option<Request>, RequestError> {
    ServerHandshake::new(config.clone()).read(&mut RecvBuf::with_unread(bytes))
}

#[track_caller]
fn request(target: &str, more: &[(&str, &str)]) -> Request {
    read(&head(target, more), &Config::default())
        .expect("a valid request")
        .expect("a whole request")
}

/// A request with these instead of the usual fields, from another parser.
fn from_parts(fields: &[(&str, &str)]) -> Result<Request, RequestError> {
    Request::from_parts("GET", "/", fields.iter().copied())
}

/// What goes to the socket.
fn wire(response: &Response) -> String {
    let mut out = SendBuf::new();
    response.encode(&mut out);
    let bytes = out.pending_slices().flatten().copied().collect();
    String::from_utf8(bytes).expect("only text is sent here")
}

// The request (RFC 6455 §4.1, §4.2.1).

#[test]
fn a_request_that_asks_wrongly_for_a_websocket_is_refused_and_not_taken_for_another() {
    let host = ("Host", "example.com");
    for field in FIELDS.iter().filter(|(name, _)| {
        ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"].contains(name)
    }) {
        let request = from_parts(&[host, *field]).unwrap();
        assert!(request.is_upgrade(), "{field:?}");
        assert_eq!(request.upgrade(&Config::default()).unwrap_err(), RequestError::NotUpgrade);
    }
    // Curl's way to ask for HTTP/2.
    for fields in [&[host][..], &[host, ("Connection", "Upgrade"), ("Upgrade", "h2c")]] {
        assert!(!from_parts(fields).unwrap().is_upgrade());
    }
}

#[test]
fn a_request_shows_what_it_asks_for() {
    let request = request(
        "/chat/rooms?room=1&x=a?b",
        &[
            ("Origin", "https://example.com"),
            ("Cookie", "session=abc; theme=dark"),
            ("Sec-WebSocket-Protocol", "chat.v2, chat"),
            ("Sec-WebSocket-Protocol", "v3"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
        ],
    );
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), "/chat/rooms?room=1&x=a?b");
    assert_eq!(request.path(), "/chat/rooms");
    assert_eq!(request.query(), Some("room=1&x=a?b"));
    assert_eq!(request.host(), "example.com");
    assert_eq!(request.origin(), Some("https://example.com"));
    assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["chat.v2", "chat", "v3"]);
    assert!(request.is_upgrade());
    // RFC 9110 §5.1: names have no case; §5.2: several lines keep their order.
    let headers = request.headers();
    assert_eq!(headers.get("x-FORWARDED-for"), Some(&b"192.0.2.1"[..]));
    assert_eq!(headers.get_str("X-Forwarded-For"), Some("192.0.2.1"));
    assert_eq!(headers.all("X-Forwarded-For").count(), 2);
    assert_eq!(headers.get("X-Other"), None);
    let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["Host", "Upgrade"]);
    assert_eq!(names.last(), Some(&"x-forwarded-for"));
}

#[test]
fn a_request_may_have_neither_query_nor_origin_nor_cookies() {
    let request = request("/", &[]);
    assert_eq!((request.path(), request.query()), ("/", None));
    assert_eq!(request.origin(), None);
    assert_eq!(request.cookie("session"), None);
    assert_eq!(request.subprotocols().count(), 0);
}

#[test]
fn an_empty_query_is_a_query() {
    let request = request("/chat?", &[]);
    assert_eq!((request.path(), request.query()), ("/chat", Some("")));
}

#[test]
fn an_absolute_target_names_the_host_and_the_path() {
    // RFC 6455 §4.2.1 item 1: the resource name is what the absolute URI contains; RFC 9112 §3.2.2: its host replaces
    // that of Host. A handler that guards a path by its name must not be passed by another way to write it.
    for (target, host, path, query) in [
        ("http://example.com/admin?x=1", "example.com", "/admin", Some("x=1")),
        ("HTTP://other.example:8080/admin", "other.example:8080", "/admin", None),
        ("https://example.com?x", "example.com", "/", Some("x")),
        ("http://example.com", "example.com", "/", None),
    ] {
        let request = request(target, &[]);
        assert_eq!(request.target(), target);
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
        assert_eq!(request.host(), host, "{target}");
    }
    for target in ["http://", "http:///chat", "http://user@example.com/", "http://a:b/"] {
        let error = read(&head(target, &[]), &Config::default()).unwrap_err();
        assert_eq!(error, RequestError::Target, "{target}");
    }
}

#[test]
fn a_value_that_is_no_utf8_is_bytes_only() {
    let mut bytes = head("/", &[]);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b"X-A: \xff\r\n\r\n");
    let request = read(&bytes, &Config::default()).unwrap().unwrap();
    assert_eq!(request.headers().get("X-A"), Some(&b"\xff"[..]));
    assert_eq!(request.headers().get_str("X-A"), None);
}

#[test]
fn cookies_are_found_by_their_whole_name() {
    // RFC 6265 §4.2.1: name=value, separated by semicolons; names have case.
    let request = request(
        "/",
        &[
            ("Cookie", "xsession=1; session=a=b; Session=2;empty=; session=3"),
            ("Cookie", "other=4; broken"),
        ],
    );
    assert_eq!(request.cookie("session"), Some("a=b"));
    assert_eq!(request.cookie("Session"), Some("2"));
    assert_eq!(request.cookie("empty"), Some(""));
    assert_eq!(request.cookie("other"), Some("4"));
    for absent in ["sess", "ession", "broken", "", "session=a"] {
        assert_eq!(request.cookie(absent), None, "{absent}");
    }
}

#[test]
fn the_clients_order_decides_among_supported_subprotocols() {
    let request = request("/", &[("Sec-WebSocket-Protocol", "a, b, c")]);
    assert_eq!(request.select_subprotocol(&["c", "b"]), Some("b"));
    assert_eq!(request.select_subprotocol(&["B"]), None);
    assert_eq!(request.select_subprotocol(&[String::from("a")]), Some("a"));
    assert_eq!(request.select_subprotocol(&[""; 0]), None);
}

#[test]
fn a_request_for_no_websocket_is_given_to_the_server_and_upgrades_to_nothing() {
    let bytes = b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let config = Config::default();
    let request = read(bytes, &config).unwrap().unwrap();
    assert!(!request.is_upgrade());
    assert_eq!(request.path(), "/page");
    assert_eq!(request.upgrade(&config).unwrap_err(), RequestError::NotUpgrade);
}

#[test]
fn a_post_without_a_body_is_given_to_the_server_and_upgrades_to_nothing() {
    let bytes = [b"POST", &head("/chat", &[])[3..]].concat();
    let config = Config::default();
    let request = read(&bytes, &config).unwrap().unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.upgrade(&config).unwrap_err(), RequestError::Method);
}

// From another parser.

#[test]
fn a_request_from_another_parser_keeps_to_the_same_rules() {
    let config = Config::default();
    let request = from_parts(&FIELDS).unwrap();
    assert!(request.upgrade(&config).is_ok());

    // Without each of the fields, and with each of them twice.
    let without = [
        RequestError::Host,
        RequestError::NotUpgrade,
        RequestError::NotUpgrade,
        RequestError::Key,
        RequestError::VersionMissing,
    ];
    for (i, expected) in without.into_iter().enumerate() {
        let mut fields = FIELDS.to_vec();
        fields.remove(i);
        let result = from_parts(&fields).and_then(|request| request.upgrade(&config).map(|_| ()));
        assert_eq!(result, Err(expected), "without {}", FIELDS[i].0);
    }
    for (i, expected) in
        [(0, RequestError::Host), (3, RequestError::Key), (4, RequestError::VersionMissing)]
    {
        let mut fields = FIELDS.to_vec();
        fields.push(FIELDS[i]);
        let result = from_parts(&fields).and_then(|request| request.upgrade(&config).map(|_| ()));
        assert_eq!(result, Err(expected), "with two {}", FIELDS[i].0);
    }
    for (field, expected) in [
        (("Content-Length", "5"), RequestError::Body),
        (("Transfer-Encoding", "chunked"), RequestError::Body),
        (("Origin", "https://evil.example"), RequestError::ForeignOrigin),
        (("Sec-WebSocket-Protocol", "a, a"), RequestError::Subprotocols),
    ] {
        let mut fields = FIELDS.to_vec();
        fields.push(field);
        let result = from_parts(&fields).and_then(|request| request.upgrade(&config).map(|_| ()));
        assert_eq!(result, Err(expected), "with {field:?}");
    }
}

#[test]
fn a_request_from_another_parser_has_a_valid_target() {
    for target in ["/", "/a?b", "http://example.com/", "HTTPS://example.com/"] {
        assert!(Request::from_parts("GET", target, FIELDS).is_ok(), "{target}");
    }
    for target in ["", "*", "chat", "/a#b", "/a b", "/a\r\nb", "/\u{e9}", "http:/a", "ws://a/"] {
        let error = Request::from_parts("GET", target, FIELDS).unwrap_err();
        assert_eq!(error, RequestError::Target, "{target:?}");
    }
    // RFC 9112 §3.2.4: the target of an OPTIONS may be an asterisk; RFC 9110 §9.3.6: of a CONNECT, an authority.
    assert!(Request::from_parts("OPTIONS", "*", FIELDS).is_ok());
    assert!(Request::from_parts("CONNECT", "example.com:80", FIELDS).is_ok());
    // All others have a path or an absolute URI.
    for (method, target) in [
        ("POST", "*"),
        ("POST", "chat"),
        ("POST", "http:///chat"),
        ("HEAD", "ws://example.com/"),
        ("DELETE", ""),
        ("OPTIONS", "chat"),
    ] {
        let error = Request::from_parts(method, target, FIELDS).unwrap_err();
        assert_eq!(error, RequestError::Target, "{method} {target}");
    }
    let error = Request::from_parts("OPTIONS", "*\r\nX: y", FIELDS).unwrap_err();
    assert_eq!(error, RequestError::Target);
}

#[test]
fn values_from_another_parser_lose_the_space_around_them() {
    let mut fields = FIELDS;
    fields[3].1 = "\tdGhlIHNhbXBsZSBub25jZQ==  ";
    let request = from_parts(&fields).unwrap();
    let upgrade = request.upgrade(&Config::default()).unwrap();
    let (_, response) = upgrade.accept(Accept::new()).unwrap();
    assert_eq!(
        response.headers().get_str("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
}

// The answer (RFC 6455 §4.2.2).

#[test]
fn a_plain_acceptance_has_four_lines() {
    let request = request("/chat", &[]);
    let upgrade = request.upgrade(&Config::default()).unwrap();
    let (_, response) = upgrade.accept(Accept::new()).unwrap();
    assert_eq!((response.status(), response.subprotocol()), (101, None));
    assert_eq!(
        wire(&response),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn an_acceptance_selects_a_subprotocol_and_adds_headers() {
    let request = request("/chat", &[("Sec-WebSocket-Protocol", "a, b")]);
    let upgrade = request.upgrade(&Config::default()).unwrap();
    let accept = Accept::new()
        .subprotocol("b")
        .header("Set-Cookie", "a=1")
        .and_then(|accept| accept.header("Set-Cookie", "b=2"))
        .unwrap();
    let (_, response) = upgrade.accept(accept).unwrap();
    assert_eq!(response.subprotocol(), Some("b"));
    let wire = wire(&response);
    for line in ["Sec-WebSocket-Protocol: b", "Set-Cookie: a=1", "Set-Cookie: b=2"] {
        assert_eq!(wire.matches(&format!("\r\n{line}\r\n")).count(), 1, "{wire}");
    }
}

#[test]
fn an_acceptance_may_select_none_of_the_offers() {
    let request = request("/chat", &[("Sec-WebSocket-Protocol", "a, b")]);
    let upgrade = request.upgrade(&Config::default()).unwrap();
    for accept in [Accept::new(), Accept::new().subprotocol(None)] {
        assert_eq!(upgrade.accept(accept).unwrap().1.subprotocol(), None);
    }
}

#[test]
fn a_subprotocol_that_was_not_offered_cannot_be_selected() {
    // RFC 6455 §4.2.2 item 5: one of those that the client's request names.
    let request = request("/chat", &[("Sec-WebSocket-Protocol", "chat")]);
    let upgrade = request.upgrade(&Config::default()).unwrap();
    for name in ["evil", "Chat", "", "chat, evil", "chat\r\nX: y"] {
        assert_eq!(
            upgrade.accept(Accept::new().subprotocol(name)).unwrap_err(),
            InvalidRequest::SubprotocolNotOffered(name.into())
        );
    }
}

/// Every byte that ends or spoils a value: the control characters but the tab, and DEL.
fn bad_in_values() -> impl Iterator<Item = char> {
    (0..0x20).chain([0x7f]).map(char::from).filter(|&c| c != '\t')
}

/// The handshake's own, or framing.
const RESERVED: [&str; 12] = [
    "Connection",
    "Upgrade",
    "Host",
    "Origin",
    "Content-Length",
    "Transfer-Encoding",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Anything",
];

#[test]
fn a_header_of_the_users_cannot_end_early_nor_begin_another() {
    type Add = fn(&str, &str) -> Result<(), InvalidRequest>;
    let ways: [Add; 2] = [
        |name, value| Accept::new().header(name, value).map(|_| ()),
        |name, value| Response::new(200).header(name, value).map(|_| ()),
    ];
    for add in ways {
        for bad in bad_in_values() {
            for value in [format!("a{bad}b"), format!("{bad}b"), format!("a{bad}")] {
                assert_eq!(
                    add("X-A", &value),
                    Err(InvalidRequest::Header("X-A".into())),
                    "{value:?}"
                );
            }
        }
        for value in ["a\r\nX-B: b", " a", "a ", "\ta", "a\t", " "] {
            assert!(add("X-A", value).is_err(), "{value:?}");
        }
        for value in ["", "a\tb c", "\u{e9}\u{1F642}"] {
            assert_eq!(add("X-A", value), Ok(()), "{value:?}");
        }
        // RFC 9110 §5.6.2: what is no token character, all of ASCII.
        for byte in 0..0x80u8 {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let name = format!("X{}A", char::from(byte));
            assert_eq!(add(&name, "b").is_ok(), token, "{name:?}");
        }
        for name in ["", "X-\u{e9}", "X A", "X:", "X\r\nB"] {
            assert_eq!(add(name, "b"), Err(InvalidRequest::Header(name.into())));
        }
        for name in RESERVED {
            for name in [name.to_string(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(add(&name, "b"), Err(InvalidRequest::ReservedHeader(name.clone())));
            }
        }
    }
}

#[test]
fn an_answer_of_the_users_has_its_length_and_closes() {
    let page =
        Response::new(200).header("Content-Type", "text/html").unwrap().body("<h1>Hello</h1>");
    assert_eq!(
        wire(&page),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 14\r\n\r\n\
         <h1>Hello</h1>"
    );
    assert!(wire(&Response::new(404)).ends_with("\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn an_answer_without_content_sends_none() {
    // RFC 9110 §15.3.5, §15.4.5: what followed the head would be read as another answer; §8.6: 204 has no length.
    for (status, length) in [(204, None), (205, Some(0)), (304, Some(7))] {
        let wire = wire(&Response::new(status).body("content"));
        assert!(wire.ends_with("\r\n\r\n"), "{wire:?}");
        let line = length.map(|length| format!("\r\nContent-Length: {length}\r\n"));
        assert_eq!(wire.contains("Content-Length"), length.is_some(), "{wire:?}");
        assert!(line.is_none_or(|line| wire.contains(&line)), "{wire:?}");
    }
}

#[test]
fn a_status_that_is_no_answer_becomes_500_or_is_refused() {
    // RFC 9110 §15: "All valid status codes are within the range of 100 to 599, inclusive". After a 1xx a client waits
    // for the final answer (§15.2), and 101 is the handshake's own.
    for status in (0..200).chain(600..1_100).chain([u16::MAX]) {
        assert_eq!(Response::try_new(status), Err(InvalidRequest::Status(status)));
        let response = Response::new(status).body("why");
        assert_eq!(response.status(), 500, "{status}");
        assert_eq!(
            wire(&response),
            "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 3\r\n\r\nwhy"
        );
    }
    for status in 200..600 {
        assert_eq!(Response::try_new(status), Ok(Response::new(status)));
        let wire = wire(&Response::new(status));
        assert!(wire.starts_with(&format!("HTTP/1.1 {status} ")), "{wire}");
        // RFC 9112 §6.3, §9.6: the answer has an end, and it is the last one.
        let lengths = wire.matches("\r\nContent-Length: 0\r\n").count();
        assert_eq!(lengths, usize::from(!matches!(status, 204 | 304)), "{wire}");
        assert_eq!(wire.matches("\r\nConnection: close").count(), 1, "{wire}");
        assert!(wire.ends_with("\r\n\r\n"), "{wire}");
    }
    assert_eq!(
        InvalidRequest::Status(42).to_string(),
        "status 42 cannot be sent as an answer: use one from 200 to 599"
    );
}

#[test]
fn an_answer_has_the_headers_that_its_status_must_have() {
    // RFC 9110 §15.5.6 and §15.5.22; RFC 6455 §4.4.
    let refused = wire(&Response::new(405));
    assert_eq!(refused.matches("\r\nAllow: GET\r\n").count(), 1, "{refused}");
    let chosen = wire(&Response::new(405).header("allow", "GET, HEAD").unwrap());
    assert!(
        chosen.contains("\r\nallow: GET, HEAD\r\n") && !chosen.contains("\r\nAllow:"),
        "{chosen}"
    );
    let upgrade = wire(&Response::new(426));
    for line in ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: close, Upgrade"] {
        assert_eq!(upgrade.matches(&format!("\r\n{line}\r\n")).count(), 1, "{upgrade}");
    }
}

#[test]
fn an_answer_to_head_has_no_content_and_one_to_connect_opens_no_tunnel() {
    let config = Config::default();
    let answer = |head: &[u8], step: usize, response: Option<Response>| {
        let mut handshake = ServerHandshake::new(config.clone());
        let mut input = RecvBuf::new();
        let mut result = Ok(None);
        for piece in head.chunks(step) {
            input.space()[..piece.len()].copy_from_slice(piece);
            input.filled(piece.len());
            result = handshake.read(&mut input);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        let response = response.unwrap_or_else(|| {
            let upgrade = result
                .and_then(|request| request.expect("a whole request").upgrade(&config).map(drop));
            upgrade.unwrap_err().response()
        });
        let mut out = SendBuf::new();
        handshake.respond(&response, &mut out);
        String::from_utf8(out.pending_slices().flatten().copied().collect()).unwrap()
    };
    for empty_line in ["", "\r\n"] {
        for step in [1, 4_000] {
            let head = |line: &str, more: &str| {
                format!("{empty_line}{line} HTTP/1.1\r\nHost: example.com\r\n{more}\r\n")
                    .into_bytes()
            };
            // RFC 9110 §9.3.2: the same head as to GET, and no content.
            let page = || Some(Response::new(200).body("hello"));
            let found = answer(&head("HEAD /", ""), step, page());
            assert!(found.ends_with("Content-Length: 5\r\n\r\n"), "{found}");
            assert!(answer(&head("GET /", ""), step, page()).ends_with("\r\n\r\nhello"));
            // Methods have case (§9.1).
            assert!(answer(&head("head /", ""), step, page()).ends_with("\r\n\r\nhello"));
            // Refusals as well: of a whole request, and of one that fails before its end.
            for (line, more, status) in [
                ("HEAD /", "", "405"),
                ("HEAD /", "Content-Length: 5\r\n", "400"),
                ("HEAD /", "X\r\n", "400"),
                ("HEAD /#", "", "400"),
            ] {
                let found = answer(&head(line, more), step, None);
                assert!(found.starts_with(&format!("HTTP/1.1 {status} ")), "{found}");
                assert!(!found.contains("Content-Length: 0"), "{found}");
                assert!(found.ends_with("\r\n\r\n"), "{found}");
            }
            let old = format!("{empty_line}HEAD / HTTP/1.0\r\n\r\n");
            let found = answer(old.as_bytes(), step, None);
            assert!(found.starts_with("HTTP/1.1 505 ") && found.ends_with("\r\n\r\n"), "{found}");
            // §9.3.6: "Any 2xx (Successful) response indicates that the sender [...] will switch to tunnel mode".
            for status in [200, 204, 299] {
                let answered = Some(Response::new(status).body("hello"));
                let found = answer(&head("CONNECT example.com:80", ""), step, answered);
                assert!(
                    found.starts_with("HTTP/1.1 405 ") && found.contains("\r\nAllow: GET\r\n"),
                    "{found}"
                );
            }
            let forbidden = answer(&head("CONNECT a:80", ""), step, Some(Response::new(403)));
            assert!(forbidden.starts_with("HTTP/1.1 403 "), "{forbidden}");
            // What health checks and scanners send besides.
            for line in
                ["OPTIONS *", "OPTIONS /", "TRACE /", "POST /", "PROPFIND /", "X /", "CONNECT a:80"]
            {
                let found = answer(&head(line, ""), step, None);
                assert!(found.starts_with("HTTP/1.1 405 "), "{line}: {found}");
                assert!(found.contains("\r\nAllow: GET\r\n"), "{line}: {found}");
                assert!(found.ends_with("\r\n\r\nonly GET is served here\n"), "{line}: {found}");
            }
        }
    }
}

#[test]
fn each_error_is_answered_with_its_status() {
    // RFC 6455 §4.2.1, §4.2.2, §4.4, §10.2; RFC 9110 §15.5; RFC 6585 §5.
    let statuses = [
        (RequestError::Malformed, 400),
        (RequestError::HttpVersion, 505),
        (RequestError::TargetTooLong, 414),
        (RequestError::HeadTooBig, 431),
        (RequestError::TimedOut, 408),
        (RequestError::Host, 400),
        (RequestError::Body, 400),
        (RequestError::Target, 400),
        (RequestError::Method, 405),
        (RequestError::NotUpgrade, 426),
        (RequestError::Key, 400),
        (RequestError::VersionMissing, 400),
        (RequestError::Version, 426),
        (RequestError::Subprotocols, 400),
        (RequestError::Origin, 400),
        (RequestError::ForeignOrigin, 403),
        (RequestError::ForeignHost, 421),
        (RequestError::Extensions, 400),
        (RequestError::ConnectionHeader, 400),
        (RequestError::Protocol, 501),
    ];
    for (error, status) in statuses {
        let response = error.response();
        assert_eq!(response.status(), status, "{error:?}");
        assert_eq!(response.body_bytes(), format!("{error}\n").as_bytes());
        let wire = wire(&response);
        let reason = wire.split("\r\n").next().unwrap().get(13..).unwrap();
        assert!(!reason.is_empty(), "{wire}");
        assert_eq!(wire.contains("\r\nAllow: GET\r\n"), status == 405);
        assert_eq!(wire.contains("\r\nUpgrade: websocket\r\n"), status == 426);
        assert_eq!(
            wire.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            status == 426 || error == RequestError::VersionMissing
        );
    }
}

#[test]
fn any_last_character_ends_a_key_and_is_part_of_its_accept_value() {
    // RFC 6455 §4.2.1 item 5 asks for 16 bytes "when decoded". The last four bits belong to none of them.
    let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']);
    let mut accepts = std::collections::HashSet::new();
    for last in alphabet {
        let key = format!("AQIDBAUGBwgJCgsMDQ4PE{last}==");
        let mut fields = FIELDS;
        fields[3].1 = &key;
        let request = from_parts(&fields).unwrap();
        let upgrade = request.upgrade(&Config::default()).expect(&key);
        let (_, response) = upgrade.accept(Accept::new()).unwrap();
        let accept = response.headers().get_str("Sec-WebSocket-Accept").unwrap().to_owned();
        assert!(last != 'C' || accept == "OfS0wDaT5NoxF2gqm7Zj2YtetzM=", "{accept}");
        assert!(accepts.insert(accept), "{key}: the accept value follows the key as it was sent");
    }
}

#[test]
fn a_path_that_looks_like_a_url_names_no_host() {
    // RFC 9112 §3.2.1: what begins with a slash is a path. Taken for a URL, it would name the host of the attacker.
    for target in
        ["/://evil.example/", "/x://evil.example/", "//evil.example/", "/?://evil.example/"]
    {
        let fetched = request(target, &[]);
        assert_eq!((fetched.host(), fetched.target()), ("example.com", target));
        assert_eq!(fetched.path(), target.split('?').next().unwrap(), "{target}");
        let more = [("Origin", "https://evil.example")];
        let error = request(target, &more).upgrade(&Config::default()).unwrap_err();
        assert_eq!(error, RequestError::ForeignOrigin, "{target}");
    }
    // Only the first "://" ends a scheme.
    let more = [("Origin", "https://evil.example")];
    let absolute = request("http://example.com/://evil.example/", &more);
    assert_eq!((absolute.host(), absolute.path()), ("example.com", "/://evil.example/"));
    let error = absolute.upgrade(&Config::default()).unwrap_err();
    assert_eq!(error, RequestError::ForeignOrigin);
}

#[test]
fn an_address_that_ends_in_colons_is_split_from_its_port_at_the_bracket() {
    let config = Config::default();
    for (host, origin, allowed) in [
        ("[::]", "http://[::]", true),
        ("[fe80::]", "http://[fe80::]", true),
        ("[fe80::]", "http://[fe80::]:80", true),
        ("[fe80::]:9001", "http://[fe80::]:9001", true),
        ("[fe80::]:9001", "http://[fe80::]", false),
        ("[fe80::]", "http://[fe81::]", false),
        ("[fe80::]", "http://[fe80::]:9001", false),
        ("[fe80::]", "http://fe80::]", false),
        ("[fe80::]", "http://[fe80::", false),
        ("[fe80::]", "http://x::]", false),
        // The same address, written in another way (RFC 5952 §2).
        ("[0:0:0:0:0:0:0:1]:9001", "http://[::1]:9001", true),
        ("[::ffff:192.0.2.1]", "http://[::ffff:c000:201]", true),
    ] {
        assert_eq!(allows(host, origin, &config), allowed, "{host} {origin}");
    }
    for host in ["::]", "x::]", "::1]", "[::", "]", "[]", "[::]]", "[[::]", "[::]::]"] {
        let mut fields = FIELDS;
        fields[0].1 = host;
        assert_eq!(from_parts(&fields).unwrap_err(), RequestError::Host, "{host}");
    }
}

// The origin (RFC 6455 §10.2, RFC 6454).

fn allows(host: &str, origin: &str, config: &Config) -> bool {
    let mut fields = FIELDS.to_vec();
    fields[0].1 = host;
    fields.push(("Origin", origin));
    let request = from_parts(&fields).expect("a valid request");
    match request.upgrade(config) {
        Ok(_) => true,
        Err(RequestError::ForeignOrigin) => false,
        Err(error) => panic!("{host} {origin}: {error}"),
    }
}

#[test]
fn pages_of_the_servers_own_host_and_port_may_connect() {
    let config = Config::default();
    for (host, origin) in [
        ("example.com", "http://example.com"),
        ("example.com", "https://example.com"),
        ("EXAMPLE.com", "HTTPS://example.COM"),
        ("example.com", "http://example.com:80"),
        ("example.com", "https://example.com:443"),
        ("example.com:", "http://example.com"),
        ("example.com:80", "http://example.com"),
        ("example.com:443", "https://example.com"),
        ("example.com:9001", "http://example.com:9001"),
        ("example.com:9001", "https://example.com:9001"),
        ("example.com:09001", "http://example.com:9001"),
        ("example.com.", "http://example.com."),
        ("localhost:9001", "http://localhost:9001"),
        ("[::1]", "http://[::1]"),
        ("[::1]:9001", "http://[::1]:9001"),
        ("[FE80::1]:80", "http://[fe80::1]"),
        ("xn--caf-dma.example", "https://xn--caf-dma.example"),
    ] {
        assert!(allows(host, origin, &config), "{host} {origin}");
    }
}

#[test]
fn pages_of_other_hosts_and_ports_may_not_connect() {
    let config = Config::default();
    for (host, origin) in [
        ("example.com", "http://evil.example"),
        ("example.com", "http://example.com:8080"),
        ("example.com", "http://example.com:443"),
        ("example.com", "https://example.com:80"),
        ("example.com:80", "https://example.com"),
        ("example.com:443", "http://example.com"),
        ("example.com:8080", "http://example.com"),
        ("example.com:8080", "http://example.com:8081"),
        ("example.com:80", "http://example.com:65616"),
        // Names that begin, end or go on like the host's.
        ("example.com", "http://example.com.evil.example"),
        ("example.com", "http://example.com.evil"),
        ("example.com", "http://evilexample.com"),
        ("example.com", "http://www.example.com"),
        ("www.example.com", "http://example.com"),
        ("example.com", "http://example.co"),
        ("example.com", "http://xample.com"),
        // RFC 6454 §5: another string is another host.
        ("example.com", "http://example.com."),
        ("127.0.0.1", "http://localhost"),
        ("127.0.0.1", "http://127.1"),
        ("[::1]", "http://[::2]"),
        ("[::1]", "http://::1"),
        ("[::1]:9001", "http://[::1]"),
        // Not what RFC 6454 §6.2 serializes.
        ("example.com", "http://example.com@evil.example"),
        ("example.com", "http://evil.example@example.com"),
        ("example.com", "http://user:pass@example.com"),
        ("example.com", "http://example.com/"),
        ("example.com", "http://example.com/path"),
        ("example.com", "http://example.com?query"),
        ("example.com", "http://example.com#fragment"),
        ("example.com", "http://evil.example/example.com"),
        ("example.com", "http://evil.example\\example.com"),
        ("example.com", "http://example.com http://evil.example"),
        ("example.com", "http://example.com, http://evil.example"),
        ("example.com", "http:example.com"),
        ("example.com", "http:/example.com"),
        ("example.com", "//example.com"),
        ("example.com", "://example.com"),
        ("example.com", "example.com"),
        ("example.com", "http://"),
        ("example.com", "null"),
        ("null", "null"),
        ("example.com", "NULL"),
        ("example.com", ""),
        ("example.com", "*"),
        ("example.com", "http://*"),
        ("example.com", "file://"),
        ("example.com", "http://example.com:x"),
        ("example.com", "http://example.com:80:80"),
        ("example.com", "http://example.com:99999"),
    ] {
        assert!(!allows(host, origin, &config), "{host} {origin}");
    }
}

#[test]
fn a_scheme_that_serves_no_pages_is_never_the_same_origin() {
    // RFC 6454 §4: the scheme is part of an origin. Between http and https TLS may end at a proxy; nothing explains
    // another one.
    for scheme in ["ftp", "file", "ws", "chrome-extension", "data", "evil", ""] {
        let origin = format!("{scheme}://example.com");
        assert!(!allows("example.com", &origin, &Config::default()), "{origin}");
        let origin = format!("{scheme}://example.com:9001");
        let config = Config::default();
        assert!(!allows("example.com:9001", &origin, &config), "{origin}");
    }
}

#[test]
fn who_sends_no_origin_is_no_browser_and_may_connect() {
    assert!(request("/", &[]).upgrade(&Config::default()).is_ok());
}

#[test]
fn named_origins_may_connect_and_no_others() {
    let config = Config::default()
        .allow_origin("https://app.example")
        .allow_origin("http://other.example:8080")
        .allow_origin("chrome-extension://abcdef")
        .allow_origin("http://[::1]:3000");
    for origin in [
        "https://app.example",
        "HTTPS://APP.example",
        "https://app.example:443",
        "http://other.example:8080",
        "chrome-extension://abcdef",
        "http://[::1]:3000",
        // The server's own host stays allowed.
        "http://example.com",
    ] {
        assert!(allows("example.com", origin, &config), "{origin}");
    }
    for origin in [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.",
        "https://x.app.example",
        "https://app.example.evil.example",
        "https://app.example@evil.example",
        "http://other.example",
        "https://other.example:8080",
        "chrome-extension://abcdefg",
        "moz-extension://abcdef",
        "http://[::1]",
        "null",
    ] {
        assert!(!allows("example.com", origin, &config), "{origin}");
    }
}

#[test]
fn the_origin_null_is_allowed_by_a_name_of_its_own() {
    let config = Config::default().allow_null_origin();
    assert!(allows("example.com", "null", &config));
    for other in ["https://evil.example", "NULL", "null://", "nullx", "", "file://"] {
        assert!(!allows("example.com", other, &config), "{other}");
    }
    assert!(allows("example.com", "https://example.com", &config), "the other rules stay");
}

#[test]
fn a_function_of_the_program_is_asked_about_an_origin_that_no_rule_has() {
    let config =
        Config::default().allow_origin("https://named.example").allow_origin_if(|origin| {
            origin.strip_prefix("https://").is_some_and(|host| host.ends_with(".app.example"))
        });
    for origin in [
        "https://a.app.example",
        "https://named.example",
        "https://example.com",
        "http://example.com",
    ] {
        assert!(allows("example.com", origin, &config), "{origin}");
    }
    for origin in ["https://evil-app.example", "http://a.app.example", "null", ""] {
        assert!(!allows("example.com", origin, &config), "{origin}");
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_refused_when_it_is_named() {
    for (named, why) in [
        ("*", "allow_any_origin"),
        ("null", "allow_any_origin"),
        (" NULL ", "allow_any_origin"),
        ("", "scheme"),
        ("nonsense", "scheme"),
        ("app.example", "scheme"),
        ("app.example:443", "scheme"),
        ("//app.example", "scheme"),
        ("http:app.example", "scheme"),
        ("https:/app.example", "scheme"),
        ("://app.example", "scheme"),
        ("1https://app.example", "scheme"),
        ("ht tps://app.example", "scheme"),
        ("*://app.example", "scheme"),
        ("ws://app.example", "http://"),
        ("WSS://app.example", "http://"),
        ("data://x", "null"),
        ("about://blank", "null"),
        ("blob://x", "null"),
        ("https://", "no host"),
        ("https:///", "no host"),
        ("https://:443", "no host"),
        ("https://app.example//", "path"),
        ("https://app.example/chat", "path"),
        ("https://app.example/chat/", "path"),
        ("https://app.example?x", "path"),
        ("https://app.example#x", "path"),
        ("https://app.example\\", "path"),
        ("https://user@app.example", "user"),
        ("https://user:pass@app.example", "user"),
        ("https://*.app.example", "patterns"),
        ("https://*", "patterns"),
        ("https://app.example:*", "patterns"),
        ("chrome-extension://*", "patterns"),
        ("https://a.example,b.example", "one"),
        ("https://a.example b.example", "one"),
        ("https://caf\u{e9}.example", "xn--"),
        ("https://caf%C3%A9.example", "percent"),
        ("https://app.example:x", "malformed"),
        ("https://app.example:65536", "malformed"),
        ("https://app.example:+443", "malformed"),
        ("https://[::1", "malformed"),
        ("https://[::g]", "malformed"),
        ("https://[127.0.0.1]", "malformed"),
        ("https://::1", "brackets"),
        ("https://::1:9001", "brackets"),
        ("https://a:1:2", "brackets"),
        ("http://127.1", "number"),
        ("http://2130706433", "number"),
        ("http://0x7f.1", "number"),
        ("http://127.0.0.01", "number"),
        ("http://127.0.0.1.", "number"),
        ("http://1.2.3.4.5", "number"),
        ("http://256.0.0.1", "number"),
        ("file:", "scheme"),
        ("file:///home/me/page.html", "file://"),
        ("file://localhost", "file://"),
    ] {
        let Err(error) = Config::default().try_allow_origin(named) else {
            panic!("{named:?} is taken");
        };
        assert!(matches!(&error, InvalidPolicy::Origin(given, _) if given == named), "{error:?}");
        let shown = error.to_string();
        assert!(shown.contains(&format!("{named:?}")) && shown.contains(why), "{named:?}: {shown}");
        // It is a mistake, whatever else is allowed.
        assert!(Config::default().allow_any_origin().try_allow_origin(named).is_err(), "{named:?}");
    }
}

#[test]
#[should_panic(expected = "no browser sends the origin \"nonsense\": it has no scheme")]
fn a_program_with_an_origin_that_no_browser_sends_does_not_start() {
    let _ = Config::default().allow_origin("nonsense");
}

#[test]
#[should_panic(expected = "no browser sends the host \"http://a.example\": leave out the scheme")]
fn a_program_with_a_host_that_no_browser_sends_does_not_start() {
    let _ = Config::default().allow_host("http://a.example");
}

#[test]
fn a_named_origin_is_the_one_that_the_browser_sends_however_it_is_written() {
    for (named, sent) in [
        (" https://app.example ", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("HTTPS://App.Example/", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("https://app.example:0443", "https://app.example"),
        ("https://app.example:", "https://app.example"),
        ("http://app.example:80/", "http://app.example"),
        ("http://app.example:8080/", "http://app.example:8080"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("http://[FE80::1]", "http://[fe80::1]"),
        ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
        ("http://192.0.2.1:9001", "http://192.0.2.1:9001"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://xn--caf-dma.example", "https://xn--caf-dma.example"),
        ("https://under_score.example", "https://under_score.example"),
        ("https://example.1st", "https://example.1st"),
        // Browsers send it for pages of files; others send null then.
        ("file://", "file://"),
        ("FILE:///", "file://"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("moz-extension://0123-45/", "moz-extension://0123-45"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        let config = Config::default().try_allow_origin(named).expect(named);
        assert!(allows("example.com", sent, &config), "{named:?} {sent}");
        // Other origins are refused.
        for other in
            ["null", "https://evil.example", "file://evil.example", "file:///", "", "://", "x://"]
        {
            assert!(!allows("example.com", other, &config), "{named:?} {other}");
        }
        assert!(
            !allows("example.com", &format!("{sent}/"), &config),
            "{named:?}: no browser sends it"
        );
    }
    // Without a name, the pages of files are foreign.
    assert!(!allows("example.com", "file://", &Config::default()));
}

// The host (RFC 9110 §7.2), against DNS rebinding.

#[test]
fn a_server_that_names_its_hosts_serves_no_others() {
    let upgrade = |host: &str, config: &Config| {
        let mut fields = FIELDS.to_vec();
        fields[0].1 = host;
        // A page of the attacker's, whose name leads to this server: Host and Origin agree.
        let origin = format!("http://{host}");
        fields.push(("Origin", &origin));
        from_parts(&fields).expect("a valid request").upgrade(config).map(drop)
    };
    let any = Config::default();
    assert_eq!(upgrade("evil.example", &any), Ok(()), "any host, unless some are named");
    let named = Config::default().allow_host("localhost").allow_host("chat.example:8443");
    let named = named.allow_host("[::1]").allow_host(" 127.0.0.1:80 ");
    for host in [
        "localhost",
        "LOCALHOST:9001",
        "chat.example:8443",
        "[::1]:9001",
        "[0:0:0:0:0:0:0:1]",
        "127.0.0.1",
        "127.0.0.1:80",
    ] {
        assert_eq!(upgrade(host, &named), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "localhost.",
        "chat.example",
        "chat.example:443",
        "x.chat.example:8443",
        "[::2]",
        "127.0.0.1:81",
        "127.0.0.2",
    ] {
        assert_eq!(upgrade(host, &named), Err(RequestError::ForeignHost), "{host}");
        // Whatever the origin policy says.
        let all = named.clone().allow_any_origin();
        assert_eq!(upgrade(host, &all), Err(RequestError::ForeignHost), "{host}");
    }
    // RFC 9112 §3.2.2: the host of an absolute target counts.
    let rebound = request("http://evil.example/", &[]);
    let config = Config::default().allow_host("example.com");
    assert_eq!(rebound.upgrade(&config).unwrap_err(), RequestError::ForeignHost);
    // RFC 9110 §15.5.20.
    let answer = wire(&RequestError::ForeignHost.response());
    assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answer}");
}

#[test]
fn a_host_that_no_browser_sends_is_refused_when_it_is_named() {
    for named in [
        "",
        "*",
        "*.example",
        "http://a.example",
        "a.example/",
        "a.example/chat",
        "user@a.example",
        "a b",
        "a,b",
        "::1",
        "[::1",
        "a:x",
        "a:1:2",
        ":80",
        "127.1",
        "caf\u{e9}.example",
    ] {
        let Err(error) = Config::default().try_allow_host(named) else {
            panic!("{named:?} is taken");
        };
        assert!(matches!(&error, InvalidPolicy::Host(given, _) if given == named), "{error:?}");
        assert!(error.to_string().contains(&format!("the host {named:?}: ")), "{error}");
    }
}

#[test]
fn any_origin_may_connect_if_the_server_says_so() {
    for config in [
        Config::default().allow_any_origin(),
        Config::default().allow_any_origin().allow_origin("https://a.example"),
        Config::default().allow_origin("https://a.example").allow_any_origin(),
    ] {
        for origin in ["https://evil.example", "null", "", "no origin at all"] {
            assert!(allows("example.com", origin, &config), "{origin}");
        }
    }
    // Two are still no request of a browser's (RFC 6454 §7.3).
    let more = [("Origin", "https://a.example"), ("Origin", "https://b.example")];
    let config = Config::default().allow_any_origin();
    assert_eq!(request("/", &more).upgrade(&config).unwrap_err(), RequestError::Origin);
}

// Limits (RFC 6455 §10.4, RFC 6585 §5).

/// The errors of the bytes with one read and with a read for every byte, which are the same.
#[track_caller]
fn read_both_ways(bytes: &[u8], config: &Config) -> Result<Option<Request>, RequestError> {
    let whole = read(bytes, config);
    let mut handshake = ServerHandshake::new(config.clone());
    let mut input = RecvBuf::new();
    let mut result = Ok(None);
    for &byte in bytes {
        input.space()[0] = byte;
        input.filled(1);
        result = handshake.read(&mut input);
        if !matches!(result, Ok(None)) {
            break;
        }
    }
    let outcome = |result: &Result<Option<Request>, RequestError>| match result {
        Ok(request) => Ok(request.is_some()),
        Err(error) => Err(*error),
    };
    assert_eq!(outcome(&whole), outcome(&result), "whole and byte by byte");
    whole
}

/// A head of exactly `len` bytes in lines of at most `longest`, as `find_end` counts them: without the LF.
fn head_of(len: usize, longest: usize) -> Vec<u8> {
    let mut bytes = head("/", &[]);
    bytes.truncate(bytes.len() - 2);
    let end = len - 2;
    while bytes.len() < end {
        let left = end - bytes.len();
        // A line has at least a name, a colon and its end; what is left must be enough for one more.
        let line = match left.min(longest + 1) {
            all if all == left => all,
            most if left - most < 5 => most - 5,
            most => most,
        };
        bytes.extend_from_slice(b"X: ");
        bytes.resize(bytes.len() + line - 5, b'a');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    assert_eq!(bytes.len(), len);
    bytes
}

#[test]
fn a_head_may_have_as_many_bytes_as_the_limit_and_no_more() {
    for limit in [1 << 10, 4_000, 16 << 10] {
        let config = Config::default().max_head_size(limit);
        let bytes = head_of(limit, limit / 2);
        assert!(matches!(read_both_ways(&bytes, &config), Ok(Some(_))));
        let bytes = head_of(limit + 1, limit / 2);
        assert_eq!(read_both_ways(&bytes, &config).unwrap_err(), RequestError::HeadTooBig);
    }
}

#[test]
fn a_first_line_may_have_half_of_the_limit_and_no_more() {
    let config = Config::default().max_head_size(4_000);
    for (more, fits) in [(0, true), (1, false)] {
        // The line's CR counts.
        let target = format!("/{}", "a".repeat(2_000 + more - "GET / HTTP/1.1\r".len()));
        let result = read_both_ways(&head(&target, &[]), &config);
        match result {
            Ok(Some(request)) => assert!(fits && request.target() == target),
            other => assert_eq!((other.unwrap_err(), fits), (RequestError::TargetTooLong, false)),
        }
    }
}

#[test]
fn a_header_line_may_have_half_of_the_limit_and_no_more() {
    let config = Config::default().max_head_size(4_000);
    for (more, fits) in [(0, true), (1, false)] {
        let value = "a".repeat(2_000 + more - "X-A: \r".len());
        let result = read_both_ways(&head("/", &[("X-A", &value)]), &config);
        match result {
            Ok(Some(_)) => assert!(fits),
            other => assert_eq!((other.unwrap_err(), fits), (RequestError::HeadTooBig, false)),
        }
    }
}

#[test]
fn a_head_may_have_as_many_headers_as_the_limit_and_no_more() {
    for limit in [5, 6, 100] {
        let config = Config::default().max_headers(limit);
        let more = vec![("X", "y"); limit - FIELDS.len()];
        let request = read_both_ways(&head("/", &more), &config).unwrap().unwrap();
        assert_eq!(request.headers().iter().count(), limit);
        let more = vec![("X", "y"); limit - FIELDS.len() + 1];
        assert_eq!(
            read_both_ways(&head("/", &more), &config).unwrap_err(),
            RequestError::HeadTooBig
        );
    }
}

#[test]
fn a_limit_that_is_no_limit_is_none() {
    let config = Config::default().max_headers(usize::MAX).max_head_size(usize::MAX);
    let more = vec![("X", "y"); 3_000];
    let request = read(&head("/", &more), &config).unwrap().unwrap();
    assert_eq!(request.headers().iter().count(), 3_000 + FIELDS.len());
}

#[test]
fn a_limit_of_nothing_refuses_everything() {
    for size in 0..16 {
        let config = Config::default().max_head_size(size);
        let error = read_both_ways(&head("/", &[]), &config).unwrap_err();
        assert_eq!(error, RequestError::TargetTooLong, "{size}");
        // The empty line that is forgiven counts: whatever comes first is the reason.
        let behind_an_empty_line = [b"\r\n", &head("/", &[])[..]].concat();
        assert!(read_both_ways(&behind_an_empty_line, &config).is_err());
    }
    let config = Config::default().max_headers(0);
    let error = read_both_ways(&head("/", &[]), &config).unwrap_err();
    assert_eq!(error, RequestError::HeadTooBig);
}

#[test]
fn a_head_that_never_ends_is_refused_before_it_is_long() {
    for (start, rest, expected) in [
        ("", "G", RequestError::TargetTooLong),
        ("GET /", "a", RequestError::TargetTooLong),
        ("GET / HTTP/1.1\r\n", "a", RequestError::HeadTooBig),
        ("GET / HTTP/1.1\r\n", "X-A: b\r\n", RequestError::HeadTooBig),
        ("\r\n", "G", RequestError::TargetTooLong),
        ("", "\r\n", RequestError::Malformed),
    ] {
        let mut handshake = ServerHandshake::new(Config::default());
        let mut input = RecvBuf::new();
        let bytes: Vec<u8> = start.bytes().chain(rest.bytes().cycle().take(40_000)).collect();
        let mut read = 0;
        let error = loop {
            input.space()[0] = bytes[read];
            input.filled(1);
            read += 1;
            if let Err(error) = handshake.read(&mut input) {
                break error;
            }
        };
        assert_eq!(error, expected, "{start:?} {rest:?}");
        assert!(read <= (16 << 10) + 1, "{read} bytes of {rest:?}");
    }
}

#[test]
fn what_is_beyond_the_limit_does_not_change_the_reason() {
    // The line crosses the limit and ends in a bare LF. If it is read whole, the result must be the same.
    let config = Config::default().max_head_size(1 << 10);
    for over in 0..12 {
        let mut bytes = head_of((1 << 10) + 2 + over, 400);
        bytes.truncate(bytes.len() - 4);
        bytes.extend_from_slice(b"\n\r\n");
        let _ = read_both_ways(&bytes, &config);
    }
}

// Where lines and heads end (RFC 9112 §2.2, §2.1).

#[test]
fn one_empty_line_before_the_request_is_forgiven_and_no_more() {
    let config = Config::default();
    let bytes = [b"\r\n", &head("/", &[])[..]].concat();
    assert!(matches!(read_both_ways(&bytes, &config), Ok(Some(_))));
    let bytes = [b"\r\n\r\n", &head("/", &[])[..]].concat();
    assert_eq!(read_both_ways(&bytes, &config).unwrap_err(), RequestError::Malformed);
}

#[test]
fn a_bare_lf_is_no_line_end_anywhere() {
    let config = Config::default();
    let whole = head("/", &[]);
    for at in (0..whole.len()).filter(|&at| whole[at] == b'\r') {
        let mut bytes = whole.clone();
        bytes.remove(at);
        let error = read_both_ways(&bytes, &config).unwrap_err();
        assert_eq!(error, RequestError::Malformed, "at {at}");
    }
    for bytes in [&b"\n"[..], b"\nGET / HTTP/1.1\r\n", b"\r\n\n"] {
        let error = read_both_ways(bytes, &config).unwrap_err();
        assert_eq!(error, RequestError::Malformed);
    }
}

#[test]
fn what_cannot_begin_a_request_is_refused_at_its_first_byte() {
    for byte in 0..=255u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let result = read(&[byte], &Config::default());
        if token || byte == b'\r' {
            assert!(matches!(result, Ok(None)), "{byte:#x}");
        } else {
            assert_eq!(result.unwrap_err(), RequestError::Malformed, "{byte:#x}");
        }
    }
}

#[test]
fn what_cannot_become_a_request_line_is_refused_at_the_byte_that_shows_it() {
    use RequestError::{HttpVersion, Malformed};
    // What is sent, how many of its bytes are needed, and the answer (RFC 9112 §3, RFC 9110 §15.6.6).
    let cases: [(&[u8], usize, RequestError); 24] = [
        (b"HELO relay.invalid\r\n", 19, Malformed),
        (b"EHLO relay.invalid\n", 19, Malformed),
        (b"QUIT\r\n", 5, Malformed),
        (b"220 smtp.invalid ESMTP\r\n", 18, HttpVersion),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 20, Malformed),
        (b"\x16\x03\x01\x02\x00\x01", 1, Malformed),
        (b"\x80\x2e\x01\x03\x01", 1, Malformed),
        (b"\0\0\0\x14ftypisom", 1, Malformed),
        // HTTP/0.9.
        (b"GET /\r\n", 6, Malformed),
        (b"GET / \r\n", 7, HttpVersion),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 12, HttpVersion),
        (b"GET / HTTP/1.0\r\n", 14, HttpVersion),
        (b"GET / HTTP/1.2\r\n", 14, HttpVersion),
        (b"GET / HTTP/3\r\n", 12, HttpVersion),
        (b"GET / http/1.1\r\n", 7, HttpVersion),
        (b"OPTIONS rtsp://a/ RTSP/1.0\r\n", 19, HttpVersion),
        (b"INVITE sip:a@b SIP/2.0\r\n", 16, HttpVersion),
        (b"GET / HTTP/1.1 \r\n", 15, Malformed),
        (b"GET / HTTP/1.11\r\n", 15, Malformed),
        (b"GET / HTTP/1.1\rHost: a\r\n", 16, Malformed),
        (b"GET\t/ HTTP/1.1\r\n", 4, Malformed),
        (b"GET  / HTTP/1.1\r\n", 5, Malformed),
        (b"GET /\0 HTTP/1.1\r\n", 6, Malformed),
        (b"\rGET / HTTP/1.1\r\n", 2, Malformed),
    ];
    let config = Config::default();
    for empty_line in [&b""[..], b"\r\n"] {
        for (bytes, needed, expected) in cases {
            if !empty_line.is_empty() && bytes[0] == b'\r' {
                continue;
            }
            let bytes = [empty_line, bytes].concat();
            let needed = needed + empty_line.len();
            let shown = String::from_utf8_lossy(&bytes);
            assert!(matches!(read(&bytes[..needed - 1], &config), Ok(None)), "{shown:?}");
            for more in [&b""[..], b"x", HELLO, &[b'a'; 20_000]] {
                let input = [&bytes[..needed], more].concat();
                assert_eq!(read_both_ways(&input, &config).unwrap_err(), expected, "{shown:?}");
            }
            assert_eq!(read_both_ways(&bytes, &config).unwrap_err(), expected, "{shown:?}");
        }
    }
}

#[test]
fn bytes_behind_the_head_stay_in_the_input() {
    let bytes = [&head("/", &[])[..], HELLO].concat();
    for cut in 1..bytes.len() {
        let config = Config::default();
        let mut handshake = ServerHandshake::new(config.clone());
        let mut input = RecvBuf::new();
        let mut found = false;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            input.space()[..piece.len()].copy_from_slice(piece);
            input.filled(piece.len());
            if !found {
                found = handshake.read(&mut input).unwrap().is_some();
            }
        }
        assert!(found);
        assert_eq!(input.unread(), HELLO, "cut at {cut}");
        let mut connection = Connection::server(config);
        let mut out = SendBuf::new();
        assert_eq!(connection.advance(&mut input, &mut out), Ok(Progress::Event));
        assert_eq!(input.event(), Some(MessageRef::Text("Hello")));
    }
}

#[test]
fn the_end_of_the_stream_behind_a_whole_head_is_for_the_connection() {
    let mut handshake = ServerHandshake::new(Config::default());
    let mut input = RecvBuf::with_unread(&head("/", &[]));
    input.eof();
    assert!(handshake.read(&mut input).unwrap().is_some());
}

#[test]
fn a_handshake_that_gave_its_request_may_be_read_again() {
    // For example by a loop that answers several requests over one connection: no panic, and the next request.
    let mut handshake = ServerHandshake::new(Config::default());
    let bytes = [head("/first", &[]), head("/second", &[])].concat();
    let mut input = RecvBuf::with_unread(&bytes);
    for path in ["/first", "/second"] {
        let request = handshake.read(&mut input).unwrap().unwrap();
        assert_eq!(request.path(), path);
    }
    assert!(matches!(handshake.read(&mut input), Ok(None)));
}

#[test]
fn a_refused_head_stays_refused() {
    let config = Config::default().max_headers(5).max_head_size(2_000);
    let long = "a".repeat(1_200);
    for (bytes, expected) in [
        (head("/", &[("X", "1"), ("X", "2"), ("X", "3")]), RequestError::HeadTooBig),
        (head("/", &[("X", &long)]), RequestError::HeadTooBig),
        (head(&format!("/{long}"), &[]), RequestError::TargetTooLong),
        (head("/#", &[]), RequestError::Target),
        ([b"\n", &head("/", &[])[..]].concat(), RequestError::Malformed),
    ] {
        let mut handshake = ServerHandshake::new(config.clone());
        let mut input = RecvBuf::with_unread(&bytes);
        for _ in 0..8 {
            let error = handshake.read(&mut input).map(|_| ()).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}

// Time (RFC 6455 §10.4), on a clock that is set by hand.

#[test]
fn the_deadline_is_absolute() {
    let timeout = Duration::from_secs(3);
    let mut handshake = ServerHandshake::new(Config::default().handshake_timeout(timeout));
    let start = Duration::from_secs(100);
    assert_eq!(handshake.deadline(start), Some(start + timeout));
    let mut input = RecvBuf::new();
    // A byte now and then does not prolong it.
    for (i, byte) in head("/", &[]).into_iter().take(29).enumerate() {
        input.space()[0] = byte;
        input.filled(1);
        assert!(matches!(handshake.read(&mut input), Ok(None)));
        let now = start + Duration::from_millis(100 * (i as u64 + 1));
        assert_eq!(handshake.deadline(now), Some(start + timeout));
        assert_eq!(handshake.on_time(now), Ok(()));
    }
    let late = start + timeout;
    assert_eq!(handshake.on_time(late - Duration::from_nanos(1)), Ok(()));
    assert_eq!(handshake.on_time(late), Err(RequestError::TimedOut));
    assert_eq!(handshake.on_time(late + timeout), Err(RequestError::TimedOut));
}

#[test]
fn the_first_look_at_the_clock_starts_the_time() {
    let timeout = Duration::from_secs(10);
    let mut handshake = ServerHandshake::new(Config::default());
    let start = Duration::from_secs(1_000);
    assert_eq!(handshake.on_time(start), Ok(()));
    assert_eq!(handshake.deadline(start + timeout), Some(start + timeout));
}

#[test]
fn without_a_timeout_there_is_no_deadline() {
    let mut handshake = ServerHandshake::new(Config::default().handshake_timeout(None));
    assert_eq!(handshake.deadline(Duration::ZERO), None);
    assert_eq!(handshake.on_time(Duration::MAX), Ok(()));
}

#[test]
fn a_deadline_beyond_all_time_does_not_overflow() {
    let mut handshake = ServerHandshake::new(Config::default().handshake_timeout(Duration::MAX));
    let now = Duration::from_secs(1);
    assert_eq!(handshake.deadline(now), None, "that is never");
    assert_eq!(handshake.on_time(Duration::MAX), Ok(()));
    // The longest that is not never, at the end of all time.
    let longest = Duration::from_secs((1 << 30) - 1);
    let mut handshake = ServerHandshake::new(Config::default().handshake_timeout(longest));
    assert_eq!(handshake.deadline(Duration::MAX), Some(Duration::MAX));
}

#[test]
fn a_refusal_lingers_until_the_peer_ends_or_enough_was_discarded() {
    let timeout = Duration::from_secs(2);
    let handshake = ServerHandshake::new(Config::default().close_timeout(timeout));
    let mut leave = handshake.leave();
    assert!(leave.shutdown_first() && !leave.is_done());
    let now = Duration::from_secs(50);
    assert_eq!(leave.deadline(now), Some(now + timeout));
    assert_eq!(leave.deadline(now + timeout), Some(now + timeout));
    leave.discard(1_000);
    assert!(!leave.is_done());
    leave.discard(0);
    assert!(leave.is_done());

    let mut leave = handshake.leave();
    let mut discarded = 0;
    while !leave.is_done() {
        leave.discard(4_096);
        discarded += 4_096;
        assert!(discarded <= 16 << 20, "a peer that does not stop is left");
    }
}
