//! One connection: its subscriptions, pings, and its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bowline::axum::WebSocket;
use bowline::{Error, Message};
use hub::{Event, Hub, Seats};
use serde_json::Value;
use serve::stopped;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::channel::{Channel, Refused, connections};
use crate::protocol::{self, Command, Ignored, Reason};

/// How many ignored messages of a connection are written to the log.
const MAX_LOGGED: u32 = 3;

/// What all connections have in common.
#[derive(Clone)]
pub struct Cable {
    pub hub: Hub,
    pub beat: Duration,
    /// How long a connection may stay without ever having had a subscription.
    pub subscribe_within: Duration,
    pub max_subscriptions: usize,
    /// True once the server is about to end.
    pub stop: watch::Sender<bool>,
}

/// The identifier of a subscription. None: the connection itself, which hears when it has to end.
type Key = Option<Arc<str>>;

pub struct Session<'a> {
    cable: &'a Cable,
    /// Who connected.
    viewer: String,
    channels: HashMap<Arc<str>, Channel>,
    seats: Seats<Key>,
    ever_subscribed: bool,
    ignored: u32,
}

/// Serves a connection until it ends. Without a viewer, it is told that it is not authorized.
pub async fn serve(mut ws: WebSocket, cable: Cable, viewer: Option<String>) -> Result<(), Error> {
    let mut stop = cable.stop.subscribe();
    let (reason, reconnect) = match viewer {
        None => (Reason::Unauthorized, false),
        Some(viewer) => {
            let mut seats = Seats::default();
            seats.insert(None, cable.hub.join(&connections(&viewer)).await);
            let session = Session {
                cable: &cable,
                viewer,
                channels: HashMap::new(),
                seats,
                ever_subscribed: false,
                ignored: 0,
            };
            match session.run(&mut ws, &mut stop).await? {
                Some(end) => end,
                None => return Ok(()),
            }
        }
    };
    ws.feed(protocol::disconnect(reason, reconnect)).await?;
    // As Rails closes. The message before it says all.
    ws.close(1000, "").await?;
    Ok(())
}

impl Session<'_> {
    /// Runs until the client leaves, or has to leave. Then it gives the reason, and whether the client may come back.
    async fn run(
        mut self,
        ws: &mut WebSocket,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<(Reason, bool)>, Error> {
        ws.send(protocol::welcome()).await?;
        let mut beat = interval(self.cable.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let subscribe_until = Instant::now() + self.cable.subscribe_within;
        loop {
            // The next `recv` writes what was fed. A client that does not read is waited for here, and then the hub drops its
            // members.
            tokio::select! {
                message = ws.recv() => match message? {
                    Some(message) => self.hear(ws, &message).await?,
                    None => return Ok(None),
                },
                (key, event) = self.seats.next() => match (key, event) {
                    (Some(identifier), Some(event)) => {
                        if let Some(value) = Channel::show(event) {
                            ws.feed(protocol::transmit(&identifier, &value)).await?;
                        }
                    }
                    (None, Some(Event::Message(message))) => {
                        let order: Value = serde_json::from_slice(&message.data).unwrap_or_default();
                        return Ok(Some((Reason::Remote, order["reconnect"] != false)));
                    }
                    (None, Some(_)) => {}
                    // It was too slow. Once it is back it can ask for what it missed.
                    (_, None) => return Ok(Some((Reason::Remote, true))),
                },
                _ = beat.tick() => ws.feed(protocol::ping(now())).await?,
                () = sleep_until(subscribe_until), if !self.ever_subscribed => {
                    return Ok(Some((Reason::Remote, false)));
                }
                () = stopped(stop) => return Ok(Some((Reason::ServerRestart, true))),
            }
        }
    }

    async fn hear(&mut self, ws: &mut WebSocket, message: &Message) -> Result<(), Error> {
        let answers = match protocol::parse(message) {
            Ok(Command::Subscribe { identifier }) => self.subscribe(identifier).await,
            Ok(Command::Unsubscribe { identifier }) => self.unsubscribe(&identifier),
            Ok(Command::Perform { identifier, data }) => self.perform(&identifier, &data).await,
            Err(ignored) => Err(ignored),
        };
        match answers {
            Ok(answers) => {
                for answer in answers {
                    ws.feed(answer).await?;
                }
            }
            Err(ignored) => {
                self.ignored += 1;
                if self.ignored <= MAX_LOGGED {
                    eprintln!("actioncable: ignored {ignored}");
                }
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self, identifier: String) -> Result<Vec<String>, Ignored> {
        if self.channels.contains_key(&*identifier) {
            return Err(Ignored::Subscribed);
        }
        let channel = match Channel::open(&identifier, &self.viewer) {
            Ok(channel) if self.channels.len() < self.cable.max_subscriptions => channel,
            Ok(_) | Err(Refused::Rejected) => return Ok(vec![protocol::reject(&identifier)]),
            Err(Refused::Ignored(ignored)) => return Err(ignored),
        };
        let member = self.cable.hub.join(&channel.topic()).await;
        let mut answers = vec![protocol::confirm(&identifier)];
        if let Some(value) = channel.subscribed(&member, &self.viewer) {
            answers.push(protocol::transmit(&identifier, &value));
        }
        let identifier = Arc::<str>::from(identifier);
        self.channels.insert(identifier.clone(), channel);
        self.seats.insert(Some(identifier), member);
        self.ever_subscribed = true;
        Ok(answers)
    }

    fn unsubscribe(&mut self, identifier: &str) -> Result<Vec<String>, Ignored> {
        let (identifier, _) =
            self.channels.remove_entry(identifier).ok_or(Ignored::NotSubscribed)?;
        self.seats.remove(&Some(identifier));
        Ok(Vec::new())
    }

    async fn perform(&mut self, identifier: &str, data: &Value) -> Result<Vec<String>, Ignored> {
        let (identifier, channel) =
            self.channels.get_key_value(identifier).ok_or(Ignored::NotSubscribed)?;
        let member = self.seats.get(&Some(identifier.clone())).ok_or(Ignored::NotSubscribed)?;
        let values = channel.perform(&self.cable.hub, member, &self.viewer, data).await?;
        Ok(values.iter().map(|value| protocol::transmit(identifier, value)).collect())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
