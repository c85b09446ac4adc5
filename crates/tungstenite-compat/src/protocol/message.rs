//! Messages.

use std::fmt;
use std::str::from_utf8;

use bytes::Bytes;

use super::frame::{CloseFrame, Frame, Utf8Bytes};
use crate::error::Result;

/// What is sent and received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, at most 125 bytes. One that is received is answered already.
    Ping(Bytes),
    /// A pong, at most 125 bytes.
    Pong(Bytes),
    /// The Close of the peer, or one to be sent.
    Close(Option<CloseFrame>),
    /// A frame that the program makes itself. It is never received.
    Frame(Frame),
}

impl Message {
    /// A text message.
    pub fn text<S: Into<Utf8Bytes>>(string: S) -> Self {
        Self::Text(string.into())
    }

    /// A binary message.
    pub fn binary<B: Into<Bytes>>(bin: B) -> Self {
        Self::Binary(bin.into())
    }

    /// Whether it is a text message.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether it is a binary message.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Whether it is a ping.
    pub fn is_ping(&self) -> bool {
        matches!(self, Self::Ping(_))
    }

    /// Whether it is a pong.
    pub fn is_pong(&self) -> bool {
        matches!(self, Self::Pong(_))
    }

    /// Whether it is a Close.
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Close(_))
    }

    fn payload(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_ref(),
            Self::Binary(data) | Self::Ping(data) | Self::Pong(data) => data,
            Self::Close(close) => close.as_ref().map_or(&[], |close| close.reason.as_ref()),
            Self::Frame(frame) => frame.payload(),
        }
    }

    /// How many bytes of payload it has. Of a Close, those of the reason count. Of a frame, all of its bytes do.
    pub fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            message => message.payload().len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload, without a copy. Of a Close, it is the reason.
    pub fn into_data(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(data) | Self::Ping(data) | Self::Pong(data) => data,
            Self::Close(close) => close.map_or(Bytes::new(), |close| close.reason.into()),
            Self::Frame(frame) => frame.into_payload(),
        }
    }

    /// The payload as text, without a copy.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes> {
        match self {
            Self::Text(text) => Ok(text),
            message => Ok(message.into_data().try_into()?),
        }
    }

    /// The payload as text.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn to_text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            message => Ok(from_utf8(message.payload())?),
        }
    }
}

impl From<bowline::Message> for Message {
    fn from(message: bowline::Message) -> Self {
        match message {
            bowline::Message::Text(text) => Self::Text(Utf8Bytes(text)),
            bowline::Message::Ping(data) => Self::Ping(data),
            bowline::Message::Pong(data) => Self::Pong(data),
            message => Self::Binary(message.into_bytes()),
        }
    }
}

macro_rules! from {
    ($($from:ty => $make:ident),*) => {$(
        impl From<$from> for Message {
            fn from(payload: $from) -> Self {
                Self::$make(payload)
            }
        }
    )*};
}

from!(String => text, &str => text, Bytes => binary, Vec<u8> => binary);

impl From<&[u8]> for Message {
    fn from(data: &[u8]) -> Self {
        Self::binary(Bytes::copy_from_slice(data))
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.into_data()
    }
}

impl fmt::Display for Message {
    /// The text, if it is text, and the number of bytes otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_text() {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{} bytes", self.len()),
        }
    }
}
