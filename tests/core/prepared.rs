//! A message that is encoded once and sent on many connections.

use crate::support::*;
use bowline::{Config, Connection, Message, MessageRef, Prepared, Refusal, Role, SendBuf};

#[test]
fn it_is_received_as_if_it_was_sent_alone() {
    for len in [0, 1, 125, 126, 1000, 1024, 65_535, 65_536, 300_000] {
        for message in [Message::from("x".repeat(len)), Message::from(vec![7; len])] {
            let prepared = Prepared::new(message.clone());
            assert_eq!(prepared.message(), &message);
            for role in ROLES {
                let mut pair = Pair::new(&Config::default());
                let (from, to) = pair.sides(role);
                from.connection.send("before", &mut from.out).unwrap();
                from.connection.send_prepared(&prepared, &mut from.out).unwrap();
                from.connection.send("after", &mut from.out).unwrap();
                to.receive(&from.take_out());
                assert_eq!(to.events, [text("before"), message.clone(), text("after")]);
            }
        }
    }
}

#[test]
fn the_connections_of_a_server_share_one_frame() {
    let prepared = Prepared::new(vec![1; 10_000]);
    let mut sides = [(); 3].map(|()| Side::new(Role::Server, Config::default()));
    let places = sides.each_mut().map(|side| {
        side.connection.send_prepared(&prepared, &mut side.out).unwrap();
        side.out.pending().as_ptr()
    });
    assert!(places.iter().all(|place| *place == places[0]));
}

#[test]
fn what_a_write_does_not_take_of_it_is_queued_by_reference() {
    for len in [0, 1, 200, 10_000] {
        let prepared = Prepared::new(vec![1; len]);
        for taken in [0, 1, 3, len + 2, usize::MAX] {
            let (_, mut sender, _) = Connection::server(Config::default()).into_halves();
            let mut out = SendBuf::new();
            sender.send("before", &mut out).unwrap();
            let mut frame = sender.send_prepared_borrowed(&prepared, &mut out).unwrap();
            let mut wire = frame.slices().collect::<Vec<_>>().concat();
            let all = wire.clone();
            wire.truncate(taken);
            frame.sent(taken);
            drop(frame);
            wire.extend(out.pending_slices().flatten());
            assert_eq!(wire, all, "{len} {taken}");
            assert!(all.starts_with(b"\x81\x06before\x82") && all.len() > len + 9);
        }
    }
    // By reference: two queues have the same bytes.
    let prepared = Prepared::new(vec![1; 500]);
    let places = [(); 2].map(|()| {
        let (_, mut sender, _) = Connection::server(Config::default()).into_halves();
        let mut out = SendBuf::new();
        drop(sender.send_prepared_borrowed(&prepared, &mut out).unwrap());
        out.pending().as_ptr()
    });
    assert_eq!(places[0], places[1]);
    // A client's frame has a mask, so it is queued whole.
    let (_, mut client, _) = Connection::client(Config::default(), [1; 32]).into_halves();
    let mut out = SendBuf::new();
    let frame = client.send_prepared_borrowed(&prepared, &mut out).unwrap();
    assert_eq!(frame.slices().map(<[u8]>::len).sum::<usize>(), 508);
    drop(frame);
    assert_eq!(out.len(), 508);
    // After Close it is refused, and nothing is queued.
    client.start_close(1000, "", &mut out).unwrap();
    let len = out.len();
    let error = client.send_prepared_borrowed(&prepared, &mut out).err().unwrap();
    assert_eq!((error.refusal(), out.len()), (Refusal::Closed, len));
}

#[test]
fn each_frame_of_a_client_has_a_key_of_its_own() {
    let prepared = Prepared::new("x".repeat(2000));
    let mut client = Side::new(Role::Client, Config::default());
    for _ in 0..3 {
        client.connection.send_prepared(&prepared, &mut client.out).unwrap();
    }
    let keys: Vec<_> = client.take_frames().iter().map(|frame| frame.key.unwrap()).collect();
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
}

