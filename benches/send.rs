//! Clients and servers that send binary messages to a socket that is a memcpy.

mod common;

use common::{Work, core, floor, send};

fn main() {
    let mut criterion = common::criterion();
    for (role, masked) in [("client", true), ("server", false)] {
        for work in &Work::sent() {
            let mut group = criterion.benchmark_group(format!("send as {role} {}", work.name));
            let group = &mut group;
            send(group, "floor", work, masked, |work, sink| {
                floor::SendFloor::new(work, masked, sink)
            });
            send(group, "bare", work, masked, |work, sink| {
                floor::SendBare::new(work, masked, sink)
            });
            send(group, "send", work, masked, |work, sink| core::Copied::new(work, masked, sink));
            send(group, "send_owned", work, masked, |work, sink| {
                core::Shared::new(work, masked, sink)
            });
            send(group, "send_borrowed", work, masked, |work, sink| {
                core::Vectored::new(work, masked, sink)
            });
        }
    }
    criterion.final_summary();
}
