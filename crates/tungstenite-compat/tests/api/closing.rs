//! The end of a connection: Close is a message, and errors say how far it came.

use bowline_tungstenite::error::ProtocolError;
use bowline_tungstenite::protocol::frame::coding::CloseCode;
use bowline_tungstenite::protocol::{CloseFrame, Role};
use bowline_tungstenite::util::NonBlockingResult;
use bowline_tungstenite::{Error, Message, WebSocket};

use crate::wire::{Wire, frame};

fn close_frame() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "bye".into() }
}

/// A WebSocket, and whether its peer masks.
fn open(role: Role) -> (Wire, WebSocket<Wire>, bool) {
    let wire = Wire::default();
    (wire.clone(), WebSocket::from_raw_socket(wire, role, None), role == Role::Server)
}

#[test]
fn a_server_that_answered_the_close_of_its_client_is_done() {
    let (wire, mut ws, masks) = open(Role::Server);
    wire.give(&frame(0x88, masks, b"\x03\xe8bye"));
    assert_eq!(ws.read().unwrap(), Message::Close(Some(close_frame())));
    assert!(!ws.can_read() && !ws.can_write());
    let error = ws.write(Message::text("late")).unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::SendAfterClosing)));
    assert!(matches!(ws.read(), Err(Error::ConnectionClosed)));
    assert_eq!(wire.written(), frame(0x88, false, b"\x03\xe8bye"));
    assert!(matches!(ws.read(), Err(Error::AlreadyClosed)));
    assert!(matches!(ws.write(Message::text("late")), Err(Error::AlreadyClosed)));
}

#[test]
fn flushing_or_closing_writes_the_answer_too() {
    for closes in [false, true] {
        let (wire, mut ws, masks) = open(Role::Server);
        wire.give(&frame(0x88, masks, b""));
        assert_eq!(ws.read().unwrap(), Message::Close(None));
        let done = if closes { ws.close(None) } else { ws.flush() };
        assert!(matches!(done, Err(Error::ConnectionClosed)));
        assert_eq!(wire.written(), frame(0x88, false, b""));
    }
}

#[test]
fn a_client_waits_until_the_server_ends_the_stream() {
    let (wire, mut ws, masks) = open(Role::Client);
    wire.give(&frame(0x88, masks, b"\x03\xe8bye"));
    assert!(ws.read().unwrap().is_close());
    assert!(ws.read().no_block().unwrap().is_none());
    assert_eq!(wire.written()[..2], [0x88, 0x85]);
    ws.flush().unwrap();
    wire.give(b"what follows a Close is not read");
    assert!(ws.read().no_block().unwrap().is_none());
    wire.end();
    assert!(matches!(ws.read(), Err(Error::ConnectionClosed)));
    assert!(matches!(ws.read(), Err(Error::AlreadyClosed)));
}

#[test]
fn messages_still_come_after_our_close_and_none_can_be_sent() {
    for role in [Role::Server, Role::Client] {
        let (wire, mut ws, masks) = open(role);
        ws.close(Some(close_frame())).unwrap();
        assert!(ws.can_read() && !ws.can_write());
        assert_eq!(wire.written()[0], 0x88);
        ws.close(None).unwrap();
        assert_eq!(wire.written(), b"", "Close is sent once");
        let error = ws.send(Message::text("late")).unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::SendAfterClosing)));
        wire.give(&frame(0x81, masks, b"was under way"));
        wire.give(&frame(0x88, masks, b"\x03\xe8bye"));
        assert_eq!(ws.read().unwrap(), Message::text("was under way"));
        assert_eq!(ws.read().unwrap(), Message::Close(Some(close_frame())));
        wire.end();
        assert!(matches!(ws.read(), Err(Error::ConnectionClosed)));
        assert_eq!(wire.written(), b"", "an answer gets no answer");
    }
}

#[test]
fn a_message_can_be_the_close() {
    let (wire, mut ws, _) = open(Role::Server);
    ws.write(Message::text("first")).unwrap();
    ws.send(Message::Close(Some(close_frame()))).unwrap();
    let expected = [frame(0x81, false, b"first"), frame(0x88, false, b"\x03\xe8bye")].concat();
    assert_eq!(wire.written(), expected);
}

#[test]
fn a_peer_that_is_gone_without_close_is_an_error_at_any_place() {
    for role in [Role::Server, Role::Client] {
        let whole = frame(0x81, role == Role::Server, b"cut");
        for cut in 0..whole.len() {
            let (wire, mut ws, _) = open(role);
            wire.give(&whole[..cut]);
            wire.end();
            let error = ws.read().unwrap_err();
            let expected = Error::Protocol(ProtocolError::ResetWithoutClosingHandshake);
            assert_eq!(error.to_string(), expected.to_string());
            assert!(matches!(ws.read(), Err(Error::AlreadyClosed)));
        }
        // Our Close alone is no closing handshake.
        let (wire, mut ws, _) = open(role);
        ws.close(None).unwrap();
        wire.end();
        let error = ws.read().unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)));
    }
}

#[test]
fn a_reset_is_an_error_of_the_stream_unless_close_was_sent() {
    let (wire, mut ws, _) = open(Role::Server);
    wire.0.borrow_mut().reset = true;
    let Err(Error::Io(error)) = ws.read() else { panic!("not an error of the stream") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (wire, mut ws, _) = open(Role::Server);
    ws.close(None).unwrap();
    wire.0.borrow_mut().reset = true;
    assert!(matches!(ws.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn a_close_that_may_not_be_sent_is_refused() {
    let (wire, mut ws, _) = open(Role::Server);
    for (code, reason) in [(1005, "x"), (1006, ""), (999, ""), (1000, &*"x".repeat(124))] {
        let close = CloseFrame { code: code.into(), reason: reason.into() };
        let error = ws.close(Some(close)).unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::InvalidCloseSequence)));
    }
    assert!(ws.can_write());
    assert_eq!(wire.written(), b"");
}

#[test]
fn the_stream_can_be_had_back() {
    let (wire, mut ws, _) = open(Role::Server);
    assert_eq!(ws.get_ref().0.borrow().flushes, 0);
    ws.get_mut().end();
    assert!(ws.into_inner().0.borrow().eof && wire.0.borrow().eof);
}
