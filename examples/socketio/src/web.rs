//! What is HTTP: the page, CORS, foreign origins, the cookie.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use socketioxide::adapter::Adapter;
use socketioxide::layer::SocketIoLayer;
use tower_http::cors::CorsLayer;

use crate::options::Options;

/// Allows only the page's own scripts, style and connections, and pictures that came through the chat.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// More than the answer to a handshake has.
const MAX_HANDSHAKE: usize = 4096;

/// The page, and the client that it loads.
pub fn pages(options: &Options, client_js: Vec<u8>) -> Router {
    let page = include_str!("page.html").replace("{{path}}", &format!("{}/", options.path));
    let script = Bytes::from(client_js);
    Router::new()
        .route("/", get(async || ([("Content-Security-Policy", POLICY)], Html(page))))
        .route("/client.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], script)))
}

/// The pages, with Socket.IO around them and what guards it around that.
pub fn routes<A: Adapter>(options: &Options, pages: Router, socket_io: SocketIoLayer<A>) -> Router {
    let guard = Guard {
        path: options.path.clone(),
        origins: options.origins.clone(),
        cookie: options.cookie.clone(),
    };
    // A page of another origin may read answers only if it is named. With credentials, because of the cookie.
    let cors = CorsLayer::new()
        .allow_origin(options.origins.clone())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
        .allow_credentials(true);
    pages.layer(socket_io).layer(from_fn_with_state(guard, guarded)).layer(cors)
}

#[derive(Clone)]
struct Guard {
    path: String,
    origins: Vec<HeaderValue>,
    cookie: Option<String>,
}

/// CORS keeps foreign pages from reading answers. It keeps no page from opening a WebSocket, so this looks at the origin.
async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(&guard.path) {
        return next.run(request).await;
    }
    if !guard.allows(request.headers()) {
        let why = "This origin is not allowed. The server has to be started with --allow-origin.\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let query = request.uri().query().unwrap_or_default();
    let opens_polling = query.contains("transport=polling") && !query.contains("sid=");
    let response = next.run(request).await;
    match &guard.cookie {
        Some(cookie) if opens_polling => with_cookie(cookie, response).await,
        _ => response,
    }
}

impl Guard {
    fn allows(&self, headers: &HeaderMap) -> bool {
        // Programs that are no browsers send none.
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let same =
            matches!((host, own), (Some((_, host)), Some(own)) if host.eq_ignore_ascii_case(own));
        same || self.origins.contains(origin)
    }
}

/// socketioxide sets no cookie. The id of the session is in the answer to the handshake, so it is taken from there.
async fn with_cookie(name: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_HANDSHAKE).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // Its first byte is the type of the packet.
    let open: Option<serde_json::Value> =
        body.get(1..).and_then(|json| serde_json::from_slice(json).ok());
    if let Some(id) = open.as_ref().and_then(|open| open["sid"].as_str()) {
        let cookie = format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax");
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            parts.headers.append(header::SET_COOKIE, value);
        }
    }
    Response::from_parts(parts, Body::from(body))
}
