//! HTTP/1.1 heads: read with bounds, written with checks.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::first_line::FirstLine;
use super::{InvalidRequest, is_token};
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Finds the end of a head. It looks at each byte once, however slowly the bytes come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadReader {
    start: FirstLine,
    first_line: FirstLine,
    scanned: usize,
    line_start: usize,
    /// Complete lines, the first one included.
    pub(super) lines: usize,
}

/// Why a head cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Malformed,
    /// The first line of a request names another version than HTTP/1.1.
    Version,
    FirstLineTooLong,
    TooBig,
}

impl HeadReader {
    /// Expects a response; `default` expects a request.
    pub(super) fn of_response() -> Self {
        Self { start: FirstLine::STATUS, first_line: FirstLine::STATUS, ..Self::default() }
    }

    /// The length of the head at the start of `bytes`, once its end is there.
    pub(super) fn find_end(
        &mut self,
        bytes: &[u8],
        config: &Config,
    ) -> Result<Option<usize>, HeadError> {
        let limits = config.get();
        let max_line = limits.max_head_size / 2;
        // Only the first byte above the limit counts, so that it does not matter how many came at once.
        let bytes = &bytes[..bytes.len().min(limits.max_head_size.saturating_add(1))];
        while let Some(found) = bytes[self.scanned..].iter().position(|&byte| byte == b'\n') {
            let end = self.scanned + found;
            self.check_line(&bytes[..end], max_line)?;
            let line = &bytes[self.line_start..end];
            if end >= limits.max_head_size {
                return Err(HeadError::TooBig);
            }
            // Some parsers take a lone LF for the end of a line, and others do not. It is never accepted here
            // (RFC 9112 §2.2 leaves the choice).
            if line.last() != Some(&b'\r') {
                return Err(HeadError::Malformed);
            }
            self.scanned = end + 1;
            self.line_start = end + 1;
            if line.len() > 1 {
                self.lines += 1;
            } else if self.lines > 0 {
                return Ok(Some(end + 1));
            } else if end > 1 {
                // One empty line before the first line is forgiven (RFC 9112 §2.2).
                return Err(HeadError::Malformed);
            } else {
                self.first_line = self.start;
            }
            if self.lines > limits.max_headers.saturating_add(1) {
                return Err(HeadError::TooBig);
            }
        }
        self.check_line(bytes, max_line)?;
        self.scanned = bytes.len();
        if bytes.len() > limits.max_head_size {
            return Err(HeadError::TooBig);
        }
        Ok(None)
    }

    /// Checks the line up to the end of `bytes`, which is the end of the line or how far it has come.
    fn check_line(&mut self, bytes: &[u8], max: usize) -> Result<(), HeadError> {
        let too_long = bytes.len() - self.line_start > max;
        if self.lines > 0 {
            return if too_long { Err(HeadError::TooBig) } else { Ok(()) };
        }
        // An error before the limit is the reason, however much came at once.
        let end = bytes.len().min(self.line_start.saturating_add(max));
        for &byte in bytes.get(self.scanned..end).unwrap_or_default() {
            self.first_line.step(byte)?;
        }
        if too_long { Err(HeadError::FirstLineTooLong) } else { Ok(()) }
    }
}

/// Header fields in the order of the wire. Names compare without regard to case.
// All fields are in one allocation. Each begins with the lengths of its name and its value, in 4 bytes each. The name
// and the value follow.
#[derive(Clone, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    /// Where the fields begin. Before them is the first line of the head, if it is kept.
    start: usize,
}

/// How many bytes the two lengths of a field take.
const LENGTHS: usize = 8;

