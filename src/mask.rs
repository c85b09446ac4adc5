//! Masking (RFC 6455 §5.3): XOR with a repeating four-byte key. The same operation masks and unmasks.

/// From this length on, finding out what the processor has pays.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const WIDE_FROM: usize = 512;

/// XORs `data` with `key`, as if `offset` bytes of the payload had come before it.
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    // A zero key changes nothing; peers that do not need masking's protection may send one.
    let key = key_at(key, offset);
    if key == [0; 4] {
        return;
    }
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if data.len() >= WIDE_FROM {
        return wide::apply(data, key);
    }
    xor::<32>(data, key);
}

/// XORs with a key that starts at the first byte. The compiler turns blocks of `N` bytes into vector
/// code, as wide as the caller's target features allow.
#[inline(always)]
pub(crate) fn xor<const N: usize>(data: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let (blocks, rest) = data.as_chunks_mut::<N>();
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

/// The same loop, compiled for processors that a generic build does not count on.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[allow(unsafe_code)]
pub(crate) mod wide {
    use super::xor;
    use std::arch::is_x86_feature_detected;

    pub(super) fn apply(data: &mut [u8], key: [u8; 4]) {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { avx512(data, key) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            unsafe { avx2(data, key) }
        } else {
            xor::<32>(data, key);
        }
    }

    #[target_feature(enable = "avx512f,avx512vl")]
    pub(crate) fn avx512(data: &mut [u8], key: [u8; 4]) {
        xor::<256>(data, key);
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn avx2(data: &mut [u8], key: [u8; 4]) {
        xor::<128>(data, key);
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

    type Kernel = fn(&mut [u8], [u8; 4]);

    /// Every kernel that this processor can run.
    #[allow(unsafe_code)]
    fn kernels() -> Vec<Kernel> {
        let mut kernels: Vec<Kernel> = Vec::from([xor::<32> as Kernel]);
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::arch::is_x86_feature_detected;
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has what the function is compiled for.
                kernels.push(|data, key| unsafe { wide::avx2(data, key) });
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                // SAFETY: as above.
                kernels.push(|data, key| unsafe { wide::avx512(data, key) });
            }
        }
        kernels
    }

    #[test]
    fn every_kernel_equals_the_naive_loop() {
        let source: Vec<u8> = (0..2100).map(|i| (i * 7) as u8).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for kernel in kernels() {
            for start in [0, 1, 6, 14, 31] {
                for length in (0..600).chain(1020..1030).chain([2048, 2060]) {
                    let mut ours = source.clone();
                    let mut theirs = source.clone();
                    kernel(&mut ours[start..start + length], key);
                    naive(&mut theirs[start..start + length], key, 0);
                    assert_eq!(ours, theirs, "{start} {length}");
                }
            }
        }
    }

    #[test]
    fn equals_the_naive_loop_at_every_length_alignment_and_offset() {
        let source: Vec<u8> = (0..1010).map(|i| (i * 7) as u8).collect();
        for key in [[0x37, 0xfa, 0x21, 0x3d], [0; 4], [0, 0, 0, 1]] {
            for start in 0..9 {
                for length in (0..70).chain([127, 128, 255, 256, 290, 511, 512, 513, 1000]) {
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
