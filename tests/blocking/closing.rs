//! How connections end through the blocking adapter (docs/design.md decisions 6, 7, 15 and 16; attack battery T01 to T08,
//! R02, R04, R13). Timeouts are short ones of `Config`; no test waits for anything else.

#![cfg(feature = "std")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::blocking::{Io, open};
use crate::support::*;
use bowline::blocking::{BlockingStream, Incoming, WebSocket, accept};
use bowline::handshake::RequestError;
use bowline::{Config, End, Error, Initiator, RecvBuf, Refusal, Role, Rule, Timeout, Truncation};

const SHORT: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(5);

fn over(stream: TcpStream, role: Role, config: &Config) -> WebSocket<TcpStream> {
    WebSocket::from_connection(stream, connection(role, config), RecvBuf::new()).unwrap()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// Receives in a thread, so that a hang fails; gives the connection back.
fn recv_in_time(mut ws: WebSocket<Io>) -> (Result<Option<bowline::Message>, Error>, WebSocket<Io>) {
    in_time("recv", move || (ws.recv(), ws))
}

#[test]
fn a_violations_close_arrives_at_a_peer_that_keeps_sending() {
    // A close with unread input would send a reset, which destroys what was sent last (docs/design.md decision 6).
    for role in ROLES {
        for split in [false, true] {
            let (ours, mut peer) = tcp();
            let ws = over(ours, role, &Config::default());
            let mut write = peer.try_clone().unwrap();
            let writing = spawn(move || {
                write.write_all(&to(role, 0x3, b"bad")).unwrap();
                let filler = to(role, BINARY, &vec![0; 60_000]);
                for _ in 0..16 {
                    if write.write_all(&filler).is_err() {
                        break;
                    }
                }
                write
            });
            let reading = spawn(move || {
                let mut wire = Vec::new();
                peer.read_to_end(&mut wire).expect("a reset or silence instead of an end");
                wire
            });
            let serving = spawn(move || {
                let error = if split {
                    let (_sender, mut receiver) = ws.split().unwrap();
                    receiver.recv().unwrap_err()
                } else {
                    let mut ws = ws;
                    ws.recv().unwrap_err()
                };
                assert!(
                    matches!(error, Error::Ended(End::Failed(e)) if e.rule() == Rule::ReservedOpcode)
                );
            });
            let wire = reading.wait("the write side was not shut");
            assert_eq!(close_code(&decode(role, &wire)[0]), 1002);
            drop(writing.wait("writing"));
            serving.wait("serving");
        }
    }
}

#[test]
fn after_a_violation_input_is_discarded_until_the_end_or_the_close_timeout() {
    for role in ROLES {
        let (ws, far) = open(role, &Config::default().close_timeout(LONG * 2));
        far.push(&[to(role, 0xF, b"bad"), vec![0; 700_000]].concat());
        let receiving = spawn(move || recv_in_time(ws).0);
        far.wait_for("the write side is shut while it still reads", |s| {
            s.shut && s.blocked_readers > 0
        });
        far.push(&[0; 1000]);
        far.eof();
        assert!(receiving.wait("until the end").is_err());
        assert_eq!(close_code(&far.frames(role)[0]), 1002);

        // A peer that does nothing.
        let (ws, far) = open(role, &Config::default().close_timeout(SHORT));
        far.push(&to(role, 0xF, b"bad"));
        let start = Instant::now();
        assert!(recv_in_time(ws).0.is_err());
        assert!((SHORT..SOON).contains(&start.elapsed()));

        // A peer that does not even read.
        let (ws, far) = open(role, &Config::default().close_timeout(SHORT));
        far.room(0);
        far.push(&to(role, 0xF, b"bad"));
        let start = Instant::now();
        assert!(recv_in_time(ws).0.is_err());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[test]
fn a_peer_that_never_stops_after_its_violation_is_left_after_one_mib() {
    let role = Role::Server;
    let (ws, far) = open(role, &Config::default().close_timeout(None));
    far.push(&[to(role, 0xF, b"bad"), vec![0; 3 << 20]].concat());
    assert!(recv_in_time(ws).0.is_err(), "with no other end in sight");
    let reads = far.lock().reads;
    assert!(reads <= 300, "{reads} reads of 4 KiB");
}

#[test]
fn a_peer_that_never_answers_close_is_given_up_at_the_close_timeout() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default().close_timeout(SHORT));
        let start = Instant::now();
        let (closed, mut ws) = in_time("close", move || (ws.close(1000, "bye").unwrap(), ws));
        assert!((SHORT..SOON).contains(&start.elapsed()));
        assert_eq!(closed.end, End::TimedOut(Timeout::Close));
        assert_eq!((closed.end.code().get(), closed.discarded), (1006, 0));
        assert_eq!(close_code(&far.frames(role)[0]), 1000);
        for _ in 0..2 {
            assert!(matches!(ws.recv(), Err(Error::Ended(End::TimedOut(Timeout::Close)))));
        }
    }
}

