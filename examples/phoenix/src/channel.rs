//! The channels: who may join, and what can be done there. A program of your own begins here.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use hub::{Draft, Hub, Member, Position};
use serde_json::{Value, json};

use crate::serializer::Payload;

const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 2000;
const MAX_BLOB: usize = 16 << 10;
/// How many missed messages come with a join.
const MAX_MISSED: usize = 100;

/// The kind of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `room:NAME`: all who joined get what one says, and know who is here.
    Room,
    /// `user:NAME`: what is for one person alone.
    User,
}

/// What became of a push.
#[derive(Debug, PartialEq)]
pub enum Done {
    Ok(Payload),
    Refused(String),
    /// The channel ends after this reply.
    Stop,
    /// The channel has nothing for this event. In Phoenix, its process crashes.
    Crash,
}

impl Channel {
    /// None: no channel has this topic.
    pub fn of(topic: &str) -> Option<Self> {
        match topic.split_once(':')?.0 {
            "room" => Some(Self::Room),
            "user" => Some(Self::User),
            _ => None,
        }
    }

    /// Whether the viewer may join. Otherwise: why not.
    pub fn may_join(self, topic: &str, viewer: &str) -> Result<(), &'static str> {
        let name = topic.split_once(':').map_or("", |(_, name)| name);
        match self {
            Self::Room if is_name(name) => Ok(()),
            Self::Room => Err("no such room"),
            Self::User if name == viewer => Ok(()),
            Self::User => Err("unauthorized"),
        }
    }

    /// Whether others see who is here.
    pub fn has_presence(self) -> bool {
        self == Self::Room
    }

    pub async fn handle(
        self,
        hub: &Hub,
        member: &Member,
        viewer: &str,
        topic: &str,
        event: &str,
        payload: Payload,
    ) -> Done {
        match (self, event, payload) {
            (Self::Room, "new_msg", Payload::Json(payload)) => {
                say(hub, topic, viewer, &payload).await
            }
            // To all others, and back to the sender as the reply.
            (Self::Room, "blob", Payload::Binary(data)) => {
                if data.len() > MAX_BLOB {
                    return Done::Refused(format!("a blob has at most {MAX_BLOB} bytes"));
                }
                let draft = Draft::new(blob(event, &data)).from(&**member.reference());
                match hub.publish(topic, draft).await {
                    Ok(_) => Done::Ok(Payload::Binary(data)),
                    Err(away) => Done::Refused(away.to_string()),
                }
            }
            (Self::Room, "status", Payload::Json(payload)) => match payload["status"].as_str() {
                Some(status) if status.len() <= MAX_NAME => {
                    enter(member, viewer, Some(status));
                    Done::Ok(Payload::Json(json!({})))
                }
                _ => Done::Refused("a status is a short text".into()),
            },
            (Self::User, "tell", Payload::Json(payload)) => match payload["to"].as_str() {
                Some(to) if is_name(to) => say(hub, &format!("user:{to}"), viewer, &payload).await,
                _ => Done::Refused("no such name".into()),
            },
            (_, "bye", _) => Done::Stop,
            _ => Done::Crash,
        }
    }
}

/// Whether this can be a name of a room or a person.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// Makes a member present. Each time it has another `phx_ref`, by which clients tell an old entry from a new one.
pub fn enter(member: &Member, viewer: &str, status: Option<&str>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let meta = json!({
        "phx_ref": format!("{:016x}", rand::random::<u64>()),
        "online_at": now.as_secs(),
        "status": status,
    });
    member.enter(viewer, meta);
}

async fn say(hub: &Hub, topic: &str, viewer: &str, payload: &Value) -> Done {
    let text = payload["text"].as_str().unwrap_or_default();
    if !(1..=MAX_TEXT).contains(&text.chars().count()) {
        return Done::Refused(format!("a text has 1 to {MAX_TEXT} characters"));
    }
    let message = json!({"event": "new_msg", "payload": {"name": viewer, "text": text}});
    match hub.publish(topic, Draft::new(message.to_string())).await {
        Ok(_) => Done::Ok(Payload::Json(json!({}))),
        Err(away) => Done::Refused(away.to_string()),
    }
}

/// A binary message in the hub: a zero, the length of the event, the event, the payload. Others are JSON.
fn blob(event: &str, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0, u8::try_from(event.len()).expect("a name of ours")]);
    bytes.put_slice(event.as_bytes());
    bytes.put_slice(data);
    bytes.freeze()
}

