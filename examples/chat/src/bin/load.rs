//! Many people in a running chat: what they cost, how soon they hear each other, and how soon all are back after a restart.
//!
//! ```text
//! cargo run --release -p chat --bin load -- ws://127.0.0.1:9001/ws [ws://…] [OPTIONS]
//! ```

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bowline::tokio::{MaybeTls, WebSocket};
use lexopt::prelude::*;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore, mpsc};
use tokio::task::JoinSet;

const HELP: &str = "\
load: many people in a chat

Usage: load URL... [OPTIONS]

  --people N    how many, in turn on each URL [default: 1000]
  --room N      how many of them are in a room [default: 50]
  --every MS    how often each says something, in milliseconds [default: 5000]
  --seconds N   for how long [default: 10]
  --pid PID     whose memory is of interest (repeatable)
  --storm       then all connections are cut at once, and all come back
  -h, --help    print this";

/// A restart of a server brings all of them at once, but a browser of one person does not open a thousand.
const AT_ONCE: usize = 256;

#[derive(Default)]
struct Options {
    urls: Vec<String>,
    people: usize,
    room: usize,
    every: u64,
    seconds: u64,
    pids: Vec<String>,
    storm: bool,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options =
        Options { people: 1000, room: 50, every: 5000, seconds: 10, ..Options::default() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(url) => options.urls.push(url.string()?),
            Long("people") => options.people = parser.value()?.parse()?,
            Long("room") => options.room = parser.value()?.parse()?,
            Long("every") => options.every = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("pid") => options.pids.push(parser.value()?.string()?),
            Long("storm") => options.storm = true,
            Short('h') | Long("help") => {
                println!("{HELP}");
                exit(0);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if options.urls.is_empty() || options.people == 0 || options.room == 0 {
        return Err("a URL is missing, or there is nobody".into());
    }
    Ok(options)
}

/// What all people count together.
struct Counts {
    begin: Instant,
    said: AtomicUsize,
    heard: AtomicUsize,
    refused: AtomicUsize,
    entering: Semaphore,
}

type Socket = WebSocket<MaybeTls>;

/// Memory that a process uses now, in KiB.
fn resident(pid: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0.0)
}

#[tokio::main]
async fn main() {
    let options = match parse() {
        Ok(options) => Arc::new(options),
        Err(error) => {
            eprintln!("load: {error}; see --help");
            exit(2);
        }
    };
    let before: f64 = options.pids.iter().map(|pid| resident(pid)).sum();
    let counts = Arc::new(Counts {
        begin: Instant::now(),
        said: AtomicUsize::new(0),
        heard: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        entering: Semaphore::new(AT_ONCE),
    });
    let all = Arc::new(Barrier::new(options.people + 1));
    let (delays, mut delayed) = mpsc::unbounded_channel();
    let mut people = JoinSet::new();
    for number in 0..options.people {
        people.spawn(person(number, options.clone(), counts.clone(), all.clone(), delays.clone()));
    }
    drop(delays);
    all.wait().await;
    println!("all {} are in after {:.2} s", options.people, counts.begin.elapsed().as_secs_f64());
    // Buffers of the entering are given back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    if !options.pids.is_empty() {
        let after: f64 = options.pids.iter().map(|pid| resident(pid)).sum();
        println!("memory for each: {:.1} KiB", (after - before) / options.people as f64);
    }
    let begin = Instant::now();
    all.wait().await;
    let mut delays: Vec<f64> = Vec::new();
    all.wait().await;
    let took = begin.elapsed().as_secs_f64();
    let cut = Instant::now();
    all.wait().await;
    let back = cut.elapsed().as_secs_f64();
    while let Some(delay) = delayed.recv().await {
        delays.push(delay);
    }
    while people.join_next().await.is_some() {}
    delays.sort_by(f64::total_cmp);
    let of =
        |part: f64| delays.get((delays.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    let [said, heard, refused] =
        [&counts.said, &counts.heard, &counts.refused].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{:.0} messages a second said, {:.0} heard, {refused} refused",
        said as f64 / took,
        heard as f64 / took
    );
    println!("from saying to hearing: median {:.1} ms, 99 % {:.1} ms", of(0.5), of(0.99));
    if options.storm {
        println!("all are back {back:.2} s after the cut");
    }
}

async fn enter(number: usize, options: &Options, counts: &Counts) -> Socket {
    loop {
        let _entering = counts.entering.acquire().await;
        if let Ok(mut socket) =
            bowline::tokio::connect(&options.urls[number % options.urls.len()]).await
        {
            let (room, name) = (format!("load-{}", number / options.room), format!("p{number}"));
            let join =
                json!({"type": "join", "room": room, "name": name, "secret": name, "since": null});
            if socket.send(join.to_string()).await.is_ok() {
                while let Ok(Some(message)) = socket.recv().await {
                    match message.as_text() {
                        Some(text) if text.starts_with("{\"type\":\"here\"") => return socket,
                        Some(text) if text.starts_with("{\"type\":\"refused\"") => {
                            eprintln!("load: {text}");
                            exit(1);
                        }
                        _ => {}
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn person(
    number: usize,
    options: Arc<Options>,
    counts: Arc<Counts>,
    all: Arc<Barrier>,
    delays: mpsc::UnboundedSender<f64>,
) {
    let mut socket = enter(number, &options, &counts).await;
    // What comes while the others enter is read, so that nobody is too slow.
    read_until(&mut socket, &all).await;
    read_until(&mut socket, &all).await;
    let every = Duration::from_millis(options.every);
    let until = tokio::time::Instant::now() + Duration::from_secs(options.seconds);
    // Each at another moment.
    let mut say_at = tokio::time::Instant::now() + every.mul_f64((number as f64 * 0.618).fract());
    let mut count = 0;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Ok(Some(message)) = message else { break };
                hear(&counts, &delays, number, message.as_text().unwrap_or(""));
            }
            () = tokio::time::sleep_until(say_at) => {
                say_at += every;
                count += 1;
                let text = format!("{} {}", counts.begin.elapsed().as_micros(), "x".repeat(100));
                let say = json!({"type": "say", "key": format!("{number}.{count}.{}", std::process::id()), "text": text});
                if socket.send(say.to_string()).await.is_err() { break }
                counts.said.fetch_add(1, Ordering::Relaxed);
            }
            () = tokio::time::sleep_until(until) => break,
        }
    }
    all.wait().await;
    if options.storm {
        // Without a Close, as when a node dies.
        drop(socket);
        let socket = enter(number, &options, &counts).await;
        all.wait().await;
        drop(socket);
    } else {
        all.wait().await;
    }
}

async fn read_until(socket: &mut Socket, all: &Barrier) {
    let waiting = all.wait();
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            _ = &mut waiting => return,
            message = socket.recv() => if !matches!(message, Ok(Some(_))) {
                eprintln!("load: somebody was cut off");
                exit(1);
            },
        }
    }
}

fn hear(counts: &Counts, delays: &mpsc::UnboundedSender<f64>, number: usize, text: &str) {
    if text.starts_with("{\"type\":\"refused\"") {
        counts.refused.fetch_add(1, Ordering::Relaxed);
    }
    if !text.starts_with("{\"type\":\"said\"") {
        return;
    }
    let heard = counts.heard.fetch_add(1, Ordering::Relaxed);
    // One in sixteen is enough for the percentiles.
    if !(heard + number).is_multiple_of(16) {
        return;
    }
    let Ok(said) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let sent = said["text"].as_str().and_then(|text| text.split(' ').next()?.parse::<u128>().ok());
    if let Some(sent) = sent {
        let now = counts.begin.elapsed().as_micros();
        let _ = delays.send(now.saturating_sub(sent) as f64 / 1000.0);
    }
}
