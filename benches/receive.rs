//! A server that receives masked frames from a socket that is a memcpy.

mod common;

use common::{Work, core, floor, receive};

fn main() {
    let mut criterion = common::criterion();
    for work in &Work::received() {
        let mut group = criterion.benchmark_group(format!("receive {}", work.name));
        receive(&mut group, "floor", work, floor::Floor::new);
        receive(&mut group, "bare", work, floor::Bare::new);
        receive(&mut group, "borrowed", work, core::Borrowed::new);
        receive(&mut group, "owned", work, core::Owned::new);
        group.finish();
    }
    criterion.final_summary();
}
