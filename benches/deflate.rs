//! A server that receives and sends compressed JSON, compared with zlib-rs alone on the same bytes.

mod common;

use std::hint::black_box;
use std::time::Instant;

use bowline::handshake::{Accept, ServerHandshake};
use bowline::{Config, Connection, Deflate, Progress, RecvBuf, SendBuf};
use common::Sink;
use common::floor::{WRITE_FROM, put_len, xor};
use common::wire::{Agreed, Client, DEFAULT_LEVELS, Packer, REQUEST, TAIL, Unpacker, Wire};

/// The sizes, and how many messages: more than a window, and than an L1 cache holds.
const SIZES: [(&str, usize, usize); 2] = [("1 KiB", 1 << 10, 512), ("16 KiB", 16 << 10, 64)];

fn main() {
    let mut criterion = common::criterion();
    let settings = [
        ("15 bits,", Deflate::high_compression()),
        ("12 bits,", Deflate::default()),
        ("no takeover,", Deflate::low_memory()),
    ];
    for (name, deflate) in settings {
        let agreed = open(deflate).1;
        for (size, len, count) in SIZES {
            let wire = &Wire::new(0, len, count, Some(agreed));
            let mut group = criterion.benchmark_group(format!("deflate receive {name} {size}"));
            receive(&mut group, "floor", wire, Floor::new(wire, agreed));
            receive(&mut group, "borrowed", wire, Receiver::new(wire, deflate, false));
            receive(&mut group, "owned", wire, Receiver::new(wire, deflate, true));
            group.finish();
            let mut group = criterion.benchmark_group(format!("deflate send {name} {size}"));
            send(&mut group, "floor", wire, agreed, SendFloor::new(wire, agreed));
            send(&mut group, "send", wire, agreed, Sender::new(wire, deflate));
            group.finish();
        }
    }
    criterion.final_summary();
}

/// A server's connection with a client that can do everything.
fn open(deflate: Deflate) -> (Connection, Agreed) {
    let config = Config::default().deflate(deflate);
    let mut input = RecvBuf::new();
    input.space()[..REQUEST.len()].copy_from_slice(REQUEST.as_bytes());
    input.filled(REQUEST.len());
    let request = ServerHandshake::new(config.clone()).read(&mut input).unwrap().unwrap();
    let (connection, response) = request.upgrade(&config).unwrap().accept(Accept::new()).unwrap();
    let agreed = response.headers().get_str("Sec-WebSocket-Extensions").map(Agreed::parse);
    (connection, agreed.expect("nothing was agreed on"))
}

trait Receive {
    fn receive(&mut self, count: usize, see: &mut impl FnMut(&[u8]));
}

fn receive(group: &mut common::Group<'_>, name: &str, wire: &Wire, mut receiver: impl Receive) {
    let mut received = 0;
    group.bench_function(name, |bencher| {
        if received == 0 {
            // Compares every byte, outside the measurement. Later messages refer to these.
            receiver.receive(2 * wire.messages.len() + 1, &mut |message| {
                assert!(
                    message == wire.message(received).as_bytes(),
                    "message {received} is wrong"
                );
                received += 1;
            });
        }
        bencher.iter_custom(|count| {
            let mut sum = 0;
            let start = Instant::now();
            receiver.receive(count as usize, &mut |message| sum += black_box(message).len());
            let time = start.elapsed();
            assert_eq!(sum, count as usize * wire.messages[0].len());
            time
        });
    });
}

/// The wire as a socket: a read gives as many bytes as there is room for, up to the end of the wire.
struct Source<'a> {
    wire: &'a Wire,
    at: usize,
}

impl Source<'_> {
    fn read(&mut self, room: &mut [u8]) -> usize {
        let rest = &self.wire.frames[self.at..];
        let n = rest.len().min(room.len());
        room[..n].copy_from_slice(&rest[..n]);
        self.at = if n == rest.len() { self.wire.second_half() } else { self.at + n };
        n
    }
}

/// Knows where the payloads are.
struct Floor<'a> {
    wire: &'a Wire,
    unpacker: Unpacker,
    frame: usize,
    packed: Vec<u8>,
}

impl<'a> Floor<'a> {
    fn new(wire: &'a Wire, agreed: Agreed) -> Self {
        let unpacker = Unpacker::new(agreed.client_bits, agreed.client_takeover);
        Self { wire, unpacker, frame: 0, packed: Vec::new() }
    }
}

