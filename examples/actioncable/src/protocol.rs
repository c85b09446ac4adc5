//! The messages of Action Cable. `identifier` and `data` are JSON in a string of JSON. An identifier is compared byte for byte.

use std::fmt;

use bowline::Message;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the client offers, in this order. It leaves by itself if it gets the second.
pub const SUBPROTOCOLS: [&str; 2] = ["actioncable-v1-json", "actioncable-unsupported"];

/// What a client wants.
#[derive(Debug, PartialEq)]
pub enum Command {
    Subscribe { identifier: String },
    Unsubscribe { identifier: String },
    Perform { identifier: String, data: Value },
}

/// Why a message is ignored. Rails writes these to its log and answers nothing, and so does this server.
#[derive(Debug, PartialEq, Eq)]
pub enum Ignored {
    NotText,
    NotJson,
    UnknownCommand,
    NoIdentifier,
    BadIdentifier,
    UnknownChannel,
    NotSubscribed,
    Subscribed,
    BadData,
    UnknownAction,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "a message that is not text",
            Self::NotJson => "a message that is no object of JSON",
            Self::UnknownCommand => "an unknown command",
            Self::NoIdentifier => "a command without an identifier",
            Self::BadIdentifier => "an identifier that is no object of JSON",
            Self::UnknownChannel => "a channel that does not exist",
            Self::NotSubscribed => "an identifier without a subscription",
            Self::Subscribed => "an identifier that is subscribed already",
            Self::BadData => "data that is no object of JSON",
            Self::UnknownAction => "an action that the channel does not have",
        })
    }
}

pub fn parse(message: &Message) -> Result<Command, Ignored> {
    #[derive(Deserialize)]
    struct Fields {
        command: Option<Value>,
        identifier: Option<Value>,
        data: Option<Value>,
    }
    let text = message.as_text().ok_or(Ignored::NotText)?;
    // From a map: serde would take a list as well.
    let map: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Ignored::NotJson)?;
    let fields = Fields::deserialize(Value::Object(map)).map_err(|_| Ignored::NotJson)?;
    let command = fields.command.as_ref().and_then(Value::as_str).unwrap_or_default();
    if !["subscribe", "unsubscribe", "message"].contains(&command) {
        return Err(Ignored::UnknownCommand);
    }
    let Some(Value::String(identifier)) = fields.identifier else {
        return Err(Ignored::NoIdentifier);
    };
    match command {
        "subscribe" => Ok(Command::Subscribe { identifier }),
        "unsubscribe" => Ok(Command::Unsubscribe { identifier }),
        _ => {
            let data = fields.data.as_ref().and_then(Value::as_str).ok_or(Ignored::BadData)?;
            match serde_json::from_str(data) {
                Ok(data @ Value::Object(_)) => Ok(Command::Perform { identifier, data }),
                _ => Err(Ignored::BadData),
            }
        }
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unauthorized,
    ServerRestart,
    /// The back end wants it.
    Remote,
}

pub fn welcome() -> String {
    json!({"type": "welcome"}).to_string()
}

/// As in Rails, the message is the seconds since 1970. The client ignores it: what counts is when the ping comes.
pub fn ping(seconds: u64) -> String {
    json!({"type": "ping", "message": seconds}).to_string()
}

pub fn disconnect(reason: Reason, reconnect: bool) -> String {
    let reason = match reason {
        Reason::Unauthorized => "unauthorized",
        Reason::ServerRestart => "server_restart",
        Reason::Remote => "remote",
    };
    json!({"type": "disconnect", "reason": reason, "reconnect": reconnect}).to_string()
}

pub fn confirm(identifier: &str) -> String {
    json!({"identifier": identifier, "type": "confirm_subscription"}).to_string()
}

pub fn reject(identifier: &str) -> String {
    json!({"identifier": identifier, "type": "reject_subscription"}).to_string()
}

pub fn transmit(identifier: &str, message: &Value) -> String {
    json!({"identifier": identifier, "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, Ignored> {
        parse(&Message::from(text))
    }

    #[test]
    fn commands_are_read() {
        let identifier = r#"{"channel":"ChatChannel","room":"a"}"#.to_owned();
        let quoted = Value::from(identifier.clone());
        assert_eq!(
            read(&format!(r#"{{"command":"subscribe","identifier":{quoted}}}"#)),
            Ok(Command::Subscribe { identifier: identifier.clone() })
        );
        assert_eq!(
            read(&format!(r#"{{"command":"unsubscribe","identifier":{quoted}}}"#)),
            Ok(Command::Unsubscribe { identifier: identifier.clone() })
        );
        let data = r#""{\"action\":\"speak\"}""#;
        assert_eq!(
            read(&format!(r#"{{"command":"message","identifier":{quoted},"data":{data}}}"#)),
            Ok(Command::Perform { identifier, data: json!({"action": "speak"}) })
        );
    }

    #[test]
    fn what_rails_ignores_is_ignored() {
        for (text, why) in [
            ("", Ignored::NotJson),
            ("[]", Ignored::NotJson),
            (r#"["subscribe","{}","{}"]"#, Ignored::NotJson),
            ("7", Ignored::NotJson),
            ("{}", Ignored::UnknownCommand),
            (r#"{"command":7}"#, Ignored::UnknownCommand),
            (r#"{"command":"Subscribe","identifier":"{}"}"#, Ignored::UnknownCommand),
            (r#"{"command":"subscribe"}"#, Ignored::NoIdentifier),
            (
                r#"{"command":"subscribe","identifier":{"channel":"ChatChannel"}}"#,
                Ignored::NoIdentifier,
            ),
            (r#"{"command":"message","identifier":"{}"}"#, Ignored::BadData),
            (r#"{"command":"message","identifier":"{}","data":{}}"#, Ignored::BadData),
            (r#"{"command":"message","identifier":"{}","data":"x"}"#, Ignored::BadData),
            (r#"{"command":"message","identifier":"{}","data":"[]"}"#, Ignored::BadData),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
        assert_eq!(parse(&Message::from(b"{}".to_vec())), Err(Ignored::NotText));
    }

    #[test]
    fn an_identifier_is_sent_back_as_it_came() {
        let identifier = "{ \"channel\" :\"ChatChannel\",\"room\":\"\\u00e9\"}";
        let sent: Value = serde_json::from_str(&confirm(identifier)).expect("JSON");
        assert_eq!(sent["identifier"], identifier);
        assert_eq!(sent["type"], "confirm_subscription");
    }
}
