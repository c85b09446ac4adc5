//! The memory of an idle connection, and whether messages cost more while many connections are idle.
//!
//! `cargo run --release -p peers --example idle -- --help` lists the options.

mod memory;
#[path = "../sockets/mod.rs"]
mod sockets;

#[cfg(not(feature = "mimalloc"))]
use std::alloc::System;
use std::alloc::{GlobalAlloc, Layout};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use sockets::frames::Window;
use sockets::load::Load;
use sockets::process::{self, Memory, Process};
use sockets::rounds::median;
use sockets::save::{self, Figures};
use sockets::servers::Server;
use sockets::{Result, choose, number, shapes};

const HELP: &str = "\
--servers bare 'bowline, moved' ...     --servers none lists them
--sockets 15000                         connections over loopback; 0: leave them out
--memory 100000                         connections over streams in memory; 0: leave them out
--save FILE                             write the figures to a file for benches/report
";

/// The loop of each library's documentation, and the shapes of real programs.
const SERVERS: &[Server] = &[
    Server::Bare,
    Server::BareMoved,
    Server::BareTwoTasks,
    Server::Bowline,
    Server::BowlineBorrowed,
    Server::BowlineMoved,
    Server::BowlineSplit,
    Server::BowlineTwoTasks,
    Server::BowlineRun,
    Server::BowlineAxum,
    Server::Axum,
    Server::Tungstenite,
    Server::TungsteniteMoved,
    Server::TungsteniteTwoTasks,
    Server::TokioWebsockets,
    Server::Fastwebsockets,
    Server::Sockudo,
    Server::Yawc,
];

/// Bytes of a message.
const PAYLOAD: usize = 1 << 10;

/// Processor time is measured over at least this many messages, in several rounds. The median counts.
const MESSAGES: usize = 30_000;
const ROUNDS: usize = 3;

/// Messages in flight at a time, each on another connection.
const UNDER_WAY: usize = 64;

/// The first argument of a process that measures over streams in memory.
const IN_MEMORY: &str = "in-memory";

/// Counts what is allocated.
struct Counting;

/// The allocator.
#[cfg(feature = "mimalloc")]
#[expect(non_upper_case_globals, reason = "it takes the place of a unit struct")]
static System: mimalloc::MiMalloc = mimalloc::MiMalloc;

static LIVE: AtomicU64 = AtomicU64::new(0);

// SAFETY: all work is the other allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as u64, Ordering::Relaxed);
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> u64 {
    LIVE.load(Ordering::Relaxed)
}

/// What one server used over sockets or in memory.
#[derive(Clone, Debug, Default)]
struct Found {
    /// Bytes of a connection's future.
    task: u64,
    /// For each connection: resident and live bytes when it is new, and after a message.
    new: (f64, f64),
    after: (f64, f64),
    /// µs for each message while there are this many connections, from few to many.
    cpu: Vec<f64>,
}

impl Found {
    fn write(&self) -> String {
        let Self { task, new, after, cpu } = self;
        let mut line = format!("{task} {} {} {} {}", new.0, new.1, after.0, after.1);
        cpu.iter().for_each(|cpu| line += &format!(" {cpu}"));
        line
    }

    fn read(line: &str) -> Option<Self> {
        let numbers: Vec<f64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let [task, a, b, c, d, ref cpu @ ..] = numbers[..] else { return None };
        Some(Self { task: task as u64, new: (a, b), after: (c, d), cpu: cpu.to_vec() })
    }

