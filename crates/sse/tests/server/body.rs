//! The body by itself, with time that the test moves.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Response};
use bowline_sse::server::{BodyError, Events, last_event_id, stop};
use bowline_sse::{EncodeError, Event};
use futures_util::{FutureExt, Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::{Instant, advance};

use crate::source;

fn give(events: Vec<Event>) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    Events::new(stream::iter(events.into_iter().map(Ok)))
}

/// What is sent next. It waits as long as the body does.
async fn sent<S, E>(body: &mut Events<S>) -> Option<Result<String, BodyError<E>>>
where
    S: Stream<Item = Result<Event, E>>,
{
    let frame = body.frame().await?;
    Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().into()).unwrap()))
}

async fn text<S: Stream<Item = Result<Event, Infallible>>>(body: &mut Events<S>) -> String {
    sent(body).await.expect("it goes on").expect("it does not fail")
}

#[test]
fn the_response_has_the_headers_that_clients_and_caches_need() {
    let response = give(vec![]).response();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let stop: Response<String> = stop();
    assert_eq!((stop.status().as_u16(), stop.headers().len()), (204, 0));
}

#[test]
fn the_last_event_id_is_utf_8_and_not_empty() {
    let id = |bytes: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("Last-Event-ID", HeaderValue::from_bytes(bytes).unwrap());
        last_event_id(&headers).map(str::to_owned)
    };
    assert_eq!(id(b"41").as_deref(), Some("41"));
    assert_eq!(id("gr\u{fc}n …".as_bytes()).as_deref(), Some("gr\u{fc}n …"));
    assert_eq!(id(b""), None);
    assert_eq!(id(b"\xFF"), None);
    assert_eq!(last_event_id(&HeaderMap::new()), None);
}

#[tokio::test]
async fn what_is_ready_goes_out_at_once_and_then_the_stream_ends() {
    let mut body = give(vec![Event::new("a"), Event::new("b").id("1")]);
    assert!(!body.is_end_stream());
    assert_eq!(text(&mut body).await, "data: a\n\nid: 1\ndata: b\n\n");
    assert!(sent(&mut body).await.is_none());
    assert!(sent(&mut body).await.is_none(), "it stays ended");
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn retry_goes_first_and_does_not_wait_for_an_event() {
    let (_sender, _, source) = source();
    let mut body = Events::new(source).retry(Duration::from_secs(1)).retry(Duration::from_secs(2));
    assert_eq!(text(&mut body).await, "retry: 2000\n\n");

    let mut body = give(vec![]).retry(Duration::from_secs(2));
    assert!(!body.is_end_stream());
    assert_eq!(text(&mut body).await, "retry: 2000\n\n");
    assert!(sent(&mut body).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_comment_is_sent_after_each_interval_of_silence() {
    let (_sender, _, source) = source();
    let mut body = Events::new(source);
    let start = Instant::now();
    for n in 1..=3 {
        assert_eq!(text(&mut body).await, ": \n\n");
        assert_eq!(start.elapsed().as_secs(), 15 * n);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_begins_the_silence_anew() {
    let (sender, _, source) = source();
    let mut body = Events::new(source).keepalive(Duration::from_secs(10));
    assert!(text(&mut body).now_or_never().is_none());
    advance(Duration::from_secs(9)).await;
    sender.send(Ok(Event::new("a"))).unwrap();
    assert_eq!(text(&mut body).await, "data: a\n\n");
    let start = Instant::now();
    assert_eq!(text(&mut body).await, ": \n\n");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn without_keepalive_nothing_is_sent() {
    for interval in [None, Some(Duration::MAX)] {
        let (_sender, _, source) = source();
        let mut body = Events::new(source).keepalive(interval);
        let waiting = tokio::time::timeout(Duration::from_secs(1 << 20), text(&mut body));
        assert!(waiting.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_zero_is_no_flood() {
    let (_sender, _, source) = source();
    let mut body = Events::new(source).keepalive(Duration::ZERO);
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(text(&mut body).await, ": \n\n");
    }
    assert!(start.elapsed() >= Duration::from_millis(10));
}

#[tokio::test]
async fn an_error_of_the_stream_breaks_off_after_the_events_before_it() {
    let error = || io::Error::other("the database is away");
    let items = vec![Ok(Event::new("a")), Err(error()), Ok(Event::new("b"))];
    let mut body = Events::new(stream::iter(items));
    assert_eq!(sent(&mut body).await.unwrap().unwrap(), "data: a\n\n");
    assert!(!body.is_end_stream());
    let failed = sent(&mut body).await.unwrap().unwrap_err();
    assert!(matches!(&failed, BodyError::Stream(_)), "{failed:?}");
    assert!(failed.to_string().contains("the database is away"));
    assert!(sent(&mut body).await.is_none());
}

#[tokio::test]
async fn an_event_that_cannot_be_sent_breaks_off_after_the_events_before_it() {
    let mut body = give(vec![Event::new("a"), Event::new("b").id("1\ndata: x"), Event::new("c")]);
    assert_eq!(text(&mut body).await, "data: a\n\n");
    assert_eq!(sent(&mut body).await, Some(Err(BodyError::Event(EncodeError::LineEndInId))));
    assert!(sent(&mut body).await.is_none());
}

#[tokio::test]
async fn no_more_is_taken_at_once_than_one_frame_and_one_event() {
    let taken = Rc::new(Cell::new(0));
    let event = |len| Event::new("x".repeat(len));
    for (len, most) in [(1, 16 * 1024 / 9 + 1), (10 * 1024, 2), (1 << 20, 1)] {
        taken.set(0);
        let counter = taken.clone();
        let endless = stream::repeat_with(move || {
            counter.set(counter.get() + 1);
            Ok(event(len))
        });
        let mut body = Events::new(endless);
        for frames in 1..=3 {
            text(&mut body).await;
            assert!(taken.get() <= frames * most, "{} events of {len} bytes", taken.get());
        }
    }
}
