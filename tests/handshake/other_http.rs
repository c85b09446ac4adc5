//! What another HTTP library needs from the handshake: a client's headers, the answers, and unchecked requests.

use std::time::Duration;

use bowline::Config;
use bowline::handshake::{
    ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response, accept_key,
};

fn client(config: Config, extended: bool) -> (ClientHandshake, bowline::handshake::Headers) {
    let request = ClientRequest::new("ws://example.com:9001/chat?token=s3cret").unwrap();
    assert_eq!(
        (request.target(), request.authority()),
        ("/chat?token=s3cret", "example.com:9001".into())
    );
    let start =
        if extended { ClientHandshake::start_extended_connect } else { ClientHandshake::start };
    start(&request, config, [7; 32])
}

fn switching(headers: &bowline::handshake::Headers) -> Response {
    let accept = accept_key(headers.get_str("Sec-WebSocket-Key").unwrap());
    let fields =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", &accept)];
    Response::received(101, fields)
}

fn plain(status: u16) -> Response {
    Response::received::<&str, &str>(status, [])
}

#[test]
fn an_upgrade_has_the_headers_of_the_handshake_and_101_opens_it() {
    let (mut handshake, headers) = client(Config::default(), false);
    assert_eq!(headers.get_str("Host"), Some("example.com:9001"));
    assert_eq!(headers.get_str("Sec-WebSocket-Version"), Some("13"));
    let (connection, response) = handshake.answer(switching(&headers)).unwrap().unwrap();
    assert_eq!(response.status(), 101);
    assert!(connection.end().is_none());
}

#[test]
fn the_answer_to_another_key_opens_nothing() {
    let (mut handshake, _) = client(Config::default(), false);
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    let fields =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", &accept)];
    let error = handshake.answer(Response::received(101, fields)).unwrap_err();
    assert_eq!(error, ConnectError::WrongAccept);
}

#[test]
fn an_extended_connect_has_no_key_and_any_2xx_opens_it() {
    let (mut handshake, headers) = client(Config::default(), true);
    assert_eq!(headers.get("Sec-WebSocket-Key"), None);
    assert_eq!(headers.get("Host"), None);
    assert!(handshake.answer(plain(204)).unwrap().is_some());
}

#[test]
fn a_status_is_judged_by_the_version_of_http() {
    // RFC 9113 §8.6: HTTP/2 has no status 101. RFC 6455 §4.1: with HTTP/1.1 only 101 opens a WebSocket.
    let (mut extended, headers) = client(Config::default(), true);
    assert_eq!(headers.get("Upgrade"), None);
    assert_eq!(extended.answer(plain(101)).unwrap_err(), ConnectError::Malformed);
    let (mut upgrade, _) = client(Config::default(), false);
    assert!(upgrade.answer(plain(200)).unwrap().is_none());
    assert!(
        matches!(upgrade.refused(), ConnectError::Refused(response) if response.status() == 200)
    );
    for status in [0, 99, 1000] {
        for extended in [false, true] {
            let (mut handshake, _) = client(Config::default(), extended);
            let error = handshake.answer(plain(status)).unwrap_err();
            assert_eq!(error, ConnectError::Malformed, "{status}");
        }
    }
}

#[test]
fn eight_interim_responses_are_read_over() {
    for extended in [false, true] {
        let (mut handshake, _) = client(Config::default(), extended);
        for _ in 0..8 {
            assert!(handshake.answer(plain(103)).unwrap().is_none());
        }
        assert_eq!(handshake.answer(plain(100)).unwrap_err(), ConnectError::TooManyInterim);
    }
}

#[test]
fn a_refusal_keeps_64_kib_of_its_body_and_hides_the_query() {
    let (mut handshake, _) = client(Config::default(), false);
    // Without a refusal, no body is wanted.
    assert!(!handshake.refusal_body(b"lost"));
    assert!(handshake.answer(plain(403)).unwrap().is_none());
    assert!(handshake.refusal_body(b"not with token=s3cret"));
    assert!(!handshake.refusal_body(&[b'x'; 64 << 10]));
    assert!(!handshake.refusal_body(b"more"));
    let error = handshake.refused();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    let ConnectError::Refused(response) = error else { panic!("{error}") };
    assert_eq!(response.body_bytes().len(), 64 << 10);
    // The refusal was taken before.
    assert_eq!(handshake.refused(), ConnectError::Gone);
}

