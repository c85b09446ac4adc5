//! What needs no stream: a naive codec of frames, both ends of a connection in memory, every way to cut bytes, and
//! naive receivers to hold the library against. The fuzz targets include this folder alone.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod deflate;
pub(crate) mod frames;
pub(crate) mod inflate;
pub(crate) mod model;

pub(crate) use frames::*;

use bowline::handshake::{Accept, ClientHandshake, ClientRequest, ConnectError, Request};
use bowline::{
    Config, Connection, End, Initiator, Message, Progress, ProtocolError, RecvBuf, Role, Rule,
    SendBuf, Truncation,
};

/// A small generator for places to cut and for payloads; the same numbers in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// The ways to cut `bytes`, as places: not at all, everywhere, and in two at each place. Of a long
/// input not every place is taken, but each within a header and a number of seeded ones.
pub(crate) fn every_split(bytes: &[u8]) -> Vec<Vec<usize>> {
    let len = bytes.len();
    let mut splits = vec![vec![]];
    if len <= 64 << 10 {
        splits.push((1..len).collect());
    }
    let mut places: Vec<usize> = if len <= 512 {
        (1..len).collect()
    } else {
        let starts = frame_starts(bytes).0;
        // The first headers and the last; a flood of equal frames needs no more.
        let (some, last) = (starts.iter().take(6), starts.iter().rev().take(3));
        let headers = some.chain(last).flat_map(|&at| at..=at + 14);
        let mut seeded = Seeded(len as u64);
        let count = if len <= 16 << 10 { 200 } else { 8 };
        headers.chain((0..count).map(|_| 1 + seeded.below(len - 1))).collect()
    };
    places.sort_unstable();
    places.dedup();
    places.retain(|&at| 0 < at && at < len);
    splits.extend(places.into_iter().map(|at| vec![at]));
    splits
}

/// The pieces between the places.
pub(crate) fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let ends = places.iter().copied().chain([bytes.len()]);
    let mut start = 0;
    ends.map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

/// A connection whose opening handshake is over.
pub(crate) fn connection(role: Role, config: &Config) -> Connection {
    match role {
        Role::Server => Connection::server(config.clone()),
        Role::Client => Connection::client(config.clone(), [7; 32]),
    }
}

/// One end of a connection, with what it received.
pub(crate) struct Side {
    pub(crate) role: Role,
    /// Whether compression may have been agreed on.
    pub(crate) extended: bool,
    pub(crate) connection: Connection,
    pub(crate) input: RecvBuf,
    pub(crate) out: SendBuf,
    pub(crate) events: Vec<Message>,
}

impl Side {
    pub(crate) fn new(role: Role, config: Config) -> Self {
        Self::of(role, connection(role, &config))
    }

    pub(crate) fn of(role: Role, connection: Connection) -> Self {
        let (input, out) = (RecvBuf::new(), SendBuf::new());
        Self { role, extended: false, connection, input, out, events: Vec::new() }
    }

    /// An end that agreed with its peer on what `header` says: to a server it is the client's offer, to
    /// a client the server's answer, as the value of `Sec-WebSocket-Extensions`.
    pub(crate) fn extended(role: Role, config: Config, header: &str) -> Self {
        Self { extended: true, ..Self::of(role, handshake(role, config, header).0) }
    }

