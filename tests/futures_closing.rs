//! How connections end over the adapter for `futures-io`, and its timeouts. Its clock is real, so those that have to run out
//! are short, and nothing measures how long they took.

#![cfg(all(feature = "tokio", feature = "futures-io"))]

mod support;

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use bowline::handshake::{Accept, ClientRequest, ConnectError, RequestError, Response};
use bowline::{Config, End, Error, Initiator, Refusal, Role, Rule, Timeout};
use smol::future::{or, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use support::over_futures::*;
use support::stream::{Wakes, finish, poll};
use support::*;

const SOON: Duration = Duration::from_millis(20);

/// Runs on smol, and fails instead of waiting for ever.
fn run<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(LONG).await;
        panic!("it waits for ever");
    };
    smol::block_on(or(future, late))
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, peer) = zip(listener.accept(), TcpStream::connect(address)).await;
    (ours.unwrap().0, peer.unwrap())
}

#[test]
fn a_client_and_a_server_of_smol_talk_and_close() {
    run(async {
        let (ours, peer) = tcp().await;
        let server = async {
            let incoming = Incoming::read(ours, Config::default()).await.unwrap();
            assert_eq!(incoming.request().path(), "/chat");
            let accept = Accept::new().subprotocol(Some("chat"));
            let mut ws = incoming.accept(accept).await.unwrap();
            while let Some((message, mut out)) = ws.recv_borrowed().await.unwrap() {
                out.feed(message).unwrap();
            }
            ws.end().cloned()
        };
        let client = async {
            let request = ClientRequest::new("ws://a/chat").unwrap().subprotocol("chat").unwrap();
            let (mut ws, response) = client(peer, &request, Config::default()).await.unwrap();
            assert_eq!(response.subprotocol(), Some("chat"));
            for size in [0, 1, 70_000, 1 << 20] {
                ws.send(pattern(size)).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(pattern(size).into()));
            }
            ws.close(4000, "bye").await.unwrap()
        };
        let (served, closed) = zip(server, client).await;
        assert!(closed.end.is_clean(), "{closed:?}");
        assert!(matches!(served, Some(End::Closed { initiator: Initiator::Remote, .. })));
    });
}

#[test]
fn bytes_that_come_one_at_a_time_are_the_same_messages() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        let wire = [
            to(role, TEXT, "zw\u{00f6}lf".as_bytes()),
            fragment_to(role, false, BINARY, &pattern(200)),
            to(role, PING, b"p"),
            fragment_to(role, true, CONTINUATION, b"end"),
            close_to(role, 1000),
        ];
        let (last, rest) = wire.concat().split_last().map(|(l, r)| (*l, r.to_vec())).unwrap();
        let mut messages = Vec::new();
        for byte in rest {
            far.push(&[byte]);
            if let std::task::Poll::Ready(message) = poll(pin!(ws.recv())) {
                messages.push(message.unwrap().expect("no Close yet"));
            }
        }
        far.push(&[last]);
        far.eof();
        assert_eq!(finish(ws.recv()).unwrap(), None);
        let long = [pattern(200), b"end".to_vec()].concat();
        assert_eq!(messages, ["zw\u{00f6}lf".into(), long.into()]);
        let sent = far.frames(role);
        assert_eq!(sent.iter().map(|f| f.opcode).collect::<Vec<_>>(), [PONG, CLOSE]);
    }
}

#[test]
fn a_violation_is_told_and_the_write_side_shut_before_input_is_discarded() {
    for (first, payload, code) in [(0x3, &b"bad"[..], 1002), (TEXT, b"\xff", 1007)] {
        for role in ROLES {
            let (mut ws, far) = open(role, &Config::default());
            far.push(&to(role, first, payload));
            assert!(poll(pin!(ws.recv())).is_pending(), "the peer has not ended its side");
            assert_eq!(close_code(&far.frames(role)[0]), code);
            assert!(far.lock().shut);
            far.eof();
            for _ in 0..2 {
                assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::Failed(_)))));
            }
        }
    }
}

