//! Whose fault, which rule, and what the peer is told: violations, refused sends, and how a connection ended.

use alloc::string::String;
use core::fmt;

use crate::protocol::close::CloseCode;
use crate::protocol::message::Message;

/// The rule that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// RSV1, RSV2 or RSV3 set without an extension that gives it a meaning (§5.2).
    ReservedBits,
    /// Opcode 3-7 or 11-15 (§5.2).
    ReservedOpcode,
    /// A client's frame without a masking key (§5.1).
    Unmasked,
    /// A server's frame with a masking key (§5.1).
    Masked,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    ControlTooLong,
    /// A length in more bytes than it needs (§5.2).
    NonMinimalLength,
    /// A 64-bit length with its highest bit set (§5.2).
    LengthOverflow,
    /// A continuation frame with nothing to continue (§5.4).
    UnexpectedContinuation,
    /// A new message inside a fragmented one (§5.4).
    ExpectedContinuation,
    /// Text that is not UTF-8 (§5.6, §8.1).
    InvalidUtf8,
    /// A Close payload of one byte (§5.5.1).
    CloseLength,
    /// A close code that may not be on the wire (§7.4).
    CloseCode,
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReason,
    /// A frame above [`Config::max_frame_size`](crate::Config::max_frame_size) (§10.4).
    FrameTooBig,
    /// A message above [`Config::max_message_size`](crate::Config::max_message_size) (§10.4).
    MessageTooBig,
    /// A compressed message that is no DEFLATE text, or ends in the middle of a block
    /// (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// A compressed message that inflates to more than
    /// `Deflate::max_ratio` allows (RFC 7692 §9).
    InflateRatio,
    /// More fragments than [`Config::max_fragments`](crate::Config::max_fragments) allows (§10.4).
    TooManyFragments,
}

impl Rule {
    /// The close code that the peer is sent (RFC 6455 §7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::CloseReason | Self::InvalidDeflate => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooBig | Self::MessageTooBig | Self::InflateRatio => {
                CloseCode::MESSAGE_TOO_BIG
            }
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The RFC that states the rule: 6455, or 7692 for compressed messages.
    pub fn rfc(self) -> u16 {
        match self {
            Self::InvalidDeflate | Self::InflateRatio => 7692,
            _ => 6455,
        }
    }

    /// The section of [that RFC](Self::rfc).
    pub fn section(self) -> &'static str {
        match self {
            Self::Unmasked | Self::Masked => "5.1",
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::NonMinimalLength
            | Self::LengthOverflow => "5.2",
            Self::UnexpectedContinuation | Self::ExpectedContinuation => "5.4",
            Self::FragmentedControl | Self::ControlTooLong => "5.5",
            Self::CloseLength | Self::CloseReason => "5.5.1",
            Self::CloseCode => "7.4",
            Self::InvalidUtf8 => "8.1",
            Self::FrameTooBig | Self::MessageTooBig | Self::TooManyFragments => "10.4",
            Self::InvalidDeflate => "7.2.2",
            Self::InflateRatio => "9",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "reserved bit set in a frame header",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "client frame is not masked",
            Self::Masked => "server frame is masked",
            Self::FragmentedControl => "fragmented control frame",
            Self::ControlTooLong => "control frame longer than 125 bytes",
            Self::NonMinimalLength => "length not in its shortest form",
            Self::LengthOverflow => "length above 2^63-1",
            Self::UnexpectedContinuation => "continuation frame with nothing to continue",
            Self::ExpectedContinuation => "new message inside a fragmented message",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::CloseLength => "Close payload of one byte",
            Self::CloseCode => "close code not allowed on the wire",
            Self::CloseReason => "close reason is not UTF-8",
            Self::FrameTooBig => "frame exceeds the limit",
            Self::MessageTooBig => "message exceeds the limit",
            Self::InvalidDeflate => "compressed message is malformed",
            Self::InflateRatio => "compressed message inflates to too much",
            Self::TooManyFragments => "message has too many fragments",
        })
    }
}

/// The peer broke a rule, and the connection was failed (RFC 6455 §7.1.7).
///
/// It is the peer's fault; the peer was sent [`close_code`](Self::close_code). The error is sticky:
/// the connection gives the same one from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    rule: Rule,
    offset: u64,
}

