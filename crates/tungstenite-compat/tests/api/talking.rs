//! Messages, flushing, streams that do not block, limits.

use bowline_tungstenite::error::{CapacityError, ProtocolError};
use bowline_tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use bowline_tungstenite::util::NonBlockingResult;
use bowline_tungstenite::{Error, Message, WebSocket};

use crate::wire::{Wire, frame};

fn server(wire: &Wire, config: WebSocketConfig) -> WebSocket<Wire> {
    WebSocket::from_raw_socket(wire.clone(), Role::Server, Some(config))
}

#[test]
fn messages_come_in_order_however_they_are_cut_and_then_reading_would_block() {
    let mut bytes =
        [frame(0x81, true, b"text"), frame(0x02, true, b"bin"), frame(0x80, true, b"ary")].concat();
    bytes.extend(frame(0x8A, true, b"pong"));
    for chunk in 1..=bytes.len() {
        let wire = Wire::with(&bytes);
        wire.0.borrow_mut().chunk = Some(chunk);
        let mut ws = server(&wire, WebSocketConfig::default());
        assert_eq!(ws.read().unwrap(), Message::text("text"));
        assert_eq!(ws.read().unwrap(), Message::binary(&b"binary"[..]));
        assert_eq!(ws.read().unwrap(), Message::Pong(b"pong"[..].into()));
        assert!(ws.read().no_block().unwrap().is_none());
        assert!(ws.can_read() && ws.can_write());
    }
}

#[test]
fn what_was_read_before_comes_first() {
    let wire = Wire::with(&frame(0x81, true, b"second"));
    let part = frame(0x81, true, b"first");
    let mut ws = WebSocket::from_partially_read(wire, part, Role::Server, None);
    assert_eq!(ws.read().unwrap(), Message::text("first"));
    assert_eq!(ws.read().unwrap(), Message::text("second"));
}

#[test]
fn a_ping_is_answered_with_the_next_call_that_may_wait_and_flushed() {
    for call in 0..3 {
        let wire = Wire::with(&frame(0x89, true, b"are you there"));
        let mut ws = server(&wire, WebSocketConfig::default());
        assert_eq!(ws.read().unwrap(), Message::Ping(b"are you there"[..].into()));
        let message = Message::text("hi");
        match call {
            0 => assert!(ws.read().no_block().unwrap().is_none()),
            1 => ws.write(message).unwrap(),
            _ => ws.flush().unwrap(),
        }
        let written = wire.written();
        assert!(written.starts_with(&frame(0x8A, false, b"are you there")), "call {call}");
        assert!(wire.0.borrow().flushes > 0, "call {call}");
    }
}

#[test]
fn a_reply_that_the_stream_does_not_take_keeps_no_message_from_being_read() {
    let wire = Wire::with(&[frame(0x89, true, b""), frame(0x81, true, b"next")].concat());
    wire.0.borrow_mut().room = Some(0);
    let mut ws = server(&wire, WebSocketConfig::default());
    assert!(ws.read().unwrap().is_ping());
    assert_eq!(ws.read().unwrap(), Message::text("next"));
    assert!(ws.read().no_block().unwrap().is_none());
    wire.0.borrow_mut().room = None;
    assert!(ws.read().no_block().unwrap().is_none());
    assert_eq!(wire.written(), frame(0x8A, false, b""));
}

#[test]
fn written_messages_wait_for_the_buffer_to_fill_or_a_flush_and_sent_ones_do_not() {
    let wire = Wire::default();
    let mut ws = server(&wire, WebSocketConfig::default().write_buffer_size(20));
    ws.write(Message::text("one")).unwrap();
    ws.write(Message::text("two")).unwrap();
    assert_eq!(wire.written(), b"");
    ws.write(Message::text("that is more than fits")).unwrap();
    assert_eq!(wire.written().len(), 5 + 5 + 24);
    ws.write(Message::text("last")).unwrap();
    ws.flush().unwrap();
    assert_eq!(wire.written(), frame(0x81, false, b"last"));
    ws.send(Message::binary(&b"now"[..])).unwrap();
    assert_eq!(wire.written(), frame(0x82, false, b"now"));
    let mut eager = server(&wire, WebSocketConfig::default().write_buffer_size(0));
    eager.write(Message::text("at once")).unwrap();
    assert_eq!(wire.written(), frame(0x81, false, b"at once"));
}

#[test]
fn a_full_buffer_gives_the_message_back_and_a_stream_that_would_block_does_not() {
    let wire = Wire::default();
    wire.0.borrow_mut().room = Some(3);
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(40);
    let mut ws = server(&wire, config);
    // It is queued, and three bytes of it have left.
    assert!(ws.send(Message::text("queued")).no_block().unwrap().is_none());
    let message = Message::text("a message that has no room in the buffer");
    match ws.send(message.clone()) {
        Err(Error::WriteBufferFull(back)) => assert_eq!(*back, message),
        other => panic!("{other:?}"),
    }
    wire.0.borrow_mut().room = None;
    ws.flush().unwrap();
    assert_eq!(wire.written(), frame(0x81, false, b"queued"));
}

#[test]
#[should_panic(expected = "max_write_buffer_size")]
fn settings_that_no_message_can_be_sent_with_panic() {
    let _ = WebSocketContext::new(
        Role::Client,
        Some(WebSocketConfig::default().max_write_buffer_size(1)),
    );
}

