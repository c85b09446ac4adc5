//! Keepalive through the tokio adapter, on tokio's paused clock: attack battery T10 to T12.

use std::time::Duration;

use crate::support::over_tokio::open;
use crate::support::*;
use bowline::{Config, End, Error, Message, Timeout};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn keepalive() -> Config {
    Config::default().ping_interval(30 * SECOND).pong_timeout(10 * SECOND)
}

#[track_caller]
fn assert_dead(result: Result<Option<Message>, Error>) {
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Keepalive)))), "{result:?}");
}

/// Battery T10.
#[tokio::test(start_paused = true)]
async fn a_stalled_stream_is_found_dead_within_interval_and_timeout() {
    for role in ROLES {
        // It takes everything, a part of the ping, of the Close, or nothing, and gives nothing and never ends.
        for room in [usize::MAX, 3, 15, 0] {
            for split in [false, true] {
                let (mut ws, far) = open(role, &keepalive());
                far.room(room);
                let start = Instant::now();
                let receiving = async {
                    if split {
                        let (_send, mut recv) = ws.split();
                        recv.recv().await
                    } else {
                        ws.recv().await
                    }
                };
                let result = timeout(600 * SECOND, receiving).await.expect("waits for ever");
                assert_dead(result);
                let took = start.elapsed();
                // The adapter's clock may have begun a little later than the paused one.
                assert!((40 * SECOND..41 * SECOND).contains(&took), "{took:?}");
                if room == usize::MAX {
                    let frames = far.frames(role);
                    assert_eq!((frames.len(), frames[0].opcode), (2, PING));
                    assert_eq!(close_code(&frames[1]), 1008);
                    assert!(far.lock().shut);
                }
            }
        }
    }
}

/// Battery T11.
#[tokio::test(start_paused = true)]
async fn other_pongs_do_not_deceive() {
    for role in ROLES {
        let (mut ws, far) = open(role, &keepalive());
        let start = Instant::now();
        let pongs = async {
            loop {
                tokio::time::sleep(SECOND).await;
                far.push(&to(role, PONG, b"x"));
            }
        };
        tokio::select! {
            result = ws.recv() => assert_dead(result),
            () = pongs => unreachable!(),
        }
        assert!(start.elapsed() < 41 * SECOND);
    }
}

/// Battery T12.
#[tokio::test(start_paused = true)]
async fn a_large_message_in_front_of_the_pong_is_waited_for() {
    for role in ROLES {
        let config = keepalive().max_message_size(64 << 20);
        let (mut ws, far) = open(role, &config);
        let download = async {
            tokio::time::sleep(31 * SECOND).await;
            far.push(&header_to(role, 0x82, 50 << 20));
            let mib = vec![0; 1 << 20];
            for _ in 0..50 {
                far.push(&mib);
                tokio::time::sleep(SECOND).await;
            }
            let pings = payloads(&far.frames(role), PING);
            far.push(&to(role, PONG, pings.last().expect("a ping")));
            tokio::time::sleep(25 * SECOND).await;
            far.push(&to(role, TEXT, b"end"));
            std::future::pending::<()>().await;
        };
        let receiving = async {
            let message = ws.recv().await.unwrap().unwrap();
            assert_eq!(message.into_bytes().len(), 50 << 20);
            assert_eq!(ws.recv().await.unwrap().unwrap(), Message::from("end"));
            assert!(ws.round_trip().is_some());
        };
        tokio::select! {
            () = receiving => {},
            () = download => {},
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_is_kept_and_an_idle_one_closed() {
    let config = keepalive().idle_timeout(600 * SECOND);
    let (client, server) = tokio::io::duplex(1024);
    let open = |stream, role, config: &Config| {
        let connection = connection(role, config);
        bowline::tokio::WebSocket::from_connection(stream, connection, bowline::RecvBuf::new())
    };
    let mut client = open(client, bowline::Role::Client, &Config::default());
    let mut server = open(server, bowline::Role::Server, &config);
    let start = Instant::now();
    let (at_client, at_server) = tokio::join!(client.recv(), server.recv());
    assert!(at_client.unwrap().is_none() && at_server.unwrap().is_none());
    assert!(start.elapsed() >= 600 * SECOND);
    assert_eq!(client.end().unwrap().code(), 1001);
    assert!(server.round_trip().is_some_and(|took| took < SECOND));
    assert_eq!(client.round_trip(), None);
}

/// A handler that works longer than the timeout finds the pong in the socket.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_not_the_peers_fault() {
    for role in ROLES {
        // At each place in the budget of the adapter, which yields now and then.
        for before in 0..200 {
            let (mut ws, far) = open(role, &keepalive());
            assert!(timeout(35 * SECOND, ws.recv()).await.is_err(), "nothing came");
            // A read counts, and so does a message: with two in one read, odd places are met too.
            for together in std::iter::repeat_n(1, before / 2).chain((before % 2 == 1).then_some(2))
            {
                far.push(&to(role, TEXT, b"a").repeat(together));
                for _ in 0..together {
                    ws.recv().await.unwrap();
                }
            }
            let pings = payloads(&far.frames(role), PING);
            far.push(&to(role, PONG, &pings[0]));
            tokio::time::advance(100 * SECOND).await;
            assert!(timeout(SECOND, ws.recv()).await.is_err(), "before: {before}");
            assert_eq!(ws.end(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_connections_of_any_adapter_ping_with_the_same_payload() {
    // A server has no seed of its own: the adapters give it one.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (mut ws, far) = open(bowline::Role::Server, &keepalive());
        assert!(timeout(35 * SECOND, ws.recv()).await.is_err(), "nothing came");
        seen.extend(payloads(&far.frames(bowline::Role::Server), PING));
        let short = Duration::from_millis(40);
        let config = Config::default().ping_interval(short).pong_timeout(short);
        let (mut ws, far) = crate::support::blocking::open(bowline::Role::Server, &config);
        let _ = in_time("recv", move || ws.recv());
        seen.extend(payloads(&far.frames(bowline::Role::Server), PING));
    }
    assert_eq!(seen.len(), 6);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}
