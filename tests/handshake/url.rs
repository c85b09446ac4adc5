//! `ws` and `wss` URLs (RFC 6455 §3): what is connected to, what is asked for, and what is refused before anything is sent.

use bowline::Config;
use bowline::SendBuf;
use bowline::handshake::{ClientHandshake, ClientRequest, InvalidRequest};

/// The request line's target and the headers that follow from the URL.
fn request(url: &str) -> (ClientRequest, String, String) {
    let request = ClientRequest::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let mut out = SendBuf::new();
    ClientHandshake::new(&request, Config::default(), [1; 32], &mut out);
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let sent = String::from_utf8(sent).expect("a URL is ASCII");
    let mut lines = sent.split("\r\n");
    let line = lines.next().unwrap();
    let target = line
        .strip_prefix("GET ")
        .and_then(|line| line.strip_suffix(" HTTP/1.1"))
        .unwrap_or_else(|| panic!("{url}: {line:?}"));
    let host = lines.find_map(|line| line.strip_prefix("Host: ")).expect("there is a Host");
    (request, target.into(), host.into())
}

#[track_caller]
fn assert_invalid(url: &str) {
    match ClientRequest::new(url) {
        Err(InvalidRequest::Url(what)) => assert!(!what.is_empty()),
        Err(other) => panic!("{url:?}: {other}"),
        Ok(request) => panic!("{url:?}: {request:?}"),
    }
}

#[test]
fn a_url_has_a_scheme_a_host_a_port_and_a_target() {
    for (url, secure, host, port, target, host_header) in [
        ("ws://example.com", false, "example.com", 80, "/", "example.com"),
        ("ws://example.com/", false, "example.com", 80, "/", "example.com"),
        ("wss://example.com/", true, "example.com", 443, "/", "example.com"),
        ("WS://example.com/", false, "example.com", 80, "/", "example.com"),
        ("wSs://example.com/", true, "example.com", 443, "/", "example.com"),
        ("ws://example.com/a/b", false, "example.com", 80, "/a/b", "example.com"),
        ("ws://example.com/a?b=c", false, "example.com", 80, "/a?b=c", "example.com"),
        // §3: the resource name has a path of at least a slash.
        ("ws://example.com?b=c", false, "example.com", 80, "/?b=c", "example.com"),
        ("ws://example.com?", false, "example.com", 80, "/?", "example.com"),
        ("ws://example.com/?", false, "example.com", 80, "/?", "example.com"),
        ("ws://example.com?a=/b?c", false, "example.com", 80, "/?a=/b?c", "example.com"),
        ("ws://example.com//a//", false, "example.com", 80, "//a//", "example.com"),
        ("ws://example.com/a@b:c", false, "example.com", 80, "/a@b:c", "example.com"),
        ("ws://example.com?a@b", false, "example.com", 80, "/?a@b", "example.com"),
        ("ws://example.com/caf%C3%A9", false, "example.com", 80, "/caf%C3%A9", "example.com"),
        ("ws://example.com/a%00%0d%0a", false, "example.com", 80, "/a%00%0d%0a", "example.com"),
        ("ws://xn--caf-dma.example/", false, "xn--caf-dma.example", 80, "/", "xn--caf-dma.example"),
        ("ws://under_score.example/", false, "under_score.example", 80, "/", "under_score.example"),
        ("ws://localhost:9001", false, "localhost", 9001, "/", "localhost:9001"),
        ("ws://localhost:9001?x", false, "localhost", 9001, "/?x", "localhost:9001"),
    ] {
        let (request, found_target, found_host) = request(url);
        assert_eq!(request.is_secure(), secure, "{url}");
        assert_eq!((request.host(), request.port()), (host, port), "{url}");
        assert_eq!((&found_target[..], &found_host[..]), (target, host_header), "{url}");
    }
}

