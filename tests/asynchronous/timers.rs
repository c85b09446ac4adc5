//! Timeouts. The clock is real, so what a timeout does is seen with one of zero, which has run out whenever it is looked
//! at: such a test waits for nothing. That a timer wakes its task is seen with a short one, whose length does not matter.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bowline::handshake::{ClientRequest, ConnectError, RequestError};
use bowline::{Config, End, Error, Role, Timeout};
use super::adapter::*;
use crate::support::stream::{cancelled, finish, poll};
use crate::support::*;

const ZERO: Duration = Duration::ZERO;
/// Long enough to be waited for.
const SHORT: Duration = Duration::from_millis(20);

/// Done in a few polls that nothing wakes.
fn at_once<F: Future>(future: F) -> F::Output {
    cancelled(future, 10).expect("it waits")
}

#[track_caller]
fn assert_timed_out<T>(result: Result<T, Error>, timeout: Timeout) {
    match result {
        Err(Error::Ended(End::TimedOut(which))) => assert_eq!(which, timeout),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no timeout"),
    }
}

#[test]
fn a_peer_that_never_answers_close_is_given_up_at_the_close_timeout() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default().close_timeout(ZERO));
        let closed = at_once(ws.close(1000, "bye")).unwrap();
        assert_eq!((closed.end, closed.discarded), (End::TimedOut(Timeout::Close), 0));
        assert!(far.lock().shut);
        assert_eq!(close_code(&far.frames(role)[0]), 1000);
        assert_timed_out(at_once(ws.recv()), Timeout::Close);
    }
}

#[test]
fn a_close_that_the_stream_still_holds_back_has_not_left() {
    // TLS takes bytes into a buffer of its own: only its flush tells that Close is on its way.
    for role in ROLES {
        for split in [false, true] {
            let (mut ws, far) = open(role, &Config::default().close_timeout(ZERO));
            far.lock().flush_pending = true;
            if split {
                let (mut sender, mut receiver) = ws.split();
                assert!(cancelled(sender.close(1000, ""), 1).is_none());
                assert!(cancelled(receiver.recv(), 10).is_none(), "the peer cannot answer yet");
                far.change(|s| s.flush_pending = false);
                assert_timed_out(at_once(receiver.recv()), Timeout::Close);
            } else {
                assert!(cancelled(ws.close(1000, ""), 10).is_none(), "the peer cannot answer yet");
                far.change(|s| s.flush_pending = false);
                let closed = at_once(ws.close(1000, "")).unwrap();
                assert_eq!(closed.end, End::TimedOut(Timeout::Close));
            }
        }
    }
}

#[test]
fn close_takes_no_longer_than_the_send_timeout_if_the_peer_does_not_read() {
    // What was fed before waits in front of Close. The close timeout runs from when Close has left.
    for role in ROLES {
        for (queued, room) in [(0, 3), (100, 10), (20_000, 10)] {
            let config = Config::default().close_timeout(None).send_timeout(ZERO);
            let (mut ws, far) = open(role, &config);
            far.room(room);
            if queued > 0 {
                assert!(at_once(ws.feed(vec![0; queued])).is_ok());
            }
            let closed = at_once(ws.close(1000, "")).unwrap();
            assert_eq!(closed.end, End::TimedOut(Timeout::Send), "{queued} bytes queued");
        }
    }
}

#[test]
fn with_close_queued_a_peer_that_does_not_read_is_still_heard() {
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.room(10);
    assert!(cancelled(ws.send(vec![0; 100_000]), 1).is_none());
    assert!(cancelled(ws.start_close(1000, ""), 1).is_none());
    far.push(&to(role, TEXT, b"last words"));
    assert_eq!(at_once(ws.recv()).unwrap(), Some("last words".into()));
}

#[test]
fn a_peer_that_ends_a_violation_with_silence_is_left_at_the_close_timeout() {
    for room in [usize::MAX, 0] {
        let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(ZERO));
        far.room(room);
        far.push(&to(Role::Server, 0xF, b"bad"));
        assert!(matches!(at_once(ws.recv()), Err(Error::Ended(End::Failed(_)))));
        assert_eq!(far.lock().shut, room > 0, "it is too late for more");
    }
}

#[test]
fn a_client_waits_for_the_servers_end_no_longer_than_the_close_timeout() {
    // Battery T02.
    let (mut ws, far) = open(Role::Client, &Config::default().close_timeout(ZERO));
    far.push(&close_to(Role::Client, 1000));
    assert_eq!(at_once(ws.recv()).unwrap(), None);
}

