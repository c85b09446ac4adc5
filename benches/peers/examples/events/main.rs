//! How fast streams of server-sent events are read: bowline-sse, and two others from crates.io.
//!
//! `cargo run --release -p peers --example events` prints the table of `crates/sse/README.md`. Each library gets the same pieces
//! from a stream in memory that is always ready, and gives owned events.
//!
//! `--seconds 0.004` is the length of one measurement, which is shorter than a scheduler's slice. `--rounds 201` is how many
//! there are of each. They take turns, and medians count. `--rows WORD` measures the rows whose names contain it.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use sse_stream::SseStream;

type Pieces = [Bytes];

/// Reads the stream, and gives the number of events and of bytes in their data.
type Read = fn(&Pieces) -> (usize, usize);

const LIBRARIES: [(&str, Read); 3] =
    [("bowline-sse", bowline), ("sse-stream", sse), ("eventsource-stream", eventsource)];

/// A source that is always ready, as all libraries get it.
fn ready(pieces: &Pieces) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
    stream::iter(pieces.iter().cloned().map(Ok))
}

fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the stream is always ready")
}

fn bowline(pieces: &Pieces) -> (usize, usize) {
    let mut pieces = ready(pieces);
    let mut parser = bowline_sse::Parser::new();
    done(async {
        let (mut events, mut bytes) = (0, 0);
        while let Some(Ok(piece)) = pieces.next().await {
            let mut piece = &piece[..];
            while let Some(item) = parser.read(&mut piece).expect("it is within the limits") {
                if let bowline_sse::Item::Event(event) = black_box(item) {
                    (events, bytes) = (events + 1, bytes + event.data.len());
                }
            }
        }
        (events, bytes)
    })
}

fn sse(pieces: &Pieces) -> (usize, usize) {
    let mut found = SseStream::from_bytes_stream(ready(pieces));
    done(async {
        let (mut events, mut bytes) = (0, 0);
        while let Some(Ok(event)) = found.next().await {
            if let Some(data) = black_box(event).data {
                (events, bytes) = (events + 1, bytes + data.len());
            }
        }
        (events, bytes)
    })
}

fn eventsource(pieces: &Pieces) -> (usize, usize) {
    let mut found = ready(pieces).eventsource();
    done(async {
        let (mut events, mut bytes) = (0, 0);
        while let Some(Ok(event)) = found.next().await {
            (events, bytes) = (events + 1, bytes + black_box(event).data.len());
        }
        (events, bytes)
    })
}

/// A JSON text of about this many bytes, as a language model's server sends tokens.
fn token(len: usize) -> String {
    let frame = r#"{"choices":[{"delta":{"content":""}}]}"#;
    let (start, end) = frame.split_at(frame.len() - 5);
    format!("{start}{}{end}", "x".repeat(len.saturating_sub(frame.len())))
}

/// Data of 20 to 100 bytes.
fn tokens(n: usize) -> Vec<String> {
    (0..n).map(|n| token(20 + n * 37 % 81)).map(|token| format!("data: {token}\n\n")).collect()
}

fn chunks(text: &str, size: usize) -> Vec<Bytes> {
    text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect()
}

fn each(events: &[String]) -> Vec<Bytes> {
    events.iter().map(|event| Bytes::from(event.clone())).collect()
}

fn rows() -> Vec<(&'static str, Vec<Bytes>)> {
    let many = tokens(2_000);
    let lines = |n, len| format!("data: {}\n", "x".repeat(len)).repeat(n) + "\n";
    let with = |len: usize| lines(1, len);
    let crlf = many.concat().replace('\n', "\r\n");
    let comments: String = many.iter().map(|event| format!(": keepalive\n\n{event}")).collect();
    let typed = |(n, event): (usize, &String)| format!("event: delta\nid: {n}\n{event}");
    vec![
        ("tokens of 20 to 100 B, each in a piece", each(&many)),
        ("the same, in pieces of 16 KiB", chunks(&many.concat(), 16 << 10)),
        (
            "the same, with type and id",
            each(&many.iter().enumerate().map(typed).collect::<Vec<_>>()),
        ),
        ("the same, with CRLF", chunks(&crlf, 16 << 10)),
        ("the same, a comment before each", chunks(&comments, 16 << 10)),
        ("10 lines of 80 B an event", chunks(&lines(10, 80).repeat(200), 16 << 10)),
        ("1 KiB, each in a piece", each(&vec![with(1 << 10); 200])),
        ("64 KiB, in pieces of 16 KiB", chunks(&with(64 << 10).repeat(8), 16 << 10)),
        ("64 KiB, in pieces of 1,400 B", chunks(&with(64 << 10).repeat(8), 1_400)),
    ]
}

/// Bytes of the stream in a second, read again and again for this long.
fn measure(read: Read, pieces: &Pieces, time: Duration) -> f64 {
    let len: usize = pieces.iter().map(Bytes::len).sum();
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed() < time {
        black_box(read(black_box(pieces)));
        times += 1;
    }
    (len * times) as f64 / start.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: f64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let time = Duration::from_secs_f64(number("--seconds", 0.004));
    let rounds = number("--rounds", 201.0) as usize;
    println!("| MB/s | {} |", LIBRARIES.map(|(name, _)| name).join(" | "));
    println!("|---|{}", "---:|".repeat(LIBRARIES.len()));
    let wanted = arguments.iter().position(|argument| argument == "--rows");
    let wanted = wanted.and_then(|at| arguments.get(at + 1)).map_or("", |word| word);
    for (name, pieces) in rows().into_iter().filter(|(name, _)| name.contains(wanted)) {
        let found = LIBRARIES.map(|(_, read)| read(&pieces));
        assert!(found.iter().all(|one| *one == found[0]), "{name}: {found:?}");
        let mut figures = vec![Vec::new(); LIBRARIES.len()];
        for _ in 0..rounds {
            for ((_, read), figures) in LIBRARIES.iter().zip(&mut figures) {
                figures.push(measure(*read, &pieces, time));
            }
        }
        let cells: Vec<_> =
            figures.into_iter().map(|figures| format!("{:.0}", median(figures) / 1e6)).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}
