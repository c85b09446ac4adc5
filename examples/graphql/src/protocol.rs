//! The messages of graphql-transport-ws, and which of them are valid.
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

use async_graphql::{Request, Response, ServerError};
use bowline::Message;
use serde_json::{Map, Value, json};

pub const SUBPROTOCOL: &str = "graphql-transport-ws";

/// Why the server closes. The code tells the client whether to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// "Receiving a message of a type or format which is not specified in this document."
    Invalid,
    /// An operation came before the connection was acknowledged.
    Unauthorized,
    /// What came with `connection_init` was refused.
    Forbidden,
    /// The client did not offer `graphql-transport-ws`.
    Subprotocol,
    /// `connection_init` did not come in time.
    InitTimeout,
    /// An operation that runs has this id.
    Duplicate,
    /// `connection_init` came twice.
    SecondInit,
}

impl Refusal {
    pub fn code(self) -> u16 {
        match self {
            Self::Invalid => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::Subprotocol => 4406,
            Self::InitTimeout => 4408,
            Self::Duplicate => 4409,
            Self::SecondInit => 4429,
        }
    }

    /// In the words of the server of npm's `graphql-ws`, except for the id of a duplicate, which may be too long for a Close.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid message received",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::Subprotocol => "Subprotocol not acceptable",
            Self::InitTimeout => "Connection initialisation timeout",
            Self::Duplicate => "Subscriber already exists",
            Self::SecondInit => "Too many initialisation requests",
        }
    }
}

/// What a client sends.
pub enum FromClient {
    Init { payload: Option<Map<String, Value>> },
    Ping { payload: Option<Map<String, Value>> },
    Pong,
    Subscribe { id: String, request: Box<Request> },
    Complete { id: String },
}

impl FromClient {
    /// Reads a message. One that is not valid closes the connection.
    pub fn parse(message: &Message) -> Result<Self, Refusal> {
        // The official server takes binary messages too.
        let value = match message {
            Message::Text(text) => serde_json::from_str(text.as_str()),
            Message::Binary(bytes) => serde_json::from_slice(bytes),
            _ => return Err(Refusal::Invalid),
        };
        let Ok(Value::Object(mut message)) = value else { return Err(Refusal::Invalid) };
        let Some(Value::String(kind)) = message.remove("type") else {
            return Err(Refusal::Invalid);
        };
        match &*kind {
            "connection_init" => Ok(Self::Init { payload: object(&mut message, "payload")? }),
            "ping" => Ok(Self::Ping { payload: object(&mut message, "payload")? }),
            "pong" => object(&mut message, "payload").map(|_| Self::Pong),
            "complete" => Ok(Self::Complete { id: id(&mut message)? }),
            "subscribe" => {
                let id = id(&mut message)?;
                let payload = object(&mut message, "payload")?.ok_or(Refusal::Invalid)?;
                Ok(Self::Subscribe { id, request: Box::new(request(payload)?) })
            }
            // Messages that only a server sends are refused as well.
            _ => Err(Refusal::Invalid),
        }
    }
}

fn id(message: &mut Map<String, Value>) -> Result<String, Refusal> {
    match message.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(id),
        _ => Err(Refusal::Invalid),
    }
}

/// An object, null, or nothing.
fn object(
    message: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<Map<String, Value>>, Refusal> {
    match message.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::Invalid),
    }
}

fn request(mut payload: Map<String, Value>) -> Result<Request, Refusal> {
    if !payload.get("query").is_some_and(Value::is_string) {
        return Err(Refusal::Invalid);
    }
    // Null means the same as nothing.
    for name in ["variables", "extensions"] {
        if let Some(object) = object(&mut payload, name)? {
            payload.insert(name.into(), object.into());
        }
    }
    serde_json::from_value(payload.into()).map_err(|_| Refusal::Invalid)
}

