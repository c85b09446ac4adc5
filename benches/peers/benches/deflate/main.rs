//! Echo of compressed JSON: the processor time of a server, the size of the answers, and the memory that a
//! connection holds.
//!
//! Prints tables. `cargo bench -p peers --bench deflate -- one sockudo` prints a part of them: the
//! words choose among the tables and among the servers. `--save FILE` writes the figures to a file for
//! benches/report; a relative path is one from benches/peers, where cargo runs benchmarks.

#[path = "../../../common/mod.rs"]
mod common;

mod link;
mod memory;
#[path = "../../examples/sockets/save.rs"]
mod save;
mod servers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};

use common::wire::{Agreed, Client, DEFAULT_LEVELS, Wire};
use link::Served;
use rustix::time::{ClockId, clock_gettime};
use save::Figures;
use servers::Opened;

/// The sizes, how many messages of each there are on a connection (more than a window), and how
/// many make a round.
const SIZES: [(&str, usize, usize, usize); 2] =
    [("1 KiB", 1 << 10, 64, 1024), ("16 KiB", 16 << 10, 4, 128)];

/// One connection, and more than a small pool has states for. Then as many as take 16 MiB and 128 MiB of states,
/// if each has its own.
const CONNECTIONS: [usize; 4] = [1, 6, 32, 256];

const ROUNDS: usize = 15;

struct Contender {
    name: &'static str,
    open: Box<dyn Fn() -> Opened + Sync>,
    /// The contender that makes the same zlib-rs calls and nothing else.
    floor: &'static str,
    /// The same library without compression.
    plain: Option<fn() -> Opened>,
}

const PEERS: [&str; 2] = ["sockudo-ws", "yawc"];

/// Time is compared with a peer's only if the length of the answers differs by at most this part.
const ALIKE: f64 = 0.03;

fn contenders() -> Vec<Contender> {
    use bowline::Deflate;
    use sockudo_ws::deflate::DeflateConfig;
    use yawc::DeflateOptions;

    let mut all = Vec::new();
    let mut add = |name, floor, plain, open: Box<dyn Fn() -> Opened + Sync>| {
        all.push(Contender { name, open, floor, plain });
    };

    // The calls of the peers, at flate2's settings, and those of bowline's settings.
    const PEERS_FLOOR: &str = "zlib-rs, 15 bits, level 6";
    const HIGH: &str = "zlib-rs, 15 bits, level 5";
    const DEFAULT: &str = "zlib-rs, 12 bits, level 5";
    const LOW: &str = "zlib-rs, no takeover, level 5";
    let small = Agreed { client_bits: 12, server_bits: 12, ..Agreed::FULL };
    for (name, (level, memory), agreed) in [
        (PEERS_FLOOR, (6, 8), Agreed::FULL),
        (HIGH, DEFAULT_LEVELS, Agreed::FULL),
        (DEFAULT, DEFAULT_LEVELS, small),
        (LOW, DEFAULT_LEVELS, Agreed::NO_TAKEOVER),
    ] {
        add(name, name, None, Box::new(move || servers::floor(level, memory, agreed)));
    }

    let plain: Option<fn() -> Opened> = Some(|| servers::borrowed(None));
    let high = Deflate::high_compression();
    let bits = |bits| Deflate::default().server_max_window_bits(bits).client_max_window_bits(bits);
    for (name, floor, deflate) in [
        ("bowline, `high_compression`", HIGH, high),
        ("bowline, the same at level 6", PEERS_FLOOR, high.level(6).memory_level(8)),
        ("bowline, default", DEFAULT, Deflate::default()),
        ("bowline, 9 bits", "", bits(9)),
        ("bowline, `low_memory`", LOW, Deflate::low_memory()),
    ] {
        add(name, floor, plain, Box::new(move || servers::borrowed(Some(deflate))));
    }
    let plain: Option<fn() -> Opened> = Some(|| servers::owned(None));
    add(
        "bowline, `high_compression`, owned",
        HIGH,
        plain,
        Box::new(move || servers::owned(Some(high))),
    );

    let plain: Option<fn() -> Opened> = Some(|| servers::sockudo(None));
    for (name, floor, deflate) in [
        (PEERS[0], PEERS_FLOOR, DeflateConfig::default()),
        ("sockudo-ws, `low_memory`", "", DeflateConfig::low_memory()),
    ] {
        add(name, floor, plain, Box::new(move || servers::sockudo(Some(deflate.clone()))));
    }

    let plain: Option<fn() -> Opened> = Some(|| servers::yawc(None));
    add(PEERS[1], PEERS_FLOOR, plain, Box::new(|| servers::yawc(Some(DeflateOptions::default()))));
    add("yawc, no takeover, pool", "", plain, Box::new(|| servers::yawc(Some(servers::pooled()))));
    all
}

