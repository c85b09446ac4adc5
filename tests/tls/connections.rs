//! `wss` in both adapters and both roles (battery O18, T09): trust, error messages, and that TLS changes nothing else.

#![cfg(all(feature = "ring", feature = "tokio"))]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::LONG;
use crate::support::tls::{Authority, self_signed};
use bowline::blocking::{self, BlockingStream, TlsStream};
use bowline::handshake::{ClientRequest, ConnectError};
use bowline::rustls::pki_types::ServerName;
use bowline::rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, CommonState, ServerConfig,
    ServerConnection,
};
use bowline::tls::TlsError;
use bowline::tokio_rustls::TlsAcceptor;
use bowline::{Config, End, Error, Message, Timeout, rustls, tokio};

/// A timeout that is meant to run out.
const SHORT: Duration = Duration::from_millis(300);

/// Works in a thread of its own, which no test waits for longer than its patience lasts.
pub(super) struct Task<T>(mpsc::Receiver<T>);

pub(super) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let (give, take) = mpsc::channel();
    thread::spawn(move || give.send(work()));
    Task(take)
}

impl<T> Task<T> {
    #[track_caller]
    pub(super) fn join(self) -> T {
        self.0.recv_timeout(LONG).expect("it panicked or hangs")
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A server of one connection.
pub(super) fn serve<T: Send + 'static>(
    work: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, Task<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, spawn(move || work(listener.accept().unwrap().0)))
}

pub(super) fn server_stream(config: ServerConfig, socket: TcpStream) -> TlsStream<TcpStream> {
    TlsStream::new(ServerConnection::new(Arc::new(config)).unwrap(), socket)
}

fn client_stream<S: BlockingStream>(config: ClientConfig, socket: S) -> TlsStream<S> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsStream::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Adapter {
    Blocking,
    Tokio,
}
use Adapter::{Blocking, Tokio};

pub(super) const ADAPTERS: [Adapter; 2] = [Blocking, Tokio];

/// Echoes until the end. `look` looks at the TLS of the connection.
pub(super) fn echo<T>(
    adapter: Adapter,
    tls: ServerConfig,
    socket: TcpStream,
    look: impl FnOnce(&CommonState) -> T,
) -> Result<T, Error> {
    match adapter {
        Blocking => {
            let mut ws = blocking::accept(server_stream(tls, socket), Config::default())?;
            let seen = look(&ws.get_ref().connection());
            while let Some(message) = ws.recv()? {
                ws.feed(message)?;
            }
            Ok(seen)
        }
        Tokio => block_on(async {
            socket.set_nonblocking(true)?;
            let socket = ::tokio::net::TcpStream::from_std(socket)?;
            let stream = TlsAcceptor::from(Arc::new(tls)).accept(socket).await?;
            let mut ws = tokio::accept(stream, Config::default()).await?;
            let seen = look(ws.get_ref().get_ref().1);
            while let Some(message) = ws.recv().await? {
                ws.feed(message).await?;
            }
            Ok(seen)
        }),
    }
}

/// Opens, and runs until the end; what came.
pub(super) fn talk(
    adapter: Adapter,
    request: &ClientRequest,
    config: Config,
    say: &[Message],
) -> Result<Vec<Message>, Error> {
    let mut came = Vec::new();
    match adapter {
        Blocking => {
            let (mut ws, _) = blocking::connect_with(request, config)?;
            assert!(matches!(ws.get_ref(), blocking::MaybeTls::Tls(_)));
            assert_eq!(ws.get_ref().tcp().peer_addr().unwrap().port(), request.port());
            for message in say {
                ws.send(message.clone())?;
            }
            while came.len() < say.len() {
                came.extend(ws.recv()?);
            }
            if !say.is_empty() {
                ws.start_close(1000, "")?;
            }
            while let Some(message) = ws.recv()? {
                came.push(message);
            }
            assert!(matches!(ws.end(), Some(End::Closed { .. })));
        }
        Tokio => block_on(async {
            let (mut ws, _) = tokio::connect_with(request, config).await?;
            assert!(matches!(ws.get_ref(), tokio::MaybeTls::Tls(_)));
            assert_eq!(ws.get_ref().tcp().peer_addr().unwrap().port(), request.port());
            for message in say {
                ws.send(message.clone()).await?;
            }
            while came.len() < say.len() {
                came.extend(ws.recv().await?);
            }
            if !say.is_empty() {
                ws.start_close(1000, "").await?;
            }
            while let Some(message) = ws.recv().await? {
                came.push(message);
            }
            assert!(matches!(ws.end(), Some(End::Closed { .. })));
            Ok::<_, Error>(())
        })?,
    }
    Ok(came)
}

