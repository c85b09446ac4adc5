//! The channels: who may subscribe, to which topic of the hub, and what can be done there. A program of your own begins here.

use hub::{Draft, Event, Hub, Member, Position};
use serde_json::{Map, Value, json};

use crate::protocol::Ignored;

const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 2000;
/// How many missed messages are sent at once.
const MAX_MISSED: usize = 100;

/// A subscription's channel, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A room. All who are subscribed get what one says.
    Chat { room: String },
    /// Who is here.
    Appearance,
    /// What is for one person alone.
    Inbox { owner: String },
}

/// Why there is no subscription.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Rails answers nothing.
    Ignored(Ignored),
    /// The channel rejects the client.
    Rejected,
}

impl Channel {
    pub fn open(identifier: &str, viewer: &str) -> Result<Self, Refused> {
        let parameters: Map<String, Value> = serde_json::from_str(identifier)
            .map_err(|_| Refused::Ignored(Ignored::BadIdentifier))?;
        let text = |name| parameters.get(name).and_then(Value::as_str);
        match text("channel") {
            Some("ChatChannel") => {
                let room = text("room").filter(|room| is_name(room)).ok_or(Refused::Rejected)?;
                Ok(Self::Chat { room: room.into() })
            }
            Some("AppearanceChannel") => Ok(Self::Appearance),
            Some("InboxChannel") => {
                let owner = text("name").filter(|name| *name == viewer).ok_or(Refused::Rejected)?;
                Ok(Self::Inbox { owner: owner.into() })
            }
            _ => Err(Refused::Ignored(Ignored::UnknownChannel)),
        }
    }

    /// Where its messages are, on all nodes.
    pub fn topic(&self) -> String {
        match self {
            Self::Chat { room } => format!("chat:{room}"),
            Self::Appearance => "appearance".into(),
            Self::Inbox { owner } => inbox(owner),
        }
    }

    /// What a new subscription gets after its confirmation.
    pub fn subscribed(&self, member: &Member, viewer: &str) -> Option<Value> {
        if *self != Self::Appearance {
            return None;
        }
        member.enter(viewer, json!({"away": false}));
        let here: Vec<_> = member.people().iter().map(|person| shown(person)).collect();
        Some(json!({"here": here}))
    }

    /// Does what the client asks for. What it gives is for this client alone.
    pub async fn perform(
        &self,
        hub: &Hub,
        member: &Member,
        viewer: &str,
        data: &Value,
    ) -> Result<Vec<Value>, Ignored> {
        // As `perform` and `send` of the client: without an action it is `receive`.
        let action = data["action"].as_str().filter(|action| !action.is_empty());
        match (self, action.unwrap_or("receive")) {
            (Self::Chat { .. }, "receive" | "speak") => {
                Ok(say(hub, &self.topic(), viewer, data).await.into_iter().collect())
            }
            (Self::Chat { .. }, "catch_up") => Ok(missed(hub, &self.topic(), data).await),
            (Self::Appearance, "away" | "appear") => {
                member.enter(viewer, json!({"away": action == Some("away")}));
                Ok(Vec::new())
            }
            (Self::Inbox { .. }, "tell") => match data["to"].as_str().filter(|to| is_name(to)) {
                Some(to) => Ok(say(hub, &inbox(to), viewer, data).await.into_iter().collect()),
                None => Ok(vec![json!({"error": "no such name"})]),
            },
            _ => Err(Ignored::UnknownAction),
        }
    }

    /// What a client gets for what happens in its topic.
    pub fn show(event: Event) -> Option<Value> {
        match event {
            Event::Message(message) => message_of(&message),
            // It is known, without an id.
            Event::Settled(message) => {
                let id = message.position.map(|position| position.to_string());
                Some(json!({"settled": message.key, "id": id}))
            }
            Event::CatchUp(_) => Some(json!({"missed": true})),
            Event::Came(person) => Some(json!({"came": shown(&person)})),
            Event::Left(person) => Some(json!({"left": shown(&person)})),
            Event::Reachable(reachable) => Some(json!({"reachable": reachable})),
        }
    }
}

fn shown(person: &hub::Person) -> Value {
    json!({"name": person.key, "away": person.info["away"], "id": &*person.reference})
}

fn inbox(owner: &str) -> String {
    format!("inbox:{owner}")
}

/// The topic on which the connections of a person hear that they have to end.
pub fn connections(name: &str) -> String {
    format!("connections:{name}")
}

/// Whether this can be a name of a room or a person.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

async fn say(hub: &Hub, topic: &str, viewer: &str, data: &Value) -> Option<Value> {
    let text = data["text"].as_str().unwrap_or_default();
    if !(1..=MAX_TEXT).contains(&text.chars().count()) {
        return Some(json!({"error": format!("a text has 1 to {MAX_TEXT} characters")}));
    }
    let message = json!({"name": viewer, "text": text}).to_string();
    let result = hub.publish(topic, Draft::new(message)).await;
    result.err().map(|away| json!({"error": away.to_string()}))
}

/// A message with its position as `id`, which `catch_up` takes, and its key.
fn message_of(message: &hub::Message) -> Option<Value> {
    // Other programs can publish as well.
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&message.data) else { return None };
    fields.insert("key".into(), message.key.clone().into());
    if let Some(position) = message.position {
        fields.insert("id".into(), position.to_string().into());
    }
    Some(fields.into())
}

async fn missed(hub: &Hub, topic: &str, data: &Value) -> Vec<Value> {
    let after = data["after"].as_str().and_then(|after| after.parse::<Position>().ok());
    match hub.history(topic, after, MAX_MISSED).await {
        Ok(history) => {
            let end = history.messages.last().and_then(|last| last.position);
            let last = end == Some(history.end) || history.messages.is_empty();
            let mut all: Vec<_> =
                history.messages.iter().filter_map(|message| message_of(message)).collect();
            all.push(json!({"caught_up": last, "fresh": history.fresh}));
            all
        }
        Err(away) => vec![json!({"error": away.to_string()})],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_rejected_or_unknown() {
        let open = |identifier| Channel::open(identifier, "Ada");
        let chat = Channel::Chat { room: "a".into() };
        assert_eq!(open(r#"{"channel":"ChatChannel","room":"a"}"#), Ok(chat));
        assert_eq!(open(r#"{"channel":"AppearanceChannel","more":1}"#), Ok(Channel::Appearance));
        assert!(open(r#"{"channel":"InboxChannel","name":"Ada"}"#).is_ok());
        for rejected in [
            r#"{"channel":"ChatChannel"}"#,
            r#"{"channel":"ChatChannel","room":"a b"}"#,
            r#"{"channel":"ChatChannel","room":7}"#,
            r#"{"channel":"InboxChannel","name":"Bob"}"#,
        ] {
            assert_eq!(open(rejected), Err(Refused::Rejected), "{rejected}");
        }
        let ignored = |why| Err(Refused::Ignored(why));
        assert_eq!(open("x"), ignored(Ignored::BadIdentifier));
        assert_eq!(open("[]"), ignored(Ignored::BadIdentifier));
        assert_eq!(open(r#"{"channel":"Object"}"#), ignored(Ignored::UnknownChannel));
        assert_eq!(open(r#"{"channel":7}"#), ignored(Ignored::UnknownChannel));
    }
}