fn main() {
    let words = words();
    let tables = ["one", "few", "many", "most", "memory"];
    let wants = |table| {
        words.iter().any(|word| word == table) || !words.iter().any(|w| tables.contains(&&**w))
    };
    let names: Vec<_> = words.iter().filter(|word| !tables.contains(&&***word)).collect();
    let mut contenders = contenders();
    contenders
        .retain(|c| names.is_empty() || names.iter().any(|name| c.name.contains(name.as_str())));

    if contenders.is_empty() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = save::file(&arguments).unwrap_or_else(|error| panic!("{error}"));
    let mut saved = Figures::new("cargo bench -p peers --bench deflate", &arguments);
    // Timers are made, and never run out.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for (table, connections) in tables.into_iter().zip(CONNECTIONS) {
        if wants(table) {
            let title = format!("Connections: {connections}");
            println!("## {title}\n");
            let columns = SIZES.map(|(name, len, count, round)| {
                (name, time(&contenders, len, count, (round / connections).max(2), connections))
            });
            print_times(&title, &contenders, &columns, &mut saved);
        }
    }
    if wants("memory") {
        let title = "What compression adds to a connection at rest, KiB";
        println!("## {title}\n");
        print_memory(title, &contenders, &mut saved);
    }
    saved.write(file).unwrap_or_else(|error| panic!("{error}"));
}

/// Arguments that are not for Criterion.
fn words() -> Vec<String> {
    let mut words = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--save-baseline" | "--baseline" | "--save" => drop(args.next()),
            option if option.starts_with('-') => {}
            _ => words.push(arg),
        }
    }
    words
}

/// Nanoseconds that this thread has worked.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What clients with the same agreement send, each with messages of its own.
struct Wires {
    len: usize,
    count: usize,
    made: Mutex<HashMap<Option<Agreed>, Vec<Arc<Wire>>>>,
}

impl Wires {
    fn new(len: usize, count: usize) -> Self {
        Self { len, count, made: Mutex::default() }
    }

    fn get(&self, agreed: Option<Agreed>, i: usize) -> Arc<Wire> {
        let mut made = self.made.lock().unwrap();
        let wires = made.entry(agreed).or_default();
        while wires.len() <= i {
            let wire = Wire::new(wires.len() as u64, self.len, self.count, agreed);
            wires.push(Arc::new(wire));
        }
        wires[i].clone()
    }
}

/// The time of a contender for each message, round by round, and the length of its answers.
#[derive(Default)]
struct Times {
    rounds: Vec<f64>,
    bytes: usize,
    plain: usize,
}

impl Times {
    /// Bytes of the answers, headers too, for each byte of a message.
    fn answer(&self) -> f64 {
        self.bytes as f64 / self.plain as f64
    }
}

/// Measures all contenders in turn, round by round, so that a disturbance of the machine affects all of them.
/// Each has a thread of its own, with what a library keeps for a thread. One works at a time.
fn time(
    contenders: &[Contender],
    len: usize,
    count: usize,
    turns: usize,
    connections: usize,
) -> Vec<Times> {
    let wires = &Wires::new(len, count);
    let runtime = &tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let rounds: Vec<_> = contenders
            .iter()
            .map(|contender| {
                let (start, starts) = mpsc::channel();
                let (end, ends) = mpsc::channel();
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    let mut servers: Vec<_> =
                        (0..connections).map(|i| checked(&*contender.open, wires, i)).collect();
                    // Ready, and then a round whenever it is told to.
                    end.send((0.0, 0)).unwrap();
                    while let Ok(()) = starts.recv() {
                        end.send(round(&mut servers, turns)).unwrap();
                    }
                });
                ends.recv().unwrap();
                (start, ends)
            })
            .collect();
        let mut times: Vec<_> = contenders.iter().map(|_| Times::default()).collect();
        for round in 0..ROUNDS {
            for i in 0..rounds.len() {
                let i = (i + round) % rounds.len();
                let (start, ends) = &rounds[i];
                start.send(()).unwrap();
                let (time, bytes) = ends.recv().unwrap();
                let messages = turns * connections;
                times[i].rounds.push(time / messages as f64);
                times[i].bytes += bytes;
                times[i].plain += messages * len;
            }
        }
        times
    })
}

/// CPU time for messages of each connection in turn, and the bytes of the answers.
fn round(servers: &mut [Served], turns: usize) -> (f64, usize) {
    // They were cold while others worked.
    for server in &mut *servers {
        server.exchange();
    }
    let mut bytes = 0;
    let start = cpu_time();
    for _ in 0..turns {
        for server in &mut *servers {
            bytes += server.exchange();
        }
    }
    (cpu_time() - start, bytes)
}

