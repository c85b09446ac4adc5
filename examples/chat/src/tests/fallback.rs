//! Server-sent events and polling, over plain sockets, so that what is on the wire is seen.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Server, id_and_text, in_time, said};

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The messages of an answer to a poll that are not about rooms and nodes.
    fn messages(&self) -> Vec<Value> {
        let answer = self.json();
        let messages = answer["messages"].as_array().expect("messages").iter();
        messages
            .filter(|message| message["type"] != "rooms" && message["type"] != "reachable")
            .cloned()
            .collect()
    }

    fn turn(&self) -> u64 {
        self.json()["turn"].as_u64().expect("a turn")
    }

    fn said(&self) -> Vec<(u64, String)> {
        let messages = self.messages();
        let of = |message: &Value| match message["type"].as_str() {
            Some("said") => vec![id_and_text(message)],
            Some("history") => {
                message["messages"].as_array().expect("a list").iter().map(id_and_text).collect()
            }
            _ => vec![],
        };
        messages.iter().flat_map(of).collect()
    }
}

impl Server {
    async fn request(&self, request: &str) -> Answer {
        let mut stream = in_time(TcpStream::connect(self.address)).await.expect("a connection");
        in_time(stream.write_all(request.as_bytes())).await.expect("it is sent");
        let mut answer = String::new();
        in_time(stream.read_to_string(&mut answer)).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn post_text(&self, path: &str, headers: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        )
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(&self.post_text(path, "", &body.to_string())).await
    }

    async fn poll(&self, name: &str, since: Option<&str>, turn: u64, wait: u64) -> Answer {
        self.post("/poll", poll(name, since, turn, wait)).await
    }

    async fn say(&self, name: &str, text: &str) -> Answer {
        self.post("/say", json!({"room": "lobby", "name": name, "secret": name, "since": null, "key": text, "text": text})).await
    }

    async fn events(&self, query: &str, headers: &str) -> Stream {
        let mut stream = in_time(TcpStream::connect(self.address)).await.expect("a connection");
        let request = format!(
            "GET /events?room=lobby&{query} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            self.address
        );
        in_time(stream.write_all(request.as_bytes())).await.expect("it is sent");
        let mut stream = Stream { lines: BufReader::new(stream), head: String::new() };
        loop {
            match stream.line().await {
                line if line.is_empty() => return stream,
                line => stream.head += &format!("{line}\n").to_lowercase(),
            }
        }
    }
}

fn poll(name: &str, since: Option<&str>, turn: u64, wait: u64) -> Value {
    json!({"room": "lobby", "name": name, "secret": name, "since": since, "turn": turn, "wait": wait})
}

/// An answer that does not end.
struct Stream {
    lines: BufReader<TcpStream>,
    head: String,
}

impl Stream {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        in_time(self.lines.read_line(&mut line)).await.expect("a line");
        assert!(!line.is_empty(), "the stream has ended");
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// The next event of this type: its message, and its id.
    async fn until(&mut self, kind: &str) -> (Value, Option<String>) {
        let (mut data, mut id) = (None, None);
        loop {
            let line = self.line().await;
            if let Some(text) = line.strip_prefix("data: ").or_else(|| line.strip_prefix("data:")) {
                data = Some(serde_json::from_str::<Value>(text).expect("JSON"));
            } else if let Some(text) =
                line.strip_prefix("id: ").or_else(|| line.strip_prefix("id:"))
            {
                id = Some(text.to_owned());
            } else if line.is_empty() {
                if let Some(message) = data.take().filter(|message| message["type"] == kind) {
                    return (message, id);
                }
                id = None;
            }
        }
    }
}

