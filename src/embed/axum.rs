//! An extractor for [axum](https://docs.rs/axum/0.8) 0.8.
//!
//! ```
//! use axum::{Router, response::Response, routing::any};
//! use bowline::axum::{WebSocket, WebSocketUpgrade};
//!
//! async fn handler(ws: WebSocketUpgrade) -> Response {
//!     ws.on_upgrade(echo)
//! }
//!
//! async fn echo(mut ws: WebSocket) {
//!     while let Ok(Some(message)) = ws.recv().await {
//!         if ws.feed(message).await.is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! let app: Router = Router::new().route("/ws", any(handler));
//! ```
//!
//! Requests of pages from another origin are refused with 403, unless
//! [`Config::allow_origin`](crate::Config::allow_origin) says otherwise. docs/embedding.md in the
//! repository says how to move from axum's own `ws`.

use core::fmt;
use core::future::Future;
use std::boxed::Box;
use std::string::String;

use ::axum_core::body::Body;
use ::axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use ::axum_core::response::{IntoResponse, Response};
use ::http::request::Parts;
use ::hyper::upgrade::OnUpgrade;

use crate::adapter::Error;
use crate::embed::{http, hyper};
use crate::handshake;
use crate::handshake::{Request, RequestError};
use crate::protocol::config::Config;
use crate::tokio::{Group, HandlerResult, spawn};

/// The traits that this module implements and the types in them: `axum-core` 0.5, of axum 0.8.
pub use ::axum_core;

pub use crate::embed::hyper::WebSocket;

/// Extracts a request for a WebSocket: a `GET` over HTTP/1.1 or, with the feature `http2` here and in
/// axum, a `CONNECT` over HTTP/2. Route it with `any`, which takes both.
///
/// As a parameter of a handler, it rejects all other requests. `Option<WebSocketUpgrade>` gives `None` for
/// an ordinary request, so that one path can serve a page and a WebSocket. It still rejects a request for a
/// WebSocket that breaks a rule.
#[must_use = "nothing is upgraded without on_upgrade"]
pub struct WebSocketUpgrade {
    request: Request,
    on_upgrade: OnUpgrade,
    config: Config,
    subprotocol: Option<String>,
    on_failed: Option<Box<dyn FnOnce(Error) + Send>>,
    group: Option<Group>,
}

impl WebSocketUpgrade {
    /// The request: path, origin, cookies, offered subprotocols.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Limits, timeouts, compression, and which origins may connect.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Names the subprotocols that the server knows. The first of the client's that is among them is
    /// selected. To select in another way, look at the [`request`](Self::request), and name only your choice.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let known: std::vec::Vec<_> = protocols.into_iter().collect();
        self.subprotocol = self.request.select_subprotocol(&known).map(String::from);
        self
    }

    /// The subprotocol that [`protocols`](Self::protocols) selected.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Makes the WebSocket one of a group. The group counts it, closes it when it is shut down, and is told its end and
    /// what the handler gave. Beyond the limit of the group, and once it is being shut down, the client gets status 503.
    pub fn group(mut self, group: &Group) -> Self {
        self.group = Some(group.clone());
        self
    }

    /// Calls this if the request was accepted but there is no WebSocket: the client went away, or the
    /// response was not sent. By default nothing is called.
    pub fn on_failed_upgrade(mut self, callback: impl FnOnce(Error) + Send + 'static) -> Self {
        self.on_failed = Some(Box::new(callback));
        self
    }

    /// Accepts the request, and runs the callback with the WebSocket in a task of its own. A page of
    /// an origin that may not connect is refused here, with 403. The callback gives nothing, or any `Result`: the
    /// [`group`](Self::group) is told an error, and without a group it is dropped.
    ///
    /// Return the response: the task waits until it is sent. You may add headers to it. A layer that refuses
    /// requests must do so before this call. If it sends another response instead of this one, hyper may
    /// still hand over the connection.
    ///
    /// ```no_run
    /// use axum::response::Response;
    /// use bowline::axum::WebSocketUpgrade;
    ///
    /// async fn echo(upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(|mut ws| async move {
    ///         while let Ok(Some(message)) = ws.recv().await {
    ///             let _ = ws.feed(message).await; // recv gives the error again
    ///         }
    ///     })
    /// }
    /// ```
    #[must_use = "the response has to be returned"]
    pub fn on_upgrade<C, F>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output: HandlerResult> + Send + 'static,
    {
        let Self { request, on_upgrade, config, subprotocol, on_failed, group } = self;
        match hyper::accept(&request, config, subprotocol.as_deref()) {
            Ok((response, accepted)) => {
                let upgrading = accepted.upgraded(on_upgrade);
                let Some(group) = group else {
                    ::tokio::spawn(async move {
                        match upgrading.await {
                            Ok(ws) => drop(callback(ws).await.into_result()),
                            Err(error) => failed(on_failed, error),
                        }
                    });
                    return response;
                };
                let Some(seat) = group.enter() else {
                    return refused(RequestError::Unavailable);
                };
                spawn(seat, |seat| async move {
                    match upgrading.await {
                        Ok(mut ws) => {
                            seat.supervise(&mut ws);
                            let handling = callback(ws);
                            seat.returned(handling.await);
                        }
                        Err(error) => failed(on_failed, error),
                    }
                });
                response
            }
            Err(refusal) => refused(refusal),
        }
    }
}

fn refused(error: RequestError) -> Response {
    WebSocketUpgradeRejection::Request(error).into_response()
}

fn failed(on_failed: Option<Box<dyn FnOnce(Error) + Send>>, error: Error) {
    if let Some(on_failed) = on_failed {
        on_failed(error);
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("request", &self.request)
            .field("config", &self.config)
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        extract(parts, http::read_parts(parts))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        let request = http::read_parts(parts);
        if request.is_upgrade() { extract(parts, request).map(Some) } else { Ok(None) }
    }
}

fn extract(
    parts: &mut Parts,
    request: Request,
) -> Result<WebSocketUpgrade, WebSocketUpgradeRejection> {
    let request = http::checked(parts.version, request)?;
    request.check_handshake()?;
    let Some(on_upgrade) = parts.extensions.remove() else {
        return Err(WebSocketUpgradeRejection::NotUpgradable);
    };
    Ok(WebSocketUpgrade {
        request,
        on_upgrade,
        config: Config::default(),
        subprotocol: None,
        on_failed: None,
        group: None,
    })
}

/// Why there is no [`WebSocketUpgrade`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketUpgradeRejection {
    /// The request opens no WebSocket. The answer is that of [`RequestError::response`].
    Request(RequestError),
    /// The server does not let this connection be upgraded, or another extractor took it. Status 500.
    NotUpgradable,
}

impl From<RequestError> for WebSocketUpgradeRejection {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::NotUpgradable => f.write_str("the server cannot upgrade this connection"),
        }
    }
}

impl core::error::Error for WebSocketUpgradeRejection {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // `{}` shows the error itself.
            Self::Request(error) => error.source(),
            Self::NotUpgradable => None,
        }
    }
}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        let response = match self {
            Self::Request(error) => error.response(),
            Self::NotUpgradable => handshake::Response::new(500).body(std::format!("{self}\n")),
        };
        ::http::Response::<Body>::from(response)
    }
}
