//! The limits of a compressed message (RFC 7692 §9, RFC 6455 §10.4): its bytes are counted as they are inflated.
//! `tests/memory/deflate.rs` tests how much memory it takes. Numbers are those of the battery of attacks.
#![cfg(feature = "deflate")]

use crate::support::deflate::Token::{Literal, Match};
use crate::support::deflate::{Blocks, literals, marked, run_of};
use crate::support::*;
use bowline::{Config, Deflate, Role, Rule, Truncation};

const MIB: usize = 1 << 20;

fn config() -> Config {
    Config::default().deflate(Deflate::high_compression())
}

fn limited(bytes: usize) -> Config {
    config().max_message_size(bytes as u64)
}

fn side(role: Role, config: &Config) -> Side {
    Side::extended(role, config.clone(), "permessage-deflate")
}

/// A message of equal bytes, 158 of them for each byte on the wire.
fn bomb(len: usize) -> Vec<u8> {
    Blocks::new().fixed(false, &run_of(b'0', len)).message()
}

/// The whole message as one frame, and in three fragments with pings between them.
fn wires(role: Role, payload: &[u8]) -> [Vec<u8>; 2] {
    let (a, rest) = payload.split_at(payload.len() / 3);
    let (b, c) = rest.split_at(rest.len() / 2);
    let ping = to(role, PING, b"p");
    let fragments = [
        marked(role, false, BINARY, a),
        ping.clone(),
        fragment_to(role, false, CONTINUATION, b),
        ping,
        to(role, CONTINUATION, c),
    ];
    [marked(role, true, BINARY, payload), fragments.concat()]
}

