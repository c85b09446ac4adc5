//! The iterator of each adapter over real sockets.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bowline::handshake::{ClientRequest, Response};
use bowline::protocol::Never;
use bowline::{Config, Error, Message, Outcome, Reconnect, blocking};

use crate::support::{LONG, in_time};

/// Without a wait: each session counts as long, and nobody has to spread.
fn at_once() -> Reconnect {
    Reconnect::default()
        .first_delay(Duration::ZERO)
        .spread(Duration::ZERO)
        .min_uptime(Duration::ZERO)
}

/// A wait that no test lives to see the end of.
fn hardly_ever() -> Reconnect {
    let long = Duration::from_secs(1_000_000);
    at_once().first_delay(long).max_delay(long)
}

/// A server that echoes one message and closes with these codes, one after the other. Each is 0 for none, or a status.
fn server(codes: &'static [u16]) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (give, targets) = mpsc::channel();
    thread::spawn(move || {
        for &code in codes {
            let (socket, _) = listener.accept()?;
            socket.set_read_timeout(Some(LONG))?;
            let incoming = blocking::Incoming::read(socket, Config::default())?;
            let _ = give.send(incoming.request().target().to_string());
            if (200..600).contains(&code) {
                incoming.respond(&Response::new(code))?;
                continue;
            }
            let mut ws = incoming.accept(Default::default())?;
            let message = ws.recv()?.unwrap();
            ws.send(message)?;
            if code != 0 {
                ws.close(code, "")?;
            }
        }
        Ok::<_, Error>(())
    });
    (address, targets)
}

/// A request with the number of the attempt.
fn requests(address: SocketAddr) -> impl FnMut() -> Result<ClientRequest, Error> + Send + 'static {
    let attempts = AtomicU32::new(0);
    move || {
        let n = attempts.fetch_add(1, Ordering::Relaxed);
        Ok(ClientRequest::new(&format!("ws://{address}/{n}"))?)
    }
}

const CODES: &[u16] = &[1001, 0, 503, 1012, 1008];

/// What happens to every adapter at that server: the codes of the ends before each session, and why it stopped.
const ENDS: [Option<u16>; 4] = [None, Some(1001), Some(1006), Some(1012)];

fn check(ends: &[Option<u16>], why: Never, targets: &mpsc::Receiver<String>) {
    assert_eq!(ends, ENDS);
    assert_eq!(why, Never::Outcome(Outcome::Closed(1008.into())));
    let targets: Vec<_> = targets.iter().collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
}

#[test]
fn blocking_sessions() {
    let (address, targets) = server(CODES);
    let (ends, why) = in_time("sessions", move || {
        let mut sessions =
            blocking::Reconnecting::new(at_once(), Config::default(), requests(address));
        let mut ends = Vec::new();
        loop {
            match sessions.next() {
                Err(stopped) => return (ends, stopped.why()),
                Ok(session) => {
                    let mut session = session.unwrap();
                    ends.push(session.previous().map(|end| end.code().get()));
                    session.send("Hello").unwrap();
                    assert_eq!(session.recv().unwrap(), Some(Message::from("Hello")));
                    let _ = session.recv();
                }
            }
        }
    });
    check(&ends, why, &targets);
}

#[test]
fn blocking_sessions_over_streams_of_the_program() {
    let (address, targets) = server(&[1001, 1000]);
    in_time("sessions", move || {
        let mut requests = requests(address);
        let open = move || Ok((TcpStream::connect(address)?, requests()?));
        let mut sessions = blocking::Reconnecting::over(at_once(), Config::default(), open);
        while let Some(mut session) = sessions.next().unwrap() {
            session.send("Hello").unwrap();
            while session.recv().unwrap().is_some() {}
        }
    });
    assert_eq!(targets.iter().count(), 2);
}

