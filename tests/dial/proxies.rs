//! Connections through proxies that are written here. `tests/interop/run dial` has those that others wrote.

use std::io::ErrorKind;

use bowline::handshake::{Proxies, Proxy, ProxyError, SocksReply};

use super::*;

/// An HTTP proxy, which tells the heads that came. It wants these credentials, if there are some, and says this when it
/// has connected.
pub(crate) fn http_proxy(
    credentials: &'static str,
    granted: &'static str,
) -> (SocketAddr, Receiver<String>) {
    let (give, heads) = mpsc::channel();
    let address = serve(move |mut socket| {
        let head = read_head(&mut socket);
        let _ = give.send(head.clone());
        if !credentials.is_empty() && !head.contains(credentials) {
            // It keeps the connection open, and the body has no length.
            let _ = socket.write_all(
                b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\nsay who",
            );
            let _ = socket.read(&mut [0]);
            return;
        }
        let target = head.split(' ').nth(1).unwrap().to_string();
        match TcpStream::connect(&target) {
            Ok(server) => {
                socket.write_all(granted.as_bytes()).unwrap();
                carry(socket, server);
            }
            Err(_) => {
                let _ =
                    socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\ndead");
            }
        }
    });
    (address, heads)
}

pub(crate) const GRANTED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A SOCKS 5 proxy without credentials, which tells what it was asked for.
pub(crate) fn socks_proxy() -> (SocketAddr, Receiver<String>) {
    let (give, asked) = mpsc::channel();
    let address = serve(move |mut socket| {
        let mut greeting = [0; 3];
        socket.read_exact(&mut greeting).unwrap();
        socket.write_all(&[5, 0]).unwrap();
        let mut head = [0; 4];
        socket.read_exact(&mut head).unwrap();
        let mut bytes = vec![0; if head[3] == 4 { 16 } else { 4 }];
        let host = match head[3] {
            3 => {
                let mut length = [0];
                socket.read_exact(&mut length).unwrap();
                bytes = vec![0; length[0].into()];
                socket.read_exact(&mut bytes).unwrap();
                String::from_utf8(bytes).unwrap()
            }
            1 => {
                socket.read_exact(&mut bytes).unwrap();
                std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).to_string()
            }
            _ => {
                socket.read_exact(&mut bytes).unwrap();
                std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string()
            }
        };
        let mut port = [0; 2];
        socket.read_exact(&mut port).unwrap();
        let _ = give.send(host.clone());
        match TcpStream::connect((&host[..], u16::from_be_bytes(port))) {
            Ok(server) => {
                socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
                carry(socket, server);
            }
            Err(_) => drop(socket.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])),
        }
    });
    (address, asked)
}

pub(crate) fn proxy(url: impl AsRef<str>) -> Proxy {
    Proxy::new(url.as_ref()).unwrap()
}

