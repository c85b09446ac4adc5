//! `stats`: the numbers of a connection, whichever way its frames and its calls come.

use std::time::Duration;

use crate::support::*;
use bowline::{
    CloseCode, Config, Message, MessageRef, Prepared, Progress, RecvBuf, Role, SendBuf, Stats,
    Traffic,
};

const SECOND: Duration = Duration::from_secs(1);
const ZERO: Duration = Duration::ZERO;

fn on() -> Config {
    Config::default().stats(true)
}

fn stats(side: &Side) -> Stats {
    side.connection.stats(ZERO)
}

/// Messages, frames, control frames, wire bytes, payload bytes.
fn counts(traffic: Traffic) -> [u64; 5] {
    let Traffic { messages, frames, control_frames, wire_bytes, payload_bytes, .. } = traffic;
    [messages, frames, control_frames, wire_bytes, payload_bytes]
}

/// Short and long messages, fragments, control frames between them, and what these are worth.
fn conversation(role: Role) -> (Vec<u8>, [u64; 5]) {
    let wire = [
        to(role, TEXT, b"Hello"),
        to(role, BINARY, b""),
        to(role, PONG, b"of no ping"),
        to(role, BINARY, &pattern(200)),
        text_in_fragments(role, "in three fragments"),
        to(role, BINARY, &pattern(70_000)),
        to(role, TEXT, b"last"),
    ]
    .concat();
    let payload = 5 + 200 + 18 + 70_000 + 4;
    // The whole, then two pings inside of the fragments and one pong.
    let counts = [6, 6 + 2 + 3, 3, wire.len() as u64, payload];
    (wire, counts)
}

#[test]
fn what_is_received_is_counted_wherever_it_is_cut() {
    for role in ROLES {
        let (wire, expected) = conversation(role);
        for places in every_split(&wire).into_iter().step_by(7).chain([vec![]]) {
            let mut side = Side::new(role, on());
            cut(&wire, &places).into_iter().for_each(|piece| side.receive(piece));
            assert_eq!(counts(stats(&side).received), expected, "{role:?} cut at {places:?}");
        }
        let mut side = Side::new(role, on());
        wire.iter().for_each(|byte| side.receive(&[*byte]));
        assert_eq!(counts(stats(&side).received), expected, "{role:?} byte by byte");
    }
}

#[test]
fn short_messages_count_at_once_and_not_only_at_a_wait() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        side.fill(&to(role, TEXT, b"four").repeat(3));
        for n in 1..=3 {
            assert_eq!(side.advance(), Ok(Progress::Event));
            let Traffic { messages, frames, payload_bytes, .. } = stats(&side).received;
            assert_eq!((messages, frames, payload_bytes), (n, n, 4 * n));
        }
    }
}

#[test]
fn parts_are_counted_as_whole_messages_are() {
    for role in ROLES {
        let (wire, expected) = conversation(role);
        for size in [1, 3, 1_000, wire.len()] {
            let mut side = Side::new(role, on());
            for piece in wire.chunks(size) {
                side.fill(piece);
                while side.connection.advance_parts(&mut side.input, &mut side.out).unwrap()
                    == Progress::Event
                {}
            }
            assert_eq!(counts(stats(&side).received), expected, "{role:?} by {size}");
        }
    }
}

/// Sends in every way, and gives how many messages and bytes of payload that were.
fn send_all(side: &mut Side) -> (u64, u64) {
    let Side { connection, out, .. } = side;
    connection.send("Hello", out).unwrap();
    connection.send(&pattern(300)[..], out).unwrap();
    connection.send(&pattern(70_000)[..], out).unwrap();
    connection.send_owned(Message::from("owned"), out).unwrap();
    connection.send_owned(Message::from(pattern(20_000)), out).unwrap();
    drop(connection.send_borrowed(&pattern(40_000)[..], out).unwrap());
    connection.send_prepared(&Prepared::new("prepared"), out).unwrap();
    connection.send_prepared(&Prepared::new(pattern(5_000)), out).unwrap();
    connection.send_part("in ", false, out).unwrap();
    connection.ping(b"between", out).unwrap();
    connection.send_part("parts", true, out).unwrap();
    connection.send(MessageRef::Pong(b"pong"), out).unwrap();
    (9, 5 + 300 + 70_000 + 5 + 20_000 + 40_000 + 8 + 5_000 + 8)
}

#[test]
fn what_is_sent_is_counted_in_each_way_of_sending() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        let (messages, payload) = send_all(&mut side);
        let queued = side.out.len();
        let wire = side.take_out();
        let found = stats(&side);
        assert_eq!(counts(found.sent), [messages, messages + 3, 2, wire.len() as u64, payload]);
        assert_eq!(found.queue_high_water, queued, "{role:?}");
        assert_eq!(decode(role, &wire).len() as u64, found.sent.frames);
        // The other end counts the same.
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let mut peer = Side::new(other, on());
        peer.receive(&wire);
        assert_eq!(counts(stats(&peer).received), counts(found.sent));
    }
}