impl ProtocolError {
    pub(crate) fn new(rule: Rule, offset: u64) -> Self {
        Self { rule, offset }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Where it was broken, in bytes after the handshake: the first byte of the frame header, the
    /// byte of text that cannot stand where it stands, or the first byte of the Close payload. In a
    /// compressed message it is the first payload byte of the frame that shows it, or where the message
    /// ended too early.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The close code that the peer was sent.
    pub fn close_code(&self) -> CloseCode {
        self.rule.close_code()
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer violated RFC {} section {}: {} (byte {})",
            self.rule.rfc(),
            self.rule.section(),
            self.rule,
            self.offset
        )
    }
}

impl core::error::Error for ProtocolError {}

/// Why a message was not taken for sending. Nothing of it reaches the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Close was sent, or the connection has ended (RFC 6455 §5.5.1).
    Closed,
    /// More than [`Config::max_send_queue`](crate::Config::max_send_queue) bytes wait to be sent.
    QueueFull,
    /// The payload of a ping or pong is longer than 125 bytes (§5.5).
    ControlTooLong,
    /// A message is being sent in parts: finish it first (§5.4).
    MessageOpen,
    /// A part is of another type than the message that it continues, or is a ping or pong.
    PartMismatch,
    /// The close code may not be on the wire (§7.4).
    CloseCode,
    /// The close reason is longer than 123 bytes (§5.5).
    CloseReasonTooLong,
    /// The memory that this connection shares with others
    /// ([`Config::memory_budget`](crate::Config::memory_budget)) is used up. The connection goes on: send
    /// again once what waits has left, or close.
    OverBudget,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed for sending",
            Self::QueueFull => "too many bytes wait to be sent",
            Self::ControlTooLong => "control frame payload is longer than 125 bytes",
            Self::MessageOpen => "another message is being sent in parts",
            Self::PartMismatch => "part does not fit the message that it continues",
            Self::CloseCode => "close code not allowed on the wire",
            Self::CloseReasonTooLong => "close reason is longer than 123 bytes",
            Self::OverBudget => "the memory that connections share is used up",
        })
    }
}

/// A message that could not be sent, with the message where it was owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    refusal: Refusal,
    message: Option<Message>,
}

impl SendError {
    pub(crate) fn new(refusal: Refusal, message: Option<Message>) -> Self {
        Self { refusal, message }
    }

    /// Why it was refused.
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// Gives the message back, if an owned one was passed.
    pub fn into_message(self) -> Option<Message> {
        self.message
    }
}

impl From<Refusal> for SendError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, None)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.refusal)
    }
}

impl core::error::Error for SendError {}

/// Who sent the first Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// This side.
    Local,
    /// The peer.
    Remote,
}

/// Where the peer's bytes stopped when it went without a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Truncation {
    /// Between two messages.
    BetweenMessages,
    /// Inside a frame header.
    InHeader,
    /// Inside a frame's payload.
    InPayload,
    /// Between the fragments of a message.
    InMessage,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer did not answer our Close ([`Config::close_timeout`](crate::Config::close_timeout)).
    Close,
    /// A frame or message was begun and came too slowly
    /// ([`Config::progress_timeout`](crate::Config::progress_timeout)).
    Progress,
    /// The peer took too little of what waits for it, or nothing
    /// ([`Config::send_timeout`](crate::Config::send_timeout)).
    Send,
    /// The peer did not answer a ping, and sent next to nothing meanwhile
    /// ([`Config::pong_timeout`](crate::Config::pong_timeout)).
    Keepalive,
}

/// How a connection ended (RFC 6455 §7.1.4 to §7.1.7).
///
/// `recv` of an adapter gives `None` after any Close of the peer's, also one with an error code such as
/// 1011. [`is_normal`](Self::is_normal) tells those apart, and [`result`](Self::result) makes an error of
/// all ends that are not normal:
///
/// ```
/// use bowline::{End, Initiator};
/// # use bowline::{Config, Connection, RecvBuf, SendBuf};
/// # let mut connection = Connection::client(Config::default(), [0; 32]);
/// # let (mut input, mut out) = (RecvBuf::with_unread(b"\x88\x06\x03\xf3oops"), SendBuf::new());
/// # let _ = connection.advance(&mut input, &mut out);
/// # let end = connection.end().unwrap();
/// // The server sent Close with 1011 (internal error) and "oops".
/// assert!(matches!(end, End::Closed { initiator: Initiator::Remote, .. }));
/// assert!(end.is_clean() && !end.is_normal());
/// assert_eq!((end.code().get(), end.reason()), (1011, "oops"));
/// let error = end.result().unwrap_err();
/// assert_eq!(error.to_string(), "closed by the peer, code 1011, reason \"oops\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Clean: Close frames went both ways, whatever their codes say.
    #[non_exhaustive]
    Closed {
        /// Who began.
        initiator: Initiator,
        /// The code of the peer's Close frame, if it had one.
        code: Option<CloseCode>,
        /// The reason in the peer's Close frame.
        reason: String,
    },
    /// The peer was gone without a Close frame.
    PeerGone(Truncation),
    /// The peer broke a rule, and we failed the connection.
    Failed(ProtocolError),
    /// The peer was too slow.
    TimedOut(Timeout),
    /// What the peer sent did not fit the memory that this connection shares with others
    /// ([`Config::memory_budget`](crate::Config::memory_budget)), and it was told to try again later, with
    /// 1013. It broke no rule.
    OverBudget,
    /// We sent Close, and nobody waited for the answer.
    Unconfirmed,
}

