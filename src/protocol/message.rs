//! Messages: owned ([`Message`]), borrowed ([`MessageRef`]), and in parts ([`Part`]).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, ops::Deref, str::Utf8Error};

use bytes::Bytes;

use crate::protocol::frame::Opcode;
use crate::protocol::utf8;

/// UTF-8 text in shared, immutable storage: [`Bytes`] that are known to be valid.
///
/// It derefs to `str`; a clone copies no text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Takes bytes that are valid UTF-8.
    ///
    /// # Errors
    ///
    /// If the bytes are not UTF-8. The error says up to where they are.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        core::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// Text that lives as long as the program, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The shared bytes, to look at or to clone.
    pub fn shared(&self) -> &Bytes {
        &self.0
    }

    /// For text that the receiver validated as it came.
    ///
    /// # Safety
    ///
    /// `bytes` must be valid UTF-8.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn trusted(bytes: Bytes) -> Self {
        debug_assert!(core::str::from_utf8(&bytes).is_ok());
        Self(bytes)
    }

    /// The text as `&str`.
    #[allow(unsafe_code)]
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor checks the bytes or takes them from a `str`, and they never change.
        unsafe { utf8::trusted(&self.0) }
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    /// The length only. What a program prints with `{:?}` often goes to a log, and messages hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl fmt::Display for Text {
    /// The text itself, as for `str`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// A whole message, owned (RFC 6455 §5.6), or a ping or pong (§5.5.2, §5.5.3).
///
/// Anything that is text or bytes converts into one:
///
/// ```
/// use bowline::Message;
/// assert_eq!(Message::from("hi"), Message::Text("hi".into()));
/// assert_eq!(Message::from(vec![1, 2]), Message::Binary(vec![1, 2].into()));
/// ```
// With a tag of one byte, the compiler copies the payload in words that begin one byte after the tag. They
// overlap the words in which the payload is read next. So the processor stalls several times for each message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// A ping, at most 125 bytes. The library has queued the pong already. Received only with
    /// [`Config::report_control_frames`](crate::Config::report_control_frames).
    Ping(Bytes),
    /// A pong, at most 125 bytes; see [`Ping`](Self::Ping). A pong that the program sends answers no ping.
    Pong(Bytes),
}

impl Message {
    /// Borrows the message.
    pub fn borrow(&self) -> MessageRef<'_> {
        match self {
            Self::Text(text) => MessageRef::Text(text),
            Self::Binary(data) => MessageRef::Binary(data),
            Self::Ping(data) => MessageRef::Ping(data),
            Self::Pong(data) => MessageRef::Pong(data),
        }
    }

    /// The text, if this is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The payload, whatever the type.
    pub fn as_bytes(&self) -> &[u8] {
        self.borrow().as_bytes()
    }

    /// The payload, whatever the type, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(data) | Self::Ping(data) | Self::Pong(data) => data,
        }
    }
}

/// A message, ping or pong that is lent. [`RecvBuf::event`](crate::RecvBuf::event) gives one, and every
/// `send` of the core takes one.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageRef<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; see [`Message::Ping`].
    Ping(&'a [u8]),
    /// A pong; see [`Message::Pong`].
    Pong(&'a [u8]),
}

impl fmt::Debug for Message {
    /// As for [`MessageRef`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

impl fmt::Debug for MessageRef<'_> {
    /// The type and the length: `Text(5 bytes)`. What a program prints with `{:?}` often goes to a log, and
    /// messages hold secrets. To see a payload, print what [`as_bytes`](Self::as_bytes) or the variant gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Text(_) => "Text",
            Self::Binary(_) => "Binary",
            Self::Ping(_) => "Ping",
            Self::Pong(_) => "Pong",
        };
        write!(f, "{name}({} bytes)", self.as_bytes().len())
    }
}

impl<'a> MessageRef<'a> {
    /// The payload, whatever the type.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(data) | Self::Ping(data) | Self::Pong(data) => data,
        }
    }

    /// Copies the message.
    pub fn to_message(&self) -> Message {
        match self {
            Self::Text(text) => Message::Text((*text).into()),
            Self::Binary(data) => Message::Binary(Bytes::copy_from_slice(data)),
            Self::Ping(data) => Message::Ping(Bytes::copy_from_slice(data)),
            Self::Pong(data) => Message::Pong(Bytes::copy_from_slice(data)),
        }
    }

    pub(crate) fn opcode(&self) -> Opcode {
        match self {
            Self::Text(_) => Opcode::Text,
            Self::Binary(_) => Opcode::Binary,
            Self::Ping(_) => Opcode::Ping,
            Self::Pong(_) => Opcode::Pong,
        }
    }
}

/// A piece of a message that is received before the whole is there.
///
/// The pieces of a text message are cut at characters: the receiver holds back at most three bytes.
/// They do not follow the peer's fragments. RFC 6455 §5.4: "frames have no semantic meaning".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part<'a> {
    /// The piece. If pings and pongs are reported, they come whole, and they do not end the message.
    pub payload: MessageRef<'a>,
    /// Whether a message begins with this piece.
    pub first: bool,
    /// Whether the message ends with this piece.
    pub last: bool,
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<Box<str>> for Message {
    fn from(text: Box<str>) -> Self {
        Self::Text(text.into_string().into())
    }
}

impl From<Arc<str>> for Message {
    /// Copies the text, because others may hold it too.
    fn from(text: Arc<str>) -> Self {
        Self::Text((&*text).into())
    }
}

impl From<Cow<'_, str>> for Message {
    fn from(text: Cow<'_, str>) -> Self {
        Self::Text(text.into_owned().into())
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(data: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(data))
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Self::Binary(data.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(data: &[u8; N]) -> Self {
        data[..].into()
    }
}

impl<const N: usize> From<[u8; N]> for Message {
    fn from(data: [u8; N]) -> Self {
        data[..].into()
    }
}

impl From<&Vec<u8>> for Message {
    fn from(data: &Vec<u8>) -> Self {
        data[..].into()
    }
}

impl From<Box<[u8]>> for Message {
    fn from(data: Box<[u8]>) -> Self {
        Self::Binary(data.into())
    }
}

impl From<Cow<'_, [u8]>> for Message {
    fn from(data: Cow<'_, [u8]>) -> Self {
        Self::Binary(data.into_owned().into())
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        message.to_message()
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        message.borrow()
    }
}

impl<'a> From<&'a str> for MessageRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for MessageRef<'a> {
    fn from(data: &'a [u8]) -> Self {
        Self::Binary(data)
    }
}

impl<'a> From<&'a String> for MessageRef<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for MessageRef<'a> {
    fn from(data: &'a [u8; N]) -> Self {
        Self::Binary(data)
    }
}

impl<'a> From<&'a Vec<u8>> for MessageRef<'a> {
    fn from(data: &'a Vec<u8>) -> Self {
        Self::Binary(data)
    }
}
