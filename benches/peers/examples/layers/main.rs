//! Echo over what lies below a WebSocket in real programs: TLS, axum, HTTP/2. The processor time that a server uses for a
//! message.
//!
//! `cargo run --release -p peers --example layers -- --help` lists the options.

mod client;
#[path = "../sockets/mod.rs"]
mod sockets;
mod tls;

use std::time::Duration;

use sockets::frames::Window;
use sockets::process::{self, Process};
use sockets::rounds;
use sockets::save::{self, Figures};
use sockets::servers::Server;
use sockets::{Result, choose, number};
use tls::Identity;
use tokio::runtime::Runtime;

const HELP: &str = "\
--layers tls axum http2                 what is below the WebSocket
--payloads 16 1024 65536                bytes of a message
--loads 1x1 16x16                       connections x messages in flight on each
--seconds 0.3                           of one measurement
--rounds 9                              measurements of each server, in turn; medians count
--save FILE                             write the figures to a file for benches/report
";

#[derive(Clone, Copy)]
pub enum Layer {
    Tls,
    Axum,
    Http2,
}

const LAYERS: &[(&str, Layer)] =
    &[("tls", Layer::Tls), ("axum", Layer::Axum), ("http2", Layer::Http2)];

const PAYLOADS: &[(&str, usize)] = &[("16", 16), ("1024", 1 << 10), ("65536", 64 << 10)];

const LOADS: &[(&str, (usize, usize))] = &[("1x1", (1, 1)), ("16x16", (16, 16))];

impl Layer {
    fn title(self) -> &'static str {
        match self {
            Self::Tls => "over TLS",
            Self::Axum => "on axum",
            Self::Http2 => "on axum over HTTP/2",
        }
    }

    /// The servers. Ratios are of the first.
    fn servers(self) -> &'static [Server] {
        match self {
            Self::Tls => &[
                Server::Bare,
                Server::BowlineBorrowed,
                Server::Bowline,
                Server::Tungstenite,
                Server::TungsteniteLate,
                Server::TokioWebsockets,
            ],
            Self::Axum => &[Server::Bare, Server::BowlineAxum, Server::Axum],
            Self::Http2 => &[Server::Axum, Server::BowlineAxum],
        }
    }

    fn start(self, server: Server, identity: &Identity) -> Result<Process> {
        match self {
            Self::Tls => tls::start(server, identity),
            Self::Axum | Self::Http2 => Process::start(server.name(), 0),
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(process::SERVE) => process::serve(&arguments[1..], || 0),
        Some(tls::SERVE) => tls::serve(&arguments[1..]),
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let layers = choose(&arguments, "--layers", LAYERS);
    let payloads = choose(&arguments, "--payloads", PAYLOADS);
    let loads = choose(&arguments, "--loads", LOADS);
    let time = Duration::from_secs_f64(number(&arguments, "--seconds", 0.3));
    let rounds = number(&arguments, "--rounds", 9.0) as usize;
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example layers", &arguments);
    process::pin(1);
    let bench = Bench {
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        identity: Identity::new(),
        time,
        rounds,
    };
    for layer in layers {
        for &payload in &payloads {
            let title = format!(
                "Echo of {payload} B {}: µs of the server's processor for a message",
                layer.title()
            );
            let mut columns = Vec::new();
            for &load in &loads {
                eprintln!("{title}, {}x{}", load.0, load.1);
                let figures = bench.measure(layer, payload, load)?;
                columns.push((format!("{} x {}", load.0, load.1), figures));
            }
            let names = layer.servers().iter().map(|server| server.name());
            let rows: Vec<_> = names.map(|name| (name, Some(0))).collect();
            rounds::table(&title, rows[0].0, &rows, &columns, &mut saved);
        }
    }
    saved.write(file)
}

struct Bench {
    runtime: Runtime,
    identity: Identity,
    time: Duration,
    rounds: usize,
}

impl Bench {
    /// For each server the figures of all rounds.
    fn measure(
        &self,
        layer: Layer,
        payload: usize,
        (connections, in_flight): (usize, usize),
    ) -> Result<Vec<Vec<f64>>> {
        let window = Window::new(in_flight, payload, false);
        let mut all = Vec::new();
        for &server in layer.servers() {
            let process = layer.start(server, &self.identity)?;
            let open = client::open(layer, process.address, &self.identity, connections);
            let mut streams = self.runtime.block_on(open)?;
            // Not counted: memory grows, and caches fill.
            self.runtime.block_on(client::run(&mut streams, &window, self.time / 3))?;
            all.push((process, streams, Vec::new()));
        }
        for _ in 0..self.rounds {
            for (process, streams, figures) in &mut all {
                let before = process.cpu()?;
                let run = client::run(streams, &window, self.time);
                let messages = self.runtime.block_on(run)?;
                let used = process.cpu()? - before;
                figures.push(used.as_secs_f64() * 1e6 / messages as f64);
            }
        }
        Ok(all.into_iter().map(|(.., figures)| figures).collect())
    }
}