#[tokio::test]
async fn events_are_what_a_websocket_sends_and_their_ids_are_where_to_go_on() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut bob = server.events("name=Bob&secret=Bob", "").await;
    assert!(
        bob.head.contains("content-type: text/event-stream")
            && bob.head.contains("x-accel-buffering: no"),
        "{}",
        bob.head
    );
    assert_eq!(bob.until("welcome").await.0["fresh"], true);
    assert_eq!(bob.until("here").await.0["names"], json!(["Ada", "Bob"]));
    ada.until("came").await;
    ada.say("one").await;
    ada.say("two").await;
    let (message, id) = bob.until("said").await;
    assert_eq!((id_and_text(&message), id.as_deref()), ((1, "one".into()), message["id"].as_str()));
    drop(bob);
    // An `EventSource` that comes back says it in a header, and its address is the old one.
    let mut bob = server
        .events(
            "name=Bob&secret=Bob&since=nonsense",
            &format!("Last-Event-ID: {}\r\n", id.expect("an id")),
        )
        .await;
    assert_eq!(bob.until("welcome").await.0["fresh"], false);
    let (history, id) = bob.until("history").await;
    assert_eq!(id_and_text(&history["messages"][0]), (2, "two".into()));
    assert_eq!(id.as_deref(), history["messages"][0]["id"].as_str());
    assert_eq!(server.say("Bob", "three").await.status, 200);
    assert_eq!(id_and_text(&bob.until("said").await.0), (3, "three".into()));
    while ada.heard().await.1 != "three" {}
}

#[tokio::test]
async fn who_may_not_enter_is_told_in_the_stream() {
    let server = Server::start().await;
    let _ada = server.enter("lobby", "Ada", None).await;
    let mut eve = server.events("name=ada&secret=other", "").await;
    assert_eq!(eve.until("refused").await.0["why"], "name_taken");
    assert_eq!(eve.until("end").await.0["why"], "refused");
    let answer = server.post("/poll", json!({"room": "lobby", "name": "ada", "secret": "other", "since": null, "turn": 0, "wait": 20})).await;
    assert_eq!(answer.messages()[0]["why"], "name_taken");
    assert_eq!(answer.messages()[1], json!({"type": "end", "why": "refused"}));
}

#[tokio::test]
async fn a_poll_waits_for_news_and_an_answer_that_was_lost_comes_again() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let first = server.poll("Bob", None, 0, 20).await;
    let kinds: Vec<_> = first.messages().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(kinds, ["welcome", "here"]);
    ada.until("came").await;
    // With nothing new, it waits.
    let request = server.post_text("/poll", "", &poll("Bob", None, first.turn(), 20).to_string());
    let (second, ()) = tokio::join!(server.request(&request), async {
        while ada.until("rooms").await["rooms"][0]["people"] != 2 {}
        ada.say("one").await;
    });
    let mut second = second;
    while second.said().is_empty() {
        // News of the rooms may have come first.
        second = server.poll("Bob", None, second.turn(), 20).await;
    }
    assert_eq!(second.said(), [(1, "one".into())]);
    ada.say("two").await;
    // The client did not get that answer: it names the first.
    let third = server.poll("Bob", None, first.turn(), 20).await;
    let mut heard = third.said();
    while heard.len() < 2 {
        heard.extend(server.poll("Bob", None, third.turn(), 20).await.said());
    }
    assert_eq!(heard, [(1, "one".into()), (2, "two".into())]);
    let here = |message: &&Value| message["type"] == "here";
    assert_eq!(
        third.messages().iter().find(here).expect("who is here")["names"],
        json!(["Ada", "Bob"])
    );
    // With its last id, it gets only what follows.
    let id = server.id(1).await;
    let fourth = server.poll("Bob", Some(&id), first.turn(), 0).await;
    assert_eq!(
        (fourth.messages()[0]["fresh"].clone(), fourth.said()),
        (json!(false), vec![(2, "two".into())])
    );
    assert!(fourth.turn() > third.turn());
    // The number and the id are the client's to choose.
    let absurd = format!("{}-{}", id.split_once('-').expect("an epoch").0, u64::MAX);
    let fifth = server.poll("Bob", Some(&absurd), u64::MAX, 0).await;
    assert_eq!((fifth.status, fifth.messages()[0]["fresh"].clone()), (200, json!(true)));
}

