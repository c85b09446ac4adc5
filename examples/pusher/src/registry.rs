//! The connections of this node: what they are subscribed to, and which users they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::auth::App;

/// So many channels a node tells at once.
const MAX_TOLD: usize = 10_000;

#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<HashMap<Arc<str>, Entry>>>);

struct Entry {
    app: String,
    terminated: Arc<Notify>,
    signed_in: Option<String>,
    /// The user, in a presence channel.
    channels: HashMap<Arc<str>, Option<String>>,
}

/// Which channels are asked for: those with the prefix, or else these.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Which {
    Prefix(String),
    Names(Vec<String>),
}

impl Which {
    fn has(&self, channel: &str) -> bool {
        match self {
            Self::Prefix(prefix) => channel.starts_with(&**prefix),
            Self::Names(names) => names.iter().any(|name| name == channel),
        }
    }
}

/// Channels that somebody is subscribed to.
pub type Channels = BTreeMap<String, Occupied>;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupied {
    pub subscriptions: usize,
    pub users: BTreeSet<String>,
}

/// Adds what another node has.
pub fn merge(all: &mut Channels, more: Channels) {
    for (name, occupied) in more {
        let sum = all.entry(name).or_default();
        sum.subscriptions += occupied.subscriptions;
        sum.users.extend(occupied.users);
    }
}

impl Registry {
    /// A new connection with an id of its own. None: the app has so many already.
    pub fn connect(&self, app: &App, most: usize) -> Option<Connection> {
        let mut entries = self.entries();
        if entries.values().filter(|entry| entry.app == app.id).count() >= most {
            return None;
        }
        // Random, so that no two nodes give the same.
        let half = || rand::random_range(1..=1_000_000_000_u32);
        let socket_id: Arc<str> = loop {
            let id = format!("{}.{}", half(), half());
            if !entries.contains_key(&*id) {
                break id.into();
            }
        };
        let terminated = Arc::new(Notify::new());
        let entry = Entry {
            app: app.id.clone(),
            terminated: terminated.clone(),
            signed_in: None,
            channels: HashMap::new(),
        };
        entries.insert(socket_id.clone(), entry);
        drop(entries);
        Some(Connection { registry: self.clone(), socket_id, terminated })
    }

    pub fn occupied(&self, app: &str, which: &Which) -> Channels {
        let mut all = Channels::new();
        for entry in self.entries().values().filter(|entry| entry.app == app) {
            for (name, user) in entry.channels.iter().filter(|(name, _)| which.has(name)) {
                if all.len() >= MAX_TOLD && !all.contains_key(&**name) {
                    continue;
                }
                let occupied = all.entry(name.to_string()).or_default();
                occupied.subscriptions += 1;
                occupied.users.extend(user.clone());
            }
        }
        all
    }

    /// Ends the connections of a user: those that are signed in as it, or subscribed as it.
    pub fn terminate(&self, app: &str, user: &str) {
        for entry in self.entries().values().filter(|entry| entry.app == app) {
            let mut users = entry.channels.values().chain([&entry.signed_in]).flatten();
            if users.any(|other| other == user) {
                entry.terminated.notify_one();
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection. Dropping it forgets it.
pub struct Connection {
    registry: Registry,
    socket_id: Arc<str>,
    terminated: Arc<Notify>,
}

impl Connection {
    pub fn socket_id(&self) -> &str {
        &self.socket_id
    }

    /// Waits until the back end wants its end.
    pub async fn terminated(&self) {
        self.terminated.notified().await;
    }

    pub fn sign_in(&self, user: String) {
        self.change(|entry| entry.signed_in = Some(user));
    }

    pub fn subscribe(&self, channel: Arc<str>, user: Option<String>) {
        self.change(|entry| drop(entry.channels.insert(channel, user)));
    }

    pub fn unsubscribe(&self, channel: &str) {
        self.change(|entry| drop(entry.channels.remove(channel)));
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.registry.entries().get_mut(&self.socket_id) {
            change(entry);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.entries().remove(&self.socket_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_occupied_while_somebody_is_there() {
        let registry = Registry::default();
        let app: App = "1:key:secret".parse().expect("an app");
        let connections = [1, 2].map(|_| registry.connect(&app, 2).expect("room for two"));
        assert!(registry.connect(&app, 2).is_none());
        for connection in &connections {
            connection.subscribe("presence-a".into(), Some("7".into()));
        }
        let all = Which::Prefix(String::new());
        let occupied = registry.occupied("1", &all);
        let two = Occupied { subscriptions: 2, users: ["7".into()].into() };
        assert_eq!(occupied.get("presence-a"), Some(&two));
        assert!(registry.occupied("2", &all).is_empty());
        assert!(registry.occupied("1", &Which::Prefix("private-".into())).is_empty());
        assert!(registry.occupied("1", &Which::Names(vec!["presence-".into()])).is_empty());
        let [one, two] = connections;
        one.unsubscribe("presence-a");
        drop(two);
        assert!(registry.occupied("1", &all).is_empty());
        assert!(registry.connect(&app, 2).is_some());
    }

    #[test]
    fn what_nodes_have_is_added() {
        let with = |users: &[&str]| Occupied {
            subscriptions: users.len(),
            users: users.iter().map(ToString::to_string).collect(),
        };
        let mut all = Channels::from([("a".into(), with(&["1", "2"]))]);
        merge(&mut all, [("a".into(), with(&["2", "3"])), ("b".into(), with(&[]))].into());
        assert_eq!((all["a"].subscriptions, all["a"].users.len()), (4, 3));
        assert_eq!(all.len(), 2);
    }
}
