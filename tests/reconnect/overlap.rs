//! A session whose successor is made before it ends: in memory, on a paused clock.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline::handshake::Response;
use bowline::protocol::Never;
use bowline::tokio::Session;
use bowline::{Message, Outcome, Reconnect};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};

use super::on_tokio::Serve::{Answer, Close, Echo, NoServer, Slow};
use super::on_tokio::{LONG, SECOND, closed, policy, reconnecting};

/// Sessions of 90 to 100 s.
fn short() -> Reconnect {
    policy().max_session(100 * SECOND)
}

type Ws = bowline::tokio::WebSocket<DuplexStream>;

async fn answers(ws: &mut Ws) {
    ws.send("Hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some(Message::from("Hello")));
}

/// Uses the session until its successor is open. Gives how often it answered since `from`.
async fn use_until_successor(session: &mut Session<'_, DuplexStream>, from: Instant) -> u32 {
    let mut answered = 0;
    loop {
        let (ws, successor) = session.overlap();
        tokio::select! {
            () = async { answers(ws).await; sleep(SECOND / 10).await } => {
                answered += u32::from(Instant::now() > from);
            }
            successor = successor => {
                successor.unwrap();
                return answered;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_session_answers_while_the_new_one_opens() {
    let (mut sessions, log) = reconnecting(short(), &[Echo, Slow(5 * SECOND)]);
    let mut session = sessions.next().await.unwrap().unwrap();
    let (start, lasts) = (Instant::now(), session.remaining().unwrap());
    assert!(session.replace().is_none());
    let answered = use_until_successor(&mut session, start + lasts).await;
    assert!((45..=51).contains(&answered), "{answered} answers in 5 s");
    assert!(start.elapsed() - lasts - 5 * SECOND < SECOND / 100);
    // Both are alive, and the program has one until it asks for the other.
    answers(&mut session).await;
    let mut old = session.replace().unwrap();
    answers(&mut session).await;
    answers(&mut old).await;
    assert!(session.replace().is_none());
    assert_eq!(old.close(1000, "").await.unwrap().end.code(), 1000);
    assert_eq!((session.attempts(), session.downtime()), (1, Duration::ZERO));
    assert_eq!(session.previous(), None);
    assert!(session.remaining().unwrap() > 89 * SECOND);
    assert_eq!(log.count(), 2);
    // It is a session like any other: this one has a successor too, and its end is told.
    use_until_successor(&mut session, Instant::now()).await;
    let _ = session.replace().unwrap();
    session.close(1000, "").await.unwrap();
    drop(session);
    let session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.previous().unwrap().code(), 1000);
    assert_eq!(log.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_fails_leaves_the_old_session() {
    let script = [Echo, NoServer, Answer(Response::new(503)), Answer(Response::new(401)), Echo];
    let (mut sessions, log) = reconnecting(short(), &script);
    let mut session = sessions.next().await.unwrap().unwrap();
    let (_, successor) = session.overlap();
    let stopped = successor.await.unwrap_err();
    assert_eq!(stopped.why(), Never::Outcome(Outcome::Status(401)));
    assert_eq!(log.count(), 4);
    assert!(session.replace().is_none());
    answers(&mut session).await;
    // The program goes on all the same, after a wait.
    let before = Instant::now();
    use_until_successor(&mut session, Instant::now()).await;
    assert_ne!(log.attempts()[4], before);
    let _old = session.replace().unwrap();
    assert_eq!((session.attempts(), log.count()), (4, 5));
}

/// Also after codes that would stop it: some servers close a session because of its successor.
#[tokio::test(start_paused = true)]
async fn if_the_session_ends_the_attempt_goes_on_as_the_next() {
    for code in [1001, 1000, 1008] {
        let script = [Close(code, 102 * SECOND), Slow(9 * SECOND)];
        // The attempt begins after 101 s, and is under way when the session ends.
        let (mut sessions, log) = reconnecting(policy().max_session(100 * SECOND), &script);
        let mut session = sessions.next().await.unwrap().unwrap();
        sleep(101 * SECOND).await;
        {
            let (ws, successor) = session.overlap();
            let mut successor = pin!(successor);
            assert!(timeout(SECOND / 10, &mut successor).await.is_err());
            tokio::select! {
                end = ws.recv() => assert_eq!(end.unwrap(), None),
                _ = successor => panic!("the session ends before"),
            }
        }
        let ended = Instant::now();
        assert!(session.replace().is_none());
        drop(session);
        let mut session = sessions.next().await.unwrap().unwrap();
        assert_eq!((session.attempts(), log.count()), (1, 2), "{code}");
        assert_eq!(session.previous().unwrap().code(), code);
        assert_eq!(session.downtime(), ended.elapsed());
        assert!(ended.elapsed() <= 8 * SECOND, "no wait");
        answers(&mut session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_open_is_the_next_session() {
    let (mut sessions, log) = reconnecting(short(), &[Close(1008, 200 * SECOND), Echo]);
    let mut session = sessions.next().await.unwrap().unwrap();
    session.overlap().1.await.unwrap();
    assert_eq!(session.recv().await.unwrap(), None);
    drop(session);
    let before = Instant::now();
    let mut session = sessions.next().await.unwrap().unwrap();
    assert_eq!((before.elapsed(), log.count()), (Duration::ZERO, 2));
    assert_eq!(session.downtime(), Duration::ZERO);
    assert_eq!(session.previous().unwrap().code(), 1008);
    // Its time began when it was opened.
    assert_eq!(session.remaining(), Some(Duration::ZERO));
    answers(&mut session).await;
    // Nothing is left of the end of the one before.
    session.overlap().1.await.unwrap();
}

/// Between two attempts, the end of the session decides.
#[tokio::test(start_paused = true)]
async fn a_session_that_ends_between_attempts_ends_as_any_other() {
    let busy = Answer(Response::new(503).header("Retry-After", "60").unwrap());
    for (code, wait) in [(1008, 0), (1001, 50)] {
        let script = [Close(code, 105 * SECOND), busy.clone(), Echo];
        // A session that was long enough is no failure.
        let (mut sessions, log) = reconnecting(short().max_attempts(2), &script);
        let mut session = sessions.next().await.unwrap().unwrap();
        sleep(100 * SECOND).await;
        assert!(timeout(SECOND, session.overlap().1).await.is_err());
        assert_eq!(log.count(), 2);
        assert_eq!(session.recv().await.unwrap(), None);
        drop(session);
        let ended = Instant::now();
        match sessions.next().await {
            Ok(session) => {
                // What the server asked for holds.
                assert!(ended.elapsed() >= wait * SECOND && wait > 0);
                assert_eq!(session.unwrap().attempts(), 1);
            }
            Err(stopped) => assert_eq!(stopped.why(), Never::Outcome(closed(code))),
        }
        assert_eq!(log.count(), if wait > 0 { 3 } else { 2 });
    }
}

/// It is dropped at its first poll, at its second, and so on, in a session that lives on.
#[tokio::test(start_paused = true)]
async fn a_dropped_future_loses_nothing() {
    for polls in 1..6 {
        let (mut sessions, log) = reconnecting(short(), &[Echo, NoServer, Slow(5 * SECOND)]);
        let mut session = sessions.next().await.unwrap().unwrap();
        let lasts = session.remaining().unwrap();
        let start = Instant::now();
        'open: loop {
            assert!(start.elapsed() < 200 * SECOND, "no end");
            let mut successor = pin!(session.overlap().1);
            for _ in 0..polls {
                // Only the clock drives it, so no wake is lost that it needs.
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(opened) = successor.as_mut().poll(&mut cx) {
                    opened.unwrap();
                    break 'open;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(start.elapsed() >= lasts + 5 * SECOND);
        // A ceiling of 1 s lies between the attempts.
        assert!(start.elapsed() <= lasts + 7 * SECOND, "{:?}", start.elapsed() - lasts);
        assert_eq!(log.count(), 3);
        let mut old = session.replace().unwrap();
        answers(&mut old).await;
        answers(&mut session).await;
        assert_eq!(session.attempts(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_an_hour_holds_for_successors() {
    let policy = policy().max_session(SECOND).min_uptime(Duration::ZERO).attempts_per_hour(5);
    let (mut sessions, log) = reconnecting(policy, &[]);
    let mut session = sessions.next().await.unwrap().unwrap();
    for _ in 0..12 {
        session.overlap().1.await.unwrap();
        let mut old = session.replace().unwrap();
        answers(&mut session).await;
        old.close(1000, "").await.unwrap();
    }
    let attempts = log.attempts();
    assert_eq!(attempts.len(), 13);
    assert!(attempts.windows(6).all(|six| six[5] - six[0] >= 3_600 * SECOND), "{attempts:?}");
}

/// A long session is a success, although it goes on: the waits of its successor begin with the first.
#[tokio::test(start_paused = true)]
async fn failures_before_a_long_session_do_not_count() {
    let mut script = vec![NoServer; 4];
    script.extend([Echo, NoServer, NoServer, NoServer, NoServer, Echo]);
    let (mut sessions, log) = reconnecting(short().max_attempts(5), &script);
    let mut session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.attempts(), 5);
    session.overlap().1.await.unwrap();
    let _old = session.replace().unwrap();
    assert_eq!((session.attempts(), log.count()), (5, 10));
}

#[tokio::test(start_paused = true)]
async fn the_program_chooses_the_moment() {
    let (mut sessions, log) = reconnecting(policy(), &[]);
    let mut session = sessions.next().await.unwrap().unwrap();
    assert!(timeout(LONG, session.overlap().1).await.is_err());
    session.expire();
    assert_eq!(session.remaining(), Some(Duration::ZERO));
    session.expired().await;
    session.overlap().1.await.unwrap();
    assert!(session.replace().is_some());
    assert_eq!((session.remaining(), log.count()), (None, 2));
}
