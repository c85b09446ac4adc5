//! The output queue: whole frames in order, however many bytes the socket takes at a time.

use crate::support::*;
use bowline::{Config, Message, MessageRef, Role, SendBuf};
use bytes::Bytes;

/// Small and large messages in turns; those of 16 KiB and more are queued by reference.
fn fill(side: &mut Side, order: u32) -> Vec<(u8, Vec<u8>)> {
    let mut expected = Vec::new();
    for bit in 0..5 {
        let size = if order >> bit & 1 == 1 { 16 << 10 } else { 3 + bit };
        let payload = vec![bit as u8; size];
        side.connection.send_owned(Message::from(payload.clone()), &mut side.out).unwrap();
        expected.push((BINARY, payload));
    }
    expected
}

#[test]
fn messages_leave_in_the_order_in_which_they_came_large_or_small() {
    for role in ROLES {
        for order in 0..32 {
            let mut side = Side::new(role, Config::default());
            let expected = fill(&mut side, order);
            let waiting: usize = side.out.pending_slices().map(<[u8]>::len).sum();
            assert_eq!(side.out.len(), waiting);
            assert_eq!(side.out.pending(), side.out.pending_slices().next().unwrap());
            assert_eq!(side.take_sent(), expected);
        }
    }
}

#[test]
fn the_socket_may_take_any_number_of_bytes_at_a_time() {
    for role in ROLES {
        for order in [0b00000, 0b00010, 0b10101, 0b01110, 0b11111] {
            for at_once in [1, 2, 7, 4_096, 16_383, 16_384, 16_385, 40_000] {
                let mut side = Side::new(role, Config::default());
                let expected = fill(&mut side, order);
                let mut wire = Vec::new();
                while !side.out.is_empty() {
                    let before = side.out.len();
                    let all: Vec<u8> = if at_once <= 7 {
                        side.out.pending()[..at_once.min(side.out.pending().len())].to_vec()
                    } else {
                        side.out.pending_slices().flatten().take(at_once).copied().collect()
                    };
                    wire.extend_from_slice(&all);
                    side.out.sent(all.len());
                    assert_eq!(side.out.len(), before - all.len());
                }
                assert_eq!(side.out.pending_slices().count(), 0);
                let sent: Vec<_> =
                    decode(role, &wire).into_iter().map(|f| (f.opcode, f.payload)).collect();
                assert_eq!(sent, expected, "{order:05b} by {at_once}");
            }
        }
    }
}

#[test]
fn the_queue_can_be_cut_at_every_byte_and_more_added_there() {
    for role in ROLES {
        let total = {
            let mut side = Side::new(role, Config::default());
            fill(&mut side, 0b00100);
            side.out.len()
        };
        let places = (0..60).chain(16_360..16_440).chain(total - 60..=total);
        for place in places.filter(|place| *place <= total) {
            let mut side = Side::new(role, Config::default());
            let mut expected = fill(&mut side, 0b00100);
            let mut wire: Vec<u8> =
                side.out.pending_slices().flatten().take(place).copied().collect();
            side.out.sent(place);
            assert_eq!(side.out.len(), total - place);
            side.connection.send("added", &mut side.out).unwrap();
            let large = vec![b'x'; 20_000];
            side.connection.send_owned(Message::from(large.clone()), &mut side.out).unwrap();
            side.connection.ping(b"end", &mut side.out).unwrap();
            wire.extend(side.take_out());
            expected.push((TEXT, b"added".to_vec()));
            expected.push((BINARY, large));
            expected.push((PING, b"end".to_vec()));
            let sent: Vec<_> =
                decode(role, &wire).into_iter().map(|f| (f.opcode, f.payload)).collect();
            assert_eq!(sent, expected, "cut at {place}");
        }
    }
}

#[test]
fn a_server_queues_a_large_payload_without_a_copy() {
    for size in [16 << 10, (16 << 10) - 1] {
        let payload = Bytes::from(vec![7; size]);
        let mut sides: Vec<_> =
            (0..3).map(|_| Side::new(Role::Server, Config::default())).collect();
        for side in &mut sides {
            side.connection.send_owned(Message::from(payload.clone()), &mut side.out).unwrap();
            let shared = side.out.pending_slices().any(|slice| slice.as_ptr() == payload.as_ptr());
            assert_eq!(shared, size >= 16 << 10);
        }
        for side in &mut sides {
            assert_eq!(side.take_sent(), [(BINARY, payload.to_vec())]);
        }
    }
}

