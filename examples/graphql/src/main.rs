//! GraphQL on bowline: queries and mutations over HTTP, and all of it, with subscriptions, over a WebSocket.

mod protocol;
mod schema;
mod session;

use std::time::Duration;

use async_graphql::{Request, Response};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::any;
use axum::{Json, Router};
use bowline::axum::WebSocketUpgrade;
use lexopt::ValueExt;
use serve::Server;

use schema::Viewer;
use session::App;

const HELP: &str = "\
graphql: a small chat as GraphQL, with subscriptions over graphql-transport-ws

Usage: graphql [OPTIONS]

GET /graphql is the WebSocket, POST /graphql takes queries and mutations. Ctrl-C ends it, with Close 1001 to all.

Options:
  --token TOKEN          clients have to know it: in connection_init, or as Bearer token of a POST
  --init-within SECONDS  how long connection_init may take [default: 3]
  --max-operations N     how many operations may run on a connection [default: 32]";

#[tokio::main]
async fn main() {
    let mut server = Server::new("graphql");
    let mut app = App {
        schema: schema::schema(),
        token: None,
        init_within: Duration::from_secs(3),
        max_operations: 32,
        config: Default::default(),
        group: server.group.clone(),
    };
    server.parse(HELP, |name, parser| {
        match name {
            "token" => app.token = Some(parser.value()?.string()?),
            "init-within" => app.init_within = serve::seconds(parser.value()?)?,
            "max-operations" => app.max_operations = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    });
    app.config = server.config.clone();
    let router = Router::new()
        .route("/graphql", any(connect).post(execute))
        .layer(DefaultBodyLimit::max(64 << 10))
        .with_state(app);
    server.run(router, async {}).await;
}

async fn connect(State(app): State<App>, ws: WebSocketUpgrade) -> HttpResponse {
    let ws = ws.config(app.config.clone()).group(&app.group).protocols([protocol::SUBPROTOCOL]);
    let offered = ws.selected_protocol().is_some();
    ws.on_upgrade(move |ws| session::serve(ws, app, offered))
}

/// One query or mutation. Only JSON: a page of another origin cannot send that without asking first.
async fn execute(
    State(app): State<App>,
    headers: HeaderMap,
    request: Result<Json<Request>, JsonRejection>,
) -> HttpResponse {
    let Json(request) = match request {
        Ok(request) => request,
        Err(rejection) => return rejection.into_response(),
    };
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let token = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if app.token.is_some() && app.token.as_deref() != token {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let viewer = Viewer(text("x-name").unwrap_or("guest").into());
    let response: Response = app.schema.execute(request.data(viewer)).await;
    Json(response).into_response()
}
