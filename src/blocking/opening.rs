//! The opening handshake over blocking streams.

use core::time::Duration;
use std::io::{self, ErrorKind};

use super::WebSocket;
use super::leaving::Leaving;
use super::patience::{Patience, is_gone, is_reached, is_timeout, now, timeout_until};
use super::stream::BlockingStream;
use super::writer::write_slices;
use crate::adapter::trace::Handshake;
use crate::adapter::{Error, seed};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Proxy, ProxyError, Request, RequestError,
    Response, ServerHandshake, Tunnel,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket over a stream that is connected already, and does no TLS: the stream has it if the URL is a `wss`
/// one. See [`connect_over`](super::connect_over) for a stream on which TLS is to be done.
///
/// ```no_run
/// # #[cfg(unix)]
/// # fn connect() -> Result<(), bowline::Error> {
/// use std::os::unix::net::UnixStream;
/// use bowline::handshake::ClientRequest;
///
/// let stream = UnixStream::connect("/run/chat.sock")?;
/// let request = ClientRequest::new("ws://chat.internal/")?;
/// let (mut ws, _) = bowline::blocking::client(stream, &request, bowline::Config::default())?;
/// ws.send("Hello")?;
/// # Ok(())
/// # }
/// ```
///
/// What the request says of proxies, addresses and redirects has no effect.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`].
pub fn client<S: BlockingStream>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    let told = Handshake::client(request);
    let opened = told.run(|| open(stream, RecvBuf::new(), request, config, now()));
    told.opened(&opened);
    opened
}

/// Opens a WebSocket as a client; the handshake began at `start`. The first bytes of the server may have come.
pub(super) fn open<S: BlockingStream>(
    mut stream: S,
    mut input: RecvBuf,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<S>, Response), Error> {
    let mut out = SendBuf::new();
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let mut exchange = Exchange::begin(&stream)?;
    match exchange.write(&mut stream, &mut out, handshake.deadline(start)) {
        Ok(true) => {}
        Ok(false) => return Err(ConnectError::TimedOut.into()),
        // The server may have refused before it read everything, and its answer may have come.
        Err(error) if is_gone(&error) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        if let Some((connection, response)) = handshake.read(&mut input)? {
            exchange.end(&stream)?;
            let ws = WebSocket::from_connection(stream, connection, input)?;
            return Ok((ws, response));
        }
        handshake.on_time(now())?;
        let deadline = handshake.deadline(now());
        exchange.read(&mut stream, &mut input, deadline)?;
    }
}

/// Asks the proxy at the other end of the stream for a connection to the host of the request, and gives the stream back.
/// Then do TLS on it, if the URL is a `wss` one, and call [`client`] or [`connect_over`](super::connect_over).
///
/// ```no_run
/// use bowline::handshake::{ClientRequest, Proxy};
/// use bowline::{Config, blocking};
///
/// let proxy = Proxy::new("http://user:secret@127.0.0.1:3128")?;
/// let request = ClientRequest::new("wss://example.com/chat")?;
/// let socket = std::net::TcpStream::connect((proxy.host(), proxy.port()))?;
/// let stream = blocking::tunnel(socket, &proxy, &request, Config::default())?;
/// let (mut ws, _) = blocking::connect_over(stream, &request, Config::default())?;
/// ws.send("Hello")?;
/// # Ok::<(), bowline::Error>(())
/// ```
///
/// [`ProxyScheme::Socks5`](crate::handshake::ProxyScheme::Socks5) is for addresses: a name is sent as it is. It takes at
/// most [`Config::handshake_timeout`].
///
/// # Errors
///
/// [`Error::Proxy`], [`Error::Io`]. [`Error::Invalid`] if the proxy cannot be asked for this host.
pub fn tunnel<S: BlockingStream>(
    stream: S,
    proxy: &Proxy,
    request: &ClientRequest,
    config: Config,
) -> Result<S, Error> {
    let target = (request.host(), request.port());
    let (stream, first) = tunnel_to(stream, proxy, target, &request.config(config), now())?;
    match first.unread() {
        [] => Ok(stream),
        _ => Err(Error::of_proxy(proxy, ProxyError::EarlyBytes)),
    }
}

