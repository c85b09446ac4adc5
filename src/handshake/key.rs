//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 §4.1, §4.2.2).

use alloc::string::String;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use sha1::{Digest, Sha1};

/// Proves to the client that the answer comes from a WebSocket server (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// ```
/// use bowline::handshake::accept_key;
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    accept_for(key.as_bytes()).iter().copied().map(char::from).collect()
}

/// Like [`accept_key`], but without an allocation.
pub(super) fn accept_for(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    encoded(&digest)
}

/// Encodes bytes as base64. `N` must be the length of the result.
fn encoded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut text = [0; N];
    let written = STANDARD.encode_slice(bytes, &mut text);
    debug_assert_eq!(written, Ok(N));
    text
}

/// Reads base64 whose last bits belong to no byte and are not zero. RFC 4648 §3.5 leaves the choice to the
/// decoder, and the example of a key in RFC 6455 §4.1 has such bits.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Whether a key is valid. RFC 6455 §4.2.1 item 5: base64 "that, when decoded, is 16 bytes in length".
pub(crate) fn is_valid(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    key.len() == 24 && LENIENT.decode_slice(key, &mut decoded) == Ok(16)
}

/// A key from 16 random bytes.
pub(super) fn encode(nonce: [u8; 16]) -> [u8; 24] {
    encoded(&nonce)
}

/// The value of an `Authorization` header with Basic credentials (RFC 7617).
pub(crate) fn basic_credentials(user_and_password: &[u8]) -> String {
    alloc::format!("Basic {}", STANDARD.encode(user_and_password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_values() {
        assert_eq!(accept_key("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes() {
        assert!(is_valid(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_valid(b"AQIDBAUGBwgJCgsMDQ4PEC=="), "the example of RFC 6455 §4.1");
        for key in [
            &b""[..],
            b"AAAAAAAAAAAAAAAAAAAA",
            b"AAAAAAAAAAAAAAAAAAAAAAA=",
            b"AAAAAAAAAAAAAAAAAAAAAAAA",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZ-==",
            b" GhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert!(!is_valid(key), "{key:?}");
        }
    }
}
