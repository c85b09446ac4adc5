//! DEFLATE (RFC 1951) bit by bit, as its document draws it: what compressed messages are made of, and what the library's
//! own are held against.

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

/// The fixed codes (RFC 1951 §3.2.6).
fn fixed() -> (Code, Code) {
    let literals = [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat();
    (code(&literals), code(&[5; 32]))
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

/// What a message holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// The greatest distance back.
    pub(crate) farthest: usize,
    /// How far back before its own first byte it refers.
    pub(crate) reach: usize,
    /// Whether it refers to its own bytes before a final block.
    pub(crate) crosses: bool,
    /// How many stored blocks it has, how many with fixed codes, how many with codes of their own.
    pub(crate) blocks: [usize; 3],
}

/// Inflates a message that may refer to `history`: `None` unless it is right to its last bit, and either has the end that
/// a flush gives it, or ends with a final block, or is empty.
pub(crate) fn inflate(payload: &[u8], history: &[u8]) -> Option<Text> {
    let whole = [payload, &TAIL].concat();
    let mut reader =
        Reader { bytes: &whole, at: 0, payload_bits: 8 * payload.len(), history, anew: 0 };
    let mut text = Text::default();
    let mut begins = true;
    loop {
        if reader.at == 8 * whole.len() || begins && reader.at == reader.payload_bits {
            return Some(text);
        }
        let is_final = reader.number(1)? == 1;
        reader.block(&mut text)?;
        begins = is_final;
        if is_final {
            reader.anew = text.bytes.len();
            reader.at = reader.at.next_multiple_of(8);
        }
    }
}

/// The symbols that have codes of one bit, of two, and so on (RFC 1951 §3.2.2).
type Code = [Vec<usize>; 15];

fn code(lengths: &[u8]) -> Code {
    std::array::from_fn(|at| {
        (0..lengths.len()).filter(|&s| usize::from(lengths[s]) == at + 1).collect()
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    payload_bits: usize,
    history: &'a [u8],
    /// How long the text was behind the last final block.
    anew: usize,
}

impl Reader<'_> {
    fn bit(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at / 8)?;
        self.at += 1;
        Some(usize::from(byte >> ((self.at - 1) % 8) & 1))
    }

    fn number(&mut self, bits: u8) -> Option<usize> {
        (0..bits).try_fold(0, |number, at| Some(number | self.bit()? << at))
    }

    fn symbol(&mut self, code: &Code) -> Option<usize> {
        let (mut bits, mut first) = (0, 0);
        for of_len in code {
            bits = bits << 1 | self.bit()?;
            first <<= 1;
            if bits < first + of_len.len() {
                return Some(of_len[bits - first]);
            }
            first += of_len.len();
        }
        None
    }

    fn block(&mut self, text: &mut Text) -> Option<()> {
        let kind = self.number(2)?;
        let (literals, distances) = match kind {
            0 => {
                self.at = self.at.next_multiple_of(8);
                let len = self.number(16)?;
                if self.number(16)? != !len & 0xffff {
                    return None;
                }
                for _ in 0..len {
                    let byte = self.number(8)? as u8;
                    self.push(text, byte)?;
                }
                text.blocks[0] += 1;
                return Some(());
            }
            1 => fixed(),
            2 => self.codes()?,
            _ => return None,
        };
        text.blocks[kind] += 1;
        loop {
            match self.symbol(&literals)? {
                256 => return Some(()),
                literal @ 0..256 => self.push(text, literal as u8)?,
                code => {
                    let &(first, bits) = LENGTHS.get(code - 257)?;
                    let len = first + self.number(bits)?;
                    let code = self.symbol(&distances)?;
                    let (first, bits) = self::distances().nth(code)?;
                    let distance = first + self.number(bits)?;
                    text.farthest = text.farthest.max(distance);
                    text.reach = text.reach.max(distance.saturating_sub(text.bytes.len()));
                    let own = text.bytes.len();
                    text.crosses |= own - self.anew < distance && distance <= own;
                    for _ in 0..len {
                        let at = (self.history.len() + text.bytes.len()).checked_sub(distance)?;
                        let own = at.checked_sub(self.history.len());
                        self.push(
                            text,
                            own.map_or_else(|| self.history[at], |own| text.bytes[own]),
                        )?;
                    }
                }
            }
        }
    }

    /// Nothing comes of the four bytes that were not sent.
    fn push(&self, text: &mut Text, byte: u8) -> Option<()> {
        text.bytes.push(byte);
        (self.at <= self.payload_bits).then_some(())
    }

    /// The codes of a block that has its own (RFC 1951 §3.2.7).
    fn codes(&mut self) -> Option<(Code, Code)> {
        const ORDER: [usize; 19] =
            [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let literals = 257 + self.number(5)?;
        let distances = 1 + self.number(5)?;
        let count = 4 + self.number(4)?;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0; 19];
        for &symbol in &ORDER[..count] {
            lengths[symbol] = self.number(3)? as u8;
        }
        if !is_complete(&lengths) {
            return None;
        }
        let of_lengths = code(&lengths);
        let mut lengths: Vec<u8> = Vec::new();
        while lengths.len() < literals + distances {
            let (len, times) = match self.symbol(&of_lengths)? {
                16 => (*lengths.last()?, 3 + self.number(2)?),
                17 => (0, 3 + self.number(3)?),
                18 => (0, 11 + self.number(7)?),
                len => (len as u8, 1),
            };
            lengths.extend(vec![len; times]);
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return None;
        }
        let distances = lengths.split_off(literals);
        // One symbol alone has a bit all the same, and there may be no distance.
        let is_right = |lengths: &[u8]| {
            is_complete(lengths) || lengths.iter().copied().map(u32::from).sum::<u32>() <= 1
        };
        (is_right(&lengths) && is_right(&distances)).then(|| (code(&lengths), code(&distances)))
    }
}

/// Whether a code with these lengths uses all bits, and none twice.
fn is_complete(lengths: &[u8]) -> bool {
    let used = lengths.iter().filter(|&&len| len > 0).map(|&len| 1 << (15 - len));
    used.sum::<usize>() == 1 << 15
}
