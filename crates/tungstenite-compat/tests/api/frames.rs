//! Frames by themselves, and frames that the program makes.

use std::io::Cursor;

use bowline_tungstenite::error::{CapacityError, ProtocolError};
use bowline_tungstenite::protocol::Role;
use bowline_tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use bowline_tungstenite::protocol::frame::{Frame, FrameHeader, FrameSocket};
use bowline_tungstenite::util::NonBlockingResult;
use bowline_tungstenite::{Error, Message, WebSocket};

use crate::wire::{Wire, frame};

#[test]
fn fragments_of_the_program_arrive_as_one_message() {
    let wire = Wire::default();
    let mut ws = WebSocket::from_raw_socket(wire.clone(), Role::Server, None);
    for (data, opcode, fin) in
        [("a", Data::Text, false), ("b", Data::Continue, false), ("c", Data::Continue, true)]
    {
        ws.write(Message::Frame(Frame::message(data, OpCode::Data(opcode), fin))).unwrap();
    }
    ws.send(Message::Frame(Frame::ping("p"))).unwrap();
    let mut client = WebSocket::from_raw_socket(Wire::with(&wire.written()), Role::Client, None);
    assert_eq!(client.read().unwrap(), Message::text("abc"));
    assert_eq!(client.read().unwrap(), Message::Ping(b"p"[..].into()));
    // An order that the peer would have to fail is refused.
    let stray = Frame::message("d", OpCode::Data(Data::Continue), true);
    assert!(ws.send(Message::Frame(stray)).is_err());
    assert_eq!(wire.written(), b"");
}

#[test]
fn a_frame_socket_reads_and_writes_frames_however_they_are_cut() {
    let payload = b"a payload that is masked";
    let header = FrameHeader {
        opcode: OpCode::Data(Data::Binary),
        mask: Some([1, 2, 3, 4]),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    Frame::from_payload(header, payload[..].into()).format(&mut bytes).unwrap();
    bytes.extend(frame(0x8A, false, b"pong"));
    for chunk in 1..=bytes.len() {
        let wire = Wire::with(&bytes);
        wire.0.borrow_mut().chunk = Some(chunk);
        let mut socket = FrameSocket::new(wire.clone());
        let first = socket.read(None).unwrap().unwrap();
        assert_eq!((first.payload(), first.header().is_final), (&payload[..], true));
        let second = socket.read(None).unwrap().unwrap();
        assert_eq!(second.header().opcode, OpCode::Control(Control::Pong));
        assert!(socket.read(None).no_block().unwrap().is_none());
        wire.end();
        assert_eq!(socket.read(None).unwrap(), None);
    }
    let wire = Wire::with(&bytes);
    let mut socket = FrameSocket::new(wire.clone());
    let error = socket.read(Some(23)).unwrap_err();
    let expected = CapacityError::MessageTooLong { size: 24, max_size: 23 };
    assert!(matches!(error, Error::Capacity(found) if found == expected));
    socket.send(Frame::close(None)).unwrap();
    assert_eq!(wire.written(), frame(0x88, false, b""));
}

#[test]
fn a_header_is_read_as_it_was_written() {
    for len in [0, 125, 126, 65_535, 65_536] {
        let header = FrameHeader { rsv2: true, mask: Some([9; 4]), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        header.format(len, &mut bytes).unwrap();
        assert_eq!(bytes.len(), header.len(len));
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(FrameHeader::parse(&mut cursor).unwrap(), Some((header, len)));
        assert_eq!(cursor.position(), bytes.len() as u64);
        let mut cut = Cursor::new(&bytes[..bytes.len() - 1]);
        assert_eq!(FrameHeader::parse(&mut cut).unwrap(), None);
        assert_eq!(cut.position(), 0);
    }
    let reserved = FrameHeader::parse(&mut Cursor::new([0x83, 0]));
    assert!(matches!(reserved, Err(Error::Protocol(ProtocolError::InvalidOpcode(3)))));
}
