//! Which answers are streams of events. All others stop the source.

use bowline_sse::client::End;
use bowline_sse::{Limits, ParseError};

use crate::{Answer, HEAD, end, get, hold, take};

fn typed(content_type: &str) -> Answer {
    Answer::Hold(format!("HTTP/1.1 200 OK\r\n{content_type}\r\ndata: a\n\n").into())
}

#[tokio::test(start_paused = true)]
async fn any_other_status_stops_the_source() {
    for status in [201, 206, 301, 304, 307, 400, 401, 404, 429, 500, 502, 503] {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: text/event-stream\r\n\r\n");
        let (mut source, log) = get([Answer::Close(head.into())]);
        let end = end(&mut source).await;
        assert!(matches!(&end, End::Refused(found) if found.as_u16() == status), "{end:?}");
        assert!(end.to_string().contains(&status.to_string()), "{end}");
        assert_eq!(log.attempts(), 1);
    }
}

/// The subjects of the three `format-mime-*` files in web-platform-tests. `tests/codec/documents.rs` has the twenty others.
mod documents {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn mime_bogus() {
        let (mut source, _) = get([typed("Content-Type: x bogus\r\n")]);
        assert!(matches!(end(&mut source).await, End::NotEvents(Some(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn mime_trailing_semicolon() {
        let (mut source, _) = get([typed("Content-Type: text/event-stream;\r\n")]);
        assert_eq!(take(&mut source, 1).await, ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn mime_valid_bogus() {
        let (mut source, _) = get([typed("Content-Type: text/event-stream;x bogus\r\n")]);
        assert_eq!(take(&mut source, 1).await, ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_type_is_compared_without_parameters_and_case() {
    for good in [
        "text/event-stream",
        "text/event-stream;",
        "text/event-stream;charset=utf-8",
        "text/event-stream ; x=bogus",
        "TEXT/Event-Stream",
    ] {
        let (mut source, _) = get([typed(&format!("Content-Type: {good}\r\n"))]);
        assert_eq!(take(&mut source, 1).await, ["a"], "{good}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_content_type_stops_the_source() {
    for bad in
        ["x bogus", "text/html", "text/event-streams", "text/event", "", ";text/event-stream"]
    {
        let (mut source, log) = get([typed(&format!("Content-Type: {bad}\r\n"))]);
        let end = end(&mut source).await;
        assert!(matches!(&end, End::NotEvents(Some(found)) if found == bad), "{end:?}");
        assert_eq!(log.attempts(), 1);
    }
    let (mut source, _) = get([typed("")]);
    assert!(matches!(end(&mut source).await, End::NotEvents(None)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_the_limits_stops_the_source() {
    let (source, log) = get([hold("data: a\n\ndata: 1234567\n\n")]);
    let mut source = source.limits(Limits { max_line: 100, max_event: 6 });
    assert_eq!(take(&mut source, 1).await, ["a"]);
    let end = end(&mut source).await;
    assert!(matches!(end, End::TooLong(ParseError::EventTooLong { max: 6 })), "{end:?}");
    assert_eq!(log.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_may_come_in_many_chunks() {
    // The pieces of a character are not text.
    let mut answer = HEAD.as_bytes().to_vec();
    for byte in "\u{FEFF}id: 7\r\ndata: …\r\n\r\n".bytes() {
        answer.extend([b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    let (mut source, _) = get([Answer::Hold(answer)]);
    assert_eq!(take(&mut source, 1).await, ["…"]);
    assert_eq!(source.last_event_id(), "7");
}