#[test]
fn bytes_that_drip_do_not_prolong_the_close_timeout() {
    let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(SHORT * 2));
    far.push(&to(Role::Server, TEXT, b"x").repeat(10_000));
    far.drip(Duration::from_millis(2));
    let start = Instant::now();
    let closed = in_time("close", move || ws.close(1000, "").unwrap());
    assert!((SHORT * 2..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(closed.end, End::TimedOut(Timeout::Close));
}

#[test]
fn messages_that_never_stop_do_not_prolong_the_close_timeout() {
    // Battery T03: each read has a whole message, so that recv never has to wait.
    for receive in [false, true] {
        let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(SHORT));
        let wire = to(Role::Server, TEXT, b"x");
        far.chunk(wire.len());
        far.push(&wire.repeat(1_000_000));
        let end = in_time("close", move || {
            if receive {
                ws.start_close(1000, "").unwrap();
                while ws.recv().is_ok_and(|message| message.is_some()) {}
                return ws.end().cloned().unwrap();
            }
            let closed = ws.close(1000, "").unwrap();
            assert!((1..1_000_000).contains(&closed.discarded), "{closed:?}");
            closed.end
        });
        assert_eq!(end, End::TimedOut(Timeout::Close));
    }
}

#[test]
fn close_gives_a_peer_that_reads_nothing_the_send_timeout_and_without_one_the_close_timeout() {
    // The time for the peer's Close runs from when ours has left. Until then the fed messages have a time of their own.
    for (send, close, end) in [(Some(SHORT), LONG, Timeout::Send), (None, SHORT, Timeout::Close)] {
        let config = Config::default().close_timeout(close).send_timeout(send);
        let (mut ws, far) = open(Role::Server, &config);
        ws.feed("before").unwrap();
        far.room(0);
        let closed = spawn(move || ws.close(1000, "").unwrap()).wait_at_most(SOON, "close");
        assert_eq!(closed.end, End::TimedOut(end));
    }
}

#[test]
fn close_does_not_cut_what_was_fed_before_it() {
    // The peer needs longer than the close timeout to take it, and answers only then.
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default().close_timeout(SHORT));
    ws.feed(vec![7; 40_000]).unwrap();
    far.room(0);
    let closing = spawn(move || ws.close(1000, "").unwrap());
    far.wait_until_writing();
    far.let_pass(2 * SHORT);
    far.room(usize::MAX);
    far.wait_until_reading();
    far.push(&close_to(role, 1000));
    assert!(closing.wait("close").end.is_clean());
    let sent = far.frames(role);
    assert_eq!((sent[0].payload.len(), close_code(&sent[1])), (40_000, 1000));
}

