//! RFC 6455 §7: closing, and the other ways in which a connection ends.

use std::time::Duration;

use crate::support::*;
use bowline::{
    CloseCode, Config, Connection, End, Initiator, Progress, RecvBuf, Refusal, Role, Rule, SendBuf,
    Timeout, Truncation,
};

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn assert_closed(side: &Side, by: Initiator, with: Option<u16>, said: &str) {
    let Some(end @ End::Closed { initiator, code, reason, .. }) = side.connection.end() else {
        panic!("{:?}", side.connection.end());
    };
    let expected = (&by, &with.map(CloseCode::from), said);
    assert_eq!((initiator, code, reason.as_str()), expected);
    assert!(end.is_clean());
}

#[test]
fn the_closing_handshake_is_one_close_each_way_whoever_begins() {
    for role in ROLES {
        let mut pair = Pair::new(&Config::default());
        let (one, other) = pair.sides(role);
        other.connection.send("last words", &mut other.out).unwrap();
        one.connection.start_close(4000, "done", &mut one.out).unwrap();
        let close = one.take_out();
        assert_eq!(decode(one.role, &close).len(), 1);
        other.receive(&close);
        let answer = other.take_out();
        one.receive(&answer);
        assert_eq!(one.events, [text("last words")]);
        assert_closed(one, Initiator::Local, Some(4000), "done");
        assert_closed(other, Initiator::Remote, Some(4000), "done");
        let frames: Vec<_> = decode(other.role, &answer).into_iter().map(|f| f.opcode).collect();
        assert_eq!(frames, [TEXT, CLOSE]);
        // Nothing more, either way.
        assert!(one.take_out().is_empty() && other.take_out().is_empty());
    }
}

#[test]
fn when_both_close_at_once_each_takes_the_others_for_the_answer() {
    let mut pair = Pair::new(&Config::default());
    let Pair { client, server } = &mut pair;
    client.connection.start_close(1000, "from the client", &mut client.out).unwrap();
    server.connection.start_close(1001, "from the server", &mut server.out).unwrap();
    let (up, down) = (client.take_out(), server.take_out());
    client.receive(&down);
    server.receive(&up);
    assert_closed(client, Initiator::Local, Some(1001), "from the server");
    assert_closed(server, Initiator::Local, Some(1000), "from the client");
    assert!(client.take_out().is_empty() && server.take_out().is_empty());
}

#[test]
fn messages_that_come_after_our_close_are_received_until_the_peers() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        // One is under way already.
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        side.receive(&to(role, CONTINUATION, b"b"));
        side.receive(&to(role, PING, b"?"));
        for _ in 0..100 {
            side.receive(&to(role, BINARY, &[7; 60_000]));
            assert_eq!(side.events.pop(), Some(binary(&[7; 60_000])));
        }
        assert_eq!(side.events, [text("ab")]);
        assert_eq!(side.connection.end(), None);
        let last = [to(role, TEXT, b"c"), to(role, CLOSE, b"")].concat();
        assert_eq!(side.try_receive(&last), Ok(Progress::Ended));
        assert_eq!(side.events, [text("ab"), text("c")]);
        assert_closed(&side, Initiator::Local, None, "");
        assert_eq!(side.connection.end().unwrap().code(), CloseCode::NO_STATUS);
        // The answer to the ping, and no second Close.
        assert_eq!(side.take_sent(), [(PONG, b"?".to_vec())]);
    }
}

#[test]
fn after_a_close_has_come_a_later_one_of_ours_is_refused() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let _ = side.try_receive(&to(role, CLOSE, &close_payload(1001, b"")));
        let error = side.connection.start_close(1000, "", &mut side.out).unwrap_err();
        assert_eq!(error.refusal(), Refusal::Closed);
        assert_closed(&side, Initiator::Remote, Some(1001), "");
    }
}