#[test]
fn a_client_masks_a_large_payload_in_place_only_if_nobody_else_holds_it() {
    let mut side = Side::new(Role::Client, Config::default());
    let own = vec![7; 20_000];
    let place = own.as_ptr();
    side.connection.send_owned(Message::from(own), &mut side.out).unwrap();
    assert!(side.out.pending_slices().any(|slice| slice.as_ptr() == place));
    assert_eq!(side.take_sent(), [(BINARY, vec![7; 20_000])]);

    let shared = Bytes::from(vec![7; 20_000]);
    for part in [shared.clone(), shared.slice(100..19_000)] {
        let expected = part.to_vec();
        side.connection.send_owned(Message::from(part), &mut side.out).unwrap();
        assert_eq!(side.take_sent(), [(BINARY, expected)]);
        assert!(shared.iter().all(|byte| *byte == 7));
    }
    // Nor one that can never be written to.
    let constant = Bytes::from_static(&[7; 20_000]);
    side.connection.send_owned(Message::from(constant), &mut side.out).unwrap();
    assert_eq!(side.take_sent(), [(BINARY, vec![7; 20_000])]);
}

#[test]
fn every_way_to_send_gives_the_same_bytes() {
    for role in ROLES {
        for size in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let payload = Seeded(2).bytes(size);
            let wires: Vec<_> = (0..4)
                .map(|way| {
                    let mut side = Side::new(role, Config::default());
                    let (connection, out) = (&mut side.connection, &mut side.out);
                    match way {
                        0 => connection.send(&payload[..], out).unwrap(),
                        1 => connection.send_owned(binary(&payload), out).unwrap(),
                        2 => drop(connection.send_borrowed(&payload[..], out).unwrap()),
                        _ => connection.send_part(&payload[..], true, out).unwrap(),
                    }
                    side.take_out()
                })
                .collect();
            assert!(wires.iter().all(|wire| *wire == wires[0]), "{role:?} {size}");
        }
    }
}

#[test]
fn messages_of_every_type_are_owned_or_borrowed() {
    for role in ROLES {
        let messages = [
            Message::from("text"),
            Message::from(String::from("string")),
            Message::from(&b"slice"[..]),
            Message::from(vec![1, 2]),
            Message::from(Bytes::from_static(b"bytes")),
            Message::from(MessageRef::Text("borrowed")),
            Message::Ping(Bytes::from_static(b"ping")),
            Message::Pong(Bytes::from_static(b"pong")),
        ];
        let mut side = Side::new(role, Config::default());
        for message in &messages {
            side.connection.send_owned(message.clone(), &mut side.out).unwrap();
            side.connection.send(message, &mut side.out).unwrap();
            side.connection.send(message.borrow(), &mut side.out).unwrap();
        }
        let opcodes = [TEXT, TEXT, BINARY, BINARY, BINARY, TEXT, PING, PONG];
        let expected: Vec<_> = messages
            .iter()
            .zip(opcodes)
            .flat_map(|(message, opcode)| vec![(opcode, message.as_bytes().to_vec()); 3])
            .collect();
        assert_eq!(side.take_sent(), expected);
    }
}

#[test]
fn a_queue_that_never_runs_empty_does_not_keep_what_it_sent() {
    let mut side = Side::new(Role::Server, Config::default());
    let mut wire = Vec::new();
    let payload = Seeded(4).bytes(1_000);
    side.connection.send(&payload[..], &mut side.out).unwrap();
    for _ in 0..2_000 {
        side.connection.send(&payload[..], &mut side.out).unwrap();
        wire.extend_from_slice(&side.out.pending()[..1_004]);
        side.out.sent(1_004);
    }
    wire.extend(side.take_out());
    let frames = decode(Role::Server, &wire);
    assert_eq!(frames.len(), 2_001);
    assert!(frames.iter().all(|frame| frame.payload == payload));
}

#[test]
fn an_empty_queue_has_nothing_to_write() {
    let mut out = SendBuf::new();
    assert!(out.is_empty() && out.pending().is_empty());
    assert_eq!((out.len(), out.pending_slices().count()), (0, 0));
    out.sent(0);
    assert!(out.is_empty());
}

#[test]
fn more_than_waits_counts_as_all() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        fill(&mut side, 0b00110);
        side.out.sent(usize::MAX);
        assert!(side.out.is_empty());
        side.connection.send("next", &mut side.out).unwrap();
        assert_eq!(side.take_sent(), [(TEXT, b"next".to_vec())]);
    }
}
