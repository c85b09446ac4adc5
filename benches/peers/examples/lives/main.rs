//! Whole lives of connections: the processor time of the opening handshake, one echo and the closing handshake, for the
//! server and for the client.
//!
//! `cargo run --release -p peers --example lives -- --help` lists the options.

mod clients;
#[path = "../sockets/mod.rs"]
mod sockets;
mod visitor;

use std::time::Duration;

use clients::Client;
use sockets::process::{self, Process};
use sockets::rounds::{self, Column};
use sockets::save::{self, Figures};
use sockets::servers::{self, Server};
use sockets::{Result, arguments, choose, time_and_rounds};
use visitor::Visitor;

const HELP: &str = "\
--servers bare bowline 'bowline, axum' ...  --servers none lists them
--clients bare bowline ...                  --clients none lists them
--seconds 0.3                               of one measurement
--rounds 9                                  measurements of each row, in turn; medians count
--save FILE                                 write the figures to a file for benches/report
";

/// Those that have an opening handshake of their own.
const SERVERS: &[Server] = &[
    Server::Bare,
    Server::Bowline,
    Server::BowlineRun,
    Server::BowlineHyper,
    Server::BowlineAxum,
    Server::Axum,
    Server::Tungstenite,
    Server::TokioWebsockets,
    Server::Soketto,
    Server::SockudoHandshake,
    Server::BareBlocking,
    Server::BowlineBlocking,
];

/// Connections at a time.
const LOADS: &[(&str, usize)] = &[("one at a time", 1), ("64 at a time", 64)];

fn main() -> Result<()> {
    let arguments = arguments(HELP);
    let known: Vec<_> = SERVERS.iter().map(|server| (server.name(), *server)).collect();
    let servers = choose(&arguments, "--servers", &known);
    let clients = choose(&arguments, "--clients", clients::ALL);
    let (time, rounds) = time_and_rounds(&arguments, 0.3);
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example lives", &arguments);
    process::pin(1);
    process::raise_limit();

    let at = |server| servers.iter().position(|&other| other == server);
    let rows: Vec<_> =
        servers.iter().map(|&server| (server.name(), at(servers::bare_for(server)))).collect();
    for (what, whole) in [("Connect, echo of 16 B, close", true), ("Opening handshake", false)] {
        let measure = |at_once| of_servers(&servers, whole, at_once, time, rounds);
        let title = format!("{what}: µs of the server's processor for a connection");
        rounds::table(&title, "bare", &rows, &columns(&title, measure)?, &mut saved);
    }

    let bare = clients.iter().position(|client| *client == Client::Bare);
    let rows: Vec<_> = clients.iter().map(|client| (client.name(), bare)).collect();
    let measure = |at_once| of_clients(&clients, at_once, time, rounds);
    let title = "Connect, echo of 16 B, close: µs of the client's processor for a connection";
    rounds::table(title, "bare", &rows, &columns(title, measure)?, &mut saved);
    saved.write(file)
}

fn columns(title: &str, measure: impl Fn(usize) -> Result<Vec<Vec<f64>>>) -> Result<Vec<Column>> {
    let column = |&(load, at_once): &(&str, usize)| {
        eprintln!("{title}: {load}");
        Ok((load.to_string(), measure(at_once)?))
    };
    LOADS.iter().map(column).collect()
}

/// For each server the figures of all rounds.
fn of_servers(
    servers: &[Server],
    whole: bool,
    at_once: usize,
    time: Duration,
    rounds: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut all = Vec::new();
    for &server in servers {
        let process = Process::start(server.name(), 0)?;
        let mut visitor = Visitor::new(process.address, whole)?;
        // Not counted: memory grows, and caches fill.
        visitor.run(at_once, time / 3)?;
        all.push((process, visitor, Vec::new()));
    }
    for _ in 0..rounds {
        for (process, visitor, figures) in &mut all {
            let before = process.cpu()?;
            let lives = visitor.run(at_once, time)?;
            let used = process.cpu()? - before;
            figures.push(used.as_secs_f64() * 1e6 / lives as f64);
        }
    }
    Ok(all.into_iter().map(|(.., figures)| figures).collect())
}

/// For each client the figures of all rounds. The client is this process.
fn of_clients(
    clients: &[Client],
    at_once: usize,
    time: Duration,
    rounds: usize,
) -> Result<Vec<Vec<f64>>> {
    let process = Process::start(Server::BareAnyKey.name(), 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = vec![Vec::new(); clients.len()];
    for round in 0..=rounds {
        for (client, figures) in clients.iter().zip(&mut all) {
            let before = process::cpu();
            let lives = runtime.block_on(clients::run(*client, process.address, at_once, time))?;
            let used = process::cpu() - before;
            // The first round is not counted.
            if round > 0 {
                figures.push(used.as_secs_f64() * 1e6 / lives as f64);
            }
        }
    }
    Ok(all)
}
