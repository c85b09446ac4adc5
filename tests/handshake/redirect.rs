//! Redirects (RFC 9110 §15.4): which ones are followed, where to, and what is sent there.

use bowline::handshake::{
    ClientHandshake, ClientRequest, ConnectError, Place, Proxies, Proxy, Redirected, Unfollowed,
};
use bowline::{Config, RecvBuf, SendBuf};
use std::net::SocketAddr;

/// The redirect that a request gets.
fn redirected(request: &ClientRequest, status: u16, location: &str) -> Redirected {
    let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n\r\n");
    let mut out = SendBuf::new();
    let mut handshake = ClientHandshake::new(request, Config::default(), [1; 32], &mut out);
    // Nothing waits for a body, which has no length here.
    match handshake.read(&mut RecvBuf::with_unread(head.as_bytes())) {
        Err(ConnectError::Redirected(redirected)) => *redirected,
        other => panic!("{:?}", other.map(drop)),
    }
}

/// The request after the redirect, or why there is none.
fn follow(request: &ClientRequest, location: &str) -> Result<ClientRequest, Unfollowed> {
    match request.follow(redirected(request, 302, location)) {
        Ok(next) => Ok(next),
        Err(ConnectError::Redirected(redirected)) => Err(redirected.why()),
        Err(other) => panic!("{other}"),
    }
}

fn request(url: &str) -> ClientRequest {
    ClientRequest::new(url).unwrap().redirects(10)
}

/// The headers that a request sends, except those of the handshake.
fn headers(request: &ClientRequest) -> String {
    let mut out = SendBuf::new();
    ClientHandshake::new(request, Config::default(), [1; 32], &mut out);
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let sent = String::from_utf8(sent).unwrap();
    let own = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    let mut names: Vec<_> = sent
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .filter(|name| !own.contains(name))
        .collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn no_redirect_is_followed_unless_the_request_allows_it() {
    let request = ClientRequest::new("ws://h/").unwrap();
    for status in [301, 302, 303, 307, 308] {
        let redirected = redirected(&request, status, "/there");
        assert_eq!((redirected.status(), redirected.location()), (status, "/there"));
        assert_eq!(redirected.why(), Unfollowed::Off);
        assert_eq!(redirected.response().status(), status);
        assert_eq!(
            redirected.to_string(),
            format!(
                "server answered with status {status}, which points to /there; redirects are not followed"
            )
        );
        assert!(request.follow(redirected).is_err());
    }
    // Where the program gave the stream, nothing can connect anew.
    let allowed = redirected(&request.redirects(1), 302, "/there");
    assert_eq!(allowed.why(), Unfollowed::GivenStream);
}

#[test]
fn only_five_statuses_with_a_location_are_redirects() {
    for (status, location) in
        [(300, "/a"), (304, "/a"), (305, "/a"), (306, "/a"), (201, "/a"), (302, "")]
    {
        let location =
            if location.is_empty() { String::new() } else { format!("Location: {location}\r\n") };
        let head = format!("HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n");
        let mut out = SendBuf::new();
        let mut handshake =
            ClientHandshake::new(&request("ws://h/"), Config::default(), [1; 32], &mut out);
        let error = handshake.read(&mut RecvBuf::with_unread(head.as_bytes())).map(drop);
        assert!(matches!(error, Err(ConnectError::Refused(_))), "{status}: {error:?}");
    }
}

#[test]
fn a_location_may_be_relative() {
    // RFC 3986 §5.4, with `http` as `ws`, and without those that have a fragment or parameters of a path.
    let base = request("ws://a/b/c/d?q");
    for (location, url) in [
        ("ws://g/h", "ws://g/h"),
        ("http://g/h", "ws://g/h"),
        ("https://g/h", "wss://g/h"),
        ("WSS://g", "wss://g/"),
        ("g", "ws://a/b/c/g"),
        ("./g", "ws://a/b/c/g"),
        ("g/", "ws://a/b/c/g/"),
        ("/g", "ws://a/g"),
        ("//g", "ws://g/"),
        ("?y", "ws://a/b/c/d?y"),
        ("g?y", "ws://a/b/c/g?y"),
        ("#s", "ws://a/b/c/d?q"),
        ("g#s", "ws://a/b/c/g"),
        ("g?y#s", "ws://a/b/c/g?y"),
        (".", "ws://a/b/c/"),
        ("./", "ws://a/b/c/"),
        ("..", "ws://a/b/"),
        ("../", "ws://a/b/"),
        ("../g", "ws://a/b/g"),
        ("../..", "ws://a/"),
        ("../../g", "ws://a/g"),
        ("../../../../g", "ws://a/g"),
        ("/./g", "ws://a/g"),
        ("/../g", "ws://a/g"),
        ("g.", "ws://a/b/c/g."),
        ("..g", "ws://a/b/c/..g"),
        ("./../g", "ws://a/b/g"),
        ("./g/.", "ws://a/b/c/g/"),
        ("g/../h", "ws://a/b/c/h"),
        ("g?y/../x", "ws://a/b/c/g?y/../x"),
        ("http://g:8080/h?i", "ws://g:8080/h?i"),
    ] {
        assert_eq!(follow(&base, location).unwrap().url(), url, "{location:?}");
    }
    // To the same Unix socket.
    assert_eq!(follow(&request("ws+unix:/s:/a/b"), "c").unwrap().url(), "ws+unix:/s:/a/c");
}

#[test]
fn a_location_that_is_no_websocket_url_is_not_followed() {
    for location in [
        "ftp://h/",
        "mailto:me",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ws+unix:/run/docker.sock:/",
        "wss+unix:/run/docker.sock:/",
        "http:g",
        "ws://",
        "//",
        "ws://h:0/",
        "/a b",
        "/caf\u{e9}",
        "ws://user:pw@h/",
        "//user@g/",
        "\\\\evil\\x",
        "/\\evil",
    ] {
        assert_eq!(
            follow(&request("ws://h/"), location).unwrap_err(),
            Unfollowed::Location,
            "{location}"
        );
    }
}

#[test]
fn a_redirect_never_leaves_tls() {
    let secure = request("wss://h/");
    for location in ["ws://h/", "http://h/", "ws://h:443/", "HTTP://other/"] {
        assert_eq!(follow(&secure, location).unwrap_err(), Unfollowed::Insecure, "{location}");
    }
    for location in ["wss://h/x", "https://other/", "//other/", "/x"] {
        assert!(follow(&secure, location).unwrap().is_secure(), "{location}");
    }
    assert!(follow(&request("ws://h/"), "wss://h/").unwrap().is_secure(), "into TLS it may");
}

#[test]
fn as_many_are_followed_as_the_request_allows() {
    let mut request = request("ws://h/0");
    for n in 1..=10 {
        request = follow(&request, &format!("/{n}")).unwrap();
    }
    assert_eq!(request.target(), "/10");
    let error = request.follow(redirected(&request, 302, "/11")).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server answered with status 302, which points to /11; the request allows 10 redirects"
    );
    assert_eq!(follow(&request, "/10").unwrap_err(), Unfollowed::TooMany(10), "a loop ends too");
}