#[test]
fn a_client_waits_for_the_servers_end_but_not_longer_than_the_close_timeout() {
    // RFC 6455 §7.1.1: the server closes the connection first. Battery T02.
    let (ws, far) = open(Role::Client, &Config::default().close_timeout(SHORT));
    far.push(&close_to(Role::Client, 1000));
    let start = Instant::now();
    assert_eq!(recv_in_time(ws).0.unwrap(), None);
    assert!((SHORT..SOON).contains(&start.elapsed()));

    let (ws, far) = open(Role::Client, &Config::default().close_timeout(LONG));
    far.push(&close_to(Role::Client, 1000));
    let receiving = spawn(move || recv_in_time(ws).0.unwrap());
    far.wait_for("Close is answered and the end waited for", |s| {
        !s.writes.is_empty() && s.blocked_readers > 0
    });
    assert!(!far.lock().shut, "the server is first");
    far.eof();
    assert_eq!(receiving.wait_at_most(SOON, "recv"), None);
    assert!(far.lock().shut);
}

#[test]
fn a_server_closes_at_once() {
    for ours_first in [false, true] {
        let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(LONG));
        if ours_first {
            ws.start_close(1001, "").unwrap();
        }
        far.push(&close_to(Role::Server, 1001));
        let start = Instant::now();
        let (result, ws) = recv_in_time(ws);
        assert_eq!(result.unwrap(), None);
        assert!(start.elapsed() < SOON);
        assert!(far.lock().shut, "the peer sees the end now");
        let initiator = if ours_first { Initiator::Local } else { Initiator::Remote };
        assert!(matches!(ws.end(), Some(End::Closed { initiator: who, .. }) if *who == initiator));
        assert_eq!(far.frames(Role::Server).len(), 1, "one Close each way");
    }
}

#[test]
fn both_ends_may_close_at_once() {
    // Battery T04: each takes the other's Close for the answer.
    let (ours, peer) = tcp();
    let mut server = over(ours, Role::Server, &Config::default());
    let mut client = over(peer, Role::Client, &Config::default());
    server.start_close(1000, "").unwrap();
    client.start_close(1001, "").unwrap();
    let server = spawn(move || server.close(1000, "").unwrap());
    let client = spawn(move || client.close(1000, "").unwrap());
    for (closing, code) in [(client, 1000), (server, 1001)] {
        let closed = closing.wait("close");
        assert!(matches!(closed.end, End::Closed { initiator: Initiator::Local, .. }));
        assert_eq!(closed.end.code().get(), code);
    }
}

