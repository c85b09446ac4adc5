//! The same over Redis and NATS, where their servers are installed. With `BROKERS=redis,nats` in the environment, they have to be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hub::{Connect, Draft, Event, Hub, Member, Published, Settings};
use serde_json::json;

use crate::{at, draft, heard, history, in_time, keys, next, numbered, say, told, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redis,
    Nats,
}

/// A server on a port of its own.
struct Server {
    kind: Kind,
    port: u16,
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// None: it is not installed.
    fn start(kind: Kind) -> Option<Self> {
        let program = match kind {
            Kind::Redis => "redis-server",
            Kind::Nats => "nats-server",
        };
        if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
            let wanted = std::env::var("BROKERS").unwrap_or_default();
            assert!(
                !program.split('-').any(|name| wanted.contains(name)),
                "{program} is not installed"
            );
            eprintln!("left out: {program} is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("its address")
            .port();
        let folder =
            std::env::temp_dir().join(format!("bowline-hub-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let process = Self::spawn(kind, port, &folder);
        Some(Self { kind, port, folder, process })
    }

    fn spawn(kind: Kind, port: u16, folder: &std::path::Path) -> Child {
        let (port_text, folder) = (port.to_string(), folder.to_str().expect("UTF-8"));
        let mut command = match kind {
            // Redis keeps all that was written, so that it can come back with it. Without the file it has lost all.
            Kind::Redis => {
                let mut command = Command::new("redis-server");
                command.args([
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port_text,
                    "--save",
                    "",
                    "--appendonly",
                    "yes",
                    "--dir",
                    folder,
                ]);
                command
            }
            Kind::Nats => {
                let mut command = Command::new("nats-server");
                command.args(["-a", "127.0.0.1", "-p", &port_text, "-js", "-sd", folder]);
                command
            }
        };
        let process =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let until = Instant::now() + Duration::from_secs(20);
        while !Self::answers(kind, port) {
            assert!(Instant::now() < until, "{kind:?} does not answer");
        }
        process
    }

    fn answers(kind: Kind, port: u16) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let mut answer = [0; 64];
        if kind == Kind::Redis && stream.write_all(b"PING\r\n").is_err() {
            return false;
        }
        match (kind, stream.read(&mut answer)) {
            (Kind::Redis, Ok(n)) => answer[..n].starts_with(b"+PONG"),
            (Kind::Nats, Ok(n)) => answer[..n].starts_with(b"INFO"),
            _ => false,
        }
    }

    fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ended");
    }

    fn start_again(&mut self) {
        self.process = Self::spawn(self.kind, self.port, &self.folder);
    }

    fn lose_all(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("a folder");
        std::fs::create_dir_all(&self.folder).expect("a folder");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Stops all threads of the server. They go on to run for a moment after the signal.
    fn hang(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.process.id());
        let stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.expect("a thread").path().join("stat"));
            // The state follows the name, which is in parentheses.
            stat.is_ok_and(|stat| {
                stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
            })
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !std::fs::read_dir(&tasks).expect("its threads").all(stopped) {
            assert!(Instant::now() < until, "it does not stop");
            std::thread::yield_now();
        }
    }

