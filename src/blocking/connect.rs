//! Connects a client from its URL: the name, the connection, TLS.

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

use super::opening::open;
use super::patience::now;
#[cfg(feature = "rustls")]
use super::tls::TlsStream;
use super::{MaybeTls, WebSocket};
#[cfg(feature = "rustls")]
use crate::adapter::tls;
use crate::adapter::{Error, opening, share};
use crate::handshake::{ClientRequest, ConnectError, Response};
use crate::protocol::config::Config;

/// Opens a WebSocket at a `ws` or, with the feature `rustls`, a `wss` URL with the default [`Config`].
///
/// ```no_run
/// let mut ws = bowline::blocking::connect("ws://127.0.0.1:9001/")?;
/// ws.send("Hello")?;
/// println!("{:?}", ws.recv()?);
/// ws.close(1000, "")?;
/// # Ok::<(), bowline::Error>(())
/// ```
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
/// ```no_run
/// use bowline::handshake::ClientRequest;
/// use bowline::{Config, blocking};
///
/// let request = ClientRequest::new("ws://127.0.0.1:9001/chat")?.subprotocol("chat.v2")?;
/// let config = Config::default().max_message_size(64 << 20);
/// let (mut ws, response) = blocking::connect_with(&request, config)?;
/// println!("{}", response.status());
/// ws.send("Hello")?;
/// # Ok::<(), bowline::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Connect`] with the server's refusal. [`Error::Io`], which names the address that could not be
/// connected to. For a `wss` URL, `Error::Tls` with what is wrong with the certificate, for example, or
/// [`Error::TlsNotBuiltIn`] without the feature `rustls`.
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
            Err(error) => last = opening::not_connected(request.host(), *address, &error),
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
    /// This is done before anything is sent: an error here would be the same for every address.
    fn of(request: &ClientRequest) -> Result<Self, Error> {
        if !request.is_secure() {
            return Ok(Self { tls: None });
        }
        let config = match request.own_tls_config().cloned() {
            Some(config) => config,
            None => tls::with_platform_roots()?,
        };
        Ok(Self { tls: Some((config, tls::server_name(request)?)) })
    }

    /// The first writes and reads do the TLS handshake.
    fn over(self, stream: TcpStream) -> Result<MaybeTls, Error> {
        let Some((config, name)) = self.tls else {
            return Ok(MaybeTls::Plain(stream));
        };
        let connection = ClientConnection::new_with_alpn(config, name, tls::alpn())
            .map_err(tls::TlsError::from)?;
        Ok(MaybeTls::Tls(TlsStream::new(connection, stream)))
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
