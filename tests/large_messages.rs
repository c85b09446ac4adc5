//! Messages of more than 4 GiB, in parts, in constant memory.
//!
//! Each takes seconds in a release build and minutes without one, so they run when asked for:
//! `cargo test --release --test large_messages -- --ignored`. `GIB=64` in the environment sets another size. They have a
//! binary of their own, so that nothing else has to be built for that.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::time::Instant;

use bowline::{Config, Connection, MessageRef, Progress, RecvBuf, Role, SendBuf};
use counting::{MIB, peak, read};
use support::{Form, connection, header_with, masked_with};

/// A little more than a 32-bit length can say.
fn length() -> u64 {
    let gib: u64 = std::env::var("GIB").map_or(4, |gib| gib.parse().expect("GIB is a number"));
    (gib << 30) + 12_345
}

/// What the payload is made of: it repeats after so many bytes.
const PATTERN: usize = 64 << 10;

fn pattern() -> Vec<u8> {
    (0..PATTERN).map(|i| b'a' + (i % 23) as u8).collect()
}

fn end(role: Role) -> Connection {
    connection(role, &Config::default().max_message_size(u64::MAX))
}

/// The receiving end of one long message.
struct Far {
    connection: Connection,
    input: RecvBuf,
    /// Twice, so that every part is a slice of it.
    expected: Vec<u8>,
    received: u64,
    parts: u64,
    ended: bool,
}

impl Far {
    fn new(role: Role) -> Self {
        let expected = pattern().repeat(2);
        let (input, connection) = (RecvBuf::new(), end(role));
        Self { connection, input, expected, received: 0, parts: 0, ended: false }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        let mut out = SendBuf::new();
        while !bytes.is_empty() {
            bytes = &bytes[read(&mut self.input, bytes, usize::MAX)..];
            while let Progress::Event =
                self.connection.advance_parts(&mut self.input, &mut out).unwrap()
            {
                let part = self.input.part().unwrap();
                let payload = part.payload.as_bytes();
                let at = (self.received % PATTERN as u64) as usize;
                assert!(payload == &self.expected[at..at + payload.len()], "at {}", self.received);
                assert_eq!(part.first, self.parts == 0);
                self.received += payload.len() as u64;
                self.parts += 1;
                self.ended |= part.last;
            }
        }
    }
}

fn in_constant_memory(name: &str, run: impl FnOnce() -> Far) {
    let begin = Instant::now();
    let mut far = None;
    let peak = peak(|| far = Some(run()));
    let far = far.expect("it ran");
    assert_eq!(far.received, length(), "{name}");
    assert!(far.ended, "{name}");
    assert!(peak < MIB as isize, "{name}: {peak} bytes");
    let seconds = begin.elapsed().as_secs_f64();
    println!("{name}: {} bytes in {seconds:.1} s, at most {peak} bytes of memory", far.received);
}

#[test]
#[ignore = "4 GiB take seconds in a release build"]
fn a_frame_of_more_than_4_gib_is_received() {
    for role in [Role::Server, Role::Client] {
        in_constant_memory(&format!("one frame, to a {role:?}"), || {
            let mut far = Far::new(role);
            let key = (role == Role::Server).then_some([1, 2, 3, 4]);
            let wire = masked_with(key.unwrap_or_default(), &pattern());
            far.receive(&header_with(0x82, key, Form::SixtyFour, length()));
            let mut left = length();
            while left > 0 {
                let n = left.min(PATTERN as u64);
                far.receive(&wire[..n as usize]);
                left -= n;
            }
            far
        });
    }
}

#[test]
#[ignore = "4 GiB take seconds in a release build"]
fn a_message_of_more_than_4_gib_is_sent_and_received() {
    for role in [Role::Server, Role::Client] {
        in_constant_memory(&format!("fragments of 64 KiB of text, to a {role:?}"), || {
            let mut far = Far::new(role);
            let mut near = end(if role == Role::Server { Role::Client } else { Role::Server });
            let text = String::from_utf8(pattern()).unwrap();
            let mut out = SendBuf::new();
            let mut left = length();
            while left > 0 {
                let n = left.min(PATTERN as u64);
                left -= n;
                let part = MessageRef::Text(&text[..n as usize]);
                near.send_part(part, left == 0, &mut out).unwrap();
                while !out.is_empty() {
                    far.receive(out.pending());
                    out.sent(out.pending().len());
                }
            }
            far
        });
    }
}
