//! How a source connects: what bowline's dialing does for it, over the loopback interface.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::handshake::{Proxy, ProxyError};
use bowline::{Error, Reconnect};
use bowline_sse::client::{End, EventSource};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::{HEAD, chunk, end, ends, take};

/// What servers and proxies were asked: the heads.
pub(crate) type Heads = Arc<Mutex<Vec<String>>>;

pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Answers with one event, and holds the connection.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, heads: Heads) {
    let Some(head) = read_head(&mut stream).await else { return };
    heads.lock().unwrap().push(head);
    let events = format!("{HEAD}{}", chunk("data: a\n\n"));
    let _ = stream.write_all(events.as_bytes()).await;
    let _ = stream.flush().await;
    let _ = stream.read_u8().await;
}

/// Does this with each connection, as long as the test runs.
pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
    each: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

pub(crate) async fn event_server() -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = heads.clone();
    (serve(move |stream| answer(stream, told.clone())).await, heads)
}

/// An HTTP proxy. It connects to this server, whatever the name, or answers with a status.
async fn proxy(server: Result<SocketAddr, u16>) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = heads.clone();
    let address = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            told.lock().unwrap().push(head);
            let server = match server {
                Ok(server) => server,
                Err(status) => {
                    let no = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(no.as_bytes()).await;
                    return;
                }
            };
            let mut onward = TcpStream::connect(server).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    (address.await, heads)
}

fn through(source: EventSource, at: SocketAddr) -> EventSource {
    let proxy = Proxy::new(&format!("http://user:secret@{at}")).unwrap();
    source.dial(move |to| to.proxy(proxy.clone()))
}

pub(crate) fn get(url: &str) -> EventSource {
    let policy = Reconnect::default().max_delay(Duration::ZERO).max_attempts(2);
    EventSource::get(url).unwrap().reconnect(policy)
}

#[tokio::test]
async fn a_source_goes_through_a_proxy() {
    let (server, requests) = event_server().await;
    let (at, asked) = proxy(Ok(server)).await;
    let mut source = through(get("http://feed.example/a?b"), at);
    assert_eq!(take(&mut source, 1).await, ["a"]);
    let asked = asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with("CONNECT feed.example:80 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic "), "{asked}");
    let request = requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("GET /a?b HTTP/1.1\r\nhost: feed.example\r\n"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("authorization"), "{request}");
}

