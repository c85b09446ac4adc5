//! The HTTP API for an app's back end. Each request is signed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use hub::{Away, Draft, Hub};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::{App, is_socket_id};
use crate::channel::{self, Kind, MAX_DATA, MAX_NAME, is_user_id};
use crate::nodes::Nodes;
use crate::protocol;
use crate::registry::{Channels, Which};

const MAX_CHANNELS: usize = 100;
const MAX_BATCH: usize = 10;
/// A batch of events, escaped.
const MAX_BODY: usize = 1 << 20;

#[derive(Clone)]
pub struct Api {
    pub apps: Arc<[Arc<App>]>,
    pub hub: Hub,
    pub nodes: Nodes,
}

pub fn router(api: Api) -> Router {
    Router::new()
        .route("/apps/{id}/events", post(publish))
        .route("/apps/{id}/batch_events", post(publish_batch))
        .route("/apps/{id}/channels", get(channels))
        .route("/apps/{id}/channels/{channel}", get(one_channel))
        .route("/apps/{id}/channels/{channel}/users", get(users))
        .route("/apps/{id}/users/{user}/terminate_connections", post(terminate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

/// Why a request is refused.
#[derive(Debug)]
enum Refused {
    Bad(String),
    Unauthorized(&'static str),
    NoApp,
    TooLarge,
    Body(BytesRejection),
    Away,
}

impl Refused {
    fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }
}

impl From<Away> for Refused {
    fn from(_: Away) -> Self {
        Self::Away
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Bad(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Self::Unauthorized(why) => (StatusCode::UNAUTHORIZED, why).into_response(),
            Self::NoApp => (StatusCode::NOT_FOUND, "no such app").into_response(),
            Self::TooLarge => {
                let why = format!("the data of an event has at most {MAX_DATA} bytes");
                (StatusCode::PAYLOAD_TOO_LARGE, why).into_response()
            }
            Self::Body(why) => why.into_response(),
            Self::Away => {
                let why = "not all nodes can be reached";
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
        }
    }
}

/// A request whose signature is right.
struct Signed {
    app: Arc<App>,
    path: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    body: Bytes,
}

impl FromRequest<Api> for Signed {
    type Rejection = Refused;

    async fn from_request(mut request: Request, api: &Api) -> Result<Self, Refused> {
        use axum::RequestExt;
        let Path(path) = request
            .extract_parts::<Path<BTreeMap<String, String>>>()
            .await
            .map_err(|error| Refused::bad(error.body_text()))?;
        let app = api.apps.iter().find(|app| path.get("id") == Some(&app.id));
        let app = app.ok_or(Refused::NoApp)?.clone();
        let Query(parameters) = Query::<BTreeMap<String, String>>::try_from_uri(request.uri())
            .map_err(|error| Refused::bad(error.body_text()))?;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let body = Bytes::from_request(request, api).await.map_err(Refused::Body)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        app.check(method.as_str(), uri.path(), &parameters, &body, now)
            .map_err(Refused::Unauthorized)?;
        Ok(Self { app, path, parameters, body })
    }
}

impl Signed {
    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body).map_err(|error| Refused::bad(error.to_string()))
    }

    /// The channel in the path, and what it is.
    fn channel(&self) -> Result<(&str, Kind), Refused> {
        let name = self.path.get("channel").map_or("", |name| name);
        Ok((name, kind_of(name)?))
    }

    fn info(&self) -> Result<Info, Refused> {
        Info::read(self.parameters.get("info").map(String::as_str))
    }
}

#[derive(Deserialize)]
struct Event {
    name: String,
    data: String,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    batch: Vec<Event>,
}

/// What else is to be told of channels.
#[derive(Clone, Copy, Default)]
struct Info {
    user_count: bool,
    subscription_count: bool,
}

impl Info {
    fn read(names: Option<&str>) -> Result<Self, Refused> {
        let mut info = Self::default();
        for name in names.unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
            match name.trim() {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                name => return Err(Refused::Bad(format!("no info {name}"))),
            }
        }
        Ok(info)
    }

    fn of(self, channels: &Channels, name: &str) -> Map<String, Value> {
        let occupied = channels.get(name);
        let mut fields = Map::new();
        if self.user_count {
            fields.insert("user_count".into(), occupied.map_or(0, |one| one.users.len()).into());
        }
        if self.subscription_count {
            let count = occupied.map_or(0, |one| one.subscriptions);
            fields.insert("subscription_count".into(), count.into());
        }
        fields
    }
}

fn kind_of(channel: &str) -> Result<Kind, Refused> {
    Kind::of(channel).ok_or_else(|| Refused::Bad(format!("no name of a channel: {channel:?}")))
}

impl Event {
    /// Checks all before anything is published.
    fn check(&self) -> Result<(&[String], Info), Refused> {
        if !(1..=MAX_NAME).contains(&self.name.len()) || self.name.starts_with("pusher") {
            let why =
                "the name of an event has 1 to 200 characters, and does not begin with pusher";
            return Err(Refused::bad(why));
        }
        let channels = match (&self.channel, &self.channels) {
            (Some(channel), None) => std::slice::from_ref(channel),
            (None, Some(channels)) => channels,
            _ => return Err(Refused::bad("an event is for channel or for channels")),
        };
        if !(1..=MAX_CHANNELS).contains(&channels.len()) {
            return Err(Refused::Bad(format!("an event is for 1 to {MAX_CHANNELS} channels")));
        }
        let info = Info::read(self.info.as_deref())?;
        for channel in channels {
            let kind = kind_of(channel)?;
            if info.user_count && kind != Kind::Presence {
                return Err(Refused::bad("only presence channels have users"));
            }
        }
        if let Some(id) = self.socket_id.as_ref().filter(|id| !is_socket_id(id)) {
            return Err(Refused::Bad(format!("no socket_id: {id:?}")));
        }
        if self.data.len() > MAX_DATA {
            return Err(Refused::TooLarge);
        }
        Ok((channels, info))
    }

    async fn publish(&self, api: &Api, app: &App, channels: &[String]) -> Result<(), Refused> {
        for channel in channels {
            let text = protocol::text_event(&self.name, Some(channel), &self.data);
            let draft = Draft::new(text).from(self.socket_id.clone().unwrap_or_default());
            api.hub.publish(&channel::topic(app, channel), draft).await?;
        }
        Ok(())
    }

    /// What was asked about the channels of this event.
    async fn told(
        &self,
        api: &Api,
        app: &App,
        channels: &[String],
        info: Info,
    ) -> Result<Map<String, Value>, Refused> {
        let occupied = api.nodes.occupied(&app.id, Which::Names(channels.to_vec())).await?;
        let fields = channels.iter().map(|name| (name.clone(), info.of(&occupied, name).into()));
        Ok(fields.collect())
    }
}

async fn publish(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let event: Event = signed.json()?;
    let (channels, info) = event.check()?;
    event.publish(&api, &signed.app, channels).await?;
    if event.info.is_none() {
        return Ok(Json(json!({})));
    }
    let told = event.told(&api, &signed.app, channels, info).await?;
    Ok(Json(json!({"channels": told})))
}

async fn publish_batch(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let Batch { batch } = signed.json()?;
    if batch.len() > MAX_BATCH {
        return Err(Refused::Bad(format!("a batch has at most {MAX_BATCH} events")));
    }
    let mut checked = Vec::new();
    for event in &batch {
        if event.channel.is_none() {
            return Err(Refused::bad("each event of a batch is for one channel"));
        }
        checked.push(event.check()?);
    }
    for (event, (channels, _)) in batch.iter().zip(&checked) {
        event.publish(&api, &signed.app, channels).await?;
    }
    if batch.iter().all(|event| event.info.is_none()) {
        return Ok(Json(json!({})));
    }
    let mut all = Vec::new();
    for (event, (channels, info)) in batch.iter().zip(checked) {
        let told = event.told(&api, &signed.app, channels, info).await?;
        all.extend(told.into_iter().map(|(_, fields)| fields));
    }
    Ok(Json(json!({"batch": all})))
}

async fn channels(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let info = signed.info()?;
    let prefix = signed.parameters.get("filter_by_prefix").cloned().unwrap_or_default();
    if info.user_count && !prefix.starts_with("presence-") {
        return Err(Refused::bad("user_count needs filter_by_prefix=presence-"));
    }
    let occupied = api.nodes.occupied(&signed.app.id, Which::Prefix(prefix)).await?;
    let told: Map<_, Value> =
        occupied.keys().map(|name| (name.clone(), info.of(&occupied, name).into())).collect();
    Ok(Json(json!({"channels": told})))
}

async fn one_channel(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let info = signed.info()?;
    let (name, kind) = signed.channel()?;
    if info.user_count && kind != Kind::Presence {
        return Err(Refused::bad("only presence channels have users"));
    }
    let occupied = api.nodes.occupied(&signed.app.id, Which::Names(vec![name.into()])).await?;
    let mut fields = info.of(&occupied, name);
    fields.insert("occupied".into(), occupied.contains_key(name).into());
    Ok(Json(fields.into()))
}

async fn users(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let (name, kind) = signed.channel()?;
    if kind != Kind::Presence {
        return Err(Refused::bad("only presence channels have users"));
    }
    let mut occupied = api.nodes.occupied(&signed.app.id, Which::Names(vec![name.into()])).await?;
    let users = occupied.remove(name).unwrap_or_default().users;
    let users: Vec<_> = users.into_iter().map(|id| json!({"id": id})).collect();
    Ok(Json(json!({"users": users})))
}

async fn terminate(State(api): State<Api>, signed: Signed) -> Result<Json<Value>, Refused> {
    let user = signed.path.get("user").filter(|user| is_user_id(user));
    let user = user.ok_or_else(|| Refused::bad("no id of a user"))?;
    api.nodes.terminate(&signed.app.id, user).await?;
    Ok(Json(json!({})))
}
