//! RFC 6455 §5.4: messages that go out in fragments because of `max_send_frame`, whichever way they are sent.

use crate::support::*;
use bowline::{Config, Connection, Deflate, Message, MessageRef, Prepared, Role, SendBuf};

/// Sends a message in one way.
type Way = fn(&mut Connection, &Message, &mut SendBuf);

const WAYS: [(&str, Way); 6] = [
    ("send", |connection, message, out| connection.send(message.borrow(), out).unwrap()),
    ("send_owned", |connection, message, out| connection.send_owned(message.clone(), out).unwrap()),
    ("send_borrowed", |connection, message, out| {
        drop(connection.send_borrowed(message.borrow(), out).unwrap());
    }),
    ("send_prepared", |connection, message, out| {
        connection.send_prepared(&Prepared::new(message.clone()), out).unwrap();
    }),
    ("one part", |connection, message, out| {
        connection.send_part(message.borrow(), true, out).unwrap();
    }),
    ("parts", |connection, message, out| {
        let bytes = message.as_bytes();
        let (first, last) = bytes.split_at(bytes.len() / 3);
        connection.send_part(MessageRef::Binary(first), false, out).unwrap();
        connection.send_part(MessageRef::Binary(last), true, out).unwrap();
    }),
];

/// Both ends of a connection that compresses.
fn compressing(config: &Config) -> Pair {
    let offer = "permessage-deflate";
    Pair {
        client: Side::extended(Role::Client, config.clone(), offer),
        server: Side::extended(Role::Server, config.clone(), offer),
    }
}

/// Sends the message, checks its frames, and gives how many there were.
fn frames_of(mut pair: Pair, role: Role, way: Way, message: &Message, most: usize) -> usize {
    let compressed = pair.client.connection.config().get().deflate.is_some();
    let (from, to) = pair.sides(role);
    way(&mut from.connection, message, &mut from.out);
    from.connection.send("next", &mut from.out).unwrap();
    let wire = from.take_out();
    let frames = decode_extended(role, &wire);
    let count = frames.iter().position(|frame| frame.fin).unwrap() + 1;
    for (i, frame) in frames[..count].iter().enumerate() {
        assert!(frame.payload.len() <= most, "{} bytes in a frame", frame.payload.len());
        assert_eq!(frame.opcode == CONTINUATION, i > 0);
        assert_eq!(frame.marked, compressed && i == 0);
    }
    // A key for each frame (§5.3).
    let keys: std::collections::HashSet<_> = frames.iter().filter_map(|frame| frame.key).collect();
    assert!(keys.is_empty() || keys.len() == frames.len());
    to.receive(&wire);
    assert_eq!(to.events, [message.clone(), text("next")]);
    count
}

#[test]
fn no_frame_is_longer_and_the_peer_gets_the_same_message() {
    for role in ROLES {
        for (name, way) in WAYS {
            for most in [125, 1_000, 32 << 10, 100_000] {
                for len in [0, 1, most - 1, most, most + 1, 2 * most, 3 * most + 7] {
                    let config = Config::default().max_send_frame(most);
                    let message = binary(&Seeded(9).bytes(len));
                    let frames = frames_of(Pair::new(&config), role, way, &message, most);
                    let needed = len.div_ceil(most).max(1);
                    let parts = if name == "parts" { 2 } else { 1 };
                    assert!((needed..needed + parts).contains(&frames), "{name} {len} of {most}");
                }
            }
        }
    }
}

#[test]
fn compressed_messages_are_cut_after_compression() {
    let deflate = Deflate::default().threshold(0);
    for role in ROLES {
        for (name, way) in WAYS {
            for most in [125, 1_000, 32 << 10] {
                let config = Config::default().deflate(deflate).max_send_frame(most);
                for len in [0, most - 1, most, most + 1, 3 * most] {
                    // What cannot be compressed takes more bytes than it had.
                    let noise = binary(&Seeded(9).bytes(len));
                    let frames = frames_of(compressing(&config), role, way, &noise, most);
                    assert!(len <= most || frames > 1, "{name} {len} of {most}");
                    let plain = binary(&vec![b'a'; len]);
                    let frames = frames_of(compressing(&config), role, way, &plain, most);
                    assert!(frames <= 2, "{name}: {frames} frames for what is compressed well");
                }
            }
        }
    }
}

