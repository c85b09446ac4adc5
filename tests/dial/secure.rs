//! TLS with servers and with proxies.

use std::sync::Arc;

use bowline::blocking::TlsStream;
use bowline::handshake::{Proxy, ProxyError};
use bowline::rustls::{ServerConfig, ServerConnection};
use bowline::tls::TlsError;

use super::*;
use crate::support::tls::Authority;

pub(crate) fn tls(config: &Arc<ServerConfig>, socket: TcpStream) -> TlsStream<TcpStream> {
    TlsStream::new(ServerConnection::new(config.clone()).unwrap(), socket)
}

/// An echo server on TLS for this name.
pub(crate) fn secure_server(authority: &Authority, name: &str) -> SocketAddr {
    let config = Arc::new(authority.server(&[name]));
    serve(move |socket| echo(tls(&config, socket)))
}

/// An HTTP proxy, on TLS if there is a configuration. It connects to this server, whatever the name.
pub(crate) fn proxy_to(server: SocketAddr, config: Option<ServerConfig>) -> SocketAddr {
    let config = config.map(Arc::new);
    serve(move |mut socket| {
        const GRANTED: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        let mut onward = TcpStream::connect(server).unwrap();
        let Some(config) = &config else {
            read_head(&mut socket);
            socket.write_all(GRANTED).unwrap();
            return carry(socket, onward);
        };
        let mut stream = tls(config, socket);
        let head = read_head(&mut stream);
        if !head.starts_with("CONNECT ") {
            return;
        }
        stream.write_all(GRANTED).unwrap();
        stream.flush().unwrap();
        let mut back = onward.try_clone().unwrap();
        let mut outward = blocking::BlockingStream::try_clone(&stream).unwrap();
        let carrying = thread::spawn(move || {
            let _ = copy(&mut stream, &mut onward);
            let _ = onward.shutdown(std::net::Shutdown::Write);
        });
        let _ = copy(&mut back, &mut outward);
        let _ = blocking::BlockingStream::shutdown_write(&mut outward);
        let _ = carrying.join();
    })
}

/// Like the standard library's, but flushes, which TLS needs.
fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        to.flush()?;
    }
}

#[test]
fn tls_verifies_the_servers_name_through_every_proxy() {
    let (servers, proxies) = (Authority::new(), Authority::new());
    let server = secure_server(&servers, "chat.example");
    let plain = proxy_to(server, None);
    let secure = proxy_to(server, Some(proxies.server(&["localhost"])));
    for adapter in ADAPTERS {
        for url in [format!("http://{plain}"), format!("https://localhost:{}", secure.port())] {
            let proxy = Proxy::new(&url).unwrap().tls_config(Arc::new(proxies.client()));
            let through = |host: &str| {
                request(format!("wss://{host}/"))
                    .tls_config(Arc::new(servers.client()))
                    .proxy(proxy.clone())
            };
            assert_eq!(adapter.echo(&through("chat.example")).unwrap(), 101, "{adapter:?} {url}");
            let error = adapter.echo(&through("other.example")).unwrap_err();
            assert!(
                matches!(error, Error::Tls(TlsError::Rustls(_))),
                "{adapter:?} {url}: {error:?}"
            );
        }
    }
}

#[test]
fn a_plain_connection_goes_through_a_proxy_on_tls() {
    let (server, proxies) = (echo_server(), Authority::new());
    let secure = proxy_to(server, Some(proxies.server(&["127.0.0.1"])));
    for adapter in ADAPTERS {
        let proxy = Proxy::new(&format!("https://{secure}")).unwrap();
        let trusting = proxy.clone().tls_config(Arc::new(proxies.client()));
        assert_eq!(adapter.echo(&request("ws://h/").proxy(trusting)).unwrap(), 101, "{adapter:?}");
        // The certificate of the proxy is checked, with its own authority and not that of the server.
        let strange = proxy.tls_config(Arc::new(Authority::new().client()));
        let through = request("ws://h/").tls_config(Arc::new(proxies.client())).proxy(strange);
        match adapter.echo(&through).unwrap_err() {
            Error::ProxyTls { proxy, error, .. } => {
                assert_eq!(*proxy, format!("https://{secure}"));
                assert!(matches!(*error, TlsError::Rustls(_)), "{error:?}");
            }
            other => panic!("{adapter:?}: {other:?}"),
        }
    }
}

#[test]
fn a_proxy_that_hangs_before_its_tls_is_named() {
    let hanging = serve(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let leaving = serve(|mut socket| drop(socket.read(&mut [0; 10])));
    for adapter in ADAPTERS {
        for (at, expected) in [(hanging, ProxyError::TimedOut), (leaving, ProxyError::Gone)] {
            let proxy = Proxy::new(&format!("https://{at}")).unwrap();
            let proxy = proxy.tls_config(Arc::new(Authority::new().client()));
            let error = adapter.echo(&request("ws://h/").timeout(SHORT).proxy(proxy)).unwrap_err();
            assert!(
                matches!(&error, Error::Proxy { error, .. } if *error == expected),
                "{adapter:?}: {error:?}"
            );
        }
    }
}

#[test]
fn tls_is_done_on_a_stream_of_the_programs_own() {
    let authority = Authority::new();
    let server = secure_server(&authority, "chat.example");
    let there = request("wss://chat.example/").tls_config(Arc::new(authority.client()));
    let config = Config::default;
    let socket = TcpStream::connect(server).unwrap();
    let (mut ws, _) = blocking::connect_over(socket, &there, config()).unwrap();
    ws.send("Hello").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("Hello".into()));
    #[cfg(feature = "tokio")]
    block_on(async {
        let socket = tokio::net::TcpStream::connect(server).await.unwrap();
        let (mut ws, _) = bowline::tokio::connect_over(socket, &there, config()).await.unwrap();
        ws.send("Hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("Hello".into()));
    });
    // Both steps have one timeout.
    let hanging = serve(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let socket = TcpStream::connect(hanging).unwrap();
    let late = there.timeout(SHORT);
    let error = in_time("connecting", move || {
        blocking::connect_over(socket, &late, config()).map(drop).unwrap_err()
    });
    assert!(
        matches!(error, Error::Connect(bowline::handshake::ConnectError::TimedOut)),
        "{error:?}"
    );
}
