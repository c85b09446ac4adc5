//! One topic: a task that owns its members, its place in the history, and its presence. So there is one order, without locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::member::Member;
use crate::node::Inner;
use crate::presence::Presence;
use crate::{Away, Draft, Event, Message, Person, Position, Published};

/// How many messages are read from the broker at once.
const PAGE: usize = 100;
/// People who come at nearly the same time are told to other nodes in one note.
const TOGETHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) enum Command {
    Join(oneshot::Sender<Member>, mpsc::UnboundedSender<Command>),
    Leave(Arc<str>),
    Enter(Person),
    Exit(Arc<str>),
    Present(oneshot::Sender<Vec<Arc<Person>>>),
    Publish(Draft, oneshot::Sender<Result<Published, Away>>),
    Flush(oneshot::Sender<()>),
    Incoming(Arc<Message>),
    Note(Bytes),
    Down,
    Up,
}

pub(crate) struct Topic {
    name: String,
    hub: Arc<Inner>,
    members: BTreeMap<Arc<str>, mpsc::Sender<Event>>,
    presence: Presence,
    /// All members have the messages up to here.
    last: Option<Position>,
    /// The broker answers.
    up: bool,
    /// What the members have without a number, since the broker was away.
    early: VecDeque<Draft>,
    /// When to tell other nodes who is here.
    tell_at: Option<Instant>,
}

impl Topic {
    pub(crate) fn new(name: String, hub: Arc<Inner>) -> Self {
        let presence = Presence::new(hub.node.clone(), hub.settings.lease);
        Self {
            name,
            hub,
            members: BTreeMap::new(),
            presence,
            last: None,
            up: false,
            early: VecDeque::new(),
            tell_at: None,
        }
    }

