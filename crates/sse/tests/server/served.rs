//! Through axum and hyper, with a client that speaks bytes.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bowline_sse::Event;
use bowline_sse::server::{Events, last_event_id, stop};
use futures_util::stream;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Source, source};

/// All waits on sockets have an end.
async fn soon<T>(future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// A server whose first request is answered with this stream.
async fn serve_source(source: Source) -> SocketAddr {
    let source = Arc::new(Mutex::new(Some(source)));
    let answer = move || async move {
        let source = source.lock().unwrap().take().expect("one request");
        Events::new(source).retry(Duration::from_secs(2))
    };
    serve(Router::new().route("/", get(answer))).await
}

async fn ask(address: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until this has come, and gives what came before it.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = soon(stream.read_u8()).await;
        read.push(
            byte.unwrap_or_else(|_| panic!("ends after {:?}", String::from_utf8_lossy(&read))),
        );
    }
    read.truncate(read.len() - end.len());
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn events_arrive_one_by_one_and_the_end_is_a_clean_one() {
    let (sender, _, source) = source();
    let mut client = ask(serve_source(source).await, "").await;
    let head = until(&mut client, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("cache-control: no-store\r\n"), "{head}");
    until(&mut client, "retry: 2000\n\n\r\n").await;
    for n in 0..3 {
        // The next is not sent before this one has come.
        sender.send(Ok(Event::new(n.to_string()))).unwrap();
        until(&mut client, &format!("data: {n}\n\n\r\n")).await;
    }
    drop(sender);
    assert_eq!(until(&mut client, "0\r\n\r\n").await, "", "the last chunk");
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_stream() {
    let (sender, dropped, source) = source();
    let mut client = ask(serve_source(source).await, "").await;
    until(&mut client, "retry: 2000\n\n\r\n").await;
    assert!(!sender.is_closed());
    drop(client);
    assert!(soon(dropped).await.is_err());
    assert!(sender.is_closed());
}

#[tokio::test]
async fn an_error_cuts_the_response() {
    let (sender, dropped, source) = source();
    let mut client = ask(serve_source(source).await, "").await;
    sender.send(Ok(Event::new("a"))).unwrap();
    until(&mut client, "data: a\n\n\r\n").await;
    sender.send(Ok(Event::new("b").id("\n"))).unwrap();
    let mut rest = Vec::new();
    // It may be a reset as well.
    let _ = soon(client.read_to_end(&mut rest)).await;
    assert_eq!(String::from_utf8(rest).unwrap(), "", "without the last chunk");
    assert!(soon(dropped).await.is_err());
}

#[tokio::test]
async fn a_client_that_had_all_is_told_to_stop() {
    let answer = |headers: HeaderMap| async move {
        let events: Response = match last_event_id(&headers) {
            Some("9") => stop(),
            Some(id) => {
                Events::new(stream::iter([Ok::<_, Infallible>(Event::new(id))])).into_response()
            }
            None => {
                Events::new(stream::iter([Ok::<_, Infallible>(Event::new("all"))])).into_response()
            }
        };
        events
    };
    let address = serve(Router::new().route("/", get(answer))).await;
    until(&mut ask(address, "").await, "data: all\n\n\r\n").await;
    until(&mut ask(address, "Last-Event-ID: 8…\r\n").await, "data: 8…\n\n\r\n").await;
    let head = until(&mut ask(address, "Last-Event-ID: 9\r\n").await, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
}

/// The stream would never stop by itself. Time is paused, so a wait is over when nothing else can go on.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_the_stream_back() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let service = hyper::service::service_fn(move |_: Request<hyper::body::Incoming>| {
        let counter = counter.clone();
        let endless = stream::repeat_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Event::new("x".repeat(1_000)))
        });
        async { Ok::<_, Infallible>(Events::new(endless).response()) }
    });
    let (mut client, server) = tokio::io::duplex(4096);
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection);
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();

    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = taken.load(Ordering::Relaxed);
    assert!((1..=200).contains(&before), "{before} events");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(taken.load(Ordering::Relaxed), before, "it waits");
    // The client reads on, and so the stream goes on.
    let mut read = vec![0; 400_000];
    client.read_exact(&mut read).await.unwrap();
    assert!(taken.load(Ordering::Relaxed) > before);
}
