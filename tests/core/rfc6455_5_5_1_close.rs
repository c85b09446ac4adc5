//! RFC 6455 §5.5.1 and §7.4: the Close frame, its code and its reason.

use crate::support::*;
use bowline::{CloseAnswer, CloseCode, Config, MessageRef, Progress, Refusal, Role, Rule};

/// §7.4.2 and the IANA registry: 1004 is reserved, 1005, 1006 and 1015 must not be set.
fn may_be_on_the_wire(code: u16) -> bool {
    const REGISTERED: [u16; 12] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    REGISTERED.contains(&code) || (3000..5000).contains(&code)
}

#[track_caller]
fn assert_closed(outcome: &Outcome, code: Option<u16>, reason: &str) {
    assert_eq!(outcome.over, Over::Closed(code, reason.into()));
    // "The endpoint typically echos the status code it received", and implementations the reason.
    let echo = code.map_or(vec![], |code| close_payload(code, reason.as_bytes()));
    assert_eq!(outcome.sent, [(CLOSE, echo)]);
}

#[test]
fn every_code_is_received_and_echoed_or_fails_the_connection() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let bytes = to(role, CLOSE, &close_payload(code, b""));
            let outcome = feed(role, &[&bytes], &Config::default(), Style::Borrow);
            if may_be_on_the_wire(code) {
                assert_closed(&outcome, Some(code), "");
            } else {
                // The first byte of the payload.
                outcome.assert_failed(Rule::CloseCode, bytes.len() - 2);
            }
        }
        for code in [0, 999, 1000, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4999, 5000, 65_535] {
            for reason in [&b""[..], b"reason"] {
                let bytes = to(role, CLOSE, &close_payload(code, reason));
                let outcome = run(role, &bytes, &Config::default());
                if may_be_on_the_wire(code) {
                    assert_closed(&outcome, Some(code), std::str::from_utf8(reason).unwrap());
                } else {
                    outcome.assert_failed(Rule::CloseCode, bytes.len() - 2 - reason.len());
                }
            }
        }
    }
    assert_eq!(Rule::CloseCode.close_code(), 1002);
}

#[test]
fn every_code_can_be_sent_or_is_refused() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut side = Side::new(role, Config::default());
            let result = side.connection.start_close(code, "", &mut side.out);
            assert_eq!(CloseCode::from(code).is_sendable(), may_be_on_the_wire(code));
            assert_eq!(u16::from(CloseCode::from(code)), code);
            if may_be_on_the_wire(code) || code == CloseCode::NO_STATUS.get() {
                result.unwrap();
                assert!(side.connection.close_sent());
                // 1005 says that there is no code.
                let body = if code == 1005 { vec![] } else { close_payload(code, b"") };
                assert_eq!(side.take_sent(), [(CLOSE, body)]);
            } else {
                assert_eq!(result.unwrap_err().refusal(), Refusal::CloseCode);
                assert!(side.out.is_empty() && !side.connection.close_sent());
                // The connection goes on.
                side.connection.send("still open", &mut side.out).unwrap();
            }
        }
    }
}

#[test]
fn an_empty_close_is_sent_with_no_status_and_an_empty_reason() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let reason = side.connection.start_close(1005, "why", &mut side.out).unwrap_err();
        assert_eq!(reason.refusal(), Refusal::CloseCode);
        assert!(side.out.is_empty() && !side.connection.close_sent());
        side.connection.start_close(CloseCode::NO_STATUS, "", &mut side.out).unwrap();
        let header = side.out.pending()[..2].to_vec();
        assert_eq!(header, [0x88, if role == Role::Client { 0x80 } else { 0 }]);
        assert_eq!(side.take_sent(), [(CLOSE, vec![])]);
        let again = side.connection.start_close(1005, "", &mut side.out).unwrap_err();
        assert_eq!(again.refusal(), Refusal::Closed);
        side.receive(&to(role, CLOSE, b""));
        assert_eq!(side.connection.end().unwrap().code(), CloseCode::NO_STATUS);
        assert!(side.take_out().is_empty());
    }
}

