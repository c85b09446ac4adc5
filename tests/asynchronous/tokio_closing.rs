//! How connections end through the tokio adapter (docs/design.md decisions 6, 7, 15 and 16; attack battery T01 to T08,
//! R04, R13), with tokio's paused clock: a second passes when nobody has anything else to do.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crate::support::over_tokio::open;
use crate::support::stream::*;
use crate::support::*;
use bowline::tokio::WebSocket;
use bowline::{Config, End, Error, RecvBuf, Refusal, Role, Timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A day of the paused clock: whatever is not done by then never is.
async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(86_400 * SECOND, future).await.expect("it waits for ever")
}

/// The adapter's clock may have begun a little later than the paused one.
#[track_caller]
fn assert_took(since: Instant, expected: Duration) {
    let took = since.elapsed();
    assert!(
        took >= expected && took < expected + SECOND,
        "it took {took:?} instead of {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_violation_input_is_discarded_until_the_end_or_one_mib_or_the_close_timeout() {
    for role in ROLES {
        // Until the end.
        let (mut ws, far) = open(role, &Config::default());
        far.push(&[to(role, 0xF, b"bad"), vec![0; 700_000]].concat());
        far.eof();
        let start = Instant::now();
        assert!(bounded(ws.recv()).await.is_err());
        assert_eq!(
            far.lock().read_bytes,
            700_000 + to(role, 0xF, b"bad").len(),
            "all of it was read"
        );
        assert!(far.lock().shut);
        assert_took(start, Duration::ZERO);

        // A peer that never stops.
        let (mut ws, far) = open(role, &Config::default());
        far.push(&to(role, 0xF, b"bad"));
        far.lock().endless = vec![0; 10_000];
        assert!(bounded(ws.recv()).await.is_err());
        let read = far.lock().read_bytes;
        assert!((1 << 20..2 << 20).contains(&read), "{read} bytes of an endless peer were read");

        // A peer that does nothing.
        let (mut ws, far) = open(role, &Config::default().close_timeout(7 * SECOND));
        far.push(&to(role, 0xF, b"bad"));
        let start = Instant::now();
        assert!(bounded(ws.recv()).await.is_err());
        assert_took(start, 7 * SECOND);
        assert!(far.lock().shut, "it was told that nothing more comes");
        assert_eq!(close_code(&far.frames(role)[0]), 1002);

        // A peer that does not even read.
        let (mut ws, far) = open(role, &Config::default().close_timeout(7 * SECOND));
        far.room(0);
        far.push(&to(role, 0xF, b"bad"));
        let start = Instant::now();
        assert!(bounded(ws.recv()).await.is_err());
        assert_took(start, 7 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_close_is_given_up_at_the_close_timeout() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        let start = Instant::now();
        let closed = bounded(ws.close(1000, "bye")).await.unwrap();
        assert_eq!(closed.end, End::TimedOut(Timeout::Close));
        assert_eq!((closed.end.code().get(), closed.discarded), (1006, 0));
        assert_took(start, 5 * SECOND);
        assert_eq!(close_code(&far.frames(role)[0]), 1000);
        for _ in 0..2 {
            assert!(matches!(ws.recv().await, Err(Error::Ended(End::TimedOut(Timeout::Close)))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_drip_do_not_prolong_the_close_timeout() {
    let role = Role::Server;
    let (ours, mut peer) = tokio::io::duplex(100);
    let mut ws =
        WebSocket::from_connection(ours, connection(role, &Config::default()), RecvBuf::new());
    let dripping = tokio::spawn(async move {
        let mut messages = 0;
        while peer.write_all(&to(role, TEXT, b"x")).await.is_ok() {
            messages += 1;
            tokio::time::sleep(SECOND).await;
        }
        messages
    });
    let start = Instant::now();
    let closed = bounded(ws.close(1000, "")).await.unwrap();
    assert_took(start, 5 * SECOND);
    assert_eq!(closed.end, End::TimedOut(Timeout::Close));
    assert!((4..=6).contains(&closed.discarded));
    drop(ws);
    bounded(dripping).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_takes_no_longer_than_the_send_timeout_if_the_peer_does_not_read() {
    // What was fed before waits in front of Close. The close timeout runs from when Close has left.
    let config = Config::default().close_timeout(2 * SECOND).send_timeout(30 * SECOND);
    for queued in [100, 20_000] {
        let (mut ws, far) = open(Role::Server, &config);
        far.room(10);
        assert!(cancelled(ws.send(vec![0; queued]), 1).is_none());
        let start = Instant::now();
        let closed = bounded(ws.close(1000, "")).await.unwrap();
        assert_took(start, 30 * SECOND);
        assert_eq!(closed.end, End::TimedOut(Timeout::Send), "{queued} bytes queued");
    }
}

#[tokio::test(start_paused = true)]
async fn close_delivers_what_was_fed_to_a_peer_that_needs_longer_than_the_close_timeout() {
    let config = Config::default().close_timeout(2 * SECOND);
    for role in ROLES {
        let (mut ws, far) = open(role, &config);
        far.room(0);
        assert!(cancelled(ws.send(vec![7; 20_000]), 1).is_none());
        let peer = async {
            tokio::time::sleep(10 * SECOND).await;
            // From here on it is fast, and it answers.
            far.room(usize::MAX);
            while far.written().len() < 20_000 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(SECOND).await;
            far.push(&close_to(role, 1000));
            far.eof();
        };
        let (closed, ()) = bounded(async { tokio::join!(ws.close(1000, ""), peer) }).await;
        assert!(closed.unwrap().end.is_clean(), "{role:?}");
        let frames = far.frames(role);
        assert_eq!((frames[0].payload.len(), close_code(&frames[1])), (20_000, 1000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_servers_end_but_not_longer_than_the_close_timeout() {
    // RFC 6455 §7.1.1: the server closes the connection first. Battery T02.
    let (mut ws, far) = open(Role::Client, &Config::default());
    far.push(&close_to(Role::Client, 1000));
    let start = Instant::now();
    assert_eq!(bounded(ws.recv()).await.unwrap(), None);
    assert_took(start, 5 * SECOND);

    let (mut ws, far) = open(Role::Client, &Config::default());
    far.push(&close_to(Role::Client, 1000));
    assert!(poll(pin!(ws.recv())).is_pending());
    assert!(!far.lock().shut, "the server is first");
    assert_eq!(far.frames(Role::Client).len(), 1, "Close is answered before");
    far.eof();
    let start = Instant::now();
    assert_eq!(bounded(ws.recv()).await.unwrap(), None);
    assert_took(start, Duration::ZERO);
    assert!(far.lock().shut);
}

// Timeouts.

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_too_slowly_is_given_up_and_the_peer_is_told() {
    // Battery R04: a byte every ten seconds, for ever.
    for split in [false, true] {
        let role = Role::Server;
        let (ours, peer) = tokio::io::duplex(1000);
        let ws =
            WebSocket::from_connection(ours, connection(role, &Config::default()), RecvBuf::new());
        let (mut from_us, mut to_us) = tokio::io::split(peer);
        let dripping = tokio::spawn(async move {
            to_us.write_all(&header_to(role, 0x82, 1 << 20)).await.unwrap();
            while to_us.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(10 * SECOND).await;
            }
        });
        let start = Instant::now();
        let result = if split {
            let (_sender, mut receiver) = ws.split();
            bounded(receiver.recv()).await
        } else {
            let mut ws = ws;
            bounded(ws.recv()).await
        };
        assert!(
            matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Progress)))),
            "{result:?}"
        );
        // The period of 20 s, and the time in which the peer may read why.
        let took = start.elapsed();
        assert!((20 * SECOND..27 * SECOND).contains(&took), "{took:?}");
        let mut wire = Vec::new();
        from_us.read_to_end(&mut wire).await.unwrap();
        assert_eq!(close_code(&decode(role, &wire)[0]), 1008);
        bounded(dripping).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_was_begun_is_given_up() {
    let role = Role::Server;
    let whole = to(role, TEXT, b"Hello");
    for (what, begun) in [
        ("a header", &whole[..1]),
        ("a frame", &whole[..6]),
        ("a control frame", &to(role, PING, b"ping")[..6]),
        ("a message", &fragment_to(role, false, TEXT, b"Hel")),
    ] {
        for before in [&[][..], &whole] {
            let (mut ws, far) = open(role, &Config::default());
            far.push(&[before, begun].concat());
            if !before.is_empty() {
                assert_eq!(ws.recv().await.unwrap(), Some("Hello".into()));
            }
            let start = Instant::now();
            let result = bounded(ws.recv()).await;
            assert!(
                matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Progress)))),
                "{what}: {result:?}"
            );
            assert!((20 * SECOND..27 * SECOND).contains(&start.elapsed()), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_that_makes_progress_is_received() {
    let role = Role::Server;
    let (ours, mut peer) = tokio::io::duplex(2000);
    let mut ws =
        WebSocket::from_connection(ours, connection(role, &Config::default()), RecvBuf::new());
    let sending = tokio::spawn(async move {
        for chunk in to(role, BINARY, &pattern(50_000)).chunks(1100) {
            peer.write_all(chunk).await.unwrap();
            tokio::time::sleep(19 * SECOND).await;
        }
        peer
    });
    assert_eq!(bounded(ws.recv()).await.unwrap(), Some(pattern(50_000).into()));
    bounded(sending).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_never_timed_out() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    assert!(timeout(86_400 * SECOND, ws.recv()).await.is_err());
    far.push(&to(Role::Server, TEXT, b"good morning"));
    assert_eq!(ws.recv().await.unwrap(), Some("good morning".into()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_ends_the_connection_at_the_send_timeout() {
    // Battery R13.
    for what in ["send", "flush", "recv", "sink"] {
        let (mut ws, far) = open(Role::Server, &Config::default());
        far.room(10);
        let start = Instant::now();
        let message = vec![0; 1000];
        let error = bounded(async {
            match what {
                "send" => ws.send(message).await.unwrap_err(),
                "flush" => {
                    ws.feed(message).await.unwrap();
                    ws.flush().await.unwrap_err()
                }
                "recv" => {
                    ws.feed(message).await.unwrap();
                    ws.recv().await.unwrap_err()
                }
                _ => futures_util::SinkExt::send(&mut ws, message.into()).await.unwrap_err(),
            }
        })
        .await;
        assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))), "{what}: {error:?}");
        assert_took(start, 20 * SECOND);
        for _ in 0..2 {
            let again = ws.recv().await;
            assert!(
                matches!(again, Err(Error::Ended(End::TimedOut(Timeout::Send)))),
                "{what}: {again:?}"
            );
        }
        match ws.send("more").await {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_half_gives_up_a_peer_that_never_reads() {
    let role = Role::Server;
    let (ws, far) = open(role, &Config::default());
    let (mut sender, _receiver) = ws.split();
    far.room(10);
    let start = Instant::now();
    let error = bounded(sender.send(vec![0; 1000])).await.unwrap_err();
    assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))));
    assert_took(start, 20 * SECOND);

    // The receiving half, alone with its pongs.
    let (ws, far) = open(role, &Config::default());
    let (sender, mut receiver) = ws.split();
    drop(sender);
    far.room(0);
    far.push(&to(role, PING, b"p"));
    let start = Instant::now();
    let error = bounded(receiver.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Ended(End::TimedOut(Timeout::Send))));
    assert_took(start, 20 * SECOND);
}

/// Sends 5,000 bytes to a peer that takes so many in every 19 s.
async fn send_to_a_peer_that_takes(amount: usize) -> (Result<(), Error>, Vec<u8>) {
    let (ours, mut peer) = tokio::io::duplex(amount);
    let config = Config::default().send_timeout(20 * SECOND);
    let mut ws =
        WebSocket::from_connection(ours, connection(Role::Server, &config), RecvBuf::new());
    let reading = tokio::spawn(async move {
        let mut wire = Vec::new();
        let mut some = vec![0; amount];
        loop {
            tokio::time::sleep(19 * SECOND).await;
            match peer.read(&mut some).await {
                Ok(n) if n > 0 => wire.extend(&some[..n]),
                _ => return wire,
            }
        }
    });
    let sent = bounded(ws.send(pattern(5000))).await;
    drop(ws);
    (sent, bounded(reading).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_kibibyte_in_every_period_is_slow_and_not_gone() {
    let (sent, wire) = send_to_a_peer_that_takes(1024).await;
    sent.unwrap();
    assert_eq!(decode(Role::Server, &wire)[0].payload, pattern(5000));
    // Less would hold the queue for days.
    let (sent, _) = send_to_a_peer_that_takes(100).await;
    assert!(matches!(sent, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_bytes_and_never_flushes_them_is_a_peer_that_does_not_read() {
    // TLS takes bytes into a buffer of its own; that the socket below is stuck shows in its flush alone.
    for what in ["send", "recv"] {
        let (mut ws, far) = open(Role::Server, &Config::default());
        far.lock().flush_pending = true;
        let result = timeout(600 * SECOND, async {
            match what {
                "send" => ws.send("x").await,
                _ => {
                    ws.feed("x").await.unwrap();
                    ws.recv().await.map(drop)
                }
            }
        })
        .await;
        let result = result.unwrap_or_else(|_| panic!("{what} waits for ever"));
        assert!(
            matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))),
            "{what}: {result:?}"
        );
    }
}
