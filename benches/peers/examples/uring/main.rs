//! A trial: bowline's core on io_uring, beside its tokio adapter and the bare loop on tokio, under the same client.
//!
//! `cargo run --release -p peers --features uring --example uring -- --help` lists the options. Linux only.

#[cfg(target_os = "linux")]
mod server;
#[path = "../sockets/mod.rs"]
mod sockets;

use std::time::{Duration, Instant};

use sockets::frames::Window;
use sockets::load::Load;
use sockets::process::{self, Process};
use sockets::rounds::{beside, median};
use sockets::{Result, choose, number};

const HELP: &str = "\
--payloads 16 1024                      bytes of a message
--loads 1x1 256x1 1x128 256x16          connections x messages in flight on each
--seconds 0.3                           of one measurement
--rounds 9                              measurements of each server, in turn; medians count
--together                              server and client on one processor
";

/// The client's processor.
const CLIENT: usize = 1;

const URING: &str = "uring";

/// What the ratios are to: the tokio adapter with lent messages.
const TOKIO: &str = "bowline-borrowed";

const SERVERS: [&str; 3] = ["bare", TOKIO, URING];

const PAYLOADS: &[(&str, usize)] = &[("16", 16), ("1024", 1 << 10)];

const LOADS: &[(&str, (usize, usize))] =
    &[("1x1", (1, 1)), ("256x1", (256, 1)), ("1x128", (1, 128)), ("256x16", (256, 16))];

/// Microseconds for a message, in each round.
#[derive(Default)]
struct Figures {
    processor: Vec<f64>,
    wall: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [process::SERVE, URING, processor] => return serve(processor),
        [process::SERVE, ..] => process::serve(&arguments[1..], || 0),
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let payloads = choose(&arguments, "--payloads", PAYLOADS);
    let loads = choose(&arguments, "--loads", LOADS);
    let time = Duration::from_secs_f64(number(&arguments, "--seconds", 0.3));
    let rounds = number(&arguments, "--rounds", 9.0) as usize;
    let together = arguments.iter().any(|argument| argument == "--together");
    let processor = if together { CLIENT } else { 0 };
    process::pin(CLIENT);
    process::raise_limit();
    for payload in payloads {
        println!("### Echo of {payload} B: µs for a message\n");
        println!("| load | server | processor | / tokio, lent | wall | / tokio, lent |");
        println!("|---|---|---|---|---|---|");
        for &load in &loads {
            table(load, &measure(processor, payload, load, time, rounds)?);
        }
        println!();
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn serve(processor: &str) -> Result<()> {
    let listener = process::begin(processor);
    process::answer(|_| None);
    server::serve(&listener)
}

#[cfg(not(target_os = "linux"))]
fn serve(_processor: &str) -> Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn measure(
    processor: usize,
    payload: usize,
    (connections, in_flight): (usize, usize),
    time: Duration,
    rounds: usize,
) -> Result<Vec<Figures>> {
    let window = Window::new(in_flight, payload, false);
    let mut all = Vec::new();
    for server in SERVERS {
        let process = Process::start(server, processor)?;
        let mut load = Load::new()?;
        load.resize(process.address, connections)?;
        // Not counted: memory grows, caches fill, and the replies are compared.
        load.run(&window, time / 3)?;
        all.push((process, load, Figures::default()));
    }
    for _ in 0..rounds {
        for (process, load, figures) in &mut all {
            let (before, start) = (process.cpu()?, Instant::now());
            let messages = load.run(&window, time)? as f64;
            let wall = start.elapsed();
            figures.processor.push((process.cpu()? - before).as_secs_f64() * 1e6 / messages);
            figures.wall.push(wall.as_secs_f64() * 1e6 / messages);
        }
    }
    Ok(all.into_iter().map(|(.., figures)| figures).collect())
}

fn table((connections, in_flight): (usize, usize), all: &[Figures]) {
    let tokio = SERVERS.iter().position(|server| *server == TOKIO).expect("it is there");
    for (server, found) in SERVERS.iter().zip(all) {
        println!(
            "| {connections} x {in_flight} | {server} | {:.2} | {:.2} | {:.2} | {:.2} |",
            median(found.processor.clone()),
            beside(&found.processor, &all[tokio].processor),
            median(found.wall.clone()),
            beside(&found.wall, &all[tokio].wall),
        );
    }
}
