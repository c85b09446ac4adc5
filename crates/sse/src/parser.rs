//! Reading a stream: sections 9.2.5 and 9.2.6 of the standard.
//!
//! The standard decodes the stream to characters and then takes it apart. Here it is the other way round: lines are found
//! among the bytes, and each value is decoded by itself. The result is the same. Line ends and colons are ASCII, and the
//! decoder never takes an ASCII byte into a broken sequence: it gives U+FFFD, and reads that byte again.
//!
//! Most lines are data, so these have a way of their own. What has come of a data line goes to the data of the event at
//! once, and of a comment only its length is kept. All other lines are kept until their end has come.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Event;
use crate::scan::find_line_end;
use crate::text::{Text, text_of};

/// How a line of data begins.
const DATA: &[u8] = b"data:";

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A buffer of more than this is freed as soon as its line is read, so that one long line is not paid for until the end.
const KEPT: usize = 4096;

/// How much a [`Parser`] takes before it gives up.
///
/// A stream has no length, so without a limit a server could fill the memory of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one line, without its end. Default 1 MiB: an event is often one line, and this is what bowline lets
    /// a WebSocket message have.
    pub max_line: usize,
    /// The most bytes of one event: its type, its id, and its data in UTF-8 with LF after each line. Default 1 MiB.
    pub max_event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_line: 1 << 20, max_event: 1 << 20 }
    }
}

/// What a [`Parser`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event(Event),
    /// A comment, if [`Parser::report_comments`] asks for them: the text after the colon, without one leading space.
    Comment(String),
}

/// Takes a stream apart, in pieces of any size, without I/O.
///
/// Bytes that are not UTF-8 become U+FFFD, and one byte order mark at the start is dropped. An event that no blank line has
/// ended is never given.
///
/// ```
/// use bowline_sse::{Event, Item, Parser};
///
/// let mut parser = Parser::new();
/// let mut items = Vec::new();
/// for mut piece in [&b"data: hel"[..], b"lo\n", b"\ndata: unfinished"] {
///     while let Some(item) = parser.read(&mut piece)? {
///         items.push(item);
///     }
/// }
/// assert_eq!(items, [Item::Event(Event::new("hello"))]);
/// # Ok::<(), bowline_sse::ParseError>(())
/// ```
///
/// It holds at most one unfinished line and one unfinished event, within the [`Limits`]. A byte that is not UTF-8 may take three
/// until its line is over. It looks at each byte a fixed number of times, however the stream is cut.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    limits: Limits,
    comments: bool,
    /// The start of a line whose end has not come, if it is of neither kind that `long` has.
    line: Vec<u8>,
    long: Long,
    /// A CR ended the last line, so an LF that comes next belongs to it.
    after_cr: bool,
    /// The first line is over: there is no byte order mark any more.
    started: bool,
    data: Text,
    event: String,
    /// What this event's own `id` field said.
    id: Option<String>,
    /// What this event's own `retry` field said.
    event_retry: Option<Duration>,
    last_event_id: String,
    retry: Option<Duration>,
    failed: Option<ParseError>,
    /// How many bytes were looked at, for the test that counts them.
    #[cfg(test)]
    work: usize,
}

/// A line whose start has come, and need not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Long {
    #[default]
    None,
    /// A comment that nobody asked for.
    Comment {
        /// The bytes that have come.
        len: usize,
    },
    /// A line of data. Its value is in `Parser::data`.
    Data {
        /// The bytes that have come.
        len: usize,
        /// How long the event would be with them. The value may count three times as much once it is decoded.
        event: usize,
        /// A space may come that does not belong to the value.
        space: bool,
    },
}

/// What `Parser::take_lines` has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A blank line was the last that it took.
    Blank,
    /// Anything.
    Line,
    /// A part of a line, without its end.
    Part,
}

