//! `rate_limit` over an adapter: what is not read waits in the stream, and the clock ends the wait.

use std::pin::pin;
use std::time::{Duration, Instant};

use bowline::{Config, End, Error, RateLimit};

use super::adapter::*;
use crate::support::stream::poll;
use crate::support::*;

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_peer_that_is_too_fast_has_to_wait() {
    for role in ROLES {
        let limit = RateLimit::new().messages(50).burst(100 * MILLI);
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
        far.push(&to(role, TEXT, b"Hello").repeat(15));
        block_on(async {
            let start = Instant::now();
            for _ in 0..15 {
                ws.recv().await.unwrap().unwrap();
            }
            // Five at once, and ten at 20 ms each. Some ms less, since a clock may be coarse.
            assert!(start.elapsed() >= 190 * MILLI, "{:?}", start.elapsed());
        });
    }
}

#[test]
fn short_pauses_end_too() {
    for role in ROLES {
        let limit = RateLimit::new().messages(1_000_000).burst(Duration::ZERO);
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
        far.push(&to(role, TEXT, b"Hello").repeat(1_000));
        block_on(async {
            for _ in 0..1_000 {
                ws.recv().await.unwrap().unwrap();
            }
        });
    }
}

#[test]
fn nothing_is_read_while_the_peer_has_to_wait() {
    for role in ROLES {
        let limit = RateLimit::new().messages(1).burst(Duration::ZERO);
        let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
        far.push(&to(role, TEXT, b"Hello").repeat(2));
        block_on(ws.recv()).unwrap().unwrap();
        assert!(poll(pin!(ws.recv())).is_pending());
        far.push(&to(role, TEXT, b"in the stream"));
        assert!(poll(pin!(ws.recv())).is_pending());
        assert!(!far.lock().is_read());
        // What is sent leaves meanwhile.
        block_on(ws.send("from us")).unwrap();
        assert_eq!(payloads(&far.frames(role), TEXT), [b"from us"]);
    }
}

#[test]
fn a_peer_that_may_not_wait_is_closed() {
    for role in ROLES {
        for halves in [false, true] {
            let limit = RateLimit::new().messages(5).close();
            let (mut ws, far) = open(role, &Config::default().rate_limit(limit));
            far.push(&to(role, TEXT, b"Hello").repeat(20));
            far.eof();
            let result = block_on(async {
                if halves {
                    let (_sender, mut receiver) = ws.split();
                    for _ in 0..5 {
                        receiver.recv().await.unwrap().unwrap();
                    }
                    receiver.recv().await
                } else {
                    for _ in 0..5 {
                        ws.recv().await.unwrap().unwrap();
                    }
                    ws.recv().await
                }
            });
            assert!(matches!(result, Err(Error::Ended(End::RateLimited))), "{result:?}");
            let frames = far.frames(role);
            assert_eq!(frames.last().map(close_code), Some(1008));
        }
    }
}
