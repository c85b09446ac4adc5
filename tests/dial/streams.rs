//! Streams without a WebSocket: `bowline::tokio::dial`.

use std::io::ErrorKind;

use bowline::handshake::{ConnectError, ConnectTo, ProxyError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::addresses::Silent;
use crate::proxies::{GRANTED, http_proxy, proxy, socks_proxy};

/// Dials, and gives what the server answers to one line.
fn ask(request: &ClientRequest) -> Result<String, Error> {
    // Its own timeout has to be enough.
    ask_with(request, Config::default().handshake_timeout(None))
}

fn ask_with(request: &ClientRequest, config: Config) -> Result<String, Error> {
    let request = request.clone();
    in_time("dialing", move || {
        block_on(async {
            let mut stream = bowline::tokio::dial(&request, config).await?;
            stream.write_all(b"Hello\n").await?;
            stream.flush().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        })
    })
}

/// A server of another protocol: it gives the first line back. Nothing may have come before that.
fn line_server() -> SocketAddr {
    serve(|mut socket| answer(&mut socket))
}

fn answer(socket: &mut (impl Read + Write)) {
    let mut line = [0; 6];
    if socket.read_exact(&mut line).is_ok() {
        assert_eq!(&line, b"Hello\n");
        let _ = socket.write_all(&line).and_then(|()| socket.flush());
    }
}

#[test]
fn nothing_is_sent_on_a_stream_that_is_dialed() {
    let server = line_server();
    let there = request(format!("http://{server}/feed?a")).header("X-Secret", "x").unwrap();
    assert_eq!(ask(&there).unwrap(), "Hello\n");
    assert_eq!(ask(&request("http://h/").connect_to(server)).unwrap(), "Hello\n");
}

#[test]
fn a_dialed_stream_goes_through_proxies() {
    let server = line_server();
    let (http, heads) = http_proxy("", GRANTED);
    let there = request(format!("http://{server}/"));
    assert_eq!(ask(&there.clone().proxy(proxy(format!("http://{http}")))).unwrap(), "Hello\n");
    assert!(heads.recv_timeout(LONG).unwrap().starts_with(&format!("CONNECT {server} ")));
    let (socks, asked) = socks_proxy();
    assert_eq!(ask(&there.proxy(proxy(format!("socks5://{socks}")))).unwrap(), "Hello\n");
    assert_eq!(asked.recv_timeout(LONG).unwrap(), "127.0.0.1");
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let (at, _) = http_proxy("Basic nobody", GRANTED);
    let error = ask(&request("http://h/").proxy(proxy(format!("http://{at}")))).unwrap_err();
    match error {
        Error::Proxy { proxy, error: ProxyError::Unauthorized(_), .. } => {
            assert_eq!(*proxy, format!("http://{at}"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_that_would_be_lost_are_an_error() {
    let server = line_server();
    let (early, _) = http_proxy("", "HTTP/1.1 200 OK\r\n\r\nearly");
    let there = request(format!("http://{server}/")).proxy(proxy(format!("http://{early}")));
    let error = ask(&there).unwrap_err();
    assert!(matches!(error, Error::Proxy { error: ProxyError::EarlyBytes, .. }), "{error:?}");
}

#[test]
fn each_address_of_a_stream_that_failed_has_its_own_error() {
    let dead: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let error = ask(&request(format!("http://{dead}/"))).unwrap_err();
    let attempts = error.unreachable().unwrap().attempts();
    assert_eq!(
        (attempts[0].address, attempts[0].error.kind()),
        (dead, ErrorKind::ConnectionRefused)
    );
    let path = ConnectTo::unix("/nobody/listens.sock");
    assert!(ask(&request("http://h/").connect_to(path)).unwrap_err().unreachable().is_some());
}

#[test]
fn dialing_ends_at_the_timeout() {
    let silent = Silent::new();
    let there = request("http://h/").connect_to(silent.address);
    let own = ask(&there.clone().timeout(SHORT));
    let of_config = ask_with(&there, Config::default().handshake_timeout(SHORT));
    for error in [own.unwrap_err(), of_config.unwrap_err()] {
        let attempts = error.unreachable().expect("the address is named").attempts();
        assert_eq!(attempts[0].error.kind(), ErrorKind::TimedOut);
    }
    // A proxy that takes the connection and says nothing.
    let hanging = serve(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let through = request("http://h/").timeout(SHORT).proxy(proxy(format!("http://{hanging}")));
    let error = ask(&through).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Proxy { error: ProxyError::TimedOut, .. }
                | Error::Connect(ConnectError::TimedOut)
        ),
        "{error:?}"
    );
}

#[cfg(not(feature = "rustls"))]
#[test]
fn a_secure_url_needs_tls() {
    assert!(matches!(ask(&request("https://h/")).unwrap_err(), Error::TlsNotBuiltIn));
}

#[cfg(feature = "ring")]
mod secure {
    use std::sync::Arc;

    use bowline::tls::TlsError;

    use super::*;
    use crate::secure::{proxy_to, tls};
    use crate::support::tls::Authority;

    #[test]
    fn a_dialed_stream_has_tls_for_the_host_of_the_url() {
        let authority = Authority::new();
        let config = Arc::new(authority.server(&["feed.example"]));
        let server = serve(move |socket| {
            let mut stream = tls(&config, socket);
            answer(&mut stream);
            let _ = blocking::BlockingStream::shutdown_write(&mut stream);
        });
        let plain = proxy_to(server, None);
        let to = |host: &str| {
            request(format!("https://{host}/")).tls_config(Arc::new(authority.client()))
        };
        assert_eq!(ask(&to("feed.example").connect_to(server)).unwrap(), "Hello\n");
        let through = |host| to(host).proxy(proxy(format!("http://{plain}")));
        assert_eq!(ask(&through("feed.example")).unwrap(), "Hello\n");
        let error = ask(&through("other.example")).unwrap_err();
        assert!(matches!(error, Error::Tls(TlsError::Rustls(_))), "{error:?}");
    }

    #[test]
    fn a_server_that_hangs_in_tls_ends_at_the_timeout() {
        let hanging = serve(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
        let to = request(format!("https://{hanging}/")).timeout(SHORT);
        let error = ask(&to.tls_config(Arc::new(Authority::new().client()))).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error:?}");
    }
}
