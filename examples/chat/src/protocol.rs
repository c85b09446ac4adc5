//! The messages between page and server: JSON values. Each is one text message of a WebSocket, one server-sent event, or one of those in an
//! answer to a poll.

use std::fmt;

use hub::{Message, Position};
use serde::{Deserialize, Serialize};

/// Who comes, and where to.
#[derive(Clone, Debug, Deserialize)]
pub struct Join {
    pub room: String,
    pub name: String,
    /// The client chooses it and tells it to nobody. A client that knows it can take over the name from a connection that the server has
    /// not yet found dead.
    pub secret: String,
    /// The id of the last message that the client has. None: it is new, and gets the newest few.
    pub since: Option<String>,
}

/// What the page sends over a WebSocket. `Join` comes first, and only once.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    Join(Join),
    Say {
        /// The client chooses it at random. If it does not know whether a message arrived, it may send the
        /// message again with the same key. The server keeps it only once.
        key: String,
        text: String,
    },
}

/// What the server sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromServer<'a> {
    /// The answer to `Join`. If `fresh`, the client must forget its old messages: the new ones do not follow them. It may come again, if
    /// the server missed something itself.
    Welcome {
        room: &'a str,
        name: &'a str,
        fresh: bool,
    },
    /// Whether messages get an id. If not, what is said reaches only those on this node, and is kept later.
    Reachable {
        yes: bool,
    },
    /// The missed messages in order, in one or more of these.
    History {
        messages: &'a [Said],
    },
    /// All missed messages are sent. These people are here. From now on everything comes as it happens.
    Here {
        names: &'a [&'a str],
    },
    /// A message. If it came before without an id, this is its id now.
    Said(&'a Said),
    /// The message with this key is kept.
    Kept {
        key: &'a str,
    },
    /// The message with this key is not kept yet: nothing is right now. The client may say it again later.
    Early {
        key: &'a str,
    },
    Came {
        name: &'a str,
    },
    Left {
        name: &'a str,
    },
    /// The rooms that are not empty, to all clients.
    Rooms {
        rooms: &'a [RoomInfo],
    },
    Refused {
        why: Refusal,
        text: String,
        /// The key of the message that was refused.
        key: Option<&'a str>,
    },
    /// The end of the session, where there is no Close to say it.
    End {
        why: &'static str,
    },
}

impl FromServer<'_> {
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("these types have nothing that JSON lacks")
    }
}

/// A message, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Where it stands in the room: ids are in the order of the messages. None: it has no place yet.
    pub id: Option<String>,
    pub key: String,
    #[serde(flatten)]
    pub words: Words,
}

/// What is kept of a message. Programs that are no node of this chat may publish it as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// Milliseconds since 1970.
    pub at: u64,
    pub name: String,
    pub text: String,
}

impl Said {
    /// None: a program that is no node of this chat published something else.
    pub fn read(message: &Message) -> Option<Self> {
        let words: Words = serde_json::from_slice(&message.data).ok()?;
        check_name(&words.name).ok()?;
        check_text(&words.text).ok()?;
        Some(Self {
            id: message.position.as_ref().map(Position::to_string),
            key: message.key.clone(),
            words,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomInfo {
    pub name: String,
    pub people: usize,
}

/// Why the server refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    NotUnderstood,
    Room,
    Name,
    NameTaken,
    RoomFull,
    Empty,
    TooLong,
    ControlCharacter,
    TooFast,
    /// Too many messages wait to be kept.
    Store,
    /// Who says something has to be in the room.
    NotHere,
    /// The server has too many clients that poll.
    Full,
}

pub const MAX_NAME: usize = 24;
pub const MAX_ROOM: usize = 32;
pub const MAX_TEXT: usize = 2000;
const MAX_TOKEN: usize = 64;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood => f.write_str("That is no message of this chat."),
            Self::Room => write!(
                f,
                "A room's name has 1 to {MAX_ROOM} lower-case letters, digits and hyphens."
            ),
            Self::Name => {
                write!(f, "A name has 1 to {MAX_NAME} characters, and none that is invisible.")
            }
            Self::NameTaken => f.write_str("Somebody here has this name already."),
            Self::RoomFull => f.write_str("This room is full."),
            Self::Empty => f.write_str("There is nothing in this message."),
            Self::TooLong => write!(f, "A message has at most {MAX_TEXT} characters."),
            Self::ControlCharacter => f.write_str("There is a control character in this message."),
            Self::TooFast => f.write_str("That was too fast. Wait a moment."),
            Self::Store => f.write_str("The server could not keep this. Try again later."),
            Self::NotHere => f.write_str("You are not in this room any more."),
            Self::Full => f.write_str("The server has too many clients. Try again later."),
        }
    }
}

