//! Channels: their names and kinds, and who is in a presence channel.

use std::sync::Arc;

use hub::Person;
use serde_json::{Map, Value, json};

use crate::auth::App;
use crate::{auth, protocol};

/// Bytes in the name of a channel or an event.
pub const MAX_NAME: usize = 200;
/// Bytes in the data of an event.
pub const MAX_DATA: usize = 10 << 10;
pub const MAX_USER_ID: usize = 128;
const MAX_USER_INFO: usize = 1 << 10;
/// A channel that is for one signed-in user.
const TO_USER: &str = "#server-to-user-";

/// The kind of a channel, which its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Public,
    Private,
    /// Its data is encrypted by the back end. Clients send no events there.
    Encrypted,
    Presence,
    ToUser,
}

impl Kind {
    /// None: this is not the name of a channel.
    pub fn of(name: &str) -> Option<Self> {
        if let Some(user) = name.strip_prefix(TO_USER) {
            return is_user_id(user).then_some(Self::ToUser);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(allowed) {
            return None;
        }
        Some(if name.starts_with("presence-") {
            Self::Presence
        } else if name.starts_with("private-encrypted-") {
            Self::Encrypted
        } else if name.starts_with("private-") {
            Self::Private
        } else {
            Self::Public
        })
    }
}

pub fn is_user_id(id: &str) -> bool {
    (1..=MAX_USER_ID).contains(&id.len()) && !id.contains(char::is_control)
}

/// Where the events of a channel are, on all nodes.
pub fn topic(app: &App, channel: &str) -> String {
    format!("pusher:{}:{channel}", app.id)
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Name,
    Unauthorized,
    Data,
    TooMany,
    TooManyUsers,
}

impl Refused {
    /// `pusher:subscription_error`, as pusher-js says it of itself.
    pub fn message(self, channel: &str) -> String {
        let (kind, error, status) = match self {
            Self::Name => ("ChannelError", "The name of the channel is invalid", 400),
            Self::Unauthorized => ("AuthError", "The connection is unauthorized", 401),
            Self::Data => {
                let error = "channel_data has a user_id of at most 128 bytes, and user_info of at most 1024";
                ("ChannelError", error, 400)
            }
            Self::TooMany => ("LimitReached", "The connection has too many channels", 403),
            Self::TooManyUsers => ("LimitReached", "The channel has too many users", 403),
        };
        let data = json!({"type": kind, "error": error, "status": status});
        protocol::event("pusher:subscription_error", Some(channel), &data)
    }
}

/// Who subscribes to a presence channel.
#[derive(Debug, PartialEq)]
pub struct User {
    pub id: String,
    pub info: Value,
}

/// Whether a client may subscribe. In a presence channel: as whom.
pub fn admit(
    app: &App,
    channel: &str,
    socket_id: &str,
    signed_in: Option<&str>,
    auth: Option<&str>,
    channel_data: Option<&str>,
) -> Result<Option<User>, Refused> {
    let kind = Kind::of(channel).ok_or(Refused::Name)?;
    let may = match kind {
        Kind::Public => true,
        Kind::ToUser => signed_in.is_some() && channel.strip_prefix(TO_USER) == signed_in,
        Kind::Private | Kind::Encrypted | Kind::Presence => {
            let signed = auth::channel(socket_id, channel, channel_data);
            auth.is_some_and(|auth| app.verifies(auth, &signed))
        }
    };
    if !may {
        return Err(Refused::Unauthorized);
    }
    if kind != Kind::Presence {
        return Ok(None);
    }
    let mut data: Map<String, Value> =
        serde_json::from_str(channel_data.unwrap_or_default()).map_err(|_| Refused::Data)?;
    let info = data.remove("user_info").unwrap_or_else(|| json!({}));
    let id = match data.remove("user_id") {
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(Refused::Data),
    };
    if !is_user_id(&id) || info.to_string().len() > MAX_USER_INFO {
        return Err(Refused::Data);
    }
    Ok(Some(User { id, info }))
}

/// Who is in a presence channel, as one connection knows it. A user with several connections counts once.
pub struct Roster {
    people: Vec<Arc<Person>>,
}

impl Roster {
    /// Those who are there, and the connection itself.
    pub fn new(people: &[Arc<Person>], own: Person) -> Self {
        let mut roster = Self { people: people.to_vec() };
        roster.came(&Arc::new(own));
        roster
    }

    /// True: a user has come.
    pub fn came(&mut self, person: &Arc<Person>) -> bool {
        // The connection itself is there from the start.
        if self.people.iter().any(|other| other.reference == person.reference) {
            return false;
        }
        let is_new = !self.has(&person.key);
        self.people.push(person.clone());
        is_new
    }

