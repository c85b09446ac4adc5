//! Messages in parts: received as they come, sent before their length is known.

use crate::support::*;
use bowline::{
    Config, Connection, Message, MessageRef, Progress, RecvBuf, Refusal, Role, Rule, SendBuf,
    Truncation,
};

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
        let bytes = to(role, BINARY, b"0123456789");
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
            fragment_to(role, false, TEXT, b"ab"),
            fragment_to(role, false, CONTINUATION, b"cd"),
            fragment_to(role, false, CONTINUATION, b"ef"),
        ];
        side.fill(&bytes.concat());
        assert_eq!(parts(&mut side), [Owned(text("abcdef"), true, false)]);
        // The end of a message may bring nothing.
        side.fill(&to(role, CONTINUATION, b""));
        assert_eq!(parts(&mut side), [Owned(text(""), false, true)]);
        // A message that is there is one part.
        side.fill(&[to(role, TEXT, b"one"), to(role, TEXT, b"")].concat());
        let whole = [Owned(text("one"), true, true), Owned(text(""), true, true)];
        assert_eq!(parts(&mut side), whole);
    }
}

#[test]
fn parts_of_a_message_are_the_message_however_it_is_cut() {
    let long = "κόσμε 𝄞 €".repeat(20);
    for role in ROLES {
        let bytes = [
            to(role, TEXT, long.as_bytes()),
            fragment_to(role, false, TEXT, b"\xe2"),
            to(role, PING, b"?"),
            fragment_to(role, false, CONTINUATION, b"\x82"),
            to(role, CONTINUATION, b"\xac"),
            to(role, BINARY, &[0xff; 30]),
            fragment_to(role, false, BINARY, b""),
            to(role, CONTINUATION, b""),
            to(role, TEXT, b"Hello"),
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
            let bytes = to(role, TEXT, payload.as_bytes());
            let head = bytes.len() - payload.len();
            for cut in 1..character.len() {
                let mut side = Side::new(role, Config::default());
                side.fill(&bytes[..head + 2 + cut]);
                assert_eq!(parts(&mut side), [Owned(text("ab"), true, false)]);
                side.fill(&bytes[head + 2 + cut..]);
                let rest = format!("{character}cd");
                assert_eq!(parts(&mut side), [Owned(text(&rest), false, true)]);
            }
            // Only the beginning of a character is no part yet.
            let mut side = Side::new(role, Config::default());
            side.fill(&fragment_to(role, false, TEXT, &character.as_bytes()[..1]));
            assert_eq!(parts(&mut side), []);
            side.fill(&fragment_to(role, false, CONTINUATION, &character.as_bytes()[1..]));
            assert_eq!(parts(&mut side), [Owned(text(character), true, false)]);
        }
    }
}

#[test]
fn a_part_can_be_taken_and_the_message_goes_on() {
    for role in ROLES {
        for (size, is_text) in
            [10, 5_000, 50_000, 200_000].into_iter().flat_map(|size| [(size, false), (size, true)])
        {
            let (opcode, payload) = if is_text {
                (TEXT, "é".repeat(size / 2).into_bytes())
            } else {
                (BINARY, Seeded(8).bytes(size))
            };
            let bytes = to(role, opcode, &payload);
            // Odd ones are in the middle of a character.
            for places in [
                vec![size / 2],
                vec![size / 2 + 1],
                vec![size / 3, size / 2, size - 1],
                vec![size / 2, size],
            ] {
                let mut side = Side::new(role, Config::default());
                let mut all = Vec::new();
                for piece in cut(&bytes, &places) {
                    side.fill(piece);
                    while advance_parts(&mut side) == Progress::Event {
                        all.extend_from_slice(side.input.take_event().unwrap().as_bytes());
                        assert_eq!(side.input.part(), None);
                    }
                }
                assert_eq!(all, payload, "{role:?}, {size}, {is_text}, {places:?}");
            }
        }
    }
}