    /// Puts bytes into the input buffer, without decoding.
    pub(crate) fn fill(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.input.space();
            let n = space.len().min(bytes.len());
            assert!(n > 0, "space is never empty");
            space[..n].copy_from_slice(&bytes[..n]);
            self.input.filled(n);
            bytes = &bytes[n..];
        }
    }

    pub(crate) fn advance(&mut self) -> Result<Progress, ProtocolError> {
        self.connection.advance(&mut self.input, &mut self.out)
    }

    /// Decodes all that is in the input, and adds the messages to `events`.
    pub(crate) fn advance_all(&mut self) -> Result<Progress, ProtocolError> {
        loop {
            match self.advance() {
                Ok(Progress::Event) => {
                    let message = self.input.event().expect("an event was announced");
                    self.events.push(message.to_message());
                }
                other => return other,
            }
        }
    }

    /// Receives bytes as one read brings them.
    pub(crate) fn try_receive(&mut self, bytes: &[u8]) -> Result<Progress, ProtocolError> {
        self.fill(bytes);
        self.advance_all()
    }

    /// Receives bytes that break no rule.
    #[track_caller]
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let _ = self.try_receive(bytes).expect("no rule is broken");
    }

    /// Receives the peer's end of the stream.
    #[track_caller]
    pub(crate) fn eof(&mut self) {
        self.input.eof();
        assert_eq!(self.advance_all(), Ok(Progress::Ended));
    }

    /// Takes all that waits to be sent, as a socket does that takes everything.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.connection.answer(&mut self.out) {
            let before = wire.len();
            for slice in self.out.pending_slices() {
                assert!(!slice.is_empty(), "no slice is empty");
                wire.extend_from_slice(slice);
            }
            self.out.sent(wire.len() - before);
            assert!(self.out.is_empty() && self.out.pending().is_empty());
        }
        wire
    }

    /// Takes all that waits to be sent, decoded.
    pub(crate) fn take_frames(&mut self) -> Vec<Frame> {
        let wire = self.take_out();
        if self.extended { decode_extended(self.role, &wire) } else { decode(self.role, &wire) }
    }

    /// Takes all that waits to be sent, as opcodes and payloads.
    pub(crate) fn take_sent(&mut self) -> Vec<(u8, Vec<u8>)> {
        let frames = self.take_frames().into_iter();
        frames.map(|frame| (frame.opcode, frame.payload)).collect()
    }
}

/// The connection that an opening handshake gives, and what this end says of extensions.
pub(crate) fn handshake(role: Role, config: Config, header: &str) -> (Connection, Option<String>) {
    match role {
        Role::Server => handshake_server(config, &[header]),
        Role::Client => {
            let lines: &[_] = if header.is_empty() { &[] } else { &[header] };
            let (result, offer) = handshake_client(config, lines);
            (result.unwrap(), offer)
        }
    }
}

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// The connection of a server that is offered these lines of extensions, and its answer.
pub(crate) fn handshake_server(config: Config, offers: &[&str]) -> (Connection, Option<String>) {
    let fixed = [
        ("Host", "a"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let lines = offers.iter().map(|offer| (EXTENSIONS, *offer));
    let request = Request::from_parts("GET", "/", fixed.into_iter().chain(lines)).unwrap();
    let (connection, response) = request.upgrade(&config).unwrap().accept(Accept::new()).unwrap();
    let mut answers = response.headers().all(EXTENSIONS);
    let answer = answers.next().map(|value| String::from_utf8(value.to_vec()).unwrap());
    assert_eq!(answers.next(), None, "one line of extensions");
    (connection, answer)
}

/// What comes of a client that is answered these lines of extensions, and its offer.
pub(crate) fn handshake_client(
    config: Config,
    answers: &[&str],
) -> (Result<Connection, ConnectError>, Option<String>) {
    let mut out = SendBuf::new();
    let request = ClientRequest::new("ws://a/").unwrap();
    let mut handshake = ClientHandshake::new(&request, config, [7; 32], &mut out);
    let sent = String::from_utf8(out.pending().to_vec()).unwrap();
    let value = |name: &str| {
        let mut lines =
            sent.split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let found = lines.next().map(String::from);
        assert_eq!(lines.next(), None, "one line of {name}");
        found
    };
    let accept = bowline::handshake::accept_key(&value("Sec-WebSocket-Key").unwrap());
    let lines: String =
        answers.iter().map(|answer| format!("{EXTENSIONS}: {answer}\r\n")).collect();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n",
    );
    let mut input = RecvBuf::with_unread(response.as_bytes());
    let result = handshake.read(&mut input);
    let result = result.map(|opened| opened.expect("the response is complete").0);
    (result, value(EXTENSIONS))
}

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) client: Side,
    pub(crate) server: Side,
}

