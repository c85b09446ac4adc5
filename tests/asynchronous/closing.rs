//! How connections end. Nothing here waits for a clock.

use std::io::ErrorKind;
use std::pin::pin;

use bowline::{Config, End, Error, Initiator, Refusal, Role, Truncation};
use super::adapter::*;
use crate::support::stream::{cancelled, finish, poll};
use crate::support::*;

#[test]
fn bytes_that_come_one_at_a_time_are_the_same_messages() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        let wire = [
            to(role, TEXT, "zw\u{00f6}lf".as_bytes()),
            fragment_to(role, false, BINARY, &pattern(200)),
            to(role, PING, b"p"),
            fragment_to(role, true, CONTINUATION, b"end"),
            close_to(role, 1000),
        ];
        let (last, rest) = wire.concat().split_last().map(|(l, r)| (*l, r.to_vec())).unwrap();
        let mut messages = Vec::new();
        for byte in rest {
            far.push(&[byte]);
            if let std::task::Poll::Ready(message) = poll(pin!(ws.recv())) {
                messages.push(message.unwrap().expect("no Close yet"));
            }
        }
        far.push(&[last]);
        far.eof();
        assert_eq!(finish(ws.recv()).unwrap(), None);
        let long = [pattern(200), b"end".to_vec()].concat();
        assert_eq!(messages, ["zw\u{00f6}lf".into(), long.into()]);
        let sent = far.frames(role);
        assert_eq!(sent.iter().map(|f| f.opcode).collect::<Vec<_>>(), [PONG, CLOSE]);
    }
}

#[test]
fn a_violation_is_told_and_the_write_side_shut_before_input_is_discarded() {
    for (first, payload, code) in [(0x3, &b"bad"[..], 1002), (TEXT, b"\xff", 1007)] {
        for role in ROLES {
            let (mut ws, far) = open(role, &Config::default());
            far.push(&to(role, first, payload));
            assert!(poll(pin!(ws.recv())).is_pending(), "the peer has not ended its side");
            assert_eq!(close_code(&far.frames(role)[0]), code);
            assert!(far.lock().shut);
            far.eof();
            for _ in 0..2 {
                assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::Failed(_)))));
            }
        }
    }
}

#[test]
fn input_of_a_peer_that_never_stops_is_discarded_up_to_a_limit() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        far.push(&to(role, 0xF, b"bad"));
        far.lock().endless = vec![0; 10_000];
        assert!(finish(ws.recv()).is_err());
        let read = far.lock().read_bytes;
        assert!((1 << 20..2 << 20).contains(&read), "{read} bytes of an endless peer were read");
    }
}

#[test]
fn limits_hold() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts().max_message_size(100));
        far.push(&[to(role, BINARY, &pattern(100)), header_to(role, 0x82, 101)].concat());
        far.eof();
        assert_eq!(finish(ws.recv()).unwrap(), Some(pattern(100).into()));
        match finish(ws.recv()) {
            Err(Error::Ended(End::Failed(error))) => assert_eq!(error.close_code().get(), 1009),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_after_start_close_still_come_and_close_counts_what_it_drops() {
    for role in ROLES {
        let data = [
            to(role, TEXT, b"1"),
            to(role, PING, b"p"),
            to(role, BINARY, b"2"),
            fragment_to(role, false, TEXT, b"3"),
            fragment_to(role, true, CONTINUATION, b""),
        ]
        .concat();
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.start_close(1001, "bye")).unwrap();
        far.push(&[&data[..], &close_to(role, 1001)].concat());
        far.eof();
        for expected in ["1", "2", "3"] {
            assert_eq!(finish(ws.recv()).unwrap().unwrap().as_bytes(), expected.as_bytes());
        }
        assert_eq!(finish(ws.recv()).unwrap(), None);
        let opcodes: Vec<_> = far.frames(role).iter().map(|frame| frame.opcode).collect();
        assert_eq!(opcodes, [CLOSE, PONG], "a ping that came before the peer's Close is answered (§5.5.2)");
        match finish(ws.send("late")) {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
            other => panic!("{other:?}"),
        }

        for report in [false, true] {
            let (mut ws, far) = open(role, &no_timeouts().report_control_frames(report));
            far.push(&[&data[..], &close_to(role, 4001)].concat());
            far.eof();
            let closed = finish(ws.close(1000, "")).unwrap();
            let code = closed.end.code().get();
            assert_eq!((closed.discarded, code), (3, 4001), "only messages count");
            let again = finish(ws.close(1000, "")).unwrap();
            assert_eq!((again.discarded, again.end), (0, closed.end), "it was closed");
        }
    }
}

