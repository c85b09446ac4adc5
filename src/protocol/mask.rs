//! Masking: XOR with a repeating key of four bytes. RFC 6455 §5.3: "The same algorithm applies regardless of the
//! direction of the translation".

use alloc::vec::Vec;

/// From this length on it pays to ask which instructions the processor has.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const WIDE_FROM: usize = 512;

/// Masks a payload, or unmasks it, in place: XOR with the masking key of its frame (RFC 6455 §5.3).
///
/// A [`Connection`](crate::Connection) does this by itself. See [`FrameHeader`](super::FrameHeader) for an example.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    apply(payload, key);
}

/// XORs `data` with `key`, which starts at the first byte.
#[inline]
pub(crate) fn apply(data: &mut [u8], key: [u8; 4]) {
    // A zero key changes nothing; peers that do not need masking's protection may send one.
    if key == [0; 4] {
        return;
    }
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if data.len() >= WIDE_FROM {
        return wide::apply(data, key);
    }
    xor::<32>(data, key);
}

/// Like [`apply`]. Gives the key for the bytes that follow.
pub(crate) fn apply_part(data: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    apply(data, key);
    key_at(key, data.len())
}

/// Appends `from` XOR `key`, which starts at the first byte, in one pass.
#[inline]
pub(crate) fn append(to: &mut Vec<u8>, from: &[u8], key: [u8; 4]) {
    to.reserve(from.len());
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if from.len() >= WIDE_FROM {
        return wide::append(to, from, key);
    }
    append_xor::<64>(to, from, key);
}

/// The caller has made room, so a block costs its copy and a comparison.
#[inline(always)]
pub(crate) fn append_xor<const N: usize>(to: &mut Vec<u8>, from: &[u8], key: [u8; 4]) {
    let rest = append_blocks::<N>(to, from, key);
    let rest = append_blocks::<16>(to, rest, key);
    let rest = append_blocks::<4>(to, rest, key);
    if rest.is_empty() {
        return;
    }
    let mut end = [0; 3];
    for (masked, (byte, key)) in end.iter_mut().zip(rest.iter().zip(key)) {
        *masked = byte ^ key;
    }
    to.extend_from_slice(&end[..rest.len()]);
}

/// Appends whole blocks and gives the rest.
#[inline(always)]
fn append_blocks<'a, const N: usize>(to: &mut Vec<u8>, from: &'a [u8], key: [u8; 4]) -> &'a [u8] {
    let (blocks, rest) = from.as_chunks::<N>();
    for block in blocks {
        let mut block = *block;
        words(&mut block, key);
        to.extend_from_slice(&block);
    }
    rest
}