pub(super) fn request(host: &str, address: SocketAddr, config: ClientConfig) -> ClientRequest {
    ClientRequest::new(&format!("wss://{host}:{}/chat", address.port()))
        .unwrap()
        .tls_config(Arc::new(config))
}

#[test]
fn messages_are_echoed_between_all_adapters_and_roles() {
    let authority = Authority::new();
    let say = [Message::from("Hello"), Message::from(vec![7; 300_000]), Message::from("")];
    for client in ADAPTERS {
        for server in ADAPTERS {
            for host in ["localhost", "127.0.0.1"] {
                let mut tls = authority.server(&["localhost", "127.0.0.1"]);
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                let (address, echo) = serve(move |socket| {
                    echo(server, tls, socket, |tls| tls.alpn_protocol().map(Vec::from))
                });
                // The protocols that a program offers elsewhere are not offered for a WebSocket.
                let mut tls = authority.client();
                tls.alpn_protocols = vec![b"h2".to_vec()];
                let request = request(host, address, tls);
                assert_eq!(talk(client, &request, Config::default(), &say).unwrap(), say);
                assert_eq!(echo.join().unwrap().as_deref(), Some(&b"http/1.1"[..]));
            }
        }
    }
}

/// What the client fails with; the server never sees a byte of HTTP.
fn refused(adapter: Adapter, host: &str, server: ServerConfig, client: ClientConfig) -> Error {
    let (address, server) = serve(move |socket| {
        let mut stream = server_stream(server, socket);
        let mut bytes = Vec::new();
        (stream.read_to_end(&mut bytes), bytes)
    });
    let error = talk(adapter, &request(host, address, client), Config::default(), &[]).unwrap_err();
    let (end, bytes) = server.join();
    assert!(bytes.is_empty(), "{bytes:?}");
    // It gets the reason, too.
    let end = Error::from(end.unwrap_err());
    assert!(matches!(end, Error::Tls(TlsError::Rustls(rustls::Error::AlertReceived(_)))), "{end}");
    error
}

#[track_caller]
fn certificate_error(error: Error) -> CertificateError {
    let text = error.to_string();
    match error {
        Error::Tls(TlsError::Rustls(rustls::Error::InvalidCertificate(error))) => error,
        _ => panic!("{text}"),
    }
}

#[test]
fn an_unknown_authority_is_refused() {
    for adapter in ADAPTERS {
        let error = refused(
            adapter,
            "localhost",
            Authority::new().server(&["localhost"]),
            Authority::new().client(),
        );
        assert_eq!(certificate_error(error), CertificateError::UnknownIssuer);
    }
}

#[test]
fn a_self_signed_certificate_is_for_those_who_were_given_it_and_for_its_names() {
    let hello = [Message::from("hello")];
    for adapter in ADAPTERS {
        // The only root that the client has is the server's certificate, which is no authority's.
        let (server, client) = self_signed(&["localhost"]);
        let tls = server.clone();
        let (address, echoing) = serve(move |socket| echo(adapter, tls, socket, |_| ()));
        let trusted = request("localhost", address, client.clone());
        assert_eq!(talk(adapter, &trusted, Config::default(), &hello).unwrap(), hello);
        echoing.join().unwrap();

        let error = refused(adapter, "127.0.0.1", server.clone(), client);
        assert!(matches!(
            certificate_error(error),
            CertificateError::NotValidForNameContext { .. }
        ));
        for other in [Authority::new().client(), self_signed(&["localhost"]).1] {
            let error = refused(adapter, "localhost", server.clone(), other);
            assert!(matches!(
                certificate_error(error),
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ));
        }
    }
}

