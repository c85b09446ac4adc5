//! The Pusher protocol on bowline: channels for Laravel Echo and pusher-js, as Laravel's Reverb has them, on one node or on many.

mod api;
mod auth;
mod channel;
mod demo;
mod nodes;
mod protocol;
mod registry;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bowline::Config;
use bowline::axum::WebSocketUpgrade;
use bowline::tokio::Group;
use hub::{Hub, Settings};
use lexopt::ValueExt;
use serve::Server;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use api::Api;
use auth::App;
use nodes::Nodes;
use protocol::Fault;
use registry::Registry;
use session::{Limits, Pusher};

const HELP: &str = "\
pusher: channels of the Pusher protocol, for Laravel Echo

Usage: pusher --app ID:KEY:SECRET [OPTIONS]

The WebSocket is /app/KEY. The HTTP API for an app's back end is below /apps/ID. Ctrl-C ends the server; clients come back at once.

Options:
  --app ID:KEY:SECRET    an app that may use this server (repeatable)
  --broker URL           share channels with other nodes: redis://HOST:PORT or nats://HOST:PORT
  --demo                 log in anybody at /broadcasting/auth, for the first app
  --activity-timeout SECONDS  ask a client that has sent nothing for so long [default: 120]
  --pong-timeout SECONDS      close it when it has sent nothing by then [default: 30]
  --join-within SECONDS       close a client that has subscribed to nothing by then [default: never]
  --client-events N      events that a client may send to others in a second; 0 for none [default: 10]
  --max-channels N       channels of a connection [default: 100]
  --max-users N          users of a presence channel [default: 100]
  --max-app-connections N  connections of an app; others are closed with 4100 [default: 900]

Pages of any origin may connect, unless an origin is allowed; then only those, and pages of this server. Common options:";

/// How long connections may take to say goodbye after Ctrl-C.
const GOODBYE: Duration = Duration::from_secs(2);
/// Enough to fill the gap when the broker was away for a short while. Clients cannot ask for older events.
const HISTORY: usize = 100;
/// How long other nodes may take to answer a new one, before it takes clients.
const MEETING: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Sockets {
    apps: Arc<[Arc<App>]>,
    pusher: Pusher,
    config: Config,
    /// With the rules for origins, if there are some.
    origins: Option<Config>,
    group: Group,
}

#[tokio::main]
async fn main() {
    let mut server = Server::new("pusher");
    let (mut apps, mut broker, mut demo) = (Vec::<Arc<App>>::new(), None, false);
    let mut limits = Limits {
        activity_timeout: Duration::from_secs(120),
        pong_timeout: Duration::from_secs(30),
        join_within: None,
        max_connections: 900,
        max_channels: 100,
        max_users: 100,
        client_events: 10,
    };
    server.parse(HELP, |name, parser| {
        match name {
            "app" => apps.push(Arc::new(parser.value()?.parse()?)),
            "broker" => broker = Some(parser.value()?.string()?),
            "demo" => demo = true,
            "activity-timeout" => limits.activity_timeout = seconds(parser)?,
            "pong-timeout" => limits.pong_timeout = seconds(parser)?,
            "join-within" => limits.join_within = Some(seconds(parser)?),
            "client-events" => limits.client_events = parser.value()?.parse()?,
            "max-channels" => limits.max_channels = parser.value()?.parse()?,
            "max-users" => limits.max_users = parser.value()?.parse()?,
            "max-app-connections" => limits.max_connections = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    });
    let apps: Arc<[Arc<App>]> = apps.into();
    if apps.is_empty() {
        server.fail(2, "no app: --app ID:KEY:SECRET; see --help");
    }
    for (i, app) in apps.iter().enumerate() {
        if apps[..i].iter().any(|other| other.id == app.id || other.key == app.key) {
            server.fail(2, format_args!("two apps have the ID {} or the KEY {}", app.id, app.key));
        }
    }
    // What nodes ask each other has a hub of its own: its history is short, and nothing of it is for clients.
    let connect = async |history| {
        let settings = Settings { history, early: history, ..Settings::default() };
        match &broker {
            Some(url) => Hub::connect(url, settings).await,
            None => Ok(Hub::alone(settings)),
        }
    };
    let hub = connect(HISTORY).await.unwrap_or_else(|error| server.fail(1, error));
    let asking = connect(10).await.unwrap_or_else(|error| server.fail(1, error));
    let registry = Registry::default();
    let nodes = Nodes::join(asking, registry.clone()).await;
    if broker.is_some() {
        // The other nodes answer that they are there. Before that, this one would count without them.
        sleep(MEETING).await;
    }
    let stop = watch::Sender::new(false);
    let api = Api { apps: apps.clone(), hub: hub.clone(), nodes: nodes.clone() };
    let sockets = Sockets {
        apps: apps.clone(),
        pusher: Pusher { hub: hub.clone(), registry, limits: Arc::new(limits), stop: stop.clone() },
        config: server.config.clone().allow_any_origin(),
        origins: allows_origins().then(|| server.config.clone()),
        group: server.group.clone(),
    };
    let sockets = Router::new()
        .route("/app/{key}", any(connect_app))
        .fallback(any(no_path))
        .with_state(sockets);
    let mut router = sockets.merge(api::router(api));
    if demo {
        router = router.merge(demo::router(apps[0].clone()));
    }
    let goodbye = async {
        let _ = stop.send(true);
        // Each connection has dropped its receiver when it has ended.
        let _ = timeout(GOODBYE, stop.closed()).await;
        let _ = timeout(GOODBYE, async { tokio::join!(nodes.leave(), hub.flush()) }).await;
    };
    server.run(router, goodbye).await;
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    serve::seconds(parser.value()?)
}

/// Whether the command line has rules for origins. A config does not say so.
fn allows_origins() -> bool {
    let name = "--allow-origin";
    std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok()).any(|argument| {
        argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

async fn connect_app(
    State(sockets): State<Sockets>,
    Path(key): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    ws: WebSocketUpgrade,
) -> Response {
    let app = sockets.apps.iter().find(|app| app.key == key).ok_or(Fault::NoApp);
    let app = app.and_then(|app| {
        protocol::check_version(query.get("protocol").map(String::as_str))?;
        // A client that gets no WebSocket does not know why. So it gets one, and is told.
        match &sockets.origins {
            Some(origins) if ws.request().upgrade(origins).is_err() => Err(Fault::Origin),
            _ => Ok(app.clone()),
        }
    });
    upgrade(sockets, ws, app)
}

/// All other paths.
async fn no_path(State(sockets): State<Sockets>, ws: Option<WebSocketUpgrade>) -> Response {
    match ws {
        Some(ws) => upgrade(sockets, ws, Err(Fault::NoPath)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn upgrade(sockets: Sockets, ws: WebSocketUpgrade, app: Result<Arc<App>, Fault>) -> Response {
    let ws = ws.config(sockets.config).group(&sockets.group);
    ws.on_upgrade(move |ws| session::serve(ws, sockets.pusher, app))
}