#[test]
fn close_refuses_what_cannot_be_sent_and_leaves_the_connection_open() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    for (code, reason, refusal) in [
        (1005, "why".into(), Refusal::CloseCode),
        (1006, "".into(), Refusal::CloseCode),
        (1000, "x".repeat(124), Refusal::CloseReasonTooLong),
    ] {
        match finish(ws.close(code, &reason)) {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), refusal),
            other => panic!("{other:?}"),
        }
    }
    finish(ws.send("open")).unwrap();
    assert_eq!(far.frames(Role::Server).len(), 1);
}

#[test]
fn close_tells_how_it_ended_otherwise() {
    let role = Role::Server;
    let closed = |wire: &[u8]| {
        let (mut ws, far) = open(role, &no_timeouts());
        far.push(wire);
        far.eof();
        (finish(ws.close(1000, "")).unwrap(), far.frames(role).len())
    };
    let (violated, sent) = closed(&[to(role, TEXT, b"x"), to(role, 0x4, b"")].concat());
    assert!(matches!(violated.end, End::Failed(_)));
    assert_eq!((violated.discarded, sent), (1, 1), "our Close was sent already");
    let (left, _) = closed(&to(role, TEXT, b"x"));
    assert_eq!((left.end, left.discarded), (End::PeerGone(Truncation::BetweenMessages), 1));

    let (mut ws, far) = open(role, &no_timeouts());
    far.lock().read_error = Some(ErrorKind::Other);
    assert!(matches!(finish(ws.close(1000, "")), Err(Error::Io(_))));
}

#[test]
fn a_client_waits_for_the_servers_end_and_then_shuts_its_side() {
    // RFC 6455 §7.1.1: the server closes the connection first.
    let role = Role::Client;
    let (mut ws, far) = open(role, &no_timeouts());
    far.push(&close_to(role, 1000));
    assert!(poll(pin!(ws.recv())).is_pending());
    assert_eq!(far.frames(role).len(), 1, "Close is answered before");
    assert!(!far.lock().shut, "the server is first");
    far.push(b"what comes behind Close is nothing");
    assert!(poll(pin!(ws.recv())).is_pending());
    far.eof();
    assert_eq!(finish(ws.recv()).unwrap(), None);
    assert!(far.lock().shut);
}

#[test]
fn a_server_closes_at_once() {
    for ours_first in [false, true] {
        let (mut ws, far) = open(Role::Server, &no_timeouts());
        if ours_first {
            finish(ws.start_close(1001, "")).unwrap();
        }
        far.push(&close_to(Role::Server, 1001));
        let reads = far.lock().reads;
        assert_eq!(finish(ws.recv()).unwrap(), None);
        assert!(far.lock().shut, "the peer sees the end now");
        assert_eq!(far.lock().reads, reads + 1, "nothing is waited for");
        let initiator = if ours_first { Initiator::Local } else { Initiator::Remote };
        assert!(matches!(ws.end(), Some(End::Closed { initiator: who, .. }) if *who == initiator));
        assert_eq!(far.frames(Role::Server).len(), 1, "one Close each way");
    }
}

