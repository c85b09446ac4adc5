//! RFC 6455 §10.4: limits on frames, messages, fragments and the send queue.

use crate::support::*;
use bowline::{Config, Message, MessageRef, Refusal, Role, Rule};

const MIB: usize = 1 << 20;

#[test]
fn by_default_a_message_may_have_1_mib_and_no_more() {
    for role in ROLES {
        let payload = vec![b'x'; MIB];
        let bytes = to(role, BINARY, &payload);
        run(role, &bytes, &Config::default()).assert_delivers(&[binary(&payload)]);
        // One more fails by its header.
        for len in [MIB as u64 + 1, 1 << 32, (1 << 55) + 1, (1 << 63) - 1] {
            for first in [0x81, 0x82, 0x01, 0x02] {
                let bytes = header_to(role, first, len);
                run(role, &bytes, &Config::default()).assert_failed(Rule::MessageTooBig, 0);
            }
        }
    }
    assert_eq!(Rule::FrameTooBig.close_code(), 1009);
    assert_eq!(Rule::MessageTooBig.close_code(), 1009);
}

#[test]
fn the_limit_is_on_the_sum_of_the_fragments_and_fires_at_a_header() {
    for role in ROLES {
        let config = Config::default().max_message_size(1_000);
        let open = [
            fragment_to(role, false, BINARY, &[1; 600]),
            fragment_to(role, false, CONTINUATION, &[2; 300]),
        ];
        let open = open.concat();
        let exactly = [&open[..], &to(role, CONTINUATION, &[3; 100])].concat();
        let expected = [&[1; 600][..], &[2; 300], &[3; 100]].concat();
        run(role, &exactly, &config).assert_delivers(&[binary(&expected)]);

        for (first, len) in [(0x80, 101), (0x00, 101), (0x80, 1_000), (0x00, 126)] {
            let bytes = [&open[..], &header_to(role, first, len)].concat();
            let outcome = run(role, &bytes, &config);
            outcome.assert_failed(Rule::MessageTooBig, open.len());
        }
        // The sum does not overflow.
        for limit in [1_000, u64::MAX / 2] {
            let config = Config::default().max_message_size(limit).max_frame_size(u64::MAX);
            let bytes = [&open[..], &header_to(role, 0x80, u64::MAX >> 1)].concat();
            let outcome = run(role, &bytes, &config);
            outcome.assert_failed(Rule::MessageTooBig, open.len());
        }
        // Earlier messages do not count for the next one.
        let bytes = exactly.repeat(3);
        let expected = [binary(&expected), binary(&expected), binary(&expected)];
        feed(role, &[&bytes], &config, Style::Borrow).assert_delivers(&expected);
    }
}

