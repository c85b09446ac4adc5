//! The same program on tokio-tungstenite and on bowline-tokio-tungstenite, over a stream whose peer costs nothing: the time
//! that the library takes for a message.
//!
//! `cargo run --release -p peers --example compat -- --help` lists the options.

#[path = "../sockets/rounds.rs"]
#[allow(dead_code, reason = "it is shared")]
mod rounds;
#[path = "../sockets/save.rs"]
#[allow(dead_code, reason = "it is shared")]
mod save;
mod script;

use std::future::Future;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;

use save::Figures;
use script::Script;

mod original {
    use ::tokio_tungstenite as tt;
    include!("program.rs");
}

mod compat {
    use ::bowline_tokio_tungstenite as tt;
    include!("program.rs");
}

const HELP: &str = "\
--seconds 0.05                          of one measurement
--rounds 21                             measurements of each, in turn; medians count
--save FILE                             write the figures to a file for benches/report
";

/// The first argument of a process that measures memory.
const HOLD: &str = "--hold";

const NAMES: [&str; 2] = ["tokio-tungstenite", "bowline-tokio-tungstenite"];

const PAYLOADS: [usize; 4] = [16, 1 << 10, 16 << 10, 64 << 10];

/// Runs a number of messages on one of the libraries.
type Run = fn(library: usize, payload: usize, count: usize) -> usize;

/// What the stream never makes wait.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the stream is always ready")
}

fn payload(len: usize) -> Bytes {
    vec![b'x'; len].into()
}

/// Calls the function of one of the libraries.
macro_rules! run {
    ($name:ident, $library:expr, $($argument:expr),*) => {
        match $library {
            0 => done(original::$name($($argument),*)),
            _ => done(compat::$name($($argument),*)),
        }
    };
}

const WORK: [(&str, Run); 8] = [
    ("receive", |library, len, count| run!(receive, library, Script::new(len, 16), count)),
    ("send", |library, len, count| run!(send, library, Script::new(0, 1), payload(len), count)),
    ("send as client", |library, len, count| {
        run!(send_as_client, library, Script::new(0, 1), payload(len), count)
    }),
    ("feed 16, flush", |library, len, count| {
        run!(feed, library, Script::new(0, 1), payload(len), count)
    }),
    ("echo", |library, len, count| run!(echo, library, Script::new(len, 1), count)),
    ("echo of 16", |library, len, count| run!(echo, library, Script::new(len, 16), count)),
    ("split echo", |library, len, count| run!(split, library, Script::new(len, 1), count)),
    ("split echo of 16", |library, len, count| run!(split, library, Script::new(len, 16), count)),
];

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    if let [hold, library] = &arguments[..]
        && hold == HOLD
    {
        println!("{}", held(usize::from(library == NAMES[1]))?);
        return Ok(());
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name, default: f64| value(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let time = Duration::from_secs_f64(number("--seconds", 0.05));
    let rounds = number("--rounds", 21.0) as usize;
    let file = value("--save").map(PathBuf::from);
    let mut saved = Figures::new("cargo run --release -p peers --example compat", &arguments);
    for len in PAYLOADS {
        let columns: Vec<_> = WORK
            .iter()
            .map(|(name, run)| ((*name).to_string(), measure(*run, len, time, rounds)))
            .collect();
        let title = format!("The names of tokio-tungstenite, {len} B: ns for a message");
        let rows = [(NAMES[0], Some(0)), (NAMES[1], Some(0))];
        rounds::table(&title, NAMES[0], &rows, &columns, &mut saved);
    }
    let title = "The names of tokio-tungstenite: bytes of memory of an idle connection";
    let mut all = vec![Vec::new(), Vec::new()];
    for _ in 0..rounds.min(3) {
        for (library, name) in NAMES.iter().enumerate() {
            let held = Command::new(std::env::current_exe()?).args([HOLD, name]).output()?;
            let held = String::from_utf8_lossy(&held.stdout).trim().parse();
            all[library].push(held.map_err(std::io::Error::other)?);
        }
    }
    let rows = [(NAMES[0], Some(0)), (NAMES[1], Some(0))];
    rounds::table(title, NAMES[0], &rows, &[("bytes".into(), all)], &mut saved);
    saved.write(file.as_deref())
}

/// What the process grows by for each of many connections that echoed 1 KiB and wait.
fn held(library: usize) -> std::io::Result<f64> {
    const CONNECTIONS: usize = 4000;
    let page = rustix::param::page_size() as f64;
    let pages = || -> std::io::Result<f64> {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        resident.ok_or_else(|| std::io::Error::other("no resident pages in statm"))
    };
    // What every process has once is not a connection's.
    black_box((original::idle(Script::once(1 << 10)), compat::idle(Script::once(1 << 10))));
    let mut all = (Vec::with_capacity(CONNECTIONS), Vec::with_capacity(CONNECTIONS));
    let before = pages()?;
    for _ in 0..CONNECTIONS {
        match library {
            0 => all.0.push(original::idle(Script::once(1 << 10))),
            _ => all.1.push(compat::idle(Script::once(1 << 10))),
        }
    }
    let after = pages()?;
    black_box(&all);
    Ok((after - before) * page / CONNECTIONS as f64)
}

/// For each library the figures of all rounds.
fn measure(run: Run, len: usize, time: Duration, rounds: usize) -> Vec<Vec<f64>> {
    let counts = [0, 1].map(|library| {
        let mut count = 64;
        loop {
            let took = once(run, library, len, count);
            if took * 8 >= time {
                break ((count as f64 * time.as_secs_f64() / took.as_secs_f64()) as usize).max(16);
            }
            count *= 2;
        }
    });
    assert_eq!(run(0, len, 33), run(1, len, 33), "both do the same");
    let mut all = vec![Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for library in [0, 1] {
            let took = once(run, library, len, counts[library]);
            all[library].push(took.as_secs_f64() * 1e9 / counts[library] as f64);
        }
    }
    all
}

fn once(run: Run, library: usize, len: usize, count: usize) -> Duration {
    let begin = Instant::now();
    black_box(run(library, len, count));
    begin.elapsed()
}
