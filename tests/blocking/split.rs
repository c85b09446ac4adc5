//! Halves for two threads (docs/design.md decision 2): no lock around decoding, no half that waits for the other, and one
//! slot of replies in which nothing is left.

#![cfg(feature = "std")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::blocking::{Far, Io, open};
use crate::support::*;
use bowline::blocking::{BlockingStream, RecvHalf, SendHalf, WebSocket};
use bowline::{Config, End, Error, Initiator, Message, RecvBuf, Refusal, Role, Timeout};

fn halves(role: Role, config: &Config) -> (SendHalf<Io>, RecvHalf<Io>, Far) {
    let (ws, far) = open(role, config);
    let (sender, receiver) = ws.split().unwrap();
    (sender, receiver, far)
}

fn over<S: BlockingStream>(stream: S, role: Role, config: &Config) -> WebSocket<S> {
    WebSocket::from_connection(stream, connection(role, config), RecvBuf::new()).unwrap()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// Battery R12: both ends send 64 MiB before either could have read all of it.
fn both_send<S: BlockingStream + Send + 'static>(a: S, b: S) {
    const MESSAGES: usize = 64;
    const SIZE: usize = 1 << 20;
    let config = Config::default();
    let (mut send_a, mut recv_a) = over(a, Role::Client, &config).split().unwrap();
    let (mut send_b, mut recv_b) = over(b, Role::Server, &config).split().unwrap();
    let (done, wait) = mpsc::channel::<()>();
    let threads = [
        spawn(move || {
            for i in 0..MESSAGES {
                send_a.send(vec![i as u8; SIZE]).unwrap();
            }
            assert!(send_a.close(1000, "").unwrap().is_none());
        }),
        spawn(move || {
            for i in 0..MESSAGES {
                send_b.send(vec![i as u8; SIZE]).unwrap();
            }
        }),
        spawn(move || {
            for i in 0..MESSAGES {
                let message = recv_b.recv().unwrap().unwrap();
                assert_eq!((message.as_bytes().len(), message.as_bytes()[i]), (SIZE, i as u8));
            }
            // The other direction has to be over before Close is answered.
            let _ = wait.recv_timeout(3 * LONG);
            assert_eq!(recv_b.recv().unwrap(), None);
        }),
        spawn(move || {
            for i in 0..MESSAGES {
                let message = recv_a.recv().unwrap().unwrap();
                assert_eq!((message.as_bytes().len(), message.as_bytes()[i]), (SIZE, i as u8));
            }
            drop(done);
            assert_eq!(recv_a.recv().unwrap(), None);
            assert!(matches!(recv_a.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
        }),
    ];
    for thread in threads {
        thread.wait_at_most(3 * LONG, "a deadlock");
    }
}

#[test]
fn two_ends_that_send_64_mib_at_each_other_finish() {
    let (a, b) = tcp();
    both_send(a, b);
}

#[cfg(unix)]
#[test]
fn two_ends_that_send_64_mib_at_each_other_over_a_unix_socket_finish() {
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    both_send(a, b);
}

#[test]
fn a_thread_may_send_while_another_waits_in_recv() {
    for role in ROLES {
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        let receiving = spawn(move || receiver.recv().unwrap());
        far.wait_until_reading();
        in_time("send beside a waiting recv", move || sender.send("out").unwrap());
        assert_eq!(shorthand(&far.frames(role)), [(TEXT, "out".into())]);
        far.push(&to(role, TEXT, b"in"));
        assert_eq!(receiving.wait("recv"), Some("in".into()));
    }
}

#[test]
fn pongs_and_close_leave_while_the_sender_is_blocked_and_the_receiver_never_blocks_on_it() {
    for role in ROLES {
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        far.room(0);
        let sending = spawn(move || {
            sender.send(vec![0; 100_000]).unwrap();
            sender
        });
        far.wait_until_writing();
        far.push(
            &[
                to(role, PING, b"1"),
                to(role, TEXT, b"a"),
                to(role, PING, b"2"),
                to(role, TEXT, b"b"),
            ]
            .concat(),
        );
        let mut receiver = in_time("recv beside a blocked send", move || {
            assert_eq!(receiver.recv().unwrap(), Some("a".into()));
            assert_eq!(receiver.recv().unwrap(), Some("b".into()));
            receiver
        });
        far.room(usize::MAX);
        let _sender = sending.wait("send");
        far.wait_for("both pongs", |s| {
            payloads(&decode(role, &s.writes.concat()), PONG) == [b"1", b"2"]
        });
        far.push(&close_to(role, 1000));
        far.eof();
        assert_eq!(in_time("Close", move || receiver.recv().unwrap()), None);
        let sent = far.frames(role);
        assert_eq!(sent.iter().map(|f| f.opcode).collect::<Vec<_>>(), [BINARY, PONG, PONG, CLOSE]);
    }
}

#[test]
fn the_answer_to_close_waits_for_a_blocked_sender_until_the_close_timeout() {
    let role = Role::Server;
    let time = Duration::from_millis(100);
    let (mut sender, mut receiver, far) = halves(role, &Config::default().close_timeout(time));
    far.room(10);
    let sending = spawn(move || sender.send(vec![0; 1000]));
    far.wait_until_writing();
    far.push(&close_to(role, 1000));
    let start = Instant::now();
    assert_eq!(in_time("recv", move || receiver.recv().unwrap()), None);
    assert!(start.elapsed() >= time, "it left while the sender was still at work");
    assert!(sending.wait("send").is_err(), "and then the sender cannot go on");
}

#[test]
fn a_reply_that_comes_while_the_sender_writes_is_sent_by_the_sender() {
    // A half that releases the writer checks the slot again. The receiver does not come back here.
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &Config::default());
    far.room(0);
    let sending = spawn(move || {
        sender.send("blocked").unwrap();
        sender
    });
    far.wait_until_writing();
    far.push(&[to(role, PING, b"p"), to(role, TEXT, b"a")].concat());
    let receiver = in_time("recv", move || {
        assert_eq!(receiver.recv().unwrap(), Some("a".into()));
        receiver
    });
    far.room(usize::MAX);
    let _sender = sending.wait("send");
    assert_eq!(shorthand(&far.frames(role)), [(TEXT, "blocked".into()), (PONG, "p".into())]);
    drop(receiver);
}

#[test]
fn a_reply_is_sent_while_the_sender_is_idle() {
    let role = Role::Server;
    let (_sender, mut receiver, far) = halves(role, &Config::default());
    far.push(&[to(role, PING, b"p"), to(role, TEXT, b"a")].concat());
    let receiver = in_time("recv", move || {
        assert_eq!(receiver.recv().unwrap(), Some("a".into()));
        receiver
    });
    assert_eq!(
        shorthand(&far.frames(role)),
        [(PONG, "p".into())],
        "before the message is given out"
    );
    drop(receiver);
}

#[test]
fn a_reply_that_the_socket_did_not_take_is_tried_again_while_the_receiver_waits() {
    let role = Role::Server;
    // With a close timeout it would check for that now and then.
    let (sender, mut receiver, far) = halves(role, &Config::default().close_timeout(None));
    drop(sender);
    far.room(0);
    far.push(&to(role, PING, b"p"));
    let receiving = spawn(move || receiver.recv().unwrap());
    far.wait_until_reading();
    far.room(usize::MAX);
    far.wait_for("the pong", |s| !s.writes.is_empty());
    far.push(&to(role, TEXT, b"a"));
    assert_eq!(receiving.wait("recv"), Some("a".into()));
    assert_eq!(shorthand(&far.frames(role)), [(PONG, "p".into())]);
}

#[test]
fn what_was_fed_does_not_wait_for_the_receiver_and_may_leave_with_its_reply() {
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &Config::default());
    sender.feed("fed").unwrap();
    assert_eq!(far.writes(), 0);
    far.push(&[to(role, PING, b"p"), to(role, TEXT, b"a")].concat());
    let receiver = in_time("recv", move || {
        receiver.recv().unwrap();
        receiver
    });
    assert_eq!(shorthand(&far.frames(role)), [(TEXT, "fed".into()), (PONG, "p".into())]);
    sender.feed(vec![0; 65 << 10]).unwrap();
    assert_eq!(far.frames(role).len(), 3, "64 KiB leave by themselves");
    sender.feed("last").unwrap();
    sender.flush().unwrap();
    assert_eq!(far.frames(role).len(), 4);
    drop(receiver);
}

