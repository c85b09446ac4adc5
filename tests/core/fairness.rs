//! The work of decoding, whatever frames the peer sends: [`Receiver::work`](bowline::Receiver::work).

use crate::support::*;
use bowline::{Config, Progress, Receiver, RecvBuf, Replies, Role};

/// The work for these bytes, by whole messages or in parts.
fn work(role: Role, bytes: &[u8], parts: bool) -> u32 {
    let (mut receiver, _, mut replies) =
        Side::new(role, Config::default()).connection.into_halves();
    decode_all(&mut receiver, &mut replies, bytes, parts);
    receiver.work()
}

fn decode_all(receiver: &mut Receiver, replies: &mut Replies, bytes: &[u8], parts: bool) {
    take_in(receiver, &mut RecvBuf::new(), replies, bytes, parts);
}

fn take_in(
    receiver: &mut Receiver,
    input: &mut RecvBuf,
    replies: &mut Replies,
    mut bytes: &[u8],
    parts: bool,
) {
    while !bytes.is_empty() {
        let space = input.space();
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        input.filled(n);
        bytes = &bytes[n..];
        loop {
            let progress = if parts {
                receiver.advance_parts(input, replies, false)
            } else {
                receiver.advance(input, replies, false)
            };
            if progress.unwrap() != Progress::Event {
                break;
            }
        }
    }
}

#[test]
fn every_kind_of_frame_is_work() {
    for role in ROLES {
        let whole = |opcode, payload: &[u8]| to(role, opcode, payload);
        let open = fragment_to(role, false, BINARY, b"");
        let cases = [
            ("short messages", vec![], whole(BINARY, b"")),
            ("messages", vec![], whole(TEXT, &[b'x'; 300])),
            ("long messages", vec![], whole(BINARY, &vec![0; 70_000])),
            ("pings", vec![], whole(PING, b"")),
            ("pongs", vec![], whole(PONG, b"12345")),
            ("empty fragments", open.clone(), fragment_to(role, false, CONTINUATION, b"")),
            ("fragments", open.clone(), fragment_to(role, false, CONTINUATION, b"123")),
            ("pings between fragments", open, whole(PING, b"")),
        ];
        for (what, before, frame) in cases {
            for parts in [false, true] {
                let start = work(role, &before, parts);
                for count in [1, 7, 100] {
                    let bytes = [&before[..], &frame.repeat(count)].concat();
                    let done = work(role, &bytes, parts) - start;
                    let expected = count * (frame.len() + 1_024);
                    assert_eq!(done as usize, expected, "{role:?}: {count} {what}");
                }
            }
        }
    }
}

#[test]
fn what_is_skipped_of_a_message_is_work() {
    for role in ROLES {
        let first = fragment_to(role, false, BINARY, &[0; 100]);
        let rest =
            [fragment_to(role, false, CONTINUATION, &[0; 5_000]), to(role, CONTINUATION, b"")];
        let connection = Side::new(role, Config::default()).connection;
        let (mut receiver, _, mut replies) = connection.into_halves();
        let mut input = RecvBuf::with_unread(&first);
        let progress = receiver.advance_parts(&mut input, &mut replies, false);
        assert_eq!(progress, Ok(Progress::Event));
        let before = receiver.work();
        for frame in &rest {
            take_in(&mut receiver, &mut input, &mut replies, frame, false);
            assert_eq!(input.event(), None);
        }
        let bytes: usize = rest.iter().map(Vec::len).sum();
        assert_eq!((receiver.work() - before) as usize, bytes + 2 * 1_024);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn bytes_that_are_inflated_are_work() {
    use bowline::Deflate;
    for role in ROLES {
        let config = || Config::default().deflate(Deflate::default());
        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let header = "permessage-deflate";
        let mut sender = Side::extended(other, config(), header);
        sender.connection.send(&vec![0; 500_000][..], &mut sender.out).unwrap();
        let wire = sender.take_out();
        assert!(wire.len() < 5_000);
        let connection = Side::extended(role, config(), header).connection;
        let (mut receiver, _, mut replies) = connection.into_halves();
        decode_all(&mut receiver, &mut replies, &wire, false);
        assert_eq!(receiver.work() as usize, 500_000 + wire.len() + 1_024);
    }
}
