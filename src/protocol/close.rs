//! Close codes (RFC 6455 §7.4).

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::protocol::error::{Refused, SendError};
use crate::protocol::frame::MAX_CONTROL;

/// Why a connection was closed (RFC 6455 §7.4).
///
/// Any number can be held; [`is_sendable`](Self::is_sendable) tells which may stand in a Close frame.
///
/// ```
/// use bowline::CloseCode;
/// assert_eq!(CloseCode::NORMAL, 1000);
/// assert!(CloseCode::from(4000).is_sendable());
/// assert!(!CloseCode::NO_STATUS.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server shuts down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the application cannot accept this kind of data.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close frame carried no code. Never on the wire: a close with it sends a Close frame without
    /// a body.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is not UTF-8, or data that contradicts its type.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the application's policy, or a limit that has no code of its own, was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: the message is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition at the server.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway received an invalid answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame, sent or received: 1000-1003, 1007-1014 and
    /// 3000-4999 (RFC 6455 §7.4 and its IANA registry).
    pub const fn is_sendable(self) -> bool {
        // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame by an
        // endpoint". §7.4.2: "0-999 are not used", and the rest of "1000-2999 are reserved". IANA added 1012 to
        // 1014 later.
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl PartialEq<u16> for CloseCode {
    fn eq(&self, other: &u16) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// The longest reason: the payload of a control frame without the code. RFC 6455 §5.5: "a payload length of 125
/// bytes or less".
const MAX_REASON: usize = MAX_CONTROL - 2;

/// The code to put into a Close frame with this code and reason. `None`: the frame has no body.
///
/// RFC 6455 §7.4.1: 1005 "MUST NOT be set as a status code in a Close control frame". It stands for a missing
/// code, so there can be no reason either. §5.5.1: a reason comes "Following the 2-byte integer".
pub(crate) fn body(code: CloseCode, reason: &str) -> Result<Option<CloseCode>, Refused> {
    if code == CloseCode::NO_STATUS && reason.is_empty() {
        return Ok(None);
    }
    if !code.is_sendable() {
        return Err(Refused::CloseCode(code));
    }
    if reason.len() > MAX_REASON {
        return Err(Refused::CloseReasonTooLong(Refused::number(reason.len())));
    }
    Ok(Some(code))
}

/// How the peer's Close is answered: see [`Config::close_answer`](crate::Config::close_answer).
///
/// It does not change a Close that this side begins, nor the Close that answers a broken rule.
///
/// ```
/// use bowline::{CloseAnswer, CloseCode, Config};
/// let config = Config::default().close_answer(CloseAnswer::new(CloseCode::NORMAL, "bye")?);
/// assert!(CloseAnswer::new(CloseCode::ABNORMAL, "").is_err());
/// # let _ = config;
/// # Ok::<(), bowline::SendError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseAnswer(Answer);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Echo,
    EchoCode,
    Fixed(Option<CloseCode>, Arc<str>),
}

impl CloseAnswer {
    /// The peer's code and reason. This is the default, and what most implementations do. RFC 6455 §5.5.1:
    /// "the endpoint typically echos the status code it received".
    pub const ECHO: Self = Self(Answer::Echo);

    /// The peer's code without its reason.
    pub const ECHO_CODE: Self = Self(Answer::EchoCode);

    /// This code and reason, whatever the peer's Close says. [`CloseCode::NO_STATUS`] with an empty reason
    /// is a Close without a body.
    ///
    /// # Errors
    ///
    /// [`Refusal::CloseCode`](crate::Refusal::CloseCode) for a code that may not be sent, and
    /// [`Refusal::CloseReasonTooLong`](crate::Refusal::CloseReasonTooLong) for a reason of more than 123
    /// bytes.
    pub fn new(code: impl Into<CloseCode>, reason: &str) -> Result<Self, SendError> {
        let code = body(code.into(), reason)?;
        Ok(Self(Answer::Fixed(code, reason.into())))
    }

    /// The answer to a Close frame with this code and reason.
    pub(crate) fn to(&self, code: Option<CloseCode>, reason: &str) -> (Option<CloseCode>, String) {
        match &self.0 {
            Answer::Echo => (code, reason.into()),
            Answer::EchoCode => (code, String::new()),
            Answer::Fixed(code, reason) => (*code, (**reason).into()),
        }
    }
}