#[test]
fn without_its_sending_half_a_receiver_answers_pings_and_close() {
    for role in ROLES {
        let (sender, mut receiver, far) = halves(role, &Config::default());
        drop(sender);
        far.push(&[to(role, PING, b"p"), close_to(role, 4000)].concat());
        far.eof();
        let receiver = in_time("recv", move || {
            assert_eq!(receiver.recv().unwrap(), None);
            receiver
        });
        let sent = far.frames(role);
        assert_eq!((sent[0].payload.as_slice(), close_code(&sent[1])), (&b"p"[..], 4000));
        assert!(far.lock().handles > 0);
        drop(receiver);
        assert_eq!(far.lock().handles, 0, "dropping both closes the socket");
    }
}

#[test]
fn without_its_receiving_half_a_sender_closes_unconfirmed() {
    for role in ROLES {
        let (mut sender, receiver, far) = halves(role, &Config::default());
        drop(receiver);
        sender.send("still").unwrap();
        assert_eq!(sender.close(1001, "").unwrap(), Some(End::Unconfirmed));
        let sent = far.frames(role);
        assert_eq!((sent[0].payload.as_slice(), close_code(&sent[1])), (&b"still"[..], 1001));
        assert!(far.lock().shut, "the peer is told that no more comes");
        match sender.send("late") {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
            other => panic!("{other:?}"),
        }
        drop(sender);
        assert_eq!(far.lock().handles, 0);
    }
}