#[test]
fn a_sender_that_counts_writes_the_same_bytes() {
    for role in ROLES {
        let [counted, plain] = [on(), Config::default()].map(|config| {
            let mut side = Side::new(role, config);
            send_all(&mut side);
            side.take_out()
        });
        assert_eq!(counted, plain);
    }
}

#[test]
fn the_short_way_of_sending_counts_as_the_long_way_does() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 5_000, 65_535] {
            // An owned or a sent message goes the short way, a lent one the long way.
            let payload = pattern(len);
            let (mut short, mut long) = (Side::new(role, on()), Side::new(role, on()));
            short.connection.send(&payload[..], &mut short.out).unwrap();
            drop(long.connection.send_borrowed(&payload[..], &mut long.out).unwrap());
            assert_eq!(counts(stats(&short).sent), counts(stats(&long).sent), "{role:?} {len}");
            assert_eq!(short.take_out(), long.take_out());
        }
    }
}

#[test]
fn a_refused_message_is_not_counted() {
    for role in ROLES {
        let mut side = Side::new(role, on().max_send_queue(1));
        side.connection.send("fits", &mut side.out).unwrap();
        let before = stats(&side);
        side.connection.send("does not", &mut side.out).unwrap_err();
        let owned = Message::from("does not");
        side.connection.send_owned(owned, &mut side.out).unwrap_err();
        side.connection.send_prepared(&"does not".into(), &mut side.out).unwrap_err();
        side.connection.send_part("does not", true, &mut side.out).unwrap_err();
        assert_eq!(stats(&side), before);
    }
}

#[test]
fn a_prepared_message_for_one_write_is_counted() {
    let mut side = Side::new(Role::Server, on());
    let (_, mut sender, _) = side.connection.into_halves();
    let prepared = Prepared::new("for one write");
    drop(sender.send_prepared_borrowed(&prepared, &mut side.out).unwrap());
    assert_eq!(counts(sender.stats(ZERO).sent), [1, 1, 0, side.out.len() as u64, 13]);
}

#[test]
fn replies_are_control_frames_that_are_sent() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        side.receive(&to(role, PING, b"12"));
        side.receive(&to(role, CLOSE, &close_payload(1001, b"bye")));
        let wire = side.take_out();
        let found = stats(&side);
        assert_eq!(counts(found.sent), [0, 2, 2, wire.len() as u64, 0]);
        let [.., received, _] = counts(found.received);
        let sent = to(role, PING, b"12").len() + to(role, CLOSE, &[0; 5]).len();
        assert_eq!(received, sent as u64, "Close is counted with its payload");
        assert_eq!(found.received.close_code, Some(CloseCode::GOING_AWAY));
        assert_eq!(found.sent.close_code, Some(CloseCode::GOING_AWAY));
    }
}

#[test]
fn a_close_without_a_code_is_1005() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        assert_eq!(stats(&side).received.close_code, None);
        side.receive(&to(role, CLOSE, b""));
        assert_eq!(stats(&side).received.close_code, Some(CloseCode::NO_STATUS));
        assert_eq!(stats(&side).sent.close_code, Some(CloseCode::NO_STATUS));
    }
}

#[test]
fn times_are_noticed_at_the_next_wait() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        let wait = |side: &mut Side, now| {
            side.connection.deadline(now, &side.input, &side.out);
        };
        let since = |side: &Side, now| {
            let Stats { received, sent, .. } = side.connection.stats(now);
            [received.since_frame, received.since_message, sent.since_frame, sent.since_message]
        };
        wait(&mut side, SECOND);
        assert_eq!(since(&side, SECOND), [None; 4]);
        side.receive(&to(role, TEXT, b"Hello"));
        side.connection.send("Hello", &mut side.out).unwrap();
        assert_eq!(since(&side, SECOND), [None; 4], "there was no wait");
        wait(&mut side, 2 * SECOND);
        assert_eq!(since(&side, 5 * SECOND), [Some(3 * SECOND); 4]);
        // A pong is a frame and no message.
        side.receive(&to(role, PONG, b""));
        side.connection.ping(b"", &mut side.out).unwrap();
        wait(&mut side, 6 * SECOND);
        let (frame, message) = (Some(SECOND), Some(5 * SECOND));
        assert_eq!(since(&side, 7 * SECOND), [frame, message, frame, message]);
    }
}

