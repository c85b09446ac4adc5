//! Where a WebSocket does not get through: server-sent events with POST, long polling, and short polling.
//!
//! All of them are the same session. A client that changes from one to another names the last message that it has, and takes over its own
//! seat. So nothing is lost, and nothing comes twice.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bowline_sse::Event;
use bowline_sse::server::{Events, last_event_id};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, interval, timeout};

use crate::App;
use crate::protocol::{FromServer, Join, Refusal};
use crate::room::{Heard, Rooms, Who};
use crate::session::{End, Session};

/// The longest that a poll waits. Many proxies cut a silent request after 60 s, some after 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// Somebody who has not polled for this long is gone.
const GONE: Duration = Duration::from_secs(40);
const MAX_POLLERS: usize = 10_000;
/// An answer to a poll has at most so many messages. The rest comes with the next.
const MOST: usize = 100;
/// The history takes this long at most, or the client polls again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said at the end of a session, as there is no Close.
fn last(end: End) -> Vec<String> {
    let (refusal, why) = match end {
        End::Refused(why) => {
            (Some(FromServer::Refused { why, text: why.to_string(), key: None }.json()), "refused")
        }
        End::Replaced => (None, "replaced"),
        End::TooSlow => (None, "too_slow"),
        End::Stopping => (None, "stopping"),
    };
    refusal.into_iter().chain([FromServer::End { why }.json()]).collect()
}

/// `GET /events?room=…&name=…&secret=…&since=…`: what a session sends, as server-sent events. An `EventSource` that connects again by itself
/// says in `Last-Event-ID` what it has.
pub async fn events(
    State(app): State<App>,
    Query(mut join): Query<Join>,
    headers: HeaderMap,
) -> Response {
    if let Some(id) = last_event_id(&headers) {
        join.since = Some(id.to_owned());
    }
    let entered = app.rooms.enter(&join).await.map_err(End::Refused);
    if let Ok(session) = &entered {
        app.pollers.end(session.who());
    }
    let stream = unfold(Stage::of(entered), |stage| async move {
        match stage {
            Stage::In(mut session) => match session.next().await {
                Ok(out) => Some((event(out.json, out.id), Stage::In(session))),
                Err(end) => Stage::of(Err(end)).last(),
            },
            last => last.last(),
        }
    });
    let mut response = Events::new(stream).into_response();
    // nginx collects an answer otherwise.
    response.headers_mut().insert("x-accel-buffering", "no".parse().expect("a header"));
    response
}

enum Stage {
    In(Box<Session>),
    /// These are left to say.
    Over(VecDeque<String>),
}

impl Stage {
    fn of(session: Result<Session, End>) -> Self {
        match session {
            Ok(session) => Self::In(Box::new(session)),
            Err(end) => Self::Over(last(end).into()),
        }
    }

    fn last(self) -> Option<(Result<Event, Infallible>, Self)> {
        match self {
            Self::Over(mut left) => Some((event(left.pop_front()?, None), Self::Over(left))),
            Self::In(_) => None,
        }
    }
}

fn event(json: String, id: Option<String>) -> Result<Event, Infallible> {
    let event = Event::new(json);
    Ok(match id {
        Some(id) => event.id(id),
        None => event,
    })
}

/// What a client sends to say something without a WebSocket.
#[derive(Deserialize)]
pub struct Say {
    #[serde(flatten)]
    join: Join,
    key: String,
    text: String,
}

/// `POST /say`: says something. The client is in the room over `/events` or `/poll`, perhaps on another node.
pub async fn say(State(app): State<App>, Json(say): Json<Say>) -> Response {
    let key = &say.key;
    let heard = match Who::check(&say.join) {
        Ok(who) => app.rooms.say_as(&who, key, &say.text).await,
        Err(why) => Err(why),
    };
    let (status, message) = match heard {
        Ok(Heard::Kept | Heard::Before) => (StatusCode::OK, FromServer::Kept { key }),
        Ok(Heard::Early) => (StatusCode::ACCEPTED, FromServer::Early { key }),
        Ok(Heard::Never) => refused(Refusal::TooFast, key),
        Err(why) => refused(why, key),
    };
    (status, [("content-type", "application/json")], message.json()).into_response()
}

fn refused(why: Refusal, key: &str) -> (StatusCode, FromServer<'_>) {
    let status = match why {
        Refusal::TooFast => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Store | Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NotHere => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, FromServer::Refused { why, text: why.to_string(), key: Some(key) })
}

