//! What is sent.

use bowline_sse::client::{EventSource, InvalidRequest};
use bowline_sse::http::Request;

use crate::{get, hold, scripted, take};

#[tokio::test(start_paused = true)]
async fn the_first_request_says_what_the_client_wants() {
    let (mut source, log) = get([hold("data: a\n\n")]);
    take(&mut source, 1).await;
    let request = log.requests().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("get /feed?a=b http/1.1\r\n"), "{request}");
    for header in ["host: example.com", "accept: text/event-stream", "cache-control: no-store"] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{request}");
    }
    assert!(!request.contains("last-event-id"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn the_program_s_own_headers_stay() {
    let request = Request::post("http://user:secret@[::1]:8080")
        .header("Accept", "text/event-stream, */*")
        .header("Authorization", "Bearer x")
        .body("why?");
    let (mut source, log) = scripted(request.unwrap(), [hold("data: a\n\n")]);
    take(&mut source, 1).await;
    let request = log.requests().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("post / http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\naccept: text/event-stream, */*\r\n"), "{request}");
    assert!(request.contains("\r\nauthorization: bearer x\r\n"), "{request}");
    assert!(request.contains("\r\nhost: [::1]:8080\r\n"), "{request}");
    assert!(request.contains("\r\ncontent-length: 4\r\n"), "{request}");
    assert!(!request.contains("secret"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn an_id_of_an_earlier_source_is_sent_in_utf_8() {
    let (source, log) = get([hold("data: a\n\n")]);
    let mut source = source.resume("gr\u{fc}n …");
    assert_eq!(source.last_event_id(), "gr\u{fc}n …");
    take(&mut source, 1).await;
    assert_eq!(log.header("last-event-id"), [Some("gr\u{fc}n …".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_cannot_be_a_header_is_left_out() {
    let (source, log) = get([hold("data: a\n\n")]);
    take(&mut source.resume("a\u{1}\r\nX: y"), 1).await;
    assert_eq!(log.header("last-event-id"), [None]);
    assert_eq!(log.header("x"), [None]);
}

#[test]
fn only_absolute_http_urls_are_taken() {
    for url in ["/feed", "example.com", "ftp://example.com/", "ws://example.com/", "http://", "ä"]
    {
        assert_eq!(EventSource::get(url).unwrap_err(), InvalidRequest::Url, "{url}");
    }
    for port in ["0x50", "65536", "-1"] {
        assert!(EventSource::get(&format!("http://example.com:{port}/")).is_err(), "{port}");
    }
    assert!(EventSource::get("http://example.com").is_ok());
}

#[test]
fn https_needs_tls() {
    let source = EventSource::get("https://example.com/");
    assert_eq!(source.is_ok(), cfg!(feature = "rustls"));
    if let Err(error) = source {
        assert_eq!(error, InvalidRequest::Tls);
        assert!(error.to_string().contains("EventSource::over"));
    }
}

#[test]
fn nothing_secret_is_shown() {
    let source = EventSource::get("http://user:secret@example.com/?token=secret").unwrap();
    assert!(!format!("{source:?}").contains("secret"));
}
