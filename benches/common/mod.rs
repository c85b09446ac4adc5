//! What all benchmarks share: the workloads, a socket that is a memcpy, and how a row is measured.

// Each benchmark uses a part of it.
#![allow(dead_code)]

pub mod core;
pub mod floor;
#[path = "../../tests/support/protocol/frames.rs"]
pub mod frames;
pub mod json;
pub mod wire;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bowline::Role;
use criterion::Criterion;
use criterion::measurement::WallTime;

use frames::{BINARY, decode, frame_with};

pub type Group<'a> = criterion::BenchmarkGroup<'a, WallTime>;

/// A request as a browser sends it, with the key of RFC 6455 §1.3.
pub const BROWSER: &str = "GET /chat?room=1 HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://server.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A short measurement for each of many rows.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(600))
        .nresamples(2_000)
        .without_plots()
        .configure_from_args()
}

/// Numbers that are the same in every run (xorshift).
pub struct Numbers(u64);

impl Numbers {
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// Other numbers for each seed.
    pub fn seeded(seed: u64) -> Self {
        let mut numbers = Self(0x9E37_79B9_7F4A_7C15 ^ seed.wrapping_mul(0xD134_2543_DE82_EF95));
        // Without this, similar seeds begin with similar numbers.
        for _ in 0..8 {
            numbers.next();
        }
        numbers
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

pub fn binary(len: usize) -> Vec<u8> {
    let mut numbers = Numbers::new();
    (0..len).map(|_| numbers.next() as u8).collect()
}

/// Text of `len` bytes with characters of one to four bytes, mostly words in several scripts.
pub fn text(len: usize) -> String {
    let phrase = "Grüße aus Köln, здравствуй мир, 你好世界, the quick brown fox 🦊 jumps. ";
    let mut text = String::new();
    for c in phrase.chars().cycle() {
        if text.len() + c.len_utf8() > len {
            break;
        }
        text.push(c);
    }
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text
}

/// Messages of one kind, and the bytes in which a client sends many of them.
pub struct Work {
    pub name: &'static str,
    pub payload: Vec<u8>,
    pub is_text: bool,
    /// Payload bytes of each frame.
    pub frame: usize,
    /// Frames, each with a key of its own. The last one ends a message.
    pub stream: Vec<u8>,
    pub messages: u64,
}

impl Work {
    fn new(name: &'static str, payload: Vec<u8>, is_text: bool, frame: usize) -> Self {
        // More than an L1 cache holds, and always several messages.
        let messages = ((512 << 10) / payload.len()).max(2);
        let mut stream = Vec::new();
        let mut numbers = Numbers::new();
        for _ in 0..messages {
            let frames = payload.len().div_ceil(frame);
            for (i, piece) in payload.chunks(frame).enumerate() {
                let opcode = match (i, is_text) {
                    (0, true) => 1,
                    (0, false) => 2,
                    _ => 0,
                };
                let fin = if i + 1 == frames { 0x80 } else { 0 };
                stream.extend(frame_with(fin | opcode, Some(numbers.key()), piece));
            }
        }
        Self { name, payload, is_text, frame, stream, messages: messages as u64 }
    }

    /// The rows for receiving.
    pub fn received() -> Vec<Self> {
        Self::received_if(|_| true)
    }

    /// Those of them whose name is wanted. A workload takes time to make, and much more under valgrind.
    pub fn received_if(wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        let rows = [
            ("16 B", 16, false, 16),
            ("125 B", 125, false, 125),
            ("1 KiB", 1 << 10, false, 1 << 10),
            ("16 KiB", 16 << 10, false, 16 << 10),
            ("64 KiB", 64 << 10, false, 64 << 10),
            ("1 MiB", 1 << 20, false, 1 << 20),
            ("text 1 KiB", 1 << 10, true, 1 << 10),
            ("text 16 KiB", 16 << 10, true, 16 << 10),
            ("64 KiB in 1 KiB fragments", 64 << 10, false, 1 << 10),
        ];
        let rows = rows.into_iter().filter(|(name, ..)| wanted(name));
        rows.map(|(name, len, is_text, frame)| {
            let payload = if is_text { text(len).into_bytes() } else { binary(len) };
            Self::new(name, payload, is_text, frame)
        })
        .collect()
    }

    /// The rows for sending, which use only the payload.
    pub fn sent() -> Vec<Self> {
        Self::sent_if(|_| true)
    }

    /// Those of them whose name is wanted.
    pub fn sent_if(wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        let rows = [("16 B", 16), ("1 KiB", 1 << 10), ("64 KiB", 64 << 10)];
        let rows = rows.into_iter().filter(|(name, _)| wanted(name));
        rows.map(|(name, len)| Self::new(name, binary(len), false, len)).collect()
    }

    pub fn source(&self) -> Source<'_> {
        Source { stream: &self.stream, at: 0 }
    }
}

/// A socket to read from: the same frames for ever. A read is one memcpy of as much as there is room
/// for, up to the end of the stream.
pub struct Source<'a> {
    pub stream: &'a [u8],
    at: usize,
}

