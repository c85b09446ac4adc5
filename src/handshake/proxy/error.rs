//! Why a proxy gave no connection.

use alloc::boxed::Box;
use core::fmt;

use crate::handshake::head::HeadError;
use crate::handshake::refusal;
use crate::handshake::response::Response;
use crate::protocol::reconnect::Outcome;

/// Why a proxy gave no connection to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// An HTTP proxy wants credentials, or others than it got: status 407 (RFC 9110 §15.5.8). See
    /// [`challenges`](Self::challenges).
    Unauthorized(Box<Response>),
    /// An HTTP proxy answered CONNECT with this status, which is neither 2xx nor 407.
    Refused(Box<Response>),
    /// A SOCKS 5 proxy takes none of the ways of authentication that were offered, or selects another one (RFC 1928
    /// §3). Without credentials in
    /// the proxy's URL, it wants some.
    NoMethod,
    /// A SOCKS 5 proxy did not take the credentials (RFC 1929 §2).
    BadCredentials,
    /// A SOCKS proxy could not connect, and why.
    Socks(SocksReply),
    /// The answer is not that of a proxy of this kind.
    Malformed,
    /// The head of the answer is larger than [`Config::max_head_size`](crate::Config::max_head_size) or
    /// [`Config::max_headers`](crate::Config::max_headers) allow.
    HeadTooBig,
    /// More than eight interim responses.
    TooManyInterim,
    /// The server sent bytes before it was asked for anything, and the program wants the stream back without them: see
    /// `tunnel` of the adapters.
    EarlyBytes,
    /// The proxy closed the connection before its answer was complete.
    Gone,
    /// The answer was not complete in the time that the attempt may take.
    TimedOut,
}

impl ProxyError {
    /// The challenges of a proxy that wants credentials: the values of `Proxy-Authenticate`, such as
    /// `Basic realm="office"` (RFC 9110 §11.7.1). One value may list several.
    pub fn challenges(&self) -> impl Iterator<Item = &[u8]> {
        let response = match self {
            Self::Unauthorized(response) => Some(response),
            _ => None,
        };
        response.into_iter().flat_map(|response| response.headers().all("Proxy-Authenticate"))
    }

    /// Whether the proxy took the request and could not reach the server. Another address of it may be reached.
    pub fn is_about_target(&self) -> bool {
        match self {
            Self::Socks(reply) => !matches!(reply, SocksReply::Ident(_)),
            // RFC 9110 §15.6.3 to §15.6.5: these are about the server behind the proxy.
            Self::Refused(response) => matches!(response.status(), 502..=504),
            _ => false,
        }
    }
}

impl ProxyError {
    /// What the error means for a client that might connect again.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unauthorized(response) | Self::Refused(response) => {
                Outcome::Status(response.status())
            }
            Self::Socks(reply) => reply.outcome(),
            Self::Gone | Self::TimedOut => Outcome::Network,
            Self::NoMethod | Self::BadCredentials => Outcome::Proxy,
            Self::Malformed | Self::HeadTooBig | Self::TooManyInterim | Self::EarlyBytes => {
                Outcome::Violation
            }
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized(_) => {
                f.write_str("the proxy wants credentials (status 407)")?;
                for (n, challenge) in self.challenges().enumerate() {
                    f.write_str(if n == 0 { ": " } else { ", " })?;
                    refusal::show(core::str::from_utf8(challenge).unwrap_or("(not UTF-8)"), f)?;
                }
                Ok(())
            }
            Self::Refused(response) => refusal::describe("the proxy", response, f),
            Self::NoMethod => f.write_str(
                "the proxy takes none of the ways of authentication that were offered: \
                 it may want credentials in its URL",
            ),
            Self::BadCredentials => f.write_str("the proxy did not take the credentials"),
            Self::Socks(reply) => reply.fmt(f),
            Self::Malformed => {
                f.write_str("the proxy's answer is not one of its kind: check its scheme and port")
            }
            Self::HeadTooBig => {
                f.write_str("the proxy's head exceeds max_head_size or max_headers")
            }
            Self::TooManyInterim => f.write_str("the proxy sent more than 8 interim responses"),
            Self::EarlyBytes => f.write_str(
                "the server behind the proxy sent bytes before it was asked for anything",
            ),
            Self::Gone => {
                f.write_str("the proxy closed the connection before its answer was complete")
            }
            Self::TimedOut => f.write_str("the proxy did not answer within handshake_timeout"),
        }
    }
}

impl core::error::Error for ProxyError {}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed | HeadError::Version => Self::Malformed,
            HeadError::FirstLineTooLong | HeadError::TooBig => Self::HeadTooBig,
        }
    }
}

/// Why a SOCKS proxy could not connect: the REP of RFC 1928 §6, or the code of SOCKS 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksReply {
    /// 1: general failure. SOCKS 4 has only this one (91), for all that has no code of its own.
    Failure,
    /// 2: the proxy's rules do not allow the connection.
    NotAllowed,
    /// 3.
    NetworkUnreachable,
    /// 4: this is also the answer for a name that has no address.
    HostUnreachable,
    /// 5.
    ConnectionRefused,
    /// 6.
    TtlExpired,
    /// 7: the proxy does not connect.
    CommandNotSupported,
    /// 8: the proxy does not know names, or addresses of this family.
    AddressNotSupported,
    /// SOCKS 4 asks the client's identd who the user is. 92: the proxy did not reach it; 93: it names another user.
    Ident(u8),
    /// Any other code.
    Other(u8),
}

impl SocksReply {
    fn outcome(self) -> Outcome {
        match self {
            // SOCKS 4 has only `Failure`, and `Other` may be anything.
            Self::Failure
            | Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::ConnectionRefused
            | Self::TtlExpired
            | Self::Other(_) => Outcome::Network,
            Self::NotAllowed
            | Self::CommandNotSupported
            | Self::AddressNotSupported
            | Self::Ident(_) => Outcome::Proxy,
        }
    }

    /// From the REP of a reply that is not 0.
    pub(super) fn of_socks5(code: u8) -> Self {
        match code {
            1 => Self::Failure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressNotSupported,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proxy could not connect: ")?;
        f.write_str(match self {
            Self::Failure => "general failure",
            Self::NotAllowed => "not allowed by its rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable or unknown",
            Self::ConnectionRefused => "connection refused",
            Self::TtlExpired => "TTL expired",
            Self::CommandNotSupported => "command not supported",
            Self::AddressNotSupported => "address type not supported",
            Self::Ident(code) => {
                return write!(f, "no answer of identd for the user (code {code})");
            }
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}