/// A connection that has correctly sent back the messages that later ones refer to.
fn checked(open: &dyn Fn() -> Opened, wires: &Wires, i: usize) -> Served {
    let (agreed, mut server) = open();
    server.connect(wires.get(agreed, i));
    let mut client = Client::new(agreed);
    for _ in 0..2 * wires.count + 1 {
        server.exchange();
        server.see(|frames, message| {
            assert!(client.message(frames) == message.as_bytes(), "an answer is wrong");
        });
    }
    server
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_times(
    title: &str,
    contenders: &[Contender],
    columns: &[(&str, Vec<Times>)],
    saved: &mut Figures,
) {
    print!("| |");
    for (name, _) in columns {
        print!(" {name}, µs | answer | / zlib-rs | / best peer | spread |");
    }
    print!("\n|---|");
    println!("{}", "---|".repeat(5 * columns.len()));
    let at = |name: &str| contenders.iter().position(|c| c.name == name);
    for (i, contender) in contenders.iter().enumerate() {
        print!("| {} |", contender.name);
        for (name, times) in columns {
            let own = &times[i];
            // NaN if there is no peer to compare with.
            let ratio = |others: &[&str], size: f64| {
                let mut others: Vec<_> =
                    others.iter().filter_map(|name| at(name)).map(|i| &times[i]).collect();
                others.retain(|other| (own.answer() / other.answer() - 1.0).abs() < size);
                // Round by round: neighbours in time are compared.
                let ratio = |round: usize| {
                    let best = others.iter().map(|o| o.rounds[round]).fold(f64::MAX, f64::min);
                    own.rounds[round] / best
                };
                match others.is_empty() {
                    true => f64::NAN,
                    false => median((0..ROUNDS).map(ratio).collect()),
                }
            };
            let mut sorted = own.rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let spread = sorted[ROUNDS * 9 / 10] / sorted[ROUNDS / 10];
            let time = median(sorted) / 1e3;
            let answer = own.answer() * 100.0;
            let ratios = [ratio(&[contender.floor], f64::MAX), ratio(&PEERS, ALIKE)];
            let mut add = |column, value, spread| {
                saved.add([title, contender.name, &format!("{name}{column}")], value, spread);
            };
            add(", µs", time, Some(spread));
            add(": answer, %", answer, None);
            add(" / zlib-rs", ratios[0], None);
            add(" / best peer", ratios[1], None);
            let [floor, best] = ratios.map(|ratio| match ratio.is_nan() {
                true => "-".to_string(),
                false => format!("{ratio:.2}"),
            });
            print!(" {time:.1} | {answer:.1} % | {floor} | {best} | {spread:.2} |");
        }
        println!();
    }
    println!();
}

/// Bytes for each of many connections after `messages` messages each way, and bytes that are shared by all of
/// them.
fn held(open: &(dyn Fn() -> Opened + Sync), messages: usize) -> (f64, f64) {
    const ALL: usize = 256;
    let measure = || {
        let wires = Wires::new(1 << 10, 64);
        // What belongs to a wire is not counted.
        let agreed = open().0;
        wires.get(agreed, ALL - 1);
        let mut servers = Vec::with_capacity(ALL);
        let before = memory::live();
        let mut half = 0;
        for i in 0..ALL {
            if i == ALL / 2 {
                half = memory::live();
            }
            let mut server = open().1;
            server.connect(wires.get(agreed, i));
            for _ in 0..messages {
                server.exchange();
            }
            servers.push(server);
        }
        let all = memory::live();
        let each = (all - half) as f64 / (ALL / 2) as f64;
        (each, (all - before) as f64 - each * ALL as f64)
    };
    // On a thread of its own, whose pools have lent nothing yet.
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let run = || {
            let _entered = runtime.enter();
            measure()
        };
        scope.spawn(run).join().unwrap()
    })
}

fn print_memory(title: &str, contenders: &[Contender], saved: &mut Figures) {
    const COLUMNS: [&str; 4] =
        ["a message of 1 KiB each way", "64 messages", "the thread", "without compression"];
    println!("| KiB | {} |", COLUMNS.join(" | "));
    println!("|---|---|---|---|---|");
    for contender in contenders {
        let Some(plain) = contender.plain else { continue };
        let plain = held(&plain, 1);
        let [one, all] = [1, 64].map(|messages| held(&*contender.open, messages));
        let bytes = [one.0 - plain.0, all.0 - plain.0, all.1 - plain.1, plain.0];
        let [one, all, thread, plain] = bytes.map(|bytes| bytes / 1024.0);
        for (column, value) in COLUMNS.into_iter().zip([one, all, thread, plain]) {
            saved.add([title, contender.name, column], value, None);
        }
        println!("| {} | {one:.1} | {all:.1} | {thread:.0} | {plain:.1} |", contender.name);
    }
    println!();
}
