//! `tokio::Reconnecting` in memory, on a paused clock.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::handshake::{ClientRequest, Response};
use bowline::protocol::Never;
use bowline::tokio::{Incoming, Reconnecting, WebSocket};
use bowline::{Config, End, Error, Initiator, Message, Outcome, Reconnect, Then};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

/// What the server does with an attempt.
#[derive(Clone, Debug)]
pub(super) enum Serve {
    /// There is no server.
    NoServer,
    /// It answers with this.
    Answer(Response),
    /// It closes with this code after this time.
    Close(u16, Duration),
    /// It drops the connection after this time.
    Drop(Duration),
    /// It sends messages back.
    Echo,
    /// It takes this long to open the stream, and then sends messages back.
    Slow(Duration),
}
use Serve::{Answer, Close, Drop, Echo, NoServer, Slow};

/// What was done with each attempt, and when.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Instant>>>);

impl Log {
    pub(super) fn attempts(&self) -> Vec<Instant> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.attempts().len()
    }
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const LONG: Duration = Duration::from_secs(100_000);

pub(super) fn policy() -> Reconnect {
    Reconnect::default().spread(Duration::ZERO)
}

pub(super) fn reconnecting(
    policy: Reconnect,
    script: &[Serve],
) -> (Reconnecting<DuplexStream>, Log) {
    let log = Log::default();
    let (times, mut script) = (log.clone(), VecDeque::from(script.to_vec()));
    let open = move || {
        times.0.lock().unwrap().push(Instant::now());
        let serve_it = script.pop_front().unwrap_or(Echo);
        async move {
            match serve_it {
                NoServer => return Err(io::Error::from(ErrorKind::ConnectionRefused).into()),
                Slow(time) => sleep(time).await,
                _ => {}
            }
            let (near, far) = duplex(4096);
            tokio::spawn(serve(far, serve_it));
            Ok((near, ClientRequest::new("ws://localhost/")?))
        }
    };
    (Reconnecting::over(policy, Config::default(), open), log)
}

async fn serve(stream: DuplexStream, how: Serve) -> Result<(), Error> {
    let config = Config::default();
    if let Answer(response) = &how {
        return Incoming::read(stream, config).await?.respond(response).await;
    }
    let mut ws: WebSocket<_> = bowline::tokio::accept(stream, config).await?;
    match how {
        Close(code, time) => {
            let _ = timeout(time, ws.recv()).await;
            ws.close(code, "").await?;
        }
        Drop(time) => {
            let _ = timeout(time, ws.recv()).await;
        }
        _ => {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
        }
    }
    Ok(())
}

pub(super) fn closed(code: u16) -> Outcome {
    Outcome::Closed(code.into())
}

