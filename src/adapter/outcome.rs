//! What an error means for a client that might connect again. The table itself is in the core: `Outcome::then`.

use core::time::Duration;
use std::io;

use super::{Error, Unreachable};
use crate::handshake::{ConnectError, ProxyError};
use crate::protocol::reconnect::Outcome;

impl Error {
    /// What the error means for a client that might connect again.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Io(error) => outcome_of_io(error),
            Self::Ended(end) => end.outcome(),
            Self::Connect(error) => error.outcome(),
            Self::Proxy { error, .. } => error.outcome(),
            #[cfg(feature = "rustls")]
            Self::ProxyTls { .. } | Self::Tls(_) => Outcome::Tls,
            Self::Invalid(_) | Self::TlsNotBuiltIn => Outcome::Invalid,
            // These leave the connection as it is, or are a server's.
            Self::TimedOut | Self::Send(_) | Self::Request(_) => Outcome::Local,
        }
    }

    /// Client: whether connecting again may go better. The table is that of [`Outcome::then`]. What does not end the
    /// connection ([`Error::TimedOut`], [`Error::Send`]) and the errors of a server are not retryable.
    ///
    /// A name that could not be resolved is retryable, because resolvers do not say reliably whether it will stay so.
    ///
    /// ```
    /// use bowline::Error;
    /// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// assert!(Error::from(refused).is_retryable());
    /// assert!(!Error::TlsNotBuiltIn.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut | Self::Send(_) | Self::Request(_) => false,
            other => other.outcome().is_retryable(),
        }
    }

    /// Client: how long the server, or the proxy, asks to wait before the next attempt, if it does. `unix_now` is the
    /// time since 1970: see [`Response::retry_after`](crate::handshake::Response::retry_after).
    pub fn retry_after(&self, unix_now: Duration) -> Option<Duration> {
        match self {
            Self::Connect(ConnectError::Refused(response))
            | Self::Proxy {
                error: ProxyError::Refused(response) | ProxyError::Unauthorized(response),
                ..
            } => response.retry_after(unix_now),
            _ => None,
        }
    }
}

/// What an I/O error means for a client that might connect again. Most kinds tell of the network; a few say that the
/// program asked for what this machine does not do.
fn outcome_of_io(error: &io::Error) -> Outcome {
    use io::ErrorKind::*;
    let is_own = |error: &io::Error| {
        matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied | OutOfMemory)
    };
    let unreachable = error.get_ref().and_then(|inner| inner.downcast_ref::<Unreachable>());
    let is_own = match unreachable.map(Unreachable::attempts) {
        // Another address may answer, if one failed for a reason that passes.
        Some(attempts @ [_, ..]) => attempts.iter().all(|attempt| is_own(&attempt.error)),
        _ => is_own(error),
    };
    if is_own { Outcome::Invalid } else { Outcome::Network }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::vec::Vec;

    use super::*;
    use crate::adapter::Attempt;

    fn unreachable(kinds: &[ErrorKind]) -> Error {
        let address = "192.0.2.1:80".parse().unwrap();
        let attempts: Vec<_> =
            kinds.iter().map(|&kind| Attempt::new(address, kind.into())).collect();
        Unreachable::new("example.com", attempts).into()
    }

    #[test]
    fn a_host_is_tried_again_if_one_of_its_addresses_may_answer_later() {
        assert!(unreachable(&[ErrorKind::ConnectionRefused]).is_retryable());
        assert!(unreachable(&[ErrorKind::Unsupported, ErrorKind::TimedOut]).is_retryable());
        assert!(unreachable(&[ErrorKind::TimedOut, ErrorKind::Unsupported]).is_retryable());
        assert!(!unreachable(&[ErrorKind::Unsupported, ErrorKind::InvalidInput]).is_retryable());
        assert_eq!(unreachable(&[ErrorKind::Unsupported]).outcome(), Outcome::Invalid);
    }

    #[test]
    fn a_name_is_looked_up_again() {
        assert!(unreachable(&[]).is_retryable());
        for kind in [ErrorKind::Other, ErrorKind::TimedOut, ErrorKind::NotFound] {
            assert!(Error::from(Unreachable::of_name("example.com", kind.into())).is_retryable());
        }
        let unsupported = Unreachable::of_name("/run/chat.sock", ErrorKind::Unsupported.into());
        assert!(!Error::from(unsupported).is_retryable());
    }
}