#[test]
fn a_violations_close_arrives_at_a_peer_that_keeps_sending() {
    // A close with unread input would send a reset, which destroys what was sent last.
    run(async {
        let (ours, mut peer) = tcp().await;
        let (role, config) = (Role::Server, Config::default());
        let mut ws =
            WebSocket::from_connection(ours, connection(role, &config), Default::default());
        let serving = async {
            let error = ws.recv().await.unwrap_err();
            assert!(
                matches!(error, Error::Ended(End::Failed(e)) if e.rule() == Rule::ReservedOpcode)
            );
        };
        let peering = async {
            peer.write_all(&to(role, 0x3, b"bad")).await.unwrap();
            peer.write_all(&to(role, BINARY, &[0; 60_000])).await.unwrap();
            let mut wire = Vec::new();
            peer.read_to_end(&mut wire).await.expect("a reset instead of an end");
            peer.close().await.unwrap();
            wire
        };
        let ((), wire) = zip(serving, peering).await;
        assert_eq!(close_code(&frames(role, &wire)[0]), 1002);
    });
}

#[test]
fn input_of_a_peer_that_never_stops_is_discarded_up_to_a_limit() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        far.push(&to(role, 0xF, b"bad"));
        far.lock().endless = vec![0; 10_000];
        assert!(finish(ws.recv()).is_err());
        let read = far.lock().read_bytes;
        assert!((1 << 20..2 << 20).contains(&read), "{read} bytes of an endless peer were read");
    }
}

#[test]
fn limits_hold() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts().max_message_size(100));
        far.push(&[to(role, BINARY, &pattern(100)), header_to(role, 0x82, 101)].concat());
        far.eof();
        assert_eq!(finish(ws.recv()).unwrap(), Some(pattern(100).into()));
        match finish(ws.recv()) {
            Err(Error::Ended(End::Failed(error))) => assert_eq!(error.close_code().get(), 1009),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_after_start_close_still_come_and_close_counts_what_it_drops() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.start_close(1001, "bye")).unwrap();
        far.push(&[to(role, TEXT, b"a"), to(role, TEXT, b"b"), close_to(role, 1001)].concat());
        far.eof();
        assert_eq!(finish(ws.recv()).unwrap(), Some("a".into()));
        let closed = finish(ws.close(1001, "")).unwrap();
        assert_eq!((closed.end.is_clean(), closed.discarded), (true, 1));
        match finish(ws.send("late")) {
            Err(Error::Send(error)) => assert_eq!(error.refusal(), Refusal::Closed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_of_the_stream_end_the_connection() {
    for role in ROLES {
        let (mut ws, far) = open(role, &no_timeouts());
        far.lock().read_error = Some(ErrorKind::ConnectionReset);
        assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))));

        let (mut ws, far) = open(role, &no_timeouts());
        far.lock().read_error = Some(ErrorKind::Other);
        assert!(matches!(finish(ws.recv()), Err(Error::Io(_))), "whatever it was is told once");
        assert!(matches!(finish(ws.recv()), Err(Error::Ended(End::PeerGone(_)))));

        // What the peer said last is received though nothing can be sent.
        let (mut ws, far) = open(role, &no_timeouts());
        far.lock().write_error = Some(ErrorKind::BrokenPipe);
        far.push(&[to(role, TEXT, b"last words"), close_to(role, 4001)].concat());
        far.eof();
        assert!(matches!(finish(ws.send("x")), Err(Error::Io(_))));
        assert_eq!(finish(ws.recv()).unwrap(), Some("last words".into()));
        assert_eq!(finish(ws.recv()).unwrap(), None);
        assert_eq!(ws.end().unwrap().code().get(), 4001);
    }
}

#[test]
fn a_peer_that_never_answers_close_is_given_up_at_the_close_timeout() {
    for role in ROLES {
        // A peer that does nothing, and one that does not even read.
        for room in [usize::MAX, 0] {
            let (mut ws, far) = open(role, &Config::default().close_timeout(SOON));
            far.room(room);
            let closed = run(ws.close(1000, "bye")).unwrap();
            assert_eq!(closed.end, End::TimedOut(Timeout::Close));
            assert!(far.lock().shut);
        }
    }
}

#[test]
fn a_peer_that_neither_stops_nor_closes_is_given_up_at_the_close_timeout() {
    let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(SOON));
    far.lock().endless = to(Role::Server, TEXT, b"and on");
    let closed = run(ws.close(1000, "")).unwrap();
    assert_eq!(closed.end, End::TimedOut(Timeout::Close));
}

