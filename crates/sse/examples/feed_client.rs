//! A client of events that prints each as a line of JSON, and says on stderr why it waits.
//!
//! ```sh
//! cargo run -p bowline-sse --example feed_client --features client -- http://127.0.0.1:9001/feed
//! cargo run -p bowline-sse --example feed_client --features client -- http://127.0.0.1:9001/complete --post "Why is the sky blue?"
//! ```
//!
//! `--max-wait MS` limits the random part of the wait before it connects again, `--last-event-id ID` resumes, `--header NAME=VALUE`
//! adds a header, and `--proxy URL` goes through a proxy. `https` URLs need `--features ring`.

use std::time::Duration;

use bowline_sse::bowline::handshake::Proxy;
use bowline_sse::client::{End, EventSource};
use bowline_sse::{Reconnect, http::Request};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: feed_client URL [OPTION VALUE]...")?;
    let (mut request, mut body) = (Request::get(url), String::new());
    let (mut policy, mut last_event_id, mut proxy) = (Reconnect::default(), String::new(), None);
    while let (Some(option), Some(value)) = (arguments.next(), arguments.next()) {
        match &option[..] {
            "--post" => (request, body) = (request.method("POST"), value),
            "--header" => {
                let (name, value) = value.split_once('=').ok_or("--header takes NAME=VALUE")?;
                request = request.header(name, value);
            }
            "--max-wait" => policy = policy.max_delay(Duration::from_millis(value.parse()?)),
            "--last-event-id" => last_event_id = value,
            "--proxy" => proxy = Some(Proxy::new(&value)?),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let mut source = EventSource::new(request.body(body.into())?)?
        .reconnect(policy)
        .resume(last_event_id)
        .on_wait(|end, wait| eprintln!("{end}; again in {wait:?}"));
    if let Some(proxy) = proxy {
        source = source.dial(move |to| to.proxy(proxy.clone()));
    }
    loop {
        match source.next().await {
            Ok(event) => println!(
                "{}",
                json!({
                    "event": event.event,
                    "data": event.data,
                    "id": event.id,
                    "retry": event.retry.map(|retry| retry.as_millis() as u64),
                    "lastEventId": source.last_event_id(),
                })
            ),
            Err(end) => {
                println!("{}", json!({ "end": end.to_string() }));
                return match end {
                    End::Stopped | End::Ended { .. } => Ok(()),
                    end => Err(end.into()),
                };
            }
        }
    }
}
