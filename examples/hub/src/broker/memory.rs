//! One node, and a history that ends with the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Appended, Broker, Page};
use crate::{Away, Draft, Message, Position};

/// More topics than this are not kept: a client that may choose names must not fill the memory.
const MOST_TOPICS: usize = 10_000;

/// Keeps the newest messages of each topic in memory. For one node.
pub struct Memory {
    most: usize,
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<String, Topic>,
    /// How often any topic was used.
    uses: u64,
}

struct Topic {
    epoch: u64,
    last: u64,
    messages: VecDeque<Arc<Message>>,
    /// When it was used, as a count of uses.
    used: u64,
}

impl Memory {
    /// Keeps so many messages of each topic, in the 10,000 topics that were used last.
    pub fn new(most: usize) -> Self {
        Self { most, topics: Mutex::default() }
    }
}

impl Topics {
    fn topic(&mut self, name: &str) -> &mut Topic {
        self.uses += 1;
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= MOST_TOPICS {
                // Half of them at once, so that this is seldom. A topic that comes back has another epoch, so its members are told.
                let oldest_kept = self.uses.saturating_sub(MOST_TOPICS as u64 / 2);
                self.by_name.retain(|_, topic| topic.used >= oldest_kept);
            }
            let topic =
                Topic { epoch: rand::random(), last: 0, messages: VecDeque::new(), used: 0 };
            self.by_name.insert(name.to_owned(), topic);
        }
        let topic = self.by_name.get_mut(name).expect("it was inserted");
        topic.used = self.uses;
        topic
    }
}

#[async_trait]
impl Broker for Memory {
    fn is_shared(&self) -> bool {
        false
    }

    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.topic(topic);
        // Who sends again does so soon: the message is near the end.
        let same = topic.messages.iter().rev().find(|message| message.key == draft.key);
        if let Some(position) = same.and_then(|message| message.position) {
            return Ok(Appended { position, duplicate: true });
        }
        topic.last += 1;
        let position = Position { epoch: topic.epoch, offset: topic.last };
        topic.messages.push_back(Arc::new(Message::of(draft, Some(position))));
        if topic.messages.len() > self.most {
            topic.messages.pop_front();
        }
        Ok(Appended { position, duplicate: false })
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.topic(topic);
        let first = topic.last - topic.messages.len() as u64 + 1;
        let skipped =
            usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        let messages = topic.messages.iter().skip(skipped).take(most).cloned().collect();
        Ok(Page { epoch: topic.epoch, first, last: topic.last, messages })
    }
}
