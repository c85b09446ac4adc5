//! Limits: both sides of each, and that an error sticks.

use bowline_sse::{Limits, ParseError, Parser};

use crate::{Outcome, read_with, run};

fn read(max_line: usize, max_event: usize, stream: impl AsRef<[u8]>) -> Outcome {
    read_with(&Parser::new().limits(Limits { max_line, max_event }), stream.as_ref())
}

#[test]
fn a_line_may_be_as_long_as_its_limit() {
    assert_eq!(read(10, 100, "data:12345\r\n\r\n").error, None);
    let error = Some(ParseError::LineTooLong { max: 10 });
    assert_eq!(read(10, 100, "data:123456\n\n").error, error);
    assert_eq!(read(10, 100, "data:123456").error, error, "without a wait for its end");
    assert_eq!(read(10, 100, ":1234567890\n").error, error, "comments too");
    assert_eq!(read(10, 100, ":1234567890").error, error, "without their end as well");
    assert_eq!(read(10, 100, "1234567890a\n").error, error, "fields that nobody knows too");
}

#[test]
fn a_byte_order_mark_does_not_count_as_a_part_of_the_line() {
    assert_eq!(read(10, 100, "\u{FEFF}data:12345\n\n").items.len(), 1);
    assert!(read(10, 100, "\u{FEFF}data:123456\n\n").error.is_some());
    assert!(read(10, 100, "\u{FEFF}\u{FEFF}data:12345\n\n").error.is_some());
    assert_eq!(read(1, 100, "\u{FEFF}a\n").error, None, "nor does the start of one");
    assert!(read(2, 100, b"\xEF\xBBa\n").error.is_some(), "a part of one does");
}

#[test]
fn an_event_may_be_as_long_as_its_limit() {
    let error = Some(ParseError::EventTooLong { max: 5 });
    assert_eq!(read(20, 5, "data:12345\n\n").items.len(), 1);
    assert_eq!(read(20, 5, "data:123456\n\n").error, error);
    // Between lines stands an LF.
    assert_eq!(read(20, 5, "data:12\ndata:45\n\n").items.len(), 1);
    assert_eq!(read(20, 5, "data:12\ndata:456\n\n").error, error);
    assert_eq!(read(20, 5, "data\ndata\ndata\ndata\ndata\ndata\n\n").items.len(), 1);
    assert_eq!(read(20, 5, "data\ndata\ndata\ndata\ndata\ndata\ndata\n\n").error, error);
    // The type and the id are a part of it, in any order.
    assert_eq!(read(20, 5, "event:1\nid:23\ndata:45\n\n").items.len(), 1);
    assert_eq!(read(20, 5, "event:1\nid:23\ndata:456\n\n").error, error);
    assert_eq!(read(20, 5, "data:45\nid:23\nevent:1\n\n").items.len(), 1);
    assert_eq!(read(20, 5, "data:45\nid:23\nevent:16\n\n").error, error);
    assert_eq!(read(20, 5, "data:45\nevent:1\nid:236\n\n").error, error);
}

#[test]
fn what_replaces_another_value_counts_once() {
    assert_eq!(read(20, 5, "id:1234\nid:123\nevent:12\nevent:45\ndata\n\n").items.len(), 1);
}

#[test]
fn comments_and_unknown_fields_are_no_part_of_an_event() {
    let stream = format!("data:12345\n{}\n", ": still here\nfoo: bar\n".repeat(20));
    assert_eq!(read(20, 5, stream).items.len(), 1);
}

#[test]
fn replaced_bytes_count_as_what_they_become() {
    assert_eq!(read(20, 6, b"data:\xFF\xFF\n\n").error, None);
    assert!(read(20, 5, b"data:\xFF\xFF\n\n").error.is_some());
}

#[test]
fn limits_hold_for_each_event_by_itself() {
    assert_eq!(read(20, 5, "data:12345\n\n".repeat(4)).items.len(), 4);
    assert_eq!(read(20, 5, "id:12345\n\n".repeat(4)).error, None);
}

#[test]
fn an_error_sticks_and_what_came_before_it_was_given() {
    let mut parser = Parser::new().limits(Limits { max_line: 8, max_event: 8 });
    let outcome = run(parser.clone(), [&b"data:a\n\ndata:bbbbbbb\n\n"[..]]);
    assert_eq!(outcome.items.len(), 1);

    let error = Err(ParseError::LineTooLong { max: 8 });
    assert_eq!(parser.read(&mut &b"123456789"[..]), error);
    let mut more = &b"\ndata:a\n\n"[..];
    assert_eq!(parser.read(&mut more), error);
    assert_eq!(more.len(), 9, "nothing is taken");
}

#[test]
fn the_default_takes_a_megabyte_and_no_more() {
    let line = |len: usize| [b"data:", &vec![b'x'; len][..], b"\n\n"].concat();
    let most = (1 << 20) - 5;
    assert_eq!(run(Parser::new(), [&line(most)[..]]).items.len(), 1);
    assert!(run(Parser::new(), [&line(most + 1)[..]]).error.is_some());
    let many = b"data:x\n".repeat(1 << 19);
    assert_eq!(run(Parser::new(), [&many[..], b"\n"]).items.len(), 1);
    let max = 1 << 20;
    let error = run(Parser::new(), [&many[..], b"data:x\n"]).error;
    assert_eq!(error, Some(ParseError::EventTooLong { max }));
}

#[test]
fn errors_say_the_limit_and_what_to_do() {
    let error = ParseError::EventTooLong { max: 5 }.to_string();
    assert!(error.contains("max_event of 5 bytes"), "{error}");
}

#[test]
fn of_two_limits_the_one_that_is_crossed_first_counts() {
    let line = Some(ParseError::LineTooLong { max: 12 });
    let event = |max| Some(ParseError::EventTooLong { max });
    assert_eq!(read(12, 6, "data:123456789\n\n").error, event(6));
    assert_eq!(read(12, 7, "data:123456789\n\n").error, line, "both at the same byte");
    assert_eq!(read(12, 6, "data: 123456789\n\n").error, line, "the space is no part of the event");
    assert_eq!(read(12, 5, "data: 123456789\n\n").error, event(5));
    // What came before counts for the event alone.
    assert_eq!(read(12, 10, "data:1234\ndata:123456789\n\n").error, event(10));
    // The LF before the second line is too much by itself, and its name comes before its end.
    assert_eq!(read(12, 5, "data:12345\ndata:123456789\n\n").error, event(5));
    assert_eq!(read(5, 0, "data:\ndata: 1\n\n").error, event(0));
    let short = Some(ParseError::LineTooLong { max: 4 });
    assert_eq!(read(4, 0, "data\ndata:\n\n").error, short);
    assert_eq!(read(4, 0, "data:1\n\n").error, short);
}
