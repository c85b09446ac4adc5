//! Redirects: which are followed, with what, and what they mean for the next attempt.

use std::net::SocketAddr;
use std::time::Duration;

use bowline_sse::client::{End, EventSource, Unfollowed};
use bowline_sse::http::Request;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::Instant;

use crate::dialing::{self, Heads, event_server, read_head};
use crate::{Answer, Log, cut, end, get, hold, post, redirect, scripted, serve, take, whole};

/// The request lines.
fn lines(log: &Log) -> Vec<String> {
    let line = |request: &String| request.lines().next().unwrap().to_owned();
    log.requests().iter().map(line).collect()
}

fn not_followed(end: &End) -> Unfollowed {
    let End::Redirected { why, .. } = end else { panic!("{end:?}") };
    *why
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_redirect_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let request = Request::get("http://example.com/feed?a=b").header("Authorization", "x");
        let answers = [redirect(status, "there?c"), hold("data: a\n\n")];
        let (source, log) = scripted(request.body("").unwrap(), answers);
        assert_eq!(take(&mut source.resume("7"), 1).await, ["a"], "{status}");
        assert_eq!(lines(&log), ["GET /feed?a=b HTTP/1.1", "GET /there?c HTTP/1.1"]);
        // It is the same origin.
        for (header, value) in
            [("authorization", "x"), ("last-event-id", "7"), ("host", "example.com")]
        {
            assert_eq!(log.header(header)[1].as_deref(), Some(value), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_statuses_are_no_redirects() {
    for status in [201, 300, 304, 305] {
        let (mut source, log) = get([redirect(status, "/there")]);
        let end = end(&mut source).await;
        assert!(matches!(end, End::Refused(found) if found.as_u16() == status), "{end:?}");
        assert_eq!(log.attempts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_method_changes_as_fetch_says() {
    for (method, status, expected) in [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
    ] {
        let request = Request::builder().method(method).uri("http://example.com/ask");
        let request = request.header("Content-Type", "text/plain").header("X-Key", "x");
        let answers = [redirect(status, "/there"), hold("data: a\n\n")];
        let (mut source, log) = scripted(request.body("why?").unwrap(), answers);
        assert_eq!(take(&mut source, 1).await, ["a"]);
        assert_eq!(lines(&log)[1], format!("{expected} /there HTTP/1.1"), "{method} {status}");
        let is_same = method == expected;
        assert_eq!(log.requests()[1].ends_with("why?"), is_same, "{method} {status}");
        assert_eq!(log.header("content-type")[1].is_some(), is_same, "{method} {status}");
        assert_eq!(log.header("x-key")[1].as_deref(), Some("x"), "{method} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_redirects_are_followed_and_no_more() {
    let hops = |n| vec![redirect(302, "/again"); n];
    let (mut source, _) = get([hops(20), vec![hold("data: a\n\n")]].concat());
    assert_eq!(take(&mut source, 1).await, ["a"]);

    let (mut source, log) = get(hops(21));
    let end_of_all = end(&mut source).await;
    assert_eq!(not_followed(&end_of_all), Unfollowed::TooMany(20));
    assert_eq!(log.attempts(), 21);
    assert!(end_of_all.to_string().contains("follows 20"), "{end_of_all}");

    let (source, log) = get(hops(1));
    let end = end(&mut source.redirects(0)).await;
    assert_eq!(not_followed(&end), Unfollowed::TooMany(0));
    let End::Redirected { status, location, .. } = &end else { panic!("{end:?}") };
    assert_eq!((status.as_u16(), &location[..]), (302, "/again"));
    assert_eq!(log.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_count_of_redirects_begins_anew_with_each_attempt() {
    let round = [redirect(302, "/a"), redirect(302, "/b"), cut("data: a\n\n")];
    let (source, _) = get([round.clone(), round].concat());
    assert_eq!(take(&mut source.redirects(2), 2).await, ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_location_that_cannot_be_followed_stops_the_source() {
    for location in ["ftp://example.com/", "http://user:x@example.com/", "http:///"] {
        let (mut source, log) = get([redirect(307, location)]);
        let end = end(&mut source).await;
        assert_eq!(not_followed(&end), Unfollowed::Location, "{location}");
        assert_eq!(log.attempts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_begins_at_the_url_of_the_source() {
    for status in [301, 307, 308] {
        let (mut source, log) = get([
            redirect(status, "/there"),
            cut("id: 1\ndata: a\n\n"),
            redirect(status, "/elsewhere"),
            hold("data: b\n\n"),
        ]);
        assert_eq!(take(&mut source, 2).await, ["a", "b"]);
        let paths = ["/feed?a=b", "/there", "/feed?a=b", "/elsewhere"];
        assert_eq!(lines(&log), paths.map(|path| format!("GET {path} HTTP/1.1")));
        let ids = [None, None, Some("1".to_owned()), Some("1".to_owned())];
        assert_eq!(log.header("last-event-id"), ids);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_the_program_go_to_one_origin() {
    for location in ["http://other.example/", "//example.com:81/", "https://example.com/"] {
        let (mut source, log) = get([redirect(307, location)]);
        assert_eq!(not_followed(&end(&mut source).await), Unfollowed::Elsewhere, "{location}");
        assert_eq!(log.attempts(), 1);
    }
    let (mut source, _) = get([redirect(307, "HTTP://EXAMPLE.com:80/x"), hold("data: a\n\n")]);
    assert_eq!(take(&mut source, 1).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_redirected_was_sent() {
    // The server did nothing yet, but it may do so now: an end is an end.
    let (mut source, _) = post([redirect(307, "/there"), whole("data: a\n\n")]);
    assert_eq!(take(&mut source, 1).await, ["a"]);
    assert!(matches!(end(&mut source).await, End::Ended { .. }));
    // The GET could be repeated, but it is the POST that would be.
    let (mut source, log) = post([redirect(303, "/result"), cut("data: a\n\n")]);
    assert_eq!(take(&mut source, 1).await, ["a"]);
    assert!(matches!(end(&mut source).await, End::Cut(_)));
    assert_eq!(log.attempts(), 2);
    // No connection to the second server: the first has seen the request.
    let (mut source, log) = post([redirect(307, "/there"), Answer::Unreachable]);
    assert!(matches!(end(&mut source).await, End::Unreachable(_)));
    assert_eq!(log.attempts(), 2);
    let (source, log) = post([
        redirect(303, "/result"),
        Answer::Unreachable,
        redirect(303, "/result"),
        hold("data: a\n\n"),
    ]);
    assert_eq!(take(&mut source.repeat(true), 1).await, ["a"]);
    assert_eq!(lines(&log)[1], "POST /ask HTTP/1.1");
}

#[tokio::test(start_paused = true)]
async fn all_requests_of_an_attempt_have_one_deadline() {
    let log = Log::default();
    let dial = move || {
        let log = log.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let (client, server) = duplex(1 << 16);
            tokio::spawn(serve(server, redirect(302, "/again"), log));
            Ok(client)
        }
    };
    let request = Request::post("http://example.com/").body("".into()).unwrap();
    let source = EventSource::over(request, dial).unwrap();
    let mut source = source.connect_timeout(Duration::from_secs(7));
    let start = Instant::now();
    assert!(matches!(end(&mut source).await, End::TimedOut));
    assert!(start.elapsed().as_millis().abs_diff(7_000) <= 2, "{:?}", start.elapsed());
}

/// A server that sends each request on to this URL.
async fn sending_on(location: String) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = heads.clone();
    let address = dialing::serve(move |mut stream| {
        let (told, location) = (told.clone(), location.clone());
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            told.lock().unwrap().push(head);
            let answer = format!("HTTP/1.1 307 X\r\nLocation: {location}\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address.await, heads)
}

#[tokio::test]
async fn another_origin_gets_none_of_the_program_s_headers() {
    let (server, heads) = event_server().await;
    let (first, _) = sending_on(format!("http://localhost:{}/there", server.port())).await;
    let mut request = Request::post(format!("http://{first}/"));
    for name in ["Authorization", "Cookie", "X-Api-Key", "Host", "Proxy-Authorization"] {
        request = request.header(name, "secret");
    }
    for name in ["User-Agent", "Accept-Language", "Content-Type"] {
        request = request.header(name, "kept");
    }
    let source = EventSource::new(request.body("why".into()).unwrap()).unwrap();
    // Which address a name has is no matter of this test.
    let mut source = source.resume("7").dial(move |to| match to.host() {
        "localhost" => to.connect_to(server),
        _ => to,
    });
    assert_eq!(take(&mut source, 1).await, ["a"]);
    let head = heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with("post /there http/1.1\r\n"), "{head}");
    assert!(!head.contains("secret"), "{head}");
    for line in [
        "user-agent: kept",
        "accept-language: kept",
        "content-type: kept",
        "content-length: 3",
        "last-event-id: 7",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", server.port())), "{head}");
}

#[cfg(feature = "ring")]
#[tokio::test]
async fn a_redirect_from_https_to_http_is_for_those_who_ask_for_it() {
    use std::sync::Arc;

    use crate::dialing::secure::redirecting;
    use crate::tls::Authority;

    let (server, heads) = event_server().await;
    let authority = Authority::new();
    let first = redirecting(&authority, "feed.example", format!("http://{server}/there"));
    let config = Arc::new(authority.client());
    let get = || {
        let config = config.clone();
        dialing::get("https://feed.example/").dial(move |to| match to.host() {
            "feed.example" => to.tls_config(config.clone()).connect_to(first),
            _ => to,
        })
    };
    assert_eq!(not_followed(&end(&mut get()).await), Unfollowed::Insecure);
    assert!(heads.lock().unwrap().is_empty());
    assert_eq!(take(&mut get().insecure_redirects(true), 1).await, ["a"]);
}
