//! A naive receiver: all the bytes at once, one frame after the other, nothing clever. What the
//! library does has to be the same.

use bowline::{Config, Message, Role, Rule, Truncation};

use super::inflate::{Inflater, Step, Terms};
use super::*;

/// The settings that the model knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) report: bool,
    pub(crate) max_message: u64,
    pub(crate) max_frame: Option<u64>,
    pub(crate) max_fragments: u32,
}

impl Settings {
    pub(crate) fn config(self) -> Config {
        // Every pong is sent: which of too many are is a matter of when they can be.
        let config = Config::default()
            .report_control_frames(self.report)
            .max_message_size(self.max_message)
            .max_fragments(self.max_fragments)
            .max_pending_pongs(1 << 20);
        match self.max_frame {
            Some(max_frame) => config.max_frame_size(max_frame),
            None => config,
        }
    }
}

/// The message under way.
struct Open {
    is_text: bool,
    compressed: bool,
    payload: Vec<u8>,
    /// What came of it on the wire.
    wire: u64,
    fragments: u64,
}

/// The compression that was agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compression {
    pub(crate) terms: Terms,
    pub(crate) max_ratio: Option<u64>,
}

/// What `role` makes of these bytes.
pub(crate) fn receive(role: Role, bytes: &[u8], settings: Settings) -> Outcome {
    receive_compressed(role, bytes, settings, None)
}

/// As [`receive`], with compression if it was agreed on.
pub(crate) fn receive_compressed(
    role: Role,
    bytes: &[u8],
    settings: Settings,
    compression: Option<Compression>,
) -> Outcome {
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    let over = frames(role, bytes, settings, compression, &mut events, &mut sent);
    match &over {
        Over::Open(_) | Over::Ended(_) => {}
        Over::Failed(rule, _) => {
            let code = rule.close_code().get();
            sent.push((CLOSE, close_payload(code, b"")));
        }
        Over::Closed(None, _) => sent.push((CLOSE, vec![])),
        Over::Closed(Some(code), reason) => {
            sent.push((CLOSE, close_payload(*code, reason.as_bytes())));
        }
    }
    Outcome { events, sent, over }
}

