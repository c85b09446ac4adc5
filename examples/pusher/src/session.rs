//! One connection: its channels, what it tells others, heartbeats, and its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowline::axum::WebSocket;
use bowline::{Error, Message, Text};
use hub::{Draft, Event, Hub, Person, Seats};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use serve::stopped;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::auth::{self, App};
use crate::channel::{self, Kind, MAX_DATA, MAX_NAME, Refused, Roster};
use crate::protocol::{self, Command, Fault};
use crate::registry::{Connection, Registry};

/// What all connections have in common.
#[derive(Clone)]
pub struct Pusher {
    pub hub: Hub,
    pub registry: Registry,
    pub limits: Arc<Limits>,
    /// True once the server is about to end.
    pub stop: watch::Sender<bool>,
}

pub struct Limits {
    /// A client that is silent for so long is pinged.
    pub activity_timeout: Duration,
    /// And then has so long to say something.
    pub pong_timeout: Duration,
    /// How long a client may stay without ever having had a subscription. None: for ever.
    pub join_within: Option<Duration>,
    pub max_connections: usize,
    pub max_channels: usize,
    /// Of one presence channel.
    pub max_users: usize,
    /// Client events of a connection, in a second. 0: there are none.
    pub client_events: u32,
}

struct Session<'a> {
    pusher: &'a Pusher,
    app: &'a App,
    connection: Connection,
    signed_in: Option<String>,
    seats: Seats<Arc<str>>,
    channels: HashMap<Arc<str>, Channel>,
    ever_subscribed: bool,
    events: Bucket,
}

/// A channel that the connection is subscribed to.
struct Channel {
    kind: Kind,
    /// In a presence channel: who the connection is there, and who else is.
    presence: Option<(String, Roster)>,
}

/// Serves a connection until it ends. Without an app it is told why not, and closed.
pub async fn serve(
    mut ws: WebSocket,
    pusher: Pusher,
    app: Result<Arc<App>, Fault>,
) -> Result<(), Error> {
    // Until this is dropped the server waits: others have to know that the session is over, and the client why.
    let mut stop = pusher.stop.subscribe();
    let opened = app.and_then(|app| {
        let most = pusher.limits.max_connections;
        let connection = pusher.registry.connect(&app, most).ok_or(Fault::Full)?;
        Ok((app, connection))
    });
    let fault = match opened {
        Ok((app, connection)) => {
            let session = Session {
                pusher: &pusher,
                app: &app,
                connection,
                signed_in: None,
                seats: Seats::default(),
                channels: HashMap::new(),
                ever_subscribed: false,
                events: Bucket::new(pusher.limits.client_events),
            };
            // The session is over with this: others see at once that it is gone, and not only when the client has answered.
            match session.run(&mut ws, &mut stop).await? {
                Some(fault) => fault,
                None => return Ok(()),
            }
        }
        Err(fault) => {
            // Not every client can see the code of a close.
            ws.feed(fault.message()).await?;
            fault
        }
    };
    ws.close(fault.code().unwrap_or(4200), &fault.to_string()).await?;
    Ok(())
}

