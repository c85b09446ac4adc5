//! `tokio::Server`: limits on who comes in, and an orderly shutdown of all. Attack battery T14, R23.

use std::future::{pending, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::LONG;
use crate::support::server::{bounded, connect, echo, enter, open};
use bowline::handshake::{Accept, ClientRequest, ConnectError, Request, Response};
use bowline::tokio::{Server, Shutdown, WebSocket};
use bowline::{Config, End, Error, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Receives until the end; gives it.
fn end_of<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut ws: WebSocket<S>,
) -> JoinHandle<Option<End>> {
    tokio::spawn(async move {
        while let Ok(Some(_)) = ws.recv().await {}
        ws.end().cloned()
    })
}

fn assert_report(report: Shutdown, closed: usize, dropped: usize) {
    assert_eq!((report.closed, report.dropped), (closed, dropped));
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>) {
    match result {
        Err(Error::Connect(ConnectError::Refused(response))) => {
            assert_eq!(response.status(), 503);
            assert!(response.headers().get_str("Retry-After").is_some());
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

/// Battery T14.
#[tokio::test]
async fn each_of_ten_thousand_gets_close_1001() {
    const COUNT: usize = 10_000;
    let server = Server::new(Config::default());
    let mut ends = Vec::with_capacity(COUNT);
    for i in 0..COUNT {
        let mut client = open(&server, echo).await;
        if i % 10 == 0 {
            client.send("Hello").await.unwrap();
            assert_eq!(bounded(client.recv()).await.unwrap(), Some(Message::from("Hello")));
        }
        ends.push(end_of(client));
    }
    assert_eq!(server.connections(), COUNT);
    assert_report(bounded(server.shutdown(LONG)).await, COUNT, 0);
    assert_eq!(server.connections(), 0);
    for end in ends {
        assert_eq!(bounded(end).await.unwrap().unwrap().code(), 1001);
    }
}

/// How many sockets this process may have; battery T14 wants 2,000 connections.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    most.map_or(100, |most| (most / 2).saturating_sub(100)).min(2_000)
}

/// Battery T14.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sockets_are_closed_by_a_shutdown() {
    let count = connections();
    let server = Server::new(Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = server.clone();
    let run = tokio::spawn(async move { running.run(listener, echo).await });
    let mut ends = Vec::new();
    for _ in 0..count {
        let stream = bounded(TcpStream::connect(address)).await.unwrap();
        ends.push(end_of(bounded(connect(stream)).await.unwrap()));
    }
    // Those who are in the middle of the handshake are dropped.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let report = bounded(server.shutdown(LONG)).await;
    assert_report(report, count, 0);
    bounded(run).await.unwrap();
    for end in ends {
        assert_eq!(bounded(end).await.unwrap().unwrap().code(), 1001);
    }
    let mut rest = Vec::new();
    let _ = bounded(half.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_its_deadline_and_tells_what_became_of_each() {
    let server = Server::new(Config::default().close_timeout(60 * SECOND));
    let polite = end_of(open(&server, echo).await);
    // One that never answers, a handler that does not look, and one that does not even end when it is told.
    let silent = open(&server, echo).await;
    let at_work = open(&server, |ws, _| async move {
        pending::<()>().await;
        drop(ws);
    })
    .await;
    let lost = open(&server, |_, _| async {}).await;
    // A handler that is over, whose WebSocket another task has.
    let (give, take) = tokio::sync::oneshot::channel();
    let moved = open(&server, |ws, _| async {
        let (send, mut recv) = ws.split();
        tokio::spawn(async move {
            let result = recv.recv().await;
            drop(send);
            give.send(matches!(result, Err(Error::Ended(End::Unconfirmed)))).unwrap();
        });
    })
    .await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.connections(), 4, "all but the one whose handler returned");
    let start = Instant::now();
    assert_report(server.shutdown(10 * SECOND).await, 1, 3);
    assert!((10 * SECOND..11 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(polite.await.unwrap().unwrap().code(), 1001);
    assert!(take.await.unwrap(), "who receives is told");
    // Nothing is left of their streams.
    for mut client in [silent, at_work, lost, moved] {
        while let Ok(Some(_)) = client.recv().await {}
        assert!(client.end().is_some());
    }
    assert_eq!(server.connections(), 0);
    // Again is harmless.
    assert_report(server.shutdown(SECOND).await, 1, 3);
}

#[tokio::test]
async fn the_close_reaches_halves_and_lets_messages_through_that_were_sent_before() {
    let server = Server::new(Config::default());
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let mut client = open(&server, |ws, _| async move {
        let (mut send, mut recv) = ws.split();
        send.send("hi").await.unwrap();
        while let Ok(Some(_)) = recv.recv().await {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        assert!(send.send("late").await.is_err());
    })
    .await;
    assert!(bounded(client.recv()).await.unwrap().is_some());
    let stopping = tokio::spawn(async move { server.shutdown(LONG).await });
    // What is sent before our own Close still counts, also if theirs is on the way.
    while received.load(Ordering::Relaxed) < 10 {
        client.send("x").await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(bounded(client.recv()).await.unwrap().is_none());
    assert_eq!(client.end().unwrap().code(), 1001);
    assert_report(bounded(stopping).await.unwrap(), 1, 0);
}

#[tokio::test]
async fn a_connection_that_never_waits_is_told_too() {
    let server = Server::new(Config::default());
    let mut client =
        open(&server, |mut ws, _| async move { while let Ok(Some(_)) = ws.recv().await {} }).await;
    let stopping = tokio::spawn(async move { server.shutdown(LONG).await });
    let closed = async {
        // The handler has always something to read.
        let (mut send, mut recv) = {
            client.flush().await.unwrap();
            client.split()
        };
        let flood = tokio::spawn(async move { while send.send(vec![0; 100]).await.is_ok() {} });
        assert!(recv.recv().await.unwrap().is_none());
        assert_eq!(recv.end().unwrap().code(), 1001);
        flood.await.unwrap();
    };
    bounded(closed).await;
    assert_report(bounded(stopping).await.unwrap(), 1, 0);
}

#[tokio::test]
async fn beyond_the_limit_clients_get_503_until_there_is_room() {
    let server = Server::new(Config::default()).max_connections(2);
    let first = open(&server, echo).await;
    let _second = open(&server, echo).await;
    for _ in 0..10 {
        assert_refused(bounded(connect(enter(&server, echo).await)).await);
    }
    assert_eq!(server.connections(), 2);
    let end = end_of(first);
    drop(end.abort_handle());
    end.abort();
    while server.connections() == 2 {
        tokio::task::yield_now().await;
    }
    let _third = open(&server, echo).await;
    // The limit can be raised for all handles.
    let server = server.clone().max_connections(3);
    let _fourth = open(&server, echo).await;
    assert_refused(bounded(connect(enter(&server, echo).await)).await);
}

/// Battery R23.
#[tokio::test(start_paused = true)]
async fn a_flood_of_handshakes_is_refused_and_then_waits_outside() {
    let server = Server::new(Config::default()).max_handshakes(50);
    // They say nothing.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(enter(&server, echo).await);
    }
    // Others are told to come again, at any number.
    for _ in 0..1_000 {
        assert_refused(connect(enter(&server, echo).await).await);
    }
    // Those who do not even ask fill the places for that; then nobody is taken from the listener.
    for _ in 0..50 {
        silent.push(enter(&server, echo).await);
    }
    let (near, far) = duplex(4096);
    let serving = server.serve(ready(Ok(far)), echo);
    assert!(timeout(5 * SECOND, serving).await.is_err(), "it waits outside");
    drop(near);
    // All of it ends with the handshake timeout.
    tokio::time::sleep(20 * SECOND).await;
    let mut client = open(&server, echo).await;
    client.send("Hello").await.unwrap();
    assert!(client.recv().await.unwrap().is_some());
}

/// Battery R23, as a flood of complete requests.
#[tokio::test]
async fn ten_thousand_upgrades_leave_no_more_than_the_limit() {
    let server = Server::new(Config::default()).max_connections(100).max_handshakes(10);
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..10_000 {
        match bounded(connect(enter(&server, echo).await)).await {
            Ok(client) => open.push(client),
            result => {
                assert_refused(result);
                refused += 1;
            }
        }
        assert!(server.connections() <= 100);
    }
    assert_eq!((open.len(), refused), (100, 9_900));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_its_time_is_a_part_of_the_handshake() {
    let server = Server::new(Config::default()).max_handshakes(1);
    let start = Instant::now();
    server.serve(pending::<io::Result<DuplexStream>>(), echo).await;
    assert_refused(connect(enter(&server, echo).await).await);
    tokio::time::sleep(11 * SECOND).await;
    let client = open(&server, echo).await;
    drop(client);
    // One that fails leaves its place at once.
    server.serve(ready(Err::<DuplexStream, _>(io::ErrorKind::Other.into())), echo).await;
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    let _client = open(&server, echo).await;
    assert!(start.elapsed() < 15 * SECOND);
}

#[tokio::test]
async fn requests_can_be_looked_at() {
    let server = Server::new(Config::default()).on_request(|request| match request.path() {
        "/chat" => Ok(Accept::new().header("X-Room", "1").unwrap()),
        _ => Err(Response::new(404)),
    });
    let seen = |_: WebSocket<DuplexStream>, request: Request| async move {
        assert_eq!(request.path(), "/chat");
    };
    let request = ClientRequest::new("ws://a/chat").unwrap();
    let stream = enter(&server, seen).await;
    let opened = bowline::tokio::client(stream, &request, Config::default());
    let (_, response) = bounded(opened).await.unwrap();
    assert_eq!(response.headers().get_str("X-Room"), Some("1"));
    let request = ClientRequest::new("ws://a/other").unwrap();
    let stream = enter(&server, seen).await;
    let opened = bowline::tokio::client(stream, &request, Config::default());
    match bounded(opened).await {
        Err(Error::Connect(ConnectError::Refused(response))) => assert_eq!(response.status(), 404),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_refuses_requests_on_their_way_and_drops_who_sends_none() {
    let server = Server::new(Config::default().handshake_timeout(60 * SECOND));
    let on_its_way = enter(&server, echo).await;
    let mut silent = enter(&server, echo).await;
    let start = Instant::now();
    let stopping = server.clone();
    let shutdown = tokio::spawn(async move { stopping.shutdown(10 * SECOND).await });
    tokio::time::sleep(SECOND / 2).await;
    assert_refused(bounded(connect(on_its_way)).await);
    assert_eq!(bounded(silent.read(&mut [0])).await.unwrap(), 0, "it is dropped");
    assert_report(shutdown.await.unwrap(), 0, 0);
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn after_a_shutdown_nobody_comes_in() {
    let server = Server::new(Config::default());
    assert_report(server.shutdown(SECOND).await, 0, 0);
    assert!(bounded(connect(enter(&server, echo).await)).await.is_err());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    bounded(server.run(listener, echo)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_listener_is_served_as_a_tcp_listener_is() {
    let folder = std::env::temp_dir().join(format!("bowline-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::new(Config::default()).max_connections(1);
    let running = server.clone();
    let run = tokio::spawn(async move {
        // The closure's argument is inferred.
        let handler = |mut ws: WebSocket<_>, _request| async move {
            while let Ok(Some(message)) = ws.recv().await {
                let _ = ws.feed(message).await;
            }
        };
        running.run(listener, handler).await;
    });

    let mut client = bounded(connect(UnixStream::connect(&path).await.unwrap())).await.unwrap();
    client.send("Hello").await.unwrap();
    assert_eq!(bounded(client.recv()).await.unwrap(), Some(Message::from("Hello")));
    assert_eq!(server.connections(), 1);
    assert_refused(bounded(connect(UnixStream::connect(&path).await.unwrap())).await);

    let end = end_of(client);
    assert_report(bounded(server.shutdown(LONG)).await, 1, 0);
    assert_eq!(bounded(end).await.unwrap().unwrap().code(), 1001);
    bounded(run).await.unwrap();
    assert!(UnixStream::connect(&path).await.is_err(), "nobody listens any more");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What `on_end` was told.
type Told = Arc<std::sync::Mutex<Vec<(Option<String>, Option<End>)>>>;

fn telling() -> (Server, Told) {
    let told = Told::default();
    let noted = Arc::clone(&told);
    let server = Server::new(Config::default()).on_end(move |ended| {
        let error = ended.result.as_ref().err().map(ToString::to_string);
        noted.lock().unwrap().push((error, ended.end.cloned()));
    });
    (server, told)
}

#[tokio::test]
async fn the_end_of_each_websocket_is_told_once() {
    let (server, told) = telling();
    // The client closes, and the handler ends without an error.
    let mut client = open(&server, echo).await;
    client.close(4000, "bye").await.unwrap();
    drop(client);
    // The handler fails while the connection is open.
    let mut client = open(&server, |ws, _| async move {
        drop(ws);
        Err::<(), _>("out of luck")
    })
    .await;
    let _ = bounded(client.recv()).await;
    // It panics.
    let mut client = open(&server, async |_, _| panic!("a handler of a test")).await;
    let _ = bounded(client.recv()).await;
    // No WebSocket: nothing is told.
    let refusing = server.clone().on_request(|_| Err(Response::new(404)));
    bounded(connect(enter(&refusing, echo).await)).await.unwrap_err();
    bounded(server.shutdown(LONG)).await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|(error, end)| {
        error.is_none() && end.as_ref().is_some_and(|end| end.code() == 4000)
    }));
    let failed = (Some("out of luck".to_string()), None);
    assert!(told.contains(&failed), "{told:?}");
    assert!(told.iter().any(|(error, _)| error.as_ref().is_some_and(|e| e.contains("panicked"))));
}

#[tokio::test]
async fn who_drops_a_websocket_after_an_error_of_sending_has_its_end_told() {
    let told = Told::default();
    let noted = Arc::clone(&told);
    let config = Config::default().send_timeout(Duration::ZERO);
    let server = Server::new(config).on_end(move |ended| {
        noted.lock().unwrap().push((None, ended.end.cloned()));
    });
    // The peer reads nothing, and its pipe holds 4 KiB.
    let client = open(&server, |mut ws, _| async move { ws.send(vec![0; 9_000]).await }).await;
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    let told = told.lock().unwrap();
    assert_eq!(*told, [(None, Some(End::TimedOut(bowline::Timeout::Send)))]);
}

#[tokio::test]
async fn a_decision_may_take_time_and_sees_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let large = Config::default().max_message_size(4);
    let server = Server::new(Config::default()).on_request_async(move |request: Request| {
        let large = large.clone();
        async move {
            tokio::task::yield_now().await;
            let peer = request.peer_addr().expect("TCP has addresses");
            assert!(peer.ip().is_loopback() && peer.port() > 0);
            match request.path() {
                "/chat" => Ok(Accept::new().config(large)),
                _ => Err(Response::new(404)),
            }
        }
    });
    let running = tokio::spawn({
        let server = server.clone();
        async move { server.run(listener, echo).await }
    });
    let mut client = bounded(connect(TcpStream::connect(address).await.unwrap())).await.unwrap();
    // The settings of this request hold.
    client.send("12345").await.unwrap();
    assert_eq!(bounded(client.recv()).await.unwrap(), None);
    assert_eq!(client.end().unwrap().code(), 1009);
    let other = ClientRequest::new(&format!("ws://{address}/other")).unwrap();
    let refused = bounded(bowline::tokio::connect_with(&other, Config::default())).await;
    match refused.unwrap_err() {
        Error::Connect(ConnectError::Refused(response)) => assert_eq!(response.status(), 404),
        other => panic!("{other:?}"),
    }
    bounded(server.shutdown(LONG)).await;
    bounded(running).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_takes_for_ever_is_a_503() {
    let config = Config::default().handshake_timeout(SECOND);
    let server = Server::new(config).on_request_async(|_| pending());
    let refused = connect(enter(&server, echo).await);
    assert_refused(tokio::time::timeout(10 * LONG, refused).await.unwrap());
}

#[tokio::test]
async fn a_load_balancer_tells_whose_connection_it_passes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Config::default()).proxy_protocol(true);
    let running = tokio::spawn({
        let server = server.clone();
        let say = async |mut ws: WebSocket<TcpStream>, request: Request| {
            ws.send(request.peer_addr().unwrap().to_string()).await?;
            while ws.recv().await?.is_some() {}
            Ok::<_, Error>(())
        };
        async move { server.run(listener, say).await }
    });
    let mut balancer = TcpStream::connect(address).await.unwrap();
    balancer.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 443\r\n").await.unwrap();
    let mut client = bounded(connect(balancer)).await.unwrap();
    assert_eq!(bounded(client.recv()).await.unwrap(), Some(Message::from("192.0.2.7:40312")));
    client.close(1000, "").await.unwrap();
    // The load balancer's own connection has its own address.
    let mut balancer = TcpStream::connect(address).await.unwrap();
    let own = balancer.local_addr().unwrap();
    balancer.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let mut client = bounded(connect(balancer)).await.unwrap();
    assert_eq!(bounded(client.recv()).await.unwrap(), Some(Message::from(own.to_string())));
    client.close(1000, "").await.unwrap();
    // Without the header there is no answer.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /chat HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = bounded(plain.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    bounded(server.shutdown(LONG)).await;
    bounded(running).await.unwrap();
}

#[tokio::test]
async fn a_panic_of_who_is_told_keeps_no_place() {
    let server = Server::new(Config::default()).on_end(|_| panic!("a hook of a test"));
    let mut client = open(&server, echo).await;
    client.close(1000, "").await.unwrap();
    let mut client = open(&server, async |_, _| panic!("a handler of a test")).await;
    let _ = bounded(client.recv()).await;
    bounded(async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_report(bounded(server.shutdown(LONG)).await, 0, 0);
}

#[tokio::test]
async fn who_accepts_the_connection_can_tell_the_address() {
    let server = Server::new(Config::default());
    let (near, far) = duplex(4096);
    let say = |mut ws: WebSocket<DuplexStream>, request: Request| async move {
        ws.send(format!("{:?}", request.peer_addr())).await
    };
    let peer = "192.0.2.7:40312".parse().unwrap();
    bounded(server.serve_from(peer, ready(Ok(far)), say)).await;
    let mut client = bounded(connect(near)).await.unwrap();
    assert_eq!(bounded(client.recv()).await.unwrap(), Some("Some(192.0.2.7:40312)".into()));
    // Otherwise nobody knows it.
    let mut client = open(&server, say).await;
    assert_eq!(bounded(client.recv()).await.unwrap(), Some("None".into()));
}

/// Messages: received, sent.
fn messages(stats: bowline::Stats) -> (u64, u64) {
    (stats.received.messages, stats.sent.messages)
}

#[tokio::test]
async fn a_server_sums_the_numbers_of_its_connections() {
    let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&ended);
    let server = Server::new(Config::default().stats(true)).on_end(move |told| {
        noted.lock().unwrap().push(messages(told.stats.expect("they are counted")));
    });
    // One echoes three, and stays.
    let mut first = open(&server, echo).await;
    for _ in 0..3 {
        first.send("Hello").await.unwrap();
        bounded(first.recv()).await.unwrap();
    }
    // What is sent was counted at the wait that follows.
    while messages(server.stats()) != (3, 3) {
        tokio::task::yield_now().await;
    }
    // One only sends, and drops its WebSocket.
    let mut second = open(&server, |mut ws, _| async move {
        ws.send("one").await?;
        ws.send("two").await
    })
    .await;
    while bounded(second.recv()).await.is_ok_and(|message| message.is_some()) {}
    // One sends by a half that lives as long as the other.
    let mut third = open(&server, |ws, _| async move {
        let (mut sender, mut receiver) = ws.split();
        while let Some(message) = receiver.recv().await? {
            sender.send(message).await?;
        }
        Ok::<_, Error>(())
    })
    .await;
    third.send("Hello").await.unwrap();
    bounded(third.recv()).await.unwrap();
    third.close(1000, "").await.unwrap();
    // One has its halves put together again.
    let mut fourth = open(&server, |ws, _| async move {
        let (sender, receiver) = ws.split();
        let mut ws = receiver.reunite(sender).expect("they belong together");
        ws.send("whole again").await
    })
    .await;
    while bounded(fourth.recv()).await.is_ok_and(|message| message.is_some()) {}
    while server.connections() > 1 {
        tokio::task::yield_now().await;
    }
    let all = server.stats();
    assert_eq!(messages(all), (4, 7));
    assert_eq!((all.received.since_message, all.sent.close_code), (None, None));
    // The end of the first takes nothing away.
    first.close(1000, "").await.unwrap();
    bounded(server.shutdown(LONG)).await;
    assert_eq!(messages(server.stats()), (4, 7));
    let mut ended = ended.lock().unwrap();
    ended.sort_unstable();
    assert_eq!(*ended, [(0, 1), (0, 2), (1, 1), (3, 3)]);
}

#[tokio::test]
async fn a_server_that_does_not_count_has_no_numbers() {
    let server = Server::new(Config::default()).on_end(|told| assert_eq!(told.stats, None));
    let mut client = open(&server, echo).await;
    client.send("Hello").await.unwrap();
    bounded(client.recv()).await.unwrap();
    client.close(1000, "").await.unwrap();
    bounded(server.shutdown(LONG)).await;
    assert_eq!(server.stats(), bowline::Stats::default());
}
