//! NATS with JetStream: a stream for each topic, which sends what it has kept to the nodes, with the number.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::header::{NATS_MESSAGE_ID, NATS_SEQUENCE};
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::stream::{Config, Info, Republish, Stream};
use async_nats::{Client, ConnectOptions, Event as ClientEvent, HeaderMap, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Appended, Broker, Inbox, Incoming, Page};
use crate::{Away, Connect, Draft, Message, Position};

/// For how long a key is known.
const WINDOW: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(2);
const FROM: &str = "Hub-From";
/// How often a message is sent again that no stream takes.
const TRIES: u32 = 8;
/// How many messages of the history are asked for at once.
const AT_ONCE: usize = 16;

/// NATS 2.9 or later with JetStream. A topic has a stream `hub-TOPIC`. A program that is no node publishes to the subject `hub.in.TOPIC`.
pub struct Nats {
    client: Client,
    jetstream: Context,
    history: usize,
    inbox: Inbox,
    streams: Mutex<HashMap<String, Stream>>,
    watched: Mutex<HashMap<String, Watch>>,
}

struct Watch {
    /// Of the messages that come. They do not say it themselves.
    epoch: Arc<AtomicU64>,
    reader: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A topic as a part of a subject. Letters, digits, hyphens and underscores stay. Other bytes become `=` and two digits.
fn token(topic: &str) -> String {
    topic.bytes().fold(String::new(), |mut token, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02x}"));
        }
        token
    })
}

impl Nats {
    /// Connects to `nats://[USER:PASSWORD@]HOST[:PORT]`.
    pub async fn connect(url: &str, history: usize, inbox: Inbox) -> Result<Self, Connect> {
        let events = inbox.clone();
        let options = ConnectOptions::new()
            .connection_timeout(TIMEOUT)
            .request_timeout(Some(TIMEOUT))
            .ping_interval(TIMEOUT)
            .reconnect_delay_callback(|attempts| Duration::from_millis(100 << attempts.min(4)))
            .event_callback(move |event| {
                if matches!(event, ClientEvent::Disconnected | ClientEvent::Closed) {
                    let _ = events.send(Incoming::Down);
                }
                async {}
            });
        let refused = |error: &dyn Display| Connect::Refused(error.to_string());
        let client = options.connect(url).await.map_err(|error| refused(&error))?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(TIMEOUT);
        has_jetstream(&client).await.map_err(|error| refused(&error))?;
        Ok(Self {
            client,
            jetstream,
            history,
            inbox,
            streams: Mutex::default(),
            watched: Mutex::default(),
        })
    }

    /// The stream of a topic. It is made if it is not there.
    async fn stream(&self, topic: &str) -> Result<Stream, Away> {
        if let Some(stream) = self.streams.lock().await.get(topic) {
            return Ok(stream.clone());
        }
        let token = token(topic);
        let incoming = format!("hub.in.{token}");
        let config = Config {
            name: format!("hub-{token}"),
            subjects: vec![incoming.clone()],
            max_messages: i64::try_from(self.history).unwrap_or(i64::MAX),
            duplicate_window: WINDOW,
            allow_direct: true,
            republish: Some(Republish {
                source: incoming,
                destination: format!("hub.out.{token}"),
                headers_only: false,
            }),
            ..Config::default()
        };
        let stream = self.jetstream.get_or_create_stream(config).await.map_err(log)?;
        self.streams.lock().await.insert(topic.to_owned(), stream.clone());
        Ok(stream)
    }
}

/// Whether JetStream answers. The client's own way cannot read what NATS 2.9 says.
async fn has_jetstream(client: &Client) -> Result<(), String> {
    let answer = client.request("$JS.API.INFO", Bytes::new()).await;
    let answer = answer.map_err(|error| format!("JetStream: {error}"))?;
    let answer: Value =
        serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    answer.get("error").map_or(Ok(()), |error| Err(format!("JetStream: {error}")))
}

/// A stream that was made anew has another time.
fn epoch(info: &Info) -> u64 {
    u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(0)
}

/// A message by its headers. A program that is no node need not give any.
fn message(position: Option<Position>, headers: Option<&HeaderMap>, data: Bytes) -> Arc<Message> {
    let header = |name: &str| {
        headers.and_then(|headers| headers.get(name)).map(ToString::to_string).unwrap_or_default()
    };
    Arc::new(Message { position, key: header(NATS_MESSAGE_ID.as_ref()), from: header(FROM), data })
}