#[test]
fn the_rest_of_a_message_is_skipped_when_it_is_no_longer_asked_for_in_parts() {
    for role in ROLES {
        let bytes = [
            fragment_to(role, false, TEXT, "begin €".as_bytes()),
            to(role, PING, b"?"),
            fragment_to(role, false, CONTINUATION, "more €".as_bytes()),
            to(role, CONTINUATION, "end €".as_bytes()),
            to(role, TEXT, b"next"),
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
        side.fill(&fragment_to(role, false, TEXT, b"begin"));
        assert_eq!(parts(&mut side), [Owned(text("begin"), true, false)]);
        side.receive(&fragment_to(role, false, CONTINUATION, b" skipped"));
        assert_eq!(side.events, []);
        // A last part now would make a message with a hole in it.
        side.fill(&fragment_to(role, false, CONTINUATION, b" more"));
        assert_eq!(parts(&mut side), []);
        side.fill(&to(role, CONTINUATION, b" end"));
        assert_eq!(parts(&mut side), []);
        side.fill(&to(role, TEXT, b"next"));
        assert_eq!(parts(&mut side), [Owned(text("next"), true, true)]);
    }
}

#[test]
fn what_is_skipped_is_still_held_to_the_rules() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let first = fragment_to(role, false, TEXT, b"begin");
        side.fill(&first);
        assert_eq!(parts(&mut side).len(), 1);
        let bad = to(role, CONTINUATION, b"ab\xff");
        let error = side.try_receive(&bad).unwrap_err();
        let at = (first.len() + bad.len() - 1) as u64;
        assert_eq!((error.rule(), error.offset()), (Rule::InvalidUtf8, at));
    }
}

#[test]
fn parts_may_be_asked_for_in_the_middle_of_a_message() {
    for role in ROLES {
        let bytes = to(role, TEXT, b"0123456789");
        let head = bytes.len() - 10;
        let mut side = Side::new(role, Config::default());
        side.receive(&bytes[..head + 3]);
        assert_eq!(side.events, []);
        // The bytes that were assembled until then are the first part.
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
                [fragment_to(role, false, TEXT, b"ab"), to(role, CONTINUATION, b"\xff")],
                Rule::InvalidUtf8,
            ),
            (
                [fragment_to(role, false, TEXT, b"\xc3"), to(role, CONTINUATION, b"")],
                Rule::InvalidUtf8,
            ),
            (
                [fragment_to(role, false, TEXT, b"ab"), to(role, TEXT, b"")],
                Rule::ExpectedContinuation,
            ),
            ([to(role, TEXT, b"ab"), to(role, 3, b"")], Rule::ReservedOpcode),
            (
                [fragment_to(role, false, BINARY, &[1; 60]), to(role, CONTINUATION, &[1; 60])],
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
        side.fill(&fragment_to(role, false, TEXT, b"a"));
        assert_eq!(parts(&mut side), [Owned(text("a"), true, false)]);
        side.fill(&[to(role, PING, b"?"), to(role, CONTINUATION, b"b")].concat());
        let ping = Message::Ping(b"?".to_vec().into());
        assert_eq!(parts(&mut side), [Owned(ping, true, true), Owned(text("b"), false, true)]);
    }
}

#[test]
fn a_peer_that_goes_in_the_middle_has_sent_parts_and_no_last_one() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.fill(&fragment_to(role, false, TEXT, b"a"));
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
    // The payload is generated as it is sent, so it is never in memory as a whole: byte i is i, with a key of zeros
    // (RFC 6455 §5.3 allows it). Each read fills all the room there is.
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
                    assert!(space.len() <= 126 << 10, "the buffer grows");
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
    // Bounded memory in both directions: a message that is received in parts is sent in parts.
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

/// Compressed messages (RFC 7692).
#[cfg(feature = "deflate")]
mod compressed {
    use bowline::Deflate;

    use super::*;
    use crate::support::deflate::Token::{Literal, Match};
    use crate::support::deflate::{Blocks, literals, marked, run_of};

    fn config() -> Config {
        Config::default().deflate(Deflate::high_compression().threshold(0))
    }

    fn side(role: Role) -> Side {
        Side::extended(role, config(), "permessage-deflate")
    }

