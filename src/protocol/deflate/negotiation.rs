//! The negotiation of compression: offers and answers (RFC 7692 §5, §7.1).

use alloc::format;
use alloc::string::String;

use super::settings::{Deflate, Side};
use super::{NAME, Parameter};
use crate::protocol::config::Config;
use crate::protocol::recv::Role;

/// What both ends agreed on about compression, in the opening handshake: see [`Connection::agreed`](crate::Connection::agreed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    server: Side,
    client: Side,
}

impl Agreed {
    /// What the sides of `role` and of its peer are part of.
    pub(crate) fn of(role: Role, side: Side, peer: Side) -> Self {
        match role {
            Role::Client => Self { client: side, server: peer },
            Role::Server => Self { server: side, client: peer },
        }
    }

    /// How `role` compresses, and how its peer does.
    pub(crate) fn sides(self, role: Role) -> (Side, Side) {
        match role {
            Role::Client => (self.client, self.server),
            Role::Server => (self.server, self.client),
        }
    }
}

/// The window without a limit, 2^15 = 32,768 bytes (RFC 7692 §7.1.2).
const LARGEST: u8 = 15;

/// The parameters of one offer or answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Without a value in an offer: the client can limit its window to what the server says.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` if a parameter is unknown, is there twice, or has an invalid value. RFC 7692 §7: a server "MUST
    /// decline" such an offer, and a client that gets such an answer "MUST _Fail the WebSocket Connection_".
    fn parse<'a>(parameters: impl Iterator<Item = Parameter<'a>>) -> Option<Self> {
        let mut parsed = Self::default();
        for (name, value) in parameters {
            match (name, value) {
                (b"server_no_context_takeover", None) if !parsed.server_no_context_takeover => {
                    parsed.server_no_context_takeover = true;
                }
                (b"client_no_context_takeover", None) if !parsed.client_no_context_takeover => {
                    parsed.client_no_context_takeover = true;
                }
                (b"server_max_window_bits", Some(value))
                    if parsed.server_max_window_bits.is_none() =>
                {
                    parsed.server_max_window_bits = Some(window_bits(value)?);
                }
                (b"client_max_window_bits", value) if parsed.client_max_window_bits.is_none() => {
                    parsed.client_max_window_bits = Some(match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    });
                }
                _ => return None,
            }
        }
        Some(parsed)
    }

    fn names_a_window(&self) -> bool {
        self.server_max_window_bits.is_some() || self.client_max_window_bits.flatten().is_some()
    }

    fn encode(&self) -> String {
        let mut text = String::from(NAME);
        if self.server_no_context_takeover {
            text += "; server_no_context_takeover";
        }
        if self.client_no_context_takeover {
            text += "; client_no_context_takeover";
        }
        if let Some(bits) = self.server_max_window_bits {
            text += &format!("; server_max_window_bits={bits}");
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => text += &format!("; client_max_window_bits={bits}"),
            Some(None) => text += "; client_max_window_bits",
            None => {}
        }
        text
    }

    fn agreed(&self) -> Agreed {
        Agreed {
            server: Side {
                window_bits: self.server_max_window_bits.unwrap_or(LARGEST),
                takeover: !self.server_no_context_takeover,
            },
            client: Side {
                window_bits: self.client_max_window_bits.flatten().unwrap_or(LARGEST),
                takeover: !self.client_no_context_takeover,
            },
        }
    }
}

