//! Errors, with the names and the texts that programs match on.

use std::{io, result, str, string};

use bowline::{End, Rule};
use http::header::HeaderName;
use thiserror::Error;

use crate::Message;
use crate::protocol::frame::coding::{Data, OpCode};

/// The result of most calls.
pub type Result<T, E = Error> = result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// Both sides have sent Close, and this side may drop the stream. It is no fault.
    #[error("the connection was closed by a closing handshake")]
    ConnectionClosed,
    /// A call after [`ConnectionClosed`](Self::ConnectionClosed), or after another end.
    #[error("the connection has ended before")]
    AlreadyClosed,
    /// The stream failed, or would block.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A limit was exceeded.
    #[error("a limit was exceeded: {0}")]
    Capacity(#[from] CapacityError),
    /// The peer broke a rule of the protocol, or this side asked for something that would.
    #[error("WebSocket protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The message does not fit the write buffer. Here it is back.
    #[error("max_write_buffer_size has no room for the message")]
    WriteBufferFull(Box<Message>),
    /// Bytes that are not UTF-8, where a text has to be.
    #[error("not UTF-8: {0}")]
    Utf8(String),
    /// The head of the handshake is too big.
    #[error("the head of the handshake is too big")]
    AttackAttempt,
    /// The URL cannot be used.
    #[error("invalid URL: {0}")]
    Url(#[from] UrlError),
    /// The server answered with another status than 101, or the callback refused the request.
    #[error("HTTP status {}", .0.status())]
    Http(Box<http::Response<Option<Vec<u8>>>>),
    /// A part of a request or response that HTTP cannot have.
    #[error("not valid in HTTP: {0}")]
    HttpFormat(#[from] http::Error),
}

/// Gives `From` for errors that are kept as their text, or as an error of the `http` crate.
macro_rules! from {
    ($variant:ident: $($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                from!(@ $variant error)
            }
        }
    )*};
    (@ Utf8 $error:ident) => { Self::Utf8($error.to_string()) };
    (@ HttpFormat $error:ident) => { Self::HttpFormat($error.into()) };
}

from!(Utf8: str::Utf8Error, string::FromUtf8Error, http::header::ToStrError);
from!(HttpFormat: http::header::InvalidHeaderValue, http::header::InvalidHeaderName, http::uri::InvalidUri,
    http::status::InvalidStatusCode);

impl From<httparse::Error> for Error {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => CapacityError::TooManyHeaders.into(),
            error => ProtocolError::HttparseError(error).into(),
        }
    }
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CapacityError {
    /// The head has too many lines.
    #[error("the head has too many header lines")]
    TooManyHeaders,
    /// A message or a frame is too long.
    #[error("{size} bytes, where {max_size} are allowed")]
    MessageTooLong {
        /// How many bytes it has. For a compressed message, which is stopped while it inflates, the limit and one.
        size: usize,
        /// How many it may have.
        max_size: usize,
    },
}

/// What is wrong with the subprotocol of a server.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SubProtocolError {
    /// The client offered none, and the server selected one.
    #[error("the server selected one, and the client offered none")]
    ServerSentSubProtocolNoneRequested,
    /// The client did not offer the one that the server selected.
    #[error("the server selected one that was not offered")]
    InvalidSubProtocol,
    /// The server selected none. Given only with
    /// [`require_subprotocol`](crate::protocol::WebSocketConfig::require_subprotocol).
    #[error("the server selected none")]
    NoSubProtocol,
}

