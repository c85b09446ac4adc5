//! Rooms: who may enter, who is there, and what is said. Each room is a topic of the hub. No transport is known here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{Away, Draft, Event, Hub, Person, Published};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::protocol::{self, FromServer, Join, Refusal, RoomInfo, Words, folded};
use crate::rate::{Allowed, Rate};
use crate::session::Session;

const MAX_PEOPLE: usize = 200;
/// The topic in which each node says who is in its rooms. It is no room: rooms have no such name.
const ALL_ROOMS: &str = "all rooms";
/// Changes within this time are told together.
const TOGETHER: Duration = Duration::from_millis(50);
const SHOWN_ROOMS: usize = 50;
/// Rates are forgotten when there are more, if they say nothing.
const MANY_RATES: usize = 1000;

/// All rooms, on this node and on others.
pub struct Rooms {
    pub(crate) hub: Hub,
    /// How many sessions of this node are in each room.
    here: watch::Sender<BTreeMap<String, usize>>,
    /// The list of rooms, as it is sent.
    list: watch::Sender<Arc<str>>,
    rates: Mutex<HashMap<(String, String), Rate>>,
    stop: watch::Receiver<bool>,
}

/// Somebody in a room, as it was checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    pub room: String,
    pub name: String,
    /// What other nodes may know of the secret.
    pub proof: String,
}

impl Who {
    pub fn check(join: &Join) -> Result<Self, Refusal> {
        protocol::check_room(&join.room)?;
        protocol::check_token(&join.secret)?;
        let name = protocol::check_name(&join.name)?.to_owned();
        let proof = Sha256::digest(join.secret.as_bytes());
        let proof = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { room: join.room.clone(), name, proof })
    }

    /// Two with one key cannot both be in the room.
    pub fn key(&self) -> String {
        folded(&self.name)
    }
}

/// What became of what somebody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Kept,
    Before,
    Early,
    /// The connection is to be closed.
    Never,
}

impl Rooms {
    /// Sessions end when `stop` is true.
    pub fn new(hub: Hub, stop: watch::Receiver<bool>) -> Arc<Self> {
        let rooms = Arc::new(Self {
            hub,
            here: watch::Sender::default(),
            list: watch::Sender::new(FromServer::Rooms { rooms: &[] }.json().into()),
            rates: Mutex::default(),
            stop,
        });
        tokio::spawn(rooms.clone().tell_rooms());
        rooms
    }

    /// Lets somebody in. What was missed comes from the session.
    pub async fn enter(self: &Arc<Self>, join: &Join) -> Result<Session, Refusal> {
        let who = Who::check(join)?;
        let member = self.hub.join(&who.room).await;
        let others = member.people();
        if others.len() >= MAX_PEOPLE {
            return Err(Refusal::RoomFull);
        }
        let key = who.key();
        if others.iter().any(|other| other.key == key && other.info["proof"] != *who.proof) {
            return Err(Refusal::NameTaken);
        }
        // Of two who come at the same moment on two nodes, the session of the later finds out.
        member.enter(key, json!({ "name": who.name, "proof": who.proof }));
        let since = join.since.as_ref().and_then(|since| since.parse().ok());
        let place = Place::new(self, &who.room);
        Ok(Session::new(who, member, since, place, self.list.subscribe(), self.stop.clone()))
    }

    /// Says something, for somebody who may be in the room over another connection, or on another node.
    pub async fn say_as(&self, who: &Who, key: &str, text: &str) -> Result<Heard, Refusal> {
        let name = who.key();
        let is = |person: &Person| person.key == name && person.info["proof"] == *who.proof;
        self.hub.find(&who.room, is).await.ok_or(Refusal::NotHere)?;
        self.say(who, key, text).await
    }

