//! The two loops over bytes: where a line ends, and whether bytes are UTF-8. The feature `simd` has both from crates that know the
//! vectors of the processor.

/// Below this many bytes it takes longer to choose an implementation than to look at them.
#[cfg(feature = "simd")]
const SHORT: usize = 128;

/// Where the first LF or CR is.
#[cfg(feature = "simd")]
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', b'\r', bytes)
}

/// Where the first LF or CR is.
///
/// Whole blocks are looked at without a branch for each byte, which compilers turn into vector instructions.
#[cfg(not(feature = "simd"))]
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let has_end =
        |block: &[u8; BLOCK]| block.iter().fold(false, |found, byte| found | is_end(byte));
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let skipped = blocks.iter().take_while(|block| !has_end(block)).count() * BLOCK;
    bytes[skipped..].iter().position(is_end).map(|at| skipped + at)
}

/// The text, if all of the bytes are UTF-8.
#[inline]
pub(crate) fn as_text(bytes: &[u8]) -> Option<&str> {
    #[cfg(feature = "simd")]
    if bytes.len() >= SHORT {
        return simdutf8::basic::from_utf8(bytes).ok();
    }
    core::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_line_end_is_found_at_any_place() {
        for len in 0..100 {
            let mut bytes = vec![b'x'; len];
            assert_eq!(find_line_end(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = if at % 2 == 0 { b'\n' } else { b'\r' };
                // Those after it stay.
                assert_eq!(find_line_end(&bytes), Some(at));
            }
        }
    }

    #[test]
    fn text_is_text_at_any_length() {
        for len in 0..200 {
            let mut bytes = vec![b'x'; len];
            assert!(as_text(&bytes).is_some_and(|text| text.len() == len));
            for at in 0..len {
                bytes[at] = 0xC3;
                assert_eq!(as_text(&bytes), None);
                bytes[at] = b'x';
            }
        }
    }
}
