//! What is written: its form, what is refused, and that nothing can be put into a stream by way of a value.

use std::time::Duration;

use bowline_sse::{EncodeError, Event, encode_comment, encode_retry};

use crate::{events, read, read_with};

fn encode(event: Event) -> String {
    String::from_utf8(event.to_bytes().unwrap()).unwrap()
}

#[test]
fn fields_stand_before_the_data_and_a_blank_line_after_it() {
    let event = Event::new("a").event("tick").id("1").retry(Duration::from_millis(2_500));
    assert_eq!(encode(event), "event: tick\nid: 1\nretry: 2500\ndata: a\n\n");
}

#[test]
fn data_is_split_at_every_kind_of_line_end() {
    let sent = Event::new("a\nb\rc\r\nd\n\re\r\r\nf");
    assert_eq!(
        encode(sent.clone()),
        "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \ndata: f\n\n"
    );
    assert_eq!(events(encode(sent)), [Event::new("a\nb\nc\nd\n\ne\n\nf")]);
}

#[test]
fn line_ends_at_the_edges_and_spaces_survive() {
    for data in ["", "\n", "\n\n", "\na", "a\n", " a", "  ", "a ", ":", "\0", "\u{FEFF}a", "\ta"] {
        assert_eq!(events(encode(Event::new(data))), [Event::new(data)], "{data:?}");
    }
}

#[test]
fn the_usual_type_is_left_out() {
    assert_eq!(encode(Event::new("a").event("message")), "data: a\n\n");
    assert_eq!(encode(Event::new("a").event("")), "data: a\n\n");
    assert_eq!(Event::default().event, "message");
}

#[test]
fn an_empty_id_is_sent_and_makes_the_client_forget() {
    let stream = encode(Event::new("a").id("1")) + &encode(Event::new("b").id(""));
    assert_eq!(read(stream).ids, ["1", ""]);
}

#[test]
fn a_type_or_an_id_with_a_line_end_is_refused() {
    for end in ["\n", "\r", "\r\n"] {
        for text in [format!("{end}data: x"), format!("a{end}{end}"), format!("a{end}")] {
            let event = Event::new("a").event(text.clone());
            assert_eq!(event.to_bytes(), Err(EncodeError::LineEndInEvent), "{text:?}");
            let event = Event::new("a").id(text.clone());
            assert_eq!(event.to_bytes(), Err(EncodeError::LineEndInId), "{text:?}");
        }
    }
}

#[test]
fn an_id_with_u_0000_is_refused_and_a_type_with_it_is_not() {
    assert_eq!(Event::new("a").id("1\0").to_bytes(), Err(EncodeError::NulInId));
    assert_eq!(events(encode(Event::new("a").event("\0"))), [Event::new("a").event("\0")]);
}

#[test]
fn what_was_written_before_a_refusal_stays() {
    let mut out = b"before".to_vec();
    assert!(Event::new("a").event("tick").id("\n").encode(&mut out).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn no_line_end_in_a_comment_begins_a_field() {
    let mut out = Vec::new();
    encode_comment("a\rdata: x\n\nid: 1\r\n", &mut out);
    let outcome = read(&out);
    assert_eq!((outcome.items.len(), &outcome.last_event_id[..]), (0, ""));
    let reporting = bowline_sse::Parser::new().report_comments(true);
    assert_eq!(read_with(&reporting, &out).items.len(), 5);

    out.clear();
    encode_comment("", &mut out);
    assert_eq!(out, b": \n\n");
}

#[test]
fn a_comment_or_a_retry_between_events_changes_neither() {
    let mut out = encode(Event::new("a")).into_bytes();
    encode_comment("still here", &mut out);
    encode_retry(Duration::from_secs(3), &mut out);
    Event::new("b").encode(&mut out).unwrap();
    assert_eq!(events(&out), [Event::new("a"), Event::new("b")]);
    assert_eq!(read(&out).retry, Some(3_000));
}

#[test]
fn a_retry_has_whole_milliseconds() {
    let retry = |retry| encode(Event::new("").retry(retry));
    assert_eq!(retry(Duration::from_micros(1_999)), "retry: 1\ndata: \n\n");
    assert_eq!(retry(Duration::MAX), format!("retry: {}\ndata: \n\n", u64::MAX));
}

#[test]
fn errors_say_what_to_do() {
    for error in [EncodeError::LineEndInEvent, EncodeError::LineEndInId, EncodeError::NulInId] {
        assert!(error.to_string().contains("leave it out"), "{error}");
    }
}