#[test]
fn no_secret_reaches_another_origin() {
    let base = request("ws://a.example/")
        .header("Cookie", "session=1")
        .unwrap()
        .header("X-Api-Key", "2")
        .unwrap()
        .header("Proxy-Authorization", "Basic x")
        .unwrap()
        .header("Accept-Language", "en")
        .unwrap()
        .header("User-Agent", "mine")
        .unwrap()
        .origin("https://app.example")
        .unwrap()
        .subprotocol("chat")
        .unwrap();
    let all = "Accept-Language Authorization Cookie Host Origin Proxy-Authorization Sec-WebSocket-Protocol User-Agent X-Api-Key";
    let harmless = "Accept-Language Host Origin Sec-WebSocket-Protocol User-Agent";
    let bearing = [
        base.clone().bearer("t").unwrap(),
        base.clone().basic("u", "p").unwrap(),
        base.header("Authorization", "Custom x").unwrap(),
        // Credentials of the URL are a header like the others.
    ];
    for request in bearing {
        assert_eq!(headers(&request), all);
        for same in ["/x", "ws://a.example/", "http://A.example:80/x", "//a.example"] {
            assert_eq!(headers(&follow(&request, same).unwrap()), all, "{same}");
        }
        for other in [
            "ws://b.example/",
            "ws://a.example:81/",
            "wss://a.example/",
            "wss://a.example:80/",
            "ws://x.a.example/",
            "ws://a.example./",
        ] {
            let there = follow(&request, other).unwrap();
            assert_eq!(headers(&there), harmless, "{other}");
            // Nor when it comes back.
            let back = if there.is_secure() { "wss://b.example/" } else { "ws://a.example/" };
            assert_eq!(headers(&follow(&there, back).unwrap()), harmless);
        }
    }
    // Another server has the port of this name.
    let local = request("ws+unix:/s:/").bearer("t").unwrap();
    assert_eq!(headers(&follow(&local, "ws://localhost/").unwrap()), "Host User-Agent");
    assert_eq!(headers(&follow(&local, "/x").unwrap()), "Authorization Host User-Agent");
    let request = request("ws://user:pw@a.example/");
    assert_eq!(headers(&follow(&request, "/x").unwrap()), "Authorization Host User-Agent");
    assert_eq!(headers(&follow(&request, "//b.example/").unwrap()), "Host User-Agent");
}

#[test]
fn each_hop_has_its_own_proxy_and_its_own_place() {
    let address: SocketAddr = "192.0.2.7:9".parse().unwrap();
    let proxies = Proxies::from(Proxy::new("http://proxy").unwrap()).no_proxy("direct.example");
    let request = request("ws://direct.example/").proxy(proxies).connect_to(address);
    assert_eq!(request.route().unwrap().place, Place::Addresses(&[address]));
    let same = follow(&request, "/x").unwrap();
    assert_eq!(same.route().unwrap().place, Place::Addresses(&[address]));
    let other = follow(&request, "ws://other.example/").unwrap();
    let route = other.route().unwrap();
    assert_eq!(route.place, Place::Host("proxy".into(), 80));
    assert_eq!(route.targets, [("other.example".into(), 80)]);
    let back = follow(&other, "ws://direct.example/").unwrap();
    assert_eq!(back.route().unwrap().place, Place::Host("direct.example".into(), 80));
}

#[test]
fn a_location_that_repeats_the_query_is_not_shown() {
    let request = ClientRequest::new("ws://h/?token=SECRET").unwrap();
    let redirected = redirected(&request, 302, "https://login/?back=token=SECRET");
    let shown = format!("{redirected} {redirected:?}");
    assert!(!shown.contains("SECRET"), "{shown}");
}
