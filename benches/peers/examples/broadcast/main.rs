//! One message to many connections: the processor time that a server uses for it, and whether a peer
//! that does not read delays the others.
//!
//! `cargo run --release -p peers --example broadcast -- --help` lists the options.

mod servers;
#[path = "../sockets/mod.rs"]
mod sockets;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use servers::Server;
use sockets::frames::Window;
use sockets::load::Load;
use sockets::process::{self, Process};
use sockets::rounds::{beside, median};
use sockets::save::{self, Figures};
use sockets::{Result, choose, number, option};

const HELP: &str = "\
--tables cost stuck                     which to make
--connections 1000
--save FILE                             write the figures to a file for benches/report
--together                              server and client on one processor

cost: processor time of a broadcast
--servers bare bowline ...              --servers none lists them
--payloads 64                           bytes of a message
--seconds 0.05                          of one measurement
--rounds 101                            measurements of each server, in turn; the median counts

stuck: latency without and with a peer that never reads
--policies bowline-drop ...             --policies none lists them
--stuck-payload 1024                    bytes of a message
--broadcasts 1000                       of one measurement
--stuck-rounds 3                        measurements of each kind, in turn; the median counts
";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Cost,
    Stuck,
}

const TABLES: &[(&str, Table)] = &[("cost", Table::Cost), ("stuck", Table::Stuck)];

/// The client's processor.
const CLIENT: usize = 1;

/// For uWebSockets, from the root of the repository. Nothing is built and no script of the package
/// runs; it has the native modules for node.
const INSTALL: &str = "npm install --ignore-scripts --prefix target/uwebsockets uwebsockets@3.0.6";

