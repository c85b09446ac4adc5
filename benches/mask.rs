//! The masking kernel in place, compared with a loop over bytes and a copy with XOR in one pass.

#![allow(unsafe_code, reason = "the kernels for one kind of processor are called by name")]

mod common;
// With its tests, which a benchmark does not run.
#[path = "../src/protocol/mask.rs"]
#[allow(dead_code, unused_imports)]
mod mask;

// For the module above, which belongs to a crate without `std`.
extern crate alloc;

use std::hint::black_box;

use common::floor::copy_xor;
use common::{Numbers, binary};

fn by_bytes(data: &mut [u8], key: [u8; 4]) {
    for (i, byte) in data.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

fn main() {
    let mut criterion = common::criterion();
    let mut numbers = Numbers::new();
    for len in [16, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let source = binary(len + 64);
        // A payload behind a masked header begins 6, 8 or 14 bytes into a buffer.
        for start in [0, 6, 8, 14] {
            let key = numbers.key();
            let mut data = source.clone();
            let mut expected = source.clone();
            for (i, byte) in expected[start..start + len].iter_mut().enumerate() {
                *byte ^= key[i % 4];
            }
            mask::apply(&mut data[start..start + len], key);
            assert!(data == expected, "{len} bytes at {start}");

            let mut group = criterion.benchmark_group(format!("mask {len} B at {start}"));
            group.throughput(criterion::Throughput::Bytes(len as u64));
            group.bench_function("bowline", |bencher| {
                bencher
                    .iter(|| mask::apply(black_box(&mut data[start..start + len]), black_box(key)));
            });
            group.bench_function("16 bytes at once", |bencher| {
                bencher.iter(|| {
                    mask::xor::<32>(black_box(&mut data[start..start + len]), black_box(key))
                });
            });
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                group.bench_function("AVX2", |bencher| {
                    // SAFETY: the processor has it.
                    bencher.iter(|| unsafe {
                        mask::wide::avx2(black_box(&mut data[start..start + len]), black_box(key))
                    });
                });
            }
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                group.bench_function("AVX-512", |bencher| {
                    // SAFETY: the processor has it.
                    bencher.iter(|| unsafe {
                        mask::wide::avx512(black_box(&mut data[start..start + len]), black_box(key))
                    });
                });
            }
            if start == 0 {
                let mut to = vec![0; len];
                copy_xor(&mut to, &source[..len], key);
                assert!(to == expected[..len], "{len} bytes copied");
                group.bench_function("floor", |bencher| {
                    bencher.iter(|| {
                        copy_xor(black_box(&mut to), black_box(&source[..len]), black_box(key))
                    });
                });
                // The compiler must not know the key or the length.
                group.bench_function("byte loop", |bencher| {
                    bencher.iter(|| by_bytes(black_box(&mut data[..len]), black_box(key)));
                });
            }
            // An even or odd number of passes: the bytes are as they were, or masked.
            let data = &data[start..start + len];
            assert!(data == &source[start..start + len] || data == &expected[start..start + len]);
            group.finish();
        }
    }
    criterion.final_summary();
}