impl Source<'_> {
    /// What the next read gives if there is room for `room` bytes.
    pub fn next(&mut self, room: usize) -> &[u8] {
        let rest = &self.stream[self.at..];
        let n = rest.len().min(room);
        self.at = if n == rest.len() { 0 } else { self.at + n };
        &rest[..n]
    }

    pub fn read(&mut self, room: &mut [u8]) -> usize {
        let bytes = self.next(room.len());
        room[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
}

/// A socket to write to: a write is one memcpy, and always takes all.
pub struct Sink {
    buffer: Vec<u8>,
    at: usize,
    pub written: u64,
}

/// The size of a socket's own buffer. The sink overwrites it again and again.
const SINK: usize = 128 << 10;

impl Sink {
    pub fn new(size: usize) -> Self {
        Self { buffer: vec![0; size], at: 0, written: 0 }
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while !bytes.is_empty() {
            let n = bytes.len().min(self.buffer.len() - self.at);
            self.buffer[self.at..self.at + n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.at += n;
            if self.at == self.buffer.len() {
                self.at = 0;
            }
        }
        self.written += all as u64;
        all
    }

    /// The bytes that were written, as long as they fit the buffer.
    pub fn first(&self, len: usize) -> &[u8] {
        assert!(self.written <= self.buffer.len() as u64);
        &self.buffer[..len]
    }
}

/// Cheap proof that messages came whole and in order: lengths, first and last bytes.
#[derive(Default)]
struct Tally {
    messages: u64,
    sum: u64,
}

fn digest(payload: &[u8]) -> u64 {
    let (first, last) = (payload[0], payload[payload.len() - 1]);
    payload.len() as u64 + u64::from(first) + u64::from(last)
}

/// A library that receives.
pub trait Receive {
    /// Receives `count` messages and shows each to `see`. A connection goes on with the next call.
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8]));
}

/// Measures the time that one message takes.
pub fn receive<'a, R: Receive>(
    group: &mut Group<'_>,
    name: &str,
    work: &'a Work,
    open: impl Fn(&'a Work) -> R,
) {
    let whole = |work: &'a Work| {
        // Every byte, outside of the measurement.
        let mut seen = 0;
        open(work).receive(2 * work.messages + 1, &mut |payload| {
            assert!(payload == work.payload, "{name}: message {seen} is wrong");
            seen += 1;
        });
        assert_eq!(seen, 2 * work.messages + 1, "{name}");
        open(work)
    };
    let mut receiver = None;
    group.bench_function(name, |bencher| {
        let receiver = receiver.get_or_insert_with(|| whole(work));
        bencher.iter_custom(|messages| {
            let mut tally = Tally::default();
            let start = Instant::now();
            receiver.receive(messages, &mut |payload| {
                tally.messages += 1;
                tally.sum += digest(black_box(payload));
            });
            let time = start.elapsed();
            assert_eq!(tally.messages, messages, "{name}");
            assert_eq!(tally.sum, messages * digest(&work.payload), "{name}");
            time
        });
    });
}

/// A library that sends.
pub trait Send {
    /// Sends `count` binary messages, and flushes. A connection goes on with the next call.
    fn send(&mut self, count: u64);

    fn into_sink(self) -> Sink;
}

/// Measures the time that one message takes.
pub fn send<'a, S: Send>(
    group: &mut Group<'_>,
    name: &str,
    work: &'a Work,
    masked: bool,
    open: impl Fn(&'a Work, Sink) -> S,
) {
    let size = frame_with(0x82, masked.then_some([0; 4]), &work.payload).len();
    let whole = |work: &'a Work| {
        // Every byte, outside of the measurement.
        let count = 40;
        let mut sender = open(work, Sink::new(count * size));
        sender.send(count as u64);
        let sink = sender.into_sink();
        assert_eq!(sink.written, (count * size) as u64, "{name}");
        let role = if masked { Role::Client } else { Role::Server };
        let frames = decode(role, &sink.buffer);
        assert_eq!(frames.len(), count, "{name}");
        for frame in frames {
            assert_eq!((frame.fin, frame.opcode), (true, BINARY), "{name}");
            assert!(frame.payload == work.payload, "{name}");
        }
        open(work, Sink::new(SINK))
    };
    let mut sender = None;
    let mut sent = 0;
    group.bench_function(name, |bencher| {
        let sender = sender.get_or_insert_with(|| whole(work));
        bencher.iter_custom(|messages| {
            sent += messages;
            let start = Instant::now();
            sender.send(messages);
            start.elapsed()
        });
    });
    // Does nothing if a filter leaves the row out.
    if let Some(sender) = sender {
        let sink = black_box(sender.into_sink());
        assert_eq!(sink.written, sent * size as u64, "{name}");
    }
}