#[test]
fn with_its_receiving_half_a_sender_leaves_the_end_to_it() {
    let role = Role::Server;
    let (mut sender, mut receiver, far) = halves(role, &Config::default());
    assert_eq!(sender.close(1001, "bye").unwrap(), None);
    assert!(!far.lock().shut);
    far.push(&[to(role, TEXT, b"last words"), close_to(role, 1001)].concat());
    let receiver = in_time("recv", move || {
        assert_eq!(receiver.recv().unwrap(), Some("last words".into()));
        assert_eq!(receiver.recv().unwrap(), None);
        receiver
    });
    assert!(matches!(receiver.end(), Some(End::Closed { initiator: Initiator::Local, .. })));
    assert_eq!(far.frames(role).len(), 1, "one Close each way");
}

#[test]
fn dropping_both_halves_closes_the_socket_and_the_peer_sees_eof() {
    for sender_first in [false, true] {
        let (ours, mut peer) = tcp();
        let (sender, receiver) = over(ours, Role::Server, &Config::default()).split().unwrap();
        if sender_first {
            drop(sender);
            drop(receiver);
        } else {
            drop(receiver);
            drop(sender);
        }
        peer.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
    }
}

#[test]
fn a_close_timeout_that_begins_in_the_sender_ends_the_receiver() {
    // The receiver waits already, without any deadline, when the other half begins to close. Then the peer sends
    // something that is no Close, and from then on the receiver knows.
    let role = Role::Server;
    let config = Config::default().close_timeout(Duration::from_millis(50));
    let (mut sender, mut receiver, far) = halves(role, &config);
    let receiving = spawn(move || {
        let first = receiver.recv();
        (first, receiver.recv())
    });
    far.wait_until_reading();
    sender.close(1000, "").unwrap();
    far.push(&to(role, TEXT, b"x"));
    let (first, second) = receiving.wait("recv");
    assert_eq!(first.unwrap(), Some("x".into()));
    assert!(matches!(second, Err(Error::Ended(End::TimedOut(Timeout::Close)))), "{second:?}");
}

#[test]
fn a_receiver_that_waits_already_keeps_to_the_close_timeout_that_the_sender_begins() {
    // `Config::close_timeout`: how long to wait for the peer's Close after ours. A silent peer.
    let config = Config::default().close_timeout(Duration::from_millis(50));
    let (mut sender, mut receiver, far) = halves(Role::Server, &config);
    let receiving = spawn(move || receiver.recv());
    far.wait_until_reading();
    sender.close(1000, "").unwrap();
    let result = receiving.wait_at_most(Duration::from_secs(5), "a peer that never answers Close");
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Close)))), "{result:?}");
}

#[test]
fn a_receiver_whose_peer_is_gone_does_not_wait_to_send_what_is_queued() {
    let (mut sender, mut receiver, far) = halves(Role::Server, &Config::default());
    far.room(0);
    sender.feed("nobody reads it").unwrap();
    far.eof();
    let receiving = spawn(move || receiver.recv());
    let result = receiving.wait_at_most(Duration::from_secs(3), "recv");
    assert!(matches!(result, Err(Error::Ended(End::PeerGone(_)))), "{result:?}");
}