/// The same, for a target of any kind, with the first bytes of the server. It all began at `start`.
pub(super) fn tunnel_to<S: BlockingStream>(
    mut stream: S,
    proxy: &Proxy,
    (host, port): (&str, u16),
    config: &Config,
    start: Duration,
) -> Result<(S, RecvBuf), Error> {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut tunnel = Tunnel::new(proxy, host, port, config.clone(), &mut out)?;
    tunnel.deadline(start);
    let refused = |error| Error::of_proxy(proxy, error);
    let mut exchange = Exchange::begin(&stream)?;
    while !tunnel.read(&mut input, &mut out).map_err(refused)? {
        tunnel.on_time(now()).map_err(refused)?;
        let deadline = tunnel.deadline(now());
        if !out.is_empty() {
            match exchange.write(&mut stream, &mut out, deadline) {
                Ok(_) => {}
                // The proxy may have refused before it read everything, and its answer may have come.
                Err(error) if is_gone(&error) => out = SendBuf::new(),
                Err(error) => return Err(error.into()),
            }
        }
        exchange.read(&mut stream, &mut input, deadline)?;
    }
    exchange.end(&stream)?;
    Ok((stream, input))
}

/// Accepts a client that asks for a WebSocket, whatever the path. It refuses an invalid request, or one from a
/// foreign origin, with the right HTTP status. For more, see [`Incoming`].
///
/// On TCP, set `TCP_NODELAY` before. The stream must be in blocking mode. A non-blocking one gives an error that
/// says so when it would have to wait.
///
/// ```no_run
/// # fn serve(stream: std::net::TcpStream) -> Result<(), bowline::Error> {
/// let mut ws = bowline::blocking::accept(stream, bowline::Config::default())?;
/// while let Some(message) = ws.recv()? {
///     ws.send(message)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Request`] if there was no such request. The client got an answer, unless it is gone. [`Error::Io`].
pub fn accept<S: BlockingStream>(stream: S, config: Config) -> Result<WebSocket<S>, Error> {
    Incoming::read(stream, config)?.accept(Accept::new())
}

/// A request that was read but not answered yet.
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
    exchange: Exchange,
    told: Handshake,
}

impl<S: BlockingStream> Incoming<S> {
    /// Reads a request. If it is not well-formed HTTP/1.1, too big or too slow, it is answered here.
    ///
    /// ```no_run
    /// # fn serve(stream: std::net::TcpStream) -> Result<(), bowline::Error> {
    /// use bowline::blocking::Incoming;
    /// let incoming = Incoming::read(stream, bowline::Config::default())?;
    /// println!("{} asks for {}", incoming.request().host(), incoming.request().path());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub fn read(stream: S, config: Config) -> Result<Self, Error> {
        let told = Handshake::server();
        told.run(|| Self::read_request(stream, config, &told))
            .inspect_err(|error| told.failed(error))
    }

    fn read_request(mut stream: S, config: Config, told: &Handshake) -> Result<Self, Error> {
        let mut input = RecvBuf::new();
        let mut handshake = ServerHandshake::new(config.clone());
        let mut exchange = Exchange::begin(&stream)?;
        loop {
            let result = match handshake.read(&mut input) {
                Ok(Some(request)) => {
                    told.asked(&request);
                    let told = told.clone();
                    return Ok(Self { stream, input, request, handshake, config, exchange, told });
                }
                Ok(None) => handshake.on_time(now()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                if error != RequestError::Gone {
                    let _ = respond(&mut stream, &handshake, &error.response(), told);
                }
                return Err(error.into());
            }
            let deadline = handshake.deadline(now());
            exchange.read(&mut stream, &mut input, deadline)?;
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Accepts the request if it keeps to RFC 6455 §4.2.1 and the origin policy, and otherwise refuses it.
    ///
    /// ```no_run
    /// # fn serve(stream: std::net::TcpStream) -> Result<(), bowline::Error> {
    /// use bowline::{blocking::Incoming, handshake::Accept};
    /// let incoming = Incoming::read(stream, bowline::Config::default())?;
    /// let mut ws = incoming.accept(Accept::new())?;
    /// ws.send("Hello")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub fn accept(self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let told = self.told.clone();
        told.run(|| self.answer(accept)).inspect_err(|error| told.failed(error))
    }

    fn answer(mut self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let accepted = match self.request.upgrade(&self.config) {
            Ok(upgrade) => upgrade.accept(accept),
            Err(error) => {
                let _ = respond(&mut self.stream, &self.handshake, &error.response(), &self.told);
                return Err(error.into());
            }
        };
        let (connection, response) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let response = Response::new(500);
                let _ = respond(&mut self.stream, &self.handshake, &response, &self.told);
                return Err(error.into());
            }
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        self.told.answered(response.status());
        let deadline = self.handshake.deadline(now());
        match self.exchange.write(&mut self.stream, &mut out, deadline) {
            Ok(true) => {}
            Ok(false) => return Err(RequestError::TimedOut.into()),
            Err(error) if is_gone(&error) => return Err(RequestError::Gone.into()),
            Err(error) => return Err(error.into()),
        }
        self.exchange.end(&self.stream)?;
        WebSocket::from_connection(self.stream, connection, self.input)
    }

    /// Answers with something else than a WebSocket, and closes the connection so that the answer arrives.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn respond(mut self, response: &Response) -> Result<(), Error> {
        let Self { stream, handshake, told, .. } = &mut self;
        told.run(|| respond(stream, handshake, response, told))
            .inspect_err(|error| told.failed(error))
    }
}