#[test]
fn a_text_is_cut_anywhere() {
    // §5.6: "a particular text frame might include a partial UTF-8 sequence".
    let message = Message::from("aä€😀".repeat(300));
    for role in ROLES {
        for most in 125..135 {
            let config = Config::default().max_send_frame(most);
            frames_of(Pair::new(&config), role, WAYS[0].1, &message, most);
        }
    }
}

#[test]
fn less_than_a_control_frame_may_have_means_that() {
    for role in ROLES {
        for most in [0, 1, 124] {
            let mut side = Side::new(role, Config::default().max_send_frame(most));
            assert_eq!(side.connection.config().get().max_send_frame, Some(125));
            side.connection.send(MessageRef::Ping(&[7; 125]), &mut side.out).unwrap();
            side.connection.send(MessageRef::Binary(&[7; 126]), &mut side.out).unwrap();
            let lens: Vec<_> = side.take_frames().iter().map(|frame| frame.payload.len()).collect();
            assert_eq!(lens, [125, 125, 1]);
        }
        let mut side = Side::new(role, Config::default().max_send_frame(125).max_send_frame(None));
        side.connection.send(MessageRef::Binary(&[7; 126]), &mut side.out).unwrap();
        assert_eq!(side.take_frames().len(), 1);
    }
}

#[test]
fn a_ping_may_be_sent_between_the_parts_of_a_message_that_is_cut() {
    for role in ROLES {
        let mut pair = Pair::new(&Config::default().max_send_frame(125));
        let (from, to) = pair.sides(role);
        from.connection.send_part(MessageRef::Binary(&[1; 300]), false, &mut from.out).unwrap();
        from.connection.send(MessageRef::Ping(b"now"), &mut from.out).unwrap();
        from.connection.send_part(MessageRef::Binary(&[1; 300]), true, &mut from.out).unwrap();
        to.receive(&from.take_out());
        assert_eq!(to.events, [binary(&[1; 600])]);
    }
}

#[test]
fn fragments_are_counted_as_frames_of_one_message() {
    for role in ROLES {
        for pair in [Pair::new, compressing] {
            let config = Config::default().stats(true).max_send_frame(125);
            let mut pair = pair(&config.deflate(Deflate::default().threshold(0)));
            let (from, to) = pair.sides(role);
            let noise = Seeded(9).bytes(1_000);
            from.connection.send(&noise[..], &mut from.out).unwrap();
            to.receive(&from.take_out());
            let now = std::time::Duration::ZERO;
            let (sent, received) =
                (from.connection.stats(now).sent, to.connection.stats(now).received);
            assert_eq!((sent.messages, sent.payload_bytes), (1, 1_000));
            assert!((8..=10).contains(&sent.frames));
            assert_eq!(
                (sent.messages, sent.frames, sent.wire_bytes, sent.payload_bytes),
                (received.messages, received.frames, received.wire_bytes, received.payload_bytes),
            );
        }
    }
}

#[test]
fn a_prepared_frame_that_is_too_long_is_not_shared() {
    let prepared = Prepared::new(vec![7; 2_000]);
    for (most, cut) in [(2_000, false), (1_999, true)] {
        let (_, mut sender, _) =
            Connection::server(Config::default().max_send_frame(most)).into_halves();
        let mut out = SendBuf::new();
        let mut frame = sender.send_prepared_borrowed(&prepared, &mut out).unwrap();
        let wire = frame.slices().collect::<Vec<_>>().concat();
        assert_eq!(frame_starts(&wire).0.len(), 1 + usize::from(cut));
        frame.sent(usize::MAX);
    }
}