impl Parser {
    /// A parser at the start of a stream, with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Gives comments as [`Item::Comment`] too. Default: they are skipped. A client that wants to know whether its server is
    /// alive looks at them, because a server sends them while it has nothing else to say.
    pub fn report_comments(mut self, report: bool) -> Self {
        self.comments = report;
        self
    }

    /// Sets the last event id that a connection before this one had. It holds until an event brings another.
    ///
    /// The standard begins each stream with an empty id (9.2.6: "They must be initialized to the empty string"). Then the
    /// first event without an id would make the client forget where it was. Browsers keep it, and so does this.
    pub fn resume(mut self, last_event_id: impl Into<String>) -> Self {
        self.last_event_id = last_event_id.into();
        self
    }

    /// Takes bytes from the front of `input` until there is an item. `None` means that all bytes are taken, and that the
    /// next piece is needed.
    ///
    /// # Errors
    ///
    /// If a line or an event exceeds its limit. From then on it gives the same error, and takes no bytes.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Item>, ParseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.read_on(input) {
            Ok(item) => Ok(item),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// The id of the last event that was given, or that came without data. A client sends it in `Last-Event-ID` when it
    /// connects again. Empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long the server wants its client to wait before it connects again, as the last valid `retry` field says. It
    /// holds as soon as its line is read.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Whether the stream stopped in the middle of a line or of an event. If it ends here, that is dropped.
    ///
    /// 9.2.6: "Once the end of the file is reached, any pending data must be discarded. (If the file ends in the middle of
    /// an event, before the final empty line, the incomplete event is not dispatched.)"
    pub fn is_unfinished(&self) -> bool {
        !self.line.is_empty() || self.long != Long::None || self.has_fields()
    }

    /// Whether an event has begun, or an id that holds without one.
    fn has_fields(&self) -> bool {
        !self.data.is_empty() || !self.event.is_empty() || self.id.is_some()
    }