#[test]
fn a_stream_that_cannot_be_shut_is_left_at_the_close_timeout() {
    let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(ZERO));
    far.change(|s| s.shut_pending = true);
    far.push(&close_to(Role::Server, 1000));
    assert_eq!(at_once(ws.recv()).unwrap(), None);
}

#[test]
fn a_peer_that_never_reads_ends_the_connection_at_the_send_timeout() {
    // Battery R13.
    for what in ["send", "feed", "send_part", "recv", "flush", "sink"] {
        for stuck in ["write", "flush"] {
            let config = Config::default().send_timeout(ZERO).max_send_queue(10);
            let (mut ws, far) = open(Role::Server, &config);
            match stuck {
                "write" => far.room(0),
                // As TLS does, which takes bytes into a buffer of its own.
                _ => far.lock().flush_pending = true,
            }
            at_once(ws.feed("0123456789")).unwrap();
            let result = match what {
                "send" => at_once(ws.send("y")),
                "feed" => at_once(ws.feed("y")),
                "send_part" => at_once(ws.send_part("y", false)),
                "recv" => at_once(ws.recv()).map(drop),
                "flush" => at_once(ws.flush()),
                _ => at_once(futures_util::SinkExt::send(&mut ws, "y".into())),
            };
            assert_timed_out(result, Timeout::Send);
            assert_eq!(ws.end(), Some(&End::TimedOut(Timeout::Send)), "{what}, {stuck}");
            for _ in 0..2 {
                assert_timed_out(at_once(ws.recv()), Timeout::Send);
            }
            match at_once(ws.send("more")) {
                Err(Error::Send(error)) => {
                    assert_eq!(error.refusal(), bowline::Refusal::Closed);
                }
                Err(Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
                other => panic!("{what}, {stuck}: {other:?}"),
            }
        }
    }
}

#[test]
fn each_half_gives_up_a_peer_that_never_reads() {
    let role = Role::Server;
    let (ws, far) = open(role, &Config::default().send_timeout(ZERO));
    let (mut sender, mut receiver) = ws.split();
    far.room(10);
    assert_timed_out(at_once(sender.send(vec![0; 1000])), Timeout::Send);
    assert_timed_out(at_once(receiver.recv()), Timeout::Send);

    // The receiving half, alone with its pongs.
    let (ws, far) = open(role, &Config::default().send_timeout(ZERO));
    let (sender, mut receiver) = ws.split();
    drop(sender);
    far.room(0);
    far.push(&to(role, PING, b"p"));
    assert_timed_out(at_once(receiver.recv()), Timeout::Send);
}

#[test]
fn a_frame_that_does_not_go_on_is_given_up_and_the_peer_is_told() {
    let role = Role::Server;
    for split in [false, true] {
        let config = Config::default().progress_timeout(ZERO);
        let (mut ws, far) = open(role, &config);
        far.push(&to(role, TEXT, b"half")[..8]);
        let told = || {
            assert_eq!(close_code(&far.frames(role)[0]), 1008);
            assert!(far.lock().shut);
            far.eof();
        };
        if split {
            let (_sender, mut receiver) = ws.split();
            assert!(poll(pin!(receiver.recv())).is_pending(), "the peer may read why");
            told();
            assert_timed_out(at_once(receiver.recv()), Timeout::Progress);
        } else {
            assert!(poll(pin!(ws.recv())).is_pending(), "the peer may read why");
            told();
            assert_timed_out(at_once(ws.recv()), Timeout::Progress);
        }
    }
}

#[test]
fn an_idle_connection_is_never_timed_out() {
    let config = Config::default().progress_timeout(ZERO).send_timeout(ZERO).close_timeout(ZERO);
    let (mut ws, far) = open(Role::Server, &config);
    assert!(cancelled(ws.recv(), 100).is_none());
    far.push(&to(Role::Server, TEXT, b"good morning"));
    assert_eq!(at_once(ws.recv()).unwrap(), Some("good morning".into()));
    at_once(ws.send("good morning")).unwrap();
    assert!(cancelled(ws.recv(), 100).is_none());
}

#[test]
fn a_timeout_that_no_clock_reaches_is_none() {
    let max = Duration::MAX;
    let config = Config::default()
        .handshake_timeout(max)
        .progress_timeout(max)
        .send_timeout(max)
        .close_timeout(max)
        .ping_interval(max);
    let (mut ws, far) = open(Role::Server, &config);
    let whole = to(Role::Server, TEXT, b"whole");
    far.push(&whole[..3]);
    assert!(cancelled(ws.recv(), 100).is_none());
    far.push(&whole[3..]);
    assert_eq!(at_once(ws.recv()).unwrap(), Some("whole".into()));
    far.room(0);
    assert!(cancelled(ws.send("x"), 100).is_none());
    assert!(cancelled(ws.close(1000, ""), 100).is_none());
    let (stream, _far) = io();
    assert!(cancelled(accept(stream, config), 100).is_none());
}

/// Waits for `future` on a runtime that polls it only when it is woken.
fn woken<T>(what: &str, future: impl Future<Output = T>) -> T {
    eprintln!("{what}");
    block_on(future)
}

#[test]
fn a_timer_wakes_whoever_waits_for_it() {
    let role = Role::Server;
    let (mut ws, _far) = open(role, &Config::default().close_timeout(SHORT));
    let closed = woken("close", ws.close(1000, "")).unwrap();
    assert_eq!(closed.end, End::TimedOut(Timeout::Close));

    for what in ["send", "recv"] {
        for stuck in ["write", "flush"] {
            let (mut ws, far) = open(role, &Config::default().send_timeout(SHORT));
            match stuck {
                "write" => far.room(0),
                _ => far.lock().flush_pending = true,
            }
            let result = match what {
                "send" => woken("send", ws.send("x")),
                _ => {
                    at_once(ws.feed("x")).unwrap();
                    woken("recv", ws.recv()).map(drop)
                }
            };
            assert_timed_out(result, Timeout::Send);
        }
    }

    let config = Config::default().progress_timeout(SHORT).close_timeout(SHORT);
    let (mut ws, far) = open(role, &config);
    far.push(&to(role, TEXT, b"half")[..8]);
    assert_timed_out(woken("progress, then linger", ws.recv()), Timeout::Progress);
    assert!(far.lock().shut);

    let request = ClientRequest::new("ws://a/").unwrap();
    let config = Config::default().handshake_timeout(SHORT).close_timeout(SHORT);
    for room in [usize::MAX, 0] {
        let (stream, far) = io();
        far.room(room);
        far.push(b"GET / HTTP/1.1\r\nHost:");
        let error = woken("accept, then linger", accept(stream, config.clone())).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::TimedOut)), "{error:?}");

        let (stream, far) = io();
        far.room(room);
        let error = woken("client", client(stream, &request, config.clone())).unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::TimedOut)), "{error:?}");
    }
}