impl Receive for Floor<'_> {
    fn receive(&mut self, count: usize, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            let frame = &self.wire.frames[self.wire.frame(self.frame)];
            let header = if frame[1] & 0x7F == 126 { 8 } else { 6 };
            let (header, payload) = frame.split_at(header);
            self.packed.clear();
            self.packed.extend_from_slice(payload);
            xor(&mut self.packed, *header.last_chunk().unwrap());
            self.packed.extend(TAIL);
            see(self.unpacker.unpack(&self.packed));
            self.frame += 1;
        }
    }
}

struct Receiver<'a> {
    connection: Connection,
    input: RecvBuf,
    out: SendBuf,
    source: Source<'a>,
    owned: bool,
}

impl<'a> Receiver<'a> {
    fn new(wire: &'a Wire, deflate: Deflate, owned: bool) -> Self {
        let source = Source { wire, at: 0 };
        let (connection, _) = open(deflate);
        Self { connection, input: RecvBuf::new(), out: SendBuf::new(), source, owned }
    }
}

impl Receive for Receiver<'_> {
    fn receive(&mut self, count: usize, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            loop {
                match self.connection.advance(&mut self.input, &mut self.out).unwrap() {
                    Progress::Event => break,
                    Progress::NeedInput => {
                        let n = self.source.read(self.input.space());
                        self.input.filled(n);
                    }
                    Progress::Ended => unreachable!("nobody closes"),
                }
            }
            match self.owned {
                true => see(self.input.take_event().unwrap().as_bytes()),
                false => see(self.input.event().unwrap().as_bytes()),
            }
        }
    }
}

trait Send {
    fn send(&mut self, count: usize, sink: &mut Sink);
}

fn send(
    group: &mut common::Group<'_>,
    name: &str,
    wire: &Wire,
    agreed: Agreed,
    mut sender: impl Send,
) {
    let mut sink = None;
    group.bench_function(name, |bencher| {
        let sink = sink.get_or_insert_with(|| {
            // Every byte, outside of the measurement.
            let mut client = Client::new(Some(agreed));
            for message in wire.messages.iter().chain(&wire.messages) {
                let mut sink = Sink::new(64 << 10);
                sender.send(1, &mut sink);
                let frames = sink.first(sink.written as usize);
                assert!(client.message(frames) == message.as_bytes(), "{name}");
            }
            Sink::new(128 << 10)
        });
        bencher.iter_custom(|count| {
            let start = Instant::now();
            sender.send(count as usize, sink);
            start.elapsed()
        });
    });
}

struct SendFloor<'a> {
    wire: &'a Wire,
    packer: Packer,
    sent: usize,
    packed: Vec<u8>,
}

impl<'a> SendFloor<'a> {
    fn new(wire: &'a Wire, agreed: Agreed) -> Self {
        let (level, memory) = DEFAULT_LEVELS;
        let packer = Packer::new(level, memory, agreed.server_bits, agreed.server_takeover);
        Self { wire, packer, sent: 0, packed: Vec::new() }
    }
}

impl Send for SendFloor<'_> {
    fn send(&mut self, count: usize, sink: &mut Sink) {
        let mut header = Vec::new();
        for _ in 0..count {
            self.packed.clear();
            self.packer.pack(self.wire.message(self.sent).as_bytes(), &mut self.packed);
            header.clear();
            header.push(0xC1);
            put_len(&mut header, 0, self.packed.len());
            sink.write(&header);
            sink.write(&self.packed);
            self.sent += 1;
        }
    }
}

struct Sender<'a> {
    wire: &'a Wire,
    connection: Connection,
    out: SendBuf,
    sent: usize,
}

impl<'a> Sender<'a> {
    fn new(wire: &'a Wire, deflate: Deflate) -> Self {
        Self { wire, connection: open(deflate).0, out: SendBuf::new(), sent: 0 }
    }

    fn write(&mut self, sink: &mut Sink) {
        while !self.out.is_empty() {
            let n = self.out.pending_slices().map(|slice| sink.write(slice)).sum();
            self.out.sent(n);
        }
    }
}

impl Send for Sender<'_> {
    fn send(&mut self, count: usize, sink: &mut Sink) {
        for _ in 0..count {
            self.connection.send(self.wire.message(self.sent), &mut self.out).unwrap();
            self.sent += 1;
            if self.out.len() >= WRITE_FROM {
                self.write(sink);
            }
        }
        self.write(sink);
    }
}
