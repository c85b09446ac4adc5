//! RFC 6455 §5.5, §5.5.2, §5.5.3: control frames, pings and pongs.

use crate::support::*;
use bowline::{Config, End, Message, MessageRef, Progress, Refusal, Replies, Role, Rule, Timeout};

#[test]
fn control_frames_must_not_be_fragmented() {
    for role in ROLES {
        for opcode in CONTROL {
            for payload in [&b""[..], b"ab"] {
                let bytes = fragment_to(role, false, opcode, payload);
                run(role, &bytes, &Config::default()).assert_failed(Rule::FragmentedControl, 0);
            }
            let open = fragment_to(role, false, TEXT, b"a");
            let bytes = [open.clone(), fragment_to(role, false, opcode, b"")].concat();
            let outcome = run(role, &bytes, &Config::default());
            outcome.assert_failed(Rule::FragmentedControl, open.len());
        }
    }
    assert_eq!(Rule::FragmentedControl.close_code(), 1002);
}

#[test]
fn control_frames_must_have_a_payload_length_of_125_bytes_or_less() {
    for role in ROLES {
        for opcode in CONTROL {
            let first = 0x80 | opcode;
            // A length of 125 or less in a longer form is no better.
            for (form, len) in [
                (Form::Sixteen, 126),
                (Form::Sixteen, 5),
                (Form::Sixteen, 65_535),
                (Form::SixtyFour, 65_536),
                (Form::SixtyFour, 125),
                (Form::SixtyFour, 1 << 62),
                (Form::SixtyFour, u64::MAX),
            ] {
                let bytes = header(first, role == Role::Server, form, len);
                run(role, &bytes, &Config::default()).assert_failed(Rule::ControlTooLong, 0);
            }
        }
        let whole = to(role, PING, &[b'x'; 126]);
        run(role, &whole, &Config::default()).assert_failed(Rule::ControlTooLong, 0);
    }
    assert_eq!(Rule::ControlTooLong.close_code(), 1002);
}

#[test]
fn a_pong_has_the_application_data_of_the_ping_that_it_answers() {
    for role in ROLES {
        for len in 0..=125 {
            let payload = Seeded(len as u64).bytes(len);
            let bytes = to(role, PING, &payload);
            let outcome = if len % 25 == 0 {
                run(role, &bytes, &Config::default())
            } else {
                feed(role, &[&bytes], &Config::default(), Style::Borrow)
            };
            assert!(outcome.events.is_empty());
            assert_eq!(outcome.sent, [(PONG, payload)]);
        }
    }
}

#[test]
fn pings_are_answered_in_order_as_long_as_there_is_room() {
    for role in ROLES {
        let mut bytes = Vec::new();
        let mut pongs = Vec::new();
        for i in 0..10 {
            bytes.extend(to(role, PING, &[i; 100]));
            pongs.push((PONG, vec![i; 100]));
        }
        assert_eq!(run(role, &bytes, &Config::default()).sent, pongs);
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    for role in ROLES {
        for payload in [&b""[..], b"keepalive", &[0xff; 125]] {
            let bytes = [to(role, PONG, payload), to(role, TEXT, b"Hello")].concat();
            run(role, &bytes, &Config::default()).assert_delivers(&[text("Hello")]);
        }
    }
}

#[test]
fn control_frames_are_events_where_they_are_asked_for() {
    let config = Config::default().report_control_frames(true);
    for role in ROLES {
        let bytes = [
            to(role, PONG, b""),
            fragment_to(role, false, TEXT, b"a"),
            to(role, PING, b"ping"),
            fragment_to(role, false, CONTINUATION, b"b"),
            to(role, PONG, &[0xff; 125]),
            to(role, PING, b""),
            to(role, CONTINUATION, b"c"),
        ];
        let outcome = run(role, &bytes.concat(), &config);
        let ping = |data: &'static [u8]| Message::Ping(data.into());
        let pong = |data: &'static [u8]| Message::Pong(data.into());
        let expected = [pong(b""), ping(b"ping"), pong(&[0xff; 125]), ping(b""), text("abc")];
        assert_eq!(outcome.events, expected);
        // They are answered all the same.
        assert_eq!(outcome.sent, [(PONG, b"ping".to_vec()), (PONG, vec![])]);
    }
}

#[test]
fn a_ping_that_is_sent_is_answered_and_the_answer_received() {
    let mut pair = Pair::new(&Config::default().report_control_frames(true));
    for role in ROLES {
        for payload in [&b""[..], b"a", &[9; 125]] {
            let (from, to) = pair.sides(role);
            from.events.clear();
            to.events.clear();
            from.connection.ping(payload, &mut from.out).unwrap();
            pair.pump();
            let (from, to) = pair.sides(role);
            assert_eq!(to.events, [Message::Ping(payload.to_vec().into())]);
            assert_eq!(from.events, [Message::Pong(payload.to_vec().into())]);
        }
    }
}

#[test]
fn pings_and_pongs_of_more_than_125_bytes_are_not_sent() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let (connection, out) = (&mut side.connection, &mut side.out);
        let long = [0; 126];
        let refusals = [
            connection.ping(&long, out).unwrap_err().refusal(),
            connection.send(MessageRef::Ping(&long), out).unwrap_err().refusal(),
            connection.send(MessageRef::Pong(&long), out).unwrap_err().refusal(),
            connection.send_borrowed(MessageRef::Pong(&long), out).unwrap_err().refusal(),
        ];
        assert_eq!(refusals, [Refusal::ControlTooLong; 4]);
        let message = Message::Ping(long.to_vec().into());
        let error = connection.send_owned(message.clone(), out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::ControlTooLong);
        assert_eq!(error.into_message(), Some(message));
        assert!(out.is_empty());
        connection.ping(&long[..125], out).unwrap();
        connection.send(MessageRef::Pong(&long[..125]), out).unwrap();
        let sent = [(PING, long[..125].to_vec()), (PONG, long[..125].to_vec())];
        assert_eq!(side.take_sent(), sent);
    }
}

