//! Stands in for an app's own back end, so that the server can be tried without one. It says who may subscribe to what. It is on only with
//! `--demo`, and believes any name.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::auth::{self, App};
use crate::channel::{Kind, is_user_id};

/// Pages of any origin may ask: no cookie says who they are.
const CORS: [(header::HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-requested-with"),
];

/// For the first of the apps.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/broadcasting/auth", post(channel).options(preflight))
        .route("/broadcasting/user-auth", post(user).options(preflight))
        .with_state(app)
}

#[derive(Deserialize)]
struct Asked {
    /// Checked: see [`auth::is_socket_id`].
    socket_id: String,
    #[serde(default)]
    channel_name: String,
}

async fn preflight() -> Response {
    (CORS, StatusCode::NO_CONTENT).into_response()
}

/// As Laravel does: private channels for all who have logged in, and `private-App.Models.User.NAME` for NAME.
async fn channel(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Form(asked): Form<Asked>,
) -> Response {
    let Some(name) = login(&headers, &asked) else { return forbidden() };
    let channel = &*asked.channel_name;
    let owner = channel.strip_prefix("private-App.Models.User.");
    let channel_data = match Kind::of(channel) {
        Some(Kind::Private) if owner.is_none_or(|owner| owner == name) => None,
        Some(Kind::Presence) => {
            Some(json!({"user_id": name, "user_info": {"name": name}}).to_string())
        }
        _ => return forbidden(),
    };
    let signed = auth::channel(&asked.socket_id, channel, channel_data.as_deref());
    let mut answer = json!({"auth": format!("{}:{}", app.key, app.sign(&signed))});
    if let Some(data) = channel_data {
        answer["channel_data"] = data.into();
    }
    (CORS, Json(answer)).into_response()
}

async fn user(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Form(asked): Form<Asked>,
) -> Response {
    let Some(name) = login(&headers, &asked) else { return forbidden() };
    let user_data = json!({"id": name, "user_info": {"name": name}}).to_string();
    let signed = app.sign(&auth::user(&asked.socket_id, &user_data));
    let answer = json!({"auth": format!("{}:{signed}", app.key), "user_data": user_data});
    (CORS, Json(answer)).into_response()
}

/// `Authorization: Bearer NAME`.
fn login<'a>(headers: &'a HeaderMap, asked: &Asked) -> Option<&'a str> {
    if !auth::is_socket_id(&asked.socket_id) {
        return None;
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").filter(|name| is_user_id(name))
}

fn forbidden() -> Response {
    (CORS, StatusCode::FORBIDDEN).into_response()
}
