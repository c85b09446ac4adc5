//! UTF-8 validation, compared with that of `std`.

mod common;
// With its tests, which a benchmark does not run.
#[path = "../src/protocol/utf8.rs"]
#[allow(dead_code, unused_imports)]
mod utf8;

use std::hint::black_box;

use common::text;
use utf8::{Checked, check};

fn main() {
    let mut criterion = common::criterion();
    for (name, make) in [("mixed", text as fn(usize) -> String), ("ascii", |len| "x".repeat(len))] {
        for len in [16, 125, 1 << 10, 16 << 10, 64 << 10] {
            let text = make(len);
            let mut group = criterion.benchmark_group(format!("utf8 {name} {len} B"));
            group.throughput(criterion::Throughput::Bytes(len as u64));
            assert_eq!(check(text.as_bytes()), Checked::UpTo(len));
            group.bench_function("bowline", |bencher| {
                bencher.iter(|| check(black_box(text.as_bytes())));
            });
            group.bench_function("std", |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(text.as_bytes())).is_ok());
            });
            group.finish();
        }
        // Text that comes in pieces ends inside a character: the fast routine says no, and another says where.
        for len in [1 << 10, 16 << 10] {
            let mut text = make(len - 4);
            text.push('🦊');
            let cut = &text.as_bytes()[..len - 1];
            let mut group = criterion.benchmark_group(format!("utf8 {name} {len} B, cut"));
            assert_eq!(check(cut), Checked::UpTo(len - 4));
            group.bench_function("bowline", |bencher| {
                bencher.iter(|| check(black_box(cut)));
            });
            group.bench_function("std", |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(cut)).is_err());
            });
            group.finish();
        }
    }
    criterion.final_summary();
}
