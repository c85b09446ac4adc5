//! What is to be sent once there is a session again: a bounded queue of messages, without I/O.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use crate::protocol::message::{Message, MessageRef};

/// See [`Outbox::max_messages`].
const MAX_MESSAGES: usize = 1_024;

/// See [`Outbox::max_bytes`].
const MAX_BYTES: usize = 1 << 20;

/// A bounded queue of messages, for a client that connects again: what is to be sent while there is no session.
///
/// A message in it is in one of three states:
///
/// - It *waits* until a WebSocket takes it. [`iter`](Self::iter) shows those that wait, and [`drain`](Self::drain) gives
///   them back. No session that ends loses one of them.
/// - It was *handed over* once a WebSocket took it. [`handed_over`](Self::handed_over) counts these. They are no longer
///   here. `send_from` of the adapters hands messages over. It is done when the socket has their bytes.
/// - What was handed over is *unknown* if the session ends before the server has answered it. It may or may not have
///   arrived. This queue does not send it again. Only the program can tell whether it may be sent twice.
///
/// ```
/// use bowline::Outbox;
///
/// let mut outbox = Outbox::new().max_messages(2);
/// outbox.push("one")?;
/// outbox.push("two")?;
/// let full = outbox.push("three").unwrap_err();
/// assert_eq!(full.into_message().as_text(), Some("three"));
///
/// // The oldest goes, and comes back.
/// let mut outbox = outbox.drop_oldest();
/// assert_eq!(outbox.push("three")?, ["one".into()]);
///
/// // Of each key, only the newest waits.
/// let mut prices = Outbox::keyed();
/// prices.push_keyed("EUR", "1.09")?;
/// prices.push_keyed("GBP", "1.27")?;
/// assert_eq!(prices.push_keyed("EUR", "1.10")?, ["1.09".into()]);
/// assert!(prices.into_iter().eq(["1.10".into(), "1.27".into()]));
/// # Ok::<(), bowline::OutboxFull>(())
/// ```
#[derive(Clone)]
pub struct Outbox<K = ()> {
    waiting: VecDeque<(Option<K>, Message)>,
    bytes: usize,
    handed_over: u64,
    max_messages: usize,
    max_bytes: usize,
    drops_oldest: bool,
}

impl Outbox {
    /// An empty queue without keys. When it is full, it refuses.
    pub fn new() -> Self {
        Self::keyed()
    }
}