#[async_trait]
impl Broker for Nats {
    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        let subject = format!("hub.in.{}", token(topic));
        let mut tries = 0;
        loop {
            let stream = self.stream(topic).await?;
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, &*draft.key);
            headers.insert(FROM, &*draft.from);
            let sent =
                self.jetstream.publish_with_headers(subject.clone(), headers, draft.data.clone());
            match sent.await.map_err(log)?.await {
                Ok(kept) => {
                    let position =
                        Position { epoch: epoch(stream.cached_info()), offset: kept.sequence };
                    return Ok(Appended { position, duplicate: kept.duplicate });
                }
                // A stream that another node is just making can be asked about before it takes messages. Or somebody has deleted it.
                Err(error) if error.kind() == PublishErrorKind::StreamNotFound && tries < TRIES => {
                    tries += 1;
                    self.streams.lock().await.remove(topic);
                    sleep(tries * Duration::from_millis(10)).await;
                }
                Err(error) => return Err(log(error)),
            }
        }
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        let stream = self.stream(topic).await?;
        let info = stream.get_info().await.map_err(log)?;
        let (epoch, last) = (epoch(&info), info.state.last_sequence);
        let first = if info.state.messages == 0 { last + 1 } else { info.state.first_sequence };
        let begin = after.saturating_add(1).max(first);
        let wanted = (begin..=last).take(most).map(|sequence| stream.direct_get(sequence));
        let mut got = iter(wanted).buffered(AT_ONCE);
        let mut messages = Vec::new();
        while let Some(kept) = got.next().await {
            let kept = kept.map_err(log)?;
            let position = Some(Position { epoch, offset: kept.sequence });
            messages.push(message(position, Some(&kept.headers), kept.payload));
        }
        Ok(Page { epoch, first, last, messages })
    }

    async fn tell(&self, topic: &str, note: Bytes) -> Result<(), Away> {
        self.client.publish(format!("hub.note.{}", token(topic)), note).await.map_err(log)?;
        // At the end of a program, the last note would stay in the client's buffer.
        self.client.flush().await.map_err(log)
    }

    async fn watch(&self, topic: &str) -> Result<(), Away> {
        let now = epoch(self.stream(topic).await?.cached_info());
        let mut watched = self.watched.lock().await;
        // After a loss the client subscribes again by itself.
        if let Some(watch) = watched.get(topic) {
            watch.epoch.store(now, Ordering::Relaxed);
            return Ok(());
        }
        let token = token(topic);
        let mut messages = self.client.subscribe(format!("hub.out.{token}")).await.map_err(log)?;
        let mut notes = self.client.subscribe(format!("hub.note.{token}")).await.map_err(log)?;
        let epoch = Arc::new(AtomicU64::new(now));
        let (inbox, topic, of) = (self.inbox.clone(), topic.to_owned(), epoch.clone());
        let name = topic.clone();
        let reader = tokio::spawn(async move {
            loop {
                let incoming = tokio::select! {
                    Some(kept) = messages.next() => {
                        let headers = kept.headers.as_ref();
                        let offset = headers.and_then(|headers| headers.get(NATS_SEQUENCE)?.as_str().parse().ok());
                        let position = offset.map(|offset| Position { epoch: of.load(Ordering::Relaxed), offset });
                        Incoming::Message(topic.clone(), message(position, headers, kept.payload))
                    }
                    Some(note) = notes.next() => Incoming::Note(topic.clone(), note.payload),
                    else => break,
                };
                let _ = inbox.send(incoming);
            }
        });
        watched.insert(name, Watch { epoch, reader });
        Ok(())
    }

    async fn unwatch(&self, topic: &str) -> Result<(), Away> {
        // Dropping a subscription ends it.
        self.watched.lock().await.remove(topic);
        self.streams.lock().await.remove(topic);
        Ok(())
    }

    async fn recover(&self) -> Result<(), Away> {
        // The client connects by itself. The broker may have lost its streams.
        has_jetstream(&self.client).await.map_err(log)?;
        self.streams.lock().await.clear();
        Ok(())
    }
}

fn log(error: impl Display) -> Away {
    eprintln!("nats: {error}");
    Away
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn a_topic_is_one_part_of_a_subject() {
        assert_eq!(token("room-1_A"), "room-1_A");
        assert_eq!(token("room:a.*>\u{e9} "), "room=3aa=2e=2a=3e=c3=a9=20");
        assert_ne!(token("a=2e"), token("a."));
    }
}
