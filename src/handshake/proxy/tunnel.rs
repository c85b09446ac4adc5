//! A connection through a proxy, before it is there.

use core::fmt;
use core::time::Duration;

use super::connect::HttpConnect;
use super::socks::Socks;
use super::{Proxy, ProxyError, ProxyScheme};
use crate::handshake::InvalidRequest;
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Asks a proxy for a connection to a server: CONNECT (RFC 9110 §9.3.6) or SOCKS. It does no I/O.
///
/// `connect_with` of the tokio and the blocking adapter does this by itself. Here it is done by hand, as on a stream of
/// another runtime:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::{Read, Write};
///
/// use bowline::handshake::{ClientRequest, Proxy, Tunnel};
/// use bowline::{Config, RecvBuf, SendBuf, blocking};
///
/// let proxy = Proxy::new("socks5h://127.0.0.1:1080")?;
/// let request = ClientRequest::new("ws://example.com/chat")?;
/// let mut socket = std::net::TcpStream::connect((proxy.host(), proxy.port()))?;
/// let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
/// let config = Config::default();
/// let mut tunnel = Tunnel::new(&proxy, request.host(), request.port(), config.clone(), &mut out)?;
/// while !tunnel.read(&mut input, &mut out)? {
///     socket.write_all(out.pending())?;
///     out.sent(out.len());
///     match socket.read(input.space())? {
///         0 => input.eof(),
///         n => input.filled(n),
///     }
/// }
/// // A server sends nothing before it is asked, so `input` is empty here. If it is not, these are its first bytes.
/// let (mut ws, _) = blocking::client(socket, &request, config)?;
/// ws.send("Hello")?;
/// # Ok(())
/// # }
/// ```
pub struct Tunnel {
    machine: Machine,
    timeout: Option<Duration>,
    since: Option<Duration>,
    failed: Option<ProxyError>,
}

enum Machine {
    Http(HttpConnect),
    Socks(Socks),
}

impl Tunnel {
    /// Queues the first message to the proxy. `host` is a name or an IP address without brackets.
    ///
    /// [`ProxyScheme::Socks5`] wants an address: resolve the name before. A name is sent as it is.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Proxy`] if the host cannot be sent: SOCKS takes at most 255 bytes.
    pub fn new(
        proxy: &Proxy,
        host: &str,
        port: u16,
        config: Config,
        out: &mut SendBuf,
    ) -> Result<Self, InvalidRequest> {
        let timeout = config.get().handshake_timeout;
        let machine = match proxy.scheme() {
            ProxyScheme::Http | ProxyScheme::Https => {
                Machine::Http(HttpConnect::start(proxy, host, port, config, out))
            }
            _ => Machine::Socks(Socks::start(proxy, host, port, out)?),
        };
        Ok(Self { machine, timeout, since: None, failed: None })
    }

    /// Takes what the proxy has sent, and queues what follows. `true`: the tunnel is open, and the rest of `input` are
    /// the first bytes of the server. `false`: write what is queued, and read more.
    ///
    /// # Errors
    ///
    /// Why there is no tunnel. Every later call gives the same error. Close the socket then.
    pub fn read(&mut self, input: &mut RecvBuf, out: &mut SendBuf) -> Result<bool, ProxyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let opened = match &mut self.machine {
            Machine::Http(http) => http.read(input),
            Machine::Socks(socks) => socks.read(input, out),
        };
        let result = match opened {
            Ok(false) if input.is_eof() => Err(ProxyError::Gone),
            other => other,
        };
        result.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// When the tunnel must be open. The first call starts the time, which is
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout). Ask again before each read: the body of a
    /// refusal has one second.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let whole = self.timeout.map(|timeout| since.saturating_add(timeout));
        let body = match &mut self.machine {
            Machine::Http(http) => http.deadline(now),
            Machine::Socks(_) => None,
        };
        whole.into_iter().chain(body).min()
    }

    /// Whether the [`deadline`](Self::deadline) is reached.
    ///
    /// # Errors
    ///
    /// [`ProxyError::TimedOut`] if it is, or the refusal with as much of its body as has come. If
    /// [`read`](Self::read) failed before, the same error.
    pub fn on_time(&mut self, now: Duration) -> Result<(), ProxyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.deadline(now).is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        let error = match &mut self.machine {
            Machine::Http(http) => http.refused(),
            Machine::Socks(_) => ProxyError::TimedOut,
        };
        self.failed = Some(error.clone());
        Err(error)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what is sent, which has credentials.
        let kind = match &self.machine {
            Machine::Http(_) => "http",
            Machine::Socks(_) => "socks",
        };
        f.debug_struct("Tunnel").field("kind", &kind).finish_non_exhaustive()
    }
}