#[test]
fn a_closing_handshake_between_the_two_sides_is_clean_for_both_whoever_begins() {
    for server_first in [false, true] {
        let (ours, peer) = tcp();
        let server = over(ours, Role::Server, &Config::default());
        let client = over(peer, Role::Client, &Config::default());
        let (mut first, mut second) =
            if server_first { (server, client) } else { (client, server) };
        let closing = spawn(move || first.close(1000, "done").unwrap());
        let received = spawn(move || (second.recv().unwrap(), second.end().cloned().unwrap()));
        let (message, end) = received.wait("recv");
        assert_eq!(message, None);
        assert!(
            matches!(&end, End::Closed { initiator: Initiator::Remote, reason, .. } if reason == "done")
        );
        assert!(matches!(
            closing.wait("close").end,
            End::Closed { initiator: Initiator::Local, .. }
        ));
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
        (to(role, PING, b"ping")[..8].to_vec(), Truncation::InPayload, 0),
    ];
    for (wire, truncation, messages) in cases {
        let expected = End::PeerGone(truncation);
        for split in [false, true] {
            let (mut ws, far) = open(role, &Config::default());
            far.push(&wire);
            far.eof();
            for _ in 0..messages {
                assert_eq!(ws.recv().unwrap(), Some("abc".into()), "what was whole is delivered");
            }
            if split {
                let (_sender, mut receiver) = ws.split().unwrap();
                for _ in 0..2 {
                    assert!(matches!(receiver.recv(), Err(Error::Ended(end)) if end == expected));
                }
            } else {
                for _ in 0..3 {
                    assert!(matches!(ws.recv(), Err(Error::Ended(end)) if end == expected));
                }
                assert!(matches!(ws.recv_part(), Err(Error::Ended(end)) if end == expected));
                assert_eq!((ws.end(), expected.code().get()), (Some(&expected), 1006));
                match ws.send("late") {
                    Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_reset_is_a_peer_that_is_gone() {
    // A socket that is dropped with unread input is reset. Battery T08.
    let (ours, peer) = tcp();
    let mut ws = over(ours, Role::Server, &Config::default());
    ws.send("never read").unwrap();
    assert_eq!(peer.peek(&mut [0]).unwrap(), 1, "it is there, unread");
    drop(peer);
    in_time("recv", move || {
        for _ in 0..2 {
            let result = ws.recv();
            assert!(matches!(result, Err(Error::Ended(End::PeerGone(_)))), "{result:?}");
        }
    });
}

#[test]
fn what_the_peer_said_last_is_read_although_nothing_can_be_sent_to_it() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.fail_next_write(ErrorKind::BrokenPipe);
    ws.feed("x").unwrap();
    far.push(&to(role, TEXT, b"last"));
    assert_eq!(ws.recv().unwrap(), Some("last".into()));
    let receiving = spawn(move || (ws.recv().unwrap(), ws.end().cloned()));
    far.wait_until_reading();
    far.push(&close_to(role, 1001));
    let (message, end) = receiving.wait("recv");
    assert_eq!((message, end.unwrap().code().get()), (None, 1001));
}

#[test]
fn messages_after_start_close_still_come_and_close_counts_what_it_drops() {
    // docs/design.md decision 16.
    for role in ROLES {
        let data = [
            to(role, TEXT, b"1"),
            to(role, PING, b"p"),
            to(role, BINARY, b"2"),
            fragment_to(role, false, TEXT, b"3"),
            fragment_to(role, true, CONTINUATION, b""),
        ]
        .concat();
        let (mut ws, far) = open(role, &Config::default());
        ws.start_close(1000, "").unwrap();
        far.push(&[data.clone(), close_to(role, 1000)].concat());
        far.eof();
        for expected in ["1", "2", "3"] {
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), expected.as_bytes());
        }
        assert_eq!(ws.recv().unwrap(), None);
        // RFC 6455 §5.5.2: a ping is answered "unless it already received a Close frame".
        let sent: Vec<_> = far.frames(role).iter().map(|frame| frame.opcode).collect();
        assert_eq!(sent, [CLOSE, PONG], "§5.5.1: no data frame follows Close");

        for report in [false, true] {
            let (mut ws, far) = open(role, &Config::default().report_control_frames(report));
            far.push(&[data.clone(), close_to(role, 4001)].concat());
            far.eof();
            let closed = ws.close(1000, "").unwrap();
            assert_eq!(
                (closed.discarded, closed.end.code().get()),
                (3, 4001),
                "only messages count"
            );
            let again = ws.close(1000, "").unwrap();
            assert_eq!((again.discarded, again.end), (0, closed.end));
        }
    }
}

#[test]
fn close_refuses_what_cannot_be_sent_and_leaves_the_connection_open() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    match ws.close(1006, "") {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::CloseCode),
        other => panic!("{other:?}"),
    }
    ws.send("open").unwrap();
    assert_eq!(far.frames(Role::Server).len(), 1);
}

// Timeouts.