impl Session<'_> {
    /// Until the client leaves, or has to: why.
    async fn run(
        mut self,
        ws: &mut WebSocket,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Fault>, Error> {
        let limits = &self.pusher.limits;
        let begun = Instant::now();
        let join_until = limits.join_within.map(|within| begun + within);
        let (mut silent_until, mut pinged) = (begun + limits.activity_timeout, false);
        ws.feed(protocol::established(self.connection.socket_id(), limits.activity_timeout))
            .await?;
        loop {
            // What is fed is written by the next `recv`. A client that does not read is waited for here, and then the hub drops its
            // members.
            tokio::select! {
                message = ws.recv() => {
                    let Some(message) = message? else { return Ok(None) };
                    (silent_until, pinged) = (Instant::now() + limits.activity_timeout, false);
                    if let Some(fault) = self.hear(ws, &message).await? {
                        return Ok(Some(fault));
                    }
                }
                (channel, event) = self.seats.next() => {
                    let Some(event) = event else { return Ok(Some(Fault::Slow)) };
                    if let Some(message) = self.show(&channel, event) {
                        ws.feed(message).await?;
                    }
                }
                () = sleep_until(silent_until) => {
                    if pinged {
                        return Ok(Some(Fault::NoPong));
                    }
                    (silent_until, pinged) = (Instant::now() + limits.pong_timeout, true);
                    ws.feed(protocol::beat("pusher:ping")).await?;
                }
                () = sleep_until(join_until.unwrap_or(begun)),
                    if join_until.is_some() && !self.ever_subscribed =>
                {
                    return Ok(Some(Fault::NoSubscription));
                }
                () = self.connection.terminated() => return Ok(Some(Fault::Terminated)),
                () = stopped(stop) => return Ok(Some(Fault::Restart)),
            }
        }
    }

    /// Gives the reason for which the client has to leave, if there is one.
    async fn hear(
        &mut self,
        ws: &mut WebSocket,
        message: &Message,
    ) -> Result<Option<Fault>, Error> {
        let answer = match protocol::parse(message) {
            Ok(Command::Ping) => Some(protocol::beat("pusher:pong")),
            Ok(Command::Pong | Command::Other) => None,
            Ok(Command::Subscribe { channel, auth, channel_data }) => {
                let subscribed =
                    self.subscribe(&channel, auth.as_deref(), channel_data.as_deref()).await;
                Some(subscribed.unwrap_or_else(|fault| fault.message()))
            }
            Ok(Command::Unsubscribe { channel }) => {
                self.unsubscribe(&channel);
                None
            }
            Ok(Command::Signin { auth, user_data }) => match self.sign_in(&auth, &user_data) {
                Some(answer) => Some(answer),
                // As Pusher does.
                None => return Ok(Some(Fault::Signin)),
            },
            Ok(Command::Event { event, channel, data }) => {
                let told = self.tell(&event, &channel, &data).await;
                told.err().map(|fault| fault.message())
            }
            Err(fault) => Some(fault.message()),
        };
        if let Some(answer) = answer {
            ws.feed(answer).await?;
        }
        Ok(None)
    }

    async fn subscribe(
        &mut self,
        name: &str,
        auth: Option<&str>,
        channel_data: Option<&str>,
    ) -> Result<String, Fault> {
        if self.channels.contains_key(name) {
            return Err(Fault::Subscribed(name.to_owned()));
        }
        let (socket_id, signed_in) = (self.connection.socket_id(), self.signed_in.as_deref());
        let user = match channel::admit(self.app, name, socket_id, signed_in, auth, channel_data) {
            Ok(_) if self.channels.len() >= self.pusher.limits.max_channels => {
                return Ok(Refused::TooMany.message(name));
            }
            Ok(user) => user,
            Err(refused) => return Ok(refused.message(name)),
        };
        let kind = Kind::of(name).expect("it was admitted");
        let member = self.pusher.hub.join(&channel::topic(self.app, name)).await;
        let name: Arc<str> = name.into();
        let mut data = json!({});
        let mut presence = None;
        if let Some(user) = user {
            let own = Person {
                reference: member.reference().clone(),
                key: user.id.clone(),
                info: user.info.clone(),
                since: u64::MAX,
            };
            let is_new = !member.people().iter().any(|person| person.key == user.id);
            if is_new && channel::users(member.people()) >= self.pusher.limits.max_users {
                return Ok(Refused::TooManyUsers.message(&name));
            }
            member.enter(&*user.id, user.info);
            let roster = Roster::new(member.people(), own);
            data = roster.presence();
            presence = Some((user.id, roster));
        }
        let user = presence.as_ref().map(|(user, _)| user.clone());
        self.connection.subscribe(name.clone(), user);
        self.seats.insert(name.clone(), member);
        self.channels.insert(name.clone(), Channel { kind, presence });
        self.ever_subscribed = true;
        Ok(protocol::subscribed(&name, &data))
    }

    fn unsubscribe(&mut self, name: &str) {
        if let Some((name, _)) = self.channels.remove_entry(name) {
            self.connection.unsubscribe(&name);
            self.seats.remove(&name);
        }
    }

    /// None: the signature or the user is wrong, or it is another user than before.
    fn sign_in(&mut self, auth: &str, user_data: &str) -> Option<String> {
        let signed = auth::user(self.connection.socket_id(), user_data);
        if !self.app.verifies(auth, &signed) {
            return None;
        }
        let user: Value = serde_json::from_str(user_data).ok()?;
        let id = user["id"].as_str().filter(|id| channel::is_user_id(id))?;
        // It may have subscribed as the one that it was.
        if self.signed_in.as_ref().is_some_and(|before| before != id) {
            return None;
        }
        self.connection.sign_in(id.to_owned());
        self.signed_in = Some(id.to_owned());
        let data = json!({"user_data": user_data});
        Some(protocol::event("pusher:signin_success", None, &data))
    }

    /// A client event, for the others.
    async fn tell(&mut self, event: &str, name: &str, data: &RawValue) -> Result<(), Fault> {
        if self.pusher.limits.client_events == 0 {
            return Err(Fault::EventsOff);
        }
        if !self.events.take(Instant::now()) {
            return Err(Fault::EventRate);
        }
        let channel = self.channels.get(name).ok_or(Fault::NotMember)?;
        if !matches!(channel.kind, Kind::Private | Kind::Presence) {
            return Err(Fault::EventChannel);
        }
        if event.len() > MAX_NAME {
            return Err(Fault::EventName);
        }
        if data.get().len() > MAX_DATA {
            return Err(Fault::EventSize);
        }
        let user = channel.presence.as_ref().map(|(user, _)| &**user);
        let text = protocol::client_event(event, name, data, user);
        let draft = Draft::new(text).from(self.connection.socket_id());
        let topic = channel::topic(self.app, name);
        self.pusher.hub.publish(&topic, draft).await.map(drop).map_err(|_| Fault::Away)
    }

    /// What the client is told of what happens in a channel.
    fn show(&mut self, name: &Arc<str>, event: Event) -> Option<Message> {
        match event {
            // A message is the event as a client gets it. It names the connection that is not to have it.
            Event::Message(message) => {
                if *message.from == *self.connection.socket_id() {
                    return None;
                }
                // Other programs can publish as well.
                Text::from_utf8(message.data.clone()).ok().map(Message::Text)
            }
            Event::Came(person) => {
                let (_, roster) = self.channels.get_mut(name)?.presence.as_mut()?;
                let data = json!({"user_id": person.key, "user_info": person.info});
                let added = "pusher_internal:member_added";
                roster.came(&person).then(|| protocol::event(added, Some(name), &data).into())
            }
            Event::Left(person) => {
                let (_, roster) = self.channels.get_mut(name)?.presence.as_mut()?;
                let data = json!({"user_id": person.key});
                let removed = "pusher_internal:member_removed";
                roster.left(&person).then(|| protocol::event(removed, Some(name), &data).into())
            }
            // The protocol has no numbers, and no way to read what was missed.
            Event::Settled(_) | Event::CatchUp(_) | Event::Reachable(_) => None,
        }
    }
}

/// So many a second, and at most those of one second at once.
struct Bucket {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Self { rate: rate.into(), left: rate.into(), at: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let grown = self.left + (now - self.at).as_secs_f64() * self.rate;
        self.left = grown.min(self.rate);
        self.at = now;
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_events_are_limited() {
        let mut bucket = Bucket::new(2);
        let at = |millis| bucket.at + Duration::from_millis(millis);
        let times = [0, 0, 0, 499, 500, 500, 10_000, 10_000, 10_000].map(at);
        let taken = times.map(|now| bucket.take(now));
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
    }
}