#[test]
fn the_answer_to_a_close_can_be_chosen() {
    let long = "r".repeat(123);
    let fixed = |code: u16, reason: &str| CloseAnswer::new(code, reason).unwrap();
    let cases = [
        (CloseAnswer::default(), close_payload(4000, b"why")),
        (CloseAnswer::ECHO, close_payload(4000, b"why")),
        (CloseAnswer::ECHO_CODE, close_payload(4000, b"")),
        (fixed(1000, "bye"), close_payload(1000, b"bye")),
        (fixed(3000, &long), close_payload(3000, long.as_bytes())),
        (fixed(1005, ""), vec![]),
    ];
    for role in ROLES {
        for (answer, expected) in &cases {
            let config = Config::default().close_answer(answer.clone());
            let close = to(role, CLOSE, &close_payload(4000, b"why"));
            assert_eq!(run(role, &close, &config).sent, [(CLOSE, expected.clone())]);
            // It does not answer a broken rule, nor a Close that this side began.
            let outcome = run(role, &[0xF1], &config);
            assert_eq!(outcome.sent, [(CLOSE, close_payload(1002, b""))]);
            let mut side = Side::new(role, config);
            side.connection.start_close(4001, "ours", &mut side.out).unwrap();
            side.receive(&close);
            assert_eq!(side.take_sent(), [(CLOSE, close_payload(4001, b"ours"))]);
        }
    }
    for (code, reason, refusal) in [
        (1006, "", Refusal::CloseCode),
        (1005, "why", Refusal::CloseCode),
        (0, "", Refusal::CloseCode),
        (1000, &*"r".repeat(124), Refusal::CloseReasonTooLong),
    ] {
        assert_eq!(CloseAnswer::new(code, reason).unwrap_err().refusal(), refusal);
    }
}

#[test]
fn a_relay_hands_on_every_close_as_it_came() {
    let bodies = [vec![], close_payload(1000, b""), close_payload(4999, "größer".as_bytes())];
    for role in ROLES {
        for body in &bodies {
            let mut near = Side::new(role, Config::default());
            near.receive(&to(role, CLOSE, body));
            let end = near.connection.end().unwrap();
            let mut far = Side::new(role, Config::default());
            far.connection.start_close(end.code(), end.reason(), &mut far.out).unwrap();
            assert_eq!(far.take_sent(), [(CLOSE, body.clone())]);
        }
    }
}

#[test]
fn a_close_without_a_body_is_answered_without_a_body() {
    for role in ROLES {
        let outcome = run(role, &to(role, CLOSE, b""), &Config::default());
        assert_closed(&outcome, None, "");
    }
}

#[test]
fn the_code_of_a_clean_end_is_the_peers_or_1005() {
    for role in ROLES {
        for (body, code) in [(vec![], 1005), (close_payload(4999, b"why"), 4999)] {
            let mut side = Side::new(role, Config::default());
            side.receive(&to(role, CLOSE, &body));
            let end = side.connection.end().unwrap();
            assert!(end.is_clean());
            assert_eq!(end.code(), code);
        }
    }
}

#[test]
fn a_body_has_at_least_two_bytes() {
    for role in ROLES {
        for byte in [0x00, 0x03, 0xff] {
            let bytes = to(role, CLOSE, &[byte]);
            run(role, &bytes, &Config::default()).assert_failed(Rule::CloseLength, 0);
        }
    }
    assert_eq!(Rule::CloseLength.close_code(), 1002);
}

