//! Peers that never stop, and peers that never begin, through the tokio adapter (attack battery R01, R02, R15, R16).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::over_tokio::open;
use crate::support::*;
use bowline::handshake::RequestError;
use bowline::tokio::{Incoming, WebSocket, accept};
use bowline::{Config, Error, Role};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Runs beside a task that counts how often it gets a turn, on the same thread; fails unless that is often enough.
async fn shares_its_thread<F: Future>(what: &str, future: F) -> F::Output {
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let output = timeout(LONG, future).await;
    let turns = turns.load(Ordering::Relaxed);
    other.abort();
    let output = output.unwrap_or_else(|_| panic!("{what}: not done"));
    assert!(turns >= 50, "{what}: the other task had {turns} turns");
    output
}

const MESSAGES: usize = 20_000;

#[tokio::test]
async fn messages_that_came_in_one_read_are_given_in_turns() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    far.lock().endless = to(Role::Server, TEXT, b"again").repeat(1_000);
    let mut at_once = 0;
    while let Some(message) = ws.recv().now_or_never() {
        message.unwrap().unwrap();
        at_once += 1;
        assert!(at_once <= 128, "no other task has a turn");
    }
    assert!(at_once > 100, "{at_once}: a turn is worth its price");
}

#[tokio::test]
async fn large_messages_that_are_ready_are_given_in_turns_of_a_mebibyte() {
    let role = Role::Server;
    let wire = to(role, BINARY, &[7; 20 << 10]);
    for in_a_read in [1, 2] {
        let (mut ws, far) = open(role, &Config::default());
        far.change(|s| (s.endless, s.chunk) = (wire.clone(), in_a_read * wire.len()));
        let mut at_once = 0;
        while let Some(message) = ws.recv().now_or_never() {
            message.unwrap().unwrap();
            at_once += 1;
            assert!(at_once <= (1 << 20) / (20 << 10), "no other task has a turn");
        }
        assert!(at_once > 20, "{at_once}: a turn is worth its price");
    }
}

#[tokio::test]
async fn a_peer_that_never_stops_does_not_starve_the_other_tasks_of_its_thread() {
    let role = Role::Server;
    let wire = to(role, TEXT, b"again").repeat(50);
    let endless = |wire: &[u8]| {
        let (ws, far) = open(role, &Config::default());
        far.lock().endless = wire.to_vec();
        ws
    };
    shares_its_thread("recv", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            ws.recv().await.unwrap().unwrap();
        }
    })
    .await;
    shares_its_thread("recv_borrowed and feed", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            let (message, mut out) = ws.recv_borrowed().await.unwrap().unwrap();
            out.feed(message).unwrap();
        }
    })
    .await;
    shares_its_thread("recv_part", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            ws.recv_part().await.unwrap().unwrap();
        }
    })
    .await;
    shares_its_thread("a half", async {
        let (_sender, mut receiver) = endless(&wire).split();
        for _ in 0..MESSAGES {
            receiver.recv().await.unwrap().unwrap();
        }
    })
    .await;
    shares_its_thread("Stream", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            ws.next().await.unwrap().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn frames_that_give_no_message_do_not_starve_other_tasks_either() {
    // Pings are answered inside recv, and the rest of a message that was read in part is skipped there.
    let role = Role::Server;
    for (what, first, wire) in [
        ("pings", vec![], to(role, PING, b"p")),
        ("pongs", vec![], to(role, PONG, b"p")),
        (
            "fragments",
            fragment_to(role, false, BINARY, &[1; 64]),
            fragment_to(role, false, CONTINUATION, &[0; 64]),
        ),
    ] {
        let config = Config::default().max_message_size(u64::MAX);
        let (mut ws, far) = open(role, &config);
        far.push(&first);
        if !first.is_empty() {
            assert!(ws.recv_part().await.unwrap().unwrap().first);
        }
        far.change(|s| (s.endless, s.chunk) = (wire.repeat(10), 300));
        // It never has a message, so it is stopped from outside: if it lets go of the thread.
        let (done, stop) = tokio::sync::oneshot::channel::<()>();
        let other = tokio::spawn(async move {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            drop(done);
        });
        let watchdog = far.clone();
        let guard = spawn(move || {
            // A starved thread cannot time itself out; the end of the stream wakes it up in the end.
            std::thread::park_timeout(LONG);
            watchdog
                .change(|s| (s.endless, s.read_error) = (vec![], Some(std::io::ErrorKind::Other)));
        });
        tokio::select! {
            result = ws.recv() => panic!("{what}: {result:?}"),
            _ = stop => {}
        }
        other.await.unwrap();
        drop(guard);
    }
}

#[tokio::test]
async fn a_flood_of_empty_messages_waits_in_the_socket_and_not_in_memory() {
    // Battery R15: whoever does not call recv reads nothing.
    let role = Role::Server;
    let (ours, mut peer) = tokio::io::duplex(4096);
    let connection = connection(role, &Config::default());
    let mut ws = WebSocket::from_connection(ours, connection, bowline::RecvBuf::new());
    let flood = tokio::spawn(async move {
        let wire = to(role, TEXT, b"").repeat(1000);
        for _ in 0..100 {
            peer.write_all(&wire).await.unwrap();
        }
        peer.write_all(&close_to(role, 1000)).await.unwrap();
        peer
    });
    let mut received = 0;
    while let Some(message) = timeout(LONG, ws.recv()).await.unwrap().unwrap() {
        assert_eq!(message, "".into());
        received += 1;
    }
    assert_eq!(received, 100_000);
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_that_send_nothing_are_closed_at_the_handshake_timeout() {
    // Battery R01.
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (ours, mut peer) = tokio::io::duplex(1000);
        tasks.spawn(async move {
            let serving = tokio::spawn(accept(ours, Config::default()));
            let mut answer = String::new();
            // The end of the answer is the end of the connection.
            peer.read_to_string(&mut answer).await.unwrap();
            let took = start.elapsed();
            drop(peer);
            (took, answer, serving.await.unwrap().map(drop))
        });
    }
    while let Some(result) = tasks.join_next().await {
        let (took, answer, result) = result.unwrap();
        assert!((10 * SECOND..11 * SECOND).contains(&took), "{took:?}");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
        assert!(matches!(result, Err(Error::Request(RequestError::TimedOut))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_is_given_up_at_the_absolute_handshake_timeout() {
    // Battery R02: bytes that arrive do not prolong it.
    let (ours, mut peer) = tokio::io::duplex(1000);
    let start = Instant::now();
    let dripping = async {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".iter();
        loop {
            tokio::select! {
                () = tokio::time::sleep(5 * SECOND) => peer.write_all(&[*head.next().unwrap()]).await.unwrap(),
                ready = peer.read_u8() => break (start.elapsed(), ready.unwrap()),
            }
        }
    };
    let (result, (took, byte)) = timeout(100 * SECOND, async {
        tokio::join!(Incoming::read(ours, Config::default()), dripping)
    })
    .await
    .expect("it waits for ever");
    assert!(matches!(result, Err(Error::Request(RequestError::TimedOut))));
    assert!((10 * SECOND..11 * SECOND).contains(&took), "{took:?}");
    assert_eq!(byte, b'H', "of a 408");
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_never_goes_is_left_after_the_close_timeout() {
    let (ours, mut peer) = tokio::io::duplex(1000);
    peer.write_all(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let result =
        timeout(100 * SECOND, accept(ours, Config::default())).await.expect("it waits for ever");
    assert!(matches!(result, Err(Error::Request(_))));
    assert!((5 * SECOND..6 * SECOND).contains(&start.elapsed()));
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
