//! Action Cable on bowline: channels that npm's @rails/actioncable subscribes to, on one node or on many.

mod channel;
mod protocol;
mod session;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{any, post};
use bowline::Config;
use bowline::axum::WebSocketUpgrade;
use bowline::tokio::Group;
use hub::{Draft, Hub, Settings};
use lexopt::ValueExt;
use serde_json::json;
use serve::Server;
use tokio::sync::watch;
use tokio::time::timeout;

use session::Cable;

const HELP: &str = "\
actioncable: channels of Action Cable

Usage: actioncable [OPTIONS]

The WebSocket is GET /cable?name=NAME. POST /connections/NAME/disconnect ends the connections of NAME, and with
?reconnect=false they stay away. Ctrl-C ends the server; clients are told to come back.

Options:
  --broker URL           share channels with other nodes: redis://HOST:PORT or nats://HOST:PORT
  --token TOKEN          clients have to know it, as ?token=TOKEN
  --admin TOKEN          the Bearer token of POST requests; without it there are none
  --max-subscriptions N  how many subscriptions a connection may have [default: 32]
  --join-within SECONDS  how long a client may stay without any subscription [default: 60]
  --beat SECONDS         how often to send pings of Action Cable; clients leave after 6 seconds without [default: 3]";

/// How long connections may take to say goodbye after Ctrl-C.
const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct App {
    cable: Cable,
    token: Option<String>,
    admin: Option<String>,
    config: Config,
    group: Group,
}

#[tokio::main]
async fn main() {
    let mut server = Server::new("actioncable");
    let (mut broker, mut token, mut admin) = (None, None, None);
    let (mut beat, mut max_subscriptions) = (Duration::from_secs(3), 32);
    let mut subscribe_within = Duration::from_secs(60);
    server.parse(HELP, |name, parser| {
        match name {
            "broker" => broker = Some(parser.value()?.string()?),
            "token" => token = Some(parser.value()?.string()?),
            "admin" => admin = Some(parser.value()?.string()?),
            "beat" => beat = serve::seconds(parser.value()?)?.max(Duration::from_millis(1)),
            "join-within" => subscribe_within = serve::seconds(parser.value()?)?,
            "max-subscriptions" => max_subscriptions = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    });
    let hub = match broker {
        Some(url) => Hub::connect(&url, Settings::default()).await,
        None => Ok(Hub::alone(Settings::default())),
    };
    let hub = hub.unwrap_or_else(|error| server.fail(1, error));
    let stop = watch::Sender::new(false);
    let cable = Cable { hub, beat, subscribe_within, max_subscriptions, stop: stop.clone() };
    let (config, group) = (server.config.clone(), server.group.clone());
    let router = Router::new()
        .route("/cable", any(connect))
        .route("/connections/{name}/disconnect", post(disconnect))
        .with_state(App { cable, token, admin, config, group });
    let goodbye = async {
        let _ = stop.send(true);
        // Each connection has dropped its receiver when it has ended.
        let _ = timeout(GOODBYE, stop.closed()).await;
    };
    server.run(router, goodbye).await;
}

async fn connect(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
    ws: WebSocketUpgrade,
) -> Response {
    let may = app.token.is_none() || app.token.as_ref() == query.get("token");
    let name = query.get("name").filter(|name| may && channel::is_name(name)).cloned();
    ws.config(app.config)
        .group(&app.group)
        .protocols(protocol::SUBPROTOCOLS)
        .on_upgrade(move |ws| session::serve(ws, app.cable, name))
}

/// For the back end: ends the connections of a person, on all nodes.
async fn disconnect(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> StatusCode {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if app.admin.is_none()
        || given.and_then(|given| given.strip_prefix("Bearer ")) != app.admin.as_deref()
    {
        return StatusCode::UNAUTHORIZED;
    }
    if !channel::is_name(&name) {
        return StatusCode::NOT_FOUND;
    }
    let reconnect = query.get("reconnect").is_none_or(|reconnect| reconnect != "false");
    let order = Draft::new(json!({"reconnect": reconnect}).to_string());
    match app.cable.hub.publish(&channel::connections(&name), order).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
