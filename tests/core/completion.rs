//! Buffers that are with a kernel which completes reads and writes later: what it has, the connection has not, and
//! what was begun still counts.

use std::time::Duration;

use crate::support::*;
use bowline::{
    Budget, Config, Connection, End, Message, OwnedPending, Progress, Refusal, Role, SendBuf,
    Timeout, Truncation,
};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// Receives a piece as a kernel would bring it.
fn complete(side: &mut Side, mut piece: &[u8]) {
    while !piece.is_empty() {
        let mut space = side.input.take_space();
        // While the kernel has it, there is nothing, and looking at it does no harm.
        assert!(side.input.unread().is_empty() && side.input.event().is_none());
        assert_eq!(
            side.connection.advance(&mut side.input, &mut side.out),
            Ok(Progress::NeedInput)
        );
        side.input.release();
        let place = space.as_mut().as_ptr();
        let mut moved = Box::new(space);
        assert_eq!(moved.as_mut().as_mut().as_ptr(), place, "the kernel's address stays");
        let n = moved.as_mut().as_mut().len().min(piece.len());
        moved.as_mut().as_mut()[..n].copy_from_slice(&piece[..n]);
        side.input.put_space(*moved, n);
        piece = &piece[n..];
        let _ = side.advance_all();
    }
}

#[test]
fn what_a_kernel_reads_is_received_however_it_is_cut() {
    for role in ROLES {
        let long = vec![b'x'; 300];
        let mut wire = to(role, TEXT, "Hellö".as_bytes());
        wire.extend(fragment_to(role, false, TEXT, b"frag"));
        wire.extend(to(role, PING, b"p"));
        wire.extend(fragment_to(role, true, CONTINUATION, b"ment"));
        wire.extend(to(role, BINARY, &long));
        let expected = [text("Hellö"), text("fragment"), binary(&long)];
        for places in every_split(&wire) {
            let mut side = Side::new(role, Config::default());
            for piece in cut(&wire, &places) {
                complete(&mut side, piece);
            }
            assert_eq!(side.events, expected, "{places:?}");
            assert_eq!(side.take_sent(), [(PONG, b"p".to_vec())]);
        }
    }
}

#[test]
fn long_messages_come_through_the_same_room() {
    for role in ROLES {
        let messages = [1_000, 30_000, 200_000, 10, 1 << 20].map(|len| vec![7; len]);
        let mut side = Side::new(role, Config::default());
        for message in &messages {
            complete(&mut side, &to(role, BINARY, message));
        }
        assert_eq!(side.events, messages.map(Message::from));
    }
}

#[test]
fn what_has_begun_counts_while_the_room_is_away() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let deadline = |side: &mut Side, now| side.connection.deadline(now, &side.input, &side.out);
        // Nothing has begun.
        let space = side.input.take_space();
        assert_eq!(deadline(&mut side, SECOND), None);
        side.input.put_space(space, 0);
        // The first byte of a header.
        side.receive(&to(role, TEXT, b"Hello")[..1]);
        let space = side.input.take_space();
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        side.connection.on_time(21 * SECOND, &side.input, &mut side.out);
        assert_eq!(side.connection.end(), Some(&End::TimedOut(Timeout::Progress)));
        drop(space);
    }
}

/// The bytes in a space that was dropped are lost. They keep no deadline running once other bytes have come.
#[test]
fn a_space_that_was_dropped_counts_until_the_next_bytes() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let deadline = |side: &mut Side, now| side.connection.deadline(now, &side.input, &side.out);
        let message = to(role, TEXT, b"Hello");
        side.receive(&message[..1]);
        drop(side.input.take_space());
        assert_eq!(deadline(&mut side, SECOND), Some(21 * SECOND));
        side.receive(&message);
        assert_eq!(side.events, [text("Hello")]);
        side.input.release();
        assert_eq!(deadline(&mut side, 2 * SECOND), None);
    }
}

#[test]
fn a_peer_that_goes_in_a_header_is_told_so_while_the_room_is_away() {
    for (bytes, told) in [(0, Truncation::BetweenMessages), (1, Truncation::InHeader)] {
        let mut side = Side::new(Role::Server, Config::default());
        side.receive(&to(Role::Server, TEXT, b"Hello")[..bytes]);
        let _space = side.input.take_space();
        side.connection.transport_failed(&side.input);
        assert_eq!(side.connection.end(), Some(&End::PeerGone(told)));
    }
}