#[test]
fn it_is_refused_where_another_message_would_be() {
    let prepared = Prepared::new("x");
    let mut side = Side::new(Role::Server, Config::default());
    side.connection.send_part("begun", false, &mut side.out).unwrap();
    let refused = side.connection.send_prepared(&prepared, &mut side.out).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::MessageOpen);
    let ping = Prepared::new(MessageRef::Ping(b"p"));
    side.connection.send_prepared(&ping, &mut side.out).unwrap();
    side.connection.send_part("ended", true, &mut side.out).unwrap();
    side.connection.start_close(1000, "", &mut side.out).unwrap();
    let refused = side.connection.send_prepared(&prepared, &mut side.out).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::Closed);
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use bowline::Deflate;

    const BOTH: &str = "permessage-deflate; client_max_window_bits";

    fn pair(settings: Deflate, offer: &str) -> Pair {
        let (server, answer) = handshake(Role::Server, Config::default().deflate(settings), offer);
        let config = Config::default().deflate(Deflate::high_compression());
        let (client, _) = handshake(Role::Client, config, &answer.unwrap());
        Pair { client: Side::of(Role::Client, client), server: Side::of(Role::Server, server) }
    }

    #[test]
    fn it_is_compressed_once_for_each_window() {
        let prepared = Prepared::new("compressible ".repeat(1000));
        let mut places = Vec::new();
        for bits in [9, 12, 15] {
            let settings = Deflate::default().server_max_window_bits(bits);
            for takeover in [true, false] {
                let settings = settings.server_context_takeover(takeover);
                let mut pair = pair(settings, BOTH);
                let (client, server) = (&mut pair.client, &mut pair.server);
                server.connection.send_prepared(&prepared, &mut server.out).unwrap();
                // Small frames are copied, so only the bytes can be compared.
                places.push((bits, server.out.pending().to_vec()));
                assert!(server.out.len() < 1000 && server.out.pending()[0] == 0xC1);
                client.receive(&server.take_out());
                assert_eq!(client.events, [prepared.message().clone()]);
            }
        }
        for (bits, frame) in &places {
            assert!(places.iter().all(|(other, same)| other != bits || same == frame));
        }
    }

    #[test]
    fn what_is_sent_after_it_may_refer_to_it() {
        for settings in [Deflate::default(), Deflate::high_compression(), Deflate::low_memory()] {
            let settings = settings.threshold(0);
            let mut pair = pair(settings, BOTH);
            let (client, server) = (&mut pair.client, &mut pair.server);
            let mut expected = Vec::new();
            let mut seeded = Seeded(5);
            for i in 0..200 {
                let line = format!("{{\"id\":{i},\"value\":{}}} and again {i}", seeded.next());
                let message = text(&line.repeat(1 + i % 5));
                if i % 3 == 1 {
                    let prepared = Prepared::new(message.clone());
                    server.connection.send_prepared(&prepared, &mut server.out).unwrap();
                } else {
                    server.connection.send(&message, &mut server.out).unwrap();
                }
                expected.push(message);
                client.receive(&server.take_out());
            }
            assert_eq!(client.events, expected);
        }
    }

    #[test]
    fn it_is_sent_plain_where_the_connection_does_not_compress() {
        let prepared = Prepared::new("compressible ".repeat(1000));
        let mut pair = pair(Deflate::default(), BOTH);
        pair.server.connection.set_compression(false);
        pair.server.connection.send_prepared(&prepared, &mut pair.server.out).unwrap();
        assert!(pair.server.out.len() > 13_000);
        let mut plain = Side::new(Role::Server, Config::default());
        plain.connection.send_prepared(&prepared, &mut plain.out).unwrap();
        assert_eq!(plain.out.pending(), pair.server.out.pending());
    }
}
