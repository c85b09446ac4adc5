//! The hub: all topics of this node.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{Broker, Inbox, Incoming, Memory};
use crate::topic::{Command, Topic};
use crate::{Away, Draft, Event, Member, Message, Person, Position, Published};

/// What can be set. The defaults are right for a chat.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many messages of a topic the broker keeps: 1000. [`Memory`] and Redis may keep some more for a while.
    pub history: usize,
    /// How many events may wait for a member: 256. One more, and the member is dropped.
    pub queue: usize,
    /// How many messages a topic takes while the broker is away: 1000. Then publishing fails.
    pub early: usize,
    /// How long the broker may take for an answer: 2 s. Then it is away.
    pub patience: Duration,
    /// How long a node that says nothing is thought alive: 15 s. It speaks three times as often.
    pub lease: Duration,
    /// How long a topic stays without members: 5 s.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            history: 1000,
            queue: 256,
            early: 1000,
            patience: Duration::from_secs(2),
            lease: Duration::from_secs(15),
            linger: Duration::from_secs(5),
        }
    }
}

/// How long the other nodes have to say who is on them.
const OTHERS: Duration = Duration::from_secs(1);

/// All topics of this node. Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

pub(crate) struct Inner {
    /// Unique: at random.
    pub(crate) node: String,
    pub(crate) settings: Settings,
    pub(crate) broker: Arc<dyn Broker>,
    topics: Mutex<HashMap<String, mpsc::UnboundedSender<Command>>>,
    reachable: watch::Sender<bool>,
    references: AtomicU64,
    recovery: Mutex<Recovery>,
    this: Weak<Inner>,
}

/// How long to wait before the next try to reach the broker.
struct Recovery {
    wait: Duration,
    last: Option<Instant>,
}

impl Recovery {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    /// At random, so that not all nodes come at once to a broker that is back. A broker that goes away again at once is not tried as
    /// often as one that was there for a while.
    fn next(&mut self) -> Duration {
        if self.last.take().is_some_and(|last| last.elapsed() > 2 * Self::LONGEST) {
            self.wait = Self::FIRST;
        }
        let wait = self.wait.mul_f64(rand::random_range(0.5..1.0));
        self.wait = (self.wait * 2).min(Self::LONGEST);
        wait
    }
}

/// Why a hub cannot be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Connect {
    /// No such broker, or this program was built without it.
    Unknown(String),
    /// The URL is not right.
    Url(String),
    /// The broker cannot be reached, or refuses.
    Refused(String),
}

impl std::fmt::Display for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(url) => write!(f, "{url}: a broker is redis://… or nats://…"),
            Self::Url(error) => write!(f, "the broker's URL: {error}"),
            Self::Refused(error) => write!(f, "the broker: {error}"),
        }
    }
}

impl std::error::Error for Connect {}

impl Hub {
    /// One node, with the history in memory.
    pub fn alone(settings: Settings) -> Self {
        let broker = Memory::new(settings.history);
        Self::with(Arc::new(broker), settings, mpsc::unbounded_channel().1)
    }

    /// One node of many: `redis://HOST:PORT` or `nats://HOST:PORT`. It fails if the broker cannot be reached now. Later it may be away.
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, Connect> {
        let (inbox, incoming) = mpsc::unbounded_channel();
        let broker = open(url, &settings, inbox).await?;
        Ok(Self::with(broker, settings, incoming))
    }

