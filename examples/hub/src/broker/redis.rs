//! Redis: a stream for the history of each topic, and Pub/Sub to send.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, Script, Value};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{Appended, Broker, Inbox, Incoming, Page};
use crate::{Away, Connect, Draft, Message, Position};

/// For how long a key is known, in milliseconds: ten minutes.
const WINDOW: u64 = 600_000;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Redis 7. One key for each topic, `hub:{TOPIC}`, with others that begin so; with a cluster, all of a topic is on one node of it.
pub struct Redis {
    client: Client,
    history: usize,
    inbox: Inbox,
    append: Script,
    since: Script,
    connections: Mutex<Connections>,
}

struct Connections {
    commands: MultiplexedConnection,
    subscription: PubSubSink,
    reader: JoinHandle<()>,
}

impl Drop for Connections {
    fn drop(&mut self) {
        // What an old connection still says is no news.
        self.reader.abort();
    }
}

fn key(topic: &str) -> String {
    format!("hub:{{{topic}}}")
}

fn topic(channel: &str) -> Option<&str> {
    channel.strip_prefix("hub:{")?.strip_suffix('}')
}

/// A number that Lua has as well, without losing a digit.
fn new_epoch() -> u64 {
    rand::random::<u64>() >> 11
}

impl Redis {
    /// Connects to `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
    pub async fn connect(url: &str, history: usize, inbox: Inbox) -> Result<Self, Connect> {
        let client = Client::open(url).map_err(|error| Connect::Url(error.to_string()))?;
        let refused = |error: RedisError| Connect::Refused(error.to_string());
        let connections = Connections::open(&client, &inbox).await.map_err(refused)?;
        Ok(Self {
            client,
            history,
            inbox,
            append: Script::new(include_str!("append.lua")),
            since: Script::new(include_str!("since.lua")),
            connections: Mutex::new(connections),
        })
    }

    async fn commands(&self) -> MultiplexedConnection {
        self.connections.lock().await.commands.clone()
    }
}

impl Connections {
    async fn open(client: &Client, inbox: &Inbox) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let commands = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (subscription, mut messages) = client.get_async_pubsub().await?.split();
        let inbox = inbox.clone();
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if let Some(incoming) =
                    incoming(message.get_channel_name(), message.get_payload_bytes())
                {
                    let _ = inbox.send(incoming);
                }
            }
            let _ = inbox.send(Incoming::Down);
        });
        Ok(Self { commands, subscription, reader })
    }
}

/// Reads what came on a channel: a numbered message of `append.lua`, a note of a node, or bytes of a program that knows neither.
fn incoming(channel: &str, payload: &[u8]) -> Option<Incoming> {
    let topic = topic(channel)?.to_owned();
    if let Some(note) = payload.strip_prefix(b"n\n") {
        return Some(Incoming::Note(topic, Bytes::copy_from_slice(note)));
    }
    let message = numbered(payload).unwrap_or_else(|| Message {
        position: None,
        key: String::new(),
        from: String::new(),
        data: Bytes::copy_from_slice(payload),
    });
    Some(Incoming::Message(topic, Arc::new(message)))
}

/// `m EPOCH OFFSET KEY-LENGTH FROM-LENGTH`, a line feed, key, from and data.
fn numbered(payload: &[u8]) -> Option<Message> {
    let end = payload.iter().position(|&b| b == b'\n')?;
    let mut fields = std::str::from_utf8(&payload[..end]).ok()?.strip_prefix("m ")?.split(' ');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let position = Position { epoch: number()?, offset: number()? };
    let (key, from) = (usize::try_from(number()?).ok()?, usize::try_from(number()?).ok()?);
    let (key, rest) = payload[end + 1..].split_at_checked(key)?;
    let (from, data) = rest.split_at_checked(from)?;
    Some(Message {
        position: Some(position),
        key: String::from_utf8(key.to_vec()).ok()?,
        from: String::from_utf8(from.to_vec()).ok()?,
        data: Bytes::copy_from_slice(data),
    })
}

