//! The whole server over loopback, with bowline's own client.

mod fallback;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bowline::Error;
use bowline::handshake::{ClientRequest, ConnectError};
use bowline::tokio::{MaybeTls, WebSocket};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use hub::broker::Broker;
use hub::{Draft, Hub};

use crate::origin::Origins;
use crate::store::Store;
use crate::{alone, config, parse, serve};

#[test]
fn an_origin_that_no_browser_sends_keeps_the_server_from_starting() {
    let parsed =
        |origin: &str| parse(lexopt::Parser::from_args(["--allow-origin", origin])).map(drop);
    for origin in ["nonsense", "*", "null", "https://a.example/chat", "https://*.a.example"] {
        let error = parsed(origin).unwrap_err().to_string();
        let start = format!("--allow-origin: no browser sends the origin {origin:?}: ");
        assert!(error.starts_with(&start), "{error}");
    }
    for origin in ["https://a.example", "https://a.example/", "http://[::1]:3000", "file://"] {
        assert!(parsed(origin).is_ok(), "{origin}");
    }
}

struct Server {
    hub: Hub,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::with(Store::open(Path::new(":memory:")).expect("a database")).await
    }

    async fn with(store: Store) -> Self {
        Self::on(alone(store)).await
    }

    async fn on(hub: Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel();
        let until = async {
            let _ = stopped.await;
        };
        // A slow reader has to be found by the bytes that wait for it, before any timeout.
        let config = config().send_timeout(None).ping_interval(None);
        let mut origins = Origins::default();
        origins.allow("https://friend.example");
        let task = tokio::spawn(serve(listener, config, origins, hub.clone(), until));
        Self { hub, address, stop, task }
    }

    /// The id of a message of the lobby.
    async fn id(&self, offset: u64) -> String {
        let history = self.hub.history("lobby", None, 0).await.expect("a history");
        hub::Position { offset, ..history.end }.to_string()
    }

    fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    async fn connect(&self) -> Client {
        Client(in_time(bowline::tokio::connect(&self.url())).await.expect("a connection"))
    }

    /// Connects through a socket with small buffers.
    async fn connect_narrowly(&self) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
        let stream = socket.connect(self.address).await.expect("a connection");
        let stream = MaybeTls::Plain(stream);
        let request = ClientRequest::new(&self.url()).expect("a URL");
        let opening = bowline::tokio::client(stream, &request, bowline::Config::default());
        Client(in_time(opening).await.expect("a WebSocket").0)
    }

    async fn enter(&self, room: &str, name: &str, since: Option<&str>) -> Client {
        let mut client = self.join(room, name, name, since).await;
        client.until("here").await;
        client
    }

    async fn join(&self, room: &str, name: &str, secret: &str, since: Option<&str>) -> Client {
        let mut client = self.connect().await;
        client.ask(room, name, secret, since).await;
        client
    }
}

struct Client(WebSocket<MaybeTls>);

impl Client {
    async fn send(&mut self, message: Value) {
        in_time(self.0.send(message.to_string())).await.expect("it is sent");
    }

    async fn ask(&mut self, room: &str, name: &str, secret: &str, since: Option<&str>) {
        self.send(json!({
            "type": "join", "room": room, "name": name, "secret": secret, "since": since,
        }))
        .await;
    }

    async fn say(&mut self, text: &str) {
        self.say_as(text, text).await;
    }

    async fn say_as(&mut self, key: &str, text: &str) {
        self.send(json!({"type": "say", "key": key, "text": text})).await;
    }

    /// The next message that is not about rooms or nodes. Those come at any time.
    async fn next(&mut self) -> Value {
        loop {
            let value = self.any().await;
            if value["type"] != "rooms" && value["type"] != "reachable" {
                return value;
            }
        }
    }

    async fn any(&mut self) -> Value {
        let message = in_time(self.0.recv()).await.expect("a message").expect("not the end");
        serde_json::from_str(message.as_text().expect("text")).expect("JSON")
    }

    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let value = self.any().await;
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// Id and text of the next chat message.
    async fn heard(&mut self) -> (u64, String) {
        id_and_text(&self.until("said").await)
    }

    /// Id and text of all missed messages, and who is here.
    async fn missed(&mut self) -> (Vec<(u64, String)>, Value) {
        let (mut missed, mut welcomes) = (Vec::new(), 0);
        loop {
            let value = self.next().await;
            match value["type"].as_str() {
                Some("welcome") => {
                    welcomes += 1;
                    assert_eq!(welcomes, 1, "once is enough");
                }
                Some("history") => {
                    missed.extend(
                        value["messages"].as_array().expect("a list").iter().map(id_and_text),
                    );
                }
                Some("here") => return (missed, value["names"].clone()),
                _ => panic!("{value}"),
            }
        }
    }

    /// The code with which the server closes, when all before it is read.
    async fn closed(&mut self) -> u16 {
        while in_time(self.0.recv()).await.expect("no error").is_some() {}
        self.0.end().expect("it has ended").code().into()
    }

    async fn refused_with(&mut self) -> Value {
        self.until("refused").await["why"].clone()
    }
}