#[test]
fn exactly_the_limit_is_taken_and_one_byte_more_is_1009() {
    for role in ROLES {
        for limit in [1, 2, 100, 257, 258, 259, 1_000] {
            let config = limited(limit);
            let make = || side(role, &config);
            for wire in wires(role, &bomb(limit)) {
                assert_eq!(run_on(&make, &wire).events, [binary(&vec![b'0'; limit])]);
            }
            for wire in wires(role, &bomb(limit + 1)) {
                let outcome = run_on(&make, &wire);
                assert_eq!(outcome.events, []);
                assert!(
                    matches!(outcome.over, Over::Failed(Rule::MessageTooBig, _)),
                    "{outcome:?}"
                );
                assert_eq!(outcome.sent.last(), Some(&(CLOSE, close_payload(1009, b""))));
            }
            // It is each message that counts.
            let wire = marked(role, true, BINARY, &bomb(limit)).repeat(3);
            assert_eq!(run_on(&make, &wire).events.len(), 3);
            let [_, fragments] = wires(role, &bomb(limit));
            assert_eq!(run_on(&make, &fragments.repeat(2)).events.len(), 2);
        }
        // Around the sizes of the buffers, and the default: C94, C95.
        for limit in [4_096, 16_383, 16_384, 16_385, 32_768, 65_536, 100_000, MIB] {
            for (more, is_right) in [(0, true), (1, false)] {
                for wire in wires(role, &bomb(limit + more)) {
                    for step in [wire.len(), 1_000] {
                        let pieces: Vec<_> = wire.chunks(step).collect();
                        let outcome = feed_to(side(role, &limited(limit)), &pieces, Style::Take);
                        if is_right {
                            assert!(outcome.events[0].as_bytes() == vec![b'0'; limit]);
                        } else {
                            assert_eq!(outcome.events, []);
                            let failed =
                                matches!(outcome.over, Over::Failed(Rule::MessageTooBig, _));
                            assert!(failed, "{limit}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn with_a_limit_of_nothing_an_empty_message_is_taken() {
    for role in ROLES {
        let make = || side(role, &limited(0));
        for payload in ["", "00", "03 00", "02 00"] {
            let wire = marked(role, true, TEXT, &hex(payload));
            run_on(&make, &wire).assert_delivers(&[text("")]);
        }
        let wire = marked(role, true, TEXT, &bomb(1));
        run_on(&make, &wire).assert_failed(Rule::MessageTooBig, wire.len() - bomb(1).len());
    }
}

#[test]
fn too_much_fails_before_the_frame_is_whole() {
    // C92, and R18: 64 MiB of zeros, of which the first MiB and a byte are enough.
    let payload = bomb(64 * MIB);
    let enough = bomb(MIB + 1).len();
    for role in ROLES {
        for wire in wires(role, &payload) {
            let mut side = side(role, &config());
            let mut came = 0;
            let error = wire.chunks(500).find_map(|piece| {
                came += piece.len();
                side.try_receive(piece).err()
            });
            assert_eq!(error.unwrap().rule(), Rule::MessageTooBig);
            assert!(came <= enough + 600, "{came} of {enough} bytes");
            assert_eq!(side.events, []);
        }
    }
}

#[test]
fn text_that_is_no_utf_8_fails_before_the_frame_is_whole() {
    for role in ROLES {
        // Flushed, so that all of it can be inflated when the last byte but one has come.
        for (bad, is_hopeless) in [
            (&b"ab\xff"[..], true),
            (b"ab\xe2\x28", true),
            (b"ab\xed\xa0", true),
            (b"ab\xf4\x90", true),
            (b"ab\xe2\x82", false),
            (b"ab\xf0\x9f\x92", false),
        ] {
            for fin in [true, false] {
                let blocks = Blocks::new().fixed(false, &literals(bad)).stored(false, b"");
                let begun = blocks.bytes();
                let payload = [&begun[..], &[0; 1_000]].concat();
                let wire = marked(role, fin, TEXT, &payload);
                let header = wire.len() - payload.len();
                let outcome = run_on(&|| side(role, &config()), &wire[..header + begun.len()]);
                if is_hopeless {
                    outcome.assert_failed(Rule::InvalidUtf8, header);
                } else {
                    assert_eq!(outcome.over, Over::Open(Truncation::InPayload));
                }
                assert_eq!(outcome.events, []);
            }
        }
    }
}

#[test]
fn deflate_that_is_broken_fails_before_the_frame_is_whole() {
    for role in ROLES {
        let payload = [&b"\x06"[..], &[0; 1_000]].concat();
        let wire = marked(role, true, TEXT, &payload);
        let header = wire.len() - payload.len();
        let outcome = run_on(&|| side(role, &config()), &wire[..header + 1]);
        outcome.assert_failed(Rule::InvalidDeflate, header);
    }
}

/// JSON as honest programs send it: 10 to 25 times as small when it is compressed.
fn honest() -> String {
    let mut seeded = Seeded(1);
    let mut json = String::from("[");
    while json.len() < 400_000 {
        let (id, on) = (seeded.below(1_000), seeded.below(2) == 0);
        json += &format!(
            "{{\"identifier\":{id},\"enabled\":{on},\"description\":\"an item of the list\"}},"
        );
    }
    json
}

#[test]
fn an_honest_message_keeps_the_ratio() {
    // R17
    let json = honest();
    let settings = Deflate::high_compression().max_ratio(25);
    let config = Config::default().deflate(settings);
    for role in ROLES {
        let mut peer =
            side(if role == Role::Server { Role::Client } else { Role::Server }, &config);
        let mut side = side(role, &config);
        for _ in 0..2 {
            peer.connection.send(&*json, &mut peer.out).unwrap();
            let wire = peer.take_out();
            assert!(json.len() > 8 * wire.len() && json.len() < 25 * wire.len(), "{}", wire.len());
            side.receive(&wire);
            assert!(side.events.pop().unwrap().as_text() == Some(&*json));
        }
    }
}

#[test]
fn more_than_the_ratio_is_1009() {
    const FREE: usize = 64 << 10;
    for role in ROLES {
        for ratio in [1, 25, 100] {
            let settings = Deflate::high_compression().max_ratio(ratio as u32);
            let config = Config::default().deflate(settings);
            // Between these two is the boundary.
            let keeps = |len: usize| len <= FREE + ratio * bomb(len).len();
            let (mut most, mut over) = (FREE, MIB);
            while most + 1 < over {
                let middle = (most + over) / 2;
                if keeps(middle) { most = middle } else { over = middle }
            }
            let lengths = [(1, true), (FREE, true), (most, true), (over, false), (MIB, false)];
            for (len, is_right) in lengths {
                let wire = marked(role, true, BINARY, &bomb(len));
                for pieces in [vec![&wire[..]], wire.chunks(1).collect()] {
                    let outcome = feed_to(side(role, &config), &pieces, Style::Borrow);
                    if is_right {
                        assert!(outcome.events[0].as_bytes() == vec![b'0'; len], "{ratio} {len}");
                    } else {
                        assert_eq!(outcome.events, [], "{ratio} {len}");
                        outcome.assert_failed(Rule::InflateRatio, wire.len() - bomb(len).len());
                        assert_eq!(outcome.sent, [(CLOSE, close_payload(1009, b""))]);
                    }
                }
                // Without one, the limit of the message alone counts.
                let outcome = feed_to(side(role, &self::config()), &[&wire], Style::Borrow);
                assert_eq!(outcome.events.len(), 1);
            }
        }
    }
}

#[test]
fn the_ratio_counts_each_message_frame_by_frame() {
    let config = Config::default().deflate(Deflate::high_compression().max_ratio(2));
    let noise = Blocks::new().stored(false, &Seeded(2).bytes(60_000)).bytes();
    let zeros = bomb(150_000);
    for role in ROLES {
        // Earlier bytes on the wire count, so this is within the ratio,
        let first = marked(role, false, BINARY, &noise);
        let wire = [&first[..], &to(role, CONTINUATION, &bomb(124_000))].concat();
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert_eq!(outcome.events.len(), 1, "{:?}", outcome.over);
        // and this is not, though as much comes behind it.
        let last = to(role, CONTINUATION, &[&zeros[..], &noise].concat());
        let wire = [&marked(role, false, BINARY, &zeros)[..], &last].concat();
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert!(matches!(outcome.over, Over::Failed(Rule::InflateRatio, _)));
        // Nor does another message make up for it.
        let earlier =
            marked(role, true, BINARY, &Blocks::new().stored(false, &[1; 60_000]).message());
        let wire = [&earlier.repeat(3)[..], &marked(role, true, BINARY, &zeros)].concat();
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert_eq!(outcome.events.len(), 3);
        assert!(matches!(outcome.over, Over::Failed(Rule::InflateRatio, _)));
        // The free bytes are free for each.
        let wire = marked(role, true, BINARY, &bomb(64 << 10)).repeat(5);
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert_eq!(outcome.events.len(), 5);
        // A message that is not compressed has no ratio.
        let wire = to(role, BINARY, &vec![0; 300_000]);
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert_eq!(outcome.events.len(), 1);
    }
}

#[test]
fn c97_empty_stored_blocks_are_an_empty_message() {
    let payload = [&hex("00 00 00 ff ff").repeat(50_000)[..], b"\0"].concat();
    for role in ROLES {
        for step in [usize::MAX, 1_000, 1] {
            let wire = marked(role, true, TEXT, &payload);
            let pieces: Vec<_> = wire.chunks(step.min(wire.len())).collect();
            feed_to(side(role, &config()), &pieces, Style::Borrow).assert_delivers(&[text("")]);
        }
    }
}

#[test]
fn c98_a_message_that_is_all_final_blocks_is_1007() {
    for role in ROLES {
        let wire = marked(role, true, TEXT, &hex("03 00").repeat(20_000));
        for step in [wire.len(), 1] {
            let pieces: Vec<_> = wire.chunks(step).collect();
            let outcome = feed_to(side(role, &config()), &pieces, Style::Borrow);
            assert!(matches!(outcome.over, Over::Failed(Rule::InvalidDeflate, _)), "{outcome:?}");
        }
        // Sixteen, and one for each frame.
        let make = || side(role, &config());
        for frames in [1, 2, 5] {
            for (more, is_right) in [(16, true), (17, false)] {
                let payload = hex("03 00").repeat(frames + more);
                let mut wire: Vec<u8> = (0..frames - 1)
                    .map(|i| match i {
                        0 => marked(role, false, TEXT, b""),
                        _ => fragment_to(role, false, CONTINUATION, b""),
                    })
                    .collect::<Vec<_>>()
                    .concat();
                wire.extend(match frames {
                    1 => marked(role, true, TEXT, &payload),
                    _ => to(role, CONTINUATION, &payload),
                });
                // And so for the next message.
                let outcome = run_on(&make, &wire.repeat(2));
                if is_right {
                    outcome.assert_delivers(&[text(""), text("")]);
                } else {
                    outcome.assert_failed(Rule::InvalidDeflate, wire.len() - payload.len());
                }
            }
        }
        // A sender that ends each fragment with one is right, however many there are.
        let block = Blocks::new().fixed(true, &literals(b"0123456789")).bytes();
        let mut wire = marked(role, false, TEXT, &block);
        wire.extend(fragment_to(role, false, CONTINUATION, &block).repeat(998));
        wire.extend(to(role, CONTINUATION, &block));
        let outcome = feed_to(make(), &[&wire], Style::Borrow);
        outcome.assert_delivers(&[text(&"0123456789".repeat(1_000))]);
    }
}

#[test]
fn on_the_wire_a_message_may_be_an_eighth_larger_and_a_kib() {
    // A message that cannot be compressed grows by five bytes for each stored block, whatever its size.
    for role in ROLES {
        for limit in [0, 1_000, 80_000] {
            let config = limited(limit);
            let most = limit + limit / 8 + 1_024;
            let masked = role == Role::Server;
            for (len, is_right) in [(most, true), (most + 1, false)] {
                // By its header, before any payload came.
                let wire = header(0xC2, masked, Form::minimal(len as u64), len as u64);
                let outcome = run_on(&|| side(role, &config), &wire);
                match is_right {
                    true => assert_eq!(outcome.over, Over::Open(Truncation::InPayload)),
                    false => outcome.assert_failed(Rule::MessageTooBig, 0),
                }
                // Over all fragments.
                let first = marked(role, false, BINARY, &hex("00 00 00 ff ff 00 00 00 ff ff"));
                let last = header(0x80, masked, Form::minimal(len as u64), len as u64 - 10);
                let outcome = feed_to(side(role, &config), &[&first, &last], Style::Borrow);
                match is_right {
                    true => assert_eq!(outcome.over, Over::Open(Truncation::InPayload)),
                    false => outcome.assert_failed(Rule::MessageTooBig, first.len()),
                }
            }
            // One that is not compressed may not.
            let len = limit as u64 + 1;
            let wire = header(0x82, masked, Form::minimal(len), len);
            run_on(&|| side(role, &config), &wire).assert_failed(Rule::MessageTooBig, 0);
        }
        // With no limit there is none.
        let wire = header(0xC2, role == Role::Server, Form::SixtyFour, u64::MAX >> 1);
        let config = config().max_message_size(u64::MAX);
        let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
        assert_eq!(outcome.over, Over::Open(Truncation::InPayload));
        // Noise of the size of the limit fits.
        let noise = Seeded(3).bytes(50_000);
        let blocks =
            noise.chunks(60).fold(Blocks::new(), |blocks, part| blocks.stored(false, part));
        let wire = marked(role, true, BINARY, &blocks.message());
        let outcome = feed_to(side(role, &limited(50_000)), &[&wire], Style::Borrow);
        outcome.assert_delivers(&[binary(&noise)]);
    }
}

#[test]
fn the_limit_of_a_frame_counts_its_bytes_on_the_wire() {
    for role in ROLES {
        let config = config().max_frame_size(100);
        let payload = bomb(10_000);
        assert!(payload.len() < 100);
        let wire = marked(role, true, BINARY, &payload);
        let outcome = run_on(&|| side(role, &config), &wire);
        outcome.assert_delivers(&[binary(&vec![b'0'; 10_000])]);
        let wire = header(0xC2, role == Role::Server, Form::Seven, 101);
        run_on(&|| side(role, &config), &wire).assert_failed(Rule::FrameTooBig, 0);
    }
}

#[test]
fn the_limit_of_fragments_counts_as_ever_and_more_are_earned_on_the_wire_alone() {
    for role in ROLES {
        // As with a message that is not compressed: a fragment for each 32 bytes that came.
        let config = config().max_fragments(10);
        let make = || side(role, &config);
        let mut wire = marked(role, false, BINARY, b"");
        let one = fragment_to(role, false, CONTINUATION, b"");
        wire.extend(one.repeat(20));
        run_on(&make, &wire).assert_failed(Rule::TooManyFragments, 10 * one.len());

        let payload = bomb(10_000);
        let mut wire = marked(role, false, BINARY, &payload);
        let first = wire.len();
        wire.extend(one.repeat(20));
        let earned = payload.len() / 32;
        assert!(earned < 5);
        run_on(&make, &wire)
            .assert_failed(Rule::TooManyFragments, first + (9 + earned) * one.len());
    }
}

#[test]
fn a_long_match_stops_at_the_limit_and_goes_on_where_a_chunk_ends() {
    // Where the room for what is inflated ends inside a match, the rest of it needs no more input.
    for role in ROLES {
        let mut tokens = vec![Literal(b'a'), Literal(b'b'), Literal(b'c')];
        tokens.extend(vec![Match(258, 3); 400]);
        let payload = Blocks::new().fixed(false, &tokens).message();
        let expected: Vec<u8> = b"abc".iter().copied().cycle().take(3 + 258 * 400).collect();
        let wire = marked(role, true, TEXT, &payload);
        for step in [1, 2, 7, wire.len()] {
            let pieces: Vec<_> = wire.chunks(step).collect();
            let outcome = feed_to(side(role, &config()), &pieces, Style::Release);
            assert!(outcome.events[0].as_bytes() == expected);
        }
        for less in 1..300 {
            let config = limited(expected.len() - less);
            let outcome = feed_to(side(role, &config), &[&wire], Style::Borrow);
            outcome.assert_failed(Rule::MessageTooBig, wire.len() - payload.len());
        }
    }
}

#[test]
fn what_a_chunk_had_no_room_for_comes_before_the_end() {
    // The end of the last match is in the last byte: no more input comes when there is room again.
    for role in ROLES {
        for (nines, last) in (0..8).flat_map(|nines| [(nines, true), (nines, false)]) {
            let mut tokens = literals(b"\xff").repeat(nines + 1);
            tokens.extend(vec![Match(258, 1); 64]);
            let blocks = Blocks::new().fixed(true, &tokens);
            let payload = if last { blocks.bytes() } else { blocks.message() };
            let expected = vec![0xff; nines + 1 + 258 * 64];
            let wire = marked(role, true, BINARY, &payload);
            let outcome = feed_to(side(role, &config()), &[&wire], Style::Borrow);
            assert!(outcome.events[0].as_bytes() == expected, "{nines}");
        }
    }
}
