//! How a connection ended, and whether another one may go better.

use alloc::string::String;
use core::fmt;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use ::http::StatusCode;
use bowline::Outcome;

use super::redirect::Unfollowed;
use crate::ParseError;

type Cause = Box<dyn core::error::Error + Send + Sync>;

/// How a connection of an [`EventSource`](super::EventSource) ended, or why there was none.
///
/// The first five are reasons to connect again. If one of them stops the source, its policy was used up, or the request is not
/// one to repeat. The others stop it at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// The server ended its response as HTTP has it. This is the only end after which nothing is missing, and only if it is
    /// not `unfinished`.
    ///
    /// A response of HTTP/1.0 without a length ends with its connection, so there a cut looks the same.
    Ended {
        /// It ended in the middle of an event, which was dropped.
        unfinished: bool,
    },
    /// The response broke off.
    Cut(Arc<dyn core::error::Error + Send + Sync>),
    /// Nothing came for as long as `EventSource::idle_timeout` says.
    Silent,
    /// No connection came about, or it broke before an answer. The error has each address with its own error
    /// ([`unreachable`](bowline::Error::unreachable)), what the proxy answered, or what is wrong with the certificate.
    ///
    /// Some of these stop the source at once, because the next attempt would go the same way: TLS that failed, a proxy
    /// that wants other credentials, a setting that this machine cannot do. [`bowline::Error::is_retryable`] tells.
    Unreachable(Arc<bowline::Error>),
    /// There was no answer within `EventSource::connect_timeout`.
    TimedOut,
    /// The server answered with status 204: the client shall not connect again.
    Stopped,
    /// The answer has another status than 200.
    Refused(StatusCode),
    /// The answer is no stream of events: its content type is this, or it has none.
    NotEvents(Option<String>),
    /// The answer is a redirect that was not followed.
    #[non_exhaustive]
    Redirected {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// The `Location`, as the server sent it. What is not UTF-8 in it is U+FFFD.
        location: String,
        /// Why it was not followed.
        why: Unfollowed,
    },
    /// A line or an event exceeds the limits.
    TooLong(ParseError),
}

impl End {
    pub(super) fn cut(error: hyper::Error) -> Self {
        let error: Cause = error.into();
        Self::Cut(error.into())
    }

    pub(super) fn unreachable(error: bowline::Error) -> Self {
        use bowline::handshake::ConnectError;
        match error {
            bowline::Error::Connect(ConnectError::TimedOut) => Self::TimedOut,
            error => Self::Unreachable(Arc::new(error)),
        }
    }

    /// The connection broke before an answer.
    pub(super) fn unanswered(error: hyper::Error) -> Self {
        Self::unreachable(io::Error::other(error).into())
    }

    /// What it means for the policy. `None`: the source stops, whatever the policy says.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            // 9.2.2, at the end of the body: "if res is not a network error, then reestablish the connection." The server went
            // away, which is what 1001 says of a WebSocket.
            Self::Ended { .. } => Some(Outcome::Closed(1001.into())),
            // 9.2.2: "if res is a network error, then reestablish the connection, unless the user agent knows that to be futile".
            Self::Cut(_) | Self::Silent | Self::TimedOut => Some(Outcome::Network),
            Self::Unreachable(error) => Some(error.outcome()),
            // 9.2.2: "Otherwise, if res's status is not 200, or if res's `Content-Type` is not `text/event-stream`, then fail the
            // connection."
            Self::Stopped | Self::Refused(_) | Self::NotEvents(_) | Self::TooLong(_) => None,
            // A network error by the Fetch standard. The next attempt would go the same way.
            Self::Redirected { .. } => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { unfinished: false } => f.write_str("the server ended the stream"),
            Self::Ended { unfinished: true } => f.write_str(
                "the server ended the stream in the middle of an event, which is dropped",
            ),
            Self::Cut(error) => write!(f, "the stream broke off: {error}"),
            Self::Silent => f.write_str("the server was silent for longer than idle_timeout"),
            Self::Unreachable(error) => write!(f, "the server cannot be reached: {error}"),
            Self::TimedOut => f.write_str("no answer came within connect_timeout"),
            Self::Stopped => f.write_str("the server wants no more connections: status 204"),
            Self::Refused(status) => write!(f, "the server answered with status {status}, not 200"),
            Self::NotEvents(None) => {
                f.write_str("the answer has no content type; text/event-stream was expected")
            }
            Self::NotEvents(Some(found)) => {
                write!(f, "the answer is of type {found:?}; text/event-stream was expected")
            }
            Self::Redirected { status, location, why } => {
                write!(f, "the server redirects with status {status} to {location:.200?}: {why}")
            }
            Self::TooLong(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for End {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Cut(error) => Some(&**error),
            Self::Unreachable(error) => Some(&**error),
            Self::TooLong(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a request cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The URL is not an absolute `http` or `https` URL.
    Url,
    /// The URL is an `https` one, and TLS is not built in: use the feature `rustls` with `ring` or `aws-lc-rs`, or
    /// `EventSource::over`.
    Tls,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => {
                "the URL is not an absolute http or https URL, such as http://example.com/feed"
            }
            Self::Tls => {
                "the URL is an https one and TLS is not built in: use the feature `ring`, or EventSource::over"
            }
        })
    }
}

impl core::error::Error for InvalidRequest {}
