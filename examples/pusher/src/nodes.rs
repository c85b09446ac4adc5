//! What nodes ask each other: which channels are occupied, and to end the connections of a user.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub::{Away, Draft, Event, Hub, Member};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::registry::{Channels, Registry, Which, merge};

const TOPIC: &str = "pusher-nodes";
/// How long nodes may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
enum Note {
    Ask { id: String, app: String, which: Which },
    Answer { id: String, channels: Channels },
    Terminate { app: String, user: String },
}

type Answers = mpsc::UnboundedSender<(String, Channels)>;

#[derive(Clone)]
pub struct Nodes {
    hub: Hub,
    registry: Registry,
    waiting: Arc<Mutex<HashMap<String, Answers>>>,
    listening: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Nodes {
    /// This node answers from now on, and the others hear of it at once. The hub is for this alone.
    pub async fn join(hub: Hub, registry: Registry) -> Self {
        let nodes = Self { hub, registry, waiting: Arc::default(), listening: Arc::default() };
        let member = nodes.enter().await;
        *lock(&nodes.listening) = Some(tokio::spawn(nodes.clone().listen(member)));
        nodes
    }

    /// The occupied channels of an app, on all nodes. It fails if a node does not answer, because a part would look like the whole.
    pub async fn occupied(&self, app: &str, which: Which) -> Result<Channels, Away> {
        if !*self.hub.reachable().borrow() {
            return Err(Away);
        }
        let mut all = self.registry.occupied(app, &which);
        let mut missing = self.others().await;
        if missing.is_empty() {
            return Ok(all);
        }
        let (sender, mut answers) = mpsc::unbounded_channel();
        let id = format!("{:032x}", rand::random::<u128>());
        lock(&self.waiting).insert(id.clone(), sender);
        let _forget = Forget(self, id.clone());
        self.publish(&Note::Ask { id, app: app.into(), which }).await?;
        // Publishing may have found out that the broker is away.
        if !*self.hub.reachable().borrow() {
            return Err(Away);
        }
        let until = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            let Ok(Some((node, channels))) = timeout_at(until, answers.recv()).await else { break };
            if missing.remove(&node) {
                merge(&mut all, channels);
            }
        }
        // A node that has left meanwhile has no channels.
        let others = self.others().await;
        if missing.is_disjoint(&others) { Ok(all) } else { Err(Away) }
    }

    /// Ends the connections of a user on all nodes.
    pub async fn terminate(&self, app: &str, user: &str) -> Result<(), Away> {
        self.publish(&Note::Terminate { app: app.into(), user: user.into() }).await
    }

    /// Other nodes need not wait for this one any more.
    pub async fn leave(&self) {
        let listening = lock(&self.listening).take();
        if let Some(listening) = listening {
            listening.abort();
            let _ = listening.await;
        }
        self.hub.flush().await;
    }

    async fn others(&self) -> HashSet<String> {
        let mut nodes: HashSet<_> =
            self.hub.people(TOPIC).await.iter().map(|node| node.key.clone()).collect();
        nodes.remove(self.hub.node());
        nodes
    }

    async fn publish(&self, note: &Note) -> Result<(), Away> {
        let text = serde_json::to_string(note).expect("a note has nothing that JSON lacks");
        self.hub.publish(TOPIC, Draft::new(text).from(self.hub.node())).await.map(drop)
    }

    async fn enter(&self) -> Member {
        let member = self.hub.join(TOPIC).await;
        member.enter(self.hub.node(), Value::Null);
        member
    }

    async fn listen(self, mut member: Member) {
        loop {
            while let Some(event) = member.next().await {
                if let Event::Message(message) = event {
                    // Other programs can publish there too. They are not nodes.
                    if let Ok(note) = serde_json::from_slice(&message.data) {
                        self.hear(&message.from, note).await;
                    }
                }
            }
            // It was too slow.
            member = self.enter().await;
        }
    }

    async fn hear(&self, from: &str, note: Note) {
        match note {
            Note::Ask { id, app, which } if from != self.hub.node() => {
                let channels = self.registry.occupied(&app, &which);
                // If this fails, the other node gets no answer, and reports that.
                let _ = self.publish(&Note::Answer { id, channels }).await;
            }
            Note::Ask { .. } => {}
            Note::Answer { id, channels } => {
                if let Some(sender) = lock(&self.waiting).get(&id) {
                    let _ = sender.send((from.into(), channels));
                }
            }
            Note::Terminate { app, user } => self.registry.terminate(&app, &user),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that was given up is forgotten as well.
struct Forget<'a>(&'a Nodes, String);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}
