//! Properties of the core on random inputs: round trips, no panics, and the same result however they are cut.

use crate::support::*;
use bowline::{Config, Message, Progress, Role};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => any::<String>().prop_map(Message::from),
        4 => vec(any::<u8>(), 0..300).prop_map(Message::from),
        1 => vec(any::<u8>(), 0..=125).prop_map(|data| Message::Ping(data.into())),
        1 => vec(any::<u8>(), 0..=125).prop_map(|data| Message::Pong(data.into())),
        // Around the sizes at which the code paths differ.
        1 => (prop::sample::select(vec![4_096, 16_384, 32_768, 65_536]), -20..20_i32, any::<u8>())
            .prop_map(|(size, by, byte)| Message::from(vec![byte; (size + by) as usize])),
    ]
}

/// A frame that is legal or nearly so, by opcode and header bits.
fn frame_like() -> impl Strategy<Value = (u8, bool, Form, Vec<u8>)> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let form = prop_oneof![
        20 => Just(None),
        1 => Just(Some(Form::Sixteen)),
        1 => Just(Some(Form::SixtyFour))
    ];
    let payload = prop_oneof![
        4 => any::<String>().prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 100..200),
    ];
    let right_mask = prop::bool::weighted(0.98);
    (first, right_mask, form, payload).prop_map(|(first, right_mask, form, payload)| {
        let form = form.unwrap_or(Form::minimal(payload.len() as u64));
        (first, right_mask, form, payload)
    })
}

fn write(role: Role, frames: &[(u8, bool, Form, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, right_mask, form, payload) in frames {
        let masked = (role == Role::Server) == *right_mask;
        let form =
            if *form == Form::Sixteen && payload.len() > 65_535 { Form::SixtyFour } else { *form };
        bytes.extend(header(*first, masked, form, payload.len() as u64));
        bytes.extend(masked_with(if masked { KEY } else { [0; 4] }, payload));
    }
    bytes
}

fn places(bytes: &[u8], places: &[Index]) -> Vec<usize> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places
}