    fn each(before: Memory, now: Memory, connections: usize) -> (f64, f64) {
        let each = |before: u64, now: u64| (now as f64 - before as f64) / connections as f64;
        (each(before.resident, now.resident), each(before.live, now.live))
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [process::SERVE, ..] => process::serve(&arguments[1..], live),
        [IN_MEMORY, name, count] => {
            process::pin(0);
            let server = Server::named(name).expect("a server");
            let found = memory::measure(server, count.parse().expect("a number"));
            println!("{}", found.write());
            return Ok(());
        }
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let known: Vec<_> = SERVERS.iter().map(|server| (server.name(), *server)).collect();
    let servers = choose(&arguments, "--servers", &known);
    let sockets = number(&arguments, "--sockets", 15_000.0) as usize;
    let memory = number(&arguments, "--memory", 100_000.0) as usize;
    let file = save::file(&arguments)?;
    let mut saved = Figures::new("cargo run --release -p peers --example idle", &arguments);
    process::pin(1);
    process::raise_limit();
    if sockets > 0 {
        let measure = |server| over_sockets(server, sockets);
        table("sockets over loopback", &servers, &steps(sockets), &mut saved, measure)?;
    }
    if memory > 0 {
        let measure = |server| in_memory(server, memory);
        let servers: Vec<_> = servers.into_iter().filter(|one| !shapes::listens(*one)).collect();
        table("streams in memory", &servers, &steps(memory), &mut saved, measure)?;
    }
    saved.write(file)
}

/// The numbers of connections at which processor time is measured.
fn steps(most: usize) -> Vec<usize> {
    let mut steps: Vec<_> = [1000, 10_000].into_iter().filter(|step| *step < most).collect();
    steps.push(most);
    steps
}

fn over_sockets(server: Server, count: usize) -> Result<Found> {
    let mut process = Process::start(server.name(), 0)?;
    let window = Window::new(1, PAYLOAD, false);
    // Memory that is loaded and allocated once belongs to no connection.
    let mut load = Load::new()?;
    load.resize(process.address, UNDER_WAY)?;
    load.sweep(&window, UNDER_WAY)?;
    load.resize(process.address, 0)?;
    let before = process.memory()?;

    load.resize(process.address, count)?;
    let new = process.memory()?;
    load.sweep(&window, UNDER_WAY)?;
    let after = process.memory()?;
    let mut found = Found {
        task: process.future()?,
        new: Found::each(before, new, count),
        after: Found::each(before, after, count),
        cpu: Vec::new(),
    };
    for step in steps(count).into_iter().rev() {
        load.resize(process.address, step)?;
        process.settle()?;
        let mut figures = Vec::new();
        for _ in 0..ROUNDS {
            let before = process.cpu()?;
            let mut messages = 0;
            while messages < MESSAGES {
                messages += load.sweep(&window, UNDER_WAY)? as usize;
            }
            let used = process.cpu()? - before;
            figures.push(used.as_secs_f64() * 1e6 / messages as f64);
        }
        found.cpu.insert(0, median(figures));
    }
    Ok(found)
}

/// Runs in a process of its own, because an allocator keeps freed memory.
fn in_memory(server: Server, count: usize) -> Result<Found> {
    let program = std::env::current_exe()?;
    let output = Command::new(program)
        .args([IN_MEMORY, server.name(), &count.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let line = String::from_utf8_lossy(&output.stdout);
    Found::read(&line).ok_or_else(|| std::io::Error::other(format!("{server:?}: {line:?}")))
}

fn table(
    kind: &str,
    servers: &[Server],
    steps: &[usize],
    saved: &mut Figures,
    measure: impl Fn(Server) -> Result<Found>,
) -> Result<()> {
    let most = steps.last().unwrap_or(&0);
    let title = format!("{most} {kind}");
    println!("### {title}\n");
    let columns = ["task, B", "new: KiB resident", "KiB live", "after 1 KiB: resident", "live"];
    let mut columns = columns.map(String::from).to_vec();
    columns.extend(steps.iter().map(|step| format!("µs beside {step}")));
    println!("| server | {} |", columns.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    for &server in servers {
        eprintln!("{most} {kind}: {}", server.name());
        let found = measure(server)?;
        let memory = [found.new.0, found.new.1, found.after.0, found.after.1];
        // A server with a listener of its own has tasks that are not ours.
        let mut figures = vec![if found.task == 0 { f64::NAN } else { found.task as f64 }];
        figures.extend(memory.map(|bytes| bytes / 1024.0));
        figures.extend(&found.cpu);
        for (column, figure) in columns.iter().zip(&figures) {
            saved.add([&title, server.name(), column], *figure, None);
        }
        let cells: Vec<_> = figures[1..].iter().map(|figure| format!("{figure:.2}")).collect();
        let task = if found.task == 0 { "-".to_string() } else { found.task.to_string() };
        println!("| {} | {task} | {} |", server.name(), cells.join(" | "));
    }
    println!();
    Ok(())
}