#[test]
fn the_high_water_stays_when_the_queue_is_empty() {
    for role in ROLES {
        let mut side = Side::new(role, on());
        side.connection.send(&[7; 1_000][..], &mut side.out).unwrap();
        side.connection.send(&[7; 1_000][..], &mut side.out).unwrap();
        let most = side.out.len();
        side.take_out();
        side.connection.send("less", &mut side.out).unwrap();
        assert_eq!(stats(&side).queue_high_water, most);
    }
}

#[test]
fn without_the_setting_there_is_what_is_free() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let (wire, _) = conversation(role);
        let wire = [wire, to(role, CLOSE, &close_payload(1000, b""))].concat();
        side.receive(&wire);
        let found = stats(&side);
        let mut free = Traffic::default();
        (free.wire_bytes, free.close_code) = (wire.len() as u64, Some(CloseCode::NORMAL));
        assert_eq!(found.received, free);
        assert_eq!(found.sent, Traffic::default());
        assert_eq!((found.round_trip, found.queue_high_water), (None, 0));
    }
}

#[test]
fn the_round_trip_is_that_of_keepalive() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().ping_interval(SECOND));
        side.connection.deadline(ZERO, &side.input, &side.out);
        side.connection.on_time(SECOND, &side.input, &mut side.out);
        let ping = side.take_sent().remove(0).1;
        side.connection.deadline(SECOND, &side.input, &side.out);
        side.receive(&to(role, PONG, &ping));
        side.connection.deadline(3 * SECOND, &side.input, &side.out);
        assert_eq!(stats(&side).round_trip, Some(2 * SECOND));
    }
}

#[test]
fn numbers_add_up_and_the_queue_has_the_largest() {
    let side = |n: usize| {
        let mut side = Side::new(Role::Server, on());
        side.connection.send(&pattern(n)[..], &mut side.out).unwrap();
        side.receive(&to(Role::Server, BINARY, &pattern(n)));
        side.connection.deadline(SECOND * n as u32, &side.input, &side.out);
        side.connection.stats(20 * SECOND)
    };
    let all: Stats = [side(10), side(15), Stats::default()].into_iter().sum();
    assert_eq!(counts(all.sent), [2, 2, 0, 12 + 17, 25]);
    assert_eq!(counts(all.received), [2, 2, 0, 16 + 21, 25]);
    assert_eq!(all.queue_high_water, 17);
    assert_eq!(all.received.since_message, Some(5 * SECOND), "the last of all");
    assert_eq!(Stats::default() + side(10), side(10));
}

#[test]
fn each_half_counts_its_own_direction() {
    let mut side = Side::new(Role::Server, on());
    side.receive(&to(Role::Server, TEXT, b"Hello"));
    side.connection.send("Hi", &mut side.out).unwrap();
    let whole = stats(&side);
    let (receiver, sender, _) = side.connection.into_halves();
    assert_eq!(receiver.stats(ZERO) + sender.stats(ZERO), whole);
    assert_eq!(receiver.stats(ZERO).sent, Traffic::default());
    assert_eq!(sender.stats(ZERO).received, Traffic::default());
}

#[test]
fn a_long_time_of_short_messages_without_a_deadline_loses_none() {
    // More than 2^22 messages, after which the receiver's own numbers have wrapped.
    let frame = to(Role::Server, BINARY, b"");
    let batch = frame.repeat(4_096);
    let mut side = Side::new(Role::Server, on());
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let rounds = (1 << 10) + 2;
    for _ in 0..rounds {
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let space = input.space();
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            input.filled(n);
            rest = &rest[n..];
            while side.connection.advance(&mut input, &mut out).unwrap() == Progress::Event {}
        }
    }
    assert_eq!(stats(&side).received.messages, rounds * 4_096);
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_count_their_payload_and_the_bytes_on_the_wire() {
    use bowline::Deflate;
    let config = on().deflate(Deflate::default());
    let header = "permessage-deflate";
    for role in ROLES {
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let mut side = Side::extended(role, config.clone(), header);
        let text = "the same again and again, ".repeat(400);
        side.connection.send(&text[..], &mut side.out).unwrap();
        side.connection.send_part(&text[..100], false, &mut side.out).unwrap();
        side.connection.send_part(&text[100..], true, &mut side.out).unwrap();
        side.connection.send_prepared(&Prepared::new(&text[..]), &mut side.out).unwrap();
        let wire = side.take_out();
        let expected = [3, 4, 0, wire.len() as u64, 3 * text.len() as u64];
        assert!(wire.len() < text.len());
        assert_eq!(counts(stats(&side).sent), expected);
        for size in [1, 7, wire.len()] {
            let mut peer = Side::extended(other, config.clone(), header);
            wire.chunks(size).for_each(|piece| peer.receive(piece));
            assert_eq!(counts(stats(&peer).received), expected, "{other:?} by {size}");
        }
    }
}
