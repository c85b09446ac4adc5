//! A broker of the tests: nodes in one process, each of which can be cut off, and a history that can be lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use hub::broker::{Appended, Broker, Inbox, Incoming, Memory, Page};
use hub::{Away, Draft, Hub, Message, Settings};
use tokio::sync::mpsc;

pub struct Wire {
    history: usize,
    kept: Mutex<Arc<Memory>>,
    nodes: Mutex<Vec<Arc<Node>>>,
}

pub struct Node {
    wire: Arc<Wire>,
    inbox: Inbox,
    cut: AtomicBool,
    /// Commands are taken, but never answered.
    hangs: AtomicBool,
    /// The next so many messages do not come to this node.
    loses: AtomicUsize,
    watched: Mutex<BTreeSet<String>>,
}

impl Wire {
    pub fn new(history: usize) -> Arc<Self> {
        Arc::new(Self {
            history,
            kept: Mutex::new(Arc::new(Memory::new(history))),
            nodes: Mutex::default(),
        })
    }

    pub fn node(self: &Arc<Self>, settings: Settings) -> (Hub, Arc<Node>) {
        let (inbox, incoming) = mpsc::unbounded_channel();
        let node = Arc::new(Node {
            wire: self.clone(),
            inbox,
            cut: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            loses: AtomicUsize::new(0),
            watched: Mutex::default(),
        });
        self.nodes.lock().unwrap().push(node.clone());
        (Hub::with(Arc::new(Handle(node.clone())), settings, incoming), node)
    }

    /// As a broker that was started anew without its data.
    pub fn forget(&self) {
        *self.kept.lock().unwrap() = Arc::new(Memory::new(self.history));
    }

    pub fn back_up(&self) -> Memory {
        (*self.kept()).clone()
    }

    /// As a broker that got back an older state: the same epoch, and less.
    pub fn restore(&self, backup: Memory) {
        *self.kept.lock().unwrap() = Arc::new(backup);
    }

    fn kept(&self) -> Arc<Memory> {
        self.kept.lock().unwrap().clone()
    }

    pub fn send(&self, topic: &str, incoming: &Incoming) {
        for node in self.nodes.lock().unwrap().iter() {
            if node.cut.load(Ordering::SeqCst) || !node.watched.lock().unwrap().contains(topic) {
                continue;
            }
            let loses = matches!(incoming, Incoming::Message(..))
                && node
                    .loses
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            if !loses {
                let _ = node.inbox.send(incoming.clone());
            }
        }
    }
}

impl Node {
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.watched.lock().unwrap().clear();
        let _ = self.inbox.send(Incoming::Down);
    }

    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
        self.hangs.store(false, Ordering::SeqCst);
    }

    pub fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    /// Takes commands no longer, without being told: only a command shows it.
    pub fn die_silently(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub fn lose(&self, messages: usize) {
        self.loses.store(messages, Ordering::SeqCst);
    }

    pub fn watches(&self, topic: &str) -> bool {
        self.watched.lock().unwrap().contains(topic)
    }

    async fn there(&self) -> Result<(), Away> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.cut.load(Ordering::SeqCst) { Err(Away) } else { Ok(()) }
    }
}

struct Handle(Arc<Node>);

#[async_trait]
impl Broker for Handle {
    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        self.0.there().await?;
        let wire = &self.0.wire;
        let appended = wire.kept().append(topic, draft).await?;
        if !appended.duplicate {
            let message = Message {
                position: Some(appended.position),
                key: draft.key.clone(),
                from: draft.from.clone(),
                data: draft.data.clone(),
            };
            wire.send(topic, &Incoming::Message(topic.to_owned(), Arc::new(message)));
        }
        Ok(appended)
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        self.0.there().await?;
        self.0.wire.kept().since(topic, after, most).await
    }

    async fn tell(&self, topic: &str, note: Bytes) -> Result<(), Away> {
        self.0.there().await?;
        self.0.wire.send(topic, &Incoming::Note(topic.to_owned(), note));
        Ok(())
    }

    async fn watch(&self, topic: &str) -> Result<(), Away> {
        self.0.there().await?;
        self.0.watched.lock().unwrap().insert(topic.to_owned());
        Ok(())
    }

    async fn unwatch(&self, topic: &str) -> Result<(), Away> {
        self.0.there().await?;
        self.0.watched.lock().unwrap().remove(topic);
        Ok(())
    }

    async fn recover(&self) -> Result<(), Away> {
        self.0.there().await
    }
}
