//! One word for each end of a connection, for the labels of metrics.

use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Initiator, Timeout, Truncation};

impl End {
    /// One word for how the connection ended, for the label of a metric. There are 17 words, whatever the peer
    /// sends. None of them has a code or a text of the peer in it.
    ///
    /// | word | the end |
    /// |---|---|
    /// | `closed_by_us` | [normal](Self::is_normal), and this side began |
    /// | `closed_by_peer` | normal, and the peer began |
    /// | `closed_by_us_with_error` | Close went both ways, this side began, and the peer's code is not normal |
    /// | `closed_by_peer_with_error` | Close went both ways, the peer began, and its code is not normal |
    /// | `peer_gone` | no Close came; the bytes stopped between two messages |
    /// | `peer_gone_midway` | no Close came; the bytes stopped inside a message or a frame |
    /// | `protocol_error` | the peer broke a rule, and was sent 1002 |
    /// | `invalid_payload` | text that is not UTF-8, or data that does not inflate: 1007 |
    /// | `too_many_fragments` | the limit of fragments: 1008 |
    /// | `message_too_big` | a limit of size, or of inflating: 1009 |
    /// | `close_timeout` | [`Timeout::Close`] |
    /// | `progress_timeout` | [`Timeout::Progress`] |
    /// | `send_timeout` | [`Timeout::Send`] |
    /// | `keepalive_timeout` | [`Timeout::Keepalive`] |
    /// | `over_budget` | [`End::OverBudget`] |
    /// | `rate_limited` | [`End::RateLimited`] |
    /// | `unconfirmed` | [`End::Unconfirmed`] |
    ///
    /// A word never changes its meaning. A later version may add words.
    ///
    /// ```
    /// use bowline::{End, Timeout};
    /// assert_eq!(End::TimedOut(Timeout::Keepalive).label(), "keepalive_timeout");
    /// ```
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed { initiator, .. } => match (initiator, self.is_normal()) {
                (Initiator::Local, true) => "closed_by_us",
                (Initiator::Remote, true) => "closed_by_peer",
                (Initiator::Local, false) => "closed_by_us_with_error",
                (Initiator::Remote, false) => "closed_by_peer_with_error",
            },
            Self::PeerGone(Truncation::BetweenMessages) => "peer_gone",
            Self::PeerGone(_) => "peer_gone_midway",
            Self::Failed(error) => match error.close_code() {
                CloseCode::INVALID_PAYLOAD => "invalid_payload",
                CloseCode::POLICY_VIOLATION => "too_many_fragments",
                CloseCode::MESSAGE_TOO_BIG => "message_too_big",
                _ => "protocol_error",
            },
            Self::TimedOut(Timeout::Close) => "close_timeout",
            Self::TimedOut(Timeout::Progress) => "progress_timeout",
            Self::TimedOut(Timeout::Send) => "send_timeout",
            Self::TimedOut(Timeout::Keepalive) => "keepalive_timeout",
            Self::OverBudget => "over_budget",
            Self::RateLimited => "rate_limited",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}
