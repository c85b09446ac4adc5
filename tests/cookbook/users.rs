use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bowline::tokio::{Broadcast, Delivery, Member, SendHalf, SlowPeer, WebSocket};
use bowline::{Error, Prepared};
use tokio::io::{AsyncRead, AsyncWrite};

/// Who is connected. A user may have several connections, one for each device. A clone is the same.
#[derive(Clone, Default)]
pub struct Users(Arc<Mutex<HashMap<String, Broadcast>>>);

/// A connection of a user. Dropping it takes the connection out, also when the task is aborted.
struct Online {
    users: Users,
    user: String,
    member: Option<Member>,
}

impl Users {
    /// Sends to all connections of a user, and waits for none of them.
    pub async fn send(&self, user: &str, message: impl Into<Prepared>) -> Delivery {
        // The lock is not held while it sends.
        let connections = self.0.lock().unwrap().get(user).cloned();
        match connections {
            Some(connections) => connections.send(message).await,
            None => Delivery::default(),
        }
    }

    fn join<S>(&self, user: &str, sender: &SendHalf<S>) -> Online
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut users = self.0.lock().unwrap();
        let connections = users.entry(user.into());
        let connections = connections.or_insert_with(|| Broadcast::new(SlowPeer::Drop));
        let member = Some(connections.join(sender));
        Online { users: self.clone(), user: user.into(), member }
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        let mut users = self.users.0.lock().unwrap();
        drop(self.member.take());
        if users.get(&self.user).is_some_and(Broadcast::is_empty) {
            users.remove(&self.user);
        }
    }
}

/// The handler of one connection: `bob: hello` sends `hello` to bob.
pub async fn converse<S>(users: Users, ws: WebSocket<S>, user: String) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, mut receiver) = ws.split();
    let _online = users.join(&user, &sender);
    while let Some(message) = receiver.recv().await? {
        let line = message.as_text().and_then(|text| text.split_once(": "));
        let Some((to, text)) = line else {
            sender.send("expected NAME: TEXT").await?;
            continue;
        };
        if users.send(to, format!("{user}: {text}")).await.sent == 0 {
            sender.send(format!("{to} is not here")).await?;
        }
    }
    Ok(())
}
