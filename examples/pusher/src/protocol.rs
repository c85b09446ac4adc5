//! The messages of the Pusher protocol, version 7. Most data is JSON in a string of JSON.

use std::fmt;

use bowline::Message;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The only version that is spoken here.
const VERSION: u32 = 7;

/// What a client wants.
#[derive(Debug)]
pub enum Command {
    Ping,
    Pong,
    Subscribe {
        channel: String,
        auth: Option<String>,
        channel_data: Option<String>,
    },
    Unsubscribe {
        channel: String,
    },
    Signin {
        auth: String,
        user_data: String,
    },
    /// `client-…`, for the other members of a channel.
    Event {
        event: String,
        channel: String,
        /// As it came.
        data: Box<RawValue>,
    },
    /// Any other event. Reverb does not answer it either.
    Other,
}

/// What a client is told, or why it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    NoApp,
    NoPath,
    BadVersion,
    OtherVersion,
    NoVersion,
    Origin,
    Signin,
    Terminated,
    Full,
    Slow,
    Away,
    Restart,
    Malformed,
    NoPong,
    NoSubscription,
    Subscribed(String),
    NotMember,
    EventsOff,
    EventChannel,
    EventName,
    EventSize,
    EventRate,
}

impl Fault {
    /// A client does not come back after 4000 to 4099, waits after 4100 to 4199, and comes back at once after 4200 to 4299.
    pub fn code(&self) -> Option<u16> {
        Some(match self {
            Self::NoApp => 4001,
            Self::NoPath => 4005,
            Self::BadVersion => 4006,
            Self::OtherVersion => 4007,
            Self::NoVersion => 4008,
            Self::Origin | Self::Signin | Self::Terminated | Self::NotMember => 4009,
            Self::Full | Self::Slow | Self::Away => 4100,
            Self::Restart | Self::Malformed => 4200,
            Self::NoPong => 4201,
            Self::NoSubscription => 4202,
            Self::EventsOff
            | Self::EventChannel
            | Self::EventName
            | Self::EventSize
            | Self::EventRate => 4301,
            // Pusher has no code for it.
            Self::Subscribed(_) => return None,
        })
    }

    /// `pusher:error`.
    pub fn message(&self) -> String {
        event("pusher:error", None, &json!({"code": self.code(), "message": self.to_string()}))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoApp => "Application does not exist",
            Self::NoPath => "Path not found",
            Self::BadVersion => "Invalid version string format",
            Self::OtherVersion => "Unsupported protocol version",
            Self::NoVersion => "No protocol version supplied",
            Self::Origin => "Origin not allowed",
            Self::Signin => "Connection not authorized",
            Self::Terminated => "Disconnected by the app",
            Self::Full => "Over capacity",
            Self::Slow => "The client is too slow",
            Self::Away => "The event cannot be published now",
            Self::Restart => "The server restarts",
            Self::Malformed => "Invalid message format",
            Self::NoPong => "Pong reply not received in time",
            Self::NoSubscription => "Closed after inactivity",
            Self::Subscribed(channel) => {
                return write!(f, "Existing subscription to channel {channel}");
            }
            Self::NotMember => "The client is not a member of the specified channel.",
            Self::EventsOff => "The app does not have client messaging enabled.",
            Self::EventChannel => "Client events are for private and presence channels only",
            Self::EventName => "The name of a client event has at most 200 characters",
            Self::EventSize => "The data of a client event has at most 10240 bytes",
            Self::EventRate => "Too many client events",
        })
    }
}

/// The version that the query of a client asks for.
pub fn check_version(version: Option<&str>) -> Result<(), Fault> {
    match version.ok_or(Fault::NoVersion)?.parse::<u32>() {
        Ok(VERSION) => Ok(()),
        Ok(_) => Err(Fault::OtherVersion),
        Err(_) => Err(Fault::BadVersion),
    }
}

pub fn parse(message: &Message) -> Result<Command, Fault> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        event: String,
        channel: Option<Value>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let text = message.as_text().ok_or(Fault::Malformed)?;
    // serde would take a list as well.
    if !text.trim_start().starts_with('{') {
        return Err(Fault::Malformed);
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| Fault::Malformed)?;
    if fields.event.starts_with("client-") {
        let Some(Value::String(channel)) = fields.channel else { return Err(Fault::Malformed) };
        let data = fields.data.unwrap_or(RawValue::NULL).to_owned();
        return Ok(Command::Event { event: fields.event, channel, data });
    }
    let Some(name) = fields.event.strip_prefix("pusher:") else { return Ok(Command::Other) };
    match name {
        "ping" => return Ok(Command::Ping),
        "pong" => return Ok(Command::Pong),
        "subscribe" | "unsubscribe" | "signin" => {}
        _ => return Err(Fault::Malformed),
    }
    let mut data = object(fields.data)?;
    match name {
        "subscribe" => Ok(Command::Subscribe {
            channel: take(&mut data, "channel")?.ok_or(Fault::Malformed)?,
            auth: take(&mut data, "auth")?,
            channel_data: take(&mut data, "channel_data")?,
        }),
        "unsubscribe" => Ok(Command::Unsubscribe {
            channel: take(&mut data, "channel")?.ok_or(Fault::Malformed)?,
        }),
        _ => Ok(Command::Signin {
            auth: take(&mut data, "auth")?.ok_or(Fault::Malformed)?,
            user_data: take(&mut data, "user_data")?.ok_or(Fault::Malformed)?,
        }),
    }
}

