//! Errors: broken rules, refused sends, and how a connection ended. Each says whose fault it was.
//!
//! No error shows a payload: what `main` returns goes to a log. A message is shown as its type and length.

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
    /// A compressed message that is not valid DEFLATE, or ends in the middle of a block
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
            Self::FrameTooBig => "frame exceeds max_frame_size",
            Self::MessageTooBig => "message exceeds max_message_size",
            Self::InvalidDeflate => "compressed message is malformed",
            Self::InflateRatio => "compressed message inflates by more than max_ratio",
            Self::TooManyFragments => {
                "message with little payload has more fragments than max_fragments"
            }
        })
    }
}

/// The peer broke a rule, and the connection was failed (RFC 6455 §7.1.7).
///
/// It is the peer's fault. The peer was sent [`close_code`](Self::close_code). The error is sticky:
/// the connection gives the same one from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    rule: Rule,
    offset: u64,
    /// See [`found`](Self::found).
    found: u64,
    /// The limit that it broke. 0 if there is none, or if it takes more than these bits.
    limit: u32,
}

impl ProtocolError {
    /// `found` and `limit` are the numbers that the error shows, or 0.
    pub(crate) fn new(rule: Rule, offset: u64, found: u64, limit: u64) -> Self {
        Self { rule, offset, found, limit: u32::try_from(limit).unwrap_or(0) }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Where it was broken, in bytes after the handshake: the first byte of the frame header, the
    /// byte that makes a text invalid, or the first byte of the Close payload. In a compressed message it
    /// is the first payload byte of the frame that shows it, or where the message ended too early.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What broke the rule, as a number: the length of a frame or message that was too big, a close code, or an opcode.
    /// 0 if that is not known, or if the rule is about something else.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// The close code that the peer was sent.
    pub fn close_code(&self) -> CloseCode {
        self.rule.close_code()
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, offset, found, limit } = *self;
        write!(f, "peer violated RFC {} section {}: ", rule.rfc(), rule.section())?;
        let size = Grouped(found);
        match rule {
            Rule::CloseCode => write!(f, "close code {found} is not allowed on the wire")?,
            Rule::FrameTooBig => write!(f, "frame of {size} bytes exceeds max_frame_size")?,
            Rule::MessageTooBig if found > 0 => {
                write!(f, "message of {size} bytes exceeds max_message_size")?;
            }
            Rule::MessageTooBig => {
                f.write_str("compressed message inflates to more than max_message_size")?;
            }
            rule => rule.fmt(f)?,
        }
        if limit > 0 {
            write!(f, " of {}", grouped(limit))?;
        }
        write!(f, " (byte {offset})")
    }
}

impl core::error::Error for ProtocolError {}

/// A number with its digits in groups of three: 1,048,576.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 0..1000 => n.fmt(f),
            n => write!(f, "{},{:03}", Self(n / 1000), n % 1000),
        }
    }
}

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
    /// Not a frame that may be sent: a reserved opcode, a control frame without FIN, a text that is not UTF-8, or a
    /// malformed Close (§5.2, §5.5). See [`Sender::send_frame`](crate::Sender::send_frame).
    Frame,
    /// The memory that this connection shares with others
    /// ([`Config::memory_budget`](crate::Config::memory_budget)) is used up. The connection goes on: send
    /// again once what waits has left, or close.
    OverBudget,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed for sending",
            Self::QueueFull => "max_send_queue bytes or more wait to be sent",
            Self::ControlTooLong => "the payload of a ping or pong exceeds 125 bytes",
            Self::MessageOpen => "a message is being sent in parts: finish it first",
            Self::PartMismatch => "the part is of another type than the message that it continues",
            Self::CloseCode => "the close code may not be sent",
            Self::CloseReasonTooLong => "the close reason exceeds 123 bytes",
            Self::Frame => "not a frame that may be sent (RFC 6455 sections 5.2 and 5.5)",
            Self::OverBudget => "the memory_budget is used up: send again once what waits has left",
        })
    }
}

/// A [`Refusal`] with the details for the text of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed(Shut),
    /// The limit.
    QueueFull(u32),
    /// The length.
    ControlTooLong(u32),
    MessageOpen,
    PartMismatch,
    CloseCode(CloseCode),
    /// The length.
    CloseReasonTooLong(u32),
    OverBudget,
    /// Nothing more is known.
    Plain(Refusal),
}

/// Why nothing can be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    CloseSent,
    Ended,
    How(How),
}

/// An [`End`] without its text, in few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Closed(Initiator, CloseCode),
    PeerGone(Truncation),
    Failed(Rule),
    TimedOut(Timeout),
    OverBudget,
    RateLimited,
    Unconfirmed,
}

impl Refused {
    /// A number for the text. A number that does not fit is not shown.
    pub(crate) fn number(n: usize) -> u32 {
        u32::try_from(n).unwrap_or(0)
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Closed(_) => Refusal::Closed,
            Self::QueueFull(_) => Refusal::QueueFull,
            Self::ControlTooLong(_) => Refusal::ControlTooLong,
            Self::MessageOpen => Refusal::MessageOpen,
            Self::PartMismatch => Refusal::PartMismatch,
            Self::CloseCode(_) => Refusal::CloseCode,
            Self::CloseReasonTooLong(_) => Refusal::CloseReasonTooLong,
            Self::OverBudget => Refusal::OverBudget,
            Self::Plain(refusal) => refusal,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Closed(Shut::CloseSent) => f.write_str(
                "this side has sent Close, and nothing may follow it (RFC 6455 section 5.5.1)",
            ),
            Self::Closed(Shut::Ended) => f.write_str("the connection has ended"),
            Self::Closed(Shut::How(how)) => write!(f, "the connection has ended: {how}"),
            Self::QueueFull(limit @ 1..) => {
                write!(f, "max_send_queue of {} bytes or more wait to be sent", grouped(limit))
            }
            Self::ControlTooLong(len @ 1..) => {
                write!(f, "payload of {} bytes exceeds the 125 of a ping or pong", grouped(len))
            }
            Self::CloseCode(CloseCode::NO_STATUS) => f.write_str(
                "close code 1005 stands for a Close without a body: leave the reason empty",
            ),
            Self::CloseCode(code) => write!(
                f,
                "close code {code} may not be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999"
            ),
            Self::CloseReasonTooLong(len @ 1..) => {
                write!(f, "close reason of {} bytes exceeds the 123 of a Close", grouped(len))
            }
            refused => refused.refusal().fmt(f),
        }
    }
}

