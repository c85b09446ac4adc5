//! What the fuzz targets check. Each takes arbitrary bytes. An input begins with how to cut the rest:
//!
//! ```text
//! | settings | count | places, `count % 8` of them, 16 bits each | the bytes |
//! ```

#[path = "../../tests/support/protocol/mod.rs"]
mod support;

pub mod compressed;
pub mod extensions;

use bowline::{Budget, Config, Message, Progress, Role};
use support::*;

struct Input<'a> {
    settings: u8,
    places: Vec<usize>,
    bytes: &'a [u8],
}

fn split(data: &[u8]) -> Option<Input<'_>> {
    let [settings, count, rest @ ..] = data else {
        return None;
    };
    let (places, bytes) = rest.split_at_checked(2 * usize::from(count % 8))?;
    let place =
        |pair: &[u8]| usize::from(u16::from_be_bytes([pair[0], pair[1]])) % (bytes.len() + 1);
    let mut places: Vec<usize> = places.chunks_exact(2).map(place).collect();
    places.sort_unstable();
    Some(Input { settings: *settings, places, bytes })
}

fn settings(bits: u8) -> model::Settings {
    let mut settings = model::Settings {
        report: bits & 1 != 0,
        max_message: 1 << 20,
        max_frame: (bits & 4 != 0).then_some(20),
        max_fragments: 1_024,
    };
    if bits & 2 != 0 {
        (settings.max_message, settings.max_fragments) = (100, 3);
    }
    if bits & 8 != 0 {
        settings.max_message = u64::MAX;
    }
    settings
}

/// `role` receives the same as the naive receiver, however the bytes are cut, whole or in parts.
pub fn frames(role: Role, data: &[u8]) {
    let Some(Input { settings, places, bytes }) = split(data) else {
        return;
    };
    let budget = (settings & 16 != 0).then(|| Budget::new(usize::MAX));
    let settings = self::settings(settings);
    let config = settings.config().memory_budget(&budget);
    let whole = feed(role, &[bytes], &config, Style::Borrow);
    assert_eq!(whole, model::receive(role, bytes, settings));
    let pieces = cut(bytes, &places);
    assert_eq!(feed(role, &pieces, &config, Style::Take), whole);
    assert_eq!(feed(role, &pieces, &config, Style::Release), whole);
    let each: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(feed(role, &cut(bytes, &each), &config, Style::Borrow), whole);
    in_parts(Side::new(role, config), &pieces, &whole);
    assert_eq!(budget.map_or(0, |budget| budget.used()), 0);
    sent_back(role, &whole.events);
}

fn in_parts(mut side: Side, pieces: &[&[u8]], whole: &Outcome) {
    // Control frames come between parts, so the order is not that of whole messages.
    let (mut data, mut control) = (Vec::new(), Vec::new());
    let mut open: Option<(bool, Vec<u8>)> = None;
    for piece in pieces {
        side.fill(piece);
        while let Ok(Progress::Event) =
            side.connection.advance_parts(&mut side.input, &mut side.out)
        {
            let part = side.input.part().unwrap();
            let message = part.payload.to_message();
            let is_text = match message {
                Message::Text(_) => true,
                Message::Binary(_) => false,
                _ => {
                    control.push(message);
                    continue;
                }
            };
            assert_eq!(part.first, open.is_none());
            let (kind, payload) = open.get_or_insert((is_text, Vec::new()));
            assert_eq!(*kind, is_text);
            payload.extend_from_slice(message.as_bytes());
            if part.last {
                let (_, payload) = open.take().unwrap();
                data.push(match is_text {
                    true => Message::from(String::from_utf8(payload).unwrap()),
                    false => Message::from(payload),
                });
            }
        }
    }
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    let (expected_data, expected_control): (Vec<_>, Vec<_>) =
        whole.events.iter().cloned().partition(is_data);
    assert_eq!((data, control), (expected_data, expected_control));
    match side.connection.end() {
        None => assert!(matches!(whole.over, Over::Open(_))),
        Some(end) => assert_eq!(over(end.clone()), whole.over),
    }
}

/// Received messages can be sent in any way, and arrive unchanged.
fn sent_back(role: Role, events: &[Message]) {
    let config = Config::default().report_control_frames(true).max_send_queue(usize::MAX);
    let mut pair = Pair::new(&config);
    let (from, to) = pair.sides(role);
    for (i, message) in events.iter().enumerate() {
        let (connection, out) = (&mut from.connection, &mut from.out);
        match i % 3 {
            0 => connection.send(message, out).unwrap(),
            1 => connection.send_owned(message.clone(), out).unwrap(),
            _ => drop(connection.send_borrowed(message, out).unwrap()),
        }
    }
    let wire = from.take_out();
    to.receive(&wire);
    assert_eq!(to.events, events);
    assert_sent_alike(role, events, &config);
}

/// Text is valid if the standard library says so. Otherwise it fails at the first byte that nothing can make valid, in
/// one frame and in fragments.
pub fn utf8(data: &[u8]) {
    let Some(Input { settings, places, bytes }) = split(data) else {
        return;
    };
    let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
    // The first byte after which nothing is valid any more, or the end of an incomplete text.
    let bad = match std::str::from_utf8(bytes) {
        Ok(_) => None,
        Err(error) if error.error_len().is_none() => Some(bytes.len()),
        Err(error) => {
            let hopeless = |end: &usize| {
                let prefix = std::str::from_utf8(&bytes[..*end]);
                prefix.is_err_and(|error| error.error_len().is_some())
            };
            let from = error.valid_up_to() + 1;
            (from..=bytes.len()).find(hopeless).map(|end| end - 1)
        }
    };
    for places in [vec![], places.clone()] {
        let pieces = cut(bytes, &places);
        let (mut wire, mut before, mut at) = (Vec::new(), 0, None);
        for (i, piece) in pieces.iter().enumerate() {
            let last = i + 1 == pieces.len();
            let opcode = if i == 0 { TEXT } else { CONTINUATION };
            wire.extend(fragment_to(role, last, opcode, piece));
            if let Some(bad) = bad
                && at.is_none()
                && (bad < before + piece.len() || last)
            {
                at = Some(wire.len() - piece.len() + bad - before);
            }
            before += piece.len();
        }
        for pieces in [vec![&wire[..]], cut(&wire, &places)] {
            let outcome = feed(role, &pieces, &Config::default(), Style::Borrow);
            match at {
                None => outcome.assert_delivers(&[text(std::str::from_utf8(bytes).unwrap())]),
                Some(at) => outcome.assert_failed(bowline::Rule::InvalidUtf8, at),
            }
        }
        // Only the bytes up to the bad one are needed.
        if let Some(at) = at
            && at < wire.len()
        {
            let outcome = feed(role, &[&wire[..=at]], &Config::default(), Style::Borrow);
            outcome.assert_failed(bowline::Rule::InvalidUtf8, at);
            let outcome = feed(role, &[&wire[..at]], &Config::default(), Style::Borrow);
            outcome.assert_delivers(&[]);
        }
    }
}