    /// True: a user is gone.
    pub fn left(&mut self, person: &Person) -> bool {
        let before = self.people.len();
        self.people.retain(|other| other.reference != person.reference);
        self.people.len() < before && !self.has(&person.key)
    }

    fn has(&self, user: &str) -> bool {
        self.people.iter().any(|person| person.key == user)
    }

    /// The data of `subscription_succeeded`.
    pub fn presence(&self) -> Value {
        let (mut ids, mut hash) = (Vec::new(), Map::new());
        for person in &self.people {
            if !hash.contains_key(&person.key) {
                ids.push(person.key.clone());
                hash.insert(person.key.clone(), person.info.clone());
            }
        }
        json!({"presence": {"count": ids.len(), "ids": ids, "hash": hash}})
    }
}

/// How many users these are.
pub fn users<'a>(people: impl IntoIterator<Item = &'a Arc<Person>>) -> usize {
    let mut keys: Vec<_> = people.into_iter().map(|person| &*person.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(reference: &str, key: &str) -> Person {
        Person {
            reference: reference.into(),
            key: key.into(),
            info: json!({"name": key}),
            since: 0,
        }
    }

    #[test]
    fn names_say_the_kind() {
        for (name, kind) in [
            ("chat", Some(Kind::Public)),
            ("a_-=@,.;9", Some(Kind::Public)),
            ("private-chat", Some(Kind::Private)),
            ("private-encrypted-chat", Some(Kind::Encrypted)),
            ("presence-chat", Some(Kind::Presence)),
            ("#server-to-user-7", Some(Kind::ToUser)),
            ("#server-to-user-", None),
            ("#other", None),
            ("", None),
            ("a b", None),
            ("a:b", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
        assert!(Kind::of(&"a".repeat(MAX_NAME)).is_some());
        assert!(Kind::of(&"a".repeat(MAX_NAME + 1)).is_none());
    }

    #[test]
    fn one_user_with_two_connections_counts_once() {
        let mut roster = Roster::new(&[Arc::new(person("a", "Ada"))], person("b", "Bob"));
        assert_eq!(roster.presence()["presence"]["ids"], json!(["Ada", "Bob"]));
        // What the hub says of the connection itself is known.
        assert!(!roster.came(&Arc::new(person("b", "Bob"))));
        assert!(!roster.came(&Arc::new(person("c", "Ada"))));
        assert_eq!(roster.presence()["presence"]["count"], 2);
        assert!(roster.came(&Arc::new(person("d", "Cid"))));
        assert!(!roster.left(&person("a", "Ada")));
        assert!(!roster.left(&person("a", "Ada")));
        assert!(roster.left(&person("c", "Ada")));
        assert!(!roster.left(&person("c", "Ada")));
    }

    #[test]
    fn presence_needs_a_user() {
        let app: App = "1:key:secret".parse().expect("an app");
        let ask = |data: &str| {
            let signed = auth::channel("1.2", "presence-a", Some(data));
            let auth = format!("key:{}", app.sign(&signed));
            admit(&app, "presence-a", "1.2", None, Some(&auth), Some(data))
        };
        let seven = User { id: "7".into(), info: json!({}) };
        assert_eq!(ask(r#"{"user_id":7}"#), Ok(Some(seven)));
        let seven = User { id: "7".into(), info: json!({"name": "x"}) };
        assert_eq!(ask(r#"{"user_id":"7","user_info":{"name":"x"}}"#), Ok(Some(seven)));
        let long = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(MAX_USER_ID + 1));
        let much = format!(r#"{{"user_id":"7","user_info":"{}"}}"#, "x".repeat(MAX_USER_INFO));
        for wrong in ["", "{}", "[]", r#"{"user_id":null}"#, r#"{"user_id":""}"#, &long, &much] {
            assert_eq!(ask(wrong), Err(Refused::Data), "{wrong}");
        }
        let auth = format!("key:{}", app.sign("1.2:presence-a"));
        assert_eq!(admit(&app, "presence-a", "1.2", None, Some(&auth), None), Err(Refused::Data));
    }

    #[test]
    fn the_channel_of_a_user_is_for_that_user() {
        let app: App = "1:key:secret".parse().expect("an app");
        let ask = |user| admit(&app, "#server-to-user-7", "1.2", user, None, None);
        assert_eq!(ask(Some("7")), Ok(None));
        assert_eq!(ask(Some("8")), Err(Refused::Unauthorized));
        assert_eq!(ask(None), Err(Refused::Unauthorized));
    }
}