impl Headers {
    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields().map(|(name, value)| (core::str::from_utf8(name).unwrap_or_default(), value))
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[self.start..];
        core::iter::from_fn(move || {
            let (name_len, after) = rest.split_first_chunk()?;
            let (value_len, after) = after.split_first_chunk()?;
            let (name, after) = after.split_at_checked(u32::from_ne_bytes(*name_len) as usize)?;
            let (value, after) = after.split_at_checked(u32::from_ne_bytes(*value_len) as usize)?;
            rest = after;
            Some((name, value))
        })
    }

    /// The values of every field of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The value of the first field of this name, if it is ASCII or other UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        core::str::from_utf8(self.get(name)?).ok()
    }

    /// The value of the only field of this name; `Err` if there are several.
    pub(crate) fn only(&self, name: &str) -> Result<Option<&[u8]>, ()> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(()) } else { Ok(first) }
    }

    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.push_with(name, |bytes| bytes.extend_from_slice(value));
    }

    /// Adds a field whose value is written as text.
    pub(super) fn push_text(&mut self, name: &str, value: impl fmt::Display) {
        // Writing to memory cannot fail.
        self.push_with(name, |bytes| {
            let _ = write!(Line(bytes), "{value}");
        });
    }

    fn push_with(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        let bytes = &mut self.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(&[0; LENGTHS]);
        bytes.extend_from_slice(name.as_bytes());
        let value_start = bytes.len();
        value(bytes);
        let lengths = [name.len() as u32, (bytes.len() - value_start) as u32];
        for (place, length) in bytes[start..].chunks_exact_mut(4).zip(lengths) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Adds a field of the program. It may have no byte that could end it early, and no name that the
    /// handshake writes itself.
    pub(crate) fn push_user(&mut self, name: &str, value: &str) -> Result<(), InvalidRequest> {
        const RESERVED: [&str; 6] =
            ["connection", "upgrade", "host", "origin", "content-length", "transfer-encoding"];
        let own = "sec-websocket-";
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
            || name.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(own))
        {
            return Err(InvalidRequest::ReservedHeader(name.into()));
        }
        if !is_token(name.as_bytes()) || !is_field_value(value.as_bytes()) {
            return Err(InvalidRequest::Header(name.into()));
        }
        self.push(name, value.as_bytes());
        Ok(())
    }

    /// Adds the fields of `other` that have another name.
    pub(crate) fn with_all_but(self, other: &Self, name: &str) -> Self {
        self.with(other, |found| !found.eq_ignore_ascii_case(name))
    }

    /// Adds the fields of `other` with a name that is kept.
    pub(super) fn with(mut self, other: &Self, keeps: impl Fn(&str) -> bool) -> Self {
        for (found, value) in other.iter().filter(|(found, _)| keeps(found)) {
            self.push(found, value);
        }
        self
    }

    /// No fields yet, but room for `fields` of them, with `bytes` bytes of names and values in all.
    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self::after(&[], fields, bytes)
    }

    /// The same, after a first line of these parts, with nothing between them.
    fn after(line: &[&str], fields: usize, bytes: usize) -> Self {
        let start = line.iter().map(|part| part.len()).sum();
        let mut all = Vec::with_capacity(start + fields * LENGTHS + bytes);
        line.iter().for_each(|part| all.extend_from_slice(part.as_bytes()));
        Self { bytes: all, start }
    }

    /// The first line, if it is kept.
    pub(super) fn line(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.start]).unwrap_or_default()
    }

    pub(super) fn from_parsed(line: &[&str], parsed: &[httparse::Header<'_>]) -> Self {
        let bytes = parsed.iter().map(|header| header.name.len() + header.value.len()).sum();
        let mut headers = Self::after(line, parsed.len(), bytes);
        headers.extend(parsed.iter().map(|header| (header.name, header.value)));
        headers
    }

    /// Fields that another HTTP parser has read.
    pub(super) fn from_pairs<N: AsRef<str>, V: AsRef<[u8]>>(
        line: &[&str],
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = pairs.into_iter();
        let n = pairs.size_hint().0.min(MANY);
        let mut headers = Self::after(line, n, n * USUAL_SIZE);
        headers.extend(pairs);
        headers
    }

    fn extend<N: AsRef<str>, V: AsRef<[u8]>>(&mut self, pairs: impl Iterator<Item = (N, V)>) {
        for (name, value) in pairs {
            self.push(name.as_ref(), value.as_ref().trim_ascii());
        }
    }

    fn write(&self, head: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.bytes[self.start..] == other.bytes[other.start..]
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// Whether the value has no control characters except tabs, and no space around it (RFC 9110 §5.5).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    value.trim_ascii().len() == value.len()
        && value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// `from_pairs` makes room for at most this many fields at once, even if the iterator announces more.
const MANY: usize = 64;

/// How many bytes the name and the value of a field usually have. In a browser's request it is 30 to 50.
const USUAL_SIZE: usize = 48;

/// Gives `parse` one place for each line of a head. Up to 32 are on the stack, which nearly all heads fit.
pub(super) fn with_places<'a, T>(
    lines: usize,
    parse: impl FnOnce(&mut [httparse::Header<'a>]) -> T,
) -> T {
    let mut few = [httparse::EMPTY_HEADER; 32];
    match few.get_mut(..lines) {
        Some(few) => parse(few),
        None => parse(&mut vec![httparse::EMPTY_HEADER; lines]),
    }
}

/// Bytes that text can be written to.
struct Line<'a>(&'a mut Vec<u8>);

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes a head: the first line, fields, an empty line.
pub(crate) fn write_head(first_line: fmt::Arguments<'_>, headers: &Headers, out: &mut SendBuf) {
    out.append(|buffer| {
        // Writing to memory cannot fail.
        let _ = Line(buffer).write_fmt(first_line);
        buffer.extend_from_slice(b"\r\n");
        headers.write(buffer);
        buffer.extend_from_slice(b"\r\n");
    });
}