#[async_trait]
impl Broker for Redis {
    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        let mut invocation = self.append.key(key(topic));
        invocation
            .arg(&draft.key)
            .arg(&draft.from)
            .arg(&draft.data[..])
            .arg(new_epoch())
            .arg(self.history)
            .arg(WINDOW);
        let (epoch, offset, duplicate): (u64, u64, bool) =
            invocation.invoke_async(&mut self.commands().await).await.map_err(log)?;
        Ok(Appended { position: Position { epoch, offset }, duplicate })
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        let mut invocation = self.since.key(key(topic));
        invocation.arg(after).arg(most).arg(new_epoch());
        let answer: (u64, u64, Option<String>, Vec<Value>) =
            invocation.invoke_async(&mut self.commands().await).await.map_err(log)?;
        let (epoch, last, oldest, entries) = answer;
        let first = match oldest {
            Some(id) => offset(&id).map_err(log)?,
            None => last + 1,
        };
        let messages = entries
            .into_iter()
            .map(|entry| kept(epoch, entry).map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(log)?;
        Ok(Page { epoch, first, last, messages })
    }

    async fn tell(&self, topic: &str, note: Bytes) -> Result<(), Away> {
        let payload = [b"n\n", &note[..]].concat();
        redis::cmd("PUBLISH")
            .arg(key(topic))
            .arg(payload)
            .query_async(&mut self.commands().await)
            .await
            .map_err(log)
    }

    async fn watch(&self, topic: &str) -> Result<(), Away> {
        self.connections.lock().await.subscription.subscribe(key(topic)).await.map_err(log)
    }

    async fn unwatch(&self, topic: &str) -> Result<(), Away> {
        self.connections.lock().await.subscription.unsubscribe(key(topic)).await.map_err(log)
    }

    async fn recover(&self) -> Result<(), Away> {
        let connections = Connections::open(&self.client, &self.inbox).await.map_err(log)?;
        *self.connections.lock().await = connections;
        Ok(())
    }
}

fn log(error: RedisError) -> Away {
    eprintln!("redis: {error}");
    Away
}

fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, what))
}

/// The offset in the id of an entry, which is `OFFSET-0`.
fn offset(id: &str) -> Result<u64, RedisError> {
    id.strip_suffix("-0")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| unexpected("an entry whose id is no offset"))
}

fn kept(epoch: u64, entry: Value) -> Result<Message, RedisError> {
    let (id, fields): (String, Vec<(String, Vec<u8>)>) =
        FromRedisValue::from_redis_value(entry).map_err(RedisError::from)?;
    let position = Some(Position { epoch, offset: offset(&id)? });
    let mut message =
        Message { position, key: String::new(), from: String::new(), data: Bytes::new() };
    for (name, value) in fields {
        match &*name {
            "key" => message.key = String::from_utf8_lossy(&value).into_owned(),
            "from" => message.from = String::from_utf8_lossy(&value).into_owned(),
            "data" => message.data = value.into(),
            _ => {}
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_numbered_a_note_or_foreign() {
        let message = |payload: &[u8]| match incoming("hub:{a}", payload) {
            Some(Incoming::Message(topic, message)) => (
                topic,
                message.position,
                message.key.clone(),
                message.from.clone(),
                message.data.clone(),
            ),
            other => panic!("{other:?}"),
        };
        let position = Some(Position { epoch: 7, offset: 12 });
        assert_eq!(
            message(b"m 7 12 2 1\nk1fd\na"),
            ("a".into(), position, "k1".into(), "f".into(), "d\na".into())
        );
        for foreign in [
            &b"hello"[..],
            b"",
            b"m 7 12 2 1",
            b"m 7 12 9 9\nk",
            b"m 7 x 0 0\n",
            b"m 7 12 1 0\n\xff",
        ] {
            assert_eq!(
                message(foreign),
                ("a".into(), None, String::new(), String::new(), Bytes::copy_from_slice(foreign))
            );
        }
        assert!(
            matches!(incoming("hub:{a}", b"n\n{}"), Some(Incoming::Note(_, note)) if note == "{}")
        );
        assert!(incoming("elsewhere", b"x").is_none());
        assert_eq!(topic(&key("a}b")), Some("a}b"));
    }
}
