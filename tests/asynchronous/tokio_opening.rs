//! Peers that never begin, on tokio's paused clock: how long a handshake may take (attack battery R01, R02).

use std::time::Duration;

use bowline::handshake::RequestError;
use bowline::tokio::{Incoming, accept};
use bowline::{Config, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

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
