//! Phoenix channels on bowline: what npm's phoenix speaks, over WebSocket or long polling, on one node or on many.

mod channel;
mod longpoll;
mod serializer;
mod socket;

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bowline::axum::{WebSocket, WebSocketUpgrade};
use bowline::handshake::Request;
use bowline::tokio::Group;
use bowline::{Config, Error};
use hub::{Hub, Settings};
use lexopt::ValueExt;
use serve::Server;
use tokio::time::{Instant, sleep_until};

use longpoll::Sessions;
use serializer::{Malformed, Push};
use socket::Socket;

const HELP: &str = "\
phoenix: channels of Phoenix

Usage: phoenix [OPTIONS]

The socket of a client is /socket, with ?name=NAME: /socket/websocket and /socket/longpoll. Ctrl-C ends the server.

Options:
  --broker URL           share channels with other nodes: redis://HOST:PORT or nats://HOST:PORT
  --token TOKEN          clients have to know it, as authToken
  --max-channels N       how many channels a client may have joined [default: 32]
  --join-within SECONDS  how long a client may stay without joining any channel [default: 60]
  --timeout SECONDS      close a client that sends nothing in this time, not even a heartbeat [default: 60]
  --poll-window SECONDS  how long a poll waits for messages [default: 10]";

/// The token of a client is one of its subprotocols, since a browser sends no headers of its own.
const TOKEN_PREFIX: &str = "base64url.bearer.phx.";
/// A batch of a `POST`.
const MAX_BODY: usize = 1 << 20;

#[derive(Clone)]
struct App {
    hub: Hub,
    sessions: Sessions,
    token: Option<String>,
    max_channels: usize,
    join_within: Duration,
    silence: Duration,
    config: Config,
    group: Group,
}

#[tokio::main]
async fn main() {
    let mut server = Server::new("phoenix");
    let (mut broker, mut token, mut max_channels) = (None, None, 32);
    let minute = Duration::from_secs(60);
    let (mut join_within, mut silence, mut window) = (minute, minute, Duration::from_secs(10));
    server.parse(HELP, |name, parser| {
        match name {
            "broker" => broker = Some(parser.value()?.string()?),
            "token" => token = Some(parser.value()?.string()?),
            "max-channels" => max_channels = parser.value()?.parse()?,
            "join-within" => join_within = serve::seconds(parser.value()?)?,
            "timeout" => silence = serve::seconds(parser.value()?)?,
            "poll-window" => window = serve::seconds(parser.value()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    });
    // Binary messages are kept as well, so there are fewer.
    let settings = Settings { history: 200, ..Settings::default() };
    let hub = match broker {
        Some(url) => Hub::connect(&url, settings).await,
        None => Ok(Hub::alone(settings)),
    };
    let hub = hub.unwrap_or_else(|error| server.fail(1, error));
    let sessions = Sessions::new(window);
    let (config, group) = (server.config.clone(), server.group.clone());
    let app = App {
        hub,
        sessions: sessions.clone(),
        token,
        max_channels,
        join_within,
        silence,
        config,
        group,
    };
    let router = Router::new()
        .route("/socket/websocket", any(websocket))
        .route("/socket/longpoll", any(long_poll).get(poll).post(publish))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app);
    server.run(router, async { sessions.clear() }).await;
}

type Parameters = Query<HashMap<String, String>>;

impl App {
    /// The socket of a client, if it may connect: it speaks version 2 of the serializer, knows the token, and has a name.
    fn socket(&self, parameters: &Parameters, token: Option<&str>) -> Option<Socket> {
        let speaks = parameters.get("vsn").is_some_and(|version| version.starts_with("2."));
        let knows = self.token.is_none() || self.token.as_deref() == token;
        let name = parameters.get("name").filter(|name| channel::is_name(name))?;
        (speaks && knows).then(|| Socket::new(self.hub.clone(), name.clone(), self.max_channels))
    }
}

async fn websocket(
    State(app): State<App>,
    parameters: Parameters,
    ws: WebSocketUpgrade,
) -> Response {
    let token = ws.request().subprotocols().find_map(|name| {
        let bytes = STANDARD_NO_PAD.decode(name.strip_prefix(TOKEN_PREFIX)?).ok()?;
        String::from_utf8(bytes).ok()
    });
    let Some(socket) = app.socket(&parameters, token.as_deref()) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let ws = ws.config(app.config).group(&app.group).protocols(["phoenix"]);
    ws.on_upgrade(move |ws| serve(ws, socket, app.join_within, app.silence))
}

/// Serves a WebSocket until it ends, or the client has joined nothing or been silent for too long.
async fn serve(
    mut ws: WebSocket,
    mut socket: Socket,
    join_within: Duration,
    silence: Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    let (join_until, mut silent_until) = (begun + join_within, begun + silence);
    let (code, reason) = loop {
        // The next `recv` writes what was fed. A client that does not read is waited for here, and then the hub drops its members.
        let outs = tokio::select! {
            message = ws.recv() => match message?.as_ref().map(Push::read) {
                Some(Ok(push)) => {
                    silent_until = Instant::now() + silence;
                    socket.hear(push).await
                }
                // As in Phoenix, where its process crashes.
                Some(Err(Malformed)) => break (1011, "malformed message"),
                None => return Ok(()),
            },
            outs = socket.next() => outs,
            () = sleep_until(join_until), if !socket.ever_joined() => {
                break (1008, "no channel was joined");
            }
            () = sleep_until(silent_until) => break (1001, "no heartbeat"),
        };
        for out in outs {
            ws.feed(out.message()).await?;
        }
    };
    // Others see at once that it is gone, and not only when it has answered.
    drop(socket);
    ws.close(code, reason).await?;
    Ok(())
}

async fn poll(State(app): State<App>, parameters: Parameters, headers: HeaderMap) -> Response {
    if !may_connect(&app.config, &headers) {
        return Json(longpoll::status(403)).into_response();
    }
    let token = headers.get("x-phoenix-authtoken").and_then(|value| value.to_str().ok());
    let session = parameters.get("token").map(String::as_str);
    let answer = app.sessions.get(session, || app.socket(&parameters, token)).await;
    allowing(&headers, Json(answer))
}

async fn publish(
    State(app): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
    body: String,
) -> Response {
    if !may_connect(&app.config, &headers) {
        return Json(longpoll::status(403)).into_response();
    }
    let session = parameters.get("token").map(String::as_str);
    allowing(&headers, Json(app.sessions.post(session, &body).await))
}

/// Other methods: what a page of another origin asks before it polls, and errors.
async fn long_poll(
    State(app): State<App>,
    method: axum::http::Method,
    headers: HeaderMap,
) -> Response {
    if method != "OPTIONS" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if !may_connect(&app.config, &headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let allowed = [
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-headers", "content-type, x-phoenix-authtoken"),
        ("access-control-max-age", "3600"),
    ];
    allowing(&headers, allowed)
}

/// The rule that holds for WebSockets, asked with a request for one.
fn may_connect(config: &Config, headers: &HeaderMap) -> bool {
    let mut asked = vec![
        ("connection", &b"upgrade"[..]),
        ("upgrade", b"websocket"),
        ("sec-websocket-version", b"13"),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for name in ["host", "origin"] {
        asked.extend(headers.get_all(name).iter().map(|value| (name, value.as_bytes())));
    }
    Request::from_parts("GET", "/", asked).is_ok_and(|request| request.upgrade(config).is_ok())
}

/// Lets a page of another origin read the answer. Call it only after `may_connect`.
fn allowing(headers: &HeaderMap, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Some(origin) = headers.get(header::ORIGIN) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("origin"));
    }
    response
}
