//! How often each library asks the allocator for memory: for a message, and for an opening handshake.
//!
//! No time is measured, and the counts are the same in every run. `--save FILE` writes them to a file for
//! benches/report.

#[path = "../../../common/mod.rs"]
mod common;
mod count;
#[path = "../../benches/in_memory/embedded_websocket.rs"]
mod embedded_websocket;
#[path = "../../benches/in_memory/fastwebsockets.rs"]
mod fastwebsockets;
#[path = "../../benches/in_memory/mock.rs"]
mod mock;
mod opening;
#[path = "../../benches/in_memory/ours.rs"]
mod ours;
#[path = "../sockets/save.rs"]
mod save;
#[path = "../../benches/in_memory/sockudo.rs"]
mod sockudo;
#[path = "../../benches/in_memory/soketto.rs"]
mod soketto;
#[path = "../../benches/in_memory/tokio_websockets.rs"]
mod tokio_websockets;
#[path = "../../benches/in_memory/tungstenite.rs"]
mod tungstenite;
#[path = "../../benches/in_memory/web_socket.rs"]
mod web_socket;
#[path = "../../benches/in_memory/ws_tool.rs"]
mod ws_tool;
#[path = "../../benches/in_memory/wtx.rs"]
mod wtx;
#[path = "../../benches/in_memory/yawc.rs"]
mod yawc;

use std::hint::black_box;

use common::{Receive, Send, Sink, Work, core};
use count::{Asked, asked};
use save::Figures;

/// Before these are counted, as many have filled the buffers.
const MESSAGES: u64 = 20_000;

const SIZES: [&str; 2] = ["16 B", "1 KiB"];

/// The room of a socket.
const SINK: usize = 128 << 10;

/// For each message. `keep` makes an owned message of one that is lent.
fn receive(mut receiver: impl Receive, keep: bool) -> Asked {
    let mut see = |payload: &[u8]| {
        if keep {
            black_box(payload.to_vec());
        }
    };
    receiver.receive(MESSAGES, &mut see);
    asked(|| receiver.receive(MESSAGES, &mut see)) / MESSAGES as f64
}

fn send(mut sender: impl Send) -> Asked {
    sender.send(MESSAGES);
    asked(|| sender.send(MESSAGES)) / MESSAGES as f64
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example allocations", &arguments);
    // Timers are made, and never run out.
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    messages(&mut saved);
    handshakes(&mut saved);
    saved.write(file)
}

fn messages(saved: &mut Figures) {
    let mut found = Vec::new();
    let received = Work::received_if(|name| SIZES.contains(&name));
    // A library that gives owned messages.
    macro_rules! owned {
        ($name:literal, $open:expr) => {
            for work in &received {
                let column = format!("receive {}, owned", work.name);
                found.push(($name, column, receive($open(work), false)));
            }
        };
    }
    // A library that lends messages: to keep one, the caller copies it.
    macro_rules! lent {
        ($name:literal, $open:expr) => {
            for work in &received {
                let column = format!("receive {}, lent", work.name);
                found.push(($name, column, receive($open(work), false)));
            }
        };
        ($name:literal, copied, $open:expr) => {
            lent!($name, $open);
            for work in &received {
                let column = format!("receive {}, owned", work.name);
                found.push(($name, column, receive($open(work), true)));
            }
        };
    }
    lent!("bowline core", core::Borrowed::new);
    owned!("bowline core", core::Owned::new);
    lent!("bowline tokio", ours::TokioBorrowed::receiver);
    owned!("bowline tokio", ours::Tokio::receiver);
    owned!("bowline blocking", ours::Blocking::receiver);
    owned!("tungstenite", tungstenite::Peer::receiver);
    owned!("tokio-websockets", tokio_websockets::Peer::receiver);
    owned!("fastwebsockets", fastwebsockets::Peer::receiver);
    owned!("sockudo-ws", sockudo::Receiver::new);
    lent!("ws-tool", copied, ws_tool::Peer::receiver);
    lent!("wtx", copied, wtx::Receiver::new);
    lent!("embedded-websocket", copied, embedded_websocket::Receiver::new);
    owned!("web-socket", web_socket::Peer::receiver);
    lent!("soketto", copied, soketto::Peer::receiver);
    owned!("yawc", yawc::Peer::receiver);

    let sent = Work::sent_if(|name| SIZES.contains(&name));
    for (role, masked) in [("server", false), ("client", true)] {
        macro_rules! sends {
            ($name:literal, $open:expr) => {
                for work in &sent {
                    let sender = $open(work, masked, Sink::new(SINK));
                    found.push(($name, format!("send {} as {role}", work.name), send(sender)));
                }
            };
        }
        sends!("bowline core", core::Copied::new);
        sends!("bowline tokio", ours::Tokio::sender);
        sends!("bowline blocking", ours::Blocking::sender);
        sends!("tungstenite", tungstenite::Peer::sender);
        sends!("tokio-websockets", tokio_websockets::Peer::sender);
        sends!("fastwebsockets", fastwebsockets::Peer::sender);
        sends!("sockudo-ws", sockudo::Sender::new);
        sends!("ws-tool", ws_tool::Peer::sender);
        sends!("wtx", wtx::Sender::new);
        sends!("embedded-websocket", embedded_websocket::Sender::new);
        sends!("web-socket", web_socket::Peer::sender);
        sends!("soketto", soketto::Peer::sender);
        sends!("yawc", yawc::Peer::sender);
    }
    let times = found.iter().map(|(name, column, asked)| (*name, column.as_str(), asked.times));
    table("Allocations for each message", times, saved);
    let bytes = found.iter().map(|(name, column, asked)| (*name, column.as_str(), asked.bytes));
    table("Bytes allocated for each message", bytes, saved);
}

fn handshakes(saved: &mut Figures) {
    let all = opening::all();
    let figures = all.iter().flat_map(|&(name, accept, connect)| {
        [
            (name, "accept", accept.times),
            (name, "accept: bytes", accept.bytes),
            (name, "connect", connect.times),
            (name, "connect: bytes", connect.bytes),
        ]
    });
    table("Allocations of an opening handshake", figures, saved);
}

/// Prints and saves figures that come with their row and column.
fn table<'a>(
    title: &str,
    figures: impl Iterator<Item = (&'a str, &'a str, f64)>,
    saved: &mut Figures,
) {
    println!("### {title}\n");
    let mut last = "";
    let mut figures: Vec<_> = figures.collect();
    // By row, each in the order of its first figure.
    let rows: Vec<_> = figures.iter().map(|&(row, ..)| row).collect();
    figures.sort_by_key(|(row, ..)| rows.iter().position(|other| other == row));
    for (row, column, value) in figures {
        if row != last {
            println!("{row}");
            last = row;
        }
        println!("    {column}: {value:.3}");
        saved.add([title, row, column], value, None);
    }
    println!();
}
