//! A client that compresses: what it sends, and how it reads the answers. It uses only zlib-rs.

use bowline::Role;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use super::Numbers;
use super::frames::{CONTINUATION, TEXT, decode_extended, frame_with};
use super::json::Records;

/// The end of an empty block that flushes. RFC 7692 §7.2.1 leaves it out.
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The level and the memory level of `bowline::Deflate::default()`.
pub const DEFAULT_LEVELS: (i32, i32) = (5, 6);

/// A client's request, with the offer that browsers make.
pub const REQUEST: &str = "GET / HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// What client and server agreed on (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreed {
    pub client_bits: u8,
    pub client_takeover: bool,
    pub server_bits: u8,
    pub server_takeover: bool,
}

impl Agreed {
    /// Windows of 15 bits with context takeover.
    pub const FULL: Self =
        Self { client_bits: 15, client_takeover: true, server_bits: 15, server_takeover: true };

    /// No window is kept.
    pub const NO_TAKEOVER: Self =
        Self { client_takeover: false, server_takeover: false, ..Self::FULL };

    /// A server's `Sec-WebSocket-Extensions`.
    pub fn parse(header: &str) -> Self {
        let mut parts = header.split(';').map(str::trim);
        assert_eq!(parts.next(), Some("permessage-deflate"), "{header}");
        let mut agreed = Self::FULL;
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("client_max_window_bits", bits) => agreed.client_bits = bits.parse().unwrap(),
                ("server_max_window_bits", bits) => agreed.server_bits = bits.parse().unwrap(),
                ("client_no_context_takeover", "") => agreed.client_takeover = false,
                ("server_no_context_takeover", "") => agreed.server_takeover = false,
                _ => panic!("{header}"),
            }
        }
        agreed
    }
}

/// A client's frames, one for each message, and the messages.
///
/// They come twice. The second half begins with the window that the first half left, and leaves the same
/// window. So it can follow itself for ever.
pub struct Wire {
    pub messages: Vec<String>,
    pub frames: Vec<u8>,
    /// Where each frame ends.
    pub ends: Vec<usize>,
}

impl Wire {
    /// `count` messages of `len` bytes, not compressed if nothing was agreed on.
    pub fn new(seed: u64, len: usize, count: usize, agreed: Option<Agreed>) -> Self {
        assert!(count * len > 48 << 10, "a message would find itself in the window");
        let mut records = Records::new(seed);
        let mut keys = Numbers::seeded(seed);
        let messages: Vec<_> = (0..count).map(|_| records.message(len)).collect();
        let mut client = agreed.map(Packer::client);
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for message in messages.iter().chain(&messages) {
            let mut packed = Vec::new();
            let (first, payload) = match &mut client {
                Some(client) => {
                    client.pack(message.as_bytes(), &mut packed);
                    (0xC1, &packed[..])
                }
                None => (0x81, message.as_bytes()),
            };
            frames.extend(frame_with(first, Some(keys.key()), payload));
            ends.push(frames.len());
        }
        Self { messages, frames, ends }
    }

    /// The frame that is sent as number `i`, for ever.
    pub fn frame(&self, i: usize) -> std::ops::Range<usize> {
        let at = match i.checked_sub(self.ends.len()) {
            Some(beyond) => self.messages.len() + beyond % self.messages.len(),
            None => i,
        };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start..self.ends[at]
    }

    /// Where the second half begins.
    pub fn second_half(&self) -> usize {
        self.ends[self.messages.len() - 1]
    }

    /// The message in that frame.
    pub fn message(&self, i: usize) -> &str {
        &self.messages[i % self.messages.len()]
    }
}

/// Compresses messages with raw calls.
pub struct Packer {
    deflate: Deflate,
    takeover: bool,
    buffer: Box<[u8]>,
}

impl Packer {
    pub fn new(level: i32, memory: i32, bits: u8, takeover: bool) -> Self {
        let mut config = DeflateConfig::new(level);
        // Negative: neither header nor checksum.
        config.window_bits = -i32::from(bits);
        config.mem_level = memory;
        // Room for any message of these benchmarks, even one that does not shrink.
        let buffer = vec![0; 32 << 10].into();
        Self { deflate: Deflate::new_with_config(config), takeover, buffer }
    }

    /// As browsers do it.
    fn client(agreed: Agreed) -> Self {
        Self::new(6, 8, agreed.client_bits, agreed.client_takeover)
    }

    pub fn pack(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if !self.takeover {
            self.deflate.reset();
        }
        let before = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate.compress(message, &mut self.buffer, DeflateFlush::SyncFlush).unwrap();
        assert_eq!(self.deflate.total_in() - before.0, message.len() as u64);
        let packed = &self.buffer[..(self.deflate.total_out() - before.1) as usize];
        out.extend(packed.strip_suffix(&TAIL).expect("the buffer was too small"));
    }
}

/// Inflates messages with raw calls.
pub struct Unpacker {
    inflate: Inflate,
    takeover: bool,
    pub buffer: Box<[u8]>,
}

impl Unpacker {
    pub fn new(bits: u8, takeover: bool) -> Self {
        // zlib-rs writes only what it has room for, so this is enough for a message.
        Self { inflate: Inflate::new(false, bits), takeover, buffer: vec![0; 32 << 10].into() }
    }

    /// The message, whose tail is there again.
    pub fn unpack(&mut self, packed: &[u8]) -> &[u8] {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        self.inflate.decompress(packed, &mut self.buffer, InflateFlush::SyncFlush).unwrap();
        assert_eq!(self.inflate.total_in() - before.0, packed.len() as u64);
        let len = (self.inflate.total_out() - before.1) as usize;
        if !self.takeover {
            self.inflate.reset(false);
        }
        &self.buffer[..len]
    }
}

/// Takes a server's frames apart, and inflates the compressed ones.
pub struct Client {
    unpacker: Option<Unpacker>,
}

impl Client {
    pub fn new(agreed: Option<Agreed>) -> Self {
        Self { unpacker: agreed.map(|a| Unpacker::new(a.server_bits, a.server_takeover)) }
    }

    /// The one message that these frames make.
    pub fn message(&mut self, frames: &[u8]) -> Vec<u8> {
        let frames = decode_extended(Role::Server, frames);
        let (first, last) = (frames.first().expect("a frame"), frames.len() - 1);
        let packed = first.marked;
        assert!(!packed || self.unpacker.is_some(), "{first:?} was not agreed on");
        for (i, frame) in frames.iter().enumerate() {
            let opcode = if i == 0 { TEXT } else { CONTINUATION };
            assert_eq!((frame.opcode, frame.fin), (opcode, i == last), "frames of one message");
        }
        let mut payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
        match &mut self.unpacker {
            Some(unpacker) if packed => {
                payload.extend(TAIL);
                unpacker.unpack(&payload).to_vec()
            }
            _ => payload,
        }
    }
}
