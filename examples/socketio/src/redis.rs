//! What nodes have in common: Redis, through which they pass on what concerns the clients of others.
//!
//! socketioxide's own driver waits for Redis before it delivers to the clients of the same node. If Redis is away, they get nothing.
//! This one only queues what is for other nodes, and throws it away if Redis cannot take it.

use std::time::Duration;

use fred::clients::{SubscriberClient, WithOptions};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Builder;
use fred::types::RespVersion;
use fred::types::config::{Config, Options, ReconnectPolicy, UnresponsiveConfig};
use socketioxide_redis::drivers::fred::{FredDriver, FredError};
use socketioxide_redis::drivers::{self, ChanItem, MessageStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How many messages wait for Redis, at most.
const QUEUE: usize = 1024;
/// How long Redis may take for a command, and how long a message waits, at most. Later it is of no use to a chat.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait between two attempts to connect.
const RETRY: u32 = 250;

#[derive(Clone)]
pub struct Driver {
    /// It knows how to subscribe.
    inner: FredDriver,
    impatient: WithOptions<SubscriberClient>,
    queue: mpsc::Sender<Message>,
}

struct Message {
    channel: String,
    payload: Vec<u8>,
    queued: Instant,
}

/// Connects, and says from then on whether Redis is there.
pub async fn connect(mut config: Config) -> Result<(Driver, watch::Receiver<bool>), FredError> {
    // The adapter needs it, and fred does not read it from the URL.
    config.version = RespVersion::RESP3;
    let client = Builder::from_config(config)
        // 0: any number of attempts.
        .set_policy(ReconnectPolicy::new_constant(0, RETRY))
        .with_connection_config(|config| {
            config.connection_timeout = 3 * PATIENCE;
            config.internal_command_timeout = 3 * PATIENCE;
            config.unresponsive =
                UnresponsiveConfig { max_timeout: Some(3 * PATIENCE), interval: PATIENCE };
        })
        .build_subscriber_client()?;
    let inner = FredDriver::new(client.clone()).await?;
    let (reachable, is_reachable) = watch::channel(true);
    tokio::spawn(watch_connection(client.clone(), reachable));
    let options = Options { fail_fast: true, timeout: Some(PATIENCE), ..Options::default() };
    let impatient = client.with_options(&options);
    let (queue, queued) = mpsc::channel(QUEUE);
    tokio::spawn(publish(impatient.clone(), queued));
    Ok((Driver { inner, impatient, queue }, is_reachable))
}

impl drivers::Driver for Driver {
    type Error = FredError;

    async fn publish(&self, channel: String, payload: Vec<u8>) -> Result<(), Self::Error> {
        // The queue is full if Redis hangs. The connection is given up soon, and clients are told.
        let _ = self.queue.try_send(Message { channel, payload, queued: Instant::now() });
        Ok(())
    }

    async fn subscribe(
        &self,
        channel: String,
        size: usize,
    ) -> Result<MessageStream<ChanItem>, Self::Error> {
        self.inner.subscribe(channel, size).await
    }

    async fn unsubscribe(&self, channel: String) -> Result<(), Self::Error> {
        self.inner.unsubscribe(channel).await
    }

    async fn num_serv(&self, channel: &str) -> Result<u16, Self::Error> {
        let (_, count): (String, u16) = self.impatient.pubsub_shardnumsub(channel).await?;
        Ok(count)
    }
}

/// Sends what is queued, in order.
async fn publish(client: WithOptions<SubscriberClient>, mut queue: mpsc::Receiver<Message>) {
    let mut lost = 0_u64;
    while let Some(message) = queue.recv().await {
        let in_time = message.queued.elapsed() < PATIENCE;
        let sent =
            in_time && client.spublish::<(), _, _>(message.channel, message.payload).await.is_ok();
        if !sent {
            lost += 1;
        } else if lost > 0 {
            eprintln!("socketio: Redis was away; {lost} messages did not get to other nodes");
            lost = 0;
        }
    }
}

/// Subscribes again after each new connection, since Redis forgets the subscriptions of the old one.
async fn watch_connection(client: SubscriberClient, reachable: watch::Sender<bool>) {
    let (mut errors, mut connections) = (client.error_rx(), client.reconnect_rx());
    loop {
        let now = tokio::select! {
            event = connections.recv() => match event {
                Err(RecvError::Closed) => return,
                _ => subscribe_again(&client).await.is_ok(),
            },
            event = errors.recv() => match event {
                Err(RecvError::Closed) => return,
                _ => client.is_connected(),
            },
        };
        reachable.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

/// fred's own `resubscribe_all` ends with an error if all channels are sharded ones, as they are here.
async fn subscribe_again(client: &SubscriberClient) -> Result<(), FredError> {
    for channel in client.tracked_shard_channels() {
        client.ssubscribe(channel).await?;
    }
    Ok(())
}