    /// A hub on another broker. What comes from it has to arrive in `incoming`.
    pub fn with(
        broker: Arc<dyn Broker>,
        settings: Settings,
        mut incoming: mpsc::UnboundedReceiver<Incoming>,
    ) -> Self {
        let inner = Arc::new_cyclic(|this| Inner {
            node: format!("{:016x}", rand::random::<u64>()),
            settings,
            broker,
            topics: Mutex::default(),
            reachable: watch::Sender::new(true),
            references: AtomicU64::new(0),
            recovery: Mutex::new(Recovery { wait: Recovery::FIRST, last: None }),
            this: Weak::clone(this),
        });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            while let Some(incoming) = incoming.recv().await {
                let Some(inner) = weak.upgrade() else { break };
                inner.route(incoming);
            }
        });
        Self(inner)
    }

    /// Whether the broker can be reached, and with it the other nodes.
    pub fn reachable(&self) -> watch::Receiver<bool> {
        self.0.reachable.subscribe()
    }

    /// The id of this node. It is another one after each start.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// Joins a topic. Nothing is sent to others: [`Member::enter`] makes it present.
    ///
    /// Cancel safe: who gives up has not joined.
    pub async fn join(&self, topic: &str) -> Member {
        loop {
            let (answer, member) = oneshot::channel();
            self.0.command(topic, |sender| Command::Join(answer, sender.clone()));
            // The task of a topic ends only with its runtime.
            if let Ok(member) = member.await {
                return member;
            }
        }
    }

    /// Publishes a message to all members of a topic, this one included.
    ///
    /// It fails if the broker is away and too many messages wait for it.
    ///
    /// Not cancel safe: the message may be published or not. Publish it again with the same key.
    pub async fn publish(&self, topic: &str, draft: Draft) -> Result<Published, Away> {
        let (answer, published) = oneshot::channel();
        self.0.command(topic, |_| Command::Publish(draft, answer));
        published.await.unwrap_or(Err(Away))
    }

    /// Waits until the other nodes are told who has left. Call it at the end of a program. Otherwise they know when the lease ends.
    pub async fn flush(&self) {
        let flushing: Vec<_> = self
            .0
            .topics()
            .values()
            .map(|topic| {
                let (answer, flushed) = oneshot::channel();
                let _ = topic.send(Command::Flush(answer));
                flushed
            })
            .collect();
        for flushed in flushing {
            let _ = flushed.await;
        }
    }

    /// Who is present in a topic, in the order of their coming.
    pub async fn people(&self, topic: &str) -> Vec<Arc<Person>> {
        let (answer, people) = oneshot::channel();
        self.0.command(topic, |_| Command::Present(answer));
        people.await.unwrap_or_default()
    }

    /// Somebody who is present in a topic. A node that has nobody in the topic has to hear from the others first, and waits a second for it.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn find(&self, topic: &str, is: impl Fn(&Person) -> bool) -> Option<Arc<Person>> {
        let mut member = self.join(topic).await;
        let here = member.people().iter().find(|person| is(person)).cloned();
        if here.is_some() || !self.0.broker.is_shared() {
            return here;
        }
        let coming = async {
            loop {
                match member.next().await? {
                    Event::Came(person) if is(&person) => return Some(person),
                    _ => {}
                }
            }
        };
        timeout(OTHERS, coming).await.unwrap_or_default()
    }

    /// Reads from the history of a topic: the messages after a position, or without one from the newest `most`.
    ///
    /// It fails if the broker is away.
    pub async fn history(
        &self,
        topic: &str,
        after: Option<Position>,
        most: usize,
    ) -> Result<History, Away> {
        let offset = after.map_or(u64::MAX, |after| after.offset);
        let page = self.0.ask(self.0.broker.since(topic, offset, most)).await?;
        let known = after.is_some_and(|after| {
            after.epoch == page.epoch && after.offset <= page.last && page.first <= after.offset + 1
        });
        let page = if known {
            page
        } else {
            let newest = page.last.saturating_sub(most as u64);
            // More may have been said meanwhile, so what is read now counts.
            self.0.ask(self.0.broker.since(topic, newest, most)).await?
        };
        let end = Position { epoch: page.epoch, offset: page.last };
        Ok(History { fresh: !known, messages: page.messages, end })
    }
}

/// Messages of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// They do not follow the position that was asked for: there was none, or the broker does not have all that came after it.
    pub fresh: bool,
    /// In order.
    pub messages: Vec<Arc<Message>>,
    /// The position of the newest message of the topic when these were read. There is more if the last of these has another one.
    pub end: Position,
}

