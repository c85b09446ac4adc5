//! Keepalive through the blocking adapter, which has no rule of it, with short timeouts: attack battery T10, T11.

use std::time::Duration;

use crate::support::blocking::open;
use crate::support::*;
use bowline::{Config, End, Error, Message, Role, Timeout};

const SHORT: Duration = Duration::from_millis(40);

#[track_caller]
fn assert_dead(result: Result<Option<Message>, Error>) {
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Keepalive)))), "{result:?}");
}

/// Battery T10.
#[test]
fn a_stalled_stream_is_found_dead() {
    for role in ROLES {
        for (room, split) in
            [(usize::MAX, false), (usize::MAX, true), (15, false), (15, true), (3, true), (0, true)]
        {
            let config = Config::default().ping_interval(SHORT).pong_timeout(SHORT);
            let (mut ws, far) = open(role, &config);
            far.room(room);
            let result = in_time("recv", move || {
                if split {
                    let (_send, mut recv) = ws.split().unwrap();
                    recv.recv()
                } else {
                    ws.recv()
                }
            });
            assert_dead(result);
            if room == usize::MAX {
                let frames = far.frames(role);
                assert_eq!((frames.len(), frames[0].opcode), (2, PING));
                assert_eq!(close_code(&frames[1]), 1008);
                assert!(far.lock().shut);
            }
        }
    }
}

#[test]
fn a_ping_does_not_block_for_longer_than_the_pong_timeout() {
    for role in ROLES {
        let config = Config::default().ping_interval(SHORT).pong_timeout(SHORT).send_timeout(None);
        let (mut ws, far) = open(role, &config);
        far.room(3);
        let result = in_time("recv", move || ws.recv());
        let Err(Error::Ended(End::TimedOut(Timeout::Keepalive | Timeout::Send))) = result else {
            panic!("{result:?}");
        };
    }
}

/// Battery T11.
#[test]
fn other_pongs_do_not_deceive() {
    for role in ROLES {
        let config = Config::default().ping_interval(SHORT).pong_timeout(SHORT);
        let (mut ws, far) = open(role, &config);
        // One byte after every millisecond, for ever as far as the test goes.
        far.drip(Duration::from_millis(1));
        far.push(&to(role, PONG, b"x").repeat(100_000));
        assert_dead(in_time("recv", move || ws.recv()));
    }
}

#[test]
fn a_peer_that_answers_is_kept_and_an_idle_one_closed() {
    let config = Config::default().ping_interval(SHORT).idle_timeout(10 * SHORT);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let open = |stream, role, config: &Config| {
        let connection = connection(role, config);
        let input = bowline::RecvBuf::new();
        bowline::blocking::WebSocket::from_connection(stream, connection, input).unwrap()
    };
    let mut client = open(stream, Role::Client, &Config::default());
    let mut server = open(accepted, Role::Server, &config);
    let answering = spawn(move || {
        assert!(client.recv().unwrap().is_none());
        client.end().unwrap().code()
    });
    let server = in_time("recv", move || {
        assert!(server.recv().unwrap().is_none());
        server
    });
    assert!(server.round_trip().is_some());
    assert_eq!(answering.wait("the client"), 1001);
}

#[test]
fn no_two_connections_ping_with_the_same_payload() {
    // A server has no seed of its own: the adapter gives it one.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let config = Config::default().ping_interval(SHORT).pong_timeout(SHORT);
        let (mut ws, far) = open(Role::Server, &config);
        let _ = in_time("recv", move || ws.recv());
        seen.extend(payloads(&far.frames(Role::Server), PING));
    }
    assert_eq!(seen.len(), 3);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}