/// The number in the id of a message, and its text.
fn id_and_text(said: &Value) -> (u64, String) {
    (offset(said), said["text"].as_str().expect("a text").into())
}

fn offset(said: &Value) -> u64 {
    let id = said["id"].as_str().expect("an id");
    id.split_once('-').expect("an epoch").1.parse().expect("a number")
}

fn said(ids: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    ids.map(|id| (id, format!("message {id}"))).collect()
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

#[tokio::test]
async fn each_hears_the_other_in_one_order() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut bob = server.enter("lobby", "Bob", None).await;
    assert_eq!(ada.next().await, json!({"type": "came", "name": "Bob"}));
    ada.say("one").await;
    assert_eq!(bob.heard().await, (1, "one".into()));
    bob.say("two").await;
    assert_eq!(bob.heard().await, (2, "two".into()));
    assert_eq!(ada.heard().await, (1, "one".into()));
    let two = ada.until("said").await;
    assert_eq!((&two["name"], &two["key"]), (&json!("Bob"), &json!("two")));
    assert!(two["at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{two}");
}

#[tokio::test]
async fn rooms_are_apart() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut bob = server.enter("rust", "Bob", None).await;
    bob.say("in rust").await;
    bob.heard().await;
    ada.say("in the lobby").await;
    assert_eq!(ada.next().await["text"], "in the lobby");
}

#[tokio::test]
async fn everybody_is_told_of_the_rooms() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let _bob = server.enter("rust", "Bob", None).await;
    let expected = json!([{"name": "lobby", "people": 1}, {"name": "rust", "people": 1}]);
    while ada.until("rooms").await["rooms"] != expected {}
}

#[tokio::test]
async fn who_comes_back_has_what_was_missed_and_nothing_twice() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut bob = server.enter("lobby", "Bob", None).await;
    for (id, text) in said(1..=2) {
        ada.say(&text).await;
        assert_eq!(bob.heard().await, (id, text));
    }
    drop(bob);
    ada.until("left").await;
    for (id, text) in said(3..=9) {
        ada.say(&text).await;
        while ada.heard().await.0 != id {}
    }
    let mut bob = server.join("lobby", "Bob", "Bob", Some(&server.id(2).await)).await;
    let welcome = bob.next().await;
    assert_eq!(welcome, json!({"type": "welcome", "room": "lobby", "name": "Bob", "fresh": false}));
    assert_eq!(bob.missed().await, (said(3..=9), json!(["Ada", "Bob"])));
    ada.say("message 10").await;
    assert_eq!(bob.heard().await, (10, "message 10".into()));
}

#[tokio::test]
async fn who_reads_too_slowly_is_dropped_and_has_the_rest_on_coming_back() {
    const TALKERS: u64 = 200;
    let server = Server::start().await;
    let mut slow = server.connect_narrowly().await;
    slow.ask("lobby", "Slow", "s", None).await;
    slow.until("here").await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let watching = tokio::spawn(async move { while ada.until("left").await["name"] != "Slow" {} });
    // Long messages, from each talker at most one burst.
    let long = "\u{1F422}".repeat(1900);
    let mut said = 0;
    for talker in 0..TALKERS {
        if watching.is_finished() {
            break;
        }
        let mut client = server.enter("lobby", &talker.to_string(), None).await;
        for i in 0..10 {
            client.say_as(&format!("{talker}.{i}"), &long).await;
            said += 1;
            while client.heard().await.0 != said {}
        }
    }
    in_time(watching).await.expect("who reads nothing is dropped");
    let mut last = 0;
    while let Ok(Some(message)) = in_time(slow.0.recv()).await {
        let value: Value = serde_json::from_str(message.as_text().expect("text")).expect("JSON");
        if value["type"] == "said" {
            last += 1;
            assert_eq!(offset(&value), last, "no holes");
        }
    }
    assert!(last < said, "all of it came");
    let mut back = server.join("lobby", "Slow", "s", Some(&server.id(last).await)).await;
    let missed = back.missed().await.0;
    let ids: Vec<_> = missed.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (last + 1..=said).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_does_not_say_where_to_is_sent_away_and_who_did_is_not() {
    let server = Server::start().await;
    let mut silent = server.connect().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    // From here on time passes when all tasks are idle.
    tokio::time::pause();
    assert_eq!(silent.refused_with().await, "not_understood");
    assert_eq!(silent.closed().await, 4000);
    tokio::time::resume();
    ada.say("still here").await;
    assert_eq!(ada.heard().await.1, "still here");
}

#[tokio::test]
async fn what_is_said_while_somebody_enters_comes_once() {
    let store = Store::open(Path::new(":memory:")).expect("a database");
    for (_, text) in said(1..=500) {
        let words = json!({"at": 1, "name": "Eve", "text": text});
        store.append("lobby", &Draft::new(words.to_string())).await.expect("it is kept");
    }
    let server = Server::with(store).await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut bob = server.join("lobby", "Bob", "Bob", Some(&server.id(0).await)).await;
    for (_, text) in said(501..=508) {
        ada.say(&text).await;
    }
    let (mut got, _) = bob.missed().await;
    while got.len() < 508 {
        got.push(bob.heard().await);
    }
    assert_eq!(got, said(1..=508));
}

#[tokio::test]
async fn who_is_new_has_the_newest() {
    let store = Store::open(Path::new(":memory:")).expect("a database");
    for (_, text) in said(1..=80) {
        let words = json!({"at": 1, "name": "Eve", "text": text});
        store.append("lobby", &Draft::new(words.to_string())).await.expect("it is kept");
    }
    let server = Server::with(store).await;
    let mut ada = server.join("lobby", "Ada", "s1", None).await;
    assert_eq!(ada.next().await["fresh"], true);
    assert_eq!(ada.missed().await.0, said(31..=80));
    // An id that was never given is from another database, and what is no id is from nowhere.
    for (name, id) in [("Bob", &*server.id(81).await), ("Cid", "1-80"), ("Dan", "80")] {
        let mut client = server.join("lobby", name, name, Some(id)).await;
        assert_eq!(client.next().await["fresh"], true, "{id}");
        assert_eq!(client.missed().await.0, said(31..=80));
    }
}

#[tokio::test]
async fn what_is_sent_again_is_said_once() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    ada.say_as("k1", "one").await;
    ada.heard().await;
    ada.say_as("k1", "one").await;
    assert_eq!(ada.next().await, json!({"type": "kept", "key": "k1"}));
    ada.say_as("k2", "two").await;
    assert_eq!(ada.heard().await, (2, "two".into()));
}

