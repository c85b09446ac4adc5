//! Proxies without I/O: their URLs, which one a request goes through, and how one is asked for a connection (RFC 9110 §9.3.6,
//! RFC 1928, RFC 1929).

use bowline::handshake::{
    ClientRequest, ConnectTo, InvalidRequest, Place, Proxies, Proxy, ProxyError, ProxyScheme,
    SocksReply, Tunnel,
};
use bowline::{Config, RecvBuf, SendBuf};
use std::net::SocketAddr;
use std::time::Duration;

fn request(url: &str) -> ClientRequest {
    ClientRequest::new(url).unwrap()
}

/// What has been queued.
fn take(out: &mut SendBuf) -> Vec<u8> {
    let bytes: Vec<u8> = out.pending_slices().flatten().copied().collect();
    out.sent(bytes.len());
    bytes
}

fn push(input: &mut RecvBuf, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rest.len().min(input.space().len());
        input.space()[..n].copy_from_slice(&rest[..n]);
        input.filled(n);
        rest = &rest[n..];
    }
}

/// How asking a proxy went.
#[derive(Debug, PartialEq)]
struct Asked {
    /// What was sent, message by message.
    sent: Vec<Vec<u8>>,
    /// The bytes after the proxy's last, or why there is no tunnel.
    result: Result<Vec<u8>, ProxyError>,
}

/// Asks a proxy that gives one answer after each of our messages, in steps of this many bytes. After the last answer the
/// proxy ends the connection.
fn ask_in_steps(proxy: &Proxy, host: &str, answers: &[&[u8]], step: usize) -> Asked {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut tunnel = Tunnel::new(proxy, host, 443, Config::default(), &mut out).unwrap();
    let mut sent = Vec::new();
    let mut answers = answers.iter();
    let result = loop {
        assert_eq!(tunnel.read(&mut input, &mut out), Ok(false), "nothing has come");
        if !out.is_empty() {
            sent.push(take(&mut out));
        }
        let Some(answer) = answers.next() else {
            input.eof();
            break tunnel.read(&mut input, &mut out);
        };
        let mut result = Ok(false);
        for piece in answer.chunks(step) {
            push(&mut input, piece);
            if result == Ok(false) {
                result = tunnel.read(&mut input, &mut out);
            }
        }
        if result != Ok(false) {
            break result;
        }
    };
    if !out.is_empty() {
        sent.push(take(&mut out));
    }
    if result.is_err() {
        assert_eq!(tunnel.read(&mut input, &mut out), result, "errors stick");
    }
    Asked { sent, result: result.map(|_| input.unread().to_vec()) }
}

/// The same in whole answers and byte by byte, which must not differ.
#[track_caller]
fn ask(proxy: &str, host: &str, answers: &[&[u8]]) -> Asked {
    let proxy = Proxy::new(proxy).unwrap();
    let whole = ask_in_steps(&proxy, host, answers, usize::MAX);
    for step in [1, 2, 3, 7] {
        let cut = ask_in_steps(&proxy, host, answers, step);
        assert_eq!(cut, whole, "in steps of {step}");
    }
    whole
}

const HTTP: &str = "http://127.0.0.1:3128";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

// CONNECT.

#[test]
fn connect_names_the_host_and_the_port() {
    let version = env!("CARGO_PKG_VERSION");
    for (host, authority) in [
        ("example.com", "example.com:443"),
        ("192.0.2.1", "192.0.2.1:443"),
        // RFC 9112 §3.2.3: the authority of an IPv6 address has brackets.
        ("2001:db8::1", "[2001:db8::1]:443"),
    ] {
        let asked = ask(HTTP, host, &[b"HTTP/1.1 200 OK\r\n\r\n"]);
        let expected = format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: bowline/{version}\r\n\r\n"
        );
        assert_eq!(text(&asked.sent[0]), expected);
        assert_eq!(asked.result, Ok(Vec::new()));
    }
}

