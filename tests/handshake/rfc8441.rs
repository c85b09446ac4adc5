//! RFC 8441 §4 and §5: an extended CONNECT as the core takes it, from any implementation of HTTP/2.

use bowline::Config;
use bowline::handshake::{Accept, Request, RequestError};

type Field = (&'static str, &'static str);

const VERSION: Field = ("sec-websocket-version", "13");

fn request(pseudo: [&str; 4], more: &[Field]) -> Result<Request, RequestError> {
    let [protocol, scheme, authority, path] = pseudo;
    let headers = [&[VERSION], more].concat();
    Request::from_extended_connect(protocol, scheme, authority, path, headers)
}

const GOOD: [&str; 4] = ["websocket", "https", "example.com", "/chat?room=1"];

fn refusal(pseudo: [&str; 4], more: &[Field]) -> Option<RequestError> {
    request(pseudo, more).and_then(|request| request.upgrade(&Config::default()).map(drop)).err()
}

#[test]
fn a_good_request_is_accepted_with_200_and_nothing_of_http_1() {
    let offer = ("sec-websocket-protocol", "chat, superchat");
    // X09: the key is ignored, also where HTTP/1.1 would refuse it.
    for key in [&[][..], &[("sec-websocket-key", "bad")], &[("sec-websocket-key", ""); 2]] {
        let request = request(GOOD, &[&[offer], key].concat()).unwrap();
        assert_eq!((request.method(), request.path()), ("CONNECT", "/chat"));
        assert_eq!((request.host(), request.query()), ("example.com", Some("room=1")));
        assert!(request.is_upgrade());
        let config = Config::default();
        let upgrade = request.upgrade(&config).unwrap();
        let accept = Accept::new().subprotocol("superchat").header("Set-Cookie", "a=b").unwrap();
        let (_, response) = upgrade.accept(accept).unwrap();
        assert_eq!(response.status(), 200);
        let fields: Vec<_> = response.headers().iter().collect();
        let expected: [(&str, &[u8]); 2] =
            [("Sec-WebSocket-Protocol", b"superchat"), ("Set-Cookie", b"a=b")];
        assert_eq!(fields, expected);
    }
}

#[test]
fn x05_scheme_authority_and_path_are_there_and_well_formed() {
    for (place, values) in [
        (1, &["", "ws", "wss", "ftp", "https:"][..]),
        (2, &["", "user@example.com", "example.com/", "a b", "example.com:x", "[::1"]),
        (3, &["", "chat", "*", "/a#b", "/a b", "/\u{e4}"]),
    ] {
        for value in values {
            let mut pseudo = GOOD;
            pseudo[place] = value;
            assert_eq!(refusal(pseudo, &[]), Some(RequestError::Target), "{value:?}");
        }
    }
    for pseudo in [["websocket", "HTTP", "[::1]:8080", "/"], ["websocket", "http", "a:", "/?"]] {
        assert_eq!(refusal(pseudo, &[]), None, "{pseudo:?}");
    }
}

#[test]
fn x07_another_protocol_is_501() {
    for protocol in
        ["", "foo", "websocket ", "websockets", "websocke", "websocket/13", "h2c, websocket"]
    {
        let mut pseudo = GOOD;
        pseudo[0] = protocol;
        assert_eq!(refusal(pseudo, &[]), Some(RequestError::Protocol), "{protocol:?}");
        let [protocol, scheme, authority, path] = pseudo;
        let none: [Field; 0] = [];
        let request = Request::from_extended_connect(protocol, scheme, authority, path, none);
        assert!(request.unwrap().is_upgrade(), "it is no ordinary request");
    }
    assert_eq!(RequestError::Protocol.response().status(), 501);
}

#[test]
fn the_protocol_has_no_case() {
    // RFC 9110 §7.8: "recipients SHOULD use case-insensitive comparison when matching each protocol-name".
    for protocol in ["WebSocket", "WEBSOCKET", "webSocket"] {
        let mut pseudo = GOOD;
        pseudo[0] = protocol;
        assert_eq!(refusal(pseudo, &[]), None, "{protocol}");
    }
}

#[test]
fn a_path_that_looks_like_a_url_names_no_host() {
    for path in ["/://evil.example/", "//evil.example/", "/x://evil.example/"] {
        let mut pseudo = GOOD;
        pseudo[3] = path;
        let fetched = request(pseudo, &[]).unwrap();
        assert_eq!((fetched.host(), fetched.path()), ("example.com", path));
        let foreign = ("origin", "https://evil.example");
        assert_eq!(refusal(pseudo, &[foreign]), Some(RequestError::ForeignOrigin), "{path}");
    }
}

#[test]
fn x08_headers_of_the_connection_are_refused() {
    for field in [
        ("connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
    ] {
        assert_eq!(refusal(GOOD, &[field]), Some(RequestError::ConnectionHeader), "{field:?}");
    }
    assert_eq!(RequestError::ConnectionHeader.response().status(), 400);
}

#[test]
fn the_rest_is_as_in_rfc_6455() {
    use RequestError::*;
    let cases: [(&[Field], Option<RequestError>); 16] = [
        (&[VERSION], Some(VersionMissing)),
        (&[("content-length", "0")], None),
        (&[("content-length", "5")], Some(Body)),
        (&[("host", "example.com")], None),
        (&[("host", "EXAMPLE.com:443")], None),
        (&[("host", "other.example")], Some(Host)),
        (&[("host", "example.com:444")], Some(Host)),
        (&[("host", "example.com"), ("host", "example.com")], Some(Host)),
        (&[("origin", "https://example.com")], None),
        (&[("origin", "https://evil.example")], Some(ForeignOrigin)),
        (&[("origin", "https://example.com:444")], Some(ForeignOrigin)),
        (&[("origin", "null")], Some(ForeignOrigin)),
        (&[("origin", "https://example.com"), ("origin", "https://example.com")], Some(Origin)),
        (&[("sec-websocket-protocol", "a, a")], Some(Subprotocols)),
        (&[("sec-websocket-extensions", ";")], Some(Extensions)),
        (&[("cookie", "a=b"), ("cookie", "c=d")], None),
    ];
    for (more, expected) in cases {
        assert_eq!(refusal(GOOD, more), expected, "{more:?}");
    }
    let version = |value| {
        let headers = [("sec-websocket-version", value)];
        let request = Request::from_extended_connect("websocket", "https", "a", "/", headers);
        request.unwrap().upgrade(&Config::default()).map(drop).unwrap_err()
    };
    assert_eq!(version("8"), Version);
    // A plain CONNECT asks for a tunnel to elsewhere.
    let plain = Request::from_parts("CONNECT", "example.com:443", [("Host", "example.com")]);
    let plain = plain.unwrap();
    assert!(!plain.is_upgrade());
    assert_eq!(plain.upgrade(&Config::default()).map(drop).unwrap_err(), Method);
}
