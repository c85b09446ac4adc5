//! Sending a borrowed payload with one vectored write, however many bytes the socket takes of it.

use crate::support::*;
use bowline::{Config, MessageRef, Role, SendBuf, Vectored};

/// What a vectored write of up to `n` bytes takes.
fn write(frame: &mut Vectored<'_>, n: usize, wire: &mut Vec<u8>) -> usize {
    let mut left = n;
    for slice in frame.slices() {
        assert!(!slice.is_empty());
        let taken = left.min(slice.len());
        wire.extend_from_slice(&slice[..taken]);
        left -= taken;
    }
    frame.sent(n - left);
    n - left
}

fn drain(out: &mut SendBuf, wire: &mut Vec<u8>) {
    for slice in out.pending_slices() {
        wire.extend_from_slice(slice);
    }
    out.sent(out.len());
}

#[test]
fn a_server_lends_the_payload_itself_and_queues_the_header_alone() {
    let mut side = Side::new(Role::Server, Config::default());
    let payload = [7; 1_000];
    let frame = side.connection.send_borrowed(&payload[..], &mut side.out).unwrap();
    let slices: Vec<_> = frame.slices().collect();
    assert_eq!(slices, [&[0x82, 126, 0x03, 0xe8][..], &payload]);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
}

#[test]
fn a_client_has_to_copy_because_it_masks() {
    let mut side = Side::new(Role::Client, Config::default());
    let payload = [7; 1_000];
    let frame = side.connection.send_borrowed(&payload[..], &mut side.out).unwrap();
    let wire = frame.slices().collect::<Vec<_>>().concat();
    assert_eq!(wire.len(), 1_008);
    assert_eq!(decode(Role::Client, &wire)[0].payload, payload);
    drop(frame);
    assert_eq!(side.out.len(), 1_008);
}

#[test]
fn whatever_the_socket_took_the_rest_follows_in_order() {
    let payload = b"0123456789abcdef";
    for role in ROLES {
        // With nothing, a small message, or a payload by reference before it.
        for before in [&b""[..], b"queued", &[9; 20_000]] {
            let total = {
                let mut side = Side::new(role, Config::default());
                if !before.is_empty() {
                    side.connection.send_owned(binary(before), &mut side.out).unwrap();
                }
                side.connection.send(&payload[..], &mut side.out).unwrap();
                side.out.len()
            };
            let near_end = total.saturating_sub(60)..=total;
            for n in (0..40.min(total)).chain(near_end).chain([total + 1, usize::MAX / 2]) {
                for further in [0, 1, 3] {
                    let mut side = Side::new(role, Config::default());
                    let mut wire = Vec::new();
                    if !before.is_empty() {
                        side.connection.send_owned(binary(before), &mut side.out).unwrap();
                    }
                    let mut frame =
                        side.connection.send_borrowed(&payload[..], &mut side.out).unwrap();
                    let mut taken = write(&mut frame, n.min(total), &mut wire);
                    taken += write(&mut frame, further, &mut wire);
                    assert_eq!(frame.slices().map(<[u8]>::len).sum::<usize>(), total - taken);
                    drop(frame);
                    assert_eq!(side.out.len(), total - taken);
                    side.connection.send("behind", &mut side.out).unwrap();
                    drain(&mut side.out, &mut wire);
                    let mut expected = vec![
                        (BINARY, before.to_vec()),
                        (BINARY, payload.to_vec()),
                        (TEXT, b"behind".to_vec()),
                    ];
                    if before.is_empty() {
                        expected.remove(0);
                    }
                    let sent: Vec<_> =
                        decode(role, &wire).into_iter().map(|f| (f.opcode, f.payload)).collect();
                    assert_eq!(sent, expected, "{n} bytes taken");
                }
            }
        }
    }
}

#[test]
fn more_than_waits_counts_as_all() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let mut frame = side.connection.send_borrowed("Hello", &mut side.out).unwrap();
        frame.sent(usize::MAX);
        assert_eq!(frame.slices().count(), 0);
        drop(frame);
        assert!(side.out.is_empty());
    }
}

#[test]
fn everything_that_can_be_sent_can_be_sent_borrowed() {
    for role in ROLES {
        for message in [
            MessageRef::Text("größer"),
            MessageRef::Text(""),
            MessageRef::Binary(b""),
            MessageRef::Binary(&[7; 70_000]),
            MessageRef::Ping(b"ping"),
            MessageRef::Pong(b""),
        ] {
            let (mut one, mut other) =
                (Side::new(role, Config::default()), Side::new(role, Config::default()));
            one.connection.send(message, &mut one.out).unwrap();
            let mut wire = Vec::new();
            let mut frame = other.connection.send_borrowed(message, &mut other.out).unwrap();
            write(&mut frame, usize::MAX / 2, &mut wire);
            drop(frame);
            assert!(other.out.is_empty());
            assert_eq!(one.take_out(), wire);
        }
    }
}

#[test]
fn an_event_is_sent_back_while_it_is_held() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let mut wire = Vec::new();
        for message in ["one", "two", "three"] {
            side.fill(&to(role, TEXT, message.as_bytes()));
            assert_eq!(side.advance(), Ok(bowline::Progress::Event));
            let event = side.input.event().unwrap();
            let mut frame = side.connection.send_borrowed(event, &mut side.out).unwrap();
            // The socket takes four bytes each time, so the queue grows.
            write(&mut frame, 4, &mut wire);
        }
        drain(&mut side.out, &mut wire);
        let sent: Vec<_> = decode(role, &wire).into_iter().map(|f| f.payload).collect();
        assert_eq!(sent, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    }
}
