//! Peers that never stop. Streams in memory, and a timeout of zero, which has run out whenever it is looked at (attack
//! battery R15, R16, T03).

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use bowline::{Config, End, Initiator, Role, Timeout};
use futures_util::{FutureExt, StreamExt};
use smol::future::or;
use tokio::io::AsyncWriteExt;
use super::adapter::*;
use crate::support::stream::{Wakes, cancelled, finish, poll};
use crate::support::*;

const MESSAGES: usize = 20_000;

#[test]
fn a_peer_that_never_stops_does_not_starve_the_other_tasks_of_its_thread() {
    for endless in [
        to(Role::Server, TEXT, b"x"),
        to(Role::Server, PING, b""),
        to(Role::Server, PONG, b""),
        to(Role::Server, BINARY, &[0; 200_000]),
    ] {
        let (mut ws, far) = open(Role::Server, &Config::default());
        far.lock().endless = endless;
        // On one thread: this ends only if `recv` lets the other run.
        let flood = async { while ws.recv().await.unwrap().is_some() {} };
        let other = async {
            for _ in 0..10 {
                smol::future::yield_now().await;
            }
        };
        block_on(or(flood, other));
    }
}

/// Runs beside a task that counts how often it gets a turn, on the same thread; fails unless that is often enough.
fn shares_its_thread<F: Future>(what: &str, future: F) {
    let turns = Cell::new(0);
    let other = async {
        loop {
            turns.set(turns.get() + 1);
            smol::future::yield_now().await;
        }
    };
    block_on(or(async { drop(future.await) }, other));
    assert!(turns.get() >= 50, "{what}: the other task had {} turns", turns.get());
}

#[test]
fn whatever_receives_lets_the_other_tasks_of_its_thread_run() {
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
    });
    shares_its_thread("recv_borrowed and feed", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            let (message, mut out) = ws.recv_borrowed().await.unwrap().unwrap();
            out.feed(message).unwrap();
        }
    });
    shares_its_thread("recv_part", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            ws.recv_part().await.unwrap().unwrap();
        }
    });
    shares_its_thread("a half", async {
        let (_sender, mut receiver) = endless(&wire).split();
        for _ in 0..MESSAGES {
            receiver.recv().await.unwrap().unwrap();
        }
    });
    shares_its_thread("Stream", async {
        let mut ws = endless(&wire);
        for _ in 0..MESSAGES {
            ws.next().await.unwrap().unwrap();
        }
    });
}

#[test]
fn frames_that_give_no_message_let_the_other_tasks_run_too() {
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
        let (mut ws, far) = open(role, &Config::default().max_message_size(u64::MAX));
        far.push(&first);
        if !first.is_empty() {
            assert!(finish(ws.recv_part()).unwrap().unwrap().first);
        }
        far.change(|s| (s.endless, s.chunk) = (wire.repeat(10), 300));
        // It never has a message, so it is stopped from outside: if it lets go of the thread. A starved thread cannot
        // time itself out; the end of the stream wakes it up in the end.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let watched = far.clone();
        let watchdog = std::thread::spawn(move || {
            if stopped.recv_timeout(LONG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                watched.change(|s| {
                    (s.endless, s.read_error) = (vec![], Some(std::io::ErrorKind::Other));
                });
            }
        });
        let receiving = async {
            let result = ws.recv().await;
            panic!("{what}: {result:?}");
        };
        let other = async {
            for _ in 0..100 {
                smol::future::yield_now().await;
            }
        };
        block_on(or(receiving, other));
        drop(stop);
        watchdog.join().unwrap();
    }
}

