//! What the adapters share: their error, the clock, entropy.

pub(crate) mod byte_stream;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) mod opening;
mod outcome;
pub(crate) mod race;
pub(crate) mod reconnect;
pub(crate) mod reunite;
#[cfg(feature = "rustls")]
pub mod tls;
pub(crate) mod trace;
mod unreachable;

pub use reconnect::{Ending, Live, Nudge, Session, Stopped, Waiting};
pub use reunite::ReuniteError;
pub use unreachable::{Attempt, Unreachable};

use core::convert::Infallible;
use core::fmt;
use std::boxed::Box;
use std::io;
use std::string::ToString;
use std::sync::LazyLock;
use std::time::Instant;

use rand::TryRng;
use rand::rngs::SysRng;

#[cfg(feature = "rustls")]
use crate::adapter::tls::TlsError;
use crate::handshake::{ConnectError, InvalidRequest, Proxy, ProxyError, RequestError};
use crate::protocol::connection::Connection;
use crate::protocol::error::{End, SendError};

/// Fed bytes leave when this many wait, or earlier. A write costs some microseconds before it moves a byte:
/// messages of 1 KiB that come in batches of 128 cost twice as much with 16 KiB.
pub(crate) const FLUSH_FROM: usize = 64 << 10;

/// Parts of a message leave sooner, so that frames after them, such as Close, do not wait for many parts.
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) const FLUSH_PARTS_FROM: usize = 16 << 10;

/// Why an operation of an adapter failed. A Close from the peer is not an error, whatever its code: `recv` gives
/// `None` then. [`End::is_normal`] of the connection's `end` tells whether the code meant an error.
///
/// ```
/// use bowline::{End, Error, Timeout};
///
/// let error = Error::Ended(End::TimedOut(Timeout::Keepalive));
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "peer did not answer a ping within pong_timeout");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The socket failed, or a timeout of the socket ran out ([`io::ErrorKind::WouldBlock`] or
    /// [`io::ErrorKind::TimedOut`]). After a timeout, call again.
    ///
    /// For a client, [`unreachable`](Self::unreachable) tells whether no connection came about at all.
    Io(io::Error),
    /// The time that was given for this one call is over, as for `recv_timeout`. Nothing is lost: call again.
    TimedOut,
    /// How the connection ended. `recv` gives this if no Close came from the peer, now and on every later call.
    /// [`End::result`] gives it if the peer's Close had an error code.
    Ended(End),
    /// The message was not taken for sending. If it was owned, the error gives it back.
    Send(SendError),
    /// Server: the request opened no WebSocket. The client got an answer, unless it is gone.
    Request(RequestError),
    /// Client: the server opened no WebSocket.
    Connect(ConnectError),
    /// Client: the proxy gave no connection to the server.
    #[non_exhaustive]
    Proxy {
        /// Its URL, without credentials.
        proxy: Box<str>,
        /// Why.
        error: ProxyError,
    },
    /// Client: TLS with an `https` proxy failed, and why. TLS with the server is [`Error::Tls`].
    #[cfg(feature = "rustls")]
    #[non_exhaustive]
    ProxyTls {
        /// The proxy's URL, without credentials.
        proxy: Box<str>,
        /// Why.
        error: Box<TlsError>,
    },
    /// The URL, a header or a subprotocol cannot be sent.
    Invalid(InvalidRequest),
    /// The URL is a `wss` one, but TLS is not built in: use the feature `rustls`, or connect a TLS stream
    /// yourself and use `client`.
    TlsNotBuiltIn,
    /// TLS failed, and why.
    #[cfg(feature = "rustls")]
    Tls(TlsError),
}

