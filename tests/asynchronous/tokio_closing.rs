//! How connections end through the tokio adapter (docs/design.md decisions 6, 7, 15 and 16; attack battery T01 to T08,
//! R04, R13), with tokio's paused clock: a second passes when nobody has anything else to do.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use crate::support::over_tokio::open;
use crate::support::stream::*;
use crate::support::*;
use bowline::tokio::WebSocket;
use bowline::{Config, End, Error, Initiator, RecvBuf, Refusal, Role, Timeout, Truncation};
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
async fn the_write_side_is_shut_before_input_is_discarded() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.push(&to(role, 0xF, b"bad"));
    assert!(poll(pin!(ws.recv())).is_pending(), "the peer has not ended its side");
    assert_eq!(close_code(&far.frames(role)[0]), 1002);
    assert!(far.lock().shut);
    far.eof();
    assert!(finish(ws.recv()).is_err());
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

#[tokio::test]
async fn a_peer_that_floods_after_our_close_is_dropped_at_the_close_timeout() {
    // Battery T03, with a stream that is always ready.
    for wire in [to(Role::Server, BINARY, &[0; 5000]), to(Role::Server, PING, b"p")] {
        let config = Config::default().close_timeout(Duration::from_millis(50));
        let (mut ws, far) = open(Role::Server, &config);
        far.lock().endless = wire.repeat(10);
        let closed = timeout(LONG, ws.close(1000, "")).await.expect("for ever").unwrap();
        assert_eq!(closed.end, End::TimedOut(Timeout::Close));

        // One frame with each read.
        let (mut ws, far) = open(Role::Server, &config);
        far.change(|s| (s.endless, s.chunk) = (wire.clone(), wire.len()));
        let closed = timeout(LONG, ws.close(1000, "")).await.expect("for ever").unwrap();
        assert_eq!(closed.end, End::TimedOut(Timeout::Close));
    }
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

#[tokio::test(start_paused = true)]
async fn a_server_closes_at_once() {
    for ours_first in [false, true] {
        let (mut ws, far) = open(Role::Server, &Config::default());
        let start = Instant::now();
        if ours_first {
            ws.start_close(1001, "").await.unwrap();
        }
        far.push(&close_to(Role::Server, 1001));
        assert_eq!(bounded(ws.recv()).await.unwrap(), None);
        assert_took(start, Duration::ZERO);
        assert!(far.lock().shut, "the peer sees the end now");
        let initiator = if ours_first { Initiator::Local } else { Initiator::Remote };
        assert!(matches!(ws.end(), Some(End::Closed { initiator: who, .. }) if *who == initiator));
        assert_eq!(far.frames(Role::Server).len(), 1, "one Close each way");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_without_close_says_where_the_bytes_stopped() {
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
                    ws.recv().await.unwrap(),
                    Some("abc".into()),
                    "what was whole is delivered"
                );
            }
            let expected = End::PeerGone(truncation);
            if split {
                let (_sender, mut receiver) = ws.split();
                assert!(matches!(receiver.recv().await, Err(Error::Ended(end)) if end == expected));
                assert!(matches!(receiver.recv().await, Err(Error::Ended(end)) if end == expected));
            } else {
                for _ in 0..3 {
                    assert!(matches!(ws.recv().await, Err(Error::Ended(end)) if end == expected));
                }
                assert!(matches!(ws.recv_part().await, Err(Error::Ended(end)) if end == expected));
                assert_eq!((ws.end(), expected.code().get()), (Some(&expected), 1006));
                match ws.send("late").await {
                    Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_stream_end_the_connection() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.lock().read_error = Some(ErrorKind::ConnectionReset);
    for _ in 0..2 {
        assert!(matches!(
            ws.recv().await,
            Err(Error::Ended(End::PeerGone(Truncation::BetweenMessages)))
        ));
    }
    let (mut ws, far) = open(role, &Config::default());
    far.lock().read_error = Some(ErrorKind::Other);
    assert!(matches!(ws.recv().await, Err(Error::Io(e)) if e.kind() == ErrorKind::Other));
    assert!(matches!(ws.recv().await, Err(Error::Ended(End::PeerGone(_)))));
    assert!(ws.send("x").await.is_err());

    // What cannot be sent is lost, but what the peer said last may still be read.
    let (mut ws, far) = open(role, &Config::default());
    far.lock().write_error = Some(ErrorKind::BrokenPipe);
    far.push(&[to(role, TEXT, b"last"), close_to(role, 1001)].concat());
    ws.feed("x").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("last".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.end().unwrap().code().get(), 1001);
}

#[tokio::test(start_paused = true)]
async fn messages_after_start_close_still_come_and_close_counts_what_it_drops() {
    // docs/design.md decision 16.
    for role in ROLES {
        let wire = |role| {
            let data =
                [to(role, TEXT, b"1"), to(role, PING, b"p"), to(role, BINARY, b"2")].concat();
            [data, fragment_to(role, false, TEXT, b"3"), fragment_to(role, true, CONTINUATION, b"")]
                .concat()
        };
        let (mut ws, far) = open(role, &Config::default());
        ws.start_close(1000, "").await.unwrap();
        far.push(&[wire(role), close_to(role, 1000)].concat());
        far.eof();
        for expected in ["1", "2", "3"] {
            assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), expected.as_bytes());
        }
        assert_eq!(ws.recv().await.unwrap(), None);
        let sent = far.frames(role);
        let opcodes: Vec<_> = sent.iter().map(|frame| frame.opcode).collect();
        assert_eq!(
            opcodes,
            [CLOSE, PONG],
            "a ping that came before the peer's Close is answered (§5.5.2)"
        );

        for report in [false, true] {
            let (mut ws, far) = open(role, &Config::default().report_control_frames(report));
            far.push(&[wire(role), close_to(role, 4001)].concat());
            far.eof();
            let closed = ws.close(1000, "").await.unwrap();
            assert_eq!(
                (closed.discarded, closed.end.code().get()),
                (3, 4001),
                "only messages count"
            );
            // It was closed: to close again changes nothing.
            let again = ws.close(1000, "").await.unwrap();
            assert_eq!((again.discarded, again.end), (0, closed.end));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_refuses_what_cannot_be_sent_and_leaves_the_connection_open() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    match ws.close(1006, "").await {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::CloseCode),
        other => panic!("{other:?}"),
    }
    match ws.close(1000, &"x".repeat(124)).await {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::CloseReasonTooLong),
        other => panic!("{other:?}"),
    }
    ws.send("open").await.unwrap();
    assert_eq!(far.frames(Role::Server).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_violation_while_closing_is_the_end_of_it() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default());
    far.push(&[to(role, TEXT, b"x"), to(role, 0x4, b"")].concat());
    far.eof();
    let closed = ws.close(1000, "").await.unwrap();
    assert_eq!(closed.discarded, 1);
    assert!(matches!(closed.end, End::Failed(_)));
    assert_eq!(far.frames(role).len(), 1, "our Close was sent already");
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