#[test]
fn a_read_timeout_of_the_users_own_is_no_end_and_loses_nothing() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        far.user_read_timeout(Some(Duration::from_millis(1)));
        let wire = [
            to(role, TEXT, b"one"),
            fragment_to(role, false, TEXT, b"tw"),
            fragment_to(role, true, 0, b"o"),
        ];
        let mut got = Vec::new();
        for byte in wire.concat() {
            match ws.recv() {
                Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                other => panic!("{other:?}"),
            }
            assert!(ws.end().is_none());
            assert_eq!(
                far.lock().read_timeout,
                Some(Duration::from_millis(1)),
                "it is the user's still"
            );
            far.push(&[byte]);
            if let Ok(Some(message)) = ws.recv() {
                got.push(message);
            }
        }
        assert_eq!(got, ["one".into(), "two".into()]);
        ws.send("open").unwrap();
    }
}

#[test]
fn a_read_timeout_of_the_users_own_begins_anew_with_every_byte() {
    // As it does on the socket itself.
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.user_read_timeout(Some(SHORT));
    far.drip(Duration::from_millis(5));
    far.push(&to(role, BINARY, &[1; 40]));
    assert_eq!(in_time("recv", move || ws.recv().unwrap()), Some(vec![1; 40].into()));
}

#[test]
fn a_read_timeout_of_the_users_own_that_is_longer_does_not_hide_the_progress_timeout() {
    let role = Role::Server;
    let (ws, far) = open(role, &Config::default().progress_timeout(SHORT).close_timeout(SHORT));
    far.user_read_timeout(Some(LONG));
    far.push(&header_to(role, 0x82, 1000));
    let start = Instant::now();
    let (result, _ws) = recv_in_time(ws);
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Progress)))), "{result:?}");
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_read_timeout_of_the_users_own_is_kept_by_a_half_that_looks_up_more_often() {
    // Many times in between, it checks whether the other half closes, and tries again to send its pongs.
    let role = Role::Server;
    let (ws, far) = open(role, &Config::default().close_timeout(Duration::from_millis(5)));
    let (_sender, mut receiver) = ws.split().unwrap();
    far.room(0);
    far.push(&to(role, PING, b"p"));
    far.user_read_timeout(Some(SHORT * 2));
    let start = Instant::now();
    let (result, mut receiver) = in_time("recv", move || (receiver.recv(), receiver));
    assert!(matches!(result, Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock));
    assert!((SHORT * 2..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(far.lock().read_timeout, Some(SHORT * 2));
    assert!(receiver.end().is_none());
    far.room(usize::MAX);
    far.push(&to(role, TEXT, b"a"));
    assert_eq!(in_time("recv", move || receiver.recv().unwrap()), Some("a".into()));
    assert_eq!(shorthand(&far.frames(role)), [(PONG, "p".into())]);
}

/// A peer that sends a byte now and then: pings, which are answered, or a message that never ends.
fn dripping(
    role: Role,
    config: &Config,
    pings: bool,
) -> (WebSocket<Io>, crate::support::blocking::Far) {
    let (ws, far) = open(role, config);
    if pings {
        far.push(&to(role, PING, b"").repeat(10_000));
    } else {
        far.push(&header_to(role, 0x82, 1 << 19));
        far.push(&[0; 1 << 18]);
    }
    far.drip(Duration::from_millis(2));
    (ws, far)
}

#[test]
fn recv_timeout_holds_whatever_the_peer_sends_and_loses_nothing() {
    for role in ROLES {
        for pings in [true, false] {
            let (mut ws, _far) = dripping(role, &Config::default(), pings);
            // It holds in place of the socket's own.
            ws.get_ref().set_read_timeout(Some(LONG)).unwrap();
            let ws = in_time("recv_timeout", move || {
                let start = Instant::now();
                assert!(matches!(ws.recv_timeout(SHORT), Err(Error::TimedOut)));
                assert!(start.elapsed() >= SHORT);
                let deadline = Instant::now() + SHORT;
                assert!(matches!(ws.recv_deadline(deadline), Err(Error::TimedOut)));
                assert!(matches!(ws.recv_borrowed_deadline(deadline), Err(Error::TimedOut)));
                assert!(matches!(
                    ws.recv_part_deadline(deadline),
                    Err(Error::TimedOut) | Ok(Some(_))
                ));
                assert!(Instant::now() >= deadline);
                ws
            });
            assert!(ws.end().is_none());
            assert_eq!(ws.get_ref().read_timeout().unwrap(), Some(LONG), "it stays the user's");
        }

        // Nothing is lost, at whichever point it stops.
        let (mut ws, far) = open(role, &Config::default());
        let wire = [fragment_to(role, false, TEXT, b"tw"), fragment_to(role, true, 0, b"o")];
        let mut wire = wire.concat().into_iter();
        in_time("recv_timeout", move || {
            let message = loop {
                match ws.recv_timeout(Duration::ZERO) {
                    Err(Error::TimedOut) => far.push(&[wire.next().unwrap()]),
                    other => break other.unwrap(),
                }
            };
            assert_eq!(message, Some("two".into()));
            far.push(&to(role, TEXT, b"three"));
            assert_eq!(ws.recv_timeout(Duration::MAX).unwrap(), Some("three".into()));
            // Late bytes end nothing.
            far.push(&close_to(role, 1000));
            far.eof();
            assert_eq!(ws.recv_deadline(Instant::now()).unwrap(), None);
        });
    }
}

#[test]
fn recv_timeout_holds_while_the_peer_takes_nothing_and_while_its_end_is_awaited() {
    // Fed messages are written first, and after a clean close a client waits for the server's end.
    let (mut ws, far) = open(Role::Client, &Config::default());
    far.user_read_timeout(Some(LONG));
    far.room(3);
    ws.feed("fed").unwrap();
    in_time("recv_timeout", move || {
        assert!(matches!(ws.recv_timeout(SHORT), Err(Error::TimedOut)));
        far.room(usize::MAX);
        far.push(&close_to(Role::Client, 1000));
        assert!(matches!(ws.recv_timeout(SHORT), Err(Error::TimedOut)));
        assert!(ws.end().is_some_and(End::is_clean));
        far.eof();
        assert_eq!(ws.recv_timeout(SHORT).unwrap(), None);
        let sent = far.frames(Role::Client);
        assert_eq!((sent[0].payload.as_slice(), sent[1].opcode), (&b"fed"[..], CLOSE));
        assert_eq!(far.lock().read_timeout, Some(LONG), "it is the user's still");
    });
}

#[test]
fn a_read_timeout_of_the_users_own_ends_recv_although_the_peer_pings() {
    for split in [false, true] {
        let (mut ws, far) = dripping(Role::Client, &Config::default(), true);
        far.user_read_timeout(Some(SHORT));
        let result = in_time("recv", move || {
            if split { ws.split().unwrap().1.recv().map(drop) } else { ws.recv().map(drop) }
        });
        match result {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            other => panic!("{other:?}"),
        }
        assert_eq!(far.lock().read_timeout, Some(SHORT));
    }
}

#[test]
fn close_is_not_cut_short_by_a_read_timeout_of_the_users_own() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.user_read_timeout(Some(Duration::from_millis(1)));
    let closing = spawn(move || ws.close(1000, "").unwrap());
    far.wait_for("Close", |s| !s.writes.is_empty());
    far.let_pass(SHORT);
    far.push(&close_to(role, 1000));
    assert!(closing.wait("close").end.is_clean());
    assert_eq!(far.lock().read_timeout, Some(Duration::from_millis(1)), "it is the user's still");
}

#[test]
fn the_longest_durations_never_run_out_and_the_shortest_end_at_once() {
    // A socket refuses a timeout of zero, and some refuse very long ones: the stream of the tests refuses both.
    type Set = fn(Config, Duration) -> Config;
    let setters: [Set; 7] = [
        |config, time| config.handshake_timeout(time),
        |config, time| config.send_timeout(time),
        |config, time| config.close_timeout(time),
        |config, time| config.progress_timeout(time),
        |config, time| config.ping_interval(time).pong_timeout(LONG),
        |config, time| config.ping_interval(LONG).pong_timeout(time),
        |config, time| config.idle_timeout(time),
    ];
    let durations = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(u64::from(u32::MAX)),
        Duration::from_nanos(u64::MAX),
        Duration::MAX - Duration::from_nanos(1),
        Duration::MAX,
    ];
    for (which, set) in setters.into_iter().enumerate() {
        for time in durations {
            let config = set(Config::default().close_timeout(SHORT), time);
            let is_short = time < SHORT;
            in_time("a connection", move || {
                // With the handshake; zero is over before the request could come.
                let (stream, far) = crate::support::blocking::io();
                far.push(
                    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                );
                let Ok(mut ws) = accept(stream, config.clone()) else {
                    assert!(is_short && which == 0);
                    return;
                };
                // A message that has begun, bytes to be sent, and later the ends.
                far.push(&fragment_to(Role::Server, false, TEXT, b"be"));
                ws.feed("fed").unwrap();
                let first = ws.recv_timeout(SHORT);
                assert!(
                    matches!(first, Err(Error::TimedOut)) || is_short,
                    "{which} {time:?}: {first:?}"
                );
                far.push(&fragment_to(Role::Server, true, 0, b"gun"));
                let second = ws.recv_timeout(LONG);
                assert!(
                    is_short || second.is_ok_and(|message| message == Some("begun".into())),
                    "{which} {time:?}"
                );
                let (ws2, far2) = open(Role::Client, &config);
                let (mut sender, mut receiver) = ws2.split().unwrap();
                drop((sender.feed("fed"), receiver.recv_timeout(Duration::from_millis(1))));
                far2.push(&close_to(Role::Client, 1000));
                far2.eof();
                while receiver.recv().is_ok_and(|message| message.is_some()) {}
                assert!(receiver.end().is_some());
                drop(sender.close(1000, ""));
                far.push(&close_to(Role::Server, 1000));
                far.eof();
                let closed = ws.close(1000, "").unwrap();
                assert!(is_short || closed.end.is_clean(), "{which} {time:?}: {closed:?}");
            });
        }
    }
}