impl End {
    /// Whether Close frames went both ways. The peer's may have had an error code: see
    /// [`is_normal`](Self::is_normal).
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether the connection ended cleanly, and the peer's Close tells of no error: its code is 1000, 1001,
    /// or there is none.
    ///
    /// RFC 6455 §7.4.1: 1000 is "a normal closure, meaning that the purpose for which the connection was
    /// established has been fulfilled"; with 1001 "an endpoint is 'going away', such as a server going down
    /// or a browser having navigated away from a page". A Close without a code is what `close()` of a
    /// browser sends. All other codes tell of an error, or have a meaning that the program gave them.
    ///
    /// It does not matter who began. A peer that answers our Close repeats our code, so a connection that
    /// this side closed with an error code did not end normally either.
    pub fn is_normal(&self) -> bool {
        match self {
            Self::Closed { code: None, .. } => true,
            Self::Closed { code: Some(code), .. } => {
                matches!(*code, CloseCode::NORMAL | CloseCode::GOING_AWAY)
            }
            _ => false,
        }
    }

    /// `Ok` for a [normal](Self::is_normal) end, and the end itself as an error for all others.
    ///
    /// After a loop over `recv`, this with `?` lets a program fail where the peer closed with an error
    /// code.
    ///
    /// # Errors
    ///
    /// This end, unless it is normal.
    pub fn result(&self) -> Result<(), Self> {
        if self.is_normal() { Ok(()) } else { Err(self.clone()) }
    }

    /// The close code as the RFC and browsers report it (§7.1.5): the peer's code, 1005 if its
    /// Close frame had none, 1006 if no Close frame came.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Closed { code, .. } => code.unwrap_or(CloseCode::NO_STATUS),
            _ => CloseCode::ABNORMAL,
        }
    }

    /// The reason in the peer's Close frame as the RFC and browsers report it (§7.1.6): empty if there was
    /// none, or if no Close frame came.
    pub fn reason(&self) -> &str {
        match self {
            Self::Closed { reason, .. } => reason,
            _ => "",
        }
    }
}

impl core::error::Error for End {}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { initiator, code, reason } => {
                let who = match initiator {
                    Initiator::Local => "us",
                    Initiator::Remote => "the peer",
                };
                let code = code.unwrap_or(CloseCode::NO_STATUS);
                write!(f, "closed by {who}, code {code}")?;
                if reason.is_empty() { Ok(()) } else { write!(f, ", reason {reason:?}") }
            }
            Self::PeerGone(Truncation::BetweenMessages) => f.write_str("peer gone without Close"),
            Self::PeerGone(Truncation::InHeader) => f.write_str("peer gone inside a frame header"),
            Self::PeerGone(Truncation::InPayload) => f.write_str("peer gone inside a frame"),
            Self::PeerGone(Truncation::InMessage) => {
                f.write_str("peer gone inside a fragmented message")
            }
            Self::Failed(error) => error.fmt(f),
            Self::TimedOut(Timeout::Close) => f.write_str("peer did not answer Close in time"),
            Self::TimedOut(Timeout::Progress) => f.write_str("peer sent a message too slowly"),
            Self::TimedOut(Timeout::Send) => f.write_str("peer did not read in time"),
            Self::TimedOut(Timeout::Keepalive) => f.write_str("peer did not answer a ping in time"),
            Self::OverBudget => f.write_str("the memory that connections share is used up"),
            Self::Unconfirmed => f.write_str("closed without waiting for the peer's Close"),
        }
    }
}
