//! Bytes that become text as they come.

use alloc::string::String;

use crate::scan::as_text;

/// The most that is reserved for a text before its bytes have come.
const MOST_EXPECTED: usize = 64 << 10;

/// How much room a text may keep that it does not use, or as much as it has itself.
const ROOM: usize = 256;

/// All of the bytes as text. What is not UTF-8 becomes U+FFFD.
#[inline]
pub(crate) fn text_of(bytes: &[u8]) -> String {
    match as_text(bytes) {
        Some(text) => text.into(),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Text that grows by pieces, cut at any place. What is not UTF-8 becomes U+FFFD, as if all had come at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    text: String,
    /// The start of a character whose end has not come: at most three bytes.
    start: [u8; 3],
    started: usize,
    /// How long the text before this one was. The next is often as long, and then it is not moved as it grows.
    expected: usize,
}

impl Text {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.started == 0
    }

    /// How many bytes of UTF-8 there are.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    #[inline]
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.begin(bytes.len());
        if self.started > 0 {
            bytes = self.finish_character(bytes);
        }
        match as_text(bytes) {
            Some(text) => self.text.push_str(text),
            None => self.push_broken(bytes),
        }
    }

    /// Makes room before the first part of a text, which has this many bytes and perhaps a line end.
    #[inline]
    fn begin(&mut self, len: usize) {
        if self.text.capacity() == 0 {
            self.text = String::with_capacity(self.expected.max(len + 1));
        }
    }

    /// Takes a whole line, if it is UTF-8. It stands for `push` and `end_line` at the start of a line.
    #[inline]
    pub(crate) fn push_line(&mut self, line: &[u8]) -> bool {
        debug_assert_eq!(self.started, 0, "the line before it was ended");
        let Some(line) = as_text(line) else { return false };
        self.begin(line.len());
        self.text.push_str(line);
        self.text.push('\n');
        true
    }

    /// Ends a line. A character that is not whole will not be.
    #[inline]
    pub(crate) fn end_line(&mut self) {
        if core::mem::take(&mut self.started) > 0 {
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.text.push('\n');
    }

    /// Takes the text, without the last line end. `None` if no line was ended.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<String> {
        if self.text.is_empty() {
            return None;
        }
        let mut text = core::mem::take(&mut self.text);
        self.expected = text.len().min(MOST_EXPECTED);
        text.pop();
        if text.capacity() - text.len() > text.len().max(ROOM) {
            text.shrink_to_fit();
        }
        Some(text)
    }

    /// Takes what belongs to the character that has begun, and gives the rest.
    fn finish_character<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Some((&byte, rest)) = bytes.split_first() {
            let mut character = [0; 4];
            character[..self.started].copy_from_slice(&self.start[..self.started]);
            character[self.started] = byte;
            match core::str::from_utf8(&character[..=self.started]) {
                Ok(text) => {
                    self.text.push_str(text);
                    self.started = 0;
                    return rest;
                }
                // It goes on.
                Err(error) if error.error_len().is_none() => {
                    self.start[self.started] = byte;
                    self.started += 1;
                    bytes = rest;
                }
                // The byte does not belong to it.
                Err(_) => {
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    self.started = 0;
                    return bytes;
                }
            }
        }
        bytes
    }

    fn push_broken(&mut self, mut bytes: &[u8]) {
        loop {
            let error = match core::str::from_utf8(bytes) {
                Ok(text) => return self.text.push_str(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            self.text.push_str(as_text(valid).unwrap_or_default());
            let Some(len) = error.error_len() else {
                self.started = rest.len();
                self.start[..rest.len()].copy_from_slice(rest);
                return;
            };
            self.text.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[len..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// All sequences of these bytes, which are the borders of what UTF-8 allows, up to five long.
    #[test]
    fn broken_text_is_replaced_in_pieces_as_it_is_at_once() {
        const BYTES: [u8; 12] =
            [b'a', 0x80, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xF5];
        let mut bytes = Vec::new();
        for n in 0..BYTES.len().pow(5) {
            let (mut n, len) = (n, 1 + n % 5);
            bytes.clear();
            for _ in 0..len {
                bytes.push(BYTES[n % BYTES.len()]);
                n /= BYTES.len();
            }
            let whole = String::from_utf8_lossy(&bytes);
            for size in 1..=len {
                let mut text = Text::default();
                bytes.chunks(size).for_each(|piece| text.push(piece));
                text.end_line();
                assert_eq!(text.take().as_deref(), Some(&whole[..]), "{bytes:x?} by {size}");
                assert!(text.is_empty());
            }
        }
    }

    #[test]
    fn what_is_expected_is_bounded_and_given_back() {
        let mut text = Text::default();
        text.push(&[b'x'; 1 << 20]);
        text.end_line();
        assert_eq!(text.take().unwrap().len(), 1 << 20);
        assert_eq!(text.capacity(), 0);
        text.push(b"a");
        assert_eq!(text.capacity(), MOST_EXPECTED);
        text.end_line();
        assert!(text.take().unwrap().capacity() <= 2 * ROOM);
        text.push(b"b");
        assert!(text.capacity() <= 8, "the last one counts");
    }
}