/// How many bytes of pongs are owed, in `SendBuf` and in the slot after it. Takes them.
fn owed(side: &mut Side) -> usize {
    side.take_out().len()
}

#[test]
fn pongs_that_nobody_reads_stay_within_their_limit_and_the_newest_replaces_the_last() {
    for role in ROLES {
        // Reads that bring one ping, and reads that bring many.
        for together in [1_u64, 7, 1_000] {
            for len in [0, 1, 4, 60, 125] {
                let mut side = Side::new(role, Config::default());
                for round in 0..1_000 / together + 2 {
                    let pings: Vec<u8> = (0..together)
                        .flat_map(|i| {
                            let mut payload = vec![0; len];
                            let number = (round * together + i).to_be_bytes();
                            let digits = len.min(8);
                            payload[..digits].copy_from_slice(&number[8 - digits..]);
                            to(role, PING, &payload)
                        })
                        .collect();
                    side.receive(&pings);
                    assert!(side.out.len() <= 4096);
                }
                let wire = side.take_out();
                assert!(wire.len() <= 4096, "{} bytes of pongs waited", wire.len());
                let pongs = decode(role, &wire);
                // As many as half of the limit has room for, with the longest header that they may have.
                assert!(pongs.len() >= 1_700 / (len + 6), "only {} pongs", pongs.len());
                assert!(pongs.iter().all(|pong| pong.opcode == PONG && pong.payload.len() == len));
                if len >= 4 {
                    assert!(pongs.is_sorted_by(|a, b| a.payload < b.payload), "out of order");
                    let total = (1_000 / together + 2) * together;
                    let newest = (total as u32 - 1).to_be_bytes();
                    let last = &pongs.last().unwrap().payload;
                    assert_eq!(last[len.min(8) - 4..][..4], newest);
                }
                // All is as before.
                side.receive(&to(role, PING, b"again"));
                assert_eq!(side.take_sent(), [(PONG, b"again".to_vec())]);
            }
        }
    }
}

#[test]
fn a_long_pong_that_replaces_a_short_one_stays_within_the_limit() {
    for role in ROLES {
        for small in [0, 1, 2, 5, 6, 11] {
            let mut side = Side::new(role, Config::default());
            // One read for the half that goes to the `SendBuf`, and one for the half that waits after it.
            for _ in 0..2 {
                let mut pings: Vec<u8> =
                    (0..2_000).flat_map(|_| to(role, PING, &vec![1; small])).collect();
                pings.extend(to(role, PING, &[2; 125]));
                side.receive(&pings);
            }
            let wire = side.take_out();
            assert!(wire.len() <= 4096, "{} bytes of pongs waited", wire.len());
            assert_eq!(decode(role, &wire).last().unwrap().payload, [2; 125]);
        }
    }
}