impl Pair {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            client: Side::new(Role::Client, config.clone()),
            server: Side::new(Role::Server, config.clone()),
        }
    }

    /// The end of this role and the other.
    pub(crate) fn sides(&mut self, role: Role) -> (&mut Side, &mut Side) {
        match role {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        }
    }

    /// Carries bytes both ways until none are left.
    pub(crate) fn pump(&mut self) {
        loop {
            let (up, down) = (self.client.take_out(), self.server.take_out());
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.server.receive(&up);
            self.client.receive(&down);
        }
    }
}

/// What became of the connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Over {
    /// It goes on. If the stream had ended here, this is where.
    Open(Truncation),
    /// The peer broke this rule at this byte.
    Failed(Rule, u64),
    /// The peer closed it, with this code and reason.
    Closed(Option<u16>, String),
    Ended(End),
}

pub(crate) fn over(end: End) -> Over {
    match end {
        End::Failed(error) => Over::Failed(error.rule(), error.offset()),
        End::Closed { initiator: Initiator::Remote, code, reason, .. } => {
            Over::Closed(code.map(u16::from), reason)
        }
        end => Over::Ended(end),
    }
}

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Message>,
    /// Opcode and payload of each frame that was sent.
    pub(crate) sent: Vec<(u8, Vec<u8>)>,
    pub(crate) over: Over,
}

impl Outcome {
    /// Asserts that the connection failed, and that the peer was told once, last.
    #[track_caller]
    pub(crate) fn assert_failed(&self, rule: Rule, offset: usize) {
        assert_eq!(self.over, Over::Failed(rule, offset as u64), "{self:?}");
        let closes: Vec<_> = self.sent.iter().filter(|sent| sent.0 == CLOSE).collect();
        assert_eq!(closes, [&(CLOSE, close_payload(rule.close_code().get(), b""))]);
        assert_eq!(self.sent.last().unwrap().0, CLOSE, "nothing follows a Close");
    }

    /// Asserts that the connection stays open, with these events and no reply.
    #[track_caller]
    pub(crate) fn assert_delivers(&self, events: &[Message]) {
        assert!(matches!(self.over, Over::Open(_)), "{self:?}");
        assert_eq!((&self.events[..], &self.sent[..]), (events, &[][..]));
    }
}

/// How the events are looked at; it must make no difference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Borrow,
    Take,
    /// As `Borrow`, and the memory is given back before every read.
    Release,
}

/// Receives the pieces, each with one read, and takes all replies at once.
pub(crate) fn feed(role: Role, pieces: &[&[u8]], config: &Config, style: Style) -> Outcome {
    feed_to(Side::new(role, config.clone()), pieces, style)
}

/// As [`feed`], to an end that is there.
pub(crate) fn feed_to(mut side: Side, pieces: &[&[u8]], style: Style) -> Outcome {
    let mut sent = Vec::new();
    let mut step = |side: &mut Side| {
        let result = loop {
            match side.advance() {
                Ok(Progress::Event) => {
                    let message = match style {
                        Style::Take => side.input.take_event().unwrap(),
                        _ => side.input.event().unwrap().to_message(),
                    };
                    side.events.push(message);
                }
                other => break other,
            }
        };
        sent.extend(side.take_sent());
        let end = side.connection.end();
        match result {
            Ok(Progress::NeedInput) => assert_eq!(end, None),
            Ok(Progress::Ended) => assert!(!matches!(end, None | Some(End::Failed(_)))),
            Ok(Progress::Event) => unreachable!(),
            Err(error) => assert_eq!(end, Some(&End::Failed(error))),
        }
        end.is_some()
    };
    for piece in pieces {
        if let Style::Release = style {
            side.input.release();
        }
        side.fill(piece);
        step(&mut side);
    }
    let open = !step(&mut side);
    if open {
        // No part of a message is ever delivered as a message (§7.1.5).
        let before = side.events.len();
        side.input.eof();
        assert!(step(&mut side));
        assert_eq!(side.events.len(), before);
    } else {
        side.input.eof();
        step(&mut side);
    }
    let over = match side.connection.end().unwrap().clone() {
        End::PeerGone(truncation) if open => Over::Open(truncation),
        end => over(end),
    };
    Outcome { events: side.events, sent, over }
}

