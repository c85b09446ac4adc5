//! Rules that the documents leave open, each with what breaks it.

use std::time::Duration;

use bowline_sse::{Event, Item, Parser};

use crate::{data, events, read, read_with, run};

#[test]
fn an_event_ends_at_a_bare_cr_without_a_wait_for_what_follows() {
    let outcome = run(Parser::new(), [&b"data:a\r\r"[..]]);
    assert_eq!(outcome.items, [Item::Event(Event::new("a"))]);
}

#[test]
fn cr_and_lf_in_two_pieces_are_one_line_end() {
    assert_eq!(data("data:a\r\ndata:b\r\n\r\n"), ["a\nb"]);
    // Two line ends of either kind are two.
    assert_eq!(data("data:a\n\rdata:b\n\n"), ["a", "b"]);
    assert_eq!(data("data:a\r\rdata:b\r\r"), ["a", "b"]);
}

#[test]
fn a_blank_line_without_data_gives_no_event_and_forgets_the_type() {
    let found = events("event:tick\n\ndata:a\n\n");
    assert_eq!(found, [Event::new("a")]);
    assert_eq!(data("\n\n\r\n\r\r"), [""; 0]);
}

#[test]
fn each_event_has_its_own_fields() {
    let found = events("event:tick\nid:1\nretry:10\ndata:a\n\ndata:b\n\n");
    let first = Event::new("a").event("tick").id("1").retry(Duration::from_millis(10));
    assert_eq!(found, [first, Event::new("b")]);
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let expected = [Event::new("a\nb").event("tick").id("1")];
    assert_eq!(events("data:a\nid:1\ndata:b\nevent:tick\n\n"), expected);
    assert_eq!(events("event:tick\nid:1\ndata:a\ndata:b\n\n"), expected);
}

#[test]
fn only_ascii_digits_make_a_retry() {
    for value in ["-1", "+1", "1.5", " 1", "1 ", "0x10", "1e3", "\u{661}", "1\0"] {
        assert_eq!(read(format!("retry: {value}\n\n")).retry, None, "{value:?}");
    }
    assert_eq!(read("retry: 5\n").retry, Some(5), "it holds from its line on");
    assert_eq!(read("retry: 5").retry, None, "and not before");
    let huge = "9".repeat(60);
    assert_eq!(read(format!("retry:{huge}\n")).retry, Some(u64::MAX.into()));
}

#[test]
fn the_id_of_an_unfinished_event_does_not_count() {
    let outcome = read("id:1\ndata:a\n\nid:2\ndata:b\n");
    assert_eq!(outcome.last_event_id, "1");
    assert!(outcome.unfinished);
}

#[test]
fn a_stream_that_ends_between_events_is_not_unfinished() {
    for stream in ["", "data:a\n\n", "data:a\r\r", ":a\n", "data:a\n\n:b\n\n"] {
        assert!(!read(stream).unfinished, "{stream:?}");
    }
    for stream in ["d", "data\n", "data:a\n\n:", "id:1\n", "event:a\n"] {
        assert!(read(stream).unfinished, "{stream:?}");
    }
}

#[test]
fn the_id_of_the_connection_before_holds_until_another_comes() {
    let parser = Parser::new().resume("41");
    assert_eq!(parser.last_event_id(), "41");
    let outcome = read_with(&parser, b"data:a\n\nid:42\ndata:b\n\n");
    assert_eq!(outcome.ids, ["41", "42"]);
}

#[test]
fn comments_are_given_if_asked_for() {
    let stream = b":\n: a\n:  b\ndata:c\n:d:e\n\n";
    assert_eq!(read(stream).items.len(), 1);
    let outcome = read_with(&Parser::new().report_comments(true), stream);
    let comment = |text: &str| Item::Comment(text.to_owned());
    let event = Item::Event(Event::new("c"));
    assert_eq!(outcome.items, [comment(""), comment("a"), comment(" b"), comment("d:e"), event]);
}

#[test]
fn bytes_that_are_not_utf_8_become_u_fffd() {
    // A byte that begins nothing; a sequence that breaks off; an overlong one; a surrogate; a sequence cut by a line end.
    assert_eq!(data(b"data:\xFFa\n\n"), ["\u{FFFD}a"]);
    assert_eq!(data(b"data:\xE2\x82a\n\n"), ["\u{FFFD}a"]);
    assert_eq!(data(b"data:\xC0\xAFa\n\n"), ["\u{FFFD}\u{FFFD}a"]);
    assert_eq!(data(b"data:\xED\xA0\x80a\n\n"), ["\u{FFFD}\u{FFFD}\u{FFFD}a"]);
    assert_eq!(data(b"data:\xF0\x9F\x92\ndata:a\n\n"), ["\u{FFFD}\na"]);
    // It takes neither the colon nor the line end with it, and the name is another one then.
    assert_eq!(data(b"data\xE2:a\ndata:b\n\n"), ["b"]);
    assert_eq!(events(b"event:\xFF\nid:\xFF\ndata:a\n\n")[0].event, "\u{FFFD}");
}

#[test]
fn a_part_of_a_byte_order_mark_is_none() {
    assert_eq!(data(b"\xEF\xBBdata:a\n\ndata:b\n\n"), ["b"]);
    assert_eq!(data("\n\u{FEFF}data:a\n\ndata:b\n\n"), ["b"], "it has to be at the start");
    assert_eq!(data("\u{FEFF}\ndata:a\n\n"), ["a"]);
}