#[test]
fn an_end_without_close_says_where_the_bytes_stopped() {
    // Battery T05 to T07.
    let role = Role::Server;
    let whole = to(role, TEXT, b"abc");
    let begun = fragment_to(role, false, TEXT, b"ab");
    let cases = [
        (vec![], Truncation::BetweenMessages, 0),
        (whole.clone(), Truncation::BetweenMessages, 1),
        (vec![0x82, 0xff, 0, 0], Truncation::InHeader, 0),
        ([&whole[..], &whole[..1]].concat(), Truncation::InHeader, 1),
        ([&whole[..], &whole[..7]].concat(), Truncation::InPayload, 1),
        (begun.clone(), Truncation::InMessage, 0),
        ([&begun[..], &to(role, PING, b"p")[..]].concat(), Truncation::InMessage, 0),
        (to(role, PING, b"ping")[..8].to_vec(), Truncation::InPayload, 0),
    ];
    for (wire, truncation, messages) in cases {
        for split in [false, true] {
            let (mut ws, far) = open(role, &Config::default());
            far.push(&wire);
            far.eof();
            for _ in 0..messages {
                assert_eq!(
                    finish(ws.recv()).unwrap(),
                    Some("abc".into()),
                    "what was whole is delivered"
                );
            }
            let expected = End::PeerGone(truncation);
            if split {
                let (_sender, mut receiver) = ws.split();
                assert!(matches!(finish(receiver.recv()), Err(Error::Ended(end)) if end == expected));
                assert!(matches!(finish(receiver.recv()), Err(Error::Ended(end)) if end == expected));
            } else {
                for _ in 0..3 {
                    assert!(matches!(finish(ws.recv()), Err(Error::Ended(end)) if end == expected));
                }
                assert!(matches!(finish(ws.recv_part()), Err(Error::Ended(end)) if end == expected));
                assert_eq!((ws.end(), expected.code().get()), (Some(&expected), 1006));
                match finish(ws.send("late")) {
                    Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn errors_of_the_stream_end_the_connection() {
    let refused = |ws: &mut WebSocket<Io>| match finish(ws.send("late")) {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
        other => panic!("{other:?}"),
    };
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        far.lock().read_error = Some(ErrorKind::ConnectionReset);
        for _ in 0..2 {
            let end = End::PeerGone(Truncation::BetweenMessages);
            assert!(matches!(finish(ws.recv()), Err(Error::Ended(gone)) if gone == end));
        }
        refused(&mut ws);

        let (mut ws, far) = open(role, &no_timeouts());
        far.lock().read_error = Some(ErrorKind::Other);
        let told = finish(ws.recv());
        assert!(matches!(told, Err(Error::Io(e)) if e.kind() == ErrorKind::Other), "it is told once");
        refused(&mut ws);
        assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))));

        // What the peer said last is received though nothing can be sent.
        for send in [true, false] {
            let (mut ws, far) = open(role, &no_timeouts());
            far.lock().write_error = Some(ErrorKind::BrokenPipe);
            far.push(&to(role, TEXT, b"last words"));
            if send {
                assert!(matches!(finish(ws.send("x")), Err(Error::Io(_))));
            } else {
                finish(ws.feed("x")).unwrap();
            }
            assert_eq!(finish(ws.recv()).unwrap(), Some("last words".into()));
            refused(&mut ws);
            far.push(&close_to(role, 4001));
            far.eof();
            assert_eq!(finish(ws.recv()).unwrap(), None);
            assert_eq!(ws.end().unwrap().code().get(), 4001);
        }
    }
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_loop() {
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    far.lock().takes_nothing = true;
    match finish(ws.send("x")) {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WriteZero),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_thrown_away_is_never_said_to_have_been_sent() {
    // A peer that ends while messages wait for it: in the queue, or in a stream that buffers, as TLS does.
    for stuck in ["write", "flush"] {
        let (mut ws, far) = open(Role::Server, &no_timeouts());
        match stuck {
            "write" => far.room(2),
            _ => far.lock().flush_pending = true,
        }
        finish(ws.feed("x")).unwrap();
        assert!(poll(pin!(ws.flush())).is_pending());
        far.eof();
        assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))), "{stuck}");
        far.change(|s| (s.room, s.flush_pending) = (usize::MAX, false));
        let flushed = finish(ws.flush());
        assert!(matches!(flushed, Err(Error::Io(_))), "{stuck}: {flushed:?}");
    }
    // With nothing lost there is nothing to tell.
    let (mut ws, far) = open(Role::Server, &no_timeouts());
    finish(ws.send("x")).unwrap();
    far.eof();
    assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))));
    finish(ws.flush()).unwrap();
}

#[test]
fn an_end_does_not_wait_for_a_peer_that_is_gone_to_take_what_is_queued() {
    // Fed before, or when the end was seen and the stream is not shut yet.
    for (fed, late) in [(10, false), (10, true), (100_000, true)] {
        let (mut ws, far) = open(Role::Server, &no_timeouts());
        far.room(0);
        far.eof();
        far.lock().shut_pending = true;
        if late {
            assert!(poll(pin!(ws.recv())).is_pending());
        }
        finish(ws.feed(vec![0; fed])).unwrap();
        far.lock().shut_pending = false;
        let end = cancelled(ws.recv(), 2).expect("it waits for nobody");
        assert!(matches!(end, Err(Error::Ended(End::PeerGone(_)))), "{fed} bytes");
        assert!(matches!(finish(ws.flush()), Err(Error::Io(_))), "it was not sent");
    }
}

#[test]
fn a_stream_that_failed_is_not_waited_for_any_more() {
    let config = no_timeouts().send_timeout(std::time::Duration::ZERO);
    let (mut ws, far) = open(Role::Server, &config);
    far.change(|s| (s.write_error, s.flush_pending) = (Some(ErrorKind::BrokenPipe), true));
    finish(ws.feed("x")).unwrap();
    assert!(cancelled(ws.recv(), 10).is_none());
    far.push(&to(Role::Server, TEXT, b"last words"));
    assert_eq!(finish(ws.recv()).unwrap(), Some("last words".into()));
}
