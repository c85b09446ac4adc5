//! Echo over loopback: the processor time that a server uses for a message.
//!
//! `cargo run --release -p peers --example echo -- --help` lists the options.

#[path = "../sockets/mod.rs"]
mod sockets;

use std::time::Duration;

use sockets::frames::Window;
use sockets::load::Load;
use sockets::process::{self, Process};
use sockets::rounds;
use sockets::save::{self, Figures};
use sockets::servers::{self, Server};
use sockets::{Result, arguments, choose, time_and_rounds};

const HELP: &str = "\
--payloads 16 125 1024 65536            bytes of a message
--loads 1x128 16x16 256x16              connections x messages in flight on each; also 1x1 and 1000x1, for threads
--servers raw bare bowline ...          --servers none lists them
--seconds 0.3                           of one measurement
--rounds 9                              measurements of each server, in turn; medians count
--together                              server and client on one processor
--save FILE                             write the figures to a file for benches/report
";

/// The client's processor.
const CLIENT: usize = 1;

const PAYLOADS: &[(&str, usize)] =
    &[("16", 16), ("125", 125), ("1024", 1 << 10), ("65536", 64 << 10)];

/// How many of the loads are measured unless others are named.
const USUAL: usize = 3;

const LOADS: &[(&str, (usize, usize))] = &[
    ("1x128", (1, 128)),
    ("16x16", (16, 16)),
    ("256x16", (256, 16)),
    ("1x1", (1, 1)),
    ("1000x1", (1000, 1)),
];

fn main() -> Result<()> {
    let arguments = arguments(HELP);
    let servers = choose(&arguments, "--servers", servers::ALL);
    let payloads = choose(&arguments, "--payloads", PAYLOADS);
    let usual = !arguments.iter().any(|argument| argument == "--loads");
    let loads = choose(&arguments, "--loads", if usual { &LOADS[..USUAL] } else { LOADS });
    let (time, rounds) = time_and_rounds(&arguments, 0.3);
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example echo", &arguments);
    let together = arguments.iter().any(|argument| argument == "--together");
    let processor = if together { CLIENT } else { 0 };
    process::pin(CLIENT);
    process::raise_limit();
    for payload in payloads {
        let mut columns = Vec::new();
        for &load in &loads {
            eprintln!("{payload} B, {}x{}", load.0, load.1);
            let figures = measure(&servers, processor, payload, load, time, rounds)?;
            columns.push((format!("{} x {}", load.0, load.1), figures));
        }
        let title = format!("Echo of {payload} B: µs of the server's processor for a message");
        let at = |server| servers.iter().position(|&other| other == server);
        let rows: Vec<_> =
            servers.iter().map(|&server| (server.name(), at(servers::bare_for(server)))).collect();
        rounds::table(&title, "bare", &rows, &columns, &mut saved);
    }
    saved.write(file)
}

/// For each server the figures of all rounds, in µs for each message.
fn measure(
    servers: &[Server],
    processor: usize,
    payload: usize,
    (connections, in_flight): (usize, usize),
    time: Duration,
    rounds: usize,
) -> Result<Vec<Vec<f64>>> {
    let windows = [false, true].map(|copied| Window::new(in_flight, payload, copied));
    let mut all = Vec::new();
    for &server in servers {
        let process = Process::start(server.name(), processor)?;
        let mut load = Load::new()?;
        load.resize(process.address, connections)?;
        let window = &windows[usize::from(server == Server::Raw)];
        // Not counted: memory grows, caches fill, and the replies are compared.
        load.run(window, time / 3)?;
        all.push((process, load, window, Vec::new()));
    }
    for _ in 0..rounds {
        for (process, load, window, figures) in &mut all {
            let before = process.cpu()?;
            let messages = load.run(window, time)?;
            let used = process.cpu()? - before;
            figures.push(used.as_secs_f64() * 1e6 / messages as f64);
        }
    }
    Ok(all.into_iter().map(|(.., figures)| figures).collect())
}