#[test]
fn a_reason_is_utf_8_of_up_to_123_bytes() {
    let long = ["r".repeat(123), "é".repeat(61), "€".repeat(41), "𝄞".repeat(30)];
    for role in ROLES {
        for reason in ["a", "bye", "größer", "\0"].into_iter().chain(long.iter().map(|s| &s[..]))
        {
            let bytes = to(role, CLOSE, &close_payload(1000, reason.as_bytes()));
            assert_closed(&run(role, &bytes, &Config::default()), Some(1000), reason);
        }
        for reason in [
            &b"\xff"[..],
            b"\xff\xfe",
            b"ok\x80",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\xf4\x90\x80\x80",
            // Cut inside a character.
            b"\xe2\x82",
            &[&[b'r'; 122][..], b"\xc3"].concat(),
        ] {
            let bytes = to(role, CLOSE, &close_payload(1000, reason));
            let at = bytes.len() - 2 - reason.len();
            run(role, &bytes, &Config::default()).assert_failed(Rule::CloseReason, at);
        }
        // The code comes first.
        let bytes = to(role, CLOSE, &close_payload(1005, b"\xff"));
        run(role, &bytes, &Config::default()).assert_failed(Rule::CloseCode, bytes.len() - 3);
    }
    assert_eq!(Rule::CloseReason.close_code(), 1007);
}

#[test]
fn a_close_that_is_sent_is_the_code_and_the_reason_and_nothing_else() {
    for role in ROLES {
        for reason in ["", "a", "größer", &"€".repeat(41), &"r".repeat(123)] {
            let mut side = Side::new(role, Config::default());
            // Earlier payloads must not show.
            side.connection.send(&[0xAA; 200][..], &mut side.out).unwrap();
            let _ = side.take_out();
            side.connection.start_close(4321, reason, &mut side.out).unwrap();
            let wire = side.take_out();
            let body = close_payload(4321, reason.as_bytes());
            let frames = decode(role, &wire);
            assert_eq!(frames.len(), 1);
            assert_eq!((frames[0].opcode, &frames[0].payload), (CLOSE, &body));
        }
    }
}

#[test]
fn a_reason_of_more_than_123_bytes_is_refused_not_cut() {
    for role in ROLES {
        for reason in ["r".repeat(124), "é".repeat(62), "r".repeat(70_000)] {
            let mut side = Side::new(role, Config::default());
            let error = side.connection.start_close(1000, &reason, &mut side.out).unwrap_err();
            assert_eq!(error.refusal(), Refusal::CloseReasonTooLong);
            assert!(side.out.is_empty() && !side.connection.close_sent());
        }
    }
}

/// Asserts that nothing can be sent any more, and that nothing of it reaches the wire.
fn assert_shut(side: &mut Side) {
    let waiting = side.out.len();
    let (connection, out) = (&mut side.connection, &mut side.out);
    let message = text("late");
    let refusals = [
        connection.send("late", out).unwrap_err().refusal(),
        connection.send(MessageRef::Pong(b"late"), out).unwrap_err().refusal(),
        connection.send_borrowed("late", out).unwrap_err().refusal(),
        connection.send_part("late", true, out).unwrap_err().refusal(),
        connection.send_part("late", false, out).unwrap_err().refusal(),
        connection.ping(b"late", out).unwrap_err().refusal(),
        connection.start_close(1000, "", out).unwrap_err().refusal(),
    ];
    assert_eq!(refusals, [Refusal::Closed; 7]);
    let error = connection.send_owned(message.clone(), out).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Closed);
    assert_eq!(error.into_message(), Some(message));
    assert_eq!(out.len(), waiting);
}

#[test]
fn nothing_but_pongs_must_be_sent_after_a_close() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        assert_shut(&mut side);
        // A ping has to be answered until the peer's Close (§5.5.2).
        side.receive(&to(role, PING, b"?"));
        let pong = (PONG, b"?".to_vec());
        assert_eq!(side.take_sent(), [(CLOSE, close_payload(1000, b"")), pong]);
        // Not even a second Close, for the peer's.
        side.receive(&to(role, CLOSE, &close_payload(1001, b"")));
        assert!(!side.connection.answer(&mut side.out));
        assert_shut(&mut side);
    }
}

