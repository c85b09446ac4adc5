//! The messages of Phoenix channels, version 2.0.0 of the serializer: a list of JSON, or binary for payloads that are.

use bowline::Message;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// What a message carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Json(Value),
    Binary(Bytes),
}

/// The number of a message, or of the join that it belongs to: a string, a number or null.
pub type Ref = Value;

/// What a client sends.
#[derive(Debug, PartialEq)]
pub struct Push {
    pub join_ref: Ref,
    pub reference: Ref,
    pub topic: String,
    pub event: String,
    pub payload: Payload,
}

/// It is none of these. Phoenix ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Push {
    pub fn read(message: &Message) -> Result<Self, Malformed> {
        match message {
            Message::Text(text) => Self::from_text(text.as_str()),
            Message::Binary(bytes) => Self::from_binary(bytes.clone()),
            _ => Err(Malformed),
        }
    }

    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        let list: Vec<Value> = serde_json::from_str(text).map_err(|_| Malformed)?;
        // What follows these five is ignored.
        let mut list = list.into_iter();
        let mut next = || list.next().ok_or(Malformed);
        let (join_ref, reference) = (reference(next()?)?, reference(next()?)?);
        let (Value::String(topic), Value::String(event)) = (next()?, next()?) else {
            return Err(Malformed);
        };
        Ok(Self { join_ref, reference, topic, event, payload: Payload::Json(next()?) })
    }

    pub fn from_binary(mut bytes: Bytes) -> Result<Self, Malformed> {
        let [PUSH, sizes @ ..] = *bytes.first_chunk::<5>().ok_or(Malformed)? else {
            return Err(Malformed);
        };
        let _ = bytes.split_to(5);
        let mut field = |size: u8| {
            if bytes.len() < size.into() {
                return Err(Malformed);
            }
            String::from_utf8(bytes.split_to(size.into()).into()).map_err(|_| Malformed)
        };
        let [join_ref, reference, topic, event] = sizes;
        let (join_ref, reference) = (field(join_ref)?.into(), field(reference)?.into());
        let (topic, event) = (field(topic)?, field(event)?);
        Ok(Self { join_ref, reference, topic, event, payload: Payload::Binary(bytes) })
    }
}

fn reference(value: Value) -> Result<Ref, Malformed> {
    match value {
        Value::Null | Value::String(_) | Value::Number(_) => Ok(value),
        _ => Err(Malformed),
    }
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Reply {
        join_ref: Ref,
        reference: Ref,
        topic: String,
        ok: bool,
        response: Payload,
    },
    /// For one client, of the channel that it joined with `join_ref`.
    Message {
        join_ref: Ref,
        reference: Ref,
        topic: String,
        event: String,
        payload: Value,
    },
    /// The same for all in a topic.
    Broadcast {
        topic: String,
        event: String,
        payload: Payload,
    },
}

impl Out {
    /// As a message of a WebSocket.
    pub fn message(&self) -> Message {
        match self.text() {
            Ok(text) => Message::from(text),
            Err(bytes) => Message::from(bytes),
        }
    }

    /// For a transport that has text alone, as long polling. A binary reply becomes an error, and a binary broadcast nothing.
    pub fn text_only(&self) -> Option<String> {
        match (self.text(), self) {
            (Ok(text), _) => Some(text),
            (Err(_), Self::Reply { join_ref, reference, topic, .. }) => {
                let why = json!({"reason": "a binary reply needs a WebSocket"});
                Some(reply_text(join_ref, reference, topic, false, &why))
            }
            (Err(_), _) => None,
        }
    }

    fn text(&self) -> Result<String, Bytes> {
        match self {
            Self::Reply { join_ref, reference, topic, ok, response } => match response {
                Payload::Json(response) => {
                    Ok(reply_text(join_ref, reference, topic, *ok, response))
                }
                Payload::Binary(data) => {
                    let fields = [&word(join_ref), &word(reference), topic, status(*ok)];
                    Err(binary(REPLY, &fields, data))
                }
            },
            Self::Message { join_ref, reference, topic, event, payload } => {
                Ok(json!([join_ref, reference, topic, event, payload]).to_string())
            }
            Self::Broadcast { topic, event, payload } => match payload {
                Payload::Json(payload) => {
                    Ok(json!([null, null, topic, event, payload]).to_string())
                }
                Payload::Binary(data) => Err(binary(BROADCAST, &[topic, event], data)),
            },
        }
    }
}

fn status(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}