fn respond(
    stream: &mut impl BlockingStream,
    handshake: &ServerHandshake,
    response: &Response,
    told: &Handshake,
) -> Result<(), Error> {
    told.answered(response.status());
    let mut leaving = Leaving::new(handshake.leave());
    let mut out = SendBuf::new();
    handshake.respond(response, &mut out);
    let deadline = leaving.leave.deadline(now());
    if !Exchange::begin(stream)?.write(stream, &mut out, deadline)? {
        return Err(RequestError::TimedOut.into());
    }
    leaving.leave.done();
    let _ = leaving.after_flush(stream, None);
    Ok(())
}

/// The error for a stream in non-blocking mode. Only the user sets the mode, so it is not changed here.
fn needs_blocking() -> io::Error {
    let why = "the stream would block, and has no timeout: an opening handshake needs a stream in blocking mode";
    io::Error::new(ErrorKind::WouldBlock, why)
}

/// Reads and writes of one opening handshake. The deadlines are absolute, and made of the stream's timeouts,
/// which are relative.
#[derive(Debug)]
struct Exchange {
    /// The read timeout that the user set.
    users: Option<Duration>,
    patience: Patience,
}

impl Exchange {
    fn begin(stream: &impl BlockingStream) -> io::Result<Self> {
        Ok(Self { users: stream.read_timeout()?, patience: Patience::default() })
    }

    /// Gives the stream the user's read timeout back.
    fn end(&self, stream: &impl BlockingStream) -> io::Result<()> {
        stream.set_read_timeout(self.users)
    }

    /// Sets both timeouts, because a TLS stream may read during a write, and write during a read.
    fn limit(
        &self,
        stream: &impl BlockingStream,
        deadline: Option<Duration>,
        now: Duration,
    ) -> io::Result<Option<Duration>> {
        let timeout = timeout_until(deadline, now);
        stream.set_write_timeout(timeout)?;
        let reading = timeout.or(self.users);
        stream.set_read_timeout(reading)?;
        Ok(reading)
    }

    /// Writes all, at least once; whether that was in time.
    fn write(
        &mut self,
        stream: &mut impl BlockingStream,
        out: &mut SendBuf,
        deadline: Option<Duration>,
    ) -> io::Result<bool> {
        let mut is_first = true;
        loop {
            let start = now();
            if !core::mem::take(&mut is_first) && is_reached(deadline, start) {
                return Ok(false);
            }
            let timeout = self.limit(stream, deadline, start)?;
            let result = if out.is_empty() {
                match stream.flush() {
                    Ok(()) => return Ok(true),
                    Err(error) => Err(error),
                }
            } else {
                write_slices(stream, out)
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    out.sent(n);
                    self.patience.moved();
                }
                Err(error) => self.go_on(error, start, timeout)?,
            }
        }
    }

    /// Reads once. That the deadline is reached meanwhile is no error.
    fn read(
        &mut self,
        stream: &mut impl BlockingStream,
        input: &mut RecvBuf,
        deadline: Option<Duration>,
    ) -> io::Result<()> {
        let start = now();
        let timeout = self.limit(stream, deadline, start)?;
        match stream.read(input.space()) {
            Ok(0) => input.eof(),
            Ok(n) => {
                input.filled(n);
                self.patience.moved();
            }
            // A reset and an end are the same here: the peer has left before it answered.
            Err(error) if is_gone(&error) => input.eof(),
            Err(error) => self.go_on(error, start, timeout)?,
        }
        Ok(())
    }

    /// Whether to call the stream again after an error. The caller checks the deadline before.
    fn go_on(
        &mut self,
        error: io::Error,
        start: Duration,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if error.kind() == ErrorKind::Interrupted {
            self.patience.interrupted();
            return Ok(());
        }
        if !is_timeout(&error) {
            return Err(error);
        }
        let waited = now().saturating_sub(start);
        if self.patience.does_not_wait(waited, timeout) { Err(needs_blocking()) } else { Ok(()) }
    }
}
