//! The opening handshake over asynchronous streams.

use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::{Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind};
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::vec::Vec;

#[cfg(feature = "rustls")]
use ::{
    rustls::{ClientConfig, pki_types::ServerName},
    tokio_rustls::TlsConnector,
};
use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpStream, lookup_host};

use super::io::{Timer, now, poll_read};
use super::{MaybeTls, WebSocket};
#[cfg(feature = "rustls")]
use crate::adapter::tls;
use crate::adapter::{Error, opening, seed, share};
use crate::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, Response,
    ServerHandshake,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Opens a WebSocket at a `ws` or, with the feature `rustls`, a `wss` URL with the default [`Config`].
///
/// Dropping the future gives the attempt up.
///
/// # Errors
///
/// As [`connect_with`].
pub async fn connect(url: &str) -> Result<WebSocket<MaybeTls>, Error> {
    let (ws, _) = connect_with(&ClientRequest::new(url)?, Config::default()).await?;
    Ok(ws)
}

/// Opens a WebSocket with headers, subprotocols, origin and limits of your own. Gives the server's
/// response too: its headers, and the subprotocol that it selected.
///
/// All addresses of the host are tried; the name, the connection, TLS and the handshake together
/// take at most [`Config::handshake_timeout`]. `TCP_NODELAY` is set. Dropping the future gives the attempt up.
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal, [`Error::Io`]; for a `wss` URL `Error::Tls` with what is
/// wrong with the certificate, for example, or [`Error::TlsNotBuiltIn`] without the feature `rustls`.
pub async fn connect_with(
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<MaybeTls>, Response), Error> {
    let start = now();
    let deadline = config.get().handshake_timeout.map(|timeout| start.saturating_add(timeout));
    let secure = match within(deadline, Security::of(request)).await {
        Some(secure) => secure?,
        None => return Err(ConnectError::TimedOut.into()),
    };
    let addresses = match within(deadline, resolve(request)).await {
        Some(addresses) => addresses?,
        None => return Err(ConnectError::TimedOut.into()),
    };
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for (i, address) in addresses.iter().enumerate() {
        let until = share(deadline, now(), addresses.len() - i).map(|left| now() + left);
        match within(until, TcpStream::connect(address)).await {
            Some(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return match within(deadline, Box::pin(secure.over(stream))).await {
                    Some(stream) => Box::pin(open(stream?, request, config, start)).await,
                    None => Err(ConnectError::TimedOut.into()),
                };
            }
            Some(Err(error)) => last = opening::not_connected(*address, error),
            None => last = ErrorKind::TimedOut.into(),
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
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if request.is_secure() { Err(Error::TlsNotBuiltIn) } else { Ok(Self {}) }
    }

    async fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        Ok(MaybeTls::Plain(stream))
    }
}

#[cfg(feature = "rustls")]
impl Security {
    /// Before anything is sent: what is missing here is missing for every address.
    async fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        let config = match request.users_tls_config() {
            Some(config) => config,
            // Reads files, the first time.
            None => match ::tokio::task::spawn_blocking(tls::with_platform_roots).await {
                Ok(config) => config?,
                Err(error) => return Err(io::Error::from(error).into()),
            },
        };
        Ok(Self { tls: Some((config, tls::server_name(request)?)) })
    }

    async fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let connector = TlsConnector::from(config);
        let stream = connector.with_alpn(tls::alpn()).connect(name, stream).await;
        let stream = stream.map_err(|error| opening::write_failed(error, ConnectError::Gone))?;
        Ok(MaybeTls::Tls(Box::new(stream)))
    }
}

async fn resolve(request: &ClientRequest) -> io::Result<Vec<SocketAddr>> {
    match request.host().parse::<IpAddr>() {
        Ok(address) => Ok([(address, request.port()).into()].into()),
        Err(_) => Ok(lookup_host((request.host(), request.port())).await?.collect()),
    }
}

/// When a handshake that begins now must be over.
#[cfg(feature = "hyper")]
pub(crate) fn handshake_deadline(config: &Config) -> Option<Duration> {
    Some(now().saturating_add(config.get().handshake_timeout?))
}

/// When a client that was refused waits for the body no longer: the status has decided.
#[cfg(feature = "hyper")]
pub(crate) fn body_deadline(whole: Option<Duration>) -> Option<Duration> {
    let grace = now().saturating_add(crate::handshake::BODY_GRACE);
    whole.into_iter().chain([grace]).min()
}

/// `None` if the deadline comes first.
pub(crate) async fn within<F: Future>(deadline: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = Timer::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll(cx, deadline).map(|()| None),
    })
    .await
}

/// Opens a WebSocket over a stream that is connected already: a Unix socket, a proxy's tunnel, TLS.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// As [`connect_with`].
pub async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &ClientRequest,
    config: Config,
) -> Result<(WebSocket<S>, Response), Error> {
    Box::pin(open(stream, request, config, now())).await
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &ClientRequest,
    config: Config,
    start: Duration,
) -> Result<(WebSocket<S>, Response), Error> {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut handshake = ClientHandshake::new(request, config, seed()?, &mut out);
    let deadline = handshake.deadline(start);
    match within(deadline, write_all(&mut stream, &mut out)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(opening::write_failed(error, ConnectError::Gone)),
        None => return Err(ConnectError::TimedOut.into()),
    }
    loop {
        if let Some((connection, response)) = handshake.read(&mut input)? {
            return Ok((WebSocket::from_connection(stream, connection, input), response));
        }
        handshake.on_time(now())?;
        // That the deadline comes first is for `on_time` to tell. It is nearer once a refusal has come.
        let deadline = handshake.deadline(now());
        read_in_time(deadline, &mut stream, &mut input).await?;
    }
}

