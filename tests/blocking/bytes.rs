//! A WebSocket as `Read` and `Write`.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use bowline::Role;
use bowline::blocking::ByteStream;

use crate::support::blocking::*;
use crate::support::*;

fn bytes(role: Role) -> (ByteStream<Io>, Far) {
    let (ws, far) = open(role, &no_timeouts());
    (ByteStream::new(ws), far)
}

#[test]
fn bytes_come_as_they_were_sent_whatever_the_messages_and_the_reads() {
    for role in ROLES {
        let data = Seeded(7).bytes(50_000);
        let wire = [
            to(role, BINARY, &data[..10]),
            to(role, BINARY, b""),
            fragment_to(role, false, BINARY, &data[10..300]),
            to(role, PING, b"p"),
            fragment_to(role, true, CONTINUATION, &data[300..1000]),
            to(role, BINARY, &data[1000..]),
            close_to(role, 1000),
        ];
        for step in [1, 7, 4096, 200_000] {
            let (mut stream, far) = bytes(role);
            far.push(&wire.concat());
            far.eof();
            let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    n => all.extend_from_slice(&buffer[..n]),
                }
            }
            assert_eq!(all, data, "in steps of {step}");
            assert!(shorthand(&far.frames(role)).contains(&(PONG, "p".into())));
        }
    }
}

#[test]
fn a_write_is_a_message_and_closing_goes_after_it() {
    for role in ROLES {
        let (mut stream, far) = bytes(role);
        assert_eq!((stream.write(b"").unwrap(), stream.write(b"Hello").unwrap()), (0, 5));
        assert_eq!(stream.write(&[1; 100_000]).unwrap(), 32 << 10);
        stream.flush().unwrap();
        stream.close().unwrap();
        stream.close().unwrap();
        assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let frames = far.frames(role);
        let sizes: Vec<_> = frames.iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(sizes, [5, 32 << 10, 2]);
        assert_eq!((frames[0].opcode, close_code(&frames[2])), (BINARY, 1000));
    }
}

#[test]
fn a_read_timeout_of_the_stream_loses_nothing() {
    let (mut stream, far) = bytes(Role::Client);
    far.user_read_timeout(Some(Duration::from_millis(10)));
    let mut buffer = [0; 3];
    assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    far.push(&to(Role::Client, BINARY, b"Hello"));
    assert_eq!(stream.read(&mut buffer).unwrap(), 3);
    let (_, rest) = stream.into_inner();
    assert_eq!((&buffer, &rest[..]), (b"Hel", &b"lo"[..]));
}

#[test]
fn each_end_is_told_apart() {
    let role = Role::Client;
    let mut buffer = [0; 10];
    let (mut stream, far) = bytes(role);
    far.push(&close_to(role, 1011));
    far.eof();
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "a Close is the end");
    assert_eq!(stream.get_ref().end().unwrap().code().get(), 1011);
    let (mut stream, far) = bytes(role);
    far.eof();
    assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let (mut stream, far) = bytes(role);
    far.push(&to(role, TEXT, b"text"));
    assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(far.frames(role).last().map(close_code), Some(1003));
}