#[test]
fn a_peer_that_goes_without_a_close_is_told_apart_by_where_it_stopped() {
    for role in ROLES {
        let (message, open) = (to(role, TEXT, b"Hello"), fragment_to(role, false, TEXT, b"Hel"));
        let close = to(role, CLOSE, &close_payload(1000, b""));
        let long = header(0x82, role == Role::Server, Form::SixtyFour, 1 << 17);
        let mut cases = vec![
            (vec![], Truncation::BetweenMessages),
            (message.clone(), Truncation::BetweenMessages),
            (to(role, PING, b""), Truncation::BetweenMessages),
            (open.clone(), Truncation::InMessage),
            ([&open[..], &to(role, PING, b"")].concat(), Truncation::InMessage),
            ([&open[..], &[0x80]].concat(), Truncation::InHeader),
            (message[..message.len() - 1].to_vec(), Truncation::InPayload),
            (close[..close.len() - 1].to_vec(), Truncation::InPayload),
            (open[..open.len() - 1].to_vec(), Truncation::InPayload),
            (long.clone(), Truncation::InPayload),
        ];
        cases.extend((1..long.len()).map(|at| (long[..at].to_vec(), Truncation::InHeader)));
        for (bytes, truncation) in cases {
            let outcome = run(role, &bytes, &Config::default());
            assert_eq!(outcome.over, Over::Open(truncation), "{bytes:02x?}");

            let mut side = Side::new(role, Config::default());
            side.receive(&bytes);
            let _ = side.take_out();
            side.eof();
            let end = side.connection.end().unwrap();
            assert_eq!((end, end.code()), (&End::PeerGone(truncation), CloseCode::ABNORMAL));
            assert!(!end.is_clean());
            // The peer is gone, so it gets no Close.
            assert!(side.take_out().is_empty());
            let error = side.connection.send("late", &mut side.out).unwrap_err();
            assert_eq!(error.refusal(), Refusal::Closed);
            assert!(side.connection.leave().is_done());

            // A reset has the same result.
            let mut side = Side::new(role, Config::default());
            side.receive(&bytes);
            side.connection.transport_failed(&side.input);
            assert_eq!(side.connection.end(), Some(&End::PeerGone(truncation)));
            let error = side.connection.send("late", &mut side.out).unwrap_err();
            assert_eq!(error.refusal(), Refusal::Closed);
            assert_eq!(side.advance(), Ok(Progress::Ended));
        }
    }
}

#[test]
fn what_came_whole_before_the_end_of_the_stream_is_delivered_and_no_part_of_more() {
    for role in ROLES {
        let whole = [to(role, TEXT, b"Hello"), to(role, BINARY, b"x")].concat();
        let more =
            [fragment_to(role, false, TEXT, b"never"), to(role, CONTINUATION, b" seen")].concat();
        for at in 0..more.len() {
            let mut side = Side::new(role, Config::default());
            side.fill(&[&whole[..], &more[..at]].concat());
            side.input.eof();
            assert_eq!(side.advance_all(), Ok(Progress::Ended));
            assert_eq!(side.events, [text("Hello"), binary(b"x")]);
        }
    }
}

#[test]
fn a_peer_that_goes_after_our_close_has_not_closed_cleanly() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        side.eof();
        let end = side.connection.end().unwrap();
        assert_eq!(end, &End::PeerGone(Truncation::BetweenMessages));
        assert_eq!(end.code(), 1006);
    }
}

#[test]
fn nothing_is_received_once_the_stream_has_ended() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.eof();
        assert_eq!(side.try_receive(&to(role, TEXT, b"Hello")), Ok(Progress::Ended));
        assert_eq!(side.input.event(), None);
        assert!(side.events.is_empty());
    }
}

#[test]
fn a_violation_is_answered_once_and_nothing_is_parsed_after_it() {
    for role in ROLES {
        for (bad, rule) in [
            (vec![0xF1], Rule::ReservedBits),
            (to(role, TEXT, b"\xff"), Rule::InvalidUtf8),
            (to(role, CLOSE, &close_payload(1006, b"")), Rule::CloseCode),
            (header(0x82, role == Role::Server, Form::SixtyFour, 1 << 30), Rule::MessageTooBig),
        ] {
            let mut side = Side::new(role, Config::default());
            let good = to(role, TEXT, b"Hello");
            let error = side.try_receive(&[&good[..], &bad, &good].concat()).unwrap_err();
            assert_eq!(error.rule(), rule);
            assert_eq!(side.events, [text("Hello")]);
            assert_eq!(side.connection.end(), Some(&End::Failed(error)));
            assert_eq!(side.connection.end().unwrap().code(), CloseCode::ABNORMAL);
            assert!(side.connection.close_sent());
            // The error stays, whatever else comes.
            side.fill(&good);
            side.fill(&to(role, PING, b"?"));
            side.fill(&to(role, CLOSE, b""));
            side.input.eof();
            for _ in 0..3 {
                assert_eq!(side.advance(), Err(error));
                assert_eq!(side.input.event(), None);
            }
            let late = side.connection.send("late", &mut side.out).unwrap_err();
            assert_eq!(late.refusal(), Refusal::Closed);
            let told = close_payload(error.close_code().get(), b"");
            assert_eq!(side.take_sent(), [(CLOSE, told)]);
            // A transport that breaks later does not change how it ended.
            side.connection.transport_failed(&side.input);
            assert_eq!(side.connection.end(), Some(&End::Failed(error)));
        }
    }
}