impl<K> Outbox<K> {
    /// An empty queue for [`push_keyed`](Self::push_keyed). When it is full, it refuses.
    pub fn keyed() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            handed_over: 0,
            max_messages: MAX_MESSAGES,
            max_bytes: MAX_BYTES,
            drops_oldest: false,
        }
    }

    /// How many messages wait at most. Default 1,024. With zero, none.
    ///
    /// What waits already stays. That holds for [`max_bytes`](Self::max_bytes) too.
    pub fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// How many bytes of payload wait at most. Default 1 MiB. A message takes 72 bytes and its key besides, on a machine of 64
    /// bits.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// When it is full, the oldest messages make room for the new one. By default, the new one is refused.
    ///
    /// A message that alone exceeds the limits is refused all the same.
    pub fn drop_oldest(mut self) -> Self {
        self.drops_oldest = true;
        self
    }

    /// Puts a message at the end. Gives back what was dropped for it, the oldest first: nothing without
    /// [`drop_oldest`](Self::drop_oldest).
    ///
    /// # Errors
    ///
    /// [`OutboxFull`] with the message. Nothing has changed then.
    pub fn push(&mut self, message: impl Into<Message>) -> Result<Vec<Message>, OutboxFull> {
        let message = message.into();
        let mut dropped = Vec::new();
        self.make_room(None, &message, &mut dropped).map_err(|limit| limit.refuses(&message))?;
        self.append(None, message);
        Ok(dropped)
    }

    /// Puts a message in place of the one that waits with the same key, or at the end. Gives back the one that it replaced,
    /// and what was dropped for it: first the replaced one, then the oldest.
    ///
    /// It compares the key with all that wait.
    ///
    /// # Errors
    ///
    /// [`OutboxFull`] with the message. Nothing has changed then, and the earlier message of this key waits.
    pub fn push_keyed(
        &mut self,
        key: K,
        message: impl Into<Message>,
    ) -> Result<Vec<Message>, OutboxFull>
    where
        K: Eq,
    {
        let message = message.into();
        let place = self.waiting.iter().position(|(other, _)| other.as_ref() == Some(&key));
        let mut removed = Vec::new();
        let place = self.make_room(place, &message, &mut removed);
        match place.map_err(|limit| limit.refuses(&message))? {
            None => self.append(Some(key), message),
            Some(place) => {
                self.bytes =
                    self.bytes + message.as_bytes().len() - self.waiting[place].1.as_bytes().len();
                let replaced = core::mem::replace(&mut self.waiting[place].1, message);
                removed.insert(0, replaced);
            }
        }
        Ok(removed)
    }

    fn append(&mut self, key: Option<K>, message: Message) {
        self.bytes += message.as_bytes().len();
        self.waiting.push_back((key, message));
    }

    /// Drops the oldest until the message fits, if it may. Gives the place of the message that is replaced, which moves as
    /// others before it are dropped.
    fn make_room(
        &mut self,
        mut place: Option<usize>,
        message: &Message,
        dropped: &mut Vec<Message>,
    ) -> Result<Option<usize>, Limit> {
        let size = message.as_bytes().len();
        let may_drop = self.drops_oldest && size <= self.max_bytes && self.max_messages > 0;
        loop {
            let replaced = place.map_or(0, |place| self.waiting[place].1.as_bytes().len());
            let limit = if place.is_none() && self.waiting.len() >= self.max_messages {
                Limit::Messages(self.max_messages)
            } else if self.bytes - replaced + size > self.max_bytes {
                Limit::Bytes { waiting: self.bytes - replaced, max: self.max_bytes }
            } else {
                return Ok(place);
            };
            // The one that is replaced makes no room by being dropped. The next one may.
            let oldest = usize::from(place == Some(0));
            if !may_drop || oldest >= self.waiting.len() {
                return Err(limit);
            }
            dropped.extend(self.remove(oldest));
            place = place.map(|place| place.saturating_sub(1));
        }
    }

    fn remove(&mut self, place: usize) -> Option<Message> {
        let (_, message) = self.waiting.remove(place)?;
        self.bytes -= message.as_bytes().len();
        Some(message)
    }

    /// The message that has waited longest.
    pub fn peek(&self) -> Option<&Message> {
        self.waiting.front().map(|(_, message)| message)
    }

    /// Takes out the message that has waited longest. It does not count as handed over.
    pub fn pop(&mut self) -> Option<Message> {
        self.remove(0)
    }

    /// Lends the message that has waited longest to `send`, and takes it out if that took it. `None` if nothing waits.
    ///
    /// This is for adapters. Those of this crate have `send_from`, also for sending halves.
    ///
    /// ```
    /// # fn send(mut sender: bowline::blocking::SendHalf<std::net::TcpStream>) -> Result<(), bowline::Error> {
    /// # let mut outbox = bowline::Outbox::new();
    /// while let Some(sent) = outbox.hand_over(|message| sender.send(message)) {
    ///     sent?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn hand_over<E>(
        &mut self,
        send: impl FnOnce(MessageRef<'_>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let sent = send(self.peek()?.borrow());
        if sent.is_ok() {
            self.remove(0);
            self.handed_over += 1;
        }
        Some(sent)
    }

    /// How many messages were handed over, in all sessions. The difference to what it was before a session is how many are
    /// unknown, less those that the server answered.
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes of payload wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.waiting.iter().map(|(_, message)| message)
    }

    /// Takes out all that waits, the oldest first. What the iterator did not give when it is dropped is gone.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> {
        self.bytes = 0;
        self.waiting.drain(..).map(|(_, message)| message)
    }
}

impl<K> Default for Outbox<K> {
    fn default() -> Self {
        Self::keyed()
    }
}

impl<K> IntoIterator for Outbox<K> {
    type Item = Message;
    type IntoIter = alloc::vec::IntoIter<Message>;

    /// What waits, the oldest first.
    fn into_iter(self) -> Self::IntoIter {
        self.waiting.into_iter().map(|(_, message)| message).collect::<Vec<_>>().into_iter()
    }
}

impl<K> fmt::Debug for Outbox<K> {
    /// No payloads and no keys: they often go to a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len())
            .field("bytes", &self.bytes)
            .field("handed_over", &self.handed_over)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Messages(usize),
    Bytes { waiting: usize, max: usize },
}

impl Limit {
    fn refuses(self, message: &Message) -> OutboxFull {
        // A clone copies no payload.
        OutboxFull { message: message.clone(), limit: self }
    }
}

/// A message that an [`Outbox`] refused because it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxFull {
    message: Message,
    limit: Limit,
}

impl OutboxFull {
    /// Gives the message back.
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl fmt::Display for OutboxFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.message.as_bytes().len();
        match self.limit {
            Limit::Messages(max) => write!(
                f,
                "message of {size} bytes not queued: {max} messages wait, which is max_messages of the outbox"
            ),
            Limit::Bytes { waiting, max } => write!(
                f,
                "message of {size} bytes not queued: with the {waiting} bytes that wait it exceeds max_bytes of {max} of the outbox"
            ),
        }
    }
}

impl core::error::Error for OutboxFull {}
