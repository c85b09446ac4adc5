//! One connection, from its first message to its end.

use std::sync::Arc;
use std::time::Duration;

use bowline::axum::WebSocket;
use bowline::hyper::UpgradedIo;
use bowline::tokio::RecvHalf;
use bowline::{Error, Message};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::protocol::{self, FromClient, FromServer, Refusal};
use crate::room::{EnterError, Hub, Seat, Sender};

/// A client that has not joined a room within this time is closed.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

// Codes from 4000 on are the application's. The page connects again after all others.
const REFUSED: u16 = 4000;
const REPLACED: u16 = 4001;

pub async fn serve(
    ws: WebSocket,
    hub: Arc<Hub>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let (mut sender, mut receiver) = ws.split();
    let entered = tokio::select! {
        joined = timeout(JOIN_WITHIN, receiver.recv()) => match joined {
            Ok(message) => match message? {
                Some(message) => enter(&hub, &mut sender, &message).await,
                None => return Ok(()),
            },
            Err(_) => Err(EnterError::Refused(Refusal::NotUnderstood)),
        },
        () = stopped(&mut stop) => return goodbye(&mut sender, &mut receiver).await,
    };
    let seat = match entered {
        Ok(seat) => seat,
        Err(EnterError::Gone(error)) => return Err(error),
        Err(EnterError::Refused(why)) => {
            refuse(&mut sender, why, None).await?;
            return close(&mut sender, &mut receiver, REFUSED, "refused").await;
        }
        Err(EnterError::Store(error)) => {
            eprintln!("chat: {error}");
            return close(&mut sender, &mut receiver, 1011, "the store failed").await;
        }
    };
    let result = talk(&hub, &seat, &mut sender, &mut receiver, &mut stop).await;
    // However it ended, the others see that this person is gone.
    hub.leave(seat).await;
    result
}

async fn enter(hub: &Hub, sender: &mut Sender, message: &Message) -> Result<Seat, EnterError> {
    let refused = EnterError::Refused;
    let Some(FromClient::Join { room, name, secret, since }) = parse(message) else {
        return Err(refused(Refusal::NotUnderstood));
    };
    protocol::check_room(&room).map_err(refused)?;
    protocol::check_token(&secret).map_err(refused)?;
    let name = protocol::check_name(&name).map_err(refused)?;
    hub.enter(sender, &room, name, &secret, since).await
}

async fn talk(
    hub: &Hub,
    seat: &Seat,
    sender: &mut Sender,
    receiver: &mut RecvHalf<UpgradedIo>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut rate = Rate::new(Instant::now());
    loop {
        // The waits here may be given up at any point. The work after them may not, so it is done in the arms.
        tokio::select! {
            message = receiver.recv() => {
                let Some(message) = message? else { return Ok(()) };
                match rate.take(Instant::now()) {
                    Allowed::Yes => listen(hub, seat, sender, &message).await?,
                    Allowed::No => {
                        let say = parse(&message);
                        refuse(sender, Refusal::TooFast, key(&say)).await?;
                    }
                    Allowed::Never => {
                        return close(sender, receiver, 1008, "too many messages").await;
                    }
                }
            }
            _ = seat.replaced.notified() => {
                return close(sender, receiver, REPLACED, "connected elsewhere").await;
            }
            () = stopped(stop) => return goodbye(sender, receiver).await,
        }
    }
}

async fn listen(
    hub: &Hub,
    seat: &Seat,
    sender: &mut Sender,
    message: &Message,
) -> Result<(), Error> {
    let say = parse(message);
    let Some(FromClient::Say { key, text }) = &say else {
        return refuse(sender, Refusal::NotUnderstood, None).await;
    };
    match protocol::check_token(key).and_then(|()| protocol::check_text(text)) {
        Ok(text) => match hub.say(seat, key, text).await {
            Ok(true) => Ok(()),
            Ok(false) => sender.send(FromServer::Kept { key }.json()).await,
            Err(error) => {
                eprintln!("chat: {error}");
                refuse(sender, Refusal::Store, Some(key)).await
            }
        },
        Err(why) => refuse(sender, why, Some(key)).await,
    }
}

fn parse(message: &Message) -> Option<FromClient> {
    serde_json::from_str(message.as_text()?).ok()
}

fn key(message: &Option<FromClient>) -> Option<&str> {
    match message {
        Some(FromClient::Say { key, .. }) => Some(key),
        _ => None,
    }
}

async fn refuse(sender: &mut Sender, why: Refusal, key: Option<&str>) -> Result<(), Error> {
    sender.send(FromServer::Refused { why, text: why.to_string(), key }.json()).await
}

/// Waits for the stop. Ready at once if it came before.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

async fn goodbye(sender: &mut Sender, receiver: &mut RecvHalf<UpgradedIo>) -> Result<(), Error> {
    close(sender, receiver, 1001, "the server is going away").await
}

/// Sends Close and waits for the answer, at most the close timeout.
async fn close(
    sender: &mut Sender,
    receiver: &mut RecvHalf<UpgradedIo>,
    code: u16,
    reason: &str,
) -> Result<(), Error> {
    sender.close(code, reason).await?;
    while receiver.recv().await?.is_some() {}
    Ok(())
}

/// How fast a client may send: `BURST` messages at once, and one more for each `REFILL`.
struct Rate {
    tokens: u32,
    strikes: u32,
    filled: Instant,
}

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_millis(500);
/// After this many refusals the connection is closed. A pause that allows a whole burst resets the count.
const STRIKES: u32 = 20;

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Yes,
    No,
    Never,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, strikes: 0, filled: now }
    }

    fn take(&mut self, now: Instant) -> Allowed {
        while self.tokens < BURST && now - self.filled >= REFILL {
            self.tokens += 1;
            self.filled += REFILL;
        }
        if self.tokens == BURST {
            self.filled = now;
            self.strikes = 0;
        }
        if self.tokens > 0 {
            self.tokens -= 1;
            return Allowed::Yes;
        }
        self.strikes += 1;
        if self.strikes > STRIKES { Allowed::Never } else { Allowed::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        for _ in 0..BURST {
            assert_eq!(rate.take(now), Allowed::Yes);
        }
        assert_eq!(rate.take(now), Allowed::No);
        now += REFILL;
        assert_eq!(rate.take(now), Allowed::Yes);
        assert_eq!(rate.take(now), Allowed::No);
        now += 100 * REFILL;
        for _ in 0..BURST {
            assert_eq!(rate.take(now), Allowed::Yes);
        }
        assert_eq!(rate.take(now), Allowed::No);
    }

    #[test]
    fn who_does_not_stop_is_closed() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        for _ in 0..BURST + STRIKES {
            assert_ne!(rate.take(now), Allowed::Never);
        }
        assert_eq!(rate.take(now), Allowed::Never);
    }
}
