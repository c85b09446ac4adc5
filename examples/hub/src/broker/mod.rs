//! Who numbers and keeps the messages, and carries them to other nodes.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

use crate::{Away, Draft, Message, Position};

mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;

pub use memory::Memory;
#[cfg(feature = "nats")]
pub use nats::Nats;
#[cfg(feature = "redis")]
pub use redis::Redis;

/// What a hub needs from a broker. Each method may fail at any time. The hub limits how long each may take, and drops it then.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Whether there are other nodes. Without them the hub sends no notes and watches nothing.
    fn is_shared(&self) -> bool {
        true
    }

    /// Gives the message the next number of its topic, keeps it, and sends it to all nodes that watch the topic. If the topic has a message
    /// with this key, it says where.
    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away>;

    /// Reads the messages after this offset, at most `most`.
    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away>;

    /// Sends a note to all nodes that watch the topic. It is not kept.
    async fn tell(&self, _topic: &str, _note: Bytes) -> Result<(), Away> {
        Ok(())
    }

    /// From now on, what is appended to the topic or told there is [`Incoming`].
    async fn watch(&self, _topic: &str) -> Result<(), Away> {
        Ok(())
    }

    /// Ends [`watch`](Self::watch).
    async fn unwatch(&self, _topic: &str) -> Result<(), Away> {
        Ok(())
    }

    /// Tries once to be well again after an error. The hub calls it until it succeeds, and then watches its topics again.
    async fn recover(&self) -> Result<(), Away> {
        Ok(())
    }
}

/// Where an appended message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its position.
    pub position: Position,
    /// It was there before.
    pub duplicate: bool,
}

/// A piece of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Which history it is.
    pub epoch: u64,
    /// The offset of the oldest message that is still kept; if there is none, the one after `last`.
    pub first: u64,
    /// The offset of the newest message, or 0.
    pub last: u64,
    /// The messages asked for, in order.
    pub messages: Vec<Arc<Message>>,
}

/// What comes from the broker without being asked for.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A message of a topic, perhaps of this node.
    Message(String, Arc<Message>),
    /// A note of a topic, perhaps of this node.
    Note(String, Bytes),
    /// The connection is lost.
    Down,
}

/// Where a broker puts what comes in.
pub type Inbox = tokio::sync::mpsc::UnboundedSender<Incoming>;
