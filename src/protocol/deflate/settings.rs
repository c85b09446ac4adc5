//! What the user chooses.

/// Settings of permessage-deflate (RFC 7692), for [`Config::deflate`](crate::Config::deflate).
///
/// Compression is used if the peer agrees to it in the opening handshake. The side that compresses
/// refers back to the last bytes that it sent, its window; with *context takeover* also to those of
/// earlier messages, which is what makes small messages small. Then each connection keeps one window
/// for each direction, and nothing else while it is idle: compressors are lent by a small pool of
/// each thread.
///
/// ```
/// use bowline::{Config, Deflate};
/// let config = Config::default().deflate(Deflate::default().threshold(512));
/// ```
///
/// Do not send secrets compressed in the same message, or with context takeover on the same
/// connection, as text that an attacker chooses: the size then tells about the secret (CRIME,
/// BREACH). Turn compression off for such messages: `set_compression` of each `WebSocket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    pub(crate) server: Side,
    pub(crate) client: Side,
    pub(crate) level: u8,
    pub(crate) memory_level: u8,
    pub(crate) threshold: usize,
    pub(crate) max_ratio: Option<u32>,
}

/// What one side compresses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) window_bits: u8,
    pub(crate) takeover: bool,
}

impl Default for Deflate {
    /// Windows of 4 KiB with context takeover, for JSON messages that are a sixth or so larger than
    /// with the largest windows.
    fn default() -> Self {
        let side = Side { window_bits: 12, takeover: true };
        Self {
            server: side,
            client: side,
            level: 5,
            memory_level: 6,
            threshold: 128,
            max_ratio: None,
        }
    }
}

impl Deflate {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smallest messages: windows of 32 KiB with context takeover.
    /// Worth it where messages resemble what was sent long before them, or are large.
    pub fn high_compression() -> Self {
        let side = Side { window_bits: 15, takeover: true };
        Self { server: side, client: side, ..Self::default() }
    }

    /// Nothing is held between messages, and each is compressed alone: right for very many
    /// connections, or messages of several KiB that have little in common. Small ones hardly shrink.
    pub fn low_memory() -> Self {
        let side = Side { window_bits: 15, takeover: false };
        Self { server: side, client: side, threshold: 512, ..Self::default() }
    }

    /// The server's window has at most 2 to the power of this many bytes: 9 to 15; others count as
    /// the nearest of these. Default 12.
    ///
    /// A client asks for it, and offers to go without for a server that cannot limit its window; then
    /// that has 32 KiB.
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server.window_bits = bits.clamp(9, 15);
        self
    }

    /// The client's window; see [`server_max_window_bits`](Self::server_max_window_bits).
    ///
    /// A server can limit it only if the client offers that, as Chromium does and Firefox does not.
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client.window_bits = bits.clamp(9, 15);
        self
    }

    /// Whether the server's messages may refer to earlier ones. Default `true`.
    pub fn server_context_takeover(mut self, on: bool) -> Self {
        self.server.takeover = on;
        self
    }

    /// Whether the client's messages may refer to earlier ones. Default `true`.
    pub fn client_context_takeover(mut self, on: bool) -> Self {
        self.client.takeover = on;
        self
    }

    /// How hard to compress, from 0 (not at all) to 9; higher counts as 9. Default 5: on
    /// JSON it comes within a hundredth or so of 6, zlib's own, at three quarters of its cost. Level 1
    /// takes a quarter of that or less, for messages that are a third to a half larger.
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.min(9);
        self
    }

    /// How much memory a compressor's tables may take while it works, from 1 to 9; others count as
    /// the nearest of these. Default 6; on JSON of 16 KiB, more gains nothing. No connection keeps them: it
    /// matters for the size of long messages, and for the processor's caches.
    pub fn memory_level(mut self, level: u8) -> Self {
        self.memory_level = level.clamp(1, 9);
        self
    }

    /// Shorter messages are sent uncompressed. Default 128 bytes: below that a message fits any
    /// packet, and compressing it costs more than all else. Messages that are sent in parts are
    /// compressed whatever their length, since it is not known.
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Received messages may inflate to at most so many times the bytes that they take on the wire,
    /// counted frame by frame, beside 64 KiB that are always allowed. Beyond: Close 1009.
    ///
    /// Default `None`: [`Config::max_message_size`](crate::Config::max_message_size) bounds inflated
    /// bytes as they come, and so memory, in any case. A ratio bounds the work that a byte from the peer
    /// can cause. Zeros reach 1,030; JSON rarely 25.
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.max_ratio = ratio.into();
        self
    }
}