/// RFC 6066 §3: servers with several names choose the certificate by what the client asks for. An address is no name.
#[test]
fn the_server_is_told_the_host_of_the_url() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        for (host, expected) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
            let tls = Arc::new(authority.server(&["localhost", "127.0.0.1"]));
            let (address, server) = serve(move |socket| {
                let stream = TlsStream::new(ServerConnection::new(tls).unwrap(), socket);
                let mut ws = blocking::accept(stream, Config::default()).unwrap();
                let name = match &*ws.get_ref().connection() {
                    rustls::Connection::Server(server) => server.server_name().map(String::from),
                    rustls::Connection::Client(_) => None,
                };
                let message = ws.recv().unwrap().unwrap();
                ws.send(message).unwrap();
                while ws.recv().is_ok_and(|message| message.is_some()) {}
                name
            });
            let request = request(host, address, authority.client());
            talk(adapter, &request, Config::default(), &[Message::from("x")]).unwrap();
            assert_eq!(server.join().as_deref(), expected, "{adapter:?}");
        }
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        for (host, names) in [("localhost", ["127.0.0.1"]), ("127.0.0.1", ["localhost"])] {
            let error = refused(adapter, host, authority.server(&names), authority.client());
            assert!(error.to_string().contains(names[0]), "{error}");
            assert!(matches!(
                certificate_error(error),
                CertificateError::NotValidForNameContext { .. }
            ));
        }
    }
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        let server = authority.expired_server(&["localhost"]);
        let error = refused(adapter, "localhost", server, authority.client());
        assert!(matches!(certificate_error(error), CertificateError::ExpiredContext { .. }));
    }
}

#[test]
fn a_server_that_speaks_another_protocol_is_refused() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        let mut tls = authority.server(&["localhost"]);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (address, server) = serve(move |socket| {
            server_stream(tls, socket).read(&mut [0]).map_err(|error| error.kind())
        });
        let request = request("localhost", address, authority.client());
        let error = talk(adapter, &request, Config::default(), &[]).unwrap_err();
        let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert!(
            matches!(&error, Error::Tls(TlsError::Rustls(error)) if *error == alert),
            "{error}"
        );
        server.join().unwrap_err();
    }
}

