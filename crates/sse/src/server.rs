//! The server's side: a stream of events as the body of a response.

use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_core::Stream;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{EncodeError, Event, encode_comment, encode_retry};

/// The header in which a client says which event it had last. [`last_event_id`] reads it.
///
/// 9.2.4: "The `Last-Event-ID` HTTP request header reports an `EventSource` object's last event ID string to the server when
/// the user agent is to reestablish the connection."
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The content type of a stream. Section 17 of the standard ("IANA considerations") registers it.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// Events that are ready are put together up to this many bytes, so that a busy stream needs few writes.
const FRAME: usize = 16 * 1024;

/// The body of a response that sends the events of a stream, as they come.
///
/// It is a [`http_body::Body`], for hyper and all that is built on it. [`response`](Self::response) puts the headers to it.
/// With the feature `axum` a handler returns it.
///
/// It asks the stream for events only while the connection takes them, so a client that does not read holds the stream back.
/// Beyond that it holds one event and at most 16 KiB more. When the client is gone, the stream is dropped. If the stream says
/// nothing for a while, comments keep the connection alive: see [`keepalive`](Self::keepalive).
///
/// The end of the stream is the end of the response, after which a client connects again. To tell clients to stop, answer
/// that request with [`stop`].
pub struct Events<S: Stream> {
    stream: Pin<Box<S>>,
    keepalive: Option<Duration>,
    /// Made when the body is asked for the first time. Before that there may be no runtime.
    silence: Option<Pin<Box<Sleep>>>,
    /// What is sent before the first event.
    first: Vec<u8>,
    state: State<S::Item>,
}

/// What a stream still has to give.
enum State<Item> {
    Open,
    /// This came while events before it were ready, and goes out after them.
    Failing(Item),
    Ended,
}

impl<S, E> Events<S>
where
    S: Stream<Item = Result<Event, E>>,
{
    /// A body that sends these events, with a comment after 15 s of silence.
    ///
    /// An error of the stream breaks the response off, so that the client sees that something is missing.
    pub fn new(stream: S) -> Self {
        Self {
            stream: Box::pin(stream),
            // 9.2.7: "authors can include a comment line (one starting with a ':' character) every 15 seconds or so."
            keepalive: Some(Duration::from_secs(15)),
            silence: None,
            first: Vec::new(),
            state: State::Open,
        }
    }

    /// Sets after how much silence a comment is sent. Default 15 s. `None` and [`Duration::MAX`] mean never, and less than
    /// 1 ms counts as 1 ms.
    ///
    /// Proxies cut connections that are silent, many of them after 60 s. A comment also makes a write fail where the client
    /// is gone, and that is how a server without news finds out.
    ///
    /// It needs a tokio runtime with its time enabled.
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        let interval = interval.into();
        self.keepalive = interval.map(|interval| interval.max(Duration::from_millis(1)));
        self.silence = None;
        self
    }

    /// Tells the client before the first event how long to wait before it connects again. Without it, browsers wait some
    /// seconds. The wire has whole milliseconds.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.first.clear();
        encode_retry(retry, &mut self.first);
        self
    }

    /// A response with status 200, this body, and the headers that it needs.
    ///
    /// - `Content-Type: text/event-stream`. 9.2.2: a client fails "if res's status is not 200, or if res's `Content-Type` is
    ///   not `text/event-stream`".
    /// - `Cache-Control: no-store`. A cache would give old events to a client that asks for new ones.
    ///
    /// Some proxies collect a response before they pass it on. nginx passes it on at once if the response has
    /// `X-Accel-Buffering: no`.
    pub fn response(self) -> Response<Self> {
        let mut response = Response::new(self);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// What to send of what is ready, and nothing if the stream has to be waited for.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Result<Vec<u8>, BodyError<E>> {
        let mut out = core::mem::take(&mut self.first);
        while matches!(self.state, State::Open) && out.len() < FRAME {
            match self.stream.as_mut().poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.state = State::Ended,
                Poll::Ready(Some(item)) => {
                    let is_sent = matches!(&item, Ok(event) if event.encode(&mut out).is_ok());
                    if !is_sent {
                        self.state = State::Failing(item);
                    }
                }
            }
        }
        if !out.is_empty() || !matches!(self.state, State::Failing(_)) {
            return Ok(out);
        }
        match core::mem::replace(&mut self.state, State::Ended) {
            State::Failing(Err(error)) => Err(BodyError::Stream(error)),
            State::Failing(Ok(event)) => event.to_bytes().map_err(BodyError::Event),
            State::Open | State::Ended => Ok(out),
        }
    }

    /// Whether it has been silent for long enough.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(interval) = self.keepalive else { return Poll::Pending };
        // A time that the clock cannot hold never comes.
        let Some(end) = Instant::now().checked_add(interval) else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep_until(end)));
        silence.as_mut().poll(cx)
    }

    /// Something is sent, so silence begins anew.
    fn speak(&mut self) {
        let end = self.keepalive.and_then(|interval| Instant::now().checked_add(interval));
        if let (Some(silence), Some(end)) = (&mut self.silence, end) {
            silence.as_mut().reset(end);
        }
    }
}

impl<S, E> http_body::Body for Events<S>
where
    S: Stream<Item = Result<Event, E>>,
{
    type Data = Bytes;
    type Error = BodyError<E>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<E>>>> {
        let this = self.get_mut();
        let mut out = match this.poll_events(cx) {
            Ok(out) => out,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        if out.is_empty() {
            if matches!(this.state, State::Ended) {
                return Poll::Ready(None);
            }
            if this.poll_silence(cx).is_pending() {
                return Poll::Pending;
            }
            encode_comment("", &mut out);
        }
        this.speak();
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.first.is_empty()
    }
}

// The stream is pinned in a box of its own, and nothing else is.
impl<S: Stream> Unpin for Events<S> {}

impl<S: Stream> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("keepalive", &self.keepalive).finish_non_exhaustive()
    }
}

/// A response that tells the client not to connect again: status 204, without a body.
///
/// 9.2.1: "Clients will reconnect if the connection is closed; a client can be told to stop reconnecting using the HTTP 204 No
/// Content response code."
pub fn stop<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The id of the last event that the client had before it connected again. `None` if it had none, or if the header is not
/// UTF-8.
///
/// It comes from the client, so it may be anything. Look it up, and do not trust it.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    // 9.2.3: "Set (`Last-Event-ID`, lastEventIDValue) in request's header list", where the value is the id, "encoded as
    // UTF-8". So `to_str`, which wants ASCII, would lose ids.
    let value = headers.get(LAST_EVENT_ID)?;
    core::str::from_utf8(value.as_bytes()).ok().filter(|id| !id.is_empty())
}

/// Why a response breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError<E> {
    /// The stream of events gave this error.
    Stream(E),
    /// An event cannot be sent. The events before it were.
    Event(EncodeError),
}

impl<E: fmt::Display> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => write!(f, "the stream of events failed: {error}"),
            Self::Event(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for BodyError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Stream(error) => Some(error),
            Self::Event(error) => Some(error),
        }
    }
}

/// A handler of axum returns it as its answer.
#[cfg(feature = "axum")]
impl<S, E> axum_core::response::IntoResponse for Events<S>
where
    S: Stream<Item = Result<Event, E>> + Send + 'static,
    E: core::error::Error + Send + Sync + 'static,
{
    fn into_response(self) -> axum_core::response::Response {
        self.response().map(axum_core::body::Body::new)
    }
}
