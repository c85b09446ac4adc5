//! A stream of server-sent events. It means the same however it is cut, and what it gives can be sent on.
//!
//! ```text
//! | settings | size of a piece | the stream |
//! ```
#![no_main]

use bowline_sse::{Event, Item, Limits, ParseError, Parser};

fn read<'a>(
    parser: &mut Parser,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<(Item, String)>, Option<ParseError>) {
    let mut items = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.read(&mut piece) {
                Ok(Some(item)) => items.push((item, parser.last_event_id().to_owned())),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        assert!(piece.is_empty(), "`None` means that all is taken");
    }
    (items, None)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [settings, size, stream @ ..] = data else {
        return;
    };
    let small = Limits { max_line: 12, max_event: 16 };
    let limits = if settings & 1 == 0 { Limits::default() } else { small };
    let parser = Parser::new().limits(limits).report_comments(settings & 2 != 0);

    let mut whole = parser.clone();
    let expected = read(&mut whole, [stream].into_iter());
    for size in [1, usize::from(*size).max(1)] {
        let mut split = parser.clone();
        assert_eq!(read(&mut split, stream.chunks(size)), expected);
        assert_eq!((split.last_event_id(), split.retry()), (whole.last_event_id(), whole.retry()));
        assert!(expected.1.is_some() || split.is_unfinished() == whole.is_unfinished());
    }

    // What was read has no line end in its type or id, so it can be written, and is the same again.
    let given = expected.0.into_iter();
    let events: Vec<Event> = given
        .filter_map(|(item, _)| match item {
            Item::Event(event) => Some(event),
            _ => None,
        })
        .collect();
    let mut wire = Vec::new();
    for event in &events {
        assert!(event.data.len() + event.event.len() <= limits.max_event + "message".len());
        event.encode(&mut wire).expect("a field of a stream has no line end");
    }
    let unlimited = Limits { max_line: usize::MAX, max_event: usize::MAX };
    let mut again = Parser::new().limits(unlimited);
    let (again, error) = read(&mut again, [&wire[..]].into_iter());
    assert_eq!(error, None);
    let again: Vec<Item> = again.into_iter().map(|(item, _)| item).collect();
    assert_eq!(again, events.into_iter().map(Item::Event).collect::<Vec<_>>());
});
