//! Many clients that stay connected. `reconnect.py` wants to know when they come.
//!
//! `fleet URL COUNT [SPREAD]` prints a line for each session that opens: the seconds since the start, and the attempts it took.
//! SPREAD is `Reconnect::spread` in seconds. All else of the policy is the default.

use std::error::Error;
use std::time::{Duration, Instant};

use bowline::handshake::ClientRequest;
use bowline::tokio::Reconnecting;
use bowline::{Config, Reconnect, Stopped};

const USAGE: &str = "usage: fleet URL COUNT [SPREAD]";

async fn client(url: String, policy: Reconnect, start: Instant) -> Result<(), Stopped> {
    let request = move || {
        let request = ClientRequest::new(&url);
        async { Ok(request?) }
    };
    let mut sessions = Reconnecting::new(policy, Config::default(), request);
    while let Some(mut session) = sessions.next().await? {
        println!("{:.4} {}", start.elapsed().as_secs_f64(), session.attempts());
        while let Ok(Some(_)) = session.recv().await {}
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (url, count) = (arguments.next().ok_or(USAGE)?, arguments.next().ok_or(USAGE)?.parse()?);
    let mut policy = Reconnect::default();
    if let Some(spread) = arguments.next() {
        policy = policy.spread(Duration::try_from_secs_f64(spread.parse()?)?);
    }
    let start = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..count {
        clients.spawn(client(url.clone(), policy.clone(), start));
        // The first connections are not what this is about. All at once they could be more than the server lets wait.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}
