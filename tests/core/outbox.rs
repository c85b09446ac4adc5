//! The queue of what is to be sent once there is a session: its limits, its order, and what comes back.

use bowline::{Message, MessageRef, Outbox, OutboxFull};
use proptest::collection::vec;
use proptest::prelude::*;

fn texts<K>(outbox: &Outbox<K>) -> Vec<&str> {
    outbox.iter().map(|message| message.as_text().unwrap()).collect()
}

/// An outbox with these in it.
fn with(messages: &[&str]) -> Outbox {
    let mut outbox = Outbox::new();
    for &message in messages {
        assert_eq!(outbox.push(message), Ok(vec![]));
    }
    outbox
}

#[test]
fn a_full_outbox_gives_the_message_back() {
    let mut outbox = with(&["a", "b"]).max_messages(2);
    let full = outbox.push("c").unwrap_err();
    assert_eq!(
        full.to_string(),
        "message of 1 bytes not queued: 2 messages wait, which is max_messages of the outbox"
    );
    assert_eq!(full.into_message(), "c".into());
    let mut outbox = outbox.max_messages(3).max_bytes(4);
    let full = outbox.push("cde").unwrap_err();
    assert_eq!(
        full.to_string(),
        "message of 3 bytes not queued: with the 2 bytes that wait it exceeds max_bytes of 4 of the outbox"
    );
    assert_eq!(texts(&outbox), ["a", "b"]);
    assert_eq!(outbox.push("cd"), Ok(vec![]));
    assert_eq!((outbox.len(), outbox.bytes()), (3, 4));
}

#[test]
fn the_oldest_make_room_and_come_back() {
    let mut outbox = with(&["a", "bb", "ccc"]).max_bytes(6).drop_oldest();
    assert_eq!(outbox.push("dd"), Ok(vec!["a".into(), "bb".into()]));
    assert_eq!(texts(&outbox), ["ccc", "dd"]);
    let mut outbox = outbox.max_messages(2);
    assert_eq!(outbox.push(""), Ok(vec!["ccc".into()]));
    // What can never fit drops nothing.
    assert!(outbox.push("1234567").is_err());
    assert_eq!(texts(&outbox), ["dd", ""]);
    assert!(Outbox::new().max_messages(0).drop_oldest().push("").is_err());
}

#[test]
fn the_newest_of_each_key_waits_in_the_place_of_the_first() {
    let mut outbox = Outbox::keyed();
    outbox.push_keyed("x", "x1").unwrap();
    outbox.push("plain").unwrap();
    outbox.push_keyed("y", "y1").unwrap();
    assert_eq!(outbox.push_keyed("x", "x2"), Ok(vec!["x1".into()]));
    outbox.push("plain").unwrap();
    assert_eq!(texts(&outbox), ["x2", "plain", "y1", "plain"]);
    // What was taken out is not replaced.
    assert_eq!(outbox.pop(), Some("x2".into()));
    assert_eq!(outbox.push_keyed("x", "x3"), Ok(vec![]));
    assert_eq!(texts(&outbox), ["plain", "y1", "plain", "x3"]);
}

#[test]
fn a_message_that_replaces_another_needs_room_for_the_difference() {
    let mut outbox = Outbox::keyed().max_messages(2).max_bytes(4);
    outbox.push_keyed(1, "aa").unwrap();
    outbox.push_keyed(2, "bb").unwrap();
    assert_eq!(outbox.push_keyed(1, "cc"), Ok(vec!["aa".into()]));
    assert!(outbox.push_keyed(1, "ddd").is_err());
    assert_eq!(texts(&outbox), ["cc", "bb"]);
    // Others make room for it, and it keeps its place.
    let mut outbox = outbox.drop_oldest();
    assert_eq!(outbox.push_keyed(1, "ddd"), Ok(vec!["cc".into(), "bb".into()]));
    assert_eq!((texts(&outbox), outbox.bytes()), (vec!["ddd"], 3));
    outbox.push_keyed(2, "e").unwrap();
    assert_eq!(outbox.push_keyed(2, "ffff"), Ok(vec!["e".into(), "ddd".into()]));
    assert_eq!((texts(&outbox), outbox.bytes()), (vec!["ffff"], 4));
}

#[test]
fn only_what_was_taken_counts_as_handed_over() {
    let mut outbox = with(&["a", "b", "c"]);
    assert_eq!(outbox.hand_over(|_| Err("dead")), Some(Err("dead")));
    assert_eq!((outbox.len(), outbox.handed_over()), (3, 0));
    let mut sent = Vec::new();
    let taken = outbox.hand_over(|message: MessageRef<'_>| {
        sent.push(message.to_message());
        Ok::<_, ()>(())
    });
    assert_eq!((taken, outbox.pop()), (Some(Ok(())), Some("b".into())));
    assert_eq!((outbox.len(), outbox.bytes(), outbox.handed_over()), (1, 1, 1));
    assert!(outbox.drain().eq(["c".into()]));
    assert!(outbox.is_empty() && outbox.bytes() == 0);
    assert_eq!(outbox.hand_over(|_| Err(())), None);
    assert_eq!(sent, ["a".into()]);
    assert!(with(&["x", "y"]).into_iter().eq(["x".into(), "y".into()]));
}

