//! Rooms: who is in them, and how each message reaches everybody once and in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline::hyper::UpgradedIo;
use bowline::tokio::{Broadcast, Member, SendHalf, SlowPeer};
use tokio::sync::Notify;

use crate::protocol::{FromServer, Refusal, RoomInfo};
use crate::store::{Store, StoreError};

/// How many of the newest messages a new client gets.
const HISTORY: u64 = 50;
/// How many missed messages are sent at once.
const BATCH: usize = 50;
/// At most this many messages are queued while a room is locked: far less than makes a peer slow.
const FEW: usize = 4;
/// A peer is slow if more bytes than this wait for it.
const HIGH_WATER_MARK: usize = 256 << 10;
const MAX_PEOPLE: usize = 200;

pub type Sender = SendHalf<UpgradedIo>;

/// All rooms. A room exists while somebody is in it. Its history stays.
pub struct Hub {
    store: Store,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    /// All clients. Only the newest list of rooms matters, so a slow peer gets only that.
    everybody: Broadcast,
}

pub struct Room {
    name: String,
    /// A chat makes no sense with missing messages, so a slow peer is dropped. It connects again, and gets
    /// what it missed from the store.
    group: Broadcast,
    /// Locked while a message is kept and sent, so that all get the messages in the order of their ids. Also
    /// locked while somebody enters, so that no message comes between history and presence.
    people: tokio::sync::Mutex<HashMap<String, Person>>,
}

struct Person {
    name: String,
    secret: String,
    /// The others know that this person is here.
    present: bool,
    replaced: Arc<Notify>,
}

/// A person's place in a room. Give it back with [`Hub::leave`].
pub struct Seat {
    room: Arc<Room>,
    name: String,
    /// Another connection has taken over the seat.
    pub replaced: Arc<Notify>,
    members: Option<[Member; 2]>,
}

/// Why somebody did not enter a room.
#[derive(Debug)]
pub enum EnterError {
    Refused(Refusal),
    Store(StoreError),
    Gone(bowline::Error),
}

impl From<StoreError> for EnterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<bowline::Error> for EnterError {
    fn from(error: bowline::Error) -> Self {
        Self::Gone(error)
    }
}

impl Hub {
    pub fn new(store: Store) -> Self {
        let everybody = Broadcast::new(SlowPeer::KeepNewest);
        Self { store, rooms: Mutex::default(), everybody }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in, and sends the missed messages. Room and name have been checked.
    pub async fn enter(
        &self,
        sender: &mut Sender,
        room: &str,
        name: &str,
        secret: &str,
        since: Option<u64>,
    ) -> Result<Seat, EnterError> {
        let room = Arc::clone(
            self.rooms().entry(room.to_owned()).or_insert_with(|| Arc::new(Room::new(room))),
        );
        let mut seat = match room.take_seat(name, secret).await {
            Ok(seat) => seat,
            Err(refusal) => {
                self.forget(room);
                return Err(EnterError::Refused(refusal));
            }
        };
        match self.catch_up(&mut seat, sender, since).await {
            Ok(()) => {
                self.tell_rooms().await;
                Ok(seat)
            }
            Err(error) => {
                self.leave(seat).await;
                Err(error)
            }
        }
    }

    async fn catch_up(
        &self,
        seat: &mut Seat,
        sender: &mut Sender,
        since: Option<u64>,
    ) -> Result<(), EnterError> {
        let room = &seat.room;
        let last = self.store.last(&room.name).await?;
        // An id that does not exist yet is from another database.
        let known = since.filter(|&id| id <= last);
        let mut after = known.unwrap_or(last.saturating_sub(HISTORY));
        let welcome =
            FromServer::Welcome { room: &room.name, name: &seat.name, fresh: known.is_none() };
        sender.send(welcome.json()).await?;
        loop {
            let mut people = room.people.lock().await;
            let messages = self.store.since(&room.name, after, BATCH).await?;
            let history = FromServer::History { messages: &messages }.json();
            if messages.len() > FEW {
                // This waits for the peer, so it must not hold the lock.
                drop(people);
                sender.send(history).await?;
                after = messages.last().map_or(after, |said| said.id);
                continue;
            }
            sender.feed(history).await?;
            // There is none if another connection has taken over the seat, and has left.
            if let Some(person) = people.get_mut(&folded(&seat.name))
                && !person.present
            {
                person.present = true;
                room.group.send(FromServer::Came { name: &seat.name }.json()).await;
            }
            let present = people.values().filter(|person| person.present);
            let mut names: Vec<_> = present.map(|person| &*person.name).collect();
            names.sort_unstable();
            sender.feed(FromServer::Here { names: &names }.json()).await?;
            seat.members = Some([room.group.join(sender), self.everybody.join(sender)]);
            break;
        }
        sender.flush().await?;
        Ok(())
    }

    /// Keeps a message and sends it to the room. False if it was kept before.
    pub async fn say(&self, seat: &Seat, key: &str, text: &str) -> Result<bool, StoreError> {
        let room = &seat.room;
        let _in_order = room.people.lock().await;
        let said = self.store.add(&room.name, &seat.name, key, text).await?;
        if let Some(said) = &said {
            room.group.send(FromServer::Said(said).json()).await;
        }
        Ok(said.is_some())
    }

    pub async fn leave(&self, seat: Seat) {
        let Seat { room, name, replaced, members } = seat;
        drop(members);
        let mut people = room.people.lock().await;
        let key = folded(&name);
        // If another connection has taken over the seat, the person is still here.
        if people.get(&key).is_some_and(|person| Arc::ptr_eq(&person.replaced, &replaced))
            && people.remove(&key).is_some_and(|person| person.present)
        {
            room.group.send(FromServer::Left { name: &name }.json()).await;
        }
        drop(people);
        self.forget(room);
        self.tell_rooms().await;
    }

    /// Removes the rooms that nobody else holds.
    fn forget(&self, room: Arc<Room>) {
        let mut rooms = self.rooms();
        drop(room);
        rooms.retain(|_, room| Arc::strong_count(room) > 1);
    }

    async fn tell_rooms(&self) {
        let mut rooms: Vec<_> = self
            .rooms()
            .values()
            .map(|room| RoomInfo { name: room.name.clone(), people: room.group.len() })
            .filter(|room| room.people > 0)
            .collect();
        rooms.sort_unstable_by(|a, b| b.people.cmp(&a.people).then_with(|| a.name.cmp(&b.name)));
        rooms.truncate(50);
        self.everybody.send(FromServer::Rooms { rooms: &rooms }.json()).await;
    }
}

impl Room {
    fn new(name: &str) -> Self {
        let group = Broadcast::with_high_water_mark(SlowPeer::Drop, HIGH_WATER_MARK);
        Self { name: name.to_owned(), group, people: tokio::sync::Mutex::default() }
    }