    /// What is left after all parts.
    fn parts_of(role: Role, pieces: &[&[u8]], release: bool) -> Vec<Owned> {
        let (mut side, mut all) = (side(role), Vec::new());
        for piece in pieces {
            if release {
                side.input.release();
            }
            side.fill(piece);
            all.extend(parts(&mut side));
        }
        all
    }

    #[test]
    fn parts_are_the_message_however_it_is_cut() {
        let long = "κόσμε 𝄞 €".repeat(20);
        let split = long.len() / 2 + 1;
        let fixed = |bytes: &[u8]| Blocks::new().fixed(false, &literals(bytes)).message();
        let halves = Blocks::new().stored(false, &long.as_bytes()[..split]);
        let halves = halves.stored(true, &long.as_bytes()[split..]).message();
        for role in ROLES {
            let (a, b) = halves.split_at(100);
            let bytes = [
                marked(role, false, TEXT, a),
                to(role, PING, b"?"),
                fragment_to(role, false, CONTINUATION, b""),
                to(role, CONTINUATION, b),
                to(role, TEXT, b"plain"),
                marked(role, true, BINARY, &fixed(&[0xff; 30])),
                marked(role, true, BINARY, b"\0"),
                marked(role, true, TEXT, &Blocks::new().fixed(false, &[Match(9, 39)]).message()),
            ]
            .concat();
            let end = long.as_bytes()[long.len() - 9..].to_vec();
            let expected = [
                text(&long),
                text("plain"),
                binary(&[0xff; 30]),
                binary(b""),
                text(std::str::from_utf8(&end).unwrap()),
            ];
            for places in every_split(&bytes) {
                for release in [false, true] {
                    let all = parts_of(role, &cut(&bytes, &places), release);
                    assert_eq!(join(&all), expected, "{places:?}");
                }
            }
        }
    }

    #[test]
    fn a_part_is_lent_before_all_that_came_is_inflated() {
        // 1 KiB on the wire is 158 KiB of text, in characters of three bytes.
        let mut tokens = literals("€".as_bytes());
        tokens.extend(vec![Match(258, 3); 600]);
        let payload = Blocks::new().fixed(false, &tokens).message();
        let expected = "€".repeat(1 + 86 * 600);
        for role in ROLES {
            let hello = marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00"));
            let wire = [marked(role, true, TEXT, &payload), hello].concat();
            for step in [1, 7, 100, wire.len()] {
                for release in [false, true] {
                    let all = parts_of(role, &wire.chunks(step).collect::<Vec<_>>(), release);
                    assert!(all.iter().all(|part| part.0.as_bytes().len() < 32 << 10));
                    assert!(all.len() >= expected.len() / (32 << 10));
                    assert!(join(&all) == [text(&expected), text("Hello")]);
                }
            }
        }
    }