#[test]
fn a_message_that_is_all_there_is_not_let_through_for_that() {
    for role in ROLES {
        for limit in [0, 1, 124, 125, 126, 127, 65_533, 65_534, 65_535, 65_536] {
            for config in [
                Config::default().max_message_size(limit),
                Config::default().max_frame_size(limit).max_message_size(limit * 2),
            ] {
                let fits = vec![7; limit as usize];
                let bytes = to(role, BINARY, &fits);
                feed(role, &[&bytes], &config, Style::Borrow).assert_delivers(&[binary(&fits)]);
                let bytes = to(role, BINARY, &vec![7; limit as usize + 1]);
                let outcome = feed(role, &[&bytes], &config, Style::Borrow);
                assert_eq!(outcome.events, [], "{limit}");
                assert!(
                    matches!(
                        outcome.over,
                        Over::Failed(Rule::MessageTooBig | Rule::FrameTooBig, 0)
                    ),
                    "{limit}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_frame_may_have_a_limit_of_its_own() {
    for role in ROLES {
        let config = Config::default().max_frame_size(200);
        let whole = to(role, BINARY, &[7; 200]);
        run(role, &whole, &config).assert_delivers(&[binary(&[7; 200])]);
        run(role, &header_to(role, 0x82, 201), &config).assert_failed(Rule::FrameTooBig, 0);
        // Fragments may still make a message that is larger than that, each with the limit.
        let mut bytes = fragment_to(role, false, BINARY, &[7; 200]);
        bytes.extend(fragment_to(role, false, CONTINUATION, &[7; 200]));
        let ended = [&bytes[..], &to(role, CONTINUATION, &[7; 200])].concat();
        run(role, &ended, &config).assert_delivers(&[binary(&[7; 600])]);
        let over = [&bytes[..], &header_to(role, 0x80, 201)].concat();
        run(role, &over, &config).assert_failed(Rule::FrameTooBig, bytes.len());
        // A frame limit above the message's changes nothing for the message.
        let config = Config::default().max_message_size(100).max_frame_size(200);
        run(role, &header_to(role, 0x82, 101), &config).assert_failed(Rule::MessageTooBig, 0);
    }
}

#[test]
fn limits_are_not_on_control_frames() {
    for role in ROLES {
        let config = Config::default().max_message_size(0).max_frame_size(0);
        let outcome = run(role, &to(role, PING, &[7; 125]), &config);
        assert_eq!(outcome.sent, [(PONG, vec![7; 125])]);
        run(role, &to(role, TEXT, b""), &config).assert_delivers(&[text("")]);
        run(role, &header_to(role, 0x81, 1), &config).assert_failed(Rule::FrameTooBig, 0);
    }
}

/// Fragments of a message, `count` with `size` bytes each. With `fin`, the last one ends it.
fn fragments(role: Role, count: usize, size: usize, fin: bool) -> Vec<u8> {
    let payload = vec![b'x'; size];
    let mut bytes = Vec::new();
    for i in 0..count {
        let opcode = if i == 0 { BINARY } else { CONTINUATION };
        bytes.extend(fragment_to(role, fin && i + 1 == count, opcode, &payload));
    }
    bytes
}

#[test]
fn by_default_a_message_may_have_1024_fragments_that_bring_nothing() {
    for role in ROLES {
        let config = Config::default();
        let most = fragments(role, 1_024, 0, true);
        run(role, &most, &config).assert_delivers(&[binary(b"")]);
        let open = fragments(role, 1_024, 0, false);
        run(role, &open, &config).assert_delivers(&[]);
        // The first byte of one more decides, whether it would end the message or not.
        for first in [0x80, 0x00] {
            let bytes = [&open[..], &[first]].concat();
            run(role, &bytes, &config).assert_failed(Rule::TooManyFragments, open.len());
        }
        // Control frames are not fragments.
        let bytes = [&open[..], &to(role, PONG, b"").repeat(10)].concat();
        run(role, &bytes, &config).assert_delivers(&[]);
    }
    assert_eq!(Rule::TooManyFragments.close_code(), 1008);
    assert_eq!(Rule::TooManyFragments.section(), "10.4");
}

#[test]
fn payload_earns_further_fragments() {
    // One for every 32 bytes that came: with `size` bytes each, fragment n + 1 is refused when
    // n >= limit + n * size / 32.
    for role in ROLES {
        for limit in [1, 4, 100] {
            let config = Config::default().max_fragments(limit);
            for size in [0, 1, 2, 7, 16, 31] {
                let allowed = (1..).find(|n| *n >= limit as usize + n * size / 32).unwrap();
                let open = fragments(role, allowed, size, false);
                let one_more = [&open[..], &to(role, CONTINUATION, b"")].concat();
                let outcome = feed(role, &[&one_more], &config, Style::Borrow);
                outcome.assert_failed(Rule::TooManyFragments, open.len());
                let ended = fragments(role, allowed, size, true);
                let outcome = feed(role, &[&ended], &config, Style::Borrow);
                outcome.assert_delivers(&[binary(&vec![b'x'; allowed * size])]);
            }
            // Fragments of 32 bytes pay for themselves.
            let bytes = fragments(role, 3_000, 32, true);
            let outcome = feed(role, &[&bytes], &config, Style::Borrow);
            outcome.assert_delivers(&[binary(&[b'x'; 96_000])]);
        }
        // Earned by a large fragment before, not by one that is only announced.
        let config = Config::default().max_fragments(1);
        let large = fragment_to(role, false, BINARY, &[b'x'; 320]);
        let rest = fragment_to(role, false, CONTINUATION, b"").repeat(10);
        let bytes = [&large[..], &rest].concat();
        run(role, &bytes, &config).assert_delivers(&[]);
        let bytes = [&bytes[..], &header_to(role, 0x80, 100_000)].concat();
        let at = large.len() + rest.len();
        run(role, &bytes, &config).assert_failed(Rule::TooManyFragments, at);
    }
}

#[test]
fn each_message_has_its_own_count_of_fragments() {
    for role in ROLES {
        let config = Config::default().max_fragments(3);
        let bytes = fragments(role, 3, 1, true).repeat(5);
        let expected = vec![binary(b"xxx"); 5];
        run(role, &bytes, &config).assert_delivers(&expected);
        let bytes = to(role, TEXT, b"a").repeat(10);
        run(role, &bytes, &config).assert_delivers(&vec![text("a"); 10]);
    }
}

/// Every way to send `payload`, and whether it was taken.
fn try_every_way(side: &mut Side, payload: &[u8]) -> Vec<Refusal> {
    let (connection, out) = (&mut side.connection, &mut side.out);
    let message = binary(payload);
    let owned = connection.send_owned(message.clone(), out).unwrap_err();
    let refusal = owned.refusal();
    assert_eq!(owned.into_message(), Some(message), "an owned message comes back");
    let borrowed = connection.send(payload, out).unwrap_err();
    let refusals = vec![
        refusal,
        borrowed.refusal(),
        connection.send_borrowed(payload, out).unwrap_err().refusal(),
        connection.send_part(payload, true, out).unwrap_err().refusal(),
        connection.ping(b"", out).unwrap_err().refusal(),
        connection.send(MessageRef::Pong(b""), out).unwrap_err().refusal(),
    ];
    assert_eq!(borrowed.into_message(), None);
    refusals
}

#[test]
fn the_send_queue_takes_a_message_whole_when_there_is_any_room_and_none_when_there_is_not() {
    for role in ROLES {
        for limit in [0, 1, 100, 5_000] {
            let mut side = Side::new(role, Config::default().max_send_queue(limit));
            let large = vec![7; 20_000];
            let mut messages = 0;
            // Small ones up to one byte below the limit or so, then a large one.
            while side.out.len() + 10 < limit {
                side.connection.send("x", &mut side.out).unwrap();
                messages += 1;
            }
            side.connection.send_owned(Message::from(large.clone()), &mut side.out).unwrap();
            let waiting = side.out.len();
            assert!(waiting > limit);
            for payload in [&b""[..], b"x", &large] {
                assert_eq!(try_every_way(&mut side, payload), [Refusal::QueueFull; 6]);
            }
            assert_eq!(side.out.len(), waiting, "nothing of what was refused is queued");

            // Down to the limit there is no room; one byte less, and there is.
            let limit = limit.max(1);
            let mut wire = Vec::new();
            while side.out.len() > limit {
                let n = side.out.pending().len().min(side.out.len() - limit);
                wire.extend_from_slice(&side.out.pending()[..n]);
                side.out.sent(n);
            }
            assert_eq!(try_every_way(&mut side, b"x"), [Refusal::QueueFull; 6]);
            wire.push(side.out.pending()[0]);
            side.out.sent(1);
            side.connection.send("room", &mut side.out).unwrap();
            wire.extend(side.take_out());
            let mut expected = vec![(TEXT, b"x".to_vec()); messages];
            expected.push((BINARY, large));
            expected.push((TEXT, b"room".to_vec()));
            let frames: Vec<_> =
                decode(role, &wire).into_iter().map(|f| (f.opcode, f.payload)).collect();
            assert_eq!(frames, expected);
        }
    }
}

#[test]
fn by_default_1_mib_may_wait_to_be_sent() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let payload = vec![0; 1 << 16];
        let mut taken = 0;
        while side.connection.send(&payload[..], &mut side.out).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 16);
        assert!(side.out.len() >= MIB && side.out.len() < MIB + payload.len());
    }
}

#[test]
fn a_part_that_is_refused_leaves_the_message_open() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().max_send_queue(1));
        side.connection.send_part("a", false, &mut side.out).unwrap();
        for last in [true, false] {
            let error = side.connection.send_part("b", last, &mut side.out).unwrap_err();
            assert_eq!(error.refusal(), Refusal::QueueFull);
        }
        let mut wire = side.take_out();
        side.connection.send_part("b", true, &mut side.out).unwrap();
        wire.extend(side.take_out());
        let frames: Vec<_> =
            decode(role, &wire).into_iter().map(|f| (f.fin, f.opcode, f.payload)).collect();
        let expected = [(false, TEXT, b"a".to_vec()), (true, CONTINUATION, b"b".to_vec())];
        assert_eq!(frames, expected);
    }
}

#[test]
fn a_close_is_queued_although_the_queue_is_full() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().max_send_queue(1));
        side.connection.send("full", &mut side.out).unwrap();
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let sent = [(TEXT, b"full".to_vec()), (CLOSE, close_payload(1000, b""))];
        assert_eq!(side.take_sent(), sent);

        // And when a rule was broken.
        let mut side = Side::new(role, Config::default().max_send_queue(1));
        side.connection.send("full", &mut side.out).unwrap();
        let _ = side.try_receive(&[0xF1]).unwrap_err();
        assert_eq!(side.take_sent().last(), Some(&(CLOSE, close_payload(1002, b""))));
    }
}

#[test]
fn small_messages_are_refused_where_the_queue_is_full_too() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().max_send_queue(1_000));
        let refused =
            (0..1_000).find_map(|_| side.connection.send(&[7; 10][..], &mut side.out).err());
        assert_eq!(refused.expect("there is no end").refusal(), Refusal::QueueFull);
        assert!((1_000..1_020).contains(&side.out.len()), "{} bytes", side.out.len());
    }
}