#[tokio::test]
async fn a_client_may_change_the_way_and_nobody_sees_it() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut socket = server.enter("lobby", "Bob", None).await;
    assert_eq!(ada.next().await, json!({"type": "came", "name": "Bob"}));
    socket.say("message 1").await;
    socket.heard().await;
    let mut stream =
        server.events(&format!("name=Bob&secret=Bob&since={}", server.id(1).await), "").await;
    stream.until("here").await;
    assert_eq!(socket.closed().await, 4001);
    server.say("Bob", "message 2").await;
    assert_eq!(id_and_text(&stream.until("said").await.0), (2, "message 2".into()));
    let polled = server.poll("Bob", Some(&server.id(2).await), 0, 0).await;
    assert_eq!(polled.said(), []);
    assert_eq!(stream.until("end").await.0["why"], "replaced");
    server.say("Bob", "message 3").await;
    let mut heard = polled.turn();
    loop {
        let answer = server.poll("Bob", Some(&server.id(2).await), heard, 20).await;
        heard = answer.turn();
        if !answer.said().is_empty() {
            assert_eq!(answer.said(), said(3..=3));
            break;
        }
    }
    let mut socket = server.join("lobby", "Bob", "Bob", Some(&server.id(3).await)).await;
    assert_eq!(socket.missed().await.0, []);
    // All that Ada sees is what was said.
    for (id, text) in said(1..=3) {
        let value = ada.next().await;
        assert_eq!((value["type"].as_str(), id_and_text(&value)), (Some("said"), (id, text)));
    }
    drop(socket);
    assert_eq!(ada.next().await, json!({"type": "left", "name": "Bob"}));
}

#[tokio::test]
async fn who_polled_and_has_a_stream_now_leaves_with_it() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    server.poll("Bob", None, 0, 0).await;
    let mut stream = server.events("name=Bob&secret=Bob", "").await;
    stream.until("here").await;
    assert_eq!(ada.next().await, json!({"type": "came", "name": "Bob"}));
    drop(stream);
    assert_eq!(ada.next().await, json!({"type": "left", "name": "Bob"}));
}

#[tokio::test]
async fn a_room_holds_two_hundred() {
    let server = Server::start().await;
    for number in 0..200 {
        assert_eq!(
            server.poll(&number.to_string(), None, 0, 0).await.messages()[0]["type"],
            "welcome"
        );
    }
    assert_eq!(server.poll("200", None, 0, 0).await.messages()[0]["why"], "room_full");
}

#[tokio::test]
async fn what_other_programs_publish_is_checked() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    for bad in [
        "nonsense".to_owned(),
        json!({"at": 1, "name": "Cron"}).to_string(),
        json!({"at": 1, "name": "\u{202e}", "text": "x"}).to_string(),
        json!({"at": 1, "name": "Cron", "text": "a\0b"}).to_string(),
    ] {
        server.hub.publish("lobby", hub::Draft::new(bad)).await.expect("it is kept");
    }
    let good = json!({"at": 1, "name": "Cron", "text": "good"});
    server.hub.publish("lobby", hub::Draft::new(good.to_string())).await.expect("it is kept");
    assert_eq!(ada.next().await["text"], "good");
}

