//! The first choice: a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use bowline::axum::WebSocket;
use bowline::hyper::UpgradedIo;
use bowline::tokio::{RecvHalf, SendHalf};
use bowline::{Error, Message};
use tokio::time::timeout;

use crate::App;
use crate::protocol::{FromClient, FromServer, Refusal};
use crate::rate::Allowed;
use crate::room::{Heard, Rooms};
use crate::session::{End, Session, stopped};

/// A client that has not joined a room within this time is closed.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

// Codes from 4000 on are the application's. The page connects again after all others.
const REFUSED: u16 = 4000;
const REPLACED: u16 = 4001;

type Sender = SendHalf<UpgradedIo>;
type Receiver = RecvHalf<UpgradedIo>;

pub async fn serve(ws: WebSocket, mut app: App) -> Result<(), Error> {
    let (mut sender, mut receiver) = ws.split();
    let entered = tokio::select! {
        joined = timeout(JOIN_WITHIN, receiver.recv()) => match joined {
            Ok(message) => match message? {
                Some(message) => enter(&app.rooms, &message).await,
                None => return Ok(()),
            },
            Err(_) => Err(Refusal::NotUnderstood),
        },
        () = stopped(&mut app.stop) => return end(&mut sender, &mut receiver, End::Stopping).await,
    };
    match entered {
        Ok(session) => {
            app.pollers.end(session.who());
            talk(&app.rooms, session, &mut sender, &mut receiver).await
        }
        Err(why) => end(&mut sender, &mut receiver, End::Refused(why)).await,
    }
}

async fn enter(rooms: &Arc<Rooms>, message: &Message) -> Result<Session, Refusal> {
    match parse(message) {
        Some(FromClient::Join(join)) => rooms.enter(&join).await,
        _ => Err(Refusal::NotUnderstood),
    }
}

async fn talk(
    rooms: &Rooms,
    mut session: Session,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), Error> {
    loop {
        // The waits here may be given up at any point. The work after them may not, so it is done in the arms.
        tokio::select! {
            out = session.next() => match out {
                Ok(out) if session.has_more() => sender.feed(out.json).await?,
                Ok(out) => sender.send(out.json).await?,
                Err(why) => {
                    // The others see at once that this person is gone, and not when the peer has answered.
                    drop(session);
                    return end(sender, receiver, why).await;
                }
            },
            message = receiver.recv() => {
                let Some(message) = message? else { return Ok(()) };
                if !listen(rooms, &session, sender, &message).await? {
                    drop(session);
                    return close(sender, receiver, 1008, "too many messages").await;
                }
            }
        }
    }
}

/// False: the client does not stop.
async fn listen(
    rooms: &Rooms,
    session: &Session,
    sender: &mut Sender,
    message: &Message,
) -> Result<bool, Error> {
    let Some(FromClient::Say { key, text }) = parse(message) else {
        let why = match rooms.allowed(session.who()) {
            Allowed::Yes => Refusal::NotUnderstood,
            Allowed::No => Refusal::TooFast,
            Allowed::Never => return Ok(false),
        };
        refuse(sender, why, None).await?;
        return Ok(true);
    };
    match rooms.say(session.who(), &key, &text).await {
        // It comes back as what was said.
        Ok(Heard::Kept) => {}
        Ok(Heard::Before) => sender.send(FromServer::Kept { key: &key }.json()).await?,
        Ok(Heard::Early) => sender.send(FromServer::Early { key: &key }.json()).await?,
        Ok(Heard::Never) => return Ok(false),
        Err(why) => refuse(sender, why, Some(&key)).await?,
    }
    Ok(true)
}

fn parse(message: &Message) -> Option<FromClient> {
    serde_json::from_str(message.as_text()?).ok()
}

async fn refuse(sender: &mut Sender, why: Refusal, key: Option<&str>) -> Result<(), Error> {
    sender.send(FromServer::Refused { why, text: why.to_string(), key }.json()).await
}

async fn end(sender: &mut Sender, receiver: &mut Receiver, why: End) -> Result<(), Error> {
    match why {
        End::Refused(why) => {
            refuse(sender, why, None).await?;
            close(sender, receiver, REFUSED, "refused").await
        }
        End::Replaced => close(sender, receiver, REPLACED, "connected elsewhere").await,
        End::TooSlow => close(sender, receiver, 1013, "too slow: connect again").await,
        End::Stopping => close(sender, receiver, 1001, "the server is going away").await,
    }
}

/// Sends Close and waits for the answer, at most the close timeout.
async fn close(
    sender: &mut Sender,
    receiver: &mut Receiver,
    code: u16,
    reason: &str,
) -> Result<(), Error> {
    sender.close(code, reason).await?;
    while receiver.recv().await?.is_some() {}
    Ok(())
}
