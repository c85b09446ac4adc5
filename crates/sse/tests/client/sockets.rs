//! Over TCP, on the loopback interface.

use std::time::Duration;

use bowline_sse::Reconnect;
use bowline_sse::client::{End, EventSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{END, HEAD, chunk, end, take};

fn at_once() -> Reconnect {
    Reconnect::default().max_delay(Duration::ZERO)
}

#[tokio::test]
async fn a_source_goes_on_with_the_next_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in [
            format!("{HEAD}{}", chunk("id: 1\ndata: a\n\n")),
            format!("{HEAD}{}{END}", chunk("data: b\n\n")),
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            requests.push(String::from_utf8(request).unwrap().to_ascii_lowercase());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    let mut source = EventSource::get(&url).unwrap().reconnect(at_once());
    assert_eq!(take(&mut source, 2).await, ["a", "b"]);
    assert!(matches!(end(&mut source).await, End::Stopped));
    let requests = server.await.unwrap();
    assert!(!requests[0].contains("last-event-id"));
    assert!(requests[1..].iter().all(|request| request.contains("\r\nlast-event-id: 1\r\n")));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let policy = at_once().max_attempts(2);
    let mut source = EventSource::get(&url).unwrap().reconnect(policy);
    assert!(matches!(end(&mut source).await, End::Unreachable(_)));
}

/// The server's side of this crate gives each connection two events, and then an end.
#[cfg(feature = "axum")]
#[tokio::test]
async fn client_and_server_count_together() {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::{IntoResponse, Response};
    use axum::routing::get;
    use bowline_sse::Event;
    use bowline_sse::server::{Events, last_event_id, stop};
    use futures_util::stream;

    async fn count(headers: HeaderMap) -> Response {
        let next = last_event_id(&headers).map_or(0, |id| id.parse::<u32>().unwrap() + 1);
        if next >= 6 {
            return stop();
        }
        let event = |n: u32| Ok::<_, std::convert::Infallible>(Event::new("x\n").id(n.to_string()));
        Events::new(stream::iter((next..next + 2).map(event))).into_response()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/", get(count))).into_future());

    let mut source = EventSource::get(&url).unwrap().reconnect(at_once());
    for n in 0..6 {
        let event = source.next().await.unwrap();
        assert_eq!((event.data, event.id), ("x\n".to_owned(), Some(n.to_string())));
    }
    assert!(matches!(end(&mut source).await, End::Stopped));
}