#[test]
fn a_frame_that_comes_too_slowly_is_given_up_and_the_peer_is_told() {
    // Battery R04: bytes that arrive do not prolong it.
    let role = Role::Server;
    for split in [false, true] {
        let (ws, far) =
            open(role, &Config::default().progress_timeout(SHORT * 2).close_timeout(SHORT));
        far.push(&header_to(role, 0x82, 1 << 20));
        far.push(&[0; 5000]);
        far.drip(Duration::from_millis(2));
        let start = Instant::now();
        let result = in_time("recv", move || {
            if split {
                let (_sender, mut receiver) = ws.split().unwrap();
                receiver.recv()
            } else {
                let mut ws = ws;
                let first = ws.recv();
                assert!(matches!(ws.recv(), Err(Error::Ended(End::TimedOut(Timeout::Progress)))));
                first
            }
        });
        assert!(
            matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Progress)))),
            "{result:?}"
        );
        assert!((SHORT * 2..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert_eq!(close_code(&far.frames(role)[0]), 1008);
        assert!(far.lock().shut);
    }
}

#[test]
fn a_peer_that_never_reads_ends_the_connection_at_the_send_timeout() {
    // Battery R13.
    for what in ["send", "flush", "recv"] {
        let (mut ws, far) = open(Role::Server, &Config::default().send_timeout(SHORT));
        far.room(10);
        let start = Instant::now();
        let (error, mut ws) = in_time(what, move || {
            if what == "send" {
                return (ws.send(vec![0; 1000]).unwrap_err(), ws);
            }
            ws.feed(vec![0; 1000]).unwrap();
            let error =
                if what == "flush" { ws.flush().unwrap_err() } else { ws.recv().unwrap_err() };
            (error, ws)
        });
        assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))), "{what}: {error:?}");
        assert!((SHORT..SOON).contains(&start.elapsed()));
        for _ in 0..2 {
            let again = ws.recv();
            assert!(
                matches!(again, Err(Error::Ended(End::TimedOut(Timeout::Send)))),
                "{what}: {again:?}"
            );
        }
        match ws.send("more") {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn each_half_gives_up_a_peer_that_never_reads() {
    let role = Role::Server;
    let config = Config::default().send_timeout(SHORT);
    let (ws, far) = open(role, &config);
    let (mut sender, _receiver) = ws.split().unwrap();
    far.room(10);
    let error = in_time("send", move || sender.send(vec![0; 1000]).unwrap_err());
    assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))));

    // The receiving half, alone with its pongs.
    let (ws, far) = open(role, &config);
    let (sender, mut receiver) = ws.split().unwrap();
    drop(sender);
    far.room(0);
    far.push(&to(role, PING, b"p"));
    let error = spawn(move || receiver.recv().unwrap_err()).wait_at_most(SOON, "recv");
    assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))));
}