#[test]
fn the_limit_of_pongs_is_a_setting_and_one_pong_is_always_owed() {
    for role in ROLES {
        for limit in [0, 1, 300, 1_000, 20_000] {
            let config = Config::default().max_pending_pongs(limit);
            let mut side = Side::new(role, config);
            for i in 0..200u8 {
                side.receive(&to(role, PING, &[i; 100]));
            }
            let wire = side.take_out();
            // One in the `SendBuf` and one after it, whatever the limit.
            assert!(wire.len() <= limit.max(2 * 106), "{} of {limit}", wire.len());
            let pongs = decode(role, &wire);
            assert!(pongs.len() >= (limit / 2 / 106).saturating_sub(2).max(2));
            assert_eq!(pongs.last().unwrap().payload, [199; 100]);
        }
    }
}

#[test]
fn pongs_that_had_to_wait_are_sent_once_the_earlier_ones_have_left() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        // More than the half of the limit that may be in the queue.
        let message = "m".repeat(2048);
        side.receive(&to(role, PING, b"one"));
        side.connection.send(&*message, &mut side.out).unwrap();
        side.receive(&to(role, PING, b"two"));
        side.receive(&to(role, PING, b"three"));
        // All but the last byte of the first pong.
        let size = if role == Role::Client { 9 } else { 5 };
        let all = side.out.len();
        let mut wire = side.out.pending()[..size - 1].to_vec();
        side.out.sent(size - 1);
        assert!(side.connection.answer(&mut side.out));
        assert_eq!(side.out.len(), all - (size - 1), "nothing is added while a pong is there");
        wire.extend(&side.out.pending()[..1]);
        side.out.sent(1);
        assert!(side.connection.answer(&mut side.out));
        assert!(side.out.len() > all - size);
        wire.extend(side.take_out());
        let expected = [
            (PONG, b"one".to_vec()),
            (TEXT, message.into_bytes()),
            (PONG, b"two".to_vec()),
            (PONG, b"three".to_vec()),
        ];
        let frames: Vec<_> =
            decode(role, &wire).into_iter().map(|f| (f.opcode, f.payload)).collect();
        assert_eq!(frames, expected);
        assert!(!side.connection.answer(&mut side.out));
    }
}

#[test]
fn while_little_waits_each_pong_comes_before_what_is_sent_after_its_ping() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let mut expected = Vec::new();
        for i in 0..20u8 {
            side.receive(&to(role, PING, &[i]));
            side.connection.send(&[i][..], &mut side.out).unwrap();
            expected.extend([(PONG, vec![i]), (BINARY, vec![i])]);
        }
        let frames: Vec<_> = decode(role, &side.take_out())
            .into_iter()
            .map(|frame| (frame.opcode, frame.payload))
            .collect();
        assert_eq!(frames, expected);
    }
}

#[test]
fn a_pong_leaves_between_the_parts_of_a_message_that_is_being_sent() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.send_part("a", false, &mut side.out).unwrap();
        side.receive(&to(role, PING, b"?"));
        side.connection.ping(b"!", &mut side.out).unwrap();
        side.connection.send_part("b", true, &mut side.out).unwrap();
        let frames: Vec<_> = side
            .take_frames()
            .into_iter()
            .map(|frame| (frame.fin, frame.opcode, frame.payload))
            .collect();
        let expected = [
            (false, TEXT, b"a".to_vec()),
            (true, PONG, b"?".to_vec()),
            (true, PING, b"!".to_vec()),
            (true, CONTINUATION, b"b".to_vec()),
        ];
        assert_eq!(frames, expected);
    }
}

#[test]
fn pongs_are_queued_although_the_queue_is_full_of_messages() {
    for role in ROLES {
        let config = Config::default().max_send_queue(10);
        let mut side = Side::new(role, config);
        side.connection.send("0123456789", &mut side.out).unwrap();
        let error = side.connection.ping(b"", &mut side.out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::QueueFull);
        side.receive(&to(role, PING, b"?"));
        assert_eq!(side.take_sent().last().unwrap(), &(PONG, b"?".to_vec()));
    }
}

#[test]
fn there_is_one_pong_for_each_ping_however_often_advance_is_called() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.receive(&to(role, PING, b"once"));
        for _ in 0..3 {
            assert_eq!(side.advance(), Ok(Progress::NeedInput));
        }
        assert_eq!(side.take_sent(), [(PONG, b"once".to_vec())]);
    }
}

