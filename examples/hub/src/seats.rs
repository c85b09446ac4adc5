//! The places of one session in many topics.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::{Event, Member};

/// The [members](Member) of one session, by a key that the session chooses. One wait is for the events of all.
#[derive(Debug)]
pub struct Seats<K> {
    seats: Vec<(K, Member)>,
    /// Which member is asked first. It moves on, so that a busy topic does not hide the others.
    turn: usize,
}

impl<K> Default for Seats<K> {
    fn default() -> Self {
        Self { seats: Vec::new(), turn: 0 }
    }
}

impl<K: Clone + PartialEq> Seats<K> {
    /// Adds a member. One with the same key is replaced, and leaves its topic.
    pub fn insert(&mut self, key: K, member: Member) {
        self.remove(&key);
        self.seats.push((key, member));
    }

    /// Leaves the topic with this key. False: there is none.
    pub fn remove(&mut self, key: &K) -> bool {
        let before = self.seats.len();
        self.seats.retain(|(other, _)| other != key);
        self.seats.len() < before
    }

    /// The member with this key.
    pub fn get(&self, key: &K) -> Option<&Member> {
        self.seats.iter().find(|(other, _)| other == key).map(|(_, member)| member)
    }

    /// The next event of any topic. None: the member was too slow, and is gone from here. Without members it waits for ever.
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> (K, Option<Event>) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next event of this topic that is there already.
    pub fn next_now(&mut self, key: &K) -> Option<Event> {
        let (_, member) = self.seats.iter_mut().find(|(other, _)| other == key)?;
        member.next_now()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(K, Option<Event>)> {
        let count = self.seats.len();
        for i in 0..count {
            let at = (self.turn + i) % count;
            let (key, member) = &mut self.seats[at];
            // The future holds nothing but the member: dropped, it loses no event, and its waker stays.
            let Poll::Ready(event) = pin!(member.next()).poll(cx) else { continue };
            let key = key.clone();
            self.turn = at + 1;
            if event.is_none() {
                self.seats.remove(at);
            }
            return Poll::Ready((key, event));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Hub, Settings};

    async fn text(seats: &mut Seats<u8>) -> (u8, Option<String>) {
        let (key, event) = seats.next().await;
        let text = event.map(|event| match event {
            Event::Message(message) => String::from_utf8_lossy(&message.data).into_owned(),
            other => panic!("{other:?}"),
        });
        (key, text)
    }

    async fn say(hub: &Hub, topic: &str, text: &'static str) {
        hub.publish(topic, Draft::new(text)).await.expect("it is kept");
    }

    #[tokio::test]
    async fn a_busy_topic_does_not_hide_another() {
        let hub = Hub::alone(Settings::default());
        let mut seats = Seats::default();
        for (key, topic) in [(1, "busy"), (2, "quiet")] {
            seats.insert(key, hub.join(topic).await);
        }
        for _ in 0..3 {
            say(&hub, "busy", "a").await;
        }
        say(&hub, "quiet", "b").await;
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(text(&mut seats).await.0);
        }
        assert_eq!(heard, [1, 2, 1, 1]);
    }

    #[tokio::test]
    async fn who_was_too_slow_is_named_and_gone() {
        let hub = Hub::alone(Settings { queue: 1, ..Settings::default() });
        let mut seats = Seats::default();
        seats.insert(1, hub.join("topic").await);
        for _ in 0..2 {
            say(&hub, "topic", "a").await;
        }
        assert_eq!(text(&mut seats).await, (1, Some("a".into())));
        assert_eq!(text(&mut seats).await, (1, None));
        assert!(seats.get(&1).is_none());
    }

    #[tokio::test]
    async fn who_left_hears_nothing_more() {
        let hub = Hub::alone(Settings::default());
        let mut seats = Seats::default();
        seats.insert(1, hub.join("one").await);
        seats.insert(2, hub.join("two").await);
        say(&hub, "one", "a").await;
        assert!(seats.remove(&1));
        assert!(!seats.remove(&1));
        say(&hub, "two", "b").await;
        assert_eq!(text(&mut seats).await, (2, Some("b".into())));
    }
}
