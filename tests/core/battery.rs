//! A battery of attacks on the framing layer: bytes, and the exact reaction, for a server and for a client. A number names
//! a case for ever, so there are gaps. Each case is cut in every way, put after other frames, and followed by another. The
//! classes of the cases are covered completely.

use crate::support::*;
use bowline::{Config, Message, Role, Rule};

enum Expect {
    Text(&'static str),
    Binary(&'static [u8]),
    /// Failed with this rule, at these offsets for a server and for a client.
    Fail(Rule, usize, usize),
    /// One Close with this code, or with none, and nothing else.
    Echo(Option<u16>),
}
use Expect::{Echo, Fail};

struct Case {
    id: &'static str,
    title: &'static str,
    to_server: &'static str,
    to_client: &'static str,
    expect: Expect,
}

const fn case(
    id: &'static str,
    title: &'static str,
    to_server: &'static str,
    to_client: &'static str,
    expect: Expect,
) -> Case {
    Case { id, title, to_server, to_client, expect }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("C01", "a masked text for a server, one in clear for a client", "818537fa213d7f9f4d5158", "810548656c6c6f", Expect::Text("Hello")),
    case("C02", "text with the mask bit of the other direction, to a server", "810548656c6c6f", "", Fail(Rule::Unmasked, 0, 0)),
    case("C02", "text with the mask bit of the other direction, to a client", "", "818537fa213d7f9f4d5158", Fail(Rule::Masked, 0, 0)),
    case("C04", "Close with the mask bit of the other direction, to a server", "880203e8", "", Fail(Rule::Unmasked, 0, 0)),
    case("C04", "Close with the mask bit of the other direction, to a client", "", "888237fa213d3412", Fail(Rule::Masked, 0, 0)),
    case("C05", "a key of zeros is a key", "81850000000048656c6c6f", "", Expect::Text("Hello")),
    case("C07", "RSV2", "a18537fa213d7f9f4d5158", "a10548656c6c6f", Fail(Rule::ReservedBits, 0, 0)),
    case("C08", "RSV3", "918537fa213d7f9f4d5158", "910548656c6c6f", Fail(Rule::ReservedBits, 0, 0)),
    case("C13", "opcode 11, a control frame that does not exist", "8b8037fa213d", "8b00", Fail(Rule::ReservedOpcode, 0, 0)),
    case("C14", "opcode 3 with a length that never comes", "83ff000001000000000037fa213d", "837f0000010000000000", Fail(Rule::ReservedOpcode, 0, 0)),
    case("C16", "Close as a fragment", "088237fa213d3412", "080203e8", Fail(Rule::FragmentedControl, 0, 0)),
    case("C17", "the header of a ping with 126 bytes", "89fe007e37fa213d", "897e007e", Fail(Rule::ControlTooLong, 0, 0)),
    case("C19", "a ping that announces 2^62 bytes", "89ff400000000000000037fa213d", "897f4000000000000000", Fail(Rule::ControlTooLong, 0, 0)),
    case("C22", "a last continuation of nothing", "808537fa213d7f9f4d5158", "800548656c6c6f", Fail(Rule::UnexpectedContinuation, 0, 0)),
    case("C23", "a continuation of nothing", "008537fa213d7f9f4d5158", "000548656c6c6f", Fail(Rule::UnexpectedContinuation, 0, 0)),
    case("C25", "a second text inside a text", "018337fa213d569842018337fa213d539f47", "01036162630103646566", Fail(Rule::ExpectedContinuation, 9, 5)),
    case("C26", "a binary message inside a text", "018337fa213d569842028337fa213d539f47", "01036162630203646566", Fail(Rule::ExpectedContinuation, 9, 5)),
    case("C28", "the first fragment is empty", "018037fa213d808537fa213d7f9f4d5158", "0100800548656c6c6f", Expect::Text("Hello")),
    case("C29", "all fragments are empty", "018037fa213d008037fa213d808037fa213d", "010000008000", Expect::Text("")),
    case("C31", "five bytes with a 16-bit length", "81fe000537fa213d7f9f4d5158", "817e000548656c6c6f", Fail(Rule::NonMinimalLength, 0, 0)),
    case("C34", "65,535 bytes with a 64-bit length", "82ff000000000000ffff37fa213d", "827f000000000000ffff", Fail(Rule::NonMinimalLength, 0, 0)),
    case("C35", "a 64-bit length with its highest bit set", "82ff800000000000000037fa213d", "827f8000000000000000", Fail(Rule::LengthOverflow, 0, 0)),
    case("C37", "the largest length that may be written", "82ff7fffffffffffffff37fa213d", "827f7fffffffffffffff", Fail(Rule::MessageTooBig, 0, 0)),
    case("C38", "a length that a cast to 32 bits would make 1", "82ff008000000000000137fa213d", "827f0080000000000001", Fail(Rule::MessageTooBig, 0, 0)),
    case("C40", "a byte, then a continuation of 2^63-1", "018137fa213d5680ff7fffffffffffffff37fa213d", "010161807f7fffffffffffffff", Fail(Rule::MessageTooBig, 7, 3)),
    case("C41", "one byte more than the limit", "82ff000000000010000137fa213d", "827f0000000000100001", Fail(Rule::MessageTooBig, 0, 0)),
    case("C44", "text with 0xff", "818137fa213dc8", "8101ff", Fail(Rule::InvalidUtf8, 6, 2)),
    case("C46", "an overlong NUL", "818437fa213dc77aa1bd", "8104f0808080", Fail(Rule::InvalidUtf8, 7, 3)),
    case("C47", "a surrogate", "818337fa213dda5aa1", "8103eda080", Fail(Rule::InvalidUtf8, 7, 3)),
    case("C49", "a text that ends inside a character", "818237fa213dd578", "8102e282", Fail(Rule::InvalidUtf8, 8, 4)),
    case("C50", "a character in two fragments", "018137fa213dd5808237fa213db556", "0101e2800282ac", Expect::Text("€")),
    case("C52", "a character that its second fragment spoils", "018137fa213dd5808237fa213d1f5b", "0101e2800228a1", Fail(Rule::InvalidUtf8, 13, 5)),
    case("C53", "0xff in a fragment that is not the last", "018537fa213d5698de5e53", "01056162ff6364", Fail(Rule::InvalidUtf8, 8, 4)),
    case("C55", "binary data that is not UTF-8", "828237fa213dc804", "8202fffe", Expect::Binary(b"\xff\xfe")),
    case("C56", "Close without a body", "888037fa213d", "8800", Echo(None)),
    case("C58", "close code 0", "888237fa213d37fa", "88020000", Fail(Rule::CloseCode, 6, 2)),
    case("C59", "close code 999", "888237fa213d341d", "880203e7", Fail(Rule::CloseCode, 6, 2)),
    case("C61", "close code 1005", "888237fa213d3417", "880203ed", Fail(Rule::CloseCode, 6, 2)),
    case("C62", "close code 1006", "888237fa213d3414", "880203ee", Fail(Rule::CloseCode, 6, 2)),
    case("C64", "close code 1016", "888237fa213d3402", "880203f8", Fail(Rule::CloseCode, 6, 2)),
    case("C65", "close code 2999", "888237fa213d3c4d", "88020bb7", Fail(Rule::CloseCode, 6, 2)),
    case("C67", "close code 65535", "888237fa213dc805", "8802ffff", Fail(Rule::CloseCode, 6, 2)),
    case("C70", "a reason that is not UTF-8", "888437fa213d3412dec3", "880403e8fffe", Fail(Rule::CloseReason, 6, 2)),
    case("C71", "text behind a Close", "888237fa213d3412818537fa213d7f9f4d5158", "880203e8810548656c6c6f", Echo(Some(1000))),
    case("C73", "a ping behind a Close", "888237fa213d3412898137fa213d4f", "880203e8890178", Echo(Some(1000))),
    case("C74", "a message behind a violation", "a18337fa213d559b45818537fa213d7f9f4d5158", "a103626164810548656c6c6f", Fail(Rule::ReservedBits, 0, 0)),
];

#[test]
fn each_case_has_its_reaction_however_it_is_cut() {
    for Case { id, title, to_server, to_client, expect } in CASES {
        for (role, digits) in [(Role::Server, to_server), (Role::Client, to_client)] {
            println!("{id} {title}, {role:?}");
            let bytes = hex(digits);
            if bytes.is_empty() {
                continue;
            }
            let outcome = run(role, &bytes, &Config::default());
            match expect {
                Expect::Text(expected) => outcome.assert_delivers(&[text(expected)]),
                Expect::Binary(expected) => outcome.assert_delivers(&[binary(expected)]),
                Fail(rule, server, client) => {
                    let at = if role == Role::Server { *server } else { *client };
                    outcome.assert_failed(*rule, at);
                    assert_eq!(outcome.events, [], "nothing of it is delivered");
                }
                Echo(code) => {
                    let body = code.map_or(vec![], |code| close_payload(code, b""));
                    assert_eq!(outcome.sent, [(CLOSE, body)]);
                    assert_eq!(outcome.over, Over::Closed(*code, String::new()));
                    assert!(outcome.events.is_empty());
                }
            }
        }
    }
}

#[test]
fn c20_the_longest_ping_is_answered_with_the_same_bytes() {
    for role in ROLES {
        let outcome = run(role, &to(role, PING, &[b'x'; 125]), &Config::default());
        assert_eq!(outcome.sent, [(PONG, vec![b'x'; 125])]);
    }
}

#[test]
fn c32_125_bytes_have_no_16_bit_length() {
    for role in ROLES {
        let mut bytes = header(0x82, role == Role::Server, Form::Sixteen, 125);
        bytes.extend([b'y'; 125]);
        run(role, &bytes, &Config::default()).assert_failed(Rule::NonMinimalLength, 0);
    }
}

#[test]
fn c43_two_fragments_that_are_too_much_together_fail_at_the_second_header() {
    for role in ROLES {
        let first = fragment_to(role, false, BINARY, &vec![0; 600 << 10]);
        let head = header(0x80, role == Role::Server, Form::SixtyFour, 600 << 10);
        let bytes = [&first[..], &head].concat();
        run(role, &bytes, &Config::default()).assert_failed(Rule::MessageTooBig, first.len());
    }
}

#[test]
fn c68_the_longest_reason_is_no_violation() {
    for role in ROLES {
        let bytes = to(role, CLOSE, &close_payload(1000, &[b'r'; 123]));
        let outcome = run(role, &bytes, &Config::default());
        assert_eq!(outcome.sent, [(CLOSE, close_payload(1000, &[b'r'; 123]))]);
    }
}

#[test]
fn c76_a_flood_of_empty_fragments_is_ended() {
    for role in ROLES {
        let mut bytes = fragment_to(role, false, TEXT, b"");
        let one = fragment_to(role, false, CONTINUATION, b"");
        bytes.extend(one.repeat(1_100));
        let at = 1_024 * one.len();
        run(role, &bytes, &Config::default()).assert_failed(Rule::TooManyFragments, at);
        // So is one of fragments that each bring one byte.
        let mut bytes = fragment_to(role, false, TEXT, b"x");
        let one = fragment_to(role, false, CONTINUATION, b"x");
        bytes.extend(one.repeat(1_100));
        let at = 1_057 * one.len();
        run(role, &bytes, &Config::default()).assert_failed(Rule::TooManyFragments, at);
    }
}

#[test]
fn c77_a_flood_of_pings_with_nobody_reading_costs_4_kib_and_does_not_stop_messages() {
    for role in ROLES {
        let ping = to(role, PING, &[b'p'; 125]);
        let hello = to(role, TEXT, b"Hello");
        for at_once in [1, 100, 20_000] {
            let mut side = Side::new(role, Config::default());
            for _ in 0..20_000 / at_once {
                side.receive(&ping.repeat(at_once));
                assert!(side.out.len() <= 4096);
            }
            side.receive(&hello);
            assert_eq!(side.events, [text("Hello")]);
            let wire = side.take_out();
            assert!(wire.len() <= 4096, "{} bytes of pongs", wire.len());
            assert!(decode(role, &wire).iter().all(|pong| pong.payload == [b'p'; 125]));
        }
    }
}

/// A connection that is open, and one in the middle of a text message.
fn before(role: Role) -> [Vec<u8>; 2] {
    [vec![], fragment_to(role, false, TEXT, b"a")]
}

#[test]
fn every_first_byte_has_its_reaction() {
    for role in ROLES {
        for (open, before) in before(role).into_iter().enumerate() {
            for first in 0..=u8::MAX {
                let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
                let rule = if first & 0x70 != 0 {
                    Some(Rule::ReservedBits)
                } else if !DATA.contains(&opcode) && !CONTROL.contains(&opcode) {
                    Some(Rule::ReservedOpcode)
                } else if CONTROL.contains(&opcode) && !fin {
                    Some(Rule::FragmentedControl)
                } else if opcode == CONTINUATION && open == 0 {
                    Some(Rule::UnexpectedContinuation)
                } else if (opcode == TEXT || opcode == BINARY) && open == 1 {
                    Some(Rule::ExpectedContinuation)
                } else {
                    None
                };
                let bytes = [&before[..], &[first]].concat();
                let outcome = run(role, &bytes, &Config::default());
                match rule {
                    Some(rule) => outcome.assert_failed(rule, before.len()),
                    None => outcome.assert_delivers(&[]),
                }
            }
        }
    }
}

#[test]
fn every_second_byte_has_its_reaction() {
    for role in ROLES {
        let wrong_mask = if role == Role::Server { Rule::Unmasked } else { Rule::Masked };
        for first in [0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8A] {
            for second in 0..=u8::MAX {
                let (masked, len) = (second & 0x80 != 0, second & 0x7F);
                let is_control = first & 0x08 != 0;
                let rule = if masked != (role == Role::Server) {
                    Some(wrong_mask)
                } else if first == 0x88 && len == 1 {
                    Some(Rule::CloseLength)
                } else if is_control && len > 125 {
                    Some(Rule::ControlTooLong)
                } else {
                    None
                };
                let outcome = feed(role, &[&[first, second]], &Config::default(), Style::Borrow);
                match rule {
                    Some(rule) => outcome.assert_failed(rule, 0),
                    None if masked || len > 0 => outcome.assert_delivers(&[]),
                    // Without a key and a payload, that is the whole frame.
                    None => assert!(!matches!(outcome.over, Over::Failed(..))),
                }
            }
        }
    }
}

#[test]
fn every_length_around_a_boundary_has_its_reaction_in_every_form() {
    let limit = 1_u64 << 20;
    let boundaries = [0, 125, 126, 127, 128, 255, 256, 65_535, 65_536, limit, limit + 1];
    let powers = (17..64).map(|bits| 1_u64 << bits);
    let lengths =
        boundaries.into_iter().chain(powers).flat_map(|len| [len.wrapping_sub(1), len, len + 1]);
    for len in lengths {
        for form in [Form::Seven, Form::Sixteen, Form::SixtyFour] {
            let fits = match form {
                Form::Seven => len <= 125,
                Form::Sixteen => len <= 65_535,
                Form::SixtyFour => true,
            };
            if !fits {
                continue;
            }
            let rule = if len >> 63 != 0 {
                Some(Rule::LengthOverflow)
            } else if form != Form::minimal(len) {
                Some(Rule::NonMinimalLength)
            } else if len > limit {
                Some(Rule::MessageTooBig)
            } else {
                None
            };
            for role in ROLES {
                for first in [0x81, 0x82, 0x01, 0x02] {
                    let bytes = header(first, role == Role::Server, form, len);
                    let outcome = feed(role, &[&bytes], &Config::default(), Style::Borrow);
                    match rule {
                        Some(rule) => outcome.assert_failed(rule, 0),
                        None => assert!(matches!(outcome.over, Over::Open(_)), "{len}"),
                    }
                }
            }
        }
    }
}

#[test]
fn no_frame_of_a_later_protocol_or_another_one_is_taken() {
    // What an HTTP client, a TLS client and a proxy send to a port that they take for one of theirs.
    for role in ROLES {
        for (bytes, rule) in [
            (&b"GET / HTTP/1.1\r\n"[..], Rule::ReservedBits),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Rule::ReservedBits),
            (b"PROXY TCP4 ", Rule::ReservedBits),
            (b"\x16\x03\x01\x02\x00\x01", Rule::ReservedBits),
            (b"\x04\x01\x00\x50", Rule::ReservedOpcode),
            (b"\x05\x01\x00", Rule::ReservedOpcode),
            (b"\x00\x00\x00\x00", Rule::UnexpectedContinuation),
            (b"\r\n\r\n", Rule::ReservedOpcode),
        ] {
            run(role, bytes, &Config::default()).assert_failed(rule, 0);
        }
    }
}

#[test]
fn after_every_case_that_goes_on_an_echo_still_works() {
    for Case { id, to_server, to_client, expect, .. } in CASES {
        if !matches!(expect, Expect::Text(_) | Expect::Binary(_)) {
            continue;
        }
        for (role, digits) in [(Role::Server, to_server), (Role::Client, to_client)] {
            let mut side = Side::new(role, Config::default());
            side.receive(&hex(digits));
            side.events.clear();
            side.receive(&to(role, TEXT, b"Hello"));
            assert_eq!(side.events, [Message::from("Hello")], "{id}");
            side.connection.send("Hello", &mut side.out).unwrap();
            assert_eq!(side.take_sent(), [(TEXT, b"Hello".to_vec())]);
        }
    }
}
