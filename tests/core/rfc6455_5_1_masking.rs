//! RFC 6455 §5.1 and §5.3: who masks, and with what.

use std::collections::HashSet;

use crate::support::*;
use bowline::{Config, Connection, Message, MessageRef, Role, Rule, SendBuf};

#[test]
fn a_server_must_close_upon_a_frame_that_is_not_masked_and_a_client_upon_one_that_is() {
    for role in ROLES {
        let rule = match role {
            Role::Server => Rule::Unmasked,
            Role::Client => Rule::Masked,
        };
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            for payload in [&b""[..], b"Hello", &[0x03, 0xe8]] {
                let wrong = frame(true, 0, opcode, payload, role == Role::Client);
                run(role, &wrong, &Config::default()).assert_failed(rule, 0);
                // The second byte decides.
                run(role, &wrong[..2], &Config::default()).assert_failed(rule, 0);
            }
        }
        // Inside a message, too.
        let open = fragment_to(role, false, TEXT, b"a");
        let wrong = frame(true, 0, CONTINUATION, b"b", role == Role::Client);
        let outcome = run(role, &[&open[..], &wrong].concat(), &Config::default());
        outcome.assert_failed(rule, open.len());
        assert_eq!(rule.close_code(), 1002);
        assert_eq!(rule.section(), "5.1");
    }
}

#[test]
fn payloads_are_unmasked_with_any_key_at_any_length_however_they_are_cut() {
    let keys = [KEY, [0; 4], [0, 0, 0, 1], [0xff; 4], [1, 0, 0, 0], [9, 0, 7, 0]];
    for key in keys {
        for len in (0..=40).chain([125, 126, 200]) {
            let payload = Seeded(len as u64).bytes(len);
            let bytes = frame_with(0x82, Some(key), &payload);
            run(Role::Server, &bytes, &Config::default()).assert_delivers(&[binary(&payload)]);
        }
    }
}

#[test]
fn each_fragment_and_each_control_frame_between_has_its_own_key() {
    let bytes = [
        frame_with(0x01, Some([1, 2, 3, 4]), b"abcde"),
        frame_with(0x89, Some([5, 6, 7, 8]), b"ping"),
        frame_with(0x00, Some([9, 10, 11, 12]), b"fgh"),
        frame_with(0x80, Some([13, 14, 15, 16]), b"ijklm"),
    ];
    let outcome = run(Role::Server, &bytes.concat(), &Config::default());
    assert_eq!(outcome.events, [text("abcdefghijklm")]);
    assert_eq!(outcome.sent, [(PONG, b"ping".to_vec())]);
}

/// One of everything that an endpoint can send.
fn one_of_each(role: Role) -> Vec<Frame> {
    let mut side = Side::new(role, Config::default());
    let (connection, out) = (&mut side.connection, &mut side.out);
    connection.send("text", out).unwrap();
    connection.send(&b"binary"[..], out).unwrap();
    connection.send(MessageRef::Pong(b"unasked"), out).unwrap();
    connection.ping(b"ping", out).unwrap();
    connection.send_owned(Message::from("owned"), out).unwrap();
    connection.send_owned(Message::from(vec![7; 20_000]), out).unwrap();
    let shared = bytes::Bytes::from(vec![8; 20_000]);
    connection.send_owned(Message::from(shared.clone()), out).unwrap();
    drop(connection.send_borrowed("borrowed", out).unwrap());
    connection.send_part("first", false, out).unwrap();
    connection.send_part("middle", false, out).unwrap();
    connection.send_part("", true, out).unwrap();
    side.receive(&to(role, PING, b"answer me"));
    side.connection.start_close(1000, "bye", &mut side.out).unwrap();
    assert!(shared.iter().all(|&byte| byte == 8), "a payload that others hold was masked in place");
    side.take_frames()
}

#[test]
fn a_client_must_mask_all_frames_and_a_server_none() {
    // `decode` checks the mask bit of each frame.
    let (client, server) = (one_of_each(Role::Client), one_of_each(Role::Server));
    assert_eq!(client.len(), 13);
    let keys: HashSet<_> = client.iter().map(|frame| frame.key.unwrap()).collect();
    assert_eq!(keys.len(), client.len(), "a key was used twice");
    let plain = |frames: &[Frame]| -> Vec<_> {
        frames.iter().map(|f| (f.fin, f.opcode, f.payload.clone())).collect()
    };
    assert_eq!(plain(&client), plain(&server));
}

/// The keys of `count` frames: fragments with a ping between them, and whole messages.
fn keys(seed: [u8; 32], count: usize) -> Vec<[u8; 4]> {
    let mut connection = Connection::client(Config::default(), seed);
    let mut out = SendBuf::new();
    let frame = |i: usize| {
        match i % 4 {
            0 => connection.send_part("a", false, &mut out),
            1 => connection.ping(b"a", &mut out),
            2 => connection.send_part("a", true, &mut out),
            _ => connection.send("a", &mut out),
        }
        .unwrap();
        let key = out.pending()[2..6].try_into().unwrap();
        out.sent(out.len());
        key
    };
    (0..count).map(frame).collect()
}

#[test]
fn masking_keys_are_unpredictable() {
    const COUNT: usize = 100_000;
    let keys = keys([42; 32], COUNT);
    // Of 100,000 random numbers of 32 bits, 1.2 are expected to have come before.
    let distinct: HashSet<_> = keys.iter().collect();
    assert!(distinct.len() >= COUNT - 10, "{} keys repeat", COUNT - distinct.len());
    for bit in 0..32 {
        let ones = keys.iter().filter(|key| u32::from_be_bytes(**key) >> bit & 1 == 1).count();
        let bias = (ones as f64 / COUNT as f64 - 0.5).abs();
        assert!(bias < 0.005, "bit {bit} is one in {ones} of {COUNT} keys");
    }
    // No bit follows from the key before it.
    for bit in 0..32 {
        let flips = |pair: &[[u8; 4]]| {
            (u32::from_be_bytes(pair[0]) ^ u32::from_be_bytes(pair[1])) >> bit & 1 == 1
        };
        let flipped = keys.windows(2).filter(|pair| flips(pair)).count();
        assert!((flipped as f64 / COUNT as f64 - 0.5).abs() < 0.005, "bit {bit} {flipped}");
    }
}

#[test]
fn the_seed_decides_the_keys() {
    let (one, other) = (keys([1; 32], 1_000), keys([2; 32], 1_000));
    assert_eq!(one, keys([1; 32], 1_000));
    let one: HashSet<_> = one.into_iter().collect();
    assert!(other.iter().all(|key| !one.contains(key)));
    // All of it: a seed that differs in one bit only gives other keys.
    let mut seed = [1; 32];
    seed[31] ^= 1;
    assert_ne!(keys(seed, 1), keys([1; 32], 1));
}

#[test]
fn the_generator_of_keys_is_not_in_debug_output() {
    let a = Connection::client(Config::default(), [1; 32]);
    let b = Connection::client(Config::default(), [2; 32]);
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}
