//! RFC 6455 §5.6 and §8.1: text is UTF-8 (RFC 3629), and fails at the byte that is not.

use crate::support::*;
use bowline::{Config, Role, Rule};

/// The first byte that makes the text invalid, by the standard library: the end of the first prefix that nothing can
/// complete. `Some(len)` if the end comes inside a character.
fn first_bad(bytes: &[u8]) -> Option<usize> {
    let bad = |end: usize| {
        std::str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some())
    };
    let ends_inside = || std::str::from_utf8(bytes).is_err().then_some(bytes.len());
    (1..=bytes.len()).find(|&end| bad(end)).map(|end| end - 1).or_else(ends_inside)
}

#[test]
fn what_the_tests_measure_by() {
    assert_eq!(first_bad(b"abc"), None);
    assert_eq!(first_bad("\u{10FFFF}".as_bytes()), None);
    assert_eq!(first_bad(b"a\xff"), Some(1));
    assert_eq!(first_bad(b"\xed\xa0\x80"), Some(1));
    assert_eq!(first_bad(b"\xe2\x82"), Some(2));
}

/// §8.1 and RFC 3629 §3, §10: one of each way to be wrong.
const INVALID: [&[u8]; 22] = [
    // Bytes that are never used.
    b"\xff",
    b"\xfe",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    // A continuation byte with nothing to continue.
    b"\x80",
    b"\xbf",
    b"a\x80\x80",
    // Overlong forms.
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    // Surrogates.
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    // Beyond U+10FFFF.
    b"\xf4\x90\x80\x80",
    // Sequences that are not continued.
    b"\xc3(",
    b"\xe2\x28\xa1",
    b"\xe2\x82(",
    b"\xf0\x9f\x98(",
    b"\xc3\xc3",
];

#[test]
fn invalid_text_fails_at_its_byte_wherever_it_stands() {
    for role in ROLES {
        for invalid in INVALID {
            for before in ["", "abc", "größer € 𝄞", &"x".repeat(40), &"€".repeat(50)] {
                let payload = [before.as_bytes(), invalid, b" and more"].concat();
                let bad = first_bad(&payload).unwrap();
                let bytes = to(role, TEXT, &payload);
                let at = bytes.len() - payload.len() + bad;
                run(role, &bytes, &Config::default()).assert_failed(Rule::InvalidUtf8, at);
                // The byte is enough: it fails before the rest and the end of the message.
                let mut open = bytes.clone();
                open[0] &= 0x7F;
                for bytes in [&bytes[..=at], &open[..=at]] {
                    let outcome = feed(role, &[bytes], &Config::default(), Style::Borrow);
                    outcome.assert_failed(Rule::InvalidUtf8, at);
                    let pieces: Vec<usize> = (1..=at).collect();
                    let outcome = feed(role, &cut(bytes, &pieces), &Config::default(), Style::Take);
                    outcome.assert_failed(Rule::InvalidUtf8, at);
                    let before = &bytes[..at];
                    let outcome = feed(role, &[before], &Config::default(), Style::Borrow);
                    outcome.assert_delivers(&[]);
                }
            }
        }
    }
    assert_eq!(Rule::InvalidUtf8.close_code(), 1007);
}

#[test]
fn invalid_text_fails_at_its_byte_across_fragments_and_control_frames() {
    for role in ROLES {
        for invalid in INVALID {
            let payload = [b"a\xc3\xa9", invalid, b"z"].concat();
            let bad = first_bad(&payload).unwrap();
            for place in 0..=payload.len() {
                for between in
                    [vec![], to(role, PING, b"\xff"), fragment_to(role, false, CONTINUATION, b"")]
                {
                    let (head, tail) = payload.split_at(place);
                    let first = fragment_to(role, false, TEXT, head);
                    let second = to(role, CONTINUATION, tail);
                    // Where the byte that decides comes to stand.
                    let at = if bad < place {
                        first.len() - head.len() + bad
                    } else {
                        first.len() + between.len() + second.len() - payload.len() + bad
                    };
                    let bytes = [first, between, second].concat();
                    run(role, &bytes, &Config::default()).assert_failed(Rule::InvalidUtf8, at);
                }
            }
        }
    }
}

#[test]
fn a_message_must_not_end_inside_a_character() {
    for role in ROLES {
        for text in ["é", "€", "𝄞", "abc €", "\u{10FFFF}"] {
            let last = text.char_indices().last().unwrap().0;
            for end in last + 1..text.len() {
                let payload = &text.as_bytes()[..end];
                let whole = to(role, TEXT, payload);
                // Nothing is wrong before the message has ended.
                let outcome = run(role, &whole, &Config::default());
                outcome.assert_failed(Rule::InvalidUtf8, whole.len());
                assert_eq!(first_bad(payload), Some(end));

                let open = fragment_to(role, false, TEXT, payload);
                run(role, &open, &Config::default()).assert_delivers(&[]);
                let ended = [open, to(role, CONTINUATION, b"")].concat();
                let outcome = run(role, &ended, &Config::default());
                outcome.assert_failed(Rule::InvalidUtf8, ended.len());
            }
        }
    }
}