#[test]
fn a_peer_that_ends_a_violation_with_silence_is_left_at_the_close_timeout() {
    for room in [usize::MAX, 0] {
        let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(SOON));
        far.room(room);
        far.push(&to(Role::Server, 0xF, b"bad"));
        assert!(matches!(run(ws.recv()), Err(Error::Ended(End::Failed(_)))));
        assert!(far.lock().shut || room == 0);
    }
}

#[test]
fn a_peer_that_never_reads_ends_the_connection_at_the_send_timeout() {
    for what in ["send", "recv", "flush"] {
        for stuck in ["write", "flush"] {
            let (mut ws, far) = open(Role::Server, &Config::default().send_timeout(SOON));
            match stuck {
                "write" => far.room(0),
                // As TLS does, which takes bytes into a buffer of its own.
                _ => far.lock().flush_pending = true,
            }
            let result = run(async {
                ws.feed("x").await.unwrap();
                match what {
                    "send" => ws.send("y").await,
                    "recv" => ws.recv().await.map(drop),
                    _ => ws.flush().await,
                }
            });
            assert!(
                matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))),
                "{what}, {stuck}: {result:?}"
            );
            assert_eq!(ws.end(), Some(&End::TimedOut(Timeout::Send)));
        }
    }
}

#[test]
fn a_frame_that_does_not_go_on_is_given_up_and_the_peer_is_told() {
    let (mut ws, far) = open(Role::Server, &Config::default().progress_timeout(SOON));
    far.push(&to(Role::Server, TEXT, b"half")[..8]);
    let ended = run(async {
        let receiving = async { ws.recv().await.unwrap_err() };
        let leaving = async {
            while far.writes() == 0 {
                smol::future::yield_now().await;
            }
            far.eof();
        };
        zip(receiving, leaving).await.0
    });
    assert!(matches!(ended, Error::Ended(End::TimedOut(Timeout::Progress))), "{ended:?}");
    assert_eq!(close_code(&far.frames(Role::Server)[0]), 1008);
}

#[test]
fn an_opening_handshake_that_does_not_come_is_given_up() {
    let config = Config::default().handshake_timeout(SOON).close_timeout(SOON);
    for room in [usize::MAX, 0] {
        let (stream, far) = io();
        far.room(room);
        far.push(b"GET / HTTP/1.1\r\nHost:");
        let error = run(accept(stream, config.clone())).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");
        assert_eq!(far.written().starts_with(b"HTTP/1.1 408 "), room > 0);

        let (stream, far) = io();
        far.room(room);
        let request = ClientRequest::new("ws://a/").unwrap();
        let error = run(client(stream, &request, config.clone())).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error:?}");
    }
}

const HEAD: &str = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_is_no_websocket_gets_an_http_answer() {
    let (stream, far) = io();
    far.stutter(1);
    far.push(HEAD.as_bytes());
    far.eof();
    let incoming = finish(Incoming::read(stream, no_timeouts())).unwrap();
    assert!(!incoming.request().is_upgrade());
    finish(incoming.respond(&Response::new(200).body("hello"))).unwrap();
    let answer = String::from_utf8(far.written()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    assert!(far.lock().shut);

    for (head, status) in [(HEAD, "426"), ("nonsense\r\n\r\n", "400")] {
        let (stream, far) = io();
        far.push(head.as_bytes());
        far.eof();
        assert!(matches!(finish(accept(stream, no_timeouts())), Err(Error::Request(_))));
        let answer = String::from_utf8(far.written()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[test]
fn a_peer_that_never_stops_does_not_starve_the_other_tasks_of_its_thread() {
    for endless in [
        to(Role::Server, TEXT, b"x"),
        to(Role::Server, PING, b""),
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
        run(or(flood, other));
    }
}

#[test]
fn messages_that_are_all_there_do_not_keep_the_thread_either() {
    let (mut ws, far) = open(Role::Server, &Config::default());
    for _ in 0..500 {
        far.push(&to(Role::Server, TEXT, b"x"));
    }
    let got = Cell::new(0);
    let (wakes, waker) = Wakes::new();
    let mut all = pin!(async {
        while ws.recv().await.unwrap().is_some() {
            got.set(got.get() + 1);
        }
    });
    assert!(all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!((1..=128).contains(&got.get()), "{} messages in one turn", got.get());
    assert_eq!(wakes.count(), 1, "it goes on by itself");
}