#[test]
fn a_port_is_from_1_to_65535_or_the_schemes_own() {
    for (url, port) in [
        ("ws://h:1/", 1),
        ("ws://h:65535/", 65_535),
        ("ws://h:0080/", 80),
        ("ws://h:80/", 80),
        ("ws://h:443/", 443),
        ("wss://h:80/", 80),
        // RFC 3986 §3.2.3: an empty port is the default one.
        ("ws://h:/", 80),
        ("wss://h:", 443),
        ("ws://h:?x", 80),
        ("ws://[::1]:", 80),
    ] {
        assert_eq!(request(url).0.port(), port, "{url}");
    }
    for port in [
        "0",
        "00",
        "65536",
        "65616",
        "99999",
        "4294967376",
        "18446744073709551696",
        "-1",
        "+80",
        "8x",
        "x",
        "0x50",
        "80:",
        "80:80",
        "8.0",
        "%38",
    ] {
        assert_invalid(&format!("ws://h:{port}/"));
        assert_invalid(&format!("ws://[::1]:{port}/"));
    }
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    for (url, host, header) in [
        ("ws://[::1]/", "::1", "[::1]"),
        ("ws://[::]", "::", "[::]"),
        ("ws://[2001:db8::7]:9001/", "2001:db8::7", "[2001:db8::7]:9001"),
        ("ws://[::ffff:192.0.2.1]/", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]"),
        ("ws://user:pass@[::1]:9001?x", "::1", "[::1]:9001"),
    ] {
        let (request, _, found) = request(url);
        assert_eq!((request.host(), &found[..]), (host, header), "{url}");
    }
    for url in [
        "ws://::1/",
        "ws://2001:db8::7/",
        "ws://[::1/",
        "ws://::1]/",
        "ws://[]/",
        "ws://[/",
        "ws://]/",
        "ws://[::1]]/",
        "ws://[[::1]]/",
        "ws://[::1]x/",
        "ws://[::1]80/",
        "ws://x[::1]/",
        "ws://[::g]/",
        "ws://[1:2:3:4:5:6:7:8:9]/",
        "ws://[127.0.0.1]/",
        "ws://[localhost]/",
        "ws://[fe80::1%eth0]/",
        "ws://[fe80::1%25]/",
        "ws://[fe80::1%25eth0%20x]/",
        "ws://[fe80::1%25a/b]/",
        "ws://[127.0.0.1%25lo]/",
        "ws://[v1.x]/",
        "ws://[::1 ]/",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn a_host_is_there_and_is_one() {
    for url in [
        "ws://",
        "ws:///",
        "ws:///path",
        "ws://?x",
        "ws://:80/",
        "ws://user@/",
        "ws://user@:80/",
        "ws://a b/",
        "ws://a,b/",
        "ws://a%2eb/",
        "ws://%00/",
        "ws://a*b/",
        "ws://a\\b/",
        "ws://<host>/",
        "ws://a;b/",
        "ws://h\u{f6}st/",
        "ws://\u{3002}/",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn a_scheme_is_one_of_those_that_browsers_take() {
    for url in [
        "",
        "ws",
        "ws:",
        "ws:/h",
        "ws:h",
        "h",
        "h:80",
        "/path",
        "//h/",
        "://h/",
        "httpss://h/",
        "wsss://h/",
        "w://h/",
        "xws://h/",
        " ws://h/",
        "\tws://h/",
        "ws ://h/",
        "file:///etc/passwd",
        "ws+unix://h/",
        "ws+unix:h",
        "ws+unix:",
        "http+unix:/h",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn a_fragment_is_refused() {
    // §3: fragment identifiers must not be used; a number sign that belongs to the path is percent-encoded.
    for url in ["ws://h/p#f", "ws://h#f", "ws://h/#", "ws://h?q#f", "ws://u#@h/", "ws://h:80#/"] {
        assert_invalid(url);
    }
    assert_eq!(request("ws://h/p%23f").1, "/p%23f");
}

#[test]
fn what_could_end_the_request_line_is_refused_anywhere() {
    // RFC 9112 §3, §11.1: a space, a line end or NUL in the URL would change the request.
    for bad in (0..=0x20u8).chain([0x7f]).map(char::from) {
        for url in [
            format!("ws://h/a{bad}b"),
            format!("ws://h/{bad}"),
            format!("ws://h?a{bad}b"),
            format!("ws://a{bad}b/"),
            format!("ws://u{bad}:p@h/"),
            format!("ws://h:8{bad}0/"),
            format!("ws://h{bad}"),
            format!("{bad}ws://h"),
        ] {
            assert_invalid(&url);
        }
    }
    assert_invalid("ws://a\r\nb/");
    assert_invalid("ws://h/ HTTP/1.1\r\nX: y\r\n\r\n");
}

#[test]
fn what_is_not_ascii_is_refused_anywhere() {
    for url in [
        "ws://h/caf\u{e9}",
        "ws://h?\u{1F642}",
        "ws://caf\u{e9}.example/",
        "ws://us\u{e9}r@h/",
        "ws://h/\u{a0}",
        "ws://h/\u{2028}",
        "\u{feff}ws://h/",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn credentials_are_percent_decoded_and_stay_out_of_target_and_host() {
    // RFC 3986 §3.2.1; how they are sent is tested with the request.
    for url in [
        "ws://user:secret@h/chat",
        "ws://user@h/chat",
        "ws://:secret@h/chat",
        "ws://us%65r:%73ecret%40@h/chat",
        "ws://u:p:q@h/chat",
    ] {
        let (request, target, host) = request(url);
        assert_eq!((&target[..], &host[..], request.host()), ("/chat", "h", "h"), "{url}");
    }
    for url in [
        "ws://%@h/",
        "ws://%4@h/",
        "ws://a:%zz@h/",
        "ws://a:%4g@h/",
        "ws://%%34@h/",
        "ws://a%+4:b@h/",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn a_backslash_does_not_hide_the_host() {
    // RFC 3986 has no backslash. Browsers take it for a slash, and then the host is not the one after the at sign. A
    // program that checks a URL in one way and connects in the other is led elsewhere.
    for url in [
        "ws://evil.example\\@good.example/",
        "ws://good.example\\.evil.example/",
        "ws:\\\\good.example/",
        "ws://user\\:pass@good.example/",
    ] {
        assert_invalid(url);
    }
}

#[test]
fn the_error_does_not_repeat_the_url() {
    // It may hold credentials.
    let error = ClientRequest::new("ws://user:SECRET@h:0/?token=SECRET").unwrap_err();
    for shown in [format!("{error}"), format!("{error:?}")] {
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn urls_of_http_are_those_of_websocket() {
    for (url, secure, port) in [
        ("http://example.com/x", false, 80),
        ("https://example.com/x", true, 443),
        ("HTTP://example.com:8080/x", false, 8080),
    ] {
        let request = request(url).0;
        assert_eq!((request.is_secure(), request.port(), request.target()), (secure, port, "/x"));
    }
}

#[test]
fn the_zone_of_an_address_is_not_sent() {
    // RFC 6874 §2 and §1.
    let (request, _, header) = request("ws://[fe80::1%25eth0.7]:9001/");
    assert_eq!((request.host(), &header[..]), ("fe80::1", "[fe80::1]:9001"));
    assert_eq!(request.url(), "ws://[fe80::1%25eth0.7]:9001/");
}

#[test]
fn a_unix_socket_is_a_path_and_a_target() {
    for (url, secure, target, shown) in [
        ("ws+unix:/run/chat.sock", false, "/", "ws+unix:/run/chat.sock:/"),
        ("ws+unix:/run/chat.sock:", false, "/", "ws+unix:/run/chat.sock:/"),
        (
            "ws+unix:/run/chat.sock:/chat?x=1:2",
            false,
            "/chat?x=1:2",
            "ws+unix:/run/chat.sock:/chat?x=1:2",
        ),
        ("ws+unix:/run/chat.sock:?x", false, "/?x", "ws+unix:/run/chat.sock:/?x"),
        ("WSS+UNIX:/run/chat.sock:/chat", true, "/chat", "wss+unix:/run/chat.sock:/chat"),
        ("ws+unix:///run/chat.sock:/", false, "/", "ws+unix:/run/chat.sock:/"),
        ("ws+unix:////run:/", false, "/", "ws+unix:////run:/"),
        ("ws+unix:/a%3Ab%20c:/", false, "/", "ws+unix:/a%3Ab%20c:/"),
    ] {
        let (request, found, header) = request(url);
        assert_eq!((request.is_secure(), &found[..], &header[..]), (secure, target, "localhost"));
        assert_eq!(request.url(), shown);
    }
    for url in
        ["ws+unix:relative", "ws+unix:/a%zz:/", "ws+unix:/a%00:/", "ws+unix:/a:b", "ws+unix:/a%ff"]
    {
        assert_invalid(url);
    }
}

#[test]
fn the_url_is_given_without_credentials() {
    for (url, shown) in [
        ("ws://user:pw@example.com", "ws://example.com/"),
        ("wss://example.com:443/a?b", "wss://example.com/a?b"),
        ("https://[::1]:9001/", "wss://[::1]:9001/"),
    ] {
        let request: ClientRequest = url.parse().unwrap();
        assert_eq!(request.url(), shown);
        assert_eq!(ClientRequest::new(shown).unwrap().url(), shown, "it is a URL itself");
    }
}
