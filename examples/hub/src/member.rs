//! A session's place in a topic.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::topic::Command;
use crate::{Event, Person, Position};

/// A session's place in a topic. Dropping it leaves the topic.
#[derive(Debug)]
pub struct Member {
    pub(crate) reference: Arc<str>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) topic: mpsc::UnboundedSender<Command>,
    pub(crate) position: Option<Position>,
    pub(crate) reachable: bool,
    pub(crate) people: Vec<Arc<Person>>,
}

impl Member {
    /// The next event. None: this member is too slow, and its queue was full. Join again, and read what was missed from the history.
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event if there is one already.
    pub fn next_now(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Whose messages these are: unique on all nodes.
    pub fn reference(&self) -> &Arc<str> {
        &self.reference
    }

    /// The events come after this position. None: the broker is away and this node does not know. [`Event::CatchUp`] will tell.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Whether the other nodes could be reached when this member joined. Events tell of changes.
    pub fn reachable(&self) -> bool {
        self.reachable
    }

    /// Who was present when this member joined, in the order of their coming. Events tell of changes.
    pub fn people(&self) -> &[Arc<Person>] {
        &self.people
    }

    /// Makes this member present, for all to see. A second time it changes what they see.
    pub fn enter(&self, key: impl Into<String>, info: Value) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let person = Person {
            reference: self.reference.clone(),
            key: key.into(),
            info,
            since: u64::try_from(since).unwrap_or(u64::MAX),
        };
        let _ = self.topic.send(Command::Enter(person));
    }

    /// Makes this member absent. It stays in the topic.
    pub fn exit(&self) {
        let _ = self.topic.send(Command::Exit(self.reference.clone()));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.topic.send(Command::Leave(self.reference.clone()));
    }
}