#[test]
fn a_host_that_no_certificate_can_be_for_is_refused_before_anything_is_sent() {
    for adapter in ADAPTERS {
        let request = ClientRequest::new("wss://-.example/")
            .unwrap()
            .tls_config(Arc::new(Authority::new().client()));
        let error = talk(adapter, &request, Config::default(), &[]).unwrap_err();
        assert!(matches!(error, Error::Tls(TlsError::ServerName)), "{error}");
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_refused() {
    for adapter in ADAPTERS {
        let (address, server) = serve(|mut socket| {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let request = request("localhost", address, Authority::new().client());
        let error = talk(adapter, &request, Config::default(), &[]).unwrap_err();
        assert!(
            matches!(error, Error::Tls(TlsError::Rustls(rustls::Error::InvalidMessage(_)))),
            "{error}"
        );
        server.join();
    }
}

#[test]
fn the_handshake_timeout_covers_tls() {
    for adapter in ADAPTERS {
        for trickle in [false, true] {
            let (address, server) = serve(move |mut socket| {
                socket.set_read_timeout(Some(SHORT / 10)).unwrap();
                // The header of a long record, which never gets complete.
                socket.write_all(b"\x16\x03\x03\x3f\xff").unwrap();
                let mut bytes = [0; 4096];
                loop {
                    match socket.read(&mut bytes) {
                        Ok(0) => break,
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                        _ if trickle && socket.write_all(&[2]).is_err() => break,
                        _ => {}
                    }
                }
            });
            let request = request("localhost", address, Authority::new().client());
            let client = spawn(move || {
                let config = Config::default().handshake_timeout(SHORT);
                talk(adapter, &request, config, &[]).unwrap_err()
            });
            let error = client.join();
            assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error}");
            server.join();
        }
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// Only TCP, as anybody on the way can do.
    Cut,
    /// TLS, but no Close frame.
    Notify,
    /// Close frames both ways, then only TCP.
    CloseThenCut,
}

/// Battery T09; RFC 8446 §6.1, RFC 6455 §7.1.4.
#[test]
fn only_close_frames_make_a_clean_end() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        for ending in [Ending::Cut, Ending::Notify, Ending::CloseThenCut] {
            let tls = authority.server(&["localhost"]);
            let (address, server) = serve(move |socket| {
                let below = socket.try_clone().unwrap();
                let mut ws =
                    blocking::accept(server_stream(tls, socket), Config::default()).unwrap();
                ws.send("last words").unwrap();
                if ending == Ending::CloseThenCut {
                    ws.start_close(1000, "").unwrap();
                }
                let (mut stream, _) = ws.into_inner().unwrap();
                match ending {
                    Ending::Cut => below.shutdown(std::net::Shutdown::Write).unwrap(),
                    Ending::Notify => stream.shutdown_write().unwrap(),
                    Ending::CloseThenCut => {
                        // The client's Close: without a reason 8 bytes.
                        stream.read_exact(&mut [0; 8]).unwrap();
                        below.shutdown(std::net::Shutdown::Write).unwrap();
                    }
                }
                // Not reset before all of it was read.
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let request = request("localhost", address, authority.client());
            let result = spawn(move || talk(adapter, &request, Config::default(), &[])).join();
            match ending {
                Ending::CloseThenCut => assert_eq!(result.unwrap(), [Message::from("last words")]),
                _ => assert!(
                    matches!(result, Err(Error::Ended(End::PeerGone(_)))),
                    "{adapter:?} {ending:?}: {result:?}"
                ),
            }
            server.join();
        }
    }
}

/// RFC 8446 §6.1, for users of the stream alone.
#[test]
fn a_stream_tells_an_end_of_tls_from_one_of_tcp() {
    let authority = Authority::new();
    for notify in [false, true] {
        let tls = authority.server(&["localhost"]);
        let (address, server) = serve(move |socket| {
            let mut bytes = Vec::new();
            let result = server_stream(tls, socket).read_to_end(&mut bytes);
            (result.map_err(|error| error.kind()), bytes)
        });
        let mut stream = client_stream(authority.client(), TcpStream::connect(address).unwrap());
        stream.get_ref().set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"Hello").unwrap();
        while stream.connection().is_handshaking() {
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::Interrupted);
        }
        stream.flush().unwrap();
        if notify {
            stream.shutdown_write().unwrap();
        } else {
            stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        }
        let expected = if notify { Ok(5) } else { Err(ErrorKind::UnexpectedEof) };
        assert_eq!(server.join(), (expected, b"Hello".to_vec()));
    }
}

#[test]
fn a_server_sees_an_unclean_end_too() {
    let authority = Authority::new();
    for adapter in ADAPTERS {
        for notify in [false, true] {
            let tls = authority.server(&["localhost"]);
            let (address, server) = serve(move |socket| echo(adapter, tls, socket, |_| ()));
            let stream = client_stream(authority.client(), TcpStream::connect(address).unwrap());
            let request = ClientRequest::new("wss://localhost/").unwrap();
            let (mut ws, _) = blocking::client(stream, &request, Config::default()).unwrap();
            ws.send("Hello").unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::from("Hello")));
            let (mut stream, _) = ws.into_inner().unwrap();
            if notify {
                stream.shutdown_write().unwrap();
            } else {
                stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            }
            let result = server.join();
            assert!(matches!(result, Err(Error::Ended(End::PeerGone(_)))), "{result:?}");
        }
    }
}

/// Tells when a read begins, and takes few bytes at a time where it is told to.
struct Odd {
    socket: TcpStream,
    reading: Option<mpsc::Sender<()>>,
    stutter: Arc<AtomicBool>,
    refuse: bool,
}

impl Odd {
    fn new(socket: TcpStream, reading: Option<mpsc::Sender<()>>) -> Self {
        Self { socket, reading, stutter: Arc::default(), refuse: false }
    }
}

impl Read for Odd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reading) = &self.reading {
            let _ = reading.send(());
        }
        self.socket.read(buffer)
    }
}