fn settings() -> impl Strategy<Value = model::Settings> {
    let max_message = prop_oneof![Just(1 << 20), 0..300_u64, Just(u64::MAX)];
    let max_frame = prop::option::weighted(0.3, 0..200_u64);
    let max_fragments = prop_oneof![Just(1_024), 1..6_u32];
    (any::<bool>(), max_message, max_frame, max_fragments).prop_map(
        |(report, max_message, max_frame, max_fragments)| model::Settings {
            report,
            max_message,
            max_frame,
            max_fragments,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_end_sends_the_other_receives(
        role in role(),
        messages in vec((message(), 0..4_u8), 0..12),
        at_once in 1..70_000_usize,
        takes in any::<bool>(),
    ) {
        let config = Config::default().report_control_frames(true);
        let mut pair = Pair::new(&config);
        let (from, to) = pair.sides(role);
        for (message, way) in &messages {
            let (connection, out) = (&mut from.connection, &mut from.out);
            match way {
                0 => connection.send(message, out).unwrap(),
                1 => connection.send_owned(message.clone(), out).unwrap(),
                2 => drop(connection.send_borrowed(message, out).unwrap()),
                _ => connection.send_part(message, true, out).or_else(|_| connection.send(message, out)).unwrap(),
            }
        }
        let wire = from.take_out();
        let mut received = Vec::new();
        for piece in wire.chunks(at_once) {
            to.fill(piece);
            while to.advance().unwrap() == Progress::Event {
                let message = to.input.event().unwrap().to_message();
                if takes {
                    prop_assert_eq!(&to.input.take_event().unwrap(), &message);
                }
                received.push(message);
            }
        }
        let sent: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(received, sent);
    }

    /// The short ways of sending queue the same bytes as the long way, which sends a message as its only fragment.
    /// So they draw the same masking keys too.
    #[test]
    fn a_message_is_sent_as_its_only_fragment_is(
        role in role(),
        messages in vec(message(), 1..8),
    ) {
        assert_sent_alike(role, &messages, &Config::default());
    }

    #[test]
    fn messages_are_received_however_they_are_fragmented(
        role in role(),
        messages in vec((message(), vec((any::<Index>(), prop::option::of(0..126_usize)), 0..6)), 1..5),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (message, fragments) in messages {
            let payload = message.as_bytes();
            let opcode = match message {
                Message::Text(_) => TEXT,
                Message::Binary(_) => BINARY,
                _ => continue,
            };
            let mut at: Vec<_> = fragments.iter().map(|(at, _)| at.index(payload.len() + 1)).collect();
            at.sort_unstable();
            for (i, piece) in cut(payload, &at).into_iter().enumerate() {
                let opcode = if i == 0 { opcode } else { CONTINUATION };
                bytes.extend(fragment_to(role, i == at.len(), opcode, piece));
                if let Some((_, Some(len))) = fragments.get(i) {
                    bytes.extend(to(role, PONG, &vec![0xFF; *len]));
                }
            }
            expected.push(message);
        }
        let at = places(&bytes, &cuts);
        feed(role, &cut(&bytes, &at), &Config::default(), Style::Release).assert_delivers(&expected);
    }

    #[test]
    fn bytes_of_any_kind_give_what_a_naive_receiver_gives(
        role in role(),
        settings in settings(),
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let whole = feed(role, &[&bytes], &settings.config(), Style::Borrow);
        prop_assert_eq!(&whole, &model::receive(role, &bytes, settings));
        let at = places(&bytes, &cuts);
        prop_assert_eq!(&feed(role, &cut(&bytes, &at), &settings.config(), Style::Take), &whole);
    }

    #[test]
    fn frames_of_nearly_legal_kind_give_what_a_naive_receiver_gives(
        role in role(),
        settings in settings(),
        frames in vec(frame_like(), 0..12),
        cuts in vec(any::<Index>(), 0..8),
        tail in any::<Index>(),
    ) {
        let mut bytes = write(role, &frames);
        // Often ended in the middle.
        bytes.truncate(tail.index(2 * bytes.len() + 1));
        let config = settings.config();
        let whole = model::receive(role, &bytes, settings);
        let at = places(&bytes, &cuts);
        for style in [Style::Borrow, Style::Take, Style::Release] {
            prop_assert_eq!(&feed(role, &cut(&bytes, &at), &config, style), &whole);
        }
        let each: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(&feed(role, &cut(&bytes, &each), &config, Style::Release), &whole);
    }

    #[test]
    fn parts_put_together_are_the_messages(
        role in role(),
        frames in vec(frame_like(), 0..12),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let bytes = write(role, &frames);
        let whole = feed(role, &[&bytes], &Config::default(), Style::Borrow);
        let at = places(&bytes, &cuts);
        let mut side = Side::new(role, Config::default());
        let (mut messages, mut open) = (Vec::new(), Vec::new());
        for piece in cut(&bytes, &at) {
            side.fill(piece);
            while let Ok(Progress::Event) = side.connection.advance_parts(&mut side.input, &mut side.out) {
                let part = side.input.part().unwrap();
                prop_assert_eq!(part.first, open.is_empty());
                open.push(part.payload.to_message());
                if part.last {
                    let is_text = open[0].as_text().is_some();
                    let joined = open.drain(..).map(Message::into_bytes).collect::<Vec<Bytes>>().concat();
                    messages.push(if is_text {
                        Message::from(String::from_utf8(joined).unwrap())
                    } else {
                        Message::from(joined)
                    });
                }
            }
        }
        prop_assert_eq!(messages, whole.events);
        match side.connection.end() {
            None => prop_assert!(matches!(whole.over, Over::Open(_))),
            Some(end) => prop_assert_eq!(over(end.clone()), whole.over),
        }
    }

    #[test]
    fn a_message_is_whole_or_begun_however_often_parts_are_asked_for_and_not(
        role in role(),
        frames in vec(frame_like(), 0..12),
        cuts in vec((any::<Index>(), any::<bool>()), 0..12),
    ) {
        let bytes = write(role, &frames);
        let whole = feed(role, &[&bytes], &Config::default(), Style::Borrow);
        let at = places(&bytes, &cuts.iter().map(|(at, _)| *at).collect::<Vec<_>>());
        let mut side = Side::new(role, Config::default());
        let mut seen: Vec<(Vec<u8>, bool)> = Vec::new();
        for (i, piece) in cut(&bytes, &at).into_iter().enumerate() {
            let in_parts = cuts.get(i).is_some_and(|(_, in_parts)| *in_parts);
            side.fill(piece);
            while let Ok(Progress::Event) = match in_parts {
                true => side.connection.advance_parts(&mut side.input, &mut side.out),
                false => side.connection.advance(&mut side.input, &mut side.out),
            } {
                let part = side.input.part().unwrap();
                if part.first {
                    seen.push((Vec::new(), false));
                }
                prop_assert!(in_parts || (part.first && part.last));
                let (payload, is_whole) = seen.last_mut().unwrap();
                prop_assert!(!*is_whole);
                payload.extend_from_slice(part.payload.as_bytes());
                *is_whole = part.last;
            }
        }
        // All messages, each whole or its beginning; then perhaps the beginning of one more.
        let all = whole.events.len();
        prop_assert!(seen.len() == all || seen.len() == all + 1 && !seen[all].1);
        for ((payload, is_whole), message) in seen.iter().zip(&whole.events) {
            prop_assert!(message.as_bytes().starts_with(payload));
            prop_assert!(!is_whole || payload.len() == message.as_bytes().len());
        }
        match side.connection.end() {
            None => prop_assert!(matches!(whole.over, Over::Open(_))),
            Some(end) => prop_assert_eq!(over(end.clone()), whole.over),
        }
    }

    #[test]
    fn sockets_that_take_any_number_of_bytes_get_every_frame_in_order(
        role in role(),
        messages in vec((message(), 0..3_u8, vec(0..40_000_usize, 0..3)), 1..12),
    ) {
        let mut side = Side::new(role, Config::default());
        let mut wire = Vec::new();
        for (message, way, takes) in &messages {
            let (connection, out) = (&mut side.connection, &mut side.out);
            match way {
                0 => connection.send(message, out).unwrap(),
                1 => connection.send_owned(message.clone(), out).unwrap(),
                _ => {
                    let mut frame = connection.send_borrowed(message, out).unwrap();
                    let all = frame.slices().collect::<Vec<_>>().concat();
                    let n = takes.first().map_or(0, |n| *n.min(&all.len()));
                    wire.extend_from_slice(&all[..n]);
                    frame.sent(n);
                }
            }
            for n in takes {
                let all: Vec<u8> = side.out.pending_slices().flatten().take(*n).copied().collect();
                wire.extend_from_slice(&all);
                side.out.sent(all.len());
            }
        }
        wire.extend(side.take_out());
        let sent: Vec<_> = decode(role, &wire).into_iter().map(|frame| frame.payload).collect();
        let expected: Vec<_> = messages.iter().map(|(message, ..)| message.as_bytes().to_vec()).collect();
        prop_assert_eq!(sent, expected);
    }
}