    #[inline]
    fn read_on(&mut self, input: &mut &[u8]) -> Result<Option<Item>, ParseError> {
        while !input.is_empty() {
            // 9.2.6: "a U+000D CARRIAGE RETURN U+000A LINE FEED (CRLF) character pair, a single U+000A LINE FEED (LF)
            // character not preceded by a U+000D CARRIAGE RETURN (CR) character, and a single U+000D CARRIAGE RETURN (CR)
            // character not followed by a U+000A LINE FEED (LF) character being the ways in which a line can end".
            // A line that CR ends is given at once: whether LF follows may not be known for long.
            if core::mem::take(&mut self.after_cr)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                *input = rest;
                continue;
            }
            let is_start = self.long == Long::None && self.line.is_empty();
            let next = if is_start { self.take_lines(input) } else { Next::Line };
            if next == Next::Blank {
                // "If the line is empty (a blank line): Dispatch the event".
                match self.dispatch() {
                    None => continue,
                    item => return Ok(item),
                }
            }
            let long = match self.long {
                Long::None => self.begin_line(input)?,
                long => long,
            };
            let end = if next == Next::Part { None } else { find_line_end(input) };
            let (part, rest) = input.split_at(end.unwrap_or(input.len()));
            #[cfg(test)]
            {
                self.work += part.len() + 1;
            }
            let Some((&line_end, rest)) = rest.split_first() else {
                *input = rest;
                self.keep(part, long)?;
                break;
            };
            *input = rest;
            self.after_cr = line_end == b'\r';
            self.long = Long::None;
            let item = match long {
                Long::None => self.end_line(part)?,
                Long::Comment { len } => {
                    self.check_line_len(len + part.len())?;
                    None
                }
                Long::Data { len, event, space } => {
                    self.push_data(part, len, event, space)?;
                    self.end_data()?;
                    None
                }
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    /// At the start of a line: takes data and comments as long as their lines are whole and within the limits, as most lines are.
    /// Takes one blank line after them as well. What is left is taken the long way, which has the rules for such lines too:
    /// `begin_line`, `push_data` and `end_data`.
    #[inline]
    fn take_lines(&mut self, input: &mut &[u8]) -> Next {
        let Limits { max_line, max_event } = self.limits;
        loop {
            let (name, value) = match **input {
                [b'd', b'a', b't', b'a', b':', ref value @ ..] => (DATA.len(), value),
                [b':', ref text @ ..] if !self.comments => (1, text),
                [line_end @ (b'\n' | b'\r'), ref rest @ ..] => {
                    *input = rest;
                    (self.started, self.after_cr) = (true, line_end == b'\r');
                    return Next::Blank;
                }
                _ => return Next::Line,
            };
            let Some(end) = find_line_end(value) else { return Next::Part };
            let (value, rest) = value.split_at(end);
            #[cfg(test)]
            {
                self.work += value.len() + 1;
            }
            if name + value.len() > max_line {
                return Next::Line;
            }
            if name == DATA.len() {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                // 9.2.6: with an LF after each line but the last.
                let event = self.event_len() + usize::from(!self.data.is_empty()) + value.len();
                if event > max_event || !self.data.push_line(value) {
                    return Next::Line;
                }
            }
            self.started = true;
            self.after_cr = rest == b"\r";
            *input = match rest {
                // A blank line follows at once, as it mostly does.
                [b'\n', b'\n', rest @ ..] => {
                    *input = rest;
                    return Next::Blank;
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => rest,
            };
        }
    }

    /// Looks at the start of a line, and takes it if it says that the line is data.
    #[inline]
    fn begin_line(&mut self, input: &mut &[u8]) -> Result<Long, ParseError> {
        let data = if self.line.is_empty() {
            // A line that may begin with a byte order mark is kept.
            self.started |= input.first() != BOM.first();
            if input.first() == Some(&b':') && !self.comments {
                return Ok(Long::Comment { len: 0 });
            }
            input.strip_prefix(DATA)
        } else {
            // The cut may be in the name.
            DATA.strip_prefix(&self.line[..]).and_then(|missing| input.strip_prefix(missing))
        };
        let Some(rest) = data else { return Ok(Long::None) };
        *input = rest;
        self.line.clear();
        self.check_line_len(DATA.len())?;
        let event = self.event_len() + usize::from(!self.data.is_empty());
        self.check_event(event)?;
        Ok(Long::Data { len: DATA.len(), event, space: true })
    }

    /// The input ends in the middle of a line.
    fn keep(&mut self, part: &[u8], long: Long) -> Result<(), ParseError> {
        match long {
            Long::None => {
                self.check_line(part)?;
                self.line.extend_from_slice(part);
            }
            Long::Comment { len } => {
                let len = len + part.len();
                self.check_line_len(len)?;
                self.long = Long::Comment { len };
            }
            Long::Data { len, event, space } => {
                let (len, event) = self.push_data(part, len, event, space)?;
                self.long = Long::Data { len, event, space: space && part.is_empty() };
            }
        }
        Ok(())
    }

    /// Takes a part of the value of a data line. Gives the length of the line and of the event.
    #[inline]
    fn push_data(
        &mut self,
        mut part: &[u8],
        mut len: usize,
        mut event: usize,
        space: bool,
    ) -> Result<(usize, usize), ParseError> {
        // "If value starts with a U+0020 SPACE character, remove it from value."
        if space && let Some(value) = part.strip_prefix(b" ") {
            (part, len) = (value, len + 1);
        }
        (len, event) = (len + part.len(), event + part.len());
        // Both end here, so the limit that was crossed first is the one with more bytes beyond it.
        let beyond = event.saturating_sub(self.limits.max_event);
        if beyond <= len.saturating_sub(self.limits.max_line) {
            self.check_line_len(len)?;
        }
        self.check_event(event)?;
        self.data.push(part);
        Ok((len, event))
    }

    /// Whether the line stays within its limit when `part` is added to it.
    fn check_line(&self, part: &[u8]) -> Result<(), ParseError> {
        let mut len = self.line.len() + part.len();
        if !self.started {
            let start = self.line.iter().chain(part).take(BOM.len());
            // It does not count, nor does a piece that may become one.
            let same = start.zip(BOM).take_while(|(byte, bom)| byte == bom).count();
            if same == BOM.len() || same == len {
                len -= same;
            }
        }
        self.check_line_len(len)
    }

    fn check_line_len(&self, len: usize) -> Result<(), ParseError> {
        let max = self.limits.max_line;
        if len > max { Err(ParseError::LineTooLong { max }) } else { Ok(()) }
    }

    /// A line is over: what is kept of it, and then `part`.
    fn end_line(&mut self, part: &[u8]) -> Result<Option<Item>, ParseError> {
        self.check_line(part)?;
        if self.line.is_empty() {
            return self.process(part);
        }
        let mut line = core::mem::take(&mut self.line);
        line.extend_from_slice(part);
        let result = self.process(&line);
        if line.capacity() <= KEPT {
            line.clear();
            self.line = line;
        }
        result
    }

    fn process(&mut self, mut line: &[u8]) -> Result<Option<Item>, ParseError> {
        if !core::mem::replace(&mut self.started, true) {
            // 9.2.6: "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        // The rules stand in the order of 9.2.6.
        //
        // "If the line is empty (a blank line): Dispatch the event".
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            // "Otherwise, the string is not empty but does not contain a U+003A COLON character (:): Process the field [...]
            // using the whole line as the field name, and the empty string as the field value."
            self.field(line, b"")?;
            return Ok(None);
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // "If value starts with a U+0020 SPACE character, remove it from value."
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if name.is_empty() {
            // "If the line starts with a U+003A COLON character (:): Ignore the line."
            let comment = || Item::Comment(text_of(value));
            return Ok(self.comments.then(comment));
        }
        self.field(name, value)?;
        Ok(None)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), ParseError> {
        match name {
            // "If the field name is `event`: Set the event type buffer to field value."
            b"event" => {
                let value = text_of(value);
                self.check_event(self.event_len() - self.event.len() + value.len())?;
                self.event = value;
            }
            // "If the field name is `data`: Append the field value to the data buffer, then append a single U+000A LINE FEED
            // (LF) character to the data buffer."
            b"data" => {
                let before = usize::from(!self.data.is_empty());
                self.check_event(self.event_len() + before + value.len())?;
                self.data.push(value);
                self.end_data()?;
            }
            // "If the field name is `id`: If the field value does not contain U+0000 NULL, then set the last event ID buffer
            // to the field value. Otherwise, ignore the field."
            b"id" if !value.contains(&0) => {
                let value = text_of(value);
                let old = self.id.as_ref().map_or(0, String::len);
                self.check_event(self.event_len() - old + value.len())?;
                self.id = Some(value);
            }
            // "If the field name is `retry`: If the field value consists of only ASCII digits, then interpret the field value
            // as an integer in base ten, and set the event stream's reconnection time to that integer. Otherwise, ignore the
            // field."
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.event_retry = Some(milliseconds(value));
                self.retry = self.event_retry;
            }
            // "Otherwise: The field is ignored."
            _ => {}
        }
        Ok(())
    }

    /// The value of a `data` field is over.
    fn end_data(&mut self) -> Result<(), ParseError> {
        self.data.end_line();
        // Bytes that are no UTF-8 have become more.
        self.check_event(self.event_len())
    }

    /// How many bytes the event would have if it were over. The last LF is taken away then, so it does not count.
    fn event_len(&self) -> usize {
        let id = self.id.as_ref().map_or(0, String::len);
        self.data.len().saturating_sub(1) + self.event.len() + id
    }

    fn check_event(&self, len: usize) -> Result<(), ParseError> {
        let max = self.limits.max_event;
        if len > max { Err(ParseError::EventTooLong { max }) } else { Ok(()) }
    }

    #[inline]
    fn dispatch(&mut self) -> Option<Item> {
        if !self.has_fields() {
            self.event_retry = None;
            return None;
        }
        // "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
        // return." One `data` field without a value is not that: it has put LF there.
        //
        // "If the data buffer's last character is a U+000A LINE FEED (LF) character, then remove the last character".
        let data = self.data.take();
        let (id, retry) = (self.id.take(), self.event_retry.take());
        // "Set the last event ID string of the event source to the value of the last event ID buffer." So it holds without
        // data too.
        if let Some(id) = &id {
            self.last_event_id.clone_from(id);
        }
        let event = core::mem::take(&mut self.event);
        let data = data?;
        // "Initialize event's type attribute to `message`", and "if the event type buffer has a value other than the empty
        // string, change the type of the newly created event to equal the value".
        let event = if event.is_empty() { Cow::Borrowed("message") } else { Cow::Owned(event) };
        Some(Item::Event(Event { event, data, id, retry }))
    }
}

/// The number, of digits alone. What a `u64` cannot hold is its maximum.
fn milliseconds(digits: &[u8]) -> Duration {
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Duration::from_millis(digits.iter().fold(0, add))
}

/// Why a [`Parser`] gave up. Both are the server's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// A line exceeds [`Limits::max_line`].
    LineTooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// An event exceeds [`Limits::max_event`].
    EventTooLong {
        /// The limit in bytes.
        max: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { max } => write!(
                f,
                "a line of the event stream exceeds max_line of {max} bytes: raise it if the server means well"
            ),
            Self::EventTooLong { max } => write!(
                f,
                "an event of the stream exceeds max_event of {max} bytes: raise it if the server means well"
            ),
        }
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn feed(parser: &mut Parser, mut bytes: &[u8]) -> usize {
        let mut items = 0;
        while parser.read(&mut bytes).unwrap().is_some() {
            items += 1;
        }
        items
    }

    /// Work that grows with the square of a line would show: a megabyte byte by byte.
    #[test]
    fn each_byte_is_looked_at_once_however_the_stream_is_cut() {
        let mut stream = b"data: ".to_vec();
        stream.extend(vec![b'x'; 1 << 19]);
        stream.extend(b"\n\n");
        for size in [1, 7, 4096, stream.len()] {
            let mut parser = Parser::new();
            let items: usize = stream.chunks(size).map(|piece| feed(&mut parser, piece)).sum();
            assert_eq!(items, 1);
            assert!(parser.work <= 2 * stream.len() + 2, "{} for pieces of {size}", parser.work);
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_came() {
        for (start, is_kept) in [("data:x", true), ("foo:x", true), (":x", false)] {
            let mut parser = Parser::new();
            let held = |parser: &Parser| parser.line.capacity() + parser.data.capacity();
            assert_eq!(held(&parser), 0);
            for sent in 1..=20_000 {
                feed(&mut parser, if sent == 1 { start.as_bytes() } else { b"x" });
                assert!(held(&parser) <= 2 * (sent + 7), "{start} {sent}");
            }
            assert_eq!(held(&parser) > 0, is_kept, "{start}");
            feed(&mut parser, b"\n");
            assert_eq!(parser.line.capacity(), 0, "a long line is freed");
            feed(&mut parser, b"\n");
            assert_eq!(parser.data.capacity(), 0, "an event takes its data along");
        }
    }

    #[test]
    fn many_short_lines_grow_the_data_by_doubling() {
        let mut parser = Parser::new();
        let mut grown = 0;
        for _ in 0..100_000 {
            let before = parser.data.capacity();
            feed(&mut parser, b"data:x\n");
            grown += usize::from(parser.data.capacity() != before);
        }
        assert!(grown < 40, "{grown} times");
    }
}