/// RFC 7692 §7.1.2.2: "a decimal integer value without leading zeroes between 8 to 15 inclusive". A value may
/// be quoted, with escapes in the quotes (RFC 6455 §9.1). They do not change it.
fn window_bits(value: &[u8]) -> Option<u8> {
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let mut digits = quoted.unwrap_or(value).iter().filter(|&&byte| byte != b'\\');
    match (digits.next(), digits.next(), digits.next()) {
        (Some(&digit @ b'8'..=b'9'), None, None) => Some(digit - b'0'),
        (Some(b'1'), Some(&digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// The offers of a client, the most preferred first.
///
/// The default is what browsers offer, `permessage-deflate; client_max_window_bits`. Some servers refuse other
/// offers with 400, or accept them and then never answer a message. So a window is named only if the program
/// chose one.
pub(crate) fn offer(config: &Config) -> Option<String> {
    let first = offered(&config.get().deflate?);
    let mut text = first.encode();
    if first.names_a_window() {
        // RFC 7692 §7.1.2.1: "A server declines an extension negotiation offer with this parameter if the
        // server doesn't support it." Some also decline if they would name a larger window for us. They can
        // accept this second offer.
        let unlimited = Parameters {
            server_max_window_bits: None,
            client_max_window_bits: Some(None),
            ..first
        };
        text += ", ";
        text += &unlimited.encode();
    }
    Some(text)
}

/// The first offer.
fn offered(settings: &Deflate) -> Parameters {
    if settings.offer.bare {
        return Parameters::default();
    }
    let ours = limits(settings);
    Parameters {
        server_max_window_bits: ours
            .server_max_window_bits
            .filter(|_| settings.offer.server_window),
        // It is always there, because it lets the server limit our window (RFC 7692 §7.1.2.2).
        client_max_window_bits: Some(
            ours.client_max_window_bits.flatten().filter(|_| settings.offer.client_window),
        ),
        ..ours
    }
}

/// The limits of the settings.
fn limits(settings: &Deflate) -> Parameters {
    let limit = |side: Side| Some(side.window_bits).filter(|&bits| bits < LARGEST);
    Parameters {
        server_no_context_takeover: !settings.server.takeover,
        client_no_context_takeover: !settings.client.takeover,
        server_max_window_bits: limit(settings.server),
        client_max_window_bits: Some(limit(settings.client)),
    }
}

/// A server's answer to one offer. `None` declines it.
pub(crate) fn accept<'a>(
    config: &Config,
    offer: impl Iterator<Item = Parameter<'a>>,
) -> Option<(Agreed, String)> {
    let settings = config.get().deflate?;
    let offer = Parameters::parse(offer)?;
    let ours = limits(&settings);
    let least = |a: Option<u8>, b: Option<u8>| a.into_iter().chain(b).min();
    let answer = Parameters {
        // RFC 7692 §7.1.1.1: a server accepts this parameter "by including" it in the answer. It may also
        // include it without being asked.
        server_no_context_takeover: offer.server_no_context_takeover
            || ours.server_no_context_takeover,
        // RFC 7692 §7.1.1.2: "A server MAY include" it, offered or not. If it was offered, the client will not
        // refer to earlier messages in any case, and saying so costs nothing.
        client_no_context_takeover: offer.client_no_context_takeover
            || ours.client_no_context_takeover,
        // RFC 7692 §7.1.2.1: "with the same or smaller value as the offer". The server may also limit itself
        // without being asked.
        server_max_window_bits: least(offer.server_max_window_bits, ours.server_max_window_bits),
        // RFC 7692 §7.1.2.2: if the offer does not have it, the answer "MUST NOT include" it.
        client_max_window_bits: offer
            .client_max_window_bits
            .and_then(|bits| least(bits, ours.client_max_window_bits.flatten()))
            .map(Some),
    };
    Some((answer.agreed(), answer.encode()))
}

/// A client's check of the server's answer. `None`: it does not fit the offer.
pub(crate) fn check<'a>(
    config: &Config,
    answer: impl Iterator<Item = Parameter<'a>>,
) -> Option<Agreed> {
    let settings = config.get().deflate?;
    let answer = Parameters::parse(answer)?;
    let asked = offered(&settings);
    // RFC 7692 §7.1.1.1: a server accepts this parameter "by including" it in the answer.
    if asked.server_no_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    // A larger window for the server than we offered, or none, answers our second offer. So it is right.
    // RFC 7692 §7.1.2.2: in an answer, this parameter "has a decimal integer value". It may be larger than
    // that of the offer, which is only a hint.
    if answer.client_max_window_bits == Some(None) {
        return None;
    }
    // RFC 7692 §7.1.2.2: if the offer did not have it, "the corresponding extension negotiation response to
    // the offer MUST NOT include" it.
    if asked.client_max_window_bits.is_none() && answer.client_max_window_bits.is_some() {
        return None;
    }
    let mut agreed = answer.agreed();
    // RFC 7692 §7.1.1.2: "the client is not going to use context takeover", whatever the server says.
    agreed.client.takeover &= settings.client.takeover;
    // RFC 7692 §7.1.2.2: the answer only limits the window, so a smaller one is always right.
    agreed.client.window_bits = agreed.client.window_bits.min(settings.client.window_bits);
    Some(agreed)
}
