//! Long polling, for networks where WebSockets do not pass. A session is a task with a socket and a bounded queue. `GET` with its token waits
//! for messages, `POST` brings some. The HTTP status is 200, and the real one is in the body, as Phoenix has it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::serializer::{Malformed, Push};
use crate::socket::Socket;

const MAX_SESSIONS: usize = 1000;
/// A client that lets more than this wait is gone.
const MAX_QUEUE: usize = 1000;
const MAX_QUEUE_BYTES: usize = 1 << 20;
/// As for a message of a WebSocket.
const MAX_MESSAGE: usize = 64 << 10;
/// The client sends at most 100 at once.
const MAX_BATCH: usize = 200;
/// How fast a client may send. Beyond that it has to wait for the answer of its `POST`.
const PER_SECOND: u32 = 50;
const BURST: Duration = Duration::from_secs(4);

/// All sessions of this node. A client has to come back to the same node: with several, the proxy has to see to that.
#[derive(Clone)]
pub struct Sessions {
    all: Arc<Mutex<HashMap<String, Session>>>,
    /// How long a `GET` waits.
    window: Duration,
}

#[derive(Clone)]
struct Session {
    commands: mpsc::Sender<Command>,
    /// When a client that sends at its rate would have sent all that it did.
    busy_until: Instant,
}

enum Command {
    Poll(oneshot::Sender<Vec<String>>),
    Publish(Vec<Push>, oneshot::Sender<()>),
}

impl Sessions {
    pub fn new(window: Duration) -> Self {
        Self { all: Arc::default(), window }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all sessions. A poll that waits is told that its session is gone.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// `GET` without the token of a session begins one. `socket` gives none if the client may not connect.
    pub async fn get(&self, token: Option<&str>, socket: impl FnOnce() -> Option<Socket>) -> Value {
        let session = token.and_then(|token| self.lock().get(token).cloned());
        let Some(session) = session else { return self.begin(socket) };
        let (answer, messages) = oneshot::channel();
        if session.commands.send(Command::Poll(answer)).await.is_err() {
            return self.begin(socket);
        }
        // The session ends when only waiting requests know it.
        drop(session);
        match messages.await {
            Ok(messages) if messages.is_empty() => {
                json!({"status": 204, "token": token, "messages": []})
            }
            Ok(messages) => json!({"status": 200, "token": token, "messages": messages}),
            // It ended meanwhile.
            Err(_) => status(410),
        }
    }

    fn begin(&self, socket: impl FnOnce() -> Option<Socket>) -> Value {
        let Some(socket) = socket() else { return status(403) };
        let (commands, inbox) = mpsc::channel(4);
        // It cannot be guessed. It is all that a request needs to show.
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let mut all = self.lock();
        if all.len() >= MAX_SESSIONS {
            return status(500);
        }
        all.insert(token.clone(), Session { commands, busy_until: Instant::now() });
        let (sessions, own) = (self.clone(), token.clone());
        tokio::spawn(async move {
            Task::new(socket, inbox, sessions.window).run().await;
            sessions.lock().remove(&own);
        });
        json!({"status": 410, "token": token, "messages": []})
    }

    /// `POST` brings messages, one a line: text, or binary in base64.
    pub async fn post(&self, token: Option<&str>, body: &str) -> Value {
        let Some(token) = token else { return status(410) };
        let pushes = read(body);
        let count = pushes.as_ref().map_or(1, Vec::len);
        let Some((session, wait)) = self.reserve(token, count) else { return status(410) };
        if wait > self.window {
            return status(408);
        }
        tokio::time::sleep(wait).await;
        let Ok(pushes) = pushes else {
            // As Phoenix: what cannot be read ends the session.
            self.lock().remove(token);
            return status(410);
        };
        let (answer, done) = oneshot::channel();
        let sent = async {
            session.commands.send(Command::Publish(pushes, answer)).await.ok()?;
            drop(session);
            done.await.ok()
        };
        match timeout(self.window, sent).await {
            Ok(Some(())) => status(200),
            Ok(None) => status(410),
            Err(_) => status(408),
        }
    }

    /// Counts messages against the rate of a session. Gives how long they have to wait.
    fn reserve(&self, token: &str, count: usize) -> Option<(Session, Duration)> {
        let mut all = self.lock();
        let session = all.get_mut(token)?;
        let now = Instant::now();
        let work = Duration::from_secs(1) / PER_SECOND * u32::try_from(count).unwrap_or(u32::MAX);
        session.busy_until = session.busy_until.max(now) + work;
        let wait = session.busy_until.saturating_duration_since(now + BURST);
        Some((session.clone(), wait))
    }
}

pub fn status(status: u16) -> Value {
    json!({"status": status})
}

fn read(body: &str) -> Result<Vec<Push>, Malformed> {
    let lines: Vec<_> = body.lines().collect();
    if lines.is_empty() || lines.len() > MAX_BATCH {
        return Err(Malformed);
    }
    let read = |line: &str| {
        if line.len() > MAX_MESSAGE {
            return Err(Malformed);
        }
        if line.starts_with('[') {
            return Push::from_text(line);
        }
        Push::from_binary(STANDARD.decode(line).map_err(|_| Malformed)?.into())
    };
    lines.into_iter().map(read).collect()
}

struct Task {
    socket: Socket,
    inbox: mpsc::Receiver<Command>,
    window: Duration,
    queue: VecDeque<String>,
    queued: usize,
    waiting: Option<(oneshot::Sender<Vec<String>>, Instant)>,
    seen: Instant,
}

impl Task {
    fn new(socket: Socket, inbox: mpsc::Receiver<Command>, window: Duration) -> Self {
        let (queue, queued, waiting, seen) = (VecDeque::new(), 0, None, Instant::now());
        Self { socket, inbox, window, queue, queued, waiting, seen }
    }

