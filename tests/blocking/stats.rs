//! `stats` of the blocking adapter: the numbers are the core's.

use bowline::{CloseCode, Config, Stats};

use crate::support::blocking::open;
use crate::support::*;

/// Messages and frames, each direction.
fn counts(stats: Stats) -> [u64; 4] {
    let Stats { received, sent, .. } = stats;
    [received.messages, received.frames, sent.messages, sent.frames]
}

#[test]
fn a_websocket_and_its_halves_count_what_comes_and_goes() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default().stats(true));
        far.push(&to(role, TEXT, b"Hello"));
        let message = ws.recv().unwrap().unwrap();
        ws.send(message).unwrap();
        let stats = ws.stats();
        assert_eq!(counts(stats), [1, 1, 1, 1], "{role:?}");
        assert_eq!(stats.sent.wire_bytes, far.written().len() as u64);
        far.push(&[to(role, PING, b"?"), to(role, TEXT, b"more")].concat());
        assert!(ws.recv().unwrap().is_some());
        let (mut sender, mut receiver) = ws.split().unwrap();
        sender.send("from the half").unwrap();
        far.push(&to(role, CLOSE, &close_payload(1000, b"")));
        far.eof();
        assert!(receiver.recv().unwrap().is_none());
        assert_eq!(counts(receiver.stats()), [2, 4, 0, 0]);
        assert_eq!(counts(sender.stats()), [0, 0, 2, 4]);
        let all = receiver.stats() + sender.stats();
        assert_eq!(all.received.close_code, Some(CloseCode::NORMAL));
        assert_eq!(all.sent.close_code, Some(CloseCode::NORMAL));
        assert!(all.received.since_message.is_some() && all.queue_high_water > 0);
    }
}

#[test]
fn without_the_setting_there_are_the_bytes_that_came() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        let wire = to(role, TEXT, b"Hello");
        far.push(&wire);
        assert!(ws.recv().unwrap().is_some());
        assert_eq!(counts(ws.stats()), [0; 4]);
        assert_eq!(ws.stats().received.wire_bytes, wire.len() as u64);
    }
}
