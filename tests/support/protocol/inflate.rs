//! A naive inflater (RFC 1951): a bit at a time, one symbol after the other, nothing clever. It shares no code with
//! the one that the library uses.

/// The most that a distance can say.
const FARTHEST: usize = 32 << 10;

/// What the peer may compress with (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) window: usize,
    pub(crate) takeover: bool,
    /// Whether the window holds inside a message too. A receiver may be lenient there, a sender must keep to it.
    pub(crate) strict: bool,
}

/// What one step came to.
pub(crate) enum Step {
    /// More input is needed.
    Starved,
    /// So many bytes were added to the text.
    Output(usize),
    /// A block ended.
    End,
}

/// The text is broken here.
#[derive(Debug)]
pub(crate) struct Broken;

enum Stop {
    Starved,
    Broken,
}

enum Block {
    Between,
    Stored(usize),
    Coded(Box<[Code; 2]>),
}

pub(crate) struct Inflater {
    terms: Terms,
    input: Vec<u8>,
    /// The next bit of the input.
    at: usize,
    /// Where what is being read began: the message, or what follows a final block in it.
    begin: usize,
    block: Block,
    is_final: bool,
    final_blocks: u32,
    /// What can be referred to, and all output of the message.
    pub(crate) text: Vec<u8>,
    /// How far back the last symbol referred; 0 for a literal.
    pub(crate) distance: usize,
}

impl Inflater {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            input: Vec::new(),
            at: 0,
            begin: 0,
            block: Block::Between,
            is_final: false,
            final_blocks: 0,
            text: Vec::new(),
            distance: 0,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    /// How many final blocks the message had.
    pub(crate) fn final_blocks(&self) -> u32 {
        self.final_blocks
    }

    /// Goes on by one symbol, one stored byte or one block header. What is not all there is not begun.
    pub(crate) fn step(&mut self) -> Result<Step, Broken> {
        let at = self.at;
        match self.try_step() {
            Ok(step) => Ok(step),
            Err(Stop::Broken) => Err(Broken),
            Err(Stop::Starved) => {
                self.at = at;
                Ok(Step::Starved)
            }
        }
    }

    fn try_step(&mut self) -> Result<Step, Stop> {
        self.distance = 0;
        match &self.block {
            Block::Between => {
                let header = self.bits(3)?;
                self.is_final = header & 1 == 1;
                self.block = match header >> 1 {
                    0 => {
                        self.align();
                        let (len, check) = (self.bits(16)?, self.bits(16)?);
                        if len != !check & 0xFFFF {
                            return Err(Stop::Broken);
                        }
                        Block::Stored(len)
                    }
                    1 => {
                        let lengths: Vec<u8> = (0..288)
                            .map(|symbol| match symbol {
                                0..=143 => 8,
                                144..=255 => 9,
                                256..=279 => 7,
                                _ => 8,
                            })
                            .collect();
                        Block::Coded(Box::new([Code::new(&lengths)?, Code::new(&[5; 32])?]))
                    }
                    2 => self.dynamic()?,
                    _ => return Err(Stop::Broken),
                };
                Ok(Step::Output(0))
            }
            Block::Stored(0) => Ok(self.end_block()),
            Block::Stored(left) => {
                let left = *left;
                let byte = self.bits(8)?;
                self.text.push(byte as u8);
                self.block = Block::Stored(left - 1);
                Ok(Step::Output(1))
            }
            Block::Coded(_) => self.symbol(),
        }
    }

    fn symbol(&mut self) -> Result<Step, Stop> {
        let Block::Coded(codes) = &self.block else { unreachable!() };
        let [literals, distances] = &**codes;
        let mut bits = Bits { input: &self.input, at: self.at };
        let symbol = literals.read(&mut bits)?;
        match symbol {
            0..=255 => self.text.push(symbol as u8),
            256 => {
                self.at = bits.at;
                return Ok(self.end_block());
            }
            286.. => return Err(Stop::Broken),
            257.. => {
                let (base, extra) = match symbol - 257 {
                    28 => (258, 0),
                    n @ 0..=7 => (3 + n, 0),
                    n => (3 + ((4 + n % 4) << (n / 4 - 1)), n / 4 - 1),
                };
                let len = base + bits.take(extra)?;
                let symbol = distances.read(&mut bits)?;
                let (base, extra) = match symbol {
                    0..=3 => (1 + symbol, 0),
                    4..=29 => (1 + ((2 + symbol % 2) << (symbol / 2 - 1)), symbol / 2 - 1),
                    _ => return Err(Stop::Broken),
                };
                let distance = base + bits.take(extra)?;
                let most = if self.terms.strict { self.terms.window } else { FARTHEST };
                if distance > self.text.len() || distance > most {
                    return Err(Stop::Broken);
                }
                for _ in 0..len {
                    self.text.push(self.text[self.text.len() - distance]);
                }
                self.at = bits.at;
                self.distance = distance;
                return Ok(Step::Output(len));
            }
        }
        self.at = bits.at;
        Ok(Step::Output(1))
    }

