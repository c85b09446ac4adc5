//! The settings of compression.

/// Settings of permessage-deflate (RFC 7692), for [`Config::deflate`](crate::Config::deflate).
///
/// Compression is used if the peer agrees to it in the opening handshake. The side that compresses
/// refers back to the last bytes that it sent, its window. With *context takeover* it also refers back
/// to earlier messages, and that is what makes small messages small. Each connection then keeps one
/// window for each direction, and nothing else while it is idle: a small pool of each thread lends the
/// compressors.
///
/// ```
/// use bowline::{Config, Deflate};
/// let config = Config::default().deflate(Deflate::default().threshold(512));
/// ```
///
/// Do not compress a secret in the same message as text that an attacker chooses. With context takeover,
/// do not do so on the same connection. The compressed size tells about the secret (CRIME, BREACH). Turn
/// compression off for such messages with `set_compression` of the `WebSocket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    pub(crate) server: Side,
    pub(crate) client: Side,
    pub(crate) offer: Offer,
    pub(crate) level: u8,
    pub(crate) memory_level: u8,
    pub(crate) threshold: usize,
    pub(crate) max_ratio: Option<u32>,
}

/// How one side compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) window_bits: u8,
    pub(crate) takeover: bool,
}

/// What a client's offer names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// A limit of the server's window was chosen.
    pub(crate) server_window: bool,
    /// A limit of the client's window was chosen.
    pub(crate) client_window: bool,
    /// The name of the extension and nothing else.
    pub(crate) bare: bool,
}

impl Default for Deflate {
    /// This side compresses with a window of 4 KiB and context takeover. JSON messages are about a sixth larger
    /// than with the largest window.
    ///
    /// A server limits the client's window to 4 KiB as well, if the client offers that. A client offers what
    /// browsers offer, `permessage-deflate; client_max_window_bits`, which nearly every server knows. So it does not
    /// limit the server's window, and keeps 32 KiB for what it receives: see
    /// [`server_max_window_bits`](Self::server_max_window_bits).
    fn default() -> Self {
        let side = Side { window_bits: 12, takeover: true };
        Self {
            server: side,
            client: side,
            offer: Offer::default(),
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

    /// The smallest messages: windows of 32 KiB with context takeover. It is worth it if messages are large, or
    /// resemble messages from long before.
    pub fn high_compression() -> Self {
        let side = Side { window_bits: 15, takeover: true };
        Self { server: side, client: side, ..Self::default() }
    }

    /// Each message is compressed alone, and nothing is held between messages. It is right for very many
    /// connections, or for messages of several KiB that have little in common. Small messages hardly shrink.
    pub fn low_memory() -> Self {
        let side = Side { window_bits: 15, takeover: false };
        Self { server: side, client: side, threshold: 512, ..Self::default() }
    }

    /// The server's window has at most 2 to the power of `bits` bytes. `bits` is from 9 to 15, and any other
    /// number counts as the nearest of these. Default 12.
    ///
    /// A client asks for it only if this is called, and with less than 15. The client keeps the server's window
    /// between messages: 4 KiB for 12 bits, and 32 KiB without a limit. A server that cannot limit its window
    /// has to decline (RFC 7692 §7.1.2.1), so the client makes a second offer without limits.
    ///
    /// Ask for it if you know the server. Not all of them can deal with it: early versions of Go's
    /// nhooyr.io/websocket answer `server_max_window_bits` with 400. Servers on `java.util.zip` cannot limit a
    /// window and decline. Some servers agree to a list of two offers and then never answer a message.
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server.window_bits = bits.clamp(9, 15);
        self.offer.server_window = true;
        self
    }

    /// The client's window has at most 2 to the power of `bits` bytes, as for
    /// [`server_max_window_bits`](Self::server_max_window_bits). Default 12.
    ///
    /// A server can limit it only if the client offers that, as Chromium does and Firefox does not. A client
    /// never compresses with a larger window. It names the number in its offer only if this is called, as a hint
    /// (RFC 7692 §7.1.2.2). Otherwise it offers the parameter without a value.
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client.window_bits = bits.clamp(9, 15);
        self.offer.client_window = true;
        self
    }

    /// Client: offer the bare word `permessage-deflate`, whatever else is set. Default `false`. It is for servers and
    /// gateways that refuse any window parameter, even the one that browsers offer.
    ///
    /// The server then cannot limit the client's window (RFC 7692 §7.1.2.2), and is asked for nothing. The client
    /// still compresses as its settings say.
    pub fn bare_offer(mut self, on: bool) -> Self {
        self.offer.bare = on;
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

    /// How hard to compress, from 0 (not at all) to 9. A higher number counts as 9. Default 5: on JSON its
    /// messages are within about 1 % of those of level 6, zlib's default, at three quarters of the cost.
    /// Level 1 costs at most a quarter of that, for messages that are a third to a half larger.
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.min(9);
        self
    }

    /// How much memory a compressor's tables may take while it works, from 1 to 9. Any other number counts
    /// as the nearest of these. Default 6: on JSON of 16 KiB, more gains nothing. No connection keeps the
    /// tables. Their size matters for the size of long messages, and for the processor's caches.
    pub fn memory_level(mut self, level: u8) -> Self {
        self.memory_level = level.clamp(1, 9);
        self
    }

    /// Shorter messages are sent uncompressed. Default 128 bytes: a shorter message fits any packet, and
    /// compressing it costs more than all other work on it. A message that is sent in parts is always
    /// compressed, because its length is not known.
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// A received message may inflate to at most `ratio` times its payload bytes on the wire, and 64 KiB
    /// more. A frame counts with its whole payload once its header has come. Beyond: Close 1009.
    ///
    /// Default `None`: [`Config::max_message_size`](crate::Config::max_message_size) bounds the inflated
    /// bytes as they come, and so the memory, in any case. A ratio bounds the work that a byte from the peer
    /// can cause. Zeros reach a ratio of 1,030; JSON rarely reaches 25.
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.max_ratio = ratio.into();
        self
    }
}
