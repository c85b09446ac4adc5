//! Messages in parts: received as they come, sent before their length is known.

mod common;

use bowline::{
    Config, Connection, Message, MessageRef, Progress, RecvBuf, Refusal, Role, Rule, SendBuf,
    Truncation,
};
use common::*;

/// A part with its payload owned: the bytes, whether first, whether last.
#[derive(Clone, Debug, PartialEq)]
struct Owned(Message, bool, bool);

fn advance_parts(side: &mut Side) -> Progress {
    side.connection.advance_parts(&mut side.input, &mut side.out).unwrap()
}

/// Decodes in parts until more input is needed.
fn parts(side: &mut Side) -> Vec<Owned> {
    let mut parts = Vec::new();
    while advance_parts(side) == Progress::Event {
        let part = side.input.part().unwrap();
        assert_eq!(side.input.event(), Some(part.payload));
        parts.push(Owned(part.payload.to_message(), part.first, part.last));
    }
    parts
}

/// Puts parts together, checking that `first` and `last` are where they belong.
fn join(parts: &[Owned]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut open: Option<(bool, Vec<u8>)> = None;
    for Owned(part, first, last) in parts {
        let is_text = match part {
            Message::Text(_) => true,
            Message::Binary(_) => false,
            control => {
                assert!(first & last);
                messages.push(control.clone());
                continue;
            }
        };
        assert_eq!(*first, open.is_none(), "{parts:?}");
        let (kind, bytes) = open.get_or_insert((is_text, vec![]));
        assert_eq!(*kind, is_text, "the type changed in the middle");
        bytes.extend_from_slice(part.as_bytes());
        if *last {
            let (is_text, bytes) = open.take().unwrap();
            messages.push(if is_text {
                Message::from(String::from_utf8(bytes).unwrap())
            } else {
                Message::from(bytes)
            });
        }
    }
    messages
}

#[test]
fn parts_come_as_the_bytes_come_not_as_the_peer_cut_its_fragments() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let bytes = to(role, true, BINARY, b"0123456789");
        let head = bytes.len() - 10;
        side.fill(&bytes[..head]);
        assert_eq!(parts(&mut side), []);
        side.fill(&bytes[head..head + 4]);
        assert_eq!(parts(&mut side), [Owned(binary(b"0123"), true, false)]);
        assert_eq!(parts(&mut side), []);
        side.fill(&bytes[head + 4..]);
        assert_eq!(parts(&mut side), [Owned(binary(b"456789"), false, true)]);

        // Three fragments in one read are one part.
        let bytes = [
            to(role, false, TEXT, b"ab"),
            to(role, false, CONTINUATION, b"cd"),
            to(role, false, CONTINUATION, b"ef"),
        ];
        side.fill(&bytes.concat());
        assert_eq!(parts(&mut side), [Owned(text("abcdef"), true, false)]);
        // The end of a message may bring nothing.
        side.fill(&to(role, true, CONTINUATION, b""));
        assert_eq!(parts(&mut side), [Owned(text(""), false, true)]);
        // A message that is there is one part.
        side.fill(&[to(role, true, TEXT, b"one"), to(role, true, TEXT, b"")].concat());
        let whole = [Owned(text("one"), true, true), Owned(text(""), true, true)];
        assert_eq!(parts(&mut side), whole);
    }
}

#[test]
fn parts_of_a_message_are_the_message_however_it_is_cut() {
    let long = "κόσμε 𝄞 €".repeat(20);
    for role in ROLES {
        let bytes = [
            to(role, true, TEXT, long.as_bytes()),
            to(role, false, TEXT, b"\xe2"),
            to(role, true, PING, b"?"),
            to(role, false, CONTINUATION, b"\x82"),
            to(role, true, CONTINUATION, b"\xac"),
            to(role, true, BINARY, &[0xff; 30]),
            to(role, false, BINARY, b""),
            to(role, true, CONTINUATION, b""),
            to(role, true, TEXT, b"Hello"),
        ]
        .concat();
        let expected = [text(&long), text("€"), binary(&[0xff; 30]), binary(b""), text("Hello")];
        for places in every_split(&bytes) {
            for release in [false, true] {
                let mut side = Side::new(role, Config::default());
                let mut all = Vec::new();
                for piece in cut(&bytes, &places) {
                    if release {
                        side.input.release();
                    }
                    side.fill(piece);
                    // `Text` is UTF-8 by its type, so each part of a text is cut at a character.
                    all.extend(parts(&mut side));
                }
                assert_eq!(join(&all), expected, "{places:?}");
                assert_eq!(side.take_sent(), [(PONG, b"?".to_vec())]);
            }
        }
    }
}