    fn url(&self) -> String {
        let scheme = if self.kind == Kind::Redis { "redis" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    async fn hub(&self) -> Hub {
        self.hub_with(Settings::default()).await
    }

    async fn hub_with(&self, settings: Settings) -> Hub {
        // The lease is long, so that it is not a note that fails which shows that the broker is away.
        let settings = Settings {
            patience: Duration::from_millis(700),
            lease: Duration::from_secs(600),
            ..settings
        };
        in_time(Hub::connect(&self.url(), settings)).await.expect("a hub")
    }

    /// Publishes as a program that is no node.
    fn publish(&self, topic: &str, data: &str) {
        match self.kind {
            Kind::Redis => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/broker/append.lua");
                let key = format!("hub:{{{topic}}}");
                let output = Command::new("redis-cli")
                    .args([
                        "-p",
                        &self.port.to_string(),
                        "--eval",
                        script,
                        &key,
                        ",",
                        "",
                        "",
                        data,
                        "1",
                        "1000",
                        "600000",
                    ])
                    .output()
                    .expect("redis-cli");
                assert!(output.status.success(), "{output:?}");
            }
            Kind::Nats => {
                let mut stream =
                    TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
                let command = format!(
                    "CONNECT {{\"verbose\":false}}\r\nPUB hub.in.{topic} {}\r\n{data}\r\nPING\r\n",
                    data.len()
                );
                stream.write_all(command.as_bytes()).expect("it is sent");
                let mut answer = Vec::new();
                while !answer.ends_with(b"PONG\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("an answer");
                    answer.push(byte[0]);
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn settled(member: &mut Member) -> (u64, String) {
    until(member, |event| match event {
        Event::Settled(message) => {
            Some((message.position.expect("a position").offset, message.key.clone()))
        }
        _ => None,
    })
    .await
}

async fn two_nodes_have_one_order_and_one_history(server: Server) {
    let (one, two) = (server.hub().await, server.hub().await);
    // A topic may have any name.
    let topic = "room:ä.*>} {\n";
    let (mut ada, mut bob) = (one.join(topic).await, two.join(topic).await);
    let first = at(say(&one, topic, "one").await);
    assert_eq!(in_time(two.publish(topic, draft("one"))).await, Ok(Published::Before(first)));
    say(&two, topic, "two").await;
    let binary = Draft::new(&b"\0\xff\r\n"[..]).from(&**bob.reference());
    in_time(two.publish(topic, binary)).await.expect("it is published");
    for member in [&mut ada, &mut bob] {
        assert_eq!(heard(member).await, (Some(1), "one".into()));
        assert_eq!(heard(member).await, (Some(2), "two".into()));
        match next(member).await {
            Event::Message(message) => assert_eq!(
                (&message.data[..], message.position.map(|at| at.offset)),
                (&b"\0\xff\r\n"[..], Some(3))
            ),
            other => panic!("{other:?}"),
        }
    }
    let kept = in_time(one.history(topic, Some(first), 9)).await.expect("a history");
    assert_eq!((kept.fresh, kept.messages.len(), kept.end.offset), (false, 2, 3));
    assert_eq!(
        (&kept.messages[0].key[..], &kept.messages[1].from[..]),
        ("two", &**bob.reference())
    );
    assert_eq!(history(&two, "another", None, 9).await, (true, vec![]));
    let talkers = [&one, &two].map(|hub| {
        let hub = hub.clone();
        tokio::spawn(async move {
            for i in 0..100 {
                say(&hub, "busy", &format!("{}.{i}", hub.node())).await;
            }
        })
    });
    let (mut ada, mut bob) = (one.join("busy").await, two.join("busy").await);
    let begin =
        ada.position().expect("a position").offset.max(bob.position().expect("a position").offset);
    for talker in talkers {
        in_time(talker).await.expect("no panic");
    }
    let mut order = [Vec::new(), Vec::new()];
    for (member, order) in [&mut ada, &mut bob].into_iter().zip(&mut order) {
        while order.last().is_none_or(|(offset, _)| *offset != Some(200)) {
            order.push(heard(member).await);
        }
        order.retain(|(offset, _)| *offset > Some(begin));
        assert!(order.iter().map(|(offset, _)| offset.expect("a number")).eq(begin + 1..=200));
    }
    assert_eq!(order[0], order[1]);
}

async fn others_may_publish(server: Server) {
    let hub = server.hub().await;
    let mut ada = hub.join("a").await;
    server.publish("a", "from elsewhere");
    assert_eq!(heard(&mut ada).await, (Some(1), "from elsewhere".into()));
    say(&hub, "a", "two").await;
    assert_eq!(heard(&mut ada).await.0, Some(2));
    assert_eq!(history(&hub, "a", None, 9).await.1, numbered(&["from elsewhere", "two"]));
    if server.kind == Kind::Redis {
        let status = Command::new("redis-cli")
            .args(["-p", &server.port.to_string(), "publish", "hub:{a}", "now"])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("redis-cli").success());
        assert_eq!(heard(&mut ada).await, (None, "now".into()));
    }
}

async fn a_history_that_is_too_long_is_cut(server: Server) {
    let hub = server.hub_with(Settings { history: 10, ..Settings::default() }).await;
    let first = at(say(&hub, "a", "0").await);
    for i in 1..300 {
        say(&hub, "a", &i.to_string()).await;
    }
    let (fresh, kept) = history(&hub, "a", Some(first), 300).await;
    assert!(fresh && kept.len() < 300 && kept.len() >= 10, "{}", kept.len());
    assert_eq!(kept.last().expect("one").0, 300);
}

async fn it_stops_and_comes_back(mut server: Server) {
    let (one, two) = (server.hub().await, server.hub().await);
    let (mut ada, mut bob) = (one.join("a").await, two.join("a").await);
    ada.enter("Ada", json!(null));
    until(&mut bob, |event| matches!(event, Event::Came(_)).then_some(())).await;
    say(&one, "a", "one").await;
    assert_eq!(heard(&mut bob).await.0, Some(1));
    server.stop();
    for member in [&mut ada, &mut bob] {
        told(member, false).await;
    }
    assert_eq!(say(&one, "a", "from one").await, Published::Early);
    assert_eq!(say(&two, "a", "from two").await, Published::Early);
    assert_eq!(heard(&mut ada).await, (None, "from one".into()));
    assert_eq!(heard(&mut bob).await, (None, "from two".into()));
    server.start_again();
    let mut numbers = Vec::new();
    for (member, own, other) in
        [(&mut ada, "from one", "from two"), (&mut bob, "from two", "from one")]
    {
        let mut got = Vec::new();
        while got.len() < 2 {
            match next(member).await {
                Event::Settled(message) => {
                    assert_eq!(message.key, own);
                    got.push((message.position.expect("a position").offset, own));
                }
                Event::Message(message) => {
                    assert_eq!(message.key, other);
                    got.push((message.position.expect("a position").offset, other));
                }
                Event::Reachable(true) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!([got[0].0, got[1].0], [2, 3], "in order, without a hole");
        numbers.push(got);
    }
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(keys(&two, "a").await, ["Ada"]);
    say(&two, "a", "after").await;
    for member in [&mut ada, &mut bob] {
        assert_eq!(heard(member).await, (Some(4), "after".into()));
    }
}

async fn it_comes_back_without_its_data(mut server: Server) {
    let (one, two) = (server.hub().await, server.hub().await);
    let (mut ada, mut bob) = (one.join("a").await, two.join("a").await);
    let before = at(say(&one, "a", "one").await);
    server.stop();
    told(&mut ada, false).await;
    server.lose_all();
    server.start_again();
    for member in [&mut ada, &mut bob] {
        let anew = until(member, |event| match event {
            Event::CatchUp(position) => Some(*position),
            _ => None,
        })
        .await;
        assert_ne!(anew.epoch, before.epoch);
        told(member, true).await;
    }
    say(&one, "a", "anew").await;
    say(&two, "a", "more").await;
    for member in [&mut ada, &mut bob] {
        assert_eq!(heard(member).await, (Some(1), "anew".into()));
        assert_eq!(heard(member).await, (Some(2), "more".into()));
    }
    assert!(in_time(one.history("a", Some(before), 9)).await.expect("a history").fresh);
}

async fn it_hangs_and_goes_on(server: Server) {
    let (one, two) = (server.hub().await, server.hub().await);
    let (mut ada, mut bob) = (one.join("a").await, two.join("a").await);
    server.hang();
    assert_eq!(say(&one, "a", "one").await, Published::Early);
    assert_eq!(heard(&mut ada).await, (None, "one".into()));
    server.signal("-CONT");
    assert_eq!(settled(&mut ada).await, (1, "one".into()));
    // It may have taken the message although it did not answer. It comes once.
    say(&one, "a", "two").await;
    assert_eq!(heard(&mut bob).await, (Some(1), "one".into()));
    assert_eq!(heard(&mut bob).await, (Some(2), "two".into()));
}

#[tokio::test]
async fn redis_may_throw_away_any_key() {
    let Some(server) = Server::start(Kind::Redis) else { return };
    let hub = server.hub().await;
    let mut ada = hub.join("a").await;
    say(&hub, "a", "one").await;
    let before = at(say(&hub, "a", "two").await);
    let delete = |key: &str| {
        let port = server.port.to_string();
        let status = Command::new("redis-cli")
            .args(["-p", &port, "del", key])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("redis-cli").success());
    };
    delete("hub:{a}");
    assert_eq!(history(&hub, "a", None, 9).await.1, []);
    let third = at(say(&hub, "a", "three").await);
    assert_eq!((third.epoch, third.offset), (before.epoch, 3));
    delete("hub:{a}:meta");
    let anew = at(say(&hub, "a", "anew").await);
    assert_ne!(anew.epoch, before.epoch);
    assert_eq!(anew.offset, 1);
    assert_eq!(history(&hub, "a", None, 9).await.1, numbered(&["anew"]));
    let told = |event: &Event| {
        matches!(event, Event::CatchUp(position) if *position == anew).then_some(())
    };
    until(&mut ada, told).await;
    delete("hub:{a}:meta");
    assert_eq!(history(&hub, "a", Some(anew), 9).await, (true, vec![]));
}

macro_rules! over_both {
    ($($test:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test] async fn $test() { if let Some(server) = super::Server::start(super::Kind::Redis) { super::$test(server).await } })*
        }
        mod nats {
            $(#[tokio::test] async fn $test() { if let Some(server) = super::Server::start(super::Kind::Nats) { super::$test(server).await } })*
        }
    };
}

over_both! {
    two_nodes_have_one_order_and_one_history,
    others_may_publish,
    a_history_that_is_too_long_is_cut,
    it_stops_and_comes_back,
    it_comes_back_without_its_data,
    it_hangs_and_goes_on,
}

#[tokio::test]
async fn a_hub_needs_its_broker_at_the_start() {
    let closed =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    for scheme in ["redis", "nats"] {
        let error =
            in_time(Hub::connect(&format!("{scheme}://{closed}"), Settings::default())).await.err();
        assert!(matches!(error, Some(Connect::Refused(_))), "{error:?}");
    }
    for url in ["kafka://a", "redis", ""] {
        assert!(
            matches!(Hub::connect(url, Settings::default()).await.err(), Some(Connect::Unknown(_))),
            "{url}"
        );
    }
    assert!(matches!(
        Hub::connect("redis://[", Settings::default()).await.err(),
        Some(Connect::Url(_))
    ));
}
