//! One node, with the history in memory.

use std::sync::Arc;

use hub::broker::{Appended, Broker, Memory, Page};
use hub::{Away, Draft, Event, Hub, Position, Published, Settings};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use crate::{at, draft, heard, history, in_time, keys, next, numbered, say, until};

#[tokio::test]
async fn members_get_messages_in_order_and_other_topics_do_not() {
    let hub = Hub::alone(Settings::default());
    let (mut ada, mut bob, mut eve) =
        (hub.join("a").await, hub.join("a").await, hub.join("b").await);
    for text in ["one", "two", "three"] {
        say(&hub, "a", text).await;
    }
    for member in [&mut ada, &mut bob] {
        for (offset, text) in numbered(&["one", "two", "three"]) {
            assert_eq!(heard(member).await, (Some(offset), text));
        }
    }
    say(&hub, "b", "other").await;
    assert_eq!(heard(&mut eve).await, (Some(1), "other".into()));
}

#[tokio::test]
async fn a_key_is_kept_once_in_a_topic() {
    let hub = Hub::alone(Settings::default());
    let mut ada = hub.join("a").await;
    let first = at(say(&hub, "a", "one").await);
    assert_eq!(in_time(hub.publish("a", draft("one"))).await, Ok(Published::Before(first)));
    say(&hub, "a", "two").await;
    assert_eq!(at(say(&hub, "b", "one").await).offset, 1);
    assert_eq!(heard(&mut ada).await.1, "one");
    assert_eq!(heard(&mut ada).await.1, "two");
    // Without a key of its own, each is another message.
    let published = in_time(hub.publish("a", Draft::new("three"))).await;
    assert_ne!(published, in_time(hub.publish("a", Draft::new("three"))).await);
}

#[tokio::test]
async fn a_message_says_who_sent_it() {
    let hub = Hub::alone(Settings::default());
    let (mut ada, bob) = (hub.join("a").await, hub.join("a").await);
    hub.publish("a", draft("one").from(&**bob.reference())).await.expect("it is published");
    let from = until(&mut ada, |event| match event {
        Event::Message(message) => Some(message.from.clone()),
        _ => None,
    });
    assert_eq!(from.await, **bob.reference());
    assert_ne!(ada.reference(), bob.reference());
}

#[tokio::test]
async fn history_follows_a_position_or_says_that_it_does_not() {
    let hub = Hub::alone(Settings { history: 3, ..Settings::default() });
    let mut positions = Vec::new();
    for text in ["one", "two", "three", "four", "five"] {
        positions.push(at(say(&hub, "a", text).await));
    }
    let all = numbered(&["one", "two", "three", "four", "five"]);
    assert_eq!(history(&hub, "a", Some(positions[1]), 10).await, (false, all[2..].to_vec()));
    assert_eq!(history(&hub, "a", Some(positions[1]), 2).await, (false, all[2..4].to_vec()));
    assert_eq!(history(&hub, "a", Some(positions[4]), 10).await, (false, vec![]));
    // The second is not kept, so what followed the first is not whole.
    assert_eq!(history(&hub, "a", Some(positions[0]), 10).await, (true, all[2..].to_vec()));
    assert_eq!(history(&hub, "a", None, 2).await, (true, all[3..].to_vec()));
    let other = Position { epoch: positions[0].epoch ^ 1, offset: 4 };
    assert_eq!(history(&hub, "a", Some(other), 10).await, (true, all[2..].to_vec()));
    let future = Position { offset: 6, ..positions[0] };
    assert_eq!(history(&hub, "a", Some(future), 10).await, (true, all[2..].to_vec()));
    assert_eq!(history(&hub, "nothing", None, 10).await, (true, vec![]));
}

#[tokio::test]
async fn a_member_begins_where_the_history_ends() {
    let hub = Hub::alone(Settings::default());
    let first = at(say(&hub, "a", "one").await);
    let mut ada = hub.join("a").await;
    assert_eq!(ada.position(), Some(first));
    say(&hub, "a", "two").await;
    assert_eq!(heard(&mut ada).await, (Some(2), "two".into()));
}

#[tokio::test]
async fn a_slow_member_is_dropped_and_the_others_are_not_delayed() {
    let hub = Hub::alone(Settings { queue: 4, ..Settings::default() });
    let (mut slow, mut ada) = (hub.join("a").await, hub.join("a").await);
    slow.enter("Slow", json!(null));
    until(&mut ada, |event| matches!(event, Event::Came(_)).then_some(())).await;
    for i in 0..8 {
        say(&hub, "a", &i.to_string()).await;
        assert_eq!(heard(&mut ada).await.1, i.to_string());
    }
    // Its own coming, three messages, and then the end.
    assert!(matches!(next(&mut slow).await, Event::Came(_)));
    for i in 0..3 {
        assert_eq!(heard(&mut slow).await.1, i.to_string());
    }
    assert_eq!(in_time(slow.next()).await, None);
    slow.enter("Slow", json!(null));
    assert_eq!(keys(&hub, "a").await, [""; 0], "it is gone for the others");
}

