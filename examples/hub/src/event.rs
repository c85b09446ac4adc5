//! What goes through a topic.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a message stands in its topic. It is written as `EPOCH-OFFSET`, for example as the id of a server-sent event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which history this is. A broker that lost its data begins another one.
    pub epoch: u64,
    /// Counts from 1, without holes.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.offset)
    }
}

/// This is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePositionError;

impl fmt::Display for ParsePositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is EPOCH-OFFSET")
    }
}

impl std::error::Error for ParsePositionError {}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, offset) = text.split_once('-').ok_or(ParsePositionError)?;
        // `from_str_radix` would take a sign.
        if !epoch.bytes().all(|b| b.is_ascii_hexdigit())
            || !offset.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(ParsePositionError);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| ParsePositionError)?;
        Ok(Self { epoch, offset: offset.parse().map_err(|_| ParsePositionError)? })
    }
}

/// A message that a program publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// A topic keeps a message with one key once, for some minutes at least. Who does not know whether a message arrived publishes it again
    /// with the same key.
    pub key: String,
    /// The [reference](crate::Member::reference) of the member that publishes it, or empty. Members compare it with their own, if they are
    /// not to get their own messages.
    pub from: String,
    /// The program's own bytes.
    pub data: Bytes,
}

impl Draft {
    /// A message with a new key, from nobody.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self {
            key: format!("{:032x}", rand::random::<u128>()),
            from: String::new(),
            data: data.into(),
        }
    }

    /// The same with this key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The same from the member with this reference.
    pub fn from(self, reference: impl Into<String>) -> Self {
        Self { from: reference.into(), ..self }
    }
}

/// A message, as members get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// None: it has no number, and is not in the history. The broker is away, or a program that does not know this hub published it.
    pub position: Option<Position>,
    /// As in [`Draft::key`]. Empty for a message from a program that gave none.
    pub key: String,
    /// As in [`Draft::from`].
    pub from: String,
    /// The program's own bytes.
    pub data: Bytes,
}

impl Message {
    pub(crate) fn of(draft: &Draft, position: Option<Position>) -> Self {
        Self {
            position,
            key: draft.key.clone(),
            from: draft.from.clone(),
            data: draft.data.clone(),
        }
    }
}

/// Somebody who is present in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The [reference](crate::Member::reference) of the member. It is unique on all nodes.
    pub reference: Arc<str>,
    /// Who it is, for the program. Two members may have one key: one person with two windows.
    pub key: String,
    /// What the program says about this person.
    pub info: Value,
    /// When it entered, in milliseconds since 1970, by the clock of its node. Of two with one key, who came later has a later time, if its
    /// node knew the other.
    pub since: u64,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message. If it has a position, it is the next one.
    Message(Arc<Message>),
    /// A message that came without a number now has this one. It is not new.
    Settled(Arc<Message>),
    /// Messages were missed that the hub cannot deliver. What follows comes after this position. Read what lies before from
    /// [`Hub::history`](crate::Hub::history), or tell the client that something is missing.
    CatchUp(Position),
    /// Somebody is here.
    Came(Arc<Person>),
    /// Somebody is gone.
    Left(Arc<Person>),
    /// Whether the other nodes can be reached.
    Reachable(bool),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is kept, here.
    At(Position),
    /// It had been kept before, here.
    Before(Position),
    /// The broker is away. The members of this node have it. The others get it when the broker is back, if this node lives so long.
    Early,
}