#[tokio::test]
async fn a_taken_name_is_refused_and_not_to_its_owner() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut eve = server.join("lobby", "ada", "another secret", None).await;
    assert_eq!(eve.refused_with().await, "name_taken");
    assert_eq!(eve.closed().await, 4000);
    let mut again = server.enter("lobby", "Ada", None).await;
    assert_eq!(ada.closed().await, 4001);
    // Nobody came and nobody left.
    let mut bob = server.join("lobby", "Bob", "Bob", None).await;
    assert_eq!(bob.missed().await.1, json!(["Ada", "Bob"]));
    assert_eq!(again.next().await, json!({"type": "came", "name": "Bob"}));
    let _elsewhere = server.enter("rust", "Ada", None).await;
}

#[tokio::test]
async fn what_is_not_valid_is_refused() {
    let server = Server::start().await;
    for (room, name, why) in
        [("lobby", "a\nb", "name"), ("lobby", "", "name"), ("No room", "Ada", "room")]
    {
        let mut client = server.join(room, name, "s", None).await;
        assert_eq!(client.refused_with().await, why);
        assert_eq!(client.closed().await, 4000);
    }
    let mut client = server.join("lobby", "Ada", "", None).await;
    assert_eq!(client.refused_with().await, "not_understood");
    let mut client = server.connect().await;
    client.say("before it joined").await;
    assert_eq!(client.refused_with().await, "not_understood");
    assert_eq!(client.closed().await, 4000);
}

#[tokio::test]
async fn a_refused_message_is_named_and_the_connection_stays() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    for (text, why) in [
        ("é".repeat(2001), "too_long"),
        (" ".into(), "empty"),
        ("a\0b".into(), "control_character"),
    ] {
        ada.say_as("k1", &text).await;
        let refused = ada.until("refused").await;
        assert_eq!((&refused["why"], &refused["key"]), (&json!(why), &json!("k1")));
    }
    ada.send(json!({"type": "shout"})).await;
    assert_eq!(ada.refused_with().await, "not_understood");
    ada.say("still here").await;
    assert_eq!(ada.heard().await, (1, "still here".into()));
}

#[tokio::test]
async fn what_is_far_too_long_ends_the_connection() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    ada.say(&"x".repeat(40 << 10)).await;
    assert_eq!(ada.closed().await, 1009);
}

#[tokio::test]
async fn who_talks_too_fast_is_told_and_then_closed() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    for i in 0..15 {
        ada.say(&format!("message {i}")).await;
    }
    let refused = ada.until("refused").await;
    assert_eq!(refused["why"], "too_fast");
    assert!(refused["key"].as_str().is_some_and(|key| key.starts_with("message ")), "{refused}");
    // The server may have closed before all of these are sent.
    for i in 0..100 {
        if ada
            .0
            .send(json!({"type": "say", "key": "k", "text": i.to_string()}).to_string())
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(ada.closed().await, 1008);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let server = Server::start().await;
    let from = |origin: &str| {
        ClientRequest::new(&server.url()).expect("a URL").origin(origin).expect("an origin")
    };
    let own = from(&format!("http://{}", server.address));
    assert!(in_time(bowline::tokio::connect_with(&own, config())).await.is_ok());
    let foreign = from("http://elsewhere.example");
    match in_time(bowline::tokio::connect_with(&foreign, config())).await {
        Err(Error::Connect(ConnectError::Refused(response))) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let server = Server::start().await;
    let mut ada = server.enter("lobby", "Ada", None).await;
    let mut idle = server.connect().await;
    server.stop.send(()).expect("it runs");
    assert_eq!((ada.closed().await, idle.closed().await), (1001, 1001));
    in_time(server.task).await.expect("no panic").expect("no error");
}