impl Error {
    /// Client: whether no connection to the host, or to the proxy, came about, with each address that was tried and its
    /// error.
    pub fn unreachable(&self) -> Option<&Unreachable> {
        match self {
            Self::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn of_proxy(proxy: &Proxy, error: ProxyError) -> Self {
        Self::Proxy { proxy: proxy.to_string().into(), error }
    }

    /// What an error means if it came before the proxy had connected, when all TLS is that with the proxy.
    pub(crate) fn of_tls_with(self, proxy: &Proxy) -> Self {
        match self {
            #[cfg(feature = "rustls")]
            Self::Tls(error) => {
                Self::ProxyTls { proxy: proxy.to_string().into(), error: error.into() }
            }
            Self::Connect(ConnectError::Gone) => Self::of_proxy(proxy, ProxyError::Gone),
            other => other,
        }
    }
}

impl From<Unreachable> for Error {
    fn from(unreachable: Unreachable) -> Self {
        Self::Io(unreachable.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TimedOut => f.write_str("the time given for this call is over; call again to go on"),
            Self::Ended(end) => end.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Proxy { proxy, error } => write!(f, "{proxy}: {error}"),
            #[cfg(feature = "rustls")]
            Self::ProxyTls { proxy, error } => write!(f, "{proxy}: {error}"),
            Self::Invalid(error) => error.fmt(f),
            Self::TlsNotBuiltIn => f.write_str(
                "TLS is not built in: use the feature `rustls`, or open the WebSocket over a TLS stream",
            ),
            #[cfg(feature = "rustls")]
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    /// The source of the error in the variant. `{}` shows that error itself, and a report that shows each source
    /// would show it twice.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::Ended(error) => error.source(),
            Self::Send(error) => error.source(),
            Self::Request(error) => error.source(),
            Self::Connect(error) => error.source(),
            Self::Proxy { error, .. } => error.source(),
            #[cfg(feature = "rustls")]
            Self::ProxyTls { error, .. } => error.source(),
            Self::Invalid(error) => error.source(),
            Self::TimedOut | Self::TlsNotBuiltIn => None,
            #[cfg(feature = "rustls")]
            Self::Tls(error) => error.source(),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // A TLS stream can report its error only inside an I/O error.
        #[cfg(feature = "rustls")]
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<::rustls::Error>())
        {
            return Self::Tls(tls.clone().into());
        }
        Self::Io(error)
    }
}

#[cfg(feature = "rustls")]
impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<End> for Error {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<InvalidRequest> for Error {
    fn from(error: InvalidRequest) -> Self {
        Self::Invalid(error)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// How a closing handshake that this side began went.
///
/// ```no_run
/// # fn run(mut ws: bowline::blocking::WebSocket<std::net::TcpStream>) -> Result<(), bowline::Error> {
/// let closed = ws.close(1000, "done")?;
/// if !closed.end.is_normal() {
///     eprintln!("{}, after {} messages more", closed.end, closed.discarded);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// How the connection ended. It is clean if the peer's Close came in time. The peer may have answered with an
    /// error code: [`End::is_normal`] tells.
    pub end: End,
    /// How many messages came from the peer meanwhile, and were dropped. To receive them, use
    /// `start_close` and go on with `recv`.
    pub discarded: u64,
}

/// What `recv` gives once the connection has ended.
pub(crate) fn result_of(end: &End) -> Result<(), Error> {
    match end {
        End::Closed { .. } => Ok(()),
        end => Err(Error::Ended(end.clone())),
    }
}

/// Whether an I/O error means that the peer is gone.
pub(crate) fn is_peer_gone(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected
    )
}

/// The start of a clock that only goes forward. It does not matter when that was.
pub(crate) fn epoch() -> Instant {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    *EPOCH
}

/// 32 bytes of the operating system's entropy.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// If keepalive is on, makes its pings hard to guess. Without entropy they still find a peer that is gone.
pub(crate) fn seed_keepalive(connection: &mut Connection) {
    if connection.config().get().ping_interval.is_some()
        && let Ok(seed) = seed()
    {
        connection.seed_keepalive(seed);
    }
}