/// Reads once, unless the deadline comes first. A reset ends the input as an EOF does.
async fn read_in_time(
    deadline: Option<Duration>,
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut RecvBuf,
) -> Result<(), Error> {
    match within(deadline, read(stream, input)).await {
        Some(Err(error)) => opening::read_failed(error, input),
        _ => Ok(()),
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut RecvBuf) -> io::Result<()> {
    poll_fn(|cx| {
        let result = poll_read(stream, cx, input);
        if result.is_pending() {
            input.release();
        }
        result
    })
    .await
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), out: &mut SendBuf) -> io::Result<()> {
    let mut stream = pin!(stream);
    poll_fn(|cx| {
        while !out.is_empty() {
            match ready!(stream.as_mut().poll_write(cx, out.pending()))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => out.sent(n),
            }
        }
        stream.as_mut().poll_flush(cx)
    })
    .await
}

/// Accepts a client that asks for a WebSocket, whatever the path; refuses, with the right HTTP
/// status, what is no valid request or comes from a foreign origin. For more, see [`Incoming`].
///
/// On TCP, set `TCP_NODELAY` before. Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Request`] if there was no such request; the client has been told then. [`Error::Io`].
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Config,
) -> Result<WebSocket<S>, Error> {
    Incoming::read(stream, config).await?.accept(Accept::new()).await
}

/// A request that was read and not answered yet.
///
/// ```no_run
/// use bowline::handshake::{Accept, Response};
/// use bowline::tokio::Incoming;
/// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), bowline::Error> {
/// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
/// if !incoming.request().is_upgrade() {
///     return incoming.respond(&Response::new(200).body("not a WebSocket, but hello")).await;
/// }
/// let protocol = incoming.request().select_subprotocol(&["chat.v2", "chat"]).map(String::from);
/// let mut ws = incoming.accept(Accept::new().subprotocol(protocol.as_deref())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<S>(Box<Arrived<S>>);

#[derive(Debug)]
struct Arrived<S> {
    stream: S,
    input: RecvBuf,
    request: Request,
    handshake: ServerHandshake,
    config: Config,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Reads a request. What is no well-formed HTTP/1.1, or too big, or too slow, is answered here.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`], [`Error::Io`].
    pub fn read(stream: S, config: Config) -> impl Future<Output = Result<Self, Error>> {
        // In an allocation of its own, or the task would keep room for it as long as it runs.
        Box::pin(Self::try_read(stream, config))
    }

    async fn try_read(mut stream: S, config: Config) -> Result<Self, Error> {
        let mut input = RecvBuf::new();
        let mut handshake = ServerHandshake::new(config.clone());
        let deadline = handshake.deadline(now());
        loop {
            let result = match handshake.read(&mut input) {
                Ok(Some(request)) => {
                    let arrived = Arrived { stream, input, request, handshake, config };
                    return Ok(Self(Box::new(arrived)));
                }
                Ok(None) => handshake.on_time(now()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                if error != RequestError::Gone {
                    // That the client cannot be told does not change what it did.
                    let response = error.response();
                    let _ = Box::pin(respond(&mut stream, &handshake, &response)).await;
                }
                return Err(error.into());
            }
            read_in_time(deadline, &mut stream, &mut input).await?;
        }
    }

    /// The request: path, headers, cookies, origin, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Accepts it, if it keeps to RFC 6455 §4.2.1 and the origin policy; else refuses it.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Error::Invalid`] if `accept` cannot be sent (the
    /// client gets status 500 then), [`Error::Io`].
    pub fn accept(self, accept: Accept) -> impl Future<Output = Result<WebSocket<S>, Error>> {
        // As in `read`.
        Box::pin(self.try_accept(accept))
    }

    async fn try_accept(self, accept: Accept) -> Result<WebSocket<S>, Error> {
        let accepted = match self.0.request.upgrade(&self.0.config) {
            Ok(upgrade) => upgrade.accept(accept),
            Err(error) => {
                let _ = self.respond(&error.response()).await;
                return Err(error.into());
            }
        };
        let (connection, response) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = self.respond(&Response::new(500)).await;
                return Err(error.into());
            }
        };
        let mut out = SendBuf::new();
        response.encode(&mut out);
        let Arrived { mut stream, input, mut handshake, .. } = *self.0;
        let deadline = handshake.deadline(now());
        match within(deadline, write_all(&mut stream, &mut out)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(opening::write_failed(error, RequestError::Gone)),
            None => return Err(RequestError::TimedOut.into()),
        }
        Ok(WebSocket::from_connection(stream, connection, input))
    }

    /// Answers with something else than a WebSocket, and closes the connection, in a way that lets
    /// the answer arrive.
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub async fn respond(mut self, response: &Response) -> Result<(), Error> {
        let Arrived { stream, handshake, .. } = &mut *self.0;
        Box::pin(respond(stream, handshake, response)).await
    }
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    handshake: &ServerHandshake,
    response: &Response,
) -> Result<(), Error> {
    let mut linger = handshake.linger();
    let deadline = linger.deadline(now());
    let leave = async {
        let mut out = SendBuf::new();
        handshake.respond(response, &mut out);
        write_all(stream, &mut out).await?;
        poll_fn(|cx| pin!(&mut *stream).poll_shutdown(cx)).await?;
        let mut input = RecvBuf::new();
        while !linger.is_done() {
            read(stream, &mut input).await?;
            linger.discard(input.discard());
        }
        Ok(())
    };
    // The client has had its time, whether or not it read the answer.
    within(deadline, leave).await.unwrap_or(Ok(()))
}
