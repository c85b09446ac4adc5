//! A host that could not be connected to: each of its addresses, and why.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::io::{self, ErrorKind};
use std::string::String;
use std::vec::Vec;

/// A host that could not be connected to, and why: [`Error::unreachable`](crate::Error::unreachable).
///
/// ```no_run
/// let error = bowline::blocking::connect("ws://chat.example/").unwrap_err();
/// if let Some(unreachable) = error.unreachable() {
///     for attempt in unreachable.attempts() {
///         println!("{}: {:?}", attempt.address, attempt.error.kind());
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Unreachable {
    host: String,
    /// Whether the host is a proxy's.
    is_proxy: bool,
    attempts: Vec<Attempt>,
    name_error: Option<io::Error>,
}

/// An address that could not be connected to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// Why. [`ErrorKind::TimedOut`] is an address that gave no answer in time.
    pub error: io::Error,
}

impl Attempt {
    pub(crate) fn new(address: SocketAddr, error: io::Error) -> Self {
        Self { address, error }
    }
}

impl Unreachable {
    pub(crate) fn new(host: &str, attempts: Vec<Attempt>) -> Self {
        Self { host: host.into(), is_proxy: false, attempts, name_error: None }
    }

    /// A name that could not be resolved.
    pub(crate) fn of_name(host: &str, error: io::Error) -> Self {
        Self { name_error: Some(error), ..Self::new(host, Vec::new()) }
    }

    pub(crate) fn at_proxy(self, is_proxy: bool) -> Self {
        Self { is_proxy, ..self }
    }

    /// The host, as the URL of the server or of the proxy has it, or the path of a Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is that of the proxy.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// The addresses that were tried, in this order, each with its own error.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Why the name of the host could not be resolved, if that is the reason, or the Unix socket not connected to.
    pub fn name_error(&self) -> Option<&io::Error> {
        self.name_error.as_ref()
    }

    /// The kind of what happened last. Addresses that gave no answer count only if no other error is there.
    fn kind(&self) -> ErrorKind {
        let mut errors = self.attempts.iter().map(|attempt| &attempt.error).chain(&self.name_error);
        let told = errors.clone().rfind(|error| error.kind() != ErrorKind::TimedOut);
        told.or_else(|| errors.next_back()).map_or(ErrorKind::NotFound, io::Error::kind)
    }
}

impl From<Unreachable> for io::Error {
    fn from(unreachable: Unreachable) -> Self {
        Self::new(unreachable.kind(), unreachable)
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, attempts, .. } = self;
        let is_address = host.parse::<IpAddr>().is_ok();
        f.write_str("cannot connect to ")?;
        if self.is_proxy {
            f.write_str("the proxy ")?;
        }
        match &attempts[..] {
            [] => write!(f, "{host}")?,
            [only] if is_address => write!(f, "{}", only.address)?,
            [only] => write!(f, "{} ({host})", only.address)?,
            _ => write!(f, "{host}")?,
        }
        match (&attempts[..], &self.name_error) {
            ([], Some(error)) => write!(f, ": {error}"),
            ([], None) => f.write_str(": the name has no address"),
            ([only], _) => write!(f, ": {}", only.error),
            (all, _) => {
                for (n, Attempt { address, error }) in all.iter().enumerate() {
                    f.write_str(if n == 0 { ": " } else { "; " })?;
                    write!(f, "{address}: {error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Unreachable {}
