//! A server of events on axum: a feed that clients can resume, and an endpoint that streams tokens as a language model does.
//!
//! ```sh
//! cargo run -p bowline-sse --example feed_server --features axum -- --listen 127.0.0.1:9001
//! curl -N http://127.0.0.1:9001/feed                     # all events, and those to come
//! curl -d "Hello" http://127.0.0.1:9001/feed             # publishes an event
//! curl -d "Hello" http://127.0.0.1:9001/feed/greeting    # an event of this type
//! curl -X DELETE http://127.0.0.1:9001/feed              # the feed is over: clients stop
//! curl -N -d "Why is the sky blue?" http://127.0.0.1:9001/complete
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bowline_sse::Event;
use bowline_sse::server::{Events, last_event_id, stop};
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How many events are kept for clients that come back.
const KEPT: usize = 1000;

/// What was published. The id of an event is its number.
#[derive(Default)]
struct Feed {
    /// The number of the first event that is kept.
    first: u64,
    events: VecDeque<Event>,
    is_over: bool,
}

impl Feed {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn publish(&mut self, event: Event) {
        let id = self.end().to_string();
        if self.events.len() == KEPT {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(event.id(id));
    }

    /// The event with this number, or the oldest one after it, and the number that follows.
    fn after(&self, number: u64) -> Option<(Event, u64)> {
        let number = number.max(self.first);
        let event = self.events.get(usize::try_from(number - self.first).ok()?)?;
        Some((event.clone(), number + 1))
    }
}

#[derive(Clone)]
struct App {
    feed: Arc<watch::Sender<Feed>>,
    retry: Duration,
    keepalive: Duration,
}

/// The events from this number on, as they come.
fn follow(
    feed: watch::Receiver<Feed>,
    number: u64,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((feed, number), |(mut feed, number)| async move {
        let found = {
            let is_news = |feed: &Feed| feed.after(number).is_some() || feed.is_over;
            let feed = feed.wait_for(is_news).await.ok()?;
            feed.after(number)
        };
        let (event, next) = found?;
        Some((Ok(event), (feed, next)))
    })
}

async fn subscribe(State(app): State<App>, headers: HeaderMap) -> Response {
    // The header comes from the client. What is no number of ours means: from the start.
    let last: Option<u64> = last_event_id(&headers).and_then(|id| id.parse().ok());
    let next = last.map_or(0, |last| last.saturating_add(1));
    let feed = app.feed.subscribe();
    let has_all = feed.borrow().is_over && feed.borrow().after(next).is_none();
    if has_all {
        return stop();
    }
    let events = Events::new(follow(feed, next)).retry(app.retry).keepalive(app.keepalive);
    let mut response = events.into_response();
    // nginx would collect the events otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn publish(State(app): State<App>, kind: Option<Path<String>>, data: String) -> StatusCode {
    let mut event = Event::new(data);
    if let Some(Path(kind)) = kind {
        event = event.event(kind);
    }
    // A type with a line end cannot be sent, so it is not taken.
    if event.to_bytes().is_err() {
        return StatusCode::BAD_REQUEST;
    }
    app.feed.send_modify(|feed| feed.publish(event));
    StatusCode::ACCEPTED
}

async fn end(State(app): State<App>) -> StatusCode {
    app.feed.send_modify(|feed| feed.is_over = true);
    StatusCode::NO_CONTENT
}

/// Streams the words of the prompt, as if a model had made them, and then a last event that says that it was all.
async fn complete(prompt: String) -> impl IntoResponse {
    let tokens = prompt.split_inclusive(' ').map(|word| Event::new(word).event("token"));
    let done = Event::new("[DONE]").event("done");
    let events: Vec<_> = tokens.chain([done]).collect();
    Events::new(stream::iter(events).then(|event| async {
        // Here a model would think.
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(event)
    }))
}

/// The value of an option, such as `--listen 127.0.0.1:9001`.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let milliseconds = |name: &str, default| match option(name) {
        Some(value) => value.parse().map(Duration::from_millis),
        None => Ok(default),
    };
    let app = App {
        feed: Arc::new(watch::Sender::new(Feed::default())),
        retry: milliseconds("--retry", Duration::from_secs(1))?,
        keepalive: milliseconds("--keepalive", Duration::from_secs(15))?,
    };
    let router = Router::new()
        .route("/feed", get(subscribe).post(publish).delete(end))
        .route("/feed/{type}", post(publish))
        .route("/complete", post(complete))
        .with_state(app);
    let address = option("--listen").unwrap_or("127.0.0.1:9001".into());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
