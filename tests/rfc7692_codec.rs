//! Compressed messages: the octets (RFC 7692 §6, §7.2).
#![cfg(feature = "deflate")]

mod common;

use bowline::{Config, Deflate, Message, Role, Rule};
use common::*;

const DEFAULT: &str = "permessage-deflate";
const NO_TAKEOVER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// An end with compression that its peer may use as `header` says.
fn side(role: Role, header: &str) -> Side {
    let settings = match header {
        NO_TAKEOVER => Deflate::low_memory(),
        _ => Deflate::high_compression(),
    };
    Side::extended(role, Config::default().deflate(settings), header)
}

fn run_with(role: Role, header: &str, bytes: &[u8]) -> Outcome {
    run_on(&|| side(role, header), bytes)
}

/// A frame to `role` with RSV1 set.
fn marked(role: Role, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(fin, 0b100, opcode, payload, role == Role::Server)
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    for role in ROLES {
        let hello = [text("Hello")];
        for payload in [
            // §7.2.3.1, a fixed block; §7.2.3.3, a stored one; §7.2.3.4, a final one; §7.2.3.5, two.
            "f2 48 cd c9 c9 07 00",
            "00 05 00 fa ff 48 65 6c 6c 6f 00",
            "f3 48 cd c9 c9 07 00 00",
            "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",
        ] {
            let bytes = marked(role, true, TEXT, &hex(payload));
            run_with(role, DEFAULT, &bytes).assert_delivers(&hello);
            run_with(role, NO_TAKEOVER, &bytes).assert_delivers(&hello);
        }
        // Two fragments; a ping between them.
        let first = marked(role, false, TEXT, &hex("f2 48 cd"));
        let last = to(role, true, CONTINUATION, &hex("c9 c9 07 00"));
        run_with(role, DEFAULT, &[&first[..], &last].concat()).assert_delivers(&hello);
        let ping = to(role, true, PING, b"p");
        let outcome = run_with(role, DEFAULT, &[&first[..], &ping, &last].concat());
        assert_eq!(
            (&outcome.events[..], &outcome.sent[..]),
            (&hello[..], &[(PONG, b"p".to_vec())][..])
        );
    }
}

#[test]
fn a_message_may_refer_to_the_one_before_it_if_that_was_agreed() {
    for role in ROLES {
        // §7.2.3.2
        let first = marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00"));
        let second = marked(role, true, TEXT, &hex("f2 00 11 00 00"));
        let bytes = [&first[..], &second].concat();
        run_with(role, DEFAULT, &bytes).assert_delivers(&[text("Hello"), text("Hello")]);
        let outcome = run_with(role, NO_TAKEOVER, &bytes);
        assert_eq!(outcome.events, [text("Hello")]);
        let payload = first.len() + second.len() - 5;
        outcome.assert_failed(Rule::InvalidDeflate, payload);
    }
}

#[test]
fn a_message_behind_one_with_a_final_block_is_read() {
    for role in ROLES {
        let end = marked(role, true, TEXT, &hex("f3 48 cd c9 c9 07 00 00"));
        let next = marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00"));
        let bytes = [&end[..], &next, &end].concat();
        let hello = [text("Hello"), text("Hello"), text("Hello")];
        run_with(role, DEFAULT, &bytes).assert_delivers(&hello);
    }
}

#[test]
fn an_empty_message_is_one_octet_or_none() {
    for role in ROLES {
        for payload in ["00", "", "03 00", "03 00 00", "02 00", "01 00 00 ff ff", "01"] {
            let bytes = marked(role, true, TEXT, &hex(payload));
            run_with(role, DEFAULT, &bytes).assert_delivers(&[text("")]);
        }
    }
}

#[test]
fn what_is_no_deflate_text_fails_with_1007() {
    for role in ROLES {
        for payload in [
            "ff 32 ff e3 f5",                   // a block of the reserved type
            "f2 48 cd",                         // cut inside a block
            "f2 48 cd c9 c9 07", // and where only the empty block's beginning is missing
            "00 05 00 fa fe 48 65 6c 6c 6f 00", // a stored length that is not repeated
            "00 05 00 fa ff 48 65", // a stored block that is cut
            "f3 48 cd c9 c9 07 00 de ad", // garbage behind a final block
            "f2 00 11 00 00",    // a distance beyond the first byte
        ] {
            let bytes = marked(role, true, BINARY, &hex(payload));
            let outcome = run_with(role, DEFAULT, &bytes);
            assert_eq!(outcome.events, [], "{payload}");
            assert!(
                matches!(outcome.over, Over::Failed(Rule::InvalidDeflate, _)),
                "{payload}: {outcome:?}"
            );
        }
    }
}

#[test]
fn echoes_of_every_size_come_back() {
    let mut seeded = Seeded(1);
    for header in [DEFAULT, NO_TAKEOVER] {
        let (mut client, mut server) = (side(Role::Client, header), side(Role::Server, header));
        let mut sizes: Vec<usize> = (0..300).collect();
        sizes.extend([1023, 4096, 16383, 16384, 16385, 65535, 65536, 300_000]);
        for size in sizes {
            let mut payload = seeded.bytes(size);
            if size % 3 != 0 {
                payload.iter_mut().for_each(|byte| *byte &= 3);
            }
            let message = Message::from(payload);
            client.connection.send(&message, &mut client.out).unwrap();
            let wire = client.connection.answer(&mut client.out).then(|| raw(&mut client)).unwrap();
            assert_eq!(wire[0] & 0x40 != 0, size >= if header == DEFAULT { 128 } else { 512 });
            server.receive(&wire);
            assert_eq!(server.events.pop().as_ref(), Some(&message));
            server.connection.send(&message, &mut server.out).unwrap();
            let wire = raw(&mut server);
            client.receive(&wire);
            assert_eq!(client.events.pop().as_ref(), Some(&message));
        }
    }
}

fn raw(side: &mut Side) -> Vec<u8> {
    side.take_out()
}
