//! How many messages a second go through a hub.
//!
//! `cargo run --release -p hub --example rate -- [URL]` starts two nodes on a broker, or one alone without a URL. It publishes to one topic, and
//! then to 64 at once, and waits until a member on the other node has all.

use std::time::{Duration, Instant};

use hub::{Connect, Draft, Event, Hub, Member, Settings};
use tokio::task::JoinSet;

const MESSAGES: usize = 20_000;
const SIZE: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Connect> {
    let settings = Settings { queue: MESSAGES + 16, ..Settings::default() };
    let url = std::env::args().nth(1);
    let (here, there) = match &url {
        Some(url) => {
            (Hub::connect(url, settings.clone()).await?, Hub::connect(url, settings).await?)
        }
        None => {
            let hub = Hub::alone(settings);
            (hub.clone(), hub)
        }
    };
    println!(
        "{}, {MESSAGES} messages of {SIZE} B, medians of 5",
        url.as_deref().unwrap_or("one node, in memory")
    );
    for topics in [1, 64] {
        let mut rates = Vec::new();
        for _ in 0..5 {
            rates.push(rate(&here, &there, topics).await);
        }
        rates.sort_by(f64::total_cmp);
        println!("  {topics:2} topics: {:8.0} messages a second", rates[2]);
    }
    Ok(())
}

async fn rate(here: &Hub, there: &Hub, topics: usize) -> f64 {
    let each = MESSAGES / topics;
    // Names that no run before has used.
    let run = rand::random::<u64>();
    let mut members = Vec::new();
    for topic in 0..topics {
        members.push(there.join(&format!("rate-{run}-{topic}")).await);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for (topic, member) in members.into_iter().enumerate() {
        let hub = here.clone();
        tasks.spawn(async move {
            for _ in 0..each {
                let _ =
                    hub.publish(&format!("rate-{run}-{topic}"), Draft::new(vec![b'x'; SIZE])).await;
            }
        });
        tasks.spawn(receive(member, each));
    }
    while tasks.join_next().await.is_some() {}
    (each * topics) as f64 / begin.elapsed().as_secs_f64()
}

async fn receive(mut member: Member, mut count: usize) {
    while count > 0 {
        let event = tokio::time::timeout(Duration::from_secs(30), member.next()).await;
        match event {
            Ok(Some(Event::Message(_))) => count -= 1,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => panic!("messages are missing"),
        }
    }
}
