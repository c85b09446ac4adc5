//! `stats` of an adapter: the numbers are the core's. The clock is the adapter's.

use std::pin::pin;

use bowline::{CloseCode, Config, Stats};

use super::adapter::*;
use crate::support::stream::poll;
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
        far.push(&[to(role, TEXT, b"Hello"), to(role, PING, b"?")].concat());
        block_on(async {
            let message = ws.recv().await.unwrap().unwrap();
            ws.send(message).await.unwrap();
        });
        assert!(poll(pin!(ws.recv())).is_pending());
        let stats = ws.stats();
        assert_eq!(counts(stats), [1, 2, 1, 2], "{role:?}");
        assert_eq!(stats.sent.wire_bytes, far.written().len() as u64);
        assert!(stats.received.since_message.is_some() && stats.sent.since_frame.is_some());
        let (sender, mut receiver) = ws.split();
        far.push(&[to(role, TEXT, b"more"), to(role, CLOSE, &close_payload(1000, b""))].concat());
        block_on(async {
            let mut sender = sender;
            sender.send("from the half").await.unwrap();
            assert!(receiver.recv().await.unwrap().is_some());
            far.eof();
            assert!(receiver.recv().await.unwrap().is_none());
            assert_eq!(counts(receiver.stats()), [2, 4, 0, 0]);
            assert_eq!(counts(sender.stats()), [0, 0, 2, 4]);
            let all = receiver.stats() + sender.stats();
            assert_eq!(all.received.close_code, Some(CloseCode::NORMAL));
            assert_eq!(all.sent.close_code, Some(CloseCode::NORMAL));
            assert!(all.queue_high_water > 0);
        });
    }
}

#[test]
fn without_the_setting_there_are_the_bytes_that_came() {
    for role in ROLES {
        let (mut ws, far) = open(role, &Config::default());
        let wire = to(role, TEXT, b"Hello");
        far.push(&wire);
        block_on(ws.recv()).unwrap();
        assert!(poll(pin!(ws.recv())).is_pending());
        let stats = ws.stats();
        assert_eq!(counts(stats), [0; 4]);
        assert_eq!(stats.received.wire_bytes, wire.len() as u64);
        assert_eq!(stats.received.since_message, None);
    }
}