    fn end_block(&mut self) -> Step {
        self.block = Block::Between;
        if self.is_final {
            // What follows begins anew, with what carries over between messages.
            self.final_blocks += 1;
            self.align();
            self.begin = self.at;
            self.forget();
        }
        Step::End
    }

    fn forget(&mut self) {
        let keep = if self.terms.takeover { self.terms.window } else { 0 };
        self.text.drain(..self.text.len().saturating_sub(keep));
    }

    /// Ends the message; whether it may end here (RFC 7692 §7.2.2). It need not be all that was fed: the bits that
    /// are left begin an empty stored block, or there are none.
    pub(crate) fn finish(&mut self) -> bool {
        let mut fine = true;
        if self.begin < 8 * self.input.len() {
            self.feed(&[0, 0, 0xFF, 0xFF]);
            fine = loop {
                match self.step() {
                    Err(Broken) | Ok(Step::Output(1..)) => break false,
                    Ok(Step::Starved) => {
                        break matches!(self.block, Block::Between)
                            && self.at == 8 * self.input.len();
                    }
                    Ok(_) => {}
                }
            };
        }
        self.forget();
        self.input.clear();
        (self.at, self.begin, self.final_blocks) = (0, 0, 0);
        fine
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    fn bits(&mut self, n: usize) -> Result<usize, Stop> {
        let mut bits = Bits { input: &self.input, at: self.at };
        let value = bits.take(n)?;
        self.at = bits.at;
        Ok(value)
    }

    /// RFC 1951, 3.2.7.
    fn dynamic(&mut self) -> Result<Block, Stop> {
        const ORDER: [usize; 19] =
            [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances, count) =
            (257 + self.bits(5)?, 1 + self.bits(5)?, 4 + self.bits(4)?);
        if literals > 286 || distances > 30 {
            return Err(Stop::Broken);
        }
        let mut lengths = [0; 19];
        for &symbol in &ORDER[..count] {
            lengths[symbol] = self.bits(3)? as u8;
        }
        let code = Code::new(&lengths)?;
        if code.longest == 1 && code.symbols.len() == 1 {
            return Err(Stop::Broken);
        }
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let symbol = if code.longest == 0 {
                // As zlib has it: nothing but zeros, a bit each. It is broken in the end.
                self.bits(1)?;
                0
            } else {
                let mut bits = Bits { input: &self.input, at: self.at };
                let symbol = code.read(&mut bits)?;
                self.at = bits.at;
                symbol
            };
            let (times, length) = match symbol {
                0..=15 => (1, symbol as u8),
                16 => {
                    let times = 3 + self.bits(2)?;
                    (times, *lengths.last().ok_or(Stop::Broken)?)
                }
                17 => (3 + self.bits(3)?, 0),
                _ => (11 + self.bits(7)?, 0),
            };
            lengths.extend(std::iter::repeat_n(length, times));
            if lengths.len() > literals + distances {
                return Err(Stop::Broken);
            }
        }
        // Nothing could end the block.
        if lengths[256] == 0 {
            return Err(Stop::Broken);
        }
        let (literals, distances) = lengths.split_at(literals);
        Ok(Block::Coded(Box::new([Code::new(literals)?, Code::new(distances)?])))
    }
}

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, n: usize) -> Result<usize, Stop> {
        let mut value = 0;
        for i in 0..n {
            let byte = *self.input.get(self.at / 8).ok_or(Stop::Starved)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << i;
            self.at += 1;
        }
        Ok(value)
    }
}

/// A Huffman code (RFC 1951, 3.2.2).
struct Code {
    /// How many codes of each length there are.
    counts: [usize; 16],
    /// By their codes.
    symbols: Vec<usize>,
    longest: usize,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Self, Stop> {
        let mut counts = [0; 16];
        let mut symbols = Vec::new();
        for length in 1..=15 {
            let of_length = lengths.iter().enumerate().filter(|&(_, &other)| other == length);
            symbols.extend(of_length.map(|(symbol, _)| symbol));
            counts[usize::from(length)] = lengths.iter().filter(|&&other| other == length).count();
        }
        let longest = (1..=15).rev().find(|&length| counts[length] > 0).unwrap_or(0);
        let mut free = 1_usize;
        for count in &counts[1..=longest] {
            free = (2 * free).checked_sub(*count).ok_or(Stop::Broken)?;
        }
        // A code of one symbol, or none, is all that may leave something free.
        if free > 0 && longest > 1 {
            return Err(Stop::Broken);
        }
        Ok(Self { counts, symbols, longest })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<usize, Stop> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=self.longest.max(1) {
            code = code << 1 | bits.take(1)?;
            let count = self.counts[length];
            if code - first < count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
        }
        Err(Stop::Broken)
    }
}