#[test]
fn at_most_three_bytes_of_a_character_are_held_back() {
    for role in ROLES {
        for character in ["é", "€", "𝄞"] {
            let payload = format!("ab{character}cd");
            let bytes = to(role, true, TEXT, payload.as_bytes());
            let head = bytes.len() - payload.len();
            for cut in 1..character.len() {
                let mut side = Side::new(role, Config::default());
                side.fill(&bytes[..head + 2 + cut]);
                assert_eq!(parts(&mut side), [Owned(text("ab"), true, false)]);
                side.fill(&bytes[head + 2 + cut..]);
                let rest = format!("{character}cd");
                assert_eq!(parts(&mut side), [Owned(text(&rest), false, true)]);
            }
            // Nothing but the beginning of a character is no part yet.
            let mut side = Side::new(role, Config::default());
            side.fill(&to(role, false, TEXT, &character.as_bytes()[..1]));
            assert_eq!(parts(&mut side), []);
            side.fill(&to(role, false, CONTINUATION, &character.as_bytes()[1..]));
            assert_eq!(parts(&mut side), [Owned(text(character), true, false)]);
        }
    }
}

#[test]
fn a_part_can_be_taken_and_the_message_goes_on() {
    for role in ROLES {
        for size in [10, 5_000, 50_000, 200_000] {
            let payload = Seeded(8).bytes(size);
            let bytes = to(role, true, BINARY, &payload);
            for places in [vec![size / 2], vec![size / 3, size / 2, size - 1], vec![size / 2, size]]
            {
                let mut side = Side::new(role, Config::default());
                let mut all = Vec::new();
                for piece in cut(&bytes, &places) {
                    side.fill(piece);
                    while advance_parts(&mut side) == Progress::Event {
                        all.extend_from_slice(side.input.take_event().unwrap().as_bytes());
                        assert_eq!(side.input.part(), None);
                    }
                }
                assert_eq!(all, payload);
            }
        }
    }
}

#[test]
fn the_rest_of_a_message_is_skipped_when_it_is_no_longer_asked_for_in_parts() {
    for role in ROLES {
        let bytes = [
            to(role, false, TEXT, "begin €".as_bytes()),
            to(role, true, PING, b"?"),
            to(role, false, CONTINUATION, "more €".as_bytes()),
            to(role, true, CONTINUATION, "end €".as_bytes()),
            to(role, true, TEXT, b"next"),
        ]
        .concat();
        for at in 1..20 {
            for places in every_split(&bytes[at..]) {
                let mut side = Side::new(role, Config::default());
                side.fill(&bytes[..at]);
                let begun = parts(&mut side);
                for piece in cut(&bytes[at..], &places) {
                    side.receive(piece);
                }
                let expected: &[_] = if begun.is_empty() {
                    // Nothing was lent, so the message is whole.
                    &[text("begin €more €end €"), text("next")]
                } else {
                    &[text("next")]
                };
                assert_eq!(side.events, expected, "{at} {places:?}");
            }
        }
    }
}

#[test]
fn a_message_of_which_bytes_were_skipped_is_not_taken_up_again() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.fill(&to(role, false, TEXT, b"begin"));
        assert_eq!(parts(&mut side), [Owned(text("begin"), true, false)]);
        side.receive(&to(role, false, CONTINUATION, b" skipped"));
        assert_eq!(side.events, []);
        // A last part now would make a message with a hole in it.
        side.fill(&to(role, false, CONTINUATION, b" more"));
        assert_eq!(parts(&mut side), []);
        side.fill(&to(role, true, CONTINUATION, b" end"));
        assert_eq!(parts(&mut side), []);
        side.fill(&to(role, true, TEXT, b"next"));
        assert_eq!(parts(&mut side), [Owned(text("next"), true, true)]);
    }
}

#[test]
fn what_is_skipped_is_still_held_to_the_rules() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let first = to(role, false, TEXT, b"begin");
        side.fill(&first);
        assert_eq!(parts(&mut side).len(), 1);
        let bad = to(role, true, CONTINUATION, b"ab\xff");
        let error = side.try_receive(&bad).unwrap_err();
        let at = (first.len() + bad.len() - 1) as u64;
        assert_eq!((error.rule(), error.offset()), (Rule::InvalidUtf8, at));
    }
}

#[test]
fn parts_may_be_asked_for_in_the_middle_of_a_message() {
    for role in ROLES {
        let bytes = to(role, true, TEXT, b"0123456789");
        let head = bytes.len() - 10;
        let mut side = Side::new(role, Config::default());
        side.receive(&bytes[..head + 3]);
        assert_eq!(side.events, []);
        // What was assembled until then is the first part.
        assert_eq!(parts(&mut side), [Owned(text("012"), true, false)]);
        side.fill(&bytes[head + 3..head + 6]);
        assert_eq!(parts(&mut side), [Owned(text("345"), false, false)]);
        side.fill(&bytes[head + 6..]);
        assert_eq!(parts(&mut side), [Owned(text("6789"), false, true)]);
    }
}