#[test]
fn the_halves_hand_replies_over_within_the_same_limit() {
    for role in ROLES {
        let config = Config::default();
        let side = Side::new(role, config.clone());
        let (mut receiver, mut sender, mut owed_here) = side.connection.into_halves();
        let (mut input, mut out) = (side.input, side.out);
        assert_eq!(receiver.role(), role);
        for i in 0..200u8 {
            let bytes = to(role, PING, &[i; 100]);
            input.space()[..bytes.len()].copy_from_slice(&bytes);
            input.filled(bytes.len());
            let mut newer = Replies::default();
            assert_eq!(receiver.advance(&mut input, &mut newer, false), Ok(Progress::NeedInput));
            assert!(!newer.is_empty());
            owed_here.merge(&mut newer, &config);
            assert!(newer.is_empty());
        }
        sender.answer(&mut owed_here, &mut out);
        assert!(owed_here.is_empty());
        assert!(out.len() <= 2048, "half of the limit waits in the replies: {}", out.len());
        let pongs = decode(role, out.pending());
        assert_eq!(pongs[0].payload, [0; 100]);
        assert_eq!(pongs.last().unwrap().payload, [199; 100]);
        out.sent(out.len());

        // A Close goes with the pongs that were owed before it, and ends the sending half.
        let bytes = [to(role, PING, b"?"), to(role, CLOSE, &close_payload(1000, b""))];
        let bytes = bytes.concat();
        input.space()[..bytes.len()].copy_from_slice(&bytes);
        input.filled(bytes.len());
        let mut newer = Replies::default();
        assert_eq!(receiver.advance(&mut input, &mut newer, false), Ok(Progress::Ended));
        owed_here.merge(&mut newer, &config);
        assert!(!owed_here.is_empty());
        assert!(!sender.is_closed());
        sender.answer(&mut owed_here, &mut out);
        assert!(sender.is_closed() && sender.close_sent());
        let frames: Vec<_> = decode(role, out.pending()).into_iter().map(|f| f.opcode).collect();
        assert_eq!(frames, [PONG, CLOSE]);
    }
}

#[test]
fn a_flood_of_pings_and_what_it_is_owed_are_never_confused_with_messages() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let ping = to(role, PING, &[b'x'; 125]);
        for _ in 0..200 {
            side.receive(&ping.repeat(100));
        }
        side.receive(&to(role, TEXT, b"Hello"));
        assert_eq!(side.events, [text("Hello")]);
        assert!(owed(&mut side) <= 4096);
    }
}

#[test]
fn pings_are_answered_after_our_close_until_the_peers() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_eq!(side.take_sent(), [(CLOSE, close_payload(1000, b""))]);
        for payload in [&b"1"[..], b"", &[2; 125]] {
            side.receive(&to(role, PING, payload));
            assert_eq!(side.take_sent(), [(PONG, payload.to_vec())]);
        }
        // Nothing else is answered: nothing may follow a Close.
        for message in [MessageRef::Text("late"), MessageRef::Ping(b""), MessageRef::Pong(b"")] {
            let error = side.connection.send(message, &mut side.out).unwrap_err();
            assert_eq!(error.refusal(), Refusal::Closed);
        }
        // "Unless it already received a Close frame" (§5.5.2).
        let close = to(role, CLOSE, &close_payload(1000, b""));
        side.fill(&[to(role, PING, b"3"), close, to(role, PING, b"4")].concat());
        assert_eq!(side.advance(), Ok(Progress::Ended));
        assert_eq!(side.take_sent(), []);
    }
}

#[test]
fn a_ping_after_the_peers_close_is_not_answered() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let close = to(role, CLOSE, &close_payload(1000, b""));
        let ping = to(role, PING, b"before");
        side.fill(&[ping, close, to(role, PING, b"after")].concat());
        assert_eq!(side.advance(), Ok(Progress::Ended));
        assert_eq!(side.advance(), Ok(Progress::Ended));
        let sent: Vec<_> = side.take_sent().into_iter().map(|frame| frame.0).collect();
        assert_eq!(sent, [PONG, CLOSE]);
    }
}

#[test]
fn pongs_after_our_close_stay_within_their_limit_and_do_not_delay_its_timeout() {
    let second = std::time::Duration::from_secs(1);
    for role in ROLES {
        let config = Config::default().max_pending_pongs(1_000).send_timeout(None);
        let mut side = Side::new(role, config.close_timeout(5 * second));
        side.connection.send(&[7; 300][..], &mut side.out).unwrap();
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let mut most = 0;
        for n in 0..200 {
            for _ in 0..5 {
                side.receive(&to(role, PING, b"and you?"));
                most = most.max(side.out.len());
            }
            // It reads a little all the time, and so the queue is never empty.
            side.out.sent(5);
            let _ = side.connection.deadline(n * second, &side.input, &side.out);
        }
        assert!(most <= 1_000, "{most} bytes wait");
        // Close left at the 65th step or so.
        side.connection.on_time(200 * second, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Close)));
    }
}
