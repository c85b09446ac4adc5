//! Keepalive through an adapter. The clock is real, so the intervals are short; how long anything takes does not
//! matter.

use std::pin::pin;
use std::time::Duration;

use bowline::{Config, End, Error, Role, Timeout};
use smol::future::{or, yield_now};
use super::adapter::*;
use crate::support::stream::{Far, poll};
use crate::support::*;

const SHORT: Duration = Duration::from_millis(20);

/// The first ping that is written.
async fn ping(far: &Far, role: Role) -> Vec<u8> {
    loop {
        if let Some(ping) = payloads(&far.frames(role), PING).pop() {
            return ping;
        }
        yield_now().await;
    }
}

/// Battery T10.
#[test]
fn a_peer_that_takes_everything_and_says_nothing_is_found_dead() {
    for role in ROLES {
        for room in [usize::MAX, 3, 15, 0] {
            for split in [false, true] {
                let config = Config::default().ping_interval(SHORT).pong_timeout(SHORT);
                let (mut ws, far) = open(role, &config);
                far.room(room);
                let result = if split {
                    let (_sender, mut receiver) = ws.split();
                    block_on(receiver.recv())
                } else {
                    block_on(ws.recv())
                };
                assert!(
                    matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Keepalive)))),
                    "{result:?}"
                );
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

#[test]
fn a_peer_that_answers_is_kept_and_its_round_trip_is_known() {
    for role in ROLES {
        for split in [false, true] {
            let config = Config::default().ping_interval(SHORT).pong_timeout(60 * LONG);
            let (mut ws, far) = open(role, &config);
            assert_eq!(ws.round_trip(), None);
            let answering = async {
                let payload = ping(&far, role).await;
                far.push(&[to(role, PONG, &payload), to(role, TEXT, b"alive")].concat());
                std::future::pending().await
            };
            let (message, round_trip) = if split {
                let (_sender, mut receiver) = ws.split();
                assert_eq!(receiver.round_trip(), None);
                let message = block_on(or(receiver.recv(), answering));
                // It is taken at the first wait behind the pong.
                assert!(poll(pin!(receiver.recv())).is_pending());
                (message, receiver.round_trip())
            } else {
                let message = block_on(or(ws.recv(), answering));
                assert!(poll(pin!(ws.recv())).is_pending());
                (message, ws.round_trip())
            };
            assert_eq!(message.unwrap(), Some("alive".into()));
            assert!(round_trip.is_some());
        }
    }
}

#[test]
fn no_two_connections_ping_with_the_same_payload() {
    // A server has no seed of its own: the adapter gives it one.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let config = Config::default().ping_interval(SHORT);
        let (mut ws, far) = open(Role::Server, &config);
        let pinged = async {
            seen.push(ping(&far, Role::Server).await);
        };
        block_on(or(async { drop(ws.recv().await) }, pinged));
    }
    assert_eq!(seen.len(), 3);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}