#[tokio::test]
async fn a_proxy_that_refuses_says_so() {
    // The server may be back later, so that is tried again. Credentials will not be better by themselves.
    for (status, attempts) in [(502, 2), (407, 1)] {
        let (at, asked) = proxy(Err(status)).await;
        let end = end(&mut through(get("http://feed.example/"), at)).await;
        let End::Unreachable(error) = &end else { panic!("{end:?}") };
        let Error::Proxy { error, .. } = &**error else { panic!("{error:?}") };
        match error {
            ProxyError::Refused(response) => assert_eq!(response.status(), status),
            ProxyError::Unauthorized(_) => assert_eq!(status, 407),
            other => panic!("{other:?}"),
        }
        assert!(!end.to_string().contains("secret"), "{end}");
        assert_eq!(asked.lock().unwrap().len(), attempts);
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_ends_at_the_timeout() {
    let hanging = serve(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let source = through(get("http://feed.example/"), hanging.await);
    let (source, waits) = ends(source.connect_timeout(Duration::from_millis(200)));
    let mut source = source;
    let end = end(&mut source).await;
    let is_late = |end: &End| match end {
        End::TimedOut => true,
        End::Unreachable(error) => {
            matches!(**error, Error::Proxy { error: ProxyError::TimedOut, .. })
        }
        _ => false,
    };
    assert!(is_late(&end), "{end:?}");
    // It is made again, and a POST as well: nothing was sent.
    assert!(is_late(&waits.lock().unwrap()[0].0));
}

#[tokio::test]
async fn each_address_that_failed_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let end = end(&mut get(&format!("http://{address}/"))).await;
    let End::Unreachable(error) = end else { panic!("{end:?}") };
    assert_eq!(error.unreachable().unwrap().attempts()[0].address, address);
}

#[tokio::test]
async fn a_source_connects_where_the_program_says() {
    let (server, requests) = event_server().await;
    let mut source = get("http://feed.example:8080/").dial(move |to| {
        assert_eq!((to.host(), to.port(), to.target()), ("feed.example", 8080, "/"));
        to.connect_to(server)
    });
    assert_eq!(take(&mut source, 1).await, ["a"]);
    assert!(requests.lock().unwrap()[0].contains("host: feed.example:8080\r\n"));
}

#[cfg(feature = "ring")]
pub(crate) mod secure {
    use std::io::{Read, Write};
    use std::thread;

    use bowline::blocking::TlsStream;
    use bowline::rustls::ServerConnection;
    use bowline::tls::TlsError;

    use super::*;
    use crate::tls::Authority;

    /// Answers each request on TLS, for this name.
    fn serve(
        authority: &Authority,
        name: &str,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> SocketAddr {
        let config = Arc::new(authority.server(&[name]));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, answer) = (config.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = TlsStream::new(ServerConnection::new(config).unwrap(), socket);
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while !head.ends_with(b"\r\n\r\n") {
                        if stream.read_exact(&mut byte).is_err() {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    let answer = answer(&String::from_utf8(head).unwrap());
                    stream.write_all(answer.as_bytes()).unwrap();
                    stream.flush().unwrap();
                });
            }
        });
        address
    }

    /// Gives one event, and a 204 to a client that has had it.
    fn secure_server(authority: &Authority, name: &str) -> SocketAddr {
        serve(authority, name, |head| match head.contains("last-event-id: 1\r\n") {
            true => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            false => format!("{HEAD}{}", chunk("id: 1\ndata: a\n\n")),
        })
    }

    /// Sends each request on to this URL.
    pub(crate) fn redirecting(authority: &Authority, name: &str, to: String) -> SocketAddr {
        serve(authority, name, move |_| {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        })
    }

    fn trusting(source: EventSource, authority: &Authority, at: SocketAddr) -> EventSource {
        let config = Arc::new(authority.client());
        source.dial(move |to| to.tls_config(config.clone()).connect_to(at))
    }

    #[tokio::test]
    async fn https_goes_over_tls_and_goes_on_with_the_next_connection() {
        let authority = Authority::new();
        let at = secure_server(&authority, "feed.example");
        let mut source = trusting(get("https://feed.example/"), &authority, at);
        assert_eq!(take(&mut source, 1).await, ["a"]);
        assert!(matches!(end(&mut source).await, End::Stopped));
    }

    #[tokio::test]
    async fn https_goes_through_a_proxy() {
        let authority = Authority::new();
        let server = secure_server(&authority, "feed.example");
        let (at, asked) = proxy(Ok(server)).await;
        let (proxy, config) =
            (Proxy::new(&format!("http://{at}")).unwrap(), Arc::new(authority.client()));
        let source = get("https://feed.example/");
        let mut source = source.dial(move |to| to.tls_config(config.clone()).proxy(proxy.clone()));
        assert_eq!(take(&mut source, 1).await, ["a"]);
        assert!(asked.lock().unwrap()[0].starts_with("CONNECT feed.example:443 "));
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_stops_the_source_at_once() {
        let authority = Authority::new();
        let at = secure_server(&authority, "feed.example");
        let (source, waits) = ends(trusting(get("https://other.example/"), &authority, at));
        let mut source = source;
        let end = end(&mut source).await;
        let End::Unreachable(error) = end else { panic!("{end:?}") };
        assert!(matches!(*error, Error::Tls(TlsError::Rustls(_))), "{error:?}");
        assert!(waits.lock().unwrap().is_empty());
    }
}
