//! One person's stay in a room: what to send, in order, whatever sends it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hub::{Event, History, Member, Message, Person, Position};
use tokio::sync::watch;

use crate::protocol::{FromServer, Refusal, Said};
use crate::room::{Place, Who};

/// How many missed messages are sent at once, and how many of the newest a new client gets.
const BATCH: usize = 50;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Out {
    pub json: String,
    /// The client has everything up to here when it has this.
    pub id: Option<String>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Refused(Refusal),
    /// Another connection has taken over.
    Replaced,
    /// The client does not take what is sent.
    TooSlow,
    /// The server ends.
    Stopping,
}

/// Dropping it leaves the room.
pub struct Session {
    who: Who,
    member: Member,
    place: Place,
    ready: VecDeque<Out>,
    behind: Option<Behind>,
    /// The client has the messages up to here, or they are ready.
    at: Option<Position>,
    /// The broker was away when what follows `at` was to be read.
    unread: bool,
    /// Whether the hub reaches other nodes, as the client was told.
    reachable: bool,
    people: BTreeMap<Arc<str>, Arc<Person>>,
    list: watch::Receiver<Arc<str>>,
    stop: watch::Receiver<bool>,
}

/// What the client has to get before it gets what is new.
#[derive(Clone, Copy, Debug)]
struct Behind {
    /// It has the messages up to this one, or none.
    since: Option<Position>,
    welcomed: bool,
}

impl Behind {
    fn new(since: Option<Position>) -> Self {
        Self { since, welcomed: false }
    }
}

impl Session {
    pub(crate) fn new(
        who: Who,
        member: Member,
        since: Option<Position>,
        place: Place,
        mut list: watch::Receiver<Arc<str>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let people = member
            .people()
            .iter()
            .map(|person| (person.reference.clone(), person.clone()))
            .collect();
        list.mark_changed();
        Self {
            who,
            place,
            ready: VecDeque::new(),
            behind: Some(Behind::new(since)),
            at: None,
            unread: false,
            reachable: member.reachable(),
            people,
            member,
            list,
            stop,
        }
    }

    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The client did not get what it was sent. It has what comes up to this, and gets the rest again.
    pub fn begin_anew(&mut self, since: Option<Position>) {
        self.ready.clear();
        self.behind = Some(Behind::new(since));
        self.list.mark_changed();
    }

    /// There is something to send, after a look into the history at most.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty() || self.behind.is_some()
    }

    /// The next thing to send.
    ///
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Result<Out, End> {
        loop {
            if let Some(out) = self.ready.pop_front() {
                return Ok(out);
            }
            if let Some(behind) = self.behind {
                self.catch_up(behind).await;
                continue;
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(End::Stopping),
                event = self.member.next() => self.take(event.ok_or(End::TooSlow)?)?,
                Ok(()) = self.list.changed() => {
                    let json = self.list.borrow_and_update().to_string();
                    self.ready.push_back(Out { json, id: None });
                }
            }
        }
    }

    fn push(&mut self, message: &FromServer<'_>) {
        self.ready.push_back(Out { json: message.json(), id: None });
    }

    /// One step of what was missed.
    async fn catch_up(&mut self, behind: Behind) {
        let Behind { since, welcomed } = behind;
        let history = self.place.rooms.hub.history(&self.who.room, since, BATCH).await;
        self.unread = history.is_err();
        let fresh = history.as_ref().is_ok_and(|history| history.fresh);
        if fresh || !welcomed {
            let Who { room, name, .. } = self.who.clone();
            self.push(&FromServer::Welcome { room: &room, name: &name, fresh });
        }
        let Ok(History { messages, end, .. }) = history else {
            // Nobody knows what was missed. It is read when the broker is back.
            self.at = since;
            self.here();
            return;
        };
        let said: Vec<_> = messages.iter().filter_map(|message| Said::read(message)).collect();
        let reached = messages.last().and_then(|message| message.position);
        if !said.is_empty() {
            let json = FromServer::History { messages: &said }.json();
            self.ready.push_back(Out { json, id: reached.map(|position| position.to_string()) });
        }
        if fresh || messages.len() < BATCH {
            self.at = Some(reached.unwrap_or(end));
            self.here();
        } else {
            self.behind = Some(Behind { since: reached, welcomed: true });
        }
    }

    /// All that was missed is ready.
    fn here(&mut self) {
        self.behind = None;
        let mut names: Vec<_> =
            self.people.values().filter_map(|person| person.info["name"].as_str()).collect();
        names.push(&self.who.name);
        names.sort_unstable();
        names.dedup();
        let here = FromServer::Here { names: &names }.json();
        self.ready.push_back(Out { json: here, id: None });
        self.push(&FromServer::Reachable { yes: self.reachable });
    }

    fn take(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Message(message) | Event::Settled(message) => self.said(&message),
            Event::CatchUp(_) => self.behind = Some(Behind::new(self.at)),
            Event::Came(person) => self.came(person)?,
            Event::Left(person) => {
                self.people.remove(&person.reference);
                if person.key != self.who.key() && !self.is_here(&person.key) {
                    self.push(&FromServer::Left { name: name(&person) });
                }
            }
            Event::Reachable(yes) => {
                self.reachable = yes;
                self.push(&FromServer::Reachable { yes });
                if yes && self.unread {
                    self.behind = Some(Behind::new(self.at));
                }
            }
        }
        Ok(())
    }

    fn said(&mut self, message: &Message) {
        if let Some(position) = message.position {
            // It will be in what was missed.
            if self.unread {
                return;
            }
            // It was in what was missed.
            if self.at.is_some_and(|at| at.epoch == position.epoch && position.offset <= at.offset)
            {
                return;
            }
            self.at = Some(position);
        }
        if let Some(said) = Said::read(message) {
            let json = FromServer::Said(&said).json();
            self.ready.push_back(Out { json, id: said.id });
        }
    }

    fn came(&mut self, person: Arc<Person>) -> Result<(), End> {
        let key = person.key.clone();
        let was_here = key == self.who.key() || self.is_here(&key);
        self.people.insert(person.reference.clone(), person.clone());
        if !was_here {
            self.push(&FromServer::Came { name: name(&person) });
        }
        if key == self.who.key() { self.judge() } else { Ok(()) }
    }

    fn is_here(&self, key: &str) -> bool {
        self.people.values().any(|person| person.key == key)
    }

    /// Of two with one name, the one with the same secret who came later takes over, and of two with other secrets the earlier one stays.
    fn judge(&self) -> Result<(), End> {
        let Some(me) = self.people.get(self.member.reference()) else { return Ok(()) };
        let order = |person: &Person| (person.since, person.reference.clone());
        for other in self
            .people
            .values()
            .filter(|other| other.key == me.key && other.reference != me.reference)
        {
            let earlier = order(other) < order(me);
            let same = other.info["proof"] == me.info["proof"];
            match (same, earlier) {
                (true, false) => return Err(End::Replaced),
                (false, true) => return Err(End::Refused(Refusal::NameTaken)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Waits until the server ends.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

fn name(person: &Person) -> &str {
    person.info["name"].as_str().unwrap_or(&person.key)
}
