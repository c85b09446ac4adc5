//! The text for a refused client and its user, word for word: the `Display` of each error of the opening handshake.

use std::error::Error as _;

use bowline::handshake::{
    ClientHandshake, ClientRequest, ConnectError, InvalidRequest, RequestError,
};
use bowline::{Config, RecvBuf, SendBuf};

/// What a client reads of this refusal, which is the same whole, byte by byte, and with bytes after it.
#[track_caller]
fn refused(head: &str, body: &[u8]) -> String {
    let request = ClientRequest::new("ws://user:SECRET@h/?token=SECRET").unwrap();
    let bytes = [head.as_bytes(), b"\r\n", body].concat();
    let mut texts = Vec::new();
    for (step, more) in [(bytes.len(), &b""[..]), (1, b""), (bytes.len(), b"\r\n\r\nmore")] {
        let mut handshake =
            ClientHandshake::new(&request, Config::default(), [1; 32], &mut SendBuf::new());
        let mut input = RecvBuf::new();
        let has_end = head.contains("Content-Length");
        let all = if has_end { [&bytes[..], more].concat() } else { bytes.clone() };
        let mut result = Ok(None);
        for piece in all.chunks(step) {
            input.space()[..piece.len()].copy_from_slice(piece);
            input.filled(piece.len());
            result = handshake.read(&mut input);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            input.eof();
            result = handshake.read(&mut input);
        }
        let error = result.map(drop).unwrap_err();
        let is_redirect = head.contains("\r\nLocation: ");
        assert_eq!(matches!(error, ConnectError::Redirected(_)), is_redirect, "{error:?}");
        assert_eq!(matches!(error, ConnectError::Refused(_)), !is_redirect, "{error:?}");
        assert!(error.source().is_none(), "nothing is said twice");
        assert!(!format!("{error} {error:?}").contains("SECRET"));
        texts.push(error.to_string());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    texts.remove(0)
}

#[test]
fn a_redirect_names_its_location() {
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: wss://b.example/chat?x=1\r\nContent-Length: 0\r\n"
        );
        assert_eq!(
            refused(&head, b""),
            format!(
                "server answered with status {status}, which points to wss://b.example/chat?x=1; \
                 redirects are not followed"
            )
        );
    }
    assert_eq!(refused("HTTP/1.1 304 Not Modified\r\n", b""), "server answered with status 304");
    // RFC 9110 §10.2.2: it is a URI; anything else is not shown.
    let head = "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n";
    assert_eq!(refused(head, b""), "server answered with status 301");
    let long =
        format!("HTTP/1.1 301 Moved\r\nLocation: /{}\r\nContent-Length: 0\r\n", "a".repeat(300));
    assert_eq!(
        refused(&long, b""),
        format!(
            "server answered with status 301, which points to /{}...; redirects are not followed",
            "a".repeat(199)
        )
    );
}

#[test]
fn a_refusal_says_what_its_body_says_in_one_line() {
    let head = |status: &str, kind: &str, body: &[u8]| {
        let kind =
            if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        format!("HTTP/1.1 {status} No\r\n{kind}Content-Length: {}\r\n", body.len())
    };
    for (status, kind, body, shown) in [
        (
            "403",
            "text/plain",
            &b"cross-origin request refused\n"[..],
            ": cross-origin request refused",
        ),
        (
            "404",
            "text/plain; charset=utf-8",
            b"\r\n\r\n  no such room \r\nmore\n",
            ": no such room",
        ),
        ("404", "TEXT/PLAIN", b"no such room", ": no such room"),
        ("400", "", b"bad key", ": bad key"),
        ("401", "application/json", b"{\"error\":\"no token\"}", ": {\"error\":\"no token\"}"),
        ("500", "text/plain", b"", ""),
        ("503", "text/plain", b" \n\t\n", ""),
        ("404", "text/html", b"no such room", ""),
        ("404", "", b"<!DOCTYPE html>\n<h1>Not found</h1>", ""),
        ("404", "image/png", b"no such room", ""),
        // What would change a terminal, and what is no text.
        ("403", "text/plain", b"\x1b[31mno\x07", ": \u{fffd}[31mno\u{fffd}"),
        ("403", "text/plain", b"caf\xc3\xa9", ": caf\u{e9}"),
        ("403", "text/plain", b"caf\xc3", ": caf"),
        ("403", "text/plain", b"\xff\xfe", ""),
        ("200", "text/plain", b"hello", ": no WebSocket is served at this URL"),
    ] {
        let expected = format!("server answered with status {status}{shown}");
        assert_eq!(refused(&head(status, kind, body), body), expected);
    }
    let long = "\u{e9}".repeat(1_000);
    assert_eq!(
        refused(&head("403", "text/plain", long.as_bytes()), long.as_bytes()),
        format!("server answered with status 403: {}...", "\u{e9}".repeat(200))
    );
    // Without a length: as far as it came.
    let text = refused("HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n", b"not you");
    assert_eq!(text, "server answered with status 403: not you");
}