    /// Runs until the topic has had no member for a while. A topic without members stays for that time: who comes back soon finds it, and
    /// the broker is not asked to watch and to stop watching each time.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        if self.hub.is_reachable() {
            self.up().await;
        }
        let mut idle_until = Instant::now() + self.hub.settings.linger;
        let renewal = self.hub.settings.lease / 3;
        let mut renew_at = Instant::now() + renewal;
        loop {
            let tell_at = self.tell_at.unwrap_or(renew_at).min(renew_at);
            // What waits for the broker keeps the topic as a member does.
            let is_idle = self.members.is_empty() && self.early.is_empty();
            let until = if is_idle { tell_at.min(idle_until) } else { tell_at };
            tokio::select! {
                biased;
                command = commands.recv() => {
                    let Some(command) = command else { break };
                    self.obey(command).await;
                    if !self.members.is_empty() {
                        idle_until = Instant::now() + self.hub.settings.linger;
                    }
                }
                () = sleep_until(until) => {}
            }
            let now = Instant::now();
            if self.members.is_empty()
                && self.early.is_empty()
                && idle_until <= now
                && self.hub.remove(&self.name, &mut commands)
            {
                break;
            }
            if renew_at <= now {
                renew_at = now + renewal;
                self.tell_at = Some(now);
                if self.up {
                    let gone = self.presence.expire(now);
                    self.give_all(gone);
                }
            }
            if self.tell_at.is_some_and(|at| at <= now) {
                self.tell(false).await;
            }
        }
        if self.hub.broker.is_shared() {
            let _ = self.hub.ask(self.hub.broker.unwatch(&self.name)).await;
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Join(answer, topic) => self.join(answer, topic),
            Command::Leave(reference) => {
                self.members.remove(&reference);
                self.exit(&reference);
            }
            Command::Enter(person) => {
                // A member that was dropped has left.
                if self.members.contains_key(&person.reference) {
                    let news = self.presence.enter(person);
                    self.give_all(news);
                    self.tell_soon();
                }
            }
            Command::Exit(reference) => self.exit(&reference),
            Command::Present(answer) => {
                let _ = answer.send(self.presence.all());
            }
            Command::Publish(draft, answer) => {
                let published = self.publish(draft).await;
                let _ = answer.send(published);
            }
            Command::Flush(answer) => {
                if self.tell_at.is_some() {
                    self.tell(false).await;
                }
                let _ = answer.send(());
            }
            Command::Incoming(message) => self.arrived(message).await,
            Command::Note(note) => self.hear(&note).await,
            Command::Down => self.down(),
            Command::Up => self.up().await,
        }
    }

    fn join(&mut self, answer: oneshot::Sender<Member>, topic: mpsc::UnboundedSender<Command>) {
        let (sender, events) = mpsc::channel(self.hub.settings.queue);
        let reference = self.hub.reference();
        let member = Member {
            reference: reference.clone(),
            events,
            topic,
            position: self.last,
            skip: None,
            reachable: self.up,
            people: self.presence.all(),
        };
        self.members.insert(reference, sender);
        // If nobody waits for it, it comes back, and leaves by being dropped.
        let _ = answer.send(member);
    }

    fn exit(&mut self, reference: &str) {
        let news = self.presence.exit(reference);
        if !news.is_empty() {
            self.give_all(news);
            self.tell_soon();
        }
    }

    async fn publish(&mut self, draft: Draft) -> Result<Published, Away> {
        if self.up {
            match self.hub.ask(self.hub.broker.append(&self.name, &draft)).await {
                Ok(appended) if appended.duplicate => {
                    return Ok(Published::Before(appended.position));
                }
                Ok(appended) => {
                    self.arrived(Arc::new(Message::of(&draft, Some(appended.position)))).await;
                    return Ok(Published::At(appended.position));
                }
                // It may be kept all the same. It is published again when the broker is back, and the key tells.
                Err(Away) => self.down(),
            }
        }
        if self.early.iter().any(|early| early.key == draft.key) {
            return Ok(Published::Early);
        }
        if self.early.len() >= self.hub.settings.early {
            return Err(Away);
        }
        self.give(Event::Message(Arc::new(Message::of(&draft, None))));
        self.early.push_back(draft);
        Ok(Published::Early)
    }

    /// A message with a number has come, from the broker or from here.
    async fn arrived(&mut self, message: Arc<Message>) {
        let Some(position) = message.position else { return self.give(Event::Message(message)) };
        match self.last {
            Some(last) if last.epoch == position.epoch && position.offset <= last.offset => {}
            Some(last) if last.epoch == position.epoch && position.offset == last.offset + 1 => {
                self.deliver(message)
            }
            // If this fails, the broker is away, and it is done when it is back.
            _ => drop(self.fill().await),
        }
    }

    /// Gives the next message to all.
    fn deliver(&mut self, message: Arc<Message>) {
        self.last = message.position;
        let early = self.early.iter().position(|early| early.key == message.key);
        if let Some(index) = early {
            self.early.remove(index);
            self.give(Event::Settled(message));
        } else {
            self.give(Event::Message(message));
        }
    }

    /// Reads what was missed from the broker.
    async fn fill(&mut self) -> Result<(), Away> {
        loop {
            let after = self.last.map_or(0, |last| last.offset);
            let page = self.hub.ask(self.hub.broker.since(&self.name, after, PAGE)).await?;
            let follows = self.last.is_some_and(|last| {
                last.epoch == page.epoch && page.first <= after + 1 && after <= page.last
            });
            if !follows {
                let last = Position { epoch: page.epoch, offset: page.last };
                self.last = Some(last);
                self.give(Event::CatchUp(last));
                return Ok(());
            }
            let all = page.messages.len() < PAGE;
            for message in page.messages {
                self.deliver(message);
            }
            if all {
                return Ok(());
            }
        }
    }

    fn down(&mut self) {
        if self.up {
            self.up = false;
            self.give(Event::Reachable(false));
        }
    }

    /// The broker is there, for the first time or again.
    async fn up(&mut self) {
        if self.catch_up().await.is_ok() && !self.up {
            self.up = true;
            self.give(Event::Reachable(true));
        }
    }

    async fn catch_up(&mut self) -> Result<(), Away> {
        if self.hub.broker.is_shared() {
            self.hub.ask(self.hub.broker.watch(&self.name)).await?;
        }
        self.fill().await?;
        while let Some(draft) = self.early.front().cloned() {
            let appended = self.hub.ask(self.hub.broker.append(&self.name, &draft)).await?;
            let message = Arc::new(Message::of(&draft, Some(appended.position)));
            if !appended.duplicate {
                self.arrived(message).await;
            } else if self.early.front() == Some(&draft) {
                // It was kept before the broker went away, and lies before what could be read.
                self.early.pop_front();
                self.give(Event::Settled(message));
            }
        }
        self.presence.renew(Instant::now());
        self.tell(true).await;
        Ok(())
    }

    fn tell_soon(&mut self) {
        self.tell_at.get_or_insert_with(|| Instant::now() + TOGETHER);
    }

    /// Tells the other nodes who is here.
    async fn tell(&mut self, ask: bool) {
        self.tell_at = None;
        if !self.hub.broker.is_shared() || !(self.up || ask) {
            return;
        }
        let note = serde_json::to_vec(&self.presence.note(ask))
            .expect("a note has nothing that JSON lacks");
        // If it fails, all is told again when the broker is back.
        let _ = self.hub.ask(self.hub.broker.tell(&self.name, note.into())).await;
    }

    async fn hear(&mut self, note: &Bytes) {
        // Who else sends notes is no node.
        let Ok(note) = serde_json::from_slice(note) else { return };
        let (news, asked) = self.presence.hear(note, Instant::now());
        self.give_all(news);
        if asked {
            self.tell(false).await;
        }
    }

    fn give_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.give(event);
        }
    }

    /// Gives an event to all members. Who has no room for it is dropped.
    fn give(&mut self, event: Event) {
        let mut slow = Vec::new();
        self.members.retain(|reference, member| {
            let has_room = member.try_send(event.clone()).is_ok();
            if !has_room {
                slow.push(reference.clone());
            }
            has_room
        });
        for reference in slow {
            self.exit(&reference);
        }
    }
}
