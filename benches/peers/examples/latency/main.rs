//! Latency of an echo at a fixed rate. It counts from when a message was to be sent, so a server that falls behind cannot
//! slow down the clock.
//!
//! `cargo run --release -p peers --example latency -- --help` lists the options.

mod schedule;
#[path = "../sockets/mod.rs"]
mod sockets;

use std::time::Instant;

use schedule::Schedule;
use sockets::process::{self, Process};
use sockets::rounds;
use sockets::save::{self, Figures};
use sockets::servers::Server;
use sockets::{Result, arguments, choose, number, option, time_and_rounds};

const HELP: &str = "\
--servers bare bowline ...      --servers none lists them
--rates 1000 10000 50000        messages in a second, on all connections together
--connections 64                which get a message in turn
--payload 125                   bytes of a message
--seconds 2                     of one measurement
--rounds 9                      measurements of each server, in turn; medians count
--save FILE                     write the figures to a file for benches/report
";

const SERVERS: &[Server] = &[
    Server::Bare,
    Server::BowlineBorrowed,
    Server::Bowline,
    Server::Tungstenite,
    Server::TokioWebsockets,
    Server::Fastwebsockets,
    Server::Sockudo,
    Server::Yawc,
];

/// The columns: the share of messages that were answered within a time.
const QUANTILES: &[(&str, f64)] =
    &[("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("all", 1.0)];

/// How much of its processor a server used. At 100 the rate is more than it can do.
const BUSY: &str = "processor, %";

fn main() -> Result<()> {
    let arguments = arguments(HELP);
    let known: Vec<_> = SERVERS.iter().map(|server| (server.name(), *server)).collect();
    let servers = choose(&arguments, "--servers", &known);
    let rates = option(&arguments, "--rates").unwrap_or(vec!["1000", "10000", "50000"]);
    let connections = number(&arguments, "--connections", 64.0) as usize;
    let payload = number(&arguments, "--payload", 125.0) as usize;
    let (time, rounds) = time_and_rounds(&arguments, 2.0);
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example latency", &arguments);
    process::pin(1);
    process::raise_limit();

    let mut all = Vec::new();
    for server in &servers {
        let process = Process::start(server.name(), 0)?;
        let schedule = Schedule::new(process.address, connections, payload)?;
        all.push((process, schedule));
    }
    let bare = servers.iter().position(|server| *server == Server::Bare);
    let rows: Vec<_> = servers.iter().map(|server| (server.name(), bare)).collect();
    for rate in rates {
        let title = format!("{rate} messages of {payload} B in a second: µs until the answer");
        eprintln!("{title}");
        let rate = rate.parse().expect("--rates");
        // For each column and server the figures of all rounds.
        let names = QUANTILES.iter().map(|(name, _)| *name).chain([BUSY]);
        let mut columns: Vec<_> =
            names.map(|name| (name.to_string(), vec![Vec::new(); servers.len()])).collect();
        for round in 0..=rounds {
            for (at, (process, schedule)) in all.iter_mut().enumerate() {
                // The first round is short, and not counted: memory grows, and caches fill.
                let time = if round == 0 { time / 4 } else { time };
                let (before, start) = (process.cpu()?, Instant::now());
                let latency = schedule.run(rate, time)?;
                let busy = (process.cpu()? - before).as_secs_f64() / start.elapsed().as_secs_f64();
                if round == 0 {
                    continue;
                }
                for ((_, figures), (_, quantile)) in columns.iter_mut().zip(QUANTILES) {
                    figures[at].push(latency.value_at_quantile(*quantile) as f64 / 1e3);
                }
                columns[QUANTILES.len()].1[at].push(busy * 100.0);
            }
        }
        rounds::table(&title, "bare", &rows, &columns, &mut saved);
    }
    saved.write(file)
}