#[test]
fn a_receiver_that_waits_already_ends_when_the_sender_gives_the_peer_up() {
    // `Config::send_timeout`: the connection ends, not only the half that found out.
    let time = Duration::from_millis(50);
    let config = Config::default().send_timeout(time).close_timeout(time);
    let (mut sender, mut receiver, far) = halves(Role::Server, &config);
    far.room(10);
    let receiving = spawn(move || receiver.recv());
    far.wait_until_reading();
    let sent = in_time("send", move || sender.send(vec![0; 1000]));
    assert!(matches!(sent, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{sent:?}");
    let received =
        receiving.wait_at_most(Duration::from_secs(5), "it waits for a peer that was given up");
    assert!(matches!(received, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{received:?}");
}

#[test]
fn a_receiver_that_waits_already_gives_up_a_peer_that_takes_nothing_of_what_is_fed() {
    // `Config::send_timeout`. Only the receiving half can notice: the sending half only feeds.
    for (close, drop_sender) in [(None, false), (Some(LONG), false), (None, true)] {
        let time = Duration::from_millis(100);
        let config = Config::default().send_timeout(time).close_timeout(close);
        let (mut sender, mut receiver, far) = halves(Role::Server, &config);
        far.room(0);
        let receiving = spawn(move || receiver.recv());
        far.wait_until_reading();
        sender.feed("never taken").unwrap();
        let sender = if drop_sender { None } else { Some(sender) };
        let received = receiving.wait_at_most(Duration::from_secs(5), "nobody noticed");
        assert!(
            matches!(received, Err(Error::Ended(End::TimedOut(Timeout::Send)))),
            "{received:?}"
        );
        drop(sender);
    }
}

#[test]
fn what_is_fed_while_the_receiver_waits_leaves_when_it_looks_up() {
    let role = Role::Server;
    let config = Config::default().send_timeout(Duration::from_millis(100));
    let (mut sender, mut receiver, far) = halves(role, &config);
    let receiving = spawn(move || receiver.recv().unwrap());
    far.wait_until_reading();
    sender.feed("fed").unwrap();
    far.wait_for("what was fed", |s| !s.writes.is_empty());
    far.push(&to(role, TEXT, b"in"));
    assert_eq!(receiving.wait("recv"), Some("in".into()));
    assert_eq!(shorthand(&far.frames(role)), [(TEXT, "fed".into())]);
}

#[test]
fn a_receiver_with_nothing_to_look_for_looks_up_rarely() {
    let (_sender, mut receiver, far) = halves(Role::Server, &Config::default());
    let receiving = spawn(move || receiver.recv());
    far.wait_until_reading();
    let timeout = far.lock().read_timeout.unwrap();
    assert!(timeout >= Duration::from_secs(4), "{timeout:?} with the default settings");
    far.eof();
    assert!(receiving.wait("recv").is_err());
}

#[test]
fn a_peer_that_was_given_up_is_not_received_any_more_although_it_never_stops() {
    let role = Role::Server;
    let config = Config::default().send_timeout(Duration::from_millis(50));
    let (mut sender, mut receiver, far) = halves(role, &config);
    far.room(10);
    let sent = in_time("send", move || sender.send(vec![0; 1000]));
    assert!(matches!(sent, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{sent:?}");
    // Each read has a whole message, so that recv never has to wait.
    let wire = to(role, TEXT, b"x");
    far.chunk(wire.len());
    far.push(&wire.repeat(100_000));
    let received = in_time("recv", move || {
        let mut received = 0;
        while receiver.recv().is_ok_and(|message| message.is_some()) {
            received += 1;
        }
        assert!(matches!(receiver.end(), Some(End::TimedOut(Timeout::Send))));
        received
    });
    assert!(received < 100, "{received} messages");
}

#[test]
fn a_receiver_that_never_waits_gives_up_a_peer_that_takes_no_pong() {
    // As above, but neither half has found out yet, and the peer pings.
    let role = Role::Server;
    let config = Config::default().send_timeout(Duration::from_millis(50));
    let (sender, mut receiver, far) = halves(role, &config);
    far.room(0);
    let wire = [to(role, PING, b"p"), to(role, TEXT, b"x")].concat();
    far.chunk(wire.len());
    far.push(&wire.repeat(200_000));
    let end = in_time("recv", move || {
        while receiver.recv().is_ok_and(|message| message.is_some()) {}
        receiver.end().cloned()
    });
    assert_eq!(end, Some(End::TimedOut(Timeout::Send)));
    drop(sender);
}

#[test]
fn keepalive_does_not_give_up_a_peer_that_takes_a_long_message_slowly() {
    // The sender is in one write for longer than the pong timeout, and the ping waits for it. The bytes that the peer
    // takes show life.
    let role = Role::Server;
    let time = Duration::from_millis(100);
    let config = Config::default().ping_interval(time / 2).pong_timeout(time).send_timeout(LONG);
    let (mut sender, mut receiver, far) = halves(role, &config);
    far.room(0);
    let sending = spawn(move || (sender.send(vec![7; 40_000]), sender));
    far.wait_until_writing();
    let receiving = spawn(move || (receiver.recv(), receiver));
    for _ in 0..10 {
        far.let_pass(time / 3);
        far.room(3000);
    }
    far.room(usize::MAX);
    let (sent, _sender) = sending.wait("send");
    sent.unwrap();
    far.push(&to(role, TEXT, b"in"));
    let (received, receiver) = receiving.wait("recv");
    assert_eq!(received.unwrap(), Some("in".into()));
    assert!(receiver.end().is_none());
}

#[test]
fn close_of_a_half_is_idempotent() {
    for role in ROLES {
        // Twice, before the peer answers.
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        assert_eq!(sender.close(1000, "").unwrap(), None);
        assert_eq!(sender.close(1001, "again").unwrap(), None);
        assert_eq!(sender.clone().close(1001, "again").unwrap(), None);
        assert_eq!(far.frames(role).len(), 1, "one Close");
        far.push(&close_to(role, 1000));
        far.eof();
        let receiver = in_time("recv", move || {
            assert_eq!(receiver.recv().unwrap(), None);
            receiver
        });
        // And when it is known how it ended.
        let end = receiver.end().cloned();
        assert!(end.is_some());
        assert_eq!(sender.close(1000, "").unwrap(), end);
        drop(receiver);
        assert_eq!(sender.close(1000, "").unwrap(), end);

        // After the peer's Close.
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        far.push(&close_to(role, 4001));
        far.eof();
        in_time("recv", move || assert_eq!(receiver.recv().unwrap(), None));
        let end = sender.close(1000, "").unwrap().unwrap();
        assert!(matches!(end, End::Closed { initiator: Initiator::Remote, .. }), "{end:?}");

        // After the peer has gone.
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        far.eof();
        in_time("recv", move || assert!(receiver.recv().is_err()));
        assert!(matches!(sender.close(1000, "").unwrap(), Some(End::PeerGone(_))));

        // When nobody receives.
        let (mut sender, receiver, far) = halves(role, &Config::default());
        drop(receiver);
        for _ in 0..2 {
            assert_eq!(sender.close(1000, "").unwrap(), Some(End::Unconfirmed));
        }
        assert_eq!(far.frames(role).len(), 1, "one Close");

        // An invalid code or reason is refused in any case.
        match sender.close(999, "") {
            Err(Error::Send(error)) => assert_ne!(error.refusal(), Refusal::Closed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sends_of_many_clones_wait_for_room() {
    // `Config::max_send_queue`: they wait for it, and are never refused.
    let role = Role::Server;
    let (sender, mut receiver, far) = halves(role, &Config::default().max_send_queue(100));
    far.chunk(50);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut sender = sender.clone();
            spawn(move || {
                for i in 0..100 {
                    let message = vec![7_u8; 90];
                    if i % 2 == 0 {
                        sender.feed(message).unwrap();
                    } else {
                        sender.send(message).unwrap();
                    }
                }
                sender.flush().unwrap();
            })
        })
        .collect();
    // Replies take room as well.
    far.push(&[to(role, PING, &[1; 100]).repeat(50), close_to(role, 1000)].concat());
    for thread in threads {
        thread.wait("a sending thread");
    }
    far.eof();
    drop(in_time("recv", move || receiver.recv()));
    assert_eq!(payloads(&far.frames(role), BINARY).len(), 400);
}

#[test]
fn a_half_receives_for_some_time_only_although_the_peer_pings() {
    let role = Role::Server;
    let (sender, mut receiver, far) = halves(role, &Config::default());
    drop(sender);
    let pings = to(role, PING, b"p");
    far.chunk(pings.len());
    far.push(&pings.repeat(100_000));
    far.drip(Duration::from_millis(1));
    let receiver = in_time("recv_timeout", move || {
        let timeout = Duration::from_millis(50);
        assert!(matches!(receiver.recv_timeout(timeout), Err(Error::TimedOut)));
        let deadline = Instant::now() + timeout;
        assert!(matches!(receiver.recv_deadline(deadline), Err(Error::TimedOut)));
        assert!(matches!(receiver.recv_borrowed_deadline(deadline), Err(Error::TimedOut)));
        assert!(matches!(receiver.recv_part_deadline(deadline), Err(Error::TimedOut)));
        assert!(Instant::now() >= deadline);
        receiver
    });
    assert!(receiver.end().is_none());
}

#[test]
fn clones_of_the_sending_half_send_whole_messages_one_after_the_other() {
    let role = Role::Client;
    let (sender, receiver, far) = halves(role, &Config::default());
    far.chunk(100);
    let threads: Vec<_> = (0..4_u8)
        .map(|thread| {
            let mut sender = sender.clone();
            spawn(move || {
                for i in 0..100_u8 {
                    let message = [thread, i].repeat(100);
                    if i % 2 == 0 {
                        sender.send(message).unwrap()
                    } else {
                        sender.feed(message).unwrap()
                    }
                }
                sender.flush().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.wait("a sending thread");
    }
    let mut next = [0; 4];
    for frame in far.frames(role) {
        let thread = frame.payload[0];
        let i = std::mem::replace(&mut next[usize::from(thread)], frame.payload[1] + 1);
        assert_eq!(frame.payload, [thread, i].repeat(100), "torn or out of order");
    }
    assert_eq!(next, [100; 4]);
    drop((sender, receiver));
    assert_eq!(far.lock().handles, 0);
}

#[test]
fn a_message_in_parts_has_nothing_of_another_clone_in_it() {
    for role in ROLES {
        let (mut first, _receiver, far) = halves(role, &Config::default());
        let mut other = first.clone();
        let refusal = |result: Result<(), Error>| match result {
            Err(Error::Send(error)) => error.refusal(),
            result => panic!("{result:?}"),
        };
        first.send_part("a", false).unwrap();
        assert_eq!(refusal(other.send("x")), Refusal::MessageOpen);
        assert_eq!(refusal(other.send_part("x", true)), Refusal::MessageOpen);
        assert_eq!(refusal(first.clone().send_part("x", true)), Refusal::MessageOpen);
        other.ping(b"p").unwrap();
        first.send_part("b", true).unwrap();
        other.send_part("c", false).unwrap();
        assert_eq!(refusal(first.send_part("x", true)), Refusal::MessageOpen);
        drop(other);
        assert_eq!(refusal(first.clone().send_part("x", true)), Refusal::MessageOpen);
        first.close(1000, "").unwrap();
        let sent: Vec<_> = far.frames(role).iter().map(|f| (f.opcode, f.fin)).collect();
        let parts = [(TEXT, false), (PING, true), (CONTINUATION, true), (TEXT, false)];
        assert_eq!(sent, [&parts[..], &[(CLOSE, true)]].concat());
    }
}

#[test]
fn halves_that_are_put_together_again_lose_nothing() {
    for role in ROLES {
        let (mut sender, mut receiver, far) = halves(role, &Config::default());
        let wire = [text_in_fragments(role, "in fragments"), to(role, TEXT, b"next")].concat();
        let (early, late) = wire.split_at(20);
        far.push(early);
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
        sender.feed("queued").unwrap();
        sender.send_part("par", false).unwrap();
        let mut ws = receiver.reunite(sender).unwrap();
        far.push(late);
        assert_eq!(ws.recv().unwrap(), Some("in fragments".into()));
        let (mut sender, receiver) = ws.split().unwrap();
        sender.send_part("ts", true).unwrap();
        let mut ws = receiver.reunite(sender).unwrap();
        assert_eq!(ws.recv().unwrap(), Some("next".into()));
        ws.send("whole again").unwrap();
        let sent = shorthand(&far.frames(role));
        let texts: Vec<_> = sent.iter().filter(|(o, _)| *o < CLOSE).map(|(_, t)| t).collect();
        assert_eq!(texts, ["queued", "par", "ts", "whole again"]);
        assert_eq!(sent.iter().filter(|(opcode, _)| *opcode == PONG).count(), 2);
        far.push(&close_to(role, 1000));
        far.eof();
        let (end, handles) = in_time("recv", move || {
            assert_eq!(ws.recv().unwrap(), None);
            let end = ws.end().cloned();
            drop(ws);
            let handles = far.lock().handles;
            (end, handles)
        });
        assert!(matches!(end, Some(End::Closed { .. })));
        assert_eq!(handles, 0);
    }
}

#[test]
fn what_the_receiving_half_still_owed_is_sent_by_the_whole() {
    let role = Role::Server;
    let (sender, mut receiver, far) = halves(role, &Config::default());
    far.room(0);
    far.push(&[to(role, PING, b"owed"), to(role, TEXT, b"a")].concat());
    assert_eq!(receiver.recv().unwrap(), Some("a".into()));
    let mut ws = receiver.reunite(sender).unwrap();
    far.room(usize::MAX);
    ws.flush().unwrap();
    assert_eq!(shorthand(&far.frames(role)), [(PONG, "owed".into())]);
}

#[test]
fn a_peer_that_a_half_gave_up_is_given_up_by_the_whole() {
    let config = Config::default().send_timeout(Duration::from_millis(20));
    let (mut sender, receiver, far) = halves(Role::Server, &config);
    far.room(0);
    sender.send("lost").unwrap_err();
    let mut ws = receiver.reunite(sender).unwrap();
    assert!(ws.flush().is_err());
    let result = in_time("recv", move || ws.recv());
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{result:?}");
}

#[test]
fn halves_that_do_not_fit_come_back_and_go_on() {
    let (sender, receiver, _far) = halves(Role::Server, &Config::default());
    let (strange_sender, strange_receiver, _strange) = halves(Role::Server, &Config::default());
    let error = receiver.reunite(strange_sender).unwrap_err();
    assert!(error.to_string().contains("different connections"), "{error}");
    let (strange_sender, receiver) = error.into_halves();
    strange_receiver.reunite(strange_sender).unwrap();

    let clone = sender.clone();
    let error = receiver.reunite(sender).unwrap_err();
    assert!(error.to_string().contains("clone"), "{error}");
    let (mut sender, receiver) = error.into_halves();
    drop(clone);
    // They are as they were: the sender does not think that nobody receives.
    assert_eq!(sender.close(1000, "").unwrap(), None);
    receiver.reunite(sender).unwrap();
}

#[test]
fn each_half_lends_its_stream() {
    let (ours, _peer) = tcp();
    let address = ours.peer_addr().unwrap();
    let ws = over(ours, Role::Server, &Config::default());
    assert_eq!(ws.get_ref().peer_addr().unwrap(), address);
    let (sender, receiver) = ws.split().unwrap();
    assert_eq!(sender.with_ref(|stream| stream.peer_addr().unwrap()), address);
    assert_eq!(receiver.get_ref().peer_addr().unwrap(), address);
}

/// A peer that reads frames from its socket.
struct Peer {
    stream: TcpStream,
    wire: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, wire: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn read_until(&mut self, mut enough: impl FnMut(&Frame) -> bool) {
        loop {
            while let Some(frame) = take_frame(&mut self.wire) {
                if enough(&frame) {
                    return;
                }
            }
            let mut buffer = [0; 4096];
            let n = self.stream.read(&mut buffer).expect("a reply or a message was left behind");
            assert!(n > 0, "the end came too soon");
            self.wire.extend(&buffer[..n]);
        }
    }
}

#[test]
fn every_ping_is_answered_while_the_sending_half_works() {
    const PINGS: u32 = 5000;
    const MESSAGES: u32 = 3000;
    let (ours, peer) = tcp();
    let (mut sender, mut receiver) = over(ours, Role::Server, &Config::default()).split().unwrap();
    let sending = spawn(move || {
        for i in 0..MESSAGES {
            let message = Message::from(i.to_be_bytes().to_vec());
            if i % 3 == 0 { sender.send(message).unwrap() } else { sender.feed(message).unwrap() }
        }
        sender.flush().unwrap();
        sender
    });
    let receiving = spawn(move || receiver.recv().unwrap());
    let mut writer = peer.try_clone().unwrap();
    let mut peer = Peer::new(peer);
    let pinging = spawn(move || {
        for i in 0..PINGS {
            writer.write_all(&to(Role::Server, PING, &i.to_be_bytes())).unwrap();
        }
    });
    let (mut messages, mut last_pong) = (0, None);
    peer.read_until(|frame| {
        let number = u32::from_be_bytes(frame.payload[..].try_into().unwrap());
        if frame.opcode == PONG {
            // Beyond 4 KiB the newest replaces the last one that waits (RFC 6455 §5.5.3).
            assert!(last_pong < Some(number), "pong {number} behind {last_pong:?}");
            last_pong = Some(number);
        } else {
            assert_eq!(number, messages);
            messages += 1;
        }
        messages == MESSAGES && last_pong == Some(PINGS - 1)
    });
    pinging.wait("the pings");
    let _sender = sending.wait("the sender");
    // And nothing is left that the next ping would replace.
    peer.write(&to(Role::Server, PING, b"last"));
    peer.read_until(|frame| (frame.opcode, frame.payload.as_slice()) == (PONG, b"last"));
    peer.write(&close_to(Role::Server, 1000));
    peer.read_until(|frame| frame.opcode == CLOSE);
    assert_eq!(receiving.wait("Close"), None);
}

#[test]
fn a_ping_is_answered_at_once_however_busy_the_sender_is() {
    // One ping at a time, the next when its pong has come. If one pong were left in the slot, nothing would send it.
    let (ours, peer) = tcp();
    let mut peer = Peer::new(peer);
    ours.set_nodelay(true).unwrap();
    let (mut sender, mut receiver) = over(ours, Role::Server, &Config::default()).split().unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let sending = spawn(move || {
        while let Err(mpsc::TryRecvError::Empty) = stopped.try_recv() {
            sender.feed("busy").unwrap();
        }
    });
    let receiving = spawn(move || receiver.recv().unwrap());
    let start = Instant::now();
    for i in 0..500_u32 {
        peer.write(&to(Role::Server, PING, &i.to_be_bytes()));
        peer.read_until(|frame| frame.opcode == PONG && frame.payload == i.to_be_bytes());
    }
    assert!(start.elapsed() < LONG, "{:?} for 500 pings", start.elapsed());
    drop(stop);
    sending.wait("the sender");
    peer.write(&close_to(Role::Server, 1000));
    assert_eq!(receiving.wait("Close"), None);
}

#[test]
fn what_is_owed_leaves_after_a_call_that_held_the_writer() {
    for role in ROLES {
        for by_try_feed in [false, true] {
            let (mut sender, mut receiver, far) = halves(role, &Config::default());
            far.push(&[to(role, PING, b"now"), to(role, TEXT, b"Hello")].concat());
            sender.with_ref(|_| {
                // The receiving half cannot answer, and does not wait for it.
                let message = std::thread::scope(|scope| {
                    scope.spawn(|| receiver.recv().unwrap()).join().unwrap()
                });
                assert_eq!(message, Some(Message::from("Hello")));
                assert!(far.written().is_empty());
            });
            if by_try_feed {
                sender.try_feed("fed").unwrap();
            }
            assert_eq!(payloads(&far.frames(role), PONG), [b"now"]);
        }
    }
}

#[test]
fn try_feed_of_a_half_waits_for_nobody() {
    for role in ROLES {
        let (mut sender, _receiver, far) = halves(role, &Config::default());
        sender.try_feed("first").unwrap();
        assert!(far.written().is_empty());
        far.room(0);
        let mut other = sender.clone();
        let sending = spawn(move || other.send("second"));
        far.wait_until_writing();
        let refused = sender.try_feed("third").unwrap_err();
        assert_eq!(refused.refusal(), Refusal::QueueFull);
        assert_eq!(refused.into_message(), Some(Message::from("third")));
        far.room(usize::MAX);
        sending.wait("the clone").unwrap();
        sender.try_feed("third").unwrap();
        sender.flush().unwrap();
        let all: [&[u8]; 3] = [b"first", b"second", b"third"];
        assert_eq!(payloads(&far.frames(role), TEXT), all);
    }
    // Without room the message comes back too.
    let (mut sender, _receiver, _far) = halves(Role::Server, &Config::default().max_send_queue(1));
    sender.try_feed("fits").unwrap();
    let refused = sender.try_feed("does not").unwrap_err();
    assert_eq!(refused.into_message(), Some(Message::from("does not")));
}
