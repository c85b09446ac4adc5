//! UTF-8 (RFC 3629), checked as the bytes come. RFC 6455 §5.6: "the whole message MUST contain valid UTF-8."
//! §8.1: if it does not, "that endpoint MUST _Fail the WebSocket Connection_".

/// The result of a check of the start of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Valid up to here. At most three more bytes follow, which begin a character that is not complete.
    UpTo(usize),
    /// This byte makes the text invalid, whatever follows.
    InvalidAt(usize),
}

/// Checks `bytes`, which begin at a character boundary.
pub(crate) fn check(bytes: &[u8]) -> Checked {
    // The fast routine only says yes or no; the exact one says where. A text that comes in pieces often ends
    // inside a character. Then the fast one gets the bytes before that character.
    let whole = bytes.len() - begun(bytes);
    if simdutf8::basic::from_utf8(&bytes[..whole]).is_err() {
        exact(bytes, 0)
    } else if whole < bytes.len() {
        exact(bytes, whole)
    } else {
        Checked::UpTo(whole)
    }
}

/// How many bytes at the end begin a character that needs more, judged by its first byte alone.
fn begun(bytes: &[u8]) -> usize {
    match *bytes {
        [.., 0xC2..=0xF4] => 1,
        [.., 0xE0..=0xF4, _] => 2,
        [.., 0xF0..=0xF4, _, _] => 3,
        _ => 0,
    }
}

/// Checks all of `bytes`, of which the first `valid` are known to be valid.
#[cold]
fn exact(bytes: &[u8], valid: usize) -> Checked {
    match simdutf8::compat::from_utf8(&bytes[valid..]) {
        Ok(_) => Checked::UpTo(bytes.len()),
        Err(error) => {
            let at = valid + error.valid_up_to();
            match (error.error_len(), bytes[at]) {
                (None, _) => Checked::UpTo(at),
                // The bytes before the invalid one began a character.
                (Some(begun), 0xC2..=0xF4) => Checked::InvalidAt(at + begun),
                (Some(_), _) => Checked::InvalidAt(at),
            }
        }
    }
}

/// The text in `bytes`.
///
/// # Safety
///
/// `bytes` must be valid UTF-8.
#[allow(unsafe_code)]
pub(crate) unsafe fn trusted(bytes: &[u8]) -> &str {
    debug_assert!(core::str::from_utf8(bytes).is_ok());
    // SAFETY: the caller's promise is the same.
    unsafe { core::str::from_utf8_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_may_still_be_completed_is_not_an_error() {
        for text in
            ["é", "€", "𐍈", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmn€"]
        {
            for cut in 0..text.len() {
                let valid = (0..=cut).rev().find(|&i| text.is_char_boundary(i)).unwrap();
                assert_eq!(check(&text.as_bytes()[..cut]), Checked::UpTo(valid));
            }
        }
    }

    #[test]
    fn an_error_is_seen_at_the_byte_that_decides_it() {
        // Overlong, surrogate, beyond U+10FFFF, lone continuation, never-used bytes: the second byte decides.
        for (bytes, at) in [
            (&b"a\xc0"[..], 1),
            (b"\xe0\x80", 1),
            (b"\xed\xa0", 1),
            (b"\xf0\x80", 1),
            (b"\xf4\x90", 1),
            (b"\xf5", 0),
            (b"ab\x80", 2),
            (b"\xff", 0),
            (b"\xe2\x28", 1),
            (b"\xf0\x9f\x28", 2),
            (b"a\xf0\x9f\x92\x28", 4),
        ] {
            assert_eq!(check(bytes), Checked::InvalidAt(at), "{bytes:02x?}");
        }
    }
}