/// The wait ends at the nudge, in another thread or before the wait began.
#[test]
fn a_nudge_ends_the_wait_of_a_thread() {
    let (address, _targets) = server(&[1000]);
    in_time("the nudge", move || {
        let attempts = AtomicU32::new(0);
        let mut requests = requests(address);
        let request = move || match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => Err(std::io::Error::other("no token").into()),
            _ => requests(),
        };
        let (give, waiting) = mpsc::channel();
        let mut sessions = blocking::Reconnecting::new(hardly_ever(), Config::default(), request)
            .on_wait(move |_| give.send(()).unwrap());
        let nudge = sessions.nudge();
        let nudging = thread::spawn(move || {
            waiting.recv().unwrap();
            nudge.nudge();
        });
        let session = sessions.next().unwrap().unwrap();
        assert_eq!(session.attempts(), 2);
        nudging.join().unwrap();
    });
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_sessions() {
    let (address, targets) = server(CODES);
    let (ends, why) = in_time("sessions", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut requests = requests(address);
            let request = move || std::future::ready(requests());
            let mut sessions =
                bowline::tokio::Reconnecting::new(at_once(), Config::default(), request);
            let mut ends = Vec::new();
            loop {
                match sessions.next().await {
                    Err(stopped) => return (ends, stopped.why()),
                    Ok(session) => {
                        let mut session = session.unwrap();
                        ends.push(session.previous().map(|end| end.code().get()));
                        session.send("Hello").await.unwrap();
                        let echo = session.recv().await.unwrap();
                        assert_eq!(echo, Some(Message::from("Hello")));
                        let _ = session.recv().await;
                    }
                }
            }
        })
    });
    check(&ends, why, &targets);
}

#[cfg(feature = "futures-io")]
#[test]
fn futures_sessions() {
    let (address, targets) = server(CODES);
    let (ends, why) = in_time("sessions", move || {
        smol::block_on(async {
            let mut requests = requests(address);
            let open = move || {
                let request = requests();
                async move { Ok((smol::net::TcpStream::connect(address).await?, request?)) }
            };
            let mut sessions =
                bowline::futures::Reconnecting::over(at_once(), Config::default(), open);
            let mut ends = Vec::new();
            loop {
                match sessions.next().await {
                    Err(stopped) => return (ends, stopped.why()),
                    Ok(session) => {
                        let mut session = session.unwrap();
                        ends.push(session.previous().map(|end| end.code().get()));
                        session.send("Hello").await.unwrap();
                        let echo = session.recv().await.unwrap();
                        assert_eq!(echo, Some(Message::from("Hello")));
                        let _ = session.recv().await;
                    }
                }
            }
        })
    });
    check(&ends, why, &targets);
}

#[cfg(feature = "futures-io")]
#[test]
fn a_nudge_ends_the_wait_of_a_task_without_a_runtime() {
    let (address, _targets) = server(&[1000]);
    in_time("the nudge", move || {
        smol::block_on(async {
            let (attempts, mut requests) = (AtomicU32::new(0), requests(address));
            let open = move || {
                let n = attempts.fetch_add(1, Ordering::Relaxed);
                let request = requests();
                async move {
                    if n == 0 {
                        return Err(std::io::Error::other("no token").into());
                    }
                    Ok((smol::net::TcpStream::connect(address).await?, request?))
                }
            };
            let (give, waiting) = mpsc::channel();
            let mut sessions =
                bowline::futures::Reconnecting::over(hardly_ever(), Config::default(), open)
                    .on_wait(move |_| give.send(()).unwrap());
            let nudge = sessions.nudge();
            let nudging = thread::spawn(move || {
                waiting.recv().unwrap();
                nudge.nudge();
            });
            assert_eq!(sessions.next().await.unwrap().unwrap().attempts(), 2);
            nudging.join().unwrap();
        });
    });
}

/// A server that echoes on each connection, with many at once.
fn echoes() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            thread::spawn(move || {
                socket.set_read_timeout(Some(LONG))?;
                let mut ws = blocking::accept(socket, Config::default())?;
                while let Some(message) = ws.recv()? {
                    ws.send(message)?;
                }
                Ok::<_, Error>(())
            });
        }
    });
    address
}

/// Fails at the second call.
fn failing_once(
    mut requests: impl FnMut() -> Result<ClientRequest, Error>,
) -> impl FnMut() -> Result<ClientRequest, Error> {
    let mut calls = 0;
    move || {
        calls += 1;
        if calls == 2 { Err(std::io::Error::other("no token").into()) } else { requests() }
    }
}

