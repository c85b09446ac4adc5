//! What the targets for heads share. An input begins with how to cut the rest:
//!
//! ```text
//! | settings | count | places, `count % 8` of them, 16 bits each | the bytes |
//! ```

use bowline::{Config, RecvBuf};

pub struct Input<'a> {
    pub settings: u8,
    pub places: Vec<usize>,
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let [settings, count, rest @ ..] = data else {
            return None;
        };
        let (places, bytes) = rest.split_at_checked(2 * usize::from(count % 8))?;
        let place =
            |pair: &[u8]| usize::from(u16::from_be_bytes([pair[0], pair[1]])) % (bytes.len() + 1);
        let mut places: Vec<usize> = places.chunks_exact(2).map(place).collect();
        places.sort_unstable();
        Some(Self { settings: *settings, places, bytes })
    }

    /// Limits that short inputs reach, or those of the default.
    pub fn config(&self) -> Config {
        let config = match self.settings & 3 {
            0 => Config::default(),
            1 => Config::default().max_head_size(256).max_headers(8),
            2 => Config::default().max_head_size(24),
            _ => Config::default().max_headers(usize::MAX).max_head_size(usize::MAX),
        };
        if self.settings & 4 == 0 { config } else { config.allow_any_origin() }
    }

    /// Whether the stream ends after the bytes.
    pub fn ends(&self) -> bool {
        self.settings & 8 != 0
    }

    /// The ways to give the bytes, which must make no difference: at once, cut, and byte by byte.
    pub fn ways(&self) -> [Vec<&'a [u8]>; 3] {
        let ends = self.places.iter().copied().chain([self.bytes.len()]);
        let mut start = 0;
        let cut = ends.map(|end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect();
        [vec![self.bytes], cut, self.bytes.chunks(1).collect()]
    }
}

/// Puts all of a piece into the input.
pub fn fill(input: &mut RecvBuf, mut piece: &[u8]) {
    while !piece.is_empty() {
        let space = input.space();
        let n = space.len().min(piece.len());
        space[..n].copy_from_slice(&piece[..n]);
        input.filled(n);
        piece = &piece[n..];
    }
}
