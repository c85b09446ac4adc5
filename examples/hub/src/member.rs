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
    pub(crate) skip: Option<Position>,
    pub(crate) reachable: bool,
    pub(crate) people: Vec<Arc<Person>>,
}

impl Member {
    /// The next event. None: this member is too slow, and its queue was full. Join again, and read what was missed from the history.
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.events.recv().await?;
            if !self.is_skipped(&event) {
                return Some(event);
            }
        }
    }

    /// The next event if there is one already.
    pub fn next_now(&mut self) -> Option<Event> {
        loop {
            let event = self.events.try_recv().ok()?;
            if !self.is_skipped(&event) {
                return Some(event);
            }
        }
    }

    /// Leaves out the messages up to this position. A client that comes from another node may have messages that this node does not have
    /// yet. They come to all members, but it has them.
    pub fn skip_until(&mut self, position: Position) {
        self.skip = Some(position);
    }

    fn is_skipped(&self, event: &Event) -> bool {
        let (Event::Message(message), Some(skip)) = (event, self.skip) else { return false };
        message.position.is_some_and(|at| at.epoch == skip.epoch && at.offset <= skip.offset)
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