/// XORs with a key that starts at the first byte. The compiler turns blocks of `N` bytes into vector
/// code, as wide as the caller's target features allow.
#[inline(always)]
pub(crate) fn xor<const N: usize>(data: &mut [u8], key: [u8; 4]) {
    let rest = blocks::<N>(data, key);
    let rest = if N > 32 { blocks::<32>(rest, key) } else { rest };
    let rest = block::<16>(rest, key);
    let rest = block::<8>(rest, key);
    let rest = block::<4>(rest, key);
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// XORs whole blocks and gives the rest.
#[inline(always)]
fn blocks<const N: usize>(data: &mut [u8], key: [u8; 4]) -> &mut [u8] {
    let (blocks, rest) = data.as_chunks_mut::<N>();
    for block in blocks {
        words(block, key);
    }
    rest
}

/// XORs one block, if there is one, and gives the rest.
#[inline(always)]
fn block<const N: usize>(data: &mut [u8], key: [u8; 4]) -> &mut [u8] {
    if data.len() < N {
        return data;
    }
    let (block, rest) = data.split_at_mut(N);
    words(block, key);
    rest
}

#[inline(always)]
fn words(block: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    for bytes in block.as_chunks_mut::<4>().0 {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
}

/// The same loop, compiled for instructions that a generic build does not use.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[allow(unsafe_code)]
pub(crate) mod wide {
    use super::{append_xor, key_at, xor};
    use alloc::vec::Vec;
    use std::arch::is_x86_feature_detected;

    /// Stores that cross from one line of the cache to the next take twice as long.
    const LINE: usize = 64;

    /// From this length on it pays to avoid such stores, and to use AVX-512. AVX-512 is slower than AVX2 at
    /// 1 KiB, and faster at 16 KiB.
    const LONG: usize = 4 << 10;

    pub(super) fn apply(data: &mut [u8], key: [u8; 4]) {
        if data.len() < LONG {
            return medium(data, key);
        }
        let before = data.as_ptr().align_offset(LINE).min(data.len());
        let (before, lines) = data.split_at_mut(before);
        xor::<32>(before, key);
        let key = key_at(key, before.len());
        if has_avx512() {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { avx512(lines, key) }
        } else {
            medium(lines, key);
        }
    }

    #[inline]
    fn medium(data: &mut [u8], key: [u8; 4]) {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { avx2(data, key) }
        } else {
            xor::<32>(data, key);
        }
    }

    fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
    }

    pub(super) fn append(to: &mut Vec<u8>, from: &[u8], key: [u8; 4]) {
        if from.len() >= LONG && has_avx512() {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { append_avx512(to, from, key) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            unsafe { append_avx2(to, from, key) }
        } else {
            append_xor::<64>(to, from, key);
        }
    }

    #[target_feature(enable = "avx512f,avx512vl")]
    pub(crate) fn append_avx512(to: &mut Vec<u8>, from: &[u8], key: [u8; 4]) {
        append_xor::<256>(to, from, key);
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn append_avx2(to: &mut Vec<u8>, from: &[u8], key: [u8; 4]) {
        append_xor::<128>(to, from, key);
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

/// The key rotated so that it starts at `offset`.
fn key_at(key: [u8; 4], offset: usize) -> [u8; 4] {
    let turn = 8 * (offset % 4) as u32;
    u32::from_le_bytes(key).rotate_right(turn).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(data: &mut [u8], key: [u8; 4]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= key[i % 4];
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
                    naive(&mut theirs[start..start + length], key);
                    assert_eq!(ours, theirs, "{start} {length}");
                }
            }
        }
    }

    type Appends = fn(&mut Vec<u8>, &[u8], [u8; 4]);

    /// Every appending kernel that this processor can run.
    #[allow(unsafe_code)]
    fn appending_kernels() -> Vec<Appends> {
        let mut kernels: Vec<Appends> = Vec::from([append as Appends, append_xor::<64>]);
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            use std::arch::is_x86_feature_detected;
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has what the function is compiled for.
                kernels.push(|to, from, key| unsafe { wide::append_avx2(to, from, key) });
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                // SAFETY: as above.
                kernels.push(|to, from, key| unsafe { wide::append_avx512(to, from, key) });
            }
        }
        kernels
    }

    #[test]
    fn what_is_appended_equals_the_naive_loop() {
        let source: Vec<u8> = (0..2100).map(|i| (i * 7) as u8).collect();
        for key in [[0x37, 0xfa, 0x21, 0x3d], [0; 4]] {
            for kernel in appending_kernels() {
                for length in (0..600).chain(1020..1030).chain([2048, 2060]) {
                    let mut ours = Vec::from(*b"before");
                    kernel(&mut ours, &source[..length], key);
                    let mut theirs = source[..length].to_vec();
                    naive(&mut theirs, key);
                    assert_eq!((&ours[..6], &ours[6..]), (&b"before"[..], &theirs[..]), "{length}");
                }
            }
        }
    }

    #[test]
    fn equals_the_naive_loop_at_every_length_alignment_and_offset() {
        let source: Vec<u8> = (0..5010).map(|i| (i * 7) as u8).collect();
        for key in [[0x37, 0xfa, 0x21, 0x3d], [0; 4], [0, 0, 0, 1]] {
            for start in 0..9 {
                for length in
                    (0..70).chain([127, 128, 255, 256, 290, 511, 512, 513, 1000, 4095, 4096, 5000])
                {
                    for offset in 0..5 {
                        let mut ours = source.clone();
                        let mut theirs = source.clone();
                        let middle = start + offset.min(length);
                        let next = apply_part(&mut ours[start..middle], key);
                        apply(&mut ours[middle..start + length], next);
                        naive(&mut theirs[start..start + length], key);
                        assert_eq!(ours, theirs, "{key:?} {start} {length} {offset}");
                    }
                }
            }
        }
    }
}
