//! The hub over its public items: alone, and on a broker that the tests cut off. `brokers` runs the same over Redis and NATS.

mod alone;
mod brokers;
mod many;
mod wire;

use std::time::Duration;

use hub::{Draft, Event, Hub, Member, Position, Published};
use tokio::time::timeout;

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn next(member: &mut Member) -> Event {
    in_time(member.next()).await.expect("an event")
}

/// The next message: its offset, or none, and its text.
async fn heard(member: &mut Member) -> (Option<u64>, String) {
    loop {
        if let Event::Message(message) = next(member).await {
            let text = String::from_utf8(message.data.to_vec()).expect("UTF-8");
            return (message.position.map(|position| position.offset), text);
        }
    }
}

/// Skips events until this is one.
async fn until<T>(member: &mut Member, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(&next(member).await) {
            return found;
        }
    }
}

async fn told(member: &mut Member, reachable: bool) {
    until(member, |event| (*event == Event::Reachable(reachable)).then_some(())).await;
}

async fn say(hub: &Hub, topic: &str, text: &str) -> Published {
    in_time(hub.publish(topic, draft(text))).await.expect("it is published")
}

fn draft(text: &str) -> Draft {
    Draft::new(text.to_owned()).key(text)
}

fn at(published: Published) -> Position {
    match published {
        Published::At(position) => position,
        other => panic!("{other:?}"),
    }
}

/// Offsets and texts of a piece of history.
async fn history(
    hub: &Hub,
    topic: &str,
    after: Option<Position>,
    most: usize,
) -> (bool, Vec<(u64, String)>) {
    let history = in_time(hub.history(topic, after, most)).await.expect("a history");
    let messages = history.messages.iter().map(|message| {
        let text = String::from_utf8(message.data.to_vec()).expect("UTF-8");
        (message.position.expect("a position").offset, text)
    });
    (history.fresh, messages.collect())
}

fn numbered(texts: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(texts.iter().map(ToString::to_string)).collect()
}

/// The keys of who is present, sorted: two may have come in the same millisecond.
async fn keys(hub: &Hub, topic: &str) -> Vec<String> {
    let mut keys: Vec<_> =
        hub.people(topic).await.iter().map(|person| person.key.clone()).collect();
    keys.sort();
    keys
}
