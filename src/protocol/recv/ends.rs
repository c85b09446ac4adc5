//! How a connection ends: with a Close (RFC 6455 §5.5.1, §7), without one, or because this side wants it.

use alloc::string::String;

use super::short::Gate;
use super::{Receiver, Role, Stage};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{End, Initiator, ProtocolError, Rule, Timeout, Truncation};
use crate::protocol::frame::Length;
use crate::protocol::leave::Leave;
use crate::protocol::replies::{CloseReply, Replies};

impl Receiver {
    /// The error for a rule that was broken here, with the numbers that its text shows. `unread` begins with the
    /// bytes that broke it.
    #[cold]
    pub(super) fn broken(&self, rule: Rule, unread: &[u8]) -> ProtocolError {
        let settings = self.config.get();
        let announced = match self.stage {
            Stage::Header => Length::decode(unread).map_or(0, |length| length.value),
            _ => 0,
        };
        let (found, limit) = match rule {
            Rule::FrameTooBig => (announced, settings.max_frame_size.unwrap_or_default()),
            Rule::MessageTooBig if announced > 0 => {
                (self.message_len.saturating_add(announced), settings.max_message_size)
            }
            Rule::MessageTooBig => (0, settings.max_message_size),
            Rule::TooManyFragments => (0, settings.max_fragments.into()),
            Rule::CloseCode => {
                let code = unread.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                (code.into(), 0)
            }
            Rule::ReservedOpcode | Rule::ExpectedContinuation => {
                (unread.first().map_or(0, |first| first & 0x0F).into(), 0)
            }
            #[cfg(feature = "deflate")]
            Rule::InflateRatio => (
                0,
                settings.deflate.and_then(|deflate| deflate.max_ratio).unwrap_or_default().into(),
            ),
            _ => (0, 0),
        };
        ProtocolError::new(rule, self.offset, found, limit)
    }

    #[cold]
    pub(super) fn failure(&self) -> ProtocolError {
        match self.end() {
            Some(End::Failed(error)) => *error,
            _ => unreachable!("`run` gives nothing only after a failure"),
        }
    }

    pub(super) fn truncation(&self, input: &RecvBuf) -> Truncation {
        match self.stage {
            Stage::Data { .. } | Stage::Compressed { .. } | Stage::Control(..) => {
                Truncation::InPayload
            }
            Stage::Header if input.has_unread() => Truncation::InHeader,
            Stage::Header if self.message.is_some() => Truncation::InMessage,
            Stage::Header => Truncation::BetweenMessages,
        }
    }

    /// Takes the peer's Close. It answers ours, or gets an answer.
    ///
    /// RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame,
    /// the endpoint MUST send a Close frame in response."
    pub(super) fn closed(
        &mut self,
        code: Option<CloseCode>,
        reason: String,
        close_sent: bool,
        replies: &mut Replies,
    ) {
        let initiator = if close_sent { Initiator::Local } else { Initiator::Remote };
        let (answer, said) = self.config.get().close_answer.to(code, &reason);
        self.give_up(End::Closed { initiator, code, reason });
        replies.close_with(CloseReply(answer), said);
    }

    /// Closes the connection with 1001, because this side shuts down. RFC 6455 §7.4.1: "1001 indicates that an
    /// endpoint is "going away", such as a server going down". Close is added to `replies`. After the connection has
    /// ended, this does nothing.
    pub fn go_away(&mut self, replies: &mut Replies) {
        if self.end().is_none() {
            replies.close(CloseReply(Some(CloseCode::GOING_AWAY)));
        }
    }

    /// Ends the connection for a reason that only the adapter sees. That is [`Timeout::Send`] if the sending half has
    /// stalled ([`Sender::is_stalled`](crate::Sender::is_stalled)). It is [`End::Unconfirmed`] if the adapter must not
    /// wait for the peer any longer. If the connection has ended before, that end stays.
    pub fn give_up(&mut self, end: End) {
        self.gate = Gate::SHUT;
        self.extras.get_or_insert_default().end.get_or_insert(end);
    }

    /// Tells the receiver that the transport broke, for example with a reset: the peer is gone.
    pub fn transport_failed(&mut self, input: &RecvBuf) {
        let end = End::PeerGone(self.truncation(input));
        self.give_up(end);
    }

    /// What is still to be done with the socket, once the connection has ended.
    pub fn leave(&self) -> Leave {
        let timeout = self.config.get().close_timeout;
        match (self.end(), self.role) {
            // RFC 6455 §5.5.1: "the client SHOULD wait for the server to close the connection".
            (Some(End::Closed { .. }), Role::Client) => Leave::after_peer(timeout),
            (
                Some(
                    End::Failed(_)
                    | End::OverBudget
                    | End::RateLimited
                    | End::TimedOut(Timeout::Progress),
                ),
                _,
            ) => Leave::discarding(timeout),
            // A peer that answers no ping would not read the Close. It leaves only if the socket takes it at once.
            (Some(End::TimedOut(Timeout::Keepalive)), _) => Leave::without_waiting(),
            // The peer is gone or reads nothing, so nothing is sent.
            (Some(End::PeerGone(_) | End::TimedOut(Timeout::Send | Timeout::Close)), _) => {
                Leave::without_sending(timeout)
            }
            _ => Leave::at_once(timeout),
        }
    }

    /// The former name of [`leave`](Self::leave).
    #[deprecated(note = "use `leave`, which says each step")]
    #[doc(hidden)]
    pub fn linger(&self) -> Leave {
        self.leave()
    }
}

/// Reads a Close frame's payload. RFC 6455 §5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned
/// integer". The check of the header has already refused a length of one.
pub(in crate::protocol) fn close_payload(
    payload: &[u8],
) -> Result<(Option<CloseCode>, String), Rule> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Ok((None, String::new()));
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame". §7.4.2
    // reserves others.
    if !code.is_sendable() {
        return Err(Rule::CloseCode);
    }
    // RFC 6455 §5.5.1: "the body MAY contain UTF-8-encoded data with value /reason/".
    match core::str::from_utf8(reason) {
        Ok(reason) => Ok((Some(code), reason.into())),
        Err(_) => Err(Rule::CloseReason),
    }
}
