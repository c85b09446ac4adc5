//! A message that is encoded once and sent on many connections.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::protocol::deflate::{self, PreparedFrames};
use crate::protocol::frame::{self, MAX_HEADER};
use crate::protocol::message::Message;

/// A text or binary message for many connections. Its plain frame is made once and shared by all of them. A
/// compressed frame is made once for each window that was agreed on.
///
/// A clone costs one reference count. Servers share the frame itself. A client masks each frame with a key
/// of its own, so it encodes the message anew.
///
/// A compressed frame refers to no earlier message of a connection. So it is a little larger than the frame of a
/// message that is sent to one connection.
///
/// ```
/// use bowline::{Config, Connection, Prepared, SendBuf};
///
/// let news = Prepared::new("news for all");
/// let mut connections = [(); 3].map(|()| Connection::server(Config::default()));
/// for connection in &mut connections {
///     let mut out = SendBuf::new();
///     connection.send_prepared(&news, &mut out)?;
///     assert_eq!(out.pending(), b"\x81\x0cnews for all");
/// }
/// # Ok::<(), bowline::SendError>(())
/// ```
#[derive(Clone)]
pub struct Prepared(Arc<Inner>);

struct Inner {
    message: Message,
    frame: Bytes,
    compressed: PreparedFrames,
}

impl Prepared {
    /// Encodes the message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let frame = encode(&message, false, |frame| frame.extend_from_slice(message.as_bytes()));
        Self(Arc::new(Inner { message, frame, compressed: PreparedFrames::default() }))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The frame that a server sends.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.0.frame
    }

    /// The frame that a server sends compressed. The first call for a window makes it, with `compress`.
    pub(crate) fn compressed(
        &self,
        side: deflate::Side,
        compress: impl FnOnce(&mut Vec<u8>),
    ) -> Bytes {
        self.0.compressed.get(side, || encode(&self.0.message, true, compress))
    }
}

impl<T: Into<Message>> From<T> for Prepared {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

impl fmt::Debug for Prepared {
    /// Without the payload: it may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("len", &self.0.frame.len()).finish_non_exhaustive()
    }
}

/// A frame without a mask, with the payload that `payload` appends.
fn encode(message: &Message, compressed: bool, payload: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut frame = Vec::with_capacity(MAX_HEADER + message.as_bytes().len());
    frame.extend_from_slice(&[0; MAX_HEADER]);
    payload(&mut frame);
    let len = (frame.len() - MAX_HEADER) as u64;
    let encoded = frame::encode(true, compressed, message.borrow().opcode(), len, None);
    let header = encoded.bytes();
    let start = MAX_HEADER - header.len();
    frame[start..MAX_HEADER].copy_from_slice(header);
    Bytes::from(frame).slice(start..)
}
