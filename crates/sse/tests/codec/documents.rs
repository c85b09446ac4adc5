//! The subjects of the `format-*` files in web-platform-tests, folder `eventsource`, written anew from the standard. Each of
//! the twenty files about the stream has a test of its name. `tests/client/answers.rs` has the three about content types,
//! which concern a client.

use crate::{data, events, read};

#[test]
fn bom() {
    // The second one is in the middle, so it is a part of the field's name.
    assert_eq!(data("\u{FEFF}data:one\n\n\u{FEFF}data:two\n\ndata:three\n\n"), ["one", "three"]);
}

#[test]
fn bom_2() {
    // Only the first is dropped.
    assert_eq!(data("\u{FEFF}\u{FEFF}data:one\n\ndata:two\n\ndata:three\n\n"), ["two", "three"]);
}

#[test]
fn comments() {
    let long = "x".repeat(5_000);
    let stream =
        format!("data:a\n:\0\n:\r\ndata:b\n:{long}\ndata:c\n:data:no\n:{long}\ndata:d\n\n");
    assert_eq!(data(stream), ["a\nb\nc\nd"]);
}

#[test]
fn data_before_final_empty_line() {
    assert_eq!(data("retry:1000\ndata:whole\n\nid:x\ndata:cut"), ["whole"]);
    assert_eq!(data("data:whole\n\ndata:cut\n"), ["whole"]);
}

#[test]
fn field_data() {
    assert_eq!(data("data:\n\ndata\ndata\n\ndata:last\n\n"), ["", "\n", "last"]);
}

#[test]
fn field_event() {
    let found = events("event:tick\ndata:a\n\ndata:b\n\n");
    assert_eq!(found[0].event, "tick");
    assert_eq!(found[1].event, "message", "the type is of one event only");
}

#[test]
fn field_event_empty() {
    for stream in ["event: \ndata:a\n\n", "event\ndata:a\n\n", "event:x\nevent:\ndata:a\n\n"] {
        assert_eq!(events(stream)[0].event, "message", "{stream:?}");
    }
}

#[test]
fn field_id() {
    let outcome = read("id: seven…\ndata:a\n\ndata:b\n\n");
    assert_eq!(outcome.ids, ["seven…", "seven…"], "the id stays");
}

#[test]
fn field_id_2() {
    let outcome = read("id:a\nid:b\ndata:1\n\nid\ndata:2\n\ndata:3\n\n");
    assert_eq!(outcome.ids, ["b", "", ""], "an empty id is an id");
}

#[test]
fn field_id_3() {
    let outcome = read("id:a\n\ndata:1\n\nid:b\ndata:2\n\nid:c\n\n");
    assert_eq!(outcome.ids, ["a", "b"], "an id without data counts for what follows");
    assert_eq!(outcome.last_event_id, "c");
}

#[test]
fn field_id_null() {
    for id in ["\0", "a\0", "\0a", "a\0b"] {
        let outcome = read(format!("id:old\ndata:1\n\nid:{id}\ndata:2\n\n"));
        assert_eq!(outcome.ids, ["old", "old"], "{id:?}");
    }
}

#[test]
fn field_parsing() {
    let stream = "data:\0\ndata:  a\rData:no\ndata\0:no\ndata:b\r\0data:no\nda-ta:no\rdata_1\n\
        data:c\rdata:\r\n data:no\ndata:d\n\n";
    assert_eq!(data(stream), ["\0\n a\nb\nc\n\nd"]);
}

#[test]
fn field_retry() {
    assert_eq!(read("retry:03000\ndata:a\n\n").retry, Some(3_000), "base ten");
}

#[test]
fn field_retry_bogus() {
    assert_eq!(read("retry:3000\nretry:1000x\ndata:a\n\n").retry, Some(3_000));
}

#[test]
fn field_retry_empty() {
    let outcome = read("retry\nretry:\ndata:a\n\n");
    assert_eq!((outcome.retry, outcome.items.len()), (None, 1));
}

#[test]
fn field_unknown() {
    let stream = "data:a\n data\ndata\nfoo:b\nsome text\n:a comment\ndata:c\n\n";
    assert_eq!(data(stream), ["a\n\nc"]);
}

#[test]
fn leading_space() {
    assert_eq!(data("data:\ta\rdata: \ndata:b\ndata:  c\n\n"), ["\ta\n\nb\n c"]);
}

#[test]
fn newlines() {
    assert_eq!(data("data:a\r\ndata\ndata:b\r\n\r"), ["a\n\nb"]);
}

#[test]
fn null_character() {
    assert_eq!(data("data:\0\n\n\n\n"), ["\0"]);
}

#[test]
fn utf_8() {
    assert_eq!(data("data:gr\u{fc}n …\n\n"), ["gr\u{fc}n …"]);
}
