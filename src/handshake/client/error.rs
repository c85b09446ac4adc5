//! Why a client got no WebSocket.

use alloc::boxed::Box;
use core::fmt;

use super::redirect::Redirected;
use crate::handshake::head::HeadError;
use crate::handshake::refusal;
use crate::handshake::response::Response;
use crate::protocol::reconnect::Outcome;

/// Why a client got no WebSocket from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server answered with this response. Its status is not 101 (over HTTP/2, not 2xx).
    Refused(Box<Response>),
    /// The server answered with a redirect that was not followed, and why. By default none is: see
    /// [`ClientRequest::redirects`](super::ClientRequest::redirects).
    Redirected(Box<Redirected>),
    /// The answer is not valid HTTP/1.1 (RFC 9112), or not valid HTTP/2 (RFC 9113), which has no status 101.
    Malformed,
    /// The head is larger than [`Config::max_head_size`](crate::Config::max_head_size) or
    /// [`Config::max_headers`](crate::Config::max_headers) allow.
    HeadTooBig,
    /// More than eight interim responses.
    TooManyInterim,
    /// The handshake was not complete within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout), or the request's own
    /// [`timeout`](super::ClientRequest::timeout).
    TimedOut,
    /// The server closed the connection before its response was complete.
    Gone,
    /// `Upgrade` is not `websocket`, or `Connection` does not list `Upgrade` (RFC 6455 §4.1).
    NotUpgraded,
    /// `Sec-WebSocket-Accept` is not the one that the key calls for (RFC 6455 §4.1).
    WrongAccept,
    /// The server uses an extension that was not offered, or not as it was offered (RFC 6455 §4.1,
    /// RFC 7692 §7).
    Extension,
    /// The server selected a subprotocol that was not offered, or several (RFC 6455 §4.1).
    Subprotocol,
    /// The response that opens the connection claims to have a body (RFC 9112 §6).
    Body,
    /// The HTTP/2 server did not say that it knows extended CONNECT, so no request was sent
    /// (RFC 8441 §3).
    NotEnabled,
}

impl ConnectError {
    /// What the error means for a client that might connect again.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(response) => Outcome::Status(response.status()),
            Self::Redirected(redirected) => Outcome::Status(redirected.status()),
            Self::TimedOut | Self::Gone => Outcome::Network,
            Self::Malformed
            | Self::HeadTooBig
            | Self::TooManyInterim
            | Self::NotUpgraded
            | Self::WrongAccept
            | Self::Extension
            | Self::Subprotocol
            | Self::Body
            | Self::NotEnabled => Outcome::Violation,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(response) => return refusal::describe("server", response, f),
            Self::Redirected(redirected) => return redirected.fmt(f),
            Self::Malformed => {
                "the server's answer is not HTTP/1.1: if the port speaks TLS, use wss:// in the URL"
            }
            Self::HeadTooBig => "response head exceeds max_head_size or max_headers",
            Self::TooManyInterim => "server sent more than 8 interim responses",
            Self::TimedOut => "opening handshake not complete within handshake_timeout",
            Self::Gone => "server closed the connection before its response was complete",
            Self::NotUpgraded => "server did not upgrade to WebSocket",
            Self::WrongAccept => "Sec-WebSocket-Accept does not match the key",
            Self::Extension => "server uses an extension that was not offered, or not as offered",
            Self::Subprotocol => "server selected a subprotocol that was not offered",
            Self::Body => "server's 101 response claims to have a body",
            Self::NotEnabled => "server did not enable extended CONNECT on this HTTP/2 connection",
        })
    }
}

impl core::error::Error for ConnectError {}

impl From<HeadError> for ConnectError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed | HeadError::Version => Self::Malformed,
            HeadError::FirstLineTooLong | HeadError::TooBig => Self::HeadTooBig,
        }
    }
}
