//! One event, and how it looks on the wire: section 9.2.5 of the standard.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// The type of an event that names none.
///
/// 9.2.6: "Initialize event's type attribute to `message`".
const MESSAGE: &str = "message";

/// One event of a stream.
///
/// A server makes one and [encodes](Self::encode) it. A client gets one from a [`Parser`](crate::Parser).
///
/// ```
/// use bowline_sse::Event;
///
/// let event = Event::new("two\nlines").event("note").id("7");
/// assert_eq!(event.to_bytes()?, b"event: note\nid: 7\ndata: two\ndata: lines\n\n");
/// # Ok::<(), bowline_sse::EncodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The type, which is the name that a browser's `addEventListener` takes. It is `message` if the stream names none. The
    /// encoder sends no name for `message` and for an empty one, since both mean the same.
    pub event: Cow<'static, str>,
    /// The data. On the wire, its lines end with LF: the encoder takes CR and CRLF for LF.
    pub data: String,
    /// The id that this event carries, if it carries one. An empty one makes the client forget the last id. What holds for
    /// an event without an id is [`Parser::last_event_id`](crate::Parser::last_event_id).
    pub id: Option<String>,
    /// How long the client should wait before it connects again, if the event says so. The wire has whole milliseconds, so
    /// the encoder drops what is less, and sends `u64::MAX` for what is more.
    pub retry: Option<Duration>,
}

impl Event {
    /// An event of the type `message`, without an id.
    pub fn new(data: impl Into<String>) -> Self {
        Self { event: Cow::Borrowed(MESSAGE), data: data.into(), id: None, retry: None }
    }

    /// Sets the type.
    pub fn event(mut self, event: impl Into<Cow<'static, str>>) -> Self {
        self.event = event.into();
        self
    }

    /// Sets the id. A client sends the last one that it got, in `Last-Event-ID`, when it connects again.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets how long the client should wait before it connects again.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Appends the event to `out`, with the blank line that ends it.
    ///
    /// The data is split at LF, CR and CRLF, and each line becomes a field of its own. So nothing in it can be taken for
    /// another field. Data that is empty is sent too: the client gets an event with empty data.
    ///
    /// # Errors
    ///
    /// If the type or the id has a character that a field cannot hold. `out` is as it was then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // 9.2.5: any-char is "a scalar value other than U+000A LINE FEED (LF) or U+000D CARRIAGE RETURN (CR)".
        if self.event.contains(is_line_end) {
            return Err(EncodeError::LineEndInEvent);
        }
        if let Some(id) = &self.id {
            if id.contains(is_line_end) {
                return Err(EncodeError::LineEndInId);
            }
            // 9.2.6: "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field
            // value. Otherwise, ignore the field."
            if id.contains('\0') {
                return Err(EncodeError::NulInId);
            }
        }
        if !self.event.is_empty() && self.event != MESSAGE {
            field(out, "event", &self.event);
        }
        if let Some(id) = &self.id {
            field(out, "id", id);
        }
        if let Some(retry) = self.retry {
            field_retry(out, retry);
        }
        for line in lines(&self.data) {
            field(out, "data", line);
        }
        out.push(b'\n');
        Ok(())
    }

    /// The event as it looks on the wire.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.data.len() + 32);
        self.encode(&mut out)?;
        Ok(out)
    }
}

impl Default for Event {
    /// An event of the type `message` with empty data.
    fn default() -> Self {
        Self::new(String::new())
    }
}

/// Appends a comment, which clients skip. It shows proxies and clients that the connection is alive.
///
/// The standard suggests one "every 15 seconds or so" (9.2.7). Text of several lines becomes as many comments, so nothing
/// in it can be taken for a field.
///
/// ```
/// let mut out = Vec::new();
/// bowline_sse::encode_comment("still here", &mut out);
/// assert_eq!(out, b": still here\n\n");
/// ```
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    for line in lines(text) {
        field(out, "", line);
    }
    // Not needed by the format. But readers that take the stream apart at blank lines see the comment at once.
    out.push(b'\n');
}

/// Appends how long the client should wait before it connects again, without an event.
///
/// The wire has whole milliseconds: what is less is dropped, and what is more than `u64::MAX` of them becomes that.
pub fn encode_retry(retry: Duration, out: &mut Vec<u8>) {
    field_retry(out, retry);
    out.push(b'\n');
}

fn field_retry(out: &mut Vec<u8>, retry: Duration) {
    let millis = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
    field(out, "retry", &alloc::format!("{millis}"));
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    // The space is always there: the reader drops one, so a value may begin with its own.
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// The lines of a text, at least one.
///
/// 9.2.5: end-of-line is "( cr lf / cr / lf )".
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(is_line_end) else {
            rest = None;
            return Some(text);
        };
        let (line, after) = text.split_at(end);
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

/// Why an event cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The type has LF or CR.
    LineEndInEvent,
    /// The id has LF or CR.
    LineEndInId,
    /// The id has U+0000. Clients would ignore it.
    NulInId,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineEndInEvent => {
                "the type of an event has a line end, which would begin another field: leave it out"
            }
            Self::LineEndInId => {
                "the id of an event has a line end, which would begin another field: leave it out"
            }
            Self::NulInId => {
                "the id of an event has U+0000, and clients ignore such an id: leave it out"
            }
        })
    }
}

impl core::error::Error for EncodeError {}
