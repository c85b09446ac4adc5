//! `End::label`: one word for each end that an operator wants to tell apart.

use std::collections::BTreeSet;

use crate::support::*;
use bowline::{CloseCode, Config, End, Role, Timeout, Truncation};

/// The end of a server whose peer sent these bytes.
fn after(config: Config, closes: bool, bytes: &[u8]) -> End {
    let mut side = Side::new(Role::Server, config);
    if closes {
        side.connection.start_close(1000, "", &mut side.out).unwrap();
    }
    let _ = side.try_receive(bytes);
    side.connection.end().expect("it ended").clone()
}

#[test]
fn each_end_has_one_word_of_a_fixed_set() {
    let to_us = |opcode, payload: &[u8]| to(Role::Server, opcode, payload);
    let close = |code: u16| to_us(CLOSE, &close_payload(code, b"why"));
    let plain = Config::default;
    let fragments = [
        fragment_to(Role::Server, false, TEXT, b""),
        fragment_to(Role::Server, true, CONTINUATION, b""),
    ]
    .concat();
    let cases = [
        (
            "closed_by_us",
            vec![after(plain(), true, &close(1000)), after(plain(), true, &close(1001))],
        ),
        (
            "closed_by_peer",
            vec![after(plain(), false, &close(1000)), after(plain(), false, &to_us(CLOSE, b""))],
        ),
        ("closed_by_us_with_error", vec![after(plain(), true, &close(1011))]),
        (
            "closed_by_peer_with_error",
            vec![after(plain(), false, &close(1011)), after(plain(), false, &close(4000))],
        ),
        ("peer_gone", vec![End::PeerGone(Truncation::BetweenMessages)]),
        (
            "peer_gone_midway",
            vec![
                End::PeerGone(Truncation::InHeader),
                End::PeerGone(Truncation::InPayload),
                End::PeerGone(Truncation::InMessage),
            ],
        ),
        (
            "protocol_error",
            vec![after(plain(), false, &[0xF1]), after(plain(), false, &close(1006))],
        ),
        ("invalid_payload", vec![after(plain(), false, &to_us(TEXT, b"\xFF"))]),
        ("too_many_fragments", vec![after(plain().max_fragments(1), false, &fragments)]),
        (
            "message_too_big",
            vec![
                after(plain().max_message_size(1), false, &to_us(TEXT, b"ab")),
                after(plain().max_frame_size(1), false, &to_us(TEXT, b"ab")),
            ],
        ),
        ("close_timeout", vec![End::TimedOut(Timeout::Close)]),
        ("progress_timeout", vec![End::TimedOut(Timeout::Progress)]),
        ("send_timeout", vec![End::TimedOut(Timeout::Send)]),
        ("keepalive_timeout", vec![End::TimedOut(Timeout::Keepalive)]),
        ("over_budget", vec![End::OverBudget]),
        ("unconfirmed", vec![End::Unconfirmed]),
    ];
    let mut words = BTreeSet::new();
    for (word, ends) in &cases {
        for end in ends {
            assert_eq!(end.label(), *word, "{end:?}");
        }
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        words.insert(*word);
    }
    assert_eq!(words.len(), cases.len(), "no word stands for two rows");
}

#[test]
fn no_code_of_the_peer_makes_a_word_of_its_own() {
    let words: BTreeSet<&str> = (0..=u16::MAX)
        .filter(|&code| CloseCode::from(code).is_sendable())
        .step_by(37)
        .map(|code| {
            let bytes = to(Role::Server, CLOSE, &close_payload(code, b""));
            after(Config::default(), false, &bytes).label()
        })
        .collect();
    assert!(words.len() <= 2, "{words:?}");
}
