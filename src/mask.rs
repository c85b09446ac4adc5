//! Masking (RFC 6455 §5.3): XOR with a repeating four-byte key. The same operation masks and unmasks.

/// XORs `data` with `key`, as if `offset` bytes of the payload had come before it.
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    // A zero key changes nothing; peers that do not need masking's protection may send one.
    let key = key_at(key, offset);
    if key == [0; 4] {
        return;
    }
    let word = u32::from_ne_bytes(key);
    // Wide blocks that the compiler turns into vector code; word by word where there is none.
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for bytes in block.as_chunks_mut::<4>().0 {
            *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// The key turned so that it starts at `offset`.
fn key_at(key: [u8; 4], offset: usize) -> [u8; 4] {
    let turn = 8 * (offset % 4) as u32;
    u32::from_le_bytes(key).rotate_right(turn).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn naive(data: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= key[(offset + i) % 4];
        }
    }

    #[test]
    fn equals_the_naive_loop_at_every_length_alignment_and_offset() {
        let source: Vec<u8> = (0..300).map(|i| (i * 7) as u8).collect();
        for key in [[0x37, 0xfa, 0x21, 0x3d], [0; 4], [0, 0, 0, 1]] {
            for start in 0..9 {
                for length in (0..70).chain([127, 128, 255, 256, 290]) {
                    for offset in 0..5 {
                        let mut ours = source.clone();
                        let mut theirs = source.clone();
                        apply(&mut ours[start..start + length], key, offset);
                        naive(&mut theirs[start..start + length], key, offset);
                        assert_eq!(ours, theirs, "{key:?} {start} {length} {offset}");
                    }
                }
            }
        }
    }
}
