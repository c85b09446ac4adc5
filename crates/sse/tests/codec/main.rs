//! The format: what is read, what is written, and that one is the other's reverse.

mod cuts;
mod documents;
mod encoding;
mod limits;
mod rules;

use bowline_sse::{Event, Item, ParseError, Parser};

/// All that a stream gave, and what the parser knows at its end.
#[derive(Debug, PartialEq)]
struct Outcome {
    items: Vec<Item>,
    /// The last event id when each item was given.
    ids: Vec<String>,
    last_event_id: String,
    retry: Option<u128>,
    unfinished: bool,
    error: Option<ParseError>,
}

fn run<'a>(mut parser: Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut items, mut ids, mut error) = (Vec::new(), Vec::new(), None);
    'pieces: for mut piece in pieces {
        loop {
            match parser.read(&mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(failed) => {
                    error = Some(failed);
                    break 'pieces;
                }
            }
            ids.push(parser.last_event_id().to_owned());
        }
        assert!(piece.is_empty(), "`None` means that all is taken");
    }
    Outcome {
        items,
        ids,
        last_event_id: parser.last_event_id().to_owned(),
        retry: parser.retry().map(|retry| retry.as_millis()),
        // Which part of a line that is too long is kept depends on the cuts.
        unfinished: error.is_none() && parser.is_unfinished(),
        error,
    }
}

/// Reads the stream whole, byte by byte, and cut in two at each place. All have to give the same.
fn read_with(parser: &Parser, stream: &[u8]) -> Outcome {
    let whole = run(parser.clone(), [stream]);
    assert_eq!(run(parser.clone(), stream.chunks(1)), whole, "byte by byte");
    for at in 0..=stream.len() {
        let (start, end) = stream.split_at(at);
        assert_eq!(run(parser.clone(), [start, end]), whole, "cut at {at}");
    }
    whole
}

fn read(stream: impl AsRef<[u8]>) -> Outcome {
    read_with(&Parser::new(), stream.as_ref())
}

/// The events of a stream, which is valid.
fn events(stream: impl AsRef<[u8]>) -> Vec<Event> {
    let outcome = read(stream);
    assert_eq!(outcome.error, None);
    outcome.items.into_iter().map(event).collect()
}

fn event(item: Item) -> Event {
    match item {
        Item::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// The data of each event.
fn data(stream: impl AsRef<[u8]>) -> Vec<String> {
    events(stream).into_iter().map(|event| event.data).collect()
}
