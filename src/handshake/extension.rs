//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use super::{is_token, is_token_byte, list};
use crate::protocol::deflate::Parameter;

/// An extension as it stands in the header: `token *( ";" token [ "=" value ] )`. A value is a token, which may
/// be quoted.
#[derive(Clone, Copy)]
pub(super) struct Extension<'a>(&'a [u8]);

/// The elements of the header's lines. A comma always separates: in quotes it would be part of no token.
pub(super) fn extensions<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Extension<'a>> {
    list(lines).map(Extension)
}

impl<'a> Extension<'a> {
    pub(super) fn is_valid(&self) -> bool {
        is_token(self.name())
            && self.parameters().all(|(name, value)| is_token(name) && value.is_none_or(is_value))
    }

    pub(super) fn name(&self) -> &'a [u8] {
        self.parts().next().unwrap_or_default()
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> {
        self.parts().skip(1).map(|parameter| {
            // RFC 6455 §9.1: the "implied *LWS rule" of RFC 2616 allows space around the equals sign.
            let mut sides = parameter.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
            (sides.next().unwrap_or_default(), sides.next())
        })
    }

    fn parts(&self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
    }
}

fn is_value(value: &[u8]) -> bool {
    match value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) {
        Some(quoted) => is_quoted_token(quoted),
        None => is_token(value),
    }
}

/// RFC 6455 §9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF."
fn is_quoted_token(mut quoted: &[u8]) -> bool {
    let empty = quoted.is_empty();
    while let Some((&first, rest)) = quoted.split_first() {
        let (byte, rest) = match (first, rest.split_first()) {
            (b'\\', Some((&escaped, rest))) => (escaped, rest),
            _ => (first, rest),
        };
        if !is_token_byte(byte) {
            return false;
        }
        quoted = rest;
    }
    !empty
}