/// Receives the bytes cut in every way, alone, behind other frames and with bytes behind them, and
/// asserts that the outcome is always the same.
#[track_caller]
pub(crate) fn run(role: Role, bytes: &[u8], config: &Config) -> Outcome {
    run_on(&|| Side::new(role, config.clone()), bytes)
}

/// As [`run`], on ends that `side` makes.
#[track_caller]
pub(crate) fn run_on(side: &dyn Fn() -> Side, bytes: &[u8]) -> Outcome {
    let role = side().role;
    let feed = |pieces: &[&[u8]], style| feed_to(side(), pieces, style);
    let expected = feed(&[bytes], Style::Borrow);

    // An empty message and a ping are within every limit.
    let first = [to(role, TEXT, b""), to(role, PING, b"1st")].concat();
    let mut behind = feed(&[&first], Style::Borrow);
    behind.events.extend_from_slice(&expected.events);
    behind.sent.extend_from_slice(&expected.sent);
    behind.over = match expected.over.clone() {
        Over::Failed(rule, offset) => Over::Failed(rule, offset + first.len() as u64),
        over => over,
    };

    // A ping has its pong if the connection goes on, and must not if it is over. If the bytes end
    // inside a frame, it would be read as the rest of that.
    let last = to(role, PING, b"last");
    let mut followed = expected.clone();
    if matches!(expected.over, Over::Open(_)) {
        let alone = feed(&[&last], Style::Borrow);
        followed.events.extend(alone.events);
        followed.sent.extend(alone.sent);
    }
    let can_follow = !matches!(expected.over, Over::Open(_)) || frame_starts(bytes).1;

    let bytes_behind = [&first[..], bytes].concat();
    let bytes_followed = [bytes, &last[..]].concat();
    for (i, places) in every_split(bytes).into_iter().enumerate() {
        let style = [Style::Borrow, Style::Take, Style::Release][i % 3];
        let outcome = feed(&cut(bytes, &places), style);
        assert_eq!(outcome, expected, "{role:?} cut at {places:?}, {style:?}");

        let shifted: Vec<_> = places.iter().map(|at| at + first.len()).collect();
        let outcome = feed(&cut(&bytes_behind, &shifted), style);
        assert_eq!(outcome, behind, "{role:?} behind a frame, cut at {places:?}, {style:?}");

        if can_follow {
            let outcome = feed(&cut(&bytes_followed, &places), style);
            assert_eq!(outcome, followed, "{role:?} with a frame behind, cut at {places:?}");
        }
    }
    expected
}

/// The short ways of sending queue the same bytes as the long way, which sends a message as its only fragment.
pub(crate) fn assert_sent_alike(role: Role, events: &[Message], config: &Config) {
    let [mut short, mut owned, mut long] = [(); 3].map(|()| Side::new(role, config.clone()));
    for message in events {
        short.connection.send(message, &mut short.out).unwrap();
        owned.connection.send_owned(message.clone(), &mut owned.out).unwrap();
        match message {
            Message::Text(_) | Message::Binary(_) => {
                long.connection.send_part(message, true, &mut long.out).unwrap();
            }
            _ => long.connection.send(message, &mut long.out).unwrap(),
        }
    }
    let wire = long.take_out();
    assert_eq!(short.take_out(), wire);
    assert_eq!(owned.take_out(), wire);
}

pub(crate) fn text(text: &str) -> Message {
    Message::from(text)
}

pub(crate) fn binary(data: &[u8]) -> Message {
    Message::from(data)
}

/// Bytes written in hexadecimal, with spaces where they help.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert_eq!(digits.len() % 2, 0);
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
