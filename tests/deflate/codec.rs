//! Compressed messages: the octets (RFC 7692 §6, §7.2).
#![cfg(feature = "deflate")]

use crate::support::deflate::Token::{Literal, Match};
use crate::support::deflate::{Blocks, Text, inflate, literals, marked, run_of};
use crate::support::*;
use bowline::{Config, Deflate, Message, MessageRef, Prepared, Progress, Role, Rule};

const DEFAULT: &str = "permessage-deflate";
const NO_TAKEOVER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// An endpoint with compression that its peer may use as `header` says.
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

/// Both windows, and whether either side goes without context takeover.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    server_bits: u8,
    client_bits: u8,
    server_alone: bool,
    client_alone: bool,
}

impl Agreed {
    fn both(bits: u8, alone: bool) -> Self {
        Self { server_bits: bits, client_bits: bits, server_alone: alone, client_alone: alone }
    }

    /// An endpoint that would have agreed to anything, and compresses every message.
    fn side(self, role: Role) -> Side {
        self.side_with(role, Deflate::high_compression().threshold(0))
    }

    fn side_with(self, role: Role, settings: Deflate) -> Side {
        let mut header = format!(
            "permessage-deflate; server_max_window_bits={}; client_max_window_bits={}",
            self.server_bits, self.client_bits
        );
        if self.server_alone {
            header += "; server_no_context_takeover";
        }
        if self.client_alone {
            header += "; client_no_context_takeover";
        }
        Side::extended(role, Config::default().deflate(settings), &header)
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// What the frames of one compressed message say.
#[track_caller]
fn text_of(frames: &[Frame], history: &[u8]) -> Text {
    let (last, before) = frames.split_last().unwrap();
    assert!(last.fin && before.iter().all(|frame| !frame.fin));
    assert!(frames[0].marked, "it is compressed");
    let payload: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    inflate(&payload, history, true).expect("DEFLATE, with the end that a flush gives it")
}

/// Sends a message that is compressed as one frame: what it says.
#[track_caller]
fn send<'a>(side: &mut Side, message: impl Into<MessageRef<'a>>, history: &[u8]) -> Text {
    side.connection.send(message, &mut side.out).unwrap();
    let frames = side.take_frames();
    assert_eq!(frames.len(), 1);
    text_of(&frames, history)
}

/// Text as programs write it, in which much repeats.
fn json(seeded: &mut Seeded, len: usize) -> String {
    let mut text = String::new();
    while text.len() < len {
        let (id, price) = (seeded.below(100_000), seeded.below(1_000));
        text += &format!("{{\"id\":{id},\"price\":{price}.5,\"name\":\"item\"}},");
    }
    text.truncate(len);
    text
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
        let last = to(role, CONTINUATION, &hex("c9 c9 07 00"));
        run_with(role, DEFAULT, &[&first[..], &last].concat()).assert_delivers(&hello);
        let ping = to(role, PING, b"p");
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
fn messages_that_are_not_compressed_do_not_enter_the_window() {
    for role in ROLES {
        // §7.2.3.2, with others between.
        let first = marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00"));
        let plain = to(role, TEXT, b"plain");
        let fragments = [fragment_to(role, false, BINARY, b"pl"), to(role, CONTINUATION, b"ain")];
        let second = marked(role, true, TEXT, &hex("f2 00 11 00 00"));
        let bytes = [&first[..], &plain, &fragments.concat(), &second].concat();
        let hello = text("Hello");
        let expected = [hello.clone(), text("plain"), binary(b"plain"), hello];
        run_with(role, DEFAULT, &bytes).assert_delivers(&expected);
    }
}

#[test]
fn final_blocks_may_stand_anywhere() {
    let of = |finals: [bool; 3]| {
        let blocks = Blocks::new().fixed(finals[0], &literals(b"He"));
        blocks.stored(finals[1], b"ll").fixed(finals[2], &literals(b"o"))
    };
    for role in ROLES {
        for finals in 0..8 {
            let finals = [finals & 1 != 0, finals & 2 != 0, finals & 4 != 0];
            let mut payloads = vec![of(finals).message()];
            if finals[2] {
                // Nothing behind the last of them: the octet that §7.2.3.4 asks for is missing.
                payloads.push(of(finals).bytes());
            }
            for payload in payloads {
                let message = marked(role, true, TEXT, &payload);
                let back = Blocks::new().fixed(true, &[Match(5, 5)]).message();
                let bytes = [message, marked(role, true, TEXT, &back)].concat();
                let expected = [text("Hello"), text("Hello")];
                run_with(role, DEFAULT, &bytes).assert_delivers(&expected);
            }
            // With a frame for each block, and an empty one.
            let [a, b, c] = [1, 2, 3].map(|n| match n {
                1 => Blocks::new().fixed(true, &literals(b"He")).bytes(),
                2 => Blocks::new().stored(finals[1], b"ll").bytes(),
                _ => Blocks::new().fixed(finals[2], &literals(b"o")).message(),
            });
            let bytes = [
                marked(role, false, TEXT, &a),
                fragment_to(role, false, CONTINUATION, &b),
                fragment_to(role, false, CONTINUATION, b""),
                to(role, CONTINUATION, &c),
            ];
            run_with(role, NO_TAKEOVER, &bytes.concat()).assert_delivers(&[text("Hello")]);
        }
    }
}

/// Messages with blocks of each type, and what they say.
fn samples() -> Vec<Vec<u8>> {
    let mut seeded = Seeded(2);
    let json = json(&mut seeded, 400);
    let mut side = Agreed::both(15, true).side(Role::Server);
    side.connection.send(&*json, &mut side.out).unwrap();
    let dynamic = side.take_frames().remove(0).payload;
    let far = [&literals(b"abcdefgh")[..], &[Match(3, 8), Match(258, 1), Match(20, 3)]].concat();
    let samples = vec![
        Blocks::new().fixed(false, &far).message(),
        Blocks::new().fixed(true, &far).fixed(false, &literals(b"\xe2\xff\x90")).message(),
        Blocks::new().stored(false, &[0; 5]).stored(true, b"abc\x03\x00").message(),
        Blocks::new().stored(false, b"").fixed(true, &literals(b"\x00")).bytes(),
        dynamic,
    ];
    let kinds: Vec<_> = samples.iter().map(|sample| sample[0] >> 1 & 3).collect();
    assert_eq!(kinds, [1, 1, 0, 0, 2], "there are blocks of all types");
    samples
}

/// Asserts that an endpoint reads this payload of a message as the naive inflater does.
#[track_caller]
fn assert_same(payload: &[u8]) {
    // The message after it shows that nothing of it is left.
    let hello = Blocks::new().fixed(false, &literals(b"Hello")).message();
    for role in ROLES {
        let wires = [
            marked(role, true, BINARY, payload),
            [marked(role, false, BINARY, payload), to(role, CONTINUATION, b"")].concat(),
        ];
        for wire in wires {
            for header in [DEFAULT, NO_TAKEOVER] {
                let expected = inflate(payload, b"", header == DEFAULT);
                let bytes = [&wire[..], &marked(role, true, TEXT, &hello)].concat();
                for pieces in [vec![&bytes[..]], bytes.chunks(1).collect()] {
                    let outcome = feed_to(side(role, header), &pieces, Style::Borrow);
                    match &expected {
                        Some(read) => {
                            outcome.assert_delivers(&[binary(&read.bytes), text("Hello")]);
                        }
                        None => {
                            assert_eq!(outcome.events, [], "{payload:02x?}");
                            let is_right =
                                matches!(outcome.over, Over::Failed(Rule::InvalidDeflate, _));
                            assert!(is_right, "{payload:02x?}: {outcome:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_anywhere_fails_with_1007_or_says_what_is_there() {
    for sample in samples() {
        (0..=sample.len()).for_each(|len| assert_same(&sample[..len]));
    }
}

#[test]
fn a_message_with_any_bit_flipped_fails_with_1007_or_says_what_it_says_then() {
    for sample in samples() {
        // The header of a block is where most of it is decided.
        let bits = (0..8 * sample.len()).filter(|bit| bit % 5 == 0 || *bit < 100);
        for bit in bits {
            let mut payload = sample.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert_same(&payload);
        }
    }
}

#[test]
fn garbage_fails_with_1007_or_says_what_it_says() {
    (0..=u8::MAX).for_each(|byte| assert_same(&[byte]));
    let mut seeded = Seeded(3);
    for _ in 0..200 {
        let len = 1 + seeded.below(30);
        assert_same(&seeded.bytes(len));
    }
}

#[test]
fn where_a_message_failed_is_where_its_frame_began_however_it_is_cut() {
    for role in ROLES {
        let good = marked(role, false, BINARY, &Blocks::new().stored(false, b"abc").bytes());
        let ping = to(role, PING, b"");
        for (bad, rest) in [(&b"\x06"[..], &b"\xff\xff\xff"[..]), (b"\x00\x01\x00\x00\x00", b"")] {
            let last = to(role, CONTINUATION, &[bad, rest].concat());
            let bytes = [&good[..], &ping, &last].concat();
            let outcome = run_with(role, DEFAULT, &bytes);
            outcome.assert_failed(Rule::InvalidDeflate, bytes.len() - bad.len() - rest.len());
            assert_eq!(outcome.events, []);
        }
        // An error that only the end of the message shows is found at the end.
        let cut = marked(role, true, BINARY, &hex("f2 48 cd"));
        run_with(role, DEFAULT, &cut).assert_failed(Rule::InvalidDeflate, cut.len());
    }
}

#[test]
fn reserved_bits_have_no_other_meaning() {
    for role in ROLES {
        let masked = role == Role::Server;
        let before = [
            vec![],
            fragment_to(role, false, TEXT, b"a"),
            marked(role, false, TEXT, &hex("f2 48 cd")),
            to(role, TEXT, b"a"),
        ];
        for before in before {
            let open = before.first().is_some_and(|first| first & 0x80 == 0);
            for rsv in 1..8 {
                for opcode in 0..16 {
                    for fin in [true, false] {
                        let bytes = [&before[..], &frame(fin, rsv, opcode, b"", masked)].concat();
                        let outcome = feed_to(side(role, DEFAULT), &[&bytes], Style::Borrow);
                        // RFC 7692 §6.1: only the first frame of a message may be marked.
                        let is_data = opcode == TEXT || opcode == BINARY;
                        if rsv == 0b100 && is_data && open {
                            outcome.assert_failed(Rule::ExpectedContinuation, before.len());
                        } else if rsv == 0b100 && is_data {
                            assert!(matches!(outcome.over, Over::Open(_)), "{outcome:?}");
                        } else {
                            outcome.assert_failed(Rule::ReservedBits, before.len());
                        }
                    }
                }
            }
        }
        // C10, C11
        let close = frame(true, 0b100, CLOSE, &close_payload(1000, b""), masked);
        run_with(role, DEFAULT, &close).assert_failed(Rule::ReservedBits, 0);
        let first = marked(role, false, TEXT, &hex("f2 48 cd"));
        let last = frame(true, 0b100, CONTINUATION, &hex("c9 c9 07 00"), masked);
        let bytes = [&first[..], &last].concat();
        run_with(role, DEFAULT, &bytes).assert_failed(Rule::ReservedBits, first.len());
    }
}

#[test]
fn control_frames_between_compressed_fragments_are_as_ever() {
    for role in ROLES {
        let hello = hex("f2 48 cd c9 c9 07 00");
        for at in 0..=hello.len() {
            let (a, b) = hello.split_at(at);
            let first = marked(role, false, TEXT, a);
            let control = [to(role, PING, b"p"), to(role, PONG, b"q")].concat();
            let last = to(role, CONTINUATION, b);
            let bytes = [&first[..], &control, &last, &first, &last].concat();
            let outcome = run_with(role, DEFAULT, &bytes);
            assert_eq!(outcome.events, [text("Hello"), text("Hello")]);
            assert_eq!(outcome.sent, [(PONG, b"p".to_vec())]);
            // A Close ends the connection, and no part of the message is delivered.
            let close = to(role, CLOSE, &close_payload(1000, b"bye"));
            let outcome = run_with(role, DEFAULT, &[&first[..], &close].concat());
            assert_eq!(outcome.over, Over::Closed(Some(1000), "bye".into()));
            assert_eq!(outcome.events, []);
        }
    }
}

#[test]
fn a_stream_that_ends_inside_a_compressed_message_delivers_nothing_of_it() {
    for role in ROLES {
        let bytes = marked(role, true, TEXT, &Blocks::new().stored(false, b"Hello").message());
        let outcome = feed_to(side(role, DEFAULT), &[&bytes[..bytes.len() - 1]], Style::Borrow);
        assert_eq!(outcome.over, Over::Open(bowline::Truncation::InPayload));
        let first = marked(role, false, TEXT, &Blocks::new().stored(false, b"Hello").bytes());
        run_with(role, DEFAULT, &first).assert_delivers(&[]);
    }
}

#[test]
fn text_is_checked_as_it_was_before_it_was_compressed() {
    let long = "κόσμε 𝄞 €".repeat(3);
    for role in ROLES {
        // Cut at every place, in the text and on the wire.
        for at in 0..long.len() {
            let (a, b) = long.as_bytes().split_at(at);
            let payload = Blocks::new().stored(false, a).stored(true, b).message();
            let bytes = marked(role, true, TEXT, &payload);
            let outcome =
                feed_to(side(role, DEFAULT), &bytes.chunks(1).collect::<Vec<_>>(), Style::Take);
            outcome.assert_delivers(&[text(&long)]);
        }
        for (bad, good) in
            [(&b"ab\xff"[..], &b"ab"[..]), (b"\xe2\x28\xa1", b""), (b"\xed\xa0\x80", b"")]
        {
            let payload = Blocks::new().fixed(false, &literals(bad)).message();
            let outcome = run_fails(role, &marked(role, true, TEXT, &payload));
            assert_eq!(outcome, Rule::InvalidUtf8, "{bad:?} {good:?}");
            // Binary data may be anything.
            let bytes = marked(role, true, BINARY, &payload);
            run_with(role, DEFAULT, &bytes).assert_delivers(&[binary(bad)]);
        }
        // A character that is cut off by the end of the message.
        let payload = Blocks::new().fixed(false, &literals(b"\xe2\x82")).message();
        assert_eq!(run_fails(role, &marked(role, true, TEXT, &payload)), Rule::InvalidUtf8);
        // The rest of it in the next message is no rest.
        let rest =
            marked(role, true, TEXT, &Blocks::new().fixed(false, &literals(b"\xac")).message());
        assert_eq!(run_fails(role, &rest), Rule::InvalidUtf8);
    }
}

/// The rule that these bytes break, wherever they are cut; nothing of them is delivered.
#[track_caller]
fn run_fails(role: Role, bytes: &[u8]) -> Rule {
    let mut rules: Vec<_> = every_split(bytes)
        .into_iter()
        .map(|places| {
            let outcome = feed_to(side(role, DEFAULT), &cut(bytes, &places), Style::Borrow);
            assert_eq!(outcome.events, []);
            match outcome.over {
                Over::Failed(rule, _) => rule,
                over => panic!("{over:?}"),
            }
        })
        .collect();
    rules.dedup();
    assert_eq!(rules.len(), 1, "{rules:?}");
    rules[0]
}

#[test]
fn a_peer_may_refer_as_far_back_as_was_agreed_and_no_further() {
    for role in ROLES {
        for bits in 8..=15 {
            let window = 1 << bits;
            // In one message that is longer than the window, in some that fill it, in many that turn it around.
            for size in [window + 300, window, window / 2 + 1, 100, 33] {
                if bits > 10 && size < window / 2 {
                    continue;
                }
                let mut seeded = Seeded(size as u64);
                let (mut side, mut history) = (Agreed::both(bits, false).side(role), Vec::new());
                let receive = |side: &mut Side, payload: &[u8], history: &mut Vec<u8>| {
                    let expected = inflate(payload, history, true).unwrap().bytes;
                    side.receive(&marked(role, true, BINARY, payload));
                    let message = side.events.pop().unwrap();
                    assert!(message.as_bytes() == expected, "{bits} {size}");
                    history.extend(expected);
                };
                while history.len() < 2 * window + 1 {
                    let blocks = seeded.bytes(size);
                    let blocks =
                        blocks.chunks(60_000).fold(Blocks::new(), |b, part| b.stored(false, part));
                    receive(&mut side, &blocks.message(), &mut history);
                }
                for distance in [1, 2, 3, window / 2, window - 1, window, window - 1, window] {
                    let payload = Blocks::new().fixed(false, &[Match(5, distance)]).message();
                    receive(&mut side, &payload, &mut history);
                    // After a final block as well.
                    let blocks = Blocks::new().stored(true, b"ab");
                    let payload = blocks.fixed(true, &[Match(258, distance)]).message();
                    receive(&mut side, &payload, &mut history);
                }
                if bits < 15 {
                    let payload = Blocks::new().fixed(false, &[Match(3, window + 1)]).message();
                    let bytes = marked(role, true, BINARY, &payload);
                    let error = side.try_receive(&bytes).unwrap_err();
                    assert_eq!(error.rule(), Rule::InvalidDeflate, "{bits} {size}");
                }
            }
        }
    }
}

#[test]
fn nothing_was_before_the_first_message() {
    for role in ROLES {
        for (bits, len) in [(8, 10), (9, 511), (15, 10), (15, 20_000)] {
            let make = || {
                let mut side = Agreed::both(bits, false).side(role);
                let payload = Blocks::new().stored(false, &vec![7; len]).message();
                side.receive(&marked(role, true, BINARY, &payload));
                side
            };
            let refer = |distance| {
                let payload = Blocks::new().fixed(false, &[Match(3, distance)]).message();
                marked(role, true, BINARY, &payload)
            };
            let mut side = make();
            side.receive(&refer(len));
            assert_eq!(side.events[1], binary(&[7; 3]));
            let error = make().try_receive(&refer(len + 1)).unwrap_err();
            assert_eq!(error.rule(), Rule::InvalidDeflate, "{bits} {len}");
        }
    }
}

#[test]
fn nobody_reads_what_came_on_another_connection() {
    // Inflaters are shared by the connections of a thread, one after the other.
    for role in ROLES {
        for alone in [false, true] {
            let agreed = Agreed::both(15, alone);
            let mut secret = agreed.side(role);
            let payload = Blocks::new().stored(false, &[b's'; 1_000]).message();
            for distance in [1, 10, 1_000] {
                let curious = Blocks::new().fixed(false, &[Match(10, distance)]).message();
                let curious = marked(role, true, BINARY, &curious);
                secret.receive(&marked(role, true, BINARY, &payload));
                assert!(agreed.side(role).try_receive(&curious).is_err());
                // Nor when the other was left in the middle of a message, or after a final block of it.
                for blocks in
                    [Blocks::new().stored(false, b"secret"), Blocks::new().stored(true, b"secret")]
                {
                    let mut left = agreed.side(role);
                    left.receive(&marked(role, false, BINARY, &blocks.stored(false, b"x").bytes()));
                    drop(left);
                    assert!(agreed.side(role).try_receive(&curious).is_err());
                }
            }
        }
    }
}

#[test]
fn each_direction_has_what_was_agreed_for_it() {
    let agreed =
        Agreed { server_bits: 9, client_bits: 11, server_alone: false, client_alone: false };
    let windows = |sender: Role| if sender == Role::Server { 512 } else { 2_048 };
    for role in ROLES {
        // Receiving.
        let window = windows(other(role));
        for (distance, is_right) in [(window, true), (window + 1, false)] {
            let mut side = agreed.side(role);
            let payload = Blocks::new().stored(false, &[1; 5_000]).message();
            side.receive(&marked(role, true, BINARY, &payload));
            let payload = Blocks::new().fixed(false, &[Match(3, distance)]).message();
            let result = side.try_receive(&marked(role, true, BINARY, &payload));
            assert_eq!(result.is_ok(), is_right, "{role:?} {distance}");
        }
        // Sending.
        let mut seeded = Seeded(5);
        let mut side = agreed.side(role);
        let noise = seeded.bytes(5_000);
        send(&mut side, &noise[..], b"");
        let window = windows(role);
        let near = &noise[5_000 - window + 300..][..100];
        let reach = send(&mut side, near, &noise).reach;
        assert!(window - 400 < reach && reach <= window, "{role:?} {reach}");

        for (server_alone, client_alone) in [(true, false), (false, true)] {
            let agreed = Agreed { server_bits: 15, client_bits: 15, server_alone, client_alone };
            let alone =
                |sender: Role| if sender == Role::Server { server_alone } else { client_alone };
            let mut side = agreed.side(role);
            side.receive(&marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00")));
            let result = side.try_receive(&marked(role, true, TEXT, &hex("f2 00 11 00 00")));
            assert_eq!(result.is_err(), alone(other(role)), "{role:?} {agreed:?}");

            let mut side = agreed.side(role);
            send(&mut side, &noise[..], b"");
            let reach = send(&mut side, &noise[..], &noise).reach;
            assert_eq!(reach == 0, alone(role), "{role:?} {agreed:?}");
        }
    }
}

#[test]
fn a_client_keeps_to_its_hints_whatever_the_server_answers() {
    // §7.1.1.2, §7.1.2.2: "the client is not going to use" more than it offered.
    let noise = Seeded(6).bytes(3_000);
    let answer = "permessage-deflate";
    let client = |settings: Deflate| {
        Side::extended(Role::Client, Config::default().deflate(settings.threshold(0)), answer)
    };
    let mut side = client(Deflate::high_compression().client_context_takeover(false));
    send(&mut side, &noise[..], b"");
    assert_eq!(send(&mut side, &noise[..], &noise).reach, 0);
    let mut side = client(Deflate::high_compression().client_max_window_bits(9));
    send(&mut side, &noise[..], b"");
    let text = send(&mut side, &noise[..], &noise);
    assert_eq!(text.bytes, noise);
    assert!(text.farthest <= 512, "{}", text.farthest);
    // The server was asked to limit itself and did not: its window has 32 KiB.
    let mut side = client(Deflate::default().server_max_window_bits(9));
    let payload = [&run_of(b'a', 30_000)[..], &[Literal(b'b'), Match(3, 30_001)]].concat();
    side.receive(&marked(
        Role::Client,
        true,
        BINARY,
        &Blocks::new().fixed(false, &payload).message(),
    ));
    let far = Blocks::new().fixed(false, &[Match(4, 30_004)]).message();
    side.receive(&marked(Role::Client, true, BINARY, &far));
    assert_eq!(side.events[1], binary(b"aaaa"));
}

/// A connection whose one endpoint sends messages that refer to as much of the earlier ones as they may.
struct Talk {
    sender: Side,
    receiver: Side,
    bits: u8,
    alone: bool,
    history: Vec<u8>,
    messages: usize,
    farthest: usize,
    reach: usize,
}

impl Talk {
    fn new(role: Role, bits: u8, alone: bool) -> Self {
        let agreed = Agreed::both(bits, alone);
        let (sender, receiver) = (agreed.side(role), agreed.side(other(role)));
        let (history, messages, farthest, reach) = (Vec::new(), 0, 0, 0);
        Self { sender, receiver, bits, alone, history, messages, farthest, reach }
    }

    /// Noise, and pieces of what was sent before at all distances.
    fn message(&self, seeded: &mut Seeded) -> Vec<u8> {
        let mut message = Vec::new();
        for _ in 0..1 + seeded.below(8) {
            let len = 1 + seeded.below(150);
            if self.history.is_empty() || seeded.below(4) == 0 {
                message.extend(seeded.bytes(len));
            } else {
                let recent = self.history.len().min(2 << self.bits);
                let at = self.history.len() - 1 - (seeded.below(recent) >> seeded.below(4));
                message.extend(self.history[at..].iter().take(len));
            }
        }
        message
    }

    fn check(&mut self, message: Vec<u8>) {
        let wire = self.sender.take_out();
        let said = text_of(&decode_extended(self.sender.role, &wire), &self.history);
        assert!(said.bytes == message, "another text");
        assert!(
            said.farthest <= 1 << self.bits,
            "{} bytes back in a window of {} bits",
            said.farthest,
            self.bits
        );
        assert!(!self.alone || said.reach == 0, "context takeover");
        self.farthest = self.farthest.max(said.farthest);
        self.reach = self.reach.max(said.reach);
        self.receiver.receive(&wire);
        assert!(self.receiver.events.pop().unwrap().as_bytes() == message);
        self.history.extend(message);
        self.messages += 1;
    }

    fn send(&mut self, seeded: &mut Seeded) {
        let message = self.message(seeded);
        let Side { connection, out, .. } = &mut self.sender;
        if seeded.below(6) == 0 {
            connection.send_prepared(&Prepared::new(&message[..]), out).unwrap();
        } else {
            connection.send(&message[..], out).unwrap();
        }
        self.check(message);
    }

    /// At the end: it used what it may. The compressor keeps 262 bytes of the window to itself.
    fn assert_used(&self) {
        let window = (1_usize << self.bits).max(512) - 262;
        assert!(self.farthest > window / 4, "{} of {window}", self.farthest);
        assert_eq!(self.reach == 0, self.alone);
    }
}

#[test]
fn what_is_sent_refers_no_further_back_than_was_agreed() {
    let mut seeded = Seeded(7);
    for bits in 8..=15 {
        for (role, alone) in [(ROLES[usize::from(bits % 2)], false), (Role::Client, true)] {
            let mut talk = Talk::new(role, bits, alone);
            while talk.messages < 30 || talk.history.len() < 3 << bits {
                talk.send(&mut seeded);
            }
            // A message that is longer than the window refers to itself.
            let noise = seeded.bytes((1 << bits) * 3 / 4);
            let long = [&noise[..], &noise, &noise].concat();
            talk.sender.connection.send(&long[..], &mut talk.sender.out).unwrap();
            talk.check(long);
            talk.assert_used();
        }
    }
}

#[test]
fn connections_that_take_turns_do_not_mix_their_windows() {
    // More of them than a thread keeps compressors, and of different kinds; some in the middle of a message.
    let mut seeded = Seeded(8);
    for shapes in [&[(10, false)][..], &[(9, false), (10, false), (9, true)]] {
        for count in [2, 4, 7] {
            let make = |i: usize| {
                let (bits, alone) = shapes[i % shapes.len()];
                Talk::new(ROLES[i / 2 % 2], bits, alone)
            };
            let mut talks: Vec<Talk> = (0..count).map(make).collect();
            let mut open: Vec<Option<Vec<u8>>> = vec![None; count];
            for _ in 0..count * 60 {
                let i = seeded.below(count);
                let talk = &mut talks[i];
                match open[i].take() {
                    None if seeded.below(3) > 0 => talk.send(&mut seeded),
                    // A message in two parts: others are sent between them.
                    None => {
                        let part = talk.message(&mut seeded);
                        talk.sender
                            .connection
                            .send_part(&part[..], false, &mut talk.sender.out)
                            .unwrap();
                        open[i] = Some(part);
                    }
                    Some(mut message) => {
                        let part = talk.message(&mut seeded);
                        talk.sender
                            .connection
                            .send_part(&part[..], true, &mut talk.sender.out)
                            .unwrap();
                        message.extend(part);
                        talk.check(message);
                    }
                }
                if open[i].is_none() && talks[i].messages > 30 {
                    talks[i].assert_used();
                    talks[i] = make(i);
                }
            }
        }
    }
}

#[test]
fn a_connection_may_move_between_threads() {
    for alone in [false, true] {
        let mut talks: Vec<Talk> = (0..3).map(|i| Talk::new(ROLES[i % 2], 10, alone)).collect();
        for round in 0..12 {
            // All threads are new, or all were used before. Each has sent as often as the others.
            let moved = std::mem::take(&mut talks).into_iter().enumerate().map(|(i, mut talk)| {
                std::thread::spawn(move || {
                    let mut seeded = Seeded(round * 3 + i as u64);
                    (0..6).for_each(|_| talk.send(&mut seeded));
                    talk
                })
            });
            talks = moved
                .collect::<Vec<_>>()
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            talks.rotate_left(1);
        }
        talks.iter().for_each(Talk::assert_used);
    }
    // Two threads that live on, and two connections that change places.
    let (to_other, from_main) = std::sync::mpsc::channel::<Talk>();
    let (to_main, from_other) = std::sync::mpsc::channel::<Talk>();
    let other = std::thread::spawn(move || {
        let mut seeded = Seeded(9);
        for mut talk in from_main {
            talk.send(&mut seeded);
            to_main.send(talk).unwrap();
        }
    });
    let mut seeded = Seeded(10);
    let (mut here, mut there) =
        (Talk::new(Role::Server, 10, false), Talk::new(Role::Server, 10, false));
    for _ in 0..60 {
        to_other.send(there).unwrap();
        here.send(&mut seeded);
        there = std::mem::replace(&mut here, from_other.recv().unwrap());
    }
    drop(to_other);
    other.join().unwrap();
    here.assert_used();
}

#[test]
fn each_way_of_sending_compresses_from_the_threshold_on() {
    let noise = Seeded(11).bytes(100);
    let payload: Vec<u8> = noise.into_iter().cycle().take(70_000).collect();
    for role in ROLES {
        for threshold in [0, 1, 128, 20_000] {
            for len in [0, 1, 127, 128, 129, 16_383, 16_384, 19_999, 20_000, 70_000] {
                let settings = Deflate::high_compression().threshold(threshold);
                let payload = &payload[..len];
                let check = |side: &mut Side| {
                    let frames = side.take_frames();
                    assert_eq!(frames[0].marked, len >= threshold, "{role:?} {threshold} {len}");
                    assert_eq!((frames.len(), frames[0].opcode), (1, BINARY));
                    if frames[0].marked {
                        assert!(text_of(&frames, b"").bytes == payload);
                        assert!(len < 200 || frames[0].payload.len() < len / 2 + 100);
                    } else {
                        assert!(frames[0].payload == payload);
                    }
                };
                let mut side = Agreed::both(15, true).side_with(role, settings);
                side.connection.send(payload, &mut side.out).unwrap();
                check(&mut side);
                side.connection.send_owned(Message::from(payload), &mut side.out).unwrap();
                check(&mut side);
                let mut borrowed = side.connection.send_borrowed(payload, &mut side.out).unwrap();
                let slices: Vec<u8> = borrowed.slices().flatten().copied().collect();
                borrowed.sent(slices.len());
                drop(borrowed);
                assert_eq!(decode_extended(role, &slices)[0].marked, len >= threshold);
                drop(side.take_out());
                // Dropped before it was written.
                drop(side.connection.send_borrowed(payload, &mut side.out).unwrap());
                check(&mut side);
                side.connection.send_prepared(&Prepared::new(payload), &mut side.out).unwrap();
                check(&mut side);
            }
        }
    }
}

#[test]
fn a_prepared_message_keeps_to_what_each_connection_agreed_on() {
    let noise = Seeded(14).bytes(2_000);
    let message = [&noise[..], &noise, &noise[1_700..]].concat();
    let prepared = Prepared::new(&message[..]);
    for bits in [15, 8, 12, 9, 15, 10] {
        for role in ROLES {
            let mut side = Agreed::both(bits, false).side(role);
            let before = send(&mut side, &message[..], b"").bytes;
            side.connection.send_prepared(&prepared, &mut side.out).unwrap();
            let text = text_of(&side.take_frames(), &before);
            assert!(text.bytes == message);
            let is_near = text.farthest <= 1 << bits;
            assert!(
                is_near && (text.farthest >= 2_000) == (bits >= 12),
                "{} {bits}",
                text.farthest
            );
        }
    }
}

#[test]
fn a_message_without_bytes_is_one_octet() {
    for role in ROLES {
        let mut side = Agreed::both(15, false).side(role);
        for _ in 0..2 {
            // §7.2.3.6
            side.connection.send("", &mut side.out).unwrap();
            side.connection.send_part(&b""[..], true, &mut side.out).unwrap();
            let frames = side.take_frames();
            assert!(frames.iter().all(|frame| frame.marked && frame.fin && frame.payload == [0]));
            assert_eq!(frames.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [TEXT, BINARY]);
            send(&mut side, "between them", b"between them");
        }
    }
}

#[test]
fn noise_grows_by_little() {
    let mut seeded = Seeded(12);
    for role in ROLES {
        for len in [1, 10, 125, 1_000, 65_530, 200_000] {
            let noise = seeded.bytes(len);
            let mut side = Agreed::both(15, true).side(role);
            side.connection.send(&noise[..], &mut side.out).unwrap();
            let frames = side.take_frames();
            let size = frames[0].payload.len();
            assert!(size <= len + len / 500 + 8, "{size} for {len}");
            assert!(text_of(&frames, b"").bytes == noise);
        }
    }
}

#[test]
fn each_part_is_a_fragment_that_can_be_read_when_it_comes() {
    let words: [&[&str]; 8] = [
        &["Hello, ", "Hello, ", "Hello"],
        &["one"],
        &["", "a", "b"],
        &["a", "", "", "b"],
        &["a", ""],
        &["", ""],
        &["€", "κόσμε", "", "𝄞", ""],
        &[""],
    ];
    for role in ROLES {
        for alone in [false, true] {
            let agreed = Agreed::both(9, alone);
            let (mut side, mut peer) = (agreed.side(role), agreed.side(other(role)));
            let mut history = Vec::new();
            for parts in words.iter().chain(words.iter().rev()) {
                let mut frames = Vec::new();
                for (i, part) in parts.iter().enumerate() {
                    let (is_first, is_last) = (i == 0, i + 1 == parts.len());
                    side.connection.send_part(*part, is_last, &mut side.out).unwrap();
                    side.connection.ping(b"between", &mut side.out).unwrap();
                    let wire = side.take_out();
                    let sent = decode_extended(role, &wire);
                    let [data, ping] = &sent[..] else { panic!("{sent:?}") };
                    assert_eq!((ping.opcode, ping.marked), (PING, false));
                    assert_eq!((data.marked, data.fin), (is_first, is_last));
                    assert_eq!(data.opcode, if is_first { TEXT } else { CONTINUATION });
                    frames.push(data.clone());

                    peer.fill(&wire);
                    let mut got = String::new();
                    while peer.connection.advance_parts(&mut peer.input, &mut peer.out)
                        == Ok(Progress::Event)
                    {
                        let MessageRef::Text(text) = peer.input.event().unwrap() else { panic!() };
                        got += text;
                    }
                    assert_eq!(got, *part, "{parts:?}");
                }
                let said = text_of(&frames, &history);
                assert_eq!(said.bytes, parts.concat().as_bytes());
                assert!(!alone || said.reach == 0);
                history.extend(said.bytes);
            }
        }
    }
}

#[test]
fn compression_can_be_turned_off_for_a_message() {
    // O16: a secret is sent as it is, and what comes later does not refer to it.
    let secret = "the secret of the other message".repeat(10);
    for role in ROLES {
        let agreed = Agreed::both(15, false);
        let (mut side, mut peer) = (agreed.side(role), agreed.side(other(role)));
        let mut history = send(&mut side, "first", b"").bytes;
        side.connection.set_compression(false);
        let large = secret.repeat(100);
        side.connection.send(&*secret, &mut side.out).unwrap();
        side.connection.send_owned(Message::from(large.clone()), &mut side.out).unwrap();
        drop(side.connection.send_borrowed(&*large, &mut side.out).unwrap());
        side.connection.send_prepared(&Prepared::new(large.clone()), &mut side.out).unwrap();
        side.connection.send_part(&*secret, false, &mut side.out).unwrap();
        // A message goes on as it began.
        side.connection.set_compression(true);
        side.connection.send_part("and more", true, &mut side.out).unwrap();
        let frames = side.take_frames();
        assert!(frames.iter().all(|frame| !frame.marked), "RSV1 is set");
        let payloads: Vec<_> = frames.iter().map(|frame| &frame.payload[..]).collect();
        let expected = [&*secret, &large, &large, &large, &secret, "and more"].map(str::as_bytes);
        assert!(payloads == expected);

        // It is on again, and knows nothing of them.
        let text = send(&mut side, &*secret, &history);
        assert_eq!((&*text.bytes, text.reach), (secret.as_bytes(), 0));
        history.extend(&text.bytes);

        side.connection.send_part("compressed, ", false, &mut side.out).unwrap();
        side.connection.set_compression(false);
        side.connection.send_part("to its end", true, &mut side.out).unwrap();
        let text = text_of(&side.take_frames(), &history);
        assert_eq!(text.bytes, b"compressed, to its end");
        side.connection.send("off", &mut side.out).unwrap();
        let wire = side.take_out();
        assert!(!decode_extended(role, &wire)[0].marked);
        peer.receive(&wire);
        assert_eq!(peer.events, [crate::support::text("off")]);
        // What the peer sends is compressed as ever.
        side.receive(&marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00")));
        assert_eq!(side.events, [crate::support::text("Hello")]);
    }
}

#[test]
fn an_end_that_agreed_on_nothing_marks_nothing() {
    for role in ROLES {
        let config = Config::default().deflate(Deflate::default().threshold(0));
        for mut side in [Side::new(role, config.clone()), Side::extended(role, config, "")] {
            side.connection.set_compression(true);
            side.connection.send("a", &mut side.out).unwrap();
            side.connection.send_part("b", true, &mut side.out).unwrap();
            assert!(side.take_frames().iter().all(|frame| !frame.marked));
            let error = side.try_receive(&marked(role, true, TEXT, b"\0")).unwrap_err();
            assert_eq!(error.rule(), Rule::ReservedBits);
        }
    }
}

#[test]
fn control_frames_are_never_compressed() {
    let payload = [b'c'; 125];
    for role in ROLES {
        let mut side = Agreed::both(15, false).side(role);
        side.connection.ping(&payload, &mut side.out).unwrap();
        side.connection.send(MessageRef::Pong(&payload), &mut side.out).unwrap();
        side.connection.send_owned(Message::Ping(payload.to_vec().into()), &mut side.out).unwrap();
        drop(side.connection.send_borrowed(MessageRef::Pong(&payload), &mut side.out).unwrap());
        side.receive(&to(role, PING, &payload));
        let reason = "r".repeat(123);
        side.connection.start_close(1000, &reason, &mut side.out).unwrap();
        let frames = side.take_frames();
        let opcodes: Vec<_> = frames.iter().map(|frame| frame.opcode).collect();
        assert_eq!(opcodes, [PING, PONG, PING, PONG, PONG, CLOSE]);
        assert!(frames.iter().all(|frame| !frame.marked));
        assert!(frames[..5].iter().all(|frame| frame.payload == payload));
        assert_eq!(frames[5].payload, close_payload(1000, reason.as_bytes()));
    }
}

#[test]
fn each_frame_of_a_client_has_a_mask_of_its_own() {
    let mut side = Agreed::both(15, false).side(Role::Client);
    let mut keys = Vec::new();
    for _ in 0..20 {
        side.connection.send("a message", &mut side.out).unwrap();
        side.connection.send_part("a part", false, &mut side.out).unwrap();
        side.connection.send_part("", true, &mut side.out).unwrap();
        keys.extend(side.take_frames().iter().map(|frame| frame.key.unwrap()));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 60);
}

#[test]
fn messages_behind_others_in_the_queue_stand_where_they_belong() {
    // After a payload that is queued by reference, and with a part of the queue already written.
    let noise = Seeded(13).bytes(50_000);
    for role in ROLES {
        let mut side = Agreed::both(15, true).side(role);
        side.connection.set_compression(false);
        side.connection.send("before", &mut side.out).unwrap();
        side.connection.send_owned(Message::from(noise.clone()), &mut side.out).unwrap();
        side.connection.set_compression(true);
        side.connection.send("compressed", &mut side.out).unwrap();
        let mut wire = side.out.pending()[..3].to_vec();
        side.out.sent(3);
        side.connection.send(&noise[..], &mut side.out).unwrap();
        wire.extend(side.take_out());
        let frames = decode_extended(role, &wire);
        assert_eq!(frames[0].payload, b"before");
        assert!(frames[1].payload == noise);
        assert_eq!(text_of(&frames[2..3], b"").bytes, b"compressed");
        assert!(text_of(&frames[3..], b"").bytes == noise);
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
            let wire = client.take_out();
            assert_eq!(wire[0] & 0x40 != 0, size >= if header == DEFAULT { 128 } else { 512 });
            server.receive(&wire);
            assert_eq!(server.events.pop().as_ref(), Some(&message));
            server.connection.send(&message, &mut server.out).unwrap();
            let wire = server.take_out();
            client.receive(&wire);
            assert_eq!(client.events.pop().as_ref(), Some(&message));
        }
    }
}

#[test]
fn what_a_window_holds_is_not_shown() {
    let secret = "hunter2 ".repeat(40);
    for role in ROLES {
        let mut side = Agreed::both(9, false).side(role);
        send(&mut side, &*secret, b"");
        side.receive(&marked(
            role,
            true,
            TEXT,
            &Blocks::new().stored(false, secret.as_bytes()).message(),
        ));
        side.events.clear();
        side.receive(&marked(
            role,
            false,
            TEXT,
            &Blocks::new().stored(false, secret.as_bytes()).bytes(),
        ));
        side.connection.send_part(&*secret, false, &mut side.out).unwrap();
        for shown in [
            format!("{:?} {:?} {:?}", side.connection, side.input, side.out),
            format!("{:#?}", side.connection),
        ] {
            let list: String = shown.split_whitespace().collect();
            assert!(!shown.contains("hunter2") && !list.contains("104,117,110,116"), "{shown}");
            assert!(shown.len() < 4_000, "{shown}");
        }
    }
}

/// Also for messages that would go the short way into the queue if nothing had been agreed on.
#[test]
fn messages_behind_others_in_the_queue_are_compressed_as_well() {
    for role in ROLES {
        let config = Config::default().deflate(Deflate::default());
        let mut side = Side::extended(role, config, "permessage-deflate");
        for _ in 0..3 {
            side.connection.send(&[7; 1_000][..], &mut side.out).unwrap();
            side.connection.send_owned(Message::from(vec![7; 1_000]), &mut side.out).unwrap();
        }
        let frames = side.take_frames();
        assert_eq!(frames.len(), 6);
        assert!(frames.iter().all(|frame| frame.marked && frame.payload.len() < 100), "{role:?}");
    }
}
