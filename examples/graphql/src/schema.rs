//! A small chat as a schema: rooms, their last messages, and those that come.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::futures_util::stream::{self, Stream, StreamExt};
use async_graphql::{Context, Error, Object, Result, Schema, Subscription};
use tokio::sync::broadcast::{self, error::RecvError};

pub type Chat = Schema<Query, Mutation, Said>;

/// How deep a query may nest. The query with which tools ask for the schema fits.
const MAX_DEPTH: usize = 15;
/// How many fields a query may ask for. The fields of a list count once for each entry.
const MAX_COMPLEXITY: usize = 1000;

const MAX_ROOMS: usize = 1000;
const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 2000;
/// How many messages a room keeps.
const KEPT: usize = 100;
/// A subscription that has this many messages to catch up with is ended. The client can subscribe again, with `after`.
const MAX_BEHIND: usize = 256;

/// Who asks, as `connection_init` or the header `X-Name` says.
#[derive(Clone)]
pub struct Viewer(pub String);

pub fn schema() -> Chat {
    Schema::build(Query, Mutation, Said)
        .data(Rooms::default())
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .finish()
}

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Room>>);

struct Room {
    last: u64,
    kept: VecDeque<Arc<Message>>,
    said: broadcast::Sender<Arc<Message>>,
}

impl Room {
    fn new() -> Self {
        Self { last: 0, kept: VecDeque::new(), said: broadcast::Sender::new(MAX_BEHIND) }
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        // A resolver that panicked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room<'a>(rooms: &'a mut HashMap<String, Room>, name: &str) -> Result<&'a mut Room> {
    check("a room's name", name, MAX_NAME)?;
    if rooms.len() >= MAX_ROOMS && !rooms.contains_key(name) {
        // Rooms that nobody listens to are forgotten. Otherwise a client that makes up a thousand names would keep new ones out.
        rooms.retain(|_, room| room.said.receiver_count() > 0);
        if rooms.len() >= MAX_ROOMS {
            return Err(Error::new(format!("there are {MAX_ROOMS} rooms already")));
        }
    }
    Ok(rooms.entry(name.into()).or_insert_with(Room::new))
}

fn check(what: &str, text: &str, max: usize) -> Result<()> {
    match text.chars().count() {
        0 => Err(Error::new(format!("{what} is empty"))),
        count if count > max => {
            Err(Error::new(format!("{what} has {count} characters, and may have {max}")))
        }
        _ => Ok(()),
    }
}

fn last_of(ctx: &Context<'_>, name: &str, count: u32) -> Vec<Arc<Message>> {
    let rooms = ctx.data_unchecked::<Rooms>().lock();
    let Some(room) = rooms.get(name) else { return Vec::new() };
    let skip = room.kept.len().saturating_sub(count as usize);
    room.kept.iter().skip(skip).cloned().collect()
}

pub struct Message {
    room: String,
    id: u64,
    author: String,
    text: String,
}

#[Object]
impl Message {
    /// Counts from 1 in each room, without holes.
    async fn id(&self) -> u64 {
        self.id
    }

    async fn author(&self) -> &str {
        &self.author
    }

    async fn text(&self) -> &str {
        &self.text
    }

    async fn room(&self) -> RoomOf {
        RoomOf(self.room.clone())
    }
}

pub struct RoomOf(String);

#[Object(name = "Room")]
impl RoomOf {
    async fn name(&self) -> &str {
        &self.0
    }

    /// The last messages, at most 100.
    #[graphql(complexity = "last.min(KEPT as u32) as usize * child_complexity + 1")]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] last: u32,
    ) -> Vec<Arc<Message>> {
        last_of(ctx, &self.0, last)
    }
}

pub struct Query;

#[Object]
impl Query {
    /// The name under which the client speaks.
    async fn me(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(ctx.data::<Viewer>()?.0.clone())
    }

    async fn room(&self, name: String) -> Result<RoomOf> {
        check("a room's name", &name, MAX_NAME)?;
        Ok(RoomOf(name))
    }
}

pub struct Mutation;

#[Object]
impl Mutation {
    /// Says something in a room. All who subscribe to it are told.
    async fn say(&self, ctx: &Context<'_>, room: String, text: String) -> Result<Arc<Message>> {
        check("a text", &text, MAX_TEXT)?;
        let author = ctx.data::<Viewer>()?.0.clone();
        let mut rooms = ctx.data_unchecked::<Rooms>().lock();
        let found = self::room(&mut rooms, &room)?;
        found.last += 1;
        let message = Arc::new(Message { room, id: found.last, author, text });
        found.kept.push_back(message.clone());
        if found.kept.len() > KEPT {
            found.kept.pop_front();
        }
        // An error says that nobody listens.
        let _ = found.said.send(message.clone());
        Ok(message)
    }
}

pub struct Said;

#[Subscription(name = "Subscription")]
impl Said {
    /// What is said in a room from now on. With `after`, first what was said after the message with this id, as far as it is kept.
    async fn said(
        &self,
        ctx: &Context<'_>,
        room: String,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Arc<Message>>>> {
        let mut rooms = ctx.data_unchecked::<Rooms>().lock();
        let room = self::room(&mut rooms, &room)?;
        // Both under the lock, so that no message is missed in between, and none comes twice.
        let missed: Vec<_> = match after {
            // An id that was never given is from before a restart.
            Some(id) if id > room.last => room.kept.iter().cloned().collect(),
            Some(id) => room.kept.iter().filter(|message| message.id > id).cloned().collect(),
            None => Vec::new(),
        };
        let coming = stream::unfold(Some(room.said.subscribe()), async |receiver| {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Ok(message) => Some((Ok(message), Some(receiver))),
                Err(RecvError::Lagged(count)) => {
                    let error = format!("{count} messages came too fast for this subscription");
                    Some((Err(Error::new(error)), None))
                }
                Err(RecvError::Closed) => None,
            }
        });
        Ok(stream::iter(missed).map(Ok).chain(coming))
    }

    /// Counts down to zero, and ends.
    async fn countdown(&self, from: u32) -> Result<impl Stream<Item = u32>> {
        if from > 100 {
            return Err(Error::new("counts from at most 100"));
        }
        Ok(stream::iter((0..=from).rev()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_without_listeners_make_room() {
        let mut rooms = HashMap::new();
        let mut listeners = Vec::new();
        for i in 0..MAX_ROOMS {
            let room = room(&mut rooms, &i.to_string()).expect("a room");
            if i != 7 {
                listeners.push(room.said.subscribe());
            }
        }
        assert!(room(&mut rooms, "one more").is_ok_and(|room| room.last == 0));
        assert!(!rooms.contains_key("7"));
        listeners.push(rooms["one more"].said.subscribe());
        assert!(room(&mut rooms, "7").is_err());
        assert!(room(&mut rooms, "8").is_ok());
    }

    #[tokio::test]
    async fn a_room_keeps_the_newest() {
        let schema = schema();
        for i in 1..=KEPT + 5 {
            let query = format!(r#"mutation {{ say(room: "a", text: "{i}") {{ id }} }}"#);
            let request = async_graphql::Request::new(query).data(Viewer("Ada".into()));
            assert!(schema.execute(request).await.is_ok());
        }
        let response =
            schema.execute(r#"{ room(name: "a") { messages(last: 1000) { text } } }"#).await;
        let data = response.data.into_json().expect("JSON");
        let messages = data["room"]["messages"].as_array().expect("a list");
        assert_eq!((messages.len(), &messages[0]["text"]), (KEPT, &"6".into()));
    }
}
