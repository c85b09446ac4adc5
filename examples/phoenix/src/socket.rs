//! One client, over whatever transport: the channels that it joined, and what it gets from them.

use std::collections::HashMap;
use std::sync::Arc;

use hub::{Event, Hub, Member, Person, Seats};
use serde_json::{Map, Value, json};

use crate::channel::{self, Channel, Done};
use crate::serializer::{Out, Payload, Push, Ref};

pub struct Socket {
    hub: Hub,
    /// Who connected.
    viewer: String,
    max_channels: usize,
    joined: HashMap<Arc<str>, Joined>,
    seats: Seats<Arc<str>>,
    ever_joined: bool,
}

#[derive(Clone)]
struct Joined {
    channel: Channel,
    join_ref: Ref,
}

impl Socket {
    pub fn new(hub: Hub, viewer: String, max_channels: usize) -> Self {
        let (joined, seats) = (HashMap::new(), Seats::default());
        Self { hub, viewer, max_channels, joined, seats, ever_joined: false }
    }

    /// Whether it joined a channel at any time.
    pub fn ever_joined(&self) -> bool {
        self.ever_joined
    }

    /// What happens in the channels. It waits until something does.
    ///
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Vec<Out> {
        loop {
            let (topic, event) = self.seats.next().await;
            let outs = match event {
                Some(event) => self.show(&topic, event),
                // It was too slow. The client joins again, and names the last message that it has.
                None => self.end(&topic, "phx_error"),
            };
            if !outs.is_empty() {
                return outs;
            }
        }
    }

    /// Does what the client asks for.
    pub async fn hear(&mut self, push: Push) -> Vec<Out> {
        let joined = self.joined.get(&*push.topic).cloned();
        match (&*push.event, joined) {
            ("heartbeat", _) if push.topic == "phoenix" => {
                let ok = Payload::Json(json!({}));
                vec![reply(Ref::Null, &push, true, ok)]
            }
            ("phx_join", _) => self.join(push).await,
            ("phx_leave", None) => {
                vec![reply(push.join_ref.clone(), &push, true, Payload::Json(json!({})))]
            }
            (_, None) => vec![unmatched(&push)],
            // It is for a join that is over. A client without join references means whichever there is.
            (_, Some(joined)) if !joined.join_ref.is_null() && joined.join_ref != push.join_ref => {
                Vec::new()
            }
            ("phx_leave", Some(joined)) => {
                let mut outs = vec![reply(joined.join_ref, &push, true, Payload::Json(json!({})))];
                outs.extend(self.end(&push.topic, "phx_close"));
                outs
            }
            (_, Some(joined)) => self.push(joined, push).await,
        }
    }

    async fn join(&mut self, push: Push) -> Vec<Out> {
        let Some(channel) = Channel::of(&push.topic) else { return vec![unmatched(&push)] };
        // A second join replaces the first, also if it is refused.
        let replaced = self.end(&push.topic, "phx_close");
        let refused = match channel.may_join(&push.topic, &self.viewer) {
            Ok(()) if self.joined.len() < self.max_channels => None,
            Ok(()) => Some("too many channels"),
            Err(reason) => Some(reason),
        };
        let join_ref = push.join_ref.clone();
        let mut outs = Vec::new();
        if let Some(reason) = refused {
            outs.push(reply(join_ref, &push, false, Payload::Json(json!({"reason": reason}))));
            outs.extend(replaced);
            return outs;
        }
        let mut member = self.hub.join(&push.topic).await;
        let response = channel::missed(&self.hub, &mut member, &push.topic, &push.payload).await;
        outs.push(reply(join_ref.clone(), &push, true, Payload::Json(response)));
        outs.extend(replaced);
        if channel.has_presence() {
            channel::enter(&member, &self.viewer, None);
            outs.push(Out::Message {
                join_ref: join_ref.clone(),
                reference: Ref::Null,
                topic: push.topic.clone(),
                event: "presence_state".into(),
                payload: presences(member.people()),
            });
        }
        let topic = Arc::<str>::from(push.topic);
        self.joined.insert(topic.clone(), Joined { channel, join_ref });
        self.seats.insert(topic, member);
        self.ever_joined = true;
        outs
    }