#[test]
fn a_client_masks_with_a_key_that_is_another_each_time() {
    let wire = Wire::default();
    let mut ws = WebSocket::from_raw_socket(wire.clone(), Role::Client, None);
    let mut keys = std::collections::HashSet::new();
    for _ in 0..8 {
        ws.send(Message::text("secret")).unwrap();
        let written = wire.written();
        assert_eq!(written[..2], [0x81, 0x86]);
        keys.insert(written[2..6].to_vec());
    }
    assert_eq!(keys.len(), 8);
}

/// A broken rule: the bytes, the error, and the code of the Close that the peer is sent.
type Broken = (Vec<u8>, fn(&Error) -> bool, u16);

#[test]
fn each_broken_rule_has_the_name_that_programs_match_and_the_peer_is_told() {
    use ProtocolError as P;
    macro_rules! is {
        ($pattern:pat) => {
            |error| matches!(error, $pattern)
        };
    }
    let cases: [Broken; 14] = [
        (frame(0xC1, true, b""), is!(Error::Protocol(P::NonZeroReservedBits)), 1002),
        (frame(0x83, true, b""), is!(Error::Protocol(P::InvalidOpcode(3))), 1002),
        (frame(0x8B, true, b""), is!(Error::Protocol(P::InvalidOpcode(11))), 1002),
        (frame(0x81, false, b""), is!(Error::Protocol(P::UnmaskedFrameFromClient)), 1002),
        (frame(0x09, true, b""), is!(Error::Protocol(P::FragmentedControlFrame)), 1002),
        (vec![0x89, 0xFE, 0, 126], is!(Error::Protocol(P::ControlFrameTooBig)), 1002),
        (frame(0x80, true, b""), is!(Error::Protocol(P::UnexpectedContinueFrame)), 1002),
        (
            [frame(0x01, true, b"a"), frame(0x82, true, b"b")].concat(),
            is!(Error::Protocol(P::ExpectedFragment(
                bowline_tungstenite::protocol::frame::coding::Data::Binary
            ))),
            1002,
        ),
        (frame(0x88, true, b"\x03"), is!(Error::Protocol(P::InvalidCloseSequence)), 1002),
        (frame(0x88, true, b"\x03\xed"), is!(Error::Protocol(P::InvalidCloseSequence)), 1002),
        (frame(0x81, true, b"\xff"), is!(Error::Utf8(_)), 1007),
        (frame(0x88, true, b"\x03\xe8\xff"), is!(Error::Utf8(_)), 1007),
        (
            frame(0x81, true, b"123456789"),
            is!(Error::Capacity(CapacityError::MessageTooLong { size: 9, max_size: 8 })),
            1009,
        ),
        (
            [frame(0x01, true, b"12345"), frame(0x80, true, b"6789ab")].concat(),
            is!(Error::Capacity(CapacityError::MessageTooLong { size: 11, max_size: 10 })),
            1009,
        ),
    ];
    for (bytes, expected, code) in cases {
        let wire = Wire::with(&bytes);
        let config = WebSocketConfig::default().max_frame_size(Some(8)).max_message_size(Some(10));
        let mut ws = server(&wire, config);
        let error = ws.read().unwrap_err();
        assert!(expected(&error), "{bytes:x?}: {error:?}");
        let written = wire.written();
        assert_eq!(written[..1], [0x88], "{bytes:x?}");
        assert_eq!(written[2..4], code.to_be_bytes(), "{bytes:x?}");
        assert!(matches!(ws.read(), Err(Error::AlreadyClosed)));
        assert!(matches!(ws.write(Message::text("")), Err(Error::AlreadyClosed)));
        assert!(!ws.can_read() && !ws.can_write());
    }
    let mut client =
        WebSocket::from_raw_socket(Wire::with(&frame(0x81, true, b"")), Role::Client, None);
    let error = client.read().unwrap_err();
    assert!(matches!(error, Error::Protocol(P::MaskedFrameFromServer)));
}

#[test]
fn settings_can_be_changed_and_looked_at_while_it_runs() {
    let wire = Wire::with(&frame(0x81, true, b"12345"));
    let mut ws = server(&wire, WebSocketConfig::default());
    assert_eq!(ws.get_config().max_message_size, Some(64 << 20));
    assert_eq!(ws.get_config().max_frame_size, Some(16 << 20));
    ws.set_config(|config| config.max_message_size = Some(4));
    let error = ws.read().unwrap_err();
    assert!(matches!(
        error,
        Error::Capacity(CapacityError::MessageTooLong { size: 5, max_size: 4 })
    ));
}

#[test]
fn a_server_that_is_told_to_takes_frames_without_a_mask() {
    let wire = Wire::with(&frame(0x81, false, b"bare"));
    let mut ws = server(&wire, WebSocketConfig::default().accept_unmasked_frames(true));
    assert_eq!(ws.read().unwrap(), Message::text("bare"));
}

#[test]
fn a_control_frame_that_is_too_long_is_refused_and_the_connection_goes_on() {
    let wire = Wire::default();
    let mut ws = server(&wire, WebSocketConfig::default());
    let error = ws.send(Message::Ping(vec![0; 126].into())).unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::ControlFrameTooBig)));
    ws.send(Message::Ping(vec![0; 125].into())).unwrap();
    assert_eq!(wire.written().len(), 127);
}
