//! Any events, any bytes, any cuts.

use std::time::Duration;

use bowline_sse::{Event, Item, Limits, Parser, encode_comment};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::run;

/// Texts that have much of what matters to the format.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just(":"),
        Just(" "),
        Just("data"),
        Just("id: 1"),
        Just("\u{FEFF}"),
        Just("\0"),
        Just("…"),
        Just("💡"),
        Just("x"),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

prop_compose! {
    fn event()(
        data in text(),
        event in text(),
        id in proptest::option::of(text()),
        retry in proptest::option::of(any::<u64>()),
    ) -> Event {
        let event = event.replace(is_line_end, "");
        Event {
            event: if event.is_empty() { "message".into() } else { event.into() },
            data,
            id: id.map(|id| id.replace(|c| is_line_end(c) || c == '\0', "")),
            retry: retry.map(Duration::from_millis),
        }
    }
}

/// The pieces of a stream that is cut at these places.
fn cut<'a>(stream: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        sent in vec((event(), proptest::option::of(text())), 0..6),
        places in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for (event, comment) in &sent {
            event.encode(&mut stream).unwrap();
            if let Some(text) = comment {
                encode_comment(text, &mut stream);
            }
        }
        let expected: Vec<Item> = sent
            .into_iter()
            .map(|(event, _)| {
                let data = event.data.replace("\r\n", "\n").replace('\r', "\n");
                Item::Event(Event { data, ..event })
            })
            .collect();
        let outcome = run(Parser::new(), cut(&stream, &places));
        prop_assert_eq!(outcome.error, None);
        prop_assert!(!outcome.unfinished);
        prop_assert_eq!(outcome.items, expected);
    }

    #[test]
    fn cuts_change_nothing(
        stream in vec(prop_oneof![
            any::<u8>(),
            prop::sample::select(&b"\r\n\n: \0x\xEF\xBB\xBF\xE2\x82"[..]),
        ], 0..80),
        fields in vec(prop::sample::select(&["data", "event:", "id:", "retry:1", "\n\n"][..]), 0..8),
        places in vec(any::<prop::sample::Index>(), 0..12),
        max_line in 1..40_usize,
        max_event in 0..60_usize,
    ) {
        // Fields among the noise, each at a place that its turn decides.
        let mut stream = stream;
        for (i, field) in fields.iter().enumerate() {
            let at = (stream.len() / fields.len()) * i;
            stream.splice(at..at, field.bytes());
        }
        let parser = Parser::new().limits(Limits { max_line, max_event }).report_comments(true);
        let whole = run(parser.clone(), [&stream[..]]);
        prop_assert_eq!(run(parser.clone(), cut(&stream, &places)), whole);
    }

    /// The plainest reading of the standard: decode all, split into lines, go through them.
    #[test]
    fn it_reads_what_the_standard_says(
        pieces in vec(prop_oneof![
            Just("data: a"), Just("data"), Just("data:"), Just("event: b"), Just("id: 1"), Just("id"), Just("id: \0"),
            Just("retry: 5"), Just("\n"), Just("\n"), Just("\r"), Just("\r\n"), Just(":"), Just("\u{FEFF}"), Just(" "),
        ], 0..40),
    ) {
        let stream = pieces.concat();
        let outcome = run(Parser::new(), [stream.as_bytes()]);
        let found: Vec<_> = outcome.items.into_iter().map(crate::event).zip(outcome.ids).collect();
        let found: Vec<_> = found.into_iter().map(|(e, id)| (e.event.into_owned(), e.data, id)).collect();
        prop_assert_eq!(found, plainly(&stream));
    }
}

fn plainly(stream: &str) -> Vec<(String, String, String)> {
    let text = stream.strip_prefix('\u{FEFF}').unwrap_or(stream);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut found, mut data, mut event, mut id) =
        (vec![], String::new(), String::new(), String::new());
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // No line end came.
    for line in lines {
        if line.is_empty() {
            let (data, event) = (std::mem::take(&mut data), std::mem::take(&mut event));
            if let Some(data) = data.strip_suffix('\n') {
                let event = if event.is_empty() { "message".to_owned() } else { event };
                found.push((event, data.to_owned(), id.clone()));
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => data += &format!("{value}\n"),
            "event" => event = value.to_owned(),
            "id" if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    found
}