#[test]
fn the_body_of_a_refusal_has_a_second() {
    let (mut handshake, _) = client(Config::default(), false);
    let second = Duration::from_secs(1);
    assert_eq!(handshake.deadline(second), Some(11 * second));
    assert!(handshake.answer(plain(500)).unwrap().is_none());
    assert_eq!(handshake.deadline(2 * second), Some(3 * second));
    assert!(handshake.on_time(2 * second).is_ok());
    assert!(matches!(handshake.on_time(3 * second), Err(ConnectError::Refused(_))));
}

const FIELDS: [(&str, &str); 5] = [
    ("host", "example.com"),
    ("upgrade", "websocket"),
    ("connection", "upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

#[test]
fn an_unchecked_request_is_checked_in_the_order_that_a_server_of_pages_needs() {
    let check = |method, fields: &[(&str, &str)], version| {
        let request = Request::from_parts_unchecked(method, "/", fields.iter().copied());
        request.check(version)
    };
    assert_eq!(check("GET", &FIELDS, (1, 1)), Ok(()));
    // It is an ordinary request, whatever else is wrong with it.
    assert_eq!(check("POST", &[], (1, 0)), Err(RequestError::Method));
    assert_eq!(check("GET", &[], (1, 0)), Err(RequestError::NotUpgrade));
    // Then the version is checked, and then the rules for any request.
    for version in [(0, 9), (1, 0), (1, 2), (2, 0), (3, 0)] {
        assert_eq!(check("GET", &FIELDS[1..], version), Err(RequestError::HttpVersion));
    }
    assert_eq!(check("GET", &FIELDS[1..], (1, 1)), Err(RequestError::Host));
    // `upgrade` and `check_handshake` check the headers of the handshake.
    assert_eq!(check("GET", &FIELDS[..4], (1, 1)), Ok(()));
    let request = Request::from_parts_unchecked("GET", "/", FIELDS[..4].iter().copied());
    assert_eq!(request.check_handshake(), Err(RequestError::VersionMissing));
    assert_eq!(request.upgrade(&Config::default()).unwrap_err(), RequestError::VersionMissing);
}

#[test]
fn an_unchecked_extended_connect_belongs_to_http_2_and_3() {
    let request = |protocol, path| {
        let fields = [("sec-websocket-version", "13")];
        Request::from_extended_connect_unchecked(protocol, "https", "example.com", path, fields)
    };
    let good = request("websocket", "/chat");
    assert_eq!(good.protocol(), Some("websocket"));
    assert_eq!((good.check((2, 0)), good.check((3, 0))), (Ok(()), Ok(())));
    assert_eq!(good.check((1, 1)), Err(RequestError::HttpVersion));
    assert_eq!(request("webtransport", "/").check((1, 1)), Err(RequestError::Protocol));
    assert_eq!(request("websocket", "").check((2, 0)), Err(RequestError::Target));
}

#[test]
fn another_server_sends_what_the_status_must_have() {
    let (status, headers, body) = Response::new(426).body("no").into_parts();
    assert_eq!((status, body), (426, b"no".to_vec()));
    // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
    assert_eq!(
        (headers.get_str("Upgrade"), headers.get_str("Connection")),
        (Some("websocket"), Some("upgrade"))
    );
    let (_, headers, _) = Response::new(405).into_parts();
    assert_eq!(headers.get_str("Allow"), Some("GET"));
    // RFC 9110 §15.3.5: no content with 204.
    assert_eq!(Response::new(204).body("no").into_parts().2, b"");
    // The headers of a received response belong to its connection, and its status may not be sent.
    let fields = [("connection", "close"), ("transfer-encoding", "chunked"), ("x-kept", "1")];
    let (status, headers, _) = Response::received(999, fields).into_parts();
    assert_eq!(status, 500);
    assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x-kept"]);
}
