//! Compressed messages (RFC 7692): compares both receiving and sending with the naive inflater.

use bowline::{Config, Deflate, Message, Progress, Role};

use crate::support::inflate::Terms;
use crate::support::model::{self, Compression};
use crate::support::*;
use crate::{Input, in_parts, split};

/// How a target begins:
///
/// ```text
/// | role, control frames, how the bytes are meant, limits | window, takeover, ratio | as in `Input` |
/// ```
struct Receiving {
    role: Role,
    settings: model::Settings,
    compression: Compression,
}

impl Receiving {
    fn new(bits: u8, agreed: u8) -> Self {
        let max_ratio = [None, Some(0), Some(10), Some(200)][usize::from(agreed >> 4 & 3)];
        let (max_message, max_frame, max_fragments) = match bits >> 3 & 7 {
            // 64 KiB are allowed whatever the ratio.
            0 if max_ratio.is_some() => (1 << 17, None, 1_024),
            0 => (40_000, None, 1_024),
            1 => (100, None, 3),
            2 => (16 << 10, None, 1_024),
            3 => ((32 << 10) + 1, None, 1_024),
            4 => (1 << 20, Some(20), 1_024),
            5 => (0, None, 1_024),
            6 => (70_000, None, 2),
            _ => (u64::MAX, None, 1_024),
        };
        Self {
            role: if bits & 1 == 0 { Role::Server } else { Role::Client },
            settings: model::Settings {
                report: bits & 2 != 0,
                max_message,
                max_frame,
                max_fragments,
            },
            compression: Compression {
                terms: Terms {
                    window: 256 << (agreed & 7),
                    takeover: agreed & 8 == 0,
                    strict: false,
                },
                max_ratio,
            },
        }
    }

    fn side(&self) -> Side {
        let Compression { terms, max_ratio } = self.compression;
        let deflate =
            Deflate::high_compression().max_ratio(max_ratio.map(|ratio| ratio.try_into().unwrap()));
        let peer = if self.role == Role::Server { "client" } else { "server" };
        let mut header = format!("{EXTENSION}; {peer}_max_window_bits={}", terms.window.ilog2());
        if !terms.takeover {
            header += &format!("; {peer}_no_context_takeover");
        }
        Side::extended(self.role, self.settings.config().deflate(deflate), &header)
    }
}

const EXTENSION: &str = "permessage-deflate";

/// Received compressed messages are those of the naive receiver, however they are cut and received.
pub fn inflate(data: &[u8]) {
    let [agreed, rest @ ..] = data else {
        return;
    };
    let Some(Input { settings: bits, places, bytes }) = split(rest) else {
        return;
    };
    let receiving = Receiving::new(bits, *agreed);
    let wire = if bits & 4 == 0 { build(receiving.role, &places, bytes) } else { bytes.into() };
    let places: Vec<usize> = places.into_iter().filter(|&place| place <= wire.len()).collect();

    let run = |pieces: &[&[u8]], style| feed_to(receiving.side(), pieces, style);
    let whole = run(&[&wire], Style::Borrow);
    let Receiving { role, settings, compression } = receiving;
    assert_eq!(whole, model::receive_compressed(role, &wire, settings, Some(compression)));
    let pieces = cut(&wire, &places);
    assert_eq!(run(&pieces, Style::Take), whole);
    assert_eq!(run(&pieces, Style::Release), whole);
    let each: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(run(&each, Style::Borrow), whole);
    in_parts(receiving.side(), &pieces, &whole);
    in_parts(receiving.side(), &each, &whole);
    now_and_then_in_parts(receiving.side(), &pieces, &whole, *agreed >> 6);
}

/// Frames around the bytes, so that a change of the text leaves the frames whole. Each piece begins with the kind
/// of its frame.
fn build(role: Role, places: &[usize], bytes: &[u8]) -> Vec<u8> {
    let (mut wire, mut open) = (Vec::new(), false);
    for piece in cut(bytes, places) {
        let [flags, payload @ ..] = piece else {
            continue;
        };
        if flags & 8 != 0 {
            wire.extend(to(role, PING, b"between"));
        }
        let fin = flags & 1 == 0;
        let opcode = match open {
            true => CONTINUATION,
            false if flags & 2 != 0 => TEXT,
            false => BINARY,
        };
        let rsv = if open || flags & 4 != 0 { 0 } else { 0b100 };
        wire.extend(frame(fin, rsv, opcode, payload, role == Role::Server));
        open = !fin;
    }
    wire
}

/// Some messages in parts and some not. Each whole message is one that was sent, in order, and the end is the same.
fn now_and_then_in_parts(mut side: Side, pieces: &[&[u8]], whole: &Outcome, seed: u8) {
    let mut seeded = Seeded(seed.into());
    let mut expected = whole.events.iter();
    for piece in pieces {
        side.fill(piece);
        loop {
            let parts = seeded.below(3) == 0;
            let progress = match parts {
                true => side.connection.advance_parts(&mut side.input, &mut side.out),
                false => side.connection.advance(&mut side.input, &mut side.out),
            };
            let Ok(Progress::Event) = progress else {
                break;
            };
            let part = side.input.part().unwrap();
            if !parts {
                assert!(part.first && part.last, "`advance` gives whole messages");
            }
            if part.first && part.last {
                let message = part.payload.to_message();
                let is_control = matches!(message, Message::Ping(_) | Message::Pong(_));
                let found = match is_control {
                    // They come between parts, and so before the message that they came in.
                    true => whole.events.contains(&message),
                    false => expected.any(|expected| *expected == message),
                };
                assert!(found, "{message:?}");
            }
        }
    }
    match side.connection.end() {
        None => assert!(matches!(whole.over, Over::Open(_))),
        Some(end) => assert_eq!(over(end.clone()), whole.over),
    }
}