/// What the server sends, as JSON.
pub enum FromServer<'a> {
    Ack,
    Pong { payload: Option<Map<String, Value>> },
    Next { id: &'a str, response: &'a Response },
    Error { id: &'a str, errors: &'a [ServerError] },
    Complete { id: &'a str },
}

impl FromServer<'_> {
    pub fn json(self) -> String {
        let value = match self {
            Self::Ack => json!({"type": "connection_ack"}),
            // The client's validation knows no payload of null.
            Self::Pong { payload: None } => json!({"type": "pong"}),
            Self::Pong { payload } => json!({"type": "pong", "payload": payload}),
            Self::Next { id, response } => json!({"id": id, "type": "next", "payload": response}),
            Self::Error { id, errors } => json!({"id": id, "type": "error", "payload": errors}),
            Self::Complete { id } => json!({"id": id, "type": "complete"}),
        };
        value.to_string()
    }
}

/// Whether the request failed before any of it was executed: it does not parse, is not valid, or is beyond a limit. An error of a field
/// has a path.
pub fn is_request_error(response: &Response) -> bool {
    response.data == async_graphql::Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FromClient, Refusal> {
        FromClient::parse(&Message::from(text))
    }

    #[test]
    fn each_kind_of_message_is_read() {
        assert!(matches!(
            parse(r#"{"type":"connection_init"}"#),
            Ok(FromClient::Init { payload: None })
        ));
        assert!(matches!(
            parse(r#"{"type":"connection_init","payload":{"name":"Ada"}}"#),
            Ok(FromClient::Init { payload: Some(payload) }) if payload["name"] == "Ada"
        ));
        assert!(matches!(
            parse(r#"{"type":"ping","payload":null}"#),
            Ok(FromClient::Ping { payload: None })
        ));
        assert!(matches!(parse(r#"{"type":"pong","payload":{}}"#), Ok(FromClient::Pong)));
        assert!(matches!(
            parse(r#"{"type":"complete","id":"7"}"#),
            Ok(FromClient::Complete { id }) if id == "7"
        ));
        let text = r#"{"type":"subscribe","id":"7","payload":{"query":"{ a }","operationName":"b",
            "variables":null,"extensions":null,"more":1}}"#;
        let Ok(FromClient::Subscribe { id, request }) = parse(text) else { panic!("not read") };
        assert_eq!((&*id, &*request.query), ("7", "{ a }"));
        assert_eq!(request.operation_name.as_deref(), Some("b"));
    }

    #[test]
    fn what_the_official_server_refuses_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "\"ping\"",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"nonsense"}"#,
            r#"{"type":"connection_ack"}"#,
            r#"{"type":"next","id":"7","payload":{}}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"connection_init","payload":"x"}"#,
            r#"{"type":"ping","payload":7}"#,
            r#"{"type":"pong","payload":false}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"complete","id":""}"#,
            r#"{"type":"complete","id":7}"#,
            r#"{"type":"subscribe","payload":{"query":"{ a }"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{ a }"}}"#,
            r#"{"type":"subscribe","id":"7"}"#,
            r#"{"type":"subscribe","id":"7","payload":[]}"#,
            r#"{"type":"subscribe","id":"7","payload":{}}"#,
            r#"{"type":"subscribe","id":"7","payload":{"query":7}}"#,
            r#"{"type":"subscribe","id":"7","payload":{"query":"{ a }","variables":[]}}"#,
            r#"{"type":"subscribe","id":"7","payload":{"query":"{ a }","operationName":7}}"#,
            r#"{"type":"subscribe","id":"7","payload":{"query":"{ a }","extensions":"x"}}"#,
        ] {
            assert_eq!(parse(text).err(), Some(Refusal::Invalid), "{text}");
        }
    }

    #[test]
    fn a_pong_without_payload_has_none() {
        assert_eq!(FromServer::Pong { payload: None }.json(), r#"{"type":"pong"}"#);
    }
}
