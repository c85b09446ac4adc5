//! Compressed messages made by hand, bit by bit as RFC 1951 draws them, and read back naively.

use super::inflate::{Inflater, Step, Terms};
use super::{Role, frame};

/// The end of each message, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The first length of each code from 257 on, and its extra bits (RFC 1951 §3.2.5).
#[rustfmt::skip]
const LENGTHS: [(usize, u8); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5),
    (227, 5), (258, 0),
];

/// The first distance of each code, and its extra bits.
fn distances() -> impl DoubleEndedIterator<Item = (usize, u8)> + ExactSizeIterator {
    (0..30_usize).map(|code| match code {
        0..4 => (code + 1, 0),
        _ => (((2 + code % 2) << (code / 2 - 1)) + 1, (code / 2 - 1) as u8),
    })
}

/// A frame to `role` with RSV1 set.
pub(crate) fn marked(role: Role, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(fin, 0b100, opcode, payload, role == Role::Server)
}

/// A step of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Literal(u8),
    /// As many bytes as the first number, from as far back as the second.
    Match(usize, usize),
}

pub(crate) fn literals(bytes: &[u8]) -> Vec<Token> {
    bytes.iter().copied().map(Token::Literal).collect()
}

/// So many equal bytes: one literal, and matches of the longest.
pub(crate) fn run_of(byte: u8, len: usize) -> Vec<Token> {
    let mut tokens = vec![Token::Literal(byte)];
    let mut left = len - 1;
    while left > 0 {
        // No match is shorter than three.
        let n = if left <= 258 { left } else { 258.min(left - 3) };
        match n {
            1 | 2 => tokens.extend(vec![Token::Literal(byte); n]),
            _ => tokens.push(Token::Match(n, 1)),
        }
        left -= n;
    }
    tokens
}

/// A message under construction, block by block.
#[derive(Clone, Default)]
pub(crate) struct Blocks {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used; none of it is all.
    used: u8,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A block with the fixed codes. What follows a final block begins with a byte (RFC 7692 §7.2.3.4).
    pub(crate) fn fixed(mut self, is_final: bool, tokens: &[Token]) -> Self {
        self.number(usize::from(is_final), 1);
        self.number(1, 2);
        for token in tokens {
            match *token {
                Token::Literal(byte) => self.fixed_symbol(usize::from(byte)),
                Token::Match(len, distance) => {
                    let of = |table: &[(usize, u8)], value| {
                        let code = table.iter().rposition(|&(first, _)| first <= value).unwrap();
                        (code, value - table[code].0, table[code].1)
                    };
                    let (code, extra, bits) = of(&LENGTHS, len);
                    self.fixed_symbol(257 + code);
                    self.number(extra, bits);
                    let (code, extra, bits) = of(&distances().collect::<Vec<_>>(), distance);
                    self.code(code, 5);
                    self.number(extra, bits);
                }
            }
        }
        self.fixed_symbol(256);
        if is_final {
            self.align();
        }
        self
    }

    pub(crate) fn stored(mut self, is_final: bool, bytes: &[u8]) -> Self {
        self.number(usize::from(is_final), 1);
        self.number(0, 2);
        self.align();
        let len = u16::try_from(bytes.len()).unwrap();
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(bytes);
        self
    }

    /// All of it, as a flush ends it: with the beginning of an empty stored block.
    pub(crate) fn message(mut self) -> Vec<u8> {
        self = self.stored(false, b"");
        self.bytes.truncate(self.bytes.len() - TAIL.len());
        self.bytes
    }

    /// All of it, as it is.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn align(&mut self) {
        self.used = 0;
    }

    fn bit(&mut self, bit: usize) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= (bit as u8 & 1) << self.used;
        self.used = (self.used + 1) % 8;
    }

    fn number(&mut self, value: usize, bits: u8) {
        (0..bits).for_each(|at| self.bit(value >> at));
    }

    fn code(&mut self, code: usize, bits: u8) {
        (0..bits).rev().for_each(|at| self.bit(code >> at));
    }

    fn fixed_symbol(&mut self, symbol: usize) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xC0 + symbol - 280, 8),
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// The greatest distance back.
    pub(crate) farthest: usize,
    /// How far back before its own first byte it refers.
    pub(crate) reach: usize,
}

/// Inflates a message that may refer to `history`: `None` unless it is right to its last bit, and either has the end that
/// a flush gives it, or ends with a final block, or is empty. `takeover`: a window outlives a final block.
pub(crate) fn inflate(payload: &[u8], history: &[u8], takeover: bool) -> Option<Text> {
    let mut inflater = Inflater::new(Terms { window: 32 << 10, takeover, strict: false });
    inflater.text = history.to_vec();
    inflater.feed(payload);
    let mut text = Text::default();
    loop {
        match inflater.step().ok()? {
            Step::Output(n) => {
                let distance = inflater.distance;
                text.farthest = text.farthest.max(distance);
                text.reach = text.reach.max(distance.saturating_sub(text.bytes.len()));
                text.bytes.extend(&inflater.text[inflater.text.len() - n..]);
            }
            Step::End => {}
            Step::Starved => return inflater.finish().then_some(text),
        }
    }
}