#[test]
fn a_timer_that_runs_out_in_a_flood_is_seen() {
    // Battery T03, with a stream that is always ready.
    for wire in [to(Role::Server, BINARY, &[0; 5000]), to(Role::Server, PING, b"p")] {
        // Many frames with each read, and one.
        for (repeat, chunk) in [(10, usize::MAX), (1, wire.len())] {
            let (mut ws, far) = open(Role::Server, &Config::default().close_timeout(SHORT));
            far.change(|s| (s.endless, s.chunk) = (wire.repeat(repeat), chunk));
            let closed = woken("close", ws.close(1000, "")).unwrap();
            assert_eq!(closed.end, End::TimedOut(Timeout::Close));
        }
    }
}

/// Gives what the future gives at its second poll, which whatever wakes it first brings about.
async fn second_poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Pending if polls < 2 => Poll::Pending,
            polled => Poll::Ready(polled),
        }
    })
    .await
}

#[test]
fn a_timer_that_is_over_after_its_deadline_moved_is_set_anew() {
    // It is not polled again and again until then: that would keep the thread.
    in_time("recv", || {
        let role = Role::Server;
        let config = Config::default().send_timeout(SHORT).progress_timeout(60 * LONG);
        let (mut ws, far) = open(role, &config);
        let whole = to(role, TEXT, b"whole");
        far.push(&whole[..8]);
        far.room(0);
        finish(ws.feed("stuck")).unwrap();
        let result = block_on(async {
            let mut recv = pin!(ws.recv());
            // Before the short one is over, what it was for is done.
            let first = poll_fn(|cx| Poll::Ready(recv.as_mut().poll(cx))).await;
            far.lock().room = usize::MAX;
            if first.is_ready() { first } else { second_poll(recv).await }
        });
        if let Poll::Ready(result) = result {
            // The thread was not let run before it was over.
            assert_timed_out(result, Timeout::Send);
            return;
        }
        far.push(&whole[8..]);
        assert_eq!(at_once(ws.recv()).unwrap(), Some("whole".into()));
        assert_eq!(far.frames(role).len(), 1);
    });
}