    #[test]
    fn what_is_skipped_can_be_referred_to() {
        let mut tokens = literals(b"begin ");
        tokens.extend(run_of(b'x', 200_000));
        tokens.extend(literals("end €".as_bytes()));
        let payload = Blocks::new().fixed(false, &tokens).message();
        let next = Blocks::new().fixed(false, &[Match(7, 7), Literal(b'!')]).message();
        for role in ROLES {
            let (a, b) = payload.split_at(payload.len() / 2);
            let fragments =
                [marked(role, false, TEXT, a), to(role, PING, b"?"), to(role, CONTINUATION, b)];
            for wire in [marked(role, true, TEXT, &payload), fragments.concat()] {
                let wire = [wire, marked(role, true, TEXT, &next)].concat();
                for at in [20, 500, a.len() + 30, wire.len()] {
                    for step in [1, 100, wire.len()] {
                        // One part, and the next message.
                        let mut side = side(role);
                        side.fill(&wire[..at]);
                        assert_eq!(advance_parts(&mut side), Progress::Event);
                        let part = side.input.part().unwrap();
                        assert!(part.first && !part.last);
                        assert!(
                            matches!(part.payload, MessageRef::Text(part) if part.starts_with("begin x"))
                        );
                        side.receive(b"");
                        wire[at..].chunks(step).for_each(|piece| side.receive(piece));
                        assert_eq!(side.events, [text("end €!")], "{at} {step}");
                        // The skipped message does not go on.
                        let mut side = self::side(role);
                        side.fill(&wire[..20]);
                        assert_eq!(advance_parts(&mut side), Progress::Event);
                        side.receive(b"");
                        side.fill(&wire[20..]);
                        assert_eq!(parts(&mut side), [Owned(text("end €!"), true, true)]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_skipped_is_still_held_to_the_rules() {
        let begin = Blocks::new().stored(false, b"begin");
        for (rest, rule) in [
            (begin.clone().stored(false, b"\xff").message(), Rule::InvalidUtf8),
            (begin.clone().stored(false, b"\xe2").message(), Rule::InvalidUtf8),
            ([&begin.clone().bytes()[..], b"\x06"].concat(), Rule::InvalidDeflate),
            ([&begin.clone().bytes()[..], b"\x02"].concat(), Rule::InvalidDeflate),
            (begin.clone().fixed(false, &run_of(b'x', 1 << 20)).message(), Rule::MessageTooBig),
        ] {
            for role in ROLES {
                let wire = marked(role, true, TEXT, &rest);
                let head = wire.len() - rest.len();
                let mut side = side(role);
                side.fill(&wire[..head + begin.clone().bytes().len()]);
                assert_eq!(parts(&mut side), [Owned(text("begin"), true, false)]);
                let mut skips = side.try_receive(b"").map(drop);
                for piece in wire[head + begin.clone().bytes().len()..].chunks(50) {
                    skips = skips.and_then(|()| side.try_receive(piece).map(drop));
                }
                assert_eq!(skips.unwrap_err().rule(), rule);
                // In parts as well.
                let mut side = self::side(role);
                side.fill(&wire);
                let error = loop {
                    match side.connection.advance_parts(&mut side.input, &mut side.out) {
                        Ok(Progress::Event) => assert!(!side.input.part().unwrap().last),
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.rule(), rule);
            }
        }
    }

    #[test]
    fn parts_may_be_asked_for_in_the_middle_of_it() {
        for role in ROLES {
            let blocks =
                ["012", "345", "67€"].map(|b| Blocks::new().stored(false, b.as_bytes()).bytes());
            let mut side = side(role);
            side.receive(&marked(role, false, TEXT, &blocks[0]));
            assert_eq!(side.events, []);
            assert_eq!(parts(&mut side), [Owned(text("012"), true, false)]);
            side.fill(&fragment_to(role, false, CONTINUATION, &blocks[1]));
            assert_eq!(parts(&mut side), [Owned(text("345"), false, false)]);
            // At most three bytes of a character are held back.
            let wire = fragment_to(role, false, CONTINUATION, &blocks[2]);
            side.fill(&wire[..wire.len() - 1]);
            assert_eq!(parts(&mut side), [Owned(text("67"), false, false)]);
            side.fill(&wire[wire.len() - 1..]);
            assert_eq!(parts(&mut side), [Owned(text("€"), false, false)]);
            side.fill(&to(role, CONTINUATION, b"\0"));
            assert_eq!(parts(&mut side), [Owned(text(""), false, true)]);
        }
    }

    #[test]
    fn a_compressed_message_in_parts_is_echoed_as_it_comes() {
        let (mut client, mut server) = (side(Role::Client), side(Role::Server));
        for round in 0..3 {
            for i in 0..20 {
                let part = format!("part {i} of the message €");
                client.connection.send_part(&*part, i == 19, &mut client.out).unwrap();
            }
            for piece in client.take_out().chunks(7) {
                server.fill(piece);
                while advance_parts(&mut server) == Progress::Event {
                    let Side { connection, input, out, .. } = &mut server;
                    let part = input.part().unwrap();
                    connection.send_part(part.payload, part.last, out).unwrap();
                }
            }
            client.receive(&server.take_out());
            let expected: String = (0..20).map(|i| format!("part {i} of the message €")).collect();
            assert_eq!(client.events[round..], [text(&expected)]);
        }
    }
}