#[test]
fn valid_text_may_be_cut_anywhere() {
    let long = "κόσμε \u{FFFD}\u{FEFF}\u{FFFF}𝄞\u{10FFFF}\0 €".repeat(3);
    for role in ROLES {
        for string in ["", "\0", "κόσμε", "€", "𝄞", "\u{D7FF}\u{E000}", &long] {
            let payload = string.as_bytes();
            let whole = to(role, TEXT, payload);
            run(role, &whole, &Config::default()).assert_delivers(&[text(string)]);
            for place in 0..=payload.len() {
                let (head, tail) = payload.split_at(place);
                let bytes =
                    [fragment_to(role, false, TEXT, head), to(role, CONTINUATION, tail)].concat();
                let outcome = feed(role, &[&bytes], &Config::default(), Style::Borrow);
                outcome.assert_delivers(&[text(string)]);
            }
            // Each byte a fragment of its own, with a ping behind it.
            let mut bytes = fragment_to(role, false, TEXT, b"");
            for byte in payload {
                bytes.extend(fragment_to(role, false, CONTINUATION, &[*byte]));
                bytes.extend(to(role, PONG, b"\xff"));
            }
            bytes.extend(to(role, CONTINUATION, b""));
            let outcome = feed(role, &[&bytes], &Config::default(), Style::Borrow);
            outcome.assert_delivers(&[text(string)]);
        }
    }
}

#[test]
fn every_character_is_text() {
    for role in ROLES {
        let all: String = ('\0'..=char::MAX).collect();
        let config = Config::default().max_message_size(u64::MAX);
        let bytes = to(role, TEXT, all.as_bytes());
        let places: Vec<usize> = (1..bytes.len()).step_by(65_521).collect();
        feed(role, &cut(&bytes, &places), &config, Style::Borrow).assert_delivers(&[text(&all)]);
    }
}

#[test]
fn two_bytes_are_text_if_the_standard_library_says_so() {
    // With a third byte after them that begins nothing, so that all lead bytes are decided.
    for pair in 0..=u16::MAX {
        let mut payload = pair.to_be_bytes().to_vec();
        payload.push(b'.');
        let bytes = to(Role::Client, TEXT, &payload);
        let outcome = feed(Role::Client, &[&bytes], &Config::default(), Style::Borrow);
        match first_bad(&payload) {
            None => outcome.assert_delivers(&[text(std::str::from_utf8(&payload).unwrap())]),
            Some(bad) => outcome.assert_failed(Rule::InvalidUtf8, 2 + bad),
        }
    }
}

#[test]
fn three_and_four_bytes_are_text_if_the_standard_library_says_so() {
    // Around each boundary of the tables in RFC 3629 §4.
    let lead = [0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5];
    let next = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
    for a in lead {
        for b in next {
            for c in next {
                for d in next {
                    for len in [3, 4] {
                        let payload = &[a, b, c, d][..len];
                        let bytes = to(Role::Client, TEXT, payload);
                        let outcome =
                            feed(Role::Client, &[&bytes], &Config::default(), Style::Borrow);
                        match first_bad(payload) {
                            None => assert!(matches!(outcome.over, Over::Open(_))),
                            Some(bad) => outcome.assert_failed(Rule::InvalidUtf8, 2 + bad),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn binary_messages_may_be_anything() {
    for role in ROLES {
        for invalid in INVALID {
            let bytes = [
                to(role, BINARY, invalid),
                fragment_to(role, false, BINARY, invalid),
                to(role, CONTINUATION, invalid),
            ];
            let twice = invalid.repeat(2);
            let expected = [binary(invalid), binary(&twice)];
            run(role, &bytes.concat(), &Config::default()).assert_delivers(&expected);
        }
    }
}

#[test]
fn one_message_is_not_held_against_the_next() {
    for role in ROLES {
        let bytes = [
            fragment_to(role, false, BINARY, b"\xe2\x82"),
            to(role, CONTINUATION, b""),
            to(role, TEXT, b"(ok"),
            to(role, TEXT, b"\xac"),
        ];
        let outcome = run(role, &bytes.concat(), &Config::default());
        let at = bytes.iter().map(Vec::len).sum::<usize>() - 1;
        outcome.assert_failed(Rule::InvalidUtf8, at);
        assert_eq!(outcome.events, [binary(b"\xe2\x82"), text("(ok")]);
    }
}
