//! What other libraries and tools need of the core: frames that the program makes, headers by themselves, unmasked clients,
//! other settings for a running connection.

use crate::support::*;
use bowline::protocol::{FrameHeader, mask};
use bowline::{Config, Connection, Refusal, Role, Rule, SendBuf};

fn refusal(opcode: u8, fin: bool, payload: &[u8], before: &[(u8, bool)]) -> Option<Refusal> {
    let mut connection = Connection::server(Config::default());
    let mut out = SendBuf::new();
    for &(opcode, fin) in before {
        connection.send_frame(opcode, fin, b"a", &mut out).unwrap();
    }
    let waited = out.len();
    let refused = connection.send_frame(opcode, fin, payload, &mut out).err()?.refusal();
    assert_eq!(out.len(), waited, "nothing was queued");
    Some(refused)
}

#[test]
fn frames_of_the_program_arrive_as_messages_in_both_directions() {
    for role in ROLES {
        let mut pair = Pair::new(&Config::default().report_control_frames(true));
        let (from, to) = pair.sides(role);
        for (opcode, fin, payload) in [
            (TEXT, false, &"ä".as_bytes()[..1]),
            (PING, true, b"in between"),
            (CONTINUATION, false, &"ä".as_bytes()[1..]),
            (CONTINUATION, true, b""),
            (BINARY, true, b"whole"),
        ] {
            from.connection.send_frame(opcode, fin, payload, &mut from.out).unwrap();
        }
        from.connection.send("next", &mut from.out).unwrap();
        from.connection.send_frame(CLOSE, true, b"\x03\xe8bye", &mut from.out).unwrap();
        assert!(from.connection.close_sent());
        let wire = from.take_out();
        to.receive(&wire);
        let ping = bowline::Message::Ping(b"in between"[..].into());
        assert_eq!(to.events, [ping, text("ä"), binary(b"whole"), text("next")]);
        let end = to.connection.end().unwrap();
        assert_eq!((end.code().get(), end.reason()), (1000, "bye"));
    }
}

#[test]
fn a_frame_that_may_not_be_sent_is_refused_and_nothing_is_queued() {
    let open = &[(TEXT, false)];
    for (expected, opcode, fin, payload, before) in [
        (Some(Refusal::Frame), 0x3, true, &b""[..], &[][..]),
        (Some(Refusal::Frame), 0x11, true, b"", &[]),
        (Some(Refusal::Frame), 0xB, true, b"", &[]),
        (Some(Refusal::Frame), PING, false, b"", &[]),
        (Some(Refusal::Frame), CLOSE, false, b"", &[]),
        (Some(Refusal::Frame), CLOSE, true, b"\x03", &[]),
        (Some(Refusal::Frame), CLOSE, true, &1005_u16.to_be_bytes(), &[]),
        (Some(Refusal::Frame), CLOSE, true, b"\x03\xe8\xff", &[]),
        (Some(Refusal::Frame), TEXT, true, b"\xff", &[]),
        (Some(Refusal::ControlTooLong), PONG, true, &[0; 126], &[]),
        (Some(Refusal::PartMismatch), CONTINUATION, true, b"", &[]),
        (Some(Refusal::MessageOpen), TEXT, true, b"", open),
        (Some(Refusal::MessageOpen), BINARY, false, b"", open),
        (None, PONG, true, &[0; 125], open),
        (None, CONTINUATION, true, b"\xff", open),
        (None, TEXT, false, b"\xff", &[]),
        (None, CLOSE, true, b"", open),
    ] {
        let got = refusal(opcode, fin, payload, before);
        assert_eq!(got, expected, "opcode {opcode:x}, FIN {fin}, {payload:?}");
    }
}

#[test]
fn a_header_is_read_as_it_was_written_and_not_before_all_of_it_is_there() {
    for len in [0, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
        for mask in [None, Some([1, 2, 3, 4])] {
            for (fin, rsv, opcode) in [(true, 0, 0x1), (false, 7, 0xF), (true, 4, 0x2)] {
                let header = FrameHeader { fin, rsv, opcode, mask, len };
                let bytes = header.encode();
                assert_eq!(FrameHeader::decode(&bytes), Some((header, bytes.len())));
                assert_eq!(FrameHeader::decode(&bytes[..bytes.len() - 1]), None);
            }
        }
    }
    let mut payload = *b"Hello";
    mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
    // RFC 6455 §5.7.
    assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
}

#[test]
fn a_server_takes_unmasked_frames_only_if_it_is_told_to_and_a_client_never_takes_masked_ones() {
    let config = Config::default().accept_unmasked_frames(true);
    let unmasked =
        [frame_with(0x01, None, b"a"), frame_with(0x80, None, b"b"), frame_with(0x82, None, b"c")];
    let masked = frame_with(0x81, Some([1, 2, 3, 4]), b"d");
    let bytes = [&unmasked.concat()[..], &masked].concat();
    run(Role::Server, &bytes, &config).assert_delivers(&[text("ab"), binary(b"c"), text("d")]);
    run(Role::Server, &bytes, &Config::default()).assert_failed(Rule::Unmasked, 0);
    run(Role::Client, &masked, &config).assert_failed(Rule::Masked, 0);
}

#[test]
fn a_running_connection_takes_other_limits_and_keeps_what_was_fixed_at_its_beginning() {
    for role in ROLES {
        let (rate, budget) =
            (bowline::RateLimit::default().messages(9), bowline::Budget::new(1 << 20));
        let begun = Config::default().stats(true).rate_limit(rate).memory_budget(&budget);
        let mut side = Side::new(role, begun.ping_interval(std::time::Duration::from_secs(9)));
        side.receive(&fragment_to(role, true, TEXT, b"first"));
        let small = Config::default().max_message_size(4).max_send_queue(1).stats(false);
        side.connection.set_config(small);
        let settings = side.connection.config().get();
        assert!(settings.stats && settings.rate_limit.is_some() && settings.budget.is_some());
        assert_eq!(settings.ping_interval, Some(std::time::Duration::from_secs(9)));
        side.connection.send("fits", &mut side.out).unwrap();
        let full = side.connection.send("no room", &mut side.out).unwrap_err();
        assert_eq!(full.refusal(), Refusal::QueueFull);
        let mut input = bowline::RecvBuf::with_unread(&fragment_to(role, true, TEXT, b"second"));
        let error = side.connection.advance(&mut input, &mut side.out).unwrap_err();
        assert_eq!(error.rule(), Rule::MessageTooBig);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_connection_can_be_made_anew_with_what_another_one_agreed_on() {
    let config = Config::default().deflate(bowline::Deflate::default());
    let pair = Side::extended(Role::Server, config.clone(), "permessage-deflate");
    let agreed = pair.connection.agreed().unwrap();
    assert_eq!(Connection::server(config.clone()).agreed(), None);
    let mut again = Connection::server_with(config.clone(), agreed);
    assert_eq!(again.agreed(), Some(agreed));
    let mut out = SendBuf::new();
    again.send("again ".repeat(100).as_str(), &mut out).unwrap();
    assert!(out.len() < 100, "{} bytes", out.len());
    let mut client = Side::extended(Role::Client, config, "permessage-deflate");
    client.receive(out.pending());
    assert_eq!(client.events, [text(&"again ".repeat(100))]);
}