#[test]
fn a_violation_after_our_close_is_an_error_but_not_a_second_close() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let error = side.try_receive(&[0xF1]).unwrap_err();
        assert_eq!(side.connection.end(), Some(&End::Failed(error)));
        assert_eq!(side.take_sent(), [(CLOSE, close_payload(1000, b""))]);
    }
}

#[test]
fn a_peer_that_never_answers_our_close_is_given_up_after_the_close_timeout() {
    for role in ROLES {
        let config = Config::default().close_timeout(5 * SECOND).send_timeout(None);
        let mut side = Side::new(role, config);
        let start = 100 * SECOND;
        assert_eq!(side.connection.deadline(start, &side.input, &side.out), None);
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        let deadline = side.connection.deadline(start, &side.input, &side.out);
        assert_eq!(deadline, Some(start + 5 * SECOND));
        // Data, pings and parts of messages do not prolong it.
        for i in 1..5 {
            let now = start + i * SECOND;
            side.receive(&to(role, BINARY, &[0; 50_000]));
            side.receive(&to(role, PING, b""));
            side.connection.on_time(now, &side.input, &mut side.out);
            assert_eq!(side.connection.end(), None);
            let again = side.connection.deadline(now, &side.input, &side.out);
            assert_eq!(again, deadline);
        }
        side.events.clear();
        let just_before = start + 5 * SECOND - Duration::from_nanos(1);
        side.connection.on_time(just_before, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), None);
        side.connection.on_time(start + 5 * SECOND, &side.input, &mut side.out);
        let end = side.connection.end().unwrap();
        assert_eq!((end, end.code()), (&End::TimedOut(Timeout::Close), CloseCode::ABNORMAL));
        assert!(!end.is_clean());
        assert_eq!(side.advance(), Ok(Progress::Ended));
        let now = start + 60 * SECOND;
        assert_eq!(side.connection.deadline(now, &side.input, &side.out), None);
        // There is nothing to wait for, and there was one Close.
        assert!(side.connection.leave().is_done());
        assert!(side.take_sent().iter().all(|sent| sent.0 == PONG));
    }
}

#[test]
fn an_answer_within_the_close_timeout_is_a_clean_end() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        assert!(side.connection.deadline(SECOND, &side.input, &side.out).is_some());
        side.receive(&to(role, CLOSE, &close_payload(1000, b"")));
        side.connection.on_time(100 * SECOND, &side.input, &mut side.out);
        assert_closed(&side, Initiator::Local, Some(1000), "");
    }
}

#[test]
fn without_a_close_timeout_the_answer_may_take_for_ever() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().close_timeout(None));
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        assert_eq!(side.connection.deadline(SECOND, &side.input, &side.out), None);
        // A message that is under way has to come on, all the same.
        side.receive(&fragment_to(role, false, TEXT, b"a"));
        let deadline = side.connection.deadline(SECOND, &side.input, &side.out);
        assert_eq!(deadline, Some(21 * SECOND));
        side.connection.on_time(21 * SECOND, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Progress)));
        assert!(side.take_out().is_empty(), "Close was sent before");
    }
}

#[test]
fn after_a_clean_close_the_server_leaves_at_once_and_the_client_waits_for_it() {
    // §7.1.1: "the server MUST close the connection immediately".
    for role in ROLES {
        for ours_first in [true, false] {
            let mut side = Side::new(role, Config::default().close_timeout(5 * SECOND));
            if ours_first {
                side.connection.start_close(1000, "", &mut side.out).unwrap();
            }
            let _ = side.try_receive(&to(role, CLOSE, b""));
            let mut leave = side.connection.leave();
            match role {
                Role::Server => assert!(leave.shutdown_first() && leave.is_done()),
                Role::Client => {
                    assert!(!leave.shutdown_first() && !leave.is_done());
                    leave.discard(10);
                    assert!(!leave.is_done());
                    leave.discard(0);
                    assert!(leave.is_done(), "the server has closed");
                }
            }
            // In any case no longer than the timeout, from when it was asked first.
            assert_eq!(leave.deadline(7 * SECOND), Some(12 * SECOND));
            assert_eq!(leave.deadline(9 * SECOND), Some(12 * SECOND));
        }
    }
}