#[tokio::test]
async fn presence_is_told_and_who_comes_knows_it() {
    let hub = Hub::alone(Settings::default());
    let (mut ada, bob) = (hub.join("a").await, hub.join("a").await);
    bob.enter("Bob", json!({"mood": "good"}));
    match next(&mut ada).await {
        Event::Came(person) => {
            assert_eq!(
                (&*person.key, &person.info, &person.reference),
                ("Bob", &json!({"mood": "good"}), bob.reference())
            );
        }
        other => panic!("{other:?}"),
    }
    let eve = hub.join("a").await;
    assert_eq!(eve.people().iter().map(|person| &*person.key).collect::<Vec<_>>(), ["Bob"]);
    bob.enter("Bob", json!({"mood": "bad"}));
    assert!(matches!(next(&mut ada).await, Event::Left(person) if person.info["mood"] == "good"));
    assert!(matches!(next(&mut ada).await, Event::Came(person) if person.info["mood"] == "bad"));
    drop(bob);
    assert!(matches!(next(&mut ada).await, Event::Left(person) if person.key == "Bob"));
    ada.enter("Ada", json!(null));
    assert!(matches!(next(&mut ada).await, Event::Came(person) if person.key == "Ada"));
    ada.exit();
    assert!(matches!(next(&mut ada).await, Event::Left(person) if person.key == "Ada"));
    assert_eq!(keys(&hub, "a").await, [""; 0]);
}

#[tokio::test]
async fn a_member_skips_what_its_client_has() {
    let hub = Hub::alone(Settings::default());
    let (mut ada, mut bob) = (hub.join("a").await, hub.join("a").await);
    say(&hub, "a", "one").await;
    let two = at(say(&hub, "a", "two").await);
    say(&hub, "a", "three").await;
    ada.skip_until(two);
    assert_eq!(heard(&mut ada).await, (Some(3), "three".into()));
    bob.skip_until(Position { epoch: two.epoch ^ 1, ..two });
    assert_eq!(heard(&mut bob).await, (Some(1), "one".into()));
    bob.skip_until(two);
    assert!(matches!(bob.next_now(), Some(Event::Message(message)) if message.key == "three"));
}

/// A history in which somebody says something after each look.
struct Busy(Memory);

#[async_trait::async_trait]
impl Broker for Busy {
    fn is_shared(&self) -> bool {
        false
    }

    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        self.0.append(topic, draft).await
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        let page = self.0.since(topic, after, most).await;
        self.0.append(topic, &Draft::new("more")).await?;
        page
    }
}

#[tokio::test]
async fn the_end_of_a_history_is_where_its_messages_end() {
    let hub = Hub::with(Arc::new(Busy(Memory::new(9))), Settings::default(), unbounded_channel().1);
    for text in ["one", "two", "three"] {
        say(&hub, "a", text).await;
    }
    let history = in_time(hub.history("a", None, 9)).await.expect("a history");
    assert_eq!(history.messages.last().and_then(|last| last.position), Some(history.end));
}

#[tokio::test]
async fn only_the_topics_that_were_used_last_are_kept() {
    let kept = Memory::new(10);
    let topics: Vec<_> = (0..10_001).map(|number| number.to_string()).collect();
    for topic in &topics {
        kept.append(topic, &draft("one")).await.expect("it is kept");
    }
    assert_eq!(kept.since("10000", 0, 9).await.expect("a page").last, 1);
    assert_eq!(kept.since("9999", 0, 9).await.expect("a page").last, 1);
    assert_eq!(kept.since("0", 0, 9).await.expect("a page").last, 0);
}

#[test]
fn a_position_is_written_and_read() {
    let position = Position { epoch: 0xbeef, offset: 12 };
    assert_eq!(position.to_string(), "beef-12");
    assert_eq!("beef-12".parse(), Ok(position));
    for bad in [
        "",
        "-",
        "beef",
        "beef-",
        "-12",
        "+1-2",
        "1-+2",
        "1-2-3",
        "g-1",
        "1-x",
        "11111111111111111-1",
        " 1-2",
    ] {
        assert!(bad.parse::<Position>().is_err(), "{bad:?}");
    }
}
