//! Lower bounds that no library can beat by much: the same bytes moved without a protocol (`Floor`), and the
//! shortest loop that knows the protocol but trusts the peer (`Bare`).

use super::{Numbers, Receive, Send, Sink, Source, Work};

/// A payload length as a header has it, after a mask bit. It is measured, so it allocates no header.
#[inline]
pub fn put_len(out: &mut Vec<u8>, mask: u8, len: usize) {
    match len {
        0..126 => out.push(mask | len as u8),
        126..0x1_0000 => {
            out.push(mask | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
}

/// Writes `from` XOR the repeated key to `to`, in one pass.
#[inline]
pub fn copy_xor(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    let to = &mut to[..from.len()];
    let blocks = from.len() & !31;
    if blocks > 0 {
        copy_xor_blocks(&mut to[..blocks], &from[..blocks], key);
    }
    let (to_words, to_rest) = to[blocks..].as_chunks_mut::<4>();
    let (from_words, from_rest) = from[blocks..].as_chunks::<4>();
    let word = u32::from_ne_bytes(key);
    for (to, from) in to_words.iter_mut().zip(from_words) {
        *to = (u32::from_ne_bytes(*from) ^ word).to_ne_bytes();
    }
    for ((to, from), key) in to_rest.iter_mut().zip(from_rest).zip(key) {
        *to = from ^ key;
    }
}

/// Not inlined. The compiler knows that a function's arguments do not overlap. Without that, it may go byte by
/// byte.
#[inline(never)]
fn copy_xor_blocks(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| key[i % 4]);
    let (to, from) = (to.as_chunks_mut::<32>().0, from.as_chunks::<32>().0);
    for (to, from) in to.iter_mut().zip(from) {
        for i in 0..32 {
            to[i] = from[i] ^ wide[i];
        }
    }
}

/// XORs `data` with the repeated key, in place.
#[inline]
pub fn xor(data: &mut [u8], key: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| key[i % 4]);
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for i in 0..32 {
            block[i] ^= wide[i];
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(key);
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Knows where each payload lies, and copies and unmasks it in one pass.
pub struct Floor<'a> {
    stream: &'a [u8],
    buffer: Vec<u8>,
    at: usize,
    header: usize,
    frame: usize,
}

impl<'a> Floor<'a> {
    pub fn new(work: &'a Work) -> Self {
        let frames = work.payload.len().div_ceil(work.frame) * work.messages as usize;
        let header = work.stream.len() / frames - work.frame;
        let buffer = vec![0; work.payload.len()];
        Self { stream: &work.stream, buffer, at: 0, header, frame: work.frame }
    }
}

impl Receive for Floor<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            for to in self.buffer.chunks_mut(self.frame) {
                let from = &self.stream[self.at..];
                let key = *from[self.header - 4..].first_chunk().unwrap();
                copy_xor(to, &from[self.header..self.header + to.len()], key);
                self.at += self.header + to.len();
            }
            if self.at == self.stream.len() {
                self.at = 0;
            }
            see(&self.buffer);
        }
    }
}

/// Reads into a buffer, parses headers, and unmasks in place. It checks only UTF-8.
pub struct Bare<'a> {
    source: Source<'a>,
    is_text: bool,
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
}

impl<'a> Bare<'a> {
    pub fn new(work: &'a Work) -> Self {
        // One size that fits. A library has to find it out.
        let size = (32 << 10).max(work.payload.len() + work.payload.len() / work.frame * 14);
        let buffer = vec![0; size];
        Self { source: work.source(), is_text: work.is_text, buffer, read: 0, filled: 0 }
    }

    #[inline]
    fn header(bytes: &[u8]) -> Option<(bool, usize, [u8; 4], usize)> {
        let fin = *bytes.first()? & 0x80 != 0;
        let (len, size) = match bytes.get(1)? & 0x7F {
            126 => (u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
            len => (len as usize, 2),
        };
        Some((fin, len, *bytes.get(size..)?.first_chunk()?, size + 4))
    }
}

impl Receive for Bare<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        let mut left = count;
        // Where the message under way begins, and how long it is.
        let (mut message, mut len) = (self.read, 0);
        while left > 0 {
            let unread = &self.buffer[self.read..self.filled];
            match Self::header(unread) {
                Some((fin, n, key, header)) if header + n <= unread.len() => {
                    let at = self.read + header;
                    self.read = at + n;
                    if len == 0 {
                        message = at;
                    } else {
                        self.buffer.copy_within(at..at + n, message + len);
                    }
                    xor(&mut self.buffer[message + len..message + len + n], key);
                    len += n;
                    if fin {
                        let payload = &self.buffer[message..message + len];
                        if self.is_text {
                            simdutf8::basic::from_utf8(payload).unwrap();
                        }
                        see(payload);
                        len = 0;
                        left -= 1;
                    }
                }
                _ => {
                    self.buffer.copy_within(message..message + len, 0);
                    self.buffer.copy_within(self.read..self.filled, len);
                    self.filled = len + self.filled - self.read;
                    (message, self.read) = (0, len);
                    self.filled += self.source.read(&mut self.buffer[self.filled..]);
                }
            }
        }
    }
}

