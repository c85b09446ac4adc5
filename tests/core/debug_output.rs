//! What `{:?}` shows: no payload that was received or will be sent.

use std::fmt::{Debug, Display};

use crate::support::*;
use bowline::{Config, Message, MessageRef, Prepared, Refusal, Role, SendError, Text};
use bytes::Bytes;

const SECRET: &str = "SECRETSECRETSECRETSECRET";

/// Asserts that the output does not have the secret: not as text, not as a list of bytes, and not in hexadecimal.
#[track_caller]
fn assert_silent(shown: &str) {
    assert!(!shown.contains("SECRET") && !shown.contains("U0VDUkVU"), "{shown}");
    let list: String = shown.split_whitespace().collect();
    assert!(!list.contains("83,69,67") && !list.to_lowercase().contains("534543"), "{shown}");
}

#[track_caller]
fn assert_silent_debug(value: &impl Debug) {
    assert_silent(&format!("{value:?}"));
    assert_silent(&format!("{value:#?}"));
}

#[track_caller]
fn assert_silent_both(value: &(impl Debug + Display)) {
    assert_silent_debug(value);
    assert_silent(&format!("{value}"));
}

/// The secret as each type of message.
fn secrets() -> [Message; 4] {
    let bytes = Bytes::from_static(SECRET.as_bytes());
    [
        Message::from(SECRET),
        Message::Binary(bytes.clone()),
        Message::Ping(bytes.clone()),
        Message::Pong(bytes),
    ]
}

#[test]
fn a_message_shows_its_type_and_length_only() {
    let shown = ["Text(24 bytes)", "Binary(24 bytes)", "Ping(24 bytes)", "Pong(24 bytes)"];
    for (message, shown) in secrets().iter().zip(shown) {
        assert_eq!(format!("{message:?}"), shown);
        assert_eq!(format!("{:?}", message.borrow()), shown);
        assert_silent_debug(message);
        assert_silent_debug(&Prepared::new(message.clone()));
    }
    assert_eq!(format!("{:?}", Text::from(SECRET)), "Text(24 bytes)");
    // It is shown only on request.
    assert_eq!(Text::from(SECRET).to_string(), SECRET);
}

#[test]
fn a_refused_message_is_given_back_and_not_shown() {
    for role in ROLES {
        for message in secrets() {
            let mut side = Side::new(role, Config::default());
            side.connection.start_close(1000, "", &mut side.out).unwrap();
            let error = side.connection.send_owned(message.clone(), &mut side.out).unwrap_err();
            assert_silent_both(&error);
            assert!(format!("{error:?}").contains("24 bytes"), "{error:?}");
            #[cfg(feature = "std")]
            {
                assert_silent_both(&bowline::Error::from(error.clone()));
                assert_silent_debug(&Err::<(), _>(bowline::Error::from(error.clone())));
            }
            assert_eq!(error.into_message(), Some(message));
        }
    }
    let shown = format!("{:?}", SendError::from(Refusal::QueueFull));
    assert!(shown.contains("QueueFull"), "{shown}");
}

#[test]
fn a_part_and_a_frame_that_is_half_queued_do_not_show_their_payload() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.fill(&fragment_to(role, false, TEXT, SECRET.as_bytes()));
        let progress = side.connection.advance_parts(&mut side.input, &mut side.out);
        assert_eq!(progress, Ok(bowline::Progress::Event));
        assert_silent_debug(&side.input.part().unwrap());
        assert_silent_debug(&side.input.event());
        let half = side.connection.send_borrowed(MessageRef::Text(SECRET), &mut side.out).unwrap();
        assert_silent_debug(&half);
        drop(half);
        assert_silent_debug(&side.out);
    }
}

#[test]
fn replies_do_not_show_what_the_peer_sent() {
    for role in ROLES {
        let side = Side::new(role, Config::default().report_control_frames(true));
        let Side { connection, mut input, .. } = side;
        let (mut receiver, _, mut replies) = connection.into_halves();
        let bytes = [
            to(role, PING, SECRET.as_bytes()),
            to(role, CLOSE, &close_payload(1000, SECRET.as_bytes())),
        ]
        .concat();
        input.space()[..bytes.len()].copy_from_slice(&bytes);
        input.filled(bytes.len());
        while receiver.advance(&mut input, &mut replies, false) == Ok(bowline::Progress::Event) {}
        assert_silent_debug(&replies);
    }
}

#[test]
fn buffers_do_not_show_their_content() {
    for role in ROLES {
        let secret = b"SECRETSECRETSECRETSECRET";
        let mut side = Side::new(role, Config::default());
        side.fill(&fragment_to(role, false, BINARY, secret));
        assert_eq!(side.advance(), Ok(bowline::Progress::NeedInput));
        side.connection.send(&secret[..], &mut side.out).unwrap();
        side.receive(&to(role, PING, secret));
        let shown = format!("{:?} {:?} {:?}", side.connection, side.input, side.out);
        for form in [format!("{secret:?}"), "SECRET".to_string()] {
            let form = form.trim_matches(['[', ']']);
            // A client's queue is masked, but with the key next to it that hides nothing.
            assert!(!shown.contains(form), "{role:?} {} characters", shown.len());
        }
        assert!(shown.len() < 4_000, "{} characters", shown.len());
    }
}

#[test]
fn a_buffer_does_not_show_what_another_connection_left_in_it() {
    let secret = b"SECRETSECRETSECRETSECRET";
    let mut one = Side::new(Role::Client, Config::default());
    one.receive(&to(Role::Client, BINARY, secret));
    drop(one);
    let mut other = Side::new(Role::Client, Config::default());
    other.fill(b"\x81");
    let shown = format!("{:?}", other.input);
    assert!(!shown.contains(format!("{secret:?}").trim_matches(['[', ']'])));
}