    /// Runs until the client has not polled for one and a half windows, or lets too much wait, or the session is removed.
    async fn run(mut self) {
        while self.queue.len() <= MAX_QUEUE && self.queued <= MAX_QUEUE_BYTES {
            self.deliver();
            let until = match &self.waiting {
                Some((_, until)) => *until,
                None => self.seen + self.window.mul_f64(1.5),
            };
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(Command::Poll(answer)) => {
                        self.seen = Instant::now();
                        // The poll before it gets nothing.
                        if let Some((before, _)) = self.waiting.replace((answer, self.seen + self.window)) {
                            let _ = before.send(Vec::new());
                        }
                    }
                    Some(Command::Publish(pushes, done)) => {
                        for push in pushes {
                            let outs = self.socket.hear(push).await;
                            self.queue(outs);
                        }
                        let _ = done.send(());
                    }
                    None => return,
                },
                outs = self.socket.next() => self.queue(outs),
                () = sleep_until(until) => match self.waiting.take() {
                    Some((answer, _)) => {
                        let _ = answer.send(Vec::new());
                        self.seen = Instant::now();
                    }
                    None => return,
                },
            }
        }
    }

    fn queue(&mut self, outs: Vec<crate::serializer::Out>) {
        for text in outs.iter().filter_map(|out| out.text_only()) {
            self.queued += text.len();
            self.queue.push_back(text);
        }
    }

    fn deliver(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let Some((answer, _)) = self.waiting.take() else { return };
        self.seen = Instant::now();
        match answer.send(self.queue.drain(..).collect()) {
            Ok(()) => self.queued = 0,
            // The client gave the request up. It gets them with the next.
            Err(messages) => self.queue = messages.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::{Hub, Settings};

    const WINDOW: Duration = Duration::from_secs(10);

    async fn begin(sessions: &Sessions) -> String {
        let hub = Hub::alone(Settings::default());
        let answer = sessions.get(None, || Some(Socket::new(hub, "Ada".into(), 2))).await;
        assert_eq!(answer["status"], 410);
        answer["token"].as_str().expect("a token").into()
    }

    async fn poll(sessions: &Sessions, token: &str) -> Value {
        sessions.get(Some(token), || None).await
    }

    async fn post(sessions: &Sessions, token: &str, body: &str) -> Value {
        sessions.post(Some(token), body).await["status"].clone()
    }

    const JOIN: &str = r#"["1","1","user:Ada","phx_join",{}]"#;
    const HEARTBEAT: &str = r#"[null,"2","phoenix","heartbeat",{}]"#;

    #[tokio::test(start_paused = true)]
    async fn messages_wait_for_the_poll_and_a_poll_for_messages() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        assert_eq!(post(&sessions, &token, &format!("{JOIN}\n{HEARTBEAT}")).await, 200);
        let answer = poll(&sessions, &token).await;
        assert_eq!(answer["messages"].as_array().map(Vec::len), Some(2));
        let (answer, status) =
            tokio::join!(poll(&sessions, &token), post(&sessions, &token, HEARTBEAT));
        assert_eq!((&answer["status"], &status), (&json!(200), &json!(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_without_messages_ends_with_204() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        let begun = Instant::now();
        assert_eq!(poll(&sessions, &token).await["status"], 204);
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_poll_is_gone() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        tokio::time::sleep(WINDOW).await;
        assert_eq!(post(&sessions, &token, HEARTBEAT).await, 200);
        tokio::time::sleep(WINDOW).await;
        assert_eq!(post(&sessions, &token, HEARTBEAT).await, 410);
        assert_eq!(poll(&sessions, &token).await["status"], 403, "it begins another");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_was_given_up_loses_nothing() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        let given_up = timeout(Duration::from_secs(1), poll(&sessions, &token)).await;
        assert!(given_up.is_err());
        assert_eq!(post(&sessions, &token, HEARTBEAT).await, 200);
        let answer = poll(&sessions, &token).await;
        assert_eq!(answer["messages"].as_array().map(Vec::len), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_polls_the_first_is_answered_at_once() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        let (first, second) = (poll(&sessions, &token), poll(&sessions, &token));
        let begun = Instant::now();
        let first = async { (first.await, begun.elapsed()) };
        let ((first, after), second) = tokio::join!(first, second);
        assert_eq!((&first["status"], after), (&json!(204), Duration::ZERO));
        assert_eq!(second["status"], 204);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_full_ends_the_session() {
        let sessions = Sessions::new(Duration::from_secs(3600));
        let token = begin(&sessions).await;
        for _ in 0..MAX_QUEUE / 100 {
            let batch = [HEARTBEAT; 100].join("\n");
            assert_eq!(post(&sessions, &token, &batch).await, 200);
        }
        assert_eq!(post(&sessions, &token, HEARTBEAT).await, 200);
        assert_eq!(post(&sessions, &token, HEARTBEAT).await, 410);
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_too_fast_has_to_wait_for_the_answer() {
        let sessions = Sessions::new(WINDOW);
        let token = begin(&sessions).await;
        let batch = [HEARTBEAT; 100].join("\n");
        let begun = Instant::now();
        for _ in 0..2 {
            assert_eq!(post(&sessions, &token, &batch).await, 200);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(post(&sessions, &token, &batch).await, 200);
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_ends_the_session() {
        for body in
            ["", "[]", "!", "{}", &"x".repeat(MAX_MESSAGE + 1), &"[]\n".repeat(MAX_BATCH + 1)]
        {
            let sessions = Sessions::new(WINDOW);
            let token = begin(&sessions).await;
            assert_eq!(post(&sessions, &token, body).await, 410);
            assert_eq!(post(&sessions, &token, HEARTBEAT).await, 410);
        }
    }

    #[tokio::test]
    async fn there_is_a_most_of_sessions() {
        let sessions = Sessions::new(WINDOW);
        for _ in 0..MAX_SESSIONS {
            begin(&sessions).await;
        }
        let hub = Hub::alone(Settings::default());
        let answer = sessions.get(None, || Some(Socket::new(hub, "Ada".into(), 2))).await;
        assert_eq!(answer, status(500));
    }
}