impl Write for Odd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.stutter.load(Ordering::Relaxed) {
            return self.socket.write(bytes);
        }
        self.refuse = !self.refuse;
        if self.refuse {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.socket.write(&bytes[..bytes.len().min(3000)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl BlockingStream for Odd {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket.read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self {
            socket,
            reading: self.reading.clone(),
            stutter: Arc::clone(&self.stutter),
            refuse: false,
        })
    }
}

/// design.md, decision 2, over TLS.
#[test]
fn a_thread_that_waits_in_recv_keeps_no_other_from_sending() {
    const MESSAGES: usize = 1000;
    let authority = Authority::new();
    let tls = authority.server(&["localhost"]);
    let (address, server) = serve(move |socket| {
        let mut ws = blocking::accept(server_stream(tls, socket), Config::default()).unwrap();
        // Nothing comes back before all of it has come.
        let messages: Vec<_> = (0..MESSAGES).map(|_| ws.recv().unwrap().unwrap()).collect();
        for message in messages {
            ws.feed(message).unwrap();
        }
        assert_eq!(ws.recv().unwrap(), None);
    });
    let (reading, begins) = mpsc::channel();
    let stream = Odd::new(TcpStream::connect(address).unwrap(), Some(reading));
    let request = ClientRequest::new("wss://localhost/").unwrap();
    let stream = client_stream(authority.client(), stream);
    let (ws, _) = blocking::client(stream, &request, Config::default()).unwrap();
    let (mut sender, mut receiver) = ws.split().unwrap();
    while begins.try_recv().is_ok() {}
    let received = spawn(move || {
        for i in 0..MESSAGES {
            assert_eq!(receiver.recv().unwrap(), Some(Message::from(i.to_string())));
        }
        assert_eq!(receiver.recv().unwrap(), None);
    });
    // The receiving thread is about to make the system call, with all the locks that it takes for it. The tickets of
    // TLS 1.3 may come first. After the last of them it is there once more, for long.
    begins.recv_timeout(LONG).unwrap();
    let sent = spawn(move || {
        for i in 0..MESSAGES {
            sender.send(i.to_string()).unwrap();
        }
        sender
    });
    let mut sender = sent.join();
    sender.close(1000, "").unwrap();
    received.join();
    server.join();
}

/// Battery R12 over TLS: both ends send more than sockets hold before either has read all of it.
#[test]
fn both_sides_send_at_once() {
    const MESSAGES: usize = 24;
    const SIZE: usize = 1 << 20;
    fn exchange<S: BlockingStream + Send + 'static>(ws: blocking::WebSocket<S>) -> [Task<()>; 2] {
        let (mut sender, mut receiver) = ws.split().unwrap();
        [
            spawn(move || {
                for i in 0..MESSAGES {
                    sender.send(vec![i as u8; SIZE]).unwrap();
                }
            }),
            spawn(move || {
                for i in 0..MESSAGES {
                    assert_eq!(receiver.recv().unwrap(), Some(Message::from(vec![i as u8; SIZE])));
                }
            }),
        ]
    }
    let authority = Authority::new();
    let tls = authority.server(&["localhost"]);
    let (address, server) = serve(move |socket| {
        exchange(blocking::accept(server_stream(tls, socket), Config::default()).unwrap())
    });
    let request = request("localhost", address, authority.client());
    let (ws, _) = blocking::connect_with(&request, Config::default()).unwrap();
    let tasks = exchange(ws);
    for task in server.join().into_iter().chain(tasks) {
        task.join();
    }
}

#[test]
fn a_write_that_would_block_goes_on_where_it_was() {
    let authority = Authority::new();
    let tls = authority.server(&["localhost"]);
    let (address, server) = serve(move |socket| {
        let mut stream = server_stream(tls, socket);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let socket = Odd::new(TcpStream::connect(address).unwrap(), None);
    socket.set_read_timeout(Some(LONG)).unwrap();
    let stutter = Arc::clone(&socket.stutter);
    let mut stream = client_stream(authority.client(), socket);
    // Goes out with the end of the handshake, which a read drives.
    stream.write_all(b"first").unwrap();
    while stream.connection().is_handshaking() {
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::Interrupted);
    }
    stream.flush().unwrap();
    stutter.store(true, Ordering::Relaxed);
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i / 7) as u8).collect();
    let (mut rest, mut refused) = (&bytes[..], 0);
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(n) => rest = &rest[n..],
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                assert!(refused < 1000, "the same records again and again");
            }
        }
    }
    assert!(refused > 10, "{refused}");
    stutter.store(false, Ordering::Relaxed);
    stream.shutdown_write().unwrap();
    assert!(server.join() == [b"first", &bytes[..]].concat());
}