#[test]
fn its_debug_output_shows_no_payload() {
    let mut outbox = Outbox::keyed();
    outbox.push_keyed("key", "secret").unwrap();
    let full = outbox.clone().max_messages(0).push("secret").unwrap_err();
    let shown = format!("{outbox:?} {full:?}");
    assert!(!shown.contains("secret") && !shown.contains("key"), "{shown}");
    assert!(shown.starts_with("Outbox { len: 1, bytes: 6, handed_over: 0, .. }"), "{shown}");
}

#[derive(Clone, Debug)]
enum Op {
    Push(Option<u8>, usize),
    Pop,
    HandOver(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (prop::option::of(0..4_u8), 0..12_usize).prop_map(|(key, size)| Op::Push(key, size)),
        1 => Just(Op::Pop),
        1 => any::<bool>().prop_map(Op::HandOver),
    ]
}

proptest! {
    /// Limits hold, every message is somewhere exactly once, and those of no key never overtake each other.
    #[test]
    fn nothing_is_lost_and_the_limits_hold(
        ops in vec(op(), 0..100),
        max_messages in 0..6_usize,
        max_bytes in 0..30_usize,
        drops in any::<bool>(),
    ) {
        let mut outbox = Outbox::keyed().max_messages(max_messages).max_bytes(max_bytes);
        if drops {
            outbox = outbox.drop_oldest();
        }
        // Each message has its number in front, in 2 bytes that are not part of the sizes that matter.
        let message = |n: usize, size: usize| {
            let mut data = vec![0; size.max(2)];
            data[..2].copy_from_slice(&(n as u16).to_be_bytes());
            Message::from(data)
        };
        let number = |message: &Message| u16::from_be_bytes(message.as_bytes()[..2].try_into().unwrap());
        let mut out: Vec<u16> = Vec::new();
        let mut keys = std::collections::HashMap::new();
        let mut handed_over = 0;
        for (n, op) in ops.iter().enumerate() {
            let before: Vec<_> = outbox.iter().cloned().collect();
            match *op {
                Op::Push(key, size) => {
                    keys.insert(n as u16, key);
                    let new = message(n, size);
                    let pushed: Result<Vec<Message>, OutboxFull> = match key {
                        Some(key) => outbox.push_keyed(key, new.clone()),
                        None => outbox.push(new.clone()),
                    };
                    match pushed {
                        Ok(removed) => {
                            out.extend(removed.iter().map(number));
                            let replaced = removed.first().is_some_and(|first| {
                                key.is_some() && keys[&number(first)] == key
                            });
                            prop_assert!(drops || removed.len() <= usize::from(replaced));
                        }
                        Err(full) => {
                            prop_assert!(outbox.iter().eq(&before));
                            prop_assert!(!drops || max_messages == 0 || size.max(2) > max_bytes);
                            out.push(number(&full.into_message()));
                        }
                    }
                }
                Op::Pop => {
                    let popped = outbox.pop();
                    prop_assert_eq!(popped.as_ref(), before.first());
                    out.extend(popped.as_ref().map(number));
                }
                Op::HandOver(takes) => {
                    let taken = outbox.hand_over(|_| if takes { Ok(()) } else { Err(()) });
                    prop_assert_eq!(taken.is_some(), !before.is_empty());
                    if taken == Some(Ok(())) {
                        out.push(number(&before[0]));
                        handed_over += 1;
                    }
                }
            }
            prop_assert!(outbox.len() <= max_messages && outbox.bytes() <= max_bytes);
            prop_assert_eq!(outbox.bytes(), outbox.iter().map(|m| m.as_bytes().len()).sum::<usize>());
            prop_assert_eq!(outbox.handed_over(), handed_over);
            let waiting: Vec<_> = outbox.iter().map(number).collect();
            let plain: Vec<_> = waiting.iter().filter(|n| keys[n].is_none()).collect();
            prop_assert!(plain.is_sorted());
            let mut of_keys: Vec<_> = waiting.iter().filter_map(|n| keys[n]).collect();
            let count = of_keys.len();
            of_keys.sort_unstable();
            of_keys.dedup();
            prop_assert_eq!(of_keys.len(), count);
            let mut all: Vec<_> = out.iter().chain(&waiting).copied().collect();
            all.sort_unstable();
            let mut pushed: Vec<_> = keys.keys().copied().collect();
            pushed.sort_unstable();
            prop_assert_eq!(all, pushed);
        }
    }
}