    /// Says something, for somebody who is in the room.
    pub async fn say(&self, who: &Who, key: &str, text: &str) -> Result<Heard, Refusal> {
        match self.allowed(who) {
            Allowed::Yes => {}
            Allowed::No => return Err(Refusal::TooFast),
            Allowed::Never => return Ok(Heard::Never),
        }
        protocol::check_token(key)?;
        let text = protocol::check_text(text)?.to_owned();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let words =
            Words { at: u64::try_from(at).unwrap_or(u64::MAX), name: who.name.clone(), text };
        let data = serde_json::to_vec(&words).expect("words have nothing that JSON lacks");
        match self.hub.publish(&who.room, Draft::new(data).key(key)).await {
            Ok(Published::At(_)) => Ok(Heard::Kept),
            Ok(Published::Before(_)) => Ok(Heard::Before),
            Ok(Published::Early) => Ok(Heard::Early),
            Err(Away) => Err(Refusal::Store),
        }
    }

    /// Counts a message of somebody, whether it is good or not.
    pub fn allowed(&self, who: &Who) -> Allowed {
        let now = Instant::now();
        let mut rates = self.rates();
        if rates.len() >= MANY_RATES {
            rates.retain(|_, rate| !rate.is_full(now));
        }
        rates.entry((who.room.clone(), who.key())).or_insert_with(|| Rate::new(now)).take(now)
    }

    fn rates(&self) -> MutexGuard<'_, HashMap<(String, String), Rate>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells other nodes who is in the rooms of this one, and the sessions of this node who is in all.
    async fn tell_rooms(self: Arc<Self>) {
        let mut here = self.here.subscribe();
        loop {
            let mut member = self.hub.join(ALL_ROOMS).await;
            let mut nodes: BTreeMap<_, _> = member
                .people()
                .iter()
                .map(|node| (node.reference.clone(), node.info.clone()))
                .collect();
            member.enter(self.hub.node(), json!(*here.borrow_and_update()));
            loop {
                tokio::select! {
                    event = member.next() => match event {
                        Some(Event::Came(node)) => drop(nodes.insert(node.reference.clone(), node.info.clone())),
                        Some(Event::Left(node)) => drop(nodes.remove(&node.reference)),
                        Some(_) => continue,
                        None => break,
                    },
                    changed = here.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        sleep(TOGETHER).await;
                        member.enter(self.hub.node(), json!(*here.borrow_and_update()));
                        continue;
                    }
                }
                let list = list(nodes.values());
                self.list.send_if_modified(|old| {
                    let changed = **old != *list;
                    *old = list.into();
                    changed
                });
            }
        }
    }
}

fn list<'a>(nodes: impl Iterator<Item = &'a serde_json::Value>) -> String {
    let mut people: BTreeMap<&str, usize> = BTreeMap::new();
    for (room, count) in nodes.filter_map(|node| node.as_object()).flatten() {
        let count = count.as_u64().and_then(|count| usize::try_from(count).ok());
        *people.entry(room).or_default() += count.unwrap_or(0);
    }
    let mut rooms: Vec<_> =
        people.into_iter().map(|(name, people)| RoomInfo { name: name.into(), people }).collect();
    rooms.sort_unstable_by(|a, b| b.people.cmp(&a.people).then_with(|| a.name.cmp(&b.name)));
    rooms.truncate(SHOWN_ROOMS);
    FromServer::Rooms { rooms: &rooms }.json()
}

/// A session in a room, counted while this lives.
pub struct Place {
    pub(crate) rooms: Arc<Rooms>,
    room: String,
}

impl Place {
    fn new(rooms: &Arc<Rooms>, room: &str) -> Self {
        rooms.here.send_modify(|here| *here.entry(room.to_owned()).or_default() += 1);
        Self { rooms: rooms.clone(), room: room.to_owned() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.rooms.here.send_modify(|here| {
            if let Some(count) = here.get_mut(&self.room) {
                *count -= 1;
                if *count == 0 {
                    here.remove(&self.room);
                }
            }
        });
    }
}
