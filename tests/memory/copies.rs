//! What a byte that comes costs in allocated memory (RFC 6455 §10.4): a constant, whatever the message and the
//! packets that it comes in.

use crate::counting::*;
use crate::support::*;
use bowline::{Config, Progress};

/// Receives as an adapter does that gives memory back at each wait: a packet, then reads that find nothing.
/// How much is allocated for it.
fn allocated(side: &mut Side, wire: &[u8], packet: usize, idle_reads: usize) -> usize {
    let before = counts();
    let mut at = 0;
    while at < wire.len() {
        let mut left = packet.min(wire.len() - at);
        while left > 0 {
            let n = read(&mut side.input, &wire[at..], left);
            (at, left) = (at + n, left - n);
            while side.advance().unwrap() == Progress::Event {}
        }
        for _ in 0..=idle_reads {
            let _ = side.input.space();
            side.input.release();
        }
    }
    counts().allocated - before.allocated
}

/// At most 16 bytes for each byte, and what is allocated once. A part of less than 256 bytes is moved for each
/// read, with the 64 bytes that say where it is.
#[track_caller]
fn assert_bounded(allocated: usize, bytes: usize, idle_reads: usize, what: &str) {
    let most = 16 * bytes + 400_000 + 256 * (128 + 64) * idle_reads;
    assert!(allocated <= most, "{what}: {allocated} for {bytes}");
}

const PACKETS: [usize; 6] = [1, 7, 100, 1_400, 5_000, 20_000];
const SIZES: [usize; 6] = [300, 3_000, 20_000, 60_000, 300_000, 1_000_000];

#[test]
fn a_message_costs_a_constant_for_each_byte_whatever_the_packets() {
    for role in ROLES {
        for size in SIZES {
            let payload = vec![b'x'; size];
            let whole = to(role, TEXT, &payload);
            let (first, last) = payload.split_at(size - size / 3);
            let cut =
                [fragment_to(role, false, TEXT, first), to(role, CONTINUATION, last)].concat();
            let mut small = fragment_to(role, false, BINARY, b"");
            payload
                .chunks(900)
                .for_each(|piece| small.extend(fragment_to(role, false, CONTINUATION, piece)));
            small.extend(to(role, CONTINUATION, b""));
            for (what, wire) in [("whole", &whole), ("cut", &cut), ("small fragments", &small)] {
                for packet in PACKETS {
                    if size / packet > 20_000 {
                        continue;
                    }
                    for idle_reads in if packet == 1 { [0, 40] } else { [0, 2] } {
                        let mut side = Side::new(role, Config::default());
                        let cost = allocated(&mut side, wire, packet, idle_reads);
                        let what = format!("{role:?}, {size} in {packet}, {what}, {idle_reads}");
                        assert_bounded(cost, wire.len(), idle_reads, &what);
                    }
                }
            }
        }
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_compressed_message_costs_a_constant_for_each_byte_whatever_the_packets() {
    use bowline::Deflate;
    for role in ROLES {
        let other = if role == bowline::Role::Client {
            bowline::Role::Server
        } else {
            bowline::Role::Client
        };
        let config = Config::default().deflate(Deflate::default());
        for size in SIZES {
            let noise = Seeded(size as u64).bytes(size);
            let words: Vec<u8> =
                noise.iter().map(|byte| b"aeiou str"[usize::from(byte % 9)]).collect();
            for payload in [&noise, &words, &vec![0; size]] {
                let mut sender = Side::extended(other, config.clone(), "permessage-deflate");
                sender.connection.send(&payload[..], &mut sender.out).unwrap();
                let wire = sender.take_out();
                for packet in PACKETS {
                    if wire.len() / packet > 20_000 {
                        continue;
                    }
                    for idle_reads in if packet == 1 { [0, 40] } else { [0, 2] } {
                        let mut side = Side::extended(role, config.clone(), "permessage-deflate");
                        let cost = allocated(&mut side, &wire, packet, idle_reads);
                        let what = format!("{role:?}, {size} ({}) in {packet}", wire.len());
                        assert_bounded(cost, wire.len() + size, idle_reads, &what);
                    }
                }
            }
        }
    }
}