#[test]
fn a_connection_goes_through_an_http_proxy() {
    let server = echo_server();
    let (at, heads) = http_proxy("Basic dXNlcjpzZWNyZXQ=", GRANTED);
    for adapter in ADAPTERS {
        let through = request(format!("ws://{server}/")).header("Cookie", "origins").unwrap();
        let through = through.proxy(proxy(format!("http://user:secret@{at}")));
        assert_eq!(adapter.echo(&through).unwrap(), 101, "{adapter:?}");
        let head = heads.recv_timeout(LONG).unwrap();
        assert!(
            head.starts_with(&format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n")),
            "{head}"
        );
        assert!(!head.contains("Cookie"), "what is for the server is not for the proxy");
    }
}

#[test]
fn no_secret_of_the_proxy_reaches_the_server() {
    let (server, server_heads) =
        http_server(|_| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into());
    let (at, _heads) = http_proxy("Basic ", GRANTED);
    for adapter in ADAPTERS {
        let through = request(format!("ws://{server}/")).proxy(proxy(format!("user:secret@{at}")));
        let error = adapter.echo(&through).unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        let head = server_heads.recv_timeout(LONG).unwrap();
        assert!(!head.contains("Proxy-") && !head.contains("Basic"), "{head}");
    }
}

#[test]
fn a_proxy_without_the_right_credentials_says_so_soon() {
    let server = echo_server();
    let (at, _heads) = http_proxy("Basic dXNlcjpzZWNyZXQ=", GRANTED);
    for adapter in ADAPTERS {
        for user in ["", "user:wrong@"] {
            let url = format!("http://{user}{at}");
            let never = Config::default().handshake_timeout(None);
            let through = request(format!("ws://{server}/")).proxy(proxy(url));
            match adapter.echo_with(&through, never).unwrap_err() {
                Error::Proxy { proxy, error: error @ ProxyError::Unauthorized(_), .. } => {
                    assert_eq!(*proxy, format!("http://{at}"), "without credentials");
                    assert_eq!(error.challenges().collect::<Vec<_>>(), [b"Basic realm=\"x\""]);
                }
                other => panic!("{adapter:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_first_bytes_of_the_server_may_come_with_the_proxys_answer() {
    let (at, _) = http_proxy(
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nHTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nbusy",
    );
    let server = serve(|mut socket| drop(socket.read(&mut [0])));
    for adapter in ADAPTERS {
        let through = request(format!("ws://{server}/")).proxy(proxy(format!("http://{at}")));
        let error = adapter.echo(&through).unwrap_err();
        assert_eq!(error.to_string(), "server answered with status 503: busy", "{adapter:?}");
    }
}

#[test]
fn a_proxy_that_cannot_connect_says_why() {
    let dead = free_port();
    let (http, _) = http_proxy("", GRANTED);
    let (socks, _) = socks_proxy();
    for adapter in ADAPTERS {
        let there = request(format!("ws://127.0.0.1:{dead}/"));
        let error =
            adapter.echo(&there.clone().proxy(proxy(format!("http://{http}")))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("http://{http}: the proxy answered with status 502: dead")
        );
        let error = adapter.echo(&there.proxy(proxy(format!("socks5h://{socks}")))).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Proxy { error: ProxyError::Socks(SocksReply::ConnectionRefused), .. }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_proxy_that_is_dead_hangs_or_leaves_is_named() {
    let dead = free_port();
    let hanging = serve(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let leaving = serve(|mut socket| drop(socket.read(&mut [0; 10])));
    for adapter in ADAPTERS {
        for scheme in ["http", "socks5h", "socks4a"] {
            let there = request("ws://127.0.0.1:9/").timeout(SHORT);
            let through = |at: SocketAddr| there.clone().proxy(proxy(format!("{scheme}://{at}")));
            let error = adapter.echo(&through(([127, 0, 0, 1], dead).into())).unwrap_err();
            assert!(error.unreachable().is_some_and(|found| found.is_proxy()), "{error:?}");
            assert!(
                error.to_string().starts_with("cannot connect to the proxy 127.0.0.1:"),
                "{error}"
            );
            assert!(matches!(error, Error::Io(e) if e.kind() == ErrorKind::ConnectionRefused));
            for (at, expected) in [(hanging, ProxyError::TimedOut), (leaving, ProxyError::Gone)] {
                match adapter.echo(&through(at)).unwrap_err() {
                    Error::Proxy { proxy, error, .. } => {
                        assert_eq!(error, expected, "{adapter:?} {scheme}");
                        assert_eq!(*proxy, format!("{scheme}://{at}"));
                    }
                    other => panic!("{adapter:?} {scheme}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_proxy_that_cannot_reach_one_address_is_asked_for_the_next() {
    let server = echo_server();
    let dead: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let ((http, _), (socks, _)) = (http_proxy("", GRANTED), socks_proxy());
    for adapter in ADAPTERS {
        for url in
            [format!("http://{http}"), format!("socks5://{socks}"), format!("socks5h://{socks}")]
        {
            let through = |addresses: &[SocketAddr]| {
                request("ws://h/").connect_to(addresses).proxy(proxy(&url))
            };
            assert_eq!(
                adapter.echo(&through(&[dead, dead, server])).unwrap(),
                101,
                "{adapter:?} {url}"
            );
            let error = adapter.echo(&through(&[dead, dead])).unwrap_err();
            assert!(
                matches!(&error, Error::Proxy { error, .. } if error.is_about_target()),
                "{error:?}"
            );
            let error = adapter.echo(&through(&[])).unwrap_err();
            assert!(error.unreachable().is_some(), "{error:?}");
        }
    }
}

#[test]
fn socks5h_asks_by_name_and_socks5_by_address() {
    let server = echo_server();
    let (at, asked) = socks_proxy();
    for adapter in ADAPTERS {
        let there = request(format!("ws://localhost:{}/", server.port()));
        let by_name = there.clone().proxy(proxy(format!("socks5h://{at}")));
        assert_eq!(adapter.echo(&by_name).unwrap(), 101);
        assert_eq!(asked.recv_timeout(LONG).unwrap(), "localhost");
        // The name may also have the address ::1, where nobody listens. Then the next address is asked for.
        let by_address = there.proxy(proxy(format!("socks5://{at}")));
        assert_eq!(adapter.echo(&by_address).unwrap(), 101);
        let last = asked.try_iter().last().unwrap();
        assert_eq!(last, "127.0.0.1", "{adapter:?}");
    }
}

#[test]
fn the_list_of_hosts_without_a_proxy_holds() {
    let server = echo_server();
    let dead = format!("http://127.0.0.1:{}", free_port());
    for adapter in ADAPTERS {
        let proxies = Proxies::from(proxy(&dead)).no_proxy("127.0.0.0/8");
        let direct = request(format!("ws://{server}/")).proxy(proxies);
        assert_eq!(adapter.echo(&direct).unwrap(), 101);
        let wrong = Proxies::from_variables(|_| Some("ftp://h".into()));
        let error = adapter.echo(&request(format!("ws://{server}/")).proxy(wrong)).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    }
}

#[test]
fn a_program_may_bring_the_stream_to_the_proxy() {
    let server = echo_server();
    let (at, _) = http_proxy("", GRANTED);
    let (there, proxy) = (request(format!("ws://{server}/")), proxy(format!("http://{at}")));
    let config = Config::default;
    let stream = TcpStream::connect(at).unwrap();
    let stream = blocking::tunnel(stream, &proxy, &there, config()).unwrap();
    let (mut ws, _) = blocking::client(stream, &there, config()).unwrap();
    ws.send("Hello").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("Hello".into()));
    #[cfg(feature = "tokio")]
    block_on(async {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let stream = bowline::tokio::tunnel(stream, &proxy, &there, config()).await.unwrap();
        let (mut ws, _) = bowline::tokio::client(stream, &there, config()).await.unwrap();
        ws.send("Hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("Hello".into()));
    });
    #[cfg(feature = "futures-io")]
    smol::block_on(async {
        let stream = smol::net::TcpStream::connect(at).await.unwrap();
        let stream = bowline::futures::tunnel(stream, &proxy, &there, config()).await.unwrap();
        let (mut ws, _) = bowline::futures::client(stream, &there, config()).await.unwrap();
        ws.send("Hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("Hello".into()));
    });
    // Bytes that nobody asked for cannot be given back with the stream.
    let (early, _) = http_proxy("", "HTTP/1.1 200 OK\r\n\r\nearly");
    let stream = TcpStream::connect(early).unwrap();
    let error = blocking::tunnel(stream, &proxy, &there, config()).unwrap_err();
    assert!(matches!(error, Error::Proxy { error: ProxyError::EarlyBytes, .. }), "{error:?}");
}
