//! Who is in a topic: on this node, and on others by a lease.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Event, Person};

/// What a node says about its own people in a topic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    node: String,
    /// All of them.
    people: Vec<Arc<Person>>,
    /// The node is new in this topic. The others are to say who is on them.
    ask: bool,
}

type People = BTreeMap<Arc<str>, Arc<Person>>;

pub(crate) struct Presence {
    node: String,
    lease: Duration,
    here: People,
    elsewhere: HashMap<String, Elsewhere>,
}

struct Elsewhere {
    people: People,
    until: Instant,
}

impl Presence {
    pub(crate) fn new(node: String, lease: Duration) -> Self {
        Self { node, lease, here: People::new(), elsewhere: HashMap::new() }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Person>> {
        let elsewhere = self.elsewhere.values().map(|node| &node.people);
        let mut all: Vec<_> = std::iter::once(&self.here)
            .chain(elsewhere)
            .flat_map(|people| people.values().cloned())
            .collect();
        all.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.reference.cmp(&b.reference)));
        all
    }

    /// Lets somebody in, or changes what is said about who is in.
    pub(crate) fn enter(&mut self, mut person: Person) -> Vec<Event> {
        // The clocks of nodes differ. Who comes later is later all the same.
        let same = self.all().into_iter().filter(|other| other.key == person.key);
        let latest = same.map(|other| other.since).max();
        person.since = latest.map_or(person.since, |latest| person.since.max(latest + 1));
        let person = Arc::new(person);
        let before = self.here.insert(person.reference.clone(), person.clone());
        before.map(Event::Left).into_iter().chain([Event::Came(person)]).collect()
    }

    pub(crate) fn exit(&mut self, reference: &str) -> Vec<Event> {
        self.here.remove(reference).map(Event::Left).into_iter().collect()
    }

    pub(crate) fn note(&self, ask: bool) -> Note {
        Note { node: self.node.clone(), people: self.here.values().cloned().collect(), ask }
    }

    /// What another node says. Gives what is new, and whether this node is to answer.
    pub(crate) fn hear(&mut self, note: Note, now: Instant) -> (Vec<Event>, bool) {
        if note.node == self.node {
            return (Vec::new(), false);
        }
        let people: People =
            note.people.into_iter().map(|person| (person.reference.clone(), person)).collect();
        let until = now + self.lease;
        let known = if people.is_empty() {
            self.elsewhere.remove(&note.node).map(|node| node.people)
        } else {
            let node = Elsewhere { people: people.clone(), until };
            self.elsewhere.insert(note.node, node).map(|node| node.people)
        };
        let known = known.unwrap_or_default();
        let differs = |from: &People, person: &Person| {
            from.get(&person.reference).is_none_or(|other| **other != *person)
        };
        let left =
            known.values().filter(|person| differs(&people, person)).cloned().map(Event::Left);
        let came =
            people.values().filter(|person| differs(&known, person)).cloned().map(Event::Came);
        (left.chain(came).collect(), note.ask)
    }

    /// Forgets the nodes that said nothing for too long.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Event> {
        let gone = self.elsewhere.extract_if(|_, node| node.until <= now);
        gone.flat_map(|(_, node)| node.people.into_values().map(Event::Left)).collect()
    }

    /// Gives each node a whole lease again: while the broker was away, none could be heard.
    pub(crate) fn renew(&mut self, now: Instant) {
        for node in self.elsewhere.values_mut() {
            node.until = now + self.lease;
        }
    }
}