    async fn push(&mut self, joined: Joined, mut push: Push) -> Vec<Out> {
        let Some(member) = self.seats.get(&Arc::from(&*push.topic)) else { return Vec::new() };
        let payload = std::mem::replace(&mut push.payload, Payload::Json(Value::Null));
        let (topic, event) = (&push.topic, &push.event);
        let done =
            joined.channel.handle(&self.hub, member, &self.viewer, topic, event, payload).await;
        let answer = |ok, response| match &push.reference {
            // The client does not want a reply.
            Ref::Null => Vec::new(),
            _ => vec![reply(joined.join_ref.clone(), &push, ok, response)],
        };
        match done {
            Done::Ok(response) => answer(true, response),
            Done::Refused(reason) => answer(false, Payload::Json(json!({"reason": reason}))),
            Done::Stop => {
                let mut outs = answer(true, Payload::Json(json!({})));
                outs.extend(self.end(&push.topic, "phx_close"));
                outs
            }
            Done::Crash => self.end(&push.topic, "phx_error"),
        }
    }

    /// Ends a channel, and tells the client so. `phx_close`: for good. `phx_error`: the client joins again.
    fn end(&mut self, topic: &str, event: &str) -> Vec<Out> {
        let Some((topic, joined)) = self.joined.remove_entry(topic) else { return Vec::new() };
        self.seats.remove(&topic);
        vec![Out::Message {
            join_ref: joined.join_ref.clone(),
            reference: joined.join_ref,
            topic: (*topic).into(),
            event: event.into(),
            payload: json!({}),
        }]
    }

    fn show(&mut self, topic: &Arc<str>, first: Event) -> Vec<Out> {
        let mut outs = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next.take() {
            let (event, payload) = match event {
                // Those who come and go at one time are in one message, so that nobody seems to leave by changing a status.
                Event::Came(_) | Event::Left(_) => {
                    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
                    next = Some(event);
                    loop {
                        match next.take() {
                            Some(Event::Came(person)) => joins.push(person),
                            Some(Event::Left(person)) => leaves.push(person),
                            other => break next = other,
                        }
                        next = self.seats.next_now(topic);
                    }
                    let diff = json!({"joins": presences(&joins), "leaves": presences(&leaves)});
                    ("presence_diff".into(), Payload::Json(diff))
                }
                Event::Message(message) => {
                    let own = self.seats.get(topic).map(Member::reference);
                    if own.is_some_and(|own| **own == *message.from) {
                        continue;
                    }
                    let Some(event) = channel::event_of(&message) else { continue };
                    event
                }
                Event::Settled(message) => {
                    let id = message.position.map(|position| position.to_string());
                    ("settled".into(), Payload::Json(json!({"key": message.key, "id": id})))
                }
                Event::CatchUp(after) => {
                    ("missed".into(), Payload::Json(json!({"until": after.to_string()})))
                }
                Event::Reachable(reachable) => {
                    ("reachable".into(), Payload::Json(json!({"reachable": reachable})))
                }
            };
            outs.push(Out::Broadcast { topic: (**topic).into(), event, payload });
        }
        outs
    }
}

fn reply(join_ref: Ref, push: &Push, ok: bool, response: Payload) -> Out {
    Out::Reply {
        join_ref,
        reference: push.reference.clone(),
        topic: push.topic.clone(),
        ok,
        response,
    }
}

fn unmatched(push: &Push) -> Out {
    reply(Ref::Null, push, false, Payload::Json(json!({"reason": "unmatched topic"})))
}

/// People as Phoenix has them: by key, with what is known of each of their connections.
fn presences(people: &[Arc<Person>]) -> Value {
    let mut presences = Map::new();
    for person in people {
        let entry = presences.entry(person.key.clone()).or_insert_with(|| json!({"metas": []}));
        if let Some(metas) = entry["metas"].as_array_mut() {
            metas.push(person.info.clone());
        }
    }
    presences.into()
}
