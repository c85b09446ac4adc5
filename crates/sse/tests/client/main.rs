//! The client, with servers that follow a script. Time is paused, so waits take none.

mod again;
mod answers;
mod dialing;
mod redirects;
mod requests;
mod sockets;
#[cfg(feature = "ring")]
#[path = "../../../../tests/support/tls.rs"]
mod tls;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_sse::client::{End, EventSource};
use bowline_sse::http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

/// The head of a stream of events in chunks.
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The last chunk: the end of a response.
const END: &str = "0\r\n\r\n";

/// What a server does with one connection.
#[derive(Clone, Debug)]
enum Answer {
    /// There is none.
    Unreachable,
    /// It never comes about.
    Never,
    /// The server sends this, and closes.
    Close(Vec<u8>),
    /// The server sends this, and stays.
    Hold(Vec<u8>),
    /// The server sends the first, and then the second again and again after this time.
    Again(String, String, Duration),
}

/// Answers with these events, and an end as HTTP has it.
fn whole(events: &str) -> Answer {
    Answer::Close(format!("{HEAD}{}{END}", chunk(events)).into())
}

/// Answers with these events, and breaks off.
fn cut(events: &str) -> Answer {
    Answer::Close(format!("{HEAD}{}", chunk(events)).into())
}

fn hold(events: &str) -> Answer {
    Answer::Hold(format!("{HEAD}{}", chunk(events)).into())
}

/// Says that the stream is elsewhere.
fn redirect(status: u16, location: &str) -> Answer {
    let head = format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 3\r\n\r\n");
    Answer::Hold(format!("{head}moved").into())
}

fn chunk(events: &str) -> String {
    if events.is_empty() {
        return String::new();
    }
    format!("{:x}\r\n{events}\r\n", events.len())
}

/// What the servers saw.
#[derive(Default)]
struct Seen {
    attempts: Vec<Instant>,
    requests: Vec<String>,
    /// How many connections the client has closed that a server held.
    gone: usize,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Seen>>);

impl Log {
    fn attempts(&self) -> usize {
        self.0.lock().unwrap().attempts.len()
    }

    /// The times between attempts.
    fn waits(&self) -> Vec<Duration> {
        let log = self.0.lock().unwrap();
        log.attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    fn gone(&self) -> usize {
        self.0.lock().unwrap().gone
    }

    /// This header of each request.
    fn header(&self, name: &str) -> Vec<Option<String>> {
        let value = |line: &str| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        self.requests().iter().map(|request| request.lines().find_map(value)).collect()
    }
}

async fn serve(mut stream: DuplexStream, answer: Answer, log: Log) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let mut request = String::from_utf8(request).unwrap();
    let length =
        |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
    let mut body = vec![0; request.lines().find_map(length).unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    request += std::str::from_utf8(&body).unwrap();
    log.0.lock().unwrap().requests.push(request);
    match answer {
        Answer::Unreachable | Answer::Never => {}
        Answer::Close(text) => stream.write_all(&text).await.unwrap(),
        Answer::Hold(text) => {
            stream.write_all(&text).await.unwrap();
            // Until the client is gone.
            let _ = stream.read_u8().await;
            log.0.lock().unwrap().gone += 1;
        }
        Answer::Again(first, text, time) => {
            stream.write_all(first.as_bytes()).await.unwrap();
            while stream.write_all(text.as_bytes()).await.is_ok() {
                tokio::time::sleep(time).await;
            }
        }
    }
}

/// A source whose connections get these answers in turn. It fails the test if it makes more.
fn scripted<B: Into<bytes::Bytes>>(
    request: Request<B>,
    answers: impl IntoIterator<Item = Answer>,
) -> (EventSource, Log) {
    let log = Log::default();
    let seen = log.clone();
    let mut answers: VecDeque<Answer> = answers.into_iter().collect();
    let dial = move || {
        let answer = answers.pop_front().expect("no more attempts than answers");
        seen.0.lock().unwrap().attempts.push(Instant::now());
        let log = seen.clone();
        async move {
            match answer {
                Answer::Unreachable => Err(io::ErrorKind::ConnectionRefused.into()),
                Answer::Never => std::future::pending().await,
                answer => {
                    let (client, server) = duplex(1 << 16);
                    tokio::spawn(serve(server, answer, log));
                    Ok(client)
                }
            }
        }
    };
    (EventSource::over(request.map(Into::into), dial).unwrap(), log)
}

fn get(answers: impl IntoIterator<Item = Answer>) -> (EventSource, Log) {
    scripted(Request::get("http://example.com/feed?a=b").body("").unwrap(), answers)
}

fn post(answers: impl IntoIterator<Item = Answer>) -> (EventSource, Log) {
    scripted(Request::post("http://example.com/ask").body("why?").unwrap(), answers)
}

/// The data of this many events.
async fn take(source: &mut EventSource, n: usize) -> Vec<String> {
    let mut data = Vec::new();
    for _ in 0..n {
        data.push(source.next().await.expect("it goes on").data);
    }
    data
}

/// How the source ends. It has to stay so.
async fn end(source: &mut EventSource) -> End {
    let end = source.next().await.expect_err("it ends");
    let again = source.next().await.expect_err("it stays ended");
    assert_eq!(end.to_string(), again.to_string());
    end
}

/// The ends that were a reason to connect again, and the wait after each.
type Ends = Arc<Mutex<Vec<(End, Duration)>>>;

fn ends(source: EventSource) -> (EventSource, Ends) {
    let ends = Ends::default();
    let seen = ends.clone();
    (source.on_wait(move |end, wait| seen.lock().unwrap().push((end.clone(), wait))), ends)
}