#[test]
fn a_blocking_session_is_renewed() {
    fn answers(ws: &mut blocking::WebSocket<blocking::MaybeTls>) {
        ws.send("Hello").unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::from("Hello")));
    }
    let address = echoes();
    in_time("the renewal", move || {
        let request = failing_once(requests(address));
        let mut sessions = blocking::Reconnecting::new(at_once(), Config::default(), request);
        let mut session = sessions.next().unwrap().unwrap();
        assert!(session.renew().unwrap().is_none(), "its time is not over");
        session.expire();
        assert!(session.renew().unwrap().is_none(), "the attempt fails");
        answers(&mut session);
        let mut old = session.renew().unwrap().unwrap();
        answers(&mut old);
        answers(&mut session);
        assert_eq!((session.attempts(), session.downtime()), (2, Duration::ZERO));
        assert_eq!(old.close(1000, "").unwrap().end.code(), 1000);
        assert!(session.renew().unwrap().is_none());
        session.close(1000, "").unwrap();
        drop(session);
        let session = sessions.next().unwrap().unwrap();
        assert_eq!(session.previous().unwrap().code(), 1000);
    });
}

/// What would stop `next` is told once, and the session goes on. Then there is a wait.
#[test]
fn a_blocking_session_that_is_not_renewed_goes_on() {
    let (address, _targets) = server(&[1000]);
    in_time("the renewal", move || {
        let mut calls = 0;
        let mut requests = requests(address);
        let request = move || {
            calls += 1;
            if calls == 1 { requests() } else { Ok(ClientRequest::new("no URL")?) }
        };
        let mut sessions = blocking::Reconnecting::new(hardly_ever(), Config::default(), request);
        let mut session = sessions.next().unwrap().unwrap();
        session.expire();
        assert!(session.renew().unwrap().is_none());
        let stopped = session.renew().unwrap_err();
        assert_eq!(stopped.why(), Never::Outcome(Outcome::Invalid));
        assert!(session.renew().unwrap().is_none(), "a wait");
        session.send("Hello").unwrap();
        assert_eq!(session.recv().unwrap(), Some(Message::from("Hello")));
    });
}

/// That the successor could not be made is forgotten when the session ends in another way.
#[test]
fn the_end_of_a_session_goes_before_a_failed_renewal() {
    let (address, _targets) = server(&[1001, 1000]);
    in_time("the renewal", move || {
        let mut calls = 0;
        let mut requests = requests(address);
        let request = move || {
            calls += 1;
            if calls == 2 { Ok(ClientRequest::new("no URL")?) } else { requests() }
        };
        let mut sessions = blocking::Reconnecting::new(at_once(), Config::default(), request);
        let mut session = sessions.next().unwrap().unwrap();
        session.expire();
        assert!(session.renew().unwrap().is_none());
        session.send("Hello").unwrap();
        while session.recv().unwrap().is_some() {}
        drop(session);
        assert_eq!(sessions.next().unwrap().unwrap().previous().unwrap().code(), 1001);
    });
}

#[cfg(feature = "futures-io")]
#[test]
fn a_session_is_renewed_without_a_runtime() {
    async fn answers(ws: &mut bowline::futures::WebSocket<smol::net::TcpStream>) {
        ws.send("Hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(Message::from("Hello")));
    }
    let address = echoes();
    in_time("the renewal", move || {
        smol::block_on(async {
            let mut requests = failing_once(requests(address));
            let open = move || {
                let request = requests();
                async move { Ok((smol::net::TcpStream::connect(address).await?, request?)) }
            };
            let policy = at_once().max_session(Duration::from_millis(1));
            let mut sessions =
                bowline::futures::Reconnecting::over(policy, Config::default(), open);
            let mut session = sessions.next().await.unwrap().unwrap();
            for attempts in [2, 1] {
                let (ws, successor) = session.overlap();
                let (opened, ()) = futures_util::join!(successor, answers(ws));
                opened.unwrap();
                let mut old = session.replace().unwrap();
                answers(&mut old).await;
                answers(&mut session).await;
                assert_eq!((session.attempts(), session.downtime()), (attempts, Duration::ZERO));
                assert_eq!(old.close(1000, "").await.unwrap().end.code(), 1000);
            }
        });
    });
}