#[test]
fn a_close_may_cut_a_message_that_is_being_sent_in_parts() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.send_part("a", false, &mut side.out).unwrap();
        side.connection.start_close(1001, "", &mut side.out).unwrap();
        assert_shut(&mut side);
        assert_eq!(side.take_sent(), [(TEXT, b"a".to_vec()), (CLOSE, close_payload(1001, b""))]);
    }
}

#[test]
fn what_the_peer_sends_after_its_close_is_ignored() {
    for role in ROLES {
        for late in [
            to(role, TEXT, b"Hello"),
            to(role, PING, b"x"),
            to(role, CLOSE, &close_payload(1002, b"")),
            vec![0xff; 30],
        ] {
            let bytes = [to(role, CLOSE, &close_payload(1000, b"")), late].concat();
            assert_closed(&run(role, &bytes, &Config::default()), Some(1000), "");
        }
    }
}

#[test]
fn after_the_peers_close_nothing_is_sent_but_the_answer() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.send("before", &mut side.out).unwrap();
        side.receive(&to(role, PING, b"?"));
        let close = to(role, CLOSE, &close_payload(3000, b"bye"));
        assert_eq!(side.try_receive(&close), Ok(Progress::Ended));
        assert!(side.connection.close_sent());
        assert_shut(&mut side);
        for _ in 0..3 {
            assert_eq!(side.advance(), Ok(Progress::Ended));
        }
        let expected = [
            (TEXT, b"before".to_vec()),
            (PONG, b"?".to_vec()),
            (CLOSE, close_payload(3000, b"bye")),
        ];
        assert_eq!(side.take_sent(), expected);
        assert!(!side.connection.answer(&mut side.out));
    }
}

#[test]
fn pongs_that_are_owed_go_before_the_close() {
    // §5.5.2: a pong must be sent "unless it already received a Close frame"; so what is sent does
    // not depend on how the bytes were cut.
    for role in ROLES {
        let before = [
            to(role, PING, b"one"),
            to(role, TEXT, b"Hello"),
            to(role, PING, b"two"),
            to(role, TEXT, b"Hello"),
            to(role, PING, b"three"),
        ]
        .concat();
        let pongs = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()].map(|data| (PONG, data));
        for (end, close) in [(to(role, CLOSE, b""), vec![]), (vec![0xF1], vec![3, 0xEA])] {
            let outcome = run(role, &[&before[..], &end].concat(), &Config::default());
            assert_eq!(outcome.sent[..3], pongs);
            assert_eq!(outcome.sent[3..], [(CLOSE, close)]);
        }
    }
}

#[test]
fn codes_are_numbers_with_names() {
    let names = [
        (CloseCode::NORMAL, 1000),
        (CloseCode::GOING_AWAY, 1001),
        (CloseCode::PROTOCOL_ERROR, 1002),
        (CloseCode::UNSUPPORTED_DATA, 1003),
        (CloseCode::NO_STATUS, 1005),
        (CloseCode::ABNORMAL, 1006),
        (CloseCode::INVALID_PAYLOAD, 1007),
        (CloseCode::POLICY_VIOLATION, 1008),
        (CloseCode::MESSAGE_TOO_BIG, 1009),
        (CloseCode::MANDATORY_EXTENSION, 1010),
        (CloseCode::INTERNAL_ERROR, 1011),
        (CloseCode::SERVICE_RESTART, 1012),
        (CloseCode::TRY_AGAIN_LATER, 1013),
        (CloseCode::BAD_GATEWAY, 1014),
        (CloseCode::TLS_HANDSHAKE, 1015),
    ];
    for (code, number) in names {
        assert_eq!((code.get(), code.to_string()), (number, number.to_string()));
        assert_eq!(code, number);
    }
}
