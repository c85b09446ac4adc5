//! Compression for servers that answer the request themselves, such as axum.
//!
//! ```no_run
//! use bowline_tokio_tungstenite::layer::CompressionLayer;
//! use bowline_tokio_tungstenite::tungstenite::Deflate;
//!
//! let layer = CompressionLayer::new(Deflate::default());
//! // With axum: `Router::new().route("/ws", any(handler)).layer(layer)`
//! ```
//!
//! A WebSocket that a handler accepts is compressed then, if the client offers it. See
//! [`compression`](tungstenite::compression) for how that works, and for which servers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tungstenite::Deflate;
use tungstenite::compression::{Offer, Scope};
use tungstenite::http::{Request, Response};

/// Compresses the WebSockets of the service that it is around.
#[derive(Clone, Copy, Debug)]
pub struct CompressionLayer {
    settings: Deflate,
}

impl CompressionLayer {
    /// With these settings.
    pub fn new(settings: Deflate) -> Self {
        Self { settings }
    }
}

impl<S> Layer<S> for CompressionLayer {
    type Service = Compression<S>;

    fn layer(&self, inner: S) -> Compression<S> {
        Compression { inner, settings: self.settings }
    }
}

/// A service whose WebSockets are compressed.
#[derive(Clone, Debug)]
pub struct Compression<S> {
    inner: S,
    settings: Deflate,
}

impl<S, B, R> Service<Request<B>> for Compression<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Answering<S::Future> {
        let mut scope = Offer::of(&request, self.settings).map(Scope::new);
        let inner = match &mut scope {
            Some(scope) => scope.enter(|| self.inner.call(request)),
            None => self.inner.call(request),
        };
        Answering { inner, scope }
    }
}

pin_project! {
    /// The answer to a request.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        inner: F,
        scope: Option<Scope>,
    }
}

impl<F, R, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.scope {
            Some(scope) => scope.enter(|| this.inner.poll(cx)),
            None => this.inner.poll(cx),
        };
        let mut answered = ready!(polled);
        if let (Ok(response), Some(scope)) = (&mut answered, this.scope.take()) {
            scope.answer(response);
        }
        Poll::Ready(answered)
    }
}