fn frames(
    role: Role,
    bytes: &[u8],
    settings: Settings,
    compression: Option<Compression>,
    events: &mut Vec<Message>,
    sent: &mut Vec<(u8, Vec<u8>)>,
) -> Over {
    let mut inflater = compression.map(|compression| Inflater::new(compression.terms));
    let mut at = 0;
    let mut open: Option<Open> = None;
    loop {
        let fail = |rule| Over::Failed(rule, at as u64);
        let rest = &bytes[at..];
        let Some(&first) = rest.first() else {
            return Over::Open(match open {
                Some(_) => Truncation::InMessage,
                None => Truncation::BetweenMessages,
            });
        };
        let (fin, opcode) = (first >= 0x80, first & 0x0F);
        let may_be_compressed = compression.is_some() && (opcode == TEXT || opcode == BINARY);
        if first & if may_be_compressed { 0x30 } else { 0x70 } != 0 {
            return fail(Rule::ReservedBits);
        }
        let is_control = CONTROL.contains(&opcode);
        if !is_control && !DATA.contains(&opcode) {
            return fail(Rule::ReservedOpcode);
        }
        if is_control && !fin {
            return fail(Rule::FragmentedControl);
        }
        if opcode == CONTINUATION && open.is_none() {
            return fail(Rule::UnexpectedContinuation);
        }
        if (opcode == TEXT || opcode == BINARY) && open.is_some() {
            return fail(Rule::ExpectedContinuation);
        }
        let (before, fragments) = open.as_ref().map_or((0, 0), |open| (open.wire, open.fragments));
        if !is_control && fragments >= u64::from(settings.max_fragments) + before / 32 {
            return fail(Rule::TooManyFragments);
        }
        let Some(&second) = rest.get(1) else {
            return Over::Open(Truncation::InHeader);
        };
        let masked = second >= 0x80;
        if masked && role == Role::Client {
            return fail(Rule::Masked);
        }
        if !masked && role == Role::Server {
            return fail(Rule::Unmasked);
        }
        if opcode == CLOSE && second & 0x7F == 1 {
            return fail(Rule::CloseLength);
        }
        if is_control && second & 0x7F > 125 {
            return fail(Rule::ControlTooLong);
        }
        let (form, size) = match second & 0x7F {
            126 => (Form::Sixteen, 2),
            127 => (Form::SixtyFour, 8),
            _ => (Form::Seven, 0),
        };
        // The highest bit is in the first byte of the length.
        if form == Form::SixtyFour && rest.get(2).is_some_and(|digit| *digit >= 0x80) {
            return fail(Rule::LengthOverflow);
        }
        let Some(digits) = rest.get(2..2 + size) else {
            return Over::Open(Truncation::InHeader);
        };
        let len = match form {
            Form::Seven => u64::from(second & 0x7F),
            _ => digits.iter().fold(0, |len, digit| len << 8 | u64::from(*digit)),
        };
        if form != Form::minimal(len) {
            return fail(Rule::NonMinimalLength);
        }
        if !is_control && settings.max_frame.is_some_and(|most| len > most) {
            return fail(Rule::FrameTooBig);
        }
        let compressed = first & 0x40 != 0 || open.as_ref().is_some_and(|open| open.compressed);
        let most = match compressed {
            true => u128::from(settings.max_message) * 9 / 8 + 1024,
            false => u128::from(settings.max_message),
        };
        if !is_control && u128::from(before) + u128::from(len) > most {
            return fail(Rule::MessageTooBig);
        }
        let start = 2 + size + if masked { 4 } else { 0 };
        if rest.len() < start {
            return Over::Open(Truncation::InHeader);
        }
        let key = match masked {
            true => [rest[start - 4], rest[start - 3], rest[start - 2], rest[start - 1]],
            false => [0; 4],
        };
        let there = len.min((rest.len() - start) as u64) as usize;
        let is_whole = there as u64 == len;
        let payload = masked_with(key, &rest[start..start + there]);
        let start = at + start;

        if is_control {
            if !is_whole {
                return Over::Open(Truncation::InPayload);
            }
            let data = payload.clone().into();
            match opcode {
                CLOSE => return close(&payload, start as u64),
                PING => {
                    sent.push((PONG, payload));
                    events.extend(settings.report.then_some(Message::Ping(data)));
                }
                _ => events.extend(settings.report.then_some(Message::Pong(data))),
            }
        } else {
            let message = open.get_or_insert_with(|| Open {
                is_text: opcode == TEXT,
                compressed,
                payload: Vec::new(),
                wire: 0,
                fragments: 0,
            });
            message.fragments += 1;
            message.wire += len;
            if let (Some(inflater), Some(compression), true) =
                (&mut inflater, compression, message.compressed)
            {
                inflater.feed(&payload);
                if let Err(rule) = inflate(inflater, message, settings, compression) {
                    return Over::Failed(rule, start as u64);
                }
                if is_whole && fin && !inflater.finish() {
                    return Over::Failed(Rule::InvalidDeflate, (start + there) as u64);
                }
            }
            let plain = if message.compressed { &[] } else { &payload[..] };
            for (i, byte) in plain.iter().enumerate() {
                message.payload.push(*byte);
                if message.is_text && is_hopeless(&message.payload) {
                    return Over::Failed(Rule::InvalidUtf8, (start + i) as u64);
                }
            }
            if !is_whole {
                return Over::Open(Truncation::InPayload);
            }
            if let Some(message) = open.take_if(|_| fin) {
                events.push(match message.is_text {
                    false => Message::from(message.payload),
                    true => match String::from_utf8(message.payload) {
                        Ok(text) => Message::from(text),
                        Err(_) => {
                            return Over::Failed(Rule::InvalidUtf8, (start + there) as u64);
                        }
                    },
                });
            }
        }
        at = start + there;
    }
}

/// Adds to the message what came of it, one byte after the other, up to the first that breaks a rule.
fn inflate(
    inflater: &mut Inflater,
    message: &mut Open,
    settings: Settings,
    compression: Compression,
) -> Result<(), Rule> {
    loop {
        match inflater.step() {
            Err(_) => return Err(Rule::InvalidDeflate),
            Ok(Step::Starved) => return Ok(()),
            Ok(Step::End) if u64::from(inflater.final_blocks()) > 16 + message.fragments => {
                return Err(Rule::InvalidDeflate);
            }
            Ok(Step::End) => {}
            Ok(Step::Output(n)) => {
                for byte in &inflater.text[inflater.text.len() - n..] {
                    if message.payload.len() as u64 == settings.max_message {
                        return Err(Rule::MessageTooBig);
                    }
                    message.payload.push(*byte);
                    if message.is_text && is_hopeless(&message.payload) {
                        return Err(Rule::InvalidUtf8);
                    }
                    let most = compression.max_ratio.map(|ratio| message.wire * ratio + (64 << 10));
                    if most.is_some_and(|most| message.payload.len() as u64 > most) {
                        return Err(Rule::InflateRatio);
                    }
                }
            }
        }
    }
}

/// Whether nothing that follows makes this text.
fn is_hopeless(text: &[u8]) -> bool {
    // The last character and the one before it are enough; all of it was seen before.
    let from = (text.len().saturating_sub(8)..text.len())
        .find(|&from| text[from] & 0xC0 != 0x80)
        .unwrap_or(text.len().saturating_sub(8));
    std::str::from_utf8(&text[from..]).is_err_and(|error| error.error_len().is_some())
}

fn close(payload: &[u8], at: u64) -> Over {
    if payload.is_empty() {
        return Over::Closed(None, String::new());
    }
    let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Over::Failed(Rule::CloseCode, at);
    }
    match std::str::from_utf8(&payload[2..]) {
        Ok(reason) => Over::Closed(Some(code), reason.into()),
        Err(_) => Over::Failed(Rule::CloseReason, at),
    }
}
