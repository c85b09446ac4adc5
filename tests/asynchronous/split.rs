//! Halves for two tasks (docs/design.md decision 2): neither waits for the other, each may go first, and no reply and
//! no wakeup is lost between them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline::{Config, End, Error, Initiator, Message, RecvBuf, Refusal, Role};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::adapter::{Io, RecvHalf, SendHalf, WebSocket, open, wrap};
use crate::support::stream::{Far, Wakes, cancelled, finish, poll};
use crate::support::*;

/// Timeouts that are over soon, for peers that do nothing: the clock is the adapter's own.
fn soon() -> Config {
    let soon = Duration::from_millis(20);
    Config::default().send_timeout(soon).close_timeout(soon)
}

fn halves(role: Role, config: &Config) -> (SendHalf<Io>, RecvHalf<Io>, Far) {
    let (ws, far) = open(role, config);
    let (sender, receiver) = ws.split();
    (sender, receiver, far)
}

/// Over a stream of tokio's.
macro_rules! over {
    ($stream:expr, $role:expr, $config:expr) => {
        WebSocket::from_connection(wrap($stream), connection($role, $config), RecvBuf::new())
    };
}

/// Battery R12: both ends send 64 MiB before either could have read all of it.
async fn both_send(
    a: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    b: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    const MESSAGES: usize = 64;
    const SIZE: usize = 1 << 20;
    let config = Config::default();
    let mut tasks = tokio::task::JoinSet::new();
    let (mut send_a, mut recv_a) = over!(a, Role::Client, &config).split();
    let (mut send_b, mut recv_b) = over!(b, Role::Server, &config).split();
    tasks.spawn(async move {
        for i in 0..MESSAGES {
            send_a.send(vec![i as u8; SIZE]).await.unwrap();
        }
        assert!(send_a.close(1000, "").await.unwrap().is_none());
    });
    tasks.spawn(async move {
        for i in 0..MESSAGES {
            send_b.send(vec![i as u8; SIZE]).await.unwrap();
        }
    });
    let (done, mut wait) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn(async move {
        for i in 0..MESSAGES {
            let message = recv_b.recv().await.unwrap().unwrap();
            assert_eq!((message.as_bytes().len(), message.as_bytes()[i]), (SIZE, i as u8));
        }
        // The other direction has to be over before Close is answered.
        let _ = (&mut wait).await;
        assert_eq!(recv_b.recv().await.unwrap(), None);
    });
    tasks.spawn(async move {
        for i in 0..MESSAGES {
            let message = recv_a.recv().await.unwrap().unwrap();
            assert_eq!((message.as_bytes().len(), message.as_bytes()[i]), (SIZE, i as u8));
        }
        drop(done);
        assert_eq!(recv_a.recv().await.unwrap(), None);
        assert!(matches!(recv_a.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
    });
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn two_ends_that_send_64_mib_at_each_other_finish() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (a, b) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    timeout(3 * LONG, both_send(a.unwrap(), b.unwrap().0)).await.expect("a deadlock");
}

#[cfg(unix)]
#[tokio::test]
async fn two_ends_that_send_64_mib_at_each_other_over_a_unix_socket_finish() {
    let (a, b) = tokio::net::UnixStream::pair().unwrap();
    timeout(3 * LONG, both_send(a, b)).await.expect("a deadlock");
}

#[test]
fn pongs_and_close_leave_while_the_sender_waits_for_room() {
    for role in ROLES {
        let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
        far.room(0);
        let mut send = Box::pin(sender.send(vec![0; 100_000]));
        assert!(poll(send.as_mut()).is_pending());
        far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a"), to(role, PING, b"2")].concat());
        assert_eq!(finish(receiver.recv()).unwrap(), Some("a".into()));
        assert!(poll(pin!(receiver.recv())).is_pending(), "nothing of it may block");
        far.push(&close_to(role, 1000));
        far.eof();
        assert!(poll(pin!(receiver.recv())).is_pending(), "it waits until Close is sent");
        far.room(usize::MAX);
        assert_eq!(finish(receiver.recv()).unwrap(), None);
        let sent = far.frames(role);
        assert_eq!(sent.iter().map(|f| f.opcode).collect::<Vec<_>>(), [BINARY, PONG, PONG, CLOSE]);
        finish(send).unwrap();
    }
}

#[test]
fn without_its_sending_half_a_receiver_answers_pings_and_close() {
    for role in ROLES {
        let (sender, mut receiver, far) = halves(role, &no_timeouts());
        drop(sender);
        far.push(&[to(role, PING, b"p"), to(role, TEXT, b"a")].concat());
        assert_eq!(finish(receiver.recv()).unwrap(), Some("a".into()));
        assert!(poll(pin!(receiver.recv())).is_pending());
        assert_eq!(shorthand(&far.frames(role)), [(PONG, "p".into())]);
        assert!(far.lock().handles > 0);
        far.push(&close_to(role, 4000));
        far.eof();
        assert_eq!(finish(receiver.recv()).unwrap(), None);
        assert_eq!(close_code(&far.frames(role)[1]), 4000);
        drop(receiver);
        assert_eq!(far.lock().handles, 0, "dropping both halves closes the socket");
    }
}

#[test]
fn without_its_receiving_half_a_sender_closes_unconfirmed() {
    for role in ROLES {
        let (mut sender, receiver, far) = halves(role, &no_timeouts());
        far.stutter(3);
        drop(receiver);
        finish(sender.send("still")).unwrap();
        assert_eq!(finish(sender.close(1001, "")).unwrap(), Some(End::Unconfirmed));
        let sent = far.frames(role);
        assert_eq!((sent[0].payload.as_slice(), close_code(&sent[1])), (&b"still"[..], 1001));
        assert!(far.lock().shut, "the peer is told that no more comes");
        assert!(far.lock().handles > 0);
        drop(sender);
        assert_eq!(far.lock().handles, 0);
    }
}

#[test]
fn with_its_receiving_half_a_sender_leaves_the_end_to_it() {
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
    assert_eq!(finish(sender.close(1001, "bye")).unwrap(), None);
    assert!(!far.lock().shut);
    far.push(&[to(role, TEXT, b"last words"), close_to(role, 1001)].concat());
    assert_eq!(finish(receiver.recv()).unwrap(), Some("last words".into()));
    assert_eq!(finish(receiver.recv()).unwrap(), None);
    assert!(matches!(receiver.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
    match finish(sender.send("late")) {
        Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dropping_both_halves_closes_the_socket_and_the_peer_sees_eof() {
    for sender_first in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, ours) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (sender, receiver) = over!(ours.unwrap().0, Role::Server, &Config::default()).split();
        if sender_first {
            drop(sender);
            drop(receiver);
        } else {
            drop(receiver);
            drop(sender);
        }
        let n = timeout(LONG, peer.unwrap().read(&mut [0; 10])).await.expect("not closed").unwrap();
        assert_eq!(n, 0);
    }
}

#[test]
fn whoever_waits_for_room_is_woken_when_there_is_room() {
    // A stream remembers one waker. Sender and receiver both wait for it to take bytes.
    for receiver_last in [false, true] {
        let role = Role::Server;
        let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
        far.room(0);
        far.push(&to(role, PING, b"p"));
        let (sends, send_waker) = Wakes::new();
        let (receives, recv_waker) = Wakes::new();
        let mut send = pin!(sender.send("x"));
        let mut recv = pin!(receiver.recv());
        let mut poll_send =
            || send.as_mut().poll(&mut Context::from_waker(&send_waker)).is_pending();
        if !receiver_last {
            assert!(recv.as_mut().poll(&mut Context::from_waker(&recv_waker)).is_pending());
        }
        assert!(poll_send());
        if receiver_last {
            assert!(recv.as_mut().poll(&mut Context::from_waker(&recv_waker)).is_pending());
        }
        far.room(usize::MAX);
        assert!(sends.count() > 0, "the sender was forgotten");
        assert!(receives.count() > 0, "the receiver was forgotten");
    }
}

#[test]
fn a_sender_is_woken_when_the_receiver_has_written_its_bytes_for_it() {
    // The peer makes room at the very moment at which the receiver asks for it: the receiver writes all that waits, the
    // sender's message too, and the sender must come to know.
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
    far.room(0);
    let (sends, send_waker) = Wakes::new();
    let mut send = pin!(sender.send("x"));
    assert!(send.as_mut().poll(&mut Context::from_waker(&send_waker)).is_pending());
    far.lock().room_after_next_pending = true;
    assert!(poll(pin!(receiver.recv())).is_pending());
    assert!(
        sends.count() > 0 || far.written().is_empty(),
        "its message was sent and it was not woken"
    );
}

#[test]
fn a_receiver_is_woken_when_the_sender_has_written_its_pongs_for_it() {
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
    far.room(0);
    let (receives, recv_waker) = Wakes::new();
    // The second pong waits behind the first, with the receiver: only it can go on.
    far.push(&[to(role, PING, b"1"), to(role, TEXT, b"a")].concat());
    assert_eq!(finish(receiver.recv()).unwrap(), Some("a".into()));
    far.push(&to(role, PING, b"2"));
    let mut recv = pin!(receiver.recv());
    let mut poll_recv = || recv.as_mut().poll(&mut Context::from_waker(&recv_waker)).is_pending();
    assert!(poll_recv());
    far.lock().room_after_next_pending = true;
    let _ = poll(pin!(sender.send("x")));
    if !far.written().is_empty() {
        assert!(receives.count() > 0, "a pong waits and nobody was woken");
    }
    assert!(poll_recv());
    assert_eq!(payloads(&far.frames(role), PONG), [b"1", b"2"]);
}

/// What ends the connection while the sender waits for room.
fn end_while_sending(what: &str, end: impl Fn(&Far)) {
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
    far.room(10);
    let (sends, send_waker) = Wakes::new();
    let mut send = pin!(sender.send(vec![0; 100_000]));
    let mut poll_send = || send.as_mut().poll(&mut Context::from_waker(&send_waker));
    assert!(poll_send().is_pending());
    end(&far);
    assert!(matches!(cancelled(receiver.recv(), 10), Some(Err(_))), "{what}");
    let woken = sends.count() > 0;
    match poll_send() {
        Poll::Ready(Ok(())) => {
            panic!("{what}: its message was thrown away, and send says it was sent")
        }
        Poll::Ready(Err(_)) => {}
        Poll::Pending => panic!("{what}: send waits for a connection that has ended"),
    }
    assert!(woken, "{what}: send would fail, but nobody wakes it");
}

#[test]
fn a_send_that_waits_fails_when_the_receiver_sees_the_peer_go() {
    end_while_sending("EOF", |far| far.eof());
    end_while_sending("reset", |far| {
        far.change(|s| s.read_error = Some(std::io::ErrorKind::ConnectionReset))
    });
}

#[tokio::test]
async fn a_send_that_waits_fails_when_the_peer_never_reads_again() {
    // Both halves wait for the same peer; whoever finds out first, the message was not sent.
    let config = soon();
    for receiver_first in [false, true] {
        let (mut sender, mut receiver, far) = halves(Role::Server, &config);
        far.room(10);
        let sending = async { sender.send(vec![0; 100_000]).await };
        let receiving = async { receiver.recv().await };
        let (sent, received) = timeout(LONG, async {
            if receiver_first {
                let (received, sent) = tokio::join!(receiving, sending);
                (sent, received)
            } else {
                tokio::join!(sending, receiving)
            }
        })
        .await
        .expect("a half that waits for ever");
        // Whichever side finds out, both have the same reason.
        assert!(
            matches!(sent, Err(Error::Ended(End::TimedOut(bowline::Timeout::Send)))),
            "receiver first: {receiver_first}: {sent:?}"
        );
        assert!(
            matches!(received, Err(Error::Ended(End::TimedOut(bowline::Timeout::Send)))),
            "{received:?}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_waits_already_ends_when_the_sender_gives_the_peer_up() {
    // `Config::send_timeout`: the connection ends, not only the half that found out.
    let (mut sender, mut receiver, far) = halves(Role::Server, &soon());
    far.room(10);
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    let sent = sender.send(vec![0; 1000]).await;
    assert!(matches!(sent, Err(Error::Ended(End::TimedOut(bowline::Timeout::Send)))), "{sent:?}");
    let received = timeout(LONG, receiving).await.expect("it waits for a peer that was given up");
    let received = received.unwrap();
    assert!(
        matches!(received, Err(Error::Ended(End::TimedOut(bowline::Timeout::Send)))),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_send_that_waits_fails_when_close_came_and_its_answer_cannot_be_sent() {
    let (mut sender, mut receiver, far) = halves(Role::Server, &soon());
    far.room(10);
    far.push(&close_to(Role::Server, 1000));
    let sending = sender.send(vec![0; 100_000]);
    let (sent, received) =
        timeout(LONG, async { tokio::join!(sending, receiver.recv()) }).await.expect("for ever");
    assert!(sent.is_err(), "it was never sent");
    assert!(matches!(received, Ok(None)), "{received:?}");
}

#[tokio::test]
async fn a_receiver_that_waits_already_keeps_to_the_close_timeout_that_the_sender_begins() {
    // `Config::close_timeout`: how long to wait for the peer's Close after ours. A silent peer.
    let (mut sender, mut receiver, _far) = halves(Role::Server, &soon());
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    sender.close(1000, "").await.unwrap();
    let result = timeout(LONG, receiving).await.expect("a peer that never answers Close");
    let result = result.unwrap();
    assert!(
        matches!(result, Err(Error::Ended(End::TimedOut(bowline::Timeout::Close)))),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_timer_that_runs_already_does_not_delay_one_that_is_over_sooner() {
    let config = soon().progress_timeout(60 * LONG);
    let (mut sender, mut receiver, far) = halves(Role::Server, &config);
    far.push(&header_to(Role::Server, 0x81, 100));
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    sender.close(1000, "").await.unwrap();
    let result = timeout(LONG, receiving).await.expect("a peer that never answers Close");
    let result = result.unwrap();
    assert!(
        matches!(result, Err(Error::Ended(End::TimedOut(bowline::Timeout::Close)))),
        "{result:?}"
    );
}

#[tokio::test]
async fn what_the_sender_does_takes_no_timer_from_a_receiver_that_waits() {
    let config = soon().progress_timeout(Duration::from_millis(20));
    let (mut sender, mut receiver, far) = halves(Role::Server, &config);
    far.push(&header_to(Role::Server, 0x81, 100));
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    sender.send("x").await.unwrap();
    let result = timeout(LONG, receiving).await.expect("a message that does not go on").unwrap();
    assert!(
        matches!(result, Err(Error::Ended(End::TimedOut(bowline::Timeout::Progress)))),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_stream_that_waits_already_keeps_to_the_close_timeout_that_its_sink_begins() {
    let (ws, _far) = open(Role::Server, &soon());
    let (mut sink, mut stream) = StreamExt::split(ws);
    let receiving = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    let result = timeout(LONG, receiving).await.expect("a peer that never answers Close");
    let result = result.unwrap();
    assert!(
        matches!(result, Some(Err(Error::Ended(End::TimedOut(bowline::Timeout::Close))))),
        "{result:?}"
    );
}

/// Peers that ping all the time, while the sending half feeds, sends and flushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ping_is_answered_while_the_sending_half_works() {
    const PINGS: u32 = 2000;
    let (ours, peer) = tokio::io::duplex(500);
    let (mut sender, mut receiver) = over!(ours, Role::Server, &Config::default()).split();
    let (mut from_us, mut to_us) = tokio::io::split(peer);
    let sending = tokio::spawn(async move {
        for i in 0..1000_u32 {
            let message = Message::from(i.to_be_bytes().to_vec());
            match i % 3 {
                0 => sender.send(message).await.unwrap(),
                1 => sender.feed(message).await.unwrap(),
                _ => {
                    sender.feed(message).await.unwrap();
                    sender.flush().await.unwrap();
                }
            }
        }
        sender.flush().await.unwrap();
        sender
    });
    let receiving = tokio::spawn(async move {
        while receiver.recv().await.unwrap().is_some() {}
        receiver
    });
    let pinging = tokio::spawn(async move {
        for i in 0..PINGS {
            to_us.write_all(&to(Role::Server, PING, &i.to_be_bytes())).await.unwrap();
        }
        to_us
    });
    let reading = async {
        let (mut wire, mut messages, mut last_pong) = (Vec::new(), 0_u32, None);
        while messages < 1000 || last_pong != Some(PINGS - 1) {
            assert!(from_us.read_buf(&mut wire).await.unwrap() > 0);
            while let Some(frame) = take_frame(&mut wire) {
                let number = u32::from_be_bytes(frame.payload[..].try_into().unwrap());
                if frame.opcode == PONG {
                    // Beyond 4 KiB the newest takes the place of the last that waits (§5.5.3).
                    assert!(last_pong < Some(number), "pong {number} behind {last_pong:?}");
                    last_pong = Some(number);
                } else {
                    assert_eq!(number, messages);
                    messages += 1;
                }
            }
        }
    };
    timeout(LONG, reading).await.expect("a reply or a message was left behind");
    let mut to_us = pinging.await.unwrap();
    let _sender = sending.await.unwrap();
    to_us.write_all(&close_to(Role::Server, 1000)).await.unwrap();
    timeout(LONG, receiving).await.expect("Close was left behind").unwrap();
}

#[tokio::test]
async fn halves_over_a_stream_of_few_bytes_lose_no_wakeup() {
    for width in [1, 2, 9, 100] {
        let (a, b) = tokio::io::duplex(width);
        let config = no_timeouts();
        let mut senders = tokio::task::JoinSet::new();
        let mut receivers = tokio::task::JoinSet::new();
        let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
        for ws in [over!(a, Role::Client, &config), over!(b, Role::Server, &config)] {
            let (mut sender, mut receiver) = ws.split();
            senders.spawn(async move {
                for i in 0..60_usize {
                    sender.feed(vec![i as u8; i * 3]).await.unwrap();
                    if i % 4 == 0 {
                        sender.ping(&[i as u8]).await.unwrap();
                    }
                }
                sender.flush().await.unwrap();
                sender
            });
            let count = count.clone();
            receivers.spawn(async move {
                // On and on, since the last pongs come behind the last message.
                for i in 0.. {
                    let message = receiver.recv().await.unwrap().unwrap();
                    assert_eq!(message.as_bytes(), vec![i as u8; i * 3]);
                    count.send(()).unwrap();
                }
            });
        }
        let mut alive = Vec::new();
        while let Some(result) =
            timeout(LONG, senders.join_next()).await.expect("a wakeup was lost")
        {
            alive.push(result.unwrap());
        }
        for _ in 0..120 {
            timeout(LONG, counted.recv()).await.expect("a wakeup was lost").unwrap();
        }
    }
}