#[test]
fn an_http_proxy_gets_its_credentials_and_its_headers() {
    let header = |proxy: &Proxy| {
        let mut out = SendBuf::new();
        Tunnel::new(proxy, "example.com", 80, Config::default(), &mut out).unwrap();
        let sent = String::from_utf8(take(&mut out)).unwrap();
        let of =
            |name| sent.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("|");
        (of("Proxy-Authorization: "), of("User-Agent: "), of("X-Team: "))
    };
    let sent = |url| header(&Proxy::new(url).unwrap()).0;
    assert_eq!(sent("http://user:secret@h"), "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(sent("http://user@h"), "Proxy-Authorization: Basic dXNlcjo=", "no password");
    assert_eq!(sent("http://u%40x:p%3A%2f@h"), "Proxy-Authorization: Basic dUB4OnA6Lw==");
    assert_eq!(sent("http://u:p%ZZ@h"), "Proxy-Authorization: Basic dTpwJVpa", "as it is");
    assert_eq!((sent("http://@h"), sent("http://h")), (String::new(), String::new()));
    let proxy = Proxy::new("http://user:secret@h").unwrap();
    let proxy = proxy.header("Proxy-Authorization", "Bearer abc").unwrap();
    let proxy = proxy.header("User-Agent", "mine/1").unwrap().header("X-Team", "7").unwrap();
    assert_eq!(
        header(&proxy),
        ("Proxy-Authorization: Bearer abc".into(), "User-Agent: mine/1".into(), "X-Team: 7".into())
    );
    assert!(Proxy::new("http://h").unwrap().header("X", "a\r\nb").is_err());
    assert!(Proxy::new("http://h").unwrap().header("Host", "h").is_err());
}

#[test]
fn any_2xx_opens_the_tunnel_and_the_next_bytes_are_the_servers() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 299 \r\nX: y\r\n\r\n",
        // RFC 9110 §9.3.6: neither means anything here.
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        for first in [&b""[..], b"HTTP/1.1 503 Busy\r\n\r\n", b"\x16\x03\x01"] {
            let answer = [head.as_bytes(), first].concat();
            assert_eq!(ask(HTTP, "h", &[&answer]).result, Ok(first.to_vec()), "{head}");
        }
    }
}

#[test]
fn an_http_proxy_that_wants_credentials_names_its_challenges() {
    let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n\
        Proxy-Authenticate: Basic realm=\"office\"\r\nContent-Length: 6\r\n\r\nno way more";
    let error = ask(HTTP, "h", &[answer]).result.unwrap_err();
    let challenges: Vec<_> = error.challenges().map(text).collect();
    assert_eq!(challenges, ["Negotiate", "Basic realm=\"office\""]);
    assert_eq!(
        error.to_string(),
        "the proxy wants credentials (status 407): Negotiate, Basic realm=\"office\""
    );
    match error {
        ProxyError::Unauthorized(response) => assert_eq!(response.body_bytes(), b"no way"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ProxyError::Gone.challenges().count(), 0);
}

#[test]
fn any_other_status_is_a_refusal_with_its_body() {
    for (status, body, shown) in [
        // A proxy that switches protocols does not tunnel.
        (101, "", ""),
        (403, "not this host\n", ": not this host"),
        (302, "", ""),
        (502, "", ""),
        (503, "<html>", ""),
        (600, "odd", ": odd"),
    ] {
        let answer = format!(
            "HTTP/1.1 {status} No\r\nLocation: http://login/\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let error = ask(HTTP, "h", &[answer.as_bytes()]).result.unwrap_err();
        assert_eq!(error.to_string(), format!("the proxy answered with status {status}{shown}"));
        assert!(matches!(&error, ProxyError::Refused(response) if response.status() == status));
    }
}

#[test]
fn what_is_no_answer_to_connect_is_an_error_of_its_own() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (answer, error) in [
        (&b""[..], ProxyError::Gone),
        (b"HTTP/1.1 200 OK\r\n", ProxyError::Gone),
        (b"HTTP/1.1 407 No\r\n", ProxyError::Gone),
        (b"\x05\x00", ProxyError::Malformed),
        (b"SSH-2.0-OpenSSH\r\n", ProxyError::Malformed),
        (b"HTTP/2 200 OK\r\n\r\n", ProxyError::Malformed),
        (b"HTTP/1.0 100 Continue\r\n\r\n", ProxyError::Malformed),
        (b"HTTP/1.1 200 OK\nX: y\n\n", ProxyError::Malformed),
        (interim.as_bytes(), ProxyError::TooManyInterim),
        (many.as_bytes(), ProxyError::HeadTooBig),
    ] {
        assert_eq!(
            ask(HTTP, "h", &[answer]).result,
            Err(error.clone()),
            "{}",
            answer.escape_ascii()
        );
        assert!(!error.to_string().is_empty());
    }
    let long = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 100_000][..]].concat();
    assert_eq!(ask(HTTP, "h", &[&long]).result, Err(ProxyError::HeadTooBig));
}