    async fn take_seat(self: &Arc<Self>, name: &str, secret: &str) -> Result<Seat, Refusal> {
        let mut people = self.people.lock().await;
        let mut present = false;
        match people.get(&folded(name)) {
            Some(person) if person.secret != secret => return Err(Refusal::NameTaken),
            Some(person) => {
                present = person.present;
                person.replaced.notify_one();
            }
            None if people.len() >= MAX_PEOPLE => return Err(Refusal::RoomFull),
            None => {}
        }
        let replaced = Arc::new(Notify::new());
        let (name, secret) = (name.to_owned(), secret.to_owned());
        let person =
            Person { name: name.clone(), secret, present, replaced: Arc::clone(&replaced) };
        people.insert(folded(&name), person);
        Ok(Seat { room: Arc::clone(self), name, replaced, members: None })
    }
}

/// Names that differ only in case are the same name.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hub() -> Hub {
        Hub::new(Store::open(Path::new(":memory:")).expect("a database"))
    }

    #[tokio::test]
    async fn a_name_is_taken_in_any_case() {
        let room = Arc::new(Room::new("lobby"));
        let _ada = room.take_seat("Ada", "s1").await.expect("a seat");
        assert_eq!(room.take_seat("ADA", "s2").await.err(), Some(Refusal::NameTaken));
        assert!(room.take_seat("Bob", "s2").await.is_ok());
    }

    #[tokio::test]
    async fn who_knows_the_secret_takes_the_seat_over() {
        let room = Arc::new(Room::new("lobby"));
        let before = room.take_seat("Ada", "s1").await.expect("a seat");
        let _after = room.take_seat("Ada", "s1").await.expect("the same seat");
        before.replaced.notified().await;
        // The late end of the earlier connection does not empty the seat.
        hub().leave(before).await;
        assert_eq!(room.take_seat("Ada", "s2").await.err(), Some(Refusal::NameTaken));
    }

    #[tokio::test]
    async fn a_name_is_free_again_after_it_left() {
        let room = Arc::new(Room::new("lobby"));
        let ada = room.take_seat("Ada", "s1").await.expect("a seat");
        hub().leave(ada).await;
        assert!(room.take_seat("Ada", "s2").await.is_ok());
    }

    #[tokio::test]
    async fn a_room_can_be_full() {
        let room = Arc::new(Room::new("lobby"));
        for i in 0..MAX_PEOPLE {
            assert!(room.take_seat(&i.to_string(), "s1").await.is_ok());
        }
        assert_eq!(room.take_seat("Ada", "s1").await.err(), Some(Refusal::RoomFull));
        assert!(room.take_seat("0", "s1").await.is_ok(), "who is here may come again");
    }
}