#[test]
fn the_same_rules_hold_in_parts() {
    for role in ROLES {
        let cases = [
            (
                [to(role, false, TEXT, b"ab"), to(role, true, CONTINUATION, b"\xff")],
                Rule::InvalidUtf8,
            ),
            (
                [to(role, false, TEXT, b"\xc3"), to(role, true, CONTINUATION, b"")],
                Rule::InvalidUtf8,
            ),
            ([to(role, false, TEXT, b"ab"), to(role, true, TEXT, b"")], Rule::ExpectedContinuation),
            ([to(role, true, TEXT, b"ab"), to(role, true, 3, b"")], Rule::ReservedOpcode),
            (
                [to(role, false, BINARY, &[1; 60]), to(role, true, CONTINUATION, &[1; 60])],
                Rule::MessageTooBig,
            ),
        ];
        for (frames, rule) in cases {
            let bytes = frames.concat();
            let config = Config::default().max_message_size(100);
            let whole = feed(role, &[&bytes], &config, Style::Borrow);
            for places in every_split(&bytes) {
                let mut side = Side::new(role, config.clone());
                let mut failed = None;
                for piece in cut(&bytes, &places) {
                    side.fill(piece);
                    while failed.is_none() {
                        match side.connection.advance_parts(&mut side.input, &mut side.out) {
                            Ok(Progress::Event) => {}
                            Ok(_) => break,
                            Err(error) => failed = Some(error),
                        }
                    }
                }
                let error = failed.expect("the rule was broken");
                assert_eq!(error.rule(), rule);
                assert_eq!(whole.over, Over::Failed(rule, error.offset()));
                assert_eq!(
                    side.connection.advance_parts(&mut side.input, &mut side.out),
                    Err(error)
                );
                assert_eq!(side.input.part(), None);
            }
        }
    }
}

#[test]
fn control_frames_come_whole_between_parts_where_they_are_reported() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().report_control_frames(true));
        side.fill(&to(role, false, TEXT, b"a"));
        assert_eq!(parts(&mut side), [Owned(text("a"), true, false)]);
        side.fill(&[to(role, true, PING, b"?"), to(role, true, CONTINUATION, b"b")].concat());
        let ping = Message::Ping(b"?".to_vec().into());
        assert_eq!(parts(&mut side), [Owned(ping, true, true), Owned(text("b"), false, true)]);
    }
}

#[test]
fn a_peer_that_goes_in_the_middle_has_sent_parts_and_no_last_one() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.fill(&to(role, false, TEXT, b"a"));
        side.input.eof();
        let mut seen = Vec::new();
        let progress = loop {
            match advance_parts(&mut side) {
                Progress::Event => {
                    let part = side.input.part().unwrap();
                    seen.push(Owned(part.payload.to_message(), part.first, part.last));
                }
                other => break other,
            }
        };
        assert_eq!(progress, Progress::Ended);
        assert_eq!(seen, [Owned(text("a"), true, false)]);
        let end = bowline::End::PeerGone(Truncation::InMessage);
        assert_eq!(side.connection.end(), Some(&end));
    }
}

#[test]
fn a_message_of_256_mib_passes_in_parts_through_one_buffer() {
    // The payload is generated as it is sent: byte i is i, with a key of zeros (§5.3 allows it), so
    // that nobody ever holds it. Each read takes all the room there is.
    const LEN: u64 = 256 << 20;
    for role in ROLES {
        let config = Config::default().max_message_size(u64::MAX);
        let mut side = Side::new(role, config);
        let mut head = header(0x82, role == Role::Server, Form::SixtyFour, LEN);
        if role == Role::Server {
            let at = head.len() - 4;
            head[at..].fill(0);
        }
        side.fill(&head);
        let pattern: Vec<u8> = (0..=255).cycle().take(1 << 17).collect();
        let (mut sent, mut received) = (0, 0);
        loop {
            match advance_parts(&mut side) {
                Progress::Event => {
                    let part = side.input.part().unwrap();
                    let bytes = part.payload.as_bytes();
                    assert_eq!(part.first, received == 0);
                    let at = (received % 256) as usize;
                    assert!(bytes == &pattern[at..at + bytes.len()]);
                    received += bytes.len() as u64;
                    assert_eq!(part.last, received == LEN);
                }
                Progress::NeedInput if sent < LEN => {
                    let space = side.input.space();
                    assert!(space.len() <= 64 << 10, "the buffer grows");
                    let n = space.len().min((LEN - sent) as usize);
                    let at = (sent % 256) as usize;
                    space[..n].copy_from_slice(&pattern[at..at + n]);
                    side.input.filled(n);
                    sent += n as u64;
                }
                Progress::NeedInput => break,
                Progress::Ended => panic!("{:?}", side.connection.end()),
            }
        }
        assert_eq!((sent, received), (LEN, LEN));
    }
}