#[test]
fn a_url_that_cannot_be_used_names_the_cure() {
    for (url, text) in [
        ("ftp://h/", "the scheme is none of ws, wss, http and https"),
        ("ws://::1:9001/", "an IPv6 address needs brackets, as in ws://[::1]:9001/"),
        ("ws://::1/", "an IPv6 address needs brackets, as in ws://[::1]:9001/"),
        ("ws://::/", "an IPv6 address needs brackets, as in ws://[::1]:9001/"),
        ("wss://2001:db8::7", "an IPv6 address needs brackets, as in ws://[::1]:9001/"),
        ("ws://user:pw@fe80::1:80", "an IPv6 address needs brackets, as in ws://[::1]:9001/"),
        ("ws://h:80:80/", "the port is not a number"),
        ("ws://:80/", "no host"),
        ("h/chat", "no scheme"),
    ] {
        let error = ClientRequest::new(url).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid WebSocket URL: {text}"), "{url}");
        assert!(error.source().is_none());
    }
}

#[test]
fn each_error_of_a_client_has_its_words() {
    for (error, text) in [
        (
            ConnectError::Malformed,
            "the server's answer is not HTTP/1.1: if the port speaks TLS, use wss:// in the URL",
        ),
        (ConnectError::HeadTooBig, "response head exceeds max_head_size or max_headers"),
        (ConnectError::TooManyInterim, "server sent more than 8 interim responses"),
        (ConnectError::TimedOut, "opening handshake not complete within handshake_timeout"),
        (ConnectError::Gone, "server closed the connection before its response was complete"),
        (ConnectError::NotUpgraded, "server did not upgrade to WebSocket"),
        (ConnectError::WrongAccept, "Sec-WebSocket-Accept does not match the key"),
        (
            ConnectError::Extension,
            "server uses an extension that was not offered, or not as offered",
        ),
        (ConnectError::Subprotocol, "server selected a subprotocol that was not offered"),
        (ConnectError::Body, "server's 101 response claims to have a body"),
        (
            ConnectError::NotEnabled,
            "server did not enable extended CONNECT on this HTTP/2 connection",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
    }
    let name = || String::from("X A");
    for (error, text) in [
        (InvalidRequest::Method, "a WebSocket is opened with GET"),
        (InvalidRequest::Header(name()), "invalid header \"X A\""),
        (
            InvalidRequest::ReservedHeader(name()),
            "header \"X A\" is written by the handshake itself",
        ),
        (InvalidRequest::Subprotocol(name()), "invalid or repeated subprotocol \"X A\""),
        (
            InvalidRequest::SubprotocolNotOffered(name()),
            "subprotocol \"X A\" was not offered by the client",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
    }
}

#[test]
fn each_error_of_a_server_has_the_words_that_the_client_gets() {
    use RequestError::*;
    for (error, text) in [
        (Malformed, "malformed HTTP request: this port speaks HTTP/1.1, for WebSockets"),
        (HttpVersion, "only HTTP/1.1 is served here, or extended CONNECT over HTTP/2"),
        (TargetTooLong, "request line too long"),
        (HeadTooBig, "request head too big"),
        (TimedOut, "request not complete in time"),
        (Gone, "client went away during the opening handshake"),
        (Host, "exactly one valid Host header is needed, in HTTP/2 none or that of :authority"),
        (Body, "a request for a WebSocket has no body"),
        (Target, "invalid request target"),
        (Method, "only GET is served here"),
        (Protocol, "only the protocol websocket is served here"),
        (ConnectionHeader, "extended CONNECT has no headers of the connection"),
        (NotUpgrade, "this is a WebSocket server: send Upgrade: websocket and Connection: Upgrade"),
        (Key, "exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed"),
        (VersionMissing, "exactly one Sec-WebSocket-Version is needed"),
        (Version, "only version 13 of WebSocket is served here"),
        (Subprotocols, "Sec-WebSocket-Protocol is not a list of different tokens"),
        (Extensions, "Sec-WebSocket-Extensions is malformed"),
        (Origin, "more than one Origin header"),
        (
            ForeignOrigin,
            "cross-origin request refused; the server can allow it with Config::allow_origin",
        ),
        (
            ForeignHost,
            "this host is not served here; the server can name it with Config::allow_host",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.response().body_bytes(), format!("{text}\n").as_bytes());
        assert!(error.source().is_none());
    }
}

#[test]
fn debug_shows_no_secret_of_a_handshake() {
    let request = ClientRequest::new("ws://user:SECRET@h/chat?token=SECRET")
        .and_then(|request| request.header("Cookie", "SECRET")?.subprotocol("token.SECRET"))
        .unwrap();
    let mut out = SendBuf::new();
    let handshake = ClientHandshake::new(&request, Config::default(), [1; 32], &mut out);
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let sent = String::from_utf8(sent).unwrap();
    assert!(sent.contains("SECRET"));
    let key = sent.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let received = bowline::handshake::Request::from_parts(
        "GET",
        "/chat?token=SECRET",
        [
            ("Host", "h"),
            ("Authorization", "SECRET"),
            ("Cookie", "a=SECRET"),
            ("Sec-WebSocket-Protocol", "token.SECRET"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
        ],
    )
    .unwrap();
    let upgrade = received.upgrade(&Config::default()).unwrap();
    let accept = bowline::handshake::Accept::new().header("Set-Cookie", "SECRET").unwrap();
    let shown_accept = format!("{accept:?}");
    let (_, response) = upgrade.accept(accept).unwrap();
    let headers = format!("{:?} {:?}", received.headers(), response.headers());
    for shown in [
        format!("{request:?}"),
        format!("{handshake:?}"),
        format!("{received:?}"),
        format!("{upgrade:?}"),
        format!("{response:?}"),
        format!("{response:#?}"),
        shown_accept,
        headers,
    ] {
        assert!(!shown.contains("SECRET") && !shown.contains(key), "{shown}");
    }
}

#[cfg(feature = "rustls")]
#[test]
fn tls_that_meets_no_tls_says_so_and_nothing_twice() {
    use bowline::rustls::{AlertDescription, Error, InvalidMessage};
    use bowline::tls::TlsError;

    let plain = TlsError::from(Error::InvalidMessage(InvalidMessage::InvalidContentType));
    assert_eq!(
        plain.to_string(),
        "TLS: received corrupt message of type InvalidContentType; \
         the server may not speak TLS on this port: try ws:// in the URL"
    );
    let alert = TlsError::from(Error::AlertReceived(AlertDescription::UnknownCA));
    assert!(!alert.to_string().contains("ws://"), "{alert}");
    for error in [plain, alert] {
        assert!(
            error.source().is_none_or(|source| !error.to_string().contains(&source.to_string()))
        );
    }
}