#[test]
fn the_end_of_the_stream_is_remembered() {
    let mut side = Side::new(Role::Server, Config::default());
    let space = side.input.take_space();
    side.input.eof();
    side.input.put_space(space, 0);
    assert_eq!(side.advance(), Ok(Progress::Ended));
}

#[test]
fn what_is_away_counts_as_waiting() {
    let config = Config::default().max_send_queue(100).send_timeout(20 * SECOND);
    let mut connection = Connection::server(config);
    let mut out = SendBuf::new();
    assert!(out.take_pending().is_none());
    connection.send(&[7; 98][..], &mut out).unwrap();
    let pending = out.take_pending().unwrap();
    assert!(out.take_pending().is_none(), "one at a time");
    assert_eq!((out.len(), out.pending(), out.is_empty()), (100, &[][..], false));
    let error = connection.send("more", &mut out).unwrap_err();
    assert_eq!(error.refusal(), Refusal::QueueFull);
    let input = bowline::RecvBuf::new();
    assert_eq!(connection.deadline(SECOND, &input, &out), Some(21 * SECOND));
    // A plain write has nothing to tell of.
    out.sent(50);
    assert_eq!(out.len(), 100);
    out.put_pending(pending, 40);
    assert_eq!((out.len(), out.pending().len()), (60, 60));
    // Less than all that waited is no progress yet.
    assert_eq!(connection.deadline(20 * SECOND, &input, &out), Some(21 * SECOND));
    let pending = out.take_pending().unwrap();
    out.put_pending(pending, usize::MAX);
    assert!(out.is_empty() && connection.deadline(SECOND, &input, &out).is_none());
}

#[test]
fn a_budget_counts_what_is_away() {
    let budget = Budget::new(usize::MAX);
    let mut connection = Connection::server(Config::default().memory_budget(&budget));
    let mut out = SendBuf::new();
    connection.send(&[7; 20_000][..], &mut out).unwrap();
    let pending = out.take_pending().unwrap();
    connection.send(&[7; 5_000][..], &mut out).unwrap();
    assert!(budget.used() >= 25_000, "{}", budget.used());
    out.put_pending(pending, usize::MAX);
    out.sent(usize::MAX);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_close_has_left_only_once_the_kernel_says_so() {
    let (_, mut sender, _) = Connection::server(Config::default()).into_halves();
    let mut out = SendBuf::new();
    sender.start_close(1000, "", &mut out).unwrap();
    let pending = out.take_pending().unwrap();
    assert!(!sender.state(&out).close_left() && sender.state(&out).is_waiting());
    out.put_pending(pending, 4);
    assert!(sender.state(&out).close_left() && !sender.state(&out).is_waiting());
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize, bool),
    Take,
    Put(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..200_usize, 3_900..4_200_usize, 16_000..17_000_usize, Just(140_000)];
    prop_oneof![
        3 => (len, any::<bool>()).prop_map(|(len, owned)| Step::Send(len, owned)),
        3 => Just(Step::Take),
        3 => prop_oneof![0..300_usize, Just(usize::MAX)].prop_map(Step::Put),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kernel_writes_every_frame_in_order(role in prop_oneof![Just(Role::Server), Just(Role::Client)], steps in vec(step(), 1..40)) {
        let config = Config::default().max_send_queue(usize::MAX);
        let [mut side, mut plain] = [(); 2].map(|()| Side::new(role, config.clone()));
        let mut wire = Vec::new();
        let mut away: Option<OwnedPending> = None;
        let mut put = |out: &mut SendBuf, pending: OwnedPending, n: usize| {
            let bytes = pending.as_ref();
            wire.extend_from_slice(&bytes[..n.min(bytes.len())]);
            out.put_pending(pending, n);
        };
        for step in steps {
            match step {
                Step::Send(len, owned) => {
                    let message = Message::from(vec![len as u8; len]);
                    plain.connection.send(&message, &mut plain.out).unwrap();
                    if owned {
                        side.connection.send_owned(message, &mut side.out).unwrap();
                    } else {
                        side.connection.send(&message, &mut side.out).unwrap();
                    }
                }
                Step::Take => away = away.or_else(|| side.out.take_pending()),
                Step::Put(n) => {
                    if let Some(pending) = away.take() {
                        put(&mut side.out, pending, n);
                    }
                }
                Step::Release => side.out.release(),
            }
        }
        if let Some(pending) = away.take() {
            put(&mut side.out, pending, 0);
        }
        while let Some(pending) = side.out.take_pending() {
            put(&mut side.out, pending, usize::MAX);
        }
        prop_assert!(side.out.is_empty());
        prop_assert!(wire == plain.take_out(), "what was written is not what was sent");
    }
}