/// Takes bytes that say what to do. It gives zeros when none are left.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// One direction of a connection: an endpoint that compresses, and the readers of its bytes.
struct Direction {
    from: Side,
    to: Side,
    terms: Terms,
    wire: Vec<u8>,
    sent: Vec<Message>,
    /// The message that is being sent in parts.
    open: Option<(bool, Vec<u8>)>,
}

impl Direction {
    fn new(script: &mut Script<'_>) -> Self {
        let (bits, tables) = (script.byte(), script.byte());
        let role = if bits & 1 == 0 { Role::Server } else { Role::Client };
        let (ours, peer) = match role {
            Role::Server => ("server", Role::Client),
            Role::Client => ("client", Role::Server),
        };
        let terms =
            Terms { window: 256 << (bits >> 1 & 7), takeover: bits & 16 == 0, strict: true };
        let deflate = Deflate::high_compression()
            .level(tables % 10)
            .memory_level(1 + tables / 10 % 9)
            .threshold(if bits & 32 == 0 { 0 } else { 100 });
        let mut header = format!("{EXTENSION}; {ours}_max_window_bits={}", terms.window.ilog2());
        if !terms.takeover {
            header += &format!("; {ours}_no_context_takeover");
        }
        let config =
            Config::default().deflate(deflate).max_send_queue(usize::MAX).max_message_size(1 << 24);
        Self {
            from: Side::extended(role, config.clone(), &header),
            to: Side::extended(peer, config, &header),
            terms,
            wire: Vec::new(),
            sent: Vec::new(),
            open: None,
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        let kind = script.byte();
        let (connection, out) = (&mut self.from.connection, &mut self.from.out);
        if kind & 7 == 7 {
            connection.set_compression(kind & 8 == 0);
            return;
        }
        let payload = payload(script);
        let text = std::str::from_utf8(&payload).ok().filter(|_| kind & 16 != 0);
        let message = match (&mut self.open, text) {
            (Some((is_text, _)), text) if *is_text => Message::from(text.unwrap_or_default()),
            (None, Some(text)) => Message::from(text),
            _ => Message::from(payload.clone()),
        };
        if kind & 4 != 0 {
            let last = kind & 8 != 0;
            connection.send_part(&message, last, out).unwrap();
            let is_text = matches!(message, Message::Text(_));
            let open = self.open.get_or_insert((is_text, Vec::new()));
            open.1.extend_from_slice(message.as_bytes());
            if last && let Some((is_text, payload)) = self.open.take() {
                self.sent.push(match is_text {
                    true => Message::from(String::from_utf8(payload).unwrap()),
                    false => Message::from(payload),
                });
            }
        } else if self.open.is_some() {
            assert!(connection.send(&message, out).is_err());
            return;
        } else {
            match kind & 3 {
                0 => connection.send(&message, out).unwrap(),
                1 => connection.send_owned(message.clone(), out).unwrap(),
                _ => drop(connection.send_borrowed(&message, out).unwrap()),
            }
            self.sent.push(message);
        }
        let wire = self.from.take_out();
        self.to.receive(&wire);
        self.wire.extend(wire);
        assert_eq!(self.to.events, self.sent);
    }

    /// Everything is as the naive inflater reads it, which lets no distance reach beyond the window.
    fn check(self) {
        let settings = model::Settings {
            report: true,
            max_message: 1 << 24,
            max_frame: None,
            max_fragments: 1_024,
        };
        let compression = Compression { terms: self.terms, max_ratio: None };
        let outcome =
            model::receive_compressed(self.to.role, &self.wire, settings, Some(compression));
        assert!(matches!(outcome.over, Over::Open(_)), "{:?} {:?}", outcome.over, self.terms);
        assert_eq!(outcome.events, self.sent);
    }
}

/// Bytes of the script itself, some of them again and again, or noise of a few letters.
fn payload(script: &mut Script<'_>) -> Vec<u8> {
    let (kind, len) = (script.byte(), usize::from(script.byte()));
    match kind % 4 {
        0 => script.bytes(len).to_vec(),
        1 => {
            let times = usize::from(script.byte());
            script.bytes(len).repeat(times)
        }
        // A piece, a gap about as wide as a window, and the piece again.
        2 => {
            let gap = (1_usize << (8 + kind / 4 % 8)) + usize::from(script.byte()) - 128;
            let piece = Seeded(len as u64).bytes(usize::from(script.byte()) + 3);
            let gap = gap.saturating_sub(piece.len());
            let letters = Seeded(gap as u64).bytes(gap);
            [&piece[..], &letters, &piece].concat()
        }
        _ => {
            let letters = 1 << (kind / 4 % 7);
            let count = 16 * len + usize::from(script.byte());
            let mut seeded = Seeded(script.byte().into());
            (0..count).map(|_| b'a' + seeded.below(letters) as u8 % 64).collect()
        }
    }
}

/// All compressed messages arrive, over several connections that share compressors.
pub fn deflate(data: &[u8]) {
    let mut script = Script(data);
    let count = 1 + script.byte() % 7;
    let mut directions: Vec<_> = (0..count).map(|_| Direction::new(&mut script)).collect();
    while !script.0.is_empty() {
        let which = script.byte();
        let direction = &mut directions[usize::from(which % count)];
        if which >= 250 {
            // Perhaps in the middle of a message.
            std::mem::replace(direction, Direction::new(&mut script)).check();
        } else {
            direction.act(&mut script);
        }
    }
    directions.into_iter().for_each(Direction::check);
}
