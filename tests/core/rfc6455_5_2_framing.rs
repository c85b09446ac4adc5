//! RFC 6455 §5.2: the base framing protocol.

use crate::support::*;
use bowline::{Config, Message, Progress, Role, Rule};

fn reserved_opcodes() -> impl Iterator<Item = u8> {
    (0x3..=0x7).chain(0xB..=0xF)
}

#[test]
fn every_length_form_is_received() {
    for role in ROLES {
        for len in [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 70_000] {
            let payload = Seeded(9).bytes(len);
            let bytes = to(role, BINARY, &payload);
            run(role, &bytes, &Config::default()).assert_delivers(&[binary(&payload)]);
        }
    }
}

#[test]
fn lengths_are_sent_in_their_shortest_form() {
    let forms: [(usize, &[u8]); 8] = [
        (0, &[0]),
        (1, &[1]),
        (125, &[125]),
        (126, &[126, 0, 126]),
        (127, &[126, 0, 127]),
        (65_535, &[126, 0xff, 0xff]),
        (65_536, &[127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (1 << 20, &[127, 0, 0, 0, 0, 0, 16, 0, 0]),
    ];
    for role in ROLES {
        for (len, form) in forms {
            let payload = vec![b'x'; len];
            let mut expected = vec![0x82];
            expected.extend(form);
            if role == Role::Client {
                expected[1] |= 0x80;
            }
            for way in 0..4 {
                let mut side = Side::new(role, Config::default());
                let (connection, out) = (&mut side.connection, &mut side.out);
                match way {
                    0 => connection.send(&payload[..], out).unwrap(),
                    1 => connection.send_owned(Message::from(payload.clone()), out).unwrap(),
                    2 => drop(connection.send_borrowed(&payload[..], out).unwrap()),
                    _ => connection.send_part(&payload[..], true, out).unwrap(),
                }
                let wire = side.take_out();
                assert!(wire.starts_with(&expected), "{role:?} {len} in way {way}");
                assert_eq!(decode(role, &wire).pop().unwrap().payload, payload);
            }
        }
    }
}

#[test]
fn the_minimal_number_of_bytes_must_be_used_to_encode_the_length() {
    let sixteen = (0..=125).map(|len| (Form::Sixteen, len));
    let sixty_four = (0..=130).chain([255, 256, 32_768, 65_534, 65_535]);
    for role in ROLES {
        let masked = role == Role::Server;
        for (form, len) in
            sixteen.clone().chain(sixty_four.clone().map(|len| (Form::SixtyFour, len)))
        {
            for first in [0x81, 0x82, 0x01] {
                let head = header(first, masked, form, len);
                let outcome = feed(role, &[&head], &Config::default(), Style::Borrow);
                outcome.assert_failed(Rule::NonMinimalLength, 0);
            }
            // With its payload, and cut in every way.
            if len % 25 == 0 {
                let mut bytes = header(0x82, masked, form, len);
                bytes.resize(bytes.len() + len as usize, 0);
                run(role, &bytes, &Config::default()).assert_failed(Rule::NonMinimalLength, 0);
            }
        }
        // A continuation frame is no exception.
        let open = fragment_to(role, false, TEXT, b"a");
        let bytes = [&open[..], &header(0x80, masked, Form::Sixteen, 5)].concat();
        let outcome = run(role, &bytes, &Config::default());
        outcome.assert_failed(Rule::NonMinimalLength, open.len());
    }
    assert_eq!(Rule::NonMinimalLength.close_code(), 1002);
}

#[test]
fn the_most_significant_bit_of_a_length_must_be_0() {
    for role in ROLES {
        for len in [1 << 63, (1 << 63) + 1, u64::MAX, u64::MAX - 125] {
            for first in [0x81, 0x82, 0x02] {
                let bytes = header(first, role == Role::Server, Form::SixtyFour, len);
                // Whatever the limits are.
                for config in [Config::default(), Config::default().max_message_size(u64::MAX)] {
                    run(role, &bytes, &config).assert_failed(Rule::LengthOverflow, 0);
                }
            }
        }
        // One less is a legal length; nothing is allocated for it.
        let bytes = header(0x82, role == Role::Server, Form::SixtyFour, u64::MAX >> 1);
        let config = Config::default().max_message_size(u64::MAX);
        run(role, &bytes, &config).assert_delivers(&[]);
    }
    assert_eq!(Rule::LengthOverflow.close_code(), 1002);
}

#[test]
fn reserved_bits_must_be_0_with_every_opcode() {
    for role in ROLES {
        for rsv in 1..=7 {
            for opcode in 0..=15 {
                for fin in [true, false] {
                    let bytes = frame(fin, rsv, opcode, b"abc", role == Role::Server);
                    let outcome = feed(role, &[&bytes], &Config::default(), Style::Borrow);
                    outcome.assert_failed(Rule::ReservedBits, 0);
                    // The first byte decides.
                    run(role, &bytes[..1], &Config::default()).assert_failed(Rule::ReservedBits, 0);
                }
            }
            // Inside a message.
            let open = fragment_to(role, false, TEXT, b"a");
            for opcode in [CONTINUATION, PING, PONG, CLOSE] {
                let bytes = frame(true, rsv, opcode, b"", role == Role::Server);
                let outcome = run(role, &[&open[..], &bytes].concat(), &Config::default());
                outcome.assert_failed(Rule::ReservedBits, open.len());
            }
        }
    }
    assert_eq!(Rule::ReservedBits.close_code(), 1002);
}

#[test]
fn an_unknown_opcode_must_fail_the_connection() {
    for role in ROLES {
        for opcode in reserved_opcodes() {
            for fin in [true, false] {
                for payload in [&b""[..], b"abc"] {
                    let bytes = fragment_to(role, fin, opcode, payload);
                    run(role, &bytes, &Config::default()).assert_failed(Rule::ReservedOpcode, 0);
                }
                // A length that never comes does not hide it: the first byte decides.
                let first = u8::from(fin) << 7 | opcode;
                let head = header(first, role == Role::Server, Form::SixtyFour, 1 << 40);
                run(role, &head, &Config::default()).assert_failed(Rule::ReservedOpcode, 0);
                run(role, &[first], &Config::default()).assert_failed(Rule::ReservedOpcode, 0);
            }
            let open = fragment_to(role, false, TEXT, b"a");
            let bytes = [&open[..], &to(role, opcode, b"")].concat();
            run(role, &bytes, &Config::default()).assert_failed(Rule::ReservedOpcode, open.len());
        }
    }
    assert_eq!(Rule::ReservedOpcode.close_code(), 1002);
}

#[test]
fn a_rule_fires_at_the_first_byte_that_decides_it() {
    for role in ROLES {
        let masked = role == Role::Server;
        let wrong_mask = if masked { Rule::Unmasked } else { Rule::Masked };
        // Bytes of a header up to the one that decides, and the rule.
        let long = |first, form, len| {
            let mut head = header(first, masked, form, len);
            head.truncate(if form == Form::Sixteen { 4 } else { 10 });
            head
        };
        let cases = [
            (vec![0xC1], Rule::ReservedBits),
            (vec![0x83], Rule::ReservedOpcode),
            (vec![0x09], Rule::FragmentedControl),
            (vec![0x0A], Rule::FragmentedControl),
            (vec![0x08], Rule::FragmentedControl),
            (vec![0x80], Rule::UnexpectedContinuation),
            (vec![0x00], Rule::UnexpectedContinuation),
            (frame(true, 0, TEXT, b"", !masked)[..2].to_vec(), wrong_mask),
            (header(0x89, masked, Form::Sixteen, 126)[..2].to_vec(), Rule::ControlTooLong),
            (header(0x8A, masked, Form::SixtyFour, 1 << 62)[..2].to_vec(), Rule::ControlTooLong),
            (header(0x88, masked, Form::Seven, 1)[..2].to_vec(), Rule::CloseLength),
            (long(0x82, Form::Sixteen, 125), Rule::NonMinimalLength),
            (long(0x82, Form::SixtyFour, 65_535), Rule::NonMinimalLength),
            // The highest bit is in the first byte of the length.
            (long(0x82, Form::SixtyFour, 1 << 63)[..3].to_vec(), Rule::LengthOverflow),
            (long(0x82, Form::SixtyFour, (1 << 20) + 1), Rule::MessageTooBig),
        ];
        for (bytes, rule) in cases {
            run(role, &bytes, &Config::default()).assert_failed(rule, 0);
            let before = &bytes[..bytes.len() - 1];
            run(role, before, &Config::default()).assert_delivers(&[]);
        }
        // The same inside a message.
        let open = fragment_to(role, false, TEXT, b"a");
        for first in [0x81, 0x82, 0x01, 0x02] {
            let bytes = [&open[..], &[first]].concat();
            let outcome = run(role, &bytes, &Config::default());
            outcome.assert_failed(Rule::ExpectedContinuation, open.len());
        }
    }
}

#[test]
fn the_offset_is_that_of_the_header_behind_all_that_came_before() {
    for role in ROLES {
        let mut bytes = Vec::new();
        let mut events = Vec::new();
        for len in [0, 5, 125, 126, 300] {
            let payload = vec![b'x'; len];
            bytes.extend(to(role, BINARY, &payload));
            bytes.extend(to(role, PONG, b"abc"));
            events.push(binary(&payload));
        }
        let at = bytes.len();
        bytes.extend(to(role, 0x5, b"never parsed"));
        let outcome = run(role, &bytes, &Config::default());
        outcome.assert_failed(Rule::ReservedOpcode, at);
        assert_eq!(outcome.events, events);
    }
}

#[test]
fn the_examples_of_section_5_7() {
    let config = Config::default();
    let server = |digits: &str| run(Role::Server, &hex(digits), &config);
    let client = |digits: &str| run(Role::Client, &hex(digits), &config);
    client("81 05 48 65 6c 6c 6f").assert_delivers(&[text("Hello")]);
    server("81 85 37 fa 21 3d 7f 9f 4d 51 58").assert_delivers(&[text("Hello")]);
    client("01 03 48 65 6c 80 02 6c 6f").assert_delivers(&[text("Hello")]);
    let ping = client("89 05 48 65 6c 6c 6f");
    assert_eq!((ping.events, ping.sent), (vec![], vec![(PONG, b"Hello".to_vec())]));
    server("8a 85 37 fa 21 3d 7f 9f 4d 51 58").assert_delivers(&[]);
    let data = Seeded(1).bytes(65_536);
    let short = [&hex("82 7E 0100")[..], &data[..256]].concat();
    run(Role::Client, &short, &config).assert_delivers(&[binary(&data[..256])]);
    let long = [&hex("82 7F 0000000000010000")[..], &data].concat();
    run(Role::Client, &long, &config).assert_delivers(&[binary(&data)]);
}

#[test]
fn a_buffer_may_begin_with_bytes_that_were_read_before() {
    for role in ROLES {
        let bytes = [to(role, TEXT, b"Hello"), to(role, BINARY, &[7; 5_000])].concat();
        for cut in 0..=40 {
            let mut side = Side::new(role, Config::default());
            side.input = bowline::RecvBuf::with_unread(&bytes[..cut]);
            assert_eq!(side.input.unread(), &bytes[..cut]);
            side.receive(&bytes[cut..]);
            assert_eq!(side.events, [text("Hello"), binary(&[7; 5_000])]);
            assert!(side.input.unread().is_empty());
        }
    }
}

#[test]
fn a_taken_event_leaves_the_bytes_behind_it() {
    // Sizes on both sides of the one up to which an event is copied, and of the pooled buffer.
    for role in ROLES {
        for len in [0, 100, 4_096, 4_097, 16_384, 20_000, 32_768, 40_000, 100_000] {
            let payload = Seeded(3).bytes(len);
            let bytes = [to(role, BINARY, &payload), to(role, TEXT, b"next")].concat();
            let pieces = [bytes.len(), bytes.len() - 3, 1, len.max(1)];
            for at in pieces {
                let outcome = feed(role, &cut(&bytes, &[at]), &Config::default(), Style::Take);
                outcome.assert_delivers(&[binary(&payload), text("next")]);
            }
            let mut side = Side::new(role, Config::default());
            assert_eq!(side.input.take_event(), None);
            side.fill(&bytes);
            assert_eq!(side.advance(), Ok(Progress::Event));
            assert_eq!(side.input.take_event(), Some(binary(&payload)));
            assert_eq!(side.input.event(), None);
            assert_eq!(side.input.take_event(), None);
            assert_eq!(side.advance(), Ok(Progress::Event));
            assert_eq!(side.input.take_event(), Some(text("next")));
        }
    }
}

#[test]
fn an_event_lives_until_the_next_advance_space_or_release() {
    for role in ROLES {
        let ends: [fn(&mut Side); 3] = [
            |side| assert_eq!(side.advance(), Ok(Progress::NeedInput)),
            |side| assert!(!side.input.space().is_empty()),
            |side| side.input.release(),
        ];
        for end in ends {
            for opcode in [TEXT, PING] {
                let mut side = Side::new(role, Config::default().report_control_frames(true));
                assert_eq!(side.input.event(), None);
                let half = to(role, TEXT, b"half");
                side.fill(&to(role, opcode, b"Hello"));
                assert_eq!(side.advance(), Ok(Progress::Event));
                assert_eq!(side.input.event().unwrap().as_bytes(), b"Hello");
                assert_eq!(side.input.event().unwrap().as_bytes(), b"Hello");
                end(&mut side);
                assert_eq!((side.input.event(), side.input.part()), (None, None));
                // Nothing of it is left in the next.
                side.fill(&half);
                assert_eq!(side.advance(), Ok(Progress::Event));
                assert_eq!(side.input.event().unwrap().as_bytes(), b"half");
            }
        }
    }
}
