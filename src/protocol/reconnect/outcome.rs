//! What became of an attempt or a session, and whether another attempt may go better. This file has the only table of that.

use core::fmt;

use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Initiator};

/// What became of an attempt to connect, or of a session that was open.
///
/// [`then`](Self::then) is the table of what is worth another attempt:
///
/// ```
/// use bowline::{Outcome, Then};
/// assert_eq!(Outcome::Network.then(), Then::BackOff);
/// assert_eq!(Outcome::Status(503).then(), Then::BackOff);
/// assert_eq!(Outcome::Status(401).then(), Then::Stop);
/// assert_eq!(Outcome::Closed(1001.into()).then(), Then::BackOff);
/// assert_eq!(Outcome::Closed(1008.into()).then(), Then::Stop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing answered, or the connection broke: a name that could not be resolved, an address that refused or was
    /// silent, a reset, a peer that was too slow.
    Network,
    /// The server, or the proxy, answered with this HTTP status in place of a WebSocket.
    Status(u16),
    /// The peer sent Close with this code. Without a code it is [`CloseCode::NO_STATUS`].
    Closed(CloseCode),
    /// This side closed the session, or dropped it. It did not break by itself.
    Local,
    /// What the peer sent exceeded the memory that this side has for it (`Config::memory_budget`).
    OverBudget,
    /// One side broke a rule of HTTP, of SOCKS or of WebSocket, or the server sent more than this side's
    /// `Config::rate_limit`. It would do so again.
    Violation,
    /// TLS failed, for example because of the certificate.
    Tls,
    /// A proxy refused for a reason that lasts, such as its rules or the credentials.
    Proxy,
    /// The request cannot be sent at all.
    Invalid,
}

/// What a client does after an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It does not connect again.
    Stop,
    /// It connects again after a wait that grows.
    BackOff,
    /// It connects again without a wait, unless the session was shorter than
    /// [`Reconnect::min_uptime`](super::Reconnect::min_uptime). Then it backs off.
    AtOnce,
}

impl Outcome {
    /// What a client does if the program has no wish of its own. It is [`Then::Stop`] or [`Then::BackOff`].
    ///
    /// - *Statuses* back off if they tell of a passing state: 408, 425, 429, and all from 500 to 599 but 501 and 505. A
    ///   status that nobody knows counts as the first of its hundred (RFC 9110 §15). A redirect that was not followed
    ///   stops.
    /// - *Close codes* back off if the server went away or failed: 1001, 1005, 1006, 1011 to 1014. Code 1000 stops: the
    ///   purpose of the session is fulfilled. So do 3000 to 4999, whose meaning only the program knows.
    /// - *All else* backs off if it was the network, this side's own Close, or memory.
    pub fn then(self) -> Then {
        let may_pass = match self {
            Self::Network | Self::Local | Self::OverBudget => true,
            // RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4: wait too long, too early, too many requests.
            Self::Status(408 | 425 | 429) => true,
            // RFC 9110 §15.6.2, §15.6.6: the server does not know the method or the version. It will not learn them soon.
            Self::Status(501 | 505) => false,
            // RFC 9110 §15: "a client MUST understand the class of any status code, as indicated by the first digit, and
            // treat an unrecognized status code as being equivalent to the x00 status code of that class".
            Self::Status(500..=599) => true,
            Self::Status(_) => false,
            Self::Closed(code) => matches!(code.get(), 1001 | 1005 | 1006 | 1011..=1014),
            Self::Violation | Self::Tls | Self::Proxy | Self::Invalid => false,
        };
        if may_pass { Then::BackOff } else { Then::Stop }
    }

    /// Whether another attempt may go better: [`then`](Self::then) is not [`Then::Stop`].
    pub fn is_retryable(self) -> bool {
        self.then() != Then::Stop
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("the network failed"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Closed(code) => write!(f, "close code {code}"),
            Self::Local => f.write_str("this side ended the session"),
            Self::OverBudget => f.write_str("the memory_budget was used up"),
            Self::Violation => f.write_str("a rule of the protocol was broken"),
            Self::Tls => f.write_str("TLS failed"),
            Self::Proxy => f.write_str("the proxy refused"),
            Self::Invalid => f.write_str("the request cannot be sent"),
        }
    }
}

impl End {
    /// What the end means for a client that might connect again.
    pub fn outcome(&self) -> Outcome {
        match self {
            // The peer echoes our code, so its Close says nothing of its own.
            Self::Closed { initiator: Initiator::Local, .. } | Self::Unconfirmed => Outcome::Local,
            Self::Closed { .. } => Outcome::Closed(self.code()),
            Self::PeerGone(_) | Self::TimedOut(_) => Outcome::Network,
            Self::Failed(_) | Self::RateLimited => Outcome::Violation,
            Self::OverBudget => Outcome::OverBudget,
        }
    }

    /// Whether connecting again may go better. [`Outcome::then`] has the table.
    ///
    /// ```
    /// use bowline::{End, Timeout};
    /// assert!(End::TimedOut(Timeout::Keepalive).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        self.outcome().is_retryable()
    }
}