#[test]
fn parts_are_sent_as_fragments_of_one_message() {
    for role in ROLES {
        let mut pair = Pair::new(&Config::default());
        let (from, to) = pair.sides(role);
        for part in ["a", "", "b€"] {
            from.connection.send_part(part, false, &mut from.out).unwrap();
        }
        from.connection.send_part("c", true, &mut from.out).unwrap();
        // One part alone is a message.
        from.connection.send_part(&b"binary"[..], true, &mut from.out).unwrap();
        from.connection.send("whole", &mut from.out).unwrap();
        let wire = from.take_out();
        let frames: Vec<_> =
            decode(role, &wire).into_iter().map(|f| (f.fin, f.opcode, f.payload)).collect();
        let expected = [
            (false, TEXT, b"a".to_vec()),
            (false, CONTINUATION, b"".to_vec()),
            (false, CONTINUATION, "b€".into()),
            (true, CONTINUATION, b"c".to_vec()),
            (true, BINARY, b"binary".to_vec()),
            (true, TEXT, b"whole".to_vec()),
        ];
        assert_eq!(frames, expected);
        to.receive(&wire);
        assert_eq!(to.events, [text("ab€c"), binary(b"binary"), text("whole")]);
    }
}

#[test]
fn while_a_message_is_sent_in_parts_no_other_can_be_sent() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let (connection, out) = (&mut side.connection, &mut side.out);
        connection.send_part("a", false, out).unwrap();
        let waiting = out.len();
        let message = text("other");
        let owned = connection.send_owned(message.clone(), out).unwrap_err();
        assert_eq!(owned.refusal(), Refusal::MessageOpen);
        assert_eq!(owned.into_message(), Some(message));
        let refusals = [
            connection.send("other", out).unwrap_err().refusal(),
            connection.send(&b""[..], out).unwrap_err().refusal(),
            connection.send_borrowed("other", out).unwrap_err().refusal(),
        ];
        assert_eq!(refusals, [Refusal::MessageOpen; 3]);
        // A part must be of the type that the message began with.
        let refusals = [
            connection.send_part(&b""[..], false, out).unwrap_err().refusal(),
            connection.send_part(&b""[..], true, out).unwrap_err().refusal(),
            connection.send_part(MessageRef::Ping(b""), true, out).unwrap_err().refusal(),
            connection.send_part(MessageRef::Pong(b""), false, out).unwrap_err().refusal(),
        ];
        assert_eq!(refusals, [Refusal::PartMismatch; 4]);
        assert_eq!(out.len(), waiting);
        // Control frames may be, and the message goes on.
        connection.ping(b"", out).unwrap();
        connection.send(MessageRef::Pong(b""), out).unwrap();
        connection.send_part("b", true, out).unwrap();
        connection.send("other", out).unwrap();
        let sent: Vec<_> = side.take_frames().into_iter().map(|f| (f.fin, f.opcode)).collect();
        let expected =
            [(false, TEXT), (true, PING), (true, PONG), (true, CONTINUATION), (true, TEXT)];
        assert_eq!(sent, expected);

        let mut side = Side::new(role, Config::default());
        let (connection, out) = (&mut side.connection, &mut side.out);
        let error = connection.send_part(MessageRef::Ping(b""), true, out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::PartMismatch);
        connection.send_part(&b"x"[..], false, out).unwrap();
        let error = connection.send_part("", true, out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::PartMismatch);
    }
}

#[test]
fn a_message_in_parts_is_echoed_as_it_comes() {
    // Bounded memory on both ways: what is received in parts is sent in parts.
    let config = Config::default().max_message_size(u64::MAX);
    let mut client = Connection::client(config.clone(), [3; 32]);
    let mut server = Connection::server(config);
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut client_out = SendBuf::new();
    let mut echoed = Vec::new();
    for i in 0..50 {
        client.send_part("0123456789€", i == 49, &mut client_out).unwrap();
        while !client_out.is_empty() {
            // In pieces of 7 bytes, which meet every boundary.
            let n = client_out.pending().len().min(7);
            input.space()[..n].copy_from_slice(&client_out.pending()[..n]);
            input.filled(n);
            client_out.sent(n);
            while server.advance_parts(&mut input, &mut out).unwrap() == Progress::Event {
                let part = input.part().unwrap();
                server.send_part(part.payload, part.last, &mut out).unwrap();
            }
            echoed.extend_from_slice(out.pending());
            out.sent(out.len());
        }
    }
    let frames = decode(Role::Server, &echoed);
    let (last, before) = frames.split_last().unwrap();
    assert!(last.fin && before.iter().all(|frame| !frame.fin));
    let payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
    assert_eq!(payload, "0123456789€".repeat(50).as_bytes());
}
