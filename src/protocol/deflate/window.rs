//! The last bytes that were compressed. Later messages may refer to them (RFC 7692 §7.1.1).

use alloc::vec::Vec;
use core::fmt;

/// The last bytes of a text, at most `size` of them. The memory grows with them.
pub(crate) struct Window {
    /// A ring once it is full: it begins at `start`.
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

impl Window {
    pub(crate) fn new(size: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, size }
    }

    /// Appends to the text.
    pub(crate) fn push(&mut self, text: &[u8]) {
        if text.len() >= self.size {
            self.bytes.clear();
            self.start = 0;
            self.grow(self.size);
            self.bytes.extend_from_slice(&text[text.len() - self.size..]);
            return;
        }
        let (fill, wrap) = text.split_at(text.len().min(self.size - self.bytes.len()));
        self.grow(fill.len());
        self.bytes.extend_from_slice(fill);
        let (end, begin) = wrap.split_at(wrap.len().min(self.size - self.start));
        self.bytes[self.start..self.start + end.len()].copy_from_slice(end);
        self.bytes[..begin.len()].copy_from_slice(begin);
        self.start = (self.start + wrap.len()) % self.size.max(1);
    }

    /// All that is there, in order.
    pub(crate) fn slices(&self) -> [&[u8]; 2] {
        let (end, begin) = self.bytes.split_at(self.start);
        [begin, end]
    }

    /// Makes room by doubling, but never for more than `size`.
    fn grow(&mut self, more: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() - len < more {
            let to = (len + more).max(2 * len).min(self.size);
            self.bytes.reserve_exact(to - len);
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text: it may be secret.
        f.debug_struct("Window").field("len", &self.bytes.len()).field("size", &self.size).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_end_of_the_text_however_that_came() {
        let text: Vec<u8> = (0..2000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for size in [0, 1, 2, 5, 64, 256] {
            for step in [1, 2, 3, 7, 63, 64, 65, 255, 256, 257, 1000] {
                let mut window = Window::new(size);
                let mut seen = 0;
                for piece in text.chunks(step) {
                    window.push(piece);
                    seen += piece.len();
                    let from = seen.saturating_sub(size);
                    assert_eq!(window.slices().concat(), &text[from..seen], "{size} {step}");
                    assert!(window.bytes.capacity() <= size);
                }
            }
        }
    }
}