/// A poll.
#[derive(Deserialize)]
pub struct Poll {
    #[serde(flatten)]
    join: Join,
    /// The number of the last answer that the client has, or 0.
    turn: u64,
    /// How many seconds to wait for something new: 0 is short polling.
    wait: u64,
}

/// The answer to a poll.
#[derive(Serialize)]
struct Answer {
    /// The client says it in its next poll.
    turn: u64,
    messages: Vec<Box<RawValue>>,
}

/// Sessions of clients that poll. Between two polls they stay, and collect what is new.
#[derive(Default)]
pub struct Pollers(Mutex<HashMap<Who, Poller>>);

struct Poller {
    /// When its last poll came.
    used: Instant,
    polled: Arc<tokio::sync::Mutex<Polled>>,
}

#[derive(Default)]
struct Polled {
    session: Option<Session>,
    /// The number of the last answer.
    turn: u64,
}

impl Pollers {
    fn all(&self) -> MutexGuard<'_, HashMap<Who, Poller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, who: &Who) -> Result<Arc<tokio::sync::Mutex<Polled>>, Refusal> {
        let mut all = self.all();
        if all.len() >= MAX_POLLERS && !all.contains_key(who) {
            return Err(Refusal::Full);
        }
        let used = Instant::now();
        let poller =
            all.entry(who.clone()).or_insert_with(|| Poller { used, polled: Arc::default() });
        poller.used = used;
        Ok(poller.polled.clone())
    }

    /// Ends the session of somebody who has another one now. Without this, it would stay until it is forgotten.
    pub fn end(&self, who: &Who) {
        self.all().remove(who);
    }

    /// Ends the sessions of those who do not poll any more, for ever.
    pub async fn forget_the_gone(self: Arc<Self>) {
        let mut each = interval(GONE / 4);
        loop {
            each.tick().await;
            // A poll takes less than this.
            self.all().retain(|_, poller| poller.used.elapsed() < GONE);
        }
    }
}

/// `POST /poll`: what is new, at once or when there is something.
pub async fn poll(State(app): State<App>, Json(poll): Json<Poll>) -> Response {
    let answered = match Who::check(&poll.join) {
        Ok(who) => match app.pollers.get(&who) {
            // If the client has given up a poll before, that one ends when its connection does.
            Ok(polled) => polled.lock().await.answer(&app.rooms, &poll).await,
            Err(why) => Err(why),
        },
        Err(why) => Err(why),
    };
    let answer =
        answered.unwrap_or_else(|why| Answer { turn: 0, messages: raw(last(End::Refused(why))) });
    ([("cache-control", "no-store")], Json(answer)).into_response()
}

fn raw(messages: impl IntoIterator<Item = String>) -> Vec<Box<RawValue>> {
    let raw = |json| RawValue::from_string(json).expect("serde_json made it");
    messages.into_iter().map(raw).collect()
}

/// `POST /leave`: a page that polled is closed. Without this, the others would see its person for a while.
pub async fn leave(State(app): State<App>, Json(join): Json<Join>) -> StatusCode {
    if let Ok(who) = Who::check(&join) {
        app.pollers.end(&who);
    }
    StatusCode::NO_CONTENT
}

impl Polled {
    async fn answer(&mut self, rooms: &Arc<Rooms>, poll: &Poll) -> Result<Answer, Refusal> {
        let session = match &mut self.session {
            Some(session) => {
                if poll.turn != self.turn {
                    // The client did not get the last answer, or its page is new.
                    session
                        .begin_anew(poll.join.since.as_ref().and_then(|since| since.parse().ok()));
                }
                session
            }
            None => self.session.insert(rooms.enter(&poll.join).await?),
        };
        // A client that gives up during this has another number from now on.
        self.turn = self.turn.max(poll.turn).saturating_add(1);
        let until = Instant::now() + LONGEST_WAIT.min(Duration::from_secs(poll.wait));
        let mut messages = Vec::new();
        while messages.len() < MOST {
            let wait = if session.has_more() {
                PATIENCE
            } else if messages.is_empty() {
                until.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match timeout(wait, session.next()).await {
                Ok(Ok(out)) => messages.push(out.json),
                Ok(Err(end)) => {
                    messages.extend(last(end));
                    self.session = None;
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(Answer { turn: self.turn, messages: raw(messages) })
    }
}