/// The rule that was broken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)] // Each says what it is in its text.
pub enum ProtocolError {
    #[error("the method is not GET")]
    WrongHttpMethod,
    #[error("the version of HTTP is below 1.1")]
    WrongHttpVersion,
    #[error("`Connection` does not list `Upgrade`")]
    MissingConnectionUpgradeHeader,
    #[error("`Upgrade` is not `websocket`")]
    MissingUpgradeWebSocketHeader,
    #[error("`Sec-WebSocket-Version` is not 13")]
    MissingSecWebSocketVersionHeader,
    #[error("`Sec-WebSocket-Key` is missing")]
    MissingSecWebSocketKey,
    #[error("`Sec-WebSocket-Key` is not 16 bytes in base64")]
    InvalidSecWebSocketKey,
    #[error("`Sec-WebSocket-Accept` does not answer the key")]
    SecWebSocketAcceptKeyMismatch,
    #[error("subprotocol: {0}")]
    SecWebSocketSubProtocolError(SubProtocolError),
    /// Never given here: frames right after a request are the first messages.
    #[error("bytes follow the request")]
    JunkAfterRequest,
    #[error("a refusal has a status of success")]
    CustomResponseSuccessful,
    #[error("the header `{0}` is missing, there twice, or wrong")]
    InvalidHeader(Box<HeaderName>),
    #[error("the stream ended during the opening handshake")]
    HandshakeIncomplete,
    #[error("malformed HTTP: {0}")]
    HttparseError(#[from] httparse::Error),
    #[error("nothing may be sent after Close")]
    SendAfterClosing,
    /// Never given here: what follows a Close is not read.
    #[error("the peer sent something after its Close")]
    ReceivedAfterClosing,
    #[error("a reserved bit is set")]
    NonZeroReservedBits,
    #[error("a frame of the client has no mask")]
    UnmaskedFrameFromClient,
    #[error("a frame of the server has a mask")]
    MaskedFrameFromServer,
    #[error("a control frame is fragmented")]
    FragmentedControlFrame,
    #[error("a control frame has more than 125 bytes")]
    ControlFrameTooBig,
    /// Never given: it is [`InvalidOpcode`](Self::InvalidOpcode).
    #[error("the control opcode {0} is reserved")]
    UnknownControlFrameType(u8),
    /// Never given: it is [`InvalidOpcode`](Self::InvalidOpcode).
    #[error("the data opcode {0} is reserved")]
    UnknownDataFrameType(u8),
    #[error("a continuation continues no message")]
    UnexpectedContinueFrame,
    #[error("a new message ({0}) inside of a fragmented one")]
    ExpectedFragment(Data),
    #[error("the peer is gone without a closing handshake")]
    ResetWithoutClosingHandshake,
    #[error("the opcode {0} is invalid")]
    InvalidOpcode(u8),
    #[error("the payload of a Close is invalid")]
    InvalidCloseSequence,
}

/// What is wrong with a URL.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)] // Each says what it is in its text.
pub enum UrlError {
    #[error("`wss` needs a TLS feature of this crate")]
    TlsFeatureNotEnabled,
    #[error("it has no host")]
    NoHostName,
    #[error("no connection to {0}")]
    UnableToConnect(String),
    #[error("its scheme is not `ws` or `wss`")]
    UnsupportedUrlScheme,
    #[error("its host is empty")]
    EmptyHostName,
    #[error("it has no path")]
    NoPathOrQuery,
}

/// Why TLS failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// rustls says why.
    #[cfg(feature = "__rustls-tls")]
    #[error("{0}")]
    Rustls(Box<rustls::Error>),
    /// The host of the URL is no name that a certificate can have.
    #[cfg(feature = "__rustls-tls")]
    #[error("the host is not a name that a certificate can have")]
    InvalidDnsName,
}

#[cfg(feature = "__rustls-tls")]
impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error.into())
    }
}

/// The error for a rule that the peer broke. `limits` are those of a frame and of a message.
pub(crate) fn of_rule(error: &bowline::ProtocolError, limits: [Option<usize>; 2]) -> Error {
    let found = usize::try_from(error.found()).unwrap_or(usize::MAX);
    let opcode = error.found() as u8;
    let too_long = |limit: Option<usize>| {
        let max_size = limit.unwrap_or(usize::MAX);
        let size = if found > 0 { found } else { max_size.saturating_add(1) };
        Error::Capacity(CapacityError::MessageTooLong { size, max_size })
    };
    Error::Protocol(match error.rule() {
        Rule::FrameTooBig => return too_long(limits[0]),
        Rule::MessageTooBig => return too_long(limits[1]),
        Rule::InvalidUtf8 | Rule::CloseReason => return Error::Utf8(error.to_string()),
        Rule::ReservedBits => ProtocolError::NonZeroReservedBits,
        Rule::ReservedOpcode => ProtocolError::InvalidOpcode(opcode),
        Rule::Unmasked => ProtocolError::UnmaskedFrameFromClient,
        Rule::Masked => ProtocolError::MaskedFrameFromServer,
        Rule::FragmentedControl => ProtocolError::FragmentedControlFrame,
        Rule::ControlTooLong => ProtocolError::ControlFrameTooBig,
        Rule::UnexpectedContinuation => ProtocolError::UnexpectedContinueFrame,
        Rule::ExpectedContinuation => match OpCode::from(opcode) {
            OpCode::Data(data) => ProtocolError::ExpectedFragment(data),
            OpCode::Control(_) => ProtocolError::InvalidOpcode(opcode),
        },
        Rule::CloseLength | Rule::CloseCode => ProtocolError::InvalidCloseSequence,
        // tungstenite has no such rule, so it has no name for it.
        _ => return Error::Io(io::Error::new(io::ErrorKind::InvalidData, *error)),
    })
}

/// The error for an end without a Close of the peer.
pub(crate) fn of_end(end: &End, limits: [Option<usize>; 2]) -> Error {
    match end {
        End::PeerGone(_) => ProtocolError::ResetWithoutClosingHandshake.into(),
        End::Failed(error) => of_rule(error, limits),
        end => Error::Io(io::Error::other(end.to_string())),
    }
}
