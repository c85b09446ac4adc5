//! Many nodes on a broker that the tests cut off.

use std::sync::Arc;
use std::time::Duration;

use hub::broker::Incoming;
use hub::{Away, Draft, Event, Message, Published, Settings};
use serde_json::json;

use crate::wire::Wire;
use crate::{at, draft, heard, history, in_time, keys, next, numbered, say, told, until};

fn settings() -> Settings {
    Settings { patience: Duration::from_millis(300), ..Settings::default() }
}

async fn came(member: &mut hub::Member, key: &str) {
    until(member, |event| matches!(event, Event::Came(person) if person.key == key).then_some(()))
        .await;
}

async fn left(member: &mut hub::Member, key: &str) {
    until(member, |event| matches!(event, Event::Left(person) if person.key == key).then_some(()))
        .await;
}

#[tokio::test]
async fn all_nodes_have_one_order() {
    let wire = Wire::new(1000);
    let hubs: Vec<_> = (0..3).map(|_| wire.node(settings()).0).collect();
    let mut members = Vec::new();
    for hub in &hubs {
        members.push(hub.join("a").await);
    }
    let talkers = hubs.iter().enumerate().map(|(node, hub)| {
        let hub = hub.clone();
        tokio::spawn(async move {
            for i in 0..50 {
                say(&hub, "a", &format!("{node}.{i}")).await;
            }
        })
    });
    for talker in talkers.collect::<Vec<_>>() {
        talker.await.expect("no panic");
    }
    let mut orders = Vec::new();
    for member in &mut members {
        let mut order = Vec::new();
        for offset in 1..=150 {
            let (at, text) = heard(member).await;
            assert_eq!(at, Some(offset));
            order.push(text);
        }
        orders.push(order);
    }
    assert!(orders[0] == orders[1] && orders[1] == orders[2]);
}

#[tokio::test]
async fn a_gap_is_filled_before_anything_newer() {
    let wire = Wire::new(1000);
    let ((one, _), (two, cut)) = (wire.node(settings()), wire.node(settings()));
    let mut bob = two.join("a").await;
    cut.lose(3);
    for text in ["one", "two", "three", "four"] {
        say(&one, "a", text).await;
    }
    for (offset, text) in numbered(&["one", "two", "three", "four"]) {
        assert_eq!(heard(&mut bob).await, (Some(offset), text));
    }
}

#[tokio::test]
async fn a_gap_that_is_too_long_is_told() {
    let wire = Wire::new(2);
    let ((one, _), (two, cut)) = (wire.node(settings()), wire.node(settings()));
    let mut bob = two.join("a").await;
    cut.lose(3);
    let mut last = None;
    for text in ["one", "two", "three", "four"] {
        last = Some(at(say(&one, "a", text).await));
    }
    assert_eq!(next(&mut bob).await, Event::CatchUp(last.expect("a position")));
    say(&one, "a", "five").await;
    assert_eq!(heard(&mut bob).await, (Some(5), "five".into()));
}