pub fn check_room(room: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = !room.is_empty() && room.len() <= MAX_ROOM && room.chars().all(plain);
    if good { Ok(()) } else { Err(Refusal::Room) }
}

/// Gives the name without the space around it.
pub fn check_name(name: &str) -> Result<&str, Refusal> {
    let name = name.trim();
    let good = !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && !name.chars().any(|c| c.is_control() || is_invisible(c));
    if good { Ok(name) } else { Err(Refusal::Name) }
}

/// With these characters a name could look like another, or turn around the text next to it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Gives the text without the space at its end.
pub fn check_text(text: &str) -> Result<&str, Refusal> {
    let text = text.trim_end();
    if text.trim_start().is_empty() {
        Err(Refusal::Empty)
    } else if text.chars().count() > MAX_TEXT {
        Err(Refusal::TooLong)
    } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err(Refusal::ControlCharacter)
    } else {
        Ok(text)
    }
}

/// What two names have in common that are one to a reader.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A key or a secret.
pub fn check_token(token: &str) -> Result<(), Refusal> {
    let good = !token.is_empty() && token.len() <= MAX_TOKEN;
    if good { Ok(()) } else { Err(Refusal::NotUnderstood) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_visible() {
        assert_eq!(check_name("  Ada Lovelace "), Ok("Ada Lovelace"));
        assert_eq!(check_name("Ἀριάδνη"), Ok("Ἀριάδνη"));
        assert_eq!(check_name(&"é".repeat(MAX_NAME)), Ok(&*"é".repeat(MAX_NAME)));
        assert_eq!(check_name(&"é".repeat(MAX_NAME + 1)), Err(Refusal::Name));
        for bad in ["", "  ", "a\nb", "a\u{7f}b", "a\u{85}b", "Ada\u{200b}", "\u{202e}adA"] {
            assert_eq!(check_name(bad), Err(Refusal::Name), "{bad:?}");
        }
    }

    #[test]
    fn rooms_have_plain_names() {
        assert_eq!(check_room("rust-2024"), Ok(()));
        assert_eq!(check_room(&"r".repeat(MAX_ROOM)), Ok(()));
        for bad in ["", "Lobby", "a b", "a/b", "ä", &"r".repeat(MAX_ROOM + 1)] {
            assert_eq!(check_room(bad), Err(Refusal::Room), "{bad:?}");
        }
    }

    #[test]
    fn texts_have_a_length_and_no_control_characters() {
        assert_eq!(check_text("  one\n\ttwo \n"), Ok("  one\n\ttwo"));
        assert_eq!(check_text(&"é".repeat(MAX_TEXT)), Ok(&*"é".repeat(MAX_TEXT)));
        assert_eq!(check_text(&"é".repeat(MAX_TEXT + 1)), Err(Refusal::TooLong));
        assert_eq!(check_text(" \n "), Err(Refusal::Empty));
        assert_eq!(check_text("a\0b"), Err(Refusal::ControlCharacter));
        assert_eq!(check_text("a\u{1b}[31mb"), Err(Refusal::ControlCharacter));
    }

    #[test]
    fn keys_and_secrets_have_a_length() {
        assert_eq!(check_token(&"k".repeat(MAX_TOKEN)), Ok(()));
        assert_eq!(check_token(&"k".repeat(MAX_TOKEN + 1)), Err(Refusal::NotUnderstood));
        assert_eq!(check_token(""), Err(Refusal::NotUnderstood));
    }
}