#[test]
fn a_message_that_was_there_all_along_is_received_although_its_timer_ran_out() {
    // The application was busy elsewhere for longer than the progress timeout; the peer did nothing wrong.
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default().progress_timeout(SHORT));
    far.user_read_timeout(Some(Duration::from_millis(1)));
    let wire = to(role, TEXT, b"whole");
    far.push(&wire[..4]);
    assert!(matches!(ws.recv(), Err(Error::Io(_))));
    far.push(&wire[4..]);
    let busy = Instant::now();
    while busy.elapsed() < SHORT * 2 {
        std::hint::spin_loop();
    }
    assert_eq!(ws.recv().unwrap(), Some("whole".into()));
}

// The opening handshake.

#[test]
fn a_client_that_sends_nothing_or_too_slowly_is_answered_at_the_handshake_timeout() {
    // Battery R01, R02.
    for drip in [false, true] {
        let config = Config::default().handshake_timeout(SHORT * 2).close_timeout(SHORT);
        let (stream, far) = crate::support::blocking::io();
        if drip {
            far.push(b"GET /");
            far.push(&[b'a'; 4000]);
            far.drip(Duration::from_millis(2));
        }
        let start = Instant::now();
        let result = in_time("accept", move || accept(stream, config).map(drop));
        assert!(matches!(result, Err(Error::Request(RequestError::TimedOut))), "{result:?}");
        assert!((SHORT * 2..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert!(far.written().starts_with(b"HTTP/1.1 408 "));
        assert!(far.lock().shut);
        assert_eq!(far.lock().handles, 0);
    }
}

#[test]
fn the_users_read_timeout_is_the_same_after_the_handshake() {
    let (stream, far) = crate::support::blocking::io();
    far.user_read_timeout(Some(Duration::from_millis(1234)));
    far.push(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    far.push(&to(Role::Server, TEXT, b"early"));
    let mut ws = in_time("accept", move || accept(stream, Config::default()).unwrap());
    assert_eq!(far.lock().read_timeout, Some(Duration::from_millis(1234)));
    assert_eq!(far.lock().write_timeout, Some(Duration::from_secs(20)), "the send timeout");
    assert_eq!(ws.recv().unwrap(), Some("early".into()));
}

#[test]
fn a_refusal_arrives_at_a_client_that_goes_on_sending() {
    let (ours, mut peer) = tcp();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n").unwrap();
    let serving = spawn(move || Incoming::read(ours, Config::default()).map(drop));
    let mut write = peer.try_clone().unwrap();
    let writing = spawn(move || {
        let _ = write.write_all(&[b'x'; 500_000]);
        let _ = write.shutdown(Shutdown::Write);
    });
    let mut answer = String::new();
    peer.read_to_string(&mut answer).expect("a reset instead of the answer");
    assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    writing.wait("writing");
    assert!(serving.wait("serving").is_err());
}