/// Data comes as an object, or as one in a string.
fn object(data: Option<&RawValue>) -> Result<Map<String, Value>, Fault> {
    let data = data.ok_or(Fault::Malformed)?.get();
    let inner = serde_json::from_str::<String>(data);
    serde_json::from_str(inner.as_deref().unwrap_or(data)).map_err(|_| Fault::Malformed)
}

/// A field that is a string, if it is there.
fn take(data: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match data.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::Malformed),
    }
}

/// An event with data, which is encoded twice.
pub fn event(name: &str, channel: Option<&str>, data: &Value) -> String {
    text_event(name, channel, &data.to_string())
}

/// The same with data that is text already.
pub fn text_event(name: &str, channel: Option<&str>, data: &str) -> String {
    let mut fields = json!({"event": name, "data": data});
    if let Some(channel) = channel {
        fields["channel"] = channel.into();
    }
    fields.to_string()
}

/// What one client tells the others. Its data stays as it came. Only presence channels know the user.
pub fn client_event(name: &str, channel: &str, data: &RawValue, user_id: Option<&str>) -> String {
    #[derive(serde::Serialize)]
    struct Fields<'a> {
        event: &'a str,
        channel: &'a str,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
    }
    serde_json::to_string(&Fields { event: name, channel, data, user_id })
        .expect("text and JSON are JSON")
}

/// The first message. The timeout is in whole seconds, and never 0, which a client would not take.
pub fn established(socket_id: &str, activity_timeout: std::time::Duration) -> String {
    let seconds = activity_timeout.as_secs().max(1);
    let data = json!({"socket_id": socket_id, "activity_timeout": seconds});
    event("pusher:connection_established", None, &data)
}

/// `pusher:ping` or `pusher:pong`.
pub fn beat(name: &str) -> String {
    text_event(name, None, "{}")
}

pub fn subscribed(channel: &str, data: &Value) -> String {
    event("pusher_internal:subscription_succeeded", Some(channel), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, Fault> {
        parse(&Message::from(text))
    }

    #[test]
    fn commands_are_read() {
        assert!(matches!(read(r#"{"event":"pusher:ping","data":{}}"#), Ok(Command::Ping)));
        assert!(matches!(read(r#" {"event":"pusher:pong"}"#), Ok(Command::Pong)));
        assert!(matches!(read(r#"{"event":"other"}"#), Ok(Command::Other)));
        for data in [r#"{"channel":"a","auth":"k:s"}"#, r#""{\"channel\":\"a\",\"auth\":\"k:s\"}""#]
        {
            match read(&format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#)) {
                Ok(Command::Subscribe { channel, auth: Some(auth), channel_data: None }) => {
                    assert_eq!((&*channel, &*auth), ("a", "k:s"));
                }
                other => panic!("{data}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            r#"["pusher:ping",null,null]"#,
            "7",
            "{}",
            r#"{"event":7}"#,
            r#"{"event":"pusher:nonsense"}"#,
            r#"{"event":"pusher:subscribe"}"#,
            r#"{"event":"pusher:subscribe","data":{}}"#,
            r#"{"event":"pusher:subscribe","data":"x"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":7}}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"a","channel_data":{}}}"#,
            r#"{"event":"pusher:unsubscribe","data":{}}"#,
            r#"{"event":"pusher:signin","data":{"auth":"a"}}"#,
            r#"{"event":"client-a","data":{}}"#,
            r#"{"event":"client-a","channel":7}"#,
        ] {
            assert_eq!(read(text).err(), Some(Fault::Malformed), "{text}");
        }
        assert!(parse(&Message::from(b"{}".to_vec())).is_err());
    }

    #[test]
    fn the_data_of_a_client_event_stays_as_it_came() {
        let text = r#"{"event":"client-a","channel":"private-c","data":{"b":1.10,"a":12345678901234567890123}}"#;
        let Ok(Command::Event { event, channel, data }) = read(text) else { panic!("{text}") };
        let sent = client_event(&event, &channel, &data, Some("7"));
        assert_eq!(sent, text.replace("}}", r#"},"user_id":"7"}"#));
    }

    #[test]
    fn versions_are_checked() {
        assert_eq!(check_version(Some("7")), Ok(()));
        assert_eq!(check_version(Some("6")), Err(Fault::OtherVersion));
        assert_eq!(check_version(Some("seven")), Err(Fault::BadVersion));
        assert_eq!(check_version(None), Err(Fault::NoVersion));
    }

    #[test]
    fn data_is_encoded_twice() {
        let text = established("1.2", std::time::Duration::from_millis(10));
        let outer: Value = serde_json::from_str(&text).expect("JSON");
        let inner: Value =
            serde_json::from_str(outer["data"].as_str().expect("text")).expect("JSON");
        assert_eq!(inner, json!({"socket_id": "1.2", "activity_timeout": 1}));
    }
}