#[tokio::test]
async fn while_the_broker_is_away_the_node_talks_and_then_catches_up() {
    let wire = Wire::new(1000);
    let ((one, _), (two, cut)) = (wire.node(settings()), wire.node(settings()));
    let (mut ada, mut bob, mut cid) =
        (one.join("a").await, two.join("a").await, two.join("a").await);
    say(&one, "a", "one").await;
    assert_eq!(heard(&mut bob).await.0, Some(1));
    cut.cut();
    told(&mut bob, false).await;
    assert!(!*two.reachable().borrow());
    assert_eq!(say(&two, "a", "early").await, Published::Early);
    // Sent again, it comes once.
    assert_eq!(say(&two, "a", "early").await, Published::Early);
    say(&one, "a", "two").await;
    assert_eq!(heard(&mut bob).await, (None, "early".into()));
    cut.mend();
    assert_eq!(heard(&mut bob).await, (Some(2), "two".into()));
    match next(&mut bob).await {
        Event::Settled(message) => {
            assert_eq!((message.position.map(|at| at.offset), &*message.key), (Some(3), "early"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut bob).await, Event::Reachable(true));
    for text in ["one", "two", "early"] {
        assert_eq!(heard(&mut ada).await.1, text);
    }
    say(&two, "a", "three").await;
    for member in [&mut ada, &mut bob] {
        assert_eq!(heard(member).await, (Some(4), "three".into()));
    }
    told(&mut cid, true).await;
    assert_eq!(heard(&mut cid).await, (Some(4), "three".into()));
}

#[tokio::test]
async fn a_command_shows_a_broker_that_died_silently_or_hangs() {
    for hangs in [false, true] {
        let wire = Wire::new(1000);
        let (hub, node) = wire.node(settings());
        let mut ada = hub.join("a").await;
        say(&hub, "a", "one").await;
        if hangs {
            node.hang()
        } else {
            node.die_silently()
        }
        assert_eq!(say(&hub, "a", "two").await, Published::Early);
        assert_eq!(heard(&mut ada).await, (Some(1), "one".into()));
        assert_eq!(next(&mut ada).await, Event::Reachable(false));
        assert_eq!(heard(&mut ada).await, (None, "two".into()));
        node.mend();
        let settled = |event: &Event| {
            matches!(event, Event::Settled(message) if message.key == "two").then_some(())
        };
        until(&mut ada, settled).await;
        told(&mut ada, true).await;
        assert_eq!(history(&hub, "a", None, 10).await.1, numbered(&["one", "two"]));
    }
}

#[tokio::test]
async fn what_was_kept_although_the_answer_was_lost_comes_once() {
    let wire = Wire::new(1000);
    let ((one, _), (two, node)) = (wire.node(settings()), wire.node(settings()));
    let mut bob = two.join("a").await;
    node.cut();
    told(&mut bob, false).await;
    say(&two, "a", "both").await;
    // As if the broker had kept it before its answer was lost.
    say(&one, "a", "both").await;
    node.mend();
    assert_eq!(heard(&mut bob).await, (None, "both".into()));
    assert!(matches!(next(&mut bob).await, Event::Settled(message) if message.key == "both"));
    assert_eq!(next(&mut bob).await, Event::Reachable(true));
    say(&one, "a", "next").await;
    assert_eq!(heard(&mut bob).await, (Some(2), "next".into()));
}

#[tokio::test]
async fn a_broker_without_its_data_begins_anew_and_that_is_told() {
    let wire = Wire::new(1000);
    let (hub, node) = wire.node(settings());
    let mut ada = hub.join("a").await;
    let before = at(say(&hub, "a", "one").await);
    node.cut();
    told(&mut ada, false).await;
    say(&hub, "a", "early").await;
    wire.forget();
    node.mend();
    let anew = until(&mut ada, |event| match event {
        Event::CatchUp(position) => Some(*position),
        _ => None,
    })
    .await;
    assert_ne!(anew.epoch, before.epoch);
    assert!(
        matches!(next(&mut ada).await, Event::Settled(message) if message.position.is_some_and(|at| at.offset == 1))
    );
    assert!(in_time(hub.history("a", Some(before), 10)).await.expect("a history").fresh);
}

#[tokio::test]
async fn too_much_for_an_absent_broker_is_refused() {
    let wire = Wire::new(1000);
    let (hub, node) = wire.node(Settings { early: 2, ..settings() });
    let mut ada = hub.join("a").await;
    node.cut();
    told(&mut ada, false).await;
    for text in ["one", "two"] {
        say(&hub, "a", text).await;
    }
    assert_eq!(in_time(hub.publish("a", draft("three"))).await, Err(Away));
    assert_eq!(in_time(hub.history("a", None, 9)).await, Err(Away));
    node.mend();
    told(&mut ada, true).await;
    assert_eq!(at(say(&hub, "a", "three").await).offset, 3);
}

#[tokio::test]
async fn who_joins_while_the_broker_is_away_is_told_where_it_is_later() {
    let wire = Wire::new(1000);
    let ((one, _), (two, node)) = (wire.node(settings()), wire.node(settings()));
    say(&one, "a", "one").await;
    node.cut();
    let mut reachable = two.reachable();
    in_time(reachable.wait_for(|reachable| !reachable)).await.expect("the hub is there");
    let mut bob = two.join("a").await;
    assert_eq!((bob.position(), bob.reachable()), (None, false));
    say(&two, "a", "early").await;
    node.mend();
    assert_eq!(heard(&mut bob).await, (None, "early".into()));
    assert!(matches!(next(&mut bob).await, Event::CatchUp(position) if position.offset == 1));
    assert!(
        matches!(next(&mut bob).await, Event::Settled(message) if message.position.is_some_and(|at| at.offset == 2))
    );
}

#[tokio::test]
async fn a_foreign_message_has_no_number() {
    let wire = Wire::new(1000);
    let (hub, _) = wire.node(settings());
    let mut ada = hub.join("a").await;
    let message =
        Message { position: None, key: String::new(), from: String::new(), data: "hello".into() };
    wire.send("a", &Incoming::Message("a".into(), Arc::new(message)));
    wire.send("a", &Incoming::Note("a".into(), "no note".into()));
    assert_eq!(heard(&mut ada).await, (None, "hello".into()));
    assert_eq!(history(&hub, "a", None, 9).await.1, []);
}

#[tokio::test]
async fn what_was_kept_and_cannot_be_read_any_more_is_settled() {
    let wire = Wire::new(2);
    let ((one, _), (two, node)) = (wire.node(settings()), wire.node(settings()));
    say(&one, "a", "one").await;
    let mut bob = two.join("a").await;
    node.cut();
    told(&mut bob, false).await;
    say(&two, "a", "both").await;
    for text in ["two", "three", "both"] {
        say(&one, "a", text).await;
    }
    node.mend();
    assert_eq!(heard(&mut bob).await, (None, "both".into()));
    assert!(matches!(next(&mut bob).await, Event::CatchUp(position) if position.offset == 4));
    assert!(
        matches!(next(&mut bob).await, Event::Settled(message) if message.position.is_some_and(|at| at.offset == 4))
    );
    assert_eq!(next(&mut bob).await, Event::Reachable(true));
}

#[tokio::test]
async fn a_broker_that_went_back_in_time_is_told() {
    let wire = Wire::new(1000);
    let (hub, node) = wire.node(settings());
    let mut ada = hub.join("a").await;
    say(&hub, "a", "one").await;
    let backup = wire.back_up();
    say(&hub, "a", "two").await;
    node.cut();
    told(&mut ada, false).await;
    wire.restore(backup);
    node.mend();
    let anew =
        until(
            &mut ada,
            |event| if let Event::CatchUp(position) = event { Some(*position) } else { None },
        )
        .await;
    assert_eq!(anew.offset, 1);
    say(&hub, "a", "another two").await;
    assert_eq!(heard(&mut ada).await, (Some(2), "another two".into()));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_broker_waits_without_members_too() {
    let wire = Wire::new(1000);
    let (hub, node) = wire.node(settings());
    let mut ada = hub.join("a").await;
    node.cut();
    told(&mut ada, false).await;
    say(&hub, "a", "early").await;
    drop(ada);
    tokio::time::sleep(3 * settings().linger).await;
    node.mend();
    let mut reachable = hub.reachable();
    in_time(reachable.wait_for(|reachable| *reachable)).await.expect("the hub is there");
    // The topic is asked after it has caught up.
    hub.people("a").await;
    assert_eq!(history(&hub, "a", None, 9).await.1, numbered(&["early"]));
}

#[tokio::test(start_paused = true)]
async fn who_has_left_is_told_at_the_end_of_a_program() {
    let wire = Wire::new(1000);
    let ((one, _), (two, _)) = (wire.node(settings()), wire.node(settings()));
    let mut ada = one.join("a").await;
    let bob = two.join("a").await;
    bob.enter("Bob", json!(null));
    came(&mut ada, "Bob").await;
    drop(bob);
    let begin = tokio::time::Instant::now();
    two.flush().await;
    left(&mut ada, "Bob").await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn presence_is_on_all_nodes() {
    let wire = Wire::new(1000);
    let ((one, _), (two, _)) = (wire.node(settings()), wire.node(settings()));
    let mut ada = one.join("a").await;
    ada.enter("Ada", json!(null));
    came(&mut ada, "Ada").await;
    // All that is told about her coming has been told.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Who is new asks, and need not wait until it is told anyway.
    let begin = tokio::time::Instant::now();
    let mut bob = two.join("a").await;
    came(&mut bob, "Ada").await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    bob.enter("Bob", json!({"n": 1}));
    came(&mut ada, "Bob").await;
    assert_eq!(keys(&one, "a").await, ["Ada", "Bob"]);
    assert_eq!(keys(&two, "a").await, ["Ada", "Bob"]);
    drop(bob);
    left(&mut ada, "Bob").await;
    assert_eq!(keys(&one, "a").await, ["Ada"]);
}

#[tokio::test(start_paused = true)]
async fn somebody_on_another_node_is_found_by_one_that_has_nobody() {
    let wire = Wire::new(1000);
    let ((one, _), (two, _)) = (wire.node(settings()), wire.node(settings()));
    let mut ada = one.join("a").await;
    ada.enter("Ada", json!(null));
    came(&mut ada, "Ada").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = tokio::time::Instant::now();
    let found = two.find("a", |person| person.key == "Ada").await.expect("she is there");
    assert_eq!(&found.reference, ada.reference());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(two.find("a", |person| person.key == "Bob").await, None);
    assert_eq!(one.find("a", |person| person.key == "Ada").await, Some(found));
}

#[tokio::test(start_paused = true)]
async fn who_was_on_a_dead_node_is_gone_after_the_lease() {
    let wire = Wire::new(1000);
    let ((one, _), (two, dead)) = (wire.node(settings()), wire.node(settings()));
    let mut ada = one.join("a").await;
    let bob = two.join("a").await;
    bob.enter("Bob", json!(null));
    came(&mut ada, "Bob").await;
    let begin = tokio::time::Instant::now();
    // It lives on for as long as it speaks.
    tokio::time::sleep(4 * settings().lease).await;
    assert_eq!(keys(&one, "a").await, ["Bob"]);
    dead.die_silently();
    let died = begin.elapsed();
    until(&mut ada, |event| matches!(event, Event::Left(_)).then_some(())).await;
    let took = begin.elapsed() - died;
    assert!(took > settings().lease / 2 && took <= 2 * settings().lease, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_ends_no_lease() {
    let wire = Wire::new(1000);
    let ((one, cut), (two, other)) = (wire.node(settings()), wire.node(settings()));
    let mut ada = one.join("a").await;
    let bob = two.join("a").await;
    bob.enter("Bob", json!(null));
    came(&mut ada, "Bob").await;
    cut.cut();
    other.cut();
    told(&mut ada, false).await;
    tokio::time::sleep(4 * settings().lease).await;
    assert_eq!(keys(&one, "a").await, ["Bob"]);
    // The other node comes back later.
    cut.mend();
    told(&mut ada, true).await;
    tokio::time::sleep(settings().lease / 2).await;
    assert_eq!(keys(&one, "a").await, ["Bob"]);
    cut.cut();
    told(&mut ada, false).await;
    other.mend();
    drop(bob);
    cut.mend();
    told(&mut ada, true).await;
    // It has left meanwhile: its node says so when it is asked, or the lease ends.
    while !keys(&one, "a").await.is_empty() {
        in_time(ada.next()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_watched_while_it_has_members_and_some_time_after() {
    let wire = Wire::new(1000);
    let (hub, node) = wire.node(settings());
    let ada = hub.join("a").await;
    assert!(node.watches("a"));
    drop(ada);
    tokio::time::sleep(settings().linger / 2).await;
    assert!(node.watches("a"));
    let ada = hub.join("a").await;
    tokio::time::sleep(settings().linger * 2).await;
    assert!(node.watches("a"));
    drop(ada);
    tokio::time::sleep(settings().linger * 2).await;
    assert!(!node.watches("a"));
    // A topic that nobody is in can be published to.
    assert_eq!(
        at(in_time(hub.publish("a", Draft::new("x"))).await.expect("it is published")).offset,
        1
    );
}
