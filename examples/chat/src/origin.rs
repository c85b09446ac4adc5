//! Which pages may use the fallbacks. The WebSocket has the same rule from bowline.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The origins that may connect as well as the server's own.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<Vec<String>>);

impl Origins {
    pub fn allow(&mut self, origin: &str) {
        Arc::make_mut(&mut self.0).push(plain(origin));
    }

    /// None: no browser, or the page's own server. Otherwise, whether the origin may.
    fn judge(&self, headers: &HeaderMap) -> Option<bool> {
        let origin = plain(headers.get(ORIGIN)?.to_str().unwrap_or(""));
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("")
            .to_ascii_lowercase();
        let is_own = origin == format!("http://{host}") || origin == format!("https://{host}");
        if is_own { None } else { Some(self.0.contains(&origin)) }
    }
}

fn plain(origin: &str) -> String {
    origin.trim().trim_end_matches('/').to_ascii_lowercase()
}

/// Refuses the pages of other origins, and tells the browser which of them may read the answers (CORS).
pub async fn check(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let origin = match origins.judge(request.headers()) {
        Some(false) => return StatusCode::FORBIDDEN.into_response(),
        Some(true) => request.headers().get(ORIGIN).cloned(),
        None => None,
    };
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from(CONTENT_TYPE));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(VARY, HeaderValue::from(ORIGIN));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pages_are_refused_unless_they_are_allowed() {
        let mut origins = Origins::default();
        origins.allow("https://Friend.example/");
        let judge = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("Chat.example:8080"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().expect("a header"));
            }
            origins.judge(&headers)
        };
        for own in [None, Some("http://chat.example:8080"), Some("https://chat.example:8080")] {
            assert_eq!(judge(own), None);
        }
        assert_eq!(judge(Some("https://friend.example")), Some(true));
        for other in [
            "http://friend.example",
            "https://chat.example",
            "null",
            "https://friend.example.evil",
            "",
        ] {
            assert_eq!(judge(Some(other)), Some(false), "{other}");
        }
    }
}