/// Event and payload of a message of the hub. None: another program published it, and it is not one.
pub fn event_of(message: &hub::Message) -> Option<(String, Payload)> {
    if let [0, size, rest @ ..] = &*message.data {
        let (event, data) = rest.split_at_checked(usize::from(*size))?;
        let event = str::from_utf8(event).ok()?;
        return Some((event.into(), Payload::Binary(message.data.slice_ref(data))));
    }
    let mut value: Value = serde_json::from_slice(&message.data).ok()?;
    let event = value["event"].as_str().filter(|event| event.len() <= 255)?.to_owned();
    let mut payload = value["payload"].take();
    let fields = payload.as_object_mut()?;
    fields.insert("key".into(), message.key.clone().into());
    if let Some(position) = message.position {
        fields.insert("id".into(), position.to_string().into());
    }
    Some((event, Payload::Json(payload)))
}

/// The response to a join: with `after` in its parameters, what was said since. Binary messages are left out.
pub async fn missed(hub: &Hub, member: &mut Member, topic: &str, parameters: &Payload) -> Value {
    let Payload::Json(parameters) = parameters else { return json!({}) };
    if parameters["after"].is_null() {
        return json!({});
    }
    let after = parameters["after"].as_str().and_then(|after| after.parse::<Position>().ok());
    let Ok(history) = hub.history(topic, after, MAX_MISSED).await else { return json!({}) };
    if let Some(after) = after.filter(|_| !history.fresh) {
        member.skip_until(after);
    }
    // Later messages come as events.
    let until = member.position().map_or(0, |position| position.offset);
    let offset = |message: &hub::Message| message.position.map_or(0, |position| position.offset);
    let messages = history.messages.iter().filter(|message| offset(message) <= until);
    let last = messages.clone().next_back().map_or(until, |message| offset(message));
    let messages: Vec<_> = messages
        .filter_map(|message| match event_of(message)? {
            (event, Payload::Json(payload)) => Some(json!({"event": event, "payload": payload})),
            (_, Payload::Binary(_)) => None,
        })
        .collect();
    json!({"messages": messages, "fresh": history.fresh, "more": last < until})
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::Settings;

    #[tokio::test]
    async fn what_comes_as_an_event_is_not_in_the_reply_to_the_join() {
        let hub = Hub::alone(Settings::default());
        let say = async |text| say(&hub, "room:a", "Ada", &json!({"text": text})).await;
        assert_eq!(say("before").await, Done::Ok(Payload::Json(json!({}))));
        let mut member = hub.join("room:a").await;
        say("after").await;
        let parameters = Payload::Json(json!({"after": "0-0"}));
        let response = missed(&hub, &mut member, "room:a", &parameters).await;
        let texts = |value: &Value| value["payload"]["text"].clone();
        let told: Vec<_> =
            response["messages"].as_array().expect("a list").iter().map(texts).collect();
        assert_eq!(told, ["before"]);
        assert_eq!((&response["fresh"], &response["more"]), (&json!(true), &json!(false)));
        assert!(matches!(member.next().await, Some(hub::Event::Message(_))));
    }

    #[tokio::test]
    async fn who_has_a_message_from_another_node_does_not_get_it_again() {
        let hub = Hub::alone(Settings::default());
        // This node has not yet given out what another one has.
        let mut member = hub.join("room:a").await;
        say(&hub, "room:a", "Ada", &json!({"text": "one"})).await;
        let history = hub.history("room:a", None, 9).await.expect("a history");
        let parameters = Payload::Json(json!({"after": history.end.to_string()}));
        let response = missed(&hub, &mut member, "room:a", &parameters).await;
        assert_eq!(response["messages"], json!([]));
        say(&hub, "room:a", "Ada", &json!({"text": "two"})).await;
        match member.next().await {
            Some(hub::Event::Message(message)) => {
                assert!(message.data.ends_with(b"\"two\"}}"), "{message:?}")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_another_program_publishes_is_taken_if_it_can_be() {
        let of = |data: &'static [u8]| {
            let (key, from) = (String::new(), String::new());
            event_of(&hub::Message { position: None, key, from, data: Bytes::from_static(data) })
        };
        assert!(of(br#"{"event":"new_msg","payload":{"text":"hi"}}"#).is_some());
        let blob = Payload::Binary(Bytes::from_static(b"data"));
        assert_eq!(of(b"\0\x04blobdata"), Some(("blob".into(), blob)));
        for wrong in [
            &b""[..],
            b"text",
            b"{}",
            br#"{"event":"e","payload":7}"#,
            b"\0\x09blob",
            b"\0\x01\xff",
            b"\0",
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
