//! A WebSocket as a stream of bytes: boundaries mean nothing, and no byte is lost or written twice.

use std::io::ErrorKind;
use std::pin::pin;

use bowline::Role;

use super::adapter::*;
use crate::support::stream::{cancelled, finish, poll};
use crate::support::*;

fn bytes(role: Role) -> (ByteStream<Io>, Far) {
    let (ws, far) = open(role, &no_timeouts());
    (ByteStream::new(ws), far)
}

/// Reads until the end, in steps of this many bytes.
fn read_all(stream: &mut ByteStream<Io>, step: usize) -> std::io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
    loop {
        match finish(stream.read(&mut buffer))? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

#[test]
fn bytes_come_as_they_were_sent_whatever_the_messages_and_the_reads() {
    for role in ROLES {
        let data = Seeded(7).bytes(100_000);
        // Messages of all sizes, fragments, an empty one, and pings between.
        let mut wire = Vec::new();
        let (short, rest) = data.split_at(10);
        let (fragmented, long) = rest.split_at(1000);
        wire.extend(to(role, BINARY, short));
        wire.extend(to(role, BINARY, b""));
        wire.extend(fragment_to(role, false, BINARY, &fragmented[..300]));
        wire.extend(to(role, PING, b"p"));
        wire.extend(fragment_to(role, false, CONTINUATION, b""));
        wire.extend(fragment_to(role, true, CONTINUATION, &fragmented[300..]));
        wire.extend(to(role, BINARY, long));
        wire.extend(close_to(role, 1000));
        for step in [1, 7, 4096, 200_000] {
            let (mut stream, far) = bytes(role);
            far.push(&wire);
            far.eof();
            assert_eq!(read_all(&mut stream, step).unwrap(), data, "in steps of {step}");
            assert_eq!(finish(stream.read(&mut [0; 8])).unwrap(), 0, "the end stays");
            assert!(stream.get_ref().end().unwrap().is_clean());
            let sent = shorthand(&far.frames(role));
            assert!(sent.contains(&(PONG, "p".into())), "pings are answered");
        }
    }
}

#[test]
fn bytes_of_a_message_come_before_it_is_complete() {
    let (mut stream, far) = bytes(Role::Server);
    far.push(&header_to(Role::Server, 0x80 | BINARY, 1000));
    far.push(&masked_with(KEY, b"Hello"));
    let mut buffer = [0; 100];
    assert_eq!(finish(stream.read(&mut buffer)).unwrap(), 5);
    assert_eq!(&buffer[..5], b"Hello");
}

#[test]
fn an_empty_read_and_an_empty_write_do_nothing() {
    let (mut stream, far) = bytes(Role::Server);
    assert_eq!(finish(stream.read(&mut [])).unwrap(), 0);
    assert_eq!(finish(stream.write(&[])).unwrap(), 0);
    assert_eq!(far.written(), b"");
}

#[test]
fn a_write_is_a_message_that_leaves_at_once() {
    for role in ROLES {
        let (mut stream, far) = bytes(role);
        assert_eq!(finish(stream.write(b"Hello")).unwrap(), 5);
        let frames = far.frames(role);
        assert_eq!((frames.len(), &frames[0].payload[..]), (1, &b"Hello"[..]));
        assert_eq!((frames[0].opcode, frames[0].fin), (BINARY, true));
        // No frame is larger than what every gateway takes.
        assert_eq!(finish(stream.write(&[1; 100_000])).unwrap(), 32 << 10);
        finish(stream.write_all(&[2; 100_000])).unwrap();
        let sizes: Vec<_> = far.frames(role).iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(sizes[1..], [32 << 10, 32 << 10, 32 << 10, 32 << 10, 100_000 - 3 * (32 << 10)]);
    }
}

#[test]
fn writes_wait_for_a_peer_that_does_not_read_and_lose_nothing() {
    let role = Role::Server;
    let config = no_timeouts().max_send_queue(10_000);
    let (ws, far) = open(role, &config);
    let mut stream = ByteStream::new(ws);
    far.room(0);
    let mut sent = Vec::new();
    loop {
        let piece = [sent.len() as u8; 3000];
        match cancelled(stream.write(&piece), 3) {
            Some(n) => {
                assert_eq!(n.unwrap(), 3000);
                sent.extend_from_slice(&piece);
            }
            // This one was not taken.
            None => break,
        }
        assert!(sent.len() < 50_000, "it does not wait");
    }
    far.room(usize::MAX);
    finish(stream.flush()).unwrap();
    let came: Vec<u8> = far.frames(role).iter().flat_map(|frame| frame.payload.clone()).collect();
    assert_eq!(came, sent);
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    let (mut stream, far) = bytes(Role::Client);
    let mut buffer = [0; 3];
    {
        let mut read = pin!(stream.read(&mut buffer));
        assert!(poll(read.as_mut()).is_pending());
        far.push(&to(Role::Client, BINARY, b"Hello"));
    }
    assert_eq!(finish(stream.read(&mut buffer)).unwrap(), 3);
    assert_eq!(&buffer, b"Hel");
    let (ws, rest) = stream.into_inner();
    assert_eq!((&rest[..], ws.end()), (&b"lo"[..], None));
}

#[test]
fn shutting_down_sends_close_and_reading_goes_on() {
    for role in ROLES {
        let (mut stream, far) = bytes(role);
        finish(stream.write_all(b"bye")).unwrap();
        finish(shut(&mut stream)).unwrap();
        finish(shut(&mut stream)).unwrap();
        let frames = far.frames(role);
        assert_eq!((frames.len(), close_code(&frames[1])), (2, 1000));
        assert_eq!(finish(stream.write(b"x")).unwrap_err().kind(), ErrorKind::BrokenPipe);
        far.push(&to(role, BINARY, b"last"));
        far.push(&close_to(role, 1000));
        far.eof();
        assert_eq!(read_all(&mut stream, 100).unwrap(), b"last");
    }
}

#[test]
fn each_end_is_told_apart() {
    let role = Role::Client;
    for code in [1000, 1001, 1011] {
        let (mut stream, far) = bytes(role);
        far.push(&close_to(role, code));
        far.eof();
        assert_eq!(read_all(&mut stream, 10).unwrap(), b"", "a Close is the end");
        assert_eq!(stream.get_ref().end().unwrap().code().get(), code);
    }
    let (mut stream, far) = bytes(role);
    far.push(&to(role, BINARY, b"cut"));
    far.eof();
    let mut buffer = [0; 10];
    assert_eq!(finish(stream.read(&mut buffer)).unwrap(), 3);
    assert_eq!(finish(stream.read(&mut buffer)).unwrap_err().kind(), ErrorKind::UnexpectedEof);

    let (mut stream, far) = bytes(role);
    far.push(&to(role, TEXT, b"text"));
    assert_eq!(finish(stream.read(&mut buffer)).unwrap_err().kind(), ErrorKind::InvalidData);
    finish(stream.flush()).unwrap();
    assert_eq!(far.frames(role).last().map(close_code), Some(1003));
}