#[test]
fn timeouts_of_the_socket_and_of_the_configuration_hold() {
    let authority = Authority::new();
    let tls = authority.server(&["localhost"]);
    let (go, wait) = mpsc::channel::<()>();
    let (address, server) = serve(move |socket| {
        let mut ws = blocking::accept(server_stream(tls, socket), Config::default()).unwrap();
        wait.recv_timeout(LONG).unwrap();
        ws.send("late").unwrap();
        // Reads nothing until the client has given up.
        wait.recv_timeout(LONG).unwrap();
    });
    let client = spawn(move || {
        let request = request("localhost", address, authority.client());
        let config = Config::default().send_timeout(SHORT);
        let (mut ws, _) = blocking::connect_with(&request, config).unwrap();
        ws.get_ref().tcp().set_read_timeout(Some(SHORT / 10)).unwrap();
        let error = ws.recv().unwrap_err();
        assert!(
            matches!(&error, Error::Io(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "{error}"
        );
        ws.get_ref().tcp().set_read_timeout(None).unwrap();
        go.send(()).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::from("late")));
        let error = loop {
            if let Err(error) = ws.send(vec![0; 1 << 20]) {
                break error;
            }
        };
        assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))), "{error}");
        go.send(()).unwrap();
    });
    client.join();
    server.join();
}

#[test]
fn debug_shows_nothing_of_tls() {
    let (address, server) = serve(drop);
    let stream = client_stream(Authority::new().client(), TcpStream::connect(address).unwrap());
    let shown = format!("{stream:?}");
    assert!(shown.starts_with("TlsStream { socket: TcpStream"), "{shown}");
    assert!(shown.ends_with(", .. }"), "{shown}");
    server.join();
}

/// Mozilla's list does not know an authority made here, and can be asked for.
#[cfg(feature = "webpki-roots")]
#[test]
fn mozillas_roots_are_there_on_demand() {
    let config = bowline::tls::with_webpki_roots().unwrap();
    for adapter in ADAPTERS {
        let error = refused(
            adapter,
            "localhost",
            Authority::new().server(&["localhost"]),
            ClientConfig::clone(&config),
        );
        assert_eq!(certificate_error(error), CertificateError::UnknownIssuer);
    }
}

/// Where `platform_roots_are_trusted` runs itself again.
const CHILD: &str = "BOWLINE_TEST_TLS_PORT";

#[test]
fn platform_roots_are_trusted() {
    let own = std::env::current_exe().unwrap();
    let name = "connections::platform_roots_are_trusted";
    if let Ok(port) = std::env::var(CHILD) {
        let url = format!("wss://localhost:{port}/");
        let mut ws = blocking::connect(&url).unwrap();
        ws.send("Hello").unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::from("Hello")));
        ws.close(1000, "").unwrap();
        block_on(async {
            let mut ws = tokio::connect(&url).await.unwrap();
            ws.send("Hello").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(Message::from("Hello")));
            ws.close(1000, "").await.unwrap();
        });
        return;
    }
    let authority = Authority::new();
    let tls = authority.server(&["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (served, clean) = mpsc::channel();
    // Ends with the process.
    thread::spawn(move || {
        for socket in listener.incoming() {
            let _ = served.send(echo(Blocking, tls.clone(), socket.unwrap(), |_| ()).is_ok());
        }
    });
    let folder = std::env::temp_dir().join(format!("bowline-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (known, none) = (folder.join("known.pem"), folder.join("none.pem"));
    std::fs::write(&known, authority.pem()).unwrap();
    std::fs::write(&none, "").unwrap();
    let run = |file| {
        std::process::Command::new(&own)
            .args(["--exact", name])
            .env(CHILD, port.to_string())
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
    };
    let trusting = run(&known);
    let empty = run(&none);
    // A name that matches no test is no failure to the child.
    assert!(String::from_utf8_lossy(&trusting.stdout).contains("running 1 test"), "{trusting:?}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(trusting.status.success(), "{}", String::from_utf8_lossy(&trusting.stdout));
    for _ in ["blocking", "tokio"] {
        assert!(clean.recv_timeout(LONG).unwrap());
    }
    let said = String::from_utf8_lossy(&empty.stdout) + String::from_utf8_lossy(&empty.stderr);
    assert!(!empty.status.success() && said.contains("NoRoots"), "{said}");
}