#[test]
fn after_a_violation_what_the_peer_still_sends_is_discarded_up_to_a_limit() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let _ = side.try_receive(&[0xF1]).unwrap_err();
        let leave = side.connection.leave();
        assert!(leave.shutdown_first() && !leave.is_done());

        let mut at_eof = leave.clone();
        at_eof.discard(0);
        assert!(at_eof.is_done());

        let mut flooded = leave.clone();
        let mut discarded = 0;
        while !flooded.is_done() {
            flooded.discard(1_000);
            discarded += 1_000;
            assert!(discarded < 2 << 20, "this never ends");
        }
        assert!(discarded >= 1 << 20);

        let mut timed = leave;
        assert_eq!(timed.deadline(SECOND), Some(6 * SECOND));
        let for_ever = Config::default().close_timeout(None);
        let mut side = Side::new(role, for_ever);
        let _ = side.try_receive(&[0xF1]).unwrap_err();
        assert_eq!(side.connection.leave().deadline(SECOND), None);
    }
}

#[test]
fn an_end_is_normal_only_if_the_peers_close_tells_of_no_error() {
    for role in ROLES {
        for ours in [None, Some(1000)] {
            let mut cases: Vec<_> = (0..=u16::MAX)
                .filter(|&code| CloseCode::from(code).is_sendable())
                .map(|code| (close_payload(code, b"why"), Some(code)))
                .collect();
            cases.push((vec![], None));
            for (body, code) in cases {
                let mut side = Side::new(role, Config::default());
                if let Some(code) = ours {
                    side.connection.start_close(code, "", &mut side.out).unwrap();
                }
                assert_eq!(side.try_receive(&to(role, CLOSE, &body)), Ok(Progress::Ended));
                let end = side.connection.end().unwrap();
                let normal = matches!(code, None | Some(1000 | 1001));
                assert_eq!((end.is_clean(), end.is_normal()), (true, normal), "{code:?}");
                assert_eq!(end.result(), if normal { Ok(()) } else { Err(end.clone()) });
                assert_eq!(end.code(), code.unwrap_or(1005));
                assert_eq!(end.reason(), if code.is_some() { "why" } else { "" });
            }
        }
    }
}

#[test]
fn an_end_without_the_peers_close_is_not_normal_and_has_no_reason() {
    let mut ends = vec![End::OverBudget, End::Unconfirmed];
    ends.extend([Timeout::Close, Timeout::Progress, Timeout::Send].map(End::TimedOut));
    ends.extend([Truncation::BetweenMessages, Truncation::InPayload].map(End::PeerGone));
    let mut side = Side::new(Role::Server, Config::default());
    ends.push(End::Failed(side.try_receive(&[0xF1]).unwrap_err()));
    for end in ends {
        assert_eq!((end.is_clean(), end.is_normal(), end.reason()), (false, false, ""));
        assert_eq!(end.result(), Err(end.clone()));
        assert_eq!(end.code(), CloseCode::ABNORMAL);
    }
}

#[test]
fn an_end_says_what_it_was() {
    let said = |side: &Side| side.connection.end().unwrap().to_string();
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let _ = side.try_receive(&to(role, CLOSE, &close_payload(4000, b"why")));
        assert_eq!(said(&side), "closed by the peer, code 4000, reason \"why\"");

        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.try_receive(&to(role, CLOSE, b""));
        assert_eq!(said(&side), "closed by us, code 1005");

        let mut side = Side::new(role, Config::default());
        let error = side.try_receive(&[0xF1]).unwrap_err();
        assert_eq!(said(&side), error.to_string());
        assert!(error.to_string().contains("section 5.2"), "{error}");
    }
}

#[test]
fn an_end_that_was_told_stays_whatever_is_filled_in_behind_it() {
    for count in [0, 1, 1_000] {
        let mut connection = Connection::server(Config::default());
        let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
        input.eof();
        let frame = to(Role::Server, TEXT, b"Hello").repeat(count);
        input.space()[..frame.len()].copy_from_slice(&frame);
        input.filled(frame.len());
        for _ in 0..count {
            assert_eq!(connection.advance(&mut input, &mut out), Ok(Progress::Event));
        }
        assert_eq!(connection.advance(&mut input, &mut out), Ok(Progress::Ended));
    }
}
