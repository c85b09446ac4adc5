//! Where a client connects to and from, in place of what the URL says.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use bowline::handshake::ConnectTo;

use super::*;

/// A socket file of this test, which is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bowline-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_unix_socket_is_reached_by_url_and_by_setting() {
    let file = File::new("echo");
    let listener = UnixListener::bind(&file.0).unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || echo(socket));
        }
    });
    for adapter in ADAPTERS {
        let path = file.text();
        for request in [
            request(format!("ws+unix:{path}:/chat")),
            request("ws://chat.internal/").connect_to(ConnectTo::unix(path)),
        ] {
            assert_eq!(adapter.echo(&request).unwrap(), 101, "{adapter:?}");
        }
        let error = adapter.echo(&request(format!("ws+unix:{path}.not:/"))).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot connect to {path}.not: ")),
            "{error}"
        );
        assert!(error.unreachable().is_some_and(|found| found.name_error().is_some()));
    }
}

#[test]
fn the_host_of_the_url_stays_in_the_request() {
    for adapter in ADAPTERS {
        let (server, heads) =
            http_server(|_| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into());
        for request in [
            request("ws://chat.example/x").connect_to(server),
            request("ws://chat.example/x").connect_to(("127.0.0.1", server.port())),
            request("ws://chat.example/x").connect_to(("localhost", server.port())),
        ] {
            assert!(adapter.echo(&request).is_err());
            let head = heads.recv_timeout(LONG).unwrap();
            assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: chat.example\r\n"), "{head}");
        }
    }
}

#[cfg(feature = "socket2")]
#[test]
fn a_client_connects_from_the_address_that_is_set() {
    let (give, peers) = mpsc::channel();
    let server = serve(move |socket| {
        give.send(socket.peer_addr().unwrap().ip()).unwrap();
        echo(socket);
    });
    for adapter in ADAPTERS {
        let local: std::net::IpAddr = "127.0.0.2".parse().unwrap();
        let from = request(format!("ws://{server}/")).local_address(local);
        assert_eq!(adapter.echo(&from).unwrap(), 101);
        assert_eq!(peers.recv_timeout(LONG).unwrap(), local, "{adapter:?}");
        // An address of the other family, and one that is not this machine's.
        for foreign in ["::1", "192.0.2.1"] {
            let from = request(format!("ws://{server}/")).local_address(foreign.parse().unwrap());
            let error = adapter.echo(&from).unwrap_err();
            assert_eq!(error.unreachable().unwrap().attempts()[0].address, server, "{adapter:?}");
        }
    }
}

#[cfg(feature = "socket2")]
#[test]
fn a_function_sees_each_socket_before_it_connects() {
    use socket2::SockRef;
    use std::sync::{Arc, Mutex};
    let server = echo_server();
    let dead: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    for adapter in ADAPTERS {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let request = request("ws://h/").connect_to([dead, server]).configure_socket(
            move |socket, address| {
                let socket = SockRef::from(&socket);
                assert!(socket.peer_addr().is_err(), "it is not connected yet");
                socket.set_keepalive(true)?;
                sees.lock().unwrap().push(address);
                Ok(())
            },
        );
        assert_eq!(adapter.echo(&request).unwrap(), 101, "{adapter:?}");
        assert_eq!(*seen.lock().unwrap(), [dead, server], "{adapter:?}");
        let refusing = request.configure_socket(|_, _| Err(std::io::Error::other("not today")));
        let error = adapter.echo(&refusing).unwrap_err();
        assert_eq!(error.to_string().matches("not today").count(), 2, "{error}");
    }
}

#[test]
fn a_websocket_opens_over_a_stream_of_the_programs_own() {
    let server = echo_server();
    let there = request("ws://chat.example/");
    let socket = TcpStream::connect(server).unwrap();
    let (mut ws, _) = blocking::connect_over(socket, &there, Config::default()).unwrap();
    assert_eq!(ws.get_ref().get_ref().peer_addr().unwrap(), server);
    ws.send("Hello").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("Hello".into()));
    #[cfg(feature = "tokio")]
    block_on(async {
        let socket = tokio::net::TcpStream::connect(server).await.unwrap();
        let opened = bowline::tokio::connect_over(socket, &there, Config::default()).await;
        let (mut ws, _) = opened.unwrap();
        ws.send("Hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("Hello".into()));
    });
}