/// Write when this much is queued, as the adapters do.
pub const WRITE_FROM: usize = 16 << 10;

/// A server makes one copy of a finished frame. A client copies and masks in one pass, into a queue that is
/// copied to the socket. It has one key for all frames.
pub struct SendFloor<'a> {
    work: &'a Work,
    masked: bool,
    frame: Vec<u8>,
    header: usize,
    queue: Vec<u8>,
    sink: Sink,
}

impl<'a> SendFloor<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let (head, header) = header(masked, work.payload.len(), KEY);
        let mut frame = head[..header].to_vec();
        frame.extend(&work.payload);
        let queue = vec![0; WRITE_FROM + frame.len()];
        Self { work, masked, frame, header, queue, sink }
    }
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Send for SendFloor<'_> {
    fn send(&mut self, count: u64) {
        if !self.masked {
            for _ in 0..count {
                self.sink.write(&self.frame);
            }
            return;
        }
        let mut queued = 0;
        for _ in 0..count {
            let to = &mut self.queue[queued..queued + self.frame.len()];
            let (head, body) = to.split_at_mut(self.header);
            head.copy_from_slice(&self.frame[..self.header]);
            copy_xor(body, &self.work.payload, KEY);
            queued += self.frame.len();
            if queued >= WRITE_FROM {
                self.sink.write(&self.queue[..queued]);
                queued = 0;
            }
        }
        self.sink.write(&self.queue[..queued]);
    }

    fn into_sink(self) -> Sink {
        self.sink
    }
}

/// Writes each header, and copies (and masks) the payload into a queue. A server's large payload goes to the
/// socket without the queue. The keys are random but not secret.
pub struct SendBare<'a> {
    payload: &'a [u8],
    masked: bool,
    keys: Numbers,
    queue: Vec<u8>,
    sink: Sink,
}

impl<'a> SendBare<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let queue = vec![0; WRITE_FROM + 14 + work.payload.len()];
        Self { payload: &work.payload, masked, keys: Numbers::new(), queue, sink }
    }
}

impl Send for SendBare<'_> {
    fn send(&mut self, count: u64) {
        let len = self.payload.len();
        let mut queued = 0;
        for _ in 0..count {
            let key = if self.masked { self.keys.key() } else { [0; 4] };
            let (head, size) = header(self.masked, len, key);
            self.queue[queued..queued + 14].copy_from_slice(&head);
            queued += size;
            if self.masked {
                copy_xor(&mut self.queue[queued..], self.payload, key);
                queued += len;
            } else if len < WRITE_FROM {
                self.queue[queued..queued + len].copy_from_slice(self.payload);
                queued += len;
            } else {
                self.sink.write(&self.queue[..queued]);
                self.sink.write(self.payload);
                queued = 0;
            }
            if queued >= WRITE_FROM {
                self.sink.write(&self.queue[..queued]);
                queued = 0;
            }
        }
        self.sink.write(&self.queue[..queued]);
    }

    fn into_sink(self) -> Sink {
        self.sink
    }
}

#[inline]
fn header(masked: bool, len: usize, key: [u8; 4]) -> ([u8; 14], usize) {
    let mut head = [0; 14];
    let mask = if masked { 0x80 } else { 0 };
    head[0] = 0x82;
    let mut size = 2;
    if len < 126 {
        head[1] = mask | len as u8;
    } else if len < 0x1_0000 {
        head[1] = mask | 126;
        head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        size = 4;
    } else {
        head[1] = mask | 127;
        head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        size = 10;
    }
    if masked {
        head[size..size + 4].copy_from_slice(&key);
        size += 4;
    }
    (head, size)
}