#[test]
fn messages_that_came_in_one_read_are_given_in_turns() {
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

#[test]
fn large_messages_that_are_ready_are_given_in_turns_of_a_mebibyte() {
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

#[test]
fn a_flood_of_empty_messages_waits_in_the_socket_and_not_in_memory() {
    // Battery R15: whoever does not call recv reads nothing.
    let role = Role::Server;
    let (ours, mut peer) = tokio::io::duplex(4096);
    let connection = connection(role, &Config::default());
    let mut ws = WebSocket::from_connection(wrap(ours), connection, bowline::RecvBuf::new());
    block_on(async {
        let flood = start_task(async move {
            let wire = to(role, TEXT, b"").repeat(1000);
            for _ in 0..100 {
                peer.write_all(&wire).await.unwrap();
            }
            peer.write_all(&close_to(role, 1000)).await.unwrap();
            peer
        });
        let mut received = 0;
        while let Some(message) = ws.recv().await.unwrap() {
            assert_eq!(message, "".into());
            received += 1;
        }
        assert_eq!(received, 100_000);
        flood.await;
    });
}

#[test]
fn every_kind_of_frame_counts_for_a_turn() {
    let role = Role::Server;
    let fragments = [
        fragment_to(role, false, TEXT, b"x"),
        fragment_to(role, false, CONTINUATION, b"").repeat(1000),
    ];
    for (first, endless) in [
        (vec![], to(role, PING, b"")),
        (vec![], to(role, PONG, b"")),
        (vec![], to(role, PING, &[7; 125])),
        (fragments[0].clone(), fragment_to(role, false, CONTINUATION, &[b'x'; 40])),
        (header_to(role, BINARY | 0x80, 1 << 30), vec![7; 4096]),
    ] {
        let config = Config::default().max_message_size(2 << 30);
        for split in [false, true] {
            let (mut ws, far) = open(role, &config);
            far.push(&first);
            far.lock().endless = endless.repeat((200 << 10) / endless.len());
            let (wakes, waker) = Wakes::new();
            let cx = &mut Context::from_waker(&waker);
            if split {
                let (_sender, mut receiver) = ws.split();
                assert!(pin!(receiver.recv()).poll(cx).is_pending());
            } else {
                assert!(pin!(ws.recv()).poll(cx).is_pending());
            }
            assert!(wakes.count() > 0, "it goes on by itself");
            let read = far.lock().read_bytes;
            // A mebibyte of payload, and less if frames are small.
            let most = if endless.len() < 200 { 200 << 10 } else { 1300 << 10 };
            assert!(read <= most, "{read} bytes of frames of {} bytes in one turn", endless.len());
        }
    }
}

#[test]
fn a_peer_that_is_sent_away_and_never_stops_does_not_keep_the_thread() {
    // After a violation, what comes is read and dropped, in turns too.
    let role = Role::Server;
    let (mut ws, far) = open(role, &Config::default().close_timeout(None));
    far.push(b"\xff\xff\xff\xff");
    far.change(|s| (s.endless, s.chunk) = (vec![7; 100], 1));
    let (wakes, waker) = Wakes::new();
    let mut reads = 0;
    let mut recv = Box::pin(async { ws.recv().await.map(|_| ()) });
    for _ in 0..20 {
        assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let done = far.lock().reads - reads;
        assert!((1..=130).contains(&done), "{done} reads in one turn");
        reads += done;
    }
    assert!(wakes.count() >= 20);
}

/// How many messages come in one turn, and whether it goes on by itself.
fn in_one_turn(ws: &mut WebSocket<Io>) -> (usize, bool) {
    let got = Cell::new(0);
    let (wakes, waker) = Wakes::new();
    let mut all = pin!(async {
        while ws.recv().await.unwrap().is_some() {
            got.set(got.get() + 1);
        }
    });
    assert!(all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    (got.get(), wakes.count() > 0)
}

#[test]
fn messages_that_are_all_there_do_not_keep_the_thread_either() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    far.push(&to(Role::Server, TEXT, b"x").repeat(500));
    let (got, goes_on) = in_one_turn(&mut ws);
    assert!((100..=128).contains(&got), "{got} messages in one turn");
    assert!(goes_on);
    let (got, goes_on) = in_one_turn(&mut ws);
    assert!((100..=128).contains(&got), "{got} messages in the next turn");
    assert!(goes_on);
}

#[test]
fn after_a_wait_it_is_a_whole_turn_again() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    for _ in 0..10 {
        far.push(&to(Role::Server, TEXT, b"x").repeat(100));
        assert_eq!(in_one_turn(&mut ws), (100, false));
    }
}

#[test]
fn large_messages_count_by_their_bytes() {
    for (size, most) in [(100_000, 11), (4 << 20, 1)] {
        let (mut ws, far) = open(Role::Server, &Config::default().max_message_size(8 << 20));
        far.push(&to(Role::Server, BINARY, &vec![0; size]).repeat(20));
        // The first teaches the buffer to read much at once.
        finish(ws.recv()).unwrap();
        let most_in_a_turn = (0..10).map(|_| in_one_turn(&mut ws).0).max().unwrap();
        assert!((1..=most).contains(&most_in_a_turn), "{most_in_a_turn} of {size} bytes");
    }
}

#[test]
fn a_peer_that_floods_after_our_close_is_dropped_at_the_close_timeout() {
    // Battery T03. A read counts and so does a message: with one of them or both in a turn, it has to be looked at in
    // either place.
    let role = Role::Server;
    for wire in [
        to(role, TEXT, b"and on"),
        to(role, PING, b"p"),
        to(role, BINARY, &[0; 5000]),
        [to(role, PING, b"p"), to(role, TEXT, b"and on")].concat(),
    ] {
        for chunk in [usize::MAX, wire.len()] {
            for repeat in [1, 10] {
                let (mut ws, far) = open(role, &Config::default().close_timeout(Duration::ZERO));
                far.change(|s| (s.endless, s.chunk) = (wire.repeat(repeat), chunk));
                let closed = cancelled(ws.close(1000, ""), 1000).expect("for ever").unwrap();
                assert_eq!(closed.end, End::TimedOut(Timeout::Close));
            }
        }
    }
}

#[test]
fn a_close_that_came_with_the_last_read_of_a_turn_came_in_time() {
    // The timeout is looked at when all that was read is decoded: a handler or a thread that is late is not the peer's fault.
    for role in ROLES {
        let ping = to(role, PING, b"xx");
        for before in 0..128 {
            let (mut ws, far) = open(role, &Config::default().close_timeout(Duration::ZERO));
            far.change(|s| s.chunk = ping.len());
            far.push(&[ping.repeat(before), close_to(role, 1000)].concat());
            far.eof();
            finish(ws.start_close(1000, "")).unwrap();
            assert_eq!(finish(ws.recv()).unwrap(), None, "{role:?}, behind {before} pings");
            assert!(matches!(ws.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
        }
    }
}

#[test]
fn a_message_whose_rest_is_in_the_socket_is_not_given_up_unread() {
    // A handler took long: the progress timeout has run out, and nobody looked into the socket meanwhile.
    for role in ROLES {
        // At each place in a turn.
        for before in 0..300 {
            let (mut ws, far) = open(role, &Config::default().progress_timeout(Duration::ZERO));
            let last = to(role, TEXT, b"last");
            let (half, rest) = last.split_at(last.len() - 1);
            if before > 0 {
                far.push(&[to(role, TEXT, b"x").repeat(before), half.to_vec()].concat());
                for _ in 0..before {
                    assert_eq!(finish(ws.recv()).unwrap(), Some("x".into()));
                }
            } else {
                far.push(half);
            }
            far.push(rest);
            assert_eq!(finish(ws.recv()).unwrap(), Some("last".into()), "behind {before}");
            assert!(poll(pin!(ws.recv())).is_pending());
        }
    }
}
