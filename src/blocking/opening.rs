//! The opening handshake over blocking streams.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::string::ToString;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::sync::mpsc;
use std::vec::Vec;

#[cfg(feature = "rustls")]
use ::rustls::pki_types::ServerName;
#[cfg(feature = "rustls")]
use ::rustls::{ClientConfig, ClientConnection};

use super::io::{drain, now, write_all};
use super::stream::BlockingStream;
#[cfg(feature = "rustls")]
use super::tls::TlsStream;
use super::{MaybeTls, WebSocket};
#[cfg(feature = "rustls")]
use crate::adapter::tls;
use crate::adapter::{Error, seed, share};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response,
    ServerHandshake,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket at a `ws` or, with the feature `rustls`, a `wss` URL with the default [`Config`].
///
/// # Errors
///
/// As [`connect_with`].
pub fn connect(url: &str) -> Result<WebSocket<MaybeTls>, Error> {
    let (ws, _) = connect_with(&ClientRequest::new(url)?, Config::default())?;
    Ok(ws)
}

/// Opens a WebSocket with headers, subprotocols, origin and limits of your own. Gives the server's
/// response too: its headers, and the subprotocol that it selected.
///
/// All addresses of the host are tried; the name, the connection, TLS and the handshake together
/// take at most [`Config::handshake_timeout`]. `TCP_NODELAY` is set.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`]; for a `wss` URL `Error::Tls` with what is
/// wrong with the certificate, for example, or [`Error::TlsNotBuiltIn`] without the feature `rustls`.
pub fn connect_with(
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let secure = Security::of(request)?;
    let start = now();
    let deadline = config.get().handshake_timeout.map(|timeout| start.saturating_add(timeout));
    let addresses = resolve(request, deadline)?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for (i, address) in addresses.iter().enumerate() {
        let result = match share(deadline, now(), addresses.len() - i) {
            None => TcpStream::connect(address),
            Some(left) if left.is_zero() => return Err(ConnectError::TimedOut.into()),
            Some(left) => TcpStream::connect_timeout(address, left),
        };
        match result {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return open(secure.over(stream)?, request, config, start);
            }
            Err(error) => last = error,
        }
    }
    match last.kind() {
        ErrorKind::TimedOut => Err(ConnectError::TimedOut.into()),
        _ => Err(last.into()),
    }
}

/// What the scheme of the URL asks for.
struct Security {
    #[cfg(feature = "rustls")]
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

#[cfg(not(feature = "rustls"))]
impl Security {
    fn of(request: &ClientRequest) -> Result<Self, Error> {
        if request.is_secure() { Err(Error::TlsNotBuiltIn) } else { Ok(Self {}) }
    }

    fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        Ok(MaybeTls::Plain(stream))
    }
}

#[cfg(feature = "rustls")]
impl Security {
    /// Before anything is sent: what is missing here is missing for every address.
    fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        let config = match request.users_tls_config() {
            Some(config) => config,
            None => tls::with_platform_roots()?,
        };
        Ok(Self { tls: Some((config, tls::server_name(request)?)) })
    }

    /// The handshake of TLS happens with the first writes and reads.
    fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let connection = ClientConnection::new_with_alpn(config, name, tls::alpn())
            .map_err(tls::TlsError::from)?;
        Ok(MaybeTls::Tls(TlsStream::new(connection, stream)))
    }
}

/// Opens a WebSocket over a stream that is connected already: a Unix socket, a proxy's tunnel, TLS.
///
/// # Errors
///
/// As [`connect_with`].
pub fn client<S: BlockingStream>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    open(stream, request, config, now())
}

fn open<S: BlockingStream>(
    mut stream: S,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<S>, Response), Error> {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(start);
    let timeouts = Timeouts::set(&stream, deadline)?;
    write_all(&mut stream, &mut out).map_err(|error| timeout_or(error, ConnectError::TimedOut))?;
    loop {
        if let Some((connection, response)) = handshake.read(&mut input)? {
            timeouts.restore(&stream)?;
            let ws = WebSocket::from_connection(stream, connection, input)?;
            return Ok((ws, response));
        }
        handshake.on_time(now())?;
        // It is nearer once a refusal has come.
        let deadline = handshake.deadline(now());
        timeouts.read(&mut stream, &mut input, deadline)?;
    }
}

/// Resolves the host's name, within the deadline.
fn resolve(request: &ClientRequest, deadline: Option<Duration>) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = request.host().parse::<IpAddr>() {
        return Ok([(address, request.port()).into()].into());
    }
    let host = (request.host().to_string(), request.port());
    let Some(deadline) = deadline else {
        return Ok(host.to_socket_addrs()?.collect());
    };
    // The system's resolver cannot be interrupted, so it gets a thread that may outlive the wait.
    let (give, take) = mpsc::channel();
    std::thread::Builder::new().name("resolver".into()).spawn(move || {
        let _ = give.send(host.to_socket_addrs().map(Vec::from_iter));
    })?;
    match take.recv_timeout(deadline.saturating_sub(now())) {
        Ok(addresses) => Ok(addresses?),
        Err(_) => Err(ConnectError::TimedOut.into()),
    }
}