#[tokio::test]
async fn a_post_says_what_became_of_it() {
    let server = Server::start().await;
    let _ada = server.enter("lobby", "Ada", None).await;
    let answer = server.say("Ada", "one").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"type": "kept", "key": "one"})));
    let answer = server.say("Ada", "one").await;
    assert_eq!((answer.status, answer.json()["type"].clone()), (200, json!("kept")));
    let answer = server.say("Nobody", "two").await;
    assert_eq!((answer.status, answer.json()["why"].clone()), (403, json!("not_here")));
    let stolen = json!({"room": "lobby", "name": "Ada", "secret": "other", "since": null, "key": "k", "text": "x"});
    assert_eq!(server.post("/say", stolen).await.status, 403);
    let empty = json!({"room": "lobby", "name": "Ada", "secret": "Ada", "since": null, "key": "k", "text": " "});
    let answer = server.post("/say", empty).await;
    assert_eq!(
        (answer.status, answer.json()["why"].clone(), answer.json()["key"].clone()),
        (400, json!("empty"), json!("k"))
    );
    assert_eq!(server.post("/say", json!({"text": "x"})).await.status, 422);
    assert_eq!(server.post("/say", json!({"text": "x".repeat(40 << 10)})).await.status, 413);
    // The rate is one for all ways.
    let mut statuses = Vec::new();
    for i in 0..12 {
        statuses.push(server.say("Ada", &format!("fast {i}")).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_they_are_allowed() {
    let server = Server::start().await;
    let body = poll("Ada", None, 0, 0).to_string();
    for (origin, status) in [
        ("http://elsewhere.example".to_owned(), 403),
        ("null".into(), 403),
        (format!("http://{}", server.address), 200),
        ("https://friend.example".into(), 200),
    ] {
        let answer = server
            .request(&server.post_text("/poll", &format!("Origin: {origin}\r\n"), &body))
            .await;
        assert_eq!(answer.status, status, "{origin}");
        let readable = answer.head.contains("access-control-allow-origin: https://friend.example");
        assert_eq!(readable, origin.contains("friend"), "{}", answer.head);
    }
    let asks = |origin| {
        format!(
            "OPTIONS /say HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n",
            server.address
        )
    };
    let answer = server.request(&asks("https://friend.example")).await;
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("access-control-allow-headers: content-type"), "{}", answer.head);
    assert_eq!(server.request(&asks("https://elsewhere.example")).await.status, 403);
    // Another site cannot send JSON without asking, and nothing else is read.
    let plain = server.post_text("/poll", "", &body).replace("application/json", "text/plain");
    assert_eq!(server.request(&plain).await.status, 415);
}

#[tokio::test]
async fn who_polls_leaves_when_it_says_so() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    server.poll("Bob", None, 0, 0).await;
    ada.until("came").await;
    let leave = json!({"room": "lobby", "name": "Bob", "secret": "other", "since": null});
    assert_eq!(server.post("/leave", leave).await.status, 204);
    ada.say("still here").await;
    assert_eq!(ada.next().await["text"], "still here", "another secret is somebody else");
    let leave = json!({"room": "lobby", "name": "Bob", "secret": "Bob", "since": null});
    assert_eq!(server.post("/leave", leave).await.status, 204);
    assert_eq!(ada.next().await, json!({"type": "left", "name": "Bob"}));
}

#[tokio::test]
async fn who_does_not_poll_any_more_is_gone_after_a_while() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    server.poll("Bob", None, 0, 0).await;
    ada.until("came").await;
    // From here on time passes when all tasks are idle.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    // Without a time limit: the time of this test is the clock's.
    while let Ok(Some(message)) = ada.0.recv().await
        && !message.as_text().is_some_and(|text| text.contains("\"left\""))
    {}
    let took = begin.elapsed().as_secs();
    assert!((30..=60).contains(&took), "{took} s");
}

#[tokio::test]
async fn the_end_of_the_server_is_told_to_all() {
    let server = Server::start().await;
    let mut bob = server.events("name=Bob&secret=Bob", "").await;
    bob.until("here").await;
    let first = server.poll("Cid", None, 0, 0).await;
    let request = server.post_text("/poll", "", &poll("Cid", None, first.turn(), 20).to_string());
    let mut stream = in_time(TcpStream::connect(server.address)).await.expect("a connection");
    in_time(stream.write_all(request.as_bytes())).await.expect("it is sent");
    // The poll may have an answer already, of what happened since the first.
    server.stop.send(()).expect("it runs");
    assert_eq!(bob.until("end").await.0["why"], "stopping");
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    in_time(server.task).await.expect("no panic").expect("no error");
}
