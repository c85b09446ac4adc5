//! 10,000 connections that share a memory budget, each with 99 % of what its own limits allow
//! (attack battery R10, RFC 6455 §10.4): by a counting allocator, they hold no more than the budget and what
//! docs/security.md adds to it.

use std::pin::pin;
use std::task::Poll;

use super::adapter::{Io, WebSocket, open};
use crate::counting::live;
use crate::support::stream::{Far, finish, poll};
use crate::support::*;
use bowline::{Budget, Config, End, Error, Refusal, Role};

const CONNECTIONS: usize = 10_000;
const LIMIT: usize = 64 << 10;
const BUDGET: usize = 32 << 20;

/// What a connection may hold beside the budget (docs/security.md): 4 KiB in each direction, and here its
/// timer, the box of its counter, and the test's own stream.
const BESIDE: isize = 1 << 10;

fn config(budget: &Budget) -> Config {
    no_timeouts().max_message_size(LIMIT as u64).memory_budget(budget)
}

/// Takes what the stream has recorded, with its memory.
fn take_written(far: &Far) -> Vec<u8> {
    std::mem::take(&mut far.lock().writes).concat()
}

#[test]
fn ten_thousand_messages_that_are_almost_there_hold_no_more_than_the_budget() {
    let role = Role::Server;
    let budget = Budget::new(BUDGET);
    let wire = to(role, BINARY, &pattern(LIMIT * 99 / 100));
    let (most, rest) = wire.split_at(wire.len() - 100);
    let mut all: Vec<(WebSocket<Io>, Far)> =
        (0..CONNECTIONS).map(|_| open(role, &config(&budget))).collect();
    let baseline = live();
    let (mut waiting, mut refused) = (Vec::new(), 0);
    // In two pieces, since a peer need not begin where another ends.
    let halves = most.split_at(most.len() / 2);
    for (is_last, piece) in [(false, halves.0), (true, halves.1)] {
        for (i, (ws, far)) in all.iter_mut().enumerate() {
            if far.lock().shut {
                continue;
            }
            far.push(piece);
            let polled = poll(pin!(ws.recv()));
            far.change(|s| s.shrink());
            // Sent away: 1013, and it waits for the peer to go.
            if let Some(end) = ws.end() {
                assert_eq!((end, polled.is_pending()), (&End::OverBudget, true));
                let sent = decode(role, &take_written(far));
                assert_eq!(sent.iter().map(close_code).collect::<Vec<_>>(), [1013]);
                assert!(far.lock().shut);
                refused += 1;
            } else {
                assert!(polled.is_pending());
                if is_last {
                    waiting.push(i);
                }
            }
            assert!(budget.used() <= BUDGET);
            if i % 500 == 0 {
                assert_held(baseline, &budget);
            }
        }
    }
    assert_held(baseline, &budget);
    // As many as the budget has room for are left, and no fewer.
    let each = LIMIT as isize;
    assert!(waiting.len() as isize >= BUDGET as isize / (2 * each), "{} are left", waiting.len());
    assert_eq!(waiting.len() + refused, CONNECTIONS);
    assert!(waiting.len() < CONNECTIONS / 10);

    for &i in &waiting {
        let (ws, far) = &mut all[i];
        far.push(rest);
        let message = finish(ws.recv()).unwrap().unwrap();
        assert!(message.as_bytes() == pattern(LIMIT * 99 / 100));
    }
    assert_eq!(budget.used(), 0);
    // Who was sent away learns nothing else, once its peer is gone.
    for (ws, far) in &mut all {
        far.eof();
        match poll(pin!(ws.recv())) {
            Poll::Ready(Err(Error::Ended(End::OverBudget | End::PeerGone(_)))) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(all);
    assert_eq!(budget.used(), 0);
}

fn assert_held(baseline: isize, budget: &Budget) {
    let pool = crate::counting::POOLED + 2 * crate::counting::WIDE;
    let most = budget.used() as isize + CONNECTIONS as isize * BESIDE + pool;
    let held = live() - baseline;
    assert!(held <= most, "{held} bytes held, {} charged", budget.used());
    assert!(held >= budget.used() as isize, "{held} bytes held, {} charged", budget.used());
}

#[test]
fn ten_thousand_peers_that_do_not_read_hold_no_more_than_the_budget() {
    let role = Role::Server;
    let budget = Budget::new(BUDGET);
    let mut all: Vec<(WebSocket<Io>, Far)> =
        (0..CONNECTIONS).map(|_| open(role, &config(&budget))).collect();
    let baseline = live();
    let mut refused = 0;
    for (i, (ws, far)) in all.iter_mut().enumerate() {
        far.change(|s| s.room = 0);
        // Large ones and small ones.
        let size = if i % 2 == 0 { LIMIT * 99 / 100 } else { 3_000 };
        for _ in 0..LIMIT / size {
            match poll(pin!(ws.send(vec![7_u8; size]))) {
                Poll::Pending => {}
                Poll::Ready(Err(Error::Send(error))) => {
                    assert_eq!(error.refusal(), Refusal::OverBudget);
                    assert_eq!(error.into_message().unwrap().as_bytes().len(), size);
                    refused += 1;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let held = live() - baseline;
    let most = BUDGET as isize + CONNECTIONS as isize * (BESIDE + (8 << 10)) + (1 << 20);
    assert!(held <= most, "{held} bytes held, {} charged", budget.used());
    assert!(budget.used() <= BUDGET + (256 << 10));
    assert!(refused > CONNECTIONS * 9 / 10, "{refused} refused");
    // They go on.
    for (ws, far) in &mut all {
        far.room(usize::MAX);
        finish(ws.flush()).unwrap();
        let _ = take_written(far);
    }
    assert_eq!(budget.used(), 0);
    for (ws, far) in &mut all {
        finish(ws.send(vec![7_u8; LIMIT])).unwrap();
        assert!(take_written(far).len() > LIMIT);
    }
    assert_eq!(budget.used(), 0);
}

#[test]
fn halves_give_back_what_they_hold() {
    for role in ROLES {
        let budget = Budget::new(BUDGET);
        for receiver_first in [true, false] {
            let (ws, far) = open(role, &config(&budget));
            far.change(|s| s.room = 0);
            let (mut sender, mut receiver) = ws.split();
            far.push(&to(role, BINARY, &[7; 50_000])[..40_000]);
            assert!(poll(pin!(receiver.recv())).is_pending());
            let received = budget.used();
            assert!(received >= 39_000);
            assert!(poll(pin!(sender.send(vec![7_u8; 100_000]))).is_pending());
            assert!(budget.used() >= received + 100_000);
            if receiver_first {
                drop(receiver);
                assert!(budget.used() >= 100_000);
                drop(sender);
            } else {
                drop(sender);
                drop(receiver);
            }
            assert_eq!(budget.used(), 0);
        }
    }
}