fn grouped(n: u32) -> Grouped {
    Grouped(n.into())
}

/// A message that could not be sent. If it was owned, the error holds it.
///
/// Neither `{}` nor `{:?}` shows what is in the message.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError {
    refused: Refused,
    message: Option<Message>,
}

impl SendError {
    pub(crate) fn new(refused: Refused, message: Option<Message>) -> Self {
        Self { refused, message }
    }

    /// Adds how the connection ended, if that is the reason.
    #[cold]
    pub(crate) fn after(mut self, end: Option<&End>) -> Self {
        if let (Refusal::Closed, Some(end)) = (self.refusal(), end) {
            self.refused = Refused::Closed(Shut::How(end.how()));
        }
        self
    }

    /// Why it was refused.
    pub fn refusal(&self) -> Refusal {
        self.refused.refusal()
    }

    /// The same error, with the message that it gives back. An adapter that refuses a message itself needs it.
    #[must_use]
    pub fn with_message(mut self, message: Message) -> Self {
        self.message = Some(message);
        self
    }

    /// Gives the message back, if an owned one was passed.
    pub fn into_message(self) -> Option<Message> {
        self.message
    }
}

impl From<Refusal> for SendError {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused::Plain(refusal), None)
    }
}

impl From<Refused> for SendError {
    fn from(refused: Refused) -> Self {
        Self::new(refused, None)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.refused)
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("refusal", &self.refusal())
            .field("message", &self.message)
            .finish_non_exhaustive()
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
    /// A frame or message had begun and came too slowly
    /// ([`Config::progress_timeout`](crate::Config::progress_timeout)).
    Progress,
    /// The peer took too few of the bytes that wait for it, or none
    /// ([`Config::send_timeout`](crate::Config::send_timeout)).
    Send,
    /// The peer did not answer a ping, and sent less than 1 KiB of payload in that time
    /// ([`Config::pong_timeout`](crate::Config::pong_timeout)).
    Keepalive,
}

/// How a connection ended (RFC 6455 §7.1.4 to §7.1.7).
///
/// `recv` of an adapter gives `None` after any Close from the peer, even one with an error code such as
/// 1011. [`is_normal`](Self::is_normal) tells those apart, and [`result`](Self::result) makes an error of
/// each end that is not normal:
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
    /// ([`Config::memory_budget`](crate::Config::memory_budget)). The peer was sent 1013, try again later. It
    /// broke no rule.
    OverBudget,
    /// The peer sent more in a second than it may ([`Config::rate_limit`](crate::Config::rate_limit)). It was sent 1008.
    RateLimited,
    /// We sent Close, and did not wait for the answer.
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
    /// It does not matter who began. A peer that answers our Close usually repeats our code. So a connection
    /// that this side closed with an error code did not end normally either.
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

impl End {
    pub(crate) fn how(&self) -> How {
        match *self {
            Self::Closed { initiator, .. } => How::Closed(initiator, self.code()),
            Self::PeerGone(truncation) => How::PeerGone(truncation),
            Self::Failed(error) => How::Failed(error.rule()),
            Self::TimedOut(timeout) => How::TimedOut(timeout),
            Self::OverBudget => How::OverBudget,
            Self::RateLimited => How::RateLimited,
            Self::Unconfirmed => How::Unconfirmed,
        }
    }
}

impl core::error::Error for End {}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(Initiator::Local, code) => {
                return write!(f, "closed by us, code {code}");
            }
            Self::Closed(Initiator::Remote, code) => {
                return write!(f, "closed by the peer, code {code}");
            }
            Self::Failed(rule) => return write!(f, "peer violated the protocol: {rule}"),
            Self::PeerGone(Truncation::BetweenMessages) => "peer gone without Close",
            Self::PeerGone(Truncation::InHeader) => "peer gone inside a frame header",
            Self::PeerGone(Truncation::InPayload) => "peer gone inside a frame",
            Self::PeerGone(Truncation::InMessage) => "peer gone inside a fragmented message",
            Self::TimedOut(Timeout::Close) => "peer did not answer Close within close_timeout",
            Self::TimedOut(Timeout::Progress) => {
                "peer sent less than 1 KiB of a message within progress_timeout"
            }
            Self::TimedOut(Timeout::Send) => {
                "peer took less than 1 KiB of what waits for it within send_timeout"
            }
            Self::TimedOut(Timeout::Keepalive) => "peer did not answer a ping within pong_timeout",
            Self::OverBudget => "what the peer sent exceeds the memory_budget",
            Self::RateLimited => "the peer sent more in a second than the rate_limit allows",
            Self::Unconfirmed => "closed without waiting for the peer's Close",
        })
    }
}

/// The peer's reason is shown with its control characters escaped, so that it cannot forge a line of a log.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            _ => self.how().fmt(f),
        }?;
        match self.reason() {
            "" => Ok(()),
            reason => write!(f, ", reason {reason:?}"),
        }
    }
}