#[test]
fn a_proxy_has_until_the_deadline_and_a_refusals_body_one_second() {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let proxy = Proxy::new(HTTP).unwrap();
    let second = Duration::from_secs(1);
    let mut tunnel = Tunnel::new(&proxy, "h", 80, Config::default(), &mut out).unwrap();
    assert_eq!(tunnel.deadline(second), Some(11 * second));
    assert_eq!(tunnel.deadline(5 * second), Some(11 * second), "it began before");
    assert_eq!(tunnel.on_time(11 * second), Err(ProxyError::TimedOut));
    push(&mut input, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(tunnel.read(&mut input, &mut out), Err(ProxyError::TimedOut), "too late");

    let mut tunnel = Tunnel::new(&proxy, "h", 80, Config::default(), &mut out).unwrap();
    tunnel.deadline(second);
    let mut input = RecvBuf::new();
    push(&mut input, b"HTTP/1.1 407 No\r\n\r\nplease");
    assert_eq!(tunnel.read(&mut input, &mut out), Ok(false), "the body has no length");
    assert_eq!(tunnel.deadline(2 * second), Some(3 * second));
    assert_eq!(tunnel.on_time(2 * second), Ok(()));
    match tunnel.on_time(3 * second) {
        Err(ProxyError::Unauthorized(response)) => assert_eq!(response.body_bytes(), b"please"),
        other => panic!("{other:?}"),
    }
    let config = Config::default().handshake_timeout(None);
    for url in [HTTP, "socks5://h"] {
        let proxy = Proxy::new(url).unwrap();
        let mut tunnel = Tunnel::new(&proxy, "h", 80, config.clone(), &mut out).unwrap();
        assert_eq!((tunnel.deadline(second), tunnel.on_time(1000 * second)), (None, Ok(())));
    }
}

// SOCKS 5.

const SOCKS: &str = "socks5h://127.0.0.1";
const GRANTED: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";

#[test]
fn socks5_asks_by_name_by_ipv4_and_by_ipv6() {
    for (host, address) in [
        ("example.com", &b"\x03\x0bexample.com"[..]),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("::1", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
    ] {
        let asked = ask(SOCKS, host, &[b"\x05\x00", GRANTED]);
        let request = [b"\x05\x01\x00", address, b"\x01\xbb"].concat();
        assert_eq!(asked.sent, [b"\x05\x01\x00".to_vec(), request], "{host}");
        assert_eq!(asked.result, Ok(Vec::new()));
    }
}

#[test]
fn socks5_sends_credentials_only_if_the_proxy_wants_them() {
    let proxy = "socks5://user:s%20cret@h";
    let granted = ask(proxy, "h", &[b"\x05\x00", GRANTED]);
    assert_eq!(granted.sent[0], b"\x05\x02\x00\x02", "RFC 1928 §3: none, or name and password");
    assert_eq!(granted.sent.len(), 2);
    // RFC 1929 §2. Its version is 1, and some proxies answer with that of SOCKS.
    for answer in [b"\x01\x00", b"\x05\x00"] {
        let asked = ask(proxy, "h", &[b"\x05\x02", answer, GRANTED]);
        assert_eq!(asked.sent[1], b"\x01\x04user\x06s cret");
        assert_eq!((asked.sent.len(), asked.result), (3, Ok(Vec::new())));
    }
    let no_password = ask("socks5://user@h", "h", &[b"\x05\x02", b"\x01\x00", GRANTED]);
    assert_eq!(no_password.sent[1], b"\x01\x04user\x00");
    for status in [1, 0xff] {
        let asked = ask(proxy, "h", &[b"\x05\x02", &[1, status]]);
        assert_eq!(asked.result, Err(ProxyError::BadCredentials));
    }
    assert_eq!(ask(proxy, "h", &[b"\x05\x02", b"\x02\x00"]).result, Err(ProxyError::Malformed));
    assert_eq!(ask(proxy, "h", &[b"\x05\xff"]).result, Err(ProxyError::NoMethod));
    assert_eq!(ask(SOCKS, "h", &[b"\x05\xff"]).result, Err(ProxyError::NoMethod));
    // A method that was not offered.
    assert_eq!(ask(SOCKS, "h", &[b"\x05\x02"]).result, Err(ProxyError::NoMethod));
    assert_eq!(ask(proxy, "h", &[b"\x05\x01"]).result, Err(ProxyError::NoMethod));
}

#[test]
fn a_reply_of_socks5_may_have_an_address_of_any_type() {
    for reply in [
        GRANTED,
        b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        b"\x05\x00\x00\x03\x0bexample.com\x00\x50",
        b"\x05\x00\x00\x03\x00\x00\x50",
        // RFC 1928 §6: RSV "must be set to X'00'", and nothing depends on it.
        b"\x05\x00\x07\x01\0\0\0\0\0\0",
    ] {
        for first in [&b""[..], b"HTTP/1.1 400 \r\n\r\n"] {
            let asked = ask(SOCKS, "h", &[b"\x05\x00", &[reply, first].concat()]);
            assert_eq!(asked.result, Ok(first.to_vec()), "{reply:?}");
        }
        let asked = ask(SOCKS, "h", &[b"\x05\x00", &reply[..reply.len() - 1]]);
        assert_eq!(asked.result, Err(ProxyError::Gone), "{reply:?}");
    }
    assert_eq!(
        ask(SOCKS, "h", &[b"\x05\x00", b"\x05\x00\x00\x02"]).result,
        Err(ProxyError::Malformed)
    );
    for first in [&b"\x04\x00"[..], b"HTTP/1.1 400 No\r\n\r\n"] {
        assert_eq!(ask(SOCKS, "h", &[first]).result, Err(ProxyError::Malformed));
        assert_eq!(ask(SOCKS, "h", &[b"\x05\x00", first]).result, Err(ProxyError::Malformed));
    }
}

#[test]
fn each_code_of_socks5_has_its_name_however_short_the_reply_is() {
    for (code, reply) in [
        (1, SocksReply::Failure),
        (2, SocksReply::NotAllowed),
        (3, SocksReply::NetworkUnreachable),
        (4, SocksReply::HostUnreachable),
        (5, SocksReply::ConnectionRefused),
        (6, SocksReply::TtlExpired),
        (7, SocksReply::CommandNotSupported),
        (8, SocksReply::AddressNotSupported),
        (9, SocksReply::Other(9)),
        (255, SocksReply::Other(255)),
    ] {
        for length in [2, 4, 10] {
            let answer = &[5, code, 0, 1, 0, 0, 0, 0, 0, 0][..length];
            let asked = ask(SOCKS, "h", &[b"\x05\x00", answer]);
            assert_eq!(asked.result, Err(ProxyError::Socks(reply)));
        }
        assert!(reply.to_string().starts_with("the proxy could not connect: "));
    }
}

#[test]
fn socks_takes_names_of_at_most_255_bytes() {
    let long = "a".repeat(256);
    for url in [SOCKS, "socks4a://h", "socks5://h"] {
        let proxy = Proxy::new(url).unwrap();
        let new = |host: &str| {
            Tunnel::new(&proxy, host, 80, Config::default(), &mut SendBuf::new()).map(drop)
        };
        assert_eq!(new(&long[..255]), Ok(()));
        assert!(matches!(new(&long), Err(InvalidRequest::Proxy(_))), "{url}");
        assert!(matches!(new(""), Err(InvalidRequest::Proxy(_))), "{url}");
    }
}

// SOCKS 4a.

#[test]
fn socks4a_sends_a_name_after_an_address_that_is_none() {
    let granted = b"\x00\x5a\0\0\0\0\0\0";
    for (url, host, sent) in [
        ("socks4a://h", "example.com", &b"\x04\x01\x01\xbb\0\0\0\x01\0example.com\0"[..]),
        (
            "socks4a://user:ignored@h",
            "example.com",
            b"\x04\x01\x01\xbb\0\0\0\x01user\0example.com\0",
        ),
        ("socks4a://h", "192.0.2.1", b"\x04\x01\x01\xbb\xc0\0\x02\x01\0"),
        ("socks4a://h", "::1", b"\x04\x01\x01\xbb\0\0\0\x01\0::1\0"),
    ] {
        let asked = ask(url, host, &[&[&granted[..], b"first"].concat()]);
        assert_eq!(asked.sent, [sent.to_vec()], "{url} {host}");
        assert_eq!(asked.result, Ok(b"first".to_vec()));
    }
    for (code, error) in [
        (91, ProxyError::Socks(SocksReply::Failure)),
        (92, ProxyError::Socks(SocksReply::Ident(92))),
        (93, ProxyError::Socks(SocksReply::Ident(93))),
        (0, ProxyError::Socks(SocksReply::Other(0))),
    ] {
        let answer = [0, code, 0, 0, 0, 0, 0, 0];
        for length in [2, 8] {
            assert_eq!(ask("socks4a://h", "h", &[&answer[..length]]).result, Err(error.clone()));
        }
    }
    for (answer, error) in [
        (&b"\x04\x5a\0\0\0\0\0\0"[..], ProxyError::Malformed),
        (b"HTTP/1.1 400", ProxyError::Malformed),
        (b"\x00", ProxyError::Gone),
        (b"\x00\x5a\0\0\0\0\0", ProxyError::Gone),
    ] {
        assert_eq!(ask("socks4a://h", "h", &[answer]).result, Err(error), "{answer:?}");
    }
}

// URLs of proxies.

#[test]
fn a_proxys_url_has_a_scheme_a_host_a_port_and_credentials() {
    for (url, scheme, host, port, shown) in [
        ("http://h:3128", ProxyScheme::Http, "h", 3128, "http://h:3128"),
        ("http://h", ProxyScheme::Http, "h", 80, "http://h:80"),
        ("HTTPS://h/", ProxyScheme::Https, "h", 443, "https://h:443"),
        ("socks5://h", ProxyScheme::Socks5, "h", 1080, "socks5://h:1080"),
        ("socks5h://user:pw@h:9/x?y", ProxyScheme::Socks5h, "h", 9, "socks5h://h:9"),
        ("socks4a://h", ProxyScheme::Socks4a, "h", 1080, "socks4a://h:1080"),
        ("h:8080", ProxyScheme::Http, "h", 8080, "http://h:8080"),
        ("user:pw@h", ProxyScheme::Http, "h", 80, "http://h:80"),
        ("http://[::1]:3128", ProxyScheme::Http, "::1", 3128, "http://[::1]:3128"),
        ("[::1]", ProxyScheme::Http, "::1", 80, "http://[::1]:80"),
        ("http://[fe80::1%25eth0]:1", ProxyScheme::Http, "fe80::1", 1, "http://[fe80::1%25eth0]:1"),
    ] {
        let proxy = Proxy::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!((proxy.scheme(), proxy.host(), proxy.port()), (scheme, host, port), "{url}");
        assert_eq!(proxy.to_string(), shown);
        assert!(!format!("{proxy:?}").contains("pw"), "{proxy:?}");
    }
    assert_ne!(Proxy::new("http://a:b@h"), Proxy::new("http://a:c@h"));
}

#[test]
fn a_proxys_url_that_is_wrong_says_what_is() {
    let long = "a".repeat(256);
    for url in [
        "",
        " ",
        "http://",
        "http://:80",
        "//h",
        "ftp://h",
        "ws://h",
        "socks://h",
        "socks4://h",
        "http:h",
        "::1",
        "http://::1",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h :80",
        " http://h",
        "http://h ",
        "http://caf\u{e9}",
        "http://h\\x",
        "http://a@b:c@h",
        "http://a%3Ab:c@h",
        "http://a:%00@h",
        "http://a:b%0a@h",
        &format!("socks5://{long}@h"),
        &format!("socks5://a:{long}@h"),
        &format!("socks4a://{long}@h"),
        "socks4a://a%00b@h",
    ] {
        match Proxy::new(url) {
            Err(InvalidRequest::Proxy(what)) => assert!(!what.is_empty()),
            other => panic!("{url:?}: {other:?}"),
        }
    }
}

// Which proxy.

/// The proxy that these variables choose.
fn chosen(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, InvalidRequest> {
    let proxies = Proxies::from_variables(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.to_string())
    });
    Ok(proxies.choose(&request(url))?.map(Proxy::to_string))
}

#[test]
fn variables_count_in_curls_order() {
    let all = [
        ("ws_proxy", "1"),
        ("WS_PROXY", "2"),
        ("http_proxy", "3"),
        ("all_proxy", "4"),
        ("ALL_PROXY", "5"),
    ];
    let secure = [
        ("wss_proxy", "1"),
        ("WSS_PROXY", "2"),
        ("https_proxy", "3"),
        ("HTTPS_PROXY", "4"),
        ("all_proxy", "5"),
        ("ALL_PROXY", "6"),
    ];
    for (url, variables) in [("ws://h/", &all[..]), ("wss://h/", &secure)] {
        for first in 0..variables.len() {
            let expected = format!("http://{}:80", variables[first].1);
            assert_eq!(chosen(&variables[first..], url), Ok(Some(expected)), "{url}");
            // An empty value is none.
            let mut with_empty = variables[..first].to_vec();
            with_empty.iter_mut().for_each(|(_, value)| *value = "");
            with_empty.push(variables[first]);
            let expected = format!("http://{}:80", variables[first].1);
            assert_eq!(chosen(&with_empty, url), Ok(Some(expected)));
        }
    }
    // A client of a CGI program sets it with the header `Proxy`.
    assert_eq!(chosen(&[("HTTP_PROXY", "evil")], "ws://h/"), Ok(None));
    assert_eq!(chosen(&[("http_proxy", "1"), ("ws_proxy", "2")], "wss://h/"), Ok(None));
    assert_eq!(chosen(&[("https_proxy", "1"), ("wss_proxy", "2")], "ws://h/"), Ok(None));
    assert_eq!(chosen(&[], "ws://h/"), Ok(None));
}

#[test]
fn a_variable_that_is_wrong_fails_only_the_connections_that_it_is_for() {
    let wrong = [("https_proxy", "foo://h"), ("http_proxy", "http://h"), ("no_proxy", "direct")];
    assert!(matches!(chosen(&wrong, "wss://h/"), Err(InvalidRequest::Proxy(_))));
    assert_eq!(chosen(&wrong, "ws://h/"), Ok(Some("http://h:80".into())));
    assert_eq!(chosen(&wrong, "wss://direct/"), Ok(None));
    assert!(matches!(chosen(&[("all_proxy", " ")], "ws://h/"), Err(InvalidRequest::Proxy(_))));
}

#[test]
fn no_proxy_has_names_addresses_ranges_and_ports() {
    // The list, the hosts that it has, and the hosts that it has not.
    for (list, has, has_not) in [
        ("*", "a.com 127.0.0.1 [::1] x:80", ""),
        ("foo,*", "foo", "a.com"),
        (
            "example.com",
            "example.com EXAMPLE.com a.example.com a.b.example.com example.com. example.com:81",
            "nonexample.com com example.com.au",
        ),
        (".example.com", "example.com a.example.com", "nonexample.com"),
        ("example.com.", "example.com a.example.com", ""),
        ("..example.com", "", "example.com a.example.com"),
        (".", "", "a.com"),
        ("com", "a.com com", "a.org"),
        ("*.example.com", "", "example.com a.example.com"),
        ("http://example.com,example.com/", "", "example.com"),
        (" a.com ,\tb.com,,c.com", "a.com b.com c.com", "d.com"),
        ("a.com b.com,c.com", "a.com c.com", "b.com"),
        ("a.com;b.com", "", "a.com b.com"),
        ("127.0.0.1", "127.0.0.1 127.0.0.1:9 127.0.0.1.", "127.0.0.2 localhost"),
        ("0.0.1,127.,.127.0.0.1,127.0.0.1.", "", "127.0.0.1"),
        ("10.1.2.3/8", "10.0.0.1 10.255.0.1", "11.0.0.1 ten.example"),
        ("10.0.0.0/32", "10.0.0.0", "10.0.0.1"),
        ("0.0.0.0/0", "1.2.3.4 255.0.0.1", "[::1] a.com"),
        ("10.0.0.0/33,10.0.0.0/,10.0.0.0/x,10.0.0.0/+8,10.0.0.0/-1,10/8", "", "10.0.0.0"),
        ("::1", "[::1] [0:0:0:0:0:0:0:1] [::1]:90", "[::2] 127.0.0.1"),
        ("[::1]", "[::1] [::1]:90", "[::2]"),
        ("FD00::/8", "[fd12::1]", "[fe80::1] 10.0.0.1"),
        ("::/0", "[::1] [fd00::1]", "127.0.0.1"),
        ("fe80::/10", "[fe80::1%25eth0]", ""),
        ("10.0.0.0/8", "", "[::ffff:10.1.2.3]"),
        ("example.com:8080", "example.com:8080 a.example.com:8080", "example.com example.com:80"),
        ("127.0.0.1:81", "127.0.0.1:81", "127.0.0.1"),
        ("[::1]:81", "[::1]:81", "[::1]"),
        ("example.com:,example.com:x,[::1,[::1]x,[127.0.0.1]", "", "example.com [::1] 127.0.0.1"),
        ("caf\u{e9}.com,\u{e9}", "", "caf.com e.com"),
        ("", "", "a.com"),
    ] {
        let proxies = Proxies::from(Proxy::new("http://proxy").unwrap()).no_proxy(list);
        let is_direct =
            |host: &str| proxies.choose(&request(&format!("ws://{host}/"))).unwrap().is_none();
        for host in has.split_whitespace() {
            assert!(is_direct(host), "{list:?} has {host}");
        }
        for host in has_not.split_whitespace() {
            assert!(!is_direct(host), "{list:?} has not {host}");
        }
        let from_variables = |name: &str| match name {
            "http_proxy" => Some("proxy".to_string()),
            "NO_PROXY" => Some(list.to_string()),
            _ => None,
        };
        let proxies = Proxies::from_variables(from_variables);
        for host in has.split_whitespace() {
            let request = request(&format!("ws://{host}/"));
            assert_eq!(proxies.choose(&request), Ok(None), "the variable is the same");
        }
    }
}

// Where the request goes.

#[test]
fn a_route_names_the_place_the_proxy_and_the_target() {
    let address: SocketAddr = "192.0.2.7:9".parse().unwrap();
    let proxy = || Proxy::new("http://proxy:3128").unwrap();
    for (request, place, target) in [
        (request("ws://h/"), Place::Host("h".into(), 80), ("h", 80)),
        (request("wss://[::1]:7/"), Place::Host("::1".into(), 7), ("::1", 7)),
        (
            request("ws://[fe80::1%25eth0]/"),
            Place::Host("fe80::1%eth0".into(), 80),
            ("fe80::1", 80),
        ),
        (request("ws+unix:/s:/x"), Place::Unix("/s"), ("localhost", 80)),
        (request("ws://h/").connect_to(address), Place::Addresses(&[address]), ("192.0.2.7", 9)),
        (request("ws://h/").connect_to(("other", 9)), Place::Host("other".into(), 9), ("other", 9)),
        (request("ws://h/").connect_to(ConnectTo::unix("/s")), Place::Unix("/s"), ("h", 80)),
        (
            request("ws+unix:/s:/").connect_to(address),
            Place::Addresses(&[address]),
            ("192.0.2.7", 9),
        ),
    ] {
        let route = request.route().unwrap();
        assert_eq!((&route.place, route.proxy), (&place, None), "{request:?}");
        assert_eq!(route.targets, [(target.0.into(), target.1)], "{request:?}");
        let proxied = request.clone().proxy(proxy());
        let route = proxied.route().unwrap();
        if let Place::Unix(_) = place {
            assert_eq!((route.place, route.proxy), (place, None), "no proxy to a Unix socket");
        } else {
            assert_eq!(route.place, Place::Host("proxy".into(), 3128));
            assert_eq!(route.proxy, Some(&proxy()));
            assert_eq!(route.targets, [(target.0.into(), target.1)], "{request:?}");
        }
    }
    let other: SocketAddr = "[2001:db8::1]:8".parse().unwrap();
    let several = request("ws://h/").connect_to([address, other]).proxy(proxy());
    let targets = several.route().unwrap().targets;
    assert_eq!(targets, [("192.0.2.7".into(), 9), ("2001:db8::1".into(), 8)]);
}
