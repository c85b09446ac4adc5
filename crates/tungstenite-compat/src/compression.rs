//! permessage-deflate for servers that answer the request themselves, such as axum.
//!
//! Such a server makes its response without this crate, and hands over the stream later. So there is one place where the
//! request is seen and another where the WebSocket begins. A [`Scope`] joins them: inside of it,
//! [`WebSocketConfig::default`] has what [`Offer`] agreed on. A handler that makes its settings in the scope, as axum's
//! extractor does, has a WebSocket that compresses.
//!
//! `bowline-tokio-tungstenite` has a layer for tower that does all this (feature `tower`).
//!
//! A server that makes its settings in another task than the one that answers the request is not reached by this. It
//! goes without compression then, as before, and nothing is promised to the client.

use std::cell::Cell;

use bowline::handshake::{Accept, Request};
use bowline::{Agreed, Config, Deflate};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

use crate::protocol::WebSocketConfig;

thread_local! {
    static CURRENT: Cell<Option<(Agreed, Deflate)>> = const { Cell::new(None) };
}

/// The settings, with what the scope that is entered agreed on.
pub(crate) fn apply(mut config: WebSocketConfig) -> WebSocketConfig {
    if let Some((agreed, settings)) = CURRENT.take() {
        config.compression = Some(settings);
        config.agreed = Some(agreed);
    }
    config
}

/// What a request offers and these settings agree to.
#[derive(Clone, Debug)]
pub struct Offer {
    agreed: Agreed,
    settings: Deflate,
    answer: HeaderValue,
}

impl Offer {
    /// `None`: the request does not open a WebSocket by HTTP/1.1, or offers no compression that the settings allow.
    pub fn of<B>(request: &http::Request<B>, settings: Deflate) -> Option<Self> {
        request.headers().get(SEC_WEBSOCKET_EXTENSIONS)?;
        let config = Config::default().deflate(settings).allow_any_origin();
        let request = Request::try_from(request).ok()?;
        let (connection, response) = request.upgrade(&config).ok()?.accept(Accept::new()).ok()?;
        let answer = response.headers().get("Sec-WebSocket-Extensions")?;
        let answer = HeaderValue::from_bytes(answer).ok()?;
        Some(Self { agreed: connection.agreed()?, settings, answer })
    }
}

/// The time in which a request is answered.
#[derive(Debug)]
pub struct Scope {
    offer: Offer,
    is_taken: bool,
}

impl Scope {
    /// For the answer to the request that made this offer.
    pub fn new(offer: Offer) -> Self {
        Self { offer, is_taken: false }
    }

    /// Runs a piece of the answer, such as one poll of its future. The first settings that are made in it take the offer.
    pub fn enter<T>(&mut self, f: impl FnOnce() -> T) -> T {
        /// Restores what was there, also when `f` panics.
        struct Restore(Option<(Agreed, Deflate)>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let mine = (!self.is_taken).then_some((self.offer.agreed, self.offer.settings));
        let restore = Restore(CURRENT.replace(mine));
        let result = f();
        self.is_taken |= CURRENT.get().is_none();
        drop(restore);
        result
    }

    /// Adds the header to the response that opens the WebSocket, if its settings were made in the scope. Other responses
    /// stay as they are.
    pub fn answer<B>(self, response: &mut http::Response<B>) {
        if self.is_taken && response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, self.offer.answer);
        }
    }
}