#[tokio::test(start_paused = true)]
async fn each_session_tells_how_the_last_one_ended() {
    let script = [Close(1001, 60 * SECOND), NoServer, NoServer, Echo];
    let (mut sessions, log) = reconnecting(policy(), &script);
    let mut session = sessions.next().await.unwrap().unwrap();
    assert_eq!((session.attempts(), session.previous()), (1, None));
    assert_eq!(session.downtime(), Duration::ZERO);
    assert_eq!(session.response().status(), 101);
    assert_eq!(session.recv().await.unwrap(), None);
    drop(session);
    let lost = Instant::now();

    let mut session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.attempts(), 3);
    assert_eq!(session.downtime(), lost.elapsed());
    let end = session.previous().unwrap();
    assert!(matches!(end, End::Closed { initiator: Initiator::Remote, .. }));
    assert_eq!(end.code(), 1001);
    session.send("Hello").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), Some(Message::from("Hello")));
    drop(session);
    // The program dropped it, so nobody knows how it would have ended.
    let session = sessions.next().await.unwrap().unwrap();
    assert_eq!((session.attempts(), session.previous()), (1, None));
    drop(session);
    assert_eq!(log.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_normal_close_is_the_end_and_others_are_errors() {
    let script = [Close(1000, 60 * SECOND), Close(1008, SECOND), Echo];
    let (mut sessions, log) = reconnecting(policy(), &script);
    while let Some(mut session) = sessions.next().await.unwrap() {
        assert_eq!(session.recv().await.unwrap(), None);
    }
    assert_eq!(log.count(), 1);
    // The program goes on all the same.
    let mut session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.recv().await.unwrap(), None);
    drop(session);
    let stopped = sessions.next().await.unwrap_err();
    assert_eq!(stopped.why(), Never::Outcome(closed(1008)));
    assert!(matches!(stopped.error(), Error::Ended(end) if end.code() == 1008));
    assert_eq!(stopped.to_string(), "closed by the peer, code 1008");
    assert!(matches!(Error::from(stopped), Error::Ended(_)));
    assert_eq!(log.count(), 2);
    assert!(sessions.next().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_ignores_the_stop_is_no_flood() {
    let refusal = Answer(Response::new(401));
    let (mut sessions, log) = reconnecting(policy(), &vec![refusal; 100]);
    let _ = timeout(60 * SECOND, async {
        loop {
            let stopped = sessions.next().await.unwrap_err();
            assert_eq!(stopped.why(), Never::Outcome(Outcome::Status(401)));
        }
    })
    .await;
    // Ceilings of 1, 2, 4, 8, 16 and 30 s; half of them on average.
    assert!((3..30).contains(&log.count()), "{}", log.count());
}

#[tokio::test(start_paused = true)]
async fn attempts_in_a_row_have_an_end() {
    let (mut sessions, log) = reconnecting(policy().max_attempts(3), &vec![NoServer; 9]);
    let stopped = sessions.next().await.unwrap_err();
    assert_eq!(stopped.why(), Never::Attempts(3));
    assert_eq!(
        stopped.to_string(),
        "connection refused; 3 attempts in a row failed, which is max_attempts"
    );
    assert_eq!(log.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_back() {
    let busy = Response::new(503).header("Retry-After", "120").unwrap();
    let (mut sessions, log) = reconnecting(policy(), &[Answer(busy), Echo]);
    sessions.nudge().nudge();
    assert!(sessions.next().await.unwrap().is_some());
    let waited = log.attempts()[1] - log.attempts()[0];
    assert!(waited >= 120 * SECOND && waited < 122 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_left_alone() {
    let (mut sessions, log) = reconnecting(policy(), &[Close(1013, 60 * SECOND), Echo]);
    sessions.next().await.unwrap().unwrap().recv().await.unwrap();
    let lost = Instant::now();
    assert!(sessions.next().await.unwrap().is_some());
    assert!(log.attempts()[1] - lost >= 15 * SECOND);
}

/// Nothing is waited for before the connection is dropped.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_is_closed_at_once() {
    let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
    let open = move || {
        let (near, far) = duplex(4096);
        let give = give.clone();
        tokio::spawn(async move {
            let ws = bowline::tokio::accept(far, Config::default()).await.unwrap();
            give.send(ws.into_inner().await.unwrap().0).unwrap();
        });
        async { Ok((near, ClientRequest::new("ws://localhost/")?)) }
    };
    let policy = policy().first_delay(Duration::ZERO);
    let mut sessions = Reconnecting::over(policy, Config::default(), open);
    let before = Instant::now();
    for _ in 0..2 {
        let mut session = sessions.next().await.unwrap().unwrap();
        // The server never answers this Close.
        session.start_close(1000, "").await.unwrap();
        let mut far = take.recv().await.unwrap();
        drop(session);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), 8, "a Close and nothing more");
    }
    assert!(before.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_nudge_ends_the_wait() {
    let policy = policy().first_delay(LONG).max_delay(LONG);
    let (mut sessions, _) = reconnecting(policy, &[NoServer]);
    let (nudge, start) = (sessions.nudge(), Instant::now());
    tokio::spawn(async move {
        sleep(SECOND / 2).await;
        nudge.nudge();
    });
    assert!(sessions.next().await.unwrap().is_some());
    assert_eq!(start.elapsed(), SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_nudge_during_an_attempt_is_for_the_wait_after_it() {
    let policy = policy().first_delay(LONG).max_delay(LONG);
    let (mut sessions, log) = reconnecting(policy, &[Slow(60 * SECOND)]);
    let (nudge, start) = (sessions.nudge(), Instant::now());
    tokio::spawn(async move {
        sleep(SECOND).await;
        nudge.nudge();
    });
    assert!(sessions.next().await.unwrap().is_some());
    // The first attempt ran into the timeout of the handshake.
    assert_eq!((start.elapsed(), log.count()), (10 * SECOND, 2));
}

#[tokio::test(start_paused = true)]
async fn a_nudge_before_an_attempt_is_for_that_attempt() {
    let policy = policy().first_delay(LONG).max_delay(LONG);
    let (mut sessions, _) = reconnecting(policy, &[NoServer]);
    sessions.nudge().nudge();
    assert!(timeout(SECOND / 100, sessions.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_nudge_during_a_session_has_no_effect() {
    let policy = policy().first_delay(LONG).max_delay(LONG);
    let (mut sessions, _) = reconnecting(policy, &[Drop(60 * SECOND)]);
    let nudge = sessions.nudge();
    let mut session = sessions.next().await.unwrap().unwrap();
    nudge.nudge();
    session.recv().await.unwrap_err();
    drop(session);
    assert!(timeout(SECOND / 100, sessions.next()).await.is_err());
}

/// As in `select!`, where another branch often wins.
#[tokio::test(start_paused = true)]
async fn an_attempt_goes_on_where_it_was() {
    let (mut sessions, log) = reconnecting(policy(), &[Slow(8 * SECOND)]);
    let start = Instant::now();
    let attempts = loop {
        if let Ok(session) = timeout(SECOND / 10, sessions.next()).await {
            break session.unwrap().unwrap().attempts();
        }
    };
    assert_eq!((attempts, log.count()), (1, 1));
    assert_eq!(start.elapsed(), 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_where_it_was() {
    let (mut sessions, log) = reconnecting(policy(), &[NoServer, NoServer]);
    let start = Instant::now();
    while timeout(SECOND / 100, sessions.next()).await.is_err() {}
    assert_eq!(log.count(), 3);
    // Ceilings of 1 s and 2 s.
    assert!(start.elapsed() <= 3 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_program_that_takes_too_long_to_open_a_stream_has_failed() {
    let (mut sessions, _) = reconnecting(policy().max_attempts(1), &[Slow(LONG)]);
    let start = Instant::now();
    let stopped = sessions.next().await.unwrap_err();
    assert_eq!(stopped.error().outcome(), Outcome::Network);
    assert_eq!(start.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_wait_is_told_with_its_reason() {
    let script = [NoServer, Answer(Response::new(502)), Close(1001, 60 * SECOND), Echo];
    let (sessions, _) = reconnecting(policy(), &script);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let mut sessions = sessions.on_wait(move |waiting| {
        assert!(waiting.time <= 4 * SECOND);
        tell.lock().unwrap().push((waiting.attempts, waiting.error.to_string()));
    });
    sessions.next().await.unwrap().unwrap().recv().await.unwrap();
    // A future that is dropped tells nothing twice.
    while timeout(SECOND / 100, sessions.next()).await.is_err() {}
    let told = told.lock().unwrap();
    let told: Vec<_> = told.iter().map(|(n, text)| (*n, text.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, "connection refused"),
            (2, "server answered with status 502"),
            (0, "closed by the peer, code 1001"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn halves_tell_how_the_session_ended() {
    let (mut sessions, _) = reconnecting(policy(), &[Close(1001, 60 * SECOND), Echo, Echo]);
    let (ws, ending) = sessions.next().await.unwrap().unwrap().into_parts();
    let (_sender, mut receiver) = ws.split();
    assert_eq!(receiver.recv().await.unwrap(), None);
    ending.ended(receiver.end());
    let session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.previous().unwrap().code(), 1001);
    // An ending that is dropped is one that nobody knows.
    let (ws, ending) = session.into_parts();
    drop(ws);
    drop(ending);
    assert_eq!(sessions.next().await.unwrap().unwrap().previous(), None);
}

#[tokio::test(start_paused = true)]
async fn a_session_says_when_it_has_lasted_long_enough() {
    let policy = policy().max_session(1_000 * SECOND);
    let (mut sessions, _) = reconnecting(policy, &[]);
    let session = sessions.next().await.unwrap().unwrap();
    let (expired, start) = (session.expired(), Instant::now());
    let lasts = session.remaining().unwrap();
    assert!(lasts <= 1_000 * SECOND && lasts >= 900 * SECOND);
    expired.await;
    let late = start.elapsed() - lasts;
    assert!(late <= Duration::from_millis(2), "{late:?}");
    assert_eq!(session.remaining(), Some(Duration::ZERO));
    drop(session);

    let (mut sessions, _) = reconnecting(self::policy(), &[]);
    let session = sessions.next().await.unwrap().unwrap();
    assert_eq!(session.remaining(), None);
    assert!(timeout(LONG, session.expired()).await.is_err());
}

#[test]
fn it_can_be_moved_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let (mut sessions, _) = reconnecting(policy(), &[]);
    is_send(&sessions);
    is_send(&sessions.nudge());
    is_send(&sessions.next());
}

#[tokio::test(start_paused = true)]
async fn the_program_says_what_close_codes_mean() {
    let policy = policy().on_close(1000..=1000, Then::BackOff).on_close_by_hundreds();
    let script = [Close(1000, 60 * SECOND), Close(4200, 60 * SECOND), Close(4000, SECOND)];
    let (mut sessions, log) = reconnecting(policy, &script);
    let mut ended = Instant::now();
    let stopped = loop {
        match sessions.next().await {
            Ok(session) => assert_eq!(session.unwrap().recv().await.unwrap(), None),
            Err(stopped) => break stopped,
        }
        // After 4200 there was no wait.
        if log.count() == 3 {
            assert_eq!(log.attempts()[2], ended);
        }
        ended = Instant::now();
    };
    assert_eq!(stopped.why(), Never::Outcome(closed(4000)));
    assert_eq!(log.count(), 3);
}