async fn open(url: &str, settings: &Settings, inbox: Inbox) -> Result<Arc<dyn Broker>, Connect> {
    let opening = async {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            #[cfg(feature = "redis")]
            Some("redis") => {
                Ok(Arc::new(crate::broker::Redis::connect(url, settings.history, inbox).await?)
                    as Arc<dyn Broker>)
            }
            #[cfg(feature = "nats")]
            Some("nats") => {
                Ok(Arc::new(crate::broker::Nats::connect(url, settings.history, inbox).await?)
                    as Arc<dyn Broker>)
            }
            _ => {
                let _ = inbox;
                Err(Connect::Unknown(url.to_owned()))
            }
        }
    };
    // Longer than for one answer: this is several.
    timeout(settings.patience * 3, opening)
        .await
        .unwrap_or_else(|_| Err(Connect::Refused("no answer in time".into())))
}

impl Inner {
    fn topics(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Command>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command to a topic, and starts its task if there is none.
    fn command(
        &self,
        name: &str,
        command: impl FnOnce(&mpsc::UnboundedSender<Command>) -> Command,
    ) {
        let mut topics = self.topics();
        let topic = topics.entry(name.to_owned()).or_insert_with(|| self.start(name));
        if topic.is_closed() {
            *topic = self.start(name);
        }
        let _ = topic.send(command(topic));
    }

    fn start(&self, name: &str) -> mpsc::UnboundedSender<Command> {
        let (sender, receiver) = mpsc::unbounded_channel();
        if let Some(hub) = self.this.upgrade() {
            tokio::spawn(Topic::new(name.to_owned(), hub).run(receiver));
        }
        sender
    }

    /// Forgets a topic whose task wants to end. False: it has a command again.
    pub(crate) fn remove(
        &self,
        name: &str,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> bool {
        let mut topics = self.topics();
        // Commands are sent under this lock, but for those of members, and there are none.
        let idle = commands.is_empty();
        if idle {
            topics.remove(name);
        }
        idle
    }

    pub(crate) fn reference(&self) -> Arc<str> {
        let count = self.references.fetch_add(1, Ordering::Relaxed);
        format!("{}.{count}", self.node).into()
    }

    pub(crate) fn is_reachable(&self) -> bool {
        *self.reachable.borrow()
    }

    /// Waits for an answer of the broker, at most for the patience. If there is none, the broker is away.
    pub(crate) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, Away>>,
    ) -> Result<T, Away> {
        let answer = timeout(self.settings.patience, answer).await.unwrap_or(Err(Away));
        if answer.is_err() {
            self.lost();
        }
        answer
    }

    fn route(&self, incoming: Incoming) {
        let (topic, command) = match incoming {
            Incoming::Message(topic, message) => (topic, Command::Incoming(message)),
            Incoming::Note(topic, note) => (topic, Command::Note(note)),
            Incoming::Down => return self.lost(),
        };
        // What comes for a topic that nobody is in is late.
        if let Some(topic) = self.topics().get(&topic) {
            let _ = topic.send(command);
        }
    }

    /// The broker is away. Tells all topics, and tries until it is back.
    fn lost(&self) {
        if !self.reachable.send_replace(false) {
            return;
        }
        self.tell_all(|| Command::Down);
        let weak = Weak::clone(&self.this);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                let wait = inner.recovery().next();
                drop(inner);
                sleep(wait).await;
                let Some(inner) = weak.upgrade() else { break };
                let recovered = timeout(inner.settings.patience, inner.broker.recover()).await;
                if recovered == Ok(Ok(())) {
                    inner.recovery().last = Some(Instant::now());
                    inner.reachable.send_replace(true);
                    inner.tell_all(|| Command::Up);
                    break;
                }
            }
        });
    }

    fn recovery(&self) -> MutexGuard<'_, Recovery> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for topic in self.topics().values() {
            let _ = topic.send(command());
        }
    }
}