struct Options {
    connections: usize,
    /// The servers' processor.
    processor: usize,
    payloads: Vec<usize>,
    time: Duration,
    rounds: usize,
    stuck_payload: usize,
    broadcasts: usize,
    stuck_rounds: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [process::SERVE, ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        servers::serve(&arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let tables = choose(&arguments, "--tables", TABLES);
    let servers = choose(&arguments, "--servers", servers::ALL);
    let policies = choose(&arguments, "--policies", servers::POLICIES);
    let payloads = option(&arguments, "--payloads").unwrap_or_else(|| vec!["64"]);
    let whole = |name, default| number(&arguments, name, default) as usize;
    let together = arguments.iter().any(|argument| argument == "--together");
    let options = Options {
        connections: whole("--connections", 1000.0),
        processor: if together { CLIENT } else { 0 },
        payloads: payloads.into_iter().map(|bytes| bytes.parse().expect("bytes")).collect(),
        time: Duration::from_secs_f64(number(&arguments, "--seconds", 0.05)),
        rounds: whole("--rounds", 101.0),
        stuck_payload: whole("--stuck-payload", 1024.0),
        broadcasts: whole("--broadcasts", 1000.0),
        stuck_rounds: whole("--stuck-rounds", 3.0),
    };
    process::pin(CLIENT);
    process::raise_limit();
    let file = save::file(&arguments)?;
    let mut figures = Figures::new("cargo run --release -p peers --example broadcast", &arguments);
    if tables.contains(&Table::Cost) {
        for &payload in &options.payloads {
            cost(&servers, payload, &options, &mut figures)?;
        }
    }
    if tables.contains(&Table::Stuck) {
        stuck(&policies, &options, &mut figures)?;
    }
    figures.write(file)
}

fn name(server: Server, all: &[(&'static str, Server)]) -> &'static str {
    all.iter().find(|(_, known)| *known == server).map_or("", |(name, _)| name)
}

/// The server's process, if it can be started.
fn start(server: Server, processor: usize) -> Result<Option<Process>> {
    if server != Server::Uwebsockets {
        return Process::start(name(server, servers::ALL), processor).map(Some);
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = package.join("../../target/uwebsockets");
    if !installed.join("node_modules/uwebsockets").is_dir() {
        eprintln!("uwebsockets is left out. To have it, with node 20 or later:\n  {INSTALL}");
        return Ok(None);
    }
    // A process runs on the processor of the one that starts it.
    process::pin(processor);
    let mut command = Command::new("node");
    let script = package.join("examples/broadcast/uwebsockets.mjs");
    let process = Process::run(command.arg(script).arg(installed));
    process::pin(CLIENT);
    match process {
        Ok(process) => Ok(Some(process)),
        Err(error) => {
            eprintln!("uwebsockets is left out: node: {error}");
            Ok(None)
        }
    }
}

/// The processor time of a broadcast, all servers in turn.
fn cost(
    servers: &[Server],
    payload: usize,
    options: &Options,
    figures: &mut Figures,
) -> Result<()> {
    let window = Window::new(1, payload, false);
    let mut all = Vec::new();
    for &server in servers {
        let name = name(server, servers::ALL);
        eprintln!("{payload} B to {}: {name}", options.connections);
        let Some(mut process) = start(server, options.processor)? else { continue };
        let mut load = Load::new()?;
        load.resize(process.address, options.connections)?;
        process.settle()?;
        // Not counted: memory grows, caches fill, and the received messages are compared.
        broadcasts(&mut load, &window, options.time / 3)?;
        all.push((name, process, load, Vec::new()));
    }
    for _ in 0..options.rounds {
        for (_, process, load, rounds) in &mut all {
            let before = process.cpu()?;
            let count = broadcasts(load, &window, options.time)?;
            let used = process.cpu()? - before;
            rounds.push(used.as_secs_f64() * 1e3 / count as f64);
        }
    }

    let table = format!("Broadcast of {payload} B to {} connections", options.connections);
    println!("### {table}: ms of the server's processor\n");
    println!("| server | ms | / bare | highest / lowest |\n|---|---|---|---|");
    let bare = all.iter().find(|(name, ..)| *name == "bare").map(|(.., rounds)| rounds.clone());
    for (name, .., rounds) in &all {
        let figure = median(rounds.clone());
        let most = rounds.iter().copied().fold(0.0, f64::max);
        let spread = most / rounds.iter().copied().fold(f64::INFINITY, f64::min);
        print!("| {name} | {figure:.2} |");
        figures.add([&table, name, "ms"], figure, Some(spread));
        match &bare {
            Some(bare) => {
                let ratio = beside(rounds, bare);
                print!(" {ratio:.2} |");
                figures.add([&table, name, "/ bare"], ratio, None);
            }
            None => print!(" - |"),
        }
        println!(" {spread:.2} |");
    }
    println!();
    Ok(())
}

/// Sends one message after the other, each when all have received the last one. Gives how many.
fn broadcasts(load: &mut Load, window: &Window, time: Duration) -> Result<usize> {
    let end = Instant::now() + time;
    let mut count = 0;
    while count < 2 || Instant::now() < end {
        load.broadcast(window, |_, _| ())?;
        count += 1;
    }
    Ok(count)
}

/// The latencies to all but the first connection, in ms, in the middle and of the slowest hundredth.
#[derive(Clone, Copy)]
struct Latency {
    p50: f64,
    p99: f64,
}

fn latency(load: &mut Load, window: &Window, broadcasts: usize) -> Result<Latency> {
    let mut all = Vec::new();
    for _ in 0..broadcasts {
        load.broadcast(window, |i, after| {
            if i > 0 {
                all.push(after.as_nanos() as u32);
            }
        })?;
    }
    all.sort_unstable();
    let at = |share: usize| f64::from(all[(all.len() - 1) * share / 100]) / 1e6;
    Ok(Latency { p50: at(50), p99: at(99) })
}

/// The latency to the peers that read, while the first one reads and while it does not.
fn stuck(policies: &[Server], options: &Options, figures: &mut Figures) -> Result<()> {
    let Options { connections, broadcasts, stuck_payload: payload, .. } = *options;
    let window = Window::new(1, payload, false);
    let table = format!("{broadcasts} broadcasts of {payload} B to {connections} connections");
    println!(
        "### {table}: ms until a peer that reads has it, without and with one that does not\n"
    );
    println!(
        "| server | p50 without | with | ratio | p99 without | with | ratio | \
         sent to the stuck peer | kept | skipped | dropped | longest queue, B |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for &server in policies {
        let name = name(server, servers::POLICIES);
        let mut process = Process::start(name, options.processor)?;
        let address = process.address;
        let mut load = Load::new()?;
        load.resize(address, connections)?;
        wait_for(&mut process, connections)?;
        // Not counted.
        latency(&mut load, &window, broadcasts.div_ceil(10))?;
        let (mut without, mut with, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..options.stuck_rounds {
            eprintln!("{table}: {name}, round {}", round + 1);
            for (stuck, latencies) in [(false, &mut without), (true, &mut with)] {
                load.replace_first(address, stuck, || wait_for(&mut process, connections - 1))?;
                wait_for(&mut process, connections)?;
                let before = Counts::ask(&mut process)?;
                latencies.push(latency(&mut load, &window, broadcasts)?);
                let now = Counts::ask(&mut process)?;
                let others = (broadcasts * (connections - 1)) as u64;
                if stuck {
                    let mut count = now.since(&before);
                    count.sent -= others;
                    counts.push(count);
                } else {
                    let sent = now.since(&before).sent;
                    assert_eq!(sent, others + broadcasts as u64, "a peer that reads was slow");
                }
            }
        }
        print!("| {name} |");
        for (quantile, get) in [("p50", (|it| it.p50) as fn(Latency) -> f64), ("p99", |it| it.p99)]
        {
            let ratios =
                without.iter().zip(&with).map(|(&without, &with)| get(with) / get(without));
            let ratio = median(ratios.collect());
            let [without, with] =
                [&without, &with].map(|rounds| median(rounds.iter().map(|&it| get(it)).collect()));
            print!(" {without:.2} | {with:.2} | {ratio:.2} |");
            figures.add([&table, name, &format!("{quantile} without, ms")], without, None);
            figures.add([&table, name, &format!("{quantile} with, ms")], with, None);
            figures.add([&table, name, &format!("{quantile} ratio")], ratio, None);
        }
        let middle =
            |get: fn(&Counts) -> u64| median(counts.iter().map(|it| get(it) as f64).collect());
        for (column, count) in [
            ("sent to the stuck peer", middle(|it| it.sent)),
            ("kept", middle(|it| it.kept)),
            ("skipped", middle(|it| it.skipped)),
            ("dropped", middle(|it| it.dropped)),
            ("longest queue, B", middle(|it| it.longest)),
        ] {
            print!(" {count} |");
            figures.add([&table, name, column], count, None);
        }
        println!();
    }
    println!();
    Ok(())
}

/// Waits until the server has noticed which connections came or left.
fn wait_for(process: &mut Process, members: usize) -> Result<()> {
    while process.ask(servers::MEMBERS)? != members as u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What became of the messages.
struct Counts {
    sent: u64,
    kept: u64,
    skipped: u64,
    dropped: u64,
    longest: u64,
}

impl Counts {
    fn ask(process: &mut Process) -> Result<Self> {
        Ok(Self {
            sent: process.ask(servers::SENT)?,
            kept: process.ask(servers::KEPT)?,
            skipped: process.ask(servers::SKIPPED)?,
            dropped: process.ask(servers::DROPPED)?,
            longest: process.ask(servers::LONGEST)?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            kept: self.kept - before.kept,
            skipped: self.skipped - before.skipped,
            dropped: self.dropped - before.dropped,
            longest: self.longest,
        }
    }
}