fn reply_text(join_ref: &Ref, reference: &Ref, topic: &str, ok: bool, response: &Value) -> String {
    let payload = json!({"status": status(ok), "response": response});
    json!([join_ref, reference, topic, "phx_reply", payload]).to_string()
}

/// A number as its digits, and null as nothing.
fn word(reference: &Ref) -> String {
    match reference {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The kind, the lengths in one byte each, the fields, the payload.
fn binary(kind: u8, fields: &[&str], data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(kind);
    for field in fields {
        // The fields came from a push with lengths in one byte, or are names of ours.
        bytes.put_u8(u8::try_from(field.len()).expect("at most 255 bytes"));
    }
    for field in fields {
        bytes.put_slice(field.as_bytes());
    }
    bytes.put_slice(data);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read() {
        let push = Push::from_text(r#"["1","2","room:a","new_msg",{"text":"hi"},"more"]"#);
        let push = push.expect("valid");
        assert_eq!((push.join_ref, push.reference), (json!("1"), json!("2")));
        assert_eq!((&*push.topic, &*push.event), ("room:a", "new_msg"));
        assert_eq!(push.payload, Payload::Json(json!({"text": "hi"})));
        assert!(Push::from_text(r#"[null,7,"phoenix","heartbeat",{}]"#).is_ok());
    }

    #[test]
    fn text_that_is_malformed_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"["1","2","room:a","new_msg"]"#,
            r#"["1","2",7,"new_msg",{}]"#,
            r#"["1","2","room:a",null,{}]"#,
            r#"[[],"2","room:a","new_msg",{}]"#,
            r#"["1",{},"room:a","new_msg",{}]"#,
        ] {
            assert_eq!(Push::from_text(text), Err(Malformed), "{text}");
        }
    }

    const BINARY: &[u8] = b"\x00\x01\x02\x06\x0312\x33room:aabcdata";

    #[test]
    fn binary_is_read() {
        let push = Push::from_binary(Bytes::from_static(BINARY)).expect("valid");
        assert_eq!((push.join_ref, push.reference), (json!("1"), json!("23")));
        assert_eq!((&*push.topic, &*push.event), ("room:a", "abc"));
        assert_eq!(push.payload, Payload::Binary(Bytes::from_static(b"data")));
    }

    #[test]
    fn binary_that_is_malformed_is_refused() {
        let header = 5 + 1 + 2 + 6 + 3;
        for end in 0..header {
            let cut = Bytes::from_static(&BINARY[..end]);
            assert_eq!(Push::from_binary(cut), Err(Malformed), "{end}");
        }
        assert!(Push::from_binary(Bytes::from_static(&BINARY[..header])).is_ok());
        // Clients send no replies and no broadcasts.
        for kind in [REPLY, BROADCAST, 3] {
            let mut bytes = BINARY.to_vec();
            bytes[0] = kind;
            assert_eq!(Push::from_binary(bytes.into()), Err(Malformed));
        }
        let not_utf8 = Bytes::from_static(b"\x00\x01\x00\x00\x00\xff");
        assert_eq!(Push::from_binary(not_utf8), Err(Malformed));
    }

    #[test]
    fn all_kinds_are_written() {
        let (join_ref, reference) = (json!("1"), json!("2"));
        let reply = |response| Out::Reply {
            join_ref: join_ref.clone(),
            reference: reference.clone(),
            topic: "t".into(),
            ok: true,
            response,
        };
        let text = reply(Payload::Json(json!({}))).text_only();
        let expected = r#"["1","2","t","phx_reply",{"response":{},"status":"ok"}]"#;
        assert_eq!(text.as_deref(), Some(expected));
        let binary = reply(Payload::Binary(Bytes::from_static(b"data")));
        assert_eq!(binary.message(), Message::from(b"\x01\x01\x01\x01\x0212tokdata".to_vec()));
        assert!(binary.text_only().is_some_and(|text| text.contains(r#""status":"error""#)));
        let broadcast = |payload| Out::Broadcast { topic: "t".into(), event: "e".into(), payload };
        let text = broadcast(Payload::Json(json!(7))).text_only();
        assert_eq!(text.as_deref(), Some(r#"[null,null,"t","e",7]"#));
        let binary = broadcast(Payload::Binary(Bytes::from_static(b"data")));
        assert_eq!(binary.message(), Message::from(b"\x02\x01\x01tedata".to_vec()));
        assert_eq!(binary.text_only(), None);
    }
}