/// Accepts a client that asks for a WebSocket, whatever the path; refuses, with the right HTTP
/// status, what is no valid request or comes from a foreign origin. For more, see [`Incoming`].
///
/// On TCP, set `TCP_NODELAY` before.
///
/// # Errors
///
/// [`Error::Request`] if there was no such request; the client has been told then. [`Error::Io`].
pub fn accept<S: BlockingStream>(stream: S, config: Config) -> Result<WebSocket<S>, Error> {
    Incoming::read(stream, config)?.accept(Accept::new())
}

/// A request that was read and not answered yet.
///
/// ```no_run
/// use bowline::blocking::Incoming;
/// use bowline::handshake::{Accept, Response};
/// # fn serve(stream: std::net::TcpStream) -> Result<(), bowline::Error> {
/// let incoming = Incoming::read(stream, bowline::Config::default())?;
/// if !incoming.request().is_upgrade() {
///     return incoming.respond(&Response::new(200).body("not a WebSocket, but hello"));
/// }
/// let protocol = incoming.request().select_subprotocol(&["chat.v2", "chat"]).map(String::from);
/// let mut ws = incoming.accept(Accept::new().subprotocol(protocol.as_deref()))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<S> {
    stream: S,
    input: RecvBuf,
    request: Request,
    handshake: ServerHandshake,
    config: Config,
    timeouts: Timeouts,
}

impl<S: BlockingStream> Incoming<S> {
    /// Reads a request. What is no well-formed HTTP/1.1, or too big, or too slow, is answered here.
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub fn read(mut stream: S, config: Config) -> Result<Self, Error> {
        let mut input = RecvBuf::new();
        let mut handshake = ServerHandshake::new(config.clone());
        let deadline = handshake.deadline(now());
        let timeouts = Timeouts::set(&stream, deadline)?;
        loop {
            let result = match handshake.read(&mut input) {
                Ok(Some(request)) => {
                    return Ok(Self { stream, input, request, handshake, config, timeouts });
                }
                Ok(None) => handshake.on_time(now()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                if error != RequestError::Gone {
                    let _ = respond(&mut stream, &handshake, &error.response());
                }
                return Err(error.into());
            }
            timeouts.read(&mut stream, &mut input, deadline)?;
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Accepts it, if it keeps to RFC 6455 §4.2.1 and the origin policy; else refuses it.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub fn accept(mut self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let accepted = match self.request.upgrade(&self.config) {
            Ok(upgrade) => upgrade.accept(accept),
            Err(error) => {
                let _ = self.respond(&error.response());
                return Err(error.into());
            }
        };
        let (connection, response) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = self.respond(&Response::new(500));
                return Err(error.into());
            }
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        write_all(&mut self.stream, &mut out)
            .map_err(|error| timeout_or(error, RequestError::TimedOut))?;
        self.timeouts.restore(&self.stream)?;
        WebSocket::from_connection(self.stream, connection, self.input)
    }

    /// Answers with something else than a WebSocket, and closes the connection, in a way that lets
    /// the answer arrive.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn respond(mut self, response: &Response) -> Result<(), Error> {
        respond(&mut self.stream, &self.handshake, response)
    }
}

fn respond(
    stream: &mut impl BlockingStream,
    handshake: &ServerHandshake,
    response: &Response,
) -> Result<(), Error> {
    let mut leave = handshake.leave();
    if let Some(at) = leave.deadline(now()) {
        stream.set_write_timeout(Some(at.saturating_sub(now()).max(Duration::from_millis(1))))?;
    }
    let mut out = SendBuf::new();
    handshake.respond(response, &mut out);
    write_all(stream, &mut out)?;
    leave.done();
    drain(stream, &mut leave);
    Ok(())
}

fn timeout_or(error: io::Error, timed_out: impl Into<Error>) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => timed_out.into(),
        _ => error.into(),
    }
}

/// Absolute deadlines made of socket timeouts, which are relative.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    users_read: Option<Duration>,
}

impl Timeouts {
    fn set(stream: &impl BlockingStream, deadline: Option<Duration>) -> io::Result<Self> {
        let left = deadline.map(|at| at.saturating_sub(now()).max(Duration::from_millis(1)));
        stream.set_write_timeout(left)?;
        Ok(Self { users_read: stream.read_timeout()? })
    }

    /// Reads once; that the deadline is reached meanwhile is no error.
    fn read(
        &self,
        stream: &mut impl BlockingStream,
        input: &mut RecvBuf,
        deadline: Option<Duration>,
    ) -> io::Result<()> {
        if let Some(at) = deadline {
            let left = at.saturating_sub(now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
        }
        match stream.read(input.space()) {
            Ok(0) => input.eof(),
            Ok(n) => input.filled(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error)
                if deadline.is_some()
                    && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn restore(&self, stream: &impl BlockingStream) -> io::Result<()> {
        stream.set_read_timeout(self.users_read)
    }
}
