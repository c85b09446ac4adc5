//! The rows of bowline's own benchmarks, for each library.

#[path = "../../../common/mod.rs"]
mod common;

mod embedded_websocket;
mod fastwebsockets;
mod mock;
mod ours;
mod sockudo;
mod soketto;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod ws_tool;
mod wtx;
mod yawc;

use common::{Work, core, floor, receive, send};

/// yawc's frames are shorter by default.
const YAWC_FRAME: usize = 1 << 20;

fn main() {
    let mut criterion = common::criterion();
    for work in &Work::received() {
        let mut group = criterion.benchmark_group(format!("peers receive {}", work.name));
        let group = &mut group;
        receive(group, "floor", work, floor::Floor::new);
        receive(group, "bare", work, floor::Bare::new);
        receive(group, "bowline core borrowed", work, core::Borrowed::new);
        receive(group, "bowline core owned", work, core::Owned::new);
        receive(group, "bowline blocking", work, ours::Blocking::receiver);
        receive(group, "bowline tokio", work, ours::Tokio::receiver);
        receive(group, "bowline tokio borrowed", work, ours::TokioBorrowed::receiver);
        receive(group, "tungstenite", work, tungstenite::Peer::receiver);
        receive(group, "tokio-websockets", work, tokio_websockets::Peer::receiver);
        receive(group, "fastwebsockets", work, fastwebsockets::Peer::receiver);
        receive(group, "sockudo-ws", work, sockudo::Receiver::new);
        receive(group, "ws-tool", work, ws_tool::Peer::receiver);
        receive(group, "wtx", work, wtx::Receiver::new);
        // What a library cannot do is left out. benches/README.md says what and why.
        let is_fragmented = work.frame < work.payload.len();
        if !(work.is_text || is_fragmented) {
            receive(group, "embedded-websocket", work, embedded_websocket::Receiver::new);
            receive(group, "web-socket", work, web_socket::Peer::receiver);
        }
        if !work.is_text {
            receive(group, "soketto", work, soketto::Peer::receiver);
        }
        if work.frame < YAWC_FRAME {
            receive(group, "yawc", work, yawc::Peer::receiver);
        }
    }
    for (role, masked) in [("client", true), ("server", false)] {
        for work in &Work::sent() {
            let mut group =
                criterion.benchmark_group(format!("peers send as {role} {}", work.name));
            macro_rules! row {
                ($name:literal, $open:expr) => {
                    send(&mut group, $name, work, masked, |work, sink| $open(work, masked, sink));
                };
            }
            row!("floor", floor::SendFloor::new);
            row!("bare", floor::SendBare::new);
            row!("bowline core send", core::Copied::new);
            row!("bowline core send_owned", core::Shared::new);
            row!("bowline core send_borrowed", core::Vectored::new);
            row!("bowline blocking", ours::Blocking::sender);
            row!("bowline tokio", ours::Tokio::sender);
            row!("tungstenite", tungstenite::Peer::sender);
            row!("tokio-websockets", tokio_websockets::Peer::sender);
            row!("fastwebsockets", fastwebsockets::Peer::sender);
            row!("sockudo-ws", sockudo::Sender::new);
            row!("ws-tool", ws_tool::Peer::sender);
            row!("wtx", wtx::Sender::new);
            row!("embedded-websocket", embedded_websocket::Sender::new);
            row!("web-socket", web_socket::Peer::sender);
            row!("soketto", soketto::Peer::sender);
            row!("yawc", yawc::Peer::sender);
        }
    }
    criterion.final_summary();
}
